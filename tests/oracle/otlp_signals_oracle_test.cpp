// SPDX-License-Identifier: Apache-2.0
//
// The door's reading of OTLP metrics and logs beside protoc's: random requests written by the
// generated classes, in protobuf and in JSON. What is expected is told from the classes themselves.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <google/protobuf/util/json_util.h>

#include "ingest/door.hpp"
#include "otlp_signals.pb.h"
#include "support/catch.hpp"
#include "support/metric_batch_reference.hpp"

using namespace ephor::host;
using ephor::testing::ReferenceSample;
using Json = nlohmann::json;
namespace pb = ephor::signals;

namespace {

constexpr std::int64_t kArrivedNs = 1'800'000'000'000'000'000;

int round_count() {
  const char* const given = std::getenv("EPHOR_ORACLE_MESSAGES");
  return given == nullptr ? 400 : std::max(1, std::atoi(given) / 50);
}

struct Taken {
  std::vector<ReferenceSample> samples;
  std::vector<Json> records;
  std::uint32_t record_count = 0;
  std::uint32_t rejected_count = 0;
  std::string reason;
};

Taken take(const std::string& body, std::uint32_t format) {
  Names names;
  Door door(IngestConfig(), names);
  Buffer buffer(body.size());
  if (!body.empty()) std::memcpy(buffer.data(), body.data(), body.size());
  buffer.set_size(body.size());
  Admission admission;
  admission.format = format;
  admission.arrived_ns = kArrivedNs;
  const Arrival arrival = door.admit(std::move(buffer), admission);
  Taken out;
  out.record_count = arrival.record_count;
  out.rejected_count = arrival.rejected_count;
  if (!arrival.rejections.empty()) {
    out.reason = arrival.rejections[0].json_pointer + ": " + arrival.rejections[0].reason;
  }
  for (const ArrivedBatch& arrived : arrival.batches) {
    for (const ephor_event& event : arrived.batch->events) {
      out.records.push_back(Json::parse(std::string_view(event.record, event.record_length)));
      if (out.records.back()["type"] != "ephor.metric_batch") continue;
      for (auto& sample : ephor::testing::reference_samples(out.records.back()["data"])) {
        out.samples.push_back(std::move(sample));
      }
    }
  }
  std::ranges::sort(out.samples);
  return out;
}

std::string json_of(const google::protobuf::Message& message, bool has_numbers) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_enums_as_ints = has_numbers;
  options.preserve_proto_field_names = has_numbers;
  std::string out;
  REQUIRE(google::protobuf::util::MessageToJsonString(message, &out, options).ok());
  return out;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
  bool flip() { return below(2) == 0; }
  double number() {
    switch (below(4)) {
      case 0:
        return static_cast<double>(below(1'000'000)) / 1000.0;
      case 1:
        return -static_cast<double>(below(1'000'000));
      case 2:
        return std::ldexp(static_cast<double>(below(1ULL << 53U)),
                          static_cast<int>(below(200)) - 100);
      default:
        return static_cast<double>(below(100)) / 3.0;
    }
  }
  std::string word() {
    static const char* const kWords[] = {
        "a", "b.c", "order_id", "with \"quotes\"", "m\xC3\xA4\xC3\x9F", "x\\y"};
    return kWords[below(std::size(kWords))];
  }
  void fill(pb::AnyValue& value, int depth) {
    switch (below(depth > 2 ? 5 : 7)) {
      case 0:
        return value.set_string_value(word());
      case 1:
        return value.set_bool_value(flip());
      case 2:
        return value.set_int_value(static_cast<std::int64_t>(engine_()));
      case 3:
        return value.set_double_value(number());
      case 4:
        return value.set_bytes_value(word());
      case 5:
        for (std::uint64_t left = below(3); left > 0; --left) {
          fill(*value.mutable_array_value()->add_values(), depth + 1);
        }
        value.mutable_array_value();
        return;
      default:
        for (std::uint64_t left = below(3); left > 0; --left) {
          pb::KeyValue& pair = *value.mutable_kvlist_value()->add_values();
          pair.set_key("k" + std::to_string(left));
          fill(*pair.mutable_value(), depth + 1);
        }
        value.mutable_kvlist_value();
    }
  }

 private:
  std::mt19937_64 engine_;
};

Json json_of_value(const pb::AnyValue& value) {
  switch (value.value_case()) {
    case pb::AnyValue::kStringValue:
      return value.string_value();
    case pb::AnyValue::kBoolValue:
      return value.bool_value();
    case pb::AnyValue::kIntValue:
      return value.int_value();
    case pb::AnyValue::kDoubleValue:
      return value.double_value();
    case pb::AnyValue::kArrayValue: {
      Json out = Json::array();
      for (const auto& one : value.array_value().values()) out.push_back(json_of_value(one));
      return out;
    }
    case pb::AnyValue::kKvlistValue: {
      Json out = Json::object();
      for (const auto& one : value.kvlist_value().values())
        out[one.key()] = json_of_value(one.value());
      return out;
    }
    case pb::AnyValue::kBytesValue: {
      // As protobuf's JSON writes bytes.
      const Json whole = Json::parse(json_of(value, false));
      return whole.at("bytesValue");
    }
    default:
      return nullptr;
  }
}

