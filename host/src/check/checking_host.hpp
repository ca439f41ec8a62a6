// SPDX-License-Identifier: Apache-2.0
//
// A host of one instance that believes nothing: every function of every table notes where it was
// called from and what it was given, keeps what it was told, and can be made to fail. What breaks a
// rule is noted, not thrown: the plugin gets the answer the real host would give.
#pragma once

#include <ephor/abi.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "check/checking_storage.hpp"
#include "check/guarded_text.hpp"
#include "check/violations.hpp"
#include "event/interner.hpp"

namespace ephor::host::check {

// What of the plugin is being called on a thread.
enum class CallKind {
  none,
  create,
  load,
  start,
  on_events,
  save,
  query,
  drain,
  stop,
  destroy,
  command,
  task,
  table
};
std::string_view name_of(CallKind kind);

class CheckingHost;

// Marks this thread as the one in which the host calls the plugin. Nests.
class CallScope {
 public:
  CallScope(CheckingHost& host, CallKind kind);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  CheckingHost* outer_host_;
  CallKind outer_kind_;
};

struct HostOptions {
  std::string instance = "checked";
  std::filesystem::path directory = ".";        // told as data_dir
  std::string mode = "live";                    // live, replay or offline
  bool is_source = false;                       // it may subscribe in create only
  std::set<std::string, std::less<>> withheld;  // extensions this host does not have
  // Asked before every call that can fail, by its name ("publish", "declare"): a status other than
  // EPHOR_OK is what the call answers. Any thread.
  std::function<ephor_status(std::string_view call)> failing;
  // Bytes of fields that a newer host appends to its tables; filled with 0xA5.
  std::uint32_t core_padding_bytes = 0;
  std::uint32_t extension_padding_bytes = 0;
  // Fields of extension tables that an older host lacks, in bytes from the end.
  std::uint32_t extension_missing_bytes = 0;
  std::uint16_t abi_minor = EPHOR_ABI_MINOR;  // what it says it is
  bool has_guarded_tables = false;            // who reads behind the end of a table crashes
  bool has_rows_on_disk = false;              // not in memory, which a long life would fill
  CheckingStorage* rows_before = nullptr;     // of an earlier life of the instance; copied
};

class CheckingHost {
 public:
  explicit CheckingHost(HostOptions options = {});
  ~CheckingHost();  // waits for its tasks
  CheckingHost(const CheckingHost&) = delete;
  CheckingHost& operator=(const CheckingHost&) = delete;

  const ephor_host* table() const;
  const HostOptions& options() const { return options_; }

  // ---- what the plugin did; copies, any thread
  struct Query {
    std::string name;
    std::string summary;
    ephor_query_handler handler = nullptr;
    void* user = nullptr;
  };
  struct Command {
    std::string name;
    std::string summary;
    ephor_command_handler handler = nullptr;
    void* user = nullptr;
  };
  struct Route {
    std::string method, path, query, scope, summary, request_schema, response_schema, content_type;
  };
  struct Published {
    std::string topic, data_json, correlation_id;
    std::uint64_t cause_sequence = 0;
  };
  struct Line {
    std::int32_t number = 0;  // a level or a state
    std::string text;
  };
  std::vector<Violation> violations() const;
  std::vector<Query> queries() const;
  std::vector<Command> commands() const;
  std::vector<Route> routes() const;
  std::vector<Published> published() const;
  std::vector<Line> log_lines() const;
  std::vector<Line> health_reports() const;
  std::vector<std::string> ingested() const;  // bodies
  std::vector<std::string> patterns() const;
  bool is_subscribed() const;
  // How often each function was called, failed ones too: "publish" -> 3.
  std::map<std::string, std::uint64_t> call_counts() const;
  // [dispatch] of the check; the plugin's SELECTs take a lock of their own.
  CheckingStorage& storage() { return storage_; }

  // ---- what the check tells it
  void note(Rule rule, std::string text);
  void slice_begins(const ephor_event* events, std::uint32_t count);
  void slice_ends();
  void registering_ends() { is_registering_ = false; }  // create has failed, or start returned
  void stopped() { is_stopped_ = true; }
  void destroyed() { is_destroyed_ = true; }
  void join_tasks();
  // What it kept of publish, log, report and ingest, so that a long life takes no memory of its
  // own.
  void forget();

  // Begins every call of the plugin: counts it, looks at its error buffer and throws Error with
  // what `failing` wants.
  void begin_call(std::string_view function, const ephor_error* error);

  // The table that save gets; rows are taken in the CallScope of a save only.
  const ephor_rows* rows() const { return &rows_; }

  std::uint64_t next_sequence() { return sequence_ += 1ULL << 16; }
  std::uint64_t next_id() { return ++id_; }
  std::uint16_t topic_number(std::string_view name) {
    return static_cast<std::uint16_t>(names_.topics.id(name));
  }
  std::uint32_t source_number(std::string_view name) { return names_.sources.id(name); }

 private:
  friend struct CoreCalls;
  friend struct ExtensionCalls;

  // A function may be called inside of these calls only.
  void must_be_in(std::initializer_list<CallKind> kinds, std::string_view function,
                  std::string_view expected);
  void must_register(std::string_view function);
  // The text behind a view; notes what is wrong with it.
  std::string text(ephor_view view, std::string_view what);
  void check_size(std::uint32_t found, std::size_t expected, std::string_view what);
  void check_json(const std::string& text, std::string_view what);
  void check_documented(Rule rule, const std::string& name, const std::string& summary,
                        std::string_view what);
  void present_tables();
  template <typename Table>
  void present(std::string id, const Table& table);
  const void* extension(std::string_view id);

  const HostOptions options_;
  // As the plugin sees them, with the bytes that the options add or take.
  const void* guarded(const std::vector<std::byte>& table) const;
  std::vector<std::byte> core_;
  std::map<std::string, std::vector<std::byte>, std::less<>> extensions_;
  // Copies at the end of a page, by the table they are of; made when has_guarded_tables.
  std::map<const void*, GuardedText> guarded_;
  ephor_rows rows_{};

  Names names_;
  std::atomic<std::uint64_t> sequence_{1ULL << 16};
  std::atomic<std::uint64_t> id_{0};
  std::atomic<bool> is_registering_{true};
  std::atomic<bool> is_stopped_{false};
  std::atomic<bool> is_destroyed_{false};

  struct Series {
    std::uint32_t kind = 0;
    std::string name;
    double value = 0.0;
  };

  mutable std::mutex mutex_;  // guards all below
  std::vector<Violation> violations_;
  std::vector<Query> queries_;
  std::vector<Command> commands_;
  std::vector<Route> routes_;
  std::vector<Published> published_;
  std::vector<Line> log_lines_;
  std::vector<Line> health_reports_;
  std::vector<std::string> ingested_;
  std::vector<std::string> patterns_;
  bool is_subscribed_ = false;
  std::vector<std::uint64_t> slice_;  // sequences in hand
  std::deque<Series> series_;
  std::map<std::string, std::size_t> series_by_key_;
  std::set<const ephor_buffer*> buffers_;
  std::map<std::string, std::uint64_t> call_counts_;
  std::size_t running_tasks_ = 0;
  std::condition_variable task_ended_;

  std::recursive_mutex storage_mutex_;  // guards storage_; a visitor may select again
  CheckingStorage storage_;
};

}  // namespace ephor::host::check
