// SPDX-License-Identifier: Apache-2.0
#include "isolation/channel.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace ephor::host::isolation {
namespace {

using Clock = std::chrono::steady_clock;

// Takes bytes off a socket in larger pieces than frames are.
class SocketReader {
 public:
  enum class End { none, closed, failed };

  SocketReader(int socket, std::int64_t idle_ns, std::function<void()> look_after)
      : socket_(socket), idle_ns_(idle_ns), look_after_(std::move(look_after)) {}

  bool read(char* to, std::size_t size) {
    while (size > 0) {
      if (begin_ == end_ && !fill()) return false;
      const std::size_t some = std::min(size, end_ - begin_);
      std::memcpy(to, buffer_ + begin_, some);
      begin_ += some;
      to += some;
      size -= some;
    }
    return true;
  }

  // Memory is taken as bytes come, not as the header promises them.
  bool read(std::string& to, std::uint64_t size) {
    constexpr std::uint64_t kStep = 1U << 20;
    while (to.size() < size) {
      const std::size_t before = to.size();
      to.resize(before + static_cast<std::size_t>(std::min(kStep, size - before)));
      if (!read(to.data() + before, to.size() - before)) return false;
    }
    return true;
  }

  End end() const { return end_reason_; }

 private:
  bool fill() {
    for (;;) {
      if (idle_ns_ > 0) wait();
      const ssize_t got = ::recv(socket_, buffer_, sizeof buffer_, 0);
      if (got > 0) {
        begin_ = 0;
        end_ = static_cast<std::size_t>(got);
        return true;
      }
      if (got < 0 && errno == EINTR) continue;
      end_reason_ = got == 0 ? End::closed : End::failed;
      return false;
    }
  }

  void wait() {
    for (;;) {
      const auto now = Clock::now();
      if (now >= next_look_) {
        look_after_();
        next_look_ = now + std::chrono::nanoseconds(idle_ns_);
      }
      pollfd waited{socket_, POLLIN, 0};
      if (::poll(&waited, 1, static_cast<int>(idle_ns_ / 1'000'000)) > 0) return;
    }
  }

  const int socket_;
  const std::int64_t idle_ns_;
  const std::function<void()> look_after_;
  Clock::time_point next_look_{};
  End end_reason_ = End::none;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  char buffer_[64U << 10];
};

}  // namespace

Channel::Channel(int socket, Listener& listener) : socket_(socket), listener_(listener) {}

Channel::~Channel() {
  shut_down();
  pool_.stop();
  ::close(socket_);
}

std::string Channel::read_frames(std::int64_t idle_ns) {
  const auto reader =
      std::make_unique<SocketReader>(socket_, idle_ns, [this] { listener_.look_after(); });
  const auto ended = [&]() -> std::string {
    return reader->end() == SocketReader::End::closed ? "it closed its socket"
                                                      : "its socket cannot be read";
  };
  for (;;) {
    FrameHeader header;
    if (!reader->read(reinterpret_cast<char*>(&header), sizeof header)) return ended();
    if (header.magic != kFrameMagic || header.size > kFrameBytesMax) {
      return "it sent garbage: found a frame of mark " + std::to_string(header.magic) + " and " +
             std::to_string(header.size) + " bytes, expected mark " + std::to_string(kFrameMagic) +
             " and at most " + std::to_string(kFrameBytesMax) + " bytes";
    }
    std::string body;
    try {
      if (!reader->read(body, header.size)) return ended();
      if (std::string why = handle(header, std::move(body)); !why.empty()) return why;
    } catch (const std::exception& failure) {
      return std::string("it sent garbage: ") + failure.what();
    }
  }
}

std::string Channel::handle(const FrameHeader& header, std::string&& body) {
  switch (header.kind) {
    case FrameKind::request: {
      const std::string too_much = "it sent more requests than can be answered";
      if (asked_bytes_.fetch_add(body.size()) > kFrameBytesMax) return too_much;
      const bool is_queued = pool_.run([this, header, body = std::move(body)] {
        Reply reply;
        try {
          reply = listener_.answer(header.method, header.call, body);
        } catch (const Error& failure) {
          reply = {failure.code(), failure.what(), failure.json_pointer(), {}};
        } catch (const std::exception& failure) {
          reply = {EPHOR_INTERNAL, failure.what(), {}, {}};
        }
        asked_bytes_.fetch_sub(body.size());
        if (reply.body.size() > kBodyBytesMax) {
          reply = {EPHOR_FULL, "the answer is too large for one frame", {}, {}};
        }
        send(FrameKind::reply, header.method, header.call, encoded(reply));
      });
      return is_queued ? std::string() : too_much;
    }
    case FrameKind::reply:
      take_reply(header.call, body);
      return {};
    case FrameKind::part:
      take_part(header.call, std::move(body));
      return {};
    case FrameKind::acknowledge:
      take_acknowledgement(header.call, body);
      return {};
    case FrameKind::notice:
      listener_.notice(header.method, body);
      return {};
  }
  return "it sent garbage: found a frame of kind " +
         std::to_string(static_cast<unsigned>(header.kind)) + ", expected 1 to 5";
}

