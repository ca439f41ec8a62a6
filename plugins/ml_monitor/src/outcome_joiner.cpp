// SPDX-License-Identifier: Apache-2.0
#include "outcome_joiner.hpp"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace ephor::ml_monitor {
namespace {

// To tell a repeat from a correction only.
std::uint64_t hash_of(const Value& value) {
  constexpr std::uint64_t kNumberSalt = 0x9E3779B97F4A7C15;
  return value.kind == Value::Kind::kNumber
             ? std::bit_cast<std::uint64_t>(value.number) ^ kNumberSalt
             : value.label;
}

void save_value(StateWriter& out, const Value& value) {
  out.u8(static_cast<std::uint8_t>(value.kind));
  if (value.kind == Value::Kind::kLabel) out.u32(value.label);
  if (value.kind == Value::Kind::kNumber) out.f64(value.number);
}

[[noreturn]] void refuse(const char* what) {
  throw Error(EPHOR_INVALID, std::string("state: ") + what);
}

Value load_value(StateReader& in, const Labels& labels) {
  switch (in.u8()) {
    case static_cast<std::uint8_t>(Value::Kind::kLabel): {
      const LabelId id = in.u32();
      if (!labels.is_valid(id)) refuse("a class that has no name");
      return Value::of_label(id);
    }
    case static_cast<std::uint8_t>(Value::Kind::kNumber): {
      const double number = in.f64();
      if (!std::isfinite(number)) refuse("a value that is not finite");
      return Value::of_number(number);
    }
    default:
      refuse("a value of an unknown kind");
  }
}

void save_key(StateWriter& out, const Key& key) { out.u64(key.low).u64(key.high); }
Key load_key(StateReader& in) {
  Key key;
  key.low = in.u64();
  key.high = in.u64();
  return key;
}

}  // namespace

Key key_of(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.low64, hash.high64};
}

Key key_of(const Key& decision, const Key& model) {
  const std::uint64_t words[4] = {decision.low, decision.high, model.low, model.high};
  const XXH128_hash_t hash = XXH3_128bits(words, sizeof words);
  return {hash.low64, hash.high64};
}

// ---- storage
// --------------------------------------------------------------------------------------

template <typename Node>
std::uint32_t OutcomeJoiner::Slab<Node>::allocate(const Node& node) {
  if (free.empty()) {
    nodes.push_back(node);
    return static_cast<std::uint32_t>(nodes.size() - 1);
  }
  const std::uint32_t at = free.back();
  free.pop_back();
  nodes[at] = node;
  return at;
}

template <typename Node>
void OutcomeJoiner::Slab<Node>::release(std::uint32_t at) {
  free.push_back(at);
}

template <typename Node>
void OutcomeJoiner::Slab<Node>::append(std::uint32_t at) {
  nodes[at].previous = tail;
  nodes[at].next = kNone;
  (tail == kNone ? head : nodes[tail].next) = at;
  tail = at;
  ++listed;
}

template <typename Node>
void OutcomeJoiner::Slab<Node>::unlink(std::uint32_t at) {
  const Node& node = nodes[at];
  (node.previous == kNone ? head : nodes[node.previous].next) = node.next;
  (node.next == kNone ? tail : nodes[node.next].previous) = node.previous;
  --listed;
}

std::uint32_t OutcomeJoiner::find_entry(const Key& key) const {
  return index_.find(key.low, [&](std::uint32_t at) {
    return (at & kRememberedBit) != 0 ? remembered_[at & ~kRememberedBit].key == key
                                      : entries_.nodes[at].key == key;
  });
}

std::uint32_t OutcomeJoiner::find_decision(const Key& key) const {
  return decision_index_.find(key.low,
                              [&](std::uint32_t at) { return decisions_.nodes[at].key == key; });
}

