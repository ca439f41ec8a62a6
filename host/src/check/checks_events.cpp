// SPDX-License-Identifier: Apache-2.0
//
// events/*: events as clients and the host send them, in every order and number that the log has.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <deque>

#include "bus/topic_filter.hpp"
#include "check/allocations.hpp"
#include "check/check.hpp"
#include "check/context.hpp"
#include "check/observed.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

constexpr std::uint64_t kSession = 2000;

// What one instance makes of the session in slices whose size `slice_of` says.
template <typename SliceOf>
Observed lived(Context& context, const SliceOf& slice_of) {
  Subject subject(context, replaying());
  const Traffic traffic = begin(subject);
  for (std::uint64_t from = 0; from < kSession;) {
    const std::uint64_t count = std::min<std::uint64_t>(slice_of(), kSession - from);
    subject.must_handle(traffic.slice(subject.host(), from, count));
    from += count;
  }
  Observed out = observe(subject);
  end(subject);
  return out;
}

void any_slices(Context& context) {
  skip_source(context);
  const Observed single = lived(context, [] { return 1; });
  const Observed whole = lived(context, [] { return 256; });
  must_agree(single, whole, "events one by one", "slices of 256");
  const Observed mixed = lived(context, [&] { return 1 + context.below(256); });
  must_agree(single, mixed, "events one by one", "slices of random size");
  std::uint64_t drafts = 0;
  for (const auto& [unused, texts] : single.drafts) drafts += texts.size();
  context.note(std::to_string(kSession) + " events, " + std::to_string(drafts) + " drafts");
}

void is_deterministic(Context& context) {
  skip_source(context);
  const Observed first = lived(context, [] { return 64; });
  const Observed second = lived(context, [] { return 64; });
  must_agree(first, second, "a run", "the next over the same events");
}

// Saves, queries and drains between slices change nothing in what comes after.
void saves_disturb_nothing(Context& context) {
  skip_source(context);
  const Observed quiet = lived(context, [] { return 64; });
  Subject subject(context, replaying());
  const Traffic traffic = begin(subject);
  for (std::uint64_t from = 0; from < kSession; from += 80) {
    give(subject, traffic, from, 80);
    std::string state;
    if (subject.checkpoint() != nullptr && subject.save(state) != EPHOR_OK) {
      Context::fail("save failed with " + subject.described(subject.error().code));
    }
  }
  must_agree(quiet, observe(subject), "a run with one save", "one with many");
}

void documented(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  int count = 0;
  std::uint64_t number = 0;
  for (const std::string& topic : traffic.topics()) {
    if (!Traffic::is_documented(topic)) continue;
    ++count;
    subject.remark("with " + topic);
    for (std::uint64_t turn = 0; turn < 3 * Traffic::kCycle; ++turn, ++number) {
      EventSlice slice(subject.host());
      const std::int64_t time_ns = Traffic::time_of(number);
      Traffic::add_with(slice, topic, number, Traffic::data_of(topic, turn, time_ns).dump(),
                        time_ns);
      const ephor_status status = subject.on_events(slice);
      if (status != EPHOR_OK) {
        Context::fail("that a valid " + topic + " fails with " + subject.described(status),
                      "it handled: it is as docs/events.md has it");
      }
    }
  }
  if (count == 0) Context::skip("it wants no topic that is documented");
  context.note(std::to_string(count) + " topics");
}

void batch_sizes(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  std::uint64_t from = 0;
  for (const std::uint64_t count : {1, 2, 3, 7, 16, 63, 64, 65, 127, 128, 129, 255, 256, 1}) {
    subject.remark("with " + std::to_string(count) + " events");
    subject.must_handle(traffic.slice(subject.host(), from, count));
    from += count;
  }
}

void sequence_gaps(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  std::uint64_t sequence = 7 << 16 | 3;
  for (std::uint64_t number = 0; number < 300; ++number) {
    EventSlice slice(subject.host());
    traffic.add(slice, number);
    // Within a batch, to the next batch, and far away.
    sequence += number % 50 == 49 ? 1ULL << 40 : number % 5 == 4 ? 1ULL << 16 : 1 + number % 3;
    slice.events().front().sequence = sequence;
    subject.remark("with sequence " + std::to_string(sequence));
    subject.must_handle(slice);
  }
  EventSlice last(subject.host());
  traffic.add(last, 301);
  last.events().front().sequence = UINT64_MAX - 1;
  subject.remark("with the greatest sequence");
  subject.must_handle(last);
  require_no(subject.host(), {Rule::drafts});
}

void time_going_back(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  for (std::uint64_t number = 0; number < 600; ++number) {
    EventSlice slice(subject.host());
    traffic.add(slice, number);
    ephor_event& event = slice.events().front();
    if (number % 3 == 1) event.time_ns -= 3'600'000'000'000;              // an hour
    if (number % 3 == 2) event.time_ns = Traffic::time_of(number / 100);  // ties
    if ((event.flags & EPHOR_EVENT_HOST) == 0 && number % 3 == 1) event.flags |= EPHOR_EVENT_LATE;
    subject.remark("whose time goes back");
    subject.must_handle(slice);
  }
  must_answer_soundly(subject);
}

