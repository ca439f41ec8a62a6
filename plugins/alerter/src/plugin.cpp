// SPDX-License-Identifier: Apache-2.0
//
// What was said to be wrong comes in as events; so do the commands of operators and the outcomes of
// sending, which the plugin itself brings into the log. Its state is a function of the log, in
// whatever order derived events and those come.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/metric_batch.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/times.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "alert_book.hpp"
#include "answers.hpp"
#include "config_schema.hpp"
#include "sender.hpp"
#include "settings.hpp"
#include "silences.hpp"
#include "threshold_rules.hpp"

namespace ephor::alerter {
namespace {

constexpr std::string_view kAlertTopic = "ephor.alert";
constexpr std::string_view kCommandTopic = "ephor.alert_command";
constexpr std::string_view kDeliveryTopic = "ephor.alert_delivery";
constexpr std::size_t kTextMax = 500;

std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int32_t log_level_of(const Alert& alert, Change change) {
  if (change == Change::resolved || alert.severity == Severity::info) return EPHOR_LOG_INFO;
  return alert.severity == Severity::critical ? EPHOR_LOG_ERROR : EPHOR_LOG_WARNING;
}

Json body_of(const Json& request) {
  const Json body = member_or<Json>(request, "body", Json::object());
  if (!body.is_object()) throw Error(EPHOR_INVALID, "found no JSON object, expected one", "");
  return body;
}

std::string short_text(const Json& body, const char* name) {
  std::string text = request_text(body, name);
  if (text.size() > kTextMax) {
    throw Error(EPHOR_INVALID,
                std::string(name) + ": found " + std::to_string(text.size()) +
                    " bytes, expected at most " + std::to_string(kTextMax),
                "/" + std::string(name));
  }
  return text;
}

}  // namespace

class Alerter final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "alerts from findings and rules: dedup, acknowledge, silence, webhooks";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = alerter::kConfigSchema;

