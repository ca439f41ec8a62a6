/* SPDX-License-Identifier: Apache-2.0
 *
 * Ephor plugin ABI 1.0. Generated from sdk/abi/ephor-1.0.toml by sdk/abi/generate.py.
 *
 * One plain C table between the host and a plugin; C11, nothing but fixed-width integers, doubles,
 * views and function pointers. C++ authors include <ephor/plugin.hpp> instead. What is promised,
 * and what "frozen" and "draft" mean: docs/versioning.md.
 *
 * Rules that never change
 *  1. A struct that crosses starts with `struct_size`. Whoever fills the other side's struct writes
 *     min(both sizes) bytes and sets struct_size to that minimum. Fields are only ever appended; a
 *     struct shorter than the first release that had it is refused.
 *  2. Core tables are frozen; growth happens through extensions, "ephor.NAME/REVISION".
 *  3. Views are UTF-8 {data, size}, not NUL-terminated. A view that is passed in dies when the call
 *     returns unless its comment says otherwise; who keeps, copies.
 *  4. Nobody frees the other side's memory. Variable output goes through an ephor_writer.
 *  5. No exception, longjmp or C++ type crosses. A failure is a status and the call's own error.
 *  6. Unknown values, flags and extension ids are tolerated.
 *
 * Threads. Each function names where it may be called or is called:
 *   [control]   load, start, drain, stop: one call at a time
 *   [dispatch]  event delivery and checkpoints: one call at a time
 *   [query]     answering a query
 *   [any]       any thread
 * For one instance the host never runs two of [control] [dispatch] [query] at once, except queries
 * of a plugin that declares EPHOR_CAP_CONCURRENT_QUERY.
 */
#ifndef EPHOR_ABI_H
#define EPHOR_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EPHOR_ABI_MAJOR 1
#define EPHOR_ABI_MINOR 0
#define EPHOR_ENTRY_MAGIC 0x4550484Fu /* "EPHO" */
#define EPHOR_ENTRY_SYMBOL "ephor_plugin_entry_v1"

/* True if the struct behind `pointer` is large enough to hold `field`. */
#define EPHOR_HAS(pointer, type, field) \
  ((pointer)->struct_size >= offsetof(type, field) + sizeof((pointer)->field))

/* ---- basics (frozen) ------------------------------------------------------------------------- */

typedef struct ephor_view {
  const char* data;
  uint64_t size;
} ephor_view;

typedef int32_t ephor_status; /* a retired number is never used again */
#define EPHOR_OK 0
#define EPHOR_PENDING 1     /* the answer follows through the reply */
#define EPHOR_INVALID 2     /* bad argument, configuration or request */
#define EPHOR_NOT_FOUND 3   /* no such name, id or record */
#define EPHOR_STATE 4       /* not now: wrong phase of the life cycle, or the instance is stopped */
#define EPHOR_UNSUPPORTED 5 /* not in this host or plugin */
#define EPHOR_FULL 6        /* a bound is reached; try again later */
#define EPHOR_TIMEOUT 7     /* the deadline passed */
#define EPHOR_IO 8          /* disk, network or database */
#define EPHOR_DENIED 9      /* not allowed */
#define EPHOR_CONFLICT 10   /* the name is taken */
#define EPHOR_INTERNAL 11   /* an exception or a broken invariant on the callee's side */

/* The caller's buffer for one failure. The callee fills code, message and, where the failure is
 * about a value in a JSON document, its RFC 6901 pointer; both texts are NUL-terminated. */
typedef struct ephor_error {
  uint32_t struct_size;
  ephor_status code;
  char message[760];
  char json_pointer[256];
} ephor_error;

/* Output of variable size: `write` appends. The callee owns what it writes; the host copies. */
typedef struct ephor_writer {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [any] until the call it was passed to returns */
  ephor_status (*write)(void* context, ephor_view bytes);
} ephor_writer;

/* ---- the event (frozen) ---------------------------------------------------------------------- */

#define EPHOR_ENCODING_JSON 0 /* record: one CloudEvents 1.0 object; data: the member's value */
#define EPHOR_ENCODING_OTLP 1 /* record and data: one opentelemetry.proto.trace.v1.Span */

