// SPDX-License-Identifier: Apache-2.0
#include "ingest/otlp_sources.hpp"

#include <algorithm>

namespace ephor::host {
namespace {

constexpr std::uint32_t kResourceAttributes = 1;
constexpr std::uint32_t kScopeAttributes = 3;
constexpr std::string_view kOther =
    R"({"resource":{"service.name":"ephor.other"},"scope":{"name":""}})";

// What is kept of a resource that is too much: who it is, not what it runs on.
constexpr std::string_view kIdentity[] = {
    "service.name",    "service.namespace",      "service.instance.id",
    "service.version", "deployment.environment", "deployment.environment.name",
    "host.name",       "correlation.id",         "correlation_id"};

using Messages = std::vector<std::string_view>;

// The attributes of all messages as one object, as if they were one message. `wanted` says which.
template <typename Wanted>
void append_attributes(std::string& out, const Messages& messages, std::uint32_t field,
                       Wanted&& wanted) {
  otlp::KeySet keys;
  out += '{';
  for (const std::string_view message : messages) {
    otlp::for_each_message(message, field, [&](std::string_view one) {
      const otlp::KeyValue found = otlp::key_value_of(one);
      const otlp::Value value = otlp::value_of(found.value);
      const bool is_first = keys.empty();
      if (!wanted(found.key, value) || !keys.insert(found.key)) return;
      if (!is_first) out += ',';
      otlp::append_text(out, found.key);
      out += ':';
      otlp::append_value(out, value);
    });
  }
  out += '}';
}

std::string_view text_of(const Messages& messages, std::uint32_t field) {
  std::string_view out;
  for (const std::string_view message : messages) {
    ProtoReader in(message);
    while (in.next()) {
      if (in.is(field, WireType::bytes)) out = in.bytes();
    }
  }
  return out;
}

// How much of a source is kept.
enum class Extent { whole, identity, names };

std::string source_text(const Messages& resources, const Messages& scopes, Extent extent) {
  const auto is_short = [](const otlp::Value& value) {
    return value.kind == otlp::Value::Kind::integer ||
           (value.kind == otlp::Value::Kind::text && value.text.size() <= otlp::kIdBytesMax);
  };
  const auto is_wanted = [&](std::string_view key, const otlp::Value& value) {
    if (extent == Extent::whole) return true;
    if (extent == Extent::names) return key == "service.name" && is_short(value);
    return is_short(value) && std::ranges::find(kIdentity, key) != std::end(kIdentity);
  };
  const auto cut = [&](std::string_view text) {
    if (extent != Extent::whole && text.size() > otlp::kIdBytesMax) return std::string_view();
    return text;
  };
  std::string out = R"({"resource":)";
  append_attributes(out, resources, kResourceAttributes, is_wanted);
  out += R"(,"scope":{"name":)";
  otlp::append_text(out, cut(text_of(scopes, 1)));
  if (extent != Extent::names) {
    if (const std::string_view version = cut(text_of(scopes, 2)); !version.empty()) {
      otlp::append_text(out += R"(,"version":)", version);
    }
  }
  if (extent == Extent::whole) {
    std::string attributes;
    append_attributes(attributes, scopes, kScopeAttributes,
                      [](std::string_view, const otlp::Value&) { return true; });
    if (attributes.size() > 2) (out += R"(,"attributes":)") += attributes;
  }
  out += "}}";
  return out;
}

void append_key(std::string& key, const Messages& messages) {
  for (const std::string_view message : messages) {
    const std::uint64_t size = message.size();
    key.append(reinterpret_cast<const char*>(&size), sizeof size);
    key += message;
  }
  key.append(8, '\xFF');  // no message is that long: resources and scopes are told apart
}

Hash128 key_of(const Messages& resources, const Messages& scopes) {
  thread_local std::string key;
  key.clear();
  append_key(key, resources);
  append_key(key, scopes);
  return hash128(key);
}

}  // namespace

OtlpSource otlp_source_of(std::uint32_t number, std::string_view text) {
  const otlp::SourceFacts facts = otlp::facts_of(text);
  OtlpSource out;
  out.number = number;
  out.identity = hash128(facts.event_source);
  if (!facts.correlation_id.empty()) out.correlation = hash64(facts.correlation_id);
  return out;
}

bool OtlpSources::has_room(std::string_view text, unsigned quarters, std::uint32_t& number) {
  if (text.size() > config_.otlp_source_bytes_max) return false;
  const std::scoped_lock lock(mutex_);
  const auto known = names_.sources.find(text);
  if (known && known_.contains(*known)) {
    number = *known;
    return true;
  }
  if (known_.size() >= std::uint64_t{config_.otlp_sources_max} * quarters / 4 ||
      bytes_ + text.size() > config_.otlp_source_memory_bytes * quarters / 4) {
    return false;
  }
  number = names_.sources.id(text);
  if (known_.insert(number).second) bytes_ += text.size();
  return true;
}

std::uint32_t OtlpSources::intern(const Messages& resources, const Messages& scopes,
                                  std::string& text) {
  std::uint32_t number = 0;
  text = source_text(resources, scopes, Extent::whole);
  if (has_room(text, 2, number)) return number;
  reduced_.fetch_add(1, std::memory_order_relaxed);
  text = source_text(resources, scopes, Extent::identity);
  if (has_room(text, 3, number)) return number;
  text = source_text(resources, scopes, Extent::names);
  if (has_room(text, 4, number)) return number;
  text = kOther;
  return names_.sources.id(kOther);
}

OtlpSource OtlpSources::of(const Messages& resources, const Messages& scopes) {
  std::string text;
  const std::uint32_t number = intern(resources, scopes, text);
  OtlpSource out = otlp_source_of(number, text);
  // Of the true service, so that what was reduced in one process is the same event in another.
  if (text == kOther) {
    const otlp::SourceFacts facts = otlp::facts_of(source_text(resources, scopes, Extent::names));
    out.identity = hash128(facts.event_source);
  }
  return out;
}

const OtlpSource& OtlpSourceCache::of(const Messages& resources, const Messages& scopes) {
  const Hash128 key = key_of(resources, scopes);
  Entry& entry = entries_[key.low % entries_.size()];
  if (!entry.is_used || !(entry.key == key)) {
    entry.source = sources_.of(resources, scopes);
    entry.key = key;
    entry.is_used = true;
  }
  return entry.source;
}

}  // namespace ephor::host
