// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "sections.hpp"
#include "statistics.hpp"
#include "text.hpp"

namespace ephor::reporter {
namespace {

constexpr std::size_t kModelsMost = 40;
constexpr std::size_t kEnsemblesMost = 20;

const Json* model_of(const Source& source, const std::string& model_id) {
  const Json* models = find(source.answer, "/models");
  if (models == nullptr || !models->is_array()) return nullptr;
  for (const Json& model : *models) {
    if (text(model, "/model_id") == model_id) return &model;
  }
  return nullptr;
}

Value word(const std::string& found) { return found.empty() ? Value() : Value(found); }

Table model_table(const Sources& sources) {
  Table table;
  table.id = "models";
  table.columns = {{"model_id", "Model", Format::id},
                   {"model_version", "Version", Format::text},
                   {"outcomes_joined", "Outcomes", Format::count},
                   {"accuracy", "Accuracy", Format::share},
                   {"accuracy_low_95", "95\u202F% from", Format::share},
                   {"accuracy_high_95", "to", Format::share},
                   {"accuracy_before", "Before", Format::share},
                   {"brier_score", "Brier score", Format::number},
                   {"ece", "Calibration error", Format::share},
                   {"mean_confidence", "Confidence", Format::share},
                   {"window_accuracy", "Latest", Format::share}};
  table.empty = sources.models.now.note.has_answered ? "No model has made a prediction."
                                                     : no_data_because(sources.models.now);
  table.note =
      "Brier score: 0 is perfect, two fair classes guessed give 0.5. Calibration error: mean "
      "distance of confidence and accuracy. Latest: over the last outcomes, whatever the period.";
  const Json* models = find(sources.models.now.answer, "/models");
  if (models == nullptr || !models->is_array()) return table;
  for (const Json& model : *models) {
    if (table.rows.size() == kModelsMost) break;
    const std::string model_id = text(model, "/model_id");
    const Json* before = model_of(sources.models.before, model_id);
    const auto scored = integer(model, "/scored");
    const auto correct = integer(model, "/correct");
    const auto interval = scored && correct ? wilson(*correct, *scored) : std::nullopt;
    table.rows.push_back(
        {word(model_id), word(text(model, "/model_version")),
         value(integer(model, "/outcomes_joined")), value(real(model, "/accuracy")),
         interval ? Value(interval->first) : Value(), interval ? Value(interval->second) : Value(),
         before != nullptr ? value(real(*before, "/accuracy")) : Value(),
         value(real(model, "/brier_score")), value(real(model, "/expected_calibration_error")),
         value(real(model, "/mean_confidence")), value(real(model, "/window/accuracy"))});
  }
  const auto total = static_cast<std::int64_t>(models->size());
  table.rows_total =
      std::max(integer(sources.models.now.answer, "/models_total").value_or(total), total);
  return table;
}

std::string models_lead(const Json& answer) {
  const Json* models = find(answer, "/models");
  if (models == nullptr || !models->is_array() || models->empty()) return {};
  const Json* best = nullptr;
  const Json* worst = nullptr;
  for (const Json& model : *models) {
    const auto accuracy = real(model, "/accuracy");
    if (!accuracy) continue;
    if (best == nullptr || *accuracy > *real(*best, "/accuracy")) best = &model;
    if (worst == nullptr || *accuracy < *real(*worst, "/accuracy")) worst = &model;
  }
  if (best == nullptr) return "No outcome of this period is known yet.";
  const auto said = [](const Json& model) {
    return text(model, "/model_id") + " (" + share(*real(model, "/accuracy")) + " of " +
           whole(integer(model, "/scored").value_or(0)) + ")";
  };
  if (best == worst) return "Accuracy of " + said(*best) + ".";
  return "Most accurate " + said(*best) + ", least " + said(*worst) + ".";
}

// Ensembles come as an array of objects, or an object of them by id.
std::vector<std::pair<std::string, const Json*>> ensembles_of(const Json& answer) {
  std::vector<std::pair<std::string, const Json*>> out;
  const Json* list = find(answer, "/ensembles");
  if (list == nullptr) return out;
  if (list->is_array()) {
    for (const Json& one : *list) out.emplace_back(text(one, "/ensemble_id"), &one);
  } else if (list->is_object()) {
    for (const auto& [name, one] : list->items()) out.emplace_back(name, &one);
  }
  return out;
}

// Decisions and how often they were right, by the regime they were made in.
Table regime_table(const Source& source) {
  Table table;
  table.id = "decisions_by_regime";
  table.title = "Decisions by regime";
  table.columns = {{"regime", "Regime", Format::text},
                   {"decisions", "Decisions", Format::count},
                   {"scored", "Outcome known", Format::count},
                   {"final_accuracy", "Final decision", Format::share},
                   {"final_low_95", "95\u202F% from", Format::share},
                   {"final_high_95", "to", Format::share},
                   {"weighted_accuracy", "Weighted vote", Format::share}};
  table.empty = source.note.has_answered ? "No decision in this period." : no_data_because(source);
  const Json* regimes = find(source.answer, "/by_regime");
  if (regimes == nullptr || !regimes->is_object()) return table;
  for (const auto& [name, one] : regimes->items()) {
    if (table.rows.size() == kEnsemblesMost) break;
    const auto scored = integer(one, "/final_decision/n");
    const auto correct = integer(one, "/final_decision/correct");
    const auto interval = scored && correct ? wilson(*correct, *scored) : std::nullopt;
    table.rows.push_back({name, value(integer(one, "/decisions")), value(scored),
                          value(real(one, "/final_decision/accuracy")),
                          interval ? Value(interval->first) : Value(),
                          interval ? Value(interval->second) : Value(),
                          value(real(one, "/weighted_vote/accuracy"))});
  }
  table.rows_total = static_cast<std::int64_t>(regimes->size());
  return table;
}

}  // namespace

Section models_section(const Sources& sources, const Window& window) {
  Section section{"models", "Models", models_lead(sources.models.now.answer), {}};
  if (!sources.models.now.note.has_answered) section.lead = no_data_because(sources.models.now);
  add_period_note(sources.models.now, section);
  Table table = model_table(sources);
  if (const std::string note = period_note(sources.models.now, window); !note.empty())
    table.note = note + " " + table.note;
  section.blocks.push_back(std::move(table));
  return section;
}

Section ensembles_section(const Sources& sources, const Window& window) {
  Section section{"ensembles", "Ensembles and regimes", "", {}};
  const Source& source = sources.ensembles;
  if (!source.note.has_answered) section.lead = no_data_because(source);
  add_period_note(source, section);
  Table table;
  table.id = "ensembles";
  table.title = "Ensembles";
  table.columns = {{"ensemble_id", "Ensemble", Format::id},
                   {"decisions", "Decisions", Format::count},
                   {"scored", "Outcome known", Format::count},
                   {"final_accuracy", "Final decision", Format::share},
                   {"final_low_95", "95\u202F% from", Format::share},
                   {"final_high_95", "to", Format::share},
                   {"primary_accuracy", "Primary", Format::share},
                   {"weighted_accuracy", "Weighted vote", Format::share},
                   {"majority_accuracy", "Majority vote", Format::share},
                   {"meta_accuracy", "Meta-learner", Format::share},
                   {"learned_accuracy", "Learned weights", Format::share}};
  table.empty = source.note.has_answered ? "No ensemble has decided." : no_data_because(source);
  table.note =
      "How often each was right. Learned weights: what Ephor's own weights would have voted.";
  if (const std::string note = period_note(source, window); !note.empty())
    table.note = note + " " + table.note;
  const auto ensembles = ensembles_of(source.answer);
  for (const auto& [name, one] : ensembles) {
    if (table.rows.size() == kEnsemblesMost) break;
    const auto scored = integer(*one, "/accuracy/final_decision/n");
    const auto correct = integer(*one, "/accuracy/final_decision/correct");
    const auto interval = scored && correct ? wilson(*correct, *scored) : std::nullopt;
    std::vector<Field> row{word(name),
                           value(integer(*one, "/decisions")),
                           value(scored),
                           value(real(*one, "/accuracy/final_decision/accuracy")),
                           interval ? Value(interval->first) : Value(),
                           interval ? Value(interval->second) : Value()};
    for (const std::string_view track :
         {"/accuracy/primary_prediction/accuracy", "/accuracy/weighted_vote/accuracy",
          "/accuracy/majority_vote/accuracy", "/accuracy/meta_learner/accuracy",
          "/accuracy/learned_vote/accuracy"}) {
      row.push_back(value(real(*one, track)));
    }
    table.rows.push_back(std::move(row));
  }
  table.rows_total = static_cast<std::int64_t>(ensembles.size());
  section.blocks.push_back(std::move(table));

  section.blocks.push_back(regime_table(sources.regimes));

  Table regimes;
  regimes.id = "regimes_now";
  regimes.title = "Regimes at the end of the log";
  regimes.columns = {{"symbol", "Symbol", Format::text},
                     {"regime", "Regime", Format::text},
                     {"confidence", "Confidence", Format::share},
                     {"since", "Since", Format::time}};
  regimes.empty = sources.regimes.note.has_answered ? "No regime was reported."
                                                    : no_data_because(sources.regimes);
  const Json* symbols = find(sources.regimes.answer, "/symbols");
  if (symbols != nullptr && symbols->is_object()) {
    for (const auto& [name, one] : symbols->items()) {
      if (regimes.rows.size() == kEnsemblesMost) break;
      regimes.rows.push_back({name, word(text(one, "/regime")), value(real(one, "/confidence")),
                              value(time(one, "/since"))});
    }
    regimes.rows_total = static_cast<std::int64_t>(symbols->size());
  }
  section.blocks.push_back(std::move(regimes));
  return section;
}

}  // namespace ephor::reporter
