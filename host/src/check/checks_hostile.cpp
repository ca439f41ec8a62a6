// SPDX-License-Identifier: Apache-2.0
//
// events/*: events that are wrong in some way. A plugin may refuse them, with a text; it may not
// crash, hang or take in what breaks it later.
#include <ephor/plugin.hpp>

#include <functional>
#include <optional>

#include "check/check.hpp"
#include "check/context.hpp"
#include "check/observed.hpp"

namespace ephor::host::check {
namespace {

// Gives one strange event after the other to an instance; one that refuses is replaced, as the host
// does.
class Hostility {
 public:
  // `is_json`: what is given is JSON, so that what comes out has to be right, too.
  Hostility(Context& context, bool is_json) : context_(context), is_json_(is_json) {
    renew();
    if (traffic_->is_empty()) Context::skip("it wants no events");
  }
  ~Hostility() = default;
  Hostility(const Hostility&) = delete;
  Hostility& operator=(const Hostility&) = delete;

  const Traffic& traffic() const { return *traffic_; }

  void give_data(std::string_view topic, std::string_view data_json, const std::string& what) {
    EventSlice slice(subject_->host());
    Traffic::add_with(slice, topic, number_, data_json, Traffic::time_of(number_));
    give(slice, std::string(topic) + " " + what);
  }

  void give_record(std::string_view topic, std::string_view record, std::uint32_t data_offset,
                   const std::string& what, std::uint8_t encoding = EPHOR_ENCODING_JSON) {
    EventSlice slice(subject_->host());
    slice.add_raw(record, data_offset,
                  {.topic = std::string(topic),
                   .sequence = Traffic::sequence_of(number_),
                   .time_ns = Traffic::time_of(number_),
                   .source = "client"});
    slice.events().front().encoding = encoding;
    give(slice, std::string(topic) + " " + what);
  }

  // What it took in must not break what comes after.
  void finish() {
    subject_->remark("after " + std::to_string(count_) + " such events");
    look_after();
    end(*subject_);
    context_.note(std::to_string(count_) + " events, " + std::to_string(refused_) + " refused");
  }

 private:
  void renew() {
    subject_ = std::make_unique<Subject>(context_);
    subject_->must_create();
    subject_->must_start();
    if (!traffic_) traffic_.emplace(subject_->host().patterns());
  }

  void give(EventSlice& slice, const std::string& what) {
    ++number_;
    ++count_;
    subject_->remark("with " + what);
    const ephor_status status = subject_->on_events(slice);
    if (status == EPHOR_OK) return;
    ++refused_;
    look_at_rules();
    (void)subject_->stop();
    subject_->destroy();
    renew();
  }

  void look_at_rules() {
    require_no(subject_->host(), {Rule::exceptions, Rule::errors});
    if (is_json_) require_no(subject_->host(), {Rule::drafts, Rule::topics, Rule::text});
  }

  void look_after() {
    if (is_json_) {
      std::string state;
      if (subject_->checkpoint() != nullptr && subject_->save(state) != EPHOR_OK) {
        Context::fail("that save fails with " + subject_->described(subject_->error().code) +
                          " after events that on_events had taken",
                      "them refused, or a save");
      }
      must_answer_soundly(*subject_);
    } else {
      std::string state;
      (void)subject_->save(state);
      for (const Ask& ask : asks_of(subject_->host())) {
        if (ask.is_read) (void)subject_->ask(ask.query, ask.request);
      }
    }
    look_at_rules();
    if (is_json_) require_no(subject_->host(), {Rule::storage});
  }

