// SPDX-License-Identifier: Apache-2.0
#include "isolation/wire.hpp"

#include <ephor/plugin.hpp>

#include <cstring>

namespace ephor::host::isolation {

std::string_view name_of(Method method) {
  switch (method) {
    case Method::none:
      return "none";
    case Method::create:
      return "create";
    case Method::start:
      return "start";
    case Method::drain:
      return "drain";
    case Method::stop:
      return "stop";
    case Method::destroy:
      return "destroy";
    case Method::load:
      return "load";
    case Method::save:
      return "save";
    case Method::query:
      return "query";
    case Method::command:
      return "command";
    case Method::on_events:
      return "on_events";
    default:
      return "a call of the host";
  }
}

std::string encoded(const Reply& reply) {
  std::string bytes;
  bytes.reserve(reply.body.size() + reply.message.size() + reply.json_pointer.size() + 24);
  StateWriter(bytes)
      .u32(static_cast<std::uint32_t>(reply.status))
      .text(reply.message)
      .text(reply.json_pointer)
      .raw(reply.body);
  return bytes;
}

Reply decoded_reply(std::string_view bytes) {
  StateReader in(bytes);
  Reply out;
  out.status = static_cast<ephor_status>(in.u32());
  out.message = in.text();
  out.json_pointer = in.text();
  out.body = in.raw(in.remaining());
  return out;
}

ephor_status given(const Reply& reply, ephor_error* error) {
  if (reply.status == EPHOR_OK || reply.status == EPHOR_PENDING) return reply.status;
  return store_error(error, reply.status, reply.message, reply.json_pointer);
}

void put_cells(StateWriter& out, const ephor_cell* cells, std::uint32_t count) {
  out.varint(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const ephor_cell& cell = cells[i];
    if (cell.kind > EPHOR_CELL_BLOB) {
      throw Error(EPHOR_INVALID, "cell " + std::to_string(i) + ": found kind " +
                                     std::to_string(cell.kind) + ", expected 0 to 5");
    }
    out.varint(cell.kind);
    if (cell.kind == EPHOR_CELL_NULL) continue;
    if (cell.kind == EPHOR_CELL_INTEGER) {
      out.i64(cell.integer);
    } else if (cell.kind == EPHOR_CELL_REAL) {
      out.f64(cell.real);
    } else {
      out.bytes(to_text(cell.bytes));
    }
  }
}

std::vector<ephor_cell> take_cells(StateReader& in) {
  std::vector<ephor_cell> out(in.count());
  for (ephor_cell& cell : out) {
    cell = {static_cast<std::uint32_t>(in.varint()), 0, 0, 0.0, {nullptr, 0}};
    if (cell.kind == EPHOR_CELL_NULL) continue;
    if (cell.kind == EPHOR_CELL_INTEGER) {
      cell.integer = in.i64();
    } else if (cell.kind == EPHOR_CELL_REAL) {
      cell.real = in.f64();
    } else {
      cell.bytes = to_view(in.bytes());
    }
  }
  return out;
}

void put_event(StateWriter& out, const ephor_event& event) {
  ephor_event plain = event;
  plain.record = nullptr;  // an address says nothing on the other side
  out.raw({reinterpret_cast<const char*>(&plain), sizeof plain});
  out.raw({event.record, event.record_length});
}

ephor_event take_event(StateReader& in) {
  ephor_event event;
  std::memcpy(&event, in.raw(sizeof event).data(), sizeof event);
  event.record = in.raw(event.record_length).data();
  event.data_offset = std::min(event.data_offset, event.record_length);
  return event;
}

void put_draft(StateWriter& out, const ephor_draft& draft) {
  out.text(to_text(draft.topic)).text(to_text(draft.data_json));
  out.u64(draft.cause_sequence).text(to_text(draft.correlation_id));
  out.raw({reinterpret_cast<const char*>(draft.trace_id), sizeof draft.trace_id});
}

ephor_draft take_draft(StateReader& in) {
  ephor_draft draft{};
  draft.struct_size = sizeof draft;
  draft.topic = to_view(in.view());
  draft.data_json = to_view(in.view());
  draft.cause_sequence = in.u64();
  draft.correlation_id = to_view(in.view());
  std::memcpy(draft.trace_id, in.raw(sizeof draft.trace_id).data(), sizeof draft.trace_id);
  return draft;
}

}  // namespace ephor::host::isolation
