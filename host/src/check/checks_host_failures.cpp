// SPDX-License-Identifier: Apache-2.0
//
// host_failures/*: a host whose calls fail, that lacks extensions, that has no memory left.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <random>

#include "check/allocations.hpp"
#include "check/check.hpp"
#include "check/context.hpp"
#include "check/observed.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

std::vector<std::string> required_of(Context& context) {
  const ephor_plugin_info& info = context.info();
  std::vector<std::string> out;
  for (std::uint32_t i = 0; i < info.required_count; ++i) {
    out.emplace_back(to_text(info.required_extensions[i]));
  }
  return out;
}

std::vector<std::string> optional_of(Context& context) {
  const ephor_plugin_info& info = context.info();
  std::vector<std::string> out;
  for (std::uint32_t i = 0; i < info.optional_count; ++i) {
    out.emplace_back(to_text(info.optional_extensions[i]));
  }
  return out;
}

HostOptions without(const std::vector<std::string>& ids) {
  HostOptions options;
  options.withheld.insert(ids.begin(), ids.end());
  return options;
}

// A whole life in which everything may fail, but cleanly. Says whether it was created.
bool live_through(Context& context, Subject& subject, std::uint64_t events = 120) {
  if (subject.create(context.config_text()) != EPHOR_OK) return false;
  if (subject.start() == EPHOR_OK) {
    const Traffic traffic(subject.host().patterns());
    bool is_well = !traffic.is_empty();
    for (std::uint64_t from = 0; from < events && is_well; from += 20) {
      is_well = subject.on_events(traffic.slice(subject.host(), from, 20)) == EPHOR_OK;
    }
    std::string state;
    (void)subject.save(state);
    for (const Ask& ask : asks_of(subject.host())) {
      if (ask.is_read) (void)subject.ask(ask.query, ask.request, 200'000'000);
    }
    (void)subject.drain(monotonic_ns() + 500'000'000);
  }
  (void)subject.stop();
  subject.destroy();
  return true;
}

void require_clean(Subject& subject) {
  require_no(subject.host(), {Rule::exceptions, Rule::errors, Rule::handles});
}

void optional_absent(Context& context) {
  const std::vector<std::string> optional = optional_of(context);
  if (optional.empty()) Context::skip("it declares no optional extension");
  std::vector<std::vector<std::string>> cases{optional};
  for (const std::string& one : optional) cases.push_back({one});
  for (const std::vector<std::string>& ids : cases) {
    const std::string what = ids.size() == 1 ? ids[0] : "all that are optional";
    Subject subject(context, without(ids));
    subject.remark("without " + what);
    const ephor_status created = subject.create(context.config_text());
    if (created != EPHOR_OK) {
      Context::fail("that create without " + what + " fails with " + subject.described(created),
                    "an instance: it says that it can do without");
    }
    const ephor_status started = subject.start();
    if (started != EPHOR_OK) {
      Context::fail("that start without " + what + " fails with " + subject.described(started),
                    "a start: it says that it can do without");
    }
    const Traffic traffic(subject.host().patterns());
    if (!traffic.is_empty()) give(subject, traffic, 0, 120);
    subject.must_stop();
    subject.destroy();
    require_clean(subject);
  }
  context.note(std::to_string(optional.size()) + " optional extensions");
}

void required_absent(Context& context) {
  const std::vector<std::string> required = required_of(context);
  if (required.empty()) Context::skip("it requires no extension");
  for (const std::string& id : required) {
    Subject subject(context, without({id}));
    subject.remark("without " + id);
    ephor_status status = subject.create(context.config_text());
    std::string text = subject.described(status);
    if (status == EPHOR_OK) {
      status = subject.start();
      text = subject.described(status);
      (void)subject.stop();
      subject.destroy();
    }
    require_clean(subject);
    if (status == EPHOR_OK) continue;
    Context::expect(text.find(id) != std::string::npos, "without " + id + ": " + text,
                    "a message that names " + id);
  }
  context.note(std::to_string(required.size()) + " required extensions");
}

