// SPDX-License-Identifier: Apache-2.0
#include <ephor/testing/expect.hpp>
#include <ephor/testing/fake_host.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

namespace {

namespace fs = std::filesystem;
using namespace ephor::testing;

// A folder of the test's own, the files the sink makes in it, and a host that says where it is.
class Scene {
 public:
  Scene() {
    std::string pattern = (fs::temp_directory_path() / "file_sink_test_XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    say_mode("live");
  }
  ~Scene() {
    host.unload();
    fs::remove_all(folder_);
  }
  void say_mode(const std::string& mode) {
    host.set_health_snapshot(R"({"mode":")" + mode + R"(","data_dir":)" +
                             json_quoted(folder_.string()) + "}");
  }
  void load(const std::string& config = "{}") {
    host.load_plugin(*ephor_plugin_entry_v1(), config);
  }
  void drain() { host.drain(std::chrono::steady_clock::now().time_since_epoch().count() + kLong); }
  fs::path file(int number) const {
    return folder_ / ("test.ndjson.00000" + std::to_string(number));
  }
  std::string text(int number) const {
    std::ifstream in(file(number), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  const fs::path& folder() const { return folder_; }

  FakeHost host;

 private:
  static constexpr std::int64_t kLong = 30'000'000'000;  // nothing waits so long when all is well
  fs::path folder_;
};

std::string line(int id) {
  return CloudEvent{.topic = "a.topic", .time_ns = id, .id = std::to_string(id)}.line() + "\n";
}

void writes_each_event_once() {
  Scene scene;
  scene.load();
  scene.host.deliver(line(1) + line(2));
  scene.drain();
  expect_equal(scene.text(1), line(1) + line(2));
  expect_equal(scene.host.restart(), true);
  scene.host.deliver(line(3));
  scene.drain();
  expect_equal(scene.text(1), line(1) + line(2) + line(3));
}

void a_crash_neither_loses_nor_repeats() {
  Scene scene;
  scene.load(R"({"rotate_bytes": 300})");
  scene.host.deliver(line(1));
  scene.drain();
  scene.host.save();
  for (int id = 2; id < 7; ++id) {  // one at a time, so that files are begun behind the checkpoint
    scene.host.deliver(line(id));
    scene.drain();
  }
  expect_equal(fs::exists(scene.file(2)), true);
  std::ofstream(scene.file(3), std::ios::app) << "half a li";  // where the process was killed
  expect_equal(scene.host.crash(), true);
  scene.drain();
  std::string all;
  for (int number = 1; fs::exists(scene.file(number)); ++number) all += scene.text(number);
  expect_equal(all, line(1) + line(2) + line(3) + line(4) + line(5) + line(6));
}

void begins_another_file_by_size() {
  Scene scene;
  scene.load(R"({"rotate_bytes": 1})");
  scene.host.deliver(line(1));
  scene.drain();
  scene.host.deliver(line(2));
  scene.drain();
  expect_equal(scene.text(1), line(1));
  expect_equal(scene.text(2), line(2));
}

// /dev/full answers every write with "No space left on device".
void a_full_disk_is_said_and_loses_nothing() {
  Scene scene;
  fs::create_symlink("/dev/full", scene.file(1));
  scene.load(R"({"retry_s": 0.01})");
  scene.host.deliver(line(1));
  while (scene.host.health_reports().empty()) std::this_thread::yield();
  const HealthReport report = scene.host.health_reports()[0];
  expect_equal(report.state, EPHOR_HEALTH_DEGRADED);
  expect_equal(report.reason.find("No space left on device") != std::string::npos, true);
  scene.host.deliver(line(2));
  fs::remove(scene.file(1));  // there is room again
  scene.drain();
  expect_equal(scene.text(1), line(1) + line(2));
  while (scene.host.health_reports().size() < 2) std::this_thread::yield();
  expect_equal(scene.host.health_reports().back().state, EPHOR_HEALTH_OK);
}

// Stopped while nothing can be written: the place stays behind, and the next start goes on from
// there although no further event comes.
void what_was_not_written_before_a_stop_comes_after_it() {
  Scene scene;
  scene.load(R"({"retry_s": 0.01, "rotate_bytes": 1})");
  scene.host.deliver(line(1));
  scene.drain();
  fs::create_directories(scene.file(2) / "in the way");
  scene.host.deliver(line(2));
  while (scene.host.health_reports().empty()) std::this_thread::yield();
  scene.host.save();
  scene.host.stop();
  fs::remove_all(scene.file(2));
  expect_equal(scene.host.crash(), true);
  scene.drain();
  expect_equal(scene.text(1), line(1));
  expect_equal(scene.text(2), line(2));
}

void a_replay_writes_nothing_and_moves_the_place() {
  Scene scene;
  scene.say_mode("replay");
  scene.load();
  scene.host.deliver(line(1));
  scene.drain();
  expect_equal(fs::exists(scene.file(1)), false);
  scene.say_mode("live");
  expect_equal(scene.host.restart(), true);
  scene.host.deliver(line(2));
  scene.drain();
  expect_equal(scene.text(1), line(2));
}

void files_it_does_not_know_go_aside() {
  Scene scene;
  std::ofstream(scene.file(1)) << "somebody's\n";
  scene.load();
  scene.host.deliver(line(1));
  scene.drain();
  expect_equal(scene.text(1), line(1));
  std::ifstream aside(scene.file(1).string() + ".before");
  expect_equal(std::string(std::istreambuf_iterator<char>(aside), {}), "somebody's\n");
}

void a_record_of_several_lines_becomes_one() {
  Scene scene;
  scene.load();
  const ephor_journal& journal =
      *static_cast<const ephor_journal*>(scene.host.table()->get_extension(
          scene.host.table()->context, ephor::to_view("ephor.journal/1")));
  const std::string body =
      "{\"specversion\":\"1.0\",\n\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"\n}";
  char* memory = nullptr;
  ephor_buffer* buffer = journal.acquire(journal.context, body.size(), &memory);
  body.copy(memory, body.size());
  expect_equal(journal.ingest(journal.context, buffer, body.size(), EPHOR_FORMAT_SINGLE,
                              ephor::to_view("s"), nullptr, nullptr, nullptr, nullptr),
               EPHOR_OK);
  scene.host.pump();
  scene.drain();
  const std::string text = scene.text(1);
  expect_equal(text.find('\n'), text.size() - 1);
  expect_equal(parse_json_value(text).text_of("type"), "t");
}

}  // namespace

int main() {
  writes_each_event_once();
  a_crash_neither_loses_nor_repeats();
  begins_another_file_by_size();
  a_full_disk_is_said_and_loses_nothing();
  what_was_not_written_before_a_stop_comes_after_it();
  a_replay_writes_nothing_and_moves_the_place();
  files_it_does_not_know_go_aside();
  a_record_of_several_lines_becomes_one();
  return test_result();
}
