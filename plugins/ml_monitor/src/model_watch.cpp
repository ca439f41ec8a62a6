// SPDX-License-Identifier: Apache-2.0
#include "model_watch.hpp"

#include <algorithm>
#include <cmath>
#include <ephor/text_hash.hpp>
#include <numbers>
#include <utility>

#include "figure.hpp"
#include "times.hpp"

namespace ephor::ml_monitor {
namespace {

// One-sided 5 % for what only confirms, 2.3 % for being back.
constexpr double kConfirm = 1.645;
constexpr double kSecond = 2.0;
// Assumed between the two losses of a model against its peers; about what recorded models show.
constexpr double kLossCorrelation = 0.6;
// Deviates by which another onset must beat that of a change of version.
constexpr double kKnownOnset = 1.0;
// A version changes about once in so many blocks, and only then its onset is tried.
constexpr double kKnownShare = 100.0;
// How long a new version is held against the one before, blocks.
constexpr std::size_t kVersionBlocksMax = 48;
// Ways in which a model can be found broken; they share the budget.
constexpr std::size_t kBreakWays = 3;
// Blocks that must look sound again before a finding is closed.
constexpr std::size_t kRecovery = 6;

std::uint64_t output_hash(const PendingPrediction& prediction) {
  struct {
    double confidence;
    double number;
    std::uint64_t label;
    std::array<double, PendingPrediction::kClassesMax> probability;
  } output{};
  output.confidence = prediction.has_confidence ? prediction.confidence : -1.0;
  output.number = prediction.value.number;
  output.label = prediction.value.label;
  for (std::size_t i = 0; i < prediction.class_count; ++i) {
    output.probability[i] = prediction.probability[i];
  }
  return hash64(std::string_view(reinterpret_cast<const char*>(&output), sizeof output));
}

Output output_of(const PendingPrediction& prediction) {
  Output output{};
  if (prediction.class_count > 0) {
    for (std::size_t i = 0; i < prediction.class_count; ++i) {
      const LabelId label = prediction.probability_label[i];
      if (label < kOutputClasses) output[label] = static_cast<float>(prediction.probability[i]);
    }
  } else if (prediction.value.kind == Value::Kind::kLabel &&
             prediction.value.label < kOutputClasses) {
    output[prediction.value.label] = 1.0F;
  } else if (prediction.value.kind == Value::Kind::kNumber) {
    output[0] = static_cast<float>(prediction.value.number);
  }
  return output;
}

Json figures_json(const BlockFigures& figures) {
  const auto ratio = [](double part, std::uint32_t whole) {
    return whole == 0 ? Json() : Json(part / static_cast<double>(whole));
  };
  const auto interval = wilson_95(figures.correct, figures.decisions);
  const Json confidence = ratio(figures.confidence_sum, figures.confidence_count);
  Json out = {{"from", format_time(figures.begin_ns)},
              {"to", format_time(figures.end_ns)},
              {"n", figures.decisions},
              {"accuracy", ratio(figures.correct, figures.decisions)},
              {"accuracy_low_95", interval ? Json(interval->low) : Json()},
              {"accuracy_high_95", interval ? Json(interval->high) : Json()},
              {"brier_score", ratio(figures.brier_sum, figures.brier_count)},
              {"mean_confidence", confidence},
              {"calibration_gap", Json()},
              {"n_with_peers", figures.paired},
              {"peer_accuracy", ratio(figures.peer_correct_sum, figures.paired)},
              {"peer_brier_score", ratio(figures.peer_brier_sum, figures.peer_brier_count)}};
  if (!confidence.is_null() && figures.decisions > 0) {
    out["calibration_gap"] = confidence.get<double>() - out["accuracy"].get<double>();
  }
  return out;
}

Json shift_json(const Shift& shift) {
  return {{"reference_mean", shift.reference_mean},
          {"difference", shift.difference},
          {"difference_low_95", shift.low()},
          {"difference_high_95", shift.high()},
          {"z", shift.z},
          {"p_value", normal_tail(std::abs(shift.z))},
          {"reference_blocks", shift.reference_blocks},
          {"current_blocks", shift.current_blocks},
          {"reference_n", shift.reference_count},
          {"current_n", shift.current_count},
          {"autocorrelation", shift.autocorrelation}};
}

std::string_view name_of(Stream stream) {
  constexpr std::string_view kNames[] = {"association", "error", "brier", "confidence", "gap"};
  return kNames[static_cast<std::size_t>(stream)];
}

BlockFigures sum_of(const std::vector<BlockFigures>& figures, std::size_t begin, std::size_t end,
                    const std::vector<ShiftBlock>& marks, bool skips_excluded) {
  BlockFigures sum;
  for (std::size_t i = begin; i < end; ++i) {
    if (!skips_excluded || !marks[i].is_excluded) sum.add(figures[i]);
  }
  return sum;
}

}  // namespace

ModelWatch::ModelWatch(const DriftSettings& settings, const ModelTable& table, Findings& findings)
    : settings_(settings),
      table_(table),
      findings_(findings),
      deviate_(settings.deviate()),
      break_deviate_(deviate_limit(
          settings.false_alarm_budget,
          kBreakWays * (settings.cohort.shift.k_max - settings.cohort.shift.k_min + 1))),
      known_deviate_(deviate_limit(settings.false_alarm_budget * kKnownShare,
                                   settings.cohort.shift.k_max - settings.cohort.shift.k_min + 1)),
      groups_(settings.groups) {}

// ---- what comes in
// --------------------------------------------------------------------------------

ModelWatch::Watched& ModelWatch::watched(std::uint32_t model) {
  while (models_.size() <= model) models_.emplace_back(settings_);
  return models_[model];
}

OutputRun* ModelWatch::run_of(Watched& model, std::uint16_t symbol) {
  for (SymbolRun& run : model.runs) {
    if (run.symbol == symbol) return &run.run;
  }
  if (model.runs.size() >= kSymbolsMax) return nullptr;
  model.runs.push_back({symbol, {}});
  return &model.runs.back().run;
}

Cohort* ModelWatch::cohort_of(std::uint16_t symbol) {
  for (CohortEntry& entry : cohorts_) {
    if (entry.symbol == symbol) return &entry.cohort;
  }
  if (cohorts_.size() >= kSymbolsMax) return nullptr;
  cohorts_.push_back({symbol, Cohort(settings_.cohort)});
  return &cohorts_.back().cohort;
}

void ModelWatch::touch(std::uint32_t model) {
  if (!std::exchange(watched(model).is_touched, true)) touched_.push_back(model);
}

std::vector<std::uint32_t> ModelWatch::take_touched() {
  for (const std::uint32_t model : touched_) models_[model].is_touched = false;
  return std::exchange(touched_, {});
}

void ModelWatch::add_prediction(const PendingPrediction& prediction, std::string_view version) {
  groups_.add_member(prediction.group, prediction.cohort, prediction.time_ns);
  Watched& model = watched(prediction.model);
  if (!version.empty() && model.version != version) {
    model.version_before = std::exchange(model.version, std::string(version));
    model.version_ns = prediction.time_ns;
    if (!model.version_before.empty()) {
      for (CohortEntry& entry : cohorts_) entry.cohort.note_version_change(prediction.model);
    }
  }
  // A bare label repeats itself by nature; so does a score of few values, which its run knows.
  if (prediction.class_count == 0 && !prediction.has_confidence) return;
  OutputRun* const run = run_of(model, prediction.cohort);
  if (run == nullptr) return;
  const bool was_reported = run->is_reported();
  const OutputRun::Ended ended = run->add(output_hash(prediction), prediction.time_ns);
  if (ended.length > 0 && was_reported) {
    findings_.close("stale_output", table_.id(prediction.model), prediction.time_ns,
                    "its output changed after " + std::to_string(ended.length) +
                        " predictions that were the same");
    touch(prediction.model);
  }
  if (!run->is_reported() && run->is_stale()) report_stale(prediction.model, prediction, *run);
}

void ModelWatch::report_stale(std::uint32_t model, const PendingPrediction& prediction,
                              OutputRun& run) {
  Finding finding;
  finding.kind = "stale_output";
  finding.target = table_.id(model);
  finding.target_kind = "model";
  finding.severity = "warning";
  finding.onset_ns = run.begin_ns();
  finding.detected_ns = prediction.time_ns;
  finding.summary = finding.target + " has said exactly the same " + std::to_string(run.length()) +
                    " times since " + rfc3339(run.begin_ns()) + "; before, at most " +
                    std::to_string(run.longest()) + " times in a row in " +
                    std::to_string(run.outputs()) + " predictions.";
  finding.evidence = {
      {"detector", "run length"},
      {"run_length", run.length()},
      {"run_length_limit", run.limit()},
      {"longest_run_before", run.longest()},
      {"predictions_before", run.outputs()},
      {"repeat_share_before", run.repeat_share()},
      {"chance_allowed", OutputRun::kChance},
      {"confidence", prediction.has_confidence ? Json(prediction.confidence) : Json()},
      {"model_version", text_or_null(watched(model).version)}};
  if (!findings_.open(std::move(finding))) return;
  run.set_reported();
  touch(model);
}

void ModelWatch::add_joined(const Joined& joined, const Verdict& verdict, std::uint16_t regime) {
  const PendingPrediction& prediction = joined.prediction;
  const bool is_judged =
      verdict.kind == Verdict::Kind::kClass && !joined.outcome.is_late && !prediction.is_late;
  std::optional<Judged> judged;
  if (is_judged) {
    ErrorWatch& errors = watched(prediction.model).errors;
    const double error = verdict.is_correct ? 0.0 : 1.0;
    const auto count = [&](Alarms& alarms, bool is_up) {
      ++alarms.count;
      alarms.last_ns = joined.outcome.time_ns;
      alarms.is_last_up = is_up;
      touch(prediction.model);
    };
    if (errors.adwin.update(error)) count(errors.adwin_alarms, errors.adwin.last_change() > 0.0);
    if (errors.page_hinkley.update(error)) {
      count(errors.page_hinkley_alarms,
            errors.page_hinkley.rise() > errors.page_hinkley.threshold());
    }
    judged.emplace();
    judged->model = prediction.model;
    judged->predicted_ns = prediction.time_ns;
    judged->output = output_of(prediction);
    judged->is_correct = verdict.is_correct;
    judged->actual = static_cast<std::uint8_t>(
        std::min<LabelId>(verdict.classes ? verdict.classes->actual : 0, kActualMax));
    judged->has_confidence = verdict.certainty.has_value();
    judged->confidence = static_cast<float>(verdict.certainty.value_or(0.0));
    judged->has_brier = verdict.has_probability;
    judged->brier = static_cast<float>(verdict.brier);
    for (const SymbolRun& run : watched(prediction.model).runs) {
      if (run.symbol == prediction.cohort) {
        judged->is_repeating = run.run.is_repeating_at(prediction.time_ns);
      }
    }
  }
  if (prediction.is_late) return;  // it never was a member
  const auto group = groups_.add_judged(prediction.group, regime, judged, joined.outcome.time_ns);
  if (group) process(*group, joined.outcome.time_ns);
}

void ModelWatch::advance(std::int64_t log_time_ns) {
  for (const PeerGroup& group : groups_.take_due(log_time_ns)) process(group, log_time_ns);
}

void ModelWatch::process(const PeerGroup& group, std::int64_t now_ns) {
  Cohort* const cohort = cohort_of(group.symbol);
  if (cohort == nullptr) {
    ++beyond_bound_;
    return;
  }
  if (!cohort->add(group)) return;
  for (const std::size_t at : cohort->closed()) {
    judge(group.symbol, *cohort, cohort->members()[at], now_ns);
    touch(cohort->members()[at].model);
  }
}

// ---- judging a block
// ------------------------------------------------------------------------------

void ModelWatch::judge(std::uint16_t symbol, const Cohort& cohort, Cohort::Member& member,
                       std::int64_t now_ns) {
  for (std::size_t i = 0; i < open_.size();) {
    bool is_over = false;
    if (open_[i].model == member.model && open_[i].symbol == symbol) {
      follow_open(open_[i], member, now_ns, is_over);
    }
    if (is_over) {
      const std::size_t k = kRecovery;
      open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(i));
      if (!has_open_shift(member, symbol)) member.set_excluded(k, false);
    } else {
      ++i;
    }
  }
  look_for_overconfidence(symbol, cohort, member, now_ns);
  look_for_break(symbol, member, now_ns);
}

