// SPDX-License-Identifier: Apache-2.0
#include "ingest/envelope.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "event/times.hpp"
#include "ingest/json_fault.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;

static_assert(kRecordSlackBytes >= simdjson::SIMDJSON_PADDING);

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_hex(std::string_view text, std::size_t size) {
  if (text.size() != size) return false;
  unsigned bad = 0;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    const bool is_digit = static_cast<unsigned char>(code - '0') <= 9;
    const bool is_letter = static_cast<unsigned char>((code | 0x20) - 'a') <= 5;
    bad |= static_cast<unsigned>(!(is_digit | is_letter));
  }
  return bad == 0;
}

bool is_all_zero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

// The trace id of a traceparent of any version, empty if the header is not valid; the W3C rule is
// to go on without it then.
std::string_view trace_id_text(std::string_view traceparent) {
  constexpr std::size_t kSize = 55;  // 2-32-16-2 digits and three dashes
  if (traceparent.size() < kSize || traceparent[2] != '-' || traceparent[35] != '-' ||
      traceparent[52] != '-' || (traceparent.size() > kSize && traceparent[kSize] != '-')) {
    return {};
  }
  const std::string_view version = traceparent.substr(0, 2);
  const std::string_view id = traceparent.substr(3, 32);
  if (!is_hex(version, 2) || version == "ff" || !is_hex(id, 32) || is_all_zero(id)) return {};
  return id;
}

std::size_t name_slot(std::string_view name, std::size_t slot_count) {
  std::uint64_t word = name.size();
  std::uint64_t head = 0;
  std::uint64_t tail = 0;
  const std::size_t taken = std::min<std::size_t>(name.size(), 8);
  std::memcpy(&head, name.data(), taken);
  std::memcpy(&tail, name.data() + name.size() - taken, taken);
  word = (word ^ head ^ (tail << 1)) * 0x9E3779B97F4A7C15ULL;
  return (word >> 40) % slot_count;
}

// Types whose data has a trace_id of its own.
bool names_its_trace(std::string_view type) { return type == "ephor.span" || type == "ephor.log"; }

bool fail(Fault& fault, std::string_view pointer, std::string reason) {
  fault.json_pointer = pointer;
  fault.reason = std::move(reason);
  return false;
}

}  // namespace

bool is_topic(std::string_view text) {
  if (text.empty() || text.size() > kTopicBytesMax) return false;
  char last = '.';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code <= 0x20 || code == 0x7F || c == '*' || c == '>') return false;
    if (c == '.' && last == '.') return false;
    last = c;
  }
  return last != '.';
}

std::string hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::array<std::uint8_t, 16> trace_id_of(std::string_view text) {
  std::array<std::uint8_t, 16> id{};
  if (is_hex(text, 32)) {
    for (std::size_t i = 0; i < id.size(); ++i) {
      id[i] = static_cast<std::uint8_t>(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
    return id;
  }
  const Hash128 hash = hash128(text);
  for (std::size_t i = 0; i < 8; ++i) {
    id[i] = static_cast<std::uint8_t>(hash.high >> (56 - 8 * i));
    id[8 + i] = static_cast<std::uint8_t>(hash.low >> (56 - 8 * i));
  }
  return id;
}

std::string span_id_of(std::string_view text) {
  if (is_hex(text, 16)) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) {
      return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
    });
    return lower;
  }
  const std::uint64_t hash = hash64(text);
  std::array<std::uint8_t, 8> bytes{};
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(hash >> (56 - 8 * i));
  return hex(bytes);
}

// The members of the envelope, as the record has them.
struct Describer::Attributes {
  std::string_view specversion, id, source, type, time, correlation, traceparent;
  std::string_view span_trace_id;  // data.trace_id
  dom::element data;
  bool has_data = false;
  // Where "data" must be if the record is compact, without escapes, and only text stands before it;
  // 0: not so.
  std::size_t data_key_offset = 1;
};

