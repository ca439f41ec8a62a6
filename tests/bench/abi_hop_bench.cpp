// SPDX-License-Identifier: Apache-2.0
//
// bench_abi_hop [--repetitions N] [--json FILE]: nanoseconds for an event to cross into a plugin's
// on_events through the C table, one at a time and in slices of 256, for a loaded library in C and
// one in C++ (ephor/plugin.hpp, virtual on_event). Beside it a virtual call inside this program,
// and the table as the host calls it (core/delivery.hpp: the watch, the clock, the guard), whose
// cost is one per slice.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ephor/testing/fake_host.hpp>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/delivery.hpp"
#include "core/plugin_loader.hpp"

using namespace ephor;

namespace {

constexpr std::uint32_t kSliceEvents = 256;
constexpr std::uint32_t kEventsPerRepetition = 1U << 20;
constexpr double kUnbatchedBarNs = 15.0;
constexpr double kBatchedBarNs = 10.0;

struct Handler {
  virtual ~Handler() = default;
  virtual void on_event(const ephor_event& event) = 0;
};
struct Sum final : Handler {
  void on_event(const ephor_event& event) override { sum += event.sequence; }
  std::uint64_t sum = 0;
};
// A second one, never used: with one alone the compiler guesses it and makes no virtual call.
struct Last final : Handler {
  void on_event(const ephor_event& event) override { last = event.sequence; }
  std::uint64_t last = 0;
};

// The compiler may not see through a pointer that passed here.
template <typename Pointer>
Pointer unknown(Pointer pointer) {
  asm volatile("" : "+r"(pointer) : : "memory");
  return pointer;
}

std::vector<ephor_event> slice_of_events() {
  std::vector<ephor_event> events(kSliceEvents);
  for (std::uint32_t i = 0; i < kSliceEvents; ++i) {
    events[i].sequence = i + 1;
    events[i].record = "";
  }
  return events;
}

// A loaded plugin and what it has to have summed up in the end.
class Subject {
 public:
  explicit Subject(const std::string& name) {
    const auto file = std::filesystem::path(EPHOR_BUILD_DIR) / "tests/plugins" / (name + ".so");
    host_.load_plugin(*host::PluginLoader::load_file(file).entry);
    table_ = host_.plugin_table();
  }
  const ephor_plugin& table() const { return table_; }
  void expect(std::uint64_t sum) { expected_ += sum; }
  // Exits if an event was lost on the way, or handled twice.
  void verify(const char* name) const {
    const auto* checkpoint = static_cast<const ephor_checkpoint*>(
        table_.get_extension(table_.self, to_view("ephor.storage/1")));
    std::string state;
    ephor_writer out = string_writer(state);
    const ephor_rows rows{sizeof(ephor_rows), 0, nullptr, nullptr, nullptr};
    checkpoint->save(table_.self, &rows, &out, nullptr);
    if (state == std::to_string(expected_)) return;
    std::fprintf(stderr, "abi_hop: %s: found the sum %s, expected %llu\n", name, state.c_str(),
                 static_cast<unsigned long long>(expected_));
    std::exit(1);
  }

 private:
  testing::FakeHost host_;
  ephor_plugin table_{};
  std::uint64_t expected_ = 0;
};

// Nanoseconds an event of one repetition; `pass` takes every event of the slice once.
double measured(const std::function<void()>& pass) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i < kEventsPerRepetition / kSliceEvents; ++i) pass();
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  return took.count() / kEventsPerRepetition;
}

struct Figure {
  std::string name;
  double bar_ns = 0.0;  // 0: a comparison
  std::function<void()> pass;
  std::vector<double> ns = {};

  double quantile(double share) const {
    std::vector<double> sorted = ns;
    std::sort(sorted.begin(), sorted.end());
    return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
  }
};

}  // namespace

