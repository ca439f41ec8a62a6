// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::http_api {

// Who may do what. Either the token itself or the hex SHA-256 of it is given.
struct Token {
  std::string name;
  std::string token;
  std::string sha256;
  std::vector<std::string> scopes;
};

struct WebsocketOptions {
  int clients_max = 4096;
  std::size_t queue_frames = 1024;
  std::size_t queue_bytes = 4U << 20U;
  std::size_t message_bytes_max = 64U << 10U;
  int ping_interval_s = 20;
  // Events of one topic rendered in a second, all clients together; the rest counts as dropped.
  double topic_events_per_s = 5000;
  bool has_events = true;   // clients may subscribe to topics
  bool has_watches = true;  // clients may watch GET routes
};

struct Options {
  std::string listen = "127.0.0.1:8780";
  std::string address_file;
  std::string ingest_listen;  // empty: none
  std::string ingest_address_file;
  std::uint64_t max_body_bytes = 64ULL << 20U;
  std::uint64_t max_inflated_bytes = 256ULL << 20U;
  int ingest_threads = 8;
  int ingest_queue = 64;
  int ingest_receivers = 32;
  int threads = 128;
  int request_queue = 1024;
  int max_connections = 10'000;
  std::uint64_t max_header_bytes = 32ULL << 10U;
  std::uint64_t max_uri_bytes = 8ULL << 10U;
  int max_header_fields = 100;
  int keep_alive_timeout_s = 15;
  int request_timeout_ms = 30'000;
  int header_timeout_ms = 10'000;
  std::vector<std::string> cors_origins;
  std::vector<std::string> allowed_hosts;
  std::vector<Token> tokens;
  std::string correlation_id_header = "X-Correlation-ID";
  double update_interval_s = 1.0;  // between two answers of a watched route
  WebsocketOptions websocket;
};

bool may_write(const Token& token);
bool has_writer(const Options& options);

// Throws ephor::Error with the pointer of what is wrong.
Options options_from(std::string_view config_json);

}  // namespace ephor::http_api
