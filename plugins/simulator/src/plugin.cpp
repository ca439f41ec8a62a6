// SPDX-License-Identifier: Apache-2.0
//
// simulator: a live trading system with models, regimes and faults to switch on. As a source it
// sends its events through the host's journal like any client; as a command it writes a file.
#include <chrono>
#include <cstring>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <memory>
#include <optional>

#include "archive.hpp"
#include "faults.hpp"
#include "feeder.hpp"
#include "json_text.hpp"
#include "session.hpp"
#include "simulate.hpp"

namespace ephor::simulator {
namespace {

constexpr std::size_t kFaultsMost = 64;
constexpr double kNsPerSecond = 1e9;

std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t seconds_to_ns(double seconds) {
  return static_cast<std::int64_t>(seconds * kNsPerSecond);
}

Json time_or_null(std::int64_t time_ns) {
  return time_ns == 0 || time_ns == kNoEnd ? Json() : Json(time_text(time_ns));
}

// {kind, target, factor, rate} of a configuration or a request.
Fault fault_from(const Json& json) {
  Fault fault = make_fault(request_text(json, "kind"), request_text(json, "target"));
  fault.factor = member_or(json, "factor", fault.factor);
  fault.rate = member_or(json, "rate", fault.rate);
  check_strength(fault);
  return fault;
}

Json fault_json(const Fault& fault, std::int64_t now_ns) {
  Json json{{"kind", name_of(fault.kind)},
            {"target", fault.target},
            {"from", time_or_null(fault.from_ns)},
            {"to", time_or_null(fault.to_ns)},
            {"active", fault.is_active(now_ns)}};
  json["factor"] = fault.has_factor() ? Json(fault.factor) : Json();
  json["rate"] = fault.kind == FaultKind::error_burst ? Json(fault.rate) : Json();
  return json;
}

class Simulator final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "A simulated trading system with models, regimes and faults to switch on";
  static constexpr std::uint32_t kCapabilities = EPHOR_CAP_SOURCE;
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = R"({
"type":"object","additionalProperties":false,"properties":{
"seed":{"type":"integer","minimum":0,"default":1,
  "description":"Market, models and latencies follow from it"},
"symbol":{"type":"string","minLength":1,"maxLength":64,"default":"BTCUSDT",
  "description":"Name of the instrument"},
"start_price":{"type":"number","minimum":1,"maximum":1000000000,"default":60000,
  "description":"First price, quote currency; the market is drawn back to it slowly"},
"initial_equity":{"type":"number","minimum":10,"maximum":1000000000000,"default":10000,
  "description":"Of the account, quote currency"},
"cycle_interval_s":{"type":"number","minimum":0.1,"maximum":3600,"default":1,
  "description":"Wall seconds between two trading cycles; each is one market minute"},
"backfill_hours":{"type":"number","minimum":0,"maximum":720,"default":6,
  "description":"How far back a new session begins; sent as fast as the journal takes it"},
"backfill_interval_s":{"type":"number","minimum":1,"maximum":3600,"default":10,
  "description":"Seconds between two cycles of the past"},
"faults":{"type":"array","maxItems":64,"default":[],
  "description":"Faults of a new session, hours since its begin",
  "items":{"type":"object","additionalProperties":false,"required":["kind"],"properties":{
    "kind":{"type":"string","enum":["feature_drift","broken_model","latency_regression",
      "error_burst","overconfidence","stale_output"],"description":"What goes wrong"},
    "target":{"type":"string","default":"",
      "description":"Feature, model or component/operation; empty: the default of the kind"},
    "from_h":{"type":"number","minimum":0,"default":0,"description":"Begin, hours"},
    "to_h":{"type":"number","minimum":0,"description":"End, hours; absent: never"},
    "factor":{"type":"number","description":"Strength: standard deviations, times slower, power"},
    "rate":{"type":"number","minimum":0,"maximum":1,"description":"Share of failures"}}}}
}})";

  Simulator(Host host, std::string_view config_text) : host_(std::move(host)) {
    const Json config = parse_json(config_text, "simulator");
    settings_.seed = member_or<std::uint64_t>(config, "seed", 1);
    settings_.symbol = member_or<std::string>(config, "symbol", "BTCUSDT");
    settings_.start_price = member_or(config, "start_price", 60000.0);
    settings_.initial_equity = member_or(config, "initial_equity", 10000.0);
    timing_.cycle_interval_ns = seconds_to_ns(member_or(config, "cycle_interval_s", 1.0));
    timing_.backfill_ns = seconds_to_ns(3600.0 * member_or(config, "backfill_hours", 6.0));
    timing_.backfill_interval_ns = std::max(
        timing_.cycle_interval_ns, seconds_to_ns(member_or(config, "backfill_interval_s", 10.0)));
    read_faults(config);
    // Ticks are not needed, but a position in the log is: checkpoints save the session with it.
    // Here and not in start, because a source is restored before it is started.
    host_.subscribe({"ephor.tick"}, EPHOR_POLICY_DROP_OLDEST);
    host_.provide_command(
        "simulate", "Writes a simulated session as NDJSON",
        [](std::string_view arguments, ephor_writer& out) { run_simulate(arguments, out); });
  }

  void start() override {
    journal_ = &host_.required<ephor_journal>("ephor.journal/1");
    const std::int64_t now_ns = wall_clock_ns();
    feeder_ = std::make_unique<Feeder>(restored_ ? std::move(*restored_) : new_session(now_ns),
                                       timing_, &wall_clock_ns,
                                       [this](std::string_view lines) { return send(lines); });
    restored_.reset();
    provide_routes();
    feeder_->start();
  }

  void drain(std::int64_t) override { stop(); }
  void stop() override {
    if (feeder_ != nullptr) feeder_->stop();
  }

  void save(const Rows&, std::string& state) override {
    if (feeder_ == nullptr && !restored_) return;
    Session session = feeder_ != nullptr ? feeder_->session() : *restored_;
    Saver saver(state);
    session.visit(saver);
  }
  bool load(std::uint32_t state_version, std::string_view state) override {
    if (state_version != kStateVersion) return false;
    if (state.empty()) return true;  // saved before the session began
    Session session(settings_);
    const bool is_read = read_state(state, [&](StateReader& in) {
      Loader loader(in);
      session.visit(loader);
    });
    if (!is_read || !session.is_sound()) return false;
    // Another seed or symbol is another session.
    SessionSettings saved = session.settings();
    if (saved.seed == settings_.seed && saved.symbol == settings_.symbol &&
        saved.start_price == settings_.start_price &&
        saved.initial_equity == settings_.initial_equity) {
      restored_ = std::move(session);
    }
    return true;
  }

 private:
  void read_faults(const Json& config) {
    const Json faults = member_or<Json>(config, "faults", Json::array());
    for (std::size_t index = 0; index < faults.size(); ++index) {
      const Json& json = faults[index];
      try {
        Fault fault = fault_from(json);
        fault.from_ns = seconds_to_ns(3600.0 * member_or(json, "from_h", 0.0));
        if (json.contains("to_h") && !json["to_h"].is_null()) {
          fault.to_ns = seconds_to_ns(3600.0 * member_or(json, "to_h", 0.0));
        }
        faults_.push_back(std::move(fault));
      } catch (const Error& failure) {
        throw Error(failure.code(), failure.what(),
                    "/faults/" + std::to_string(index) + failure.json_pointer());
      }
    }
  }

  Session new_session(std::int64_t now_ns) const {
    SessionSettings settings = settings_;
    settings.epoch = "l" + to_hex(static_cast<std::uint64_t>(now_ns) / 1'000'000, 11);
    Session session(settings);
    const std::int64_t begin_ns = now_ns - timing_.backfill_ns;
    for (Fault fault : faults_) {
      fault.from_ns += begin_ns;
      if (fault.to_ns != kNoEnd) fault.to_ns += begin_ns;
      session.faults().push_back(std::move(fault));
    }
    return session;
  }

  // The feeder's thread.
  Sent send(std::string_view lines) {
    Sent sent;
    char* memory = nullptr;
    ephor_buffer* buffer = journal_->acquire(journal_->context, lines.size(), &memory);
    if (buffer == nullptr) {
      sent.problem = "the host has no buffer of " + std::to_string(lines.size()) + " bytes";
      return sent;
    }
    std::memcpy(memory, lines.data(), lines.size());
    ephor_ingest_result result{};
    result.struct_size = sizeof result;
    ephor_error error{};
    error.struct_size = sizeof error;
    const ephor_status status = journal_->ingest(
        journal_->context, buffer, lines.size(), EPHOR_FORMAT_LINES, to_view("simulator"),
        [](void* user, const ephor_rejection* rejection) {
          guarded(nullptr, [&] {
            auto& problem = static_cast<Sent*>(user)->problem;
            if (!problem.empty()) return;  // the first says enough
            problem = "line " + std::to_string(rejection->line) + " " +
                      std::string(to_text(rejection->json_pointer)) + ": " +
                      std::string(to_text(rejection->reason));
          });
        },
        &sent, &result, &error);
    sent.is_kept = status == EPHOR_OK;
    if (sent.is_kept) {
      sent.accepted = result.accepted;
      sent.duplicate = result.duplicate;
      sent.rejected = result.rejected;
    } else {
      sent.problem = error.message[0] != '\0' ? error.message : "status " + std::to_string(status);
    }
    note_problem(sent);
    return sent;
  }

  // Says it once, not at every try.
  void note_problem(const Sent& sent) {
    if (sent.problem == noted_problem_) return;
    noted_problem_ = sent.problem;
    if (sent.problem.empty()) {
      host_.report_health(EPHOR_HEALTH_OK, "");
      return;
    }
    const std::string text = (sent.is_kept ? "rejected: " : "waiting: ") + sent.problem;
    host_.log(EPHOR_LOG_WARNING, text);
    host_.report_health(EPHOR_HEALTH_DEGRADED, text);
  }

  void provide_routes() {
    host_.provide_route({.method = "GET",
                         .path = "/api/simulator",
                         .query = "simulator.status",
                         .summary = "The simulated session: its market, account and models"},
                        [this](std::string_view) { return status(); });
    host_.provide_route({.method = "GET",
                         .path = "/api/simulator/faults",
                         .query = "simulator.faults",
                         .summary = "Faults of the session, and what can be switched on"},
                        [this](std::string_view) { return faults(); });
    host_.provide_route({.method = "POST",
                         .path = "/api/simulator/faults",
                         .query = "simulator.switch_fault",
                         .summary = "Switches a fault on or off",
                         .scope = "write",
                         .request_schema = kSwitchSchema},
                        [this](std::string_view request) { return switch_fault(request); });
  }

  static constexpr std::string_view kSwitchSchema = R"({"type":"object","properties":{"body":{
