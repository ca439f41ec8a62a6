// SPDX-License-Identifier: Apache-2.0
//
// skew/*: a host of another version than the one the plugin was built for.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "check/check.hpp"
#include "check/context.hpp"
#include "check/observed.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

constexpr unsigned char kGarbage = 0xA5;

// A struct as a newer host has it: more fields behind it, and the reserved ones in use.
template <typename Struct>
struct Padded {
  Struct known{};
  unsigned char behind[64];

  explicit Padded(const Struct& given) : known(given) {
    known.struct_size = sizeof(Padded);
    std::memset(behind, kGarbage, sizeof behind);
  }
  bool is_intact() const {
    return std::all_of(std::begin(behind), std::end(behind),
                       [](unsigned char byte) { return byte == kGarbage; });
  }
};

// A whole life; everything has to succeed as it does under a host of its own version.
void must_live(Context& context, HostOptions options, const std::string& what) {
  Subject subject(context, std::move(options));
  subject.remark(what);
  const ephor_status created = subject.create(context.config_text());
  if (created != EPHOR_OK) {
    Context::fail("that create " + what + " fails with " + subject.described(created),
                  "success, as under a host of its own version");
  }
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 600);
  std::string state;
  if (const ephor_checkpoint* table = subject.checkpoint(); table != nullptr) {
    if (subject.save(state) != EPHOR_OK) {
      Context::fail("that save " + what + " fails with " + subject.described(subject.error().code));
    }
  }
  must_answer_soundly(subject);
  end(subject);
  require_no(subject.host(), {Rule::exceptions, Rule::errors, Rule::structs, Rule::handles});
}

void newer_host(Context& context) {
  HostOptions options;
  options.core_padding_bytes = 64;
  options.extension_padding_bytes = 48;
  options.abi_minor = EPHOR_ABI_MINOR + 9;
  must_live(context, std::move(options), "under a newer host");
}

void oldest_host(Context& context) {
  HostOptions options;
  options.abi_minor = context.entry().abi_minor_required;
  must_live(context, std::move(options), "under the oldest host that it takes");
}

void reads_within_tables(Context& context) {
  HostOptions options;
  options.has_guarded_tables = true;
  must_live(context, std::move(options), "whose tables end where they say");
}

void padded_errors(Context& context) {
  Padded<ephor_error> error{ephor_error{}};
  const auto look = [&](const std::string& what) {
    Context::expect(error.is_intact(), "that " + what + " wrote behind the error that it knows",
                    "only fields it knows written");
    error.known = {};
    error.known.struct_size = sizeof error;
  };
  int failures = 0;
  const ephor_plugin_info& info = context.info();
  {
    CheckingHost host;
    for (const char* config : {"", "[]", "{\"x_unknown_to_it\":[[[1]]]}", "nonsense"}) {
      ephor_plugin out{};
      out.struct_size = sizeof out;
      const GuardedText text(config);
      const GuardedText instance("checked");
      context.step(std::string("call create with ") + config + " and a longer error");
      ephor_status status = EPHOR_INTERNAL;
      {
        const CallScope scope(host, CallKind::create);
        status = info.create(host.table(), instance.view(), text.view(), &out, &error.known);
      }
      if (status == EPHOR_OK) {
        const CallScope scope(host, CallKind::destroy);
        if (out.destroy != nullptr) out.destroy(out.self);
        // The next instance registers the same names at another host.
        look("create");
        break;
      }
      ++failures;
      Context::expect(error.known.message[0] != '\0',
                      std::string("no message of a failed create in a longer error"), "one");
      look("create");
    }
  }
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 100);
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read) continue;
    for (const char* request : {"{}", "[]", "{\"limit\":{}}"}) {
      // Both are kept: an answer may come later.
      auto& reply = *new Padded<ephor_reply>(ephor_reply{
          0, 0, nullptr, [](void*, ephor_view) -> ephor_status { return EPHOR_OK; },
          [](void*, ephor_status, const ephor_error*) {}, monotonic_ns() + 1'000'000'000});
      const GuardedText text(request);
      context.step("ask " + ask.name + " with a longer error");
      const CallScope scope(subject.host(), CallKind::query);
      const ephor_status status =
          ask.query.handler(ask.query.user, text.view(), &reply.known, &error.known);
      if (status != EPHOR_OK && status != EPHOR_PENDING) ++failures;
      Context::expect(reply.is_intact(), "that " + ask.name + " wrote behind the reply",
                      "only fields it knows written");
      look(ask.name);
    }
  }
  context.note(std::to_string(failures) + " failures");
}

