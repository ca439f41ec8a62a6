// SPDX-License-Identifier: Apache-2.0
#include "ingest/ingest_config.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "event/error.hpp"
#include "ingest/bare_records.hpp"

namespace ephor::host {
namespace {

using nlohmann::json;

constexpr std::uint32_t kRecordBytesLimit = 64U << 20;
constexpr std::uint32_t kDepthLimit = 1024;

class Reader {
 public:
  Reader(const json& section, std::string_view where) : section_(section), where_(where) {}

  void integer(std::string_view key, std::int64_t low, std::int64_t high, auto store) {
    const json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() || value->get<std::int64_t>() < low ||
        value->get<std::int64_t>() > high) {
      return fault(key, *value,
                   "an integer from " + std::to_string(low) + " to " + std::to_string(high));
    }
    store(value->get<std::int64_t>());
  }
  const json* find(std::string_view key) const {
    const auto found = section_.find(std::string(key));
    return found == section_.end() ? nullptr : &*found;
  }
  void fault(std::string_view key, const json& found, std::string_view expected) {
    add(where_ + "." + std::string(key) + ": found " + found.dump().substr(0, 80) + ", expected " +
        std::string(expected));
  }
  void add(const std::string& line) {
    if (!faults_.empty()) faults_ += '\n';
    faults_ += line;
  }
  void finish() const {
    if (!faults_.empty()) throw HostError(EPHOR_INVALID, faults_);
  }
  const json& section() const { return section_; }
  const std::string& where() const { return where_; }
  const std::string& faults() const { return faults_; }

 private:
  const json& section_;
  std::string where_;
  std::string faults_;
};

void read_zone(Reader& reader, IngestConfig& config) {
  const json* value = reader.find("assume_timezone");
  if (value == nullptr) return;
  if (!value->is_string() ||
      !parse_zone_offset(value->get<std::string>(), config.assumed_offset_ns)) {
    reader.fault("assume_timezone", *value,
                 "\"UTC\" or an offset like \"+02:00\" (names of zones are not supported)");
  }
}

void read_join_attributes(Reader& reader, IngestConfig& config) {
  const json* value = reader.find("join_attributes");
  if (value == nullptr) return;
  constexpr std::string_view kExpected = "an array of at most 16 names";
  if (!value->is_array() || value->size() > 16) {
    return reader.fault("join_attributes", *value, kExpected);
  }
  config.join_attributes.clear();
  for (const json& name : *value) {
    if (!name.is_string() || name.get<std::string>().empty()) {
      return reader.fault("join_attributes", *value, kExpected);
    }
    config.join_attributes.push_back(name.get<std::string>());
  }
}

void refuse_unknown_keys(Reader& reader) {
  constexpr std::string_view kKnown[] = {
      "assume_timezone", "future_skew_s", "depth_max", "record_bytes_max",
      "join_attributes", "bare_records",  "otlp"};
  for (const auto& item : reader.section().items()) {
    bool is_known = false;
    for (const std::string_view known : kKnown) is_known = is_known || item.key() == known;
    if (!is_known) {
      reader.add(reader.where() + "." + item.key() +
                 ": found an unknown key, expected assume_timezone, future_skew_s, depth_max, "
                 "record_bytes_max, join_attributes, bare_records or otlp");
    }
  }
}

void read_otlp(Reader& reader, IngestConfig& config) {
  const json* section = reader.find("otlp");
  if (section == nullptr) return;
  if (!section->is_object()) return reader.fault("otlp", *section, "an object");
  struct Key {
    std::string_view name;
    std::int64_t low;
    std::int64_t high;
    std::uint32_t* target;
  };
  std::uint32_t memory = static_cast<std::uint32_t>(config.otlp_source_memory_bytes);
  const Key keys[] = {
      {"attributes_max", 1, 1'000'000, &config.otlp_attributes_max},
      {"fields_max", 100, 100'000'000, &config.otlp_fields_max},
      {"text_bytes_max", 64, kRecordBytesLimit, &config.otlp_text_bytes_max},
      {"source_bytes_max", 256, 65'536, &config.otlp_source_bytes_max},
      {"sources_max", 16, 500'000, &config.otlp_sources_max},
      {"source_memory_bytes", 65'536, 1 << 30, &memory},
  };
  Reader inner(*section, reader.where() + ".otlp");
  for (const auto& item : section->items()) {
    const bool is_known =
        std::ranges::any_of(keys, [&](const Key& key) { return key.name == item.key(); });
    if (is_known) continue;
    inner.add(inner.where() + "." + item.key() +
              ": found an unknown key, expected attributes_max, "
              "fields_max, text_bytes_max, source_bytes_max, sources_max or source_memory_bytes");
  }
  for (const Key& key : keys) {
    inner.integer(key.name, key.low, key.high,
                  [&](std::int64_t value) { *key.target = static_cast<std::uint32_t>(value); });
  }
  config.otlp_source_memory_bytes = memory;
  if (!inner.faults().empty()) reader.add(inner.faults());
}

}  // namespace

IngestConfig::IngestConfig() : bare(BareMapping::standard()) {}

bool parse_zone_offset(std::string_view text, std::int64_t& offset_ns) {
  if (text == "UTC" || text == "Z" || text == "z") {
    offset_ns = 0;
    return true;
  }
  if (text.size() < 5 || (text[0] != '+' && text[0] != '-')) return false;
  std::string digits(text.substr(1, 2));
  digits += text.substr(text[3] == ':' ? 4 : 3);
  if (digits.size() != 4 || digits.find_first_not_of("0123456789") != std::string::npos)
    return false;
  const int hours = (digits[0] - '0') * 10 + (digits[1] - '0');
  const int minutes = (digits[2] - '0') * 10 + (digits[3] - '0');
  if (hours > 23 || minutes > 59) return false;
  offset_ns = (hours * 3600LL + minutes * 60LL) * 1'000'000'000 * (text[0] == '-' ? -1 : 1);
  return true;
}

IngestConfig ingest_config(const json& section, std::string_view where) {
  IngestConfig config;
  if (section.is_null()) return config;
  if (!section.is_object()) {
    throw HostError(EPHOR_INVALID, std::string(where) + ": found " + section.dump().substr(0, 80) +
                                       ", expected an object");
  }
  Reader reader(section, where);
  refuse_unknown_keys(reader);
  read_zone(reader, config);
  reader.integer("future_skew_s", 0, 366LL * 86'400,
                 [&](std::int64_t s) { config.future_skew_ns = s * 1'000'000'000; });
  reader.integer("depth_max", 4, kDepthLimit,
                 [&](std::int64_t n) { config.depth_max = static_cast<std::uint32_t>(n); });
  reader.integer("record_bytes_max", 1024, kRecordBytesLimit,
                 [&](std::int64_t n) { config.record_bytes_max = static_cast<std::uint32_t>(n); });
  read_join_attributes(reader, config);
  read_otlp(reader, config);
  if (const json* table = reader.find("bare_records")) {
    try {
      config.bare = BareMapping::standard_with(table->dump(), std::string(where) + ".bare_records");
    } catch (const HostError& error) {
      reader.add(error.what());
    }
  }
  reader.finish();
  return config;
}

}  // namespace ephor::host
