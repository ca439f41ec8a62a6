// SPDX-License-Identifier: Apache-2.0
#include "ingest.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <ephor/json.hpp>
#include <span>
#include <utility>

#include "inflate.hpp"

namespace ephor::http_api {
namespace {

constexpr std::size_t kFirstRoomBytes = 256 * 1024;

std::string lower_type(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  for (char& character : type) {
    if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + 32);
  }
  return type;
}

// A growing buffer of the host. What is not handed to ingest goes back.
class HostBuffer final : public GrowingMemory {
 public:
  explicit HostBuffer(const ephor_journal& journal, Budget::Share& share)
      : journal_(journal), share_(share) {}
  ~HostBuffer() override {
    if (buffer_ != nullptr) journal_.release(journal_.context, buffer_);
  }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::span<char> grow(std::size_t size_used, std::size_t size_wanted) override {
    if (size_wanted <= capacity_) return {data_, capacity_};
    if (!share_.raise_to(size_wanted)) {
      is_over_budget_ = true;
      return {};
    }
    char* data = nullptr;
    ephor_buffer* buffer = journal_.acquire(journal_.context, size_wanted, &data);
    if (buffer == nullptr) return {};
    if (buffer_ != nullptr) {
      std::memcpy(data, data_, size_used);
      journal_.release(journal_.context, buffer_);
    }
    buffer_ = buffer;
    data_ = data;
    capacity_ = size_wanted;
    return {data_, capacity_};
  }
  bool is_over_budget() const { return is_over_budget_; }
  ephor_buffer* hand_over() { return std::exchange(buffer_, nullptr); }

 private:
  const ephor_journal& journal_;
  Budget::Share& share_;
  ephor_buffer* buffer_ = nullptr;
  char* data_ = nullptr;
  std::size_t capacity_ = 0;
  bool is_over_budget_ = false;
};

// The compressed body, which the host never sees.
class OwnBuffer final : public GrowingMemory {
 public:
  explicit OwnBuffer(Budget::Share& share) : share_(share) {}
  std::span<char> grow(std::size_t, std::size_t size_wanted) override {
    if (size_wanted > bytes_.size()) {
      if (!share_.raise_to(size_wanted)) {
        is_over_budget_ = true;
        return {};
      }
      bytes_.resize(size_wanted);
    }
    return {bytes_.data(), bytes_.size()};
  }
  bool is_over_budget() const { return is_over_budget_; }
  std::string_view text(std::size_t size) const { return {bytes_.data(), size}; }

 private:
  Budget::Share& share_;
  std::string bytes_;
  bool is_over_budget_ = false;
};

// The whole body into `memory`; at most `size_max`.
Inflated receive(Body& body, std::size_t size_max, GrowingMemory& memory, std::size_t& size) {
  const auto length = body.length();
  if (length && *length > size_max) return Inflated::too_large;
  const std::size_t first =
      length ? static_cast<std::size_t>(*length) : std::min(size_max, kFirstRoomBytes);
  std::span<char> room = memory.grow(0, std::max<std::size_t>(first, 1));
  if (room.empty()) return Inflated::too_large;
  size = 0;
  while (!body.at_end()) {
    if (size == room.size()) {
      if (length) break;
      char beyond = 0;
      if (size >= size_max) {
        if (body.read(&beyond, 1) == 0) break;
        return Inflated::too_large;
      }
      room = memory.grow(size, std::min(size_max, room.size() * 2));
      if (room.empty()) return Inflated::too_large;
    }
    size += body.read(room.data() + size, room.size() - size);
  }
  return Inflated::ok;
}

Answer too_large_answer(std::uint64_t size_max, std::string_view what) {
  return error_answer(413, "too_large",
                      "the body is larger than " + std::to_string(size_max) + " bytes (" +
                          std::string(what) + "); send it in parts");
}

void collect(void* user, const ephor_rejection* rejection) {
  guarded(nullptr, [&] {
    auto& all = *static_cast<Rejections*>(user);
    if (++all.count > Rejections::kListedMax) return;
    all.listed.push_back({rejection->line, std::string(to_text(rejection->json_pointer)),
                          std::string(to_text(rejection->reason))});
  });
}

Answer unsupported_type(std::string_view content_type, std::string_view expected) {
  return error_answer(415, "unsupported_media_type",
                      "Content-Type: found \"" + std::string(content_type.substr(0, 128)) +
                          "\", expected " + std::string(expected));
}

// A body that says nothing. Only events have to be there: an OpenTelemetry SDK may flush nothing.
Answer empty_answer(Dialect dialect, Builtin builtin, std::string_view what) {
  if (builtin == Builtin::ingest) {
    return error_answer(400, "empty_body", std::string(what) + ", expected at least one event");
  }
  return result_answer(dialect, builtin, ephor_ingest_result{}, {});
}

}  // namespace

