/* SPDX-License-Identifier: Apache-2.0
 *
 * What binaries of ABI 1.0 were built against, on 64-bit targets: a line that no longer compiles
 * is a plugin that no longer works. Made of sdk/abi/ephor-1.0.toml by sdk/abi/generate.py. */
/* clang-format off */
#ifndef EPHOR_GOLDEN_1_0_H
#define EPHOR_GOLDEN_1_0_H

#include <ephor/abi.h>

#ifdef __cplusplus
#include <type_traits>
#define EPHOR_GOLDEN(condition, text) static_assert(condition, text)
#define EPHOR_GOLDEN_ALIGNMENT(type) alignof(type)
#define EPHOR_GOLDEN_SAME(type, field, golden) std::is_same<decltype(type::field), golden>::value
#define EPHOR_GOLDEN_ALIAS(type, golden) std::is_same<type, golden>::value
constexpr bool ephor_golden_same_text(const char* one, const char* other) {
  return *one == *other && (*one == '\0' || ephor_golden_same_text(one + 1, other + 1));
}
#define EPHOR_GOLDEN_TEXT(text, golden) ephor_golden_same_text(text, golden)
#else
#define EPHOR_GOLDEN(condition, text) _Static_assert(condition, text)
#define EPHOR_GOLDEN_ALIGNMENT(type) _Alignof(type)
#define EPHOR_GOLDEN_SAME(type, field, golden) \
  _Generic(&((type*)0)->field, golden* : 1, default : 0)
