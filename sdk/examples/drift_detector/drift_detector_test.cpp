// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <ephor/testing/expect.hpp>
#include <ephor/testing/fake_host.hpp>
#include <random>
#include <string>

#include "cusum.hpp"

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

namespace {

using namespace ephor::testing;

// A reference of mean 0 and deviation 1 exactly: half of the values +c, half -c.
drift::Cusum with_known_reference(const drift::Cusum::Settings& settings) {
  drift::Cusum cusum;
  const double n = settings.reference_count;
  const double c = std::sqrt((n - 1) / n);
  for (std::uint32_t i = 0; i < settings.reference_count; ++i) {
    cusum.update(settings, i % 2 == 0 ? c : -c, 0);
  }
  return cusum;
}

// Mean number of values until the alarm. 4000 runs: its standard error is 1.6 % of it, for run
// lengths in control are nearly geometric.
double mean_run_length(double limit, double shift) {
  const drift::Cusum::Settings settings{.reference_count = 100, .slack = 0.5, .limit = limit};
  std::mt19937_64 random(7);
  std::normal_distribution<double> values(shift, 1.0);
  constexpr int kRuns = 4000;
  double total = 0.0;
  for (int run = 0; run < kRuns; ++run) {
    drift::Cusum cusum = with_known_reference(settings);
    do {
      total += 1.0;
    } while (cusum.update(settings, values(random), 0) == drift::Cusum::Alarm::none);
  }
  return total / kRuns;
}

void expect_near(double found, double expected, double tolerance) {
  expect_equal(std::abs(found - expected) <= tolerance ? expected : found, expected);
}

// Montgomery's table of two-sided run lengths for k = 1/2; four standard errors.
void has_the_run_lengths_of_the_table() {
  expect_near(mean_run_length(4.0, 0.0), 168.0, 0.064 * 168.0);
  expect_near(mean_run_length(4.0, 1.0), 8.38, 0.064 * 8.38);
  expect_near(mean_run_length(5.0, 0.0), 465.0, 0.064 * 465.0);
  expect_near(mean_run_length(5.0, 1.0), 10.4, 0.064 * 10.4);
  expect_near(mean_run_length(5.0, 2.0), 4.01, 0.064 * 4.01);
}

std::string metric(int minute, double value, const std::string& name = "model.loss") {
  return CloudEvent{
             .topic = "ephor.metric",
             .data_json = R"({"name":")" + name + R"(","value":)" + std::to_string(value) + "}",
             .time_ns = minute * 60'000'000'000LL,
             .id = name + std::to_string(minute)}
             .line() +
         "\n";
}

// 300 values around 10, 60 around 13 from minute 300 on, 200 around 10 again, 60 around 9.
std::string shifted_stream() {
  std::mt19937_64 random(3);
  std::normal_distribution<double> noise(0.0, 1.0);
  std::string lines;
  for (int minute = 0; minute < 620; ++minute) {
    const double level = minute >= 560 ? 9.0 : minute >= 300 && minute < 360 ? 13.0 : 10.0;
    lines += metric(minute, level + noise(random));
    lines += metric(minute, 5.0, "constant");
  }
  return lines;
}

std::string told(FakeHost& host) {
  std::string out;
  for (const Published& event : host.published("ephor.drift")) out += event.data_json + "\n";
  return out;
}

void finds_a_shift_and_its_end() {
  FakeHost host;
  host.load_plugin(*ephor_plugin_entry_v1(), R"({"limit": 8})");
  host.deliver(shifted_stream());
  const auto found = host.published("ephor.drift");
  expect_equal(found.size() >= 2, true);
  if (found.size() < 2) return;
  const JsonValue opened = parse_json_value(found[0].data_json);
  const JsonValue closed = parse_json_value(found[1].data_json);
  expect_equal(opened.text_of("state"), "open");
  expect_equal(closed.text_of("state"), "closed");
  expect_equal(opened.text_of("target"), "model.loss");
  expect_equal(opened.text_of("finding_id"), closed.text_of("finding_id"));
  // A shift of 3 deviations takes 3 or 4 values; the onset is where it began, or a few before.
  const std::string onset(opened.text_of("onset"));
  expect_equal(onset >= "1970-01-01T04:55:00Z" && onset <= "1970-01-01T05:00:00Z", true);
  expect_equal(opened.text_of("detected") <= "1970-01-01T05:06:00Z", true);
  expect_equal(opened.text_of("summary").starts_with("model.loss rose from"), true);
}

void does_not_depend_on_slices_or_crashes() {
  const std::string lines = shifted_stream();
  FakeHost whole;
  whole.load_plugin(*ephor_plugin_entry_v1());
  whole.deliver(lines);
  expect_equal(whole.published().size() >= 3, true);  // up, back, and down
  FakeHost torn;
  torn.set_slice_size(1);
  torn.load_plugin(*ephor_plugin_entry_v1());
  int count = 0;
  for (std::size_t at = 0; at < lines.size(); ++count) {
    const std::size_t end = lines.find('\n', at) + 1;
    torn.deliver(lines.substr(at, end - at));
    if (count % 3 == 0) torn.save();
    if (count % 7 == 0) expect_equal(torn.crash(), true);
    at = end;
  }
  expect_equal(told(torn), told(whole));
  expect_equal(torn.request("GET", "/api/drift_detector/findings"),
               whole.request("GET", "/api/drift_detector/findings"));
}

void a_late_value_is_left_out() {
  FakeHost host;
  host.load_plugin(*ephor_plugin_entry_v1(), R"({"reference_count": 10})");
  for (int i = 0; i < 10; ++i) host.deliver(metric(i, i % 2));
  for (int i = 10; i < 30; ++i) host.deliver(metric(i, 100.0), EPHOR_EVENT_LATE);
  expect_equal(host.published().size(), 0U);
  host.deliver(metric(30, 100.0));
  expect_equal(host.published("ephor.drift").size(), 1U);
}

}  // namespace

int main() {
  has_the_run_lengths_of_the_table();
  finds_a_shift_and_its_end();
  does_not_depend_on_slices_or_crashes();
  a_late_value_is_left_out();
  return test_result();
}