bool is_protobuf(std::string_view content_type) {
  const std::string type = lower_type(content_type);
  return type == "application/x-protobuf" || type == "application/protobuf";
}

int otlp_format_of(Builtin builtin, std::string_view content_type) {
  const bool is_json = lower_type(content_type) == "application/json";
  if (!is_json && !is_protobuf(content_type)) return -1;
  switch (builtin) {
    case Builtin::otlp_metrics:
      return is_json ? EPHOR_FORMAT_OTLP_METRICS_JSON : EPHOR_FORMAT_OTLP_METRICS;
    case Builtin::otlp_logs:
      return is_json ? EPHOR_FORMAT_OTLP_LOGS_JSON : EPHOR_FORMAT_OTLP_LOGS;
    default:
      return is_json ? EPHOR_FORMAT_OTLP_TRACES_JSON : EPHOR_FORMAT_OTLP_TRACES;
  }
}

int ingest_format_of(std::string_view content_type) {
  struct Known {
    std::string_view type;
    int format;
  };
  // application/json may hold one object or an array: the first byte tells.
  static constexpr std::array<Known, 6> kKnown{
      {{"application/cloudevents+json", EPHOR_FORMAT_SINGLE},
       {"application/json", EPHOR_FORMAT_AUTO},
       {"application/cloudevents-batch+json", EPHOR_FORMAT_BATCH},
       {"application/x-ndjson", EPHOR_FORMAT_LINES},
       {"application/ndjson", EPHOR_FORMAT_LINES},
       {"application/jsonl", EPHOR_FORMAT_LINES}}};
  const std::string type = lower_type(content_type);
  for (const Known& known : kKnown) {
    if (known.type == type) return known.format;
  }
  return -1;
}

Ingest::Ingest(const Host& host, const Options& options)
    : options_(options),
      journal_(host.required<ephor_journal>("ephor.journal/1")),
      gate_(options.ingest_threads, options.ingest_queue),
      budget_(std::max(options.max_inflated_bytes, options.max_body_bytes) * 2) {
  const auto counter = [&host](std::string_view result) {
    return host.counter("ephor_http_ingest_records_total", "Records posted, by what became of them",
                        dump(Json{{"result", result}}));
  };
  accepted_ = counter("accepted");
  duplicate_ = counter("duplicate");
  rejected_ = counter("rejected");
  bytes_ = host.counter("ephor_http_ingest_bytes_total", "Bytes of posted records, inflated");
}

int influx_format_of(std::string_view precision, Builtin builtin) {
  if (precision.empty() || precision == "ns") return EPHOR_FORMAT_INFLUX_NS;
  if (precision == "us") return EPHOR_FORMAT_INFLUX_US;
  if (precision == "ms") return EPHOR_FORMAT_INFLUX_MS;
  if (precision == "s") return EPHOR_FORMAT_INFLUX_S;
  if (builtin == Builtin::influx_write_v2) return -1;
  if (precision == "n") return EPHOR_FORMAT_INFLUX_NS;
  if (precision == "u") return EPHOR_FORMAT_INFLUX_US;
  return -1;
}

