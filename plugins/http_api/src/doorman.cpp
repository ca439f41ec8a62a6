// SPDX-License-Identifier: Apache-2.0
#include "doorman.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "worker_pool.hpp"

namespace ephor::http_api {
namespace {

constexpr std::int64_t kSweepNs = 100'000'000;
constexpr int kSweepMs = 100;
constexpr int kIdleMs = 1000;  // between two looks while there is no connection
constexpr int kLingerMs = 2000;
constexpr int kAcceptsAtOnce = 64;
// Beyond connections_max so many more are told why; the rest are closed.
constexpr int kToldMax = 256;

// What an epoll event is about: a connection by its address, or a small number.
constexpr std::uint64_t kWake = 1;
constexpr std::uint64_t kFirstListener = 2;
constexpr std::uint64_t kListenersEnd = 16;

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

void watch_for(int epoll, int operation, int descriptor, std::uint32_t events,
               std::uint64_t number) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = number;
  ::epoll_ctl(epoll, operation, descriptor, &event);
}

std::uint64_t number_of(const Connection& connection) {
  return reinterpret_cast<std::uintptr_t>(&connection);
}

}  // namespace

Doorman::Doorman(std::vector<Listener> listeners, const Limits& limits, Watchdog& watchdog,
                 Callbacks callbacks)
    : listeners_(std::move(listeners)),
      limits_(limits),
      watchdog_(watchdog),
      callbacks_(std::move(callbacks)),
      epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      event_(checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {
  watch_for(epoll_, EPOLL_CTL_ADD, event_, EPOLLIN, kWake);
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    watch_for(epoll_, EPOLL_CTL_ADD, listeners_[i].socket, EPOLLIN, kFirstListener + i);
  }
}

Doorman::~Doorman() {
  stop();
  ::close(event_);
  ::close(epoll_);
}

void Doorman::start() {
  thread_ = std::thread([this] { run(); });
}

void Doorman::wake() const {
  const std::uint64_t one = 1;
  static_cast<void>(::write(event_, &one, sizeof one));  // full: it is awake already
}

void Doorman::drain() {
  is_draining_ = true;
  wake();
}

void Doorman::stop() {
  is_draining_ = true;
  is_stopping_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
  close_listeners();
  std::lock_guard lock(mutex_);
  connections_.clear();
  returned_.clear();
}

Doorman::Figures Doorman::figures() const {
  std::lock_guard lock(mutex_);
  Figures figures = figures_;
  figures.connections = static_cast<int>(connections_.size());
  figures.waiting = static_cast<int>(std::count_if(
      connections_.begin(), connections_.end(),
      [](const auto& connection) { return connection->at_door.state != Connection::State::away; }));
  return figures;
}

void Doorman::run() {
  std::array<epoll_event, 128> events{};
  std::int64_t next_sweep_ns = monotonic_ns() + kSweepNs;
  bool is_hurried = false;
  bool has_drained = false;
  while (!is_stopping_) {
    int timeout_ms = kSweepMs;
    if (is_hurried) {
      timeout_ms = 1;
    } else {
      std::lock_guard lock(mutex_);
      if (connections_.empty() && !is_deaf_) timeout_ms = kIdleMs;
    }
    const int count =
        ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
    for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.u64);
    if (is_draining_ && !std::exchange(has_drained, true)) {
      close_listeners();
      end_silent();
    }
    const std::int64_t now = monotonic_ns();
    is_hurried = callbacks_.tend(now);
    if (now < next_sweep_ns) continue;
    next_sweep_ns = now + kSweepNs;
    sweep(now);
  }
}

void Doorman::handle(std::uint64_t number) {
  if (number == kWake) {
    std::uint64_t count = 0;
    static_cast<void>(::read(event_, &count, sizeof count));
    take_returned();
    return;
  }
  if (number < kListenersEnd) {
    const std::size_t index = number - kFirstListener;
    if (index < listeners_.size()) accept_from(listeners_[index]);
    return;
  }
  hear(*reinterpret_cast<Connection*>(static_cast<std::uintptr_t>(number)));
}

