// SPDX-License-Identifier: Apache-2.0
//
// state/*: what is saved, and what becomes of it in the next life.
#include <ephor/plugin.hpp>

#include <algorithm>

#include "check/allocations.hpp"
#include "check/check.hpp"
#include "check/context.hpp"
#include "check/observed.hpp"

namespace ephor::host::check {
namespace {

constexpr std::uint64_t kSession = 1600;

std::string saved(Subject& subject) {
  std::string state;
  if (const ephor_status status = subject.save(state); status != EPHOR_OK) {
    Context::fail("save failed with " + subject.described(status));
  }
  return state;
}

// Create, load, start; the load must succeed.
void resume(Subject& subject, const std::string& state) {
  subject.must_create();
  const ephor_checkpoint* table = subject.checkpoint();
  if (table == nullptr) Context::skip("it keeps no state");
  const ephor_status status = subject.load(table->state_version, state);
  if (status != EPHOR_OK) {
    Context::fail("that load of what save wrote fails with " + subject.described(status),
                  "a state it can read");
  }
  subject.must_start();
}

void require_state(Subject& subject) {
  if (subject.checkpoint() == nullptr) Context::skip("it keeps no state");
}

// Everything it can be seen by after a session.
Observed uninterrupted(Context& context) {
  Subject subject(context, replaying());
  const Traffic traffic = begin(subject);
  require_state(subject);
  give(subject, traffic, 0, kSession);
  Observed out = observe(subject);
  end(subject);
  return out;
}

void round_trip(Context& context) {
  Subject first(context, replaying());
  first.must_create();
  first.must_start();
  require_state(first);
  const Traffic traffic(first.host().patterns());
  if (!traffic.is_empty() && !context.is_source()) give(first, traffic, 0, kSession);
  const std::string state = saved(first);
  const std::string rows = rows_of(first.host());
  const std::string answers = answers_of(first);
  Subject second(context, replaying(&first.host().storage()));
  resume(second, state);
  (void)saved(second);
  must_agree({{}, rows, answers}, {{}, rows_of(second.host()), answers_of(second)},
             "the instance that saved", "the one that loaded");
  context.note(std::to_string(state.size()) + " bytes");
}

// The host is killed behind a checkpoint: the events behind it come again to a new instance.
void goes_on_after_a_crash(Context& context) {
  skip_source(context);
  const Observed whole = uninterrupted(context);
  for (const std::uint64_t cut :
       {std::uint64_t{1}, std::uint64_t{333}, 1 + context.below(kSession - 1)}) {
    Subject first(context, replaying());
    const Traffic traffic = begin(first);
    give(first, traffic, 0, cut);
    const std::string state = saved(first);
    Drafts drafts = drafts_of(first.host());
    // Handled and lost: the crash comes before the next checkpoint.
    give(first, traffic, cut, std::min<std::uint64_t>(50, kSession - cut));
    Subject second(context, replaying(&first.host().storage()));
    resume(second, state);
    give(second, traffic, cut, kSession - cut);
    Observed rest = observe(second);
    for (auto& [cause, texts] : drafts) rest.drafts[cause] = std::move(texts);
    must_agree(whole, rest, "a run without a crash",
               "one that crashed and went on behind event " + std::to_string(cut));
  }
}

void save_twice(Context& context) {
  Subject subject(context, replaying());
  const Traffic traffic = begin(subject);
  require_state(subject);
  give(subject, traffic, 0, kSession);
  const std::string first = saved(subject);
  const std::string rows = subject.host().storage().dump();
  const std::string second = saved(subject);
  Context::expect(first == second,
                  "a second state of " + std::to_string(second.size()) + " bytes, other than the " +
                      std::to_string(first.size()) + " right before",
                  "the same state: nothing has happened");
  Context::expect(rows == subject.host().storage().dump(), "other rows after a second save",
                  "the same rows: nothing has happened");
}

void rows_fit(Context& context) {
  Subject subject(context, replaying());
  const Traffic traffic = begin(subject);
  require_state(subject);
  for (std::uint64_t from = 0; from < kSession; from += 200) {
    give(subject, traffic, from, 200);
    (void)saved(subject);
  }
  require_no(subject.host(), {Rule::storage});
  if (subject.host().storage().tables().empty()) Context::skip("it declares no tables");
  const std::string rows = subject.host().storage().dump();
  context.note(std::to_string(std::count(rows.begin(), rows.end(), '\n')) + " rows");
}

void fresh_state(Context& context) {
  Subject first(context, replaying());
  first.must_create();
  require_state(first);
  first.must_start();
  const std::string state = saved(first);
  Subject second(context, replaying(&first.host().storage()));
  resume(second, state);
  (void)saved(second);
}

void stays_bounded(Context& context) {
  skip_source(context);
  Subject subject(context, replaying());
  const Traffic traffic = begin(subject);
  require_state(subject);
  const std::uint64_t cycle = Traffic::kCycle * traffic.topics().size();
  const std::uint64_t turn = std::max<std::uint64_t>(cycle, 2000);
  std::vector<std::size_t> sizes;
  for (std::uint64_t i = 0; i < 5; ++i) {
    give(subject, traffic, i * turn, turn, 256);
    sizes.push_back(saved(subject).size());
  }
  context.note(std::to_string(sizes.back()) + " bytes after " + std::to_string(5 * turn) +
               " events");
  // What grows by a good part of an event's size for each event, in every turn.
  constexpr std::size_t kBytesPerEvent = 64;
  bool grows = true;
  for (std::size_t i = 1; i < sizes.size(); ++i) {
    grows = grows && sizes[i] > sizes[i - 1] + turn * kBytesPerEvent;
  }
  constexpr std::size_t kBytesMax = 64 << 20;
  Context::expect(!grows && sizes.back() < kBytesMax,
                  "a state of " + std::to_string(sizes.front()) + ", then " +
                      std::to_string(sizes.back()) + " bytes, over events whose ids repeat",
                  "a bound: each checkpoint writes all of it");
}

// ---- states that no save wrote -----------------------------------------------------------------

// Loads `state` into a new instance; if it takes it, it has to live on with it.
class Loader {
 public:
  explicit Loader(Context& context) : context_(context), first_(context, replaying()) {
    const Traffic traffic = [&] {
      first_.must_create();
      require_state(first_);
      first_.must_start();
      return Traffic(first_.host().patterns());
    }();
    if (!traffic.is_empty() && !context.is_source()) give(first_, traffic, 0, 400);
    state_ = saved(first_);
    version_ = first_.checkpoint()->state_version;
  }

