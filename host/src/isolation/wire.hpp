// SPDX-License-Identifier: Apache-2.0
//
// What host and runner say to each other over their socket. A frame is a header of 24 bytes and a
// body that <ephor/state.hpp> writes and reads: every length is checked, nothing is believed.
//
//   request  ->  "do this"; answered by one reply of the same call number
//   part     <-  of a result too long for one frame, visited by the caller; each is acknowledged
//   notice       nobody waits for it
//
// Both sides ask and answer, in any nesting: a call number belongs to whoever asked.
#pragma once

#include <ephor/abi.h>
#include <ephor/state.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/plugin_call.hpp"

namespace ephor::host::isolation {

// Host and runner are built together; a runner of another build is refused by it.
inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::uint32_t kFrameMagic = 0x45504852;  // "EPHR"
// The largest body a host takes (1 GiB) and what stands around it.
inline constexpr std::uint64_t kFrameBytesMax = (1ULL << 30) + (1ULL << 20);
inline constexpr std::uint64_t kBodyBytesMax = 1ULL << 30;
inline constexpr std::size_t kPartBytes = 256U << 10;  // a part is sent when it has grown to this

enum class FrameKind : std::uint16_t {
  request = 1,
  reply = 2,
  part = 3,
  acknowledge = 4,
  notice = 5,
};

enum class Method : std::uint16_t {
  none = 0,
  // host -> runner
  create = 1,
  start,
  drain,
  stop,
  destroy,
  load,
  save,
  query,
  command,
  on_events,  // goes through shared memory; the number names it where a call is spoken of
  // runner -> host
  subscribe = 32,
  publish,
  topic_id,
  topic_name,
  source_name,
  render_json,
  provide_query,
  call_query,
  list_queries,
  add_route,
  visit_routes,
  routes_generation,
  declare,
  select,
  ingest,
  find,
  read,
  last_sequence,
  provide_command,
  series,
  render_metrics,
  snapshot,
  // notices, runner -> host
  log = 64,
  health,
  metrics,
  query_finished,
};

std::string_view name_of(Method method);

struct FrameHeader {
  std::uint32_t magic = kFrameMagic;
  FrameKind kind = FrameKind::notice;
  Method method = Method::none;
  std::uint64_t call = 0;
  std::uint64_t size = 0;  // of the body
};
static_assert(sizeof(FrameHeader) == 24);

// How a call ended.
struct Reply {
  ephor_status status = EPHOR_OK;
  std::string message;
  std::string json_pointer;
  std::string body;
};

std::string encoded(const Reply& reply);
Reply decoded_reply(std::string_view bytes);  // throws ephor::Error

// Into the caller's error; returns the status.
ephor_status given(const Reply& reply, ephor_error* error);

// Runs `call(ephor_error*)`, which may throw, and keeps how it ended.
template <typename Call>
Reply replied(Call&& call) {
  ephor_error error = fresh_error();
  const ephor_status status = contained_call(error, [&] { return call(&error); });
  return {status, error.message, error.json_pointer, {}};
}

// ---- parts of bodies --------------------------------------------------------------------------

void put_cells(StateWriter& out, const ephor_cell* cells, std::uint32_t count);
// Views into what `in` reads.
std::vector<ephor_cell> take_cells(StateReader& in);

void put_event(StateWriter& out, const ephor_event& event);
// `record` points into what `in` reads; the caller sees to the slack behind it.
ephor_event take_event(StateReader& in);

void put_draft(StateWriter& out, const ephor_draft& draft);
ephor_draft take_draft(StateReader& in);

}  // namespace ephor::host::isolation
