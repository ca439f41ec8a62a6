// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace ephor::http_api {

// JSON Schema of the plugin's configuration; the defaults are those of Options.
inline constexpr std::string_view kConfigSchema = R"json({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "listen": {"type": "string", "default": "127.0.0.1:8780", "description": "address:port to listen on; port 0 takes any free one. Another address than loopback needs tokens"},
    "address_file": {"type": "string", "default": "", "description": "file that receives the URL listened on; empty: none"},
    "max_body_bytes": {"type": "integer", "minimum": 1024, "maximum": 1073741824, "default": 67108864, "description": "largest request body as sent, bytes"},
    "max_inflated_bytes": {"type": "integer", "minimum": 1024, "maximum": 1073741824, "default": 268435456, "description": "largest request body after gzip or zstd, bytes"},
    "ingest_threads": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 8, "description": "bodies of events taken in at the same time"},
    "ingest_queue": {"type": "integer", "minimum": 0, "maximum": 65536, "default": 64, "description": "bodies of events that may wait for that; beyond it the answer is 503"},
    "ingest_receivers": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 32, "description": "bodies of events that may be arriving beside those taken in or waiting; further ones queue, and beyond ingest_queue the answer is 503"},
    "ingest_listen": {"type": "string", "default": "", "description": "second address:port, for bringing events in only; empty: none. Another address than loopback needs a token with the scope write"},
    "ingest_address_file": {"type": "string", "default": "", "description": "file that receives the URL of ingest_listen; empty: none"},
    "threads": {"type": "integer", "minimum": 2, "maximum": 4096, "default": 128, "description": "requests answered at the same time, beside bodies of events; connections that ask nothing need no thread"},
    "request_queue": {"type": "integer", "minimum": 0, "maximum": 1000000, "default": 1024, "description": "requests that may wait for that; beyond it the answer is 503"},
    "max_connections": {"type": "integer", "minimum": 2, "maximum": 1000000, "default": 10000, "description": "open connections, without WebSocket clients; further ones are answered 503"},
    "max_header_bytes": {"type": "integer", "minimum": 1024, "maximum": 1048576, "default": 32768, "description": "largest head of a request, bytes; beyond it the answer is 431"},
    "max_uri_bytes": {"type": "integer", "minimum": 256, "maximum": 65536, "default": 8192, "description": "longest request target, bytes; beyond it the answer is 414"},
    "max_header_fields": {"type": "integer", "minimum": 8, "maximum": 10000, "default": 100, "description": "fields of a head; beyond it the answer is 431"},
    "keep_alive_timeout_s": {"type": "integer", "minimum": 1, "maximum": 3600, "default": 15, "description": "how long an idle connection is kept, seconds"},
    "request_timeout_ms": {"type": "integer", "minimum": 10, "maximum": 3600000, "default": 30000, "description": "longest time to receive a body, to ask a query, to send an answer, milliseconds each"},
    "header_timeout_ms": {"type": "integer", "minimum": 10, "maximum": 3600000, "default": 10000, "description": "longest time to receive the head of a request, milliseconds"},
    "cors_origins": {"type": "array", "items": {"type": "string"}, "default": [], "description": "origins of other sites that may use the API from a browser; \"*\": all"},
    "allowed_hosts": {"type": "array", "items": {"type": "string"}, "default": [], "description": "further names in the Host header, beside localhost on a loopback address"},
    "tokens": {
      "type": "array", "default": [], "description": "who may use the API; without any, a loopback address is open",
      "items": {
        "type": "object", "additionalProperties": false, "required": ["name", "scopes"],
        "properties": {
          "name": {"type": "string", "description": "for the log; also the source of records that name none"},
          "token": {"type": "string", "description": "the bearer token, at least 16 characters"},
          "sha256": {"type": "string", "description": "instead of it: its SHA-256 in lower-case hex"},
          "scopes": {"type": "array", "items": {"enum": ["read", "write", "admin"]}, "description": "admin includes the others"}
        }
      }
    },
    "correlation_id_header": {"type": "string", "default": "X-Correlation-ID", "description": "header that carries a request's correlation id, in and out", "x-ephor-from": "monitoring.advanced_tracer.correlation_id_header"},
    "update_interval_s": {"type": "number", "minimum": 0.05, "maximum": 3600, "default": 1, "description": "how often a route that WebSocket clients watch is asked again, seconds", "x-ephor-from": "monitoring.metrics_dashboard.update_interval"},
    "enable_real_time_updates": {"type": "boolean", "default": true, "description": "WebSocket clients may watch GET routes; false: they have to poll", "x-ephor-from": "monitoring.metrics_dashboard.enable_real_time_updates"},
    "enable_websocket_broadcast": {"type": "boolean", "default": true, "description": "WebSocket clients may subscribe to events; false: none is sent", "x-ephor-from": "monitoring.metrics_dashboard.enable_websocket_broadcast"},
    "websocket": {
      "type": "object", "additionalProperties": false, "default": {}, "description": "limits of /ws",
      "properties": {
        "clients_max": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 4096, "description": "clients at the same time"},
        "queue_frames": {"type": "integer", "minimum": 8, "maximum": 1000000, "default": 1024, "description": "frames that may wait for one client; beyond it the oldest are dropped and counted"},
        "queue_bytes": {"type": "integer", "minimum": 65536, "maximum": 1073741824, "default": 4194304, "description": "bytes that may wait for one client"},
        "message_bytes_max": {"type": "integer", "minimum": 1024, "maximum": 16777216, "default": 65536, "description": "largest message a client may send, bytes"},
        "ping_interval_s": {"type": "integer", "minimum": 1, "maximum": 3600, "default": 20, "description": "how often a client is pinged, seconds; three unanswered end the connection"},
        "topic_events_per_s": {"type": "number", "minimum": 1, "default": 5000, "description": "events of one topic sent in a second; the rest are counted as dropped"}
      }
    }
  }
})json";

}  // namespace ephor::http_api