// What it uses without having said so: it may fail, but in words.
void any_absent(Context& context) {
  int refused = 0;
  for (const char* id :
       {"ephor.query/1", "ephor.http/1", "ephor.storage/1", "ephor.journal/1", "ephor.command/1",
        "ephor.metrics/1", "ephor.log/1", "ephor.health/1", "ephor.task/1"}) {
    Subject subject(context, without({id}));
    subject.remark(std::string("without ") + id);
    if (!live_through(context, subject)) ++refused;
    require_clean(subject);
  }
  context.note(std::to_string(refused) + " of 9 refused");
}

// Lets the call of one number fail, among those that `counts` says.
struct FailOne {
  std::atomic<std::uint64_t> seen{0};
  std::atomic<std::uint64_t> failing{0};  // 0: none
  std::atomic<bool> is_armed{true};
  ephor_status status = EPHOR_IO;
  std::function<bool(std::string_view)> counts = [](std::string_view) { return true; };
  std::mutex mutex;  // guards which
  std::string which;

  HostOptions options(HostOptions base = {}) {
    base.failing = [this](std::string_view function) -> ephor_status {
      if (!is_armed || !counts(function) || ++seen != failing) return EPHOR_OK;
      const std::scoped_lock lock(mutex);
      which = function;
      return status;
    };
    return base;
  }
  std::string failed() {
    const std::scoped_lock lock(mutex);
    return which;
  }
};

void each_call_in_create(Context& context) {
  constexpr std::uint64_t kCallsMax = 200;
  std::uint64_t number = 1;
  int refused = 0;
  for (; number <= kCallsMax; ++number) {
    FailOne plan;
    plan.failing = number;
    constexpr ephor_status kStatuses[] = {EPHOR_IO, EPHOR_FULL, EPHOR_INTERNAL, EPHOR_TIMEOUT};
    plan.status = kStatuses[number % 4];
    Subject subject(context, plan.options());
    subject.remark("in which host call " + std::to_string(number) + " fails");
    const ephor_status status = subject.create(context.config_text());
    plan.is_armed = false;
    if (status != EPHOR_OK) {
      ++refused;
      Context::expect(subject.is_out_untouched(),
                      "that create wrote to out, though " + plan.failed() + " failed",
                      "out as it was");
    } else {
      if (subject.start() == EPHOR_OK) (void)subject.stop();
      subject.destroy();
    }
    require_clean(subject);
    if (plan.seen < number) break;
  }
  Subject after(context);
  after.remark("after the host had failed");
  after.must_create();
  context.note(std::to_string(number - 1) + " host calls in create, " + std::to_string(refused) +
               " end it");
}

void failed_create_leaks_nothing(Context& context) {
  if (!allocations::is_counted()) Context::skip("a sanitizer has its own malloc");
  // Calls of create whose failure ends it.
  std::vector<std::uint64_t> ending;
  for (std::uint64_t number = 1; number <= 200; ++number) {
    FailOne plan;
    plan.failing = number;
    Subject subject(context, plan.options());
    if (subject.create(context.config_text()) != EPHOR_OK) {
      ending.push_back(number);
    } else {
      plan.is_armed = false;
      (void)subject.stop();
      subject.destroy();
    }
    if (plan.seen < number) break;
  }
  if (ending.empty()) Context::skip("no failure of the host ends its create");
  const auto fail_often = [&] {
    for (int i = 0; i < 50; ++i) {
      for (const std::uint64_t number :
           {ending.front(), ending[ending.size() / 2], ending.back()}) {
        FailOne plan;
        plan.failing = number;
        Subject subject(context, plan.options());
        subject.remark("in which host call " + std::to_string(number) + " fails");
        if (subject.create(context.config_text()) == EPHOR_OK) {
          (void)subject.stop();
          subject.destroy();
        }
      }
    }
  };
  fail_often();
  const allocations::Usage before = allocations::usage();
  fail_often();
  const allocations::Usage middle = allocations::usage();
  fail_often();
  const allocations::Usage after = allocations::usage();
  constexpr std::int64_t kBlocksMax = 12;
  Context::expect(
      middle.blocks - before.blocks < kBlocksMax || after.blocks - middle.blocks < kBlocksMax,
      std::to_string(after.blocks - before.blocks) +
          " more blocks of memory after 300 creates that failed",
      "what was taken given back");
}