bool ModelWatch::has_open_shift(const Cohort::Member& member, std::uint16_t symbol) const {
  return std::any_of(open_.begin(), open_.end(), [&](const OpenShift& open) {
    return open.model == member.model && open.symbol == symbol;
  });
}

void ModelWatch::follow_open(OpenShift& open, Cohort::Member& member, std::int64_t now_ns,
                             bool& is_over) {
  ++open.blocks;
  const std::size_t k = kRecovery;
  if (open.blocks < k) return;
  ShiftLimits limits = settings_.cohort.shift;
  limits.counts_excluded = true;  // they are what is asked for
  const auto now = shift_at(member.stream(open.stream), k, limits);
  const std::string& id = table_.id(member.model);
  if (!now) {
    if (open.blocks < Cohort::kBlocksMax / 2) return;  // only the newest blocks say nothing
    findings_.close(open.kind, id, now_ns, "what it was compared with is too long ago");
    member.set_excluded(Cohort::kBlocksMax, false);
    is_over = true;
    return;
  }
  const bool is_up = open.difference > 0.0;
  const double left = is_up ? now->difference : -now->difference;
  const double deviate = is_up ? now->z : -now->z;
  if (left < std::abs(open.difference) / 2.0 && deviate < kSecond) {
    findings_.close(open.kind, id, now_ns,
                    "back to within " + figure(left) + " of the reference over " +
                        std::to_string(now->current_blocks) + " blocks");
    is_over = true;
  }
}

