// SPDX-License-Identifier: Apache-2.0
#include "core/bus_report.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <utility>

#include "core/instance.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kSampleEveryNs = 1'000'000'000;
constexpr std::size_t kSamplesKept = 10;
// A client may invent topics without end; those beyond are counted but not shown one by one.
constexpr std::size_t kTopicsShown = 500;

double seconds_of(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }

double ms_of(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

const char* name_of(OverflowPolicy policy) {
  if (policy == OverflowPolicy::latest) return "latest";
  return policy == OverflowPolicy::replay ? "replay" : "drop_oldest";
}

// null where there is nothing to tell.
Json quantiles_json(const DurationHistogram::Snapshot& all,
                    const DurationHistogram::Snapshot& recent) {
  const auto ms = [](const DurationHistogram::Snapshot& of, double share) {
    return of.count == 0 ? Json() : Json(ms_of(of.quantile_ns(share)));
  };
  return {{"count", all.count},
          {"sum_ms", ms_of(all.sum_ns)},
          {"p50", ms(all, 0.50)},
          {"p90", ms(all, 0.90)},
          {"p99", ms(all, 0.99)},
          {"max", all.count == 0 ? Json() : Json(ms_of(all.max_ns))},
          {"recent_p99", ms(recent, 0.99)}};
}

double rate(std::uint64_t now, std::uint64_t past, double interval_s) {
  return interval_s > 0.0 ? static_cast<double>(now - past) / interval_s : 0.0;
}

}  // namespace

BusReport::BusReport(const Bus& bus, const EventLog& log, const Names& names, Instances instances)
    : bus_(bus), log_(log), names_(names), instances_(std::move(instances)) {
  sample();
}

BusReport::Sample BusReport::take() const {
  Sample out;
  out.at_ns = monotonic_ns();
  out.bus = bus_.stats();
  for (const auto& instance : instances_()) {
    const Reader* reader = instance->reader();
    if (reader == nullptr) continue;
    const SubscriptionStats& stats = instance->subscription_stats();
    ReaderSample one;
    one.delivered = reader->stats().delivered;
    one.handler_time = stats.handler_time().snapshot();
    one.queue_delay = reader->queue_delay().snapshot();
    one.busy_ns = static_cast<std::int64_t>(one.handler_time.sum_ns) + stats.in_handler_ns();
    out.readers.emplace(instance->name(), std::move(one));
  }
  log_.topics().visit([&](std::uint16_t topic, std::uint64_t events, std::int64_t) {
    out.topics.emplace(topic, events);
  });
  return out;
}

void BusReport::sample() {
  const std::scoped_lock lock(mutex_);
  if (!samples_.empty() && monotonic_ns() - samples_.back()->at_ns < kSampleEveryNs) return;
  samples_.push_back(std::make_shared<const Sample>(take()));
  if (samples_.size() > kSamplesKept) samples_.pop_front();
}

std::shared_ptr<const BusReport::Sample> BusReport::past() {
  const std::scoped_lock lock(mutex_);
  return samples_.front();
}

Json BusReport::ring_json(const Sample& now, const Sample& past) const {
  const double interval_s = seconds_of(now.at_ns - past.at_ns);
  return {{"slots", now.bus.slots},
          {"batches", now.bus.batches_live},
          {"bytes", now.bus.bytes_live},
          {"bytes_max", now.bus.bytes_max},
          {"retired_in_use", now.bus.retired_pending},
          {"events_published", now.bus.events},
          {"batches_published", now.bus.batches},
          {"events_per_s", rate(now.bus.events, past.bus.events, interval_s)},
          {"batches_per_s", rate(now.bus.batches, past.bus.batches, interval_s)},
          {"head_sequence", log_.last_sequence()}};
}

Json BusReport::reader_json(const Instance& instance, const Sample& now, const Sample& past) const {
  const Reader& reader = *instance.reader();
  const Instance::Subscription subscription = instance.subscription();
  const ReaderStats stats = reader.stats();
  const ReaderSample& then = now.readers.at(instance.name());
  const auto found = past.readers.find(instance.name());
  // A restarted instance counts from nothing again.
  const ReaderSample before = found != past.readers.end() &&
                                      found->second.handler_time.count <= then.handler_time.count &&
                                      found->second.queue_delay.count <= then.queue_delay.count
                                  ? found->second
                                  : ReaderSample();
  const double interval_s = seconds_of(now.at_ns - past.at_ns);
  const double busy_s = seconds_of(std::max<std::int64_t>(0, then.busy_ns - before.busy_ns));
  return {
      {"instance", instance.name()},
      {"policy", name_of(subscription.policy)},
      {"patterns", subscription.patterns},
      {"key", subscription.policy == OverflowPolicy::latest ? Json(subscription.key) : Json()},
      {"position", instance.position()},
      {"on_journal", reader.is_behind()},
      {"lag", stats.lag},
      {"lag_ms", static_cast<double>(stats.lag_ns) / 1e6},
      {"lag_max", stats.lag_max},
      {"delivered", stats.delivered},
      {"skipped", stats.skipped},
      {"superseded", instance.superseded()},
      {"delivered_per_s",
       rate(then.delivered, std::min(before.delivered, then.delivered), interval_s)},
      {"busy_share", interval_s > 0.0 ? std::min(1.0, busy_s / interval_s) : 0.0},
      {"queue_delay_ms", quantiles_json(then.queue_delay, then.queue_delay - before.queue_delay)},
      {"handler_ms", quantiles_json(then.handler_time, then.handler_time - before.handler_time)}};
}

