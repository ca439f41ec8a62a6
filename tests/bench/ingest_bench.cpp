// SPDX-License-Identifier: Apache-2.0
//
// bench_door FILE.ndjson[.gz] [ROUNDS]: what inflating and the door cost for each line, in CPU time
// of this thread. Prints one JSON object; the median of the rounds.
#include <sys/resource.h>

#include <algorithm>
#include <ctime>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "ingest/door.hpp"
#include "ingest/gunzip.hpp"
#include "ingest/line_chunker.hpp"

namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Round {
  double inflate_s = 0;
  double door_s = 0;
  std::uint64_t events = 0;
  std::uint64_t rejected = 0;
  std::uint64_t join_keys = 0;
  std::uint64_t bytes = 0;
};

Round run(const std::string& path) {
  ephor::host::Names names;
  ephor::host::Door door(ephor::host::IngestConfig(), names);
  ephor::host::GzipReader reader(path);
  ephor::host::LineChunker chunks(reader, {});
  Round round;
  while (true) {
    const double start = cpu_seconds();
    auto chunk = chunks.next();
    const double middle = cpu_seconds();
    round.inflate_s += middle - start;
    if (!chunk) break;
    ephor::host::Admission admission;
    admission.format = EPHOR_FORMAT_LINES;
    admission.arrived_ns = 1'800'000'000'000'000'000;
    admission.first_line = chunk->first_line;
    round.bytes += chunk->body.size();
    const ephor::host::Arrival arrival = door.admit(std::move(chunk->body), admission);
    round.door_s += cpu_seconds() - middle;
    round.events += arrival.event_count;
    round.rejected += arrival.rejected_count;
    for (const auto& arrived : arrival.batches) round.join_keys += arrived.batch->join_keys.size();
  }
  return round;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: bench_door FILE.ndjson[.gz] [ROUNDS]\n";
    return 2;
  }
  const int rounds = argc > 2 ? std::stoi(argv[2]) : 5;
  std::vector<double> inflate;
  std::vector<double> door;
  Round last;
  for (int i = 0; i < rounds; ++i) {
    last = run(argv[1]);
    inflate.push_back(last.inflate_s);
    door.push_back(last.door_s);
  }
  const double events = static_cast<double>(std::max<std::uint64_t>(last.events, 1));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << "{\"name\": \"door\", \"figures\": {\"events\": " << last.events
            << ", \"rejected\": " << last.rejected << ", \"bytes\": " << last.bytes
            << ", \"join_keys\": " << last.join_keys
            << ", \"inflate_cpu_seconds\": " << median(inflate)
            << ", \"door_cpu_seconds\": " << median(door)
            << ", \"door_us_per_event\": " << median(door) * 1e6 / events
            << ", \"peak_rss_mb\": " << static_cast<double>(usage.ru_maxrss) / 1024 << "}}\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
