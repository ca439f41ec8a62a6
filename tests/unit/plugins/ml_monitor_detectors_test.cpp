// SPDX-License-Identifier: Apache-2.0
//
// ADWIN and Page-Hinkley: against recorded alarm rows of the reference implementations, and against
// plain ones written here that keep every value.
#include <zlib.h>

#include <cmath>
#include <deque>
#include <ephor/json.hpp>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "adwin.hpp"
#include "page_hinkley.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::ml_monitor;
using ephor::Json;

namespace {

template <typename Detector>
std::vector<std::size_t> alarm_rows(Detector detector, const std::vector<double>& values) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (detector.update(values[i])) rows.push_back(i);
  }
  return rows;
}

// Buckets as lists of their values; means and variance are computed from all values at each check.
std::vector<std::size_t> plain_adwin(const std::vector<double>& values) {
  std::vector<std::size_t> rows;
  std::vector<std::deque<std::vector<double>>> buckets(1);
  std::size_t ticks = 0;
  bool is_alarmed = false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (is_alarmed) {
      buckets.assign(1, {});
      ticks = 0;
      is_alarmed = false;
    }
    buckets[0].push_back({values[i]});
    for (std::size_t row = 0; row < buckets.size() && buckets[row].size() > 5; ++row) {
      if (row + 1 == buckets.size()) buckets.emplace_back();
      std::vector<double> merged = buckets[row][0];
      merged.insert(merged.end(), buckets[row][1].begin(), buckets[row][1].end());
      buckets[row + 1].push_back(merged);
      buckets[row].pop_front();
      buckets[row].pop_front();
    }
    if (++ticks % 32 != 0) continue;
    for (bool has_cut = true; has_cut;) {
      has_cut = false;
      std::vector<double> window;
      std::vector<std::size_t> ends;
      for (std::size_t row = buckets.size(); row-- > 0;) {
        for (const auto& bucket : buckets[row]) {
          window.insert(window.end(), bucket.begin(), bucket.end());
          ends.push_back(window.size());
        }
      }
      const double n = static_cast<double>(window.size());
      if (n <= 10) break;
      const auto mean = [&](std::size_t begin, std::size_t end) {
        double sum = 0.0;
        for (std::size_t at = begin; at < end; ++at) sum += window[at];
        return sum / static_cast<double>(end - begin);
      };
      double variance = 0.0;
      const double middle = mean(0, window.size());
      for (const double value : window) variance += (value - middle) * (value - middle) / n;
      const double delta = std::log(2.0 * std::log(n) / 0.002);
      for (const std::size_t end : ends) {
        const double n0 = static_cast<double>(end);
        const double n1 = n - n0;
        if (n0 < 5 || n1 < 5) continue;
        const double m = 1.0 / (n0 - 4.0) + 1.0 / (n1 - 4.0);
        const double limit = std::sqrt(2.0 * m * variance * delta) + 2.0 / 3.0 * delta * m;
        if (std::abs(mean(0, end) - mean(end, window.size())) > limit) has_cut = true;
      }
      if (has_cut) {
        is_alarmed = true;
        buckets.back().pop_front();
        if (buckets.back().empty()) buckets.pop_back();
      }
    }
    if (is_alarmed) rows.push_back(i);
  }
  return rows;
}

std::vector<double> steps(std::uint64_t seed, const std::vector<double>& rates, int length) {
  std::mt19937_64 random(seed);
  std::vector<double> out;
  for (const double rate : rates) {
    for (int i = 0; i < length; ++i) {
      out.push_back(static_cast<double>(random() >> 11) * 0x1.0p-53 < rate ? 1.0 : 0.0);
    }
  }
  return out;
}

std::map<std::string, std::vector<double>> read_columns(const std::string& path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  std::vector<char> chunk(1 << 20);
  for (int size = 0;
       (size = gzread(file, chunk.data(), static_cast<unsigned>(chunk.size()))) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(size));
  }
  gzclose(file);
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  std::vector<std::string> names;
  std::istringstream header(line);
  for (std::string name; std::getline(header, name, ',');) names.push_back(name);
  std::map<std::string, std::vector<double>> columns;
  while (std::getline(lines, line)) {
    std::istringstream cells(line);
    std::string cell;
    for (std::size_t i = 0; std::getline(cells, cell, ','); ++i) {
      columns[names[i]].push_back(std::stod(cell));
    }
  }
  return columns;
}

}  // namespace

