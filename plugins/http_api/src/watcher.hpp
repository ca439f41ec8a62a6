// SPDX-License-Identifier: Apache-2.0
//
// Keeps the answers of GET routes fresh for WebSocket clients: each watched path is asked at most
// once per interval, however many clients watch it, and sent on only when its answer has changed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace ephor::http_api {

// A path that somebody watches. `is_fresh`: a client came that has no answer yet.
struct WatchedPath {
  std::string path;
  bool is_fresh = false;
};

class Watcher {
 public:
  struct Look {
    int status = 0;
    std::uint64_t as_of_sequence = 0;
    std::string body;  // one JSON value
  };
  struct Callbacks {
    std::function<std::vector<WatchedPath>()> take_watched;
    std::function<Look(const std::string& path)> look;  // must not throw
    std::function<void(const std::string& path, std::string message)> push;
  };

  Watcher(std::chrono::nanoseconds interval, Callbacks callbacks);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // [any] Somebody watches a path anew: it is asked without waiting for the interval.
  void hurry();
  // Ends the thread; twice is fine.
  void stop();

 private:
  void run();
  void go_round(bool is_due);

  const std::chrono::nanoseconds interval_;
  const Callbacks callbacks_;
  std::map<std::string, std::string> last_;  // by path, the thread's own: the last body sent
  std::mutex mutex_;                         // guards is_stopping_, is_hurried_
  std::condition_variable wake_;
  bool is_stopping_ = false;
  bool is_hurried_ = false;
  std::thread thread_;
};

}  // namespace ephor::http_api
