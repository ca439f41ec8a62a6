// SPDX-License-Identifier: Apache-2.0
//
// One client's socket and the bytes that came over it and were not used yet. It belongs to the
// doorman or to one worker, never to both; nothing here is locked.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "body.hpp"
#include "head.hpp"
#include "watchdog.hpp"

namespace ephor::http_api {

// Which listener a connection came through: `ingest` serves nothing but what brings events in.
enum class Entrance { main, ingest };

class Connection final : public ByteSource {
 public:
  // Owns `socket` from here on.
  Connection(int socket, Entrance entrance, Watchdog& watchdog);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int descriptor() const { return socket_; }
  Entrance entrance() const { return entrance_; }
  Watchdog::Watch& watch() { return watch_; }

  enum class Heard { nothing, bytes, end };
  // Takes what has come, without waiting.
  Heard listen();
  // Reads and drops what has come.
  Heard ignore();

  std::string_view received() const { return std::string_view(received_).substr(used_); }
  // Of the head at the start of received(); 0 while it is not whole. Blank lines before it, which
  // some clients send behind a body, are dropped.
  std::size_t head_size();
  // `bytes` of received() are done with.
  void use(std::size_t bytes);

  // ByteSource: blocks. The client may wait for "100 Continue" before it sends the body; it is sent
  // with the first read.
  int get() override;
  std::size_t read(char* to, std::size_t capacity) override;
  void expect_continue(bool expects) { expects_continue_ = expects; }
  bool is_waiting_for_continue() const { return expects_continue_; }

  // Blocks; throws std::system_error.
  void send(std::string_view bytes) const;
  // As much as goes without waiting.
  void send_at_once(std::string_view bytes) const;
  void end_sending() const;

  // The doorman's notes.
  enum class State { waiting, arriving, lingering, away };
  struct AtDoor {
    std::atomic<State> state = State::waiting;  // figures look at it from elsewhere
    std::int64_t deadline_ns = 0;               // monotonic; not with `away`
    std::list<std::unique_ptr<Connection>>::iterator place;
  };
  AtDoor at_door;

 private:
  void ask_for_body();

  const int socket_;
  const Entrance entrance_;
  Watchdog::Watch watch_;
  std::string received_;
  std::size_t used_ = 0;     // of received_
  std::size_t scanned_ = 0;  // of received(): holds no end of a head
  bool expects_continue_ = false;
};

}  // namespace ephor::http_api
