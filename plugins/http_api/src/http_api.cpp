// SPDX-License-Identifier: Apache-2.0
#include "http_api.hpp"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <utility>

namespace ephor::http_api {
namespace {

// Readers of the file never see half an address.
void write_address(const std::string& path, const std::string& url) {
  if (path.empty()) return;
  const std::string draft = path + ".new";
  {
    std::ofstream out(draft, std::ios::trunc);
    out << url << '\n';
    out.flush();
    if (!out) throw Error(EPHOR_IO, "address_file: cannot write " + draft, "/address_file");
  }
  if (std::rename(draft.c_str(), path.c_str()) != 0) {
    throw Error(EPHOR_IO, "address_file: cannot write " + path, "/address_file");
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
      Server::Callbacks{[this](const Poco::Net::HTTPRequest& request, Body& body) {
                          return api_->answer(request, body);
                        },
                        [this](int status) { api_->count_unreadable(status); },
                        [this](int socket, std::string received, std::vector<std::string> topics) {
                          hub_->adopt(socket, std::move(received), std::move(topics));
                        }});
  access_.emplace(options_, server_->is_loopback());
  api_ = std::make_unique<Api>(
      host_, options_, *access_,
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
  connections_ = host_.gauge("ephor_http_connections", "Connections being served");
  queued_ = host_.gauge("ephor_http_connections_queued", "Connections waiting for a thread");
  refused_ = host_.counter("ephor_http_connections_refused_total",
                           "Connections closed unanswered because too many waited");
  clients_ = host_.gauge("ephor_http_websocket_clients", "WebSocket clients");
  frames_sent_ = host_.counter("ephor_http_websocket_frames_sent_total", "Frames sent to clients");
  frames_dropped_ =
      host_.counter("ephor_http_websocket_frames_dropped_total",
                    "Events that clients wanted and did not get; each client is told its number");
  server_->start();
  const std::string url = server_->url();
  write_address(options_.address_file, url);
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

void HttpApi::update_gauges() {
  const Server::Figures server = server_->figures();
  connections_.set(server.connections);
  queued_.set(server.queued);
  refused_.set(server.refused);
  const Hub::Figures hub = hub_->figures();
  clients_.set(hub.clients);
  frames_sent_.set(static_cast<double>(hub.frames_sent));
  frames_dropped_.set(static_cast<double>(hub.frames_dropped));
}

}  // namespace ephor::http_api
