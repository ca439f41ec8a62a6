// SPDX-License-Identifier: Apache-2.0
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "event/otlp_identity.hpp"
#include "store/batch_codec.hpp"
#include "store/sqlite_journal.hpp"
#include "store/value_column.hpp"
#include "store_batches.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;
using namespace ephor::testing;

namespace {

constexpr std::string_view kSource =
    R"({"resource":{"service.name":"checkout"},"scope":{"name":""}})";

// Protobuf, written after https://protobuf.dev/programming-guides/encoding.
std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 128; value /= 128) out += static_cast<char>(128 + value % 128);
  return out + static_cast<char>(value);
}
std::string tag(unsigned field, unsigned type) { return varint(field * 8 + type); }
std::string bytes(unsigned field, const std::string& content) {
  return tag(field, 2) + varint(content.size()) + content;
}
std::string number(unsigned field, std::uint64_t value) { return tag(field, 0) + varint(value); }
std::string fixed(unsigned field, std::uint64_t value, unsigned size) {
  std::string out = tag(field, size == 8 ? 1 : 5);
  for (unsigned i = 0; i < size; ++i, value /= 256) out += static_cast<char>(value % 256);
  return out;
}
std::string attribute(const std::string& key, const std::string& any_value, unsigned field = 9) {
  return bytes(field, bytes(1, key) + bytes(2, any_value));
}

struct SpanSpec {
  std::string trace_id = std::string(16, 't');
  std::string span_id = "01234567";
  std::string parent_id = {};
  std::uint64_t start_ns = 1'000;
  std::uint64_t end_ns = 5'000;
  std::string more = {};
};
std::string span(const SpanSpec& spec) {
  return bytes(1, spec.trace_id) + bytes(2, spec.span_id) +
         (spec.parent_id.empty() ? std::string() : bytes(4, spec.parent_id)) + bytes(5, "step") +
         number(6, 2) + fixed(7, spec.start_ns, 8) + fixed(8, spec.end_ns, 8) + spec.more +
         fixed(16, 0x101, 4);
}
RecordSpec record(const SpanSpec& spec, std::uint8_t flags = 0) {
  return {span(spec), static_cast<std::int64_t>(spec.end_ns), EPHOR_ENCODING_OTLP, flags};
}

constexpr std::uint32_t kSourceNumber = 7;
Batch batch_of(const std::vector<RecordSpec>& records, bool has_sources = true) {
  Batch batch = make_batch(records, {}, "");
  if (!has_sources) return batch;
  batch.sources.push_back({kSourceNumber, kSource});
  for (ephor_event& event : batch.events) {
    if (event.encoding == EPHOR_ENCODING_OTLP) event.source = kSourceNumber;
  }
  return batch;
}

// The id that the door gives: of the service and the digits of trace and span id.
Hash128 door_id(const std::string& trace_id, const std::string& span_id) {
  std::string text;
  for (const std::string& id : {trace_id, span_id}) {
    if (!text.empty()) text += '-';
    for (const char c : id) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
      text += digits;
    }
  }
  return identity_hash("checkout", text);
}

StoredBatch decoded(const EncodedBatch& encoded) {
  StoredBatch batch;
  decode_body(encoded.codec, encoded.body, encoded.count, encoded.record_bytes, batch);
  read_stored_ids(encoded.ids, batch);
  return batch;
}
std::vector<Hash128> ids_of(const EncodedBatch& encoded) {
  return decode_ids(encoded.codec, encoded.ids, encoded.body, encoded.count, encoded.record_bytes);
}

void check_round_trip(const Batch& batch) {
  const EncodedBatch encoded = encode_batch(batch);
  CHECK(encoded.codec == kCodecSpans);
  const StoredBatch stored = decoded(encoded);
  REQUIRE(stored.records.size() == batch.events.size());
  for (std::size_t i = 0; i < batch.events.size(); ++i) {
    const ephor_event& event = batch.events[i];
    REQUIRE(stored.record(i) == std::string_view(event.record, event.record_length));
    CHECK(stored.records[i].time_ns == event.time_ns);
    CHECK(stored.records[i].encoding == event.encoding);
    CHECK(stored.records[i].flags == event.flags);
    CHECK(stored.source(i) == (event.source == kSourceNumber ? kSource : std::string_view()));
  }
  CHECK(ids_of(encoded) == batch.ids);
}

// Protobuf as no library writes it.
class OddSpans {
 public:
  explicit OddSpans(unsigned seed) : random_(seed) {}

