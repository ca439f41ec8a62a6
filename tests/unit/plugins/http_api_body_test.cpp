// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>
#include <zstd.h>

#include <random>
#include <span>
#include <string>
#include <vector>

#include "body.hpp"
#include "inflate.hpp"
#include "support/catch.hpp"

using namespace ephor::http_api;

namespace {

// Gives its text in pieces of at most `step` bytes.
class TextSource final : public ByteSource {
 public:
  TextSource(std::string text, std::size_t step) : text_(std::move(text)), step_(step) {}
  int get() override { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_++]) : -1; }
  std::size_t read(char* to, std::size_t capacity) override {
    const std::size_t size = std::min({capacity, step_, text_.size() - at_});
    text_.copy(to, size, at_);
    at_ += size;
    return size;
  }
  std::string rest() const { return text_.substr(at_); }

 private:
  std::string text_;
  std::size_t step_;
  std::size_t at_ = 0;
};

std::string read_all(Body& body) {
  std::string text;
  char piece[7];
  while (const std::size_t got = body.read(piece, sizeof piece)) text.append(piece, got);
  return text;
}

class Memory final : public GrowingMemory {
 public:
  explicit Memory(std::size_t limit = 1U << 30U) : limit_(limit) {}
  std::span<char> grow(std::size_t, std::size_t wanted) override {
    if (wanted > limit_) return {};
    if (wanted > bytes.size()) bytes.resize(wanted);
    return {bytes.data(), bytes.size()};
  }
  std::string bytes;

 private:
  std::size_t limit_;
};

// zlib, not the ISA-L that is under test.
std::string gzip(const std::string& text, int level = 6) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string random_text(std::size_t size) {
  std::mt19937 random(3);
  std::string text(size, '\0');
  for (char& byte : text) byte = static_cast<char>('a' + random() % 20);
  return text;
}

}  // namespace

TEST_CASE("body: a fixed one ends at its length", "[unit][http]") {
  TextSource source("helloGET /", 3);
  FixedBody body(source, 5);
  CHECK(read_all(body) == "hello");
  CHECK(body.at_end());
  CHECK(source.rest() == "GET /");
}

TEST_CASE("body: a fixed one that is cut short fails", "[unit][http]") {
  TextSource source("hel", 3);
  FixedBody body(source, 5);
  CHECK_THROWS_AS(read_all(body), BodyError);
}

// RFC 9112, 7.1.
TEST_CASE("body: chunks, extensions and trailers", "[unit][http]") {
  TextSource source(
      "4\r\nWiki\r\n6;name=\"x\"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nX: y\r\n\r\nGET", 2);
  ChunkedBody body(source);
  CHECK_FALSE(body.length());
  CHECK(read_all(body) == "Wikipedia in \r\n\r\nchunks.");
  CHECK(body.at_end());
  CHECK(source.rest() == "GET");
}

TEST_CASE("body: broken chunk framing fails", "[unit][http]") {
  for (const char* text : {"", "4\r\nWi", "4\r\nWikiX\r\n0\r\n\r\n", "\r\n", "zz\r\n", "-1\r\n",
                           "0x4\r\nWiki\r\n", "4\r\nWiki\r\n", "0\r\n", "11111111111111111\r\nx"}) {
    INFO(text);
    TextSource source(text, 100);
    ChunkedBody body(source);
    CHECK_THROWS_AS(read_all(body), BodyError);
  }
  TextSource endless(std::string(5000, '1'), 100);
  ChunkedBody body(endless);
  CHECK_THROWS_AS(read_all(body), BodyError);
}

