// SPDX-License-Identifier: Apache-2.0
//
// Bare records: the first client's own shapes, {"type": ..., "timestamp": ...} without specversion.
// A table says how each becomes CloudEvents: one primary event, and one for each record nested in
// it. The table is configuration (`ingest.bare_records`); the standard one is in bare_mapping.cpp,
// which also explains its language.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ingest/fault.hpp"

namespace ephor::host {

// How a value that was found is written.
enum class BareTransform : std::uint8_t {
  none,
  text,         // a number as its digits
  component,    // "ComponentType.ANALYST" -> "analyst"
  components,   // an array of them
  trace_id,     // any text -> 32 hexadecimal digits
  span_id,      // any text -> 16 hexadecimal digits
  nanoseconds,  // a time (text, or epoch seconds, ms, us or ns) -> integer ns since the epoch
  time,         // the same -> RFC 3339 in UTC
  importance,   // [{feature_name, importance_score}], or one of them -> {name: score}
  scalar,       // only if it is no object and no array
};

// Where a value comes from; the first of several that is there (not null, not "") counts.
struct BareSource {
  enum class Kind : std::uint8_t { path, item_path, item_key, variable, pattern, constant };
  Kind kind = Kind::path;
  std::vector<std::string> path;  // path, item_path
  std::string text;               // variable, constant (JSON), the pattern as written
  std::vector<std::pair<std::string, std::unique_ptr<BareSource>>> pieces;  // pattern: text, value
  BareTransform transform = BareTransform::none;
  std::unique_ptr<BareSource> condition;      // there, or the source does not count
  std::vector<std::string> condition_values;  // and, if not empty, one of these
};
using BareSources = std::vector<BareSource>;

struct BareField {
  std::string name;
  BareSources sources;
};

// How one event is made.
struct BareEvent {
  BareSources topic;
  BareSources id;
  BareSources time;
  BareSources correlation;
  BareSources when;  // if given: without any of them there is no event
  std::vector<BareField> fields;
  BareSources copy;  // objects whose other members are copied into data
  std::vector<std::string> omit;
  std::vector<std::string> at;    // a part: the nested object ...
  std::vector<std::string> each;  // ... or the array or object whose items it is made of
};

struct BareRecord {
  std::vector<BareField> variables;  // evaluated in order
  BareEvent primary;
  std::vector<BareEvent> parts;
};

// The table. Immutable, shared by threads.
class BareMapping {
 public:
  // The standard table.
  static std::shared_ptr<const BareMapping> standard();
  // The standard table with the types in `overrides_json` replaced (null: removed). Throws
  // HostError
  // "<where>...: found, expected".
  static std::shared_ptr<const BareMapping> standard_with(const std::string& overrides_json,
                                                          const std::string& where);

  const BareRecord* find(std::string_view type) const;
  std::string type_names() const;  // "a, b, c"

 private:
  void load(const std::string& json_text, const std::string& where);
  std::map<std::string, BareRecord, std::less<>> records_;
};

// The standard table as JSON.
std::string_view standard_bare_mapping();

// One event made of a bare record.
struct BareDraft {
  std::string text;  // one CloudEvents object
  const BareEvent* rule = nullptr;
  std::optional<simdjson::dom::element> item;  // the nested value it was made of
  std::string item_key;
  std::string item_pointer;
};

struct BareContext {
  std::string_view default_source;  // for records that name none; "" = "unknown"
  std::int64_t assumed_offset_ns = 0;
  std::string_view record;  // the whole text
};

// Takes one record apart. Views into the parsed record must stay valid while it lives.
class BareConversion {
 public:
  BareConversion(const BareRecord& mapping, std::string_view type, simdjson::dom::element root,
                 const BareContext& context);

  // The primary event first. False: `fault` points into the bare record.
  bool convert(std::vector<BareDraft>& drafts, Fault& fault);

  // Where in the bare record a fault found in a draft comes from ("/data/quantity" -> "/size").
  Fault trace_back(const BareDraft& draft, Fault fault) const;

 private:
  struct Value {
    enum class Kind : std::uint8_t { none, element, text, json };
    Kind kind = Kind::none;
    simdjson::dom::element element;
    std::string text;
    std::string pointer;  // of where it was found, if asked for
  };
  struct Scope {
    const simdjson::dom::element* item = nullptr;
    std::string_view item_key;
    std::string_view item_pointer;
  };

  Value find(const BareSources& sources, const Scope& scope, Fault& fault) const;
  Value find(const BareSource& source, const Scope& scope, Fault& fault) const;
  Value at_path(simdjson::dom::element from, const std::vector<std::string>& path,
                std::string_view pointer) const;
  Value transformed(BareTransform transform, Value value, Fault& fault) const;
  bool add_draft(const BareEvent& rule, const Scope& scope, std::vector<BareDraft>& drafts,
                 Fault& fault);
  bool write_data(const BareEvent& rule, const Scope& scope, std::string& out, Fault& fault) const;
  static bool append_scalar(std::string& out, const Value& value);
  static void append_value(std::string& out, const Value& value);

  const BareRecord& mapping_;
  std::string_view type_;
  simdjson::dom::element root_;
  const BareContext& context_;
  std::vector<std::pair<std::string_view, Value>> variables_;
};

}  // namespace ephor::host