std::uint32_t OutcomeJoiner::insert_entry(const Entry& entry) {
  const std::uint32_t at = entries_.allocate(entry);
  entries_.append(at);
  index_.insert(entry.key.low, at);
  ++(entry.is_outcome ? waiting_outcomes_ : waiting_predictions_);
  return at;
}

void OutcomeJoiner::remove_entry(std::uint32_t at) {
  const Entry& entry = entries_.nodes[at];
  index_.erase(entry.key.low, at);
  entries_.unlink(at);
  --(entry.is_outcome ? waiting_outcomes_ : waiting_predictions_);
  if (const std::uint32_t decision = entry.decision; decision != kNone) {
    Decision& node = decisions_.nodes[decision];
    auto& nodes = entries_.nodes;
    (entry.decision_previous == kNone ? node.first : nodes[entry.decision_previous].decision_next) =
        entry.decision_next;
    (entry.decision_next == kNone ? node.last : nodes[entry.decision_next].decision_previous) =
        entry.decision_previous;
    release_decision_if_empty(decision);
  }
  entries_.release(at);
}

void OutcomeJoiner::expire_entry(std::uint32_t at) {
  const Entry& entry = entries_.nodes[at];
  if (entry.is_outcome) {
    ++counts_.expired_outcomes;
  } else {
    ++counts_.expired_predictions;
    changes_.lost.push_back(entry.prediction);
  }
  remove_entry(at);
}

void OutcomeJoiner::evict_overflow() {
  while (entries_.listed > limits_.waiting_max) {
    const std::uint32_t at = entries_.head;
    const Entry& entry = entries_.nodes[at];
    if (entry.is_outcome) {
      ++counts_.evicted_outcomes;
    } else {
      ++counts_.evicted_predictions;
      changes_.lost.push_back(entry.prediction);
    }
    remove_entry(at);
  }
}

std::uint32_t OutcomeJoiner::decision_for(const Key& key) {
  if (const std::uint32_t found = find_decision(key); found != kNone) return found;
  Decision node;
  node.key = key;
  const std::uint32_t at = decisions_.allocate(node);
  decision_index_.insert(key.low, at);
  return at;
}

void OutcomeJoiner::link_to_decision(std::uint32_t entry, std::uint32_t decision) {
  Entry& linked = entries_.nodes[entry];
  Decision& node = decisions_.nodes[decision];
  linked.decision = decision;
  linked.decision_previous = node.last;
  (node.last == kNone ? node.first : entries_.nodes[node.last].decision_next) = entry;
  node.last = entry;
}

void OutcomeJoiner::release_decision_if_empty(std::uint32_t decision) {
  const Decision& node = decisions_.nodes[decision];
  if (node.has_outcome || node.first != kNone) return;
  decision_index_.erase(node.key.low, decision);
  decisions_.release(decision);
}

void OutcomeJoiner::drop_decision_outcome(std::uint32_t decision, std::uint64_t& counter) {
  Decision& node = decisions_.nodes[decision];
  if (!node.has_joined) {
    ++counter;
    --waiting_outcomes_;
  }
  decisions_.unlink(decision);
  node.has_outcome = false;
  release_decision_if_empty(decision);
}

void OutcomeJoiner::store_decision_outcome(std::uint32_t decision, const ActualOutcome& outcome) {
  Decision& node = decisions_.nodes[decision];
  node.outcome = outcome;
  node.has_outcome = true;
  node.has_joined = false;
  decisions_.append(decision);
  ++waiting_outcomes_;
}

void OutcomeJoiner::remember(const Key& key, std::uint64_t value_hash) {
  if (limits_.remembered_max == 0) return;
  const Remembered remembered{key, value_hash};
  if (remembered_.size() < limits_.remembered_max) {
    index_.insert(key.low, static_cast<std::uint32_t>(remembered_.size()) | kRememberedBit);
    remembered_.push_back(remembered);
    return;
  }
  const std::uint32_t reference = static_cast<std::uint32_t>(remembered_next_) | kRememberedBit;
  index_.erase(remembered_[remembered_next_].key.low, reference);
  remembered_[remembered_next_] = remembered;
  index_.insert(key.low, reference);
  remembered_next_ = (remembered_next_ + 1) % remembered_.size();
}

