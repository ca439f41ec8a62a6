// SPDX-License-Identifier: Apache-2.0
#include "check/checking_host.hpp"

#include <ephor/otlp.hpp>
#include <ephor/plugin.hpp>

#include <algorithm>
#include <cstring>

#include <simdjson.h>

#include <nlohmann/json.hpp>

#include "bus/topic_filter.hpp"
#include "check/checking_calls.hpp"
#include "ingest/envelope.hpp"

namespace ephor::host::check {
namespace {

constexpr std::uint64_t kTextBytesMax = 256ULL << 20;  // above it the size is not believed
constexpr std::size_t kViolationsMax = 100;            // kept; what follows is more of the same

// The contexts that live, and calls with others.
struct Contexts {
  std::mutex mutex;
  std::set<const void*> living;
  static Contexts& instance() {
    static Contexts& contexts = *new Contexts();  // a plugin's thread may outlive main's statics
    return contexts;
  }
};

std::string shown(std::string_view text) {
  std::string out = nlohmann::json(std::string(text.substr(0, 120)))
                        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.size() > 120 ? out + "..." : out;
}

}  // namespace

std::string_view name_of(Rule rule) {
  switch (rule) {
    case Rule::thread:
      return "thread";
    case Rule::lifetime:
      return "lifetime";
    case Rule::handles:
      return "handles";
    case Rule::structs:
      return "structs";
    case Rule::text:
      return "text";
    case Rule::topics:
      return "topics";
    case Rule::json:
      return "json";
    case Rule::subscription:
      return "subscription";
    case Rule::queries:
      return "queries";
    case Rule::routes:
      return "routes";
    case Rule::commands:
      return "commands";
    case Rule::storage:
      return "storage";
    case Rule::metrics:
      return "metrics";
    case Rule::log:
      return "log";
    case Rule::health:
      return "health";
    case Rule::errors:
      return "errors";
    case Rule::exceptions:
      return "exceptions";
    case Rule::drafts:
      return "drafts";
  }
  return "unknown";
}

std::string_view name_of(CallKind kind) {
  switch (kind) {
    case CallKind::none:
      return "a thread of the plugin's own";
    case CallKind::create:
      return "create";
    case CallKind::load:
      return "load";
    case CallKind::start:
      return "start";
    case CallKind::on_events:
      return "on_events";
    case CallKind::save:
      return "save";
    case CallKind::query:
      return "a query";
    case CallKind::drain:
      return "drain";
    case CallKind::stop:
      return "stop";
    case CallKind::destroy:
      return "destroy";
    case CallKind::command:
      return "a command";
    case CallKind::task:
      return "a task";
    case CallKind::table:
      return "get_extension";
  }
  return "unknown";
}

// ---- calls ------------------------------------------------------------------------------------

CurrentCall& current_call() {
  thread_local CurrentCall current;
  return current;
}

CallScope::CallScope(CheckingHost& host, CallKind kind)
    : outer_host_(current_call().host), outer_kind_(current_call().kind) {
  current_call() = {&host, kind};
}
CallScope::~CallScope() { current_call() = {outer_host_, outer_kind_}; }

CheckingHost* host_behind(void* context, std::string_view function) {
  Contexts& contexts = Contexts::instance();
  bool is_known = false;
  {
    const std::scoped_lock lock(contexts.mutex);
    is_known = contexts.living.contains(context);
  }
  if (is_known) return static_cast<CheckingHost*>(context);
  if (CheckingHost* in_hand = current_call().host; in_hand != nullptr) {
    in_hand->note(Rule::handles, std::string(function) +
                                     ": found a context that no table has, expected the table's");
  }
  return nullptr;
}

void CheckingHost::begin_call(std::string_view function, const ephor_error* error) {
  if (is_destroyed_) {
    note(Rule::lifetime, std::string(function) + " was called after destroy has returned");
  }
  if (error != nullptr && error->struct_size < sizeof(ephor_error)) {
    note(Rule::structs, std::string(function) + ": found an error buffer of struct_size " +
                            std::to_string(error->struct_size) + ", expected " +
                            std::to_string(sizeof(ephor_error)));
  }
  {
    const std::scoped_lock lock(mutex_);
    ++call_counts_[std::string(function)];
  }
  if (!options_.failing) return;
  if (const ephor_status status = options_.failing(function); status != EPHOR_OK) {
    throw Error(status, "the checking host lets " + std::string(function) + " fail");
  }
}

void CheckingHost::note(Rule rule, std::string text) {
  const allocations::HostSide ours;
  const std::scoped_lock lock(mutex_);
  const bool is_new = std::none_of(violations_.begin(), violations_.end(),
                                   [&](const Violation& one) { return one.text == text; });
  if (is_new && violations_.size() < kViolationsMax) violations_.push_back({rule, std::move(text)});
}

void CheckingHost::must_be_in(std::initializer_list<CallKind> kinds, std::string_view function,
                              std::string_view expected) {
  const CurrentCall now = current_call();
  const bool is_right =
      now.host == this && std::find(kinds.begin(), kinds.end(), now.kind) != kinds.end();
  if (!is_right) {
    note(Rule::thread,
         std::string(function) + " was called from " +
             std::string(now.host == this || now.host == nullptr ? name_of(now.kind)
                                                                 : "a call into another instance") +
             ", expected " + std::string(expected));
  }
}

void CheckingHost::must_register(std::string_view function) {
  must_be_in({CallKind::create, CallKind::load, CallKind::start}, function,
             "[control]: create or start");
  if (is_registering_) return;
  note(Rule::lifetime, std::string(function) + " was called after start has returned");
  throw Error(EPHOR_STATE, "only until start has returned");
}

std::string CheckingHost::text(ephor_view view, std::string_view what) {
  if (view.size == 0) return {};
  if (view.data == nullptr || view.size > kTextBytesMax) {
    note(Rule::text, std::string(what) + ": found a view of " + std::to_string(view.size) +
                         " bytes at " + (view.data == nullptr ? "NULL" : "some address") +
                         ", expected its bytes");
    throw Error(EPHOR_INVALID, std::string(what) + ": no text");
  }
  std::string out(view.data, view.size);
  if (!simdjson::validate_utf8(out)) {
    note(Rule::text, std::string(what) + ": found " + shown(out) + ", expected UTF-8");
  }
  return out;
}

void CheckingHost::check_size(std::uint32_t found, std::size_t expected, std::string_view what) {
  constexpr std::uint32_t kSizeMax = 4096;
  if (found >= expected && found <= kSizeMax) return;
  note(Rule::structs, std::string(what) + ": found struct_size " + std::to_string(found) +
                          ", expected " + std::to_string(expected));
  if (found < expected) throw Error(EPHOR_INVALID, std::string(what) + ": struct_size");
}

void CheckingHost::check_json(const std::string& text, std::string_view what) {
  if (nlohmann::json::accept(text)) return;
  note(Rule::json, std::string(what) + ": found " + shown(text) + ", expected one JSON value");
}

void CheckingHost::check_documented(Rule rule, const std::string& name, const std::string& summary,
                                    std::string_view what) {
  const bool is_name = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7F;
  });
  if (!is_name) {
    note(rule, std::string(what) + ": found the name " + shown(name) + ", expected one word");
  }
  if (summary.find_first_not_of(" \t\n") == std::string::npos) {
    note(rule, std::string(what) + " " + name +
                   ": found no summary, expected a line that says what it does");
  } else if (summary.find('\n') != std::string::npos) {
    note(rule, std::string(what) + " " + name + ": found a summary of several lines, expected one");
  }
}