TEST_CASE("body: two framings at once are refused", "[unit][http]") {
  CHECK(framing_of("5", "").length == 5);
  CHECK(framing_of("", "").error.empty());
  CHECK(framing_of("", "Chunked").is_chunked);
  CHECK(framing_of("5,5", "").length == 5);
  CHECK_FALSE(framing_of("5", "chunked").error.empty());
  CHECK_FALSE(framing_of("5,6", "").error.empty());
  CHECK_FALSE(framing_of("-5", "").error.empty());
  CHECK_FALSE(framing_of("+5", "").error.empty());
  CHECK_FALSE(framing_of("5x", "").error.empty());
  CHECK_FALSE(framing_of("99999999999999999999", "").error.empty());
  CHECK_FALSE(framing_of("", "gzip, chunked").error.empty());
}

TEST_CASE("inflate: gives back what zlib and zstd packed", "[unit][http]") {
  for (const std::size_t size : {1U, 100U, 65'536U, 1'000'000U}) {
    const std::string text = random_text(size);
    Memory memory;
    std::size_t got = 0;
    REQUIRE(inflate_gzip(gzip(text), size, memory, got) == Inflated::ok);
    CHECK(memory.bytes.substr(0, got) == text);
    REQUIRE(inflate_zstd(zstd(text), size, memory, got) == Inflated::ok);
    CHECK(memory.bytes.substr(0, got) == text);
  }
}

TEST_CASE("inflate: members and frames one after the other", "[unit][http]") {
  Memory memory;
  std::size_t got = 0;
  REQUIRE(inflate_gzip(gzip("one") + gzip("two"), 100, memory, got) == Inflated::ok);
  CHECK(memory.bytes.substr(0, got) == "onetwo");
  REQUIRE(inflate_zstd(zstd("one") + zstd("two"), 100, memory, got) == Inflated::ok);
  CHECK(memory.bytes.substr(0, got) == "onetwo");
}

TEST_CASE("inflate: a bomb stops at the cap", "[unit][http]") {
  const std::string zeros(50'000'000, '0');
  Memory memory(1U << 20U);  // the inflater must not ask for more than the cap
  std::size_t got = 0;
  CHECK(inflate_gzip(gzip(zeros), 1U << 20U, memory, got) == Inflated::too_large);
  CHECK(inflate_zstd(zstd(zeros), 1U << 20U, memory, got) == Inflated::too_large);
  CHECK(inflate_gzip(gzip("abc"), 2, memory, got) == Inflated::too_large);
  CHECK(inflate_gzip(gzip("abc"), 3, memory, got) == Inflated::ok);
}

TEST_CASE("inflate: every cut and every flipped byte is noticed or harmless", "[unit][http]") {
  const std::string text = random_text(2000);
  const std::string good = gzip(text);
  for (std::size_t size = 1; size < good.size(); size += 7) {
    Memory memory;
    std::size_t got = 0;
    INFO(size);
    CHECK(inflate_gzip(good.substr(0, size), 1U << 20U, memory, got) != Inflated::ok);
  }
  // Behind the header of ten bytes the checksum covers everything.
  for (std::size_t at = 10; at < good.size(); at += 11) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x55);
    Memory memory;
    std::size_t got = 0;
    const Inflated state = inflate_gzip(bad, 1U << 20U, memory, got);
    INFO(at);
    CHECK(state != Inflated::ok);
  }
  const std::string packed = zstd(text);
  for (std::size_t size = 1; size < packed.size(); size += 7) {
    Memory memory;
    std::size_t got = 0;
    CHECK(inflate_zstd(packed.substr(0, size), 1U << 20U, memory, got) != Inflated::ok);
  }
  Memory memory;
  std::size_t got = 0;
  CHECK(inflate_gzip("this is no gzip at all", 100, memory, got) == Inflated::corrupt);
  CHECK(inflate_gzip(good + "rubbish", 1U << 20U, memory, got) != Inflated::ok);
}

TEST_CASE("deflate: zlib reads what it makes", "[unit][http]") {
  const std::string text = random_text(100'000);
  const std::string packed = deflate_gzip(text);
  std::string out(text.size(), '\0');
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 31) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  inflateEnd(&stream);
  CHECK(out == text);
}