// ---- joining
// --------------------------------------------------------------------------------------

void OutcomeJoiner::clear_changes() {
  changes_.is_new = true;
  changes_.joined.clear();
  changes_.lost.clear();
}

bool OutcomeJoiner::is_too_far(std::int64_t older_ns, std::int64_t newer_ns) const {
  return newer_ns > older_ns &&
         static_cast<std::uint64_t>(newer_ns) - static_cast<std::uint64_t>(older_ns) >
             static_cast<std::uint64_t>(limits_.wait_ns_max);
}

void OutcomeJoiner::join(const Key& key, const PendingPrediction& prediction,
                         const ActualOutcome& outcome) {
  ++counts_.joined;
  changes_.joined.push_back({prediction, outcome});
  remember(key, hash_of(outcome.value));
}

void OutcomeJoiner::join_waiting(std::uint32_t at, const ActualOutcome& outcome) {
  const Key key = entries_.nodes[at].key;
  const PendingPrediction prediction = entries_.nodes[at].prediction;
  remove_entry(at);
  join(key, prediction, outcome);
}

void OutcomeJoiner::count_repeat(std::uint64_t known_hash, const Value& found) {
  changes_.is_new = false;
  ++(known_hash == hash_of(found) ? counts_.repeated_outcomes : counts_.corrected_outcomes);
}

void OutcomeJoiner::wait_for_prediction(const Key& key, const ActualOutcome& outcome) {
  Entry entry;
  entry.key = key;
  entry.is_outcome = true;
  entry.is_late = outcome.is_late;
  entry.prediction.time_ns = outcome.time_ns;
  entry.prediction.value = outcome.value;
  insert_entry(entry);
  evict_overflow();
}

const OutcomeJoiner::Changes& OutcomeJoiner::add_prediction(std::string_view prediction_id,
                                                            std::string_view decision_id,
                                                            std::string_view model_id,
                                                            const PendingPrediction& prediction) {
  clear_changes();
  const Key key = key_of(prediction_id);
  const auto give_up = [&]() -> const Changes& {
    ++counts_.expired_predictions;
    changes_.lost.push_back(prediction);
    return changes_;
  };
  if (const std::uint32_t at = find_entry(key); at != kNone) {
    if ((at & kRememberedBit) != 0) {
      changes_.is_new = false;
      ++counts_.repeated_predictions;
      return changes_;
    }
    const Entry& entry = entries_.nodes[at];
    if (is_too_far(entry.prediction.time_ns, prediction.time_ns)) {
      expire_entry(at);
    } else if (!entry.is_outcome) {
      changes_.is_new = false;
      ++counts_.repeated_predictions;
      return changes_;
    } else if (is_too_far(prediction.time_ns, entry.prediction.time_ns)) {
      return give_up();
    } else {
      const ActualOutcome outcome = entry.outcome();
      remove_entry(at);
      join(key, prediction, outcome);
      return changes_;
    }
  }

  Entry entry;
  entry.key = key;
  entry.prediction = prediction;
  std::uint32_t decision = kNone;
  if (!decision_id.empty()) {
    const Key decision_key = key_of(decision_id);
    entry.model = key_of(model_id);
    const Key of_model = key_of(decision_key, entry.model);
    if (const std::uint32_t at = find_entry(of_model);
        at != kNone && (at & kRememberedBit) == 0 && entries_.nodes[at].is_outcome) {
      const ActualOutcome outcome = entries_.nodes[at].outcome();
      if (is_too_far(outcome.time_ns, prediction.time_ns)) {
        expire_entry(at);
      } else if (is_too_far(prediction.time_ns, outcome.time_ns)) {
        return give_up();
      } else {
        remove_entry(at);
        remember(of_model, hash_of(outcome.value));
        join(key, prediction, outcome);
        return changes_;
      }
    }
    if (const std::uint32_t found = find_decision(decision_key);
        found != kNone && decisions_.nodes[found].has_outcome) {
      Decision& node = decisions_.nodes[found];
      if (is_too_far(node.outcome.time_ns, prediction.time_ns)) {
        drop_decision_outcome(found, counts_.expired_outcomes);
      } else if (is_too_far(prediction.time_ns, node.outcome.time_ns)) {
        return give_up();
      } else {
        if (!std::exchange(node.has_joined, true)) --waiting_outcomes_;
        join(key, prediction, node.outcome);
        return changes_;
      }
    }
    decision = decision_for(decision_key);
  }
  const std::uint32_t at = insert_entry(entry);
  if (decision != kNone) link_to_decision(at, decision);
  evict_overflow();
  return changes_;
}

