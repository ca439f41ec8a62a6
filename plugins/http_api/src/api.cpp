// SPDX-License-Identifier: Apache-2.0
#include "api.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <ephor/json.hpp>
#include <ephor/propagation.hpp>
#include <optional>
#include <utility>

#include "inflate.hpp"
#include "openapi.hpp"
#include "page.hpp"
#include "topic_pattern.hpp"
#include "websocket.hpp"

namespace ephor::http_api {
namespace {

using Poco::Net::HTTPRequest;

constexpr std::size_t kRequestBodyMax = 1U << 20U;
constexpr int kRequestDepthMax = 64;
constexpr std::size_t kCompressMin = 1024;
constexpr std::size_t kSourceBytesMax = 256;
constexpr std::size_t kTopicsMax = 64;

std::string_view header(const HTTPRequest& request, const std::string& name) {
  const auto found = request.find(name);
  return found == request.end() ? std::string_view() : std::string_view(found->second);
}

bool is_safe(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

std::string_view known_method(const HTTPRequest& request) {
  for (const std::string_view known :
       {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
    if (request.getMethod() == known) return known;
  }
  return "(other)";
}

std::vector<std::string> values_of(const HTTPRequest& request, std::string_view name) {
  std::vector<std::string> values;
  const std::string key(name);
  for (auto found = request.find(key);
       found != request.end() && Poco::icompare(found->first, key) == 0; ++found) {
    values.push_back(found->second);
  }
  return values;
}

// Empty if it is larger than the bound.
std::optional<std::string> read_text(Body& body) {
  if (body.length().value_or(0) > kRequestBodyMax) return std::nullopt;
  std::string text;
  std::array<char, 16 * 1024> piece{};
  while (const std::size_t got = body.read(piece.data(), piece.size())) {
    text.append(piece.data(), got);
    if (text.size() > kRequestBodyMax) return std::nullopt;
  }
  return text;
}

bool is_compressible(std::string_view content_type) {
  return content_type.starts_with("text/") || content_type.starts_with("application/json") ||
         content_type.find("javascript") != std::string_view::npos;
}

Answer text_answer(std::string body, const Endpoint& endpoint) {
  Answer answer;
  answer.body = std::move(body);
  answer.content_type = endpoint.content_type;
  return answer;
}

Answer page_answer(const Endpoint& endpoint) {
  const auto asset = std::find_if(kPageAssets.begin(), kPageAssets.end(),
                                  [&](const auto& one) { return one.path == endpoint.path; });
  Answer answer = text_answer(std::string(asset->text), endpoint);
  answer.headers.emplace_back("Content-Security-Policy",
                              "default-src 'none'; script-src 'self'; style-src 'self'; "
                              "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
                              "form-action 'none'; frame-ancestors 'none'");
  answer.headers.emplace_back("Cache-Control", "no-cache");
  return answer;
}

// What clients of InfluxDB look for before they write. No release of InfluxDB is claimed.
Answer ping_answer() {
  Answer answer;
  answer.status = 204;
  answer.headers.emplace_back("X-Influxdb-Version", "1.8-ephor");
  answer.headers.emplace_back("X-Influxdb-Build", "Ephor");
  return answer;
}

// On the listener for ingest alone.
bool is_of_ingest(Builtin builtin) {
  return is_ingest(builtin) || builtin == Builtin::influx_ping || builtin == Builtin::live ||
         builtin == Builtin::ready;
}

}  // namespace

Api::Api(const Host& host, const Options& options, const Guards& guards, Callbacks callbacks)
    : host_(host),
      options_(options),
      guards_(guards),
      callbacks_(std::move(callbacks)),
      query_(host.extension<ephor_query>("ephor.query/1")),
      journal_(host.extension<ephor_journal>("ephor.journal/1")),
      ingest_(host, options),
      routes_(host),
      metrics_(host) {}

Answer Api::answer(const HTTPRequest& request, Body& body, Entrance entrance) {
  const auto begin = std::chrono::steady_clock::now();
  Found found;
  Answer answer;
  try {
    answer = route(request, body, entrance, found);
  } catch (const BodyError& failure) {
    answer = error_answer(400, "bad_body", failure.what());
    answer.must_close = true;
  } catch (const Error& failure) {
    answer = failure_answer(failure.code(), failure.what(), failure.json_pointer());
  } catch (const Poco::TimeoutException&) {
    answer = error_answer(408, "timeout", "the body did not arrive in time");
    answer.must_close = true;
  } catch (const std::exception& failure) {
    answer = failure_answer(EPHOR_INTERNAL, failure.what());
    answer.must_close = true;
  }
  if (!answer.message.empty()) {
    speak(dialect_of(found.builtin, header(request, "Content-Type")), answer);
  }
  finish(request, access(entrance), answer);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  metrics_.count(known_method(request), found.route, answer.status, seconds.count());
  return answer;
}

Answer Api::refuse(const HTTPRequest* request, Entrance entrance, const Refusal& refusal) {
  Answer answer = error_answer(refusal.status, refusal.code, refusal.message);
  answer.must_close = true;
  if (refusal.status == 503) answer.headers.emplace_back("Retry-After", "1");
  if (request == nullptr) {
    metrics_.count("(other)", "(unreadable)", answer.status, 0.0);
    return answer;
  }
  std::string route_name = "(unknown)";
  if (const auto target = parse_target(request->getURI())) {
    const auto router = routes_.current();
    const Router::Match match = router->find(request->getMethod(), target->segments);
    if (match.endpoint != nullptr) {
      route_name = match.endpoint->path;
      speak(dialect_of(match.endpoint->builtin, header(*request, "Content-Type")), answer);
    }
  }
  finish(*request, access(entrance), answer);
  metrics_.count(known_method(*request), route_name, answer.status, 0.0);
  return answer;
}

Answer Api::route(const HTTPRequest& request, Body& body, Entrance entrance, Found& found) {
  const Access& guard = access(entrance);
  const std::string_view host = header(request, "Host");
  if (host.empty() && request.getVersion() != "HTTP/1.0") {
    return error_answer(400, "invalid", "the header Host is missing");
  }
  if (!guard.is_host_allowed(host)) {
    return error_answer(403, "denied",
                        "Host: found \"" + std::string(host.substr(0, 128)) +
                            "\", expected localhost or a name of allowed_hosts");
  }
  const std::string_view origin = header(request, "Origin");
  const bool is_foreign =
      !origin.empty() && !guard.is_same_origin(origin, host) && !guard.is_cors_origin(origin);
  if (is_foreign && !is_safe(request.getMethod())) {
    return error_answer(403, "denied",
                        "Origin: found \"" + std::string(origin.substr(0, 128)) +
                            "\", expected this site or one of cors_origins");
  }
  const auto target = parse_target(request.getURI());
  if (!target) return error_answer(400, "invalid", "the request target is no valid path");

  const auto router = routes_.current();
  const Router::Match match = router->find(request.getMethod(), target->segments);
  if (match.allow.empty()) return error_answer(404, "not_found", "no such path; see /api");
  if (request.getMethod() == "OPTIONS") return preflight(request, match.allow, guard);
  if (match.endpoint == nullptr) {
    Answer answer = error_answer(405, "method_not_allowed",
                                 "found " + request.getMethod() + ", expected " + match.allow);
    answer.headers.emplace_back("Allow", match.allow);
    return answer;
  }
  const Endpoint& endpoint = *match.endpoint;
  found = {endpoint.path, endpoint.builtin};
  if (entrance == Entrance::ingest && !is_of_ingest(endpoint.builtin)) {
    return error_answer(404, "not_found", "this listener takes events only (ingest_listen)");
  }

  // Browsers cannot set headers on a WebSocket, so there the token may come in the address.
  std::string_view token = bearer_of(header(request, "Authorization"));
  if (token.empty() && endpoint.builtin == Builtin::websocket) {
    token = find_parameter(target->query, "access_token");
  }
  const Access::Verdict verdict = guard.check(token, endpoint.scope);
  if (!verdict.is_known) {
    Answer answer = error_answer(401, "unauthorized", "expected a bearer token");
    answer.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"ephor\"");
    return answer;
  }
  if (!verdict.is_allowed) {
    return error_answer(403, "denied", "the token lacks the scope \"" + endpoint.scope + "\"");
  }
  if (endpoint.builtin == Builtin::websocket && is_foreign) {
    return error_answer(403, "denied",
                        "Origin: found \"" + std::string(origin.substr(0, 128)) +
                            "\", expected this site or one of cors_origins");
  }
  if (endpoint.builtin == Builtin::query) {
    return call_query(endpoint, match, *target, request, body);
  }
  return call_builtin(endpoint, *router, *target, request, body, verdict.name);
}

Answer Api::take(const Endpoint& endpoint, const Target& target, const HTTPRequest& request,
                 Body& body, std::string_view token_name) {
  IngestHead head{
      header(request, "Content-Type"), header(request, "Content-Encoding"), token_name, {}};
  std::string source;
  const bool is_influx =
      endpoint.builtin == Builtin::influx_write || endpoint.builtin == Builtin::influx_write_v2;
  if (is_influx) {
    head.precision = find_parameter(target.query, "precision");
    const std::string_view database =
        find_parameter(target.query, endpoint.builtin == Builtin::influx_write ? "db" : "bucket");
    source = database.empty() ? "influx" : "influx/";
    source += database.substr(0, kSourceBytesMax);
    if (token_name.empty()) head.source = source;
  }
  return ingest_.take(endpoint.builtin, head, body);
}

Answer Api::call_builtin(const Endpoint& endpoint, const Router& router, const Target& target,
                         const HTTPRequest& request, Body& body, std::string_view source) {
  switch (endpoint.builtin) {
    case Builtin::ingest:
    case Builtin::otlp_traces:
    case Builtin::otlp_metrics:
    case Builtin::otlp_logs:
    case Builtin::influx_write:
    case Builtin::influx_write_v2:
      return take(endpoint, target, request, body, source);
    case Builtin::influx_ping:
      return ping_answer();
    case Builtin::websocket:
      return upgrade(target, request);
    case Builtin::page:
      return page_answer(endpoint);
    case Builtin::list:
      return text_answer(route_list(router.endpoints()), endpoint);
    case Builtin::openapi:
      return text_answer(openapi_document(router.endpoints(), "1", !guards_.main.is_open()),
                         endpoint);
    case Builtin::metrics:
      return metrics();
    case Builtin::live:
      return health("live");
    case Builtin::ready:
      return health("ready");
    case Builtin::query:
      break;
  }
  return failure_answer(EPHOR_INTERNAL, "no such builtin");
}

Answer Api::call_query(const Endpoint& endpoint, const Router::Match& match, const Target& target,
                       const HTTPRequest& request, Body& body) {
  if (is_safe(request.getMethod())) return ask(endpoint, match, target, {});
  if (!header(request, "Content-Encoding").empty()) {
    return error_answer(415, "unsupported_encoding", "expected a body without Content-Encoding");
  }
  const auto text = read_text(body);
  if (!text) return error_answer(413, "too_large", "the body is larger than 1 MiB");
  if (json_depth(*text) > kRequestDepthMax || (!text->empty() && !Json::accept(*text))) {
    return error_answer(400, "invalid", "the body is no JSON of at most 64 levels", "/body");
  }
  return ask(endpoint, match, target, *text);
}

Answer Api::ask(const Endpoint& endpoint, const Router::Match& match, const Target& target,
                std::string_view body_json) {
  if (query_ == nullptr) return failure_answer(EPHOR_UNSUPPORTED, "this host has no queries");
  Json object = Json::object();
  for (const auto& [name, value] : target.query) object[name] = value;
  for (const auto& [name, value] : match.parameters) object[name] = value;
  std::uint64_t after_sequence = 0;
  if (const auto found = object.find("after_sequence"); found != object.end()) {
    after_sequence =
        static_cast<std::uint64_t>(request_integer(object, "after_sequence", 0, 0, INT64_MAX));
    object.erase("after_sequence");
  }
  std::string json = dump(object);
  if (!body_json.empty()) {
    json.pop_back();  // the closing brace
    json += object.empty() ? "\"body\":" : ",\"body\":";
    json += body_json;
    json += '}';
  }
  Answer answer;
  answer.content_type = endpoint.content_type;
  ephor_writer out = string_writer(answer.body);
  ephor_error error{};
  error.struct_size = sizeof error;
  const ephor_status status = query_->call(query_->context, to_view(endpoint.query), to_view(json),
                                           options_.request_timeout_ms * 1'000'000LL,
                                           after_sequence, &out, &answer.as_of_sequence, &error);
  if (status == EPHOR_OK) return answer;
  Answer failure = failure_answer(status, error.message, error.json_pointer);
  failure.as_of_sequence = answer.as_of_sequence;
  return failure;
}

Answer Api::look(std::string_view raw_target) {
  try {
    const auto target = parse_target(raw_target);
    if (!target) return error_answer(400, "invalid", "the path is no valid one");
    const auto router = routes_.current();
    const Router::Match match = router->find("GET", target->segments);
    const bool is_open = match.endpoint != nullptr && match.endpoint->builtin == Builtin::query &&
                         match.endpoint->scope == "read" &&
                         match.endpoint->content_type.starts_with("application/json");
    if (!is_open) return error_answer(404, "not_found", "no such GET route; see /api");
    if (!find_parameter(target->query, "after_sequence").empty()) {
      return error_answer(400, "invalid", "after_sequence: a watched route cannot wait",
                          "/after_sequence");
    }
    return ask(*match.endpoint, match, *target, {});
  } catch (const Error& failure) {
    return failure_answer(failure.code(), failure.what(), failure.json_pointer());
  } catch (const std::exception& failure) {
    return failure_answer(EPHOR_INTERNAL, failure.what());
  }
}

// GET /health/...: the status says it, the body says why.
Answer Api::health(std::string_view member) {
  Answer answer;
  const auto* table = host_.extension<ephor_health>("ephor.health/1");
  if (table == nullptr) return failure_answer(EPHOR_UNSUPPORTED, "this host has no health");
  ephor_writer out = string_writer(answer.body);
  ephor_error error{};
  error.struct_size = sizeof error;
  const ephor_status status = table->snapshot(table->context, &out, &error);
  if (status != EPHOR_OK) return failure_answer(status, error.message);
  Json snapshot = Json::parse(answer.body, nullptr, false);
  const bool is_good = snapshot.is_object() && snapshot.value(std::string(member), false);
  // These routes are open to everyone; where the data lies is nobody's business.
  if (snapshot.is_object() && snapshot.erase("data_dir") > 0) answer.body = dump(snapshot);
  answer.status = is_good ? 200 : 503;
  if (!is_good) answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

Answer Api::metrics() {
  const auto* table = host_.extension<ephor_metrics>("ephor.metrics/1");
  if (table == nullptr) return failure_answer(EPHOR_UNSUPPORTED, "this host has no metrics");
  callbacks_.update_gauges();
  Answer answer;
  answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
  ephor_writer out = string_writer(answer.body);
  ephor_error error{};
  error.struct_size = sizeof error;
  const ephor_status status = table->render(table->context, &out, &error);
  return status == EPHOR_OK ? answer : failure_answer(status, error.message);
}

Answer Api::upgrade(const Target& target, const HTTPRequest& request) {
  const bool wants_upgrade =
      request.hasToken("Connection", "upgrade") && request.hasToken("Upgrade", "websocket");
  const std::string_view key = header(request, "Sec-WebSocket-Key");
  if (!wants_upgrade || header(request, "Sec-WebSocket-Version") != "13") {
    Answer answer =
        error_answer(426, "upgrade_required", "expected a WebSocket handshake, version 13");
    answer.headers.emplace_back("Upgrade", "websocket");
    answer.headers.emplace_back("Sec-WebSocket-Version", "13");
    return answer;
  }
  if (!is_websocket_key(key)) {
    return error_answer(400, "invalid", "Sec-WebSocket-Key: expected 16 bytes in base64");
  }
  Answer answer;
  std::string_view topics = find_parameter(target.query, "topics");
  if (!topics.empty() && !options_.websocket.has_events) {
    return error_answer(403, "denied", "events are not sent: enable_websocket_broadcast is false",
                        "/topics");
  }
  while (!topics.empty()) {
    const std::size_t comma = topics.find(',');
    const std::string_view topic = topics.substr(0, comma);
    topics = comma == std::string_view::npos ? std::string_view() : topics.substr(comma + 1);
    if (!is_topic_pattern(topic) || answer.topics.size() == kTopicsMax) {
      return error_answer(400, "invalid",
                          "topics: found \"" + std::string(topic.substr(0, 128)) +
                              "\", expected at most 64 patterns such as ephor.trade or ephor.*",
                          "/topics");
    }
    answer.topics.emplace_back(topic);
  }
  if (callbacks_.is_websocket_full()) return busy_answer("too many WebSocket clients");
  answer.status = 101;
  answer.headers.emplace_back("Upgrade", "websocket");
  answer.headers.emplace_back("Sec-WebSocket-Accept", websocket_accept(key));
  return answer;
}

Answer Api::preflight(const HTTPRequest& request, const std::string& allow, const Access& guard) {
  Answer answer;
  answer.status = 204;
  answer.headers.emplace_back("Allow", allow);
  if (guard.is_cors_origin(header(request, "Origin"))) {
    answer.headers.emplace_back("Access-Control-Allow-Methods", allow);
    answer.headers.emplace_back(
        "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Content-Encoding, traceparent, tracestate, baggage, " +
            options_.correlation_id_header);
    answer.headers.emplace_back("Access-Control-Max-Age", "600");
  }
  return answer;
}

void Api::finish(const HTTPRequest& request, const Access& guard, Answer& answer) {
  auto& headers = answer.headers;
  const propagation::Context context = propagation::continue_from(
      propagation::extract([&](std::string_view name) { return values_of(request, name); },
                           options_.correlation_id_header));
  headers.emplace_back("traceparent", context.traceparent().header());
  headers.emplace_back(options_.correlation_id_header, context.correlation_id);
  if (answer.as_of_sequence == 0 && journal_ != nullptr) {
    answer.as_of_sequence = journal_->last_sequence(journal_->context);
  }
  headers.emplace_back("Ephor-As-Of-Sequence", std::to_string(answer.as_of_sequence));
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  headers.emplace_back("X-Frame-Options", "DENY");
  headers.emplace_back("Referrer-Policy", "no-referrer");
  const std::string_view origin = header(request, "Origin");
  if (!origin.empty() && guard.is_cors_origin(origin)) {
    headers.emplace_back("Access-Control-Allow-Origin", std::string(origin));
    headers.emplace_back(
        "Access-Control-Expose-Headers",
        "Ephor-As-Of-Sequence, Retry-After, traceparent, " + options_.correlation_id_header);
  }
  if (!options_.cors_origins.empty()) headers.emplace_back("Vary", "Origin");
  const bool has_policy = std::any_of(headers.begin(), headers.end(), [](const auto& entry) {
    return entry.first == "Content-Security-Policy";
  });
  if (!has_policy) {
    // A plugin's page (a report) may bring its own style, and nothing that runs or loads.
    const bool is_page = answer.content_type.starts_with("text/html");
    headers.emplace_back("Content-Security-Policy",
                         std::string("default-src 'none'; frame-ancestors 'none'") +
                             (is_page ? "; style-src 'unsafe-inline'; img-src data:" : ""));
    headers.emplace_back("Cache-Control", "no-store");
  }
  if (answer.body.size() > kCompressMin && is_compressible(answer.content_type)) {
    headers.emplace_back("Vary", "Accept-Encoding");
    if (accepts_gzip(header(request, "Accept-Encoding"))) {
      if (std::string packed = deflate_gzip(answer.body); !packed.empty()) {
        answer.body = std::move(packed);
        headers.emplace_back("Content-Encoding", "gzip");
      }
    }
  }
}

}  // namespace ephor::http_api