// The newest two blocks each lie on the side of the shift, at half of it or more.
bool ModelWatch::lasts(const Cohort::Member& member, Stream stream, const Shift& shift) const {
  const auto last = shift_at(member.stream(stream), 2, settings_.cohort.shift);
  return last && last->difference * shift.difference > 0.0 &&
         std::abs(last->difference) >= std::abs(shift.difference) / 2.0;
}

void ModelWatch::look_for_break(std::uint16_t symbol, Cohort::Member& member, std::int64_t now_ns) {
  const std::string& id = table_.id(member.model);
  if (findings_.find_open("concept_drift", id) != nullptr) return;
  const ShiftLimits& limits = settings_.cohort.shift;
  const double limit = break_deviate_;
  const auto at = [&](Stream which, std::size_t k) {
    return shift_at(member.stream(which), k, limits);
  };
  // Its outputs lost all the peers they moved with, and the labels agree that it got worse. Neither
  // needs to be beyond doubt alone: the two deviates are joined (Stouffer 1949).
  struct Joint {
    Shift apart;
    std::optional<Shift> error;
    std::optional<Shift> brier;
    double z = 0.0;
    double known = 0.0;
  };
  std::optional<Joint> joint;
  const auto try_at = [&](std::size_t k) {
    const auto apart = at(Stream::kAssociation, k);
    if (!apart || -apart->z < kConfirm) return;
    const auto error = at(Stream::kError, k);
    const auto brier = at(Stream::kBrier, k);
    if (!error) return;
    // Error and Brier score of one decision go together: so much less than two deviates they are.
    const double loss_z =
        brier ? (error->z + brier->z) / std::sqrt(2.0 + 2.0 * kLossCorrelation) : error->z;
    if (loss_z < kConfirm) return;
    const double z = (loss_z - apart->z) / std::numbers::sqrt2;
    // A change of version is an onset that is known, and wins over one that is only as good.
    const double known = k + 1 == member.blocks_of_version ? kKnownOnset : 0.0;
    if (!joint || z + known > joint->z + joint->known) joint = {*apart, error, brier, z, known};
  };
  if (member.is_paired) {
    try_at(limits.k_min);
    try_at(limits.k_max);
    if (joint) {
      for (std::size_t k = limits.k_min + 1; k < limits.k_max; ++k) try_at(k);
    }
  }
  const auto surer = [&](std::size_t k) {
    const auto confidence = at(Stream::kConfidence, k);
    return confidence && confidence->difference >= settings_.threshold;
  };
  // At a change of version nothing was searched for.
  const double joint_limit = joint && joint->known > 0.0 ? known_deviate_ : limit;
  if (joint && joint->z >= joint_limit && -joint->apart.difference >= settings_.threshold &&
      -joint->apart.high() > 0.0 && lasts(member, Stream::kAssociation, joint->apart) &&
      !surer(joint->apart.k)) {
    Json evidence = {
        {"detector", "association with peers, confirmed by labels"},
        {"joint_z", joint->z},
        {"joint_z_limit", joint_limit},
        {"association", shift_json(joint->apart)},
        {"error_against_peers", joint->error ? shift_json(*joint->error) : Json()},
        {"brier_against_peers", joint->brier ? shift_json(*joint->brier) : Json()},
        {"ruled_out", Json::array({"market: the same loss of association in all other pairs is "
                                   "taken off",
                                   "regime and mix of classes: losses are compared within them",
                                   "overconfidence: it is not surer",
                                   "stale output: repeated outputs are left out"})}};
    open_shift(symbol, member, "concept_drift", Stream::kAssociation, joint->apart,
               std::move(evidence), "critical",
               "stopped moving with its peers (association down by " +
                   figure(-joint->apart.difference) + ")",
               now_ns);
    return;
  }

  // A new version: the onset is known, so the limit need not pay for the search. In a regime that
  // the version before hardly met the strata say nothing; all decisions together then have to say
  // more.
  const std::size_t k = member.blocks_of_version > 0 ? member.blocks_of_version - 1 : 0;
  if (k >= limits.k_min && k <= kVersionBlocksMax && !surer(k)) {
    ShiftLimits pooled = limits;
    pooled.ignores_strata = true;
    const bool has_strata = at(Stream::kError, k).has_value();
    const ShiftLimits& used = has_strata ? limits : pooled;
    const double needed = has_strata ? known_deviate_ : limit;
    const auto error = shift_at(member.stream(Stream::kError), k, used);
    const auto brier = shift_at(member.stream(Stream::kBrier), k, used);
    const auto latest = shift_at(member.stream(Stream::kError), 2, used);
    const double joint_z = error && brier
                               ? (error->z + brier->z) / std::sqrt(2.0 + 2.0 * kLossCorrelation)
                               : (error ? error->z : 0.0);
    // The Brier score sees more than right and wrong do, which then only have to confirm it.
    const bool is_worse =
        error && (joint_z >= needed || (brier && brier->z >= needed && error->z >= kConfirm));
    if (is_worse && error->difference >= settings_.threshold && latest &&
        latest->difference >= error->difference / 2.0) {
      Json evidence = {{"detector", "loss after a change of version"},
                       {"within_regime_and_class", has_strata},
                       {"joint_z", joint_z},
                       {"error_against_peers", shift_json(*error)},
                       {"brier_against_peers", brier ? shift_json(*brier) : Json()},
                       {"z_limit_known_onset", needed}};
      open_shift(symbol, member, "concept_drift", Stream::kError, *error, std::move(evidence),
                 "critical", "makes more errors than its version before", now_ns);
      return;
    }
  }

  // Its errors rose far beyond those of its peers (or, alone, beyond its own).
  const auto worse = greatest_shift(member.stream(Stream::kError), Direction::kUp, limits, limit);
  if (worse && worse->z >= limit && worse->low() >= settings_.threshold &&
      lasts(member, Stream::kError, *worse)) {
    Json evidence = {{"detector", member.is_paired ? "error against peers" : "own error"},
                     {"error_against_peers", shift_json(*worse)}};
    if (!member.is_paired) {
      evidence["caveat"] = "it has no peers: a market that went hard looks the same";
    }
    open_shift(symbol, member, "concept_drift", Stream::kError, *worse, std::move(evidence),
               "critical", "makes more errors", now_ns);
  }
}

