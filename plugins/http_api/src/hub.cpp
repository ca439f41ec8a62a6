// SPDX-License-Identifier: Apache-2.0
#include "hub.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ephor/json.hpp>
#include <system_error>

#include "topic_pattern.hpp"

namespace ephor::http_api {
namespace {

constexpr std::size_t kInboxBytesMax = 8U << 20U;
constexpr std::size_t kPatternsMax = 64;
constexpr std::size_t kWatchesMax = 32;
constexpr std::size_t kPathBytesMax = 1024;
constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr int kTickMs = 1000;

std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool any_matches(const std::vector<std::string>& patterns, std::string_view topic) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return topic_matches(pattern, topic); });
}

std::string acknowledgement(const Json& id, std::string_view type, const char* member,
                            const std::vector<std::string>& list) {
  Json answer{{"type", type}, {member, list}};
  if (!id.is_null()) answer["id"] = id;
  return dump(answer);
}

std::string error_message(const Json& id, std::string_view message) {
  Json answer{{"type", "error"}, {"code", "invalid"}, {"message", message}};
  if (!id.is_null()) answer["id"] = id;
  return dump(answer);
}

std::vector<std::string> patterns_of(const Json& value) {
  std::vector<std::string> patterns;
  const Json list = value.is_string() ? Json::array({value}) : value;
  if (!list.is_array()) throw Error(EPHOR_INVALID, "expected an array of topic patterns");
  for (const Json& entry : list) {
    if (!entry.is_string() || !is_topic_pattern(entry.get_ref<const std::string&>())) {
      throw Error(EPHOR_INVALID, "found " + dump(entry) +
                                     ", expected a topic pattern such as \"ephor.trade\", "
                                     "\"ephor.*\" or \">\"");
    }
    patterns.push_back(entry.get<std::string>());
  }
  return patterns;
}

// Targets of GET routes, such as "/api/performance?symbol=BTCUSDT".
std::vector<std::string> paths_of(const Json& value) {
  std::vector<std::string> paths;
  const Json list = value.is_string() ? Json::array({value}) : value;
  if (!list.is_array()) throw Error(EPHOR_INVALID, "expected an array of paths");
  for (const Json& entry : list) {
    if (!entry.is_string() || !entry.get_ref<const std::string&>().starts_with("/api/") ||
        entry.get_ref<const std::string&>().size() > kPathBytesMax) {
      throw Error(EPHOR_INVALID, "found " + dump(entry) +
                                     ", expected the path of a GET route such as "
                                     "\"/api/performance\"");
    }
    paths.push_back(entry.get<std::string>());
  }
  return paths;
}

void join(std::vector<std::string>& list, const std::vector<std::string>& more) {
  for (const std::string& entry : more) {
    if (std::find(list.begin(), list.end(), entry) == list.end()) list.push_back(entry);
  }
}

void check_count(const std::vector<std::string>& list, std::size_t most, const char* what) {
  if (list.size() <= most) return;
  throw Error(EPHOR_INVALID, "found " + std::to_string(list.size()) + " " + what +
                                 ", expected at most " + std::to_string(most));
}

}  // namespace

Hub::Hub(const WebsocketOptions& options, TopicName topic_name, std::function<void()> on_watch)
    : options_(options), topic_name_(std::move(topic_name)), on_watch_(std::move(on_watch)) {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (epoll_ < 0 || event_ < 0) {
    throw std::system_error(errno, std::generic_category(), "websocket hub");
  }
  epoll_event watch{};
  watch.events = EPOLLIN;
  watch.data.fd = event_;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &watch);
  thread_ = std::thread([this] { run(); });
}

Hub::~Hub() {
  stop();
  ::close(epoll_);
  ::close(event_);
}

void Hub::stop() {
  is_stopping_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
}

void Hub::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto ignored = ::write(event_, &one, sizeof one);
}

