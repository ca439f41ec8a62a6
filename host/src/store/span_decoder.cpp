// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>

#include "event/otlp_identity.hpp"
#include "store/span_batch.hpp"
#include "store/span_form.hpp"
#include "store/value_column.hpp"

namespace ephor::host {
namespace {

constexpr std::uint8_t kOncePerTrace = 16;
constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

// The bytes of the sources and the records, which grow as far as they are really there: a body of a
// few bytes cannot ask for all that it claims.
class Output {
 public:
  Output(std::uint64_t size_max, std::uint64_t likely)
      : size_max_(size_max), buffer_(std::min(size_max, likely)) {}

  void put(std::string_view bytes) {
    reserve(bytes.size());
    at_ = copy(at_, bytes);
  }
  void put_varint(std::uint64_t value) {
    reserve(varint_size(value));
    at_ = host::put_varint(at_, value);
  }
  void put_fixed(std::uint64_t value, std::size_t size) {
    reserve(size);
    std::memcpy(at_, &value, size);
    at_ += size;
  }
  void put_attribute(const SpanForm::Step& step, std::string_view text) {
    open_attribute(step, varint_size(text.size()) + text.size());
    at_ = copy(host::put_varint(at_, text.size()), text);
  }
  void put_attribute(const SpanForm::Step& step, std::uint64_t number) {
    if (step.value == FormStep::varint) {
      open_attribute(step, varint_size(number));
      at_ = host::put_varint(at_, number);
    } else {
      const std::size_t size = step.value == FormStep::fixed64 ? 8 : 4;
      open_attribute(step, size);
      std::memcpy(at_, &number, size);
      at_ += size;
    }
  }
  // A byte for the size of what follows.
  std::uint64_t open() {
    reserve(1);
    *at_++ = 0;
    return size() - 1;
  }
  void close(std::uint64_t opened) {
    const std::uint64_t content_size = size() - opened - 1;
    const std::size_t more = varint_size(content_size) - 1;
    if (more != 0) {
      reserve(more);
      char* const content = buffer_.data() + opened + 1;
      std::memmove(content + more, content, content_size);
      at_ += more;
    }
    host::put_varint(buffer_.data() + opened, content_size);
  }

  std::uint64_t size() const { return static_cast<std::uint64_t>(at_ - buffer_.data()); }
  Buffer take() {
    buffer_.set_size(size());
    std::memset(at_, 0, kRecordSlackBytes);
    return std::move(buffer_);
  }

 private:
  void reserve(std::uint64_t more) {
    if (more > static_cast<std::uint64_t>(end_ - at_)) grow(more);
  }
  // All before the value of `size` bytes, for which there is room then.
  void open_attribute(const SpanForm::Step& step, std::uint64_t value_size) {
    const std::uint64_t inner = step.tag.size() + value_size;
    const std::uint64_t outer = step.key.size() + varint_size(inner) + inner;
    reserve(step.literal.size() + varint_size(outer) + outer);
    at_ = host::put_varint(copy(at_, step.literal), outer);
    at_ = host::put_varint(copy(at_, step.key), inner);
    at_ = copy(at_, step.tag);
  }

  // Few bytes mostly, for which a call costs more. Copies up to 15 more than there are: all that is
  // copied lies in a Buffer, and so does where it goes, with slack behind them.
  static char* copy(char* to, std::string_view bytes) {
    static_assert(kRecordSlackBytes >= 16);
    const char* from = bytes.data();
    for (std::size_t at = 0; at < bytes.size(); at += 16) std::memcpy(to + at, from + at, 16);
    return to + bytes.size();
  }

  [[gnu::noinline]] void grow(std::uint64_t more) {
    const std::uint64_t used = size();
    if (more > size_max_ - used) {
      fail("records of more than the " + std::to_string(size_max_) + " bytes that there are");
    }
    Buffer larger(
        std::min(size_max_, std::max(used + more, 2 * std::uint64_t{buffer_.capacity()})));
    std::memcpy(larger.data(), buffer_.data(), used);
    buffer_ = std::move(larger);
    at_ = buffer_.data() + used;
    end_ = buffer_.data() + buffer_.capacity();
  }

