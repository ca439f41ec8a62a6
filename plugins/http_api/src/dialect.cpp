// SPDX-License-Identifier: Apache-2.0
#include "dialect.hpp"

#include <algorithm>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>

#include "ingest.hpp"

namespace ephor::http_api {
namespace {

constexpr std::size_t kReasonsTold = 5;
constexpr std::string_view kProtobuf = "application/x-protobuf";

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80U));
    value >>= 7U;
  }
  out.push_back(static_cast<char>(value));
}

// Field `number` as an integer; zero is what is not there.
void put_integer(std::string& out, unsigned number, std::uint64_t value) {
  if (value == 0) return;
  put_varint(out, number << 3U);
  put_varint(out, value);
}

void put_bytes(std::string& out, unsigned number, std::string_view bytes) {
  if (bytes.empty()) return;
  put_varint(out, number << 3U | 2U);
  put_varint(out, bytes.size());
  out.append(bytes);
}

// "span 4 /resourceSpans/0/...: found ..., expected ...; ... and 7 more"
std::string reasons(const Rejections& rejections, std::string_view item) {
  std::string text;
  const std::size_t told = std::min(kReasonsTold, rejections.listed.size());
  for (std::size_t i = 0; i < told; ++i) {
    const Rejection& one = rejections.listed[i];
    if (i > 0) text += "; ";
    text += item;
    text += ' ';
    text += std::to_string(one.line);
    if (!one.pointer.empty()) {
      text += ' ';
      text += one.pointer;
    }
    text += ": ";
    text += one.reason;
  }
  if (rejections.count > told) {
    text += "; and ";
    text += std::to_string(rejections.count - told);
    text += " more";
  }
  return text;
}

std::string_view singular(std::string_view items) { return items.substr(0, items.size() - 1); }

// The member of the three Export...PartialSuccess messages; its field number is 1 in each.
std::string_view rejected_member(Builtin builtin) {
  switch (builtin) {
    case Builtin::otlp_metrics:
      return "rejectedDataPoints";
    case Builtin::otlp_logs:
      return "rejectedLogRecords";
    default:
      return "rejectedSpans";
  }
}

std::string otlp_body(Dialect dialect, Builtin builtin, std::uint64_t rejected,
                      const std::string& message) {
  const bool is_json = dialect == Dialect::otlp_json;
  if (rejected == 0) return is_json ? "{}" : "";
  if (is_json) {  // int64 is a text in protobuf's JSON
    return dump(
        Json{{"partialSuccess",
              {{rejected_member(builtin), std::to_string(rejected)}, {"errorMessage", message}}}});
  }
  std::string partial;
  put_integer(partial, 1, rejected);
  put_bytes(partial, 2, message);
  std::string body;
  put_bytes(body, 1, partial);
  return body;
}

Answer ephor_answer(const ephor_ingest_result& result, const Rejections& rejections) {
  Json list = Json::array();
  for (const Rejection& one : rejections.listed) {
    list.push_back({{"line", one.line}, {"pointer", one.pointer}, {"reason", one.reason}});
  }
  Answer answer;
  const bool all_rejected = result.rejected > 0 && result.accepted + result.duplicate == 0;
  answer.status = all_rejected ? 400 : 200;
  answer.body = dump(Json{{"accepted", result.accepted},
                          {"duplicate", result.duplicate},
                          {"rejected", result.rejected},
                          {"events", result.events},
                          {"last_sequence", result.last_sequence},
                          {"rejections", std::move(list)},
                          {"rejections_truncated", rejections.count > rejections.listed.size()}});
  return answer;
}

std::string_view influx2_code(int status) {
  switch (status) {
    case 400:
    case 415:
      return "invalid";
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "not found";
    case 405:
      return "method not allowed";
    case 413:
      return "request too large";
    case 429:
      return "too many requests";
    case 503:
    case 408:
    case 504:
      return "unavailable";
    default:
      return "internal error";
  }
}

}  // namespace