#define EPHOR_GOLDEN_ALIAS(type, golden) _Generic((type*)0, golden* : 1, default : 0)
#define EPHOR_GOLDEN_TEXT(text, golden) (sizeof(text) == sizeof(golden)) /* C++ compares it whole */
#endif
#define EPHOR_GOLDEN_FIELD(type, field, at, bytes, golden)                                     \
  EPHOR_GOLDEN(offsetof(type, field) == (at), #type "." #field ": expected at offset " #at);   \
  EPHOR_GOLDEN(sizeof(((type*)0)->field) == (bytes), #type "." #field ": expected " #bytes " bytes"); \
  EPHOR_GOLDEN(EPHOR_GOLDEN_SAME(type, field, golden), #type "." #field ": another type or signature")
#define EPHOR_GOLDEN_STRUCT(type, bytes, alignment)                                            \
  EPHOR_GOLDEN(sizeof(type) == (bytes), #type ": expected " #bytes " bytes");                  \
  EPHOR_GOLDEN(EPHOR_GOLDEN_ALIGNMENT(type) == (alignment), #type ": expected alignment " #alignment)
#define EPHOR_GOLDEN_VALUE(name, value) EPHOR_GOLDEN((name) == (value), #name ": expected " #value)

EPHOR_GOLDEN(sizeof(void*) == 8, "these figures are of 64-bit targets");

EPHOR_GOLDEN_VALUE(EPHOR_ABI_MAJOR, 1);
EPHOR_GOLDEN(EPHOR_ABI_MINOR >= 0, "EPHOR_ABI_MINOR: expected at least 0");
EPHOR_GOLDEN_VALUE(EPHOR_ENTRY_MAGIC, 0x4550484Fu);
EPHOR_GOLDEN(EPHOR_GOLDEN_TEXT(EPHOR_ENTRY_SYMBOL, "ephor_plugin_entry_v1"), "EPHOR_ENTRY_SYMBOL");

/* basics */
EPHOR_GOLDEN_STRUCT(ephor_view, 16, 8);
typedef const char* golden_ephor_view_data;
EPHOR_GOLDEN_FIELD(ephor_view, data, 0, 8, golden_ephor_view_data);
typedef uint64_t golden_ephor_view_size;
EPHOR_GOLDEN_FIELD(ephor_view, size, 8, 8, golden_ephor_view_size);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_status, int32_t), "ephor_status: expected int32_t");
EPHOR_GOLDEN_VALUE(EPHOR_OK, 0);
EPHOR_GOLDEN_VALUE(EPHOR_PENDING, 1);
EPHOR_GOLDEN_VALUE(EPHOR_INVALID, 2);
EPHOR_GOLDEN_VALUE(EPHOR_NOT_FOUND, 3);
EPHOR_GOLDEN_VALUE(EPHOR_STATE, 4);
EPHOR_GOLDEN_VALUE(EPHOR_UNSUPPORTED, 5);
EPHOR_GOLDEN_VALUE(EPHOR_FULL, 6);
EPHOR_GOLDEN_VALUE(EPHOR_TIMEOUT, 7);
EPHOR_GOLDEN_VALUE(EPHOR_IO, 8);
EPHOR_GOLDEN_VALUE(EPHOR_DENIED, 9);
EPHOR_GOLDEN_VALUE(EPHOR_CONFLICT, 10);
EPHOR_GOLDEN_VALUE(EPHOR_INTERNAL, 11);
EPHOR_GOLDEN_STRUCT(ephor_error, 1024, 4);
typedef uint32_t golden_ephor_error_struct_size;
EPHOR_GOLDEN_FIELD(ephor_error, struct_size, 0, 4, golden_ephor_error_struct_size);
typedef ephor_status golden_ephor_error_code;
EPHOR_GOLDEN_FIELD(ephor_error, code, 4, 4, golden_ephor_error_code);
typedef char golden_ephor_error_message[760];
EPHOR_GOLDEN_FIELD(ephor_error, message, 8, 760, golden_ephor_error_message);
typedef char golden_ephor_error_json_pointer[256];
EPHOR_GOLDEN_FIELD(ephor_error, json_pointer, 768, 256, golden_ephor_error_json_pointer);
EPHOR_GOLDEN_STRUCT(ephor_writer, 24, 8);
typedef uint32_t golden_ephor_writer_struct_size;
EPHOR_GOLDEN_FIELD(ephor_writer, struct_size, 0, 4, golden_ephor_writer_struct_size);
typedef uint32_t golden_ephor_writer_reserved;
EPHOR_GOLDEN_FIELD(ephor_writer, reserved, 4, 4, golden_ephor_writer_reserved);
typedef void* golden_ephor_writer_context;
EPHOR_GOLDEN_FIELD(ephor_writer, context, 8, 8, golden_ephor_writer_context);
typedef ephor_status (*golden_ephor_writer_write)(void* context, ephor_view bytes);
EPHOR_GOLDEN_FIELD(ephor_writer, write, 16, 8, golden_ephor_writer_write);

/* the event */
EPHOR_GOLDEN_VALUE(EPHOR_ENCODING_JSON, 0);
EPHOR_GOLDEN_VALUE(EPHOR_ENCODING_OTLP, 1);
EPHOR_GOLDEN_VALUE(EPHOR_EVENT_LATE, 0x01u);
EPHOR_GOLDEN_VALUE(EPHOR_EVENT_TIME_ARRIVAL, 0x02u);
EPHOR_GOLDEN_VALUE(EPHOR_EVENT_TIME_CLAMPED, 0x04u);
EPHOR_GOLDEN_VALUE(EPHOR_EVENT_TIME_NAIVE, 0x08u);
EPHOR_GOLDEN_VALUE(EPHOR_EVENT_DERIVED, 0x10u);
EPHOR_GOLDEN_VALUE(EPHOR_EVENT_HOST, 0x20u);
EPHOR_GOLDEN_STRUCT(ephor_event, 64, 8);
typedef uint64_t golden_ephor_event_sequence;
EPHOR_GOLDEN_FIELD(ephor_event, sequence, 0, 8, golden_ephor_event_sequence);
typedef int64_t golden_ephor_event_time_ns;
EPHOR_GOLDEN_FIELD(ephor_event, time_ns, 8, 8, golden_ephor_event_time_ns);
typedef uint8_t golden_ephor_event_trace_id[16];
EPHOR_GOLDEN_FIELD(ephor_event, trace_id, 16, 16, golden_ephor_event_trace_id);
typedef uint64_t golden_ephor_event_correlation;
EPHOR_GOLDEN_FIELD(ephor_event, correlation, 32, 8, golden_ephor_event_correlation);
typedef const char* golden_ephor_event_record;
EPHOR_GOLDEN_FIELD(ephor_event, record, 40, 8, golden_ephor_event_record);
typedef uint32_t golden_ephor_event_record_length;
EPHOR_GOLDEN_FIELD(ephor_event, record_length, 48, 4, golden_ephor_event_record_length);
typedef uint32_t golden_ephor_event_data_offset;
EPHOR_GOLDEN_FIELD(ephor_event, data_offset, 52, 4, golden_ephor_event_data_offset);
typedef uint32_t golden_ephor_event_source;
EPHOR_GOLDEN_FIELD(ephor_event, source, 56, 4, golden_ephor_event_source);
typedef uint16_t golden_ephor_event_topic;
EPHOR_GOLDEN_FIELD(ephor_event, topic, 60, 2, golden_ephor_event_topic);
typedef uint8_t golden_ephor_event_encoding;
EPHOR_GOLDEN_FIELD(ephor_event, encoding, 62, 1, golden_ephor_event_encoding);
typedef uint8_t golden_ephor_event_flags;
EPHOR_GOLDEN_FIELD(ephor_event, flags, 63, 1, golden_ephor_event_flags);
EPHOR_GOLDEN_STRUCT(ephor_draft, 80, 8);
typedef uint32_t golden_ephor_draft_struct_size;
EPHOR_GOLDEN_FIELD(ephor_draft, struct_size, 0, 4, golden_ephor_draft_struct_size);
typedef uint32_t golden_ephor_draft_reserved;
EPHOR_GOLDEN_FIELD(ephor_draft, reserved, 4, 4, golden_ephor_draft_reserved);
typedef ephor_view golden_ephor_draft_topic;
EPHOR_GOLDEN_FIELD(ephor_draft, topic, 8, 16, golden_ephor_draft_topic);
typedef ephor_view golden_ephor_draft_data_json;
EPHOR_GOLDEN_FIELD(ephor_draft, data_json, 24, 16, golden_ephor_draft_data_json);
typedef uint64_t golden_ephor_draft_cause_sequence;
EPHOR_GOLDEN_FIELD(ephor_draft, cause_sequence, 40, 8, golden_ephor_draft_cause_sequence);
typedef ephor_view golden_ephor_draft_correlation_id;
EPHOR_GOLDEN_FIELD(ephor_draft, correlation_id, 48, 16, golden_ephor_draft_correlation_id);
typedef uint8_t golden_ephor_draft_trace_id[16];
EPHOR_GOLDEN_FIELD(ephor_draft, trace_id, 64, 16, golden_ephor_draft_trace_id);

/* what the host gives a plugin */
EPHOR_GOLDEN_VALUE(EPHOR_POLICY_REPLAY, 0);
EPHOR_GOLDEN_VALUE(EPHOR_POLICY_DROP_OLDEST, 1);
EPHOR_GOLDEN_VALUE(EPHOR_POLICY_LATEST, 2);
EPHOR_GOLDEN_STRUCT(ephor_subscription, 40, 8);
typedef uint32_t golden_ephor_subscription_struct_size;
EPHOR_GOLDEN_FIELD(ephor_subscription, struct_size, 0, 4, golden_ephor_subscription_struct_size);
typedef uint32_t golden_ephor_subscription_policy;
EPHOR_GOLDEN_FIELD(ephor_subscription, policy, 4, 4, golden_ephor_subscription_policy);
typedef const ephor_view* golden_ephor_subscription_patterns;
EPHOR_GOLDEN_FIELD(ephor_subscription, patterns, 8, 8, golden_ephor_subscription_patterns);
typedef uint32_t golden_ephor_subscription_pattern_count;
EPHOR_GOLDEN_FIELD(ephor_subscription, pattern_count, 16, 4, golden_ephor_subscription_pattern_count);
typedef uint32_t golden_ephor_subscription_reserved;
EPHOR_GOLDEN_FIELD(ephor_subscription, reserved, 20, 4, golden_ephor_subscription_reserved);
typedef ephor_view golden_ephor_subscription_key;
EPHOR_GOLDEN_FIELD(ephor_subscription, key, 24, 16, golden_ephor_subscription_key);
EPHOR_GOLDEN_STRUCT(ephor_host, 72, 8);
typedef uint32_t golden_ephor_host_struct_size;
EPHOR_GOLDEN_FIELD(ephor_host, struct_size, 0, 4, golden_ephor_host_struct_size);
typedef uint16_t golden_ephor_host_abi_major;
EPHOR_GOLDEN_FIELD(ephor_host, abi_major, 4, 2, golden_ephor_host_abi_major);
typedef uint16_t golden_ephor_host_abi_minor;
EPHOR_GOLDEN_FIELD(ephor_host, abi_minor, 6, 2, golden_ephor_host_abi_minor);
typedef void* golden_ephor_host_context;
EPHOR_GOLDEN_FIELD(ephor_host, context, 8, 8, golden_ephor_host_context);
typedef const void* (*golden_ephor_host_get_extension)(void* context, ephor_view id);
EPHOR_GOLDEN_FIELD(ephor_host, get_extension, 16, 8, golden_ephor_host_get_extension);
typedef ephor_status (*golden_ephor_host_subscribe)(void* context, const ephor_subscription* subscription, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_host, subscribe, 24, 8, golden_ephor_host_subscribe);
typedef ephor_status (*golden_ephor_host_publish)(void* context, const ephor_draft* drafts, uint32_t count, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_host, publish, 32, 8, golden_ephor_host_publish);
typedef ephor_status (*golden_ephor_host_topic_id)(void* context, ephor_view name, uint16_t* topic, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_host, topic_id, 40, 8, golden_ephor_host_topic_id);
typedef ephor_view (*golden_ephor_host_topic_name)(void* context, uint16_t topic);
EPHOR_GOLDEN_FIELD(ephor_host, topic_name, 48, 8, golden_ephor_host_topic_name);
typedef ephor_view (*golden_ephor_host_source_name)(void* context, uint32_t source);
EPHOR_GOLDEN_FIELD(ephor_host, source_name, 56, 8, golden_ephor_host_source_name);
typedef ephor_status (*golden_ephor_host_render_json)(void* context, const ephor_event* event, ephor_writer* out, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_host, render_json, 64, 8, golden_ephor_host_render_json);

/* what a plugin gives the host */
EPHOR_GOLDEN_STRUCT(ephor_plugin, 64, 8);
typedef uint32_t golden_ephor_plugin_struct_size;
EPHOR_GOLDEN_FIELD(ephor_plugin, struct_size, 0, 4, golden_ephor_plugin_struct_size);
typedef uint32_t golden_ephor_plugin_reserved;
EPHOR_GOLDEN_FIELD(ephor_plugin, reserved, 4, 4, golden_ephor_plugin_reserved);
typedef void* golden_ephor_plugin_self;
EPHOR_GOLDEN_FIELD(ephor_plugin, self, 8, 8, golden_ephor_plugin_self);
typedef ephor_status (*golden_ephor_plugin_start)(void* self, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_plugin, start, 16, 8, golden_ephor_plugin_start);
typedef ephor_status (*golden_ephor_plugin_on_events)(void* self, const ephor_event* events, uint32_t count, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_plugin, on_events, 24, 8, golden_ephor_plugin_on_events);
typedef ephor_status (*golden_ephor_plugin_drain)(void* self, int64_t deadline_ns, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_plugin, drain, 32, 8, golden_ephor_plugin_drain);
typedef ephor_status (*golden_ephor_plugin_stop)(void* self, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_plugin, stop, 40, 8, golden_ephor_plugin_stop);
typedef void (*golden_ephor_plugin_destroy)(void* self);
EPHOR_GOLDEN_FIELD(ephor_plugin, destroy, 48, 8, golden_ephor_plugin_destroy);
typedef const void* (*golden_ephor_plugin_get_extension)(void* self, ephor_view id);
EPHOR_GOLDEN_FIELD(ephor_plugin, get_extension, 56, 8, golden_ephor_plugin_get_extension);
EPHOR_GOLDEN_VALUE(EPHOR_CAP_CONCURRENT_QUERY, 0x01u);
EPHOR_GOLDEN_VALUE(EPHOR_CAP_SOURCE, 0x02u);
EPHOR_GOLDEN_STRUCT(ephor_plugin_info, 104, 8);
typedef uint32_t golden_ephor_plugin_info_struct_size;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, struct_size, 0, 4, golden_ephor_plugin_info_struct_size);
typedef uint32_t golden_ephor_plugin_info_capabilities;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, capabilities, 4, 4, golden_ephor_plugin_info_capabilities);
typedef ephor_view golden_ephor_plugin_info_id;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, id, 8, 16, golden_ephor_plugin_info_id);
typedef ephor_view golden_ephor_plugin_info_version;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, version, 24, 16, golden_ephor_plugin_info_version);
typedef ephor_view golden_ephor_plugin_info_summary;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, summary, 40, 16, golden_ephor_plugin_info_summary);
typedef ephor_view golden_ephor_plugin_info_config_schema;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, config_schema, 56, 16, golden_ephor_plugin_info_config_schema);
typedef const ephor_view* golden_ephor_plugin_info_required_extensions;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, required_extensions, 72, 8, golden_ephor_plugin_info_required_extensions);
typedef const ephor_view* golden_ephor_plugin_info_optional_extensions;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, optional_extensions, 80, 8, golden_ephor_plugin_info_optional_extensions);
typedef uint32_t golden_ephor_plugin_info_required_count;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, required_count, 88, 4, golden_ephor_plugin_info_required_count);
typedef uint32_t golden_ephor_plugin_info_optional_count;
EPHOR_GOLDEN_FIELD(ephor_plugin_info, optional_count, 92, 4, golden_ephor_plugin_info_optional_count);
typedef ephor_status (*golden_ephor_plugin_info_create)(const ephor_host* host, ephor_view instance, ephor_view config, ephor_plugin* out, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_plugin_info, create, 96, 8, golden_ephor_plugin_info_create);
EPHOR_GOLDEN_STRUCT(ephor_entry, 24, 8);
typedef uint32_t golden_ephor_entry_magic;
EPHOR_GOLDEN_FIELD(ephor_entry, magic, 0, 4, golden_ephor_entry_magic);
typedef uint32_t golden_ephor_entry_struct_size;
EPHOR_GOLDEN_FIELD(ephor_entry, struct_size, 4, 4, golden_ephor_entry_struct_size);
typedef uint16_t golden_ephor_entry_abi_major;
EPHOR_GOLDEN_FIELD(ephor_entry, abi_major, 8, 2, golden_ephor_entry_abi_major);
typedef uint16_t golden_ephor_entry_abi_minor_built;
EPHOR_GOLDEN_FIELD(ephor_entry, abi_minor_built, 10, 2, golden_ephor_entry_abi_minor_built);
typedef uint16_t golden_ephor_entry_abi_minor_required;
EPHOR_GOLDEN_FIELD(ephor_entry, abi_minor_required, 12, 2, golden_ephor_entry_abi_minor_required);
typedef uint16_t golden_ephor_entry_info_count;
EPHOR_GOLDEN_FIELD(ephor_entry, info_count, 14, 2, golden_ephor_entry_info_count);
typedef const ephor_plugin_info* const* golden_ephor_entry_infos;
EPHOR_GOLDEN_FIELD(ephor_entry, infos, 16, 8, golden_ephor_entry_infos);
typedef const ephor_entry* (*golden_ephor_entry_function)(void);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_entry_function, golden_ephor_entry_function), "ephor_entry_function: another signature");

