// SPDX-License-Identifier: Apache-2.0
//
// bench_metric_door FOLDER [ROUNDS]: what the door costs for bodies of Influx lines (every file of
// FOLDER, in nanoseconds; metric_lines.py writes them), in CPU time of this thread, and how large
// the journal's batches become. Prints one JSON object; the median of the rounds.
#include <algorithm>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "ingest/door.hpp"
#include "store/batch_codec.hpp"

namespace {

using namespace ephor::host;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Buffer buffer_of(const std::string& text) {
  Buffer buffer(text.size());
  std::memcpy(buffer.data(), text.data(), text.size());
  buffer.set_size(text.size());
  return buffer;
}

// Fields are what stands behind '='; the first blank ends the tags.
std::uint64_t fields_in(const std::string& body) {
  std::uint64_t count = 0;
  bool is_fields = false;
  for (const char c : body) {
    if (c == ' ') is_fields = !is_fields;
    if (c == '\n') is_fields = false;
    count += is_fields && c == '=' ? 1U : 0U;
  }
  return count;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: bench_metric_door FOLDER [ROUNDS]\n";
    return 2;
  }
  std::vector<std::string> bodies;
  std::uint64_t samples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream file(entry.path(), std::ios::binary);
    bodies.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    samples += fields_in(bodies.back());
  }
  std::vector<double> door_s;
  std::vector<double> encode_s;
  std::uint64_t stored_bytes = 0;
  std::uint64_t record_bytes = 0;
  std::uint64_t rejected = 0;
  for (int round = 0; round < (argc > 2 ? std::stoi(argv[2]) : 5); ++round) {
    Names names;
    Door door(IngestConfig(), names);
    door_s.push_back(0);
    encode_s.push_back(0);
    stored_bytes = record_bytes = rejected = 0;
    for (const std::string& body : bodies) {
      Buffer buffer = buffer_of(body);
      Admission admission;
      admission.format = EPHOR_FORMAT_INFLUX_NS;
      admission.arrived_ns = 1'800'000'000'000'000'000;
      const double start = cpu_seconds();
      const Arrival arrival = door.admit(std::move(buffer), admission);
      const double middle = cpu_seconds();
      for (const ArrivedBatch& arrived : arrival.batches) {
        const EncodedBatch encoded = encode_batch(*arrived.batch);
        stored_bytes += encoded.body.size() + encoded.ids.size();
        record_bytes += encoded.record_bytes;
      }
      encode_s.back() += cpu_seconds() - middle;
      door_s.back() += middle - start;
      rejected += arrival.rejected_count;
    }
  }
  const double millions = static_cast<double>(samples) * 1e-6;
  std::cout << "{\"name\": \"metric_door\", \"figures\": {\"samples\": " << samples
            << ", \"rejected\": " << rejected
            << ", \"door_cpu_s_per_million\": " << median(door_s) / millions
            << ", \"compress_cpu_s_per_million\": " << median(encode_s) / millions
            << ", \"record_bytes_per_sample\": "
            << static_cast<double>(record_bytes) / static_cast<double>(samples)
            << ", \"stored_bytes_per_sample\": "
            << static_cast<double>(stored_bytes) / static_cast<double>(samples) << "}}\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