#define EPHOR_EVENT_LATE 0x01u         /* behind its source's watermark: order-free use only */
#define EPHOR_EVENT_TIME_ARRIVAL 0x02u /* it carried no time; time_ns is that of its arrival */
#define EPHOR_EVENT_TIME_CLAMPED 0x04u /* its time was too far in the future */
#define EPHOR_EVENT_TIME_NAIVE 0x08u   /* its time named no zone; the configured one was assumed */
#define EPHOR_EVENT_DERIVED 0x10u      /* published by a plugin because of another event */
#define EPHOR_EVENT_HOST 0x20u         /* made by the host: ticks, plugin states, flushes */

/* Frozen: 64 bytes. The record is followed by at least 64 readable bytes (SIMD parsers read past
 * the end). Everything behind `record` dies when the handler returns. */
typedef struct ephor_event {
  uint64_t sequence;    /* order in the log: (journal position << 16) | index in batch; not dense */
  int64_t time_ns;      /* event time, ns since the Unix epoch, UTC */
  uint8_t trace_id[16]; /* W3C trace id, all zero if none */
  uint64_t correlation; /* XXH3-64 (seed 0) of the correlation id's text, 0 if none */
  const char* record;   /* the whole record as it arrived */
  uint32_t record_length;
  uint32_t data_offset; /* where the data value starts in the record; = record_length if none */
  uint32_t source;      /* interned, see ephor_host.source_name */
  uint16_t topic;       /* interned, see ephor_host.topic_id */
  uint8_t encoding;     /* EPHOR_ENCODING_* */
  uint8_t flags;        /* EPHOR_EVENT_* */
} ephor_event;

/* An event to publish. The host writes the envelope, the id and, for a derived event, the time. */
typedef struct ephor_draft {
  uint32_t struct_size;
  uint32_t reserved;
  ephor_view topic;          /* dot path, e.g. "ephor.drift" */
  ephor_view data_json;      /* one JSON value */
  uint64_t cause_sequence;   /* the event of the current slice that led to this one */
  ephor_view correlation_id; /* empty: none */
  uint8_t trace_id[16];      /* all zero: none */
} ephor_draft;

/* ---- what the host gives a plugin (frozen) --------------------------------------------------- */

/* Overflow policies of a subscription. */
#define EPHOR_POLICY_REPLAY 0      /* lossless: a slow reader goes on from the journal */
#define EPHOR_POLICY_DROP_OLDEST 1 /* a slow reader skips ahead; the loss is counted */
#define EPHOR_POLICY_LATEST 2      /* a slow reader gets the newest event of each key; counted */

typedef struct ephor_subscription {
  uint32_t struct_size;
  uint32_t policy;
  const ephor_view* patterns; /* topics; '*' is one token, a final '>' the rest */
  uint32_t pattern_count;
  uint32_t reserved;
  /* Of EPHOR_POLICY_LATEST: "" or "topic", "source", "correlation", or an RFC 6901 pointer into the
   * data to a text or number. An event without it is keyed by its topic. */
  ephor_view key;
} ephor_subscription;

typedef struct ephor_host {
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  void* context;

  /* [any] The table of an extension, e.g. "ephor.query/1"; NULL if this host lacks it. Pure; the
   * table lives as long as the instance. */
  const void* (*get_extension)(void* context, ephor_view id);

  /* [control] From create to the return of start (of a source: only in create); one subscription
   * per instance. Its events come in log order through on_events. */
  ephor_status (*subscribe)(void* context, const ephor_subscription* subscription,
                            ephor_error* error);

  /* [dispatch] Publishes events derived from the slice in hand. They are appended to the journal
   * before any checkpoint that covers their cause; an event the journal already holds is dropped.
   * Their ids are (epoch, instance, cause, index), so the order of calls must be deterministic. */
  ephor_status (*publish)(void* context, const ephor_draft* drafts, uint32_t count,
                          ephor_error* error);

  /* [any] The number of a topic, made if it is new. Stable for the life of the process only. */
  ephor_status (*topic_id)(void* context, ephor_view name, uint16_t* topic, ephor_error* error);
  /* [any] The name behind a number; the view lives as long as the host. Empty if unknown. */
  ephor_view (*topic_name)(void* context, uint16_t topic);
  ephor_view (*source_name)(void* context, uint32_t source); /* [any] as topic_name */
  /* [any] Writes the event as one CloudEvents JSON object, whatever its encoding. */
  ephor_status (*render_json)(void* context, const ephor_event* event, ephor_writer* out,
                              ephor_error* error);
} ephor_host;

