// SPDX-License-Identifier: Apache-2.0
//
// Golden sizes and offsets of the ABI on 64-bit targets, written down by hand before the
// specification existed: the second way of computing what golden_1_0.h is generated from.
#include <ephor/abi.h>
#include <ephor/abi_sizes.hpp>

#include <cstddef>
#include <type_traits>

#include "abi/golden_1_0.h"
#include "support/catch.hpp"

static_assert(sizeof(void*) == 8, "these figures are of 64-bit targets");

// The event is frozen.
static_assert(sizeof(ephor_event) == 64);
static_assert(alignof(ephor_event) == 8);
static_assert(offsetof(ephor_event, sequence) == 0);
static_assert(offsetof(ephor_event, time_ns) == 8);
static_assert(offsetof(ephor_event, trace_id) == 16);
static_assert(offsetof(ephor_event, correlation) == 32);
static_assert(offsetof(ephor_event, record) == 40);
static_assert(offsetof(ephor_event, record_length) == 48);
static_assert(offsetof(ephor_event, data_offset) == 52);
static_assert(offsetof(ephor_event, source) == 56);
static_assert(offsetof(ephor_event, topic) == 60);
static_assert(offsetof(ephor_event, encoding) == 62);
static_assert(offsetof(ephor_event, flags) == 63);

static_assert(sizeof(ephor_view) == 16 && offsetof(ephor_view, size) == 8);
static_assert(sizeof(ephor_error) == 1024 && offsetof(ephor_error, message) == 8 &&
              offsetof(ephor_error, json_pointer) == 768);
static_assert(sizeof(ephor_writer) == 24 && offsetof(ephor_writer, write) == 16);
static_assert(sizeof(ephor_cell) == 40 && offsetof(ephor_cell, integer) == 8 &&
              offsetof(ephor_cell, real) == 16 && offsetof(ephor_cell, bytes) == 24);
static_assert(sizeof(ephor_draft) == 80 && offsetof(ephor_draft, topic) == 8 &&
              offsetof(ephor_draft, data_json) == 24 &&
              offsetof(ephor_draft, cause_sequence) == 40 &&
              offsetof(ephor_draft, correlation_id) == 48 && offsetof(ephor_draft, trace_id) == 64);
static_assert(sizeof(ephor_subscription) == 40 && offsetof(ephor_subscription, patterns) == 8 &&
              offsetof(ephor_subscription, pattern_count) == 16 &&
              offsetof(ephor_subscription, key) == 24);
static_assert(EPHOR_POLICY_REPLAY == 0 && EPHOR_POLICY_DROP_OLDEST == 1 &&
              EPHOR_POLICY_LATEST == 2);

// The core tables are frozen; extensions grow by appending.
static_assert(sizeof(ephor_host) == 72 && offsetof(ephor_host, abi_major) == 4 &&
              offsetof(ephor_host, context) == 8 && offsetof(ephor_host, get_extension) == 16 &&
              offsetof(ephor_host, subscribe) == 24 && offsetof(ephor_host, publish) == 32 &&
              offsetof(ephor_host, topic_id) == 40 && offsetof(ephor_host, topic_name) == 48 &&
              offsetof(ephor_host, source_name) == 56 && offsetof(ephor_host, render_json) == 64);
static_assert(sizeof(ephor_plugin) == 64 && offsetof(ephor_plugin, self) == 8 &&
              offsetof(ephor_plugin, start) == 16 && offsetof(ephor_plugin, on_events) == 24 &&
              offsetof(ephor_plugin, drain) == 32 && offsetof(ephor_plugin, stop) == 40 &&
              offsetof(ephor_plugin, destroy) == 48 && offsetof(ephor_plugin, get_extension) == 56);
static_assert(sizeof(ephor_plugin_info) == 104 && offsetof(ephor_plugin_info, id) == 8 &&
              offsetof(ephor_plugin_info, config_schema) == 56 &&
              offsetof(ephor_plugin_info, required_count) == 88 &&
              offsetof(ephor_plugin_info, create) == 96);
static_assert(sizeof(ephor_entry) == 24 && offsetof(ephor_entry, abi_major) == 8 &&
              offsetof(ephor_entry, info_count) == 14 && offsetof(ephor_entry, infos) == 16);
static_assert(sizeof(ephor_checkpoint) == 24 && sizeof(ephor_rows) == 32);
static_assert(sizeof(ephor_reply) == 40 && offsetof(ephor_reply, deadline_ns) == 32);
static_assert(sizeof(ephor_http_route) == 136 && sizeof(ephor_rejection) == 40);
static_assert(sizeof(ephor_ingest_result) == 32 &&
              offsetof(ephor_ingest_result, last_sequence) == 24);

// The signatures a binary was built against.
static_assert(std::is_same_v<decltype(ephor_plugin::on_events),
                             ephor_status (*)(void*, const ephor_event*, uint32_t, ephor_error*)>);
static_assert(std::is_same_v<decltype(ephor_plugin_info::create),
                             ephor_status (*)(const ephor_host*, ephor_view, ephor_view,
                                              ephor_plugin*, ephor_error*)>);
static_assert(std::is_same_v<ephor_entry_function, const ephor_entry* (*)()>);

TEST_CASE("abi: status numbers keep their meaning", "[abi]") {
  CHECK(EPHOR_OK == 0);
  CHECK(EPHOR_PENDING == 1);
  CHECK(EPHOR_INVALID == 2);
  CHECK(EPHOR_NOT_FOUND == 3);
  CHECK(EPHOR_STATE == 4);
  CHECK(EPHOR_UNSUPPORTED == 5);
  CHECK(EPHOR_FULL == 6);
  CHECK(EPHOR_TIMEOUT == 7);
  CHECK(EPHOR_IO == 8);
  CHECK(EPHOR_DENIED == 9);
  CHECK(EPHOR_CONFLICT == 10);
  CHECK(EPHOR_INTERNAL == 11);
}

// What no side may fall short of is what 1.0 was released with: today, all of it.
static_assert(ephor::least_size<ephor_error> == 1024 && ephor::least_size<ephor_writer> == 24 &&
              ephor::least_size<ephor_draft> == 80 && ephor::least_size<ephor_subscription> == 40 &&
              ephor::least_size<ephor_host> == 72 && ephor::least_size<ephor_plugin> == 64 &&
              ephor::least_size<ephor_plugin_info> == 104 && ephor::least_size<ephor_entry> == 24 &&
              ephor::least_size<ephor_reply> == 40 && ephor::least_size<ephor_http_route> == 136 &&
              ephor::least_size<ephor_checkpoint> == 24 &&
              ephor::least_size<ephor_ingest_result> == 32);

TEST_CASE("abi: EPHOR_HAS tells whether an older struct has a field", "[abi]") {
  ephor_http_route route{};
  route.struct_size = offsetof(ephor_http_route, content_type);
  CHECK(EPHOR_HAS(&route, ephor_http_route, response_schema));
  CHECK_FALSE(EPHOR_HAS(&route, ephor_http_route, content_type));
  route.struct_size = sizeof route;
  CHECK(EPHOR_HAS(&route, ephor_http_route, content_type));
}
