// SPDX-License-Identifier: Apache-2.0
//
// A load client that costs little itself: bodies are made before the clock starts, connections are
// blocking sockets with keep-alive, one thread each, one send per request.
//
//   bench_ingest_client --url http://127.0.0.1:8780 --file FILE.ndjson[.gz] [--batch 500]
//                       [--connections 2] [--rate EVENTS_PER_S] [--limit EVENTS] [--gzip]
//   bench_ingest_client --url URL --get PATH --count N [--connections 1]
//
// Prints one JSON object.
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "http_connection.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using ephor::bench::Connection;
using ephor::bench::cpu_seconds;
using ephor::bench::quantile;

struct Arguments {
  ephor::bench::Address address;
  std::string file;
  std::string get;
  std::string token;
  std::size_t batch = 500;
  std::size_t connections = 2;
  std::size_t count = 1000;
  std::size_t limit = 0;  // events; 0: all
  double rate = 0;        // events per second of all connections; 0: as fast as it goes
  bool gzip = false;
};

Arguments arguments_from(int argc, char** argv) {
  Arguments arguments;
  const auto number = [](const std::string& text) { return std::stoull(text); };
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--gzip") {
      arguments.gzip = true;
      continue;
    }
    if (i + 1 >= argc) throw std::runtime_error(name + ": a value is missing");
    const std::string value = argv[++i];
    if (name == "--url") {
      arguments.address = ephor::bench::address_of(value);
    } else if (name == "--file") {
      arguments.file = value;
    } else if (name == "--get") {
      arguments.get = value;
    } else if (name == "--token") {
      arguments.token = value;
    } else if (name == "--batch") {
      arguments.batch = number(value);
    } else if (name == "--connections") {
      arguments.connections = number(value);
    } else if (name == "--count") {
      arguments.count = number(value);
    } else if (name == "--limit") {
      arguments.limit = number(value);
    } else if (name == "--rate") {
      arguments.rate = std::stod(value);
    } else {
      throw std::runtime_error(name + ": no such option");
    }
  }
  if (arguments.file.empty() == arguments.get.empty()) {
    throw std::runtime_error("expected either --file or --get");
  }
  if (arguments.batch == 0 || arguments.connections == 0) {
    throw std::runtime_error("--batch and --connections: expected at least 1");
  }
  return arguments;
}

std::string gzipped(const std::string& text) {
  z_stream stream{};
  if (deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct Body {
  std::string request;  // head and body
  std::size_t events = 0;
};

// Lines of the file as whole requests.
std::vector<Body> bodies_from(const Arguments& arguments) {
  const gzFile file = gzopen(arguments.file.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error(arguments.file + ": cannot be read");
  gzbuffer(file, 1U << 20U);
  std::vector<Body> bodies;
  std::string batch;
  std::size_t events = 0;
  std::size_t total = 0;
  const auto finish = [&] {
    if (events == 0) return;
    if (arguments.gzip) batch = gzipped(batch);
    std::string request = "POST /api/events HTTP/1.1\r\nHost: " + arguments.address.host + ":" +
                          arguments.address.port + "\r\nContent-Type: application/x-ndjson\r\n";
    if (arguments.gzip) request += "Content-Encoding: gzip\r\n";
    if (!arguments.token.empty()) request += "Authorization: Bearer " + arguments.token + "\r\n";
    request += "Content-Length: " + std::to_string(batch.size()) + "\r\n\r\n";
    bodies.push_back({request + batch, events});
    batch.clear();
    events = 0;
  };
  std::vector<char> piece(1U << 20U);
  std::string line;
  const auto take = [&](std::string_view text) {
    if (text.empty() || (arguments.limit > 0 && total >= arguments.limit)) return;
    batch.append(text);
    batch.push_back('\n');
    ++total;
    if (++events == arguments.batch) finish();
  };
  for (;;) {
    const int got = gzread(file, piece.data(), static_cast<unsigned>(piece.size()));
    if (got < 0) throw std::runtime_error(arguments.file + ": is corrupt");
    if (got == 0) break;
    std::string_view rest(piece.data(), static_cast<std::size_t>(got));
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      line.append(rest.substr(0, end));
      take(line);
      line.clear();
      rest.remove_prefix(end + 1);
    }
    line.append(rest);
  }
  take(line);
  finish();
  gzclose(file);
  return bodies;
}

struct Totals {
  std::uint64_t events = 0;
  std::uint64_t accepted = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t rejected = 0;
  std::uint64_t busy = 0;    // answers 503, sent again
  std::uint64_t failed = 0;  // requests with any other answer
  std::uint64_t last_sequence = 0;
  std::string failure;
  std::vector<double> milliseconds;

  void add(const Totals& other) {
    events += other.events;
    accepted += other.accepted;
    duplicate += other.duplicate;
    rejected += other.rejected;
    busy += other.busy;
    failed += other.failed;
    last_sequence = std::max(last_sequence, other.last_sequence);
    if (failure.empty()) failure = other.failure;
    milliseconds.insert(milliseconds.end(), other.milliseconds.begin(), other.milliseconds.end());
  }
};

void note_result(const std::string& text, Totals& totals) {
  const auto result = nlohmann::json::parse(text, nullptr, false);
  if (!result.is_object() || !result.contains("accepted")) {
    ++totals.failed;
    totals.failure = text;
    return;
  }
  totals.accepted += result["accepted"].get<std::uint64_t>();
  totals.duplicate += result["duplicate"].get<std::uint64_t>();
  totals.rejected += result["rejected"].get<std::uint64_t>();
  totals.last_sequence =
      std::max(totals.last_sequence, result["last_sequence"].get<std::uint64_t>());
}

void post(const Arguments& arguments, const std::vector<Body>& bodies,
          std::atomic<std::size_t>& next, Clock::time_point begin, Totals& totals) {
  Connection connection(arguments.address);
  std::string answer;
  for (std::size_t i = next++; i < bodies.size(); i = next++) {
    if (arguments.rate > 0) {
      std::this_thread::sleep_until(
          begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                      static_cast<double>(i * arguments.batch) / arguments.rate)));
    }
    for (;;) {
      const auto sent = Clock::now();
      const int status = connection.exchange(bodies[i].request, answer);
      if (status == 503) {
        ++totals.busy;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        continue;
      }
      const std::chrono::duration<double, std::milli> took = Clock::now() - sent;
      totals.milliseconds.push_back(took.count());
      break;
    }
    totals.events += bodies[i].events;
    note_result(answer, totals);
  }
}