const OutcomeJoiner::Changes& OutcomeJoiner::add_outcome(std::string_view prediction_id,
                                                         const ActualOutcome& outcome) {
  clear_changes();
  const Key key = key_of(prediction_id);
  if (const std::uint32_t at = find_entry(key); at != kNone) {
    if ((at & kRememberedBit) != 0) {
      count_repeat(remembered_[at & ~kRememberedBit].value_hash, outcome.value);
      return changes_;
    }
    const Entry& entry = entries_.nodes[at];
    if (is_too_far(entry.prediction.time_ns, outcome.time_ns)) {
      expire_entry(at);
    } else if (entry.is_outcome) {
      count_repeat(hash_of(entry.prediction.value), outcome.value);
      return changes_;
    } else if (is_too_far(outcome.time_ns, entry.prediction.time_ns)) {
      ++counts_.expired_outcomes;
      return changes_;
    } else {
      join_waiting(at, outcome);
      return changes_;
    }
  }
  wait_for_prediction(key, outcome);
  return changes_;
}

const OutcomeJoiner::Changes& OutcomeJoiner::add_decision_outcome(std::string_view decision_id,
                                                                  std::string_view model_id,
                                                                  const ActualOutcome& outcome) {
  clear_changes();
  const Key key = key_of(decision_id);
  const bool is_for_one_model = !model_id.empty();
  const Key model = is_for_one_model ? key_of(model_id) : Key{};
  std::uint32_t decision = find_decision(key);
  if (!is_for_one_model && decision != kNone && decisions_.nodes[decision].has_outcome) {
    Decision& node = decisions_.nodes[decision];
    if (!is_too_far(node.outcome.time_ns, outcome.time_ns)) {
      count_repeat(hash_of(node.outcome.value), outcome.value);
      return changes_;
    }
    drop_decision_outcome(decision, counts_.expired_outcomes);
    decision = find_decision(key);
  }

  // The decision must outlive its last prediction, so its outcome is stored first.
  if (!is_for_one_model) {
    if (decision == kNone) decision = decision_for(key);
    store_decision_outcome(decision, outcome);
  }
  if (decision != kNone) {
    std::uint32_t at = decisions_.nodes[decision].first;
    while (at != kNone) {
      const Entry& entry = entries_.nodes[at];
      const std::uint32_t next = entry.decision_next;
      if (!is_for_one_model || entry.model == model) {
        if (is_too_far(entry.prediction.time_ns, outcome.time_ns)) {
          expire_entry(at);
        } else if (!is_too_far(outcome.time_ns, entry.prediction.time_ns)) {
          join_waiting(at, outcome);
        }
      }
      at = next;
    }
  }
  const bool has_joined = !changes_.joined.empty();
  if (!is_for_one_model) {
    if (has_joined) {
      decisions_.nodes[decision].has_joined = true;
      --waiting_outcomes_;
    }
    while (decisions_.listed > limits_.waiting_max) {
      drop_decision_outcome(decisions_.head, counts_.evicted_outcomes);
    }
    return changes_;
  }

  const Key of_model = key_of(key, model);
  const std::uint32_t at = find_entry(of_model);
  if (has_joined) {
    // At most one of the two can be: a waiting outcome would have joined the prediction.
    if (at == kNone) remember(of_model, hash_of(outcome.value));
    return changes_;
  }
  if (at == kNone) {
    wait_for_prediction(of_model, outcome);
  } else if ((at & kRememberedBit) != 0) {
    count_repeat(remembered_[at & ~kRememberedBit].value_hash, outcome.value);
  } else if (is_too_far(entries_.nodes[at].prediction.time_ns, outcome.time_ns)) {
    expire_entry(at);
    wait_for_prediction(of_model, outcome);
  } else {
    count_repeat(hash_of(entries_.nodes[at].prediction.value), outcome.value);
  }
  return changes_;
}

