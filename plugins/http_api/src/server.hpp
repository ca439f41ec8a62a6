// SPDX-License-Identifier: Apache-2.0
//
// The listeners, the doorman who holds what asks nothing, and two pools of threads that answer: one
// for bodies of events, one for everything else, so that neither can starve the other.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "doorman.hpp"
#include "exchange.hpp"
#include "options.hpp"
#include "watchdog.hpp"
#include "worker_pool.hpp"

namespace ephor::http_api {

class Server {
 public:
  struct Callbacks {
    std::function<Answer(const Poco::Net::HTTPRequest&, Body&, Entrance)> answer;
    std::function<Answer(const Poco::Net::HTTPRequest* request, Entrance, const Refusal&)> refuse;
    std::function<void(int socket, std::string received, std::vector<std::string> topics)> upgrade;
  };

  // Binds; throws ephor::Error if it cannot, or if everybody on the network could write.
  Server(const Options& options, Callbacks callbacks);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  bool is_loopback(Entrance entrance) const;
  std::string url() const { return url_; }                // "http://127.0.0.1:8780/"
  std::string ingest_url() const { return ingest_url_; }  // empty: no listener of its own

  void start();
  // Takes no new connection; what is being answered goes on.
  void drain();
  // Ends everything and joins. Twice is fine.
  void stop();

  struct Figures {
    Doorman::Figures door;
    WorkerPool::Figures reads;
    WorkerPool::Figures ingest;
  };
  Figures figures();

 private:
  struct Bound {
    Doorman::Listener listener;
    bool is_loopback = false;
    std::string url;
  };
  static Bound bound(const std::string& listen, std::string_view key, Entrance entrance);
  void require_tokens(const Bound& one, std::string_view key, bool has_tokens) const;
  void serve(Connection& connection, Lane lane);
  std::string refuse(Connection& connection, const Refusal& refusal);
  WorkerPool& pool_of(Lane lane) { return lane == Lane::ingest ? *ingest_ : *reads_; }

  const Options& options_;
  const HeadLimits limits_;
  const ExchangeCallbacks callbacks_;
  bool is_loopback_ = true;
  bool is_ingest_loopback_ = true;
  std::string url_;
  std::string ingest_url_;
  std::atomic<bool> is_draining_{false};
  bool is_stopped_ = false;
  Watchdog watchdog_;
  std::unique_ptr<Doorman> doorman_;
  std::unique_ptr<WorkerPool> reads_;
  std::unique_ptr<WorkerPool> ingest_;
};

}  // namespace ephor::http_api