/* ---- what a plugin gives the host (frozen) --------------------------------------------------- */

typedef struct ephor_plugin {
  uint32_t struct_size;
  uint32_t reserved;
  void* self;
  /* [control] Begin work. Everything registered before its return is live after it. */
  ephor_status (*start)(void* self, ephor_error* error);
  /* [dispatch] 1 to 256 events in log order, already filtered. A failure ends this object: a new
   * one loads the saved state and gets the events again, one by one (docs/plugin-authoring.md). */
  ephor_status (*on_events)(void* self, const ephor_event* events, uint32_t count,
                            ephor_error* error);
  /* [control] No further event will come; finish what is in flight before `deadline_ns` (monotonic
   * clock) and publish nothing more. */
  ephor_status (*drain)(void* self, int64_t deadline_ns, ephor_error* error);
  /* [control] Stop threads and release sockets. Safe without start, and twice. */
  ephor_status (*stop)(void* self, ephor_error* error);
  /* [control] The last call. */
  void (*destroy)(void* self);
  /* [any] A table the plugin offers, e.g. "ephor.storage/1" (ephor_checkpoint); NULL if none. */
  const void* (*get_extension)(void* self, ephor_view id);
} ephor_plugin;

#define EPHOR_CAP_CONCURRENT_QUERY 0x01u /* queries may overlap everything else */
#define EPHOR_CAP_SOURCE 0x02u           /* brings events in from outside; not started in replay */

typedef struct ephor_plugin_info {
  uint32_t struct_size;
  uint32_t capabilities;    /* EPHOR_CAP_* */
  ephor_view id;            /* e.g. "tracer" */
  ephor_view version;       /* semantic version of the plugin */
  ephor_view summary;       /* one line */
  ephor_view config_schema; /* JSON Schema 2020-12 of its configuration */
  const ephor_view* required_extensions;
  const ephor_view* optional_extensions;
  uint32_t required_count;
  uint32_t optional_count;
  /* [control] Makes one instance. `host` outlives it. `config` is a JSON object that has passed the
   * schema, defaults filled in. Fills `out`; on failure leaves nothing behind. */
  ephor_status (*create)(const ephor_host* host, ephor_view instance, ephor_view config,
                         ephor_plugin* out, ephor_error* error);
} ephor_plugin_info;

typedef struct ephor_entry {
  uint32_t magic;
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor_built;    /* of the headers it was built with */
  uint16_t abi_minor_required; /* the least a host must have */
  uint16_t info_count;
  const ephor_plugin_info* const* infos;
} ephor_entry;

/* [control] The one exported symbol of a plugin; its result lives as long as the library. */
typedef const ephor_entry* (*ephor_entry_function)(void);

/* ---- ephor.query/1 (draft) ------------------------------------------------------------------- */

/* One answer in the making. Without EPHOR_PENDING the host finishes it when the handler returns.
 * With EPHOR_PENDING the handler's side calls finish exactly once, from any thread. */
typedef struct ephor_reply {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  ephor_status (*write)(void* context, ephor_view bytes);                       /* [any] */
  void (*finish)(void* context, ephor_status status, const ephor_error* error); /* [any] */
  int64_t deadline_ns; /* monotonic clock; after it the caller has gone */
} ephor_reply;

/* [query] `request` is a JSON object. The answer is UTF-8, JSON unless its route says otherwise. */
typedef ephor_status (*ephor_query_handler)(void* user, ephor_view request, ephor_reply* reply,
                                            ephor_error* error);

