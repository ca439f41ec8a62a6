// SPDX-License-Identifier: Apache-2.0
//
// store_bench SESSION.ndjson.gz [upserts]: how fast journal and storage are on this machine.
// store_bench retention: what appends cost while 100,000 batches are removed. Prints one figure per
// line. Not a test.
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "event/error.hpp"
#include "store/batch_codec.hpp"
#include "store/sqlite_journal.hpp"
#include "store/storage.hpp"
#include "support/shared_data.hpp"

using namespace ephor::host;

namespace {

constexpr std::size_t kBatchEvents = 1'000;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void report(const std::string& name, double value) {
  std::printf("%-40s %14.2f\n", name.c_str(), value);
}

std::string inflate(const char* path) {
  gzFile file = gzopen(path, "rb");
  if (file == nullptr) throw HostError(EPHOR_IO, std::string(path) + ": cannot be opened");
  std::string text;
  std::vector<char> block(1U << 20U);
  for (int size = 0;
       (size = gzread(file, block.data(), static_cast<unsigned>(block.size()))) > 0;) {
    text.append(block.data(), static_cast<std::size_t>(size));
  }
  gzclose(file);
  return text;
}

// The value of the first "name":"..." or an empty view; good enough to get realistic join keys.
std::string_view member(std::string_view line, std::string_view name) {
  const std::size_t at = line.find(name);
  if (at == std::string_view::npos) return {};
  const std::size_t begin = line.find('"', at + name.size() + 1);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin + 1, line.find('"', begin + 1) - begin - 1);
}

Batch batch_of(const std::vector<std::string_view>& lines) {
  Batch batch;
  std::size_t size = 0;
  for (const std::string_view line : lines) size += line.size() + 1;
  Buffer buffer(size);
  char* at = buffer.data();
  std::int64_t time = 1'500'000'000'000'000'000;
  for (const std::string_view line : lines) {
    std::copy(line.begin(), line.end(), at);
    ephor_event event{};
    event.record = at;
    event.record_length = static_cast<std::uint32_t>(line.size());
    event.time_ns = time += 60'000'000;
    batch.events.push_back(event);
    batch.ids.push_back(hash128(line));
    at += line.size();
    *at++ = '\n';
    for (const auto& [name, kind] : {std::pair{"\"correlationid\"", JoinKind::correlation},
                                     {"\"traceparent\"", JoinKind::trace},
                                     {"\"decision_id\"", JoinKind::decision},
                                     {"\"prediction_id\"", JoinKind::attribute},
                                     {"\"trade_id\"", JoinKind::trade}}) {
      const std::string_view id = member(line, name);
      if (!id.empty()) {
        batch.join_keys.push_back(
            join_key(kind, hash64(kind == JoinKind::trace ? id.substr(0, 35) : id)));
      }
    }
  }
  std::sort(batch.join_keys.begin(), batch.join_keys.end());
  batch.join_keys.erase(std::unique(batch.join_keys.begin(), batch.join_keys.end()),
                        batch.join_keys.end());
  batch.buffers.push_back(std::move(buffer));
  return batch;
}

std::vector<Batch> batches_of(const std::string& text) {
  std::vector<Batch> batches;
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.emplace_back(text.data() + at, end - at);
    at = end + 1;
    if (lines.size() == kBatchEvents || at >= text.size()) {
      batches.push_back(batch_of(lines));
      lines.clear();
    }
  }
  return batches;
}

// The other way to compress: the streaming interface, fed with the ranges as they lie.
std::size_t stream_compressed(ZSTD_CCtx* context, const Batch& batch, std::vector<char>& out) {
  ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
  ZSTD_outBuffer output{out.data(), out.size(), 0};
  for (const ephor_event& event : batch.events) {
    ZSTD_inBuffer input{event.record, event.record_length, 0};
    ZSTD_compressStream2(context, &output, &input, ZSTD_e_continue);
  }
  ZSTD_inBuffer none{nullptr, 0, 0};
  ZSTD_compressStream2(context, &output, &none, ZSTD_e_end);
  return output.pos;
}

