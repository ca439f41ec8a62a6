// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_policy.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <system_error>

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "event/error.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kOverride = "allow_writable_plugins: true lets it in";

std::string name_of_user(uid_t id) {
  std::vector<char> memory(16384);
  passwd entry{}, *found = nullptr;
  ::getpwuid_r(id, &entry, memory.data(), memory.size(), &found);
  return found == nullptr ? std::string() : found->pw_name;
}

std::string shown_user(uid_t id) {
  const std::string name = name_of_user(id);
  return name.empty() ? "user " + std::to_string(id) : name;
}

// What adduser makes for each user, so that a umask of 002 shares nothing.
bool is_private_group(gid_t id) {
  std::vector<char> memory(16384);
  passwd user{}, *found_user = nullptr;
  ::getpwuid_r(::geteuid(), &user, memory.data(), memory.size(), &found_user);
  if (found_user == nullptr || user.pw_gid != id) return false;
  const std::string name = user.pw_name;
  std::vector<char> group_memory(65536);
  group entry{}, *found = nullptr;
  ::getgrgid_r(id, &entry, group_memory.data(), group_memory.size(), &found);
  if (found == nullptr || name != entry.gr_name) return false;
  for (char** member = entry.gr_mem; *member != nullptr; ++member) {
    if (name != *member) return false;
  }
  return true;
}

// With an access list the mode's group bits are its mask: the right may be anybody's.
bool has_access_list(const fs::path& path) {
  return ::lgetxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

bool is_trusted_owner(uid_t id) { return id == 0 || id == ::geteuid(); }

// Why others could change what `status` is of; empty if they cannot.
std::string weakness_of(const fs::path& path, const struct stat& status) {
  if (!is_trusted_owner(status.st_uid)) {
    const std::string user = shown_user(::geteuid());
    return "expected " + (user == "root" ? user : "root or " + user) + " as the owner; `chown " +
           user + " " + path.string() + "` makes it so";
  }
  if (S_ISLNK(status.st_mode)) return {};  // its mode means nothing
  // Only the owner of an entry can replace it there, and that one is looked at, too.
  if (S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0) return {};
  if ((status.st_mode & S_IWOTH) != 0) {
    return "everybody can write to it; `chmod o-w " + path.string() + "` takes that right away";
  }
  if ((status.st_mode & S_IWGRP) == 0) return {};
  if (has_access_list(path)) {
    return "its access list lets others write to it; `setfacl -b " + path.string() +
           "` takes that right away";
  }
  if (status.st_gid == 0 || is_private_group(status.st_gid)) return {};
  return "its group " + std::to_string(status.st_gid) + " can write to it; `chmod g-w " +
         path.string() + "` takes that right away";
}

void check_place(const fs::path& file, const fs::path& path, const struct stat& status) {
  const std::string weakness = weakness_of(path, status);
  if (weakness.empty()) return;
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777U));
  throw HostError(EPHOR_DENIED, file.string() + ": " +
                                    (path == file ? std::string() : path.string() + ": ") +
                                    "found mode " + mode + ", owner " + shown_user(status.st_uid) +
                                    ": " + weakness + ", and " + kOverride);
}

// Looks at every directory and link on the way, as the kernel walks it. Returns where it ends.
fs::path walk(const fs::path& file) {
  constexpr int kLinksMax = 40;  // the kernel's own bound
  const fs::path whole = fs::absolute(file);
  std::deque<fs::path> left(whole.begin(), whole.end());
  fs::path at;
  for (int links = 0; !left.empty();) {
    const fs::path part = left.front();
    left.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      at = at.parent_path();
      continue;
    }
    const fs::path next = at / part;
    struct stat status {};
    std::error_code problem;
    fs::path target;
    if (::lstat(next.c_str(), &status) != 0) problem.assign(errno, std::generic_category());
    if (!problem && S_ISLNK(status.st_mode)) target = fs::read_symlink(next, problem);
    if (!problem && !target.empty() && ++links > kLinksMax) {
      problem = std::make_error_code(std::errc::too_many_symbolic_link_levels);
    }
    if (problem) {
      throw HostError(EPHOR_IO, file.string() + ": " + next.string() + ": " + problem.message());
    }
    if (!S_ISREG(status.st_mode)) check_place(file, next, status);
    if (target.empty()) {
      at = next;
    } else {
      // An absolute one begins with "/", and at / "/" starts anew.
      left.insert(left.begin(), target.begin(), target.end());
    }
  }
  return at;
}

}  // namespace

PluginPolicy policy_of(const Config& config) {
  PluginPolicy out;
  const Json& tree = config.tree();
  const Json writable = tree.value("allow_writable_plugins", Json());
  out.may_be_writable = writable.is_boolean() && writable.get<bool>();
  const Json plugins = tree.value("plugins", Json());
  if (!plugins.is_object() || !plugins.contains("allow")) return out;
  out.allow.emplace();
  out.allow->place = config.place_of("/plugins/allow");
  if (!plugins["allow"].is_array()) return out;
  for (const Json& one : plugins["allow"]) {
    if (!one.is_string()) continue;
    std::string hash = one.get<std::string>();
    std::transform(hash.begin(), hash.end(), hash.begin(),
                   [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
    out.allow->hashes.push_back(std::move(hash));
  }
  return out;
}

Sha256 sha256_of(int descriptor, const fs::path& file) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  const auto must = [&](int done) {
    if (done != 1) throw HostError(EPHOR_INTERNAL, file.string() + ": SHA-256 is not available");
  };
  must(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr));
  std::vector<char> piece(256U << 10);
  for (off_t offset = 0;;) {
    const ssize_t got = ::pread(descriptor, piece.data(), piece.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw HostError(EPHOR_IO, file.string() + ": " + std::strerror(errno));
    if (got == 0) break;
    must(EVP_DigestUpdate(context.get(), piece.data(), static_cast<std::size_t>(got)));
    offset += got;
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  must(EVP_DigestFinal_ex(context.get(), digest, &size));
  std::string out;
  for (unsigned i = 0; i < size; ++i) {
    out += "0123456789abcdef"[digest[i] >> 4U];
    out += "0123456789abcdef"[digest[i] & 15U];
  }
  return out;
}

void check_allowed(const PluginPolicy& policy, const fs::path& file, const Sha256& hash) {
  if (!policy.allow) return;
  const auto& hashes = policy.allow->hashes;
  if (std::find(hashes.begin(), hashes.end(), hash) != hashes.end()) return;
  throw HostError(EPHOR_DENIED, file.string() + ": found SHA-256 " + hash +
                                    ", expected one of the " + std::to_string(hashes.size()) +
                                    " of plugins.allow at " + policy.allow->place);
}

void check_not_writable(const PluginPolicy& policy, int descriptor, const fs::path& file) {
  if (policy.may_be_writable) return;
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    throw HostError(EPHOR_IO, file.string() + ": " + std::strerror(errno));
  }
  check_place(file, file, status);
  struct stat found {};
  if (::stat(walk(file).c_str(), &found) != 0 || found.st_dev != status.st_dev ||
      found.st_ino != status.st_ino) {
    throw HostError(EPHOR_IO, file.string() + ": it was replaced while it was looked at");
  }
}

}  // namespace ephor::host
