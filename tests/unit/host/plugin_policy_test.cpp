// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_policy.hpp"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/plugin_note.hpp"
#include "event/error.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A file two directories down, all ours and writable by nobody else.
struct Place {
  testing::TemporaryDirectory scratch;
  fs::path outer = scratch.path() / "outer";
  fs::path inner = outer / "inner";
  fs::path file = inner / "plugin.so";

  Place() {
    fs::create_directories(inner);
    std::ofstream(file) << "abc";
    for (const fs::path& one : {scratch.path(), outer, inner}) ::chmod(one.c_str(), 0755);
    ::chmod(file.c_str(), 0644);
  }
  std::string verdict(const fs::path& path, bool may_be_writable = false) const {
    PluginPolicy policy;
    policy.may_be_writable = may_be_writable;
    try {
      const OpenedFile opened(path);
      check_not_writable(policy, opened.descriptor(), path);
    } catch (const HostError& failure) {
      CHECK(failure.status() == EPHOR_DENIED);
      return failure.what();
    }
    return "let in";
  }
  std::string verdict() const { return verdict(file); }
};

TEST_CASE("policy: what others could change is refused, with path, mode and way out",
          "[unit][policy]") {
  Place place;
  REQUIRE(place.verdict() == "let in");
  ::chmod(place.file.c_str(), 0666);
  CHECK(has(place.verdict(), place.file.string() + ": found mode 0666, owner "));
  CHECK(has(place.verdict(), "`chmod o-w " + place.file.string() + "`"));
  CHECK(has(place.verdict(), "allow_writable_plugins: true"));
  CHECK(place.verdict(place.file, true) == "let in");
  ::chmod(place.file.c_str(), 0644);
  for (const fs::path& directory : {place.outer, place.inner}) {
    ::chmod(directory.c_str(), 0757);
    CHECK(has(place.verdict(), directory.string() + ": found mode 0757"));
    // As in /tmp: others can add entries there, and cannot touch ours.
    ::chmod(directory.c_str(), 01777);
    CHECK(place.verdict() == "let in");
    ::chmod(directory.c_str(), 0755);
  }
}

TEST_CASE("policy: a link leads nowhere that a path could not", "[unit][policy]") {
  Place place;
  const fs::path link = place.scratch.path() / "link.so";
  fs::create_symlink("outer/../outer/inner/plugin.so", link);
  CHECK(place.verdict(link) == "let in");
  ::chmod(place.outer.c_str(), 0777);
  CHECK(has(place.verdict(link), place.outer.string() + ": found mode 0777"));
  ::chmod(place.outer.c_str(), 0755);
  // Safe where it leads, and not on the way.
  const fs::path open = place.scratch.path() / "open";
  fs::create_directory(open);
  ::chmod(open.c_str(), 0777);
  fs::create_symlink(place.file, open / "p.so");
  CHECK(has(place.verdict(open / "p.so"), open.string() + ": found mode 0777"));
  CHECK(place.verdict(place.inner / "../inner/./plugin.so") == "let in");
}

TEST_CASE("policy: a group counts as others unless it is root's or the user's own",
          "[unit][policy]") {
  Place place;
  ::chmod(place.file.c_str(), 0664);
  if (::chown(place.file.c_str(), static_cast<uid_t>(-1), 0) == 0) {
    CHECK(place.verdict() == "let in");
    if (::chown(place.file.c_str(), static_cast<uid_t>(-1), 12) == 0) {
      CHECK(has(place.verdict(), "its group 12 can write to it; `chmod g-w "));
    }
  } else {
    WARN("SKIPPED: only root can give a file to another group");
  }
}

TEST_CASE("policy: an access list can hide behind the group's bits", "[unit][policy]") {
  Place place;
  if (::chown(place.file.c_str(), static_cast<uid_t>(-1), 0) != 0) {
    WARN("SKIPPED: needs root");
    return;
  }
  // user::rw- user:1:rw- group::r-- mask::rw- other::r--, as POSIX 1003.1e draft 17 in Linux's
  // layout.
  struct Entry {
    std::uint16_t tag, permissions;
    std::uint32_t id;
  };
  const std::uint32_t version = 2;
  const Entry entries[] = {
      {0x01, 6, ~0U}, {0x02, 6, 1}, {0x04, 4, ~0U}, {0x10, 6, ~0U}, {0x20, 4, ~0U}};
  char value[sizeof version + sizeof entries];
  std::memcpy(value, &version, sizeof version);
  std::memcpy(value + sizeof version, entries, sizeof entries);
  if (::setxattr(place.file.c_str(), "system.posix_acl_access", value, sizeof value, 0) != 0) {
    WARN("SKIPPED: no access lists on this file system");
    return;
  }
  CHECK(has(place.verdict(), "its access list lets others write"));
}

TEST_CASE("policy: the owner is root or who runs", "[unit][policy]") {
  Place place;
  if (::chown(place.file.c_str(), 1, static_cast<gid_t>(-1)) != 0) {
    WARN("SKIPPED: only root can give a file away");
    return;
  }
  CHECK(has(place.verdict(), place.file.string() + ": found mode 0644, owner "));
  CHECK(has(place.verdict(), " as the owner; `chown root " + place.file.string() + "`"));
  REQUIRE(::chown(place.file.c_str(), 0, static_cast<gid_t>(-1)) == 0);
  REQUIRE(::chown(place.inner.c_str(), 1, static_cast<gid_t>(-1)) == 0);
  CHECK(has(place.verdict(), place.inner.string() + ": found mode 0755, owner "));
}

TEST_CASE("policy: the list is one of SHA-256 hashes", "[unit][policy]") {
  const Place place;
  const OpenedFile opened(place.file);
  const Sha256 hash = sha256_of(opened.descriptor(), place.file);
  // FIPS 180-2, appendix B.1: of "abc".
  CHECK(hash == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const auto verdict = [&](const std::string& list) {
    std::vector<ConfigError> errors;
    const Config config =
        Config::parse("a: 1\nplugins:\n  allow: " + list + "\n", "e.yaml", {}, {}, errors);
    REQUIRE(errors.empty());
    try {
      check_allowed(policy_of(config), place.file, hash);
    } catch (const HostError& failure) {
      return std::string(failure.what());
    }
    return std::string("let in");
  };
  CHECK(verdict("[\"" + hash + "\"]") == "let in");
  CHECK(verdict("[BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD]") == "let in");
  CHECK(verdict("[]") == place.file.string() + ": found SHA-256 " + hash +
                             ", expected one of the 0 of plugins.allow at e.yaml:3:3");
  CHECK(has(verdict("[\"" + std::string(64, '0') + "\"]"), "one of the 1 of plugins.allow"));
  std::vector<ConfigError> errors;
  CHECK_NOTHROW(check_allowed(policy_of(Config::load({}, {}, errors)), place.file, hash));
}

}  // namespace
}  // namespace ephor::host