  std::string message(int depth) {
    std::string out;
    for (std::uint64_t fields = below(6); fields > 0; --fields) out += field(depth);
    return out;
  }
  // Sound, then something of it is not.
  std::string damaged() {
    std::string out = span({.more = message(3)});
    switch (below(3)) {
      case 0:
        out.resize(below(out.size() + 1));
        break;
      case 1:
        out[below(out.size())] = static_cast<char>(random_());
        break;
      default:
        out.insert(below(out.size()), 1, static_cast<char>(random_()));
        break;
    }
    return out;
  }
  std::string noise() {
    std::string out(below(40), ' ');
    for (char& byte : out) byte = static_cast<char>(random_());
    return out;
  }
  std::uint64_t below(std::uint64_t end) { return random_() % end; }

 private:
  std::string field(int depth) {
    const auto name = static_cast<unsigned>(1 + below(17));
    switch (below(9)) {
      case 0:
        return tag(name, 0) + longer(below(300));
      case 1:
        return fixed(name, random_(), 8);
      case 2:
        return fixed(name, random_(), 4);
      case 3: {
        const std::string content = noise();
        return tag(name, 2) + longer(content.size()) + content;
      }
      case 4:
        return tag(name, 3) + message(depth > 2 ? 2 : depth) + tag(name, 4);
      case 5:
        return attribute("key" + std::to_string(below(3)), message(1));
      case 6:
        return number(static_cast<unsigned>(below(100'000) + 1), random_());
      case 7:
        return bytes(name, std::string(below(2) == 0 ? 8 : 16, static_cast<char>('a' + below(4))));
      default:
        return depth == 0 ? std::string() : bytes(name, message(depth - 1));
    }
  }
  // Of one to three bytes more than it needs, now and then.
  std::string longer(std::uint64_t value) {
    std::string out = varint(value);
    if (below(4) != 0) return out;
    out.back() = static_cast<char>(out.back() | '\x80');
    return out + std::string(below(2), '\x80') + '\0';
  }

  std::mt19937_64 random_;
};

std::vector<RecordSpec> trace_of_spans(std::uint64_t number, std::mt19937_64& random) {
  std::vector<RecordSpec> records;
  const std::string trace_id = "trace" + std::to_string(10'000'000'000 + number);
  std::string parent;
  for (int i = 0; i < 6; ++i) {
    SpanSpec spec;
    spec.trace_id = trace_id;
    for (char& byte : spec.span_id) byte = static_cast<char>(random());
    spec.parent_id = parent;
    spec.start_ns = 1'790'000'000'000'000'000 + number * 1'000'000 + random() % 1'000'000;
    spec.end_ns = spec.start_ns + random() % 50'000'000;
    spec.more = attribute("correlation.id", bytes(1, "c-" + std::to_string(number))) +
                attribute("symbol", bytes(1, random() % 2 == 0 ? "BTCUSDT" : "ETHUSDT")) +
                attribute("depth", tag(3, 0) + varint(random() % 500)) +
                attribute("price", fixed(4, std::bit_cast<std::uint64_t>(0.25 * i), 8));
    if (i == 3) spec.more += bytes(15, bytes(2, "no margin") + tag(3, 0) + '\x02');
    if (i == 4) {
      spec.more += bytes(11, fixed(1, spec.end_ns, 8) + bytes(2, "retry") +
                                 attribute("attempt", tag(3, 0) + varint(i), 3));
    }
    records.push_back(record(spec));
    if (i < 3) parent = spec.span_id;
  }
  // As some clients send them: the children first.
  std::reverse(records.begin(), records.end());
  return records;
}

std::string id_in(const RecordSpec& spec, std::size_t at, std::size_t size) {
  return spec.text.substr(at, size);
}

Batch usual_batch(std::uint64_t traces, unsigned seed = 3) {
  std::mt19937_64 random(seed);
  std::vector<RecordSpec> records;
  for (std::uint64_t i = 0; i < traces; ++i) {
    for (RecordSpec& one : trace_of_spans(i, random)) records.push_back(std::move(one));
  }
  Batch batch = batch_of(records);
  for (std::size_t i = 0; i < records.size(); ++i) {
    batch.ids[i] = door_id(id_in(records[i], 2, 16), id_in(records[i], 20, 8));
  }
  return batch;
}

std::string file_bytes(const char* name) {
  std::ifstream in(test_data("store") / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("span codec: spans of traces come back byte for byte and their ids are made",
          "[unit][journal]") {
  const Batch batch = usual_batch(100);
  check_round_trip(batch);
  const EncodedBatch encoded = encode_batch(batch);
  CHECK(encoded.ids.empty());
  // 170 bytes of record a span, of which 8 of the span's id, 16/6 of the trace's and some 8 of
  // times and numbers are random; 30 says that the rest went away.
  CHECK(encoded.body.size() < batch.events.size() * 30);
}

TEST_CASE("span codec: ids that are not made from the span are stored", "[unit][journal]") {
  Batch batch = usual_batch(2);
  batch.ids[5] = hash128("of another service");
  batch.ids[7] = hash128("of a third one");
  check_round_trip(batch);
  CHECK(encode_batch(batch).ids.size() == 2 * sizeof(Hash128));
  // Without a source there is nothing to make them of.
  Batch bare = usual_batch(2);
  bare.events[3].source = 0;
  check_round_trip(bare);
  CHECK(encode_batch(bare).ids.size() == sizeof(Hash128));
}

TEST_CASE("span codec: records of other encodings lie among the spans", "[unit][journal]") {
  std::vector<RecordSpec> records = {record({}),
                                     {"{\"a\":1}", 4, EPHOR_ENCODING_JSON, 0xFF},
                                     record({.span_id = "other678"}, 2),
                                     {"", 9, EPHOR_ENCODING_JSON, 1},
                                     {"", -5, EPHOR_ENCODING_OTLP, 1},
                                     {"later", 4, 77, 0}};
  check_round_trip(batch_of(records));
  check_round_trip(batch_of(records, false));
  check_round_trip(batch_of({records[4]}));
}

TEST_CASE("span codec: times that no clock says", "[unit][journal]") {
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  std::vector<RecordSpec> records;
  for (const std::uint64_t start : {std::uint64_t{0}, kMax, std::uint64_t{1} << 63U}) {
    for (const std::uint64_t end : {std::uint64_t{0}, kMax, std::uint64_t{1} << 63U}) {
      records.push_back(record({.start_ns = start, .end_ns = end}));
      records.push_back(records.back());
      // A clock that was ahead: the event's time is another.
      records.back().time_ns = static_cast<std::int64_t>(end - 17);
    }
  }
  check_round_trip(batch_of(records));
}

TEST_CASE("span codec: spans of all sorts of bytes come back", "[unit][journal]") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    OddSpans odd(seed);
    std::vector<RecordSpec> records;
    for (int i = 0; i < 30; ++i) {
      RecordSpec one = record({.start_ns = odd.below(100), .end_ns = odd.below(100)});
      switch (odd.below(6)) {
        case 0:
          one.text = odd.noise();
          break;
        case 1:
          one.text = odd.damaged();
          break;
        case 2:
          one.text = odd.message(4);
          break;
        case 3:
          one.text += odd.message(4);
          break;
        case 4:
          one = record(
              {.parent_id = odd.below(2) == 0 ? "01234567" : "unknown0", .more = odd.message(2)});
          break;
        default:
          break;
      }
      records.push_back(one);
    }
    check_round_trip(batch_of(records));
  }
}

TEST_CASE("span codec: sizes on both sides of a varint's bytes", "[unit][journal]") {
  std::vector<RecordSpec> records;
  for (const std::size_t size :
       {0,   1,   100, 118, 119,    120,    121,    122,    123,    124,   125,
        126, 127, 128, 129, 16'370, 16'380, 16'383, 16'384, 16'385, 70'000}) {
    records.push_back(record({.more = attribute("k", bytes(1, std::string(size, 'v')))}));
    records.push_back(record(
        {.more = bytes(11, bytes(2, "e") + attribute("k", bytes(1, std::string(size, 'v')), 3))}));
  }
  check_round_trip(batch_of(records));
}

TEST_CASE("span codec: more forms, columns and values than it has names for", "[unit][journal]") {
  std::vector<RecordSpec> records;
  for (int i = 0; i < 3'000; ++i) {
    records.push_back(
        record({.span_id = "span" + std::to_string(1'000 + i),
                .more = attribute("key" + std::to_string(i), bytes(1, std::to_string(i * 77)))}));
  }
  std::string many;
  for (int i = 0; i < 2'000; ++i) many += attribute("k" + std::to_string(i), number(3, i));
  records.push_back(record({.more = many}));
  check_round_trip(batch_of(records));
}

TEST_CASE("span codec: bodies that the encoders of codecs 1 and 2 wrote are read",
          "[unit][journal]") {
  // Written by the release before codec 3.
  const auto old_span = [](char letter) {
    return bytes(1, std::string(16, letter)) +
           bytes(2, std::string(8, static_cast<char>(letter + 10))) + bytes(5, "step") +
           fixed(7, 1, 8) + fixed(8, 9, 8);
  };
  const std::string json = R"({"id":"1"})";
  StoredBatch batch;
  decode_body(2, file_bytes("batch_codec2.zst"), 3, 2 * old_span('a').size() + json.size(), batch);
  REQUIRE(batch.records.size() == 3);
  CHECK(batch.stored_ids.size() == 3);
  CHECK(batch.record(0) == old_span('a'));
  CHECK(batch.record(1) == json);
  CHECK(batch.record(2) == old_span('b'));
  CHECK(batch.source(0) == kSource);
  CHECK(batch.source(1).empty());
  CHECK(batch.source(2) == kSource);
  CHECK(batch.records[1].time_ns == 5);
  CHECK(batch.records[2].time_ns == 9);
  CHECK(batch.records[2].flags == 2);
  CHECK(batch.records[2].encoding == EPHOR_ENCODING_OTLP);
  decode_body(1, file_bytes("batch_codec1.zst"), 1, json.size(), batch);
  REQUIRE(batch.records.size() == 1);
  CHECK(batch.record(0) == json);
}

TEST_CASE("span codec: a body written by hand after the format is read", "[unit][journal]") {
  using namespace std::string_literals;
  // Literal, trace, literal, span, literal, start, literal, end, literal, and an attribute: open,
  // literal, open, literal, text of column 0, close, close.
  const std::string form = "\x01\x02\n\x10\x02\x01\x02\x12\x08\x03\x01\x01"s + "9\x05\x01\x01"s +
                           "A\x06\x01\x01J\x0b\x01\x04\n\x01k\x12\x0b\x01\x01\n\x07\x00\x0c\x0c"s;
  const std::string head = "\x01\x00\x02"s +                        // one source of 2 bytes
                           "\x00\x01\x00\x00\x00\x09"s +            // encoding, flags, time 9
                           "\x00\x01"s +                            // source 1
                           "\x01\x01\x01"s + varint(form.size()) +  // a text column, a form
                           form + "\x00\x01"s +                     // form 1
                           "\x01\x00\x00"s +                        // one trace, trace 0
                           "\x00\x00\x08"s +  // no id of its own, a duration of 8
                           "\x01\x00\x01"s;   // one value, of 1 byte
  const std::string record = bytes(1, std::string(16, 't')) + bytes(2, std::string(8, 's')) +
                             fixed(7, 1, 8) + fixed(8, 9, 8) + attribute("k", bytes(1, "v"));
  const std::string plain = "\x01"s + varint(record.size()) + varint(head.size()) + "\x00\x03"s +
                            head + "{}v" + std::string(16, 't') + std::string(8, 's');
  std::string body(ZSTD_compressBound(plain.size()), '\0');
  body.resize(ZSTD_compress(body.data(), body.size(), plain.data(), plain.size(), 1));
  StoredBatch batch;
  decode_body(kCodecSpans, body, 1, record.size(), batch);
  REQUIRE(batch.records.size() == 1);
  CHECK(batch.record(0) == record);
  CHECK(batch.records[0].time_ns == 9);
  CHECK(batch.records[0].encoding == EPHOR_ENCODING_OTLP);
  CHECK(batch.source(0) == "{}");
  CHECK(batch.stored_ids.empty());
}

TEST_CASE("span codec: any flipped bit and any cut is an error or harmless", "[unit][journal]") {
  const EncodedBatch encoded = encode_batch(usual_batch(8));
  const StoredBatch whole = decoded(encoded);
  std::mt19937 random(42);
  for (int round = 0; round < 2'000; ++round) {
    EncodedBatch damaged = encoded;
    if (round % 3 == 0) {
      damaged.body.resize(random() % damaged.body.size());
    } else {
      damaged.body[random() % damaged.body.size()] ^= static_cast<char>(1U << (random() % 8));
    }
    try {
      const StoredBatch batch = decoded(damaged);
      CHECK(batch.bytes.view() == whole.bytes.view());
    } catch (const std::runtime_error&) {
    }
  }
}

TEST_CASE("span codec: lies behind a sound checksum end in an error or a batch",
          "[unit][journal]") {
  const EncodedBatch encoded = encode_batch(usual_batch(8));
  std::string plain(ZSTD_getFrameContentSize(encoded.body.data(), encoded.body.size()), '\0');
  REQUIRE(ZSTD_decompress(plain.data(), plain.size(), encoded.body.data(), encoded.body.size()) ==
          plain.size());
  std::mt19937 random(7);
  std::uint64_t errors = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string changed = plain;
    // The head is what there is most to lie in.
    const std::size_t end =
        round % 2 == 0 ? std::min<std::size_t>(400, plain.size()) : plain.size();
    for (unsigned changes = 1 + random() % 3; changes > 0; --changes) {
      changed[random() % end] = static_cast<char>(random());
    }
    if (round % 10 == 0) changed.resize(random() % changed.size());
    std::string body(ZSTD_compressBound(changed.size()), '\0');
    body.resize(ZSTD_compress(body.data(), body.size(), changed.data(), changed.size(), 1));
    try {
      StoredBatch batch;
      decode_body(kCodecSpans, body, encoded.count, encoded.record_bytes, batch);
      std::uint64_t total = 0;
      for (const StoredRecord& one : batch.records) total += one.length;
      CHECK(total == encoded.record_bytes);
    } catch (const std::runtime_error&) {
      ++errors;
    }
    try {
      decode_ids(kCodecSpans, encoded.ids, body, encoded.count, encoded.record_bytes);
    } catch (const std::runtime_error&) {
    }
  }
  CHECK(errors > 5'000);
  StoredBatch batch;
  CHECK_THROWS_AS(decode_body(3, encoded.body, encoded.count + 1, encoded.record_bytes, batch),
                  std::runtime_error);
  CHECK_THROWS_AS(decode_body(3, encoded.body, encoded.count, encoded.record_bytes + 1, batch),
                  std::runtime_error);
  CHECK_THROWS_AS(
      decode_ids(3, "0123456789abcdef", encoded.body, encoded.count, encoded.record_bytes),
      std::runtime_error);
}

TEST_CASE("span codec: the journal gives ids that it did not store, and keeps them",
          "[unit][journal]") {
  const TemporaryDirectory directory;
  SqliteJournalOptions options;
  options.durability = Durability::off;
  SqliteJournal journal(directory.path(), options);
  Batch first = usual_batch(3, 1);
  Batch second = usual_batch(3, 2);
  second.ids[4] = hash128("stored");
  for (Batch* batch : {&first, &second}) {
    std::vector<Pending> group(1);
    group[0] = {batch, journal.encode(*batch)};
    journal.append(group);
  }
  const auto recent = [&] {
    std::vector<Hash128> ids;
    journal.load_recent_ids(1'000, [&](std::uint64_t, std::span<const Hash128> found) {
      ids.insert(ids.end(), found.begin(), found.end());
    });
    return ids;
  };
  std::vector<Hash128> expected = second.ids;
  expected.insert(expected.end(), first.ids.begin(), first.ids.end());
  CHECK(recent() == expected);
  CHECK(journal.read(2).stored_ids == std::vector<Hash128>{hash128("stored")});
  RemovalLimits limits;
  limits.before_position = 3;
  limits.ids_window = 1'000;
  journal.remove_oldest(limits, 5);
  CHECK(journal.stats().events == 0);
  CHECK(recent() == expected);
}

TEST_CASE("value column: numbers come back from each of its codings", "[unit][journal]") {
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  std::vector<std::vector<std::uint64_t>> columns = {
      {5},        {7, 7, 7},     {0, kMax}, {kMax, 0, kMax}, {1'000, 2'000, 5'000'000},
      {0, 1'000}, {3'000, 3'001}};
  std::mt19937_64 random(1);
  for (int bits = 1; bits <= 64; ++bits) {
    std::vector<std::uint64_t> any, near, few, rising;
    for (int i = 0; i < 300; ++i) {
      any.push_back(random() >> (64 - bits));
      near.push_back(1'790'000'000'000'000'000U + any.back());
      few.push_back(any[any.size() % std::min<std::size_t>(any.size(), 3)]);
      rising.push_back((rising.empty() ? 0 : rising.back()) + any.back() * 1'000);
    }
    for (auto* column : {&any, &near, &few, &rising}) columns.push_back(*column);
  }
  for (const std::vector<std::uint64_t>& column : columns) {
    SectionWriter out;
    std::vector<std::uint64_t> changed = column;
    put_numbers(out, changed);
    SectionReader in{ByteReader(out.head, "head"),
                     ByteReader(out.numbers, "numbers"),
                     ByteReader(out.texts, "texts"),
                     {}};
    NumberColumn read;
    read.read(in, column.size());
    for (const std::uint64_t expected : column) REQUIRE(read.next() == expected);
    CHECK_THROWS_AS(read.next(), std::runtime_error);
    CHECK(in.head.left() + in.numbers.left() == 0);
  }
}
