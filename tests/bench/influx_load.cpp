// SPDX-License-Identifier: Apache-2.0
//
// The client of script/bench influx: lines of 2,000 tag sets with three fields each, one a second,
// in order of time as an agent sends them. Bodies are made before the clock starts.
//
//   bench_influx_load --url http://HOST:PORT --path "/write?db=bench" --lines N --begin-ns T
//                     [--connections 4] [--body-lines 5000] [--seed 1]
//
// Prints one JSON object. Tag set i has component c(i % 10), host h(i / 10 % 10), symbol s(i /
// 100).
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "http_connection.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using namespace ephor::bench;

constexpr std::size_t kTagSets = 2000;
constexpr std::size_t kFields = 3;
constexpr std::int64_t kSecondNs = 1'000'000'000;

// A latency that wanders, its tail, and a counter: what an agent reports of one operation.
struct Walk {
  double p50 = 0;
  double p99 = 0;
  std::uint64_t count = 0;
};

class Lines {
 public:
  Lines(std::uint64_t seed, std::int64_t begin_ns) : random_(seed), begin_ns_(begin_ns) {
    for (Walk& walk : walks_) {
      walk.p50 = 5.0 + static_cast<double>(random_() % 1000) / 100.0;
      walk.p99 = walk.p50 * 3.0;
      walk.count = random_() % 100'000;
    }
  }
  void append_next(std::string& body) {
    const std::size_t set = next_ % kTagSets;
    const std::int64_t time_ns =
        begin_ns_ + static_cast<std::int64_t>(next_ / kTagSets) * kSecondNs;
    ++next_;
    Walk& walk = walks_[set];
    walk.p50 = std::max(0.01, walk.p50 + (static_cast<double>(random_() % 201) - 100.0) / 100.0);
    walk.p99 = walk.p50 * 3.0 + static_cast<double>(random_() % 100) / 100.0;
    walk.count += random_() % 50;
    char line[200];
    std::snprintf(
        line, sizeof line,
        "latency,component=c%zu,host=h%zu,symbol=s%zu p50=%.2f,p99=%.2f,count=%llui %lld\n",
        set % 10, set / 10 % 10, set / 100, walk.p50, walk.p99,
        static_cast<unsigned long long>(walk.count), static_cast<long long>(time_ns));
    body += line;
  }

 private:
  std::mt19937_64 random_;
  std::int64_t begin_ns_;
  std::vector<Walk> walks_ = std::vector<Walk>(kTagSets);
  std::size_t next_ = 0;
};

struct Totals {
  std::uint64_t busy = 0;
  std::uint64_t failed = 0;
  std::string failure;
  std::vector<double> milliseconds;
};

using Options = std::map<std::string, std::string>;

std::string option(const Options& options, const std::string& name, const std::string& fallback) {
  const auto found = options.find("--" + name);
  return found == options.end() ? fallback : found->second;
}

std::vector<std::string> requests_of(const Options& options, const Address& address,
                                     std::uint64_t& bytes) {
  const std::uint64_t lines = std::stoull(option(options, "lines", "1000000"));
  const std::uint64_t body_lines = std::stoull(option(options, "body-lines", "5000"));
  Lines source(std::stoull(option(options, "seed", "1")),
               std::stoll(option(options, "begin-ns", "1700000000000000000")));
  std::vector<std::string> requests;
  std::string body;
  for (std::uint64_t at = 0; at < lines; at += body_lines) {
    body.clear();
    for (std::uint64_t i = at; i < std::min(lines, at + body_lines); ++i) source.append_next(body);
    bytes += body.size();
    std::string request = "POST " + option(options, "path", "/write") + " HTTP/1.1\r\nHost: ";
    request.append(address.host).append("\r\nContent-Type: text/plain; charset=utf-8\r\n");
    request.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n");
    requests.push_back(request + body);
  }
  return requests;
}

Json run(const Options& options) {
  const Address address = address_of(option(options, "url", ""));
  std::uint64_t bytes = 0;
  const std::vector<std::string> requests = requests_of(options, address, bytes);
  std::atomic<std::size_t> next{0};
  std::vector<Totals> parts(std::stoull(option(options, "connections", "4")));
  std::vector<std::thread> threads;
  const auto begin = Clock::now();
  for (Totals& part : parts) {
    threads.emplace_back([&] {
      try {
        Connection connection(address);
        std::string answer;
        for (std::size_t i = next++; i < requests.size(); i = next++) {
          for (;;) {
            const auto sent = Clock::now();
            const int status = connection.exchange(requests[i], answer);
            if (status == 429 || status == 503) {
              ++part.busy;
              std::this_thread::sleep_for(std::chrono::milliseconds(20));
              continue;
            }
            part.milliseconds.push_back(
                std::chrono::duration<double, std::milli>(Clock::now() - sent).count());
            if (status / 100 != 2) {
              ++part.failed;
              part.failure = std::to_string(status) + " " + answer.substr(0, 300);
            }
            break;
          }
        }
      } catch (const std::exception& failure) {
        ++part.failed;
        part.failure = failure.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  Totals totals;
  for (const Totals& part : parts) {
    totals.busy += part.busy;
    totals.failed += part.failed;
    if (totals.failure.empty()) totals.failure = part.failure;
    totals.milliseconds.insert(totals.milliseconds.end(), part.milliseconds.begin(),
                               part.milliseconds.end());
  }
  const double lines = std::stod(option(options, "lines", "1000000"));
  Json figures{{"seconds", seconds},
               {"samples_per_s", lines * kFields / seconds},
               {"body_bytes", bytes},
               {"busy_answers", totals.busy},
               {"failed", totals.failed},
               {"post_p50_ms", quantile(totals.milliseconds, 0.50)},
               {"post_p99_ms", quantile(totals.milliseconds, 0.99)}};
  if (!totals.failure.empty()) figures["failure"] = totals.failure;
  return figures;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
    const Json figures = run(options);
    std::cout << figures.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
    return figures["failed"] == 0 ? 0 : 1;
  } catch (const std::exception& failure) {
    std::cerr << "bench_influx_load: " << failure.what() << std::endl;
    return 2;
  }
}
