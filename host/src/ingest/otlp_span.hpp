// SPDX-License-Identifier: Apache-2.0
//
// One protobuf Span: checked against the rules of the door in one pass, and described.
#pragma once

#include <ephor/protobuf.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/batch.hpp"
#include "event/hash.hpp"
#include "ingest/door_sink.hpp"
#include "ingest/fault.hpp"
#include "ingest/ingest_config.hpp"
#include "ingest/otlp_sources.hpp"

namespace ephor::host {

// One per thread: it remembers the last trace id. Cost: about 0.3 us for a span of 280 bytes.
class OtlpSpanReader {
 public:
  // `config` and `names` outlive it.
  OtlpSpanReader(const IngestConfig& config, Names& names) : config_(config), names_(names) {}

  // Fills `event` (sequence stays 0; record, encoding and all the rest are set), `id` and joins().
  // False: `fault` says why, its pointer is below the span.
  bool describe(std::string_view span, const OtlpSource& source, std::int64_t arrived_ns,
                ephor_event& event, Hash128& id, Fault& fault);
  // Of the span described last.
  const std::vector<JoinId>& joins() const { return joins_; }

  // A span read back from the journal: nothing is checked or clamped again. False: it is damaged.
  bool redescribe(std::string_view span, const OtlpSource& source, ephor_event& event);

  // A Resource or an InstrumentationScope: attributes in `field`, texts of UTF-8, not too many.
  bool check_source(std::string_view message, std::uint32_t field, Fault& fault);

 private:
  struct Fields;
  struct Scan;

  void set_trace(std::string_view trace_id, ephor_event& event);
  std::uint16_t topic();

  const IngestConfig& config_;
  Names& names_;
  std::uint16_t topic_ = 0;  // of ephor.span, which gets its number with the first span
  std::vector<JoinId> joins_;
  std::array<char, 16> last_trace_{};
  std::uint64_t last_trace_hash_ = 0;
  bool has_last_trace_ = false;
  std::array<char, 32> trace_text_{};  // the digits of the last trace id
};

// Empty, or text in UTF-8 (RFC 3629). Fast for ASCII.
bool is_utf8(std::string_view text);

}  // namespace ephor::host
