// SPDX-License-Identifier: Apache-2.0
//
// The binaries of released ABIs (tests/abi/kept) in the present host: events in, answers out, and
// the state that one host saved in the next one.
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "core/plugin_loader.hpp"
#include "integration/host_support.hpp"
#include "integration/isolation_support.hpp"

namespace ephor::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kKept = fs::path(EPHOR_SOURCE_DIR) / "tests/abi/kept";
constexpr bool kCanLoad =
#if defined(__x86_64__) && defined(__linux__)
    true;
#else
    false;
#endif
bool is_skipped() {
  if (!kCanLoad) std::puts("SKIPPED kept: its binaries are of x86-64 Linux, this machine is not");
  return !kCanLoad;
}

host::InstanceSettings kept(const fs::path& release, const std::string& name,
                            host::Isolation isolation) {
  use_built_runner();
  host::InstanceSettings settings;
  settings.name = name;
  settings.plugin = host::PluginLoader::load_file(release / (name + ".so"));
  settings.config_json = R"({"topic":"test.point"})";
  settings.isolation = isolation;
  return settings;
}

std::vector<fs::path> releases() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(kKept)) {
    if (entry.is_directory()) found.push_back(entry.path());
  }
  return found;
}

// The lengths of the records of points(first, last), added up.
std::uint64_t bytes_of(int first, int last) {
  std::uint64_t sum = 0;
  for (int n = first; n < last; ++n) sum += point(n).size();
  return sum;
}

}  // namespace

TEST_CASE("kept: plugins of every release work in this host", "[abi][kept]") {
  if (is_skipped()) return;
  REQUIRE_FALSE(releases().empty());
  for (const fs::path& release : releases()) {
    for (const auto isolation : {host::Isolation::in_process, host::Isolation::process}) {
      INFO(release << (isolation == host::Isolation::process ? " in a process" : ""));
      const TemporaryDirectory directory;
      const auto settings = settings_for(directory.path(), {kept(release, "kept_c", isolation),
                                                            kept(release, "kept_cpp", isolation)});
      {
        host::Host host(settings, host::RunMode::live);
        host.start();
        const std::uint64_t last = ingest(host, points(0, 300)).last_sequence;
        CHECK(Json::parse(host.query("kept_c.events", "{}", last)) ==
              Json{{"events", 300}, {"loaded", 0}});
        const Json told = Json::parse(host.query("kept_cpp.bytes", "{}", last));
        CHECK(told.at("bytes") == bytes_of(0, 300));
        CHECK(told.at("loaded") == 0);
        try {
          host.query("kept_cpp.fail");
          FAIL("it answered");
        } catch (const Error& error) {
          CHECK(error.code() == EPHOR_NOT_FOUND);
          CHECK(std::string(error.what()) == "found nothing");
          CHECK(error.json_pointer() == "/id");
        }
        CHECK(host.stop());
      }
      host::Host host(settings, host::RunMode::live);
      host.start();
      const std::uint64_t last = ingest(host, points(300, 500)).last_sequence;
      CHECK(Json::parse(host.query("kept_c.events", "{}", last)) ==
            Json{{"events", 500}, {"loaded", 300}});
      const Json told = Json::parse(host.query("kept_cpp.bytes", "{}", last));
      CHECK(told.at("bytes") == bytes_of(0, 500));
      CHECK(told.at("loaded") == bytes_of(0, 300));
      CHECK(told.at("row") == bytes_of(0, 300));  // of the last checkpoint
      CHECK(host.stop());
      const auto seen = count_by(journal_of(directory.path()), "kept.seen", "id");
      CHECK(seen.size() == 500);
      CHECK(all_once(seen));
    }
  }
}

TEST_CASE("kept: the binaries are small, stripped and say what they are", "[abi][kept]") {
  if (is_skipped()) return;
  for (const fs::path& release : releases()) {
    for (const std::string name : {"kept_c", "kept_cpp"}) {
      const fs::path file = release / (name + ".so");
      INFO(file);
      CHECK(fs::file_size(file) < 100'000);
      const host::LoadedPlugin loaded = host::PluginLoader::load_file(file);
      CHECK(to_text(loaded.info->id) == name);
      CHECK(loaded.entry->abi_major == EPHOR_ABI_MAJOR);
      CHECK(std::to_string(loaded.entry->abi_major) + "." +
                std::to_string(loaded.entry->abi_minor_built) ==
            release.filename().string());
    }
  }
}

}  // namespace ephor::testing
