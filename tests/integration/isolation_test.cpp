// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "integration/isolation_support.hpp"
#include "isolation/channel.hpp"

using namespace ephor;
using namespace ephor::testing;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

namespace {

// How a wild write ends a process; the address sanitizer has its own way.
#if defined(__SANITIZE_ADDRESS__)
constexpr const char* kSegfault = "exit status 1";
#else
constexpr const char* kSegfault = "signal 11 (Segmentation fault)";
#endif

bool has(const std::string& text, const std::string& part) {
  INFO("found: " << text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

// What `call` throws, in its words; empty if it does not.
std::string failure(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& thrown) {
    return thrown.what();
  }
  return {};
}

std::string line(int n, const std::string& topic = "test.point", const std::string& more = "") {
  return R"({"specversion":"1.0","id":"e)" + std::to_string(n) + R"(","source":"s)" +
         std::to_string(n % 3) + R"(","type":")" + topic + R"(","correlationid":"corr-)" +
         std::to_string(n % 10) + R"(","time":"2020-01-01T00:00:00Z","data":{"n":)" +
         std::to_string(n / 3) + more + "}}\n";
}

std::string lines(int first, int last, const std::string& topic = "test.point") {
  std::string out;
  for (int n = first; n < last; ++n) out += line(n, topic);
  return out;
}

// Runs `scenario` on a plugin in this process and on one in its own; what it tells must be equal.
Json same_both_ways(const std::filesystem::path& file, std::string_view config,
                    const std::function<Json(FakeHost&)>& scenario) {
  Json here;
  {
    FakeHost host;
    host.create_plugin(*host::PluginLoader::load_file(file).entry, config);
    here = scenario(host);
  }
  const IsolatedEntry isolated(file);
  FakeHost host;
  host.create_plugin(isolated.entry(), config);
  const Json there = scenario(host);
  CHECK(here == there);
  if (here != there) WARN(Json::diff(here, there).dump(1).substr(0, 3000));
  return here;
}

Json told(const std::vector<StoredRow>& rows) {
  Json out = Json::array();
  for (const StoredRow& row : rows) {
    Json one;
    for (const auto& [column, cell] : row) {
      one[column] = {cell.kind, cell.integer, cell.real,
                     std::vector<std::uint8_t>(cell.bytes.begin(), cell.bytes.end())};
    }
    out.push_back(one);
  }
  return out;
}

// The fake host has no order among what other threads do.
template <typename Condition>
bool comes_true(const Condition& condition) {
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace

TEST_CASE("isolation: every function of the host does what it does in process", "[isolation]") {
  same_both_ways(test_plugin("exercise"), R"({"some": ["config", 1]})", [](FakeHost& host) {
    Json out;
    host.answer_query("peer", [](std::string_view request) {
      return R"({"peer": )" + std::string(request) + "}";
    });
    host.add_route({"GET", "/api/peer", "peer", "read", "a peer", "", "", ""});
    host.on_select([](std::string_view sql, std::span<const ephor_cell> parameters) {
      std::vector<std::vector<StoredCell>> rows;
      StoredCell text{EPHOR_CELL_TEXT, 0, 0.0, std::string(sql) + std::string(50, 'x')};
      for (int i = 0; i < 6000; ++i) {  // several parts, and more than the visitor takes
        std::vector<StoredCell> row{{EPHOR_CELL_INTEGER, i, 0.0, {}},
                                    {EPHOR_CELL_REAL, 0, i * 0.25, {}},
                                    {EPHOR_CELL_BLOB, 0, 0.0, std::string("\0\xff", 2)},
                                    text};
        for (const ephor_cell& parameter : parameters) row.push_back(StoredCell::from(parameter));
        rows.push_back(row);
      }
      return rows;
    });
    host.set_health_snapshot(R"({"ready": true})");
    host.start();
    host.deliver(lines(0, 300) + line(300, "elsewhere") + line(301, "other"));
    out["answer"] = Json::parse(host.ask("exercise", R"({"x": 1})"));
    try {
      (void)host.ask("exercise.fail");
      out["fail"] = "did not";
    } catch (const Error& failure) {
      out["fail"] = {failure.code(), failure.what()};
    }
    out["later"] = host.ask("exercise.later", R"({"y": 2})");
    out["command"] = host.run_command("exercise", R"(["a", "b"])");
    for (const Published& one : host.published()) {
      out["published"].push_back(
          {one.topic, one.data_json, one.cause_sequence, one.correlation_id});
    }
    host.save();
    out["rows"] = told(host.rows("exercise"));
    for (const RecordedRoute& route : host.routes()) {
      out["routes"].push_back({route.method, route.path, route.query});
    }
    const bool has_metrics = comes_true(
        [&] { return host.metric("exercise_events_total", R"({"kind": "all"})") == 301.0; });
    out["metrics"] = has_metrics;
    out["gauge"] = host.metric("exercise_last").value_or(-1);
    out["restarted"] = host.restart();
    host.deliver(lines(400, 410));
    host.save();
    out["rows_after"] = told(host.rows("exercise"));
    const auto has_line = [&](const char* text) {
      return comes_true([&] {
        const auto all = host.log_lines();
        return std::any_of(all.begin(), all.end(),
                           [&](const LogLine& one) { return one.message == text; });
      });
    };
    out["logged"] = {has_line("shown"), has_line("a task ran")};
    out["unwell"] = comes_true([&] { return !host.health_reports().empty(); });
    // What it came to, so that two empty results are not taken for equal ones.
    CHECK(out["answer"]["heard"].size() == 301);
    CHECK(out["answer"]["select"].size() == 5000);
    CHECK(out["published"].size() == 301);
    CHECK(out["rows"].size() == 2);
    CHECK(out["metrics"] == true);
    CHECK(out["logged"] == Json{true, true});
    return out;
  });
}

TEST_CASE("isolation: a plugin counts the same events in the same order", "[isolation]") {
  const Json counted = same_both_ways(test_plugin("faulty"), "{}", [](FakeHost& host) {
    host.start();
    for (const int slice : {1, 7, 256}) {
      host.set_slice_size(static_cast<std::uint32_t>(slice));
      host.deliver(lines(slice * 3000, slice * 3000 + 1500));
    }
    host.save();
    host.crash();
    host.deliver(lines(30, 40));
    Json out = Json::parse(host.ask("faulty.test"));
    out.erase("process_id");
    out["rows"] = told(host.rows("faulty_test"));
    return out;
  });
  CHECK(counted["seen"] == 4510);
  CHECK(counted["disorder"] == 0);
}

TEST_CASE("isolation: records larger than the shared memory began with", "[isolation]") {
  const Json counted = same_both_ways(test_plugin("faulty"), "{}", [](FakeHost& host) {
    host.start();
    std::string big;
    for (int n = 0; n < 40; ++n) {  // 40 MiB in one slice
      big += line(n, "test.big", R"(,"pad":")" + std::string(1U << 20, 'p') + "\"");
    }
    host.deliver(big);
    Json out = Json::parse(host.ask("faulty.test"));
    out.erase("process_id");
    return out;
  });
  CHECK(counted["seen"] == 40);
}

TEST_CASE("isolation: a shipped plugin answers and saves the same", "[isolation]") {
  same_both_ways(shipped_plugin("metrics"), "{}", [](FakeHost& host) {
    host.start();
    std::string all;
    for (int n = 0; n < 2000; ++n) {
      all += R"({"specversion":"1.0","id":"m)" + std::to_string(n) +
             R"(","source":"s","type":"ephor.metric","time":")" +
             rfc3339(1'600'000'000'000'000'000 + n * 1'000'000'000LL) +
             R"(","data":{"name":"series_)" + std::to_string(n % 5) + R"(","value":)" +
             std::to_string((n * 7919) % 1000) + "}}\n";
    }
    host.deliver(all);
    host.save();
    Json out{{"summary", Json::parse(host.ask("metrics.summary"))}};
    for (const std::string& table : host.table_names()) out["rows"][table] = told(host.rows(table));
    return out;
  });
}

namespace {

struct Fault {
  std::string config;
  std::string expected;  // in the words of the failure
};

// What a slice comes to in a process that ends while it handles it.
std::string failure_of(const Fault& fault, host::ProcessLimits limits = {}) {
  const IsolatedEntry isolated(test_plugin("faulty"), limits);
  FakeHost host;
  host.create_plugin(isolated.entry(), fault.config);
  host.start();
  std::string message;
  try {
    host.deliver(lines(0, 100));
  } catch (const Error& failure) {
    CHECK(failure.code() == EPHOR_IO);
    message = failure.what();
  }
  CHECK(IsolatedEntry::life().is_lost());
  CHECK(IsolatedEntry::life().loss() == message);
  // Every further call fails at once, with the same words.
  ephor_error error{};
  error.struct_size = sizeof error;
  const auto before = Clock::now();
  const ephor_plugin table = IsolatedEntry::life().table();
  CHECK(table.stop(table.self, &error) == EPHOR_IO);
  CHECK(std::string(error.message) == message);
  CHECK(Clock::now() - before < std::chrono::milliseconds(50));
  return message;
}

}  // namespace

TEST_CASE("isolation: a crash is a failed call that says how and where", "[isolation]") {
  const Fault fault =
      GENERATE(Fault{R"({"mode": "null_write", "at_count": 10})", kSegfault},
               Fault{R"({"mode": "abort", "at_count": 10})", "signal 6 (Aborted)"},
               Fault{R"({"mode": "exit", "at_count": 10, "value": 7})", "exit status 7"});
  const std::string message = failure_of(fault);
  INFO(message);
  CHECK(message.find("plugin test: process ") == 0);
  CHECK(message.find(fault.expected) != std::string::npos);
  CHECK(message.find("in on_events, sequence ") != std::string::npos);
}

TEST_CASE("isolation: a thrown exception ends nothing", "[isolation]") {
  const IsolatedEntry isolated(test_plugin("faulty"));
  FakeHost host;
  host.create_plugin(isolated.entry(), R"({"mode": "throw", "at_count": 10})");
  host.start();
  CHECK(has(failure([&] { (void)host.deliver(lines(0, 100)); }), "faulty: told to throw at 10"));
  CHECK_FALSE(IsolatedEntry::life().is_lost());
  CHECK(Json::parse(host.ask("faulty.test"))["seen"] == 9);
}

TEST_CASE("isolation: memory above the limit ends the process, with both figures", "[isolation]") {
  const std::string message =
      failure_of({R"({"mode": "leak", "mb_per_event": 8})", ""}, {96U << 20, 0});
  INFO(message);
  CHECK(message.find("resident memory: found ") != std::string::npos);
  CHECK(message.find("expected at most 96.0 MiB (limits.memory_mb)") != std::string::npos);
}

TEST_CASE("isolation: a call that hangs comes back when its process is killed", "[isolation]") {
  const std::string mode = GENERATE("hang", "spin");
  const IsolatedEntry isolated(test_plugin("faulty"));
  FakeHost host;
  host.create_plugin(isolated.entry(), R"({"mode": ")" + mode + R"("})");
  host.start();
  host::PluginLife& life = IsolatedEntry::life();
  CHECK(life.process_id() > 0);
  CHECK(life.resident_bytes() > 0);
  Clock::time_point killed;
  auto killer = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // so that it does hang
    killed = Clock::now();
    return life.kill("no answer within 100 ms");
  });
  CHECK(has(failure([&] { (void)host.deliver(lines(0, 5)); }),
            "ended: no answer within 100 ms in on_events"));
  const auto took = Clock::now() - killed;
  CHECK(killer.get());
  CHECK(took < std::chrono::milliseconds(200));
  WARN("a killed process is noticed within "
       << std::chrono::duration_cast<std::chrono::microseconds>(took).count()
       << " us (reported, not asserted)");
}

