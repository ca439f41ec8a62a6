// SPDX-License-Identifier: Apache-2.0
#include <zstd.h>

#include <limits>
#include <random>
#include <string>

#include "event/error.hpp"
#include "store/batch_codec.hpp"
#include "store_batches.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using namespace ephor::testing;

namespace {

StoredBatch decoded(const EncodedBatch& encoded) {
  StoredBatch batch;
  decode_body(encoded.codec, encoded.body, encoded.count, encoded.record_bytes, batch);
  read_stored_ids(encoded.ids, batch);
  return batch;
}

// A body laid out by hand, as the format in batch_codec.hpp says.
std::string frame_of(std::string_view plain) {
  std::string body(ZSTD_compressBound(plain.size()), '\0');
  body.resize(ZSTD_compress(body.data(), body.size(), plain.data(), plain.size(), 1));
  return body;
}

}  // namespace

TEST_CASE("codec: the records, times, flags and ids that went in come out", "[unit][journal]") {
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  const std::vector<RecordSpec> records = {{"{\"a\":1}", 1'700'000'000'000'000'000, 0, 0x02},
                                           {"", kMin, 1, 0xFF},
                                           {std::string("\0\n\xFF", 3), kMax, 1, 0},
                                           {std::string(300, 'x'), 0, 0, 0x10},
                                           {"tail", -1, 0, 0}};
  for (const std::string_view separator : {"\n", "", ",\n  "}) {
    const Batch batch = make_batch(records, {}, separator);
    const EncodedBatch encoded = encode_batch(batch);
    CHECK(encoded.count == 5);
    CHECK(encoded.time_min_ns == kMin);
    CHECK(encoded.time_max_ns == kMax);
    CHECK(encoded.record_bytes == 7 + 0 + 3 + 300 + 4);

    const StoredBatch stored = decoded(encoded);
    REQUIRE(stored.records.size() == records.size());
    for (std::size_t i = 0; i < records.size(); ++i) {
      CHECK(stored.record(i) == records[i].text);
      CHECK(stored.records[i].time_ns == records[i].time_ns);
      CHECK(stored.records[i].encoding == records[i].encoding);
      CHECK(stored.records[i].flags == records[i].flags);
    }
    CHECK(stored.stored_ids == batch.ids);
  }
}

TEST_CASE("codec: records in any order and from several buffers", "[unit][journal]") {
  Batch batch = make_batch({{"one", 1}, {"two", 2}, {"three", 3}}, {}, "");
  Batch other = make_batch({{"four", 4}});
  batch.buffers.push_back(std::move(other.buffers[0]));
  std::swap(batch.events[0], batch.events[2]);
  batch.events.push_back(other.events[0]);
  batch.ids.push_back(other.ids[0]);
  const StoredBatch stored = decoded(encode_batch(batch));
  CHECK(stored.record(0) == "three");
  CHECK(stored.record(1) == "two");
  CHECK(stored.record(2) == "one");
  CHECK(stored.record(3) == "four");
}

TEST_CASE("codec: a frame written by hand after the format is read", "[unit][journal]") {
  // 2 records; lengths 1 and 2; zigzag of +3 is 6, of -1 is 1.
  const std::string plain = std::string("\x02\x01\x00\x02\x06\x02\x01\x00\x01", 9) + "abb";
  StoredBatch batch;
  decode_body(kCodecZstd1, frame_of(plain), 2, 3, batch);
  REQUIRE(batch.records.size() == 2);
  CHECK(batch.record(0) == "a");
  CHECK(batch.records[0].flags == 2);
  CHECK(batch.records[0].time_ns == 3);
  CHECK(batch.record(1) == "bb");
  CHECK(batch.records[1].encoding == 1);
  CHECK(batch.records[1].time_ns == 2);
}

TEST_CASE("codec: batches that cannot be stored are refused", "[unit][journal]") {
  CHECK_THROWS_AS(encode_batch(Batch{}), HostError);
  Batch batch = numbered_batch(0, 2);
  batch.ids.pop_back();
  CHECK_THROWS_AS(encode_batch(batch), HostError);
}