const OutcomeJoiner::Changes& OutcomeJoiner::advance(std::int64_t log_time_ns) {
  clear_changes();
  while (entries_.head != kNone &&
         is_too_far(entries_.nodes[entries_.head].prediction.time_ns, log_time_ns)) {
    expire_entry(entries_.head);
  }
  while (decisions_.head != kNone &&
         is_too_far(decisions_.nodes[decisions_.head].outcome.time_ns, log_time_ns)) {
    drop_decision_outcome(decisions_.head, counts_.expired_outcomes);
  }
  return changes_;
}

// ---- state
// ----------------------------------------------------------------------------------------
// Everything in log order; hash tables and links are made anew. 53,000 waiting predictions of three
// classes take about 7 MB.

namespace {

void save_prediction(StateWriter& out, const PendingPrediction& prediction) {
  save_value(out, prediction.value);
  out.boolean(prediction.has_confidence);
  if (prediction.has_confidence) out.f64(prediction.confidence);
  out.u8(prediction.class_count);
  for (std::size_t i = 0; i < prediction.class_count; ++i) {
    out.f64(prediction.probability[i]).u32(prediction.probability_label[i]);
  }
  if (prediction.class_count > 0) out.f64(prediction.probability_square_sum);
  out.u32(prediction.model);
  out.varint(prediction.version).varint(prediction.symbol);
  out.u64(prediction.group).varint(prediction.cohort).varint(prediction.regime);
  out.boolean(prediction.has_own_regime).boolean(prediction.is_late);
}

void load_prediction(StateReader& in, const Labels& labels, PendingPrediction& prediction) {
  prediction.value = load_value(in, labels);
  prediction.has_confidence = in.boolean();
  if (prediction.has_confidence) prediction.confidence = in.f64();
  prediction.class_count = in.u8();
  if (prediction.class_count > PendingPrediction::kClassesMax) refuse("too many classes");
  for (std::size_t i = 0; i < prediction.class_count; ++i) {
    prediction.probability[i] = in.f64();
    prediction.probability_label[i] = in.u32();
    if (!labels.is_valid(prediction.probability_label[i])) refuse("a class that has no name");
  }
  if (prediction.class_count > 0) prediction.probability_square_sum = in.f64();
  prediction.model = in.u32();
  const std::uint64_t version = in.varint();
  const std::uint64_t symbol = in.varint();
  prediction.group = in.u64();
  const std::uint64_t cohort = in.varint();
  const std::uint64_t regime = in.varint();
  prediction.has_own_regime = in.boolean();
  prediction.is_late = in.boolean();
  if (version > UINT16_MAX || symbol > UINT16_MAX || cohort > UINT16_MAX || regime > UINT16_MAX) {
    refuse("a version, symbol or regime out of range");
  }
  prediction.cohort = static_cast<std::uint16_t>(cohort);
  prediction.regime = static_cast<std::uint16_t>(regime);
  prediction.version = static_cast<std::uint16_t>(version);
  prediction.symbol = static_cast<std::uint16_t>(symbol);
}

}  // namespace

