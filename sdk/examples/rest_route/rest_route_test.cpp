// SPDX-License-Identifier: Apache-2.0
#include <ephor/testing/expect.hpp>
#include <ephor/testing/fake_host.hpp>
#include <string>
#include <vector>

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

namespace {

using namespace ephor::testing;

std::string market(const std::string& symbol, const std::string& price, int second) {
  return CloudEvent{.topic = "ephor.market",
                    .data_json = R"({"symbol":")" + symbol + R"(",)" + price + "}",
                    .time_ns = second * 1'000'000'000LL}
             .line() +
         "\n";
}

void load(FakeHost& host, const std::string& config = "{}") {
  host.load_plugin(*ephor_plugin_entry_v1(), config);
}

void answers_one_symbol() {
  FakeHost host;
  load(host);
  host.deliver(market("BTCUSDT", R"("price":60000.5)", 1) +
               market("BTCUSDT", R"("close":60001)", 2));
  expect_equal(host.request("GET", "/api/example/quotes/BTCUSDT"),
               R"({"price":60001.0,"symbol":"BTCUSDT","time":"1970-01-01T00:00:02Z","updates":2})");
  expect_equal(host.request("GET", "/api/example/quotes/BTC%55SDT"),
               host.ask("rest_route.quote", R"({"symbol":"BTCUSDT"})"));
}

void errors_have_their_status() {
  FakeHost host;
  load(host);
  expect_equal(
      expect_error(EPHOR_NOT_FOUND, [&] { host.request("GET", "/api/example/quotes/NONE"); }),
      R"(found no price of "NONE" so far)");
  expect_error(EPHOR_INVALID, [&] { host.request("GET", "/api/example/quotes?limit=0"); });
  expect_error(EPHOR_INVALID, [&] { host.request("GET", "/api/example/quotes?limit=many"); });
  expect_error(EPHOR_INVALID, [&] { host.ask("rest_route.quote", "no json"); });
}

void a_late_price_counts_but_does_not_win() {
  FakeHost host;
  load(host);
  host.deliver(market("A", R"("price":2)", 20) + market("A", R"("price":1)", 10));
  expect_equal(host.request("GET", "/api/example/quotes/A"),
               R"({"price":2.0,"symbol":"A","time":"1970-01-01T00:00:20Z","updates":2})");
}

void rows_are_those_that_changed() {
  FakeHost host;
  load(host);
  host.deliver(market("A", R"("price":1)", 1) + market("B", R"("price":2)", 2));
  host.save();
  expect_equal(host.rows("rest_route_quotes").size(), 2U);
  host.deliver(market("B", R"("price":3)", 3));
  host.save();
  expect_equal(host.rows("rest_route_quotes")[1].at("price").real, 3.0);
  expect_equal(host.rows("rest_route_quotes")[1].at("updates").integer, 2);
  expect_equal(host.rows("rest_route_quotes")[0].at("updates").integer, 1);
}

// A save of the test's own, through the C table, which counts the rows it is given.
int rows_of_a_save(const FakeHost& host) {
  const ephor_plugin& plugin = host.plugin_table();
  const auto& checkpoint = *static_cast<const ephor_checkpoint*>(
      plugin.get_extension(plugin.self, ephor::to_view("ephor.storage/1")));
  int count = 0;
  const ephor_rows rows{sizeof rows, 0, &count,
                        [](void* context, ephor_view, const ephor_cell*, std::uint32_t,
                           ephor_error*) -> ephor_status {
                          ++*static_cast<int*>(context);
                          return EPHOR_OK;
                        },
                        nullptr};
  std::string state;
  ephor_writer out = ephor::string_writer(state);
  expect_equal(checkpoint.save(plugin.self, &rows, &out, nullptr), EPHOR_OK);
  return count;
}

void a_row_is_written_once() {
  FakeHost host;
  load(host);
  host.deliver(market("A", R"("price":1)", 1) + market("B", R"("price":2)", 2));
  expect_equal(rows_of_a_save(host), 2);
  expect_equal(rows_of_a_save(host), 0);
  host.deliver(market("B", R"("price":3)", 3));
  expect_equal(rows_of_a_save(host), 1);
}

// The fake host runs no SQL: it shows what was asked, and the test answers.
void lists_what_the_table_says() {
  FakeHost host;
  load(host);
  std::int64_t limit = 0;
  host.on_select([&](std::string_view, std::span<const ephor_cell> parameters) {
    limit = parameters[0].integer;
    return std::vector<std::vector<StoredCell>>{{{EPHOR_CELL_TEXT, 0, 0.0, "A"},
                                                 {EPHOR_CELL_REAL, 0, 1.5, ""},
                                                 {EPHOR_CELL_INTEGER, 7, 0.0, ""},
                                                 {EPHOR_CELL_INTEGER, 1'000'000'000, 0.0, ""}}};
  });
  expect_equal(
      host.request("GET", "/api/example/quotes?limit=5"),
      R"({"left_out":0,"quotes":[{"price":1.5,"symbol":"A","time":"1970-01-01T00:00:01Z","updates":7}]})");
  expect_equal(limit, 5);
}

void survives_a_crash_and_keeps_its_bound() {
  FakeHost host;
  load(host, R"({"symbols_max": 1})");
  host.set_slice_size(1);
  host.deliver(market("A", R"("price":1)", 1));
  host.save();
  host.deliver(market("B", R"("price":1)", 2) + market("A", R"("price":5)", 3));
  expect_equal(host.crash(), true);
  expect_equal(host.request("GET", "/api/example/quotes/A"),
               R"({"price":5.0,"symbol":"A","time":"1970-01-01T00:00:03Z","updates":2})");
  expect_error(EPHOR_NOT_FOUND, [&] { host.request("GET", "/api/example/quotes/B"); });
  host.on_select([](auto&&...) { return std::vector<std::vector<StoredCell>>{}; });
  expect_equal(host.request("GET", "/api/example/quotes"), R"({"left_out":1,"quotes":[]})");
}

}  // namespace

int main() {
  answers_one_symbol();
  errors_have_their_status();
  a_late_price_counts_but_does_not_win();
  rows_are_those_that_changed();
  a_row_is_written_once();
  lists_what_the_table_says();
  survives_a_crash_and_keeps_its_bound();
  return test_result();
}
