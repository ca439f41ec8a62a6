// SPDX-License-Identifier: Apache-2.0
#include "comparison.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "rank_statistics.hpp"

namespace ephor::tracer {
namespace {

constexpr double kRateOfFalseDiscoveries = 0.05;
constexpr std::size_t kExamplesMax = 5;

// What one trace shows of a feature: nothing, that it has it, or a number.
struct Features {
  std::map<std::pair<std::string, std::string>, std::string> texts;  // (kind, name) to value
  std::map<std::pair<std::string, std::string>, double> numbers;
};

struct Case {
  const ComparedTrace* trace = nullptr;
  bool is_slow = false;
  double duration_ms = 0.0;
  Features features;
};

std::string operation_name(const SpanRecord& span) { return span.component + "/" + span.operation; }

void add_attributes(Features& features, const std::string& kind, const ComparedSpan& span) {
  for (const auto& [name, value] : span.texts) features.texts.emplace(std::pair(kind, name), value);
  for (const auto& [name, value] : span.numbers) {
    features.numbers.emplace(std::pair(kind, name), value);
  }
}

// Empty if the trace has no span of the operation.
std::optional<Case> case_of(const ComparedTrace& trace, const ComparisonQuestion& question) {
  std::vector<SpanRecord> records;
  std::map<std::string, const ComparedSpan*> by_id;
  for (const ComparedSpan& span : trace.spans) {
    records.push_back(span.span);
    by_id.emplace(span.span.span_id, &span);
  }
  const SpanTree tree = build_span_tree(std::move(records));
  const SpanNode* target = nullptr;
  for (const SpanNode& node : tree.nodes) {
    const bool is_wanted =
        node.span.operation == question.operation &&
        (question.component.empty() || node.span.component == question.component);
    if (!is_wanted) continue;
    const auto duration = [](const SpanNode& one) { return one.span.end_ns - one.span.start_ns; };
    if (target == nullptr || duration(node) > duration(*target)) target = &node;
  }
  if (target == nullptr) return std::nullopt;
  Case out;
  out.trace = &trace;
  const std::int64_t duration_ns = target->span.end_ns - target->span.start_ns;
  out.is_slow = static_cast<double>(duration_ns) > question.threshold_ns;
  out.duration_ms = static_cast<double>(duration_ns) / 1e6;
  add_attributes(out.features, "attribute", *by_id.at(target->span.span_id));
  if (!tree.roots.empty()) {
    const SpanNode& root = tree.nodes[tree.roots.front()];
    if (&root != target) {
      add_attributes(out.features, "root_attribute", *by_id.at(root.span.span_id));
      out.features.texts[{"root_operation", ""}] = operation_name(root.span);
    }
  }
  std::vector<const SpanNode*> below{target};
  bool has_error = false;
  while (!below.empty()) {
    const SpanNode* node = below.back();
    below.pop_back();
    const double self_ms = static_cast<double>(node->self_ns) / 1e6;
    out.features.numbers[{"operation_self_ms", operation_name(node->span)}] += self_ms;
    out.features.numbers[{"operation_calls", operation_name(node->span)}] += 1.0;
    out.features.numbers[{"component_self_ms", node->span.component}] += self_ms;
    has_error = has_error || node->span.status == "error";
    for (const std::size_t child : node->children) below.push_back(&tree.nodes[child]);
  }
  out.features.texts[{"error", ""}] = has_error ? "true" : "false";
  return out;
}

double weighted_mean(const std::vector<std::pair<double, double>>& values) {
  double sum = 0.0;
  double weights = 0.0;
  for (const auto& [value, weight] : values) {
    sum += value * weight;
    weights += weight;
  }
  return weights > 0.0 ? sum / weights : 0.0;
}

Json examples_of(const std::vector<const Case*>& cases) {
  Json out = Json::array();
  for (std::size_t i = 0; i < std::min(cases.size(), kExamplesMax); ++i) {
    out.push_back(cases[i]->trace->trace_id);
  }
  return out;
}

class Comparison {
 public:
  explicit Comparison(const std::vector<Case>& cases) {
    for (const Case& one : cases) cohorts_[one.is_slow ? 0 : 1].push_back(&one);
    for (auto& cohort : cohorts_) {
      std::stable_sort(cohort.begin(), cohort.end(), [](const Case* a, const Case* b) {
        return std::tie(b->duration_ms, a->trace->trace_id) <
               std::tie(a->duration_ms, b->trace->trace_id);
      });
    }
  }

