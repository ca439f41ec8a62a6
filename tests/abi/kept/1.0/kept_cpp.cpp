// SPDX-License-Identifier: Apache-2.0
//
// A plugin of ABI 1.0 over ephor/plugin.hpp, kept as a binary for the hosts to come: a
// subscription, rows, a state, derived events, a query with a route, a failure with its place, a
// metric and a log line.
#include <charconv>
#include <ephor/plugin.hpp>

namespace {

class Kept final : public ephor::Plugin {
 public:
  static constexpr std::string_view kVersion = "1.0.0";
  static constexpr std::string_view kSummary = "Adds up lengths; kept for later hosts";
  static constexpr std::string_view kConfigSchema =
      R"({"type":"object","properties":{"topic":{"type":"string","default":"test.point"}}})";
  static constexpr std::uint32_t kStateVersion = 4;

  Kept(ephor::Host host, std::string_view config) : host_(std::move(host)) {
    if (config.find("test.point") == std::string_view::npos) {
      throw ephor::Error(EPHOR_INVALID, "found another topic, expected test.point", "/topic");
    }
    host_.subscribe({"test.point"});
    host_.declare_tables(R"({"version":1,"tables":[{"name":"kept_cpp","key":["id"],"columns":)"
                         R"([{"name":"id","type":"text"},{"name":"bytes","type":"integer"}]}]})");
    host_.provide_route(
        {"GET", "/api/kept", "kept_cpp.bytes", "How many bytes came"}, [this](std::string_view) {
          return "{\"bytes\":" + std::to_string(bytes_) + ",\"loaded\":" + std::to_string(loaded_) +
                 ",\"row\":" + std::to_string(row()) + "}";
        });
    host_.provide_query("kept_cpp.fail", "fails", [](std::string_view) -> std::string {
      throw ephor::Error(EPHOR_NOT_FOUND, "found nothing", "/id");
    });
    series_ = host_.counter("kept_cpp_bytes_total", "Bytes");
  }
  void start() override { host_.log(EPHOR_LOG_DEBUG, "a plugin of ABI 1.0 starts"); }
  void on_event(const ephor::Event& event) override {
    bytes_ += event.record_length;
    series_.add(event.record_length);
    const std::string data = "{\"bytes\":" + std::to_string(event.record_length) + "}";
    host_.publish({.topic = "kept.seen", .data_json = data, .cause = &event});
  }
  void save(const ephor::Rows& rows, std::string& state) override {
    rows.upsert("kept_cpp", {ephor::Cell::text("all"),
                             ephor::Cell::integer_value(static_cast<std::int64_t>(bytes_))});
    state = std::to_string(bytes_);
  }
  bool load(std::uint32_t version, std::string_view state) override {
    std::from_chars(state.data(), state.data() + state.size(), bytes_);
    loaded_ = bytes_;
    return version == kStateVersion;
  }

 private:
  std::int64_t row() const {
    std::int64_t found = -1;
    host_.select("SELECT bytes FROM kept_cpp WHERE id = ?", {ephor::Cell::text("all")},
                 [&](std::span<const ephor_cell> cells) { found = cells[0].integer; });
    return found;
  }

  ephor::Host host_;
  ephor::Series series_;
  std::uint64_t bytes_ = 0;
  std::uint64_t loaded_ = 0;
};

}  // namespace

EPHOR_PLUGIN(Kept, "kept_cpp")