  Context& context_;
  const bool is_json_;
  std::unique_ptr<Subject> subject_;
  std::optional<Traffic> traffic_;
  std::uint64_t number_ = 0;
  int count_ = 0;
  int refused_ = 0;
};

Json sample(std::string_view topic, std::uint64_t turn = 3) {
  return Traffic::data_of(topic, turn, Traffic::kBeginNs);
}

void wrong_types(Context& context) {
  Hostility hostility(context, true);
  const Json wrong[] = {nullptr,
                        true,
                        -1,
                        1.5,
                        "",
                        "text",
                        Json::array(),
                        Json::object(),
                        Json::array({1, "a", nullptr}),
                        Json{{"a", Json{{"b", 1}}}}};
  for (const std::string& topic : hostility.traffic().topics()) {
    const Json data = sample(topic);
    for (const auto& [name, unused] : data.items()) {
      for (const Json& value : wrong) {
        Json changed = data;
        changed[name] = value;
        hostility.give_data(topic, changed.dump(), "whose " + name + " is " + value.dump());
      }
    }
    for (const Json& value : wrong) {
      hostility.give_data(topic, value.dump(), "whose data is " + value.dump());
    }
  }
  hostility.finish();
}

void missing_members(Context& context) {
  Hostility hostility(context, true);
  for (const std::string& topic : hostility.traffic().topics()) {
    const Json data = sample(topic);
    for (const auto& [name, unused] : data.items()) {
      Json changed = data;
      changed.erase(name);
      hostility.give_data(topic, changed.dump(), "without " + name);
      hostility.give_data(topic, Json{{name, data[name]}}.dump(), "with " + name + " alone");
    }
    hostility.give_data(topic, "{}", "without members");
  }
  hostility.finish();
}

void unknown_members(Context& context) {
  Hostility hostility(context, true);
  for (const std::string& topic : hostility.traffic().topics()) {
    Json data = sample(topic);
    data["x_from_the_future"] = Json{{"a", {1, 2, Json::object()}}};
    data[""] = "an empty name";
    data["a.b/c~d"] = nullptr;
    hostility.give_data(topic, data.dump(), "with unknown members");
    std::string twice = sample(topic, 5).dump();
    twice.pop_back();
    if (twice.size() > 1) twice += ',';
    twice += sample(topic).dump().substr(1);
    hostility.give_data(topic, twice, "with members twice");
  }
  hostility.finish();
}

// Text and numbers at and beyond what a machine holds; JSON all the same.
void extreme_values(Context& context) {
  Hostility hostility(context, true);
  const std::string texts[] = {"\"\"",
                               "\"\\u0000\"",
                               "\"a\\u0000b\"",
                               "\"\\n\\t\\\"\\\\'; DROP TABLE x; --\"",
                               "\"\xF0\x9F\x92\xA9\xE2\x80\xAE\xCC\x81\"",
                               "\"../../../../etc/passwd\"",
                               "\"%s%s%s%n\"",
                               Json(std::string(1 << 16, 'x')).dump(),
                               "1e308",
                               "-1e308",
                               "5e-324",
                               "-0.0",
                               "9223372036854775807",
                               "-9223372036854775808",
                               "18446744073709551615",
                               "0.1e1",
                               "1E+2"};
  for (const std::string& topic : hostility.traffic().topics()) {
    const Json data = sample(topic);
    hostility.give_data(topic, Json{{"id", std::string(1 << 20, 'x')}}.dump(), "of a MiB");
    for (const auto& [name, unused] : data.items()) {
      for (const std::string& text : texts) {
        std::string changed = "{";
        for (const auto& [other, value] : data.items()) {
          if (changed.size() > 1) changed += ',';
          changed += Json(other).dump() + ":" + (other == name ? text : value.dump());
        }
        hostility.give_data(topic, changed + "}", "whose " + name + " is " + text.substr(0, 60));
      }
    }
  }
  hostility.finish();
}

void deep_nesting(Context& context) {
  Hostility hostility(context, false);
  for (const std::string& topic : hostility.traffic().topics()) {
    for (const std::size_t depth : {100U, 1'000U, 20'000U, 200'000U}) {
      const std::string open(depth, '[');
      const std::string close(depth, ']');
      hostility.give_data(topic, open + close, std::to_string(depth) + " deep");
      std::string data = sample(topic).dump();
      data.pop_back();
      if (data.size() > 1) data += ',';
      data += "\"attributes\":" + open + close + "}";
      hostility.give_data(topic, data, "with attributes " + std::to_string(depth) + " deep");
      std::string objects;
      for (std::size_t i = 0; i < depth; ++i) objects += "{\"a\":";
      hostility.give_data(topic, objects + "1" + std::string(depth, '}'),
                          "with objects " + std::to_string(depth) + " deep");
    }
  }
  hostility.finish();
}

void truncated_json(Context& context) {
  Hostility hostility(context, false);
  for (const std::string& topic : hostility.traffic().topics()) {
    const std::string envelope =
        R"({"specversion":"1.0","id":"1","source":"client","type":")" + topic + R"(","data":)";
    const std::string record = envelope + sample(topic).dump() + "}";
    const auto offset = static_cast<std::uint32_t>(envelope.size());
    for (std::size_t size = 0; size < record.size(); size += 1 + size / 64) {
      hostility.give_record(topic, std::string_view(record).substr(0, size),
                            std::min(offset, static_cast<std::uint32_t>(size)),
                            "cut after " + std::to_string(size) + " bytes");
    }
  }
  hostility.finish();
}

void no_data(Context& context) {
  Hostility hostility(context, false);
  for (const std::string& topic : hostility.traffic().topics()) {
    const std::string record =
        R"({"specversion":"1.0","id":"1","source":"client","type":")" + topic + R"("})";
    hostility.give_record(topic, record, static_cast<std::uint32_t>(record.size()), "without data");
    hostility.give_record(topic, "", 0, "with an empty record");
    hostility.give_record(topic, "{}", 2, "with an empty envelope");
    hostility.give_record(topic, "{}", 0, "whose data is its record");
  }
  hostility.finish();
}

void random_bytes(Context& context) {
  Hostility hostility(context, false);
  const auto& topics = hostility.traffic().topics();
  for (int i = 0; i < 1500; ++i) {
    const std::string& topic = topics[context.below(topics.size())];
    const std::string envelope =
        R"({"specversion":"1.0","id":"1","source":"client","type":")" + topic + R"(","data":)";
    std::string record = envelope + sample(topic, context.below(500)).dump() + "}";
    const std::uint64_t changes = 1 + context.below(6);
    for (std::uint64_t n = 0; n < changes; ++n) {
      const std::size_t at = context.below(record.size());
      const auto byte = static_cast<char>(context.below(256));
      switch (context.below(4)) {
        case 0:
          record[at] = byte;
          break;
        case 1:
          record.insert(at, 1, byte);
          break;
        case 2:
          record.erase(at, 1 + context.below(8));
          break;
        default:
          record.insert(at, record.substr(context.below(record.size()), context.below(30)));
          break;
      }
      if (record.empty()) record = "{";
    }
    const auto offset = static_cast<std::uint32_t>(std::min(envelope.size(), record.size()));
    hostility.give_record(topic, record, offset,
                          "with random bytes, number " + std::to_string(i) + " of seed " +
                              std::to_string(context.target().seed));
  }
  hostility.finish();
}

void invalid_utf8(Context& context) {
  Hostility hostility(context, false);
  for (const std::string& topic : hostility.traffic().topics()) {
    const Json data = sample(topic);
    for (const auto& [name, value] : data.items()) {
      for (const char* text : {"\"\xFF\xFE\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "\"a\xE2\x82\"",
                               "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\uZZZZ\"", "\"\1\""}) {
        Json others = data;
        others.erase(name);
        std::string changed = others.dump();
        changed.pop_back();
        if (!others.empty()) changed += ',';
        changed += Json(name).dump() + ":" + text + "}";
        hostility.give_data(topic, changed, "whose " + name + " is no text");
      }
    }
  }
  hostility.finish();
}

void otlp_bytes(Context& context) {
  Hostility hostility(context, false);
  const auto& topics = hostility.traffic().topics();
  if (std::find(topics.begin(), topics.end(), "ephor.span") == topics.end()) {
    Context::skip("it does not want ephor.span");
  }
  const std::string span = otlp_span(7, Traffic::kBeginNs);
  for (std::size_t size = 0; size < span.size(); ++size) {
    hostility.give_record("ephor.span", std::string_view(span).substr(0, size), 0,
                          "of OTLP cut after " + std::to_string(size) + " bytes",
                          EPHOR_ENCODING_OTLP);
  }
  for (int i = 0; i < 800; ++i) {
    std::string changed = span;
    for (std::uint64_t n = 0; n <= context.below(4); ++n) {
      changed[context.below(changed.size())] = static_cast<char>(context.below(256));
    }
    hostility.give_record("ephor.span", changed, 0,
                          "of OTLP with random bytes, number " + std::to_string(i) + " of seed " +
                              std::to_string(context.target().seed),
                          EPHOR_ENCODING_OTLP);
  }
  hostility.finish();
}

void unknown_encodings(Context& context) {
  Hostility hostility(context, false);
  for (const std::string& topic : hostility.traffic().topics()) {
    const std::string data = sample(topic).dump();
    for (const int encoding : {1, 2, 3, 127, 255}) {
      hostility.give_record(topic, data, 0, "of encoding " + std::to_string(encoding),
                            static_cast<std::uint8_t>(encoding));
    }
  }
  hostility.finish();
}

}  // namespace

std::vector<Check> hostile_checks() {
  constexpr std::string_view kWhy =
      "Whoever may send events must not be able to end the host or spoil what is saved.";
  return {
      {"events/wrong_types", "Members of another type do no harm.", kWhy, &wrong_types},
      {"events/missing_members", "Missing members do no harm.", kWhy, &missing_members},
      {"events/unknown_members", "Unknown members, and members twice, do no harm.",
       "A newer client knows more than this plugin.", &unknown_members},
      {"events/extreme_values", "Numbers and texts at the ends of their range do no harm.", kWhy,
       &extreme_values},
      {"events/deep_nesting", "Data nested 200,000 deep does no harm.",
       "A parser that calls itself runs out of stack, and the process is gone.", &deep_nesting},
      {"events/no_data", "Records without data do no harm.", kWhy, &no_data},
      {"events/truncated_json", "A record cut anywhere is not read beyond its end.",
       "A file that was damaged is replayed, too.", &truncated_json},
      {"events/invalid_utf8", "Text that is no UTF-8 does no harm.",
       "A file that was damaged is replayed, too.", &invalid_utf8},
      {"events/random_bytes", "Random changes of a record do no harm.",
       "What nobody thought of comes, too.", &random_bytes},
      {"events/otlp_bytes", "Damaged OTLP spans do no harm.",
       "Protobuf is lengths that have to be believed or not.", &otlp_bytes},
      {"events/unknown_encodings", "An encoding that this plugin does not know does no harm.",
       "The next version of the host may have one more.", &unknown_encodings},
  };
}

}  // namespace ephor::host::check