TEST_CASE("isolation: a crash in any other call is told of, too", "[isolation]") {
  struct Place {
    const char* in;
    std::function<void(FakeHost&)> act;
  };
  const std::vector<Place> places{
      {"create", [](FakeHost&) {}},
      {"start", [](FakeHost& host) { host.start(); }},
      {"query",
       [](FakeHost& host) {
         host.start();
         (void)host.ask("faulty.test");
       }},
      {"save",
       [](FakeHost& host) {
         host.start();
         host.deliver(lines(0, 3));
         host.save();
       }},
      {"stop",
       [](FakeHost& host) {
         host.start();
         host.stop();
       }},
  };
  for (const Place& place : places) {
    INFO(place.in);
    const IsolatedEntry isolated(test_plugin("faulty"));
    FakeHost host;
    std::string message;
    try {
      host.create_plugin(isolated.entry(),
                         R"({"mode": "null_write", "in": ")" + std::string(place.in) + "\"}");
      place.act(host);
    } catch (const Error& failure) {
      message = failure.what();
    }
    CHECK(has(message, "ended: " + std::string(kSegfault) + " in " + std::string(place.in)));
  }
}

TEST_CASE("isolation: an end while nothing is asked is told of at once", "[isolation]") {
  const IsolatedEntry isolated(test_plugin("faulty"));
  FakeHost host;
  host.create_plugin(isolated.entry(), R"({"mode": "sleep"})");
  host.start();
  REQUIRE(::kill(IsolatedEntry::life().process_id(), SIGKILL) == 0);
  CHECK(comes_true([&] { return IsolatedEntry::life().is_lost(); }));
  CHECK(has(IsolatedEntry::life().loss(), "ended: signal 9 (Killed)"));
  REQUIRE(host.health_reports().size() == 1);
  CHECK(host.health_reports()[0].state == EPHOR_HEALTH_FAILED);
  CHECK(host.health_reports()[0].reason == IsolatedEntry::life().loss());
}