void bench_encode(const std::vector<Batch>& batches, double megabytes) {
  for (int round = 0; round < 3; ++round) {
    std::uint64_t packed = 0;
    Stopwatch watch;
    for (const Batch& batch : batches) packed += encode_batch(batch).body.size();
    report("encode_mb_per_s", megabytes / watch.seconds());
    if (round == 0) report("encoded_body_mb", static_cast<double>(packed) / 1e6);
  }
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::vector<char> out(16U << 20U);
  for (int round = 0; round < 3; ++round) {
    Stopwatch watch;
    for (const Batch& batch : batches) stream_compressed(context, batch, out);
    report("stream_mb_per_s", megabytes / watch.seconds());
  }
  ZSTD_freeCCtx(context);
}

std::uint64_t bytes_in(const std::filesystem::path& directory) {
  std::uint64_t total = 0;
  for (const auto& file : std::filesystem::directory_iterator(directory)) total += file.file_size();
  return total;
}

void bench_journal(std::vector<Batch>& batches, Durability durability, const std::string& name,
                   double megabytes) {
  const ephor::testing::TemporaryDirectory directory;
  std::uint64_t events = 0;
  std::uint64_t keys = 0;
  {
    SqliteJournalOptions options;
    options.durability = durability;
    SqliteJournal journal(directory.path(), options);
    std::vector<double> commits;
    Stopwatch watch;
    double encoding = 0;
    for (Batch& batch : batches) {
      Stopwatch encode_watch;
      std::vector<Pending> group(1);
      group[0] = {&batch, journal.encode(batch)};
      encoding += encode_watch.seconds();
      Stopwatch commit_watch;
      journal.append(group);
      commits.push_back(commit_watch.seconds() * 1e3);
      events += batch.events.size();
      keys += batch.join_keys.size();
    }
    const double seconds = watch.seconds();
    std::sort(commits.begin(), commits.end());
    report(name + "_append_s", seconds);
    report(name + "_append_s_without_encode", seconds - encoding);
    report(name + "_events_per_s", static_cast<double>(events) / seconds);
    report(name + "_commit_p50_ms", commits[commits.size() / 2]);
    report(name + "_commit_max_ms", commits.back());
  }
  if (durability != Durability::off) return;
  report("join_keys", static_cast<double>(keys));
  report("on_disk_mb", static_cast<double>(bytes_in(directory.path())) / 1e6);
  Stopwatch open_watch;
  SqliteJournal journal(directory.path());
  report("open_ms", open_watch.seconds() * 1e3);
  {
    Stopwatch watch;
    StoredBatch batch;
    std::uint64_t position = 0;
    while (journal.next(position + 1, batch)) position = batch.position;
    report("read_mb_per_s", megabytes / watch.seconds());
    report("read_events_per_s", static_cast<double>(events) / watch.seconds());
  }
  std::uint64_t found = 0;
  std::uint64_t asked = 0;
  Stopwatch watch;
  for (const Batch& batch : batches) {
    for (std::size_t i = 0; i < batch.join_keys.size(); i += 97) {
      found += journal.find(batch.join_keys[i]).size();
      ++asked;
    }
  }
  report("find_us", watch.seconds() * 1e6 / static_cast<double>(std::max<std::uint64_t>(asked, 1)));
  report("find_positions_each", static_cast<double>(found) / static_cast<double>(asked));
}

