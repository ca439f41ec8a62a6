// SPDX-License-Identifier: Apache-2.0
#include "core/upkeep_commands.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>

#include <nlohmann/json.hpp>

#include "core/backup.hpp"
#include "core/cli.hpp"
#include "core/control.hpp"
#include "core/journal_export.hpp"
#include "event/error.hpp"
#include "event/times.hpp"
#include "store/damage_mark.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::string dumped(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string text_or(const Json& json, const char* otherwise) {
  return json.is_null() ? otherwise : json.is_string() ? json.get<std::string>() : json.dump();
}

// ---- journal export

// A sequence or a time, into the one of both that it is.
void read_bound(const std::string& name, const std::string& text, std::uint64_t& sequence,
                std::int64_t& time_ns) {
  if (text.empty()) return;
  if (text.size() < 20 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    sequence = std::stoull(text);
    return;
  }
  const auto time = parse_time(text);
  if (!time) {
    throw HostError(EPHOR_INVALID,
                    "--" + name + ": found " + text + ", expected a sequence or an RFC 3339 time");
  }
  time_ns = time->ns;
}

int export_command(const Options& options, const fs::path& data_dir) {
  ExportOptions wanted;
  read_bound("from", options.from, wanted.from_sequence, wanted.from_ns);
  read_bound("to", options.to, wanted.to_sequence, wanted.to_ns);
  if (!options.topic.empty()) wanted.topic = options.topic;
  wanted.raw = options.raw;
  const ExportCounts counts = export_journal(data_dir, wanted, [](std::string_view line) {
    std::cout << line << '\n';
    if (!std::cout) throw HostError(EPHOR_IO, "standard output cannot be written");
  });
  std::cout.flush();
  std::cerr << "exported " << counts.exported << " events";
  if (counts.own != 0) std::cerr << ", left out " << counts.own << " that Ephor made (--raw)";
  if (counts.damaged != 0) std::cerr << ", could not read " << counts.damaged << " batches";
  std::cerr << "\n";
  return counts.damaged == 0 && std::cout ? kDone : kFailed;
}

// ---- journal stat

void print_tallies(const char* title, const Json& tallies) {
  std::printf("\n%-44s %12s %14s %7s\n", title, "EVENTS", "BYTES", "SHARE");
  for (const Json& one : tallies) {
    std::printf("%-44s %12s %14s %6.1f%%\n", one["name"].get_ref<const std::string&>().c_str(),
                one["events"].dump().c_str(), one["bytes"].dump().c_str(),
                100.0 * one["share"].get<double>());
  }
}

void print_gaps(const Json& gaps) {
  for (const Json& gap : gaps) {
    std::printf("gap: sequences %s to %s, %s batches, %s events: %s\n",
                gap["first_sequence"].dump().c_str(), gap["last_sequence"].dump().c_str(),
                gap["batches"].dump().c_str(), text_or(gap["events"], "unknown").c_str(),
                gap["why"].get_ref<const std::string&>().c_str());
  }
}

int stat_command(const Options& options, const fs::path& data_dir) {
  const Json figures = journal_figures(data_dir);
  if (options.json) {
    std::cout << dumped(figures, 2) << "\n";
    return kDone;
  }
  std::printf("journal %s\n", figures["id"].get_ref<const std::string&>().c_str());
  for (const char* key :
       {"batches", "events", "bytes", "stored_bytes", "ratio", "file_bytes", "free_bytes",
        "index_runs", "oldest_sequence", "last_position", "first_time", "last_time"}) {
    std::printf("%-16s %s\n", key, text_or(figures[key], "no data").c_str());
  }
  print_tallies("TOPIC", figures["topics"]);
  print_tallies("SOURCE", figures["sources"]);
  std::printf("\n%-44s %12s\n", "DAY", "EVENTS");
  for (const auto& [day, events] : figures["days"].items()) {
    std::printf("%-44s %12s\n", day.c_str(), events.dump().c_str());
  }
  print_gaps(figures["gaps"]);
  std::fflush(stdout);
  return kDone;
}