void Doorman::accept_from(const Listener& listener) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    const int socket = ::accept4(listener.socket, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket >= 0) {
      welcome(socket, listener.entrance);
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // They stay in the backlog. Looking again at once would only burn the processor.
      is_deaf_ = true;
      for (std::size_t n = 0; n < listeners_.size(); ++n) {
        watch_for(epoll_, EPOLL_CTL_MOD, listeners_[n].socket, 0, kFirstListener + n);
      }
      std::lock_guard lock(mutex_);
      ++figures_.refused;
    }
    if (errno != EINTR && errno != ECONNABORTED) return;
  }
}

void Doorman::welcome(int socket, Entrance entrance) {
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  auto made = std::make_unique<Connection>(socket, entrance, watchdog_);
  Connection& connection = *made;
  connection.at_door.deadline_ns = monotonic_ns() + limits_.header_timeout_ms * 1'000'000LL;
  bool is_beyond = false;
  {
    std::lock_guard lock(mutex_);
    const auto count = static_cast<int>(connections_.size());
    is_beyond = count >= limits_.connections_max;
    figures_.refused += is_beyond ? 1 : 0;
    ++figures_.accepted;
    if (count >= limits_.connections_max + kToldMax) return;
    connection.at_door.place = connections_.insert(connections_.end(), std::move(made));
  }
  if (!is_beyond) {
    watch_for(epoll_, EPOLL_CTL_ADD, socket, EPOLLIN | EPOLLONESHOT, number_of(connection));
    return;
  }
  watch_for(epoll_, EPOLL_CTL_ADD, socket, EPOLLONESHOT, number_of(connection));
  refuse(connection, {503, "busy",
                      "found " + std::to_string(limits_.connections_max) +
                          " open connections, which is max_connections"});
}

void Doorman::hear(Connection& connection) {
  if (connection.at_door.state == Connection::State::lingering) {
    if (connection.ignore() == Connection::Heard::end) return end(connection);
    return arm(connection);
  }
  switch (connection.listen()) {
    case Connection::Heard::end:
      return end(connection);
    case Connection::Heard::nothing:
      return arm(connection);
    case Connection::Heard::bytes:
      return admit(connection);
  }
}

void Doorman::admit(Connection& connection) {
  const std::size_t size = connection.head_size();
  const std::string_view bytes = connection.received();
  if (size == 0) {
    if (const auto refusal = refusal_of_part(bytes, limits_.head)) {
      return refuse(connection, *refusal);
    }
    const bool is_new = connection.at_door.state != Connection::State::arriving;
    if (!bytes.empty() && is_new) {
      return hold(connection, Connection::State::arriving, limits_.header_timeout_ms);
    }
    return arm(connection);
  }
  connection.at_door.state = Connection::State::away;
  const Lane lane =
      connection.entrance() == Entrance::ingest ? Lane::ingest : lane_of(bytes.substr(0, size));
  if (callbacks_.dispatch(connection, lane)) return;
  refuse(connection, {503, "busy",
                      lane == Lane::ingest ? "too many bodies are being taken in"
                                           : "too many requests are being answered"});
}

void Doorman::refuse(Connection& connection, const Refusal& refusal) {
  connection.send_at_once(callbacks_.refuse(connection, refusal));
  // Closing with unread bytes resets the connection, and the reset may overtake the answer.
  connection.end_sending();
  hold(connection, Connection::State::lingering, kLingerMs);
}

void Doorman::hold(Connection& connection, Connection::State state, int timeout_ms) {
  {
    std::lock_guard lock(mutex_);
    connection.at_door.state = state;
    connection.at_door.deadline_ns = monotonic_ns() + timeout_ms * 1'000'000LL;
  }
  arm(connection);
}