// ---- metrics

struct Expected {
  std::vector<ReferenceSample> samples;
  std::uint32_t points = 0;
};

template <typename Point>
std::map<std::string, std::string> labels(Random& random, Point& point,
                                          std::map<std::string, std::string> common) {
  for (std::uint64_t left = random.below(3); left > 0; --left) {
    pb::KeyValue& attribute = *point.add_attributes();
    attribute.set_key("l" + std::to_string(left));
    if (random.flip()) {
      attribute.mutable_value()->set_string_value(random.word());
      common[attribute.key()] = attribute.value().string_value();
    } else {
      attribute.mutable_value()->set_int_value(static_cast<std::int64_t>(random.below(5)));
      common[attribute.key()] = std::to_string(attribute.value().int_value());
    }
  }
  return common;
}

pb::ExportMetricsServiceRequest random_metrics(Random& random, Expected& expected) {
  pb::ExportMetricsServiceRequest request;
  for (std::uint64_t r = 0; r <= random.below(2); ++r) {
    auto& resource = *request.add_resource_metrics();
    std::map<std::string, std::string> common;
    auto& service = *resource.mutable_resource()->add_attributes();
    service.set_key("service.name");
    service.mutable_value()->set_string_value("s" + std::to_string(r));
    common["service.name"] = "s" + std::to_string(r);
    auto& pid = *resource.mutable_resource()->add_attributes();
    pid.set_key("process.pid");
    pid.mutable_value()->set_int_value(7);
    for (std::uint64_t s = 0; s <= random.below(2); ++s) {
      auto& scope = *resource.add_scope_metrics();
      std::map<std::string, std::string> scoped = common;
      if (random.flip()) {
        scope.mutable_scope()->set_name("lib" + std::to_string(s));
        scoped["otel_scope_name"] = "lib" + std::to_string(s);
      }
      for (std::uint64_t m = 0; m < random.below(6); ++m) {
        auto& metric = *scope.add_metrics();
        ReferenceSample base;
        base.name = "m" + std::to_string(m) + "." + std::to_string(s);
        metric.set_name(base.name);
        if (random.flip()) metric.set_unit(base.unit = "ms");
        const std::uint64_t points = random.below(8);
        const auto temporality = static_cast<pb::AggregationTemporality>(random.below(3));
        const bool is_delta = temporality == pb::AGGREGATION_TEMPORALITY_DELTA;
        const std::uint64_t shape = random.below(4);
        const auto start = [&](auto& point) {
          ++expected.points;
          ReferenceSample sample = base;
          sample.labels = labels(random, point, scoped);
          point.set_time_unix_nano(1'700'000'000'000'000'000 + random.below(100'000) * 1000);
          sample.time_ns = static_cast<std::int64_t>(point.time_unix_nano());
          return sample;
        };
        const auto add = [&](ReferenceSample sample, const std::string& suffix, const char* kind,
                             double value) {
          sample.name += suffix;
          sample.kind = kind;
          sample.value = value;
          expected.samples.push_back(std::move(sample));
        };
        for (std::uint64_t p = 0; p < points; ++p) {
          if (shape <= 1) {
            auto& point = shape == 0 ? *metric.mutable_gauge()->add_data_points()
                                     : *metric.mutable_sum()->add_data_points();
            if (shape == 1) {
              metric.mutable_sum()->set_aggregation_temporality(temporality);
              metric.mutable_sum()->set_is_monotonic(m % 2 == 0);
            }
            const ReferenceSample sample = start(point);
            double value = random.number();
            if (random.flip()) {
              const auto integer = static_cast<std::int64_t>(random.below(1ULL << 60U));
              point.set_as_int(integer);
              value = static_cast<double>(integer);
            } else {
              point.set_as_double(value);
            }
            const char* const kind = shape == 0   ? "gauge"
                                     : is_delta   ? "delta"
                                     : m % 2 == 0 ? "counter"
                                                  : "gauge";
            add(sample, "", kind, value);
          } else if (shape == 2) {
            auto& point = *metric.mutable_histogram()->add_data_points();
            metric.mutable_histogram()->set_aggregation_temporality(temporality);
            ReferenceSample sample = start(point);
            std::uint64_t count = 0;
            const ReferenceSample plain = sample;
            for (std::uint64_t b = 0; b < 4; ++b) {
              point.add_bucket_counts(random.below(1000));
              sample.counts.push_back(point.bucket_counts(static_cast<int>(b)));
              count += sample.counts.back();
              if (b == 3) break;
              point.add_explicit_bounds(static_cast<double>(b) + 0.25);
              sample.bounds.push_back(static_cast<double>(b) + 0.25);
            }
            point.set_count(count);
            add(sample, "", "histogram", static_cast<double>(count));
            if (random.flip()) {
              point.set_sum(random.number());
              add(plain, "_sum", is_delta ? "delta" : "counter", point.sum());
            }
            if (random.flip()) {
              point.set_max(random.number());
              add(plain, "_max", "gauge", point.max());
            }
          } else {
            auto& point = *metric.mutable_summary()->add_data_points();
            const ReferenceSample sample = start(point);
            point.set_count(random.below(1000));
            point.set_sum(random.number());
            ReferenceSample unitless = sample;
            unitless.unit.clear();
            add(unitless, "_count", "counter", static_cast<double>(point.count()));
            add(sample, "_sum", "counter", point.sum());
            for (const auto& [quantile, name] : {std::pair(0.5, "0.5"), std::pair(0.99, "0.99")}) {
              auto& told = *point.add_quantile_values();
              told.set_quantile(quantile);
              told.set_value(random.number());
              ReferenceSample one = sample;
              one.labels["quantile"] = name;
              add(one, "", "gauge", told.value());
            }
          }
        }
      }
    }
  }
  std::ranges::sort(expected.samples);
  return request;
}

}  // namespace

TEST_CASE("otlp metrics: random requests are read as protoc wrote them", "[unit][otlp][oracle]") {
  for (int seed = 0; seed < round_count(); ++seed) {
    Random random(static_cast<std::uint64_t>(seed));
    Expected expected;
    const pb::ExportMetricsServiceRequest request = random_metrics(random, expected);
    INFO("seed " << seed);
    const Taken binary = take(request.SerializeAsString(), EPHOR_FORMAT_OTLP_METRICS);
    INFO(binary.reason);
    CHECK(binary.rejected_count == 0);
    CHECK(binary.record_count == expected.points);
    REQUIRE(binary.samples == expected.samples);
    const Taken json = take(json_of(request, seed % 2 == 0), EPHOR_FORMAT_OTLP_METRICS_JSON);
    INFO(json.reason);
    CHECK(json.record_count == expected.points);
    REQUIRE(json.samples == expected.samples);
  }
}

TEST_CASE("otlp logs: random records are read as protoc wrote them", "[unit][otlp][oracle]") {
  for (int seed = 0; seed < round_count(); ++seed) {
    Random random(static_cast<std::uint64_t>(seed) + 1'000'000);
    pb::ExportLogsServiceRequest request;
    std::vector<Json> expected;
    for (std::uint64_t s = 0; s <= random.below(2); ++s) {
      auto& scope = *request.add_resource_logs()->add_scope_logs();
      for (std::uint64_t left = random.below(10); left > 0; --left) {
        auto& log = *scope.add_log_records();
        log.set_time_unix_nano(1'700'000'000'000'000'000 + random.below(1'000'000'000));
        log.set_severity_number(static_cast<int>(1 + random.below(24)));
        log.set_severity_text(random.flip() ? "warn" : "error");
        random.fill(*log.mutable_body(), 0);
        Json attributes = Json::object();
        for (std::uint64_t a = random.below(4); a > 0; --a) {
          auto& attribute = *log.add_attributes();
          attribute.set_key("a" + std::to_string(a));
          random.fill(*attribute.mutable_value(), 0);
          attributes[attribute.key()] = json_of_value(attribute.value());
        }
        Json data{{"severity", log.severity_text()},
                  {"severity_number", log.severity_number()},
                  {"body", json_of_value(log.body())}};
        if (!attributes.empty()) data["attributes"] = attributes;
        expected.push_back(data);
      }
    }
    INFO("seed " << seed);
    const Taken binary = take(request.SerializeAsString(), EPHOR_FORMAT_OTLP_LOGS);
    const Taken json = take(json_of(request, seed % 2 == 0), EPHOR_FORMAT_OTLP_LOGS_JSON);
    INFO(binary.reason);
    REQUIRE(binary.records.size() == expected.size());
    REQUIRE(json.records.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(binary.records[i]["data"] == expected[i]);
      CHECK(json.records[i] == binary.records[i]);
    }
  }
}

TEST_CASE("otlp: damaged requests are told, and nothing breaks", "[unit][otlp][oracle]") {
  for (int seed = 0; seed < round_count(); ++seed) {
    Random random(static_cast<std::uint64_t>(seed) + 2'000'000);
    Expected expected;
    std::string body = random_metrics(random, expected).SerializeAsString();
    if (body.empty()) continue;
    if (random.flip()) {
      body.resize(random.below(body.size()));
    } else {
      body[random.below(body.size())] = static_cast<char>(random.below(256));
    }
    const Taken taken = take(body, EPHOR_FORMAT_OTLP_METRICS);
    CHECK(taken.record_count <= expected.points + 1000);
    for (const ReferenceSample& sample : taken.samples) CHECK(std::isfinite(sample.value));
  }
}