void bench_ids() {
  const ephor::testing::TemporaryDirectory directory;
  constexpr std::uint64_t kEvents = 2'000'000;
  {
    SqliteJournalOptions options;
    options.durability = Durability::off;
    SqliteJournal journal(directory.path(), options);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < kBatchEvents; ++i)
      texts.push_back(std::string(300, 'x') + std::to_string(i));
    Batch batch = batch_of({texts.begin(), texts.end()});
    const EncodedBatch encoded = journal.encode(batch);
    for (std::uint64_t i = 0; i < kEvents; i += kBatchEvents) {
      std::vector<Pending> group(1);
      group[0] = {&batch, encoded};
      journal.append(group);
    }
  }
  SqliteJournal journal(directory.path());
  for (int round = 0; round < 2; ++round) {
    std::uint64_t count = 0;
    Stopwatch watch;
    journal.load_recent_ids(
        kEvents, [&](std::uint64_t, std::span<const Hash128> ids) { count += ids.size(); });
    report("load_2m_ids_ms", watch.seconds() * 1e3);
    if (count != kEvents) std::abort();
  }
}

// Batches of 20 records of 500 bytes, half of which is noise.
Batch small_batch(std::uint64_t number, std::string& bytes) {
  constexpr int kRecords = 20;
  Batch batch;
  std::mt19937_64 random(number);
  bytes.assign(kRecords * 500, 'x');
  for (std::size_t at = 0; at < bytes.size(); at += 2) bytes[at] = static_cast<char>(random());
  for (int i = 0; i < kRecords; ++i) {
    ephor_event event{};
    event.record = bytes.data() + i * 500;
    event.record_length = 500;
    batch.events.push_back(event);
    batch.ids.push_back({random(), random()});
    batch.join_keys.push_back(random());
  }
  std::sort(batch.join_keys.begin(), batch.join_keys.end());
  return batch;
}

