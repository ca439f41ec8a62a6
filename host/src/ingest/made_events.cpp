// SPDX-License-Identifier: Apache-2.0
#include "ingest/made_events.hpp"

#include "event/hash.hpp"
#include "event/times.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {

void write_made_record(std::string& out, std::string_view id_text, std::string_view source,
                       std::string_view type, std::int64_t time_ns, std::string_view correlation_id,
                       std::string_view data) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const Hash128 id = hash128(id_text);
  out += R"({"specversion":"1.0","id":")";
  for (const std::uint64_t part : {id.high, id.low}) {
    for (unsigned shift = 64; shift > 0; shift -= 4) out += kDigits[part >> (shift - 4) & 15U];
  }
  out += R"(","source":)";
  append_json_string(out, source);
  out += R"(,"type":)";
  append_json_string(out, type);
  ((out += R"(,"time":")") += format_time(time_ns)) += '"';
  if (!correlation_id.empty()) {
    out += R"(,"correlationid":)";
    append_json_string(out, correlation_id);
  }
  ((out += R"(,"data":)") += data) += '}';
}

}  // namespace ephor::host
