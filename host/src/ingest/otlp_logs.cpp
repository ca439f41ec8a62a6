// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_logs.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "event/hash.hpp"
#include "event/hex.hpp"
#include "ingest/event_rules.hpp"
#include "ingest/json_text.hpp"
#include "ingest/otlp_metrics.hpp"
#include "ingest/otlp_request.hpp"

namespace ephor::host {
namespace {

constexpr std::string_view kNames[3] = {"resourceLogs", "scopeLogs", "logRecords"};
constexpr std::string_view kSeverities[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};

// Ids that join the log to a decision or a trade: how they may be spelled, and the member of data.
struct JoinName {
  std::string_view dotted;
  std::string_view member;
};
constexpr JoinName kJoinNames[] = {{"decision.id", "decision_id"},
                                   {"order.id", "order_id"},
                                   {"execution.id", "execution_id"},
                                   {"trade.id", "trade_id"}};

// One LogRecord's fields, as they came.
struct LogRecord {
  std::uint64_t time_ns = 0;
  std::uint64_t observed_ns = 0;
  std::uint64_t severity_number = 0;
  std::string_view severity_text;
  std::string_view body;
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view event_name;
  std::vector<OtlpAttribute> attributes;
};

bool read_log(std::string_view message, LogRecord& log) {
  ProtoReader in(message);
  while (in.next()) {
    if (in.is(1, WireType::fixed64)) log.time_ns = in.fixed64();
    if (in.is(11, WireType::fixed64)) log.observed_ns = in.fixed64();
    if (in.is(2, WireType::varint)) log.severity_number = in.varint();
    if (in.is(3, WireType::bytes)) log.severity_text = in.bytes();
    if (in.is(5, WireType::bytes)) log.body = in.bytes();
    if (in.is(9, WireType::bytes)) log.trace_id = in.bytes();
    if (in.is(10, WireType::bytes)) log.span_id = in.bytes();
    if (in.is(12, WireType::bytes)) log.event_name = in.bytes();
    if (in.is(6, WireType::bytes) && !read_key_value(in.bytes(), log.attributes.emplace_back())) {
      return false;
    }
  }
  return in.ok();
}

std::string severity_of(const LogRecord& log) {
  if (!log.severity_text.empty()) return std::string(log.severity_text);
  if (log.severity_number == 0 || log.severity_number > 24) return "UNSPECIFIED";
  return std::string(kSeverities[(log.severity_number - 1) / 4]);
}

const OtlpAttribute* find(const std::vector<OtlpAttribute>& attributes, std::string_view dotted,
                          std::string_view underscored) {
  const auto found = std::ranges::find_if(attributes, [&](const OtlpAttribute& attribute) {
    return attribute.key == dotted || attribute.key == underscored;
  });
  return found == attributes.end() ? nullptr : &*found;
}

class LogReader {
 public:
  LogReader(const MadeContext& context, MadeEventSink& sink, const std::vector<Fault>& item_faults)
      : context_(context), sink_(sink), item_faults_(item_faults) {}

  void read(std::string_view body) {
    const std::string damaged = for_each_entry(
        body, kNames,
        [&](std::string_view message, const OtlpScope& scope, const std::string& pointer) {
          ++line_;
          if (const Fault* fault = fault_of_item(message, item_faults_)) {
            sink_.reject(line_, *fault);
          } else {
            take(message, scope, pointer);
          }
          return true;
        });
    if (!damaged.empty()) {
      sink_.reject(line_ + 1, {damaged, "found a damaged message, expected " +
                                            std::string("an ExportLogsServiceRequest")});
    }
  }

 private:
  void reject(const std::string& pointer, std::string reason) {
    sink_.reject(line_, {pointer, std::move(reason)});
  }