void ModelWatch::look_for_overconfidence(std::uint16_t symbol, const Cohort& cohort,
                                         Cohort::Member& member, std::int64_t now_ns) {
  const std::string& id = table_.id(member.model);
  if (findings_.find_open("overconfidence", id) != nullptr) return;
  const ShiftLimits& limits = settings_.cohort.shift;
  const auto surer =
      greatest_shift(member.stream(Stream::kConfidence), Direction::kUp, limits, deviate_);
  if (!surer || surer->z < deviate_ || surer->low() < settings_.threshold ||
      !lasts(member, Stream::kConfidence, *surer)) {
    return;
  }
  const auto gap = shift_at(member.stream(Stream::kGap), surer->k, limits);
  if (!gap || gap->z < kConfirm || gap->difference < settings_.threshold) return;
  for (const Cohort::Member& other : cohort.members()) {
    if (other.model == member.model || other.figures.empty()) continue;
    const auto same = shift_at(other.stream(Stream::kConfidence), surer->k, limits);
    // Another that rose too, at half the limit: the market.
    if (same && same->z >= deviate_ / 2.0) return;
  }
  Json evidence = {
      {"detector", "confidence and calibration gap against peers"},
      {"confidence_against_peers", shift_json(*surer)},
      {"gap_against_peers", shift_json(*gap)},
      {"ruled_out", Json::array({"market: the same rise in its peers is taken off",
                                 "regime: compared within regimes",
                                 "a better model: it is not right as often as it is surer"})}};
  open_shift(symbol, member, "overconfidence", Stream::kConfidence, *surer, std::move(evidence),
             "warning", "is surer by " + figure(surer->difference) + " but not right more often",
             now_ns);
}

