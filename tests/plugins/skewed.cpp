// SPDX-License-Identifier: Apache-2.0
//
// A plugin straight on the C tables, as one of another minor might hand them over: its
// configuration
// {"struct": "subscription", "bytes": 32} names the struct that is shorter or longer than in 1.0.
// What is short ends at a page that cannot be read, what is long goes on with garbage. It also
// passes numbers that no host of 1.0 knows, and tells what came of everything when its query
// `skewed` is asked.
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <ephor/plugin.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace ephor::skewed {

using Json = nlohmann::json;

constexpr std::uint32_t kUnknown = 77;

// `bytes` of a struct in front of a page that cannot be read. Lives as long as the process.
template <typename Struct>
Struct* placed(const Struct& value, std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  void* const pages =
      ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw Error(EPHOR_FULL, "no page");
  ::mprotect(static_cast<char*>(pages) + kPage, kPage, PROT_NONE);
  char* const at = static_cast<char*>(pages) + kPage - bytes;
  std::memset(at, 0xA5, bytes);
  std::memcpy(at, &value, std::min(bytes, sizeof value));
  auto* const made = reinterpret_cast<Struct*>(at);
  made->struct_size = static_cast<std::uint32_t>(bytes);
  return made;
}

struct Plugin {
  const ephor_host* host = nullptr;
  std::string instance;
  Json config;
  Json told = Json::object();  // probe -> what came of it
  std::string text;            // of the writer in use
  std::uint64_t event_count = 0;
  std::uint64_t derived_count = 0;

  template <typename Struct>
  Struct* skewed(const char* name, const Struct& value) const {
    return placed(value, config.value("struct", "") == name ? config.at("bytes").get<std::size_t>()
                                                            : sizeof value);
  }
  template <typename Table>
  const Table& table(const char* id) const {
    return *static_cast<const Table*>(host->get_extension(host->context, to_view(id)));
  }
  // Calls with an error of its own and notes what came of it.
  template <typename Call>
  ephor_status note(const char* probe, Call&& call) {
    ephor_error* const error = skewed("error", ephor_error{sizeof(ephor_error), 0, {}, {}});
    const ephor_status status = call(error);
    told[probe] = {{"status", status}};
    if (EPHOR_HAS(error, ephor_error, message)) told[probe]["message"] = error->message;
    return status;
  }
  ephor_writer* writer() {
    text.clear();
    return skewed("writer", string_writer(text));
  }
  void probe();
};

Plugin& self(void* pointer) { return *static_cast<Plugin*>(pointer); }

// What a host of 1.0 cannot know.
void Plugin::probe() {
  const ephor_view pattern = to_view("later.topic");
  note("unknown_policy", [&](ephor_error* error) {
    const ephor_subscription later{sizeof later, kUnknown, &pattern, 1, 0, {}};
    return host->subscribe(host->context, &later, error);
  });
  told["unknown_extension"] =
      host->get_extension(host->context, to_view("ephor.future/9")) == nullptr;
  told["other_revision"] = host->get_extension(host->context, to_view("ephor.query/2")) == nullptr;
  told["no_extension"] = host->get_extension(host->context, {nullptr, 0}) == nullptr;
  const auto& metrics = table<ephor_metrics>("ephor.metrics/1");
  note("unknown_metric", [&](ephor_error* error) {
    std::uint64_t series = 0;
    return metrics.series(metrics.context, kUnknown, to_view("skewed_total"), to_view("x"),
                          to_view("{}"), &series, error);
  });
  const auto& log = table<ephor_log>("ephor.log/1");
  for (const std::int32_t level : {INT32_MIN, -1, 77, INT32_MAX}) {
    log.log(log.context, level, to_view("a level of later times"));
  }
  const auto& health = table<ephor_health>("ephor.health/1");
  health.report(health.context, static_cast<std::int32_t>(kUnknown), to_view("of later times"));
  const auto& storage = table<ephor_storage>("ephor.storage/1");
  note("unknown_cell", [&](ephor_error* error) {
    const ephor_cell cell{kUnknown, 0, 0, 0.0, {reinterpret_cast<const char*>(8), UINT64_MAX}};
    return storage.select(
        storage.context, to_view("SELECT key FROM skewed_rows WHERE key = ?"), &cell, 1,
        [](void*, const ephor_cell*, std::uint32_t) -> ephor_status { return EPHOR_OK; }, nullptr,
        error);
  });
  note("unknown_encoding", [&](ephor_error* error) {
    ephor_event event{};
    event.encoding = static_cast<std::uint8_t>(kUnknown);
    event.flags = 0xFF;
    event.record = "";
    return host->render_json(host->context, &event, writer(), error);
  });
  note("render", [&](ephor_error* error) {
    ephor_event event{};
    event.record = "{}";
    event.record_length = 2;
    return host->render_json(host->context, &event, writer(), error);
  });
  told["rendered"] = text;
  const auto& journal = table<ephor_journal>("ephor.journal/1");
  note("ingest", [&](ephor_error* error) {
    char* data = nullptr;
    const std::string line =
        R"({"specversion":"1.0","id":")" + instance + R"(","source":"skew","type":"skewed.in"})";
    ephor_buffer* const buffer = journal.acquire(journal.context, line.size(), &data);
    std::memcpy(data, line.data(), line.size());
    ephor_ingest_result* const result = skewed("ingest_result", ephor_ingest_result{});
    const ephor_status status = journal.ingest(journal.context, buffer, line.size(), kUnknown, {},
                                               nullptr, nullptr, result, error);
    told["ingested_size"] = result->struct_size;
    if (status == EPHOR_OK) told["accepted"] = result->accepted;
    return status;
  });
  const auto& query = table<ephor_query>("ephor.query/1");
  note("list", [&](ephor_error* error) { return query.list(query.context, writer(), error); });
}

ephor_status answer(void* user, ephor_view, ephor_reply* reply, ephor_error* error) {
  return guarded(error, [&] {
    Plugin& own = self(user);
    own.probe();
    return reply->write(reply->context, to_view(own.told.dump()));
  });
}
ephor_status answer_counts(void* user, ephor_view, ephor_reply* reply, ephor_error* error) {
  return guarded(error, [&] {
    const Json counts{{"events", self(user).event_count}, {"derived", self(user).derived_count}};
    return reply->write(reply->context, to_view(counts.dump()));
  });
}

// A status of later times, and a text without an end.
ephor_status answer_strangely(void*, ephor_view, ephor_reply*, ephor_error* error) {
  std::memset(error->message, 'm', sizeof error->message);
  std::memset(error->json_pointer, 'p', sizeof error->json_pointer);
  return static_cast<ephor_status>(kUnknown);
}

ephor_status on_events(void* pointer, const ephor_event* events, std::uint32_t count,
                       ephor_error* error) {
  return guarded(error, [&] {
    Plugin& own = self(pointer);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::string_view topic =
          to_text(own.host->topic_name(own.host->context, events[i].topic));
      if (topic == "skewed.out") ++own.derived_count;
      if (topic != "test.point") continue;
      ++own.event_count;
      // Two at once: the second lies where the first one's size says.
      const std::size_t bytes = own.config.value("struct", "") == "draft"
                                    ? own.config.at("bytes").get<std::size_t>()
                                    : sizeof(ephor_draft);
      ephor_draft draft{};
      draft.topic = to_view("skewed.out");
      draft.data_json = to_view(R"({"kind":1})");
      draft.cause_sequence = events[i].sequence;
      const ephor_draft* const second = placed(draft, bytes);
      ephor_draft* const first = reinterpret_cast<ephor_draft*>(
          const_cast<char*>(reinterpret_cast<const char*>(second)) - bytes);
      std::memcpy(first, second, bytes);
      own.note("publish", [&](ephor_error* told) {
        return own.host->publish(own.host->context, first, 2, told);
      });
    }
  });
}

