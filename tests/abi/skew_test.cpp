// SPDX-License-Identifier: Apache-2.0
//
// Host and plugin of different minors. The host is the real one, its plugin
// (tests/plugins/skewed.cpp) hands over structs that are shorter or longer than in 1.0 and numbers
// of later times, in the host's process and in one of its own; then the other way round, real
// plugins under a host whose tables are skewed. What is short ends where memory ends, so reading
// beyond it is a crash; what is long goes on with garbage.
#include <sys/mman.h>

#include <cstring>
#include <ephor/testing/fake_host.hpp>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/abi_check.hpp"
#include "core/plugin_loader.hpp"
#include "event/error.hpp"
#include "integration/host_support.hpp"
#include "integration/isolation_support.hpp"

namespace ephor::testing {
namespace {

using host::Isolation;

// `bytes` of a struct in front of a page that cannot be read.
template <typename Struct>
Struct* placed(const Struct& value, std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  void* const pages =
      ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(pages != MAP_FAILED);
  REQUIRE(::mprotect(static_cast<char*>(pages) + kPage, kPage, PROT_NONE) == 0);
  char* const at = static_cast<char*>(pages) + kPage - bytes;
  std::memset(at, 0xA5, bytes);
  std::memcpy(at, &value, std::min(bytes, sizeof value));
  auto* const made = reinterpret_cast<Struct*>(at);
  made->struct_size = static_cast<std::uint32_t>(bytes);
  return made;
}

// ---- the host, and a plugin of another minor ----------------------------------------------------

host::Settings skewed_settings(const TemporaryDirectory& directory, Isolation isolation,
                               const std::string& config) {
  use_built_runner();
  host::InstanceSettings settings;
  settings.name = "skewed";
  settings.plugin = host::PluginLoader::load_file(test_plugin("skewed"));
  settings.config_json = config;
  settings.isolation = isolation;
  return settings_for(directory.path(), {settings});
}

std::string config_of(const std::string& name, std::size_t bytes) {
  return Json{{"struct", name}, {"bytes", bytes}}.dump();
}

// What the plugin was told, after three events.
Json probed(Isolation isolation, const std::string& config) {
  const TemporaryDirectory directory;
  host::Host host(skewed_settings(directory, isolation, config), host::RunMode::live);
  host.start();
  const std::uint64_t last = ingest(host, points(0, 3)).last_sequence;
  const auto wait_for = [](auto&& is_so) {
    for (const std::int64_t end = host::monotonic_ns() + kLongEnough;
         !is_so() && host::monotonic_ns() < end;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  };
  // Two are derived of each event, unless the drafts are refused.
  const Json asked = Json::parse(config);
  const bool is_refused = asked.value("struct", "") == "draft" &&
                          asked.at("bytes").get<std::size_t>() < sizeof(ephor_draft);
  Json counts;
  wait_for([&] {
    counts = Json::parse(host.query("skewed.counts", "{}", last));
    return counts.at("derived") == (is_refused ? 0 : 6);
  });
  host.checkpoint();
  Json told = Json::parse(host.query("skewed"));
  told.update(counts);
  try {
    host.query("skewed.strange");
  } catch (const Error& error) {
    told["strange"] = {
        {"status", error.code()}, {"message", error.what()}, {"pointer", error.json_pointer()}};
  }
  const auto health = [&]() -> std::string {
    const Json all = Json::parse(host.health_json());
    for (const Json& instance : all.at("instances")) {
      if (instance.at("instance") == "skewed") return instance.at("health");
    }
    return "no instance";
  };
  wait_for([&] { return health() == "failed"; });
  told["health"] = health();
  CHECK(host.stop());
  return told;
}

// Why the host did not start.
std::string refusal(Isolation isolation, const std::string& config) {
  const TemporaryDirectory directory;
  try {
    host::Host host(skewed_settings(directory, isolation, config), host::RunMode::live);
    host.start();
  } catch (const host::HostError& error) {
    return error.what();
  }
  return "it started";
}

std::string found_expected(const std::string& name, std::size_t found, std::size_t expected) {
  return "found " + name + " of " + std::to_string(found) + " bytes, expected at least " +
         std::to_string(expected);
}

const std::vector<Isolation> kPlaces{Isolation::in_process, Isolation::process};

}  // namespace

TEST_CASE("skew: numbers of later times harm nobody, and are named where they are refused",
          "[abi][skew]") {
  for (const Isolation place : kPlaces) {
    const Json told = probed(place, "{}");
    INFO(told.dump(1));
    CHECK(told.at("events") == 3);
    CHECK(told.at("derived") == 6);
    CHECK(told.at("publish").at("status") == EPHOR_OK);
    CHECK(told.at("unknown_extension") == true);
    CHECK(told.at("other_revision") == true);
    CHECK(told.at("no_extension") == true);
    // After start nothing is registered; which of both reasons is given is the host's affair.
    CHECK(told.at("unknown_policy").at("status") != EPHOR_OK);
    CHECK(told.at("unknown_metric").at("status") == EPHOR_INVALID);
    CHECK(told.at("unknown_metric").at("message").get<std::string>().find("77") !=
          std::string::npos);
    CHECK(told.at("unknown_cell").at("status") == EPHOR_INVALID);
    CHECK(told.at("unknown_cell").at("message").get<std::string>().find("kind 77") !=
          std::string::npos);
    CHECK(told.at("upsert_unknown_cell").at("status") == EPHOR_INVALID);
    CHECK(told.at("unknown_encoding").at("status") == EPHOR_UNSUPPORTED);
    CHECK(told.at("rendered") == "{}");
    CHECK(told.at("ingest").at("status") == EPHOR_OK);
    CHECK(told.at("accepted") == 1);
    CHECK(told.at("ingested_size") == sizeof(ephor_ingest_result));
    CHECK(told.at("list").at("status") == EPHOR_OK);
    // The plugin's own text had no end.
    CHECK(told.at("strange").at("status") == 77);
    CHECK(told.at("strange").at("message") == std::string(sizeof(ephor_error::message) - 1, 'm'));
    CHECK(told.at("strange").at("pointer") ==
          std::string(sizeof(ephor_error::json_pointer) - 1, 'p'));
    CHECK(told.at("health") == "failed");
  }
}

TEST_CASE("skew: structs that go on behind 1.0 are taken as those of 1.0", "[abi][skew]") {
  const std::vector<std::pair<std::string, std::size_t>> longer{
      {"subscription", sizeof(ephor_subscription)},
      {"route", sizeof(ephor_http_route)},
      {"checkpoint", sizeof(ephor_checkpoint)},
      {"error", sizeof(ephor_error)},
      {"writer", sizeof(ephor_writer)},
      {"draft", sizeof(ephor_draft)},
      {"ingest_result", sizeof(ephor_ingest_result)}};
  for (const Isolation place : kPlaces) {
    Json plain = probed(place, "{}");
    for (const auto& [name, bytes] : longer) {
      const Json told = probed(place, config_of(name, bytes + 64));
      INFO(name << " of " << bytes + 64 << " bytes: " << told.dump(1));
      CHECK(told == plain);
    }
  }
}

TEST_CASE("skew: a struct shorter than in 1.0 is refused by name before start", "[abi][skew]") {
  const std::vector<std::tuple<std::string, std::string, std::size_t>> shorter{
      {"subscription", "ephor_subscription", sizeof(ephor_subscription)},
      {"route", "ephor_http_route", sizeof(ephor_http_route)},
      {"checkpoint", "ephor_checkpoint", sizeof(ephor_checkpoint)},
      {"plugin", "ephor_plugin", sizeof(ephor_plugin)}};
  for (const Isolation place : kPlaces) {
    for (const auto& [name, type, bytes] : shorter) {
      for (const std::size_t found : {bytes - 8, std::size_t{8}}) {
        const std::string why = refusal(place, config_of(name, found));
        INFO(why);
        CHECK(why.find(found_expected(type, found, bytes)) != std::string::npos);
        CHECK(why.find("skewed") != std::string::npos);
      }
    }
    const std::string why = refusal(place, config_of("plugin", sizeof(ephor_plugin) + 8));
    INFO(why);
    CHECK(why.find("expected at most the 64 that the host gave") != std::string::npos);
  }
}

TEST_CASE("skew: a struct shorter than in 1.0 fails the call it is passed to", "[abi][skew]") {
  for (const Isolation place : kPlaces) {
    for (const std::size_t bytes : {sizeof(ephor_draft) - 8, std::size_t{8}}) {
      const Json told = probed(place, config_of("draft", bytes));
      CHECK(told.at("publish").at("status") == EPHOR_UNSUPPORTED);
      CHECK(told.at("publish").at("message") ==
            "publish: " + found_expected("ephor_draft", bytes, sizeof(ephor_draft)));
      CHECK(told.at("derived") == 0);
      CHECK(told.at("events") == 3);
    }

    const Json writer = probed(place, config_of("writer", sizeof(ephor_writer) - 8));
    CHECK(writer.at("render").at("status") == EPHOR_UNSUPPORTED);
    CHECK(writer.at("rendered") == "");
    CHECK(writer.at("list").at("status") == EPHOR_UNSUPPORTED);

    const Json result = probed(place, config_of("ingest_result", sizeof(ephor_ingest_result) - 8));
    CHECK(result.at("ingest").at("status") == EPHOR_UNSUPPORTED);
    CHECK(result.find("accepted") == result.end());

    // The status is the call's own, and the error holds what there is room for.
    const Json no_pointer = probed(place, config_of("error", offsetof(ephor_error, json_pointer)));
    CHECK(no_pointer.at("unknown_metric").at("status") == EPHOR_INVALID);
    CHECK(no_pointer.at("unknown_metric").at("message").get<std::string>().find("77") !=
          std::string::npos);
    const Json no_message = probed(place, config_of("error", offsetof(ephor_error, message)));
    CHECK(no_message.at("unknown_metric") == Json{{"status", EPHOR_INVALID}});
  }
}

// ---- entries ------------------------------------------------------------------------------------

namespace {

struct Description {
  ephor_plugin_info info{};
  const ephor_plugin_info* infos[1] = {};
  ephor_entry entry{EPHOR_ENTRY_MAGIC, sizeof(ephor_entry), EPHOR_ABI_MAJOR, 0, 0, 1, nullptr};