int main(int count, char** arguments) {
  int repetitions = 31;
  std::string json_file;
  for (int i = 1; i < count; i += 2) {
    const bool has_value = i + 1 < count;
    if (has_value && std::strcmp(arguments[i], "--repetitions") == 0) {
      repetitions = std::atoi(arguments[i + 1]);
    } else if (has_value && std::strcmp(arguments[i], "--json") == 0) {
      json_file = arguments[i + 1];
    } else {
      repetitions = 0;
    }
  }
  if (repetitions < 1) {
    std::fprintf(stderr, "usage: bench_abi_hop [--repetitions N] [--json FILE]\n");
    return 2;
  }

  const std::vector<ephor_event> events = slice_of_events();
  const std::uint64_t sum_of_slice = std::uint64_t{kSliceEvents} * (kSliceEvents + 1) / 2;
  Subject in_c("hop_c");
  Subject in_cpp("hop_cpp");
  Sum local;
  Last other;
  Handler* const handler = unknown(repetitions > 1 << 20 ? static_cast<Handler*>(&other) : &local);
  host::CallBoard calls("bench");
  host::SubscriptionStats stats;

  const auto one_by_one = [&](Subject& subject) {
    return [&] {
      const ephor_plugin& table = *unknown(&subject.table());
      ephor_error error = host::fresh_error();
      for (const ephor_event& event : events) table.on_events(table.self, &event, 1, &error);
      subject.expect(sum_of_slice);
    };
  };
  const auto in_slices = [&](Subject& subject) {
    return [&] {
      const ephor_plugin& table = *unknown(&subject.table());
      ephor_error error = host::fresh_error();
      table.on_events(table.self, events.data(), kSliceEvents, &error);
      subject.expect(sum_of_slice);
    };
  };
  const auto guarded_slices = [&](Subject& subject, std::uint32_t size) {
    return [&, size] {
      for (std::uint32_t i = 0; i < kSliceEvents; i += size) {
        ephor_error error = host::fresh_error();
        host::deliver_to(*unknown(&subject.table()), events.data() + i, size, calls, stats, error);
      }
      subject.expect(sum_of_slice);
    };
  };

  std::vector<Figure> all{{"virtual_call", 0.0,
                           [&] {
                             Handler& opaque = *unknown(handler);
                             for (const ephor_event& event : events) opaque.on_event(event);
                           }},
                          {"c_unbatched", kUnbatchedBarNs, one_by_one(in_c)},
                          {"cpp_unbatched", kUnbatchedBarNs, one_by_one(in_cpp)},
                          {"c_batched", kBatchedBarNs, in_slices(in_c)},
                          {"cpp_batched", kBatchedBarNs, in_slices(in_cpp)},
                          {"host_c_batched", kBatchedBarNs, guarded_slices(in_c, kSliceEvents)},
                          {"host_cpp_batched", kBatchedBarNs, guarded_slices(in_cpp, kSliceEvents)},
                          {"host_cpp_slice_of_one", 0.0, guarded_slices(in_cpp, 1)}};
  for (Figure& figure : all) measured(figure.pass);  // warm
  for (int i = 0; i < repetitions; ++i) {
    for (Figure& figure : all) figure.ns.push_back(measured(figure.pass));
  }
  in_c.verify("hop_c");
  in_cpp.verify("hop_cpp");
  const auto passes =
      static_cast<std::uint64_t>(repetitions + 1) * (kEventsPerRepetition / kSliceEvents);
  if (local.sum != passes * sum_of_slice) {
    std::fprintf(stderr, "abi_hop: the virtual call lost events\n");
    return 1;
  }

  std::printf("ns an event, %d repetitions of %u events in turns\n", repetitions,
              kEventsPerRepetition);
  std::printf("%-22s %8s %8s %8s  %s\n", "", "median", "p10", "p90", "bar");
  nlohmann::json figures;
  for (const Figure& figure : all) {
    const double median = figure.quantile(0.5);
    const std::string bar = figure.bar_ns == 0.0
                                ? ""
                                : "<= " + std::to_string(static_cast<int>(figure.bar_ns)) + ": " +
                                      (median <= figure.bar_ns ? "met" : "MISSED");
    std::printf("%-22s %8.2f %8.2f %8.2f  %s\n", figure.name.c_str(), median, figure.quantile(0.1),
                figure.quantile(0.9), bar.c_str());
    figures[figure.name + "_ns"] = median;
  }
  if (json_file.empty()) return 0;
  std::ofstream(json_file) << nlohmann::json{{"name", "abi_hop"}, {"figures", figures}}.dump(1)
                           << '\n';
  return 0;
}