void Doorman::arm(const Connection& connection) const {
  watch_for(epoll_, EPOLL_CTL_MOD, connection.descriptor(), EPOLLIN | EPOLLONESHOT,
            number_of(connection));
}

void Doorman::forget(Connection& connection) const {
  watch_for(epoll_, EPOLL_CTL_DEL, connection.descriptor(), 0, 0);
}

// It must not be armed: until a process that was just forked has closed its copy of the descriptor,
// closing ours does not end the registration, and its next event would be about freed memory.
void Doorman::end(Connection& connection) {
  std::unique_ptr<Connection> ended;  // dies behind the lock
  std::lock_guard lock(mutex_);
  ended = std::move(*connection.at_door.place);
  connections_.erase(ended->at_door.place);
}

void Doorman::take_back(Connection& connection, Next next) {
  if (next == Next::close) return end(connection);
  if (next == Next::linger) connection.end_sending();
  const bool has_bytes = next == Next::wait && !connection.received().empty();
  const int timeout_ms = next == Next::linger ? kLingerMs : limits_.keep_alive_timeout_ms;
  const std::int64_t deadline_ns = monotonic_ns() + timeout_ms * 1'000'000LL;
  std::unique_ptr<Connection> ended;
  {
    std::lock_guard lock(mutex_);
    if (next == Next::wait && is_draining_) {
      ended = std::move(*connection.at_door.place);
      connections_.erase(ended->at_door.place);
      return;
    }
    if (has_bytes) {
      returned_.push_back(&connection);
    } else {
      connection.at_door.state =
          next == Next::linger ? Connection::State::lingering : Connection::State::waiting;
      connection.at_door.deadline_ns = deadline_ns;
      // Under the lock: a sweep may close the connection as soon as it is no longer away.
      arm(connection);
    }
  }
  if (has_bytes) wake();
}

void Doorman::take_returned() {
  std::vector<Connection*> returned;
  {
    std::lock_guard lock(mutex_);
    returned.swap(returned_);
  }
  for (Connection* connection : returned) {
    {
      std::lock_guard lock(mutex_);
      connection->at_door.state = Connection::State::waiting;
      connection->at_door.deadline_ns = monotonic_ns() + limits_.header_timeout_ms * 1'000'000LL;
    }
    admit(*connection);
  }
}

void Doorman::sweep(std::int64_t now_ns) {
  if (std::exchange(is_deaf_, false)) {
    for (std::size_t n = 0; n < listeners_.size(); ++n) {
      watch_for(epoll_, EPOLL_CTL_MOD, listeners_[n].socket, EPOLLIN, kFirstListener + n);
    }
  }
  std::vector<Connection*> late;
  {
    std::lock_guard lock(mutex_);
    for (const auto& connection : connections_) {
      const Connection::AtDoor& at_door = connection->at_door;
      if (at_door.state != Connection::State::away && now_ns > at_door.deadline_ns) {
        late.push_back(connection.get());
      }
    }
  }
  // Only this thread takes a connection away from the door, so they are still there.
  for (Connection* connection : late) {
    if (connection->at_door.state == Connection::State::arriving) {
      refuse(*connection, {408, "timeout", "the head of the request did not arrive in time"});
    } else {
      forget(*connection);
      end(*connection);
    }
  }
}

void Doorman::end_silent() {
  std::vector<Connection*> silent;
  {
    std::lock_guard lock(mutex_);
    for (const auto& connection : connections_) {
      const Connection::State state = connection->at_door.state;
      if (state == Connection::State::waiting || state == Connection::State::arriving) {
        silent.push_back(connection.get());
      }
    }
  }
  for (Connection* connection : silent) {
    forget(*connection);
    end(*connection);
  }
}

void Doorman::close_listeners() {
  for (const Listener& listener : listeners_) ::close(listener.socket);
  listeners_.clear();
}

}  // namespace ephor::http_api
