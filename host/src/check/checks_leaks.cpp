// SPDX-License-Identifier: Apache-2.0
//
// leaks/*: a hundred lives, and what is left of them.
#include <chrono>

#include "check/allocations.hpp"
#include "check/check.hpp"
#include "check/context.hpp"
#include "check/process_state.hpp"
#include "check/subject.hpp"

namespace ephor::host::check {
namespace {

void live(Context& context, bool is_started) {
  Subject subject(context);
  subject.must_create();
  if (is_started) {
    subject.must_start();
    subject.must_stop();
  }
  subject.destroy();
}

void live_often(Context& context, bool is_started, int times) {
  for (int i = 0; i < times; ++i) live(context, is_started);
}

// Lets caches and pools fill, once; gives how many lives are looked at: 100, or 40 of a plugin that
// takes its time to start and stop.
int warmed_up(Context& context, bool is_started) {
  constexpr double kSlowSeconds = 0.02;
  const auto began = std::chrono::steady_clock::now();
  live_often(context, is_started, 5);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (seconds > 5 * kSlowSeconds) return 40;
  live_often(context, is_started, 15);
  return 100;
}

std::string after_lives(const std::string& what, int lives) {
  return what + " after " + std::to_string(lives) + " lives";
}

// Memory that grows with the lives, not once: in each of two halves by a block in every fourth
// life.
void heap(Context& context, bool is_started) {
  if (!allocations::is_counted()) {
    Context::skip("a sanitizer has its own malloc, and its own leak check");
  }
  const int lives = warmed_up(context, is_started);
  const allocations::Usage before = allocations::usage();
  live_often(context, is_started, lives / 2);
  const allocations::Usage middle = allocations::usage();
  live_often(context, is_started, lives / 2);
  const allocations::Usage after = allocations::usage();
  const std::int64_t first = middle.blocks - before.blocks;
  const std::int64_t second = after.blocks - middle.blocks;
  const std::int64_t bytes = after.bytes - before.bytes;
  const std::int64_t blocks_max = lives / 2 / 4;
  if (first >= blocks_max && second >= blocks_max) {
    Context::fail(after_lives(std::to_string(first + second) + " more blocks of memory (" +
                                  std::to_string(bytes) + " bytes)",
                              lives),
                  "what was taken given back");
  }
  constexpr std::int64_t kBytesMax = 1 << 20;
  Context::expect(middle.bytes - before.bytes < kBytesMax || after.bytes - middle.bytes < kBytesMax,
                  after_lives(std::to_string(bytes) + " more bytes", lives),
                  "what was taken given back");
  context.note(after_lives(std::to_string(bytes) + " bytes more", lives));
}

void descriptors(Context& context, bool is_started) {
  const int lives = warmed_up(context, is_started);
  const std::size_t before = open_descriptors().size();
  live_often(context, is_started, lives);
  const std::map<int, std::string> after = open_descriptors();
  if (after.size() <= before) return;
  Context::fail(after_lives(std::to_string(after.size() - before) +
                                " more open descriptors, the last " + after.rbegin()->second,
                            lives),
                "none");
}

void thread_count(Context& context, bool is_started) {
  const int lives = warmed_up(context, is_started);
  const std::size_t before = threads_after_wait(1, 100);
  live_often(context, is_started, lives);
  const std::size_t after = threads_after_wait(before, 1000);
  Context::expect(after <= before,
                  after_lives(std::to_string(after - before) + " more threads", lives), "none");
}

void mapping_count(Context& context, bool is_started) {
  const int lives = warmed_up(context, is_started);
  const Mappings before = mappings();
  live_often(context, is_started, lives / 2);
  const Mappings middle = mappings();
  live_often(context, is_started, lives / 2);
  const Mappings after = mappings();
  const std::size_t mappings_max = static_cast<std::size_t>(lives) / 2 / 4;
  constexpr std::uint64_t kBytesMax = 64ULL << 20;  // one arena of malloc
  const bool grows_in_number =
      middle.count >= before.count + mappings_max && after.count >= middle.count + mappings_max;
  const bool grows_in_bytes =
      middle.bytes >= before.bytes + kBytesMax && after.bytes >= middle.bytes + kBytesMax;
  if (grows_in_number || grows_in_bytes) {
    Context::fail(after_lives(std::to_string(after.count - before.count) + " more mappings (" +
                                  std::to_string(after.bytes - before.bytes) + " bytes)",
                              lives),
                  "none");
  }
}

template <void (*look)(Context&, bool), bool is_started>
void of_lives(Context& context) {
  look(context, is_started);
}

}  // namespace

std::vector<Check> leak_checks() {
  constexpr std::string_view kWhy =
      "A plugin is made anew after each failure and each reload, for months.";
  return {
      {"leaks/create_heap", "100 times create and destroy leave no memory.", kWhy,
       &of_lives<&heap, false>},
      {"leaks/create_descriptors", "100 times create and destroy leave no descriptor.", kWhy,
       &of_lives<&descriptors, false>},
      {"leaks/create_threads", "100 times create and destroy leave no thread.", kWhy,
       &of_lives<&thread_count, false>},
      {"leaks/create_mappings", "100 times create and destroy leave no mapping.", kWhy,
       &of_lives<&mapping_count, false>},
      {"leaks/start_heap", "100 times start and stop leave no memory.", kWhy,
       &of_lives<&heap, true>},
      {"leaks/start_descriptors", "100 times start and stop leave no descriptor.", kWhy,
       &of_lives<&descriptors, true>},
      {"leaks/start_threads", "100 times start and stop leave no thread.", kWhy,
       &of_lives<&thread_count, true>},
      {"leaks/start_mappings", "100 times start and stop leave no mapping.", kWhy,
       &of_lives<&mapping_count, true>},
  };
}

}  // namespace ephor::host::check
