// SPDX-License-Identifier: Apache-2.0
#include "feature_watch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "figure.hpp"
#include "times.hpp"
#include "two_sample.hpp"

namespace ephor::ml_monitor {
namespace {

constexpr double kFarBeyond = 1.5;

void set_excluded(std::vector<ShiftBlock>& blocks, std::size_t k, bool is_excluded) {
  for (std::size_t i = blocks.size() - std::min(k, blocks.size()); i < blocks.size(); ++i) {
    blocks[i].is_excluded = is_excluded;
  }
}

template <typename Item>
void push_bounded(std::vector<Item>& list, Item item, std::size_t size_max) {
  if (list.size() == size_max) list.erase(list.begin());
  list.push_back(std::move(item));
}

Json quantiles_json(const std::vector<double>& sorted) {
  if (sorted.empty()) return Json();
  Json out = Json::object();
  for (const auto& [name, share] :
       {std::pair("0.05", 0.05), std::pair("0.25", 0.25), std::pair("0.5", 0.5),
        std::pair("0.75", 0.75), std::pair("0.95", 0.95)}) {
    out[name] = sorted_quantile(sorted, share);
  }
  return out;
}

void save_blocks(StateWriter& out, const std::vector<ShiftBlock>& blocks) {
  out.varint(blocks.size());
  for (const ShiftBlock& block : blocks) {
    out.boolean(block.is_excluded).boolean(!block.parts().empty());
    if (!block.parts().empty())
      out.varint(block.parts()[0].count).f64(block.parts()[0].sum).f64(block.parts()[0].squares);
  }
}

void load_blocks(StateReader& in, std::vector<ShiftBlock>& blocks) {
  blocks.resize(in.count(2));
  if (blocks.size() > FeatureWatch::kBlocksMax) {
    throw Error(EPHOR_INVALID, "state: too many blocks of a feature");
  }
  for (ShiftBlock& block : blocks) {
    block.is_excluded = in.boolean();
    if (!in.boolean()) continue;
    const auto count = static_cast<std::uint32_t>(in.varint());
    const double sum = in.f64();
    block.add({0, count, sum, in.f64()});
  }
}

void save_numbers(StateWriter& out, const std::vector<double>& numbers) {
  out.varint(numbers.size());
  for (const double number : numbers) out.f64(number);
}

// A comparison with NaN would break every sort.
double finite_in(StateReader& in) {
  const double number = in.f64();
  if (!std::isfinite(number)) throw Error(EPHOR_INVALID, "state: a value that is no number");
  return number;
}

void load_numbers(StateReader& in, std::vector<double>& numbers) {
  numbers.resize(in.count(8));
  for (double& number : numbers) number = finite_in(in);
}

}  // namespace

// ---- ReferenceSample
// ------------------------------------------------------------------------------

void ReferenceSample::add(double value) {
  if (seen_++ % stride_ != 0) return;
  if (values_.size() == kSizeMax) {
    for (std::size_t i = 0; i * 2 < values_.size(); ++i) values_[i] = values_[i * 2];
    values_.resize(values_.size() / 2);
    stride_ *= 2;
    if ((seen_ - 1) % stride_ != 0) return;
  }
  values_.push_back(value);
}

void ReferenceSample::assign(std::vector<double> values, std::uint64_t seen) {
  values_ = std::move(values);
  if (values_.size() > kSizeMax) values_.resize(kSizeMax);
  seen_ = seen;
  stride_ = 1;
}

void ReferenceSample::save(StateWriter& out) const {
  out.varint(seen_).varint(stride_);
  save_numbers(out, values_);
}

void ReferenceSample::load(StateReader& in) {
  seen_ = in.varint();
  stride_ = in.varint();
  load_numbers(in, values_);
  if (stride_ == 0 || values_.size() > kSizeMax) {
    throw Error(EPHOR_INVALID, "state: a reference sample of a wrong size");
  }
}

// ---- what comes in
// --------------------------------------------------------------------------------

FeatureWatch::Context* FeatureWatch::context_of(std::string_view symbol, std::string_view timeframe,
                                                std::string_view model) {
  const auto is_it = [&](const Context& context) {
    return context.symbol == symbol && context.timeframe == timeframe && context.model == model;
  };
  if (last_context_ < contexts_.size() && is_it(contexts_[last_context_])) {
    return &contexts_[last_context_];
  }
  for (std::size_t i = 0; i < contexts_.size(); ++i) {
    if (!is_it(contexts_[i])) continue;
    last_context_ = i;
    return &contexts_[i];
  }
  if (contexts_.size() >= kContextsMax) return nullptr;
  contexts_.emplace_back();
  contexts_.back().symbol = symbol;
  contexts_.back().timeframe = timeframe;
  contexts_.back().model = model;
  last_context_ = contexts_.size() - 1;
  return &contexts_.back();
}

// `hint`: where it was in the events before.
FeatureWatch::Feature* FeatureWatch::feature_of(Context& context, std::string_view name,
                                                std::size_t hint) {
  if (hint < context.features.size() && context.features[hint].name == name) {
    return &context.features[hint];
  }
  for (Feature& feature : context.features) {
    if (feature.name == name) return &feature;
  }
  if (feature_count_ >= settings_.features_max || name.size() > kNameBytesMax) {
    ++beyond_bound_;
    return nullptr;
  }
  ++feature_count_;
  Feature& made = context.features.emplace_back();
  made.name = name;
  // Blocks that were before it say nothing of it; they keep its list in step.
  made.levels.resize(context.begins.size());
  made.spreads.resize(context.begins.size());
  made.gaps.resize(context.begins.size());
  return &made;
}

void FeatureWatch::add(std::string_view symbol, std::string_view timeframe, std::string_view model,
                       std::span<const FeatureValue> values, std::int64_t time_ns, bool is_late) {
  Context* const context = context_of(symbol, timeframe, model);
  if (context == nullptr) {
    ++beyond_bound_;
    return;
  }
  ++context->events;
  std::size_t hint = 0;
  for (const FeatureValue& item : values) {
    Feature* const feature = feature_of(*context, item.name, hint++);
    if (feature == nullptr || std::isnan(item.value)) continue;
    feature->is_seen = true;
    ++feature->count;
    const double deviation = item.value - feature->mean;
    feature->mean += deviation / static_cast<double>(feature->count);
    feature->square_sum += deviation * (item.value - feature->mean);
    if (!is_late) feature->block.push_back(item.value);
  }
  for (Feature& feature : context->features) {
    if (std::exchange(feature.is_seen, false)) continue;
    ++feature.missing;
    if (!is_late) ++feature.block_missing;
  }
  if (is_late) return;
  if (context->events_in_block++ == 0) context->block_begin_ns = time_ns;
  if (context->events_in_block >= settings_.cohort.block_decisions) close_block(*context, time_ns);
}

void FeatureWatch::close_block(Context& context, std::int64_t now_ns) {
  const std::size_t window_blocks = settings_.cohort.shift.k_max;
  push_bounded(context.begins, context.block_begin_ns, kBlocksMax);
  for (Feature& feature : context.features) {
    const auto size = static_cast<std::uint32_t>(feature.block.size());
    feature.window.insert(feature.window.end(), feature.block.begin(), feature.block.end());
    feature.window_counts.push_back(size);
    if (feature.window_counts.size() > window_blocks) {
      const auto oldest = static_cast<std::ptrdiff_t>(feature.window_counts.front());
      const std::size_t place = feature.levels.size() + 1 - feature.window_counts.size();
      const bool is_excluded = place < feature.levels.size() && feature.levels[place].is_excluded;
      if (!is_excluded && !feature.has_given_reference) {
        for (std::ptrdiff_t i = 0; i < oldest; ++i) {
          feature.reference.add(feature.window[static_cast<std::size_t>(i)]);
        }
      }
      feature.window.erase(feature.window.begin(), feature.window.begin() + oldest);
      feature.window_counts.erase(feature.window_counts.begin());
    }
    ShiftBlock level;
    ShiftBlock gap;
    ShiftBlock spread;
    level.is_excluded = !feature.levels.empty() && feature.levels.back().is_excluded;
    gap.is_excluded = !feature.gaps.empty() && feature.gaps.back().is_excluded;
    if (size > 0) {
      std::sort(feature.block.begin(), feature.block.end());
      level.add(StratumSum::level(0, size, sorted_quantile(feature.block, 0.5)));
      spread.add(StratumSum::level(
          0, size, sorted_quantile(feature.block, 0.75) - sorted_quantile(feature.block, 0.25)));
    }
    if (const std::uint32_t total = size + feature.block_missing; total > 0) {
      const double missing = feature.block_missing;
      gap.add({0, total, missing, missing});
    }
    push_bounded(feature.levels, level, kBlocksMax);
    push_bounded(feature.spreads, spread, kBlocksMax);
    push_bounded(feature.gaps, gap, kBlocksMax);
    feature.block.clear();
    feature.block_missing = 0;
  }
  context.events_in_block = 0;
  judge(context, now_ns);
}

// ---- judging a block
// ------------------------------------------------------------------------------

std::int64_t FeatureWatch::onset_of(const Context& context, std::size_t k) const {
  return context.begins[context.begins.size() - std::min(k, context.begins.size())];
}

std::optional<FeatureWatch::Distance> FeatureWatch::distance(const Feature& feature, std::size_t k,
                                                             const Shift* shift) const {
  std::size_t current = 0;
  const std::size_t blocks = std::min(k, feature.window_counts.size());
  for (std::size_t i = feature.window_counts.size() - blocks; i < feature.window_counts.size();
       ++i) {
    current += feature.window_counts[i];
  }
  std::vector<double> now(feature.window.end() - static_cast<std::ptrdiff_t>(current),
                          feature.window.end());
  std::vector<double> then = feature.reference.values();
  if (!feature.has_given_reference) {
    // The part of the window that is neither current nor of a finding.
    std::size_t at = 0;
    const std::size_t first = feature.levels.size() - feature.window_counts.size();
    for (std::size_t i = 0; i + blocks < feature.window_counts.size(); ++i) {
      const std::size_t end = at + feature.window_counts[i];
      if (!feature.levels[first + i].is_excluded) {
        then.insert(then.end(), feature.window.begin() + static_cast<std::ptrdiff_t>(at),
                    feature.window.begin() + static_cast<std::ptrdiff_t>(end));
      }
      at = end;
    }
  }
  if (now.size() < 2 || then.size() < 2) return std::nullopt;
  std::sort(now.begin(), now.end());
  std::sort(then.begin(), then.end());
  Distance out;
  out.ks = ks_statistic(then, now);
  out.psi = psi(then, now, settings_.psi);
  out.reference_count = then.size();
  out.current_count = now.size();
  out.p_independent =
      ks_p_value(out.ks, static_cast<double>(then.size()), static_cast<double>(now.size()));
  if (shift != nullptr) {
    out.p_blocks = ks_p_value(out.ks, static_cast<double>(shift->reference_blocks),
                              static_cast<double>(shift->current_blocks));
  }
  out.reference_spread = sorted_quantile(then, 0.75) - sorted_quantile(then, 0.25);
  out.reference_median = sorted_quantile(then, 0.5);
  out.current_median = sorted_quantile(now, 0.5);
  return out;
}

void FeatureWatch::judge(Context& context, std::int64_t now_ns) {
  const ShiftLimits& limits = settings_.cohort.shift;
  std::vector<std::optional<Shift>> shifts;
  for (Feature& feature : context.features) {
    follow_open(feature, now_ns);
    judge_missing(context, feature, now_ns);
    shifts.push_back(greatest_shift(feature.levels, Direction::kBoth, limits, deviate_));
  }
  for (std::size_t i = 0; i < context.features.size(); ++i) {
    Feature& feature = context.features[i];
    feature.is_with_market = false;
    const std::optional<Shift>& shift = shifts[i];
    if (!shift || std::abs(shift->z) < deviate_) continue;
    // Others that move at the same time, at half the limit; for one that moves far beyond the limit
    // half as clearly as it does.
    const double z = std::abs(shift->z);
    const double half = z >= kFarBeyond * deviate_ ? z / 2.0 : deviate_ / 2.0;
    std::size_t others = 0;
    for (std::size_t j = 0; j < context.features.size(); ++j) {
      if (j == i) continue;
      const auto moves = [&](const std::vector<ShiftBlock>& blocks) {
        const auto same = shift_at(blocks, shift->k, limits);
        return same && std::abs(same->z) >= half;
      };
      others += moves(context.features[j].levels) || moves(context.features[j].spreads) ? 1 : 0;
    }
    if (others >= 2 && others * 4 >= context.features.size()) {
      feature.is_with_market = true;
      continue;
    }
    if (findings_.find_open("feature_drift", feature.name) != nullptr) continue;
    const auto moved = distance(feature, shift->k, &*shift);
    if (!moved || moved->psi < settings_.threshold) continue;
    // The distance must be beyond doubt too: less the 95 % band of two samples of one law.
    const double band = 1.358 * std::sqrt(1.0 / static_cast<double>(moved->reference_count) +
                                          1.0 / static_cast<double>(moved->current_count));
    if (moved->ks - band < settings_.threshold) continue;
    const double low = std::abs(shift->difference) - Shift::kZ95 * shift->standard_error;
    if (low < settings_.threshold * moved->reference_spread) continue;
    const auto last = shift_at(feature.levels, 2, limits);
    if (!last || last->difference * shift->difference <= 0.0 ||
        std::abs(last->difference) < std::abs(shift->difference) / 2.0) {
      continue;
    }
    Finding finding;
    finding.kind = "feature_drift";
    finding.target = feature.name;
    finding.target_kind = "feature";
    finding.severity = "warning";
    const std::size_t k = clearest_onset(
        feature.levels, shift->difference > 0.0 ? Direction::kUp : Direction::kDown, limits);
    finding.onset_ns = onset_of(context, k);
    finding.detected_ns = now_ns;
    finding.evidence = shift_evidence(context, feature, *shift);
    finding.evidence["features_moving_with_it"] = others;
    finding.summary = feature.name + " has moved since " + rfc3339(finding.onset_ns) + ": median " +
                      figure(moved->reference_median) + " before, " +
                      figure(moved->current_median) + " now; KS distance " + figure(moved->ks) +
                      ", PSI " + figure(moved->psi) + " over " +
                      std::to_string(moved->current_count) + " values against " +
                      std::to_string(moved->reference_count) + ".";
    if (!findings_.open(std::move(finding))) continue;
    set_excluded(feature.levels, std::max(k, shift->k), true);
    feature.opened_level = shift->difference;
    feature.open_blocks = 0;
  }
}

Json FeatureWatch::shift_evidence(const Context& context, const Feature& feature,
                                  const Shift& shift) const {
  Json out = {{"detector", "block medians, KS and PSI"},
              {"symbol", text_or_null(context.symbol)},
              {"timeframe", text_or_null(context.timeframe)},
              {"model_id", text_or_null(context.model)},
              {"median_reference", shift.reference_mean},
              {"median_difference", shift.difference},
              {"median_difference_low_95", shift.low()},
              {"median_difference_high_95", shift.high()},
              {"z", shift.z},
              {"z_limit", deviate_},
              {"p_value", normal_tail(std::abs(shift.z))},
              {"autocorrelation", shift.autocorrelation},
              {"reference_blocks", shift.reference_blocks},
              {"current_blocks", shift.current_blocks},
              {"block_decisions", settings_.cohort.block_decisions},
              {"drift_threshold", settings_.threshold},
              {"false_alarm_budget_per_10000_blocks", settings_.false_alarm_budget},
              {"ruled_out", Json::array({"the feature's own wandering: blocks, autocorrelation",
                                         "the market: fewer than two other features, or fewer "
                                         "than a quarter of them, move with it"})}};
  if (const auto moved = distance(feature, shift.k, &shift)) {
    out["ks_statistic"] = moved->ks;
    out["ks_p_independent"] = moved->p_independent;
    out["ks_p_blocks"] = moved->p_blocks;
    out["psi"] = moved->psi;
    out["psi_binning"] = name_of(settings_.psi.binning);
    out["psi_bins"] = settings_.psi.bins;
    out["n_reference"] = moved->reference_count;
    out["n_current"] = moved->current_count;
  }
  return out;
}

void FeatureWatch::judge_missing(Context& context, Feature& feature, std::int64_t now_ns) {
  if (findings_.find_open("missing_data", feature.name) != nullptr) return;
  const auto newest = feature.gaps.back().parts();
  if (newest.empty() || newest[0].sum == 0.0) return;  // nearly always
  const auto shift = greatest_shift(feature.gaps, Direction::kUp, settings_.cohort.shift, deviate_);
  if (!shift || shift->z < deviate_ || shift->low() < settings_.threshold) return;
  const auto last = shift_at(feature.gaps, 2, settings_.cohort.shift);
  if (!last || last->difference < shift->difference / 2.0) return;
  Finding finding;
  finding.kind = "missing_data";
  finding.target = feature.name;
  finding.target_kind = "feature";
  finding.severity = "warning";
  const std::size_t k = clearest_onset(feature.gaps, Direction::kUp, settings_.cohort.shift);
  finding.onset_ns = onset_of(context, k);
  finding.detected_ns = now_ns;
  finding.summary = feature.name + " is missing in " +
                    figure((shift->reference_mean + shift->difference) * 100.0) +
                    " % of the events since " + rfc3339(finding.onset_ns) + ", before in " +
                    figure(shift->reference_mean * 100.0) + " %.";
  finding.evidence = {{"detector", "share missing per block"},
                      {"symbol", text_or_null(context.symbol)},
                      {"share_before", shift->reference_mean},
                      {"share_now", shift->reference_mean + shift->difference},
                      {"n_before", shift->reference_count},
                      {"n_now", shift->current_count},
                      {"z", shift->z},
                      {"z_limit", deviate_},
                      {"drift_threshold", settings_.threshold}};
  if (!findings_.open(std::move(finding))) return;
  set_excluded(feature.gaps, std::max(k, shift->k), true);
  feature.opened_gap = shift->difference;
  feature.open_blocks = 0;
}

void FeatureWatch::follow_open(Feature& feature, std::int64_t now_ns) {
  ++feature.open_blocks;
  const std::size_t k = settings_.cohort.shift.k_min;
  if (feature.open_blocks < k) return;
  const auto follow = [&](std::string_view kind, std::vector<ShiftBlock>& blocks, double& opened) {
    if (opened == 0.0 || findings_.find_open(kind, feature.name) == nullptr) return;
    ShiftLimits limits = settings_.cohort.shift;
    limits.counts_excluded = true;  // they are what is asked for
    const auto now = shift_at(blocks, k, limits);
    if (!now) {
      if (feature.open_blocks < kBlocksMax / 2) return;
      findings_.close(kind, feature.name, now_ns, "what it was compared with is too long ago");
      set_excluded(blocks, kBlocksMax, false);
      opened = 0.0;
      return;
    }
    const double left = opened > 0.0 ? now->difference : -now->difference;
    const double deviate = opened > 0.0 ? now->z : -now->z;
    // A steady figure (a share that is zero) has no spread: then the size alone decides.
    if (left >= std::abs(opened) / 2.0 || (deviate >= 2.0 && left >= std::abs(opened) / 4.0))
      return;
    findings_.close(kind, feature.name, now_ns,
                    "back to within " + figure(left) + " of the reference");
    set_excluded(blocks, k, false);
    opened = 0.0;
  };
  follow("feature_drift", feature.levels, feature.opened_level);
  follow("missing_data", feature.gaps, feature.opened_gap);
}

void FeatureWatch::set_reference(std::string_view name, std::vector<double> sample,
                                 std::uint64_t count) {
  std::sort(sample.begin(), sample.end());
  for (Context& context : contexts_) {
    for (Feature& feature : context.features) {
      if (feature.name != name) continue;
      feature.reference.assign(sample, count);
      feature.has_given_reference = true;
    }
  }
}

// ---- answers
// --------------------------------------------------------------------------------------

std::size_t FeatureWatch::size() const { return feature_count_; }

Json FeatureWatch::to_json(std::size_t offset, std::size_t limit) const {
  std::vector<std::pair<const Context*, const Feature*>> order;
  for (const Context& context : contexts_) {
    for (const Feature& feature : context.features) order.emplace_back(&context, &feature);
  }
  std::sort(order.begin(), order.end(), [](const auto& left, const auto& right) {
    const auto key = [](const auto& item) {
      return std::tie(item.second->name, item.first->symbol, item.first->timeframe,
                      item.first->model);
    };
    return key(left) < key(right);
  });
  Json list = Json::array();
  for (std::size_t i = offset; i < order.size() && i - offset < limit; ++i) {
    const auto& [context, feature] = order[i];
    const auto shift = greatest_shift(feature->levels, Direction::kBoth, settings_.cohort.shift);
    const std::size_t k = shift ? shift->k : settings_.cohort.shift.k_max;
    const auto moved = distance(*feature, k, shift ? &*shift : nullptr);
    std::vector<double> now = feature->window;
    std::vector<double> then = feature->reference.values();
    std::sort(now.begin(), now.end());
    std::sort(then.begin(), then.end());
    const double n = static_cast<double>(feature->count);
    Json open = Json::array();
    for (const char* kind : {"feature_drift", "missing_data"}) {
      if (const Finding* finding = findings_.find_open(kind, feature->name)) {
        open.push_back(findings_.id_of(*finding));
      }
    }
    list.push_back(
        {{"feature", feature->name},
         {"symbol", text_or_null(context->symbol)},
         {"timeframe", text_or_null(context->timeframe)},
         {"model_id", text_or_null(context->model)},
         {"count", feature->count},
         {"missing", feature->missing},
         {"mean", feature->count > 0 ? number_or_null(feature->mean) : Json()},
         {"standard_deviation",
          feature->count > 1 ? number_or_null(std::sqrt(feature->square_sum / (n - 1.0))) : Json()},
         {"quantiles_now", quantiles_json(now)},
         {"quantiles_reference", quantiles_json(then)},
         {"reference",
          {{"n", then.size()},
           {"values_behind", feature->reference.seen()},
           {"is_given", feature->has_given_reference}}},
         {"current_blocks", k},
         {"n_current", moved ? Json(moved->current_count) : Json()},
         {"n_reference", moved ? Json(moved->reference_count) : Json()},
         {"ks_statistic", moved ? number_or_null(moved->ks) : Json()},
         {"ks_p_independent", moved ? number_or_null(moved->p_independent) : Json()},
         {"ks_p_blocks", moved && shift ? number_or_null(moved->p_blocks) : Json()},
         {"psi", moved ? number_or_null(moved->psi) : Json()},
         {"psi_binning", name_of(settings_.psi.binning)},
         {"psi_bins", settings_.psi.bins},
         {"z", shift ? number_or_null(shift->z) : Json()},
         {"z_limit", deviate_},
         {"moves_with_market", feature->is_with_market},
         {"open_findings", std::move(open)}});
  }
  return {{"features_total", order.size()},
          {"offset", offset},
          {"limit", limit},
          {"features", std::move(list)}};
}

Json FeatureWatch::counts_json() const {
  std::uint64_t events = 0;
  for (const Context& context : contexts_) events += context.events;
  return {{"events", events},
          {"contexts", contexts_.size()},
          {"features", feature_count_},
          {"beyond_bound", beyond_bound_}};
}

// ---- state
// ----------------------------------------------------------------------------------------

void FeatureWatch::save(StateWriter& out) const {
  out.varint(beyond_bound_).varint(contexts_.size());
  for (const Context& context : contexts_) {
    out.text(context.symbol).text(context.timeframe).text(context.model);
    out.varint(context.events).varint(context.events_in_block).i64(context.block_begin_ns);
    out.varint(context.begins.size());
    for (const std::int64_t begin : context.begins) out.i64(begin);
    out.varint(context.features.size());
    for (const Feature& feature : context.features) {
      out.text(feature.name).varint(feature.count).varint(feature.missing);
      out.f64(feature.mean).f64(feature.square_sum);
      save_numbers(out, feature.block);
      out.varint(feature.block_missing);
      save_numbers(out, feature.window);
      out.varint(feature.window_counts.size());
      for (const std::uint32_t count : feature.window_counts) out.varint(count);
      feature.reference.save(out);
      out.boolean(feature.has_given_reference);
      save_blocks(out, feature.levels);
      save_blocks(out, feature.spreads);
      save_blocks(out, feature.gaps);
      out.f64(feature.opened_level).f64(feature.opened_gap).varint(feature.open_blocks);
      out.boolean(feature.is_with_market);
    }
  }
}

void FeatureWatch::load(StateReader& in) {
  const auto refuse = [](const char* what) { throw Error(EPHOR_INVALID, what); };
  beyond_bound_ = in.varint();
  const std::size_t contexts = in.count(10);
  if (contexts > kContextsMax) refuse("state: too many contexts of features");
  contexts_.resize(contexts);
  for (Context& context : contexts_) {
    context.symbol = in.text();
    context.timeframe = in.text();
    context.model = in.text();
    context.events = in.varint();
    context.events_in_block = in.varint();
    context.block_begin_ns = in.i64();
    context.begins.resize(in.count(8));
    if (context.begins.size() > kBlocksMax) refuse("state: too many blocks of features");
    for (std::int64_t& begin : context.begins) begin = in.i64();
    context.features.resize(in.count(60));
    feature_count_ += context.features.size();
    for (Feature& feature : context.features) {
      feature.name = in.text();
      feature.count = in.varint();
      feature.missing = in.varint();
      feature.mean = finite_in(in);
      feature.square_sum = finite_in(in);
      load_numbers(in, feature.block);
      feature.block_missing = static_cast<std::uint32_t>(in.varint());
      load_numbers(in, feature.window);
      feature.window_counts.resize(in.count());
      std::size_t values = 0;
      for (std::uint32_t& count : feature.window_counts) {
        count = static_cast<std::uint32_t>(in.varint());
        values += count;
      }
      feature.reference.load(in);
      feature.has_given_reference = in.boolean();
      load_blocks(in, feature.levels);
      load_blocks(in, feature.spreads);
      load_blocks(in, feature.gaps);
      if (values != feature.window.size() ||
          feature.window_counts.size() > settings_.cohort.shift.k_max ||
          feature.window_counts.size() > feature.levels.size() ||
          feature.levels.size() != context.begins.size() ||
          feature.spreads.size() != context.begins.size() ||
          feature.gaps.size() != context.begins.size()) {
        refuse("state: blocks of a feature that do not fit");
      }
      feature.opened_level = in.f64();
      feature.opened_gap = in.f64();
      feature.open_blocks = in.varint();
      feature.is_with_market = in.boolean();
    }
  }
}

}  // namespace ephor::ml_monitor
