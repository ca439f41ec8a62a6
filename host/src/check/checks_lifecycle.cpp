// SPDX-License-Identifier: Apache-2.0
//
// lifecycle/*: every order of calls that a host may make, and what must be left behind them.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include <unistd.h>

#include "check/check.hpp"
#include "check/context.hpp"
#include "check/process_state.hpp"
#include "check/subject.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

// What breaks in the calls of a life, whatever it is that the check looks at.
void require_calls_in_order(Subject& subject) {
  require_no(subject.host(), {Rule::exceptions, Rule::errors, Rule::handles});
}

HostOptions named(std::string instance) {
  HostOptions options;
  options.instance = std::move(instance);
  return options;
}

void create_destroy(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.destroy();
  require_calls_in_order(subject);
}

void start_stop(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  subject.must_stop();
  subject.destroy();
  require_calls_in_order(subject);
}

void stop_without_start(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_stop();
  subject.destroy();
  require_calls_in_order(subject);
}

void stop_twice(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  subject.must_stop();
  context.step("call stop a second time");
  subject.must_stop();
  subject.destroy();
  require_calls_in_order(subject);
}

void must_drain(Subject& subject, std::int64_t deadline_ns, double seconds_max) {
  const ephor_status status = subject.drain(deadline_ns);
  if (status != EPHOR_OK && status != EPHOR_TIMEOUT) {
    Context::fail("drain failed with " + subject.described(status), "success, or TIMEOUT");
  }
  Context::expect(subject.seconds() <= seconds_max,
                  "that drain took " + std::to_string(subject.seconds()) + " s",
                  "it back at its deadline (" + std::to_string(seconds_max) + " s with patience)");
}

void drain_without_events(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  must_drain(subject, monotonic_ns() + 5 * kSecondNs, 6.0);
  subject.must_stop();
  subject.destroy();
  require_calls_in_order(subject);
}

void drain_after_its_deadline(Context& context) {
  for (const std::int64_t deadline : {monotonic_ns() - kSecondNs, std::int64_t{0}, INT64_MIN}) {
    Subject subject(context);
    subject.must_create();
    subject.must_start();
    must_drain(subject, deadline, 1.0);
    subject.must_stop();
    subject.destroy();
    require_calls_in_order(subject);
  }
}

// Every call that can fail is made to fail in turn while it starts.
void failed_start(Context& context) {
  int failures = 0;
  for (int failing = 1;; ++failing) {
    std::atomic<int> seen{0};
    std::atomic<bool> is_starting{false};
    HostOptions options;
    options.failing = [&](std::string_view) -> ephor_status {
      return is_starting && ++seen == failing ? EPHOR_IO : EPHOR_OK;
    };
    auto subject = std::make_unique<Subject>(context, std::move(options));
    subject->must_create();
    is_starting = true;
    const ephor_status status = subject->start();
    is_starting = false;
    if (status != EPHOR_OK) ++failures;
    subject->must_stop();
    subject->destroy();
    require_calls_in_order(*subject);
    constexpr int kFailingMax = 60;
    if (seen < failing || failing == kFailingMax) break;
  }
  context.note(std::to_string(failures) + " starts failed");
}

void two_instances(Context& context) {
  Subject first(context, named("first"));
  Subject second(context, named("second"));
  first.must_create();
  second.must_create();
  first.must_start();
  second.must_start();
  first.must_stop();
  first.destroy();
  // The second goes on as if the first had never been.
  EventSlice slice(second.host());
  slice.add({.topic = "ephor.tick"});
  second.must_handle(slice);
  second.must_stop();
  second.destroy();
  require_calls_in_order(first);
  require_calls_in_order(second);
  for (Subject* one : {&first, &second}) require_no(one->host(), {Rule::thread, Rule::lifetime});
}

void same_name_again(Context& context) {
  for (int life = 0; life < 3; ++life) {
    Subject subject(context, named("again"));
    subject.must_create();
    subject.must_start();
    subject.must_stop();
    subject.destroy();
    require_calls_in_order(subject);
  }
}

// One step of a life.
enum class Step { load, start, events, save, drain, stop, destroy };

struct LegalOrders {
  explicit LegalOrders(Context& given) : context(given) {}

  Context& context;
  bool has_state = false;
  int count = 0;