// Blanks and escapes only make the text before the member longer than the offset says, so the
// member cannot start before it; and a member name in the text before it would be the member. So
// whatever reads ,"data": at the offset is it. Else the scanner finds it.
std::size_t Describer::data_offset(std::string_view record, const Attributes& attributes) {
  constexpr std::string_view kKey = "\"data\":";
  if (!attributes.has_data) return record.size();
  const std::size_t at = attributes.data_key_offset;
  if (at > 0 && at + kKey.size() < record.size() && record.substr(at, kKey.size()) == kKey &&
      (record[at - 1] == ',' || record[at - 1] == '{')) {
    return skip_blanks(record, at + kKey.size());
  }
  return data_offset_of(record);
}

// The limits may have been wider when the span was taken.
static IngestConfig unbounded(IngestConfig config) {
  config.record_bytes_max = UINT32_MAX;
  config.depth_max = UINT16_MAX;
  config.otlp_attributes_max = UINT32_MAX;
  config.otlp_fields_max = UINT32_MAX;
  config.otlp_text_bytes_max = UINT32_MAX;
  return config;
}

Describer::Describer(const IngestConfig& config, const EventRules& rules, Names& names)
    : config_(config),
      rules_(rules),
      names_(names),
      unbounded_(unbounded(config)),
      spans_(unbounded_, names) {
  if (parser_.allocate(16'384, config.depth_max) != simdjson::SUCCESS) throw std::bad_alloc();
}

bool Describer::parse(std::string_view record, dom::element& root, Fault& fault) {
  if (record.size() > config_.record_bytes_max) {
    return fail(fault, "",
                "found a record of " + std::to_string(record.size()) + " bytes, expected at most " +
                    std::to_string(config_.record_bytes_max));
  }
  const simdjson::error_code error = parser_.parse(record.data(), record.size(), false).get(root);
  if (error == simdjson::SUCCESS) return true;
  fault = json_fault(record, config_.depth_max, simdjson::error_message(error));
  return false;
}

bool Describer::read_attributes(dom::element root, Attributes& attributes, Fault& fault) const {
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return fail(fault, "", "found " + shown(root) + ", expected an object");
  }
  const auto take = [&](std::string_view& target, std::string_view key, dom::element value) {
    if (target.data() != nullptr) {
      return fail(fault, "/" + std::string(key), "found the member twice, expected it once");
    }
    if (value.get(target) == simdjson::SUCCESS) return true;
    return fail(fault, "/" + std::string(key), "found " + shown(value) + ", expected text");
  };
  const auto take_optional = [&](std::string_view& target, std::string_view key,
                                 dom::element value) {
    return value.is_null() || take(target, key, value);
  };
  for (const auto [key, value] : object) {
    bool is_good = true;
    if (!attributes.has_data && key != "data" && attributes.data_key_offset != 0) {
      std::string_view text;
      const bool is_text = value.get(text) == simdjson::SUCCESS;
      attributes.data_key_offset += is_text ? key.size() + text.size() + 6 : 0;  // "":"",
      if (!is_text) attributes.data_key_offset = 0;
    }
    switch (key.size()) {
      case 2:
        if (key == "id") is_good = take(attributes.id, key, value);
        break;
      case 4:
        if (key == "type") {
          is_good = take(attributes.type, key, value);
        } else if (key == "time") {
          is_good = take_optional(attributes.time, key, value);
        } else if (key == "data") {
          if (attributes.has_data) {
            is_good = fail(fault, "/data", "found the member twice, expected it once");
          }
          attributes.data = value;
          attributes.has_data = true;
        }
        break;
      case 6:
        if (key == "source") is_good = take(attributes.source, key, value);
        break;
      case 11:
        if (key == "specversion") {
          is_good = take(attributes.specversion, key, value);
        } else if (key == "traceparent") {
          is_good = take_optional(attributes.traceparent, key, value);
        }
        break;
      case 13:
        if (key == "correlationid") is_good = take_optional(attributes.correlation, key, value);
        break;
      default:
        break;
    }
    if (!is_good) return false;
  }
  return true;
}

bool Describer::check_attributes(const Attributes& attributes, Fault& fault) const {
  const auto check_id = [&](std::string_view pointer, std::string_view value, std::size_t limit) {
    if (value.data() == nullptr) {
      return fail(fault, pointer,
                  "found nothing, expected text of 1 to " + std::to_string(limit) + " bytes");
    }
    if (value.empty() || value.size() > limit || has_control_character(value)) {
      return fail(fault, pointer,
                  "found " + shown(value) + ", expected text of 1 to " + std::to_string(limit) +
                      " bytes without control characters");
    }
    return true;
  };
  if (attributes.specversion.data() == nullptr) {
    return fail(fault, "/specversion", "found nothing, expected \"1.0\"");
  }
  if (!attributes.specversion.starts_with("1.")) {
    return fail(fault, "/specversion",
                "found " + shown(attributes.specversion) + ", expected \"1.0\"");
  }
  if (!check_id("/id", attributes.id, kEnvelopeIdBytesMax) ||
      !check_id("/source", attributes.source, kEnvelopeIdBytesMax) ||
      !check_id("/type", attributes.type, kTopicBytesMax)) {
    return false;
  }
  if (!attributes.correlation.empty() &&
      !check_id("/correlationid", attributes.correlation, kIdBytesMax)) {
    return false;
  }
  return true;
}

bool Describer::set_time(const Attributes& attributes, std::int64_t arrived_ns, ephor_event& event,
                         Fault& fault) const {
  if (attributes.time.data() == nullptr) {
    event.time_ns = arrived_ns;
    event.flags |= EPHOR_EVENT_TIME_ARRIVAL;
    return true;
  }
  const std::optional<ParsedTime> time = parse_time(attributes.time);
  if (!time) {
    return fail(fault, "/time",
                "found " + shown(attributes.time) +
                    ", expected an RFC 3339 time like 2025-03-28T06:00:00Z");
  }
  event.time_ns = time->ns;
  if (time->is_naive) {
    event.time_ns -= config_.assumed_offset_ns;
    event.flags |= EPHOR_EVENT_TIME_NAIVE;
  }
  if (event.time_ns > arrived_ns + config_.future_skew_ns) {
    event.time_ns = arrived_ns;
    event.flags |= EPHOR_EVENT_TIME_CLAMPED;
  }
  return true;
}

const Describer::Trace& Describer::trace(std::string_view text) {
  if (text != last_trace_.text) {
    last_trace_.text = text;
    last_trace_.id = trace_id_of(text);
    last_trace_.hash = hash64(hex(last_trace_.id));
  }
  return last_trace_;
}

void Describer::set_trace(const Attributes& attributes, bool names_trace, ephor_event& event,
                          JoinKeys* joins) {
  std::string_view own;  // what a span or log says of itself
  if (names_trace && attributes.has_data) {
    if (attributes.data["trace_id"].get(own) != simdjson::SUCCESS) own = {};
  }
  if (attributes.traceparent != last_traceparent_) {
    last_traceparent_ = attributes.traceparent;
    has_traceparent_ = !trace_id_text(last_traceparent_).empty();
  }
  std::string_view text = own;
  if (has_traceparent_) text = std::string_view(last_traceparent_).substr(3, 32);
  if (text.empty()) return;
  const Trace& known = trace(text);
  std::memcpy(event.trace_id, known.id.data(), known.id.size());
  if (joins == nullptr) return;
  joins->add(JoinKind::trace, known.hash);
  if (!own.empty() && own != text) joins->add(JoinKind::trace, hash64(hex(trace_id_of(own))));
}

Describer::NameEntry& Describer::topic(std::string_view name) {
  NameEntry& entry = topics_[name_slot(name, topics_.size())];
  if (entry.rules == nullptr || entry.name != name) {
    entry.name = name;
    entry.rules = &rules_.of(name);
    entry.number = 0;  // given when an event of this topic is taken
  }
  return entry;
}

const Describer::NameEntry& Describer::source(std::string_view name) {
  NameEntry& entry = sources_[name_slot(name, sources_.size())];
  if (entry.name != name || entry.number == 0) {
    entry.name = name;
    entry.number = names_.sources.id(name);
  }
  return entry;
}

bool Describer::describe(std::string_view record, dom::element root, std::int64_t arrived_ns,
                         JoinKeys& joins, ephor_event& event, Hash128& id, Fault& fault) {
  Attributes attributes;
  event = {};
  if (!read_attributes(root, attributes, fault) || !check_attributes(attributes, fault) ||
      !set_time(attributes, arrived_ns, event, fault)) {
    return false;
  }
  NameEntry& named = topic(attributes.type);
  if (named.number == 0 && !is_topic(attributes.type)) {
    return fail(fault, "/type",
                "found " + shown(attributes.type) +
                    ", expected tokens joined by dots, without blanks, '*' and '>'");
  }
  const TypeRules& rules = *named.rules;
  const std::size_t joins_before = joins.size();
  dom::object data;
  if (attributes.has_data && attributes.data.get(data) == simdjson::SUCCESS) {
    if (!rules.check(data, joins, fault)) {
      joins.roll_back(joins_before);
      return false;
    }
  } else if (!rules.is_open()) {
    return fail(fault, "/data",
                "found " + (attributes.has_data ? shown(attributes.data) : "nothing") +
                    ", expected an object");
  }
  if (named.number == 0) named.number = names_.topics.id(attributes.type);
  event.topic = static_cast<std::uint16_t>(named.number);
  event.source = source(attributes.source).number;
  event.record = record.data();
  event.record_length = static_cast<std::uint32_t>(record.size());
  event.data_offset = static_cast<std::uint32_t>(data_offset(record, attributes));
  event.encoding = EPHOR_ENCODING_JSON;
  if (!attributes.correlation.empty()) {
    event.correlation = hash64(attributes.correlation);
    joins.add(JoinKind::correlation, event.correlation);
  }
  set_trace(attributes, names_its_trace(attributes.type), event, &joins);
  for (const std::string& name : config_.join_attributes) {
    std::string_view value;
    if (root[name].get(value) == simdjson::SUCCESS && !value.empty()) {
      joins.add(JoinKind::attribute, hash64(value));
    }
  }
  id = identity_hash(attributes.source, attributes.id);
  return true;
}

const OtlpSource& Describer::otlp_source(std::string_view text) {
  if (!last_otlp_source_ || text != last_otlp_text_) {
    last_otlp_text_ = text;
    last_otlp_source_ = otlp_source_of(names_.sources.id(text), text);
  }
  return *last_otlp_source_;
}

void Describer::add_joins(std::string_view record, const StoredFacts& stored, JoinKeys& joins) {
  constexpr std::int64_t kNoClock = INT64_MAX / 2;
  ephor_event event{};
  Hash128 id;
  Fault ignored;
  if (stored.encoding == EPHOR_ENCODING_OTLP) {
    if (!spans_.describe(record, otlp_source(stored.source), kNoClock, event, id, ignored)) return;
    for (const JoinId& join : spans_.joins()) joins.add(join.kind, join.hash);
    return;
  }
  dom::element root;
  if (parse(record, root, ignored)) describe(record, root, kNoClock, joins, event, id, ignored);
}

bool Describer::redescribe(std::string_view record, const StoredFacts& stored, ephor_event& event) {
  event = {};
  event.time_ns = stored.time_ns;
  event.flags = stored.flags;
  if (stored.encoding == EPHOR_ENCODING_OTLP) {
    return spans_.redescribe(record, otlp_source(stored.source), event);
  }
  dom::element root;
  Attributes attributes;
  Fault ignored;
  if (parser_.parse(record.data(), record.size(), false).get(root) != simdjson::SUCCESS ||
      !read_attributes(root, attributes, ignored)) {
    return false;
  }
  NameEntry& named = topic(attributes.type);
  if (named.number == 0) named.number = names_.topics.id(attributes.type);
  event.encoding = stored.encoding;
  event.topic = static_cast<std::uint16_t>(named.number);
  event.source = source(attributes.source).number;
  event.record = record.data();
  event.record_length = static_cast<std::uint32_t>(record.size());
  event.data_offset = static_cast<std::uint32_t>(data_offset(record, attributes));
  if (!attributes.correlation.empty()) event.correlation = hash64(attributes.correlation);
  set_trace(attributes, names_its_trace(attributes.type), event, nullptr);
  return true;
}

}  // namespace ephor::host
