// SPDX-License-Identifier: Apache-2.0
//
// Brings predictions and their outcomes together, in whatever order they come.
//
// Both wait in one slab of fixed-size entries, found by the 128-bit hash of the prediction id (at
// 10^9 ids the chance of one wrong join is about 10^-21). An outcome for a whole decision joins the
// predictions linked to that decision, and is kept for those still to come. What is joined leaves
// the slab for a ring that only remembers the id and what came true, so that a repeat is known.
//
// Rules
//  - The first prediction of an id and the first outcome of a prediction count; later ones are
//    counted as repeated, or as a correction if they name another value.
//  - Two sides more than `wait_ns_max` apart in event time never join; the older one is given up.
//    That is decided by their times, so it does not matter when a tick passes.
//  - Above `waiting_max` the longest waiting (in log order) is given up.
//
// Not thread-safe. One prediction or outcome costs a few dependent memory reads, no allocation but
// for growth.
#pragma once

#include <array>
#include <cstdint>
#include <ephor/state.hpp>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "hash_index.hpp"
#include "labels.hpp"

namespace ephor::ml_monitor {

struct Key {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const Key&) const = default;
};
Key key_of(std::string_view text);
Key key_of(const Key& decision, const Key& model);

// What must be known of a prediction until its outcome comes.
struct PendingPrediction {
  static constexpr std::size_t kClassesMax = 6;

  std::int64_t time_ns = 0;
  Value value;
  double confidence = 0.0;
  double probability_square_sum = 0.0;
  std::array<double, kClassesMax> probability{};
  std::array<LabelId, kClassesMax> probability_label{};
  std::uint32_t model = 0;
  std::uint16_t version = 0;
  std::uint16_t symbol = 0;
  std::uint64_t group = 0;       // predictions about the same thing: peers
  std::uint16_t cohort = 0;      // number of the symbol among all symbols
  std::uint16_t regime = 0;      // its own, else that of its symbol at its time; 0: not told
  std::uint8_t class_count = 0;  // 0: no usable probabilities
  bool has_confidence = false;
  bool has_own_regime = false;
  bool is_late = false;  // behind its source's watermark
};

struct ActualOutcome {
  std::int64_t time_ns = 0;
  Value value;
  bool is_late = false;  // behind its source's watermark
};

struct Joined {
  PendingPrediction prediction;
  ActualOutcome outcome;
};

struct JoinerCounts {
  std::uint64_t joined = 0;
  std::uint64_t repeated_predictions = 0;
  std::uint64_t repeated_outcomes = 0;
  std::uint64_t corrected_outcomes = 0;
  std::uint64_t expired_predictions = 0;
  std::uint64_t expired_outcomes = 0;  // never joined to anything
  std::uint64_t evicted_predictions = 0;
  std::uint64_t evicted_outcomes = 0;
  bool operator==(const JoinerCounts&) const = default;
};

class OutcomeJoiner {
 public:
  struct Limits {
    std::size_t waiting_max = 200'000;     // predictions and outcomes, and decisions kept
    std::size_t remembered_max = 100'000;  // joined ids kept to know repeats
    std::int64_t wait_ns_max = 7LL * 24 * 3'600 * 1'000'000'000;
  };
  // What one call brought about, valid until the next call.
  struct Changes {
    bool is_new = true;          // false: a repeat, counted and otherwise ignored
    std::vector<Joined> joined;  // in log order of the predictions
    std::vector<PendingPrediction> lost;
  };

  explicit OutcomeJoiner(const Limits& limits) : limits_(limits) {}

  const Changes& add_prediction(std::string_view prediction_id, std::string_view decision_id,
                                std::string_view model_id, const PendingPrediction& prediction);
  const Changes& add_outcome(std::string_view prediction_id, const ActualOutcome& outcome);
  // For all predictions of the decision, or with `model_id` for those of one model.
  const Changes& add_decision_outcome(std::string_view decision_id, std::string_view model_id,
                                      const ActualOutcome& outcome);
  // Gives up what has waited longer than allowed at `log_time_ns`.
  const Changes& advance(std::int64_t log_time_ns);