  // Every path of at most `left` steps from here, each played from create on.
  void walk(std::vector<Step>& path, int left) {
    const auto has = [&](Step step) {
      return std::find(path.begin(), path.end(), step) != path.end();
    };
    if (!path.empty() && path.back() == Step::destroy) return play(path);
    if (left == 0) return;
    std::vector<Step> next;
    const bool is_over = has(Step::drain) || has(Step::stop);
    if (path.empty() && has_state) next.push_back(Step::load);
    if (!has(Step::start) && !is_over) next.push_back(Step::start);
    if (has(Step::start) && !is_over) {
      next.push_back(Step::events);
      if (has_state) next.push_back(Step::save);
      next.push_back(Step::drain);
    }
    // A last checkpoint is taken behind drain.
    if (has_state && path.size() > 0 && path.back() == Step::drain) next.push_back(Step::save);
    if (std::count(path.begin(), path.end(), Step::stop) < 2) next.push_back(Step::stop);
    next.push_back(Step::destroy);
    for (const Step step : next) {
      path.push_back(step);
      walk(path, left - 1);
      path.pop_back();
    }
  }

  void play(const std::vector<Step>& path) {
    ++count;
    Subject subject(context);
    subject.must_create();
    std::string state = saved_;
    for (const Step step : path) take(subject, step, state);
    require_calls_in_order(subject);
    require_no(subject.host(), {Rule::lifetime});
  }

  void take(Subject& subject, Step step, std::string& state) {
    const auto must = [&](ephor_status status, const char* what) {
      if (status != EPHOR_OK)
        Context::fail(std::string(what) + " failed with " + subject.described(status));
    };
    switch (step) {
      case Step::load:
        must(subject.load(subject.checkpoint()->state_version, state), "load of its own state");
        break;
      case Step::start:
        subject.must_start();
        break;
      case Step::events: {
        EventSlice slice(subject.host());
        slice.add({.topic = "ephor.tick"});
        slice.add({.topic = "check.unknown", .data_json = R"({"value":1})"});
        subject.must_handle(slice);
        break;
      }
      case Step::save:
        must(subject.save(state), "save");
        break;
      case Step::drain:
        must_drain(subject, monotonic_ns() + kSecondNs, 2.0);
        break;
      case Step::stop:
        subject.must_stop();
        break;
      case Step::destroy:
        subject.destroy();
        break;
    }
  }

  std::string saved_;
};

void legal_orders(Context& context) {
  LegalOrders orders(context);
  {
    Subject subject(context);
    subject.must_create();
    subject.must_start();
    orders.has_state = subject.checkpoint() != nullptr;
    if (orders.has_state && subject.save(orders.saved_) != EPHOR_OK) {
      Context::fail("save failed after start with " + subject.described(subject.error().code));
    }
    subject.must_stop();
  }
  // Sources listen and make threads at each start: fewer steps, so that it ends in time.
  std::vector<Step> path;
  orders.walk(path, context.is_source() ? 4 : 6);
  context.note(std::to_string(orders.count) + " orders of calls");
}

void table_is_complete(Context& context) {
  Subject subject(context);
  subject.must_create();
  const ephor_plugin& table = subject.table();
  const auto must = [](bool is_there, const char* name) {
    Context::expect(is_there, std::string("ephor_plugin.") + name + " at NULL", "a function");
  };
  must(table.start != nullptr, "start");
  must(table.on_events != nullptr, "on_events");
  must(table.drain != nullptr, "drain");
  must(table.stop != nullptr, "stop");
  must(table.destroy != nullptr, "destroy");
  must(table.get_extension != nullptr, "get_extension");
}

void out_size(Context& context) {
  Subject subject(context);
  subject.must_create();
  require_no(subject.host(), {Rule::structs});
}

void extensions_are_pure(Context& context) {
  Subject subject(context);
  subject.must_create();
  for (const char* id : {"ephor.storage/1", "ephor.query/1"}) {
    const void* first = subject.extension(id);
    Context::expect(subject.extension(id) == first,
                    std::string("another table for ") + id + " at the second call", "the same");
  }
  for (const char* id : {"", "ephor.storage/", "ephor.storage/999", "ephor.no_such_thing/1", "x"}) {
    Context::expect(subject.extension(id) == nullptr,
                    std::string("a table for the extension \"") + id + "\"", "NULL");
  }
}