  Description() {
    info.struct_size = sizeof info;
    info.id = to_view("odd");
    info.config_schema = to_view("{}");
    info.create = [](const ephor_host*, ephor_view, ephor_view, ephor_plugin*,
                     ephor_error*) -> ephor_status { return EPHOR_INTERNAL; };
    infos[0] = &info;
    entry.infos = infos;
  }
};

std::string loading(const ephor_entry& entry) {
  host::PluginLoader loader({});
  try {
    loader.add("odd", entry);
  } catch (const host::HostError& error) {
    return error.what();
  }
  return "taken";
}

}  // namespace

TEST_CASE("skew: what a library needs and what it was built with are two things", "[abi][skew]") {
  Description made;
  CHECK(loading(made.entry) == "taken");
  made.entry.abi_minor_built = 999;
  CHECK(loading(made.entry) == "taken");
  made.entry.abi_minor_required = 7;
  CHECK(loading(made.entry).find("requires ABI 1.7, expected at most 1.0") != std::string::npos);
  made.entry.abi_major = 2;
  CHECK(loading(made.entry).find("found ABI 2.999, expected major 1") != std::string::npos);
}

TEST_CASE("skew: an entry or a description shorter than in 1.0 is refused", "[abi][skew]") {
  Description made;
  for (const std::size_t bytes : {sizeof(ephor_entry) - 8, std::size_t{8}}) {
    CHECK(loading(*placed(made.entry, bytes))
              .find(found_expected("ephor_entry", bytes, sizeof(ephor_entry))) !=
          std::string::npos);
  }
  CHECK(loading(*placed(made.entry, sizeof(ephor_entry) + 64)) == "taken");
  for (const std::size_t bytes : {sizeof(ephor_plugin_info) - 8, std::size_t{8}}) {
    made.infos[0] = placed(made.info, bytes);
    CHECK(loading(made.entry)
              .find(found_expected("ephor_plugin_info", bytes, sizeof(ephor_plugin_info))) !=
          std::string::npos);
  }
  made.infos[0] = placed(made.info, sizeof(ephor_plugin_info) + 64);
  CHECK(loading(made.entry) == "taken");
}

TEST_CASE("skew: a description that leads nowhere is refused with its field", "[abi][skew]") {
  Description made;
  made.info.version = {nullptr, 5};
  CHECK(loading(made.entry).find("version: found 5 bytes at NULL") != std::string::npos);
  made.info.version = {};
  made.info.required_count = 3;
  CHECK(loading(made.entry).find("required_extensions: found NULL, expected 3") !=
        std::string::npos);
  made.info.required_count = 0;
  made.info.create = nullptr;
  CHECK(loading(made.entry).find("without create") != std::string::npos);
}

// ---- a plugin, and a host of another minor ------------------------------------------------------

namespace {

// The fake host behind tables of other sizes: everything it hands over is copied to where memory
// ends.
class SkewedTables {
 public:
  static inline std::int64_t more_bytes = 0;  // of every table
  static inline std::string only = {};        // if set: of this extension, or of "host"