// A reply of a newer host answers as one of its own does.
void padded_replies(Context& context) {
  Subject subject(context, replaying());
  subject.must_create();
  subject.must_start();
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty() && !context.is_source()) give(subject, traffic, 0, 200);
  int count = 0;
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read) continue;
    const Answer plain = subject.ask(ask.query, ask.request);
    auto& body = *new std::string();
    auto& reply = *new Padded<ephor_reply>(ephor_reply{
        0, 0xA5A5A5A5u, &body,
        [](void* to, ephor_view bytes) -> ephor_status {
          static_cast<std::string*>(to)->append(to_text(bytes));
          return EPHOR_OK;
        },
        [](void*, ephor_status, const ephor_error*) {}, monotonic_ns() + 2'000'000'000});
    ephor_error error{};
    error.struct_size = sizeof error;
    const GuardedText request(ask.request);
    context.step("ask " + ask.name + " with a longer reply");
    ephor_status status = EPHOR_INTERNAL;
    {
      const CallScope scope(subject.host(), CallKind::query);
      status = ask.query.handler(ask.query.user, request.view(), &reply.known, &error);
    }
    ++count;
    if (status == EPHOR_PENDING || plain.is_pending) continue;
    Context::expect(status == plain.status,
                    ask.name + " with a longer reply: " + status_text(status) + " " + error.message,
                    status_text(plain.status) + " as with its own");
    Context::expect(body.empty() == plain.body.empty(),
                    "an answer of " + ask.name + " of " + std::to_string(body.size()) + " bytes",
                    std::to_string(plain.body.size()) + " bytes as with its own reply");
    Context::expect(reply.is_intact(), "that " + ask.name + " wrote behind the reply",
                    "only fields it knows written");
  }
  if (count == 0) Context::skip("it has no GET routes");
}

void padded_saves(Context& context) {
  Subject subject(context);
  subject.must_create();
  subject.must_start();
  const ephor_checkpoint* table = subject.checkpoint();
  if (table == nullptr) Context::skip("it keeps no state");
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty()) give(subject, traffic, 0, 200);
  std::string state;
  Padded<ephor_writer> writer(
      ephor_writer{0, 0xA5A5A5A5u, &state, [](void* to, ephor_view bytes) -> ephor_status {
                     static_cast<std::string*>(to)->append(to_text(bytes));
                     return EPHOR_OK;
                   }});
  ephor_rows known = *subject.host().rows();
  known.reserved = 0xA5A5A5A5u;
  Padded<ephor_rows> rows(known);
  Padded<ephor_error> error{ephor_error{}};
  context.step("call save with longer structs");
  subject.host().storage().begin();
  ephor_status status = EPHOR_INTERNAL;
  {
    const CallScope scope(subject.host(), CallKind::save);
    status = table->save(subject.table().self, &rows.known, &writer.known, &error.known);
  }
  subject.host().storage().commit();
  Context::expect(
      status == EPHOR_OK,
      "that save with longer structs fails: " + status_text(status) + " " + error.known.message,
      "success, as under a host of its own version");
  Context::expect(rows.is_intact() && writer.is_intact() && error.is_intact(),
                  "that save wrote behind the structs it was given",
                  "only fields it knows written");
  require_no(subject.host(), {Rule::storage, Rule::structs});
  Subject next(context, [&] {
    HostOptions options;
    options.rows_before = &subject.host().storage();
    return options;
  }());
  next.must_create();
  if (next.load(table->state_version, state) != EPHOR_OK) {
    Context::fail("that its state cannot be loaded: " + next.described(next.error().code),
                  "the whole of it in the longer writer");
  }
}