  Alerter(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        own_source_("ephor/" + host_.instance()),
        book_(settings_.max_alerts),
        silences_(settings_.max_silences),
        rules_(settings_.rules, host_.instance(), settings_.max_rule_series) {
    host_.declare_tables(kTables);
    metric_topic_ = host_.topic_id("ephor.metric");
    metric_batch_topic_ = host_.topic_id("ephor.metric_batch");
    alert_topic_ = host_.topic_id(kAlertTopic);
    command_topic_ = host_.topic_id(kCommandTopic);
    delivery_topic_ = host_.topic_id(kDeliveryTopic);
    plugin_topic_ = host_.topic_id("ephor.plugin");
    retrain_topic_ = host_.topic_id("ephor.retrain");
    open_gauge_ = host_.gauge("ephor_alerter_alerts_open", "Alerts that are not resolved");
    alerts_total_ = host_.counter("ephor_alerter_alerts_total", "Alerts opened");
    provide_queries();
  }

  void start() override {
    std::vector<std::string> patterns = settings_.topics;
    for (const std::string_view topic :
         {kAlertTopic, kCommandTopic, kDeliveryTopic, std::string_view("ephor.plugin"),
          std::string_view("ephor.retrain")}) {
      patterns.emplace_back(topic);
    }
    if (!rules_.empty()) {
      patterns.emplace_back("ephor.metric");
      patterns.emplace_back("ephor.metric_batch");
    }
    subscribe(patterns);
    start_senders();
  }

  void on_events(std::span<const Event> events) override {
    const std::uint64_t before = book_.total();
    for (const Event& event : events) {
      try {
        read_event(event);
      } catch (const Error& failure) {
        ++unreadable_;  // the rest of the slice must not be lost with it
        if (failure.code() != EPHOR_INVALID && failure.code() != EPHOR_NOT_FOUND) {
          host_.log(EPHOR_LOG_ERROR, failure.what());
          host_.report_health(EPHOR_HEALTH_DEGRADED, failure.what());
        }
      }
    }
    alerts_total_.add(static_cast<double>(book_.total() - before));
    open_gauge_.set(static_cast<double>(book_.unresolved()));
  }

  void drain(std::int64_t) override { stop(); }
  void stop() override {
    for (const auto& [name, sender] : senders_) sender->stop();
  }

  void save(const Rows& rows, std::string& state) override {
    StateWriter out(state);
    out.i64(newest_ns_).varint(unreadable_);
    book_.save(rows, out);
    silences_.write(out);
    rules_.write(out);
  }

  bool load(std::uint32_t version, std::string_view state) override {
    return version == kStateVersion && read_state(state, [&](StateReader& in) {
             newest_ns_ = in.i64();
             unreadable_ = in.varint();
             book_.read(in);
             silences_.read(in);
             rules_.read(in);
           });
  }

 private:
  // ---- control

  void subscribe(const std::vector<std::string>& patterns) {
    std::vector<ephor_view> views;
    for (const std::string& pattern : patterns) views.push_back(to_view(pattern));
    const ephor_subscription subscription{sizeof(ephor_subscription),
                                          EPHOR_POLICY_REPLAY,
                                          views.data(),
                                          static_cast<std::uint32_t>(views.size()),
                                          0,
                                          {}};
    check([&](ephor_error* error) {
      return host_.table()->subscribe(host_.table()->context, &subscription, error);
    });
  }

  // Only a live host acts on the world. One thread a webhook, so that none waits for another.
  void start_senders() {
    if (snapshot().value("mode", std::string()) != "live") return;
    if (host_.extension<ephor_journal>("ephor.journal/1") == nullptr) return;
    const SenderTiming timing{settings_.max_age_ns, settings_.max_attempts,
                              settings_.retry_least_ns, settings_.retry_most_ns,
                              settings_.settle_ns};
    for (const WebhookSettings& webhook : settings_.webhooks) {
      senders_[webhook.name] = std::make_unique<Sender>(
          std::vector{webhook}, timing,
          [this](const std::vector<Outcome>& outcomes) { return record(outcomes); });
    }
    for (const auto& [id, alert] : book_.alerts()) {
      for (const Delivery& one : alert->deliveries) hand_to_sender(*alert, one);
    }
    for (const auto& [name, sender] : senders_) sender->start();
  }

  void hand_to_sender(const Alert& alert, const Delivery& delivery) {
    if (delivery.status != DeliveryStatus::pending || senders_.empty()) return;
    const auto found = senders_.find(delivery.webhook);
    // One that is configured no more: any sender says so.
    Sender& sender = found == senders_.end() ? *senders_.begin()->second : *found->second;
    sender.add(
        {alert.alert_id, delivery.transition, delivery.webhook, delivery.time_ns, delivery.body});
  }

  void cancel(const std::string& alert_id, const Delivery& delivery) const {
    for (const auto& [name, sender] : senders_) {
      sender->cancel(alert_id, delivery.transition, delivery.webhook);
    }
  }

  Json snapshot() const {
    const auto* health = host_.extension<ephor_health>("ephor.health/1");
    if (health == nullptr) return Json::object();
    std::string text;
    ephor_writer out = string_writer(text);
    check([&](ephor_error* error) { return health->snapshot(health->context, &out, error); });
    return parse_json(text, "health snapshot");
  }

  // ---- events

  void read_event(const Event& event) {
    if (event.topic == metric_topic_ && !rules_.empty()) return read_metric(event);
    if (event.topic == metric_batch_topic_ && !rules_.empty()) return read_metric_batch(event);
    if (event.topic == alert_topic_) return read_own_alert(event);
    if (event.topic == command_topic_ || event.topic == delivery_topic_) return read_own(event);
    const Json data = json_of(event);
    // Its time is the clock's: a recording's own now is told by the recording.
    if (event.topic == plugin_topic_) return read_plugin_state(event, data);
    newest_ns_ = std::max(newest_ns_, event.time_ns);
    if (event.topic == retrain_topic_) return read_retrain(event, data);
    take(event, finding_from(data, host_.topic_name(event.topic), host_.source_name(event.source),
                             event.time_ns));
  }

  Json json_of(const Event& event) {
    return parse_json(simdjson::minify(reader_.data(event)), "event");
  }

  void read_metric(const Event& event) {
    newest_ns_ = std::max(newest_ns_, event.time_ns);
    if ((event.flags & EPHOR_EVENT_LATE) != 0) return;  // rules go by order
    sample_.labels.clear();
    sample_.name = {};
    sample_.unit = {};
    sample_.time_ns = event.time_ns;
    std::optional<double> value;
    const simdjson::dom::object data = reader_.object(event);
    const auto add_label = [&](std::string_view name, simdjson::dom::element member) {
      if (member.is_string()) sample_.labels.emplace_back(name, EventReader::text(member));
    };
    for (const auto& [key, member] : data) {
      if (key == "name") {
        sample_.name = EventReader::text(member);
      } else if (key == "value") {
        value = EventReader::number(member);
      } else if (key == "unit") {
        sample_.unit = EventReader::text(member);
      } else if (key == "labels" && member.is_object()) {
        const simdjson::dom::object labels = member.get_object().value_unsafe();
        for (const auto& [name, label] : labels) add_label(name, label);
      } else if (key == "symbol" || key == "account" || key == "strategy" || key == "environment" ||
                 key == "exchange") {
        add_label(key, member);
      }
    }
    if (!value || !std::isfinite(*value)) throw Error(EPHOR_INVALID, "a metric without value");
    sample_.value = *value;
    rule_findings_.clear();
    rules_.add(sample_, rule_findings_);
    for (const Finding& finding : rule_findings_) take(event, finding);
  }

  // The rules see each series in order of its time, as if its samples had come one by one.
  void read_metric_batch(const Event& event) {
    newest_ns_ = std::max(newest_ns_, event.time_ns);
    if ((event.flags & EPHOR_EVENT_LATE) != 0) return;
    metric_reader_.for_each_series(event, [&](const MetricSamples& series) {
      if (!rules_.watches(series.name)) return;
      sample_.name = series.name;
      sample_.unit = series.unit;
      sample_.labels.clear();
      for (const auto& [name, value] : series.labels) sample_.labels.emplace_back(name, value);
      batch_samples_.assign(series.samples.begin(), series.samples.end());
      std::stable_sort(
          batch_samples_.begin(), batch_samples_.end(),
          [](const auto& one, const auto& other) { return one.time_ns < other.time_ns; });
      rule_findings_.clear();
      for (const ephor::MetricSample& sample : batch_samples_) {
        sample_.time_ns = sample.time_ns;
        sample_.value = sample.value;
        rules_.add(sample_, rule_findings_);
      }
      for (const Finding& finding : rule_findings_) take(event, finding);
    });
  }

  void read_plugin_state(const Event& event, const Json& data) {
    Finding finding;
    finding.kind = "plugin_failed";
    finding.target = request_text(data, "instance");
    finding.target_kind = "plugin";
    finding.source = "ephor";
    finding.severity = Severity::critical;
    finding.time_ns = event.time_ns;
    const std::string state = request_text(data, "state");
    finding.is_open = state == "failed" || state == "quarantined";
    const std::string reason = request_text(data, "reason");
    finding.summary =
        "plugin " + finding.target + " is " + state + (reason.empty() ? "" : ": " + reason);
    finding.evidence_json = dump(data);
    // It runs, as nearly always: nothing to close.
    const std::string key = finding.source + ":" + finding.kind + ":" + finding.target;
    if (!finding.is_open && book_.find_by_finding(key) == nullptr) return;
    take(event, finding);
  }

  void read_retrain(const Event& event, const Json& data) {
    Finding finding =
        finding_from(data, "ephor.retrain", host_.source_name(event.source), event.time_ns);
    finding.finding_id = request_text(data, "retrain_id");
    finding.kind = "retrain";
    finding.target = request_text(data, "model_id", finding.target);
    finding.target_kind = "model";
    finding.severity = Severity::info;
    finding.is_open = true;
    finding.is_notice = true;
    take(event, finding);
  }

  void take(const Event& event, const Finding& finding) {
    const AlertBook::Applied applied = book_.apply(finding);
    if (applied.alert == nullptr) return;
    const Alert& alert = *applied.alert;
    host_.publish(
        {.topic = kAlertTopic,
         .data_json = dump(event_json(alert, alert.transitions.back(), alert.transition_count)),
         .cause = &event});
    host_.log(log_level_of(alert, applied.change),
              "alert " + alert.alert_id + " " + name_of(applied.change) + " (" +
                  name_of(alert.severity) + ", " + format_time(finding.time_ns) +
                  "): " + alert.summary);
  }

  // What we said is in the log: now it may be sent.
  void read_own_alert(const Event& event) {
    if (host_.source_name(event.source) != own_source_ || settings_.webhooks.empty()) return;
    const Json data = json_of(event);
    Alert* alert = book_.find(request_text(data, "alert_id"));
    if (alert == nullptr) return;  // forgotten since
    const auto number = member_or<std::uint64_t>(data, "transition", 0);
    const Severity severity_max = severity_from(request_text(data, "severity_max"));
    for (const WebhookSettings& webhook : settings_.webhooks) {
      if (severity_max < webhook.min_severity) continue;
      if (alert->find_delivery(number, webhook.name) != nullptr) continue;
      Delivery delivery;
      delivery.transition = number;
      delivery.webhook = webhook.name;
      delivery.time_ns = event.time_ns;
      const std::string key = alert->alert_id + "-" + std::to_string(number);
      delivery.body = dump(webhook_body(data, webhook.name, key));
      if (const Silence* silence = silences_.find_for(*alert, event.time_ns)) {
        put_silence(delivery, *silence);
      }
      hand_to_sender(*alert, delivery);
      alert->add_delivery(std::move(delivery));
      alert->is_changed = true;
    }
  }

  static void put_silence(Delivery& delivery, const Silence& silence) {
    delivery.status = DeliveryStatus::silenced;
    delivery.detail = silence.silence_id;
    delivery.body.clear();
  }

  // Commands and outcomes: what this instance brought into the log.
  void read_own(const Event& event) {
    if (host_.source_name(event.source) != own_source_) return;
    newest_ns_ = std::max(newest_ns_, event.time_ns);
    const Json data = json_of(event);
    if (event.topic == delivery_topic_) return read_outcomes(data);
    const std::string action = request_text(data, "action");
    if (action == "acknowledge") {
      book_.acknowledge({request_text(data, "alert_id"), event.time_ns, request_text(data, "by"),
                         request_text(data, "note")});
    } else if (action == "silence") {
      add_silence(event, data);
    } else if (action == "unsilence") {
      silences_.end(request_text(data, "silence_id"), event.time_ns);
    } else {
      throw Error(EPHOR_INVALID, "an unknown command");
    }
  }

  void add_silence(const Event& event, const Json& data) {
    Silence silence;
    silence.silence_id = request_text(data, "silence_id");
    silence.match = match_from(member_or<Json>(data, "match", Json()));
    silence.from_ns = event.time_ns;
    silence.until_ns = time_parameter(data, "until").value_or(event.time_ns);
    silence.comment = request_text(data, "comment");
    silence.by = request_text(data, "by");
    // What waits to be sent and lies in its window is not sent.
    for (const auto& [id, alert] : book_.alerts()) {
      if (!silence.matches(*alert)) continue;
      for (Delivery& one : alert->deliveries) {
        if (one.status != DeliveryStatus::pending || !silence.covers(one.time_ns)) continue;
        put_silence(one, silence);
        alert->is_changed = true;
        cancel(id, one);
      }
    }
    silences_.add(std::move(silence));
  }

  void read_outcomes(const Json& data) {
    const Json outcomes = member_or<Json>(data, "outcomes", Json::array());
    for (const Json& one : outcomes) {
      Outcome outcome;
      outcome.alert_id = request_text(one, "alert_id");
      outcome.delivery.transition = member_or<std::uint64_t>(one, "transition", 0);
      outcome.delivery.webhook = request_text(one, "webhook");
      outcome.delivery.status =
          delivery_status_from(request_text(one, "status")).value_or(DeliveryStatus::failed);
      outcome.delivery.attempts = member_or<std::uint64_t>(one, "attempts", 0);
      outcome.delivery.detail = request_text(one, "detail");
      outcome.delivery.at_ns = time_parameter(one, "at");
      book_.settle(outcome);
      // After a crash it is read again that it had to be sent, and then that it was.
      cancel(outcome.alert_id, outcome.delivery);
    }
  }

  // ---- into the log

  // Any thread. Throws ephor::Error. The answer: the sequence behind which it can be seen.
  std::uint64_t ingest(std::string_view topic, const std::string& id, std::int64_t time_ns,
                       const Json& data) const {
    const auto& journal = host_.required<ephor_journal>("ephor.journal/1");
    const std::string line = dump({{"specversion", "1.0"},
                                   {"id", id},
                                   {"source", own_source_},
                                   {"type", topic},
                                   {"time", format_time(time_ns)},
                                   {"data", data}});
    char* memory = nullptr;
    ephor_buffer* buffer = journal.acquire(journal.context, line.size(), &memory);
    if (buffer == nullptr) throw Error(EPHOR_FULL, "the host has no buffer");
    std::memcpy(memory, line.data(), line.size());
    ephor_ingest_result result{};
    result.struct_size = sizeof result;
    std::string rejection;
    check([&](ephor_error* error) {
      return journal.ingest(
          journal.context, buffer, line.size(), EPHOR_FORMAT_SINGLE, to_view(own_source_),
          [](void* user, const ephor_rejection* rejected) {
            guarded(nullptr, [&] { *static_cast<std::string*>(user) = to_text(rejected->reason); });
          },
          &rejection, &result, error);
    });
    if (result.rejected != 0) throw Error(EPHOR_INTERNAL, "the host refused it: " + rejection);
    return result.last_sequence;
  }

  // A sender's thread.
  bool record(const std::vector<Outcome>& outcomes) {
    Json list = Json::array();
    std::int64_t time_ns = INT64_MIN;
    std::string id;
    for (const Outcome& one : outcomes) {
      list.push_back({{"alert_id", one.alert_id},
                      {"transition", one.delivery.transition},
                      {"webhook", one.delivery.webhook},
                      {"status", name_of(one.delivery.status)},
                      {"attempts", one.delivery.attempts},
                      {"detail", one.delivery.detail},
                      {"at", time_or_null(one.delivery.at_ns)}});
      time_ns = std::max(time_ns, one.delivery.time_ns);
      id += one.alert_id + "/" + std::to_string(one.delivery.transition) + "/" +
            one.delivery.webhook + "/" + std::to_string(one.delivery.at_ns.value_or(0)) + "\n";
      if (one.delivery.status == DeliveryStatus::failed) {
        host_.log(EPHOR_LOG_WARNING, "alert " + one.alert_id + " was not delivered to " +
                                         one.delivery.webhook + ": " + one.delivery.detail);
      }
    }
    try {
      ingest(kDeliveryTopic, "delivery-" + short_id(id), time_ns, {{"outcomes", list}});
      return true;
    } catch (const Error& failure) {
      host_.log(EPHOR_LOG_WARNING,
                std::string("outcomes of deliveries are not recorded yet: ") + failure.what());
      return false;
    }
  }

  // The newest event time: in a live system the wall clock, in a recorded one its own now.
  std::int64_t log_now_ns() const {
    std::int64_t now_ns = newest_ns_;
    const Json now = snapshot();
    for (const char* name : {"newest_time", "log_time"}) {
      const auto found = now.find(name);
      if (found == now.end() || !found->is_string()) continue;
      if (const auto time_ns = parse_time(found->get_ref<const std::string&>())) {
        now_ns = std::max(now_ns, *time_ns);
      }
    }
    return now_ns == INT64_MIN ? wall_clock_ns() : now_ns;
  }

  // ---- queries

  void provide_queries() {
    host_.provide_route(
        {.method = "GET",
         .path = "/api/alerts",
         .query = "alerter.alerts",
         .summary = "Alerts, unresolved first; state (open, acknowledged, "
                    "resolved, all), severity, kind, target, source, from, to, "
                    "limit, offset",
         .response_schema = R"({"type":"object","x-run-dependent":["alerts/*/deliveries/*/at",
"alerts/*/deliveries/*/attempts","alerts/*/deliveries/*/detail"]})"},
        [this](std::string_view request) {
          return dump(alerts_json(book_, silences_, log_now_ns(), parse_json(request, "request")));
        });
    host_.provide_route({.method = "GET",
                         .path = "/api/alerts/{alert_id}",
                         .query = "alerter.alert",
                         .summary = "One alert, by its id or its finding's",
                         .response_schema = R"({"type":"object","x-run-dependent":[
"deliveries/*/at","deliveries/*/attempts","deliveries/*/detail"]})"},
                        [this](std::string_view request) {
                          const Alert& alert = wanted(parse_json(request, "request"));
                          return dump(alert_answer(alert, silences_, log_now_ns()));
                        });
    host_.provide_route({.method = "POST",
                         .path = "/api/alerts/{alert_id}/acknowledge",
                         .query = "alerter.acknowledge",
                         .summary = "Somebody looks after it; {by, note}",
                         .scope = "write",
                         .request_schema = kAcknowledgeSchema},
                        [this](std::string_view request) { return acknowledge(request); });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/alerts/silences",
         .query = "alerter.silences",
         .summary = "Silences; active=true, limit, offset"},
        [this](std::string_view request) {
          return dump(silences_json(silences_, log_now_ns(), parse_json(request, "request")));
        });
    host_.provide_route({.method = "POST",
                         .path = "/api/alerts/silences",
                         .query = "alerter.silence",
                         .summary = "Matching alerts are not sent; {match, until or for_s, "
                                    "comment, by}",
                         .scope = "write",
                         .request_schema = kSilenceSchema},
                        [this](std::string_view request) { return silence(request); });
    host_.provide_route({.method = "DELETE",
                         .path = "/api/alerts/silences/{silence_id}",
                         .query = "alerter.unsilence",
                         .summary = "Ends a silence now",
                         .scope = "write"},
                        [this](std::string_view request) { return unsilence(request); });
    host_.provide_query("alerter.describe", "Alerts about one of the request's ids",
                        [this](std::string_view request) {
                          return describe_json(book_, parse_json(request, "request"));
                        });
    host_.provide_query("alerter.summary", "Counts of alerts and deliveries",
                        [this](std::string_view) {
                          Json out = summary_json(book_);
                          out["alerts_unreadable"] = unreadable_;
                          out["alert_silences"] = silences_.all().size();
                          return dump(out);
                        });
  }

  static constexpr std::string_view kAcknowledgeSchema =
      R"({"type":"object","properties":{"body":{"type":"object","additionalProperties":false,