TEST_CASE("isolation: a crash on a thread of the plugin's own is told of", "[isolation]") {
  const IsolatedEntry isolated(test_plugin("faulty"));
  FakeHost host;
  host.create_plugin(isolated.entry(), R"({"mode": "abort", "in": "task"})");
  (void)failure([&] { host.start(); });  // the task may be quicker than the return
  CHECK(comes_true([&] { return IsolatedEntry::life().is_lost(); }));
  CHECK(has(IsolatedEntry::life().loss(), "ended: signal 6 (Aborted)"));
}

TEST_CASE("isolation: what is missing is named", "[isolation]") {
  FakeHost host;
  CHECK(has(failure([&] { (void)isolated_life("/nowhere/plugin.so", *host.table(), "{}"); }),
            "/nowhere/plugin.so"));
  CHECK(has(failure([&] { (void)host::isolation::describe_plugin("/nowhere/plugin.so"); }),
            "/nowhere/plugin.so"));
  ::setenv("EPHOR_RUNNER", "/nowhere/ephor-runner", 1);
  host::InstanceSettings settings;
  settings.name = "test";
  settings.plugin.file = test_plugin("faulty");
  settings.config_json = "{}";
  CHECK(has(failure([&] { (void)host::isolation::make_process_life(settings, *host.table()); }),
            "/nowhere/ephor-runner: No such file"));
  use_built_runner();
}

