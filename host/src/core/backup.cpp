// SPDX-License-Identifier: Apache-2.0
#include "core/backup.hpp"

#include <ephor/abi.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "event/batch.hpp"
#include "event/error.hpp"
#include "event/times.hpp"
#include "store/archive.hpp"
#include "store/database_check.hpp"
#include "store/sqlite_journal.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr const char* kManifest = "manifest.json";

// A directory for the time of the work.
class Workshop {
 public:
  explicit Workshop(fs::path path) : path_(std::move(path)) {
    std::error_code failure;
    fs::remove_all(path_, failure);
    fs::create_directories(path_, failure);
    if (failure) throw HostError(EPHOR_IO, path_.string() + ": " + failure.message());
    fs::permissions(path_, fs::perms::owner_all, failure);
  }
  ~Workshop() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;
  const fs::path& path() const { return path_; }

 private:
  const fs::path path_;
};

std::uint64_t saved_position(const fs::path& storage_file) {
  const std::int64_t sequence = ask_database(
      storage_file, "SELECT max(sequence) FROM ephor_instances WHERE state_version IS NOT NULL", 0);
  return position_of(static_cast<std::uint64_t>(sequence));
}

std::vector<ArchiveMember> reports_of(const fs::path& data_dir) {
  std::vector<ArchiveMember> members;
  const fs::path folder = data_dir / "reports";
  std::error_code absent;
  for (fs::recursive_directory_iterator at(folder, absent), end; !absent && at != end;
       at.increment(absent)) {
    if (!at->is_regular_file()) continue;
    members.push_back(
        {fs::relative(at->path(), data_dir).generic_string(), at->path(), at->file_size()});
  }
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return members;
}

Json parsed_manifest(const fs::path& file) {
  std::ifstream in(file);
  const Json manifest = Json::parse(std::istreambuf_iterator<char>(in),
                                    std::istreambuf_iterator<char>(), nullptr, false);
  const bool is_one = manifest.is_object() && manifest.contains("format") &&
                      manifest["format"].is_number_integer() && manifest.contains("files") &&
                      manifest["files"].is_array();
  if (!is_one) throw HostError(EPHOR_INVALID, "found no manifest, expected a backup of an Ephor");
  if (manifest["format"] > kFormat) {
    throw HostError(EPHOR_UNSUPPORTED, "backup format " + manifest["format"].dump() +
                                           ", this Ephor reads up to " + std::to_string(kFormat));
  }
  return manifest;
}

void check_files(const Json& manifest, const fs::path& folder) {
  std::size_t expected = 1;  // the manifest
  for (const Json& one : manifest["files"]) {
    ++expected;
    const std::string name = one.value("name", "");
    const std::string hash = one.value("xxh128", "");
    const fs::path file = folder / name;
    if (!fs::is_regular_file(file)) {
      throw HostError(EPHOR_INVALID, name + ": the manifest names it, the archive has it not");
    }
    if (const std::string found = file_hash(file); found != hash) {
      throw HostError(EPHOR_INVALID,
                      name + ": found hash " + found + ", the manifest says " + hash);
    }
  }
  const auto found =
      std::count_if(fs::recursive_directory_iterator(folder), fs::recursive_directory_iterator(),
                    [](const fs::directory_entry& entry) { return entry.is_regular_file(); });
  if (static_cast<std::size_t>(found) != expected) {
    throw HostError(EPHOR_INVALID, "found " + std::to_string(found) +
                                       " files, the manifest names " +
                                       std::to_string(expected - 1));
  }
}

