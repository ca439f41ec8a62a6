// SPDX-License-Identifier: Apache-2.0
//
// Bodies at the door. The first byte chooses: bits 0-1 the format, bit 2 that the body is gzip, bit
// 3 that it comes in chunks of lines as a replay's file does, bit 4 tight bounds and another zone.
// The rest is the body. What comes out is counted and read again in a second way, and everything
// taken goes through the journal's encoding and back.
#include <algorithm>
#include <exception>
#include <memory>
#include <sstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "event/error.hpp"
#include "fuzz.hpp"
#include "ingest/door.hpp"
#include "ingest/line_chunker.hpp"
#include "store/batch_codec.hpp"

namespace {

using namespace ephor::host;
using Json = nlohmann::json;

constexpr std::int64_t kArrivedNs = 1'800'000'000'000'000'000;
constexpr std::size_t kInflatedBytesMax = 1U << 20;

IngestConfig config_of(bool is_tight) {
  IngestConfig config;
  config.join_attributes = {"account", "desk"};
  if (is_tight) {
    config.assumed_offset_ns = -5'400'000'000'000;
    config.future_skew_ns = 0;
    config.depth_max = 6;
    config.record_bytes_max = 1024;
  }
  return config;
}

// Names are kept for ever: a house is pulled down after a while.
struct House {
  Names names;
  Door door;
  std::unique_ptr<Describer> describer;
  explicit House(bool is_tight)
      : door(config_of(is_tight), names), describer(door.make_describer()) {}
};

House& house(bool is_tight) {
  static std::unique_ptr<House> houses[2];
  static std::uint32_t visits[2];
  std::unique_ptr<House>& wanted = houses[is_tight ? 1 : 0];
  if (wanted == nullptr || ++visits[is_tight ? 1 : 0] % 20'000 == 0) {
    wanted = std::make_unique<House>(is_tight);
  }
  return *wanted;
}

Buffer buffer_of(std::string_view text) {
  Buffer buffer(text.size());
  if (!text.empty()) std::memcpy(buffer.data(), text.data(), text.size());
  buffer.set_size(text.size());
  return buffer;
}

bool is_in(const Batch& batch, std::string_view bytes) {
  return std::any_of(batch.buffers.begin(), batch.buffers.end(), [&](const Buffer& buffer) {
    return bytes.data() >= buffer.data() &&
           bytes.data() + bytes.size() <= buffer.data() + buffer.size();
  });
}

std::uint32_t lines_with_text(std::string_view body) {
  if (body.starts_with("\xEF\xBB\xBF")) body.remove_prefix(3);
  std::uint32_t count = 0;
  while (!body.empty()) {
    const std::string_view line = body.substr(0, body.find('\n'));
    body.remove_prefix(std::min(body.size(), line.size() + 1));
    count += line.find_first_not_of(" \t\r") != std::string_view::npos ? 1 : 0;
  }
  return count;
}

// nlohmann is the second reader: what the door takes, every plugin can read with it, and both see
// the same data.
void check_record(std::string_view record, const ephor_event& event) {
  EPHOR_PROMISE(event.data_offset <= record.size(), "data begins in its record");
  EPHOR_PROMISE(event.encoding == EPHOR_ENCODING_JSON, "the door makes JSON");
  EPHOR_PROMISE(record.front() == '{' && record.back() == '}', "a record is one object");
  const Json read = Json::parse(record, nullptr, false);
  EPHOR_PROMISE(read.is_object(), "a taken record is JSON");
  EPHOR_PROMISE(read.at("id").is_string() && read.at("source").is_string(), "it has its identity");
  const auto data = read.find("data");
  EPHOR_PROMISE((data != read.end()) == (event.data_offset < record.size()),
                "data is there if the offset says so");
  if (data == read.end()) return;
  std::istringstream from_offset{std::string(record.substr(event.data_offset))};
  Json there;
  from_offset >> there;  // one value; what follows is not looked at
  EPHOR_PROMISE(there == *data, "the offset is that of data");
  EPHOR_PROMISE(static_cast<std::size_t>(from_offset.tellg()) <= record.size() - event.data_offset,
                "data ends in its record");
}

void check_round_trip(const Batch& batch, Describer& describer) {
  const EncodedBatch encoded = encode_batch(batch);
  StoredBatch stored;
  decode_body(encoded.codec, encoded.body, encoded.count, encoded.record_bytes, stored);
  EPHOR_PROMISE(decode_ids(encoded.codec, encoded.ids, encoded.body, encoded.count,
                           encoded.record_bytes) == batch.ids,
                "ids come back");
  EPHOR_PROMISE(stored.records.size() == batch.events.size(), "all records come back");
  for (std::size_t i = 0; i < batch.events.size(); ++i) {
    const ephor_event& before = batch.events[i];
    const StoredRecord& kept = stored.records[i];
    const std::string_view record(before.record, before.record_length);
    EPHOR_PROMISE(stored.record(i) == record, "a record comes back");
    ephor_event after{};
    EPHOR_PROMISE(
        describer.redescribe(stored.record(i), {kept.time_ns, kept.encoding, kept.flags}, after),
        "a stored record is described again");
    after.record = before.record;
    EPHOR_PROMISE(std::memcmp(&before, &after, sizeof before) == 0, "as it was at first");
  }
}

void check_batch(const ArrivedBatch& arrived, std::uint32_t& records, House& at) {
  const Batch& batch = *arrived.batch;
  EPHOR_PROMISE(!batch.events.empty() && batch.events.size() <= kArrivedEventsMax,
                "no empty batch");
  EPHOR_PROMISE(batch.ids.size() == batch.events.size(), "an id for each event");
  EPHOR_PROMISE(std::is_sorted(batch.join_keys.begin(), batch.join_keys.end()) &&
                    std::adjacent_find(batch.join_keys.begin(), batch.join_keys.end()) ==
                        batch.join_keys.end(),
                "join keys are sorted and distinct");
  std::uint32_t next_event = 0;
  for (const RecordGroup& group : arrived.records) {
    EPHOR_PROMISE(group.first_event == next_event && group.event_count > 0 && group.line > 0,
                  "records follow each other");
    next_event += group.event_count;
  }
  EPHOR_PROMISE(next_event == batch.events.size(), "each event is of a record");
  records += static_cast<std::uint32_t>(arrived.records.size());
  for (const ephor_event& event : batch.events) {
    const std::string_view record(event.record, event.record_length);
    EPHOR_PROMISE(is_in(batch, record), "a record lies in its batch");
    EPHOR_PROMISE(!at.names.topics.name(event.topic).empty(), "a topic has a name");
    EPHOR_PROMISE(event.sequence == 0, "only the journal gives sequences");
    EPHOR_PROMISE(event.time_ns <= kArrivedNs + at.door.config().future_skew_ns, "no far future");
    check_record(record, event);
  }
  check_round_trip(batch, *at.describer);
}

std::uint32_t admit(std::string_view body, std::uint32_t format, std::uint32_t first_line,
                    House& at) {
  Admission admission;
  admission.format = format;
  admission.arrived_ns = kArrivedNs;
  admission.first_line = first_line;
  admission.default_source = "fuzz";
  const Arrival arrival = at.door.admit(buffer_of(body), admission);
  std::uint32_t taken = 0;
  std::uint32_t events = 0;
  for (const ArrivedBatch& arrived : arrival.batches) {
    check_batch(arrived, taken, at);
    events += static_cast<std::uint32_t>(arrived.batch->events.size());
  }
  EPHOR_PROMISE(arrival.event_count == events, "events are counted");
  EPHOR_PROMISE(arrival.record_count == taken + arrival.rejected_count, "none is lost or doubled");
  EPHOR_PROMISE(
      arrival.rejections.size() == std::min<std::size_t>(arrival.rejected_count, kRejectionsMax),
      "each rejection is told");
  for (const Rejection& rejection : arrival.rejections) {
    const std::string& pointer = rejection.json_pointer;
    EPHOR_PROMISE(rejection.line >= (format == EPHOR_FORMAT_LINES ? first_line : 1), "has a line");
    EPHOR_PROMISE(!rejection.reason.empty() && rejection.reason.size() < 4'000, "has a reason");
    EPHOR_PROMISE(pointer.size() <= kJsonPointerBytesMax && (pointer.empty() || pointer[0] == '/'),
                  "its pointer is one");
    // It goes out as JSON.
    EPHOR_PROMISE(!Json(rejection.reason).dump().empty() && !Json(pointer).dump().empty(), "UTF-8");
  }
  if (format == EPHOR_FORMAT_LINES) {
    EPHOR_PROMISE(arrival.record_count == lines_with_text(body), "each line is a record");
  }
  if (format == EPHOR_FORMAT_SINGLE) EPHOR_PROMISE(arrival.record_count == 1, "one is one");
  if (format == EPHOR_FORMAT_BATCH) {
    const Json whole =
        Json::parse(body.starts_with("\xEF\xBB\xBF") ? body.substr(3) : body, nullptr, false);
    if (whole.is_array() && arrival.rejected_count == 0) {
      EPHOR_PROMISE(arrival.record_count == whole.size(), "each element is a record");
    }
  }
  return arrival.record_count;
}

std::string inflated(std::string_view body) {
  GzipReader reader = GzipReader::of_memory(body);
  std::string out(kInflatedBytesMax, '\0');
  try {
    out.resize(reader.read(out.data(), out.size()));
  } catch (const HostError& error) {
    EPHOR_PROMISE(error.status() == EPHOR_INVALID, "broken gzip is the sender's fault");
    out.clear();
  }
  return out;
}

void admit_chunks(std::string_view body, House& at) {
  GzipReader reader = GzipReader::of_memory(body);
  ChunkLimits limits{.lines_max = 3, .bytes_max = 512, .line_bytes_max = 4096};
  LineChunker chunker(reader, limits);
  std::uint32_t next_line = 1;
  std::size_t bytes = 0;
  try {
    while (std::optional<LineChunk> chunk = chunker.next()) {
      EPHOR_PROMISE(chunk->first_line >= next_line, "lines are counted on");
      EPHOR_PROMISE(chunk->line_count <= limits.lines_max, "a chunk has its bound");
      next_line = chunk->first_line + chunk->line_count;
      bytes += chunk->body.size();
      admit(chunk->body.view(), EPHOR_FORMAT_LINES, chunk->first_line, at);
      if (bytes > kInflatedBytesMax) return;
    }
  } catch (const HostError& error) {
    EPHOR_PROMISE(error.status() == EPHOR_INVALID, "broken gzip is the sender's fault");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ephor::fuzz::Input input(data, size);
  const std::uint64_t choice = input.number(1);
  House& at = house((choice & 16) != 0);
  try {
    if ((choice & 8) != 0) {
      admit_chunks(input.rest(), at);
      return 0;
    }
    std::string body(input.rest());
    if ((choice & 4) != 0) body = inflated(body);
    admit(body, static_cast<std::uint32_t>(choice & 3), 1, at);
  } catch (const std::exception& failure) {
    ephor::fuzz::broken(__FILE__, __LINE__,
                        std::string("no exception comes out: ") + failure.what());
  }
  return 0;
}