  explicit SkewedTables(const ephor_host& host) : host_(host) {
    ephor_host table = host;
    table.context = this;
    table.get_extension = [](void* self, ephor_view id) {
      return static_cast<SkewedTables*>(self)->extension(to_text(id));
    };
    // The others take the fake host's own context.
    table.subscribe = [](void* self, const ephor_subscription* subscription, ephor_error* error) {
      const ephor_host& real = static_cast<SkewedTables*>(self)->host_;
      return real.subscribe(real.context, subscription, error);
    };
    table.publish = [](void* self, const ephor_draft* drafts, std::uint32_t count,
                       ephor_error* error) {
      const ephor_host& real = static_cast<SkewedTables*>(self)->host_;
      return real.publish(real.context, drafts, count, error);
    };
    table.topic_id = [](void* self, ephor_view name, std::uint16_t* topic, ephor_error* error) {
      const ephor_host& real = static_cast<SkewedTables*>(self)->host_;
      return real.topic_id(real.context, name, topic, error);
    };
    table.topic_name = [](void* self, std::uint16_t topic) {
      const ephor_host& real = static_cast<SkewedTables*>(self)->host_;
      return real.topic_name(real.context, topic);
    };
    table.source_name = [](void* self, std::uint32_t source) {
      const ephor_host& real = static_cast<SkewedTables*>(self)->host_;
      return real.source_name(real.context, source);
    };
    table.render_json = [](void* self, const ephor_event* event, ephor_writer* out,
                           ephor_error* error) {
      const ephor_host& real = static_cast<SkewedTables*>(self)->host_;
      return real.render_json(real.context, event, out, error);
    };
    table_ = skewed("host", table);
  }
  const ephor_host* table() const { return table_; }