"properties":{"by":{"type":"string","maxLength":500},"note":{"type":"string","maxLength":500}}}}})";
  static constexpr std::string_view kSilenceSchema =
      R"({"type":"object","properties":{"body":{"type":"object","required":["match"],
"additionalProperties":false,"properties":{"match":{"type":"object","minProperties":1,
"additionalProperties":{"type":"string"}},"until":{"type":"string"},
"for_s":{"type":"number","exclusiveMinimum":0},"comment":{"type":"string","maxLength":500},
"by":{"type":"string","maxLength":500}}}}})";

  const Alert& wanted(const Json& request) {
    const std::string id = request_text(request, "alert_id");
    const Alert* alert = book_.find(id);
    if (alert == nullptr) alert = book_.find_by_finding(id);
    if (alert != nullptr) return *alert;
    throw Error(EPHOR_NOT_FOUND, "no alert has the id \"" + id + "\"", "/alert_id");
  }

  // The command's own time and a number that never comes twice.
  std::string command_id(const std::string& action) const {
    return action + "-" +
           short_id(action + std::to_string(wall_clock_ns()) +
                    std::to_string(reinterpret_cast<std::uintptr_t>(this)));
  }

  std::string acknowledge(std::string_view request_text_) {
    const Json request = parse_json(request_text_, "request");
    const Json body = body_of(request);
    const Alert& alert = wanted(request);
    if (!alert.is_unresolved()) {
      throw Error(EPHOR_CONFLICT, "the alert is resolved", "/alert_id");
    }
    const std::uint64_t sequence = ingest(kCommandTopic, command_id("acknowledge"), log_now_ns(),
                                          {{"action", "acknowledge"},
                                           {"alert_id", alert.alert_id},
                                           {"by", short_text(body, "by")},
                                           {"note", short_text(body, "note")}});
    return dump({{"alert_id", alert.alert_id}, {"sequence", sequence}});
  }

  std::string silence(std::string_view request_text_) {
    const Json body = body_of(parse_json(request_text_, "request"));
    const auto match = match_from(member_or<Json>(body, "match", Json()));
    const std::int64_t now_ns = log_now_ns();
    auto until_ns = time_parameter(body, "until");
    if (!until_ns) {
      const double for_s = member_or(body, "for_s", 0.0);
      if (!(for_s > 0.0 && for_s <= 1e8)) {  // some three years
        throw Error(EPHOR_INVALID, "until: found neither until nor for_s above 0, expected one",
                    "/until");
      }
      until_ns = now_ns + static_cast<std::int64_t>(for_s * 1e9);
    }
    if (*until_ns <= now_ns) {
      throw Error(EPHOR_INVALID,
                  "until: found a time that is not behind the newest event, " +
                      format_time(now_ns) + ", expected a later one",
                  "/until");
    }
    const std::string id = command_id("silence");
    const std::uint64_t sequence = ingest(kCommandTopic, id, now_ns,
                                          {{"action", "silence"},
                                           {"silence_id", short_id(id)},
                                           {"match", match},
                                           {"until", format_time(*until_ns)},
                                           {"comment", short_text(body, "comment")},
                                           {"by", short_text(body, "by")}});
    return dump({{"silence_id", short_id(id)},
                 {"from", format_time(now_ns)},
                 {"until", format_time(*until_ns)},
                 {"sequence", sequence}});
  }

  std::string unsilence(std::string_view request_text_) {
    const Json request = parse_json(request_text_, "request");
    const std::string id = request_text(request, "silence_id");
    if (silences_.find(id) == nullptr) {
      throw Error(EPHOR_NOT_FOUND, "no silence has the id \"" + id + "\"", "/silence_id");
    }
    const std::uint64_t sequence = ingest(kCommandTopic, command_id("unsilence"), log_now_ns(),
                                          {{"action", "unsilence"}, {"silence_id", id}});
    return dump({{"silence_id", id}, {"sequence", sequence}});
  }

  Host host_;
  Settings settings_;
  const std::string own_source_;
  EventReader reader_;
  MetricReader metric_reader_{host_};
  AlertBook book_;
  Silences silences_;
  ThresholdRules rules_;
  MetricSample sample_;                 // scratch, of one event
  std::vector<Finding> rule_findings_;  // scratch
  std::int64_t newest_ns_ = INT64_MIN;
  std::uint64_t unreadable_ = 0;
  std::vector<ephor::MetricSample> batch_samples_;  // scratch, of one series
  std::uint16_t metric_topic_ = 0;
  std::uint16_t metric_batch_topic_ = 0;
  std::uint16_t alert_topic_ = 0;
  std::uint16_t command_topic_ = 0;
  std::uint16_t delivery_topic_ = 0;
  std::uint16_t plugin_topic_ = 0;
  std::uint16_t retrain_topic_ = 0;
  Series open_gauge_;
  Series alerts_total_;
  std::map<std::string, std::unique_ptr<Sender>> senders_;  // last: their threads use the others
};

}  // namespace ephor::alerter

EPHOR_PLUGIN(ephor::alerter::Alerter, "alerter")
