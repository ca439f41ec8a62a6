// SPDX-License-Identifier: Apache-2.0
//
// One source, built by neighbours_test.py with several compilers and with nlohmann::json of several
// layouts under one mangled name. All that it does goes through that library: configuration,
// events, state, answers, exceptions of it thrown and caught.
#include <ephor/plugin.hpp>
#include <nlohmann/json.hpp>

namespace {

using Json = nlohmann::json;
using Ordered = nlohmann::ordered_json;

class Nested final : public ephor::Plugin {
 public:
  Nested(ephor::Host host, std::string_view config) : host_(std::move(host)) {
    config_ = Ordered::parse(config);
    factor_ = config_.at("settings").at("factor").get<std::int64_t>();
    state_ = {{"seen", 0}, {"keys", Ordered::object()}, {"last", nullptr}};
    host_.subscribe({"test.nested"});
    host_.provide_query(host_.instance(), "what it made of everything",
                        [this](std::string_view request) { return answer(request); });
  }

  void on_event(const ephor::Event& event) override {
    const Json record = Json::parse(std::string_view(event.record, event.record_length));
    const Json& data = record.at("data");
    state_["seen"] = state_["seen"].get<int>() + 1;
    Ordered& key = state_["keys"][data.at("key").get<std::string>()];
    if (key.is_null()) key = {{"sum", 0}, {"values", Ordered::array()}};
    key["sum"] = key["sum"].get<std::int64_t>() + factor_ * data.at("deep").at("value").get<int>();
    key["values"].push_back(Ordered(data.at("deep")));
    state_["last"] = Ordered(data);
    catch_one(record);
  }

  void save(const ephor::Rows&, std::string& state) override {
    const auto bytes = Ordered::to_cbor(state_);
    state.assign(bytes.begin(), bytes.end());
  }
  bool load(std::uint32_t, std::string_view state) override {
    state_ = Ordered::from_cbor(state.begin(), state.end());
    return true;
  }

 private:
  // Each kind of exception, by its own type and by its base.
  void catch_one(const Json& record) {
    try {
      const Json never = Json::parse("{\"broken\": [1, 2");
    } catch (const Json::parse_error& error) {
      parse_errors_ += error.id == 101 ? 1 : 0;
    }
    try {
      (void)record.at("no such member");
    } catch (const Json::exception& error) {
      missing_ += dynamic_cast<const Json::out_of_range*>(&error) != nullptr ? 1 : 0;
    }
    try {
      (void)record.at("id").get<int>();
    } catch (const std::exception& error) {
      type_errors_ += dynamic_cast<const Json::type_error*>(&error) != nullptr ? 1 : 0;
    }
  }

  std::string answer(std::string_view request) {
    const Ordered asked = Ordered::parse(request);
    if (asked.contains("throw")) (void)asked.at("throw").at(asked.at("index").get<std::size_t>());
    catch_one(Json{{"id", "text"}});
    return Ordered{
        {"config", config_},
        {"state", state_.dump()},  // as text, which keeps its order on the way
        {"echo", asked},
        {"merged", merged(asked)},
        {"caught", parse_errors_ > 0 && parse_errors_ == missing_ && missing_ == type_errors_},
        {"json_bytes", sizeof(Ordered)},
        {"version", NLOHMANN_JSON_VERSION_MAJOR * 10000 + NLOHMANN_JSON_VERSION_MINOR * 100 +
                        NLOHMANN_JSON_VERSION_PATCH}}
        .dump();
  }
  Ordered merged(const Ordered& asked) const {
    Ordered out = config_;
    out.merge_patch(asked);
    return out;
  }

  ephor::Host host_;
  Ordered config_;
  Ordered state_;
  std::int64_t factor_ = 0;
  int parse_errors_ = 0;
  int missing_ = 0;
  int type_errors_ = 0;
};

}  // namespace

EPHOR_PLUGIN(Nested, "nested")