"type":"object","required":["kind"],"additionalProperties":false,"properties":{
"kind":{"type":"string"},"target":{"type":"string"},"active":{"type":"boolean","default":true},
"for_s":{"type":"number","exclusiveMinimum":0},"factor":{"type":"number"},
"rate":{"type":"number","minimum":0,"maximum":1}}}}})";

  std::string status() const {
    const Session session = feeder_->session();
    const FeederCounts counts = feeder_->counts();
    const Account& account = session.account();
    const bool has_begun = session.steps() > 0;
    Json json{{"epoch", session.settings().epoch},
              {"seed", session.settings().seed},
              {"symbol", session.settings().symbol},
              {"cycles", session.steps()},
              {"time", time_or_null(session.last_time_ns())},
              {"is_backfilling", counts.is_behind},
              {"price", has_begun ? Json(session.price()) : Json()},
              {"realised_equity", account.equity()},
              {"equity", has_begun ? Json(account.equity_at(session.price())) : Json()},
              {"trades_closed", account.closed()},
              {"trades_won", account.won()}};
    json["this_run"] = {{"cycles", counts.cycles},
                        {"accepted", counts.accepted},
                        {"duplicate", counts.duplicate},
                        {"rejected", counts.rejected},
                        {"retries", counts.retries}};
    json["problem"] = counts.problem.empty() ? Json() : Json(counts.problem);
    for (std::size_t model = 0; model < kModelCount; ++model) {
      json["models"].push_back({{"model_id", kModels[model].id},
                                {"model_type", kModels[model].type},
                                {"weight", session.ensemble().weights()[model]}});
    }
    json["faults_active"] = Json::array();
    for (const Fault& fault : session.faults()) {
      if (!fault.is_active(session.last_time_ns() + 1)) continue;
      json["faults_active"].push_back(fault_json(fault, session.last_time_ns() + 1));
    }
    return dump(json);
  }

  std::string faults() const {
    const Session session = feeder_->session();
    Json json{{"time", time_or_null(session.last_time_ns())}};
    json["faults"] = Json::array();
    for (const Fault& fault : session.faults()) {
      json["faults"].push_back(fault_json(fault, session.last_time_ns() + 1));
    }
    for (std::size_t index = 0; index < kFaultKindCount; ++index) {
      const auto kind = static_cast<FaultKind>(index);
      const Fault standard = make_fault(name_of(kind), "");
      json["kinds"].push_back({{"kind", name_of(kind)},
                               {"default_target", standard.target},
                               {"targets", targets_of(kind)}});
    }
    return dump(json);
  }

  std::string switch_fault(std::string_view request) {
    const Json body = member_or<Json>(parse_json(request, "request"), "body", Json());
    if (!body.is_object()) {
      throw Error(EPHOR_INVALID, "found no JSON object, expected {kind, target, active}", "");
    }
    for (const auto& [name, value] : body.items()) {
      if (name != "kind" && name != "target" && name != "active" && name != "for_s" &&
          name != "factor" && name != "rate") {
        throw Error(EPHOR_INVALID,
                    name + ": unknown member, expected kind, target, active, for_s, factor or rate",
                    "/" + name);
      }
    }
    Fault fault = fault_from(body);
    const bool is_on = member_or(body, "active", true);
    const double for_s = member_or(body, "for_s", 0.0);
    if (body.contains("for_s") && !(for_s > 0.0 && for_s <= 1e9)) {
      throw Error(EPHOR_INVALID,
                  "for_s: found " + dump(body["for_s"]) + ", expected more than 0 and at most 1e9",
                  "/for_s");
    }
    feeder_->change_faults([&](std::vector<Fault>& list, std::int64_t now_ns) {
      // What is on with this kind and target ends here in any case.
      for (Fault& other : list) {
        if (other.kind == fault.kind && other.target == fault.target && other.is_active(now_ns)) {
          other.to_ns = now_ns;
        }
      }
      if (!is_on) return;
      if (list.size() >= kFaultsMost) {
        std::erase_if(list, [&](const Fault& other) { return other.to_ns <= now_ns; });
      }
      if (list.size() >= kFaultsMost) {
        throw Error(EPHOR_FULL, "found 64 faults that have not ended; switch one off first");
      }
      fault.from_ns = now_ns;
      if (for_s > 0.0) fault.to_ns = now_ns + seconds_to_ns(for_s);
      list.push_back(fault);
    });
    return faults();
  }

  static void run_simulate(std::string_view arguments_text, ephor_writer& out) {
    const auto say = [&](std::string_view text) { out.write(out.context, to_view(text)); };
    const auto arguments = parse_json(arguments_text, "simulate").get<std::vector<std::string>>();
    if (arguments.empty() || arguments.front() == "--help" || arguments.front() == "-h") {
      say(kSimulateUsage);
      return;
    }
    say(simulate_to_files(parse_simulate(arguments)));
  }

  Host host_;
  SessionSettings settings_;
  FeedTiming timing_;
  std::vector<Fault> faults_;  // of the configuration, relative to the begin
  std::optional<Session> restored_;
  const ephor_journal* journal_ = nullptr;
  std::string noted_problem_;       // the feeder's thread
  std::unique_ptr<Feeder> feeder_;  // last: its thread uses the others
};

}  // namespace
}  // namespace ephor::simulator

EPHOR_PLUGIN(ephor::simulator::Simulator, "simulator")
