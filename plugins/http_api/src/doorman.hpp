// SPDX-License-Identifier: Apache-2.0
//
// One thread that accepts connections and holds all those that ask nothing: idle ones, and ones
// whose request has not arrived up to the end of its head. A whole head goes to a worker, and after
// the answer the connection comes back. So thousands of idle or dripping clients cost no thread,
// only an entry in an epoll set and about half a kilobyte.
//
// Each connection is registered once, with EPOLLONESHOT: while a worker has it, it reports nothing;
// giving it back is one epoll_ctl.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "connection.hpp"
#include "head.hpp"

namespace ephor::http_api {

// What becomes of a connection after an answer.
enum class Next {
  wait,    // for the next request
  close,   // at once
  linger,  // close, once the client has read the answer or two seconds have gone
};

class Doorman {
 public:
  struct Listener {
    int socket = -1;  // listening, not blocking; the doorman closes it
    Entrance entrance = Entrance::main;
  };
  struct Limits {
    HeadLimits head;
    int header_timeout_ms = 0;
    int keep_alive_timeout_ms = 0;
    int connections_max = 0;
  };
  struct Callbacks {
    // False: no worker will take it. Must not block.
    std::function<bool(Connection&, Lane)> dispatch;
    // The whole answer to a request that is turned away; its head may not have come. Must not
    // throw.
    std::function<std::string(Connection&, const Refusal&)> refuse;
    // At least every second. True: soon again, since requests wait for a thread.
    std::function<bool(std::int64_t now_ns)> tend;
  };
  struct Figures {
    int connections = 0;
    int waiting = 0;             // of them held here: idle, or with half a head
    std::uint64_t accepted = 0;  // since the start
    std::uint64_t refused = 0;   // turned away beyond connections_max or for want of descriptors
  };

  Doorman(std::vector<Listener> listeners, const Limits& limits, Watchdog& watchdog,
          Callbacks callbacks);
  ~Doorman();
  Doorman(const Doorman&) = delete;
  Doorman& operator=(const Doorman&) = delete;

  void start();
  // [any] A worker is done with it, and must not touch it any more.
  void take_back(Connection& connection, Next next);
  // [any] It goes on under another descriptor: reports nothing for it any more.
  void forget(Connection& connection) const;
  // Closes the listeners and all that ask nothing. Returns at once.
  void drain();
  // Closes everything and joins; no worker may have a connection. Twice is fine.
  void stop();

  Figures figures() const;

 private:
  void run();
  void handle(std::uint64_t number);
  void accept_from(const Listener& listener);
  void welcome(int socket, Entrance entrance);
  void hear(Connection& connection);
  void admit(Connection& connection);
  void refuse(Connection& connection, const Refusal& refusal);
  void hold(Connection& connection, Connection::State state, int timeout_ms);
  void arm(const Connection& connection) const;
  void end(Connection& connection);
  void sweep(std::int64_t now_ns);
  void take_returned();
  void close_listeners();
  void end_silent();
  void wake() const;

  std::vector<Listener> listeners_;  // of the thread, once it runs
  const Limits limits_;
  Watchdog& watchdog_;
  const Callbacks callbacks_;
  int epoll_ = -1;
  int event_ = -1;
  bool is_deaf_ = false;  // no descriptors: listeners are left alone until the next sweep
  std::atomic<bool> is_draining_{false};
  std::atomic<bool> is_stopping_{false};
  mutable std::mutex mutex_;  // guards connections_, returned_, figures_ and what is in at_door
  std::list<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> returned_;  // with a further request, or part of one, in their buffer
  Figures figures_;
  std::thread thread_;
};

}  // namespace ephor::http_api