 private:
  template <typename Struct>
  static const Struct* skewed(std::string_view name, const Struct& value) {
    const bool is_meant = only.empty() || only == name;
    return placed(value, sizeof value + static_cast<std::size_t>(is_meant ? more_bytes : 0));
  }
  template <typename Table>
  const void* copied(std::string_view id) {
    const void* const real = host_.get_extension(host_.context, to_view(id));
    return real == nullptr ? nullptr : skewed(id, *static_cast<const Table*>(real));
  }
  const void* extension(std::string_view id) {
    if (id == "ephor.query/1") return copied<ephor_query>(id);
    if (id == "ephor.http/1") return copied<ephor_http>(id);
    if (id == "ephor.storage/1") return copied<ephor_storage>(id);
    if (id == "ephor.journal/1") return copied<ephor_journal>(id);
    if (id == "ephor.command/1") return copied<ephor_command>(id);
    if (id == "ephor.metrics/1") return copied<ephor_metrics>(id);
    if (id == "ephor.log/1") return copied<ephor_log>(id);
    if (id == "ephor.health/1") return copied<ephor_health>(id);
    return id == "ephor.task/1" ? copied<ephor_task>(id) : nullptr;
  }

  const ephor_host& host_;
  const ephor_host* table_ = nullptr;
};

// The plugin's entry with a create that skews the host it is given.
class SkewedEntry {
 public:
  explicit SkewedEntry(const host::LoadedPlugin& plugin) : info_(*plugin.info) {
    real_create() = info_.create;
    info_.create = [](const ephor_host* host, ephor_view instance, ephor_view config,
                      ephor_plugin* out, ephor_error* error) {
      // Outlives the plugin, as the host's does.
      static std::vector<std::unique_ptr<SkewedTables>> tables;
      tables.push_back(std::make_unique<SkewedTables>(*host));
      return real_create()(tables.back()->table(), instance, config, out, error);
    };
    entry_ = *plugin.entry;
    entry_.infos = infos_;
  }
  const ephor_entry& entry() const { return entry_; }

