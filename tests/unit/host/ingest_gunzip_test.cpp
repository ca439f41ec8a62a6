// SPDX-License-Identifier: Apache-2.0
//
// The oracle is zlib, which shares no code with the reader under test.
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "event/error.hpp"
#include "ingest/gunzip.hpp"
#include "ingest/line_chunker.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;

namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string read_all(GzipReader reader, std::size_t step) {
  std::string out;
  std::string piece(step, '\0');
  while (const std::size_t count = reader.read(piece.data(), step)) out.append(piece, 0, count);
  CHECK(reader.read(piece.data(), step) == 0);
  CHECK(reader.output_offset() == out.size());
  return out;
}

std::string sample(std::size_t size) {
  std::string text;
  std::uint32_t state = 12345;
  while (text.size() < size) {
    state = state * 1664525U + 1013904223U;
    text += "line " + std::to_string(state >> 12) + (state % 7 == 0 ? " again and again\n" : "\n");
  }
  return text;
}

std::string failure(const std::string& bytes) {
  try {
    read_all(GzipReader::of_memory(bytes, "file.gz"), 4096);
    return "";
  } catch (const HostError& error) {
    CHECK(error.status() == EPHOR_INVALID);
    return error.what();
  }
}

struct Read {
  std::string text;
  std::vector<std::uint32_t> first_lines;
  std::vector<Rejection> rejections;
  std::uint32_t line_count = 0;
};

Read chunk_all(const std::string& text, ChunkLimits limits) {
  GzipReader reader = GzipReader::of_memory(text);
  LineChunker chunker(reader, limits);
  Read read;
  while (auto chunk = chunker.next()) {
    read.text += chunk->body.view();
    read.first_lines.push_back(chunk->first_line);
    read.line_count += chunk->line_count;
    for (const Rejection& rejection : chunk->rejections) read.rejections.push_back(rejection);
  }
  return read;
}

}  // namespace

TEST_CASE("gunzip: gives back what zlib packed, at any step", "[unit][ingest]") {
  const std::string text = sample(300'000);
  const std::string packed = gzip(text);
  for (const std::size_t step : {1UL, 7UL, 4096UL, 100'000UL, 1'000'000UL}) {
    CHECK(read_all(GzipReader::of_memory(packed), step) == text);
  }
  CHECK(read_all(GzipReader::of_memory(gzip("")), 10).empty());
}

TEST_CASE("gunzip: members follow each other, zeros may pad them", "[unit][ingest]") {
  const std::string packed = gzip("one\n") + gzip("") + gzip(sample(70'000));
  CHECK(read_all(GzipReader::of_memory(packed), 1000) == "one\n" + sample(70'000));
  CHECK(read_all(GzipReader::of_memory(packed + std::string(512, '\0')), 1000).size() ==
        4 + sample(70'000).size());
}

TEST_CASE("gunzip: plain input passes through", "[unit][ingest]") {
  const std::string text = sample(5'000);
  CHECK(read_all(GzipReader::of_memory(text), 100) == text);
  CHECK(read_all(GzipReader::of_memory(""), 100).empty());
  CHECK_FALSE(GzipReader::of_memory(text).is_gzip());
}

TEST_CASE("gunzip: reads files, also larger than its input buffer", "[unit][ingest]") {
  const ephor::testing::TemporaryDirectory directory;
  const std::string text = sample(3'000'000);
  const std::string packed = gzip(text) + gzip("tail\n");
  REQUIRE(packed.size() > 600'000);
  const auto path = directory.path() / "x.gz";
  std::ofstream(path, std::ios::binary) << packed;
  CHECK(read_all(GzipReader(path), 50'000) == text + "tail\n");
  CHECK_THROWS_AS(GzipReader(directory.path() / "absent"), HostError);
}

TEST_CASE("gunzip: broken input is an error that names the byte", "[unit][ingest]") {
  const std::string text = sample(100'000);
  const std::string packed = gzip(text);
  for (const std::size_t size : {3UL, 12UL, 500UL, packed.size() / 2, packed.size() - 1}) {
    CHECK(failure(packed.substr(0, size)) == "file.gz: found the end of the input at byte " +
                                                 std::to_string(size) +
                                                 ", expected the rest of a gzip member");
  }
  std::string flipped = packed;
  flipped[flipped.size() - 6] ^= 1;  // in the checksum
  CHECK(failure(flipped).find("found a wrong checksum at byte") != std::string::npos);
  std::string corrupt = packed;
  for (std::size_t i = 2000; i < 2100; ++i) corrupt[i] = static_cast<char>(~corrupt[i]);
  CHECK(failure(corrupt).find("file.gz: found ") == 0);
  CHECK(failure(packed + "tail")
            .find("found trailing bytes at byte " + std::to_string(packed.size())) !=
        std::string::npos);
}

TEST_CASE("line chunker: chunks are whole lines and lose nothing", "[unit][ingest]") {
  const std::string text = sample(50'000);
  const auto lines = static_cast<std::uint32_t>(std::count(text.begin(), text.end(), '\n'));
  for (const ChunkLimits limits :
       {ChunkLimits{10, 1 << 20, 1000}, ChunkLimits{0, 100, 1000}, ChunkLimits{0, 4096, 1000},
        ChunkLimits{7, 200, 1000}, ChunkLimits{0, 1 << 20, 1000}}) {
    const Read read = chunk_all(text, limits);
    CHECK(read.text == text);
    CHECK(read.line_count == lines);
    CHECK(read.rejections.empty());
  }
  CHECK(chunk_all(text, {10, 1 << 20, 1000}).first_lines[3] == 31);
  CHECK(chunk_all("a\nb", {}).line_count == 2);
  CHECK(chunk_all("", {}).first_lines.empty());
}

TEST_CASE("line chunker: a line longer than a chunk grows it, an over-long one is rejected",
          "[unit][ingest]") {
  const std::string long_line(900, 'x');
  const std::string too_long(5000, 'y');
  const Read grown = chunk_all("a\n" + long_line + "\nb\n", {0, 100, 1000});
  CHECK(grown.text == "a\n" + long_line + "\nb\n");
  CHECK(grown.rejections.empty());
  const Read cut = chunk_all("a\n" + too_long + "\nb\n" + too_long, {0, 100, 1000});
  CHECK(cut.text == "a\nb\n");
  REQUIRE(cut.rejections.size() == 2);
  CHECK(cut.rejections[0].line == 2);
  CHECK(cut.rejections[1].line == 4);
  CHECK(cut.rejections[0].reason == "found a line of 5000 bytes, expected at most 1000");
  const std::uint32_t line_of_b = cut.first_lines.size() > 1 ? cut.first_lines[1] : 0;
  CHECK(line_of_b == 3);
}
