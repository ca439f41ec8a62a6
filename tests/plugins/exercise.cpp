// SPDX-License-Identifier: Apache-2.0
//
// A plugin that uses every function of the host once its query `exercise` asks for it, and tells
// what came of each as JSON: wherever it lives, the text has to be the same.
#include <chrono>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace ephor::exercise {

using Json = nlohmann::json;

class Exercise final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "1.0.0";
  static constexpr std::string_view kSummary = "uses every function of the host; for tests";
  static constexpr std::uint32_t kCapabilities = EPHOR_CAP_CONCURRENT_QUERY;
  static constexpr std::uint32_t kStateVersion = 3;

  Exercise(Host host, std::string_view config) : host_(std::move(host)), config_(config) {
    host_.declare_tables(R"({"version": 1, "tables": [{"name": "exercise", "key": ["topic"],
      "columns": [{"name": "topic", "type": "text"}, {"name": "seen", "type": "integer"},
                  {"name": "half", "type": "real"}, {"name": "none", "type": "text"},
                  {"name": "told", "type": "json"}, {"name": "bytes", "type": "blob"}]}]})");
    host_.subscribe({"test.>", "other"}, EPHOR_POLICY_REPLAY);
    host_.provide_route({"GET", "/api/exercise/{part}", "exercise", "every function"},
                        [this](std::string_view request) { return exercise(request); });
    host_.provide_query("exercise.fail", "fails", [](std::string_view) -> std::string {
      throw Error(EPHOR_INVALID, "found nothing, expected something", "/some/where");
    });
    const auto& query = host_.required<ephor_query>("ephor.query/1");
    check([&](ephor_error* error) {
      return query.provide(query.context, to_view("exercise.later"), to_view("answers later"),
                           &answer_later, this, error);
    });
    host_.provide_command("exercise", "says what it was given",
                          [](std::string_view arguments, ephor_writer& out) {
                            out.write(out.context, to_view("given "));
                            out.write(out.context, to_view(arguments));
                          });
    counter_ = host_.counter("exercise_events_total", "Events", R"({"kind": "all"})");
    gauge_ = host_.gauge("exercise_last", "The last number");
  }

  ~Exercise() override { stop(); }

  void start() override { host_.log(EPHOR_LOG_INFO, "started with " + config_); }
  void stop() override {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      counter_.add();
      gauge_.set(static_cast<double>(event.sequence));
      gauge_.add(0.5);
      const std::string topic(host_.topic_name(event.topic));
      ++seen_[topic];
      heard_.push_back({topic, std::string(host_.source_name(event.source)), event.record_length,
                        event.flags, host_.render_json(event)});
      host_.publish({"derived." + topic, R"({"of": )" + std::to_string(event.sequence) + "}",
                     &event, "c-" + std::to_string(event.sequence)});
    }
  }

  void save(const Rows& rows, std::string& state) override {
    for (const auto& [topic, seen] : seen_) {
      rows.upsert("exercise",
                  {Cell::text(topic), Cell::integer_value(seen),
                   Cell::real_value(0.5 * static_cast<double>(seen)), Cell::null(),
                   Cell::json(R"({"a": 1})"), Cell::blob(std::string_view("\0\1\2", 3))});
    }
    rows.upsert("exercise", {Cell::text("gone"), Cell::null(), Cell::null(), Cell::null(),
                             Cell::null(), Cell::null()});
    rows.erase("exercise", {Cell::text("gone")});
    state = Json(seen_).dump();
  }
  bool load(std::uint32_t version, std::string_view state) override {
    if (version != kStateVersion) return false;
    seen_ = Json::parse(state).get<std::map<std::string, std::int64_t>>();
    return true;
  }

 private:
  // What a call came to: its result, or the status and words of its failure.
  static Json tried(const std::function<Json()>& call) {
    try {
      return call();
    } catch (const Error& failure) {
      return {{"status", failure.code()},
              {"message", failure.what()},
              {"pointer", failure.json_pointer()}};
    }
  }

  static Json told(const Event& event) {
    return {{"sequence", event.sequence},
            {"time_ns", event.time_ns},
            {"record", std::string(event.record, event.record_length)},
            {"data_offset", event.data_offset},
            {"slack", event.record[event.record_length + 63] * 0}};
  }

  Json journal() {
    Json out;
    out["find"] = tried([&] {
      Json found = Json::array();
      host_.find_events("corr-1", [&](const Event& event) { found.push_back(told(event)); });
      return found;
    });
    const auto& table = host_.required<ephor_journal>("ephor.journal/1");
    out["read"] = tried([&] {
      Json found = Json::array();
      std::uint64_t next = 0;
      check([&](ephor_error* error) {
        return table.read(
            table.context, 1, to_view("test.>"), 3,
            [](void* user, const ephor_event* event) {
              static_cast<Json*>(user)->push_back(told(*event));
            },
            &found, &next, error);
      });
      return Json{{"events", found}, {"next", next}};
    });
    out["last"] = table.last_sequence(table.context);
    out["ingest"] = tried([&] {
      const std::string_view lines =
          "{\"specversion\":\"1.0\",\"id\":\"i1\",\"source\":\"x\","
          "\"type\":\"other\",\"time\":\"2020-01-01T00:00:00Z\","
          "\"data\":{\"n\":1}}\nnonsense\n";
      char* data = nullptr;
      ephor_buffer* buffer = table.acquire(table.context, lines.size(), &data);
      lines.copy(data, lines.size());
      Json rejections = Json::array();
      ephor_ingest_result result{};
      result.struct_size = sizeof result;
      check([&](ephor_error* error) {
        return table.ingest(
            table.context, buffer, lines.size(), EPHOR_FORMAT_LINES, to_view("nobody"),
            [](void* user, const ephor_rejection* one) {
              static_cast<Json*>(user)->push_back(
                  {{"line", one->line},
                   {"pointer", std::string(to_text(one->json_pointer))},
                   {"reason", std::string(to_text(one->reason))}});
            },
            &rejections, &result, error);
      });
      return Json{{"accepted", result.accepted},
                  {"duplicate", result.duplicate},
                  {"rejected", result.rejected},
                  {"events", result.events},
                  {"rejections", rejections}};
    });
    char* data = nullptr;
    ephor_buffer* unused = table.acquire(table.context, 10, &data);
    table.release(table.context, unused);
    out["too_large"] = table.acquire(table.context, 1ULL << 40, &data) == nullptr;
    return out;
  }

  static std::vector<std::uint8_t> bytes_of(const ephor_cell& cell) {
    const std::string_view bytes = to_text(cell.bytes);
    return {bytes.begin(), bytes.end()};
  }

  Json routes() {
    const auto& http = host_.required<ephor_http>("ephor.http/1");
    Json found = Json::array();
    http.visit(
        http.context,
        [](void* user, ephor_view instance, const ephor_http_route* route) {
          static_cast<Json*>(user)->push_back(
              {std::string(to_text(instance)), std::string(to_text(route->method)),
               std::string(to_text(route->path)), std::string(to_text(route->query)),
               std::string(to_text(route->scope))});
        },
        &found);
    return {{"routes", found}, {"generation", http.generation(http.context)}};
  }

  std::string exercise(std::string_view request) {
    Json out;
    out["request"] = Json::parse(request);
    out["instance"] = host_.instance();
    out["config"] = Json::parse(config_);
    for (const auto& one : heard_) {
      out["heard"].push_back({one.topic, one.source, one.size, one.flags, one.json});
    }
    out["unknown_extension"] = host_.extension<void>("ephor.nonsense/9") == nullptr;
    out["ask"] = tried([&] { return Json::parse(host_.ask("peer", R"({"q": 1})")); });
    out["ask_unknown"] = tried([&] { return Json(host_.ask("nobody")); });
    out["topic"] = tried([&] {
      const std::uint16_t topic = host_.topic_id("some.topic");
      return Json{std::string(host_.topic_name(topic)), topic == host_.topic_id("some.topic"),
                  std::string(host_.topic_name(65'000)), std::string(host_.source_name(1'000'000))};
    });
    out["publish_outside"] = tried([&] {
                               host_.publish({"a.b", "{}"});
                               return Json("published");
                             }).contains("status");
    out["journal"] = journal();
    out["select"] = tried([&] {
      Json rows = Json::array();
      host_.select("SELECT everything", {Cell::integer_value(7), Cell::text("seven"), Cell::null()},
                   [&](std::span<const ephor_cell> cells) {
                     if (rows.size() == 5000) throw Error(EPHOR_STATE, "enough");
                     Json row = Json::array();
                     for (const ephor_cell& cell : cells) {
                       row.push_back({cell.kind, cell.integer, cell.real,
                                      Json::binary(bytes_of(cell)).dump()});
                     }
                     rows.push_back(row);
                   });
      return rows;
    });
    out["routes"] = routes();
    out["list"] = tried([&] {
      const auto& query = host_.required<ephor_query>("ephor.query/1");
      std::string text;
      ephor_writer to = string_writer(text);
      check([&](ephor_error* error) { return query.list(query.context, &to, error); });
      return Json::parse(text);
    });
    out["health"] = tried([&] {
      host_.report_health(EPHOR_HEALTH_DEGRADED, "a little unwell");
      const auto& health = host_.required<ephor_health>("ephor.health/1");
      std::string text;
      ephor_writer to = string_writer(text);
      check([&](ephor_error* error) { return health.snapshot(health.context, &to, error); });
      return Json::parse(text);
    });
    out["late_subscribe"] = tried([&] {
                              host_.subscribe({"late"});
                              return Json("subscribed");
                            }).contains("status");
    out["bad_series"] = tried([&] {
                          (void)host_.counter("exercise_last", "another kind");
                          return Json("made");
                        }).contains("status");
    host_.log(EPHOR_LOG_TRACE, "never shown");
    host_.log(EPHOR_LOG_WARNING, "shown");
    const auto& tasks = host_.required<ephor_task>("ephor.task/1");
    check([&](ephor_error* error) {
      return tasks.run(
          tasks.context,
          [](void* user) { static_cast<Exercise*>(user)->host_.log(EPHOR_LOG_INFO, "a task ran"); },
          this, error);
    });
    return out.dump();
  }

  static ephor_status answer_later(void* user, ephor_view request, ephor_reply* reply,
                                   ephor_error*) {
    auto& self = *static_cast<Exercise*>(user);
    self.threads_.emplace_back([held = *reply, text = std::string(to_text(request))] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      held.write(held.context, to_view(R"({"later": )"));
      held.write(held.context, to_view(text + "}"));
      held.finish(held.context, EPHOR_OK, nullptr);
    });
    return EPHOR_PENDING;
  }

  struct Heard {
    std::string topic, source;
    std::uint32_t size = 0;
    unsigned flags = 0;
    std::string json;
  };
  const Host host_;
  const std::string config_;
  Series counter_;
  Series gauge_;
  std::map<std::string, std::int64_t> seen_;
  std::vector<Heard> heard_;
  std::vector<std::thread> threads_;
};

}  // namespace ephor::exercise

EPHOR_PLUGIN(ephor::exercise::Exercise, "exercise")