 private:
  using Create = decltype(ephor_plugin_info::create);
  static Create& real_create() {
    static Create create = nullptr;
    return create;
  }
  ephor_plugin_info info_;
  const ephor_plugin_info* infos_[1] = {&info_};
  ephor_entry entry_{};
};

// What the test plugin `exercise`, which uses every function of the host, tells of it.
std::string exercised(std::int64_t more_bytes) {
  SkewedTables::more_bytes = more_bytes;
  SkewedTables::only.clear();
  FakeHost host;
  const SkewedEntry plugin(host::PluginLoader::load_file(test_plugin("exercise")));
  host.load_plugin(plugin.entry());
  std::string lines;
  for (int n = 0; n < 20; ++n) lines += point(n) + "\n";
  host.deliver(lines);
  host.save();
  REQUIRE(host.crash());  // saved and loaded through skewed tables, too
  host.deliver(point(20));
  std::string told;
  for (const Published& event : host.published()) told += event.topic + event.data_json + "\n";
  const auto& metrics = *static_cast<const ephor_metrics*>(
      host.table()->get_extension(host.table()->context, to_view("ephor.metrics/1")));
  ephor_writer out = string_writer(told);
  REQUIRE(metrics.render(metrics.context, &out, nullptr) == EPHOR_OK);
  return told;
}

}  // namespace

TEST_CASE("skew: a plugin works under tables that go on behind 1.0", "[abi][skew]") {
  const std::string plain = exercised(0);
  CHECK_FALSE(plain.empty());
  CHECK(exercised(64) == plain);
}

TEST_CASE("skew: a plugin refuses a host whose own table is shorter than in 1.0", "[abi][skew]") {
  const host::LoadedPlugin loaded = host::PluginLoader::load_file(test_plugin("idle"));
  SkewedTables::only = "host";
  for (const std::size_t bytes : {sizeof(ephor_host) - 8, std::size_t{8}}) {
    SkewedTables::more_bytes =
        static_cast<std::int64_t>(bytes) - static_cast<std::int64_t>(sizeof(ephor_host));
    FakeHost host;
    const SkewedEntry plugin(loaded);
    try {
      host.load_plugin(plugin.entry());
      FAIL("it was created");
    } catch (const Error& error) {
      CHECK(error.code() == EPHOR_UNSUPPORTED);
      CHECK(error.what() == "create: " + found_expected("ephor_host", bytes, sizeof(ephor_host)));
    }
  }
}

TEST_CASE("skew: an extension shorter than in its first release counts as absent", "[abi][skew]") {
  const host::LoadedPlugin loaded = host::PluginLoader::load_file(test_plugin("exercise"));
  SkewedTables::more_bytes = -8;
  SkewedTables::only = "ephor.storage/1";
  FakeHost host;
  const SkewedEntry plugin(loaded);
  try {
    host.load_plugin(plugin.entry());
    FAIL("it was created");
  } catch (const Error& error) {
    CHECK(error.code() == EPHOR_UNSUPPORTED);
    CHECK(std::string(error.what()).find("ephor.storage/1") != std::string::npos);
  }
}

namespace {
class Quiet final : public Plugin {
 public:
  Quiet(Host, std::string_view) {}
  void save(const Rows&, std::string& state) override { state = "saved"; }
};
}  // namespace

TEST_CASE("skew: drafts lie as far apart as the first one says, and never off their alignment",
          "[abi][skew]") {
  ephor_draft drafts[3]{};
  drafts[0].struct_size = sizeof(ephor_draft);
  CHECK(&draft_at(drafts, 1) == drafts + 1);
  drafts[0].struct_size = 2 * sizeof(ephor_draft);
  CHECK(&draft_at(drafts, 1) == drafts + 2);
  drafts[0].struct_size = sizeof(ephor_draft) + 4;
  CHECK_THROWS_AS(draft_at(drafts, 0), Error);
  drafts[0].struct_size = sizeof(ephor_draft) - 8;
  CHECK_THROWS_AS(draft_at(drafts, 0), Error);
}

TEST_CASE("skew: rows, writers and errors of a host of another minor", "[abi][skew]") {
  using Tables = ::ephor::detail::Adapter<Quiet>;
  FakeHost host;
  host.create_plugin<Quiet>();
  void* const self = host.plugin_table().self;
  std::string state;
  const ephor_rows rows{sizeof(ephor_rows), 0, nullptr, nullptr, nullptr};
  const auto save = [&](std::size_t row_bytes, std::size_t writer_bytes, ephor_error* error) {
    state.clear();
    return Tables::save(self, placed(rows, row_bytes), placed(string_writer(state), writer_bytes),
                        error);
  };
  CHECK(save(sizeof rows, sizeof(ephor_writer), nullptr) == EPHOR_OK);
  CHECK(save(sizeof rows + 64, sizeof(ephor_writer) + 64, nullptr) == EPHOR_OK);
  CHECK(state == "saved");
  ephor_error* const error = placed(ephor_error{}, offsetof(ephor_error, json_pointer));
  CHECK(save(sizeof rows - 8, sizeof(ephor_writer), error) == EPHOR_UNSUPPORTED);
  CHECK(error->message == "save: " + found_expected("ephor_rows", 24, 32));
  CHECK(save(sizeof rows, sizeof(ephor_writer) - 8, error) == EPHOR_UNSUPPORTED);
  CHECK(error->message == "save: " + found_expected("ephor_writer", 16, 24));
  ephor_error* const bare = placed(ephor_error{}, offsetof(ephor_error, message));
  CHECK(save(8, 8, bare) == EPHOR_UNSUPPORTED);
  CHECK(bare->code == EPHOR_UNSUPPORTED);
  ephor_error* const nothing = placed(ephor_error{}, 4);  // not even a code
  CHECK(save(8, 8, nothing) == EPHOR_UNSUPPORTED);
}

}  // namespace ephor::testing
