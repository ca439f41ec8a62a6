// SPDX-License-Identifier: Apache-2.0
//
// KS, PSI, calibration and confusion figures: closed forms, and the fixtures of scipy and
// scikit-learn.
#include <algorithm>
#include <cmath>
#include <ephor/json.hpp>
#include <fstream>
#include <vector>

#include "calibration.hpp"
#include "confusion.hpp"
#include "psi.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "two_sample.hpp"

using namespace ephor::ml_monitor;
using ephor::Json;

namespace {

std::vector<double> sorted(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

TEST_CASE("ks: closed forms", "[unit][ml]") {
  const std::vector<double> a{1, 2, 3, 4};
  CHECK(ks_statistic(a, a) == 0.0);
  CHECK(ks_statistic(a, std::vector<double>{5, 6}) == 1.0);
  CHECK(ks_statistic(a, std::vector<double>{2.5, 2.5, 2.5}) == 0.5);  // ties are one step
  // Kolmogorov (1933): K(1) = 0.7300003283, so the tail at x = 1 is the rest.
  CHECK(ks_p_value(1.0, 2.0, 2.0) == Approx(1.0 - 0.7300003283226455).epsilon(1e-9));
  // The two series meet.
  CHECK(ks_p_value(1.1799999, 2.0, 2.0) == Approx(ks_p_value(1.1800001, 2.0, 2.0)).epsilon(1e-5));
  CHECK(ks_p_value(0.0, 10, 10) == 1.0);
  // Two samples of 2: of the 6 orders 2 keep them apart (D = 1), and in all D is at least 1/2.
  CHECK(ks_p_value_exact(1.0, 2, 2) == Approx(2.0 / 6.0));
  CHECK(ks_p_value_exact(0.5, 2, 2) == Approx(1.0));
}

TEST_CASE("psi: closed forms", "[unit][ml]") {
  const std::vector<std::size_t> p{50, 50};
  const std::vector<std::size_t> q{80, 20};
  CHECK(psi(p, q, 1e-4) == Approx(0.3 * std::log(1.6) - 0.3 * std::log(0.4)).epsilon(1e-12));
  CHECK(psi(p, p, 1e-4) == 0.0);
  CHECK(std::isfinite(psi(std::vector<std::size_t>{10, 0}, std::vector<std::size_t>{0, 10}, 1e-4)));
  std::vector<double> ramp;
  for (int i = 0; i <= 100; ++i) ramp.push_back(i);
  CHECK(psi_edges(ramp, ramp, {}) == std::vector<double>{10, 20, 30, 40, 50, 60, 70, 80, 90});
  PsiForm wide;
  wide.binning = Binning::kEqualWidth;
  wide.bins = 4;
  const std::vector<double> far{0.0, 200.0};
  CHECK(psi_edges(ramp, far, wide) == std::vector<double>{50, 100, 150});
  CHECK(psi(ramp, far, wide) != Approx(psi(ramp, far, {})));
}

TEST_CASE("ks, psi: the fixtures", "[unit][ml]") {
  const auto path = ephor::testing::shared_data("ml/stat_reference.json");
  if (!path) return;
  const Json reference = Json::parse(std::ifstream(*path));
  for (const Json& sample : reference["two_sample"]) {
    CAPTURE(sample["name"].get<std::string>());
    const auto then = sorted(sample["ref"].get<std::vector<double>>());
    const auto now = sorted(sample["cur"].get<std::vector<double>>());
    const Json& expect = sample["expect"];
    const double statistic = ks_statistic(then, now);
    // Statistics to 1e-9, p values to 1e-6 relative, as the fixture's notes ask.
    CHECK(statistic == Approx(expect["ks_statistic"].get<double>()).epsilon(1e-9));
    CHECK(
        ks_p_value(statistic, static_cast<double>(then.size()), static_cast<double>(now.size())) ==
        Approx(expect["ks_p_kolmogorov_limit"].get<double>()).epsilon(1e-6));
    CHECK(ks_p_value_exact(statistic, then.size(), now.size()) ==
          Approx(expect["ks_p_exact"].get<double>()).epsilon(1e-6));
    const Json& binned = expect["binned"];
    PsiForm form;
    form.epsilon = binned["epsilon"];
    const auto edges = psi_edges(then, now, form);
    CHECK(bin_counts(then, edges) == binned["ref_counts"].get<std::vector<std::size_t>>());
    CHECK(bin_counts(now, edges) == binned["cur_counts"].get<std::vector<std::size_t>>());
    CHECK(psi(then, now, form) == Approx(binned["psi"].get<double>()).epsilon(1e-9));
  }
  for (const Json& sample : reference["categorical"]) {
    CAPTURE(sample["name"].get<std::string>());
    CHECK(psi(sample["ref_counts"].get<std::vector<std::size_t>>(),
              sample["cur_counts"].get<std::vector<std::size_t>>(),
              1e-4) == Approx(sample["expect"]["psi"].get<double>()).epsilon(1e-9));
  }
}

TEST_CASE("calibration: closed forms, state, sums", "[unit][ml]") {
  Calibration calibration;
  CHECK_FALSE(calibration.expected_error());
  // Sure to 0.75, right 1 time in 2; sure to 1, always right.
  for (int i = 0; i < 10; ++i) calibration.add(0.75, i % 2 == 0);
  for (int i = 0; i < 30; ++i) calibration.add(1.0, true);
  CHECK(*calibration.expected_error() == Approx(0.25 * 10 / 40).epsilon(1e-12));
  CHECK(*calibration.gap() == Approx(0.25 * 10 / 40).epsilon(1e-12));
  const Json bins = calibration.bins_json();
  CHECK(bins[7]["count"] == 10);
  CHECK(bins[9]["accuracy"] == 1.0);
  CHECK(bins[0]["accuracy"].is_null());
  Calibration read;
  read.read(bins);
  CHECK(read.count() == 40);
  CHECK(*read.expected_error() == Approx(*calibration.expected_error()));
  read.add(calibration);
  CHECK(read.count() == 80);
  std::string state;
  ephor::StateWriter out(state);
  calibration.save(out);
  Calibration loaded;
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { loaded.load(in); }));
  CHECK(loaded == calibration);
}