// The ends of what a time can be: the door takes the years 1678 to 2261.
void extreme_times(Context& context) {
  int count = 0;
  for (const std::int64_t time_ns : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1},
                                     std::int64_t{-9'214'560'000'000'000'000},
                                     std::int64_t{9'214'646'400'000'000'000}, Traffic::kBeginNs}) {
    Subject subject(context);
    const Traffic traffic = begin(subject);
    subject.remark("at " + format_time(time_ns));
    for (std::uint64_t number = 0; number < 2 * traffic.topics().size(); ++number, ++count) {
      EventSlice slice(subject.host());
      traffic.add(slice, number);
      slice.events().front().time_ns = time_ns;
      if (subject.on_events(slice) != EPHOR_OK) break;  // the object is done for
    }
    require_no(subject.host(), {Rule::exceptions, Rule::errors});
    end(subject);
  }
  context.note(std::to_string(count) + " events");
}

void flags(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  for (std::uint64_t number = 0; number < 512; ++number) {
    EventSlice slice(subject.host());
    traffic.add(slice, number);
    ephor_event& event = slice.events().front();
    event.flags = static_cast<std::uint8_t>(event.flags | (number * 37 & 0xFF));
    subject.remark("with flags " + std::to_string(event.flags));
    subject.must_handle(slice);
  }
}

void otlp(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  const auto& topics = traffic.topics();
  if (std::find(topics.begin(), topics.end(), "ephor.span") == topics.end()) {
    Context::skip("it does not want ephor.span");
  }
  subject.remark("with OTLP spans");
  for (std::uint64_t number = 0; number < 200; ++number) {
    EventSlice slice(subject.host());
    const std::int64_t time_ns = Traffic::time_of(number);
    ephor_event& event = slice.add_raw(otlp_span(number, time_ns), 0,
                                       {.topic = "ephor.span",
                                        .sequence = Traffic::sequence_of(number),
                                        .time_ns = time_ns,
                                        .source = "service"});
    event.encoding = EPHOR_ENCODING_OTLP;
    event.trace_id[15] = static_cast<std::uint8_t>(1 + number % 100);
    const ephor_status status = subject.on_events(slice);
    if (status == EPHOR_UNSUPPORTED) Context::skip("it says that it reads no OTLP");
    if (status != EPHOR_OK) {
      Context::fail("that a span of OTLP fails with " + subject.described(status),
                    "it read, or UNSUPPORTED");
    }
  }
  must_answer_soundly(subject);
}

void unknown_topics(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  give(subject, traffic, 0, 64);
  subject.remark("of a topic it did not ask for");
  for (const char* topic :
       {"check.never_heard_of", "x", "ephor.from_the_future", "a.b.c.d.e.f.g"}) {
    EventSlice slice(subject.host());
    Traffic::add_with(slice, topic, 64, R"({"a":1})", Traffic::time_of(64));
    if (subject.on_events(slice) != EPHOR_OK) {
      require_no(subject.host(), {Rule::errors, Rule::exceptions});
      return;  // refused, with a text
    }
  }
  subject.remark("after them");
  give(subject, traffic, 65, 64);
}

// What it publishes comes back to it if it asks for the topic. It has to die out.
void no_endless_derivation(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  give(subject, traffic, 0, 1000);
  constexpr int kGenerationsMax = 12;
  constexpr std::size_t kDraftsMax = 200;
  std::size_t seen = 0;
  std::uint64_t number = 2000;
  const std::vector<std::string> patterns = subject.host().patterns();
  const auto is_wanted = [&](const std::string& topic) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& one) { return topic_matches(one, topic); });
  };
  int generation = 0;
  for (;; ++generation) {
    const std::vector<CheckingHost::Published> published = subject.host().published();
    std::vector<CheckingHost::Published> own;
    for (std::size_t i = seen; i < published.size() && own.size() < kDraftsMax; ++i) {
      if (is_wanted(published[i].topic)) {
        own.push_back(published[i]);
      }
    }
    seen = published.size();
    if (own.empty()) break;
    Context::expect(generation < kGenerationsMax,
                    "that it still publishes " + own.front().topic + " because of what it " +
                        "published, in generation " + std::to_string(generation),
                    "an end: each of these events is journaled for ever");
    for (const CheckingHost::Published& one : own) {
      EventSlice slice(subject.host());
      Traffic::add_with(slice, one.topic, number, one.data_json, Traffic::time_of(number),
                        EPHOR_EVENT_DERIVED);
      ++number;
      subject.must_handle(slice);
    }
  }
  context.note(std::to_string(generation) + " generations");
}