Answer Ingest::take(Builtin builtin, const IngestHead& head, Body& body) {
  const Dialect dialect = dialect_of(builtin, head.content_type);
  int format = -1;
  switch (builtin) {
    case Builtin::otlp_traces:
    case Builtin::otlp_metrics:
    case Builtin::otlp_logs:
      format = otlp_format_of(builtin, head.content_type);
      if (format < 0) {
        return unsupported_type(head.content_type, "application/x-protobuf or application/json");
      }
      break;
    case Builtin::influx_write:
    case Builtin::influx_write_v2:
      format = influx_format_of(head.precision, builtin);
      if (format < 0) {
        return error_answer(400, "invalid",
                            "precision: found \"" + std::string(head.precision.substr(0, 64)) +
                                "\", expected ns, us, ms or s",
                            "/precision");
      }
      break;
    default:
      format = ingest_format_of(head.content_type);
      if (format < 0) {
        return unsupported_type(head.content_type,
                                "application/cloudevents+json, "
                                "application/cloudevents-batch+json, application/x-ndjson or "
                                "application/json");
      }
  }
  const bool is_plain = head.content_encoding.empty() || head.content_encoding == "identity";
  const bool is_gzip = head.content_encoding == "gzip" || head.content_encoding == "x-gzip";
  if (!is_plain && !is_gzip && head.content_encoding != "zstd") {
    return error_answer(415, "unsupported_encoding",
                        "Content-Encoding: found \"" +
                            std::string(head.content_encoding.substr(0, 128)) +
                            "\", expected gzip, zstd or none");
  }
  Budget::Share received_share(budget_);
  Budget::Share inflated_share(budget_);
  HostBuffer buffer(journal_, inflated_share);
  OwnBuffer compressed(received_share);
  GrowingMemory& target = is_plain ? static_cast<GrowingMemory&>(buffer) : compressed;
  const auto body_max = static_cast<std::size_t>(options_.max_body_bytes);
  std::size_t size = 0;
  Inflated state = receive(body, body_max, target, size);
  if (buffer.is_over_budget() || compressed.is_over_budget()) {
    return busy_answer("too many bytes of other bodies are being received");
  }
  if (state == Inflated::too_large) return too_large_answer(body_max, "as sent");
  if (size == 0) return empty_answer(dialect, builtin, "the body is empty");
  const Gate::Pass pass(gate_, std::chrono::milliseconds(options_.request_timeout_ms));
  if (!pass) return busy_answer("too many bodies wait to be taken in");
  if (!is_plain) {
    const auto inflated_max = static_cast<std::size_t>(options_.max_inflated_bytes);
    const std::string_view bytes = compressed.text(size);
    state = is_gzip ? inflate_gzip(bytes, inflated_max, buffer, size)
                    : inflate_zstd(bytes, inflated_max, buffer, size);
    if (buffer.is_over_budget()) {
      return busy_answer("too many bytes of other bodies are being received");
    }
    if (state == Inflated::too_large) return too_large_answer(inflated_max, "inflated");
    if (state != Inflated::ok) {
      return error_answer(
          400, "bad_encoding",
          "the body is no whole " + std::string(head.content_encoding) + ": " +
              (state == Inflated::truncated ? "it ends too early" : "its bytes are corrupt"));
    }
    if (size == 0) return empty_answer(dialect, builtin, "the body is empty");
  }
  Rejections rejections;
  ephor_ingest_result result{};
  result.struct_size = sizeof result;
  ephor_error error{};
  error.struct_size = sizeof error;
  const ephor_status status = journal_.ingest(
      journal_.context, buffer.hand_over(), size, static_cast<std::uint32_t>(format),
      to_view(head.source), &collect, &rejections, &result, &error);
  if (status != EPHOR_OK) return failure_answer(status, error.message, error.json_pointer);
  if (result.accepted + result.duplicate + result.rejected == 0) {
    return empty_answer(dialect, builtin, "the body has no record");
  }
  bytes_.add(static_cast<double>(size));
  accepted_.add(result.accepted);
  duplicate_.add(result.duplicate);
  rejected_.add(result.rejected);
  return result_answer(dialect, builtin, result, rejections);
}

}  // namespace ephor::http_api