bool ModelWatch::open_shift(std::uint16_t symbol, Cohort::Member& member, std::string_view kind,
                            Stream stream, const Shift& shift, Json evidence,
                            std::string_view severity, const std::string& what,
                            std::int64_t now_ns) {
  const std::size_t blocks = member.figures.size();
  const std::size_t k =
      member.blocks_of_version == shift.k + 1
          ? shift.k
          : clearest_onset(member.stream(stream),
                           shift.difference > 0.0 ? Direction::kUp : Direction::kDown,
                           settings_.cohort.shift);
  const std::size_t onset = blocks - std::min(k, blocks);
  const auto& marks = member.streams[0];
  const BlockFigures before = sum_of(member.figures, 0, onset, marks, true);
  const BlockFigures after = sum_of(member.figures, onset, blocks, marks, false);
  const Watched& model = watched(member.model);

  Finding finding;
  finding.kind = kind;
  finding.target = table_.id(member.model);
  finding.target_kind = "model";
  finding.severity = severity;
  finding.onset_ns = after.begin_ns;
  finding.detected_ns = now_ns;
  evidence["before"] = figures_json(before);
  evidence["after"] = figures_json(after);
  evidence["z_limit"] = kind == "concept_drift" ? break_deviate_ : deviate_;
  evidence["drift_threshold"] = settings_.threshold;
  evidence["false_alarm_budget_per_10000_blocks"] = settings_.false_alarm_budget;
  evidence["block_decisions"] = settings_.cohort.block_decisions;
  evidence["model_version"] = text_or_null(model.version);
  evidence["error_stream"] = error_json(model.errors);
  if (!model.version_before.empty()) {
    evidence["version_before"] = model.version_before;
    evidence["version_since"] = format_time(model.version_ns);
  }
  // Inputs that went wrong at that time are the better explanation.
  Json attributed = Json::array();
  for (const Finding& other : findings_.all()) {
    if (other.target_kind == "feature" && other.is_open())
      attributed.push_back(findings_.id_of(other));
  }
  if (kind == "concept_drift" && !attributed.empty()) {
    evidence["attributed_to"] = std::move(attributed);
    finding.severity = "warning";
  }
  const auto share = [](const Json& value) {
    return value.is_null() ? std::string("no data") : figure(value.get<double>());
  };
  finding.summary = finding.target;
  if (!model.version.empty()) finding.summary += " (version " + model.version + ")";
  finding.summary += " " + what + " since " + rfc3339(after.begin_ns) + ": accuracy " +
                     share(evidence["before"]["accuracy"]) + " before (n " +
                     std::to_string(before.decisions) + "), " +
                     share(evidence["after"]["accuracy"]) + " after (n " +
                     std::to_string(after.decisions) + ")";
  if (member.is_paired) {
    finding.summary += "; its peers " + share(evidence["before"]["peer_accuracy"]) + " and " +
                       share(evidence["after"]["peer_accuracy"]);
  }
  finding.summary += "; confidence less accuracy " + share(evidence["before"]["calibration_gap"]) +
                     " and " + share(evidence["after"]["calibration_gap"]) + ".";
  finding.evidence = std::move(evidence);
  if (!findings_.open(std::move(finding))) return false;
  open_.push_back({std::string(kind), symbol, member.model, stream, shift.difference, 0});
  member.set_excluded(std::max(k, shift.k), true);
  return true;
}