void checkpoint_table(Context& context) {
  Subject subject(context);
  subject.must_create();
  const ephor_checkpoint* table = subject.checkpoint();
  if (table == nullptr) Context::skip("it keeps no state");
  Context::expect(table->struct_size >= sizeof(ephor_checkpoint) && table->struct_size <= 4096,
                  "ephor_checkpoint.struct_size " + std::to_string(table->struct_size),
                  std::to_string(sizeof(ephor_checkpoint)));
  Context::expect(table->save != nullptr && table->load != nullptr,
                  "a checkpoint without save or load", "both");
}

std::vector<std::string> sockets() {
  std::vector<std::string> out;
  for (const auto& [unused, what] : open_descriptors()) {
    if (what.starts_with("socket:")) out.push_back(what);
  }
  return out;
}

void create_is_passive(Context& context) {
  (void)context.info();
  const std::size_t thread_count = threads().size();
  const std::size_t socket_count = sockets().size();
  Subject subject(context);
  subject.must_create();
  Context::expect(threads().size() <= thread_count,
                  std::to_string(threads().size() - thread_count) + " threads after create",
                  "none before start");
  Context::expect(sockets().size() <= socket_count, "a socket after create", "none before start");
  Context::expect(child_processes().empty(), "a process after create", "none before start");
}

void stop_ends_threads(Context& context) {
  (void)context.info();
  // A pool that a library keeps for the whole process is made in a first life, and used again.
  {
    Subject subject(context);
    subject.must_create();
    subject.must_start();
    subject.must_stop();
    subject.destroy();
  }
  const std::size_t kept = threads_after_wait(1, 100);
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const std::size_t running = threads().size();
  subject.must_stop();
  const std::size_t after = threads_after_wait(kept, 1000);
  context.note(std::to_string(running - std::min(running, kept)) + " threads while running, " +
               std::to_string(kept - 1) + " kept by libraries");
  Context::expect(after <= kept, std::to_string(after - kept) + " threads after stop",
                  "none: stop joins them");
}

void stop_closes_sockets(Context& context) {
  (void)context.info();
  Subject subject(context);
  const std::size_t before = sockets().size();
  subject.must_create();
  subject.must_start();
  subject.must_stop();
  const std::vector<std::string> after = sockets();
  Context::expect(after.size() <= before,
                  std::to_string(after.size() - before) + " open sockets after stop", "none");
}

void stop_is_prompt(Context& context) {
  constexpr double kSecondsMax = 5.0;
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  EventSlice slice(subject.host());
  slice.add({.topic = "ephor.tick"});
  subject.must_handle(slice);
  subject.must_stop();
  Context::expect(subject.seconds() < kSecondsMax,
                  "that stop took " + std::to_string(subject.seconds()) + " s", "less than 5 s");
  context.note(std::to_string(subject.seconds() * 1e3) + " ms");
}

// One whole life with an event, a checkpoint and a drain.
void live(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  EventSlice slice(subject.host());
  slice.add({.topic = "ephor.tick"});
  subject.must_handle(slice);
  std::string state;
  (void)subject.save(state);
  (void)subject.drain(monotonic_ns() + kSecondNs);
  subject.must_stop();
  subject.destroy();
}

void is_silent(Context& context) {
  (void)context.info();
  const auto printed = [] {
    std::fflush(nullptr);
    return ::lseek(STDOUT_FILENO, 0, SEEK_END);
  };
  const auto before = printed();
  live(context);
  const auto after = printed();
  Context::expect(after == before, std::to_string(after - before) + " bytes printed",
                  "none; a plugin logs through ephor.log/1");
}

std::string process_text() {
  std::string out = "working directory " + working_directory() + "\numask " + umask_text() +
                    "\nlocale " + locale_text() + "\nfloating point " + floating_point_text() +
                    "\nsignal mask " + signal_mask() + "\n" + environment_text();
  for (const auto& [signal, what] : signal_handlers()) {
    out += "signal " + std::to_string(signal) + " " + what + "\n";
  }
  return out;
}

void keeps_process_state(Context& context) {
  // The host ignores it itself before any plugin runs.
  ::signal(SIGPIPE, SIG_IGN);
  (void)context.info();
  const std::string before = process_text();
  live(context);
  const std::string after = process_text();
  if (before != after) {
    Context::fail("that a life changed what the process shares: " + difference(before, after),
                  "it as it was");
  }
}

