// SPDX-License-Identifier: Apache-2.0
//
// Whatever a C++ plugin throws arrives as a status with a message, and struct sizes may differ.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <ephor/plugin.hpp>
#include <ephor/testing/fake_host.hpp>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

enum class Fault { none, error, standard, memory, unknown };

void raise(Fault fault) {
  switch (fault) {
    case Fault::none:
      return;
    case Fault::error:
      throw ephor::Error(EPHOR_DENIED, "not you", "/who");
    case Fault::standard:
      throw std::logic_error("logic");
    case Fault::memory:
      throw std::bad_alloc();
    case Fault::unknown:
      throw 42;
  }
}

Fault fault_now = Fault::none;
int live_count = 0;

class Thrower final : public ephor::Plugin {
 public:
  Thrower(ephor::Host host, std::string_view) : host_(std::move(host)) {
    raise(fault_now);
    ++live_count;
    host_.provide_query("thrower.ask", "", [](std::string_view) {
      raise(fault_now);
      return std::string("1");
    });
  }
  ~Thrower() override { --live_count; }
  void start() override { raise(fault_now); }
  void on_events(std::span<const ephor::Event>) override { raise(fault_now); }
  void drain(std::int64_t) override { raise(fault_now); }
  void stop() override { raise(fault_now); }
  void save(const ephor::Rows&, std::string&) override { raise(fault_now); }
  bool load(std::uint32_t version, std::string_view) override {
    raise(fault_now);
    return version == 1;
  }

 private:
  ephor::Host host_;
};
using Tables = ephor::detail::Adapter<Thrower>;

ephor_error new_error() {
  ephor_error error{};
  error.struct_size = sizeof error;
  return error;
}

struct Expected {
  Fault fault;
  ephor_status status;
  std::string message;
};
const std::vector<Expected> kExpected = {{Fault::error, EPHOR_DENIED, "not you"},
                                         {Fault::standard, EPHOR_INTERNAL, "logic"},
                                         {Fault::memory, EPHOR_FULL, "out of memory"},
                                         {Fault::unknown, EPHOR_INTERNAL, "unknown exception"}};

}  // namespace

TEST_CASE("guard: every entry of a throwing plugin gives a status and a message", "[abi]") {
  fault_now = Fault::none;
  ephor::testing::FakeHost host;
  auto& thrower = host.create_plugin<Thrower>();
  const ephor_plugin& plugin = host.plugin_table();
  const auto* checkpoint = static_cast<const ephor_checkpoint*>(
      plugin.get_extension(&thrower, ephor::to_view("ephor.storage/1")));
  REQUIRE(checkpoint != nullptr);
  std::string state;
  ephor_writer out = ephor::string_writer(state);
  const ephor_event event{};
  for (const Expected& expected : kExpected) {
    fault_now = expected.fault;
    const auto holds = [&](auto&& call) {
      ephor_error error = new_error();
      CHECK(call(&error) == expected.status);
      CHECK(error.code == expected.status);
      CHECK(error.message == expected.message);
      CHECK(std::string(error.json_pointer) == (expected.fault == Fault::error ? "/who" : ""));
      CHECK(call(static_cast<ephor_error*>(nullptr)) == expected.status);
    };
    holds([&](ephor_error* error) { return plugin.start(plugin.self, error); });
    holds([&](ephor_error* error) { return plugin.on_events(plugin.self, &event, 1, error); });
    holds([&](ephor_error* error) { return plugin.drain(plugin.self, 0, error); });
    holds([&](ephor_error* error) { return plugin.stop(plugin.self, error); });
    holds([&](ephor_error* error) { return checkpoint->save(plugin.self, nullptr, &out, error); });
    holds([&](ephor_error* error) { return checkpoint->load(plugin.self, 1, {}, error); });
  }
  fault_now = Fault::none;
  CHECK(checkpoint->load(plugin.self, 2, {}, nullptr) == EPHOR_UNSUPPORTED);
}

