// SPDX-License-Identifier: Apache-2.0
//
// From the text of one CloudEvents 1.0 object to the 64-byte descriptor.
#pragma once

#include <simdjson.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "event/batch.hpp"
#include "event/hash.hpp"
#include "event/interner.hpp"
#include "ingest/event_rules.hpp"
#include "ingest/fault.hpp"
#include "ingest/ingest_config.hpp"
#include "ingest/otlp_span.hpp"

namespace ephor::host {

inline constexpr std::size_t kEnvelopeIdBytesMax = 1024;  // id and source
inline constexpr std::size_t kTopicBytesMax = 256;

// Dot-separated, non-empty tokens without blanks, control characters, '*' and '>'.
bool is_topic(std::string_view text);

// The W3C trace id of `text`: 32 hexadecimal digits as they are, any other text by its stable
// 128-bit hash. All zero only for 32 zeros.
std::array<std::uint8_t, 16> trace_id_of(std::string_view text);
// A W3C span id likewise: 16 hexadecimal digits in lower case, else those of the 64-bit hash.
std::string span_id_of(std::string_view text);
std::string hex(std::span<const std::uint8_t> bytes);

// What the journal keeps of an event beside its record.
struct StoredFacts {
  std::int64_t time_ns = 0;
  std::uint8_t encoding = EPHOR_ENCODING_JSON;
  std::uint8_t flags = 0;
  std::string_view source = {};  // of an OTLP span, whose record does not name it
};

// One per thread: it owns a parser and remembers names. What it says of a record depends on the
// record, the arrival and the configuration alone (but for the numbers of the names). Every record
// must be followed by kRecordSlackBytes readable bytes.
class Describer {
 public:
  // `config`, `rules` and `names` outlive it.
  Describer(const IngestConfig& config, const EventRules& rules, Names& names);

  // Parses; on failure says why. The element lives until the next parse.
  bool parse(std::string_view record, simdjson::dom::element& root, Fault& fault);

  // Describes the parsed record; `root` is what parse() gave for it. On success fills `event`
  // (sequence stays 0) and `id` and adds the join keys; on failure adds none.
  bool describe(std::string_view record, simdjson::dom::element root, std::int64_t arrived_ns,
                JoinKeys& joins, ephor_event& event, Hash128& id, Fault& fault);

  // Describes a record read back from the journal: nothing is checked again. False: it is no
  // CloudEvents object, or no span.
  bool redescribe(std::string_view record, const StoredFacts& stored, ephor_event& event);
  // Adds the join keys of a record read back, as describe() did; of a damaged record none.
  void add_joins(std::string_view record, const StoredFacts& stored, JoinKeys& joins);

 private:
  struct Attributes;
  struct NameEntry {
    std::string name;
    std::uint32_t number = 0;
    const TypeRules* rules = nullptr;
  };
  struct Trace {
    std::string text;
    std::array<std::uint8_t, 16> id{};
    std::uint64_t hash = 0;  // of the 32 lower-case digits
  };

  bool read_attributes(simdjson::dom::element root, Attributes& attributes, Fault& fault) const;
  bool check_attributes(const Attributes& attributes, Fault& fault) const;
  bool set_time(const Attributes& attributes, std::int64_t arrived_ns, ephor_event& event,
                Fault& fault) const;
  static std::size_t data_offset(std::string_view record, const Attributes& attributes);
  void set_trace(const Attributes& attributes, bool names_trace, ephor_event& event,
                 JoinKeys* joins);
  NameEntry& topic(std::string_view name);
  const NameEntry& source(std::string_view name);
  const Trace& trace(std::string_view text);
  const OtlpSource& otlp_source(std::string_view text);

  const IngestConfig& config_;
  const EventRules& rules_;
  Names& names_;
  simdjson::dom::parser parser_;
  std::array<NameEntry, 128> topics_;   // direct-mapped
  std::array<NameEntry, 512> sources_;  // direct-mapped
  Trace last_trace_;
  std::string last_traceparent_;
  bool has_traceparent_ = false;  // last_traceparent_ is valid
  IngestConfig unbounded_;        // for what the door has taken before
  OtlpSpanReader spans_;
  std::string last_otlp_text_;
  std::optional<OtlpSource> last_otlp_source_;  // of last_otlp_text_
};

}  // namespace ephor::host