  const JoinerCounts& counts() const { return counts_; }
  std::size_t waiting_predictions() const { return waiting_predictions_; }
  // Those that have joined nothing yet.
  std::size_t waiting_outcomes() const { return waiting_outcomes_; }

  void save(StateWriter& out) const;
  // `this` must be new. Throws Error if it is not what save wrote, names a class that is not there,
  // or a prediction that `is_known` denies.
  void load(StateReader& in, const Labels& labels,
            const std::function<bool(const PendingPrediction&)>& is_known);

 private:
  static constexpr std::uint32_t kNone = HashIndex::kNone;
  static constexpr std::uint32_t kRememberedBit = 0x80000000;

  struct Entry {
    Key key;
    Key model;                       // hash of the model id; kept only with a decision
    PendingPrediction prediction;    // of an outcome: its time and value
    std::uint32_t previous = kNone;  // in log order
    std::uint32_t next = kNone;
    std::uint32_t decision = kNone;
    std::uint32_t decision_previous = kNone;  // in log order, among its decision's predictions
    std::uint32_t decision_next = kNone;
    bool is_outcome = false;
    bool is_late = false;

    ActualOutcome outcome() const { return {prediction.time_ns, prediction.value, is_late}; }
  };
  // Lives while it has an outcome or waiting predictions.
  struct Decision {
    Key key;
    ActualOutcome outcome;
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
    std::uint32_t previous = kNone;  // among those with an outcome, in log order
    std::uint32_t next = kNone;
    bool has_outcome = false;
    bool has_joined = false;  // its outcome has joined a prediction
  };
  struct Remembered {
    Key key;
    std::uint64_t value_hash = 0;
  };
  // A vector with a free list and a doubly linked list in log order.
  template <typename Node>
  struct Slab {
    std::vector<Node> nodes;
    std::vector<std::uint32_t> free;
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
    std::size_t listed = 0;

    std::uint32_t allocate(const Node& node);
    void release(std::uint32_t at);
    void append(std::uint32_t at);
    void unlink(std::uint32_t at);
  };

  std::uint32_t find_entry(const Key& key) const;
  std::uint32_t find_decision(const Key& key) const;
  std::uint32_t insert_entry(const Entry& entry);
  void remove_entry(std::uint32_t at);
  void expire_entry(std::uint32_t at);
  void evict_overflow();
  std::uint32_t decision_for(const Key& key);
  void link_to_decision(std::uint32_t entry, std::uint32_t decision);
  void release_decision_if_empty(std::uint32_t decision);
  void drop_decision_outcome(std::uint32_t decision, std::uint64_t& counter);
  void store_decision_outcome(std::uint32_t decision, const ActualOutcome& outcome);
  // `older_ns` lies more than wait_ns_max before `newer_ns`.
  bool is_too_far(std::int64_t older_ns, std::int64_t newer_ns) const;
  void join(const Key& key, const PendingPrediction& prediction, const ActualOutcome& outcome);
  void join_waiting(std::uint32_t at, const ActualOutcome& outcome);
  void wait_for_prediction(const Key& key, const ActualOutcome& outcome);
  void remember(const Key& key, std::uint64_t value_hash);
  void count_repeat(std::uint64_t known_hash, const Value& found);
  void clear_changes();

  Limits limits_;
  JoinerCounts counts_;
  Changes changes_;
  std::size_t waiting_predictions_ = 0;
  std::size_t waiting_outcomes_ = 0;
  HashIndex index_;  // to entries and, with kRememberedBit, to the ring
  Slab<Entry> entries_;
  HashIndex decision_index_;
  Slab<Decision> decisions_;
  std::vector<Remembered> remembered_;  // a ring once it is full
  std::size_t remembered_next_ = 0;
};

}  // namespace ephor::ml_monitor