Dialect dialect_of(Builtin builtin, std::string_view content_type) {
  switch (builtin) {
    case Builtin::otlp_traces:
    case Builtin::otlp_metrics:
    case Builtin::otlp_logs:
      return is_protobuf(content_type) ? Dialect::otlp_protobuf : Dialect::otlp_json;
    case Builtin::influx_write:
      return Dialect::influx1;
    case Builtin::influx_write_v2:
      return Dialect::influx2;
    default:
      return Dialect::ephor;
  }
}

std::string_view items_of(Builtin builtin) {
  switch (builtin) {
    case Builtin::otlp_traces:
      return "spans";
    case Builtin::otlp_metrics:
      return "data points";
    case Builtin::otlp_logs:
      return "log records";
    case Builtin::influx_write:
    case Builtin::influx_write_v2:
      return "lines";
    default:
      return "events";
  }
}

Answer result_answer(Dialect dialect, Builtin builtin, const ephor_ingest_result& result,
                     const Rejections& rejections) {
  Answer answer;
  const std::uint64_t taken = std::uint64_t{result.accepted} + result.duplicate;
  const std::string_view items = items_of(builtin);
  const bool is_otlp = dialect == Dialect::otlp_protobuf || dialect == Dialect::otlp_json;
  if (dialect == Dialect::ephor) {
    answer = ephor_answer(result, rejections);
  } else if (result.rejected == 0) {
    answer.status = is_otlp ? 200 : 204;
    if (is_otlp) answer.body = otlp_body(dialect, builtin, 0, {});
  } else {
    std::string message =
        std::to_string(result.rejected) + " of " + std::to_string(taken + result.rejected) + " ";
    message += items;
    message += " rejected: ";
    message += reasons(rejections, singular(items));
    if (is_otlp && taken > 0) {
      answer.body = otlp_body(dialect, builtin, result.rejected, message);
    } else if (is_otlp) {
      answer = error_answer(400, "invalid", message);
    } else {  // the word that clients of InfluxDB look for; the good lines are kept all the same
      if (taken > 0) {
        message.insert(0, "partial write: ");
        message += " dropped=";
        message += std::to_string(result.rejected);
      } else {
        message.insert(0, "unable to parse: ");
      }
      answer = error_answer(400, "invalid", message);
    }
  }
  answer.as_of_sequence = result.last_sequence;
  if (dialect == Dialect::otlp_protobuf) answer.content_type = kProtobuf;
  return answer;
}

void speak(Dialect dialect, Answer& answer) {
  switch (dialect) {
    case Dialect::ephor:
      return;
    case Dialect::otlp_protobuf:  // google.rpc.Status
      answer.body.clear();
      put_integer(answer.body, 1, static_cast<std::uint64_t>(rpc_code_of(answer.status)));
      put_bytes(answer.body, 2, answer.message);
      answer.content_type = kProtobuf;
      return;
    case Dialect::otlp_json:
      answer.body = dump(Json{{"code", rpc_code_of(answer.status)}, {"message", answer.message}});
      break;
    case Dialect::influx1:
      answer.body = dump(Json{{"error", answer.message}});
      answer.headers.emplace_back("X-Influxdb-Error", answer.message);
      break;
    case Dialect::influx2:
      answer.body = dump(Json{{"code", influx2_code(answer.status)}, {"message", answer.message}});
      break;
  }
  answer.content_type = "application/json";
}

int rpc_code_of(int http_status) {
  switch (http_status) {
    case 400:
    case 414:
    case 415:
    case 431:
      return 3;  // INVALID_ARGUMENT
    case 401:
      return 16;  // UNAUTHENTICATED
    case 403:
      return 7;  // PERMISSION_DENIED
    case 404:
    case 405:
      return 12;  // UNIMPLEMENTED
    case 408:
    case 504:
      return 4;  // DEADLINE_EXCEEDED
    case 413:
    case 429:
      return 8;  // RESOURCE_EXHAUSTED
    case 503:
      return 14;  // UNAVAILABLE
    default:
      return 13;  // INTERNAL
  }
}

}  // namespace ephor::http_api