TEST_CASE("isolation: a runner that talks nonsense is ended, and that is said", "[isolation]") {
  const std::filesystem::path script =
      std::filesystem::temp_directory_path() / ("ephor-nonsense-" + std::to_string(::getpid()));
  const auto failed_with = [&](const std::string& body) {
    std::ofstream(script) << "#!/bin/sh\n" << body << "\n";
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    ::setenv("EPHOR_RUNNER", script.c_str(), 1);
    FakeHost host;
    host::InstanceSettings settings;
    settings.name = "test";
    settings.plugin.file = test_plugin("faulty");
    settings.config_json = "{}";
    const std::string text =
        failure([&] { (void)host::isolation::make_process_life(settings, *host.table()); });
    std::filesystem::remove(script);
    use_built_runner();
    return text;
  };
  CHECK(has(failed_with("head -c 1 <&3 >/dev/null; exit 9"), "ended: exit status 9 in create"));
  CHECK(has(failed_with("head -c 4096 /dev/zero >&3; exec sleep 600"),
            "ended: it sent garbage: found a frame of mark 0 "));
  CHECK(has(failed_with("exec 3>&-; exec sleep 600"),
            "ended: it went on without being reachable, and was killed in create"));
  CHECK_FALSE(has_children());
}

TEST_CASE("isolation: a description is that of the library", "[isolation]") {
  use_built_runner();
  for (const char* name : {"metrics", "simulator", "http_api"}) {
    const host::LoadedPlugin asked = host::isolation::describe_plugin(shipped_plugin(name));
    const host::LoadedPlugin loaded = host::PluginLoader::load_file(shipped_plugin(name));
    CHECK(to_text(asked.info->id) == to_text(loaded.info->id));
    CHECK(to_text(asked.info->version) == to_text(loaded.info->version));
    CHECK(to_text(asked.info->summary) == to_text(loaded.info->summary));
    CHECK(to_text(asked.info->config_schema) == to_text(loaded.info->config_schema));
    CHECK(asked.info->capabilities == loaded.info->capabilities);
    CHECK(asked.info->required_count == loaded.info->required_count);
    CHECK(asked.info->optional_count == loaded.info->optional_count);
    CHECK(asked.entry->abi_minor_built == loaded.entry->abi_minor_built);
    // Asked once: the same answer is the same memory.
    CHECK(host::isolation::describe_plugin(shipped_plugin(name)).info == asked.info);
  }
}