// ---- the core table ---------------------------------------------------------------------------

struct CoreCalls {
  static const void* get_extension(void* context, ephor_view id) {
    const allocations::HostSide ours;
    const void* found = nullptr;
    guarded(nullptr, [&] {
      CheckingHost* host = host_behind(context, "get_extension");
      if (host == nullptr) return;
      if (host->is_destroyed_) {
        host->note(Rule::lifetime, "get_extension was called after destroy has returned");
      }
      found = host->extension(host->text(id, "get_extension: the id"));
    });
    return found;
  }

  static ephor_status subscribe(void* context, const ephor_subscription* subscription,
                                ephor_error* error) {
    return entered(context, "subscribe", error, [&](CheckingHost& host) {
      host.must_register("subscribe");
      if (host.options_.is_source && current_call().kind == CallKind::start) {
        host.note(Rule::subscription,
                  "subscribe: found a source that subscribes in start, expected it in create");
        throw Error(EPHOR_STATE, "a source subscribes in create");
      }
      if (subscription == nullptr) {
        host.note(Rule::structs, "subscribe: found NULL, expected a subscription");
        throw Error(EPHOR_INVALID, "subscription: NULL");
      }
      host.check_size(subscription->struct_size, offsetof(ephor_subscription, key),
                      "ephor_subscription");
      take(host, *subscription);
    });
  }