// Calls of a life behind start, one after the other made to fail.
void fail_each(Context& context, ephor_status status, const char* function, std::uint64_t calls_max,
               const std::function<void(Subject&, FailOne&, ephor_status, const char*)>& look) {
  std::uint64_t number = 1;
  for (; number <= calls_max; ++number) {
    FailOne plan;
    plan.is_armed = false;
    plan.status = status;
    if (function != nullptr) {
      plan.counts = [function](std::string_view called) { return called == function; };
    }
    Subject subject(context, plan.options());
    const Traffic traffic = begin(subject);
    subject.remark("in which host call " + std::to_string(number) + " fails");
    plan.failing = number;
    plan.is_armed = true;
    ephor_status result = EPHOR_OK;
    const char* call = "on_events";
    for (std::uint64_t from = 0; from < 200 && result == EPHOR_OK; from += 40) {
      result = subject.on_events(traffic.slice(subject.host(), from, 40));
    }
    if (result == EPHOR_OK && subject.checkpoint() != nullptr) {
      std::string state;
      call = "save";
      result = subject.save(state);
    }
    plan.is_armed = false;
    look(subject, plan, result, call);
    (void)subject.stop();
    subject.destroy();
    require_clean(subject);
    if (plan.seen < number) break;
  }
  context.note(std::to_string(number - 1) + " host calls failed");
}

void each_call_in_running(Context& context) {
  fail_each(context, EPHOR_IO, nullptr, 60, [](Subject&, FailOne&, ephor_status, const char*) {});
}

void publish_full(Context& context) {
  bool has_published = false;
  fail_each(context, EPHOR_FULL, "publish", 25,
            [&](Subject&, FailOne& plan, ephor_status, const char*) {
              has_published = has_published || plan.seen > 0;
            });
  if (!has_published) Context::skip("it published nothing");
}

// A row or a state that could not be written must not be reported as saved.
void save_tells(Context& context) {
  bool has_rows = false;
  for (const char* function : {"upsert", "erase"}) {
    fail_each(context, EPHOR_IO, function, 6,
              [&](Subject&, FailOne& plan, ephor_status result, const char*) {
                if (plan.failed().empty()) return;
                has_rows = true;
                Context::expect(
                    result != EPHOR_OK,
                    "that save reports success, though " + plan.failed() + " had failed",
                    "the failure: the host commits what it was told is whole");
              });
  }
  if (!has_rows) Context::skip("it writes no rows");
}

void state_writer_fails(Context& context) {
  Subject subject(context);
  const Traffic traffic = begin(subject);
  const ephor_checkpoint* table = subject.checkpoint();
  if (table == nullptr) Context::skip("it keeps no state");
  give(subject, traffic, 0, 200);
  std::uint64_t bytes = 0;
  ephor_writer writer{sizeof(ephor_writer), 0, &bytes,
                      [](void* to, ephor_view view) -> ephor_status {
                        *static_cast<std::uint64_t*>(to) += view.size;
                        return EPHOR_FULL;
                      }};
  ephor_error error{};
  error.struct_size = sizeof error;
  context.step("call save, whose writer is full");
  subject.host().storage().begin();
  ephor_status status = EPHOR_OK;
  {
    const CallScope scope(subject.host(), CallKind::save);
    status = table->save(subject.table().self, subject.host().rows(), &writer, &error);
  }
  subject.host().storage().roll_back();
  if (bytes == 0) Context::skip("its state is empty");
  Context::expect(status != EPHOR_OK, "that save reports success, though its state was refused",
                  "the failure: it would be loaded in part");
  std::string state;
  Context::expect(subject.save(state) == EPHOR_OK, "that no save succeeds after it",
                  "the next one to succeed");
}