TEST_CASE("adwin: fires at the rows of an implementation that keeps every value", "[unit][ml]") {
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    const auto values = steps(seed, {0.1, 0.4, 0.35, 0.1, 0.9}, 400);
    const auto rows = alarm_rows(Adwin(), values);
    CHECK(rows == plain_adwin(values));
    CHECK(rows.size() >= 2);
    for (const std::size_t row : rows) CHECK(row >= 400);  // nothing changes before
  }
  CHECK(alarm_rows(Adwin(), steps(5, {0.3}, 2'000)).empty());
}

TEST_CASE("adwin: says which way the mean went, and comes back from its state", "[unit][ml]") {
  Adwin detector;
  const auto values = steps(9, {0.1, 0.6, 0.1}, 600);
  std::vector<double> changes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (detector.update(values[i])) changes.push_back(detector.last_change());
    if (i % 97 != 0) continue;
    std::string state;
    ephor::StateWriter out(state);
    detector.save(out);
    Adwin loaded;
    REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { loaded.load(in); }));
    detector = loaded;
  }
  REQUIRE(changes.size() >= 2);
  CHECK(changes.front() > 0.2);
  CHECK(changes.back() < -0.2);
  CHECK(alarm_rows(Adwin(), values).size() == changes.size());
}

TEST_CASE("page-hinkley: the cumulative sums of its definition", "[unit][ml]") {
  // 30 zeros, then ones: mean after k ones is k / (30 + k), each deviation 30 / (30 + k).
  PageHinkley detector({30, 0.0, 10.0, 1.0});
  for (int i = 0; i < 30; ++i) CHECK_FALSE(detector.update(0.0));
  double sum = 0.0;
  for (int k = 1; k < 100; ++k) {
    sum += 30.0 / (30.0 + k);
    const bool is_alarm = detector.update(1.0);
    CHECK(detector.rise() == Approx(sum).epsilon(1e-12));
    CHECK(is_alarm == (sum > 10.0));
    if (is_alarm) break;
  }
  CHECK(sum > 10.0);
  detector.update(0.0);
  CHECK(detector.count() == 1);  // starts afresh
}

TEST_CASE("detectors: exact rows of the reference vectors", "[unit][ml]") {
  const auto path = ephor::testing::shared_data("ml/detector_vectors.json");
  if (!path) return;
  const Json vectors = Json::parse(std::ifstream(*path));
  std::size_t checked = 0;
  for (const auto& [name, stream] : vectors["streams"].items()) {
    CAPTURE(name);
    const auto values = stream["x"].get<std::vector<double>>();
    const Json& expected = stream["expected"];
    CHECK(alarm_rows(Adwin(), values) == expected["ADWIN"].get<std::vector<std::size_t>>());
    if (!expected.contains("PageHinkley")) continue;
    CHECK(alarm_rows(PageHinkley(), values) ==
          expected["PageHinkley"].get<std::vector<std::size_t>>());
    ++checked;
  }
  CHECK(checked >= 4);
}

TEST_CASE("detectors: exact rows on every univariate stream", "[unit][ml]") {
  const auto path = ephor::testing::shared_data("ml/reference_alarms.json");
  if (!path) return;
  const Json reference = Json::parse(std::ifstream(*path));
  std::size_t columns = 0;
  for (const auto& [family, detectors] : reference["alarms"].items()) {
    const auto stream = ephor::testing::shared_data("ml/streams/" + family + ".csv.gz");
    if (!stream) continue;
    const auto values = read_columns(stream->string());
    for (const auto& [column, rows] : detectors["ADWIN"].items()) {
      CAPTURE(family, column);
      CHECK(alarm_rows(Adwin(), values.at(column)) == rows.get<std::vector<std::size_t>>());
      ++columns;
    }
    for (const auto& [column, rows] : detectors["PageHinkley"].items()) {
      CAPTURE(family, column);
      CHECK(alarm_rows(PageHinkley(), values.at(column)) == rows.get<std::vector<std::size_t>>());
    }
  }
  CHECK(columns > 200);
}