  static void take(CheckingHost& host, const ephor_subscription& subscription) {
    const auto refuse = [&](const std::string& text) {
      host.note(Rule::subscription, text);
      throw Error(EPHOR_INVALID, text);
    };
    if (subscription.policy > EPHOR_POLICY_LATEST) {
      refuse("subscribe: found policy " + std::to_string(subscription.policy) +
             ", expected 0 to 2");
    }
    std::string key;
    if (EPHOR_HAS(&subscription, ephor_subscription, key)) {
      key = host.text(subscription.key, "subscription key");
    }
    if (!key.empty() && subscription.policy != EPHOR_POLICY_LATEST) {
      refuse("subscribe: found a key, which belongs to EPHOR_POLICY_LATEST");
    }
    const bool is_key = key.empty() || key == "topic" || key == "source" || key == "correlation" ||
                        key.front() == '/';
    if (!is_key) refuse("subscribe: found key " + shown(key) + ", expected a name or a pointer");
    if (subscription.pattern_count > 0 && subscription.patterns == nullptr) {
      refuse("subscribe: found patterns at NULL");
    }
    std::vector<std::string> patterns;
    for (std::uint32_t i = 0; i < subscription.pattern_count; ++i) {
      patterns.push_back(host.text(subscription.patterns[i], "subscription pattern"));
      try {
        check_topic_pattern(patterns.back());
      } catch (const HostError& failure) {
        host.note(Rule::topics, failure.what());
        throw;
      }
    }
    if (patterns.empty())
      host.note(Rule::subscription, "subscribe: found no pattern, expected one");
    const std::scoped_lock lock(host.mutex_);
    if (host.is_subscribed_) {
      host.violations_.push_back(
          {Rule::subscription, "subscribe: found a second subscription, expected one"});
      throw Error(EPHOR_STATE, "the instance has a subscription");
    }
    host.is_subscribed_ = true;
    host.patterns_ = std::move(patterns);
  }

  static ephor_status publish(void* context, const ephor_draft* drafts, std::uint32_t count,
                              ephor_error* error) {
    return entered(context, "publish", error, [&](CheckingHost& host) {
      host.must_be_in({CallKind::on_events}, "publish", "[dispatch]: on_events");
      if (drafts == nullptr && count > 0) {
        host.note(Rule::structs, "publish: found drafts at NULL");
        throw Error(EPHOR_INVALID, "drafts: NULL");
      }
      for (std::uint32_t i = 0; i < count; ++i) publish_one(host, drafts[i]);
    });
  }

  static void publish_one(CheckingHost& host, const ephor_draft& draft) {
    host.check_size(draft.struct_size, sizeof draft, "ephor_draft");
    CheckingHost::Published made{
        host.text(draft.topic, "draft topic"), host.text(draft.data_json, "draft data"),
        host.text(draft.correlation_id, "draft correlation id"), draft.cause_sequence};
    if (!is_topic(made.topic)) {
      host.note(Rule::topics, "publish: found topic " + shown(made.topic) +
                                  ", expected tokens with dots between");
      throw Error(EPHOR_INVALID, "topic");
    }
    if (!nlohmann::json::accept(made.data_json)) {
      host.note(Rule::drafts, "publish of " + made.topic + ": found data " + shown(made.data_json) +
                                  ", expected one JSON value");
    }
    const std::scoped_lock lock(host.mutex_);
    if (std::find(host.slice_.begin(), host.slice_.end(), made.cause_sequence) ==
        host.slice_.end()) {
      if (!host.slice_.empty()) {
        host.violations_.push_back({Rule::drafts, "publish of " + made.topic + ": found cause " +
                                                      std::to_string(made.cause_sequence) +
                                                      ", expected an event of the slice in hand"});
      }
      throw Error(EPHOR_INVALID, "the cause is not in the slice in hand");
    }
    host.published_.push_back(std::move(made));
  }