void reply_writer_fails(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 200);
  int count = 0;
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read) continue;
    ++count;
    ephor_reply& reply =
        *new ephor_reply{// may be finished late
                         sizeof(ephor_reply),
                         0,
                         nullptr,
                         [](void*, ephor_view) -> ephor_status { return EPHOR_IO; },
                         [](void*, ephor_status, const ephor_error*) {},
                         monotonic_ns() + 1'000'000'000};
    ephor_error error{};
    error.struct_size = sizeof error;
    const GuardedText request(ask.request);
    context.step("ask " + ask.name + ", whose asker has gone");
    const CallScope scope(subject.host(), CallKind::query);
    (void)ask.query.handler(ask.query.user, request.view(), &reply, &error);
  }
  if (count == 0) Context::skip("it has no GET routes");
  must_answer_soundly(subject);
  end(subject);
}

void select_fails(Context& context) {
  FailOne plan;
  plan.counts = [](std::string_view function) { return function == "select"; };
  std::atomic<bool> is_failing{false};
  HostOptions options;
  options.failing = [&](std::string_view function) -> ephor_status {
    if (!is_failing || function != "select") return EPHOR_OK;
    ++plan.seen;
    return EPHOR_IO;
  };
  Subject subject(context, std::move(options));
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 400);
  std::string state;
  (void)subject.save(state);
  is_failing = true;
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read) continue;
    const Answer answer = subject.ask(ask.query, ask.request);
    if (answer.status != EPHOR_OK || !ask.is_json) continue;
    Context::expect(Json::accept(answer.body), ask.name + ": " + answer.body.substr(0, 80),
                    "an error, or one JSON value");
  }
  if (plan.seen == 0) Context::skip("its queries SELECT nothing");
  is_failing = false;
  must_answer_soundly(subject);
  require_clean(subject);
}

void random_failures(Context& context) {
  constexpr ephor_status kStatuses[] = {EPHOR_IO,      EPHOR_FULL,   EPHOR_INTERNAL,
                                        EPHOR_TIMEOUT, EPHOR_DENIED, EPHOR_UNSUPPORTED};
  const std::int64_t until = after_share(context, 0.1);
  int lives = 0;
  for (; lives < 60 && monotonic_ns() < until; ++lives) {
    std::mutex mutex;  // guards random
    std::mt19937_64 random(context.below(UINT64_MAX));
    const std::uint64_t one_in = 4 + context.below(40);
    HostOptions options;
    options.failing = [&](std::string_view) -> ephor_status {
      const std::scoped_lock lock(mutex);
      return random() % one_in == 0 ? kStatuses[random() % 6] : EPHOR_OK;
    };
    Subject subject(context, std::move(options));
    subject.remark("in life " + std::to_string(lives) + " of seed " +
                   std::to_string(context.target().seed));
    (void)live_through(context, subject);
    require_clean(subject);
  }
  context.note(std::to_string(lives) + " lives");
}

// ---- no memory left
// ------------------------------------------------------------------------------

// One life in which memory is there, so that what is made once per thread or process is made.
void warm_up(Context& context) {
  if (!allocations::is_counted()) Context::skip("a sanitizer has its own malloc");
  Subject subject(context);
  (void)live_through(context, subject, 60);
}

