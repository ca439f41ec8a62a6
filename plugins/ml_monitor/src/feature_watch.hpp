// SPDX-License-Identifier: Apache-2.0
//
// What goes into the models: per feature its distribution now against what it was (KS, PSI), and
// how often it is missing. Market features depend on themselves for hours, so that the plain KS
// test calls every calm hour a drift. A finding therefore needs a level that has shifted beyond the
// feature's own wandering (medians of blocks, see block_shift.hpp), a KS distance and a PSI of at
// least the threshold, and a change of its own: what moves while the level or spread of several
// other features moves is the market, and shown, not found.
#pragma once

#include <cstdint>
#include <ephor/findings.hpp>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "block_shift.hpp"
#include "drift_settings.hpp"
#include "hash_index.hpp"

namespace ephor::ml_monitor {

struct FeatureValue {
  std::string_view name;
  double value = 0.0;  // NaN: missing
};

// A sample of everything that was, in fixed memory: every n-th value; when it is full every other
// one is dropped and n doubles. The same values give the same sample.
class ReferenceSample {
 public:
  static constexpr std::size_t kSizeMax = 1024;

  void add(double value);
  const std::vector<double>& values() const { return values_; }  // in order of time
  std::uint64_t seen() const { return seen_; }
  void assign(std::vector<double> values, std::uint64_t seen);
  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  std::vector<double> values_;
  std::uint64_t seen_ = 0;
  std::uint64_t stride_ = 1;
};

class FeatureWatch {
 public:
  static constexpr std::size_t kContextsMax = 64;
  static constexpr std::size_t kNameBytesMax = 128;
  static constexpr std::size_t kBlocksMax = 192;

  FeatureWatch(const DriftSettings& settings, Findings& findings)
      : settings_(settings), findings_(findings), deviate_(settings.deviate()) {}

  // One event's features of one context (symbol, timeframe, model). Late ones count, and are
  // compared with nothing.
  void add(std::string_view symbol, std::string_view timeframe, std::string_view model,
           std::span<const FeatureValue> values, std::int64_t time_ns, bool is_late);
  // A distribution that is given as the reference: `sample` of any size, `count` values behind it.
  void set_reference(std::string_view feature, std::vector<double> sample, std::uint64_t count);

  Json to_json(std::size_t offset, std::size_t limit) const;
  Json counts_json() const;
  std::size_t size() const;

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  struct Feature {
    std::string name;
    // All events, in any order.
    std::uint64_t count = 0;
    std::uint64_t missing = 0;
    double mean = 0.0;
    double square_sum = 0.0;  // of deviations
    // In log order.
    std::vector<double> block;  // values of the block in hand
    std::uint32_t block_missing = 0;
    std::vector<double> window;                // values of the newest k_max blocks, oldest first
    std::vector<std::uint32_t> window_counts;  // of each of these blocks
    ReferenceSample reference;
    bool has_given_reference = false;
    std::vector<ShiftBlock> levels;   // median of each block
    std::vector<ShiftBlock> spreads;  // its interquartile range
    std::vector<ShiftBlock> gaps;     // share missing
    double opened_level = 0.0;        // of the open finding
    double opened_gap = 0.0;
    std::uint64_t open_blocks = 0;
    bool is_with_market = false;  // it has moved, and so have others
    bool is_seen = false;         // in the event in hand
  };
  struct Context {
    std::string symbol;
    std::string timeframe;
    std::string model;
    std::vector<Feature> features;
    std::vector<std::int64_t> begins;  // of the blocks of its features, as many as levels
    std::int64_t block_begin_ns = kNoTime;
    std::uint64_t events_in_block = 0;
    std::uint64_t events = 0;
  };
  struct Distance {
    double ks = 0.0;
    double psi = 0.0;
    double p_independent = 1.0;
    double p_blocks = 1.0;
    std::size_t reference_count = 0;
    std::size_t current_count = 0;
    double reference_spread = 0.0;  // interquartile range
    double reference_median = 0.0;
    double current_median = 0.0;
  };

  Context* context_of(std::string_view symbol, std::string_view timeframe, std::string_view model);
  Feature* feature_of(Context& context, std::string_view name, std::size_t hint);
  void close_block(Context& context, std::int64_t now_ns);
  void judge(Context& context, std::int64_t now_ns);
  void judge_missing(Context& context, Feature& feature, std::int64_t now_ns);
  void follow_open(Feature& feature, std::int64_t now_ns);
  std::optional<Distance> distance(const Feature& feature, std::size_t k, const Shift* shift) const;
  Json shift_evidence(const Context& context, const Feature& feature, const Shift& shift) const;
  std::int64_t onset_of(const Context& context, std::size_t k) const;

  const DriftSettings settings_;
  Findings& findings_;
  double deviate_;
  std::vector<Context> contexts_;
  std::size_t last_context_ = 0;
  std::size_t feature_count_ = 0;
  std::uint64_t beyond_bound_ = 0;
};

}  // namespace ephor::ml_monitor
