// SPDX-License-Identifier: Apache-2.0
//
// Calls both ways over one stream socket. One thread reads (the owner's, in `read_frames`),
// requests are answered on a pool, callers wait for their reply on their own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isolation/wire.hpp"
#include "isolation/worker_pool.hpp"

namespace ephor::host::isolation {

class Channel {
 public:
  // What the other side's frames lead to.
  class Listener {
   public:
    virtual ~Listener() = default;
    // [pool] May itself call, and send parts of the result under `call`.
    virtual Reply answer(Method method, std::uint64_t call, std::string_view body) = 0;
    // [reader] Must not wait for anything the other side does.
    virtual void notice(Method method, std::string_view body) = 0;
    // [reader] About every `idle_ns` given to read_frames.
    virtual void look_after() {}
  };
  using PartVisitor = std::function<ephor_status(std::string& part)>;

  // Takes the connected socket.
  Channel(int socket, Listener& listener);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Reads until the other side has gone or says what it must not; returns which, in words.
  std::string read_frames(std::int64_t idle_ns);

  // [any] Asks and waits. Parts are visited on this thread. Once the channel has failed, or fails
  // meanwhile, or at `deadline_ns` (monotonic, 0: none), the status is EPHOR_IO or EPHOR_TIMEOUT.
  Reply call(Method method, std::string_view body, std::string_view more = {},
             const PartVisitor& visitor = {}, std::int64_t deadline_ns = 0);
  // [any] Nothing if the channel has failed.
  void notify(Method method, std::string_view body);
  // [pool] Sends a part of the result of `call` and returns what its visitor said.
  ephor_status send_part(std::uint64_t call, std::string_view part);

  // [any] Ends everything that waits with EPHOR_IO and `why`, and what will be called, too.
  void fail(const std::string& why);
  // [any] So that the reader ends.
  void shut_down();
  // [any] Waits for the answers that are being made; after shut_down and fail.
  void stop_answering() { pool_.stop(); }

  bool has_failed() const { return has_failed_.load(std::memory_order_acquire); }
  // [any] What is being waited for, the oldest first.
  std::vector<Method> pending() const;
  // [any] Frames that led to nothing: replies nobody waits for, unknown kinds of call.
  std::uint64_t ignored_count() const { return ignored_.load(std::memory_order_relaxed); }

 private:
  struct Waiter {
    Method method = Method::none;
    std::condition_variable changed;
    std::deque<std::string> parts;
    std::optional<Reply> reply;
  };
  struct Acknowledgement {
    std::condition_variable changed;
    std::optional<ephor_status> status;
  };

  bool send(FrameKind kind, Method method, std::uint64_t call, std::string_view body,
            std::string_view more = {});
  std::string handle(const FrameHeader& header, std::string&& body);
  void take_reply(std::uint64_t call, std::string_view body);
  void take_part(std::uint64_t call, std::string&& body);
  void take_acknowledgement(std::uint64_t call, std::string_view body);

  const int socket_;
  Listener& listener_;
  std::mutex send_mutex_;  // one frame after another on the socket

  mutable std::mutex mutex_;  // guards down to why_
  std::map<std::uint64_t, Waiter*> waiters_;
  std::map<std::uint64_t, Acknowledgement*> acknowledgements_;
  std::uint64_t last_call_ = 0;
  std::string why_;

  std::atomic<bool> has_failed_{false};
  std::atomic<std::uint64_t> ignored_{0};
  std::atomic<std::uint64_t> asked_bytes_{0};  // of requests not yet answered
  WorkerPool pool_;
};

}  // namespace ephor::host::isolation