typedef struct ephor_query {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [control] Until start returns. Fails with EPHOR_CONFLICT if the name is taken. */
  ephor_status (*provide)(void* context, ephor_view name, ephor_view summary,
                          ephor_query_handler handler, void* user, ephor_error* error);
  /* [any] Asks a query of any instance and waits. `timeout_ns` <= 0: the host's default.
   * `after_sequence` > 0: first waits until the provider has read that far.
   * `as_of_sequence` (may be NULL) receives how far the provider had read. */
  ephor_status (*call)(void* context, ephor_view name, ephor_view request, int64_t timeout_ns,
                       uint64_t after_sequence, ephor_writer* answer, uint64_t* as_of_sequence,
                       ephor_error* error);
  /* [any] JSON array of {name, summary, instance}. */
  ephor_status (*list)(void* context, ephor_writer* out, ephor_error* error);
} ephor_query;

/* ---- ephor.http/1 (draft) -------------------------------------------------------------------- */

/* A REST route onto a query. Path parameters and query-string parameters arrive in the request as
 * strings; a JSON request body arrives whole under "body". */
typedef struct ephor_http_route {
  uint32_t struct_size;
  uint32_t reserved;
  ephor_view method;          /* "GET", "POST" ... */
  ephor_view path;            /* "/api/tracing/correlation/{correlation_id}" */
  ephor_view query;           /* name given to ephor.query/1 provide */
  ephor_view scope;           /* "read", "write", "admin" */
  ephor_view summary;         /* for OpenAPI */
  ephor_view request_schema;  /* JSON Schema of the request object; empty: none */
  ephor_view response_schema; /* JSON Schema of the answer; empty: none */
  ephor_view content_type;    /* empty: application/json */
} ephor_http_route;

/* [any] Called before visit returns. */
typedef void (*ephor_http_visitor)(void* user, ephor_view instance, const ephor_http_route* route);

typedef struct ephor_http {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [control] Until start returns. EPHOR_CONFLICT names the instance that has the route. */
  ephor_status (*add_route)(void* context, const ephor_http_route* route, ephor_error* error);
  /* [any] Visits every route; the views die with the visit. */
  ephor_status (*visit)(void* context, ephor_http_visitor visitor, void* user);
  /* [any] Changes whenever the routes change. */
  uint64_t (*generation)(void* context);
} ephor_http;

/* ---- ephor.storage/1 (draft) ----------------------------------------------------------------- */

#define EPHOR_CELL_NULL 0
#define EPHOR_CELL_INTEGER 1
#define EPHOR_CELL_REAL 2
#define EPHOR_CELL_TEXT 3
#define EPHOR_CELL_JSON 4 /* text that is one JSON value */
#define EPHOR_CELL_BLOB 5

typedef struct ephor_cell {
  uint32_t kind;
  uint32_t reserved;
  int64_t integer;
  double real;
  ephor_view bytes; /* text, JSON, blob */
} ephor_cell;

/* [any] One row of an answer, cells in the order of the select list; called before select returns.
 * Another status than OK ends the visit. */
typedef ephor_status (*ephor_row_visitor)(void* user, const ephor_cell* cells, uint32_t count);

typedef struct ephor_storage {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [control] In create or start, once. JSON:
   * {"version": 1, "tables": [{"name": "trades", "key": ["trade_id"],
   *   "columns": [{"name": "trade_id", "type": "text"}, ...], "indices": [["decision_id"]]}]}
   * types: integer real text json blob. Missing tables, columns and indices are made, on every
   * backend; a column that is gone stays. A table belongs to the plugin that declared it first.
   * "run_dependent": [column, ...] names what differs from run to run (positions, paths, clocks):
   * `ephor export --canonical` leaves it out. */
  ephor_status (*declare)(void* context, ephor_view tables_json, ephor_error* error);
  /* [any] One SELECT over committed rows, on a read-only connection; `?` marks a parameter. */
  ephor_status (*select)(void* context, ephor_view sql, const ephor_cell* parameters,
                         uint32_t parameter_count, ephor_row_visitor visitor, void* user,
                         ephor_error* error);
} ephor_storage;

/* Where a checkpoint's rows go, until save returns. Rows are absolute upserts by the table's key,
 * never increments. */
