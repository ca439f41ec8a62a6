// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

// Every counter, gauge and summary of the process. Thread-safe; `add` and `set` are one atomic
// operation.
class MetricRegistry {
 public:
  enum class Kind : std::uint32_t { counter = 0, gauge = 1, summary = 2 };
  struct Series {
    std::string suffix;  // of the family's name
    std::string labels;  // rendered: name="value",...
    std::atomic<double> value{0.0};
  };

  static constexpr std::size_t kSeriesMax = 20'000;

  // The series, made if it is new. `labels` are {name, value}. A summary's parts differ by the
  // label `quantile` or by `suffix`: "_sum", "_count". Throws HostError on a bad name, on another
  // kind than before, and beyond kSeriesMax.
  Series& series(Kind kind, std::string_view name, std::string_view help,
                 const std::map<std::string, std::string>& labels, std::string_view suffix = {});

  // Called before each rendering, to bring gauges up to date.
  void add_collector(std::function<void()> collector);

  // Prometheus text exposition format 0.0.4.
  std::string render();

 private:
  struct Family {
    Kind kind;
    std::string help;
    std::deque<Series> series;                 // stable addresses
    std::map<std::string, Series*> by_labels;  // suffix and labels
  };
  std::mutex mutex_;  // guards families_, series_count_
  std::map<std::string, Family, std::less<>> families_;
  std::size_t series_count_ = 0;
  std::mutex collectors_mutex_;  // guards collectors_; held while they run
  std::vector<std::function<void()>> collectors_;
};

}  // namespace ephor::host
