// SPDX-License-Identifier: Apache-2.0
#include "core/conflater.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include <simdjson.h>

#include "event/error.hpp"
#include "event/event_json.hpp"

namespace ephor::host {
namespace {

bool is_pointer(std::string_view text) {
  if (!text.starts_with('/')) return false;
  for (std::size_t at = text.find('~'); at != std::string_view::npos; at = text.find('~', at + 1)) {
    if (at + 1 == text.size() || (text[at + 1] != '0' && text[at + 1] != '1')) return false;
  }
  return true;
}

template <typename Number>
void append_bytes(std::string& out, Number number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  out.append(bytes, sizeof number);
}

}  // namespace

struct EventKey::Parser {
  simdjson::ondemand::parser json;
};

EventKey::EventKey(std::string_view key, const Names* names) : names_(names) {
  if (key.empty() || key == "topic") return;
  if (key == "source") {
    kind_ = Kind::source;
  } else if (key == "correlation") {
    kind_ = Kind::correlation;
  } else if (is_pointer(key)) {
    kind_ = Kind::pointer;
    pointer_ = "/data" + std::string(key);
    parser_ = std::make_unique<Parser>();
  } else {
    throw HostError(EPHOR_INVALID, "subscription key: found \"" + std::string(key) +
                                       "\", expected topic, source, correlation or an RFC 6901 "
                                       "pointer into the data such as /name");
  }
}

EventKey::~EventKey() = default;
EventKey::EventKey(EventKey&&) noexcept = default;

std::string EventKey::of(const ephor_event& event) {
  std::string out;
  if (kind_ == Kind::source && event.source != 0) {
    out = 's';
    append_bytes(out, event.source);
  } else if (kind_ == Kind::correlation && event.correlation != 0) {
    out = 'c';
    append_bytes(out, event.correlation);
  } else if (kind_ != Kind::pointer || !append_member(event, out)) {
    out = 't';
    append_bytes(out, event.topic);
  }
  return out;
}

// The record has the readable bytes behind it that simdjson wants (kRecordSlackBytes).
bool EventKey::append_member(const ephor_event& event, std::string& out) {
  static_assert(kRecordSlackBytes >= simdjson::SIMDJSON_PADDING);
  if (event.encoding == EPHOR_ENCODING_JSON) {
    return append_member(std::string_view(event.record, event.record_length), out);
  }
  if (event.encoding != EPHOR_ENCODING_OTLP) return false;
  std::string json = event_json(
      event, names_ == nullptr ? std::string_view() : names_->sources.name(event.source));
  const std::size_t size = json.size();
  json.append(kRecordSlackBytes, '\0');
  return append_member(std::string_view(json.data(), size), out);
}

bool EventKey::append_member(std::string_view json, std::string& out) {
  const simdjson::padded_string_view text(json.data(), json.size(),
                                          json.size() + kRecordSlackBytes);
  simdjson::ondemand::document document;
  simdjson::ondemand::value value;
  simdjson::ondemand::json_type type;
  if (parser_->json.iterate(text).get(document) != simdjson::SUCCESS ||
      document.at_pointer(pointer_).get(value) != simdjson::SUCCESS ||
      value.type().get(type) != simdjson::SUCCESS) {
    return false;
  }
  if (type == simdjson::ondemand::json_type::string) {
    std::string_view member;
    if (value.get_string().get(member) != simdjson::SUCCESS) return false;
    out = '"';
    out += member;
    return true;
  }
  if (type != simdjson::ondemand::json_type::number) return false;
  std::string_view token = value.raw_json_token();
  token = token.substr(0, token.find_first_not_of("+-.0123456789eE"));
  out = 'n';
  out += token;
  return true;
}

void Conflater::keep(Entry& entry, const ephor_event& event, std::int64_t published_ns) {
  if (entry.record.data() == nullptr || entry.record.capacity() < event.record_length) {
    bytes_ -= entry.record.capacity();
    entry.record = Buffer(event.record_length);
    bytes_ += entry.record.capacity();
  }
  std::memcpy(entry.record.data(), event.record, event.record_length);
  std::memset(entry.record.data() + event.record_length, 0, kRecordSlackBytes);
  entry.event = event;
  entry.event.record = entry.record.data();
  entry.published_ns = published_ns;
}

void Conflater::take(const ephor_event* events, std::uint32_t count, std::int64_t published_ns) {
  if (!is_conflating_ && entries_.size() + count > kSliceEvents) begin_conflating();
  for (std::uint32_t i = 0; i < count; ++i) {
    if (is_conflating_) {
      take_one(events[i], published_ns);
    } else {
      keep(entries_.emplace_back(), events[i], published_ns);
    }
  }
}

// From here on only the newest of a key counts, among what was taken before too.
void Conflater::begin_conflating() {
  is_conflating_ = true;
  const std::vector<Entry> taken = std::exchange(entries_, {});
  bytes_ = 0;
  for (const Entry& entry : taken) take_one(entry.event, entry.published_ns);
}

void Conflater::take_one(const ephor_event& event, std::int64_t published_ns) {
  const auto [at, is_new] = entry_of_.try_emplace(key_.of(event), entries_.size());
  if (is_new) {
    keep(entries_.emplace_back(), event, published_ns);
  } else {
    keep(entries_[at->second], event, published_ns);
    superseded_.fetch_add(1, std::memory_order_relaxed);
  }
}

void Conflater::clear() {
  entries_.clear();
  entry_of_.clear();
  slices_.clear();
  slices_published_ns_.clear();
  next_ = 0;
  bytes_ = 0;
  is_conflating_ = false;
}

void Conflater::seal() {
  std::vector<std::size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
    return entries_[a].event.sequence < entries_[b].event.sequence;
  });
  for (const std::size_t at : order) {
    slices_.push_back(entries_[at].event);
    slices_published_ns_.push_back(entries_[at].published_ns);
  }
}

std::span<const ephor_event> Conflater::next() {
  const std::size_t count = std::min<std::size_t>(kSliceEvents, slices_.size() - next_);
  const std::span<const ephor_event> out(slices_.data() + next_, count);
  published_in_hand_ = {slices_published_ns_.data() + next_, count};
  next_ += count;
  return out;
}

}  // namespace ephor::host