void get(const Arguments& arguments, std::atomic<std::size_t>& next, Totals& totals) {
  Connection connection(arguments.address);
  std::string request = "GET " + arguments.get + " HTTP/1.1\r\nHost: " + arguments.address.host +
                        ":" + arguments.address.port + "\r\n";
  if (!arguments.token.empty()) request += "Authorization: Bearer " + arguments.token + "\r\n";
  request += "\r\n";
  std::string answer;
  while (next++ < arguments.count) {
    const auto sent = Clock::now();
    const int status = connection.exchange(request, answer);
    const std::chrono::duration<double, std::milli> took = Clock::now() - sent;
    totals.milliseconds.push_back(took.count());
    if (status == 200) continue;
    ++totals.failed;
    totals.failure = answer.substr(0, 500);
  }
}

int run(const Arguments& arguments) {
  const bool is_get = !arguments.get.empty();
  const std::vector<Body> bodies = is_get ? std::vector<Body>() : bodies_from(arguments);
  std::atomic<std::size_t> next{0};
  std::vector<Totals> parts(arguments.connections);
  std::vector<std::thread> threads;
  const double cpu_before = cpu_seconds();
  const auto begin = Clock::now();
  for (Totals& part : parts) {
    threads.emplace_back([&] {
      try {
        is_get ? get(arguments, next, part) : post(arguments, bodies, next, begin, part);
      } catch (const std::exception& failure) {
        ++part.failed;
        part.failure = failure.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  Totals totals;
  for (const Totals& part : parts) totals.add(part);

  nlohmann::json figures{{"seconds", seconds}, {"client_cpu_seconds", cpu_seconds() - cpu_before}};
  if (is_get) {
    figures["path"] = arguments.get;
    figures["gets"] = totals.milliseconds.size();
    figures["gets_per_s"] = static_cast<double>(totals.milliseconds.size()) / seconds;
    figures["get_p50_ms"] = quantile(totals.milliseconds, 0.50);
    figures["get_p99_ms"] = quantile(totals.milliseconds, 0.99);
    figures["get_max_ms"] = quantile(totals.milliseconds, 1.0);
  } else {
    figures["events"] = totals.events;
    figures["accepted"] = totals.accepted;
    figures["duplicate"] = totals.duplicate;
    figures["rejected"] = totals.rejected;
    figures["last_sequence"] = totals.last_sequence;
    figures["busy_answers"] = totals.busy;
    figures["events_per_s"] = static_cast<double>(totals.events) / seconds;
    figures["post_p50_ms"] = quantile(totals.milliseconds, 0.50);
    figures["post_p99_ms"] = quantile(totals.milliseconds, 0.99);
  }
  figures["failed"] = totals.failed;
  if (!totals.failure.empty()) figures["failure"] = totals.failure;
  std::cout << figures.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  return totals.failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(arguments_from(argc, argv));
  } catch (const std::exception& failure) {
    std::cerr << "bench_ingest_client: " << failure.what() << std::endl;
    return 2;
  }
}
