// SPDX-License-Identifier: Apache-2.0
//
// The host's door for events and its window for everybody else: wires server, hub and API.
#pragma once

#include <cstdint>
#include <ephor/plugin.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "access.hpp"
#include "api.hpp"
#include "config_schema.hpp"
#include "hub.hpp"
#include "options.hpp"
#include "server.hpp"

namespace ephor::http_api {

class HttpApi final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary = "HTTP ingest, REST, WebSocket, metrics, live page";
  static constexpr std::uint32_t kCapabilities = EPHOR_CAP_SOURCE;
  static constexpr std::string_view kConfigSchema = http_api::kConfigSchema;

  HttpApi(Host host, std::string_view config);
  ~HttpApi() override;

  void start() override;
  void on_events(std::span<const Event> events) override;
  void drain(std::int64_t deadline_ns) override;
  void stop() override;

  // "http://127.0.0.1:8780/", after start.
  std::string url() const;
  // Of ingest_listen; empty without it.
  std::string ingest_url() const;

 private:
  void update_gauges();

  Host host_;
  const Options options_;
  std::optional<Access> access_;
  std::optional<Access> ingest_access_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Watcher> watcher_;
  std::string message_;  // reused by on_events
  // Of one pool of threads; all series have the label `pool`.
  struct PoolSeries {
    Series threads, busy, queued, refused, served, queue_seconds, queue_seconds_most;
  };
  PoolSeries pool_series(std::string_view pool) const;
  static void set(const PoolSeries& series, const WorkerPool::Figures& figures, int queued);

  PoolSeries reads_, ingest_;
  Series connections_, waiting_, accepted_, refused_, clients_, frames_sent_, frames_dropped_;
};

}  // namespace ephor::http_api