Json BusReport::topics_json(const Sample& now, const Sample& past) const {
  const double interval_s = seconds_of(now.at_ns - past.at_ns);
  Json out = Json::array();
  log_.topics().visit([&](std::uint16_t topic, std::uint64_t events, std::int64_t last_ns) {
    const auto before = past.topics.find(topic);
    const std::uint64_t events_before = before == past.topics.end() ? 0 : before->second;
    out.push_back({{"topic", std::string(names_.topics.name(topic))},
                   {"events", events},
                   {"events_per_s", rate(events, events_before, interval_s)},
                   {"last_time", format_time(last_ns)}});
  });
  std::stable_sort(out.begin(), out.end(),
                   [](const Json& a, const Json& b) { return a["events"] > b["events"]; });
  if (out.size() > kTopicsShown) out.erase(out.begin() + kTopicsShown, out.end());
  return out;
}

Json BusReport::json() {
  sample();
  const auto before = past();
  const Sample now = take();
  Json readers = Json::array();
  for (const auto& instance : instances_()) {
    if (now.readers.contains(instance->name())) {
      readers.push_back(reader_json(*instance, now, *before));
    }
  }
  return {{"interval_s", seconds_of(now.at_ns - before->at_ns)},
          {"ring", ring_json(now, *before)},
          {"readers", std::move(readers)},
          {"topics", topics_json(now, *before)},
          {"topics_known", now.topics.size()}};
}

void BusReport::collect(MetricRegistry& metrics) const {
  using Kind = MetricRegistry::Kind;
  using Labels = std::map<std::string, std::string>;
  const auto put = [&](Kind kind, const char* name, const char* help, const Labels& labels,
                       double value, const char* suffix = "") {
    metrics.series(kind, name, help, labels, suffix).value.store(value, std::memory_order_relaxed);
  };
  const auto put_summary = [&](const char* name, const char* help, const Labels& labels,
                               const DurationHistogram::Snapshot& durations) {
    for (const auto& [text, share] : {std::pair("0.5", 0.5), {"0.9", 0.9}, {"0.99", 0.99}}) {
      Labels with_quantile = labels;
      with_quantile["quantile"] = text;
      put(Kind::summary, name, help, with_quantile,
          static_cast<double>(durations.quantile_ns(share)) / 1e9);
    }
    put(Kind::summary, name, help, labels, static_cast<double>(durations.sum_ns) / 1e9, "_sum");
    put(Kind::summary, name, help, labels, static_cast<double>(durations.count), "_count");
  };
  for (const auto& instance : instances_()) {
    const Reader* reader = instance->reader();
    if (reader == nullptr) continue;
    const Labels labels{{"instance", instance->name()}};
    const ReaderStats stats = reader->stats();
    put(Kind::counter, "ephor_reader_superseded_events_total",
        "Events that policy latest passed over for a newer one of the same key.", labels,
        static_cast<double>(instance->superseded()));
    put(Kind::gauge, "ephor_reader_lag_seconds", "Age of the oldest event not handled yet.", labels,
        seconds_of(stats.lag_ns));
    put(Kind::gauge, "ephor_reader_on_journal", "1 while the ring no longer holds what comes next.",
        labels, reader->is_behind() ? 1 : 0);
    put_summary("ephor_reader_queue_delay_seconds", "From publication to hand-over, per event.",
                labels, reader->queue_delay().snapshot());
    put_summary("ephor_reader_handler_seconds", "Time in on_events, per slice of events.", labels,
                instance->subscription_stats().handler_time().snapshot());
  }
  const BusStats bus = bus_.stats();
  put(Kind::gauge, "ephor_bus_batches", "Batches in the ring.", {},
      static_cast<double>(bus.batches_live));
  put(Kind::gauge, "ephor_bus_bytes_max", "Bound of the ring in bytes.", {},
      static_cast<double>(bus.bytes_max));
  put(Kind::counter, "ephor_bus_batches_total", "Batches published.", {},
      static_cast<double>(bus.batches));
  std::size_t shown = 0;
  log_.topics().visit([&](std::uint16_t topic, std::uint64_t events, std::int64_t) {
    if (++shown > kTopicsShown) return;
    put(Kind::counter, "ephor_topic_events_total",
        "Events published since the start, by topic; at most 500 topics.",
        {{"topic", std::string(names_.topics.name(topic))}}, static_cast<double>(events));
  });
}

}  // namespace ephor::host