// `call` has fewer allocations to itself each time, until none fails any more. Few are tried one by
// one, many in growing steps.
void starve(Context& context, const std::function<bool(Subject&, std::uint64_t)>& call) {
  const std::int64_t until = after_share(context, 0.07);
  int count = 0;
  for (std::uint64_t number = 1; monotonic_ns() < until; number += 1 + number / 16, ++count) {
    Subject subject(context);
    subject.remark("whose allocation " + std::to_string(number) + " fails");
    const bool is_starved = call(subject, number);
    require_no(subject.host(), {Rule::exceptions, Rule::errors});
    if (!is_starved) break;
  }
  context.note(std::to_string(count) + " points");
}

// Runs `call` with the limit and says whether an allocation has failed.
bool starved(Subject& subject, std::uint64_t number, const std::function<void()>& call,
             std::size_t bytes_min = allocations::kFailingBytes) {
  subject.fail_allocations_from(number, bytes_min);
  call();
  subject.fail_allocations_from(0);
  return allocations::failed_count() > 0;
}

void no_memory_in_create(Context& context) {
  warm_up(context);
  const std::string config = context.config_text();
  starve(context, [&](Subject& subject, std::uint64_t number) {
    ephor_status status = EPHOR_OK;
    const bool out = starved(subject, number, [&] { status = subject.create(config); });
    if (status == EPHOR_OK) {
      (void)subject.stop();
      subject.destroy();
    }
    return out;
  });
}

void no_memory_in_start(Context& context) {
  warm_up(context);
  starve(context, [&](Subject& subject, std::uint64_t number) {
    subject.must_create();
    const bool out = starved(subject, number, [&] { (void)subject.start(); });
    (void)subject.stop();
    subject.destroy();
    return out;
  });
}

void no_memory_in_events(Context& context) {
  warm_up(context);
  starve(context, [&](Subject& subject, std::uint64_t number) {
    const Traffic traffic = begin(subject);
    const EventSlice slice = traffic.slice(subject.host(), 0, 48);
    const bool out = starved(subject, number, [&] { (void)subject.on_events(slice); });
    (void)subject.stop();
    subject.destroy();
    return out;
  });
}

void no_memory_in_save(Context& context) {
  warm_up(context);
  std::string saved;
  starve(context, [&](Subject& subject, std::uint64_t number) {
    const Traffic traffic = begin(subject);
    if (subject.checkpoint() == nullptr) Context::skip("it keeps no state");
    give(subject, traffic, 0, 96);
    std::string state;
    ephor_status status = EPHOR_OK;
    const bool out = starved(
        subject, number, [&] { status = subject.save(state); },
        allocations::kFailingBytesOfDocuments);
    if (status != EPHOR_OK && subject.save(state) != EPHOR_OK) {
      Context::fail("that a save fails with memory there, after one that had none",
                    "the next save to succeed");
    }
    (void)subject.stop();
    subject.destroy();
    return out;
  });
}

void no_memory_in_load(Context& context) {
  warm_up(context);
  std::string state;
  std::uint32_t version = 0;
  {
    Subject subject(context);
    const Traffic traffic = begin(subject);
    if (subject.checkpoint() == nullptr) Context::skip("it keeps no state");
    version = subject.checkpoint()->state_version;
    give(subject, traffic, 0, 96);
    if (subject.save(state) != EPHOR_OK) Context::blocked_by("state/round_trip");
  }
  starve(context, [&](Subject& subject, std::uint64_t number) {
    subject.must_create();
    const bool out = starved(subject, number, [&] { (void)subject.load(version, state); });
    (void)subject.stop();
    subject.destroy();
    return out;
  });
}

