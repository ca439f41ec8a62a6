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
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
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

namespace {

using Clock = std::chrono::steady_clock;

struct Arguments {
  std::string host = "127.0.0.1";
  std::string port = "8780";
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
      std::string rest = value.starts_with("http://") ? value.substr(7) : value;
      rest = rest.substr(0, rest.find('/'));
      const std::size_t colon = rest.rfind(':');
      if (colon == std::string::npos) throw std::runtime_error("--url: expected http://HOST:PORT");
      arguments.host = rest.substr(0, colon);
      arguments.port = rest.substr(colon + 1);
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
    std::string request = "POST /api/events HTTP/1.1\r\nHost: " + arguments.host + ":" +
                          arguments.port + "\r\nContent-Type: application/x-ndjson\r\n";
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

class Connection {
 public:
  Connection(const std::string& host, const std::string& port) : host_(host), port_(port) {}
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Sends one request and reads its answer's body. Returns the status.
  int exchange(std::string_view request, std::string& body) {
    if (socket_ < 0) connect();
    while (!request.empty()) {
      const ssize_t sent = ::send(socket_, request.data(), request.size(), MSG_NOSIGNAL);
      if (sent <= 0) throw std::runtime_error("the server closed the connection");
      request.remove_prefix(static_cast<std::size_t>(sent));
    }
    std::size_t head_end = std::string::npos;
    while ((head_end = received_.find("\r\n\r\n")) == std::string::npos) receive();
    const std::string head = received_.substr(0, head_end);
    const std::size_t field = head.find("Content-Length: ");
    const std::size_t length =
        field == std::string::npos ? 0 : std::strtoull(head.c_str() + field + 16, nullptr, 10);
    while (received_.size() < head_end + 4 + length) receive();
    body = received_.substr(head_end + 4, length);
    received_.erase(0, head_end + 4 + length);
    if (head.find("Connection: close") != std::string::npos) close();
    return std::atoi(head.c_str() + 9);
  }

 private:
  void connect() {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(host_.c_str(), port_.c_str(), &hints, &found) != 0) {
      throw std::runtime_error(host_ + ": no such host");
    }
    socket_ = ::socket(found->ai_family, SOCK_STREAM, 0);
    const bool is_connected = ::connect(socket_, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (!is_connected) throw std::runtime_error("cannot connect to " + host_ + ":" + port_);
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
    received_.clear();
  }
  void receive() {
    char piece[16 * 1024];
    const ssize_t got = ::recv(socket_, piece, sizeof piece, 0);
    if (got <= 0) throw std::runtime_error("the server closed the connection");
    received_.append(piece, static_cast<std::size_t>(got));
  }
  const std::string host_;
  const std::string port_;
  int socket_ = -1;
  std::string received_;
};

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

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  const auto index = static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  return values[index];
}

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
  Connection connection(arguments.host, arguments.port);
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
  Connection connection(arguments.host, arguments.port);
  std::string request = "GET " + arguments.get + " HTTP/1.1\r\nHost: " + arguments.host + ":" +
                        arguments.port + "\r\n";
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

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
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