  const std::string& state() const { return state_; }
  std::uint32_t version() const { return version_; }

  void load(std::uint32_t version, const std::string& state, const std::string& what) {
    Subject subject(context_, replaying(&first_.host().storage()));
    subject.must_create();
    subject.remark("of " + what);
    ++count_;
    if (subject.load(version, state) == EPHOR_OK) {
      ++taken_;
      subject.remark("after it took " + what);
      subject.must_start();
      const Traffic traffic(subject.host().patterns());
      for (std::uint64_t from = 400; from < 500 && !traffic.is_empty(); from += 20) {
        if (subject.on_events(traffic.slice(subject.host(), from, 20)) != EPHOR_OK) break;
      }
      std::string again;
      (void)subject.save(again);
      for (const Ask& ask : asks_of(subject.host())) {
        if (ask.is_read) (void)subject.ask(ask.query, ask.request);
      }
      (void)subject.stop();
    }
    subject.destroy();
    require_no(subject.host(), {Rule::exceptions, Rule::errors});
  }

  void finish() {
    context_.note(std::to_string(count_) + " states, " + std::to_string(taken_) + " taken");
  }

 private:
  Context& context_;
  Subject first_;
  std::string state_;
  std::uint32_t version_ = 0;
  int count_ = 0;
  int taken_ = 0;
};

void random_state(Context& context) {
  Loader loader(context);
  for (int i = 0; i < 150; ++i) {
    std::string state(context.below(i % 10 == 0 ? 5000 : 200), '\0');
    for (char& byte : state) byte = static_cast<char>(context.below(256));
    loader.load(loader.version(), state,
                "random bytes, number " + std::to_string(i) + " of seed " +
                    std::to_string(context.target().seed));
  }
  loader.load(loader.version(), "{}", "an empty object");
  loader.load(loader.version(), "null", "null");
  loader.load(loader.version(), std::string(100'000, '['), "100,000 open brackets");
  loader.load(loader.version(), std::string(1 << 20, '\0'), "a MiB of zeros");
  loader.load(loader.version(), std::string(1 << 20, '\xFF'), "a MiB of ones");
  loader.finish();
}

void truncated_state(Context& context) {
  Loader loader(context);
  const std::size_t size = loader.state().size();
  const std::size_t step = 1 + size / 150;
  for (std::size_t length = 0; length < size; length += step) {
    loader.load(loader.version(), loader.state().substr(0, length),
                "its own state, cut after " + std::to_string(length) + " of " +
                    std::to_string(size) + " bytes");
  }
  loader.load(loader.version(), loader.state() + std::string(8, '\0'), "its own state and 8 bytes");
  loader.load(loader.version(), loader.state() + loader.state(), "its own state twice");
  loader.finish();
}

void flipped_state(Context& context) {
  Loader loader(context);
  if (loader.state().empty()) Context::skip("its state is empty");
  for (int i = 0; i < 200; ++i) {
    std::string state = loader.state();
    // Half of them in the head, where sizes and counts are.
    const std::size_t range = i % 2 == 0 ? std::min<std::size_t>(state.size(), 128) : state.size();
    const std::size_t at = context.below(range);
    const std::uint64_t bit = context.below(8);
    state[at] = static_cast<char>(state[at] ^ (1 << bit));
    loader.load(loader.version(), state,
                "its own state with bit " + std::to_string(bit) + " of byte " + std::to_string(at) +
                    " flipped");
  }
  loader.finish();
}

void other_versions(Context& context) {
  Loader loader(context);
  for (const std::uint32_t version :
       {loader.version() + 1, loader.version() - 1, 0U, 1U, 999U, UINT32_MAX}) {
    loader.load(version, loader.state(), "its own state as version " + std::to_string(version));
    loader.load(version, "", "nothing as version " + std::to_string(version));
  }
  // The one case that has to be refused: nobody can read what is not made yet.
  Subject subject(context);
  subject.must_create();
  const ephor_status status = subject.load(loader.version() + 7, loader.state());
  Context::expect(status != EPHOR_OK,
                  "that it takes a state of version " + std::to_string(loader.version() + 7) +
                      ", being of version " + std::to_string(loader.version()),
                  "a failure: the host then rebuilds it from the journal");
  loader.finish();
}

// The failure of a load is not the end of the process: a new instance is made.
void failed_load_leaks_nothing(Context& context) {
  if (!allocations::is_counted()) Context::skip("a sanitizer has its own malloc");
  Loader loader(context);
  const auto fail_often = [&](int times) {
    for (int i = 0; i < times; ++i) {
      Subject subject(context);
      subject.must_create();
      (void)subject.load(UINT32_MAX, loader.state());
      (void)subject.load(loader.version(), "\x01\x02\x03");
      subject.destroy();
    }
  };
  fail_often(20);
  const allocations::Usage before = allocations::usage();
  fail_often(50);
  const allocations::Usage middle = allocations::usage();
  fail_often(50);
  const allocations::Usage after = allocations::usage();
  constexpr std::int64_t kBlocksMax = 12;
  Context::expect(
      middle.blocks - before.blocks < kBlocksMax || after.blocks - middle.blocks < kBlocksMax,
      std::to_string(after.blocks - before.blocks) +
          " more blocks of memory after 100 failed loads",
      "what was taken given back");
}

}  // namespace

std::vector<Check> state_checks() {
  constexpr std::string_view kWhy =
      "A disk that lies or another version must cost a rebuild, not the host.";
  return {
      {"state/round_trip", "An instance that loads gives the answers of the one that saved.",
       "Every start of the host is a load.", &round_trip},
      {"state/goes_on_after_a_crash", "Killed behind any checkpoint, its results are the same.",
       "Exactly once in effect: what matters is in state or rows.", &goes_on_after_a_crash},
      {"state/save_twice", "A second save right after the first writes the same.",
       "A save must not change what it saves.", &save_twice},
      {"state/rows_fit", "Its rows fit its tables under a whole session.",
       "One row that does not fit fails every checkpoint from then on.", &rows_fit},
      {"state/fresh_state", "The state before the first event can be loaded.",
       "A host may be stopped before anything happened.", &fresh_state},
      {"state/stays_bounded", "Its state stays bounded over events whose ids repeat.",
       "The whole of it is written at each checkpoint.", &stays_bounded},
      {"state/random_state", "Random bytes are refused, or lead to an instance that works.", kWhy,
       &random_state},
      {"state/truncated_state", "Its own state, cut anywhere, does no harm.", kWhy,
       &truncated_state},
      {"state/flipped_state", "Its own state with one bit flipped does no harm.", kWhy,
       &flipped_state},
      {"state/other_versions", "States of other versions do no harm; a later one is refused.",
       "Who goes back to an older plugin has a newer state.", &other_versions},
      {"state/failed_load_leaks_nothing", "100 failed loads leave no memory.",
       "An instance that cannot load is made anew.", &failed_load_leaks_nothing},
  };
}

}  // namespace ephor::host::check