  const std::vector<const Case*>& slow() const { return cohorts_[0]; }
  const std::vector<const Case*>& rest() const { return cohorts_[1]; }

  Json cohort_json(const std::vector<const Case*>& cohort) const {
    std::vector<std::pair<double, double>> durations;
    double weight = 0.0;
    for (const Case* one : cohort) {
      durations.emplace_back(one->duration_ms, one->trace->weight);
      weight += one->trace->weight;
    }
    return {{"traces_read", cohort.size()},
            {"traces", weight},
            {"mean_ms", cohort.empty() ? Json() : Json(weighted_mean(durations))},
            {"trace_ids", examples_of(cohort)}};
  }

  // One row for each value of each text, and for each number.
  void compare_all() {
    std::set<std::pair<std::string, std::string>> texts;
    std::set<std::pair<std::string, std::string>> numbers;
    for (const auto& cohort : cohorts_) {
      for (const Case* one : cohort) {
        for (const auto& [name, value] : one->features.texts) texts.insert(name);
        for (const auto& [name, value] : one->features.numbers) numbers.insert(name);
      }
    }
    for (const auto& name : texts) compare_texts(name);
    for (const auto& name : numbers) compare_numbers(name);
  }

  // Controlled for the number of comparisons; the surest first.
  Json differences(std::size_t limit) {
    const std::vector<double> rates = false_discovery_rates(p_);
    for (std::size_t i = 0; i < rates.size(); ++i) {
      rows_[i]["false_discovery_rate"] = rates[i];
      rows_[i]["is_significant"] = rates[i] <= kRateOfFalseDiscoveries;
    }
    std::vector<std::size_t> order(rows_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::tuple(p_[a], -effects_[a]) < std::tuple(p_[b], -effects_[b]);
    });
    Json out = Json::array();
    for (std::size_t i = 0; i < std::min(order.size(), limit); ++i) {
      out.push_back(rows_[order[i]]);
    }
    return out;
  }

  std::size_t comparisons() const { return rows_.size(); }
  const Json& left_out() const { return left_out_; }

 private:
  using Name = std::pair<std::string, std::string>;

  void compare_texts(const Name& name) {
    std::set<std::string> values;
    for (const auto& cohort : cohorts_) {
      for (const Case* one : cohort) {
        if (const auto found = one->features.texts.find(name); found != one->features.texts.end()) {
          values.insert(found->second);
        }
      }
    }
    if (values.size() > kAttributeValuesMax) {
      left_out_.push_back({{"kind", name.first}, {"name", name.second}, {"values", values.size()}});
      return;
    }
    for (const std::string& value : values) {
      std::array<std::uint64_t, 2> hits{};
      std::array<std::vector<std::pair<double, double>>, 2> shares;
      std::vector<const Case*> examples;
      for (std::size_t i = 0; i < 2; ++i) {
        for (const Case* one : cohorts_[i]) {
          const auto found = one->features.texts.find(name);
          const bool has_it = found != one->features.texts.end() && found->second == value;
          hits[i] += has_it ? 1 : 0;
          shares[i].emplace_back(has_it ? 1.0 : 0.0, one->trace->weight);
          if (has_it && i == 0) examples.push_back(one);
        }
      }
      // Told of all of them: nothing to compare.
      if (hits[0] + hits[1] == cohorts_[0].size() + cohorts_[1].size()) continue;
      const double slow = weighted_mean(shares[0]);
      const double rest = weighted_mean(shares[1]);
      tell({{"kind", name.first},
            {"name", text_or_null(name.second)},
            {"value", value},
            {"unit", "share of traces"},
            {"slow", slow},
            {"rest", rest},
            {"test", "Fisher's exact"},
            {"trace_ids", examples_of(examples)}},
           fisher_exact_p(hits[0], cohorts_[0].size(), hits[1], cohorts_[1].size()),
           std::abs(slow - rest));
    }
  }