void Hub::adopt(int socket, std::string received, std::vector<std::string> patterns) {
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  auto client = std::make_unique<HubClient>(socket, options_);
  client->received_early = std::move(received);
  client->patterns = std::move(patterns);
  if (is_stopping_) return;
  ++clients_;
  {
    std::lock_guard lock(inbox_mutex_);
    inbox_.arrivals.push_back(std::move(client));
  }
  wake();
}

bool Hub::wants(std::uint16_t topic) {
  if (!has_patterns_.load(std::memory_order_relaxed)) return false;
  const std::uint64_t generation = patterns_generation_.load(std::memory_order_acquire);
  if (generation != wanted_generation_) {
    wanted_.clear();
    wanted_generation_ = generation;
  }
  if (topic >= wanted_.size()) wanted_.resize(topic + 1U, -1);
  if (wanted_[topic] < 0) {
    std::lock_guard lock(patterns_mutex_);
    wanted_[topic] = any_matches(patterns_, topic_name_(topic)) ? 1 : 0;
  }
  if (wanted_[topic] == 0) return false;

  if (topic >= rates_.size()) rates_.resize(topic + 1U, {options_.topic_events_per_s, 0});
  Rate& rate = rates_[topic];
  const std::int64_t now = monotonic_ns();
  rate.tokens = std::min(options_.topic_events_per_s,
                         rate.tokens + options_.topic_events_per_s *
                                           static_cast<double>(now - rate.filled_ns) / kSecondNs);
  rate.filled_ns = now;
  std::lock_guard lock(inbox_mutex_);
  if (rate.tokens < 1.0 || inbox_.bytes >= kInboxBytesMax) {
    ++inbox_.lost[topic];
    return false;
  }
  rate.tokens -= 1.0;
  return true;
}

void Hub::push(std::uint16_t topic, std::string_view message) {
  auto frame = std::make_shared<const std::string>(encode_frame(Opcode::text, message));
  bool was_empty = false;
  {
    std::lock_guard lock(inbox_mutex_);
    was_empty = inbox_.frames.empty();
    inbox_.bytes += frame->size();
    inbox_.frames.emplace_back(topic, std::move(frame));
  }
  if (was_empty) wake();
}

std::vector<WatchedPath> Hub::take_watched() {
  std::lock_guard lock(watched_mutex_);
  std::vector<WatchedPath> out = watched_;
  for (WatchedPath& watched : watched_) watched.is_fresh = false;
  return out;
}

void Hub::push_snapshot(const std::string& path, std::string_view message) {
  auto frame = std::make_shared<const std::string>(encode_frame(Opcode::text, message));
  {
    std::lock_guard lock(inbox_mutex_);
    inbox_.snapshots.emplace_back(path, std::move(frame));
  }
  wake();
}

Hub::Figures Hub::figures() const { return {clients_.load(), sent_.load(), dropped_.load()}; }

// ---- the hub's thread ----

void Hub::run() {
  std::array<epoll_event, 256> ready{};
  std::int64_t pinged_ns = monotonic_ns();
  while (!is_stopping_) {
    const int count = ::epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), kTickMs);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = ready[static_cast<std::size_t>(i)];
      if (event.data.fd == event_) {
        std::uint64_t ignored = 0;
        [[maybe_unused]] const auto got = ::read(event_, &ignored, sizeof ignored);
        continue;
      }
      const auto found = by_socket_.find(event.data.fd);
      if (found != by_socket_.end()) on_ready(*found->second, event.events);
    }
    take_inbox();
    const std::int64_t now = monotonic_ns();
    if (now - pinged_ns >= options_.ping_interval_s * kSecondNs) {
      pinged_ns = now;
      ping_all(now);
    }
    forget_closed();
  }
  take_inbox();
  for (auto& [socket, client] : by_socket_) {
    if (!client->is_closed) close(*client, kCloseGoingAway, "the server stops");
  }
  by_socket_.clear();
  clients_ = 0;
}