/* ephor.query/1 */
EPHOR_GOLDEN_STRUCT(ephor_reply, 40, 8);
typedef uint32_t golden_ephor_reply_struct_size;
EPHOR_GOLDEN_FIELD(ephor_reply, struct_size, 0, 4, golden_ephor_reply_struct_size);
typedef uint32_t golden_ephor_reply_reserved;
EPHOR_GOLDEN_FIELD(ephor_reply, reserved, 4, 4, golden_ephor_reply_reserved);
typedef void* golden_ephor_reply_context;
EPHOR_GOLDEN_FIELD(ephor_reply, context, 8, 8, golden_ephor_reply_context);
typedef ephor_status (*golden_ephor_reply_write)(void* context, ephor_view bytes);
EPHOR_GOLDEN_FIELD(ephor_reply, write, 16, 8, golden_ephor_reply_write);
typedef void (*golden_ephor_reply_finish)(void* context, ephor_status status, const ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_reply, finish, 24, 8, golden_ephor_reply_finish);
typedef int64_t golden_ephor_reply_deadline_ns;
EPHOR_GOLDEN_FIELD(ephor_reply, deadline_ns, 32, 8, golden_ephor_reply_deadline_ns);
typedef ephor_status (*golden_ephor_query_handler)(void* user, ephor_view request, ephor_reply* reply, ephor_error* error);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_query_handler, golden_ephor_query_handler), "ephor_query_handler: another signature");
EPHOR_GOLDEN_STRUCT(ephor_query, 40, 8);
typedef uint32_t golden_ephor_query_struct_size;
EPHOR_GOLDEN_FIELD(ephor_query, struct_size, 0, 4, golden_ephor_query_struct_size);
typedef uint32_t golden_ephor_query_reserved;
EPHOR_GOLDEN_FIELD(ephor_query, reserved, 4, 4, golden_ephor_query_reserved);
typedef void* golden_ephor_query_context;
EPHOR_GOLDEN_FIELD(ephor_query, context, 8, 8, golden_ephor_query_context);
typedef ephor_status (*golden_ephor_query_provide)(void* context, ephor_view name, ephor_view summary, ephor_query_handler handler, void* user, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_query, provide, 16, 8, golden_ephor_query_provide);
typedef ephor_status (*golden_ephor_query_call)(void* context, ephor_view name, ephor_view request, int64_t timeout_ns, uint64_t after_sequence, ephor_writer* answer, uint64_t* as_of_sequence, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_query, call, 24, 8, golden_ephor_query_call);
typedef ephor_status (*golden_ephor_query_list)(void* context, ephor_writer* out, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_query, list, 32, 8, golden_ephor_query_list);