void ModelWatch::forget(std::uint32_t model, std::int64_t time_ns, std::string_view why) {
  for (CohortEntry& entry : cohorts_) entry.cohort.forget(model);
  for (const OpenShift& open : open_) {
    if (open.model == model) findings_.close(open.kind, table_.id(model), time_ns, why);
  }
  std::erase_if(open_, [&](const OpenShift& open) { return open.model == model; });
  touch(model);
}

// ---- answers
// --------------------------------------------------------------------------------------

Json ModelWatch::error_json(const ErrorWatch& errors) const {
  const auto alarms = [](const Alarms& of) {
    return Json{{"alarms", of.count},
                {"last_alarm", of.last_ns == kNoTime ? Json() : Json(format_time(of.last_ns))},
                {"last_direction", of.count == 0 ? Json() : Json(of.is_last_up ? "up" : "down")}};
  };
  Json adwin = alarms(errors.adwin_alarms);
  adwin["window"] = errors.adwin.width();
  adwin["error_rate"] = errors.adwin.width() == 0 ? Json() : Json(errors.adwin.mean());
  adwin["delta"] = settings_.adwin.delta;
  Json page = alarms(errors.page_hinkley_alarms);
  page["statistic"] = std::max(errors.page_hinkley.rise(), errors.page_hinkley.fall());
  page["rise"] = errors.page_hinkley.rise();
  page["fall"] = errors.page_hinkley.fall();
  page["threshold"] = settings_.page_hinkley.threshold;
  page["n"] = errors.page_hinkley.count();
  return {{"adwin", std::move(adwin)}, {"page_hinkley", std::move(page)}};
}