// A create of a newer host: more room in `out` than the plugin knows fields.
void larger_out(Context& context) {
  const ephor_plugin_info& info = context.info();
  CheckingHost host;
  Padded<ephor_plugin> out{ephor_plugin{}};
  ephor_error error{};
  error.struct_size = sizeof error;
  const GuardedText instance("checked");
  const GuardedText config(context.config_text());
  context.step("call create with a larger out");
  ephor_status status = EPHOR_INTERNAL;
  {
    const CallScope scope(host, CallKind::create);
    status = info.create(host.table(), instance.view(), config.view(), &out.known, &error);
  }
  Context::expect(status == EPHOR_OK,
                  "that create with a larger out fails: " + std::string(error.message),
                  "success, as under a host of its own version");
  Context::expect(out.known.struct_size <= sizeof(Padded<ephor_plugin>),
                  "out->struct_size " + std::to_string(out.known.struct_size),
                  "at most the room there was");
  // What it did not fill it may not claim: the host would call it.
  Context::expect(out.known.struct_size <= sizeof(ephor_plugin) || !out.is_intact(),
                  "out->struct_size " + std::to_string(out.known.struct_size) +
                      " with nothing written behind byte " + std::to_string(sizeof(ephor_plugin)),
                  "the smaller of both sizes: a newer host would call what is not there");
  const CallScope scope(host, CallKind::destroy);
  if (out.known.stop != nullptr) (void)out.known.stop(out.known.self, &error);
  if (out.known.destroy != nullptr) out.known.destroy(out.known.self);
}

void unknown_statuses(Context& context) {
  for (const ephor_status status : {99, -1, INT32_MAX}) {
    for (const std::uint64_t one_in : {1ULL, 3ULL, 7ULL}) {
      std::atomic<std::uint64_t> calls{0};
      HostOptions options;
      options.failing = [&](std::string_view) -> ephor_status {
        return ++calls % one_in == 0 ? status : EPHOR_OK;
      };
      Subject subject(context, std::move(options));
      subject.remark("under a host that answers status " + std::to_string(status));
      if (subject.create(context.config_text()) != EPHOR_OK) continue;
      if (subject.start() == EPHOR_OK) {
        const Traffic traffic(subject.host().patterns());
        if (!traffic.is_empty()) (void)subject.on_events(traffic.slice(subject.host(), 0, 100));
        std::string state;
        (void)subject.save(state);
      }
      (void)subject.stop();
      subject.destroy();
      require_no(subject.host(), {Rule::exceptions});
    }
  }
}

void unknown_mode(Context& context) {
  HostOptions options;
  options.mode = "rehearsal";
  must_live(context, std::move(options), "in a mode it has never heard of");
}

}  // namespace

std::vector<Check> skew_checks() {
  constexpr std::string_view kNewer =
      "A newer host appends fields; a plugin of today is loaded by it unchanged.";
  return {
      {"skew/newer_host", "It works under a host with a later minor and longer tables.", kNewer,
       &newer_host},
      {"skew/oldest_host", "It works under the oldest minor that it says it takes.",
       "abi_minor_required is what the host goes by.", &oldest_host},
      {"skew/reads_within_tables", "It reads no table beyond its struct_size.",
       "An older host has something else behind it.", &reads_within_tables},
      {"skew/padded_errors", "Failures write only fields of the error that it knows.", kNewer,
       &padded_errors},
      {"skew/padded_replies", "Longer replies, and reserved fields in use, change no answer.",
       kNewer, &padded_replies},
      {"skew/padded_saves", "Longer rows, writers and errors change no save.", kNewer,
       &padded_saves},
      {"skew/larger_out", "In a larger out it claims no more fields than it filled.", kNewer,
       &larger_out},
      {"skew/unknown_statuses", "A status that it does not know is a failure like others.",
       "The list of statuses may grow.", &unknown_statuses},
      {"skew/unknown_mode", "A mode of the host that it does not know does no harm.",
       "There may be more than live, replay and offline.", &unknown_mode},
  };
}

}  // namespace ephor::host::check