/* ephor.http/1 */
EPHOR_GOLDEN_STRUCT(ephor_http_route, 136, 8);
typedef uint32_t golden_ephor_http_route_struct_size;
EPHOR_GOLDEN_FIELD(ephor_http_route, struct_size, 0, 4, golden_ephor_http_route_struct_size);
typedef uint32_t golden_ephor_http_route_reserved;
EPHOR_GOLDEN_FIELD(ephor_http_route, reserved, 4, 4, golden_ephor_http_route_reserved);
typedef ephor_view golden_ephor_http_route_method;
EPHOR_GOLDEN_FIELD(ephor_http_route, method, 8, 16, golden_ephor_http_route_method);
typedef ephor_view golden_ephor_http_route_path;
EPHOR_GOLDEN_FIELD(ephor_http_route, path, 24, 16, golden_ephor_http_route_path);
typedef ephor_view golden_ephor_http_route_query;
EPHOR_GOLDEN_FIELD(ephor_http_route, query, 40, 16, golden_ephor_http_route_query);
typedef ephor_view golden_ephor_http_route_scope;
EPHOR_GOLDEN_FIELD(ephor_http_route, scope, 56, 16, golden_ephor_http_route_scope);
typedef ephor_view golden_ephor_http_route_summary;
EPHOR_GOLDEN_FIELD(ephor_http_route, summary, 72, 16, golden_ephor_http_route_summary);
typedef ephor_view golden_ephor_http_route_request_schema;
EPHOR_GOLDEN_FIELD(ephor_http_route, request_schema, 88, 16, golden_ephor_http_route_request_schema);
typedef ephor_view golden_ephor_http_route_response_schema;
EPHOR_GOLDEN_FIELD(ephor_http_route, response_schema, 104, 16, golden_ephor_http_route_response_schema);
typedef ephor_view golden_ephor_http_route_content_type;
EPHOR_GOLDEN_FIELD(ephor_http_route, content_type, 120, 16, golden_ephor_http_route_content_type);
typedef void (*golden_ephor_http_visitor)(void* user, ephor_view instance, const ephor_http_route* route);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_http_visitor, golden_ephor_http_visitor), "ephor_http_visitor: another signature");
EPHOR_GOLDEN_STRUCT(ephor_http, 40, 8);
typedef uint32_t golden_ephor_http_struct_size;
EPHOR_GOLDEN_FIELD(ephor_http, struct_size, 0, 4, golden_ephor_http_struct_size);
typedef uint32_t golden_ephor_http_reserved;
EPHOR_GOLDEN_FIELD(ephor_http, reserved, 4, 4, golden_ephor_http_reserved);
typedef void* golden_ephor_http_context;
EPHOR_GOLDEN_FIELD(ephor_http, context, 8, 8, golden_ephor_http_context);
typedef ephor_status (*golden_ephor_http_add_route)(void* context, const ephor_http_route* route, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_http, add_route, 16, 8, golden_ephor_http_add_route);
typedef ephor_status (*golden_ephor_http_visit)(void* context, ephor_http_visitor visitor, void* user);
EPHOR_GOLDEN_FIELD(ephor_http, visit, 24, 8, golden_ephor_http_visit);
typedef uint64_t (*golden_ephor_http_generation)(void* context);
EPHOR_GOLDEN_FIELD(ephor_http, generation, 32, 8, golden_ephor_http_generation);