void copies_what_it_keeps(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  // Each record is gone after its slice; whatever reads it later crashes.
  for (std::uint64_t from = 0; from < 1600; from += 16) {
    give(subject, traffic, from, 16, 16);
    std::string state;
    if (from % 400 == 0) (void)subject.save(state);
    if (from % 400 == 0) must_answer_soundly(subject);
  }
  end(subject);
}

void soak(Context& context) {
  if (!allocations::is_counted()) Context::skip("a sanitizer has its own malloc");
  HostOptions options;
  options.has_rows_on_disk = true;
  Subject subject(context, std::move(options));
  const Traffic traffic = begin(subject);
  constexpr std::uint64_t kEvents = 200'000;
  constexpr std::uint64_t kSlice = 256;
  constexpr std::uint64_t kSlices = 16;  // the same records again and again, later each time
  std::deque<EventSlice> slices;
  for (std::uint64_t i = 0; i < kSlices; ++i) {
    slices.push_back(traffic.slice(subject.host(), i * kSlice, kSlice));
  }
  const std::int64_t until = after_share(context, 0.2);
  std::uint64_t number = 0;
  std::vector<allocations::Usage> usage;  // after each turn of all slices and a save
  while (number < kEvents && monotonic_ns() < until) {
    for (EventSlice& slice : slices) {
      for (ephor_event& event : slice.events()) {
        event.sequence = Traffic::sequence_of(number);
        event.time_ns = Traffic::time_of(number++);
      }
      subject.must_handle(slice);
    }
    std::string state;
    (void)subject.save(state);
    state = {};
    subject.host().forget();
    usage.push_back(allocations::usage());
  }
  context.note(std::to_string(number) + " events, " + std::to_string(usage.back().bytes >> 20) +
               " MiB in use");
  // What grows in each quarter of the second half, by more than a rounding of its tables.
  if (usage.size() < 16) return;
  const std::size_t half = usage.size() / 2;
  const std::size_t step = half / 4;
  const std::uint64_t events = step * kSlices * kSlice;
  const auto limit = static_cast<std::int64_t>(events / 16);
  bool grows = true;
  for (std::size_t i = 0; i < 4; ++i) {
    const allocations::Usage& before = usage[half + i * step - 1];
    const allocations::Usage& after = usage[half + (i + 1) * step - 1];
    grows = grows && after.blocks - before.blocks > limit;
  }
  if (grows) {
    const std::int64_t bytes = usage.back().bytes - usage[half].bytes;
    Context::fail(
        "that memory grows by " + std::to_string(bytes / static_cast<std::int64_t>(4 * events)) +
            " bytes per event, after " + std::to_string(number) + " events whose ids repeat",
        "a bound");
  }
}

}  // namespace

std::vector<Check> event_checks() {
  return {
      {"events/documented", "It handles each valid event of a documented topic it asks for.",
       "An event it fails on costs the object its life and ends as ephor.deadletter.", &documented},
      {"events/any_slices",
       "One by one, in slices of 256 or of any size: the results are the same.",
       "Where a slice ends depends on the load, so it must not show in a result.", &any_slices},
      {"events/is_deterministic", "Two runs over the same events have the same results.",
       "Replay has to equal live.", &is_deterministic},
      {"events/saves_disturb_nothing", "How often it is saved does not show in its results.",
       "When a checkpoint falls depends on the wall clock.", &saves_disturb_nothing},
      {"events/batch_sizes", "It takes 1 to 256 events in one call.",
       "All of these come, depending on the load.", &batch_sizes},
      {"events/sequence_gaps", "Sequences may have gaps of any size.",
       "The log is ordered, not dense; a subscription sees a part of it.", &sequence_gaps},
      {"events/time_going_back", "Event times may go back and be equal.",
       "The log is in the order of arrival; clients are late.", &time_going_back},
      {"events/extreme_times", "Times of 1678, 1970 and 2261 do no harm.",
       "A client's clock may be anywhere.", &extreme_times},
      {"events/flags", "Late, naive, clamped, derived and unknown flags do no harm.",
       "A flag says more about an event; it is still an event.", &flags},
      {"events/otlp", "It reads spans that came as OTLP protobuf.",
       "The record of one span is what the OpenTelemetry SDK sent.", &otlp},
      {"events/unknown_topics", "Topics it never heard of are left alone.",
       "A pattern may match what the next version of a client sends.", &unknown_topics},
      {"events/no_endless_derivation", "What it publishes does not make it publish for ever.",
       "A plugin that answers its own events fills the journal in an hour.",
       &no_endless_derivation},
      {"events/copies_what_it_keeps", "It keeps no view of a record beyond its slice.",
       "The memory is another batch's by then.", &copies_what_it_keeps},
      {"events/soak", "Memory stays flat over up to 200,000 events whose ids repeat.",
       "A watcher runs for months.", &soak},
  };
}

}  // namespace ephor::host::check