void Hub::take_inbox() {
  Inbox inbox;
  {
    std::lock_guard lock(inbox_mutex_);
    std::swap(inbox, inbox_);
  }
  for (auto& client : inbox.arrivals) welcome(std::move(client));
  for (const auto& [topic, frame] : inbox.frames) broadcast(topic, frame);
  for (const auto& [topic, count] : inbox.lost) count_lost(topic, count);
  for (const auto& [path, frame] : inbox.snapshots) send_snapshot(path, frame);
  for (HubClient* client : touched_) {
    client->is_touched = false;
    if (!client->waits_for_write) flush(*client);
  }
  touched_.clear();
}

void Hub::welcome(std::unique_ptr<HubClient> arrival) {
  HubClient& client = *arrival;
  client.heard_ns = monotonic_ns();
  epoll_event watch{};
  watch.events = EPOLLIN | EPOLLRDHUP;
  watch.data.fd = client.socket();
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.socket(), &watch) != 0) {
    --clients_;
    return;
  }
  by_socket_.emplace(client.socket(), std::move(arrival));
  if (!client.patterns.empty()) {
    subscribe(client, client.patterns);
    client.enqueue_kept(
        encode_frame(Opcode::text, acknowledgement({}, "subscribed", "topics", client.patterns)));
    flush(client);
  }
  if (client.received_early.empty() || client.is_closed) return;
  std::vector<Message> messages;
  const std::uint16_t error =
      client.parser().feed(std::exchange(client.received_early, {}), messages);
  for (const Message& message : messages) on_message(client, message);
  if (error != 0) close(client, error, "broken frame");
  flush(client);
}

bool Hub::wants_channel(Channel& channel, std::uint16_t topic) {
  if (topic >= channel.verdicts.size()) channel.verdicts.resize(topic + 1U, -1);
  std::int8_t& verdict = channel.verdicts[topic];
  if (verdict < 0) verdict = any_matches(channel.patterns, topic_name_(topic)) ? 1 : 0;
  return verdict == 1;
}

void Hub::broadcast(std::uint16_t topic, const Frame& frame) {
  for (auto& [key, channel] : channels_) {
    if (!wants_channel(*channel, topic)) continue;
    for (HubClient* client : channel->clients) {
      dropped_ += client->enqueue(frame);
      if (!std::exchange(client->is_touched, true)) touched_.push_back(client);
    }
  }
}

void Hub::send_snapshot(const std::string& path, const Frame& frame) {
  for (auto& [socket, client] : by_socket_) {
    const auto& watches = client->watches;
    if (std::find(watches.begin(), watches.end(), path) == watches.end()) continue;
    dropped_ += client->enqueue(frame);
    if (!std::exchange(client->is_touched, true)) touched_.push_back(client.get());
  }
}

void Hub::count_lost(std::uint16_t topic, std::uint64_t count) {
  for (auto& [key, channel] : channels_) {
    if (!wants_channel(*channel, topic)) continue;
    for (HubClient* client : channel->clients) {
      client->note_lost(count);
      dropped_ += count;
      if (!std::exchange(client->is_touched, true)) touched_.push_back(client);
    }
  }
}

void Hub::on_ready(HubClient& client, std::uint32_t events) {
  if (client.is_closed) return;
  if ((events & EPOLLOUT) != 0) flush(client);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) == 0 || client.is_closed) return;
  std::array<char, 16 * 1024> bytes{};
  const ssize_t got = ::recv(client.socket(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
    client.is_closed = true;
    closed_.push_back(client.socket());
    return;
  }
  if (got < 0) return;
  client.heard_ns = monotonic_ns();
  std::vector<Message> messages;
  const std::uint16_t error =
      client.parser().feed({bytes.data(), static_cast<std::size_t>(got)}, messages);
  for (const Message& message : messages) on_message(client, message);
  if (error != 0) close(client, error, "broken frame");
  if (!client.is_closed && client.has_waiting() && !client.waits_for_write) flush(client);
}

