// SPDX-License-Identifier: Apache-2.0
//
// A second reader of ephor.metric_batch, written from docs/events.md with nlohmann's tree: what the
// tests compare the door and the SDK's reader with.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace ephor::testing {

struct ReferenceSample {
  std::string name;
  std::map<std::string, std::string> labels;
  std::int64_t time_ns = 0;
  double value = 0.0;
  std::string kind;
  std::string unit;
  std::string text;  // of a column of texts, as JSON
  std::vector<double> bounds;
  std::vector<std::uint64_t> counts;

  friend auto operator<=>(const ReferenceSample&, const ReferenceSample&) = default;
};

inline std::vector<std::int64_t> running_sums(const nlohmann::json& deltas) {
  std::vector<std::int64_t> out;
  std::int64_t sum = 0;
  for (const auto& delta : deltas) out.push_back(sum += delta.get<std::int64_t>());
  return out;
}

// `data` of one event; samples by table, column and row.
inline std::vector<ReferenceSample> reference_samples(const nlohmann::json& data) {
  std::vector<ReferenceSample> out;
  for (const auto& table : data.at("tables")) {
    const auto times = running_sums(table.at("times").at("deltas"));
    const auto unit_ns = table.at("times").at("unit_ns").get<std::int64_t>();
    std::vector<std::map<std::string, std::string>> row_labels;
    std::size_t series = 0;
    for (const auto& count : table.at("rows")) {
      std::map<std::string, std::string> labels;
      for (const auto& label : table.at("labels")) {
        const std::size_t at =
            label.contains("deltas")
                ? static_cast<std::size_t>(running_sums(label.at("deltas")).at(series))
                : 0;
        labels[label.at("name")] = label.at("values").at(at);
      }
      for (std::size_t i = 0; i < count.get<std::size_t>(); ++i) row_labels.push_back(labels);
      ++series;
    }
    for (const auto& column : table.at("columns")) {
      std::vector<std::int64_t> rows;
      if (column.contains("rows")) {
        rows = running_sums(column.at("rows"));
      } else {
        for (std::size_t i = 0; i < times.size(); ++i) rows.push_back(static_cast<std::int64_t>(i));
      }
      const auto deltas = column.contains("deltas") ? running_sums(column.at("deltas"))
                                                    : std::vector<std::int64_t>();
      const double power = std::pow(10.0, column.value("scale", 0));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        ReferenceSample sample;
        sample.name = column.at("name");
        sample.kind = column.value("kind", "");
        sample.unit = column.value("unit", "");
        const auto row = static_cast<std::size_t>(rows[i]);
        sample.labels = row_labels.at(row);
        sample.time_ns = times.at(row) * unit_ns;
        if (column.contains("texts")) {
          sample.text = column.at("texts").at(i).dump();
        } else if (column.contains("values")) {
          sample.value = column.at("values").at(i);
        } else if (column.contains("integers")) {
          sample.value = column.at("integers").at(i).get<double>() / power;
        } else {
          sample.value = static_cast<double>(deltas.at(i)) / power;
        }
        if (column.contains("histograms")) {
          sample.bounds = column.at("histograms").at(i).at("bounds").get<std::vector<double>>();
          sample.counts =
              column.at("histograms").at(i).at("counts").get<std::vector<std::uint64_t>>();
        }
        out.push_back(std::move(sample));
      }
    }
  }
  return out;
}

}  // namespace ephor::testing