typedef struct ephor_rows {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [dispatch] `cells`: one per declared column, in order. */
  ephor_status (*upsert)(void* context, ephor_view table, const ephor_cell* cells, uint32_t count,
                         ephor_error* error);
  /* [dispatch] `key`: one cell per key column, in order. */
  ephor_status (*erase)(void* context, ephor_view table, const ephor_cell* key, uint32_t count,
                        ephor_error* error);
} ephor_rows;

/* What a plugin answers to get_extension("ephor.storage/1"). The host commits
 * {rows, state, position} of an instance in one transaction. */
typedef struct ephor_checkpoint {
  uint32_t struct_size;
  uint32_t state_version; /* of the blob that save writes */
  /* [dispatch] Rows changed since the last successful save, and the whole state. */
  ephor_status (*save)(void* self, const ephor_rows* rows, ephor_writer* state, ephor_error* error);
  /* [control] After create, before start. Another status than OK (say, an unreadable version):
   * the host makes a new instance and rebuilds it from the journal. */
  ephor_status (*load)(void* self, uint32_t state_version, ephor_view state, ephor_error* error);
} ephor_checkpoint;

/* ---- ephor.journal/1 (draft) ----------------------------------------------------------------- */

#define EPHOR_FORMAT_AUTO 0              /* by the first bytes: object, array or lines */
#define EPHOR_FORMAT_SINGLE 1            /* one JSON object */
#define EPHOR_FORMAT_BATCH 2             /* one JSON array of objects */
#define EPHOR_FORMAT_LINES 3             /* NDJSON */
#define EPHOR_FORMAT_OTLP_TRACES 4       /* protobuf, ExportTraceServiceRequest */
#define EPHOR_FORMAT_OTLP_METRICS 5      /* protobuf, ExportMetricsServiceRequest */
#define EPHOR_FORMAT_OTLP_LOGS 6         /* protobuf, ExportLogsServiceRequest */
#define EPHOR_FORMAT_OTLP_TRACES_JSON 7  /* the same as OTLP/JSON */
#define EPHOR_FORMAT_OTLP_METRICS_JSON 8 /* the same as OTLP/JSON */
#define EPHOR_FORMAT_OTLP_LOGS_JSON 9    /* the same as OTLP/JSON */
#define EPHOR_FORMAT_INFLUX_NS 10        /* Influx line protocol, times in nanoseconds */
#define EPHOR_FORMAT_INFLUX_US 11        /* in microseconds */
#define EPHOR_FORMAT_INFLUX_MS 12        /* in milliseconds */
#define EPHOR_FORMAT_INFLUX_S 13         /* in seconds */

/* One rejected record. `line` counts from 1; in an array it is the element. */
typedef struct ephor_rejection {
  uint32_t struct_size;
  uint32_t line;
  ephor_view json_pointer; /* RFC 6901; empty: the whole record */
  ephor_view reason;       /* what was found, what was expected */
} ephor_rejection;

/* [any] Called before ingest returns. */
typedef void (*ephor_rejection_visitor)(void* user, const ephor_rejection* rejection);

typedef struct ephor_ingest_result {
  uint32_t struct_size;
  uint32_t accepted;  /* records applied */
  uint32_t duplicate; /* records seen before: acknowledged, not applied again */
  uint32_t rejected;
  uint32_t events; /* events appended; a client record may hold several */
  uint32_t reserved;
  uint64_t last_sequence; /* of what was appended, or of the log if nothing was */
} ephor_ingest_result;

typedef struct ephor_buffer ephor_buffer;

/* [any] Called before find or read returns; the event dies with the visit. */
typedef void (*ephor_event_visitor)(void* user, const ephor_event* event);