void no_memory_in_queries(Context& context) {
  warm_up(context);
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 200);
  std::string state;
  (void)subject.save(state);
  const std::int64_t until = after_share(context, 0.1);
  int count = 0;
  int asked = 0;
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read) continue;
    ++asked;
    for (std::uint64_t number = 1; monotonic_ns() < until; number += 1 + number / 8, ++count) {
      ephor_reply& reply =
          *new ephor_reply{// may be finished late
                           sizeof(ephor_reply),
                           0,
                           nullptr,
                           [](void*, ephor_view) -> ephor_status { return EPHOR_OK; },
                           [](void*, ephor_status, const ephor_error*) {},
                           monotonic_ns() + 1'000'000'000};
      ephor_error error{};
      error.struct_size = sizeof error;
      const GuardedText request(ask.request);
      context.step("ask " + ask.name + " whose allocation " + std::to_string(number) + " fails");
      const CallScope scope(subject.host(), CallKind::query);
      allocations::fail_from(number, allocations::kFailingBytesOfDocuments);
      const ephor_status status = ask.query.handler(ask.query.user, request.view(), &reply, &error);
      allocations::fail_none();
      if (status != EPHOR_OK && status != EPHOR_PENDING) {
        Context::expect(error.message[0] != '\0', ask.name + " that fails without a message",
                        "one, also without memory");
      }
      if (allocations::failed_count() == 0) break;
    }
  }
  if (asked == 0) Context::skip("it has no GET routes");
  must_answer_soundly(subject);
  context.note(std::to_string(count) + " points");
}

}  // namespace

std::vector<Check> host_failure_checks() {
  constexpr std::string_view kWhy = "Disks fill and databases go away; the process has to stay.";
  constexpr std::string_view kMemory =
      "A service with a memory limit sees it; one plugin must not end the host of all. (A runtime "
      "that ends the process by itself, as Rust's does, has to be suppressed with that reason.)";
  return {
      {"host_failures/optional_absent", "It works without each extension it calls optional.",
       "That is what the word says, to a host that lacks it.", &optional_absent},
      {"host_failures/required_absent", "Without an extension it requires it fails and names it.",
       "The operator has to read which one.", &required_absent},
      {"host_failures/any_absent", "Without any one extension it works, or fails in words.",
       "The next major version of an extension is another id.", &any_absent},
      {"host_failures/each_call_in_create",
       "Whichever host call fails in create: an error or none.", kWhy, &each_call_in_create},
      {"host_failures/failed_create_leaks_nothing",
       "Creates that the host made fail leave no memory.", "A supervisor tries again for hours.",
       &failed_create_leaks_nothing},
      {"host_failures/each_call_in_running",
       "Whichever host call fails under events or in save: an error or none.", kWhy,
       &each_call_in_running},
      {"host_failures/publish_full", "A publish that is FULL does no harm.",
       "The journal's disk may be full.", &publish_full},
      {"host_failures/save_tells", "A save whose rows were refused does not report success.",
       "The host would commit half of a checkpoint.", &save_tells},
      {"host_failures/state_writer_fails",
       "A save whose state was refused does not report success.",
       "The host would commit half of a state.", &state_writer_fails},
      {"host_failures/reply_writer_fails", "A reply that takes no bytes does no harm.",
       "The asker may have gone.", &reply_writer_fails},
      {"host_failures/select_fails", "A SELECT that fails becomes an error of the query.",
       "The database is another process's.", &select_fails},
      {"host_failures/random_failures", "Lives in which calls fail at random do no harm.", kWhy,
       &random_failures},
      {"host_failures/no_memory_in_create", "create without memory fails with a status.", kMemory,
       &no_memory_in_create},
      {"host_failures/no_memory_in_start", "start without memory fails with a status.", kMemory,
       &no_memory_in_start},
      {"host_failures/no_memory_in_events", "on_events without memory fails with a status.",
       kMemory, &no_memory_in_events},
      {"host_failures/no_memory_in_save", "save without memory fails, and the next one succeeds.",
       kMemory, &no_memory_in_save},
      {"host_failures/no_memory_in_load", "load without memory fails with a status.", kMemory,
       &no_memory_in_load},
      {"host_failures/no_memory_in_queries", "A query without memory fails with a status.", kMemory,
       &no_memory_in_queries},
  };
}

}  // namespace ephor::host::check
