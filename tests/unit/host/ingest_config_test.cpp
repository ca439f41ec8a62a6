// SPDX-License-Identifier: Apache-2.0
#include "ingest/ingest_config.hpp"

#include <nlohmann/json.hpp>

#include "event/error.hpp"
#include "ingest/bare_records.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using nlohmann::json;

TEST_CASE("ingest config: defaults stand and keys change them", "[unit][ingest]") {
  const IngestConfig standard = ingest_config(json::object());
  CHECK(standard.assumed_offset_ns == 0);
  CHECK(standard.future_skew_ns == 300'000'000'000);
  CHECK(standard.bare->find("trade_record") != nullptr);
  const IngestConfig config = ingest_config(json::parse(
      R"({"assume_timezone":"-05:30","future_skew_s":1,"depth_max":8,"record_bytes_max":4096,
          "join_attributes":["position_id"],"bare_records":{"outcome":null}})"));
  CHECK(config.assumed_offset_ns == -19'800'000'000'000);
  CHECK(config.future_skew_ns == 1'000'000'000);
  CHECK(config.depth_max == 8);
  CHECK(config.record_bytes_max == 4096);
  CHECK(config.join_attributes.size() == 1);
  CHECK(config.bare->find("outcome") == nullptr);
}

TEST_CASE("ingest config: every fault is named in one go", "[unit][ingest]") {
  const auto faults = [](const char* text) {
    try {
      ingest_config(json::parse(text));
      return std::string();
    } catch (const HostError& error) {
      return std::string(error.what());
    }
  };
  const std::string both =
      faults(R"({"assume_timezone":"Europe/Paris","depth_max":"deep","colour":1})");
  CHECK(both.find("ingest.assume_timezone: found \"Europe/Paris\", expected \"UTC\"") !=
        std::string::npos);
  CHECK(both.find("ingest.depth_max: found \"deep\", expected an integer") != std::string::npos);
  CHECK(both.find("ingest.colour: found an unknown key") != std::string::npos);
  CHECK(faults(R"({"bare_records":{"x":{"id":"a"}}})").find("ingest.bare_records.x") == 0);
  CHECK(faults(R"({"bare_records":{"x":{"topic":"=t","parts":[{"topic":"=u"}]}}})")
            .find("\"at\" or \"each\"") != std::string::npos);
  CHECK(
      faults(R"({"bare_records":{"x":{"topic":{"from":"a","as":"magic"}}}})").find("one of text") !=
      std::string::npos);
}

TEST_CASE("ingest config: zone offsets", "[unit][ingest]") {
  std::int64_t ns = -1;
  CHECK((parse_zone_offset("UTC", ns) && ns == 0));
  CHECK((parse_zone_offset("+02:00", ns) && ns == 7'200'000'000'000));
  CHECK((parse_zone_offset("-0030", ns) && ns == -1'800'000'000'000));
  for (const char* bad : {"", "+2", "+24:00", "+01:60", "+01:0x", "CET", "02:00", "+02:000"}) {
    CHECK_FALSE(parse_zone_offset(bad, ns));
  }
}