/* ephor.storage/1 */
EPHOR_GOLDEN_VALUE(EPHOR_CELL_NULL, 0);
EPHOR_GOLDEN_VALUE(EPHOR_CELL_INTEGER, 1);
EPHOR_GOLDEN_VALUE(EPHOR_CELL_REAL, 2);
EPHOR_GOLDEN_VALUE(EPHOR_CELL_TEXT, 3);
EPHOR_GOLDEN_VALUE(EPHOR_CELL_JSON, 4);
EPHOR_GOLDEN_VALUE(EPHOR_CELL_BLOB, 5);
EPHOR_GOLDEN_STRUCT(ephor_cell, 40, 8);
typedef uint32_t golden_ephor_cell_kind;
EPHOR_GOLDEN_FIELD(ephor_cell, kind, 0, 4, golden_ephor_cell_kind);
typedef uint32_t golden_ephor_cell_reserved;
EPHOR_GOLDEN_FIELD(ephor_cell, reserved, 4, 4, golden_ephor_cell_reserved);
typedef int64_t golden_ephor_cell_integer;
EPHOR_GOLDEN_FIELD(ephor_cell, integer, 8, 8, golden_ephor_cell_integer);
typedef double golden_ephor_cell_real;
EPHOR_GOLDEN_FIELD(ephor_cell, real, 16, 8, golden_ephor_cell_real);
typedef ephor_view golden_ephor_cell_bytes;
EPHOR_GOLDEN_FIELD(ephor_cell, bytes, 24, 16, golden_ephor_cell_bytes);
typedef ephor_status (*golden_ephor_row_visitor)(void* user, const ephor_cell* cells, uint32_t count);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_row_visitor, golden_ephor_row_visitor), "ephor_row_visitor: another signature");
EPHOR_GOLDEN_STRUCT(ephor_storage, 32, 8);
typedef uint32_t golden_ephor_storage_struct_size;
EPHOR_GOLDEN_FIELD(ephor_storage, struct_size, 0, 4, golden_ephor_storage_struct_size);
typedef uint32_t golden_ephor_storage_reserved;
EPHOR_GOLDEN_FIELD(ephor_storage, reserved, 4, 4, golden_ephor_storage_reserved);
typedef void* golden_ephor_storage_context;
EPHOR_GOLDEN_FIELD(ephor_storage, context, 8, 8, golden_ephor_storage_context);
typedef ephor_status (*golden_ephor_storage_declare)(void* context, ephor_view tables_json, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_storage, declare, 16, 8, golden_ephor_storage_declare);
typedef ephor_status (*golden_ephor_storage_select)(void* context, ephor_view sql, const ephor_cell* parameters, uint32_t parameter_count, ephor_row_visitor visitor, void* user, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_storage, select, 24, 8, golden_ephor_storage_select);
EPHOR_GOLDEN_STRUCT(ephor_rows, 32, 8);
typedef uint32_t golden_ephor_rows_struct_size;
EPHOR_GOLDEN_FIELD(ephor_rows, struct_size, 0, 4, golden_ephor_rows_struct_size);
typedef uint32_t golden_ephor_rows_reserved;
EPHOR_GOLDEN_FIELD(ephor_rows, reserved, 4, 4, golden_ephor_rows_reserved);
typedef void* golden_ephor_rows_context;
EPHOR_GOLDEN_FIELD(ephor_rows, context, 8, 8, golden_ephor_rows_context);
typedef ephor_status (*golden_ephor_rows_upsert)(void* context, ephor_view table, const ephor_cell* cells, uint32_t count, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_rows, upsert, 16, 8, golden_ephor_rows_upsert);
typedef ephor_status (*golden_ephor_rows_erase)(void* context, ephor_view table, const ephor_cell* key, uint32_t count, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_rows, erase, 24, 8, golden_ephor_rows_erase);
EPHOR_GOLDEN_STRUCT(ephor_checkpoint, 24, 8);
typedef uint32_t golden_ephor_checkpoint_struct_size;
EPHOR_GOLDEN_FIELD(ephor_checkpoint, struct_size, 0, 4, golden_ephor_checkpoint_struct_size);
typedef uint32_t golden_ephor_checkpoint_state_version;
EPHOR_GOLDEN_FIELD(ephor_checkpoint, state_version, 4, 4, golden_ephor_checkpoint_state_version);
typedef ephor_status (*golden_ephor_checkpoint_save)(void* self, const ephor_rows* rows, ephor_writer* state, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_checkpoint, save, 8, 8, golden_ephor_checkpoint_save);
typedef ephor_status (*golden_ephor_checkpoint_load)(void* self, uint32_t state_version, ephor_view state, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_checkpoint, load, 16, 8, golden_ephor_checkpoint_load);