typedef struct ephor_journal {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [any] Memory of the host to receive a body in without a copy; NULL above the body limit. */
  ephor_buffer* (*acquire)(void* context, uint64_t capacity, char** data);
  void (*release)(void* context, ephor_buffer* buffer); /* [any] instead of ingest */
  /* [any] Checks, deduplicates and appends what is in `buffer` (whose ownership passes to the host
   * in every case) and returns after the group commit: EPHOR_OK means the accepted are durable.
   * EPHOR_FULL or EPHOR_IO: nothing was kept, try again later. `default_source` names the source of
   * records that carry none. Rejections are visited before the return. */
  ephor_status (*ingest)(void* context, ephor_buffer* buffer, uint64_t size, uint32_t format,
                         ephor_view default_source, ephor_rejection_visitor on_rejected, void* user,
                         ephor_ingest_result* result, ephor_error* error);
  /* [any] Events that carry `id` as correlation id, trace id or declared join key, in log order. */
  ephor_status (*find)(void* context, ephor_view id, ephor_event_visitor visitor, void* user,
                       ephor_error* error);
  /* [any] At most `limit` events with `from` <= sequence, topic matching `pattern`, in log order.
   * `next` receives the sequence to go on from, 0 at the end. */
  ephor_status (*read)(void* context, uint64_t from, ephor_view pattern, uint32_t limit,
                       ephor_event_visitor visitor, void* user, uint64_t* next, ephor_error* error);
  /* [any] The last committed sequence, 0 if none. */
  uint64_t (*last_sequence)(void* context);
} ephor_journal;

/* ---- ephor.command/1 (draft) ----------------------------------------------------------------- */

/* [control] `arguments`: a JSON array of strings, the words after the command's name. Output goes
 * to the user's terminal. */
typedef ephor_status (*ephor_command_handler)(void* user, ephor_view arguments, ephor_writer* out,
                                              ephor_error* error);

typedef struct ephor_command {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [control] Only in create. `ephor NAME ...` then runs it, without starting anything. */
  ephor_status (*provide)(void* context, ephor_view name, ephor_view summary,
                          ephor_command_handler handler, void* user, ephor_error* error);
} ephor_command;

/* ---- ephor.metrics/1 (draft) ----------------------------------------------------------------- */

#define EPHOR_METRIC_COUNTER 0
#define EPHOR_METRIC_GAUGE 1

typedef struct ephor_metrics {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [any] The handle of a series, made if it is new. `name` follows Prometheus ("ephor_..._total");
   * `labels_json` is an object of strings; the host adds `instance`. */
  ephor_status (*series)(void* context, uint32_t kind, ephor_view name, ephor_view help,
                         ephor_view labels_json, uint64_t* series, ephor_error* error);
  void (*add)(void* context, uint64_t series, double amount); /* [any] one atomic add */
  void (*set)(void* context, uint64_t series, double value);  /* [any] one atomic store */
  /* [any] Every series of the process in Prometheus text format 0.0.4. */
  ephor_status (*render)(void* context, ephor_writer* out, ephor_error* error);
} ephor_metrics;

/* ---- ephor.log/1 (draft) --------------------------------------------------------------------- */

#define EPHOR_LOG_TRACE 0
#define EPHOR_LOG_DEBUG 1
#define EPHOR_LOG_INFO 2
#define EPHOR_LOG_WARNING 3
#define EPHOR_LOG_ERROR 4

typedef struct ephor_log {
  uint32_t struct_size;
  int32_t level; /* lines below it are not written */
  void* context;
  void (*log)(void* context, int32_t level, ephor_view message); /* [any] */
} ephor_log;

/* ---- ephor.health/1 (draft) ------------------------------------------------------------------ */

#define EPHOR_HEALTH_OK 0
#define EPHOR_HEALTH_DEGRADED 1
#define EPHOR_HEALTH_FAILED 2

typedef struct ephor_health {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*report)(void* context, int32_t state, ephor_view reason); /* [any] of this instance */
  /* [any] {"ready": bool, "live": bool, "mode": live replay or offline, "data_dir", "log_time",
   * "newest_time", "instances": [{"instance", "plugin", "state", "health", "reason", ...}]} */
  ephor_status (*snapshot)(void* context, ephor_writer* out, ephor_error* error);
} ephor_health;

/* ---- ephor.task/1 (draft) -------------------------------------------------------------------- */

/* [any] On a thread of the pool, beside everything else. */
typedef void (*ephor_task_function)(void* user);

typedef struct ephor_task {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  /* [any] Runs `function` once on a pool thread. EPHOR_FULL if the queue is full. Every task has
   * ended before stop returns. */
  ephor_status (*run)(void* context, ephor_task_function function, void* user, ephor_error* error);
} ephor_task;

#ifdef __cplusplus
}
#endif

#endif