void Hub::on_message(HubClient& client, const Message& message) {
  if (client.is_closed || client.is_closing) return;
  switch (message.opcode) {
    case Opcode::text:
      return on_command(client, message.payload);
    case Opcode::ping:
      if (!client.enqueue_kept(encode_frame(Opcode::pong, message.payload))) {
        close(client, kClosePolicy, "answers are not read");
      }
      return;
    case Opcode::pong:
    case Opcode::continuation:
      return;
    case Opcode::close:
      return close(client, kCloseNormal, "");
    case Opcode::binary:
      return close(client, kCloseUnsupportedData, "expected text");
  }
}

void Hub::on_command(HubClient& client, std::string_view text) {
  Json id;
  std::string answer;
  try {
    const Json command = parse_json(text, "command");
    if (!command.is_object()) throw Error(EPHOR_INVALID, "expected a JSON object");
    id = command.value("id", Json());
    if (command.contains("subscribe") || command.contains("unsubscribe")) {
      answer = on_topics(client, command);
    } else if (command.contains("watch") || command.contains("unwatch")) {
      answer = on_watches(client, command);
    } else {
      throw Error(EPHOR_INVALID,
                  "expected a member \"subscribe\", \"unsubscribe\", \"watch\" or \"unwatch\"");
    }
  } catch (const Json::exception& failure) {
    answer = error_message(id, failure.what());
  } catch (const Error& failure) {
    answer = error_message(id, failure.what());
  }
  if (!client.enqueue_kept(encode_frame(Opcode::text, answer))) {
    close(client, kClosePolicy, "answers are not read");
  }
}

std::string Hub::on_topics(HubClient& client, const Json& command) {
  const auto add = command.find("subscribe");
  const auto remove = command.find("unsubscribe");
  std::vector<std::string> wanted = client.patterns;
  if (add != command.end()) {
    if (!options_.has_events) {
      throw Error(EPHOR_INVALID, "events are not sent: enable_websocket_broadcast is false");
    }
    join(wanted, patterns_of(*add));
  }
  if (remove != command.end()) {
    for (const std::string& pattern : patterns_of(*remove)) std::erase(wanted, pattern);
  }
  check_count(wanted, kPatternsMax, "patterns");
  subscribe(client, std::move(wanted));
  return acknowledgement(command.value("id", Json()),
                         add != command.end() ? "subscribed" : "unsubscribed", "topics",
                         client.patterns);
}

std::string Hub::on_watches(HubClient& client, const Json& command) {
  const auto add = command.find("watch");
  const auto remove = command.find("unwatch");
  std::vector<std::string> wanted = client.watches;
  std::vector<std::string> fresh;
  if (add != command.end()) {
    if (!options_.has_watches) {
      throw Error(EPHOR_INVALID, "routes are not watched: enable_real_time_updates is false");
    }
    fresh = paths_of(*add);
    join(wanted, fresh);
  }
  if (remove != command.end()) {
    for (const std::string& path : paths_of(*remove)) std::erase(wanted, path);
  }
  check_count(wanted, kWatchesMax, "paths");
  client.watches = std::move(wanted);
  publish_watched(fresh);
  return acknowledgement(command.value("id", Json()),
                         add != command.end() ? "watching" : "unwatched", "watches",
                         client.watches);
}

void Hub::publish_watched(const std::vector<std::string>& fresh) {
  std::map<std::string, bool> all;
  for (const auto& [socket, client] : by_socket_) {
    for (const std::string& path : client->watches) all.emplace(path, false);
  }
  for (const std::string& path : fresh) all[path] = true;
  {
    std::lock_guard lock(watched_mutex_);
    for (const WatchedPath& watched : watched_) {
      const auto found = all.find(watched.path);
      if (found != all.end()) found->second = found->second || watched.is_fresh;
    }
    watched_.clear();
    for (const auto& [path, is_fresh] : all) watched_.push_back({path, is_fresh});
  }
  if (!fresh.empty()) on_watch_();
}