void Channel::take_reply(std::uint64_t call, std::string_view body) {
  Reply reply = decoded_reply(body);
  const std::scoped_lock lock(mutex_);
  const auto found = waiters_.find(call);
  if (found == waiters_.end() || found->second->reply) {
    ignored_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  found->second->reply = std::move(reply);
  found->second->changed.notify_one();
}

void Channel::take_part(std::uint64_t call, std::string&& body) {
  const std::scoped_lock lock(mutex_);
  const auto found = waiters_.find(call);
  // One part at a time is on its way: a second one before its acknowledgement has no business here.
  if (found == waiters_.end() || !found->second->parts.empty()) {
    ignored_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  found->second->parts.push_back(std::move(body));
  found->second->changed.notify_one();
}

void Channel::take_acknowledgement(std::uint64_t call, std::string_view body) {
  StateReader in(body);
  const auto status = static_cast<ephor_status>(in.u32());
  const std::scoped_lock lock(mutex_);
  const auto found = acknowledgements_.find(call);
  if (found == acknowledgements_.end()) {
    ignored_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  found->second->status = status;
  found->second->changed.notify_one();
}

Reply Channel::call(Method method, std::string_view body, std::string_view more,
                    const PartVisitor& visitor, std::int64_t deadline_ns) {
  Waiter waiter;
  waiter.method = method;
  std::unique_lock lock(mutex_);
  if (has_failed_) return {EPHOR_IO, why_, {}, {}};
  const std::uint64_t call = ++last_call_;
  waiters_.emplace(call, &waiter);
  lock.unlock();
  send(FrameKind::request, method, call, body, more);  // if it fails, the reader will say so
  lock.lock();
  const auto is_due = [&] { return waiter.reply || !waiter.parts.empty() || has_failed_; };
  const Clock::time_point deadline{
      std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(deadline_ns))};
  for (;;) {
    if (deadline_ns == 0) {
      waiter.changed.wait(lock, is_due);
    } else if (!waiter.changed.wait_until(lock, deadline, is_due)) {
      waiters_.erase(call);
      return {EPHOR_TIMEOUT, "no answer in time", {}, {}};
    }
    if (!waiter.parts.empty()) {
      std::string part = std::move(waiter.parts.front());
      waiter.parts.pop_front();
      lock.unlock();
      const ephor_status status = visitor ? visitor(part) : EPHOR_OK;
      std::string told;
      StateWriter(told).u32(static_cast<std::uint32_t>(status));
      send(FrameKind::acknowledge, method, call, told);
      lock.lock();
      continue;
    }
    waiters_.erase(call);
    if (waiter.reply) return std::move(*waiter.reply);
    return {EPHOR_IO, why_, {}, {}};
  }
}

void Channel::notify(Method method, std::string_view body) {
  send(FrameKind::notice, method, 0, body);
}

ephor_status Channel::send_part(std::uint64_t call, std::string_view part) {
  Acknowledgement waited;
  std::unique_lock lock(mutex_);
  if (has_failed_) return EPHOR_IO;
  if (!acknowledgements_.emplace(call, &waited).second) return EPHOR_STATE;
  lock.unlock();
  send(FrameKind::part, Method::none, call, part);
  lock.lock();
  waited.changed.wait(lock, [&] { return waited.status || has_failed_; });
  acknowledgements_.erase(call);
  return waited.status.value_or(EPHOR_IO);
}

bool Channel::send(FrameKind kind, Method method, std::uint64_t call, std::string_view body,
                   std::string_view more) {
  FrameHeader header;
  header.kind = kind;
  header.method = method;
  header.call = call;
  header.size = body.size() + more.size();
  iovec pieces[3] = {{&header, sizeof header},
                     {const_cast<char*>(body.data()), body.size()},
                     {const_cast<char*>(more.data()), more.size()}};
  const std::scoped_lock lock(send_mutex_);
  for (std::size_t at = 0; at < 3;) {
    if (pieces[at].iov_len == 0) {
      ++at;
      continue;
    }
    msghdr message{};
    message.msg_iov = pieces + at;
    message.msg_iovlen = 3 - at;
    ssize_t sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    for (; sent > 0; ++at) {
      const std::size_t some = std::min(static_cast<std::size_t>(sent), pieces[at].iov_len);
      pieces[at].iov_base = static_cast<char*>(pieces[at].iov_base) + some;
      pieces[at].iov_len -= some;
      sent -= static_cast<ssize_t>(some);
      if (pieces[at].iov_len != 0) break;
    }
  }
  return true;
}

void Channel::fail(const std::string& why) {
  const std::scoped_lock lock(mutex_);
  if (has_failed_) return;
  why_ = why;
  has_failed_.store(true, std::memory_order_release);
  for (const auto& [unused, waiter] : waiters_) waiter->changed.notify_one();
  for (const auto& [unused, waited] : acknowledgements_) waited->changed.notify_one();
}

void Channel::shut_down() { ::shutdown(socket_, SHUT_RDWR); }

std::vector<Method> Channel::pending() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Method> out;
  for (const auto& [unused, waiter] : waiters_) {
    if (!waiter->reply) out.push_back(waiter->method);
  }
  return out;
}

}  // namespace ephor::host::isolation
