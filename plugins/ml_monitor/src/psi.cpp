// SPDX-License-Identifier: Apache-2.0
#include "psi.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ephor::ml_monitor {

std::string_view name_of(Binning binning) {
  return binning == Binning::kReferenceQuantiles ? "reference_quantiles" : "equal_width";
}

double sorted_quantile(std::span<const double> sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[below + 1] - sorted[below]);
}

std::vector<double> psi_edges(std::span<const double> reference, std::span<const double> current,
                              const PsiForm& form) {
  std::vector<double> edges;
  const double low = std::min(reference.front(), current.front());
  const double high = std::max(reference.back(), current.back());
  for (std::size_t i = 1; i < form.bins; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(form.bins);
    edges.push_back(form.binning == Binning::kReferenceQuantiles ? sorted_quantile(reference, share)
                                                                 : low + share * (high - low));
  }
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  return edges;
}

std::vector<std::size_t> bin_counts(std::span<const double> sorted, std::span<const double> edges) {
  std::vector<std::size_t> counts(edges.size() + 1);
  std::size_t bin = 0;
  for (const double value : sorted) {
    while (bin < edges.size() && edges[bin] <= value) ++bin;
    ++counts[bin];
  }
  return counts;
}

double psi(std::span<const std::size_t> reference, std::span<const std::size_t> current,
           double epsilon) {
  const auto total = [](std::span<const std::size_t> counts) {
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
  };
  const double reference_total = total(reference);
  const double current_total = total(current);
  double sum = 0.0;
  for (std::size_t bin = 0; bin < reference.size(); ++bin) {
    const double p = std::max(epsilon, static_cast<double>(reference[bin]) / reference_total);
    const double q = std::max(epsilon, static_cast<double>(current[bin]) / current_total);
    sum += (q - p) * std::log(q / p);
  }
  return sum;
}

double psi(std::span<const double> reference, std::span<const double> current,
           const PsiForm& form) {
  const std::vector<double> edges = psi_edges(reference, current, form);
  return psi(bin_counts(reference, edges), bin_counts(current, edges), form.epsilon);
}

}  // namespace ephor::ml_monitor