  static ephor_status topic_id(void* context, ephor_view name, std::uint16_t* topic,
                               ephor_error* error) {
    return entered(context, "topic_id", error, [&](CheckingHost& host) {
      const std::string wanted = host.text(name, "topic_id: the name");
      if (!is_topic(wanted) || topic == nullptr) {
        host.note(Rule::topics,
                  "topic_id: found " + shown(wanted) + ", expected tokens with dots between");
        throw Error(EPHOR_INVALID, "topic");
      }
      *topic = host.topic_number(wanted);
    });
  }

  static ephor_view topic_name(void* context, std::uint16_t topic) {
    CheckingHost* host = host_behind(context, "topic_name");
    return host == nullptr ? ephor_view{} : to_view(host->names_.topics.name(topic));
  }
  static ephor_view source_name(void* context, std::uint32_t source) {
    CheckingHost* host = host_behind(context, "source_name");
    return host == nullptr ? ephor_view{} : to_view(host->names_.sources.name(source));
  }

  static ephor_status render_json(void* context, const ephor_event* event, ephor_writer* out,
                                  ephor_error* error) {
    return entered(context, "render_json", error, [&](CheckingHost& host) {
      if (event->encoding != EPHOR_ENCODING_JSON && event->encoding != EPHOR_ENCODING_OTLP) {
        throw Error(EPHOR_UNSUPPORTED, "the checking host renders JSON and OTLP only");
      }
      std::string_view json(event->record, event->record_length);
      std::string rendered;
      if (event->encoding == EPHOR_ENCODING_OTLP) {
        otlp::render(rendered, *event, host.names_.sources.name(event->source));
        json = rendered;
      }
      if (const ephor_status status = out->write(out->context, to_view(json)); status != EPHOR_OK) {
        throw Error(status, "the caller's writer failed");
      }
    });
  }

  // ---- ephor_rows
  static ephor_status upsert(void* context, ephor_view table, const ephor_cell* cells,
                             std::uint32_t count, ephor_error* error) {
    return row(context, "upsert", error, [&](CheckingHost& host) {
      host.storage_.upsert(host.text(table, "upsert: the table"), {cells, count});
    });
  }
  static ephor_status erase(void* context, ephor_view table, const ephor_cell* key,
                            std::uint32_t count, ephor_error* error) {
    return row(context, "erase", error, [&](CheckingHost& host) {
      host.storage_.erase(host.text(table, "erase: the table"), {key, count});
    });
  }
  template <typename Body>
  static ephor_status row(void* context, std::string_view function, ephor_error* error,
                          const Body& body) {
    return entered(context, function, error, [&](CheckingHost& host) {
      host.must_be_in({CallKind::save}, function, "[dispatch]: save");
      if (current_call().kind != CallKind::save) throw Error(EPHOR_STATE, "only in save");
      try {
        const std::scoped_lock lock(host.storage_mutex_);
        body(host);
      } catch (const HostError& failure) {
        host.note(Rule::storage, std::string(function) + ": " + failure.what());
        throw;
      }
    });
  }
};

// ---- the host -----------------------------------------------------------------------------------

