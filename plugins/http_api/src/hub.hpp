// SPDX-License-Identifier: Apache-2.0
//
// WebSocket clients on one thread. A frame is built once and shared by everyone who wants it; sends
// never block; each client has a bounded queue that drops its oldest whole frames and then tells
// the client how many it lost. Clients with the same patterns share a channel, so an event is
// matched once per channel and not once per client.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <ephor/json.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "hub_client.hpp"
#include "options.hpp"
#include "watcher.hpp"

namespace ephor::http_api {

class Hub {
 public:
  // Name of a topic's number; its result lives as long as the hub.
  using TopicName = std::function<std::string_view(std::uint16_t)>;

  // `on_watch`: a client watches a path and has no answer yet; called by the hub's thread, must not
  // block.
  Hub(const WebsocketOptions& options, TopicName topic_name, std::function<void()> on_watch);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  // Tells every client that the server goes away, and ends the thread. Twice is fine.
  void stop();

  // [any] Takes a socket on which the handshake is done. `received`: what came after it.
  // `patterns` have been checked. The socket is closed in every case.
  void adopt(int socket, std::string received, std::vector<std::string> patterns);
  bool is_full() const { return clients_.load() >= options_.clients_max; }

  // One caller at a time (dispatch). True if an event of the topic is worth rendering now; it is
  // counted as lost when some client wants it but the topic's rate or the inbox is exhausted.
  bool wants(std::uint16_t topic);
  // After wants() was true: the text of one message.
  void push(std::uint16_t topic, std::string_view message);

  // [any] What clients watch now; a path is fresh once for each client that begins to watch it.
  std::vector<WatchedPath> take_watched();
  // [any] An answer for those who watch `path`.
  void push_snapshot(const std::string& path, std::string_view message);

  struct Figures {
    int clients = 0;
    std::uint64_t frames_sent = 0;
    std::uint64_t frames_dropped = 0;
  };
  Figures figures() const;

 private:
  using Frame = std::shared_ptr<const std::string>;
  struct Channel {
    std::vector<std::string> patterns;
    std::vector<std::int8_t> verdicts;  // by topic: -1 unknown, 0, 1
    std::vector<HubClient*> clients;
  };
  struct Inbox {
    std::vector<std::pair<std::uint16_t, Frame>> frames;
    std::size_t bytes = 0;
    std::map<std::uint16_t, std::uint64_t> lost;           // by topic
    std::vector<std::pair<std::string, Frame>> snapshots;  // by path
    std::vector<std::unique_ptr<HubClient>> arrivals;
  };
  struct Rate {
    double tokens = 0;
    std::int64_t filled_ns = 0;
  };

  void run();
  void wake();
  void take_inbox();
  void welcome(std::unique_ptr<HubClient> client);
  void broadcast(std::uint16_t topic, const Frame& frame);
  void count_lost(std::uint16_t topic, std::uint64_t count);
  void send_snapshot(const std::string& path, const Frame& frame);
  bool wants_channel(Channel& channel, std::uint16_t topic);
  void on_ready(HubClient& client, std::uint32_t events);
  void on_message(HubClient& client, const Message& message);
  void on_command(HubClient& client, std::string_view text);
  std::string on_topics(HubClient& client, const Json& command);
  std::string on_watches(HubClient& client, const Json& command);
  void publish_watched(const std::vector<std::string>& fresh);
  void subscribe(HubClient& client, std::vector<std::string> patterns);
  void leave_channel(HubClient& client);
  void publish_patterns();
  void flush(HubClient& client);
  void close(HubClient& client, std::uint16_t code, std::string_view reason);
  void forget_closed();
  void ping_all(std::int64_t now_ns);

  const WebsocketOptions options_;
  const TopicName topic_name_;
  const std::function<void()> on_watch_;
  int epoll_ = -1;
  int event_ = -1;
  std::atomic<bool> is_stopping_{false};
  std::atomic<int> clients_{0};
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> dropped_{0};

  std::mutex inbox_mutex_;  // guards inbox_
  Inbox inbox_;

  std::mutex watched_mutex_;  // guards watched_
  std::vector<WatchedPath> watched_;

  // What all clients want, for wants(): written by the hub's thread, read by the dispatch thread.
  std::mutex patterns_mutex_;  // guards patterns_
  std::vector<std::string> patterns_;
  std::atomic<std::uint64_t> patterns_generation_{0};
  std::atomic<bool> has_patterns_{false};

  // Of the dispatch thread only.
  std::vector<std::int8_t> wanted_;
  std::vector<Rate> rates_;
  std::uint64_t wanted_generation_ = 0;

  // Of the hub's thread only.
  std::unordered_map<int, std::unique_ptr<HubClient>> by_socket_;
  std::map<std::string, std::unique_ptr<Channel>> channels_;
  std::vector<HubClient*> touched_;
  std::vector<int> closed_;

  std::thread thread_;
};

}  // namespace ephor::http_api