/* ephor.journal/1 */
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_AUTO, 0);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_SINGLE, 1);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_BATCH, 2);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_LINES, 3);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_OTLP_TRACES, 4);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_OTLP_METRICS, 5);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_OTLP_LOGS, 6);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_OTLP_TRACES_JSON, 7);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_OTLP_METRICS_JSON, 8);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_OTLP_LOGS_JSON, 9);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_INFLUX_NS, 10);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_INFLUX_US, 11);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_INFLUX_MS, 12);
EPHOR_GOLDEN_VALUE(EPHOR_FORMAT_INFLUX_S, 13);
EPHOR_GOLDEN_STRUCT(ephor_rejection, 40, 8);
typedef uint32_t golden_ephor_rejection_struct_size;
EPHOR_GOLDEN_FIELD(ephor_rejection, struct_size, 0, 4, golden_ephor_rejection_struct_size);
typedef uint32_t golden_ephor_rejection_line;
EPHOR_GOLDEN_FIELD(ephor_rejection, line, 4, 4, golden_ephor_rejection_line);
typedef ephor_view golden_ephor_rejection_json_pointer;
EPHOR_GOLDEN_FIELD(ephor_rejection, json_pointer, 8, 16, golden_ephor_rejection_json_pointer);
typedef ephor_view golden_ephor_rejection_reason;
EPHOR_GOLDEN_FIELD(ephor_rejection, reason, 24, 16, golden_ephor_rejection_reason);
typedef void (*golden_ephor_rejection_visitor)(void* user, const ephor_rejection* rejection);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_rejection_visitor, golden_ephor_rejection_visitor), "ephor_rejection_visitor: another signature");
EPHOR_GOLDEN_STRUCT(ephor_ingest_result, 32, 8);
typedef uint32_t golden_ephor_ingest_result_struct_size;
EPHOR_GOLDEN_FIELD(ephor_ingest_result, struct_size, 0, 4, golden_ephor_ingest_result_struct_size);
typedef uint32_t golden_ephor_ingest_result_accepted;
EPHOR_GOLDEN_FIELD(ephor_ingest_result, accepted, 4, 4, golden_ephor_ingest_result_accepted);
typedef uint32_t golden_ephor_ingest_result_duplicate;
EPHOR_GOLDEN_FIELD(ephor_ingest_result, duplicate, 8, 4, golden_ephor_ingest_result_duplicate);
typedef uint32_t golden_ephor_ingest_result_rejected;
EPHOR_GOLDEN_FIELD(ephor_ingest_result, rejected, 12, 4, golden_ephor_ingest_result_rejected);
typedef uint32_t golden_ephor_ingest_result_events;
EPHOR_GOLDEN_FIELD(ephor_ingest_result, events, 16, 4, golden_ephor_ingest_result_events);
typedef uint32_t golden_ephor_ingest_result_reserved;
EPHOR_GOLDEN_FIELD(ephor_ingest_result, reserved, 20, 4, golden_ephor_ingest_result_reserved);
typedef uint64_t golden_ephor_ingest_result_last_sequence;
EPHOR_GOLDEN_FIELD(ephor_ingest_result, last_sequence, 24, 8, golden_ephor_ingest_result_last_sequence);
typedef struct ephor_buffer golden_ephor_buffer;
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_buffer, golden_ephor_buffer), "ephor_buffer");
typedef void (*golden_ephor_event_visitor)(void* user, const ephor_event* event);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_event_visitor, golden_ephor_event_visitor), "ephor_event_visitor: another signature");
EPHOR_GOLDEN_STRUCT(ephor_journal, 64, 8);
typedef uint32_t golden_ephor_journal_struct_size;
EPHOR_GOLDEN_FIELD(ephor_journal, struct_size, 0, 4, golden_ephor_journal_struct_size);
typedef uint32_t golden_ephor_journal_reserved;
EPHOR_GOLDEN_FIELD(ephor_journal, reserved, 4, 4, golden_ephor_journal_reserved);
typedef void* golden_ephor_journal_context;
EPHOR_GOLDEN_FIELD(ephor_journal, context, 8, 8, golden_ephor_journal_context);
typedef ephor_buffer* (*golden_ephor_journal_acquire)(void* context, uint64_t capacity, char** data);
EPHOR_GOLDEN_FIELD(ephor_journal, acquire, 16, 8, golden_ephor_journal_acquire);
typedef void (*golden_ephor_journal_release)(void* context, ephor_buffer* buffer);
EPHOR_GOLDEN_FIELD(ephor_journal, release, 24, 8, golden_ephor_journal_release);
typedef ephor_status (*golden_ephor_journal_ingest)(void* context, ephor_buffer* buffer, uint64_t size, uint32_t format, ephor_view default_source, ephor_rejection_visitor on_rejected, void* user, ephor_ingest_result* result, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_journal, ingest, 32, 8, golden_ephor_journal_ingest);
typedef ephor_status (*golden_ephor_journal_find)(void* context, ephor_view id, ephor_event_visitor visitor, void* user, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_journal, find, 40, 8, golden_ephor_journal_find);
typedef ephor_status (*golden_ephor_journal_read)(void* context, uint64_t from, ephor_view pattern, uint32_t limit, ephor_event_visitor visitor, void* user, uint64_t* next, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_journal, read, 48, 8, golden_ephor_journal_read);
typedef uint64_t (*golden_ephor_journal_last_sequence)(void* context);
EPHOR_GOLDEN_FIELD(ephor_journal, last_sequence, 56, 8, golden_ephor_journal_last_sequence);