void OutcomeJoiner::save(StateWriter& out) const {
  for (const std::uint64_t count :
       {counts_.joined, counts_.repeated_predictions, counts_.repeated_outcomes,
        counts_.corrected_outcomes, counts_.expired_predictions, counts_.expired_outcomes,
        counts_.evicted_predictions, counts_.evicted_outcomes}) {
    out.varint(count);
  }
  out.varint(remembered_.size());
  for (std::size_t i = 0; i < remembered_.size(); ++i) {
    const Remembered& item = remembered_[(remembered_next_ + i) % remembered_.size()];
    save_key(out, item.key);
    out.u64(item.value_hash);
  }
  out.varint(decisions_.listed);
  for (std::uint32_t at = decisions_.head; at != kNone; at = decisions_.nodes[at].next) {
    const Decision& node = decisions_.nodes[at];
    save_key(out, node.key);
    out.i64(node.outcome.time_ns).boolean(node.outcome.is_late).boolean(node.has_joined);
    save_value(out, node.outcome.value);
  }
  out.varint(entries_.listed);
  for (std::uint32_t at = entries_.head; at != kNone; at = entries_.nodes[at].next) {
    const Entry& entry = entries_.nodes[at];
    save_key(out, entry.key);
    out.i64(entry.prediction.time_ns).boolean(entry.is_outcome);
    if (entry.is_outcome) {
      out.boolean(entry.is_late);
      save_value(out, entry.prediction.value);
      continue;
    }
    out.boolean(entry.decision != kNone);
    if (entry.decision != kNone) {
      save_key(out, decisions_.nodes[entry.decision].key);
      save_key(out, entry.model);
    }
    save_prediction(out, entry.prediction);
  }
}

void OutcomeJoiner::load(StateReader& in, const Labels& labels,
                         const std::function<bool(const PendingPrediction&)>& is_known) {
  for (std::uint64_t* count :
       {&counts_.joined, &counts_.repeated_predictions, &counts_.repeated_outcomes,
        &counts_.corrected_outcomes, &counts_.expired_predictions, &counts_.expired_outcomes,
        &counts_.evicted_predictions, &counts_.evicted_outcomes}) {
    *count = in.varint();
  }
  for (std::size_t left = in.count(24); left > 0; --left) {
    const Key key = load_key(in);
    const std::uint64_t value_hash = in.u64();
    if (find_entry(key) != kNone) refuse("a joined id twice");
    remember(key, value_hash);
  }
  for (std::size_t left = in.count(16); left > 0; --left) {
    const Key key = load_key(in);
    if (find_decision(key) != kNone) refuse("a decision twice");
    ActualOutcome outcome;
    outcome.time_ns = in.i64();
    outcome.is_late = in.boolean();
    const bool has_joined = in.boolean();
    outcome.value = load_value(in, labels);
    const std::uint32_t at = decision_for(key);
    store_decision_outcome(at, outcome);
    if (has_joined) {
      decisions_.nodes[at].has_joined = true;
      --waiting_outcomes_;
    }
  }
  for (std::size_t left = in.count(16); left > 0; --left) {
    Entry entry;
    entry.key = load_key(in);
    if (find_entry(entry.key) != kNone) refuse("an id twice");
    entry.prediction.time_ns = in.i64();
    entry.is_outcome = in.boolean();
    std::optional<Key> decision;
    if (entry.is_outcome) {
      entry.is_late = in.boolean();
      entry.prediction.value = load_value(in, labels);
    } else {
      if (in.boolean()) {
        decision = load_key(in);
        entry.model = load_key(in);
      }
      load_prediction(in, labels, entry.prediction);
      if (!is_known(entry.prediction)) refuse("a model, version or symbol that is not there");
    }
    const std::uint32_t at = insert_entry(entry);
    if (decision) link_to_decision(at, decision_for(*decision));
  }
  // A smaller bound than at the time of saving is applied by the next event.
}

}  // namespace ephor::ml_monitor