ephor_status save(void* pointer, const ephor_rows* rows, ephor_writer* state, ephor_error* error) {
  return guarded(error, [&] {
    Plugin& own = self(pointer);
    own.note("upsert_unknown_cell", [&](ephor_error* told) {
      const ephor_cell cell{kUnknown, 0, 0, 0.0, {reinterpret_cast<const char*>(8), UINT64_MAX}};
      return rows->upsert(rows->context, to_view("skewed_rows"), &cell, 1, told);
    });
    return state->write(state->context, to_view(std::to_string(own.event_count)));
  });
}
ephor_status load(void* pointer, std::uint32_t, ephor_view state, ephor_error*) {
  self(pointer).event_count = std::stoull(std::string(to_text(state)));
  return EPHOR_OK;
}

ephor_status nothing(void*, ephor_error*) { return EPHOR_OK; }
ephor_status drain(void*, std::int64_t, ephor_error*) { return EPHOR_OK; }
void destroy(void* pointer) { delete static_cast<Plugin*>(pointer); }
const void* get_extension(void* pointer, ephor_view id) {
  if (to_text(id) != "ephor.storage/1") return nullptr;
  return self(pointer).skewed("checkpoint",
                              ephor_checkpoint{sizeof(ephor_checkpoint), 1, &save, &load});
}

