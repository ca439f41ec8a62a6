// SPDX-License-Identifier: Apache-2.0
//
// How a chunk of summaries lies in its row: column by column, because neighbours in a column are
// alike. Stored: a change of it needs another kFormat, and the old one stays readable.
#include <algorithm>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>

#include "packing.hpp"
#include "trace_summary.hpp"

namespace ephor::tracer {
namespace {

constexpr std::uint8_t kFormat = 1;
constexpr int kLevel = 3;
constexpr std::size_t kPlainBytesMax = 64U << 20;

template <typename Traces, typename Write>
void column(Traces& traces, Write&& write) {
  for (auto& trace : traces) write(trace);
}

void check_place(std::uint64_t place, std::size_t count) {
  if (place < count || place == TraceSummary::kNoOperation) return;
  throw Error(EPHOR_INVALID, "trace_summary: found operation " + std::to_string(place) +
                                 ", expected one below " + std::to_string(count));
}

}  // namespace

std::string TraceChunk::encode() const {
  std::string plain;
  StateWriter out(plain);
  out.u8(kFormat).varint(operations_.size());
  for (const OperationName& name : operations_) {
    out.text(name.service).text(name.component).text(name.operation);
  }
  out.varint(traces_.size());
  using Summary = const TraceSummary;
  column(traces_, [&](Summary& t) { out.u8(static_cast<std::uint8_t>(t.number % kTraces)); });
  std::int64_t previous = 0;
  column(traces_, [&](Summary& t) {
    out.signed_varint(t.start_ns - previous);
    previous = t.start_ns;
  });
  column(traces_, [&](Summary& t) { out.signed_varint(t.end_ns - t.start_ns); });
  column(traces_, [&](Summary& t) {
    out.signed_varint(t.root == TraceSummary::kNoOperation ? 0 : t.root_start_ns - t.start_ns);
  });
  column(traces_, [&](Summary& t) { out.varint(t.span_count); });
  column(traces_, [&](Summary& t) { out.varint(t.error_count); });
  column(traces_, [&](Summary& t) { out.varint(t.root); });
  column(traces_, [&](Summary& t) {
    out.u8(static_cast<std::uint8_t>(static_cast<unsigned>(t.verdict) << 5U |
                                     static_cast<unsigned>(t.reason) << 1U | (t.is_cut ? 1U : 0U)));
  });
  column(traces_, [&](Summary& t) { out.varint(t.operations.size()); });
  column(traces_, [&](Summary& t) {
    std::uint16_t last = 0;
    for (const std::uint16_t place : t.operations) {
      out.varint(static_cast<std::uint64_t>(place - last));
      last = place;
    }
  });
  column(traces_, [&](Summary& t) { out.text(t.ids); });
  column(traces_, [&](Summary& t) {
    out.raw({reinterpret_cast<const char*>(t.id.data()), t.id.size()});
  });
  return pack(plain, kLevel);
}

TraceChunk TraceChunk::decode(std::uint64_t number, std::string_view body) {
  const std::string plain = unpack(body, kPlainBytesMax);
  StateReader in(plain);
  TraceChunk chunk(number);
  if (const std::uint8_t format = in.u8(); format != kFormat) {
    throw Error(EPHOR_INVALID, "trace_summary: found format " + std::to_string(format) +
                                   ", expected " + std::to_string(kFormat));
  }
  for (std::size_t left = in.count(3); left > 0; --left) {
    OperationName& name = chunk.operations_.emplace_back();
    name.service = in.text();
    name.component = in.text();
    name.operation = in.text();
    chunk.operation_hashes_.push_back(hash64(name.operation) * 3 + hash64(name.component) * 5 +
                                      hash64(name.service));
  }
  const std::size_t count = in.count(16);
  if (count > kTraces) throw Error(EPHOR_INVALID, "trace_summary: found too many traces");
  auto& traces = chunk.traces_;
  traces.resize(count);
  std::int16_t slot = 0;
  column(traces, [&](TraceSummary& t) {
    const std::uint8_t offset = in.u8();
    t.number = number * kTraces + offset;
    chunk.slots_[offset] = slot++;
  });
  std::int64_t previous = 0;
  column(traces, [&](TraceSummary& t) { previous = t.start_ns = previous + in.signed_varint(); });
  column(traces, [&](TraceSummary& t) { t.end_ns = t.start_ns + in.signed_varint(); });
  column(traces, [&](TraceSummary& t) { t.root_start_ns = t.start_ns + in.signed_varint(); });
  column(traces, [&](TraceSummary& t) { t.span_count = static_cast<std::uint32_t>(in.varint()); });
  column(traces, [&](TraceSummary& t) { t.error_count = static_cast<std::uint32_t>(in.varint()); });
  column(traces, [&](TraceSummary& t) {
    const std::uint64_t root = in.varint();
    check_place(root, chunk.operations_.size());
    t.root = static_cast<std::uint16_t>(root);
  });
  column(traces, [&](TraceSummary& t) {
    const std::uint8_t flags = in.u8();
    t.verdict = static_cast<Verdict>(flags >> 5U);
    t.reason = static_cast<Reason>(flags >> 1U & 15U);
    t.is_cut = (flags & 1U) != 0;
  });
  column(traces, [&](TraceSummary& t) { t.operations.resize(in.count()); });
  column(traces, [&](TraceSummary& t) {
    std::uint64_t last = 0;
    for (std::uint16_t& place : t.operations) {
      last += in.varint();
      if (last >= chunk.operations_.size()) check_place(chunk.operations_.size(), 0);
      place = static_cast<std::uint16_t>(last);
    }
  });
  column(traces, [&](TraceSummary& t) {
    t.ids = in.text();
    t.for_each_id([&](const NamedId& id) {
      chunk.id_hashes_.push_back(static_cast<std::uint32_t>(hash64(id.text)));
    });
  });
  column(traces, [&](TraceSummary& t) {
    const std::string_view bytes = in.raw(t.id.size());
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(t.id.data()));
  });
  if (!in.at_end()) throw Error(EPHOR_INVALID, "trace_summary: found bytes behind the chunk");
  return chunk;
}

}  // namespace ephor::tracer