CheckingHost::CheckingHost(HostOptions options) : options_(std::move(options)) {
  Contexts& contexts = Contexts::instance();
  {
    const std::scoped_lock lock(contexts.mutex);
    contexts.living.insert(this);
  }
  const ephor_host core{sizeof(ephor_host),        EPHOR_ABI_MAJOR,
                        options_.abi_minor,        this,
                        &CoreCalls::get_extension, &CoreCalls::subscribe,
                        &CoreCalls::publish,       &CoreCalls::topic_id,
                        &CoreCalls::topic_name,    &CoreCalls::source_name,
                        &CoreCalls::render_json};
  core_.assign(sizeof core + options_.core_padding_bytes, std::byte{0xA5});
  std::memcpy(core_.data(), &core, sizeof core);
  reinterpret_cast<ephor_host*>(core_.data())->struct_size =
      static_cast<std::uint32_t>(core_.size());
  rows_ = {sizeof rows_, 0, this, &CoreCalls::upsert, &CoreCalls::erase};
  present_tables();
  if (options_.has_guarded_tables) {
    const auto guard = [&](const std::vector<std::byte>& table) {
      guarded_.emplace(
          table.data(),
          GuardedText(std::string_view(reinterpret_cast<const char*>(table.data()), table.size())));
    };
    guard(core_);
    for (const auto& [unused, table] : extensions_) guard(table);
  }
  if (options_.has_rows_on_disk) storage_.use_file(options_.directory / "rows.db");
  if (options_.rows_before != nullptr) storage_.copy_from(*options_.rows_before);
}

CheckingHost::~CheckingHost() {
  join_tasks();
  Contexts& contexts = Contexts::instance();
  const std::scoped_lock lock(contexts.mutex);
  contexts.living.erase(this);
}

const ephor_host* CheckingHost::table() const {
  return static_cast<const ephor_host*>(guarded(core_));
}

const void* CheckingHost::guarded(const std::vector<std::byte>& table) const {
  const auto found = guarded_.find(table.data());
  return found == guarded_.end() ? static_cast<const void*>(table.data()) : found->second.data();
}

const void* CheckingHost::extension(std::string_view id) {
  if (options_.withheld.contains(id)) return nullptr;
  const auto found = extensions_.find(id);
  return found == extensions_.end() ? nullptr : guarded(found->second);
}

void CheckingHost::slice_begins(const ephor_event* events, std::uint32_t count) {
  const std::scoped_lock lock(mutex_);
  slice_.clear();
  for (std::uint32_t i = 0; i < count; ++i) slice_.push_back(events[i].sequence);
}

void CheckingHost::slice_ends() {
  const std::scoped_lock lock(mutex_);
  slice_.clear();
}

void CheckingHost::forget() {
  const std::scoped_lock lock(mutex_);
  published_.clear();
  log_lines_.clear();
  health_reports_.clear();
  ingested_.clear();
}

void CheckingHost::join_tasks() {
  std::unique_lock lock(mutex_);
  task_ended_.wait(lock, [&] { return running_tasks_ == 0; });
}

std::vector<Violation> CheckingHost::violations() const {
  const std::scoped_lock lock(mutex_);
  return violations_;
}
std::vector<CheckingHost::Query> CheckingHost::queries() const {
  const std::scoped_lock lock(mutex_);
  return queries_;
}
std::vector<CheckingHost::Command> CheckingHost::commands() const {
  const std::scoped_lock lock(mutex_);
  return commands_;
}
std::vector<CheckingHost::Route> CheckingHost::routes() const {
  const std::scoped_lock lock(mutex_);
  return routes_;
}
std::vector<CheckingHost::Published> CheckingHost::published() const {
  const std::scoped_lock lock(mutex_);
  return published_;
}
std::vector<CheckingHost::Line> CheckingHost::log_lines() const {
  const std::scoped_lock lock(mutex_);
  return log_lines_;
}
std::vector<CheckingHost::Line> CheckingHost::health_reports() const {
  const std::scoped_lock lock(mutex_);
  return health_reports_;
}
std::vector<std::string> CheckingHost::ingested() const {
  const std::scoped_lock lock(mutex_);
  return ingested_;
}
std::vector<std::string> CheckingHost::patterns() const {
  const std::scoped_lock lock(mutex_);
  return patterns_;
}
bool CheckingHost::is_subscribed() const {
  const std::scoped_lock lock(mutex_);
  return is_subscribed_;
}
std::map<std::string, std::uint64_t> CheckingHost::call_counts() const {
  const std::scoped_lock lock(mutex_);
  return call_counts_;
}

}  // namespace ephor::host::check