void check_databases(const fs::path& folder) {
  for (const char* name : {"journal.db", "ephor.db"}) {
    if (!fs::exists(folder / name)) {
      if (std::string_view(name) == "ephor.db") continue;
      throw HostError(EPHOR_INVALID, "the archive has no journal.db");
    }
    const std::vector<std::string> faults = find_faults(folder / name, true, 1);
    if (!faults.empty()) throw HostError(EPHOR_INVALID, std::string(name) + ": " + faults[0]);
  }
  const SqliteJournal journal(folder, {.read_only = true});
  if (!fs::exists(folder / "ephor.db")) return;
  if (const std::uint64_t saved = saved_position(folder / "ephor.db");
      saved > journal.last_position()) {
    throw HostError(EPHOR_INVALID, "ephor.db has read up to position " + std::to_string(saved) +
                                       ", journal.db ends at " +
                                       std::to_string(journal.last_position()));
  }
}

}  // namespace

Json make_backup(const BackupSource& source, const fs::path& file,
                 std::unique_lock<std::mutex> still) {
  const Workshop workshop(fs::path(file) += ".making");
  std::vector<ArchiveMember> members;
  const auto add_copy = [&](const char* name) {
    const fs::path copy = workshop.path() / name;
    copy_database(source.data_dir / name, copy);
    members.push_back({name, copy, fs::file_size(copy)});
  };
  const bool has_storage = source.has_storage_file && fs::exists(source.data_dir / "ephor.db");
  if (has_storage) add_copy("ephor.db");
  add_copy("journal.db");
  if (still.owns_lock()) still.unlock();
  check_databases(workshop.path());

  Json manifest{{"format", kFormat},
                {"ephor", EPHOR_VERSION},
                {"made_at", format_time(source.now_ns)},
                {"storage", has_storage ? "ephor.db" : "not in it: derive it from the journal"}};
  {
    const SqliteJournal journal(workshop.path(), {.read_only = true});
    const JournalStats stats = journal.stats();
    manifest["journal"] = {{"id", journal.id()},
                           {"batches", stats.batches},
                           {"events", stats.events},
                           {"oldest_position", stats.oldest_position},
                           {"last_position", stats.last_position}};
  }
  for (ArchiveMember& report : reports_of(source.data_dir)) {
    // Copied, because the hash and the archive must be of the same bytes.
    const fs::path copy = workshop.path() / report.name;
    fs::create_directories(copy.parent_path());
    fs::copy_file(report.file, copy);
    members.push_back({report.name, copy, fs::file_size(copy)});
  }
  manifest["files"] = Json::array();
  for (const ArchiveMember& member : members) {
    manifest["files"].push_back(
        {{"name", member.name}, {"bytes", member.size}, {"xxh128", file_hash(member.file)}});
  }
  const fs::path manifest_file = workshop.path() / kManifest;
  std::ofstream(manifest_file) << manifest.dump(2) << "\n";
  members.insert(members.begin(), {kManifest, manifest_file, fs::file_size(manifest_file)});
  write_archive(file, members);
  return manifest;
}

Json restore_backup(const fs::path& file, const fs::path& into) {
  std::error_code absent;
  const fs::path target = fs::absolute(into).lexically_normal();
  if (fs::exists(target) && !(fs::is_directory(target) && fs::is_empty(target, absent))) {
    throw HostError(EPHOR_CONFLICT,
                    target.string() + ": found something there, expected no or an empty directory");
  }
  fs::path beside = target;
  if (!beside.has_filename()) beside = beside.parent_path();
  const Workshop workshop(fs::path(beside) += ".restoring-" + std::to_string(::getpid()));
  unpack_archive(file, workshop.path());
  Json manifest;
  try {
    manifest = parsed_manifest(workshop.path() / kManifest);
    check_files(manifest, workshop.path());
    check_databases(workshop.path());
  } catch (const HostError& failure) {
    throw HostError(failure.status(), file.string() + ": " + failure.what());
  }
  for (const char* left : {"journal.db-wal", "journal.db-shm", "ephor.db-wal", "ephor.db-shm"}) {
    fs::remove(workshop.path() / left, absent);
  }
  fs::rename(workshop.path(), beside, absent);
  if (absent) throw HostError(EPHOR_IO, beside.string() + ": " + absent.message());
  return manifest;
}

}  // namespace ephor::host