// ---- journal verify

int verify_command(const Options& options, const fs::path& data_dir) {
  const Json found = journal_faults(data_dir);
  const int code = found["faults"].empty() ? kDone : kFailed;
  for (const Json& fault : found["faults"]) {
    const std::string what = fault["what"];
    if (what.starts_with("structure:")) mark_as_damaged(data_dir / "journal.db", what);
  }
  if (options.json) {
    std::cout << dumped(found, 2) << "\n";
    return code;
  }
  for (const Json& fault : found["faults"]) {
    std::printf("fault: position %s, %s: %s\n", text_or(fault["position"], "-").c_str(),
                text_or(fault["place"], "journal.db").c_str(),
                fault["what"].get_ref<const std::string&>().c_str());
  }
  print_gaps(found["gaps"]);
  std::printf("%s: %s batches with %s events are whole; %zu faults\n",
              (data_dir / "journal.db").c_str(), found["batches"].dump().c_str(),
              found["events"].dump().c_str(), found["faults"].size());
  std::fflush(stdout);
  return code;
}

void print_manifest(const Options& options, const Json& manifest, const std::string& where) {
  if (options.json) {
    std::cout << dumped(manifest, 2) << "\n";
    return;
  }
  const Json& journal = manifest["journal"];
  std::cout << where << ": journal " << text_or(journal["id"], "") << ", "
            << text_or(journal["events"], "") << " events in " << text_or(journal["batches"], "")
            << " batches; storage " << text_or(manifest["storage"], "") << "; made at "
            << text_or(manifest["made_at"], "") << "\n";
}

std::string only_file(const Options& options) {
  if (options.arguments.size() != 1) {
    throw HostError(EPHOR_INVALID, options.command + ": expected one FILE");
  }
  return fs::absolute(options.arguments[0]).lexically_normal().string();
}

bool has_storage_file(const Options& options) {
  if (options.config.empty()) return true;
  std::vector<ConfigError> ignored;
  const Config config = Config::load(options.config, options.overrides, ignored);
  const Json::json_pointer url("/database/url");
  const Json& tree = config.tree();
  return !tree.contains(url) || !tree[url].is_string() ||
         !tree[url].get_ref<const std::string&>().starts_with("postgresql:");
}

}  // namespace

int backup_command(const Options& options) {
  const std::string file = only_file(options);
  const fs::path data_dir = data_dir_of(options);
  if (!fs::exists(data_dir / "journal.db")) {
    throw HostError(EPHOR_NOT_FOUND, data_dir.string() +
                                         ": found no journal.db, expected the data directory of an "
                                         "Ephor");
  }
  auto manifest = ask_running_host(data_dir, {{"command", "backup"}, {"file", file}});
  if (!manifest) {
    const DirectoryLock lock(data_dir);  // none starts meanwhile
    manifest = make_backup({data_dir, has_storage_file(options), wall_clock_ns()}, file, {});
  }
  print_manifest(options, *manifest, file);
  return kDone;
}

int restore_command(const Options& options) {
  const std::string file = only_file(options);
  if (options.into.empty()) {
    throw HostError(EPHOR_INVALID, "restore: found no --into DIR, expected one");
  }
  Json manifest;
  try {
    manifest = restore_backup(file, options.into);
  } catch (const HostError& failure) {  // what is wrong with the archive is no usage error
    throw HostError(failure.status() == EPHOR_INVALID ? EPHOR_IO : failure.status(),
                    failure.what());
  }
  print_manifest(options, manifest, options.into.string());
  return kDone;
}

int journal_command(const Options& options) {
  const std::string what = options.arguments.size() == 1 ? options.arguments[0] : "";
  const fs::path data_dir = data_dir_of(options);
  if (what == "verify") return verify_command(options, data_dir);
  if (what == "stat") return stat_command(options, data_dir);
  if (what == "export") return export_command(options, data_dir);
  throw HostError(EPHOR_INVALID,
                  "journal: expected `journal verify`, `journal stat` or `journal export`");
}

}  // namespace ephor::host