// A host that lets a plugin subscribe and has nothing else.
const ephor_host* bare_host() {
  static const ephor_host host{
      sizeof(ephor_host),
      EPHOR_ABI_MAJOR,
      EPHOR_ABI_MINOR,
      nullptr,
      [](void*, ephor_view) -> const void* { return nullptr; },
      [](void*, const ephor_subscription*, ephor_error*) -> ephor_status { return EPHOR_OK; },
      [](void*, const ephor_draft*, std::uint32_t, ephor_error*) -> ephor_status {
        return EPHOR_OK;
      },
      [](void*, ephor_view, std::uint16_t* topic, ephor_error*) -> ephor_status {
        *topic = 1;
        return EPHOR_OK;
      },
      [](void*, std::uint16_t) {
        return ephor_view{nullptr, 0};
      },
      [](void*, std::uint32_t) {
        return ephor_view{nullptr, 0};
      },
      [](void*, const ephor_event*, ephor_writer*, ephor_error*) -> ephor_status {
        return EPHOR_OK;
      }};
  return &host;
}

TEST_CASE("isolation: lives leave no process and no descriptor behind", "[isolation]") {
  const char* wanted = std::getenv("EPHOR_ISOLATION_CYCLES");
  const int cycles = wanted != nullptr ? std::atoi(wanted) : 100;
  { const auto first = isolated_life(test_plugin("idle"), *bare_host(), "{}"); }
  const int descriptors = open_descriptors();
  const auto begin = Clock::now();
  for (int i = 0; i < cycles; ++i) {
    const auto life = isolated_life(test_plugin("idle"), *bare_host(), "{}");
    if (i % 2 == 0) life->kill("by the test");
  }
  const auto took = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  CHECK(open_descriptors() == descriptors);
  CHECK_FALSE(has_children());
  std::ifstream maps("/proc/self/maps");
  for (std::string one; std::getline(maps, one);) {
    CHECK(one.find("ephor-slice") == std::string::npos);
  }
  WARN(cycles << " lives, " << took / cycles << " ms each (reported, not asserted)");
}

