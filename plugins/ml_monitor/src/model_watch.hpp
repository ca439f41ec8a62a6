// SPDX-License-Identifier: Apache-2.0
//
// What goes wrong with a model: it broke (concept_drift), it is surer than it is right
// (overconfidence), it says the same for ever (stale_output). A change that its peers share is the
// market's and no finding. ADWIN and Page-Hinkley run on each model's errors and are shown; alone
// they cannot tell a model from a market, so they open nothing.
#pragma once

#include <cstdint>
#include <ephor/findings.hpp>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adwin.hpp"
#include "cohort.hpp"
#include "drift_settings.hpp"
#include "model_table.hpp"
#include "output_run.hpp"
#include "page_hinkley.hpp"
#include "peer_groups.hpp"

namespace ephor::ml_monitor {

class ModelWatch {
 public:
  static constexpr std::size_t kSymbolsMax = 64;  // of one model, and cohorts

  ModelWatch(const DriftSettings& settings, const ModelTable& table, Findings& findings);

  // In log order, without late ones.
  void add_prediction(const PendingPrediction& prediction, std::string_view version);
  void set_regime(std::uint64_t key, std::uint16_t regime) { groups_.set_regime(key, regime); }
  std::uint16_t regime_of(std::uint64_t key) const { return groups_.regime_of(key); }
  // `verdict`, `classes`: as judged; late ones only complete their group.
  void add_joined(const Joined& joined, const Verdict& verdict, std::uint16_t regime);
  void advance(std::int64_t log_time_ns);
  // A new model under the old name: what was learned of it does not hold.
  void forget(std::uint32_t model, std::int64_t time_ns, std::string_view why);

  // Models whose figures changed since the last call.
  std::vector<std::uint32_t> take_touched();
  Json scores_json(std::uint32_t model) const;
  Json model_json(std::uint32_t model, const std::vector<std::string>& symbols) const;
  Json counts_json() const;

  void save(StateWriter& out) const;
  void load(StateReader& in, std::size_t symbols, std::size_t regimes);  // `this` must be new

 private:
  struct Alarms {
    std::uint64_t count = 0;
    std::int64_t last_ns = kNoTime;
    bool is_last_up = false;
  };
  struct ErrorWatch {
    Adwin adwin;
    PageHinkley page_hinkley;
    Alarms adwin_alarms;
    Alarms page_hinkley_alarms;
  };
  struct SymbolRun {
    std::uint16_t symbol = 0;
    OutputRun run;
  };
  struct Watched {
    explicit Watched(const DriftSettings& settings)
        : errors{Adwin(settings.adwin), PageHinkley(settings.page_hinkley), {}, {}} {}
    ErrorWatch errors;
    std::vector<SymbolRun> runs;
    std::string version;
    std::int64_t version_ns = kNoTime;  // since when
    std::string version_before;
    bool is_touched = false;
  };
  struct CohortEntry {
    std::uint16_t symbol = 0;
    Cohort cohort;
  };
  // What keeps a finding about a cohort's member open.
  struct OpenShift {
    std::string kind;
    std::uint16_t symbol = 0;
    std::uint32_t model = 0;
    Stream stream = Stream::kAssociation;
    double difference = 0.0;
    std::uint64_t blocks = 0;  // since it was opened
  };

  Watched& watched(std::uint32_t model);
  OutputRun* run_of(Watched& model, std::uint16_t symbol);
  Cohort* cohort_of(std::uint16_t symbol);
  void touch(std::uint32_t model);
  void process(const PeerGroup& group, std::int64_t now_ns);
  void judge(std::uint16_t symbol, const Cohort& cohort, Cohort::Member& member,
             std::int64_t now_ns);
  void look_for_break(std::uint16_t symbol, Cohort::Member& member, std::int64_t now_ns);
  void look_for_overconfidence(std::uint16_t symbol, const Cohort& cohort, Cohort::Member& member,
                               std::int64_t now_ns);
  void follow_open(OpenShift& open, Cohort::Member& member, std::int64_t now_ns, bool& is_over);
  bool lasts(const Cohort::Member& member, Stream stream, const Shift& shift) const;
  bool open_shift(std::uint16_t symbol, Cohort::Member& member, std::string_view kind,
                  Stream stream, const Shift& shift, Json evidence, std::string_view severity,
                  const std::string& what, std::int64_t now_ns);
  void report_stale(std::uint32_t model, const PendingPrediction& prediction, OutputRun& run);
  bool has_open_shift(const Cohort::Member& member, std::uint16_t symbol) const;
  Json error_json(const ErrorWatch& errors) const;

  const DriftSettings settings_;
  const ModelTable& table_;
  Findings& findings_;
  double deviate_;
  double break_deviate_;
  double known_deviate_;
  PeerGroups groups_;
  std::vector<Watched> models_;  // by model index
  std::vector<CohortEntry> cohorts_;
  std::vector<OpenShift> open_;
  std::vector<std::uint32_t> touched_;
  std::uint64_t beyond_bound_ = 0;
};

}  // namespace ephor::ml_monitor
