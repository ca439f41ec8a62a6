// SPDX-License-Identifier: Apache-2.0
//
// What `isolation: process` costs an event: slices of 256 events of the fake host's make, delivered
// to the same built plugin in this process and in one of its own, in turns; medians.
//   bench_isolation [SLICES] [REPETITIONS]
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "core/plugin_call.hpp"
#include "integration/isolation_support.hpp"
#include "isolation/channel.hpp"

using namespace ephor;
using namespace ephor::testing;

namespace {

constexpr std::uint32_t kSliceEvents = 256;

// Events as the door makes them: records one behind the other in one buffer.
struct Slice {
  explicit Slice(std::size_t record_bytes) {
    std::string head =
        R"({"specversion":"1.0","id":"e","source":"s","type":"bench","data":{"n":1,"p":")";
    std::string record = head + std::string(record_bytes - head.size() - 3, 'p') + "\"}}";
    for (std::uint32_t i = 0; i < kSliceEvents; ++i) text += record;
    text.append(64, ' ');
    for (std::uint32_t i = 0; i < kSliceEvents; ++i) {
      ephor_event event{};
      event.record = text.data() + i * record.size();
      event.record_length = static_cast<std::uint32_t>(record.size());
      event.data_offset = static_cast<std::uint32_t>(record.find("\"data\":") + 7);
      events.push_back(event);
    }
  }
  std::string text;
  std::vector<ephor_event> events;
};

// Nanoseconds for one event.
double measured(const ephor_plugin& plugin, Slice& slice, int slices, std::uint64_t& sequence) {
  ephor_error error = host::fresh_error();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < slices; ++i) {
    for (ephor_event& event : slice.events) event.sequence = ++sequence;
    if (plugin.on_events(plugin.self, slice.events.data(), kSliceEvents, &error) != EPHOR_OK) {
      std::fprintf(stderr, "on_events: %s\n", error.message);
      std::exit(1);
    }
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  return took.count() / (static_cast<double>(slices) * kSliceEvents);
}

// Microseconds for what a slice would take as a call over the socket, between two threads.
double socket_call_us(std::size_t bytes, int calls) {
  using namespace host::isolation;
  struct Silent final : Channel::Listener {
    Reply answer(Method, std::uint64_t, std::string_view) override { return {}; }
    void notice(Method, std::string_view) override {}
  } silent;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::exit(1);
  Channel one(ends[0], silent);
  Channel other(ends[1], silent);
  std::thread readers[2] = {std::thread([&] { one.read_frames(0); }),
                            std::thread([&] { other.read_frames(0); })};
  const std::string body(bytes, 'b');
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) one.call(Method::query, body);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
  one.shut_down();
  for (std::thread& reader : readers) reader.join();
  return took.count() / calls;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int count, char** arguments) {
  const int slices = count > 1 ? std::atoi(arguments[1]) : 2000;
  const int repetitions = count > 2 ? std::atoi(arguments[2]) : 7;
  FakeHost host;
  const std::string config = R"({"stateful": false, "topic": "bench"})";
  // Its queries bear the instance's name: two names under one host.
  ephor_plugin here{};
  here.struct_size = sizeof here;
  ephor_error error = host::fresh_error();
  const host::LoadedPlugin loaded = host::PluginLoader::load_file(test_plugin("idle"));
  FakeHost local_host;
  if (loaded.info->create(local_host.table(), to_view("local"), to_view(config), &here, &error) !=
      EPHOR_OK) {
    std::fprintf(stderr, "create: %s\n", error.message);
    return 1;
  }
  const auto life = isolated_life(test_plugin("idle"), *host.table(), config);
  for (const std::size_t bytes : {200, 400, 2000}) {
    Slice slice(bytes);
    std::uint64_t sequence = 0;
    std::vector<double> in_process;
    std::vector<double> isolated;
    for (int i = 0; i < repetitions; ++i) {
      in_process.push_back(measured(here, slice, slices, sequence));
      isolated.push_back(measured(life->table(), slice, slices, sequence));
    }
    std::printf(
        "records of %zu bytes: %.0f ns an event in process, %.0f ns isolated (%.1f us more "
        "a slice of %u)\n",
        bytes, median(in_process), median(isolated),
        (median(isolated) - median(in_process)) * kSliceEvents / 1000.0, kSliceEvents);
    std::printf("  as one call over the socket: %.1f us\n",
                socket_call_us(bytes * kSliceEvents, slices));
  }
  here.destroy(here.self);
}