/* ephor.command/1 */
typedef ephor_status (*golden_ephor_command_handler)(void* user, ephor_view arguments, ephor_writer* out, ephor_error* error);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_command_handler, golden_ephor_command_handler), "ephor_command_handler: another signature");
EPHOR_GOLDEN_STRUCT(ephor_command, 24, 8);
typedef uint32_t golden_ephor_command_struct_size;
EPHOR_GOLDEN_FIELD(ephor_command, struct_size, 0, 4, golden_ephor_command_struct_size);
typedef uint32_t golden_ephor_command_reserved;
EPHOR_GOLDEN_FIELD(ephor_command, reserved, 4, 4, golden_ephor_command_reserved);
typedef void* golden_ephor_command_context;
EPHOR_GOLDEN_FIELD(ephor_command, context, 8, 8, golden_ephor_command_context);
typedef ephor_status (*golden_ephor_command_provide)(void* context, ephor_view name, ephor_view summary, ephor_command_handler handler, void* user, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_command, provide, 16, 8, golden_ephor_command_provide);

/* ephor.metrics/1 */
EPHOR_GOLDEN_VALUE(EPHOR_METRIC_COUNTER, 0);
EPHOR_GOLDEN_VALUE(EPHOR_METRIC_GAUGE, 1);
EPHOR_GOLDEN_STRUCT(ephor_metrics, 48, 8);
typedef uint32_t golden_ephor_metrics_struct_size;
EPHOR_GOLDEN_FIELD(ephor_metrics, struct_size, 0, 4, golden_ephor_metrics_struct_size);
typedef uint32_t golden_ephor_metrics_reserved;
EPHOR_GOLDEN_FIELD(ephor_metrics, reserved, 4, 4, golden_ephor_metrics_reserved);
typedef void* golden_ephor_metrics_context;
EPHOR_GOLDEN_FIELD(ephor_metrics, context, 8, 8, golden_ephor_metrics_context);
typedef ephor_status (*golden_ephor_metrics_series)(void* context, uint32_t kind, ephor_view name, ephor_view help, ephor_view labels_json, uint64_t* series, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_metrics, series, 16, 8, golden_ephor_metrics_series);
typedef void (*golden_ephor_metrics_add)(void* context, uint64_t series, double amount);
EPHOR_GOLDEN_FIELD(ephor_metrics, add, 24, 8, golden_ephor_metrics_add);
typedef void (*golden_ephor_metrics_set)(void* context, uint64_t series, double value);
EPHOR_GOLDEN_FIELD(ephor_metrics, set, 32, 8, golden_ephor_metrics_set);
typedef ephor_status (*golden_ephor_metrics_render)(void* context, ephor_writer* out, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_metrics, render, 40, 8, golden_ephor_metrics_render);