// The tables of the instance, its configuration and its name are gone after their calls: only a
// later life shows who kept a view.
void copies_what_it_keeps(Context& context) {
  Subject subject(context, named("a_name_that_is_gone_after_create"));
  subject.must_create();
  subject.must_start();
  for (int round = 0; round < 3; ++round) {
    EventSlice slice(subject.host());
    slice.add({.topic = "ephor.tick", .time_ns = 1'700'000'000'000'000'000 + round * kSecondNs});
    slice.add({.topic = "check.unknown", .data_json = R"({"value":1})", .correlation_id = "c-1"});
    subject.must_handle(slice);
    for (const std::string& pattern : subject.host().patterns()) {
      if (pattern.find_first_of("*>") != std::string::npos) continue;
      EventSlice wanted(subject.host());
      wanted.add({.topic = pattern, .data_json = "{}"});
      (void)subject.on_events(wanted);
    }
    std::string state;
    (void)subject.save(state);
  }
  subject.must_stop();
}

}  // namespace

std::vector<Check> lifecycle_checks() {
  return {
      {"lifecycle/create_destroy", "An instance can be made and destroyed without being started.",
       "`ephor check` does so with every plugin of a configuration.", &create_destroy},
      {"lifecycle/start_stop", "An instance can be started and stopped.", "That is what it is for.",
       &start_stop},
      {"lifecycle/stop_without_start", "stop is safe without start.",
       "When another plugin fails to start, the host stops all of them.", &stop_without_start},
      {"lifecycle/stop_twice", "stop is safe twice.",
       "A drain that timed out and a signal may each stop it.", &stop_twice},
      {"lifecycle/drain_without_events", "drain without any event succeeds.",
       "A host may end before the first event came.", &drain_without_events},
      {"lifecycle/drain_after_its_deadline", "drain with a deadline in the past returns at once.",
       "A host in a hurry calls it late.", &drain_after_its_deadline},
      {"lifecycle/failed_start", "stop and destroy are safe after a start that failed anywhere.",
       "A taken port or a full disk must not become a crash.", &failed_start},
      {"lifecycle/two_instances", "Two instances live side by side.",
       "The same plugin may stand twice in a configuration; what is static is shared by mistake.",
       &two_instances},
      {"lifecycle/same_name_again", "A destroyed instance can be made again under its name.",
       "The host does so after each failure and each reload.", &same_name_again},
      {"lifecycle/legal_orders", "Every legal order of calls works.",
       "Each of them happens in some host on some day.", &legal_orders},
      {"lifecycle/table_is_complete", "create fills in every function.",
       "Not every host tests each pointer before each call.", &table_is_complete},
      {"lifecycle/out_size", "create writes no more than out has room for, and says how much.",
       "An older host has a smaller struct, and other memory behind it.", &out_size},
      {"lifecycle/extensions_are_pure", "get_extension gives one table per id, NULL for others.",
       "The host asks once and keeps it; a table for an unknown id would be called wrongly.",
       &extensions_are_pure},
      {"lifecycle/checkpoint_table", "Its checkpoint table is whole.",
       "State that is saved and cannot be loaded is lost.", &checkpoint_table},
      {"lifecycle/create_is_passive", "create starts no thread, process or socket.",
       "A configuration is checked by creating everything in it, beside a running host.",
       &create_is_passive},
      {"lifecycle/stop_ends_threads", "stop ends its threads.",
       "They would call into a host that is going away.", &stop_ends_threads},
      {"lifecycle/stop_closes_sockets", "stop closes its sockets.",
       "A reloaded instance could not listen on its port.", &stop_closes_sockets},
      {"lifecycle/stop_is_prompt", "stop returns within five seconds.",
       "systemd kills a host that takes too long, with everything unsaved.", &stop_is_prompt},
      {"lifecycle/is_silent", "A whole life prints nothing.",
       "Standard output belongs to the command, whose answer may be JSON.", &is_silent},
      {"lifecycle/keeps_process_state",
       "A whole life leaves signals, locale, environment and arithmetic alone.",
       "They are everybody's in the process.", &keeps_process_state},
      {"lifecycle/copies_what_it_keeps", "It keeps no view beyond its call.",
       "The memory behind it is another's by then.", &copies_what_it_keeps},
  };
}

}  // namespace ephor::host::check
