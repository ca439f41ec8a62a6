// SPDX-License-Identifier: Apache-2.0
//
// Trace context in and out of a request: traceparent, tracestate, baggage and the correlation id.
// C++17, standard library only; for plugins, the host and programs that know nothing else of Ephor.
//
//   auto incoming = propagation::extract([&](std::string_view name) { return all_values(name); });
//   auto mine = propagation::continue_from(incoming);             // the span that serves the
//   request propagation::inject(propagation::child_of(mine), [&](std::string_view name, std::string
//   value) {
//     outgoing.set(name, value);                                  // for the call it makes
//   });
//
// Joining. A context has both a trace and a correlation id, whichever of them came in:
//   both came             they are kept as they are
//   traceparent alone     the correlation id is the trace id's 32 hex digits
//   correlation id alone  the trace id is trace_id_for(correlation id), a stable function of it; so
//                         two clients that were given the same id, and the host, name one trace
//   neither               a new random trace id, and its hex digits as correlation id
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/baggage.hpp>
#include <ephor/trace_context.hpp>
#include <ephor/trace_ids.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ephor::propagation {

constexpr std::string_view kTraceparent = "traceparent";
constexpr std::string_view kTracestate = "tracestate";
constexpr std::string_view kBaggage = "baggage";
constexpr std::string_view kCorrelationHeader = "X-Correlation-ID";
// In the baggage, for a correlation id that no header can carry.
constexpr std::string_view kCorrelationBaggage = "correlation.id";
constexpr std::size_t kCorrelationBytesMax = 256;

// Fits into a header and a log: visible ASCII, 1 to 256 bytes.
inline bool is_correlation_header(std::string_view id) {
  if (id.empty() || id.size() > kCorrelationBytesMax) return false;
  for (const char c : id) {
    if (c <= ' ' || c > '~') return false;
  }
  return true;
}

// What a request said. Nothing here is made up: see continue_from().
struct Incoming {
  std::optional<Traceparent> traceparent;
  Tracestate tracestate;  // empty without a valid traceparent
  Baggage baggage;
  std::string correlation_id;  // empty: none came
};

// One span's place, as it is told to the next in line.
struct Context {
  TraceId trace_id;
  SpanId span_id;         // of this span
  SpanId parent_span_id;  // not valid: this span is the root, or its parent is not known
  std::uint8_t flags = 0;
  Tracestate tracestate;
  Baggage baggage;
  std::string correlation_id;

  bool is_sampled() const { return (flags & kSampled) != 0; }
  // As the next one in line reads it.
  Traceparent traceparent() const { return {trace_id, span_id, flags}; }
};

// `values_of(name)` gives the values of all headers of that name, in any case of its letters and in
// the order of the request: std::vector<std::string>. Never throws but what it throws.
template <class ValuesOf>
Incoming extract(ValuesOf&& values_of, std::string_view correlation_header = kCorrelationHeader) {
  Incoming incoming;
  incoming.traceparent = Traceparent::parse(std::vector<std::string>(values_of(kTraceparent)));
  if (incoming.traceparent) {
    incoming.tracestate = Tracestate::parse(std::vector<std::string>(values_of(kTracestate)));
  }
  incoming.baggage = Baggage::parse(std::vector<std::string>(values_of(kBaggage)));
  for (const std::string& value : std::vector<std::string>(values_of(correlation_header))) {
    const std::string_view id = trim_blanks(value);
    if (incoming.correlation_id.empty() && is_correlation_header(id)) incoming.correlation_id = id;
  }
  if (!incoming.correlation_id.empty()) return incoming;
  const std::string* carried = incoming.baggage.get(kCorrelationBaggage);
  if (carried != nullptr && carried->size() <= kCorrelationBytesMax) {
    incoming.correlation_id = *carried;
  }
  return incoming;
}

// The context of the span that serves a request: a new span id below the caller's, if it named one.
// `sampled` decides for traces that begin here.
inline Context continue_from(const Incoming& incoming, bool sampled = true,
                             IdGenerator& ids = IdGenerator::this_thread()) {
  Context context;
  context.tracestate = incoming.tracestate;
  context.baggage = incoming.baggage;
  context.correlation_id = incoming.correlation_id;
  context.span_id = ids.span_id();
  if (incoming.traceparent) {
    context.trace_id = incoming.traceparent->trace_id;
    context.parent_span_id = incoming.traceparent->parent_id;
    context.flags = incoming.traceparent->flags;
  } else if (incoming.correlation_id.empty()) {
    context.trace_id = ids.trace_id();
    context.flags = static_cast<std::uint8_t>(kRandomId | (sampled ? kSampled : 0U));
  } else {
    // Nobody can say how random a client's own id is, so the random flag stays off.
    context.trace_id = trace_id_for(incoming.correlation_id);
    context.flags = sampled ? kSampled : std::uint8_t{0};
  }
  if (context.correlation_id.empty()) context.correlation_id = context.trace_id.hex();
  return context;
}

// A trace that begins here, for `correlation_id` if there is one.
inline Context begin(std::string correlation_id = {}, bool sampled = true,
                     IdGenerator& ids = IdGenerator::this_thread()) {
  Incoming incoming;
  incoming.correlation_id = std::move(correlation_id);
  return continue_from(incoming, sampled, ids);
}

// A span below `parent`. Each call to another service is one, with a span id of its own.
inline Context child_of(const Context& parent, IdGenerator& ids = IdGenerator::this_thread()) {
  Context child = parent;
  child.parent_span_id = parent.span_id;
  child.span_id = ids.span_id();
  return child;
}

// `set(name, value)`: std::string_view, std::string; once a header, lower-case names but for the
// correlation header. A correlation id that no header can carry travels in the baggage.
template <class Set>
void inject(const Context& context, Set&& set,
            std::string_view correlation_header = kCorrelationHeader) {
  set(kTraceparent, context.traceparent().header());
  if (!context.tracestate.empty()) set(kTracestate, context.tracestate.header());
  if (is_correlation_header(context.correlation_id)) {
    set(correlation_header, std::string(context.correlation_id));
    if (!context.baggage.empty()) set(kBaggage, context.baggage.header());
    return;
  }
  Baggage baggage = context.baggage;
  if (!context.correlation_id.empty()) baggage.set(kCorrelationBaggage, context.correlation_id);
  if (!baggage.empty()) set(kBaggage, baggage.header());
}

// A plain list of headers as a carrier: names in any case, several values of a name.
class HeaderList {
 public:
  void add(std::string_view name, std::string value) {
    headers_.emplace_back(std::string(name), std::move(value));
  }
  std::vector<std::string> operator()(std::string_view name) const {
    std::vector<std::string> found;
    for (const auto& header : headers_) {
      if (is_same_name(header.first, name)) found.push_back(header.second);
    }
    return found;
  }
  const std::vector<std::pair<std::string, std::string>>& all() const { return headers_; }

 private:
  static bool is_same_name(std::string_view one, std::string_view other) {
    if (one.size() != other.size()) return false;
    for (std::size_t i = 0; i < one.size(); ++i) {
      if (detail::lower(one[i]) != detail::lower(other[i])) return false;
    }
    return true;
  }

  std::vector<std::pair<std::string, std::string>> headers_;
};

}  // namespace ephor::propagation