namespace {

struct Silent final : host::isolation::Channel::Listener {
  host::isolation::Reply answer(host::isolation::Method, std::uint64_t,
                                std::string_view body) override {
    return {EPHOR_OK, {}, {}, std::string(body)};
  }
  void notice(host::isolation::Method, std::string_view) override { ++notices; }
  std::atomic<int> notices{0};
};

// What a channel says of bytes that arrive on its socket.
std::string said_of(std::string_view bytes, std::uint64_t* ignored = nullptr) {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Silent listener;
  host::isolation::Channel channel(ends[0], listener);
  REQUIRE(::write(ends[1], bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  ::shutdown(ends[1], SHUT_WR);
  const std::string why = channel.read_frames(0);
  if (ignored != nullptr) *ignored = channel.ignored_count();
  ::close(ends[1]);
  return why;
}

std::string frame(host::isolation::FrameHeader header, std::string_view body) {
  header.size = body.size();
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + std::string(body);
}

}  // namespace

TEST_CASE("isolation: garbage on the socket ends the channel and nothing else", "[isolation]") {
  using host::isolation::FrameHeader;
  using host::isolation::FrameKind;
  CHECK(has(said_of(std::string(1000, 'x')), "it sent garbage"));
  CHECK(said_of("too short for a header") == "it closed its socket");
  FrameHeader huge;
  huge.size = ~0ULL;
  CHECK(has(said_of({reinterpret_cast<const char*>(&huge), sizeof huge}), "it sent garbage"));
  FrameHeader promised;  // a gibibyte that does not come is not allocated
  promised.size = 1ULL << 30;
  CHECK(said_of({reinterpret_cast<const char*>(&promised), sizeof promised}) ==
        "it closed its socket");
  FrameHeader odd;
  odd.kind = static_cast<FrameKind>(99);
  CHECK(has(said_of(frame(odd, "")), "kind 99"));
  FrameHeader reply;
  reply.kind = FrameKind::reply;
  reply.call = 77;
  CHECK(has(said_of(frame(reply, "cut")), "it sent garbage"));
  // Well-formed, but nobody waits for it: counted, and the channel goes on.
  std::uint64_t ignored = 0;
  const std::string told = host::isolation::encoded({EPHOR_OK, "m", "p", "b"});
  FrameHeader part = reply;
  part.kind = FrameKind::part;
  CHECK(said_of(frame(reply, told) + frame(part, "x") + frame(reply, told), &ignored) ==
        "it closed its socket");
  CHECK(ignored == 3);
}

TEST_CASE("isolation: calls nest both ways and come back in any order", "[isolation]") {
  using namespace host::isolation;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  // Each side answers `n` by asking the other for `n - 1` until it is 0.
  struct Side final : Channel::Listener {
    Reply answer(Method, std::uint64_t, std::string_view body) override {
      const int n = std::stoi(std::string(body));
      if (n == 0) return {EPHOR_OK, {}, {}, "0"};
      Reply inner = channel->call(Method::query, std::to_string(n - 1));
      inner.body += " " + std::to_string(n);
      return inner;
    }
    void notice(Method, std::string_view) override {}
    Channel* channel = nullptr;
  };
  Side sides[2];
  Channel one(ends[0], sides[0]);
  Channel other(ends[1], sides[1]);
  sides[0].channel = &one;
  sides[1].channel = &other;
  std::thread readers[2] = {std::thread([&] { one.read_frames(0); }),
                            std::thread([&] { other.read_frames(0); })};
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 8; ++i) {
    answers.push_back(
        std::async(std::launch::async, [&] { return one.call(Method::query, "6").body; }));
  }
  for (auto& answer : answers) CHECK(answer.get() == "0 1 2 3 4 5 6");
  one.shut_down();
  for (std::thread& reader : readers) reader.join();
  one.fail("over");
  CHECK(one.call(Method::query, "1").message == "over");
}
