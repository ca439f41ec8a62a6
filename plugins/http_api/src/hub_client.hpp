// SPDX-License-Identifier: Apache-2.0
//
// One WebSocket client: its socket and the frames that wait for it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "options.hpp"
#include "websocket.hpp"

namespace ephor::http_api {

class HubClient {
 public:
  using Frame = std::shared_ptr<const std::string>;
  enum class Sent { all, some, broken };

  // Owns `socket`, which must not block.
  HubClient(int socket, const WebsocketOptions& options);
  ~HubClient();
  HubClient(const HubClient&) = delete;
  HubClient& operator=(const HubClient&) = delete;

  int socket() const { return socket_; }
  FrameParser& parser() { return parser_; }

  // An event. Returns how many older frames had to go for it.
  std::uint64_t enqueue(const Frame& frame);
  // An answer, ping or close: never dropped. False if too many of them wait: the client asks and
  // does not read.
  bool enqueue_kept(std::string frame);
  // Frames that were lost before they came here; the client is told at this place of the order.
  void note_lost(std::uint64_t count);

  // Sends what the socket takes. `frames`: raised by the whole frames sent.
  Sent send(std::uint64_t& frames);
  bool has_waiting() const { return !queue_.empty() || gap_ > 0; }

  std::vector<std::string> patterns;
  std::vector<std::string> watches;  // paths of GET routes
  void* channel = nullptr;           // the hub's
  std::int64_t heard_ns = 0;         // monotonic; when the client last sent anything
  bool waits_for_write = false;      // the poll set watches for it
  bool is_touched = false;           // in the hub's list of those to flush
  bool is_closing = false;           // a close frame is queued or sent
  bool is_closed = false;            // to be forgotten
  std::string received_early;        // bytes that came with the handshake

 private:
  struct Item {
    Frame frame;  // null: a mark that `lost` frames are missing here
    std::uint64_t lost = 0;
    bool is_kept = false;
  };
  void drop_oldest();
  void place_gap();

  const WebsocketOptions& options_;
  int socket_;
  FrameParser parser_;
  std::deque<Item> queue_;
  std::size_t queue_bytes_ = 0;
  std::size_t kept_ = 0;
  std::size_t head_sent_ = 0;  // bytes of the front frame that have left
  std::uint64_t gap_ = 0;      // frames dropped behind the front frame, not yet told
  std::uint64_t dropped_now_ = 0;
};

}  // namespace ephor::http_api
