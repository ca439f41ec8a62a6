// SPDX-License-Identifier: Apache-2.0
//
// The examples as they are shipped: their libraries, loaded through the one exported symbol.
#include <dlfcn.h>

#include <ephor/testing/fake_host.hpp>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"

using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;

namespace {

// Stays mapped until the process ends, as in the host.
const ephor_entry& entry_of(const std::string& name) {
  const auto path = std::filesystem::path(EPHOR_BUILD_DIR) / "lib/ephor/examples" / (name + ".so");
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(::dlerror());
  const auto entry = reinterpret_cast<ephor_entry_function>(::dlsym(library, EPHOR_ENTRY_SYMBOL));
  if (entry == nullptr) throw std::runtime_error(name + " exports no " EPHOR_ENTRY_SYMBOL);
  return *entry();
}

std::string metric(int value) {
  return CloudEvent{.topic = "ephor.metric",
                    .data_json = R"({"name":"latency","value":)" + std::to_string(value) + "}",
                    .time_ns = value,
                    .trace_id = "0102030405060708090a0b0c0d0e0f10"}
             .line() +
         "\n";
}

}  // namespace

TEST_CASE("examples: the entries describe the plugins", "[abi][examples]") {
  for (const std::string name :
       {"minimal_c", "minimal_cpp", "drift_detector", "file_sink", "socket_source", "rest_route"}) {
    const ephor_entry& entry = entry_of(name);
    CHECK(entry.magic == EPHOR_ENTRY_MAGIC);
    CHECK(entry.struct_size == sizeof(ephor_entry));
    CHECK(entry.abi_major == EPHOR_ABI_MAJOR);
    CHECK(entry.abi_minor_required <= EPHOR_ABI_MINOR);
    REQUIRE(entry.info_count == 1);
    CHECK(ephor::to_text(entry.infos[0]->id) == name);
    CHECK(ephor::testing::parse_json_value(ephor::to_text(entry.infos[0]->config_schema))
              .is_object());
  }
}

TEST_CASE("examples: the C plugin counts every event", "[abi][examples]") {
  FakeHost host;
  host.load_plugin(entry_of("minimal_c"));
  CHECK(host.request("GET", "/api/example/count") == R"({"events":0})");
  std::string lines;
  for (int i = 0; i < 300; ++i) lines += metric(i);
  host.deliver(lines);
  host.deliver(CloudEvent{.topic = "some.thing"}.line());
  CHECK(host.request("GET", "/api/example/count") == R"({"events":301})");
  CHECK(host.ask("minimal_c.count") == R"({"events":301})");
}

TEST_CASE("examples: the C plugin works where a host has no routes", "[abi][examples]") {
  FakeHost host;
  host.withhold("ephor.http/1");
  host.load_plugin(entry_of("minimal_c"));
  CHECK(host.routes().empty());
  CHECK(host.ask("minimal_c.count") == R"({"events":0})");
}

TEST_CASE("examples: the C++ plugin publishes what is above its threshold", "[abi][examples]") {
  FakeHost host;
  host.load_plugin(entry_of("minimal_cpp"), R"({"threshold": 10})");
  host.deliver(metric(9) + metric(10) + metric(11));
  const auto published = host.published();
  REQUIRE(published.size() == 1);
  CHECK(published[0].topic == "example.high");
  CHECK(published[0].data_json == R"({"threshold":10.0,"value":11.0})");
  CHECK(published[0].cause_sequence == host.last_sequence());
  CHECK(published[0].trace_id == "0102030405060708090a0b0c0d0e0f10");
  CHECK(host.request("GET", "/api/example/high") == R"({"high":1,"threshold":10.0})");
}

TEST_CASE("examples: the schema's default is the C++ plugin's", "[abi][examples]") {
  FakeHost host;
  host.load_plugin(entry_of("minimal_cpp"));
  host.deliver(metric(100) + metric(101));
  CHECK(host.published().size() == 1);
}

TEST_CASE("examples: a configuration of the wrong type is refused with its place",
          "[abi][examples]") {
  FakeHost host;
  try {
    host.load_plugin(entry_of("minimal_cpp"), R"({"threshold": "high"})");
    FAIL("it was created");
  } catch (const ephor::Error& error) {
    CHECK(error.code() == EPHOR_INVALID);
    CHECK(error.json_pointer() == "/threshold");
  }
}
