// SPDX-License-Identifier: Apache-2.0
#include "core/gap_ledger.hpp"

#include <algorithm>

#include "core/event_log.hpp"
#include "core/logger.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kMissedKept = 16;  // of one instance

JournalGap gap_of(std::uint64_t first_position, std::uint64_t last_position, std::string why) {
  JournalGap gap;
  gap.first_sequence = sequence_of(first_position, 0);
  gap.last_sequence = sequence_of(last_position + 1, 0) - 1;
  gap.batches = last_position - first_position + 1;
  gap.why = std::move(why);
  gap.at_ns = wall_clock_ns();
  return gap;
}

}  // namespace

std::string described_gap(const JournalGap& gap) {
  std::string text = "sequences " + std::to_string(gap.first_sequence) + " to " +
                     std::to_string(gap.last_sequence) + " (" + std::to_string(gap.batches) +
                     (gap.batches == 1 ? " batch, " : " batches, ");
  text += gap.events ? std::to_string(*gap.events) : "an unknown number of";
  text += " events): ";
  text += gap.why;
  return text;
}

GapLedger::GapLedger(Journal& journal, const LogReader& reader, MetricRegistry& metrics)
    : journal_(journal), reader_(reader), metrics_(metrics) {}

GapLedger::Step GapLedger::next(const std::string& instance, std::uint64_t from_sequence,
                                StoredBatch& stored, std::vector<ephor_event>& events) {
  const std::uint64_t from = position_of(from_sequence);
  const std::uint64_t last = journal_.last_position();
  Step step;
  step.next_sequence = from_sequence;
  std::uint64_t position = from;
  for (;;) {
    try {
      step.has_batch = reader_.next(position, stored, events);
      break;
    } catch (const DamageError& damage) {
      events.clear();
      note_damage(damage);
      if (damage.last_position < position) throw;
      position = damage.last_position + 1;
    }
  }
  // At the end of the log nothing is missing; before it, everything is that was not found.
  const std::uint64_t reached = step.has_batch ? stored.position : std::max(from, last + 1);
  if (reached > from) {
    step.next_sequence = sequence_of(reached, 0);
    step.gap = pass(instance, from, reached - 1);
  }
  return step;
}

void GapLedger::note_damage(const DamageError& damage) {
  if (damage.first_position == 0) {
    log(EPHOR_LOG_ERROR, kHostName, damage.what());
    return;
  }
  JournalGap gap = gap_of(damage.first_position, damage.last_position, damage.what());
  if (damage.events != 0) gap.events = damage.events;
  if (!journal_.record_gap(gap)) return;
  log(EPHOR_LOG_ERROR, kHostName, "journal gap: " + described_gap(gap));
  const std::scoped_lock lock(mutex_);
  new_.push_back(std::move(gap));
}

std::string GapLedger::pass(const std::string& instance, std::uint64_t first_position,
                            std::uint64_t last_position) {
  const std::uint64_t first = sequence_of(first_position, 0);
  const std::uint64_t end = sequence_of(last_position + 1, 0) - 1;
  JournalGap missing = gap_of(first_position, last_position, "missing");
  journal_.record_gap(missing);  // if nothing says why
  std::uint64_t events = 0;
  bool is_known = true;
  std::string why;
  for (const JournalGap& gap : journal_.gaps()) {
    if (gap.last_sequence < first || gap.first_sequence > end) continue;
    is_known = is_known && gap.events && gap.first_sequence >= first && gap.last_sequence <= end;
    events += gap.events.value_or(0);
    if (why.find(gap.why) == std::string::npos) why += (why.empty() ? "" : "; ") + gap.why;
  }
  if (is_known) missing.events = events;
  missing.why = why;
  const std::string text = "its figures are partial; journal gap: " + described_gap(missing);
  log(EPHOR_LOG_WARNING, instance, text);
  metrics_
      .series(MetricRegistry::Kind::counter, "ephor_journal_gap_events_total",
              "Events that the instance could not read, where their number is known.",
              {{"instance", instance}})
      .value.fetch_add(static_cast<double>(missing.events.value_or(0)));
  metrics_
      .series(MetricRegistry::Kind::counter, "ephor_journal_gap_batches_total",
              "Batches that the instance could not read.", {{"instance", instance}})
      .value.fetch_add(static_cast<double>(missing.batches));
  const std::scoped_lock lock(mutex_);
  std::vector<std::string>& missed = missed_[instance];
  if (missed.size() < kMissedKept) missed.push_back(text);
  return text;
}

std::vector<JournalGap> GapLedger::take_new() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(new_, {});
}

std::map<std::string, std::vector<std::string>> GapLedger::missed() const {
  const std::scoped_lock lock(mutex_);
  return missed_;
}

}  // namespace ephor::host