// Kept with the model's hour, so made once a block: without the search for shifts.
Json ModelWatch::scores_json(std::uint32_t model) const {
  Json open = Json::array();
  for (const Finding& finding : findings_.all()) {
    if (finding.is_open() && finding.target_kind == "model" && finding.target == table_.id(model)) {
      open.push_back(findings_.id_of(finding));
    }
  }
  Json out = {{"open_findings", std::move(open)}};
  if (model < models_.size()) out["error_stream"] = error_json(models_[model].errors);
  for (const CohortEntry& entry : cohorts_) {
    for (const Cohort::Member& member : entry.cohort.members()) {
      if (member.model != model || member.figures.empty()) continue;
      out["last_block"] = figures_json(member.figures.back());
      const auto association = member.stream(Stream::kAssociation).back().parts();
      out["last_block"]["association_change"] =
          association.empty() ? Json() : Json(association[0].sum / association[0].count);
    }
  }
  return out;
}

Json ModelWatch::model_json(std::uint32_t model, const std::vector<std::string>& symbols) const {
  if (model >= models_.size()) return {{"error_stream", Json()}, {"streams", Json::array()}};
  const Watched& watched = models_[model];
  Json out = {{"error_stream", error_json(watched.errors)}};
  Json streams = Json::array();
  const ShiftLimits& limits = settings_.cohort.shift;
  const auto symbol_name = [&](std::uint16_t symbol) {
    return symbol < symbols.size() ? text_or_null(symbols[symbol]) : Json();
  };
  for (const CohortEntry& entry : cohorts_) {
    for (const Cohort::Member& member : entry.cohort.members()) {
      if (member.model != model) continue;
      for (const Stream which : {Stream::kAssociation, Stream::kError, Stream::kBrier,
                                 Stream::kConfidence, Stream::kGap}) {
        const auto shift = greatest_shift(member.stream(which), Direction::kBoth, limits);
        Json item = {{"figure", name_of(which)},
                     {"symbol", symbol_name(entry.symbol)},
                     {"against", member.is_paired ? "peers" : "itself"},
                     {"blocks", member.stream(which).size()},
                     {"shift", shift ? shift_json(*shift) : Json()}};
        streams.push_back(std::move(item));
      }
    }
  }
  out["streams"] = std::move(streams);
  Json runs = Json::array();
  for (const SymbolRun& run : watched.runs) {
    runs.push_back({{"symbol", symbol_name(run.symbol)},
                    {"run_length", run.run.length()},
                    {"run_length_limit", run.run.limit() == 0 ? Json() : Json(run.run.limit())},
                    {"longest_run_before", run.run.longest()},
                    {"since", format_time(run.run.begin_ns())},
                    {"repeat_share", run.run.repeat_share()}});
  }
  out["output_runs"] = std::move(runs);
  return out;
}