  std::uint64_t size_max_;
  Buffer buffer_;
  char* at_ = buffer_.data();
  char* end_ = buffer_.data() + buffer_.capacity();
};

class SpanDecoder {
 public:
  SpanDecoder(std::string_view plain, std::uint64_t count, std::uint64_t record_bytes)
      : count_(count), record_bytes_(record_bytes) {
    ByteReader top(plain, "the header ends");
    if (const std::uint64_t found = top.varint(); found != count) {
      fail(std::to_string(found) + " records, expected " + std::to_string(count));
    }
    if (const std::uint64_t found = top.varint(); found != record_bytes) {
      fail(std::to_string(found) + " bytes of records, expected " + std::to_string(record_bytes));
    }
    const std::uint64_t head = top.varint();
    const std::uint64_t numbers = top.varint();
    const std::uint64_t texts = top.varint();
    in_.head = ByteReader(top.bytes(head), "the head ends");
    in_.numbers = ByteReader(top.bytes(numbers), "the numbers end");
    in_.texts = ByteReader(top.bytes(texts), "the texts end");
    in_.random = ByteReader(top.bytes(top.left()), "the ids end");
    read_records();
    read_traces();
    read_stored_ids();
  }

  std::vector<Hash128> ids(std::string_view stored) {
    if (stored.size() != sizeof(Hash128) * std::uint64_t{stored_id_count_}) {
      fail(std::to_string(stored.size()) + " bytes of ids, expected " +
           std::to_string(sizeof(Hash128)) + " for each of " + std::to_string(stored_id_count_) +
           " events");
    }
    std::vector<std::optional<Hash128>> identities(sources_.size());
    std::vector<Hash128> out(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      const Record& record = records_[i];
      if (record.is_id_stored) {
        std::memcpy(&out[i], stored.data(), sizeof out[i]);
        stored.remove_prefix(sizeof out[i]);
        continue;
      }
      const std::size_t source = record.source - 1U;
      if (!identities[source]) identities[source] = known_source_identity(sources_[source]);
      out[i] = otlp_span_identity(*identities[source], traces_.data() + 16 * record.trace,
                                  record.span_id);
    }
    return out;
  }