TEST_CASE("guard: construction is guarded and leaves nothing behind", "[abi]") {
  ephor::testing::FakeHost host;
  const int live_before = live_count;
  for (const Expected& expected : kExpected) {
    fault_now = expected.fault;
    ephor_plugin plugin{};
    plugin.struct_size = sizeof plugin;
    ephor_error error = new_error();
    CHECK(Tables::create(host.table(), ephor::to_view("x"), ephor::to_view("{}"), &plugin,
                         &error) == expected.status);
    CHECK(error.message == expected.message);
    CHECK(plugin.self == nullptr);
    CHECK(plugin.struct_size == sizeof plugin);
    CHECK(live_count == live_before);
  }
  fault_now = Fault::none;
}

TEST_CASE("guard: a query that throws answers with its status", "[abi]") {
  fault_now = Fault::none;
  ephor::testing::FakeHost host;
  host.load_plugin<Thrower>();
  CHECK(host.ask("thrower.ask") == "1");
  for (const Expected& expected : kExpected) {
    fault_now = expected.fault;
    try {
      host.ask("thrower.ask");
      FAIL("it answered");
    } catch (const ephor::Error& error) {
      CHECK(error.code() == expected.status);
      CHECK(error.what() == expected.message);
    }
  }
  fault_now = Fault::none;
}

TEST_CASE("guard: a message that is too long is cut and ends with a NUL", "[abi]") {
  ephor_error error = new_error();
  std::memset(error.message, 'x', sizeof error.message);
  ephor::store_error(&error, EPHOR_IO, std::string(5000, 'm'), std::string(5000, '/'));
  CHECK(std::strlen(error.message) == sizeof error.message - 1);
  CHECK(std::strlen(error.json_pointer) == sizeof error.json_pointer - 1);
}

namespace {
class Quiet final : public ephor::Plugin {
 public:
  Quiet(ephor::Host, std::string_view) {}
};

// A table as a host of another minor has it: `size` bytes long, with what it does not know behind.
struct ForeignTable {
  explicit ForeignTable(std::uint32_t size) {
    std::memset(this, 0xAB, sizeof *this);
    table.struct_size = size;
  }
  bool is_untouched_from(std::size_t begin) const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(this);
    return std::all_of(bytes + begin, bytes + sizeof *this,
                       [](unsigned char byte) { return byte == 0xAB; });
  }
  ephor_plugin table;
  unsigned char beyond[64];
};
}  // namespace

TEST_CASE("skew: create fills the smaller of both sizes of ephor_plugin", "[abi]") {
  const ephor::testing::FakeHost host;
  const auto create = [&](ForeignTable& foreign) {
    return ephor::detail::Adapter<Quiet>::create(host.table(), ephor::to_view("x"),
                                                 ephor::to_view("{}"), &foreign.table, nullptr);
  };
  SECTION("an older host, whose table ends before get_extension") {
    constexpr std::uint32_t kOldSize = offsetof(ephor_plugin, get_extension);
    ForeignTable foreign(kOldSize);
    REQUIRE(create(foreign) == EPHOR_OK);
    CHECK(foreign.table.struct_size == kOldSize);
    CHECK(foreign.is_untouched_from(kOldSize));
    CHECK_FALSE(EPHOR_HAS(&foreign.table, ephor_plugin, get_extension));
    foreign.table.destroy(foreign.table.self);
  }
  SECTION("a newer host, whose table goes on") {
    ForeignTable foreign(sizeof(ForeignTable));
    REQUIRE(create(foreign) == EPHOR_OK);
    CHECK(foreign.table.struct_size == sizeof(ephor_plugin));
    CHECK(foreign.is_untouched_from(sizeof(ephor_plugin)));
    foreign.table.destroy(foreign.table.self);
  }
}

TEST_CASE("skew: unknown extensions are absent, not fatal", "[abi]") {
  ephor::testing::FakeHost host;
  host.load_plugin<Quiet>();
  const ephor_plugin& plugin = host.plugin_table();
  CHECK(plugin.get_extension(plugin.self, ephor::to_view("ephor.future/9")) == nullptr);
  CHECK(plugin.get_extension(plugin.self, {nullptr, 0}) == nullptr);
  CHECK(plugin.get_extension(plugin.self, ephor::to_view("ephor.storage/1")) == nullptr);
  CHECK(host.table()->get_extension(host.table()->context, ephor::to_view("ephor.future/9")) ==
        nullptr);
}