Json ModelWatch::counts_json() const {
  return {{"groups_waiting", groups_.size()},
          {"groups_given_up", groups_.given_up()},
          {"groups_beyond_bound", beyond_bound_},
          {"cohorts", cohorts_.size()},
          {"z_limit", deviate_}};
}

// ---- state
// ----------------------------------------------------------------------------------------

void ModelWatch::save(StateWriter& out) const {
  out.varint(beyond_bound_);
  groups_.save(out);
  out.varint(models_.size());
  for (const Watched& model : models_) {
    model.errors.adwin.save(out);
    model.errors.page_hinkley.save(out);
    for (const Alarms* alarms : {&model.errors.adwin_alarms, &model.errors.page_hinkley_alarms}) {
      out.varint(alarms->count).i64(alarms->last_ns).boolean(alarms->is_last_up);
    }
    out.text(model.version).text(model.version_before).i64(model.version_ns);
    out.varint(model.runs.size());
    for (const SymbolRun& run : model.runs) {
      out.varint(run.symbol);
      run.run.save(out);
    }
  }
  out.varint(cohorts_.size());
  for (const CohortEntry& entry : cohorts_) {
    out.varint(entry.symbol);
    entry.cohort.save(out);
  }
  out.varint(open_.size());
  for (const OpenShift& open : open_) {
    out.text(open.kind).varint(open.symbol).u32(open.model);
    out.u8(static_cast<std::uint8_t>(open.stream)).f64(open.difference).varint(open.blocks);
  }
}

void ModelWatch::load(StateReader& in, std::size_t symbols, std::size_t regimes) {
  const auto refuse = [](const char* what) { throw Error(EPHOR_INVALID, what); };
  const auto symbol_in = [&] {
    const std::uint64_t symbol = in.varint();
    if (symbol >= symbols) refuse("state: a symbol that has no name");
    return static_cast<std::uint16_t>(symbol);
  };
  beyond_bound_ = in.varint();
  groups_.load(in, symbols, regimes, table_.size());
  const std::size_t models = in.count(40);
  if (models > table_.size()) refuse("state: a model that is not there");
  for (std::size_t i = 0; i < models; ++i) {
    Watched& model = models_.emplace_back(settings_);
    model.errors.adwin.load(in);
    model.errors.page_hinkley.load(in);
    for (Alarms* alarms : {&model.errors.adwin_alarms, &model.errors.page_hinkley_alarms}) {
      alarms->count = in.varint();
      alarms->last_ns = in.i64();
      alarms->is_last_up = in.boolean();
    }
    model.version = in.text();
    model.version_before = in.text();
    model.version_ns = in.i64();
    model.runs.resize(in.count(20));
    if (model.runs.size() > kSymbolsMax) refuse("state: too many runs");
    for (SymbolRun& run : model.runs) {
      run.symbol = symbol_in();
      run.run.load(in);
    }
  }
  const std::size_t cohorts = in.count(4);
  if (cohorts > kSymbolsMax) refuse("state: too many cohorts");
  for (std::size_t i = 0; i < cohorts; ++i) {
    const std::uint16_t symbol = symbol_in();
    cohorts_.push_back({symbol, Cohort(settings_.cohort)});
    cohorts_.back().cohort.load(in, regimes, table_.size());
  }
  open_.resize(in.count(20));
  for (OpenShift& open : open_) {
    open.kind = in.text();
    open.symbol = symbol_in();
    open.model = in.u32();
    const std::uint8_t stream = in.u8();
    if (stream >= kStreamCount || open.model >= table_.size()) refuse("state: no such stream");
    open.stream = static_cast<Stream>(stream);
    open.difference = in.f64();
    open.blocks = in.varint();
  }
}

}  // namespace ephor::ml_monitor
