// SPDX-License-Identifier: Apache-2.0
#include <ephor/testing/expect.hpp>
#include <ephor/testing/fake_host.hpp>
#include <string>

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

namespace {

using namespace ephor::testing;

std::string metric(int value) {
  return CloudEvent{.topic = "ephor.metric",
                    .data_json = R"({"name":"latency","value":)" + std::to_string(value) + "}",
                    .time_ns = value}
             .line() +
         "\n";
}

void publishes_what_is_above_the_threshold() {
  FakeHost host;
  host.load_plugin(*ephor_plugin_entry_v1(), R"({"threshold": 10})");
  host.deliver(metric(9) + metric(10) + metric(11));
  expect_equal(host.published("example.high").size(), 1U);
  expect_equal(host.published()[0].data_json, R"({"threshold":10.0,"value":11.0})");
  expect_equal(host.request("GET", "/api/example/high"), R"({"high":1,"threshold":10.0})");
}

void refuses_a_threshold_that_is_no_number() {
  FakeHost host;
  expect_error(EPHOR_INVALID,
               [&] { host.load_plugin(*ephor_plugin_entry_v1(), R"({"threshold": "high"})"); });
}

}  // namespace

int main() {
  publishes_what_is_above_the_threshold();
  refuses_a_threshold_that_is_no_number();
  return test_result();
}