  void take(std::string_view message, const OtlpScope& scope, const std::string& pointer) {
    LogRecord log;
    if (!read_log(message, log))
      return reject(pointer, "found a damaged message, expected a LogRecord");
    if (log.attributes.size() > kOtlpAttributesMax) {
      return reject(pointer + "/attributes", "found " + std::to_string(log.attributes.size()) +
                                                 " attributes, expected at most " +
                                                 std::to_string(kOtlpAttributesMax));
    }
    for (const auto& [bytes, size, name] :
         {std::tuple(log.trace_id, 16U, "/traceId"), std::tuple(log.span_id, 8U, "/spanId")}) {
      if (bytes.empty() || bytes.size() == size) continue;
      return reject(pointer + name, "found " + std::to_string(bytes.size()) + " bytes, expected " +
                                        std::to_string(size));
    }
    const std::string severity = severity_of(log);
    if (severity.size() > kIdBytesMax || has_control_character(severity)) {
      return reject(pointer + "/severityText",
                    "found " + shown(std::string_view(severity).substr(0, 80)) +
                        ", expected text of at most 256 bytes without control characters");
    }
    const std::uint64_t told_ns = log.time_ns != 0 ? log.time_ns : log.observed_ns;
    if (told_ns > INT64_MAX) {
      return reject(pointer + "/timeUnixNano",
                    "found " + std::to_string(told_ns) + ", expected a time before 2262");
    }
    data_.clear();
    if (!append_data(log, severity, scope)) {
      return reject(pointer, "found a damaged or too deep value, expected a LogRecord");
    }
    MadeEvent made;
    made.first_line = line_;
    made.pointer = pointer;
    made.flags = told_ns == 0 ? EPHOR_EVENT_TIME_ARRIVAL : 0;
    const std::int64_t time_ns =
        told_ns == 0 ? context_.arrived_ns : static_cast<std::int64_t>(told_ns);
    const std::string_view source =
        scope.service.empty() ? context_.default_source : std::string_view(scope.service);
    // The same line twice in one body was written twice; the same body twice was sent twice.
    id_ = data_;
    ((id_ += '\n') += std::to_string(told_ns)) += '\n';
    id_ += std::to_string(seen_[hash64(id_)]++);
    record_.clear();
    write_made_record(record_, id_, source, "ephor.log", time_ns, correlation_of(log, scope),
                      data_);
    made.record = record_;
    sink_.take(made);
  }

  std::string correlation_of(const LogRecord& log, const OtlpScope& scope) const {
    const OtlpAttribute* found = find(log.attributes, "correlation.id", "correlation_id");
    if (found == nullptr) found = find(scope.resource, "correlation.id", "correlation_id");
    std::string text;
    if (found == nullptr || !any_value_text(text, found->value)) return {};
    return text;
  }

  bool append_data(const LogRecord& log, const std::string& severity, const OtlpScope& scope) {
    data_ += R"({"severity":)";
    append_json_string(data_, severity);
    if (log.severity_number != 0) {
      (data_ += R"(,"severity_number":)") +=
          std::to_string(static_cast<std::int64_t>(log.severity_number));
    }
    data_ += R"(,"body":)";
    if (!append_any_value_json(data_, log.body)) return false;
    append_text(R"(,"logger":)", std::string_view(scope.name).substr(0, kIdBytesMax));
    append_text(R"(,"event_name":)", log.event_name);
    if (!is_all_zero(log.trace_id)) append_text(R"(,"trace_id":)", hex_of(log.trace_id));
    if (!is_all_zero(log.span_id)) append_text(R"(,"span_id":)", hex_of(log.span_id));
    for (const JoinName& join : kJoinNames) {
      const OtlpAttribute* found = find(log.attributes, join.dotted, join.member);
      std::string text;
      if (found == nullptr || !any_value_text(text, found->value)) continue;
      ((data_ += ",\"") += join.member) += "\":";
      append_json_string(data_, text);
    }
    if (log.observed_ns != 0 && log.observed_ns != log.time_ns) {
      (data_ += R"(,"observed_time_unix_nano":)") += std::to_string(log.observed_ns);
    }
    append_text(R"(,"scope_version":)", scope.version);
    for (const auto& [name, attributes] : {std::pair(R"(,"attributes":)", &log.attributes),
                                           std::pair(R"(,"resource":)", &scope.resource),
                                           std::pair(R"(,"scope":)", &scope.attributes)}) {
      if (attributes->empty()) continue;
      data_ += name;
      if (!append_attributes_json(data_, *attributes)) return false;
    }
    data_ += '}';
    return true;
  }

  void append_text(std::string_view name, std::string_view text) {
    if (text.empty()) return;
    data_ += name;
    append_json_string(data_, text);
  }

  const MadeContext& context_;
  MadeEventSink& sink_;
  const std::vector<Fault>& item_faults_;
  std::uint32_t line_ = 0;
  std::unordered_map<std::uint64_t, std::uint32_t> seen_;  // how often, of what makes an id
  std::string data_;
  std::string id_;
  std::string record_;
};

}  // namespace

void read_otlp_logs(std::string_view body, const MadeContext& context, MadeEventSink& sink) {
  const std::vector<Fault> none;
  LogReader(context, sink, none).read(body);
}

void read_otlp_logs_json(std::string_view body, std::uint32_t depth_max, const MadeContext& context,
                         MadeEventSink& sink) {
  std::string protobuf;
  std::vector<Fault> item_faults;
  if (!transcode(protobuf, kOtlpLogsRequest, body, depth_max, item_faults, sink)) return;
  LogReader(context, sink, item_faults).read(protobuf);
}

}  // namespace ephor::host