TEST_CASE("calibration, confusion: the fixtures of binary classifiers", "[unit][ml]") {
  const auto path = ephor::testing::shared_data("ml/stat_reference.json");
  if (!path) return;
  const Json reference = Json::parse(std::ifstream(*path));
  for (const Json& sample : reference["classifier"]) {
    CAPTURE(sample["name"].get<std::string>());
    Labels labels({});
    const LabelId positive = labels.intern("one");
    const LabelId negative = labels.intern("zero");
    Calibration calibration;
    Confusion confusion;
    for (std::size_t i = 0; i < sample["y"].size(); ++i) {
      const bool is_one = sample["y"][i].get<int>() == 1;
      const double p = sample["p"][i];
      calibration.add(p, is_one);
      confusion.add({p >= 0.5 ? positive : negative, is_one ? positive : negative});
    }
    const Json& expect = sample["expect"];
    CHECK(*calibration.expected_error() ==
          Approx(expect["ece_10_equal_width"].get<double>()).epsilon(1e-9));
    const Json one = confusion.to_json(labels)["classes"]["one"];
    CHECK(one["precision"].get<double>() == Approx(expect["precision"].get<double>()));
    CHECK(one["recall"].get<double>() == Approx(expect["recall"].get<double>()));
    CHECK(one["f1"].get<double>() == Approx(expect["f1"].get<double>()));
    CHECK(confusion.macro().recall ==
          Approx(expect["balanced_accuracy"].get<double>()).epsilon(1e-9));
  }
}

TEST_CASE("confusion: macro figures by hand, and back from JSON", "[unit][ml]") {
  Labels labels({});
  const LabelId a = labels.intern("a");
  const LabelId b = labels.intern("b");
  const LabelId c = labels.intern("c");
  Confusion confusion;
  confusion.add({a, a}, 6);  // predicted a, was a
  confusion.add({a, b}, 2);
  confusion.add({b, b}, 1);
  confusion.add({a, c}, 1);  // c is never predicted
  const Confusion::Macro macro = confusion.macro();
  CHECK(macro.classes == 3);
  CHECK(macro.precision == Approx((6.0 / 9 + 1.0 + 0.0) / 3));
  CHECK(macro.recall == Approx((1.0 + 1.0 / 3 + 0.0) / 3));
  CHECK(macro.f1 == Approx((12.0 / 15 + 2.0 / 4 + 0.0) / 3));
  Labels other({});
  Confusion read;
  read.read(confusion.to_json(labels), other);
  CHECK(read.to_json(other) == confusion.to_json(labels));
}
