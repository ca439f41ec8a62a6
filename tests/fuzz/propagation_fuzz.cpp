// SPDX-License-Identifier: Apache-2.0
//
// Headers of a request from outside. Input: lines, each the first letter of a header (p
// traceparent, s tracestate, b baggage, c correlation id) and its value, which may hold any byte
// but a line break. Whatever is read is valid by a second, plain reading, and is read the same
// again when passed on.
#include <ephor/propagation.hpp>

#include <set>

#include "fuzz.hpp"

namespace {

namespace propagation = ephor::propagation;

bool is_one_of(char c, std::string_view letters) {
  return letters.find(c) != std::string_view::npos;
}
bool is_all_of(std::string_view text, std::string_view letters) {
  return text.find_first_not_of(letters) == std::string_view::npos;
}

constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kKey = "abcdefghijklmnopqrstuvwxyz0123456789_-*/@";

std::string_view bare(std::string_view text) {
  while (!text.empty() && is_one_of(text.front(), " \t")) text.remove_prefix(1);
  while (!text.empty() && is_one_of(text.back(), " \t")) text.remove_suffix(1);
  return text;
}

bool is_traceparent(std::string_view text) {
  const std::string_view all = bare(text);
  if (all.size() < 55 || (all.size() > 55 && all[55] != '-')) return false;
  const std::string_view fields[] = {all.substr(0, 2), all.substr(3, 32), all.substr(36, 16),
                                     all.substr(53, 2)};
  for (const std::string_view field : fields) {
    if (!is_all_of(field, kHex)) return false;
  }
  if (all[2] != '-' || all[35] != '-' || all[52] != '-') return false;
  if (is_all_of(fields[1], "0") || is_all_of(fields[2], "0") || fields[0] == "ff") return false;
  return fields[0] != "00" || all.size() == 55;
}

// Empty if the list must be dropped; else how many different keys it has.
std::size_t tracestate_keys(const std::vector<std::string>& headers) {
  std::string joined;
  for (const std::string& header : headers) joined += header + ",";
  std::set<std::string_view> keys;
  std::size_t members = 0;
  for (std::string_view rest = joined; !rest.empty();) {
    const std::size_t comma = rest.find(',');
    const std::string_view member = bare(rest.substr(0, comma));
    rest.remove_prefix(comma + 1);
    if (member.empty()) continue;
    ++members;
    const std::size_t equals = member.find('=');
    if (equals == 0 || equals == std::string_view::npos) return 0;
    const std::string_view key = member.substr(0, equals);
    const std::string_view value = member.substr(equals + 1);
    if (key.size() > 256 || !is_all_of(key, kKey) || is_one_of(key[0], "_-*/@")) return 0;
    if (value.empty() || value.size() > 256) return 0;
    for (const char c : value) {
      if (c < 0x20 || c > 0x7e || c == '=') return 0;
    }
    keys.insert(key);
  }
  return members > 32 ? 0 : keys.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ephor::fuzz::Input input(data, size);
  propagation::HeaderList received;
  std::vector<std::string> parents, states;
  while (!input.is_used_up()) {
    const std::string_view line = input.text_until('\n');
    if (line.empty()) continue;
    const std::string value(line.substr(1));
    switch (line.front()) {
      case 'p':
        received.add("Traceparent", value);
        parents.push_back(value);
        break;
      case 's':
        received.add("TRACESTATE", value);
        states.push_back(value);
        break;
      case 'b':
        received.add("baggage", value);
        break;
      default:
        received.add("x-correlation-id", value);
    }
  }
  const propagation::Incoming incoming = propagation::extract(received);
  const bool is_traced = parents.size() == 1 && is_traceparent(parents.front());
  EPHOR_PROMISE(incoming.traceparent.has_value() == is_traced, "a traceparent by the grammar");
  EPHOR_PROMISE(incoming.tracestate.members().size() == (is_traced ? tracestate_keys(states) : 0),
                "a tracestate by the grammar");
  EPHOR_PROMISE(incoming.baggage.entries().size() <= 64 && incoming.baggage.header().size() <= 8192,
                "baggage is bounded");
  EPHOR_PROMISE(incoming.correlation_id.size() <= 256, "a correlation id is bounded");

  const propagation::Context context = propagation::continue_from(incoming);
  EPHOR_PROMISE(context.trace_id.is_valid() && context.span_id.is_valid(), "valid ids");
  EPHOR_PROMISE(!context.correlation_id.empty(), "a correlation id is always there");
  propagation::HeaderList sent;
  propagation::inject(context, [&](std::string_view name, std::string value) {
    for (const char c : value) EPHOR_PROMISE((c >= ' ' && c <= '~') || c == '\t', "header-safe");
    EPHOR_PROMISE(!value.empty() && sent(name).empty(), "each header once");
    sent.add(name, std::move(value));
  });
  const propagation::Incoming again = propagation::extract(sent);
  EPHOR_PROMISE(again.traceparent == context.traceparent(), "the next one reads the same place");
  EPHOR_PROMISE(again.tracestate == context.tracestate, "and tracestate");
  for (const auto& entry : context.baggage.entries()) {
    const std::string* value = again.baggage.get(entry.key);
    EPHOR_PROMISE(value != nullptr && *value == entry.value, "and baggage");
  }
  EPHOR_PROMISE(again.correlation_id == context.correlation_id ||
                    !propagation::is_correlation_header(context.correlation_id),
                "and correlation id");
  return 0;
}