/* ephor.log/1 */
EPHOR_GOLDEN_VALUE(EPHOR_LOG_TRACE, 0);
EPHOR_GOLDEN_VALUE(EPHOR_LOG_DEBUG, 1);
EPHOR_GOLDEN_VALUE(EPHOR_LOG_INFO, 2);
EPHOR_GOLDEN_VALUE(EPHOR_LOG_WARNING, 3);
EPHOR_GOLDEN_VALUE(EPHOR_LOG_ERROR, 4);
EPHOR_GOLDEN_STRUCT(ephor_log, 24, 8);
typedef uint32_t golden_ephor_log_struct_size;
EPHOR_GOLDEN_FIELD(ephor_log, struct_size, 0, 4, golden_ephor_log_struct_size);
typedef int32_t golden_ephor_log_level;
EPHOR_GOLDEN_FIELD(ephor_log, level, 4, 4, golden_ephor_log_level);
typedef void* golden_ephor_log_context;
EPHOR_GOLDEN_FIELD(ephor_log, context, 8, 8, golden_ephor_log_context);
typedef void (*golden_ephor_log_log)(void* context, int32_t level, ephor_view message);
EPHOR_GOLDEN_FIELD(ephor_log, log, 16, 8, golden_ephor_log_log);

/* ephor.health/1 */
EPHOR_GOLDEN_VALUE(EPHOR_HEALTH_OK, 0);
EPHOR_GOLDEN_VALUE(EPHOR_HEALTH_DEGRADED, 1);
EPHOR_GOLDEN_VALUE(EPHOR_HEALTH_FAILED, 2);
EPHOR_GOLDEN_STRUCT(ephor_health, 32, 8);
typedef uint32_t golden_ephor_health_struct_size;
EPHOR_GOLDEN_FIELD(ephor_health, struct_size, 0, 4, golden_ephor_health_struct_size);
typedef uint32_t golden_ephor_health_reserved;
EPHOR_GOLDEN_FIELD(ephor_health, reserved, 4, 4, golden_ephor_health_reserved);
typedef void* golden_ephor_health_context;
EPHOR_GOLDEN_FIELD(ephor_health, context, 8, 8, golden_ephor_health_context);
typedef void (*golden_ephor_health_report)(void* context, int32_t state, ephor_view reason);
EPHOR_GOLDEN_FIELD(ephor_health, report, 16, 8, golden_ephor_health_report);
typedef ephor_status (*golden_ephor_health_snapshot)(void* context, ephor_writer* out, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_health, snapshot, 24, 8, golden_ephor_health_snapshot);

/* ephor.task/1 */
typedef void (*golden_ephor_task_function)(void* user);
EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS(ephor_task_function, golden_ephor_task_function), "ephor_task_function: another signature");
EPHOR_GOLDEN_STRUCT(ephor_task, 24, 8);
typedef uint32_t golden_ephor_task_struct_size;
EPHOR_GOLDEN_FIELD(ephor_task, struct_size, 0, 4, golden_ephor_task_struct_size);
typedef uint32_t golden_ephor_task_reserved;
EPHOR_GOLDEN_FIELD(ephor_task, reserved, 4, 4, golden_ephor_task_reserved);
typedef void* golden_ephor_task_context;
EPHOR_GOLDEN_FIELD(ephor_task, context, 8, 8, golden_ephor_task_context);
typedef ephor_status (*golden_ephor_task_run)(void* context, ephor_task_function function, void* user, ephor_error* error);
EPHOR_GOLDEN_FIELD(ephor_task, run, 16, 8, golden_ephor_task_run);

#endif