void register_with(Plugin& own) {
  const ephor_host& host = *own.host;
  const ephor_view patterns[] = {to_view("test.point"), to_view("skewed.out")};
  check([&](ephor_error* error) {
    return host.subscribe(
        host.context,
        own.skewed("subscription", ephor_subscription{0, EPHOR_POLICY_REPLAY, patterns, 2, 0, {}}),
        error);
  });
  const auto& storage = own.table<ephor_storage>("ephor.storage/1");
  check([&](ephor_error* error) {
    return storage.declare(storage.context,
                           to_view(R"({"version":1,"tables":[{"name":"skewed_rows",)"
                                   R"("key":["key"],"columns":[{"name":"key","type":"text"}]}]})"),
                           error);
  });
  const auto& query = own.table<ephor_query>("ephor.query/1");
  check([&](ephor_error* error) {
    return query.provide(query.context, to_view(own.instance), to_view(""), &answer, &own, error);
  });
  check([&](ephor_error* error) {
    return query.provide(query.context, to_view(own.instance + ".strange"), to_view(""),
                         &answer_strangely, &own, error);
  });
  check([&](ephor_error* error) {
    return query.provide(query.context, to_view(own.instance + ".counts"), to_view(""),
                         &answer_counts, &own, error);
  });
  const auto& http = own.table<ephor_http>("ephor.http/1");
  ephor_http_route route{};
  const std::string path = "/api/" + own.instance;
  route.method = to_view("GET");
  route.path = to_view(path);
  route.query = to_view(own.instance);
  route.scope = to_view("read");
  check([&](ephor_error* error) {
    return http.add_route(http.context, own.skewed("route", route), error);
  });
}

ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                    ephor_plugin* out, ephor_error* error) {
  return guarded(error, [&] {
    auto own = std::make_unique<Plugin>();
    own->host = host;
    own->instance = to_text(instance);
    own->config = Json::parse(to_text(config));
    register_with(*own);
    std::uint32_t size = sizeof(ephor_plugin);
    if (own->config.value("struct", "") == "plugin") size = own->config.at("bytes");
    const ephor_plugin table{size,   0,        own.release(), &nothing,      &on_events,
                             &drain, &nothing, &destroy,      &get_extension};
    std::memcpy(out, &table, std::min<std::size_t>(size, sizeof table));
    // What the host cannot destroy is at least not lost.
    static std::vector<std::unique_ptr<Plugin>> orphans;
    if (size < offsetof(ephor_plugin, get_extension)) {
      orphans.emplace_back(static_cast<Plugin*>(table.self));
    }
  });
}

const ephor_plugin_info kInfo{sizeof(ephor_plugin_info),
                              0xFFFFFFF0u,  // capabilities of later times
                              {"skewed", 6},
                              {"1.0.0", 5},
                              {"", 0},
                              {R"({"type":"object"})", 17},
                              nullptr,
                              nullptr,
                              0,
                              0,
                              &create};
const ephor_plugin_info* const kInfos[] = {&kInfo};
// Built with a minor far above; it requires none.
const ephor_entry kEntry{
    EPHOR_ENTRY_MAGIC, sizeof(ephor_entry), EPHOR_ABI_MAJOR, 999, 0, 1, kInfos};

}  // namespace ephor::skewed

extern "C" EPHOR_EXPORT const ephor_entry* ephor_plugin_entry_v1(void);
extern "C" EPHOR_EXPORT const ephor_entry* ephor_plugin_entry_v1(void) {
  return &ephor::skewed::kEntry;
}
