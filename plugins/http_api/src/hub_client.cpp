// SPDX-License-Identifier: Apache-2.0
#include "hub_client.hpp"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace ephor::http_api {
namespace {

constexpr std::size_t kKeptMax = 256;
constexpr std::size_t kGatherMax = 64;

std::shared_ptr<const std::string> dropped_frame(std::uint64_t count) {
  return std::make_shared<const std::string>(
      encode_frame(Opcode::text, "{\"type\":\"dropped\",\"count\":" + std::to_string(count) + "}"));
}

}  // namespace

HubClient::HubClient(int socket, const WebsocketOptions& options)
    : options_(options), socket_(socket), parser_(options.message_bytes_max) {}

HubClient::~HubClient() { ::close(socket_); }

// The oldest event or mark that has not begun to leave; kept frames stay.
void HubClient::drop_oldest() {
  const std::size_t first = head_sent_ > 0 ? 1 : 0;
  const auto found = std::find_if(queue_.begin() + static_cast<std::ptrdiff_t>(first), queue_.end(),
                                  [](const Item& item) { return !item.is_kept; });
  if (found == queue_.end()) return;
  if (found->frame == nullptr) {
    gap_ += found->lost;
  } else {
    queue_bytes_ -= found->frame->size();
    gap_ += 1;
    ++dropped_now_;
  }
  queue_.erase(found);
}

std::uint64_t HubClient::enqueue(const Frame& frame) {
  dropped_now_ = 0;
  queue_.push_back({frame, 0, false});
  queue_bytes_ += frame->size();
  std::size_t tries = queue_.size();
  while (tries-- > 0 &&
         (queue_.size() > options_.queue_frames || queue_bytes_ > options_.queue_bytes)) {
    drop_oldest();
  }
  return dropped_now_;
}

bool HubClient::enqueue_kept(std::string frame) {
  if (kept_ >= kKeptMax) return false;
  ++kept_;
  queue_bytes_ += frame.size();
  queue_.push_back({std::make_shared<const std::string>(std::move(frame)), 0, true});
  return true;
}

void HubClient::note_lost(std::uint64_t count) {
  if (!queue_.empty() && queue_.back().frame == nullptr) {
    queue_.back().lost += count;
  } else {
    queue_.push_back({nullptr, count, false});
  }
}

// Turns the marks that have come to the front into the frame that tells the client.
void HubClient::place_gap() {
  if (head_sent_ > 0) return;
  while (!queue_.empty() && queue_.front().frame == nullptr) {
    gap_ += queue_.front().lost;
    queue_.pop_front();
  }
  if (gap_ == 0) return;
  const Frame frame = dropped_frame(std::exchange(gap_, 0));
  queue_bytes_ += frame->size();
  ++kept_;
  queue_.push_front({frame, 0, true});
}

HubClient::Sent HubClient::send(std::uint64_t& frames) {
  for (;;) {
    place_gap();
    std::array<iovec, kGatherMax> pieces{};
    std::size_t count = 0;
    std::size_t wanted = 0;
    for (const Item& item : queue_) {
      if (item.frame == nullptr || count == kGatherMax) break;
      // What was dropped behind a half-sent front frame is told before the next one.
      if (count == 1 && gap_ > 0) break;
      const std::size_t skip = count == 0 ? head_sent_ : 0;
      pieces[count] = {const_cast<char*>(item.frame->data()) + skip, item.frame->size() - skip};
      wanted += pieces[count].iov_len;
      ++count;
    }
    if (count == 0) return Sent::all;
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t result = ::sendmsg(socket_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (result < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Sent::some : Sent::broken;
    }
    std::size_t left = static_cast<std::size_t>(result) + head_sent_;
    head_sent_ = 0;
    while (!queue_.empty() && queue_.front().frame != nullptr &&
           left >= queue_.front().frame->size()) {
      const std::size_t size = queue_.front().frame->size();
      left -= size;
      queue_bytes_ -= size;
      if (queue_.front().is_kept) --kept_;
      queue_.pop_front();
      ++frames;
      if (left == 0) break;
    }
    head_sent_ = left;
    if (static_cast<std::size_t>(result) < wanted) return Sent::some;
  }
}

}  // namespace ephor::http_api
