// SPDX-License-Identifier: Apache-2.0
//
// What each ingest protocol says in its answers: Ephor's own JSON, OTLP/HTTP
// (opentelemetry.io/docs/specs/otlp, OTLP/HTTP Response), InfluxDB 1 (`POST /write`) and InfluxDB 2
// (`POST /api/v2/write`).
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "answer.hpp"
#include "router.hpp"

namespace ephor::http_api {

enum class Dialect { ephor, otlp_protobuf, otlp_json, influx1, influx2 };

// OTLP answers in the encoding of the request; what is no JSON is answered in protobuf only where
// it said that it is protobuf.
Dialect dialect_of(Builtin builtin, std::string_view content_type);

struct Rejection {
  std::uint32_t line = 0;  // number of the item, from 1
  std::string pointer;
  std::string reason;
};

// The first rejections of a body, and how many there were.
struct Rejections {
  static constexpr std::size_t kListedMax = 1000;
  std::vector<Rejection> listed;
  std::uint64_t count = 0;
};

// `what` was counted: "spans", "data points", "log records", "lines".
std::string_view items_of(Builtin builtin);

// The answer to a body that the host took in, wholly or in part; where all of it was bad a failure
// that is still to be said in the dialect's words.
Answer result_answer(Dialect dialect, Builtin builtin, const ephor_ingest_result& result,
                     const Rejections& rejections);

// Says a failure (status and message of `answer`) in the words of `dialect`.
void speak(Dialect dialect, Answer& answer);

// google.rpc.Code of an HTTP status.
int rpc_code_of(int http_status);

}  // namespace ephor::http_api
