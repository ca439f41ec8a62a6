// SPDX-License-Identifier: Apache-2.0
#include "http_api.hpp"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <utility>

namespace ephor::http_api {
namespace {

// Readers of the file never see half an address.
void write_address(const std::string& key, const std::string& path, const std::string& url) {
  if (path.empty()) return;
  const std::string draft = path + ".new";
  {
    std::ofstream out(draft, std::ios::trunc);
    out << url << '\n';
    out.flush();
    if (!out) throw Error(EPHOR_IO, key + ": cannot write " + draft, "/" + key);
  }
  if (std::rename(draft.c_str(), path.c_str()) != 0) {
    throw Error(EPHOR_IO, key + ": cannot write " + path, "/" + key);
  }
}

}  // namespace

HttpApi::HttpApi(Host host, std::string_view config)
    : host_(std::move(host)), options_(options_from(config)) {
  host_.subscribe({">"}, EPHOR_POLICY_DROP_OLDEST);
}

HttpApi::~HttpApi() { stop(); }

void HttpApi::start() {
  hub_ = std::make_unique<Hub>(
      options_.websocket, [this](std::uint16_t topic) { return host_.topic_name(topic); },
      [this] { watcher_->hurry(); });
  server_ = std::make_unique<Server>(
      options_,
      Server::Callbacks{
          [this](const Poco::Net::HTTPRequest& request, Body& body, Entrance entrance) {
            return api_->answer(request, body, entrance);
          },
          [this](const Poco::Net::HTTPRequest* request, Entrance entrance, const Refusal& refusal) {
            return api_->refuse(request, entrance, refusal);
          },
          [this](int socket, std::string received, std::vector<std::string> topics) {
            hub_->adopt(socket, std::move(received), std::move(topics));
          }});
  access_.emplace(options_, server_->is_loopback(Entrance::main));
  ingest_access_.emplace(options_, server_->is_loopback(Entrance::ingest), Entrance::ingest);
  api_ = std::make_unique<Api>(
      host_, options_, Api::Guards{*access_, *ingest_access_},
      Api::Callbacks{[this] { return hub_->is_full(); }, [this] { update_gauges(); }});
  const std::chrono::duration<double> interval(options_.update_interval_s);
  watcher_ = std::make_unique<Watcher>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(interval),
      Watcher::Callbacks{
          [this] { return hub_->take_watched(); },
          [this](const std::string& path) {
            Answer answer = api_->look(path);
            return Watcher::Look{answer.status, answer.as_of_sequence, std::move(answer.body)};
          },
          [this](const std::string& path, const std::string& message) {
            hub_->push_snapshot(path, message);
          }});
  connections_ = host_.gauge("ephor_http_connections", "Open connections, without WebSockets");
  waiting_ = host_.gauge("ephor_http_connections_waiting",
                         "Open connections without a whole request; they need no thread");
  accepted_ = host_.counter("ephor_http_connections_accepted_total", "Connections accepted");
  refused_ = host_.counter("ephor_http_connections_refused_total",
                           "Connections turned away: max_connections, or no descriptors left");
  reads_ = pool_series("reads");
  ingest_ = pool_series("ingest");
  clients_ = host_.gauge("ephor_http_websocket_clients", "WebSocket clients");
  frames_sent_ = host_.counter("ephor_http_websocket_frames_sent_total", "Frames sent to clients");
  frames_dropped_ =
      host_.counter("ephor_http_websocket_frames_dropped_total",
                    "Events that clients wanted and did not get; each client is told its number");
  server_->start();
  const std::string url = server_->url();
  write_address("ingest_address_file", options_.ingest_address_file, ingest_url());
  write_address("address_file", options_.address_file, url);
  if (!ingest_url().empty()) host_.log(EPHOR_LOG_INFO, "http_api: ingest at " + ingest_url());
  host_.log(EPHOR_LOG_INFO, "http_api: " + url);
  host_.report_health(EPHOR_HEALTH_OK, url);
}

void HttpApi::drain(std::int64_t) {
  if (server_ != nullptr) server_->drain();
}

void HttpApi::stop() {
  if (server_ != nullptr) server_->stop();
  if (hub_ != nullptr) hub_->stop();
  if (watcher_ != nullptr) watcher_->stop();
}

std::string HttpApi::url() const { return server_ == nullptr ? std::string() : server_->url(); }

std::string HttpApi::ingest_url() const {
  return server_ == nullptr ? std::string() : server_->ingest_url();
}

void HttpApi::on_events(std::span<const Event> events) {
  if (hub_ == nullptr) return;
  for (const Event& event : events) {
    if (!hub_->wants(event.topic)) continue;
    message_ = R"({"type":"event","sequence":)";
    message_ += std::to_string(event.sequence);
    message_ += R"(,"event":)";
    ephor_writer out = string_writer(message_);
    const ephor_status status =
        host_.table()->render_json(host_.table()->context, &event, &out, nullptr);
    if (status != EPHOR_OK) continue;
    message_ += '}';
    hub_->push(event.topic, message_);
  }
}

HttpApi::PoolSeries HttpApi::pool_series(std::string_view pool) const {
  const std::string labels = R"({"pool":")" + std::string(pool) + R"("})";
  return {host_.gauge("ephor_http_pool_threads", "Threads that answer requests", labels),
          host_.gauge("ephor_http_pool_busy", "Threads that answer a request now", labels),
          host_.gauge("ephor_http_pool_queued",
                      "Requests that wait: for a thread, or bodies to be taken in", labels),
          host_.counter("ephor_http_pool_refused_total",
                        "Requests answered 503 because too many waited for a thread", labels),
          host_.counter("ephor_http_pool_served_total", "Requests that got a thread", labels),
          host_.counter("ephor_http_pool_queue_seconds_total",
                        "Seconds that requests waited for a thread, summed", labels),
          host_.gauge("ephor_http_pool_queue_seconds_max",
                      "Longest wait for a thread since this was last read", labels)};
}

void HttpApi::set(const PoolSeries& series, const WorkerPool::Figures& figures, int queued) {
  series.threads.set(figures.threads);
  series.busy.set(figures.busy);
  series.queued.set(queued);
  series.refused.set(static_cast<double>(figures.refused));
  series.served.set(static_cast<double>(figures.served));
  series.queue_seconds.set(static_cast<double>(figures.queue_ns_sum) * 1e-9);
  series.queue_seconds_most.set(static_cast<double>(figures.queue_ns_most) * 1e-9);
}

void HttpApi::update_gauges() {
  const Server::Figures server = server_->figures();
  connections_.set(server.door.connections);
  waiting_.set(server.door.waiting);
  accepted_.set(static_cast<double>(server.door.accepted));
  refused_.set(static_cast<double>(server.door.refused));
  set(reads_, server.reads, server.reads.queued);
  set(ingest_, server.ingest, server.ingest.queued + api_->waiting_bodies());
  const Hub::Figures hub = hub_->figures();
  clients_.set(hub.clients);
  frames_sent_.set(static_cast<double>(hub.frames_sent));
  frames_dropped_.set(static_cast<double>(hub.frames_dropped));
}

}  // namespace ephor::http_api