  void records(StoredBatch& batch) {
    read_values();
    std::uint64_t source_bytes = 0;
    for (const std::string_view source : sources_) source_bytes += source.size();
    // Spans grow fivefold to tenfold.
    constexpr std::uint64_t kGrowth = 16;
    Output out(source_bytes + record_bytes_, source_bytes + kGrowth * plain_left_ + 65'536);
    for (const std::string_view source : sources_) out.put(source);
    batch.records.resize(count_);
    for (std::size_t i = 0; i < count_; ++i) {
      StoredRecord& record = batch.records[i];
      const Record& known = records_[i];
      record.offset = out.size();
      record.encoding = static_cast<std::uint8_t>(encodings_.at(i));
      record.flags = static_cast<std::uint8_t>(flags_.at(i));
      record.time_ns = static_cast<std::int64_t>(times_.at(i));
      record.source = known.source;
      if (known.form == 0) {
        out.put(in_wholes_.bytes(lengths_.next()));
      } else {
        put_span(known, times_.at(i), out);
      }
      const std::uint64_t length = out.size() - record.offset;
      if (length > std::numeric_limits<std::uint32_t>::max()) {
        fail("a record of " + std::to_string(length) + " bytes");
      }
      record.length = static_cast<std::uint32_t>(length);
    }
    if (out.size() != source_bytes + record_bytes_) {
      fail(std::to_string(out.size() - source_bytes) + " bytes of records, expected " +
           std::to_string(record_bytes_));
    }
    expect_end();
    batch.bytes = out.take();
    batch.sources.clear();
    std::uint64_t at = 0;
    for (const std::string_view source : sources_) {
      batch.sources.emplace_back(batch.bytes.data() + at, source.size());
      at += source.size();
    }
    batch.stored_ids.resize(stored_id_count_);
  }

 private:
  struct Record {
    std::uint32_t form = 0;  // from 1; 0: it lies whole
    std::uint32_t source = 0;
    bool is_id_stored = true;
    std::uint64_t trace = kNone;
    const char* span_id = nullptr;
  };
  struct Column {
    ColumnKind kind = ColumnKind::text;
    bool is_once = false;
    TextColumn texts;
    NumberColumn numbers;
    std::vector<std::uint32_t> by_trace;  // index of its value + 1
    std::uint32_t used = 0;

    std::uint32_t index(std::uint64_t trace) {
      if (trace >= by_trace.size()) fail("a value of a trace without a trace");
      std::uint32_t& known = by_trace[trace];
      if (known == 0) {
        kind == ColumnKind::text ? (void)texts.next() : (void)numbers.next();
        known = ++used;
      }
      return known - 1;
    }
    std::string_view text(std::uint64_t trace) {
      return is_once ? texts.at(index(trace)) : texts.next();
    }
    std::uint64_t number(std::uint64_t trace) {
      return is_once ? numbers.at(index(trace)) : numbers.next();
    }
  };

  void read_records() {
    const std::uint64_t sources = in_.head.varint();
    if (sources > count_) {
      fail(std::to_string(sources) + " sources of " + std::to_string(count_) + " records");
    }
    TextColumn texts;
    texts.read(in_, sources);
    for (std::uint64_t i = 0; i < sources; ++i) sources_.push_back(texts.at(i));
    encodings_.read(in_, count_);
    flags_.read(in_, count_);
    times_.read(in_, count_);
    std::uint64_t spans = 0;
    for (std::uint64_t i = 0; i < count_; ++i) {
      if (encodings_.at(i) > 0xFF || flags_.at(i) > 0xFF) fail("an encoding or flags above 255");
      spans += encodings_.at(i) == EPHOR_ENCODING_OTLP ? 1 : 0;
    }
    NumberColumn source_of;
    source_of.read(in_, spans);
    read_forms();
    NumberColumn form_of;
    form_of.read(in_, spans);
    records_.resize(count_);
    std::uint64_t wholes = 0;
    for (std::uint64_t i = 0; i < count_; ++i) {
      Record& record = records_[i];
      if (encodings_.at(i) == EPHOR_ENCODING_OTLP) {
        const std::uint64_t source = source_of.next();
        const std::uint64_t form = form_of.next();
        if (source > sources) {
          fail("source " + std::to_string(source) + " of " + std::to_string(sources));
        }
        if (form > forms_.size()) {
          fail("form " + std::to_string(form) + " of " + std::to_string(forms_.size()));
        }
        record.source = static_cast<std::uint32_t>(source);
        record.form = static_cast<std::uint32_t>(form);
      }
      wholes += record.form == 0 ? 1 : 0;
    }
    lengths_.read(in_, wholes);
    std::uint64_t bytes = 0;
    for (std::uint64_t i = 0; i < wholes; ++i) {
      if (lengths_.at(i) > in_.texts.left()) fail("a record longer than its texts");
      bytes += lengths_.at(i);
    }
    in_wholes_ = ByteReader(in_.texts.bytes(bytes), "the records end");
  }

  void read_forms() {
    const std::uint64_t columns = in_.head.varint();
    if (columns > ColumnNames::kColumnsMax) fail(std::to_string(columns) + " columns");
    std::vector<ColumnKind> kinds;
    columns_.resize(columns);
    for (Column& column : columns_) {
      const std::uint8_t kind = in_.head.u8();
      column.is_once = (kind & kOncePerTrace) != 0;
      column.kind = static_cast<ColumnKind>(kind & ~kOncePerTrace);
      if (column.kind != ColumnKind::text && column.kind != ColumnKind::number) {
        fail("a column of kind " + std::to_string(kind));
      }
      kinds.push_back(column.kind);
    }
    const std::uint64_t forms = in_.head.varint();
    for (std::uint64_t i = 0; i < forms; ++i) {
      forms_.emplace_back(in_.head.bytes(in_.head.varint()), kinds);
    }
  }

  void read_traces() {
    std::uint64_t traced = 0;
    std::uint64_t spans = 0;
    for (const Record& record : records_) {
      if (record.form == 0) continue;
      traced += forms_[record.form - 1].has_trace() ? 1 : 0;
      spans += forms_[record.form - 1].has_span() ? 1 : 0;
    }
    trace_count_ = traced == 0 ? 0 : in_.head.varint();
    if (trace_count_ > traced) {
      fail(std::to_string(trace_count_) + " traces of " + std::to_string(traced) + " spans");
    }
    NumberColumn trace_of;
    trace_of.read(in_, traced);
    traces_ = in_.random.bytes(16 * trace_count_);
    std::string_view span_ids = in_.random.bytes(8 * spans);
    for (Record& record : records_) {
      if (record.form == 0) continue;
      const SpanForm& form = forms_[record.form - 1];
      if (form.has_trace()) {
        record.trace = trace_of.next();
        if (record.trace >= trace_count_) {
          fail("trace " + std::to_string(record.trace) + " of " + std::to_string(trace_count_));
        }
      }
      if (form.has_span()) {
        record.span_id = span_ids.data();
        span_ids.remove_prefix(8);
      }
    }
  }

  void read_stored_ids() {
    const std::uint64_t exceptions = in_.head.varint();
    if (exceptions > count_) fail(std::to_string(exceptions) + " ids of their own");
    NumberColumn indices;
    indices.read(in_, exceptions);
    for (Record& record : records_) {
      record.is_id_stored =
          record.trace == kNone || record.span_id == nullptr || record.source == 0;
    }
    for (std::uint64_t i = 0; i < exceptions; ++i) {
      const std::uint64_t index = indices.at(i);
      if (index >= count_ || records_[index].is_id_stored) {
        fail("an id of its own for record " + std::to_string(index));
      }
      records_[index].is_id_stored = true;
    }
    for (const Record& record : records_) stored_id_count_ += record.is_id_stored ? 1 : 0;
  }

  // What only the records' bytes need.
  void read_values() {
    plain_left_ = in_.head.left() + in_.numbers.left() + in_.texts.left() + in_wholes_.left();
    std::uint64_t starts = 0;
    std::uint64_t parents = 0;
    for (const Record& record : records_) {
      if (record.form == 0) continue;
      starts += forms_[record.form - 1].has_start() ? 1 : 0;
      parents += forms_[record.form - 1].has_parent() ? 1 : 0;
    }
    durations_.read(in_, starts);
    parents_.read(in_, parents);
    if (parents != 0) sort_spans_by_trace();
    std::uint64_t kept = 0;
    for (Column& column : columns_) {
      const std::uint64_t values = in_.head.varint();
      if (column.kind == ColumnKind::text) {
        column.texts.read(in_, values);
      } else {
        column.numbers.read(in_, values);
      }
      if (!column.is_once) continue;
      // A value takes a byte of a record, and the encoder promises one for every fourth trace.
      kept += trace_count_;
      if (kept > 4 * record_bytes_) fail("columns of more traces than the records have bytes");
      column.by_trace.assign(trace_count_, 0);
    }
  }

  void sort_spans_by_trace() {
    first_of_trace_.assign(trace_count_ + 1, 0);
    for (const Record& record : records_) {
      if (record.trace != kNone && record.span_id != nullptr) ++first_of_trace_[record.trace + 1];
    }
    for (std::size_t i = 1; i <= trace_count_; ++i) first_of_trace_[i] += first_of_trace_[i - 1];
    by_trace_.resize(first_of_trace_[trace_count_]);
    std::vector<std::uint32_t> next(first_of_trace_.begin(), first_of_trace_.end() - 1);
    for (const Record& record : records_) {
      if (record.trace == kNone || record.span_id == nullptr) continue;
      by_trace_[next[record.trace]++] = record.span_id;
    }
  }

  std::string_view parent_of(const Record& record) {
    const std::uint64_t reference = parents_.next();
    if (reference == 0) return in_.random.bytes(8);
    if (record.trace == kNone) fail("a parent in a trace of a span without a trace");
    const std::uint64_t first = first_of_trace_[record.trace];
    if (reference > first_of_trace_[record.trace + 1] - first) {
      fail("parent " + std::to_string(reference) + " of a trace of fewer spans");
    }
    return {by_trace_[first + reference - 1], 8};
  }

  void put_span(const Record& record, std::uint64_t time, Output& out) {
    std::uint64_t opened[SpanForm::kDepthMax];
    int depth = 0;
    for (const SpanForm::Step& step : forms_[record.form - 1].steps()) {
      switch (step.step) {
        case FormStep::attribute: {
          Column& column = columns_[step.column];
          if (step.value == FormStep::text) {
            out.put_attribute(step, column.text(record.trace));
          } else {
            out.put_attribute(step, column.number(record.trace));
          }
          break;
        }
        case FormStep::literal:
          out.put(step.literal);
          break;
        case FormStep::trace:
          out.put({traces_.data() + 16 * record.trace, 16});
          break;
        case FormStep::span:
          out.put({record.span_id, 8});
          break;
        case FormStep::parent:
          out.put(parent_of(record));
          break;
        case FormStep::start:
          out.put_fixed(time - durations_.next(), 8);
          break;
        case FormStep::end:
          out.put_fixed(time, 8);
          break;
        case FormStep::text: {
          const std::string_view text = columns_[step.column].text(record.trace);
          out.put_varint(text.size());
          out.put(text);
          break;
        }
        case FormStep::varint:
          out.put_varint(columns_[step.column].number(record.trace));
          break;
        case FormStep::fixed64:
          out.put_fixed(columns_[step.column].number(record.trace), 8);
          break;
        case FormStep::fixed32:
          out.put_fixed(columns_[step.column].number(record.trace), 4);
          break;
        case FormStep::open:
          opened[depth++] = out.open();
          break;
        case FormStep::close:
          out.close(opened[--depth]);
          break;
      }
    }
  }

  void expect_end() const {
    bool is_done = in_.head.left() + in_.numbers.left() + in_.texts.left() + in_.random.left() +
                       in_wholes_.left() ==
                   0;
    for (const Column& column : columns_) {
      is_done = is_done && column.texts.is_done() && column.numbers.is_done();
    }
    if (!is_done) fail("more than the records take");
  }

  const std::uint64_t count_;
  const std::uint64_t record_bytes_;
  SectionReader in_;
  ByteReader in_wholes_;
  std::vector<std::string_view> sources_;
  NumberColumn encodings_, flags_, times_, lengths_, durations_, parents_;
  std::vector<Column> columns_;
  std::vector<SpanForm> forms_;
  std::vector<Record> records_;
  std::uint64_t trace_count_ = 0;
  std::string_view traces_;  // 16 bytes each
  std::vector<std::uint32_t> first_of_trace_;
  std::vector<const char*> by_trace_;  // ids of spans
  std::uint32_t stored_id_count_ = 0;
  std::uint64_t plain_left_ = 0;
};

}  // namespace

void decode_spans(std::string_view plain, std::uint64_t count, std::uint64_t record_bytes,
                  StoredBatch& batch) {
  SpanDecoder(plain, count, record_bytes).records(batch);
}

std::vector<Hash128> decode_span_ids(std::string_view plain, std::uint64_t count,
                                     std::uint64_t record_bytes, std::string_view ids) {
  return SpanDecoder(plain, count, record_bytes).ids(ids);
}

}  // namespace ephor::host
