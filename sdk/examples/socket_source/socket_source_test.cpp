// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <ephor/testing/expect.hpp>
#include <ephor/testing/fake_host.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "unix_socket.hpp"

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

namespace {

namespace fs = std::filesystem;
using namespace ephor::testing;

class Scene {
 public:
  Scene() {
    std::string pattern = (fs::temp_directory_path() / "socket_source_test_XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    host.set_health_snapshot(R"({"mode":"live","data_dir":)" + json_quoted(folder_.string()) + "}");
  }
  ~Scene() {
    host.unload();
    fs::remove_all(folder_);
  }
  void load(const std::string& config = "{}") {
    host.load_plugin(*ephor_plugin_entry_v1(), config);
  }
  fs::path path() const { return folder_ / "test.sock"; }

  FakeHost host;

 private:
  fs::path folder_;
};

class Client {
 public:
  explicit Client(const Scene& scene) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    scene.path().string().copy(address.sun_path, sizeof address.sun_path - 1);
    is_connected_ = ::connect(socket_.number(), reinterpret_cast<const sockaddr*>(&address),
                              sizeof address) == 0;
  }
  bool is_connected() const { return is_connected_; }
  void say(const std::string& text) { net::send_all(socket_, text); }
  void end() { ::shutdown(socket_.number(), SHUT_WR); }
  // The next line; empty at the end of the stream.
  std::string hear() {
    while (heard_.find('\n') == std::string::npos) {
      if (!net::receive(socket_, heard_)) return std::exchange(heard_, "");
    }
    const std::size_t size = heard_.find('\n') + 1;
    const std::string line = heard_.substr(0, size - 1);
    heard_.erase(0, size);
    return line;
  }

 private:
  net::Descriptor socket_;
  bool is_connected_ = false;
  std::string heard_;
};

std::string line(const std::string& id) {
  return CloudEvent{.topic = "a.topic", .source = "me", .id = id}.line() + "\n";
}

void accepts_and_counts_duplicates() {
  Scene scene;
  scene.load();
  Client client(scene);
  client.say(line("1") + line("2") + line("1"));
  expect_equal(client.hear(), R"({"accepted":2,"duplicate":1,"rejected":0})");
  expect_equal(scene.host.ingested().size(), 1U);
  expect_equal(scene.host.ingested()[0].default_source, "socket");
}

void a_rejected_line_is_told_with_its_number_in_the_connection() {
  Scene scene;
  scene.load();
  Client client(scene);
  client.say(line("1"));
  expect_equal(client.hear(), R"({"accepted":1,"duplicate":0,"rejected":0})");
  client.say(line("2") + "{\"no\":\"type\"}\n" + line("3"));
  const std::string rejection = client.hear();
  expect_equal(parse_json_value(rejection).integer_of("line", 0), 3);
  expect_equal(parse_json_value(rejection).text_of("pointer"), "/type");
  expect_equal(client.hear(), R"({"accepted":2,"duplicate":0,"rejected":1})");
}

void lines_may_come_in_pieces_and_end_with_the_stream() {
  Scene scene;
  scene.load();
  Client client(scene);
  const std::string whole = line("1");
  client.say(whole.substr(0, 10));
  client.say(whole.substr(10, whole.size() - 11));  // without its line break
  client.end();
  expect_equal(client.hear(), R"({"accepted":1,"duplicate":0,"rejected":0})");
  expect_equal(client.hear(), "");
}

void several_clients_are_served_at_once() {
  Scene scene;
  scene.load();
  constexpr int kClients = 8, kBatches = 20;
  std::vector<std::thread> threads;
  for (int who = 0; who < kClients; ++who) {
    threads.emplace_back([&scene, who] {
      Client client(scene);
      for (int i = 0; i < kBatches; ++i) {
        client.say(line(std::to_string(who) + "-" + std::to_string(i)));
        (void)client.hear();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_equal(scene.host.ingested().size(), std::size_t{kClients * kBatches});
}

// The host is full: the client gets no answer, and nothing is lost when there is room again.
void a_full_host_holds_the_client_up() {
  Scene scene;
  scene.load();
  scene.host.fail_ingest(EPHOR_FULL);
  Client client(scene);
  client.say(line("1"));
  while (scene.host.health_reports().empty()) std::this_thread::yield();
  expect_equal(scene.host.health_reports()[0].state, EPHOR_HEALTH_DEGRADED);
  scene.host.fail_ingest(EPHOR_OK);
  expect_equal(client.hear(), R"({"accepted":1,"duplicate":0,"rejected":0})");
  expect_equal(scene.host.health_reports().back().state, EPHOR_HEALTH_OK);
  expect_equal(scene.host.ingested().size(), 1U);
}

void stop_ends_every_thread() {
  Scene scene;
  scene.load();
  scene.host.fail_ingest(EPHOR_FULL);
  Client waits_for_an_answer(scene);
  waits_for_an_answer.say(line("1"));
  Client says_nothing(scene);
  while (scene.host.health_reports().empty()) std::this_thread::yield();
  scene.host.stop();
  expect_equal(waits_for_an_answer.hear(), "");
  expect_equal(says_nothing.hear(), "");
  expect_equal(Client(scene).is_connected(), false);
  expect_equal(fs::exists(scene.path()), false);
  scene.host.stop();  // twice is fine
}

void too_many_clients_and_too_long_lines_are_refused() {
  Scene scene;
  scene.load(R"({"clients_max": 1, "line_bytes_max": 100})");
  Client first(scene);
  first.say(line("1"));
  (void)first.hear();
  Client second(scene);
  expect_equal(second.hear(), R"({"error":"too many clients"})");
  first.say(std::string(200, 'x'));
  expect_equal(first.hear(), R"({"error":"a line is longer than line_bytes_max"})");
  expect_equal(first.hear(), "");
}

void only_the_owner_connects_and_a_dead_socket_is_taken_over() {
  Scene scene;
  { const net::Descriptor dead = net::listen_at(scene.path().string()); }
  expect_equal(fs::exists(scene.path()), true);
  scene.load();
  expect_equal(fs::status(scene.path()).permissions() == fs::perms(0600), true);
  expect_equal(Client(scene).is_connected(), true);
  expect_error(EPHOR_CONFLICT, [&] { net::listen_at(scene.path().string()); });
}

}  // namespace

int main() {
  accepts_and_counts_duplicates();
  a_rejected_line_is_told_with_its_number_in_the_connection();
  lines_may_come_in_pieces_and_end_with_the_stream();
  several_clients_are_served_at_once();
  a_full_host_holds_the_client_up();
  stop_ends_every_thread();
  too_many_clients_and_too_long_lines_are_refused();
  only_the_owner_connects_and_a_dead_socket_is_taken_over();
  return test_result();
}