TEST_CASE("codec: lies in the header are errors", "[unit][journal]") {
  StoredBatch batch;
  const auto decode = [&](std::string_view plain, std::uint64_t count, std::uint64_t bytes) {
    decode_body(kCodecZstd1, frame_of(plain), count, bytes, batch);
  };
  const std::string good = std::string("\x01\x03\x00\x00\x00", 5) + "abc";
  CHECK_NOTHROW(decode(good, 1, 3));
  CHECK_THROWS_AS(decode(good, 2, 3), std::runtime_error);                     // other count
  CHECK_THROWS_AS(decode(good + "d", 1, 3), std::runtime_error);               // too many bytes
  CHECK_THROWS_AS(decode(good.substr(0, 7), 1, 3), std::runtime_error);        // too few
  CHECK_THROWS_AS(decode(good.substr(0, 3), 1, 3), std::runtime_error);        // ends in the header
  CHECK_THROWS_AS(decode(std::string(11, '\xFF'), 1, 3), std::runtime_error);  // endless varint
  CHECK_THROWS_AS(decode(good, 0, 3), std::runtime_error);
  CHECK_THROWS_AS(decode(good, 1'000'000, 3), std::runtime_error);
  CHECK_THROWS_AS(decode(std::string(100'000, 'x'), 1, 3), std::runtime_error);  // a bomb
  CHECK_THROWS_AS(decode_body(99, frame_of(good), 1, 3, batch), std::runtime_error);
  CHECK_THROWS_AS(decode_body(kCodecZstd1, "", 1, 3, batch), std::runtime_error);
  CHECK_THROWS_AS(decode_ids(kCodecZstd1, "short", "", 1, 0), std::runtime_error);
  // 2^60 * 16 wraps to 0.
  CHECK_THROWS_AS(decode_ids(kCodecZstd1, "", "", 1ULL << 60U, 0), std::runtime_error);
}

TEST_CASE("codec: a frame's claim is believed as far as its blocks go", "[unit][journal]") {
  StoredBatch batch;
  // RFC 8878: magic number, descriptor (single segment, 8 bytes of content size), content size,
  // then one last block that repeats a byte.
  const auto frame = [](std::uint64_t claimed, std::uint32_t repeated) {
    std::string out("\x28\xB5\x2F\xFD\xE0", 5);
    for (int i = 0; i < 8; ++i) out += static_cast<char>(claimed >> (8 * i));
    const std::uint32_t header = repeated << 3U | 3U;
    for (int i = 0; i < 3; ++i) out += static_cast<char>(header >> (8 * i));
    return out + '\x7F';
  };
  constexpr std::uint64_t kHuge = 1ULL << 40U;
  const auto said = [&](std::string_view body) -> std::string {
    try {
      decode_body(kCodecZstd1, body, 60'000, kHuge, batch);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "taken";
  };
  CHECK(said(frame(kHuge, 1000)) ==
        "its frame claims 1099511627776 bytes, but its blocks hold at most 1000");
  // One that keeps its word is unpacked, and refused for what it holds.
  CHECK(said(frame(1000, 1000)) == "127 records, expected 60000");
  // All sorts of blocks, of what zstd itself makes.
  std::mt19937 random(7);
  std::string noise(300'000, ' ');
  for (char& byte : noise) byte = static_cast<char>(random());
  for (const std::string& text :
       {std::string(3'000'000, 'a'), noise,
        noise.substr(0, 70'000) + std::string(400'000, 'b') + noise, std::string("x")}) {
    const Batch one = make_batch({{text, 5}});
    const EncodedBatch encoded = encode_batch(one);
    decode_body(encoded.codec, encoded.body, 1, encoded.record_bytes, batch);
    CHECK(batch.record(0) == text);
  }
}

TEST_CASE("codec: any flipped bit and any cut is an error or harmless, never more",
          "[unit][journal]") {
  const EncodedBatch encoded = encode_batch(numbered_batch(7, 40));
  const StoredBatch whole = decoded(encoded);
  std::mt19937 random(42);
  for (int round = 0; round < 3000; ++round) {
    EncodedBatch damaged = encoded;
    if (round % 3 == 0) {
      damaged.body.resize(random() % damaged.body.size());
    } else {
      damaged.body[random() % damaged.body.size()] ^= static_cast<char>(1U << (random() % 8));
    }
    try {
      const StoredBatch batch = decoded(damaged);
      // The frame's checksum covers the content; only unused header bits may differ.
      CHECK(batch.bytes.view() == whole.bytes.view());
    } catch (const std::runtime_error&) {
    }
  }
}