// What an append costs alone and while 100,000 batches are removed as the host's upkeep does it:
// steps of 64 batches for 40 ms, then 200 ms of rest.
void bench_retention(Durability durability, const char* name) {
  constexpr std::uint64_t kOld = 100'000;
  const ephor::testing::TemporaryDirectory directory;
  SqliteJournalOptions options;
  options.durability = durability;
  SqliteJournal journal(directory.path(), options);
  std::string bytes;
  std::uint64_t number = 0;
  for (std::uint64_t i = 0; i < kOld / 100; ++i) {
    std::vector<Batch> batches(100);
    std::vector<std::string> texts(100);
    std::vector<Pending> group(100);
    for (std::size_t k = 0; k < 100; ++k) {
      batches[k] = small_batch(number++, texts[k]);
      group[k] = {&batches[k], journal.encode(batches[k])};
    }
    journal.append(group);
  }
  const std::uint64_t file_before = journal.size().file_bytes;
  const auto append_for = [&](const std::function<bool()>& is_done) {
    std::vector<double> millis;
    while (!is_done()) {
      Batch batch = small_batch(number++, bytes);
      std::vector<Pending> group(1);
      group[0] = {&batch, journal.encode(batch)};
      Stopwatch watch;
      journal.append(group);
      millis.push_back(watch.seconds() * 1e3);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::sort(millis.begin(), millis.end());
    return millis;
  };
  const auto tell = [&](const std::string& what, const std::vector<double>& millis) {
    report("append_" + what + "_ms_p50_" + name, millis[millis.size() / 2]);
    report("append_" + what + "_ms_p99_" + name, millis[millis.size() * 99 / 100]);
    report("append_" + what + "_ms_max_" + name, millis.back());
  };
  Stopwatch alone;
  tell("alone", append_for([&] { return alone.seconds() > 5.0; }));

  std::atomic<bool> is_done{false};
  double seconds = 0;
  std::thread remover([&] {
    Stopwatch all;
    RemovalLimits limits;
    limits.before_position = kOld + 1;
    limits.batches_max = 64;
    limits.bytes_max = 1U << 20;
    limits.ids_window = 2'000'000;
    for (bool has_more = true; has_more;) {
      Stopwatch piece;
      while (has_more && piece.seconds() < 0.04) {
        has_more = journal.remove_oldest(limits, 0).batches != 0;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    seconds = all.seconds();
    is_done = true;
  });
  tell("removing", append_for([&] { return is_done.load(); }));
  remover.join();
  report(std::string("remove_100k_batches_s_") + name, seconds);
  report(std::string("file_mb_before_") + name, static_cast<double>(file_before) / 1e6);
  report(std::string("file_mb_after_") + name,
         static_cast<double>(journal.size().file_bytes) / 1e6);
  report(std::string("free_mb_after_") + name,
         static_cast<double>(journal.size().free_bytes) / 1e6);
}

ephor_cell text(std::string_view value) {
  ephor_cell cell{};
  cell.kind = EPHOR_CELL_TEXT;
  cell.bytes = {value.data(), value.size()};
  return cell;
}

void bench_upserts(std::size_t rows, const char* url) {
  const ephor::testing::TemporaryDirectory directory;
  StorageOptions options;
  options.directory = directory.path();
  if (url != nullptr) options.url = url;
  Storage storage(options);
  storage.declare("bench", R"({"version":1,"tables":[{"name":"bench_rows","key":["id"],"columns":[
      {"name":"id","type":"text"},{"name":"symbol","type":"text"},{"name":"count","type":"integer"},
      {"name":"price","type":"real"},{"name":"details","type":"json"}]}]})");
  for (const char* name : {"insert_rows_per_s", "update_rows_per_s"}) {
    Checkpoint checkpoint = storage.checkpoint("bench");
    checkpoint.generation = storage.next_generation("bench");
    Stopwatch collect_watch;
    std::string id;
    for (std::size_t i = 0; i < rows; ++i) {
      id = "correlation-" + std::to_string(i * 2'654'435'761U % 4'294'967'296U);
      ephor_cell count{};
      count.kind = EPHOR_CELL_INTEGER;
      count.integer = static_cast<std::int64_t>(i);
      ephor_cell price{};
      price.kind = EPHOR_CELL_REAL;
      price.real = static_cast<double>(i) / 7;
      const ephor_cell cells[] = {text(id), text("BTCUSDT"), count, price, text("{\"a\":1}")};
      checkpoint.upsert("bench_rows", cells);
    }
    report("collect_rows_per_s", static_cast<double>(rows) / collect_watch.seconds());
    Stopwatch watch;
    storage.commit(checkpoint);
    report(name, static_cast<double>(rows) / watch.seconds());
  }
  Checkpoint checkpoint = storage.checkpoint("bench");
  checkpoint.generation = storage.next_generation("bench");
  checkpoint.append_state(std::string(40'000'000, 's'));
  Stopwatch watch;
  storage.commit(checkpoint);
  report("state_40mb_save_ms", watch.seconds() * 1e3);
  Stopwatch load_watch;
  storage.load("bench");
  report("state_40mb_load_ms", load_watch.seconds() * 1e3);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::fprintf(stderr, "store_bench SESSION.ndjson.gz|- [rows [postgresql://...]]\n");
    return 2;
  }
  if (std::string_view(argv[1]) == "retention") {
    bench_retention(Durability::full, "full");
    bench_retention(Durability::normal, "normal");
    return 0;
  }
  const std::size_t rows = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1'000'000;
  if (argc > 3) {
    bench_upserts(rows, argv[3]);
    return 0;
  }
  if (std::string_view(argv[1]) != "-") {
    const std::string session = inflate(argv[1]);
    std::vector<Batch> batches = batches_of(session);
    const double megabytes = static_cast<double>(session.size()) / 1e6;
    report("session_mb", megabytes);
    bench_encode(batches, megabytes);
    bench_journal(batches, Durability::full, "full", megabytes);
    bench_journal(batches, Durability::normal, "normal", megabytes);
    bench_journal(batches, Durability::off, "off", megabytes);
  }
  if (std::string_view(argv[1]) != "-") bench_ids();
  bench_upserts(rows, nullptr);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "store_bench: %s\n", error.what());
  return 1;
}
