// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include "event/otlp_identity.hpp"
#include "store/span_batch.hpp"
#include "store/span_form.hpp"
#include "store/value_column.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kFormsMax = 512;
constexpr std::uint32_t kNone = UINT32_MAX;

std::uint64_t word_at(const char* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// Ids that the batch has met. A look-up stops after a few probes: crafted collisions make the batch
// longer, not slower.
class IdTable {
 public:
  void clear(std::size_t ids_max) { slots_.assign(std::bit_ceil(2 * ids_max + 1), kNone); }
  // The slot that holds what is_wanted(number) says yes to, or a free one; nullptr: neither is
  // near.
  template <typename IsWanted>
  std::uint32_t* find(std::uint64_t key, IsWanted&& is_wanted) {
    constexpr std::size_t kProbesMax = 16;
    std::size_t at = (key * 0x9E3779B97F4A7C15ULL) >> 20U;
    for (std::size_t probe = 0; probe < kProbesMax; ++probe, ++at) {
      std::uint32_t& slot = slots_[at & (slots_.size() - 1)];
      if (slot == kNone || is_wanted(slot)) return &slot;
    }
    return nullptr;
  }

 private:
  std::vector<std::uint32_t> slots_;
};

class SpanEncoder {
 public:
  void encode(const Batch& batch, std::span<const std::uint32_t> source_of,
              std::span<const std::string_view> sources, SectionWriter& out, std::string& ids) {
    clear(batch.events.size());
    identities_.assign(sources.size(), std::nullopt);
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
      const ephor_event& event = batch.events[i];
      encodings_.push_back(event.encoding);
      flags_.push_back(event.flags);
      times_.push_back(static_cast<std::uint64_t>(event.time_ns));
      if (event.encoding != EPHOR_ENCODING_OTLP) {
        add_whole(event);
        append_id(ids, batch.ids[i]);
        continue;
      }
      source_of_.push_back(source_of[i]);
      const std::uint32_t form = form_of(event);
      form_of_.push_back(form + std::uint64_t{1});  // kNone + 1 is not 0 in 64 bits
      if (form == kNone) {
        form_of_.back() = 0;
        add_whole(event);
        append_id(ids, batch.ids[i]);
        continue;
      }
      add_span(form);
      if (!forms_[form].has_trace() || !forms_[form].has_span() || source_of[i] == 0) {
        append_id(ids, batch.ids[i]);
      } else if (!(otlp_span_identity(identity_of(sources, source_of[i] - 1), values_.trace_id,
                                      values_.span_id) == batch.ids[i])) {
        stored_ids_.push_back(i);
        append_id(ids, batch.ids[i]);
      }
    }
    write(sources, out);
  }

 private:
  struct ColumnValue : FormValue {
    std::uint32_t trace = kNone;
  };
  using Column = std::vector<ColumnValue>;
  using NextForms = std::array<std::uint32_t, 2>;
  struct Parent {
    std::uint32_t trace;
    const char* id;
  };
  struct Place {
    const char* span_id;
    std::uint32_t trace;
    std::uint32_t ordinal;  // among the spans of its trace
  };

  void clear(std::size_t count) {
    for (auto* column : {&encodings_, &flags_, &times_, &source_of_, &form_of_, &lengths_,
                         &trace_of_, &stored_ids_, &durations_}) {
      column->clear();
    }
    wholes_.clear();
    forms_.clear();
    stored_forms_.clear();
    form_numbers_.clear();
    next_forms_.fill({kNone, kNone});
    last_form_ = form_before_last_ = kNone;
    column_names_.clear();
    columns_used_ = 0;
    traces_.clear();
    trace_sizes_.clear();
    spans_.clear();
    parents_.clear();
    places_.clear();
    trace_table_.clear(count);
    span_table_.clear(count);
    last_trace_ = kNone;
  }

  const Hash128& identity_of(std::span<const std::string_view> sources, std::size_t index) {
    std::optional<Hash128>& identity = identities_[index];
    if (!identity) identity = known_source_identity(sources[index]);
    return *identity;
  }

  static void append_id(std::string& ids, const Hash128& id) {
    ids.append(reinterpret_cast<const char*>(&id), sizeof id);
  }

  void add_whole(const ephor_event& event) {
    lengths_.push_back(event.record_length);
    wholes_.emplace_back(event.record, event.record_length);
  }

  // Takes the record apart into values_. A span is mostly of the form that followed the forms of
  // the two before it last time: a program says the same things in the same order.
  std::uint32_t form_of(const ephor_event& event) {
    const std::string_view record(event.record, event.record_length);
    const auto time = static_cast<std::uint64_t>(event.time_ns);
    // Contexts that share an entry cost a comparison, nothing else.
    NextForms& next = next_forms_[(last_form_ * 37U + form_before_last_) % next_forms_.size()];
    std::uint32_t found = kNone;
    for (std::size_t i = 0; i < next.size() && next[i] != kNone; ++i) {
      if (!forms_[next[i]].match(record, time, values_)) continue;
      found = next[i];
      if (i != 0) std::swap(next[0], next[i]);
      break;
    }
    if (found == kNone) {
      found = described(record, time);
      if (found == kNone || !forms_[found].match(record, time, values_)) return kNone;
      next[1] = next[0];
      next[0] = found;
    }
    form_before_last_ = last_form_;
    return last_form_ = found;
  }

  std::uint32_t described(std::string_view record, std::uint64_t time) {
    if (!describe_form(record, time, column_names_, description_)) return kNone;
    const auto known = form_numbers_.find(description_);
    if (known != form_numbers_.end()) return known->second;
    if (forms_.size() == kFormsMax) return kNone;
    stored_forms_.push_back(description_);
    const std::vector<ColumnKind>& kinds = column_names_.kinds();
    try {
      forms_.emplace_back(stored_forms_.back(), kinds);
    } catch (const std::runtime_error&) {  // too deep
      stored_forms_.pop_back();
      return kNone;
    }
    if (columns_.size() < kinds.size()) columns_.resize(kinds.size());
    for (; columns_used_ < kinds.size(); ++columns_used_) {
      columns_[columns_used_].clear();
    }
    const auto number = static_cast<std::uint32_t>(forms_.size() - 1);
    form_numbers_.emplace(stored_forms_.back(), number);
    return number;
  }

  void add_span(std::uint32_t number) {
    const SpanForm& form = forms_[number];
    std::uint32_t trace = kNone;
    if (form.has_trace()) {
      trace = trace_number(values_.trace_id);
      trace_of_.push_back(trace);
    }
    if (form.has_span()) spans_.append(values_.span_id, 8);
    if (form.has_trace() && form.has_span()) add_place(trace);
    if (form.has_start()) durations_.push_back(values_.duration_ns);
    if (form.has_parent()) parents_.push_back({trace, values_.parent_id});
    const FormValue* value = values_.values.data();
    for (const std::uint32_t column : form.columns()) {
      columns_[column].push_back({*value++, trace});
    }
  }

  std::uint32_t trace_number(const char* id) {
    const auto is_same = [&](std::uint32_t trace) {
      return std::memcmp(traces_.data() + std::size_t{16} * trace, id, 16) == 0;
    };
    if (last_trace_ != kNone && is_same(last_trace_)) return last_trace_;
    std::uint32_t* const slot = trace_table_.find(word_at(id) ^ word_at(id + 8), is_same);
    if (slot != nullptr && *slot != kNone) return last_trace_ = *slot;
    last_trace_ = static_cast<std::uint32_t>(trace_sizes_.size());
    if (slot != nullptr) *slot = last_trace_;
    traces_.append(id, 16);
    trace_sizes_.push_back(0);
    return last_trace_;
  }

  void add_place(std::uint32_t trace) {
    const Place place{values_.span_id, trace, trace_sizes_[trace]++};
    std::uint32_t* const slot = span_table_.find(word_at(place.span_id), [&](std::uint32_t other) {
      return places_[other].trace == trace &&
             word_at(places_[other].span_id) == word_at(place.span_id);
    });
    if (slot != nullptr && *slot == kNone) {
      *slot = static_cast<std::uint32_t>(places_.size());
    }
    places_.push_back(place);
  }

  // 0, or which span of its trace it is.
  std::uint64_t reference_to(const Parent& parent) {
    if (parent.trace == kNone) return 0;
    const std::uint32_t* const slot =
        span_table_.find(word_at(parent.id), [&](std::uint32_t other) {
          return places_[other].trace == parent.trace &&
                 word_at(places_[other].span_id) == word_at(parent.id);
        });
    return slot == nullptr || *slot == kNone ? 0 : places_[*slot].ordinal + std::uint64_t{1};
  }

  // True if every trace has one value of the column, and some trace has it twice.
  bool is_one_for_each_trace(const Column& column, ColumnKind kind) {
    const std::size_t count = column.size();
    // As below; and a column of few values must not cost a look at every trace.
    if (count < 2 || count * 4 < trace_sizes_.size()) return false;
    first_value_.assign(trace_sizes_.size(), kNone);
    std::size_t repeated = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const ColumnValue& b = column[i];
      if (b.trace == kNone) return false;
      std::uint32_t& first = first_value_[b.trace];
      if (first == kNone) {
        first = static_cast<std::uint32_t>(i);
        continue;
      }
      const ColumnValue& a = column[first];
      if (a.number != b.number) return false;  // of a text the size
      if (kind == ColumnKind::text && !is_equal(a.data, b.data, a.number)) return false;
      ++repeated;
    }
    // The reader keeps a number for each trace, which must not be many more than the values.
    return repeated != 0 && (count - repeated) * 4 >= trace_sizes_.size();
  }

  void write_column(const Column& column, ColumnKind kind, bool is_once, SectionWriter& out) {
    texts_.clear();
    numbers_.clear();
    if (is_once) seen_.assign(trace_sizes_.size(), false);
    for (const ColumnValue& value : column) {
      if (is_once) {
        if (seen_[value.trace]) continue;
        seen_[value.trace] = true;
      }
      if (kind == ColumnKind::text) {
        texts_.push_back(value.text());
      } else {
        numbers_.push_back(value.number);
      }
    }
    append_varint(out.head, texts_.size() + numbers_.size());
    put_texts(out, texts_);
    put_numbers(out, numbers_);
  }

  void write(std::span<const std::string_view> sources, SectionWriter& out) {
    append_varint(out.head, sources.size());
    put_texts(out, sources);
    put_numbers(out, encodings_);
    put_numbers(out, flags_);
    put_numbers(out, times_, Likely::ascending);
    put_numbers(out, source_of_);
    const std::vector<ColumnKind>& kinds = column_names_.kinds();
    append_varint(out.head, columns_used_);
    is_once_.clear();
    for (std::size_t i = 0; i < columns_used_; ++i) {
      is_once_.push_back(is_one_for_each_trace(columns_[i], kinds[i]));
      out.head += static_cast<char>(static_cast<unsigned>(kinds[i]) | (is_once_[i] ? 16U : 0U));
    }
    append_varint(out.head, stored_forms_.size());
    for (const std::string& form : stored_forms_) {
      append_varint(out.head, form.size());
      out.head += form;
    }
    put_numbers(out, form_of_);
    put_numbers(out, lengths_);
    for (const std::string_view whole : wholes_) out.texts += whole;
    if (!trace_of_.empty()) append_varint(out.head, trace_sizes_.size());
    put_numbers(out, trace_of_, Likely::ascending);
    out.random += traces_;
    out.random += spans_;
    append_varint(out.head, stored_ids_.size());
    put_numbers(out, stored_ids_, Likely::ascending);
    put_numbers(out, durations_);
    numbers_.clear();
    for (const Parent& parent : parents_) {
      numbers_.push_back(reference_to(parent));
      if (numbers_.back() == 0) out.random.append(parent.id, 8);
    }
    put_numbers(out, numbers_);
    for (std::size_t i = 0; i < columns_used_; ++i) {
      write_column(columns_[i], kinds[i], is_once_[i], out);
    }
  }

  // One entry for each record, OTLP record, record that lies whole, ...
  std::vector<std::uint64_t> encodings_, flags_, times_, source_of_, form_of_, lengths_, trace_of_,
      stored_ids_, durations_;
  std::vector<std::string_view> wholes_;
  std::vector<std::optional<Hash128>> identities_;  // by source
  std::vector<SpanForm> forms_;
  std::deque<std::string> stored_forms_;  // the forms look into them
  std::unordered_map<std::string_view, std::uint32_t> form_numbers_;
  std::array<NextForms, 256> next_forms_{};
  std::uint32_t last_form_ = kNone;
  std::uint32_t form_before_last_ = kNone;
  ColumnNames column_names_;
  std::vector<Column> columns_;
  std::size_t columns_used_ = 0;
  std::string traces_;
  std::vector<std::uint32_t> trace_sizes_;  // spans
  std::string spans_;
  std::vector<Parent> parents_;
  std::vector<Place> places_;
  IdTable trace_table_;
  IdTable span_table_;
  std::uint32_t last_trace_ = kNone;
  // Scratch.
  SpanValues values_;
  std::string description_;
  std::vector<std::uint32_t> first_value_;
  std::vector<bool> seen_;
  std::vector<bool> is_once_;
  std::vector<std::string_view> texts_;
  std::vector<std::uint64_t> numbers_;
};

}  // namespace

void encode_spans(const Batch& batch, std::span<const std::uint32_t> source_of,
                  std::span<const std::string_view> sources, std::uint64_t record_bytes,
                  SectionWriter& out, std::string& ids) {
  constexpr std::uint64_t kKeptBytesMax = 8U << 20U;
  thread_local std::unique_ptr<SpanEncoder> kept;
  if (kept == nullptr) kept = std::make_unique<SpanEncoder>();
  kept->encode(batch, source_of, sources, out, ids);
  if (record_bytes > kKeptBytesMax) kept.reset();  // what one huge batch took
}

}  // namespace ephor::host
