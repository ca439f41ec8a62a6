// SPDX-License-Identifier: Apache-2.0
//
// Against opera 1.2.2 (R), whose whole weight paths were checked by a second implementation: every
// weight of every fixed-parameter rule of this header. Tolerance: the paths have 12 significant
// digits.
#include <zlib.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <ephor/aggregation.hpp>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::aggregation;

namespace {

struct Table {
  std::vector<std::string> names;
  std::vector<std::vector<std::string>> rows;
  std::size_t column(const std::string& name) const {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == name) return i;
    }
    return SIZE_MAX;
  }
};

std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> out;
  std::stringstream in(line);
  for (std::string field; std::getline(in, field, ',');) out.push_back(field);
  return out;
}

Table read_table(const std::string& path) {
  Table table;
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), &gzclose);
  char line[8192];
  while (gzgets(file.get(), line, sizeof line) != nullptr) {
    std::string text(line);
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    if (table.names.empty()) {
      table.names = fields(text);
    } else {
      table.rows.push_back(fields(text));
    }
  }
  return table;
}

double number(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

Loss loss_of(const nlohmann::json& json) {
  const std::string name = json["name"];
  if (name == "absolute") return {LossKind::absolute};
  if (name == "percentage") return {LossKind::percentage};
  if (name == "pinball") return {LossKind::pinball, json["tau"].get<double>()};
  return {LossKind::square};
}

}  // namespace

TEST_CASE("aggregation: every weight of opera's fixed rules", "[unit][aggregation]") {
  std::size_t rules_checked = 0;
  for (const std::string set : {"electric_load_experts", "france_load_lockdown_experts",
                                "switching_synth", "sleeping_synth"}) {
    const auto data = ephor::testing::shared_data("ensemble/" + set + ".csv");
    const auto truth = ephor::testing::shared_data("ensemble/" + set + ".expected.json");
    const auto path = ephor::testing::shared_data("ensemble/" + set + ".weights.csv.gz");
    if (!data || !truth || !path) return;
    const Table rows = read_table(data->string());
    const Table weight_rows = read_table(path->string());
    std::ifstream in(*truth);
    const auto expected = nlohmann::json::parse(in);
    const std::vector<std::string> names = expected["experts"];
    std::map<std::string, std::vector<const std::vector<std::string>*>> paths;
    for (const auto& row : weight_rows.rows) paths[row[0]].push_back(&row);

    for (const auto& item : expected["rules"].items()) {
      const nlohmann::json& rule_json = item.value();
      const std::string model = rule_json["model"];
      const bool is_fixed = item.key().find("_fixed") != std::string::npos;
      if (!is_fixed || (model != "EWA" && model != "FS")) continue;
      CAPTURE(set, item.key());
      const auto& steps = paths.at(item.key());
      REQUIRE(steps.size() == rows.rows.size());
      ExponentialWeights::Settings settings;
      settings.learning_rate = rule_json["parameters"]["eta"];
      settings.share = model == "FS" ? rule_json["parameters"]["alpha"].get<double>() : 0.0;
      const Loss loss = loss_of(rule_json["loss"]);
      const bool uses_gradient = rule_json["gradient_trick"];
      ExponentialWeights rule(settings, names.size());
      std::vector<double> forecasts(names.size()), weights(names.size()), losses(names.size());
      std::vector<std::uint8_t> awake(names.size(), 1);
      double total_loss = 0.0;
      double worst = 0.0;
      for (std::size_t t = 0; t < rows.rows.size(); ++t) {
        const auto& row = rows.rows[t];
        for (std::size_t k = 0; k < names.size(); ++k) {
          forecasts[k] = number(row[rows.column(names[k])]);
          const std::size_t mask = rows.column("awake." + names[k]);
          if (mask != SIZE_MAX) awake[k] = row[mask] == "1";
          if (awake[k] == 0) forecasts[k] = 0.0;
        }
        const double outcome = number(row[rows.column("y")]);
        rule.weights(awake, weights);
        for (std::size_t k = 0; k < names.size(); ++k) {
          worst = std::max(worst, std::abs(weights[k] - number((*steps[t])[k + 3])));
        }
        const double mixed = mix(weights, forecasts);
        total_loss += loss(mixed, outcome);
        double own = loss(mixed, outcome);
        if (uses_gradient) {
          own = gradient_losses(loss, forecasts, mixed, outcome, losses);
        } else {
          for (std::size_t k = 0; k < names.size(); ++k) losses[k] = loss(forecasts[k], outcome);
        }
        rule.update(losses, own, awake);
      }
      CHECK(worst <= 1e-9);
      CHECK(total_loss / static_cast<double>(rows.rows.size()) ==
            Approx(rule_json["average_loss"].get<double>()).epsilon(1e-10));
      ++rules_checked;
    }
  }
  CHECK(rules_checked == 27);
}