void Hub::leave_channel(HubClient& client) {
  auto* channel = static_cast<Channel*>(std::exchange(client.channel, nullptr));
  if (channel == nullptr) return;
  std::erase(channel->clients, &client);
  if (channel->clients.empty()) {
    std::erase_if(channels_, [&](const auto& entry) { return entry.second.get() == channel; });
  }
}

void Hub::subscribe(HubClient& client, std::vector<std::string> patterns) {
  leave_channel(client);
  client.patterns = std::move(patterns);
  if (!client.patterns.empty()) {
    std::vector<std::string> sorted = client.patterns;
    std::sort(sorted.begin(), sorted.end());
    std::string key;
    for (const std::string& pattern : sorted) key += pattern + ' ';
    auto& channel = channels_[key];
    if (channel == nullptr) {
      channel = std::make_unique<Channel>();
      channel->patterns = std::move(sorted);
    }
    channel->clients.push_back(&client);
    client.channel = channel.get();
  }
  publish_patterns();
}

// Only when the set of channels changed; with a thousand equal clients that is rare.
void Hub::publish_patterns() {
  std::vector<std::string> all;
  for (const auto& [key, channel] : channels_) {
    all.insert(all.end(), channel->patterns.begin(), channel->patterns.end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  std::lock_guard lock(patterns_mutex_);
  if (all == patterns_) return;
  patterns_ = std::move(all);
  has_patterns_ = !patterns_.empty();
  patterns_generation_.fetch_add(1, std::memory_order_release);
}

void Hub::flush(HubClient& client) {
  if (client.is_closed) return;
  std::uint64_t frames = 0;
  const HubClient::Sent sent = client.send(frames);
  sent_ += frames;
  const bool is_done =
      sent == HubClient::Sent::broken || (sent == HubClient::Sent::all && client.is_closing);
  if (is_done) {
    client.is_closed = true;
    closed_.push_back(client.socket());
    return;
  }
  const bool must_wait = sent == HubClient::Sent::some;
  if (must_wait == client.waits_for_write) return;
  client.waits_for_write = must_wait;
  epoll_event watch{};
  watch.events = EPOLLIN | EPOLLRDHUP;
  if (must_wait) watch.events |= EPOLLOUT;
  watch.data.fd = client.socket();
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, client.socket(), &watch);
}

void Hub::close(HubClient& client, std::uint16_t code, std::string_view reason) {
  if (client.is_closed || std::exchange(client.is_closing, true)) return;
  leave_channel(client);
  publish_patterns();
  if (client.enqueue_kept(encode_close(code, reason))) return flush(client);
  client.is_closed = true;
  closed_.push_back(client.socket());
}

void Hub::forget_closed() {
  if (closed_.empty()) return;
  for (const int socket : closed_) {
    const auto found = by_socket_.find(socket);
    if (found == by_socket_.end()) continue;
    leave_channel(*found->second);
    std::erase(touched_, found->second.get());
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr);
    by_socket_.erase(found);
    --clients_;
  }
  closed_.clear();
  publish_patterns();
  publish_watched({});
}

void Hub::ping_all(std::int64_t now_ns) {
  const std::int64_t silent_ns = 3 * options_.ping_interval_s * kSecondNs;
  for (auto& [socket, client] : by_socket_) {
    if (client->is_closed) continue;
    const bool is_lost = now_ns - client->heard_ns > silent_ns || client->is_closing;
    if (is_lost || !client->enqueue_kept(encode_frame(Opcode::ping, ""))) {
      client->is_closed = true;
      closed_.push_back(socket);
    } else if (!client->waits_for_write) {
      flush(*client);
    }
  }
}

}  // namespace ephor::http_api