  void compare_numbers(const Name& name) {
    // An attribute that is not there has no value; what was not called took no time.
    const bool is_attribute = name.first == "attribute" || name.first == "root_attribute";
    std::array<std::vector<double>, 2> values;
    std::array<std::vector<std::pair<double, double>>, 2> weighted;
    for (std::size_t i = 0; i < 2; ++i) {
      for (const Case* one : cohorts_[i]) {
        const auto found = one->features.numbers.find(name);
        if (found == one->features.numbers.end() && is_attribute) continue;
        const double value = found == one->features.numbers.end() ? 0.0 : found->second;
        values[i].push_back(value);
        weighted[i].emplace_back(value, one->trace->weight);
      }
    }
    if (values[0].empty() || values[1].empty()) return;
    const auto [least, most] = std::minmax_element(values[0].begin(), values[0].end());
    const auto [least_rest, most_rest] = std::minmax_element(values[1].begin(), values[1].end());
    if (std::min(*least, *least_rest) == std::max(*most, *most_rest)) return;
    const double slow = weighted_mean(weighted[0]);
    const double rest = weighted_mean(weighted[1]);
    const bool is_time = name.first == "operation_self_ms" || name.first == "component_self_ms";
    tell({{"kind", name.first},
          {"name", name.second},
          {"value", nullptr},
          {"unit", is_time                           ? Json("ms per trace")
                   : name.first == "operation_calls" ? Json("calls per trace")
                                                     : Json()},
          {"slow", slow},
          {"rest", rest},
          {"test", "Mann and Whitney's U"},
          {"trace_ids", Json::array()}},
         mann_whitney_p(values[0], values[1]), std::abs(slow - rest));
  }

  void tell(Json row, double p, double effect) {
    row["difference"] = row["slow"].get<double>() - row["rest"].get<double>();
    row["p"] = p;
    rows_.push_back(std::move(row));
    p_.push_back(p);
    effects_.push_back(effect);
  }

  std::array<std::vector<const Case*>, 2> cohorts_;
  std::vector<Json> rows_;
  std::vector<double> p_;
  std::vector<double> effects_;
  Json left_out_ = Json::array();
};

}  // namespace

Json compare_json(const std::vector<ComparedTrace>& traces, const ComparisonQuestion& question) {
  std::vector<Case> cases;
  for (const ComparedTrace& trace : traces) {
    if (auto one = case_of(trace, question)) cases.push_back(std::move(*one));
  }
  Comparison comparison(cases);
  Json out{{"threshold_ms", question.threshold_ns / 1e6},
           {"slow", comparison.cohort_json(comparison.slow())},
           {"rest", comparison.cohort_json(comparison.rest())},
           {"comparisons", 0},
           {"false_discovery_rate_max", kRateOfFalseDiscoveries},
           {"differences", Json::array()},
           {"left_out", Json::array()},
           {"reason", nullptr}};
  if (comparison.slow().size() < kCohortMin || comparison.rest().size() < kCohortMin) {
    out["reason"] = "found " + std::to_string(comparison.slow().size()) + " slow and " +
                    std::to_string(comparison.rest().size()) + " other traces, expected at least " +
                    std::to_string(kCohortMin) + " of each";
    return out;
  }
  comparison.compare_all();
  out["differences"] = comparison.differences(question.limit);
  out["comparisons"] = comparison.comparisons();
  out["left_out"] = comparison.left_out();
  return out;
}

}  // namespace ephor::tracer
