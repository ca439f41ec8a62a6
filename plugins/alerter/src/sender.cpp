// SPDX-License-Identifier: Apache-2.0
#include "sender.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace ephor::alerter {
namespace {

constexpr std::size_t kRecordedAtOnce = 256;
constexpr std::int64_t kRecordAgainNs = 1'000'000'000;
constexpr std::size_t kDetailBytesMax = 300;

template <typename Clock>
std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}
std::int64_t monotonic_ns() { return now_ns<std::chrono::steady_clock>(); }
std::int64_t wall_clock_ns() { return now_ns<std::chrono::system_clock>(); }

std::map<std::string, WebhookSettings> by_name(std::vector<WebhookSettings> webhooks) {
  std::map<std::string, WebhookSettings> out;
  for (WebhookSettings& one : webhooks) {
    std::string name = one.name;
    out.emplace(std::move(name), std::move(one));
  }
  return out;
}

}  // namespace

Sender::Sender(std::vector<WebhookSettings> webhooks, SenderTiming timing, Record record, Post post)
    : webhooks_(by_name(std::move(webhooks))),
      timing_(timing),
      record_(std::move(record)),
      post_(post ? std::move(post)
                 : [this](const PostRequest& request) { return poster_.post(request); }) {}

Sender::~Sender() { stop(); }

void Sender::start() {
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void Sender::stop() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  poster_.abort();
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Sender::add(Job job) {
  {
    const std::scoped_lock lock(mutex_);
    Waiting waiting;
    waiting.job = std::move(job);
    queue_.emplace(monotonic_ns(), std::move(waiting));
  }
  changed_.notify_all();
}

void Sender::cancel(const std::string& alert_id, std::uint64_t transition,
                    const std::string& webhook) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(queue_, [&](const auto& entry) {
    const Job& job = entry.second.job;
    return job.alert_id == alert_id && job.transition == transition && job.webhook == webhook;
  });
}

std::size_t Sender::waiting() const {
  const std::scoped_lock lock(mutex_);
  return queue_.size();
}

void Sender::run() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::nanoseconds(timing_.settle_ns),
                    [&] { return is_stopping_; });
  while (!is_stopping_) {
    if (!settled_.empty()) record_settled(lock);
    if (is_stopping_) return;
    const std::int64_t now = monotonic_ns();
    if (queue_.empty() || queue_.begin()->first > now) {
      std::int64_t sleep_ns = queue_.empty() ? kRecordAgainNs : queue_.begin()->first - now;
      if (!settled_.empty()) sleep_ns = std::min(sleep_ns, kRecordAgainNs);
      changed_.wait_for(lock, std::chrono::nanoseconds(sleep_ns));
      continue;
    }
    Waiting waiting = std::move(queue_.begin()->second);
    queue_.erase(queue_.begin());
    lock.unlock();
    Outcome outcome;
    const bool is_settled = attempt(waiting, outcome);
    lock.lock();
    if (is_settled) {
      settled_.push_back(std::move(outcome));
    } else if (!is_stopping_) {
      const std::int64_t due = monotonic_ns() + pause_ns(waiting.attempts);
      queue_.emplace(due, std::move(waiting));
    }
  }
}

bool Sender::attempt(Waiting& waiting, Outcome& outcome) {
  const Job& job = waiting.job;
  outcome.alert_id = job.alert_id;
  outcome.delivery.transition = job.transition;
  outcome.delivery.webhook = job.webhook;
  outcome.delivery.time_ns = job.time_ns;
  const auto settle = [&](DeliveryStatus status, std::string detail) {
    if (detail.size() > kDetailBytesMax) detail.resize(kDetailBytesMax);
    outcome.delivery.status = status;
    outcome.delivery.attempts = waiting.attempts;
    outcome.delivery.detail = std::move(detail);
    outcome.delivery.at_ns = wall_clock_ns();
    return true;
  };
  const auto webhook = webhooks_.find(job.webhook);
  if (webhook == webhooks_.end()) {
    return settle(DeliveryStatus::skipped, "no webhook has this name any more");
  }
  if (job.time_ns < wall_clock_ns() - timing_.max_age_ns) {
    const bool was_tried = waiting.attempts > 0;
    return settle(was_tried ? DeliveryStatus::failed : DeliveryStatus::skipped,
                  was_tried ? "old; last: " + waiting.problem : "old");
  }
  PostRequest request{webhook->second.url, webhook->second.headers, job.body,
                      webhook->second.timeout_s};
  request.headers["Idempotency-Key"] = job.key();
  ++waiting.attempts;
  const PostResult result = post_(request);
  if (result.is_good()) return settle(DeliveryStatus::delivered, "");
  waiting.problem = result.problem;
  if (!result.may_try_again()) return settle(DeliveryStatus::failed, result.problem);
  if (waiting.attempts >= timing_.max_attempts) {
    return settle(DeliveryStatus::failed, "given up; last: " + result.problem);
  }
  return false;
}

void Sender::record_settled(std::unique_lock<std::mutex>& lock) {
  const std::size_t count = std::min(settled_.size(), kRecordedAtOnce);
  const std::vector<Outcome> now(settled_.begin(),
                                 settled_.begin() + static_cast<std::ptrdiff_t>(count));
  lock.unlock();
  const bool is_recorded = record_(now);
  lock.lock();
  if (is_recorded) {
    settled_.erase(settled_.begin(), settled_.begin() + static_cast<std::ptrdiff_t>(count));
  } else if (!is_stopping_) {
    changed_.wait_for(lock, std::chrono::nanoseconds(kRecordAgainNs));
  }
}

std::int64_t Sender::pause_ns(std::uint64_t attempts) const {
  const std::uint64_t doublings = std::min<std::uint64_t>(attempts > 0 ? attempts - 1 : 0, 30);
  const double pause = static_cast<double>(timing_.retry_least_ns) *
                       static_cast<double>(std::uint64_t{1} << doublings);
  return static_cast<std::int64_t>(std::min(pause, static_cast<double>(timing_.retry_most_ns)));
}

}  // namespace ephor::alerter
