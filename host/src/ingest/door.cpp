// SPDX-License-Identifier: Apache-2.0
#include "ingest/door.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <unordered_set>

#include "ingest/bare_records.hpp"
#include "ingest/influx_lines.hpp"
#include "ingest/json_text.hpp"
#include "ingest/made_events.hpp"
#include "ingest/otlp_logs.hpp"
#include "ingest/otlp_metrics.hpp"

namespace ephor::host {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t kDraftBufferBytesMin = 16 * 1024;
constexpr std::size_t kDraftBufferBytesMax = 1U << 20;
constexpr std::size_t kIdleWorkersMax = 16;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(skip_blanks(text, 0));
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\n' ||
                           text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return text;
}

// Object, array or lines, by what the body looks like. One object that ends the body is single,
// whether or not it holds newlines.
std::uint32_t format_of(std::string_view body) {
  const std::size_t start = skip_blanks(body, 0);
  if (start == body.size()) return EPHOR_FORMAT_LINES;
  if (body[start] == '[') {
    // A line that is an array, with more lines behind it, is one bad line.
    const auto end = end_of_value(body, start);
    const bool is_whole = !end || skip_blanks(body, *end) == body.size() ||
                          body.substr(*end).find_first_of("\n") == std::string_view::npos;
    return is_whole ? EPHOR_FORMAT_BATCH : EPHOR_FORMAT_LINES;
  }
  if (body[start] != '{') return EPHOR_FORMAT_LINES;
  const auto end = end_of_value(body, start);
  return end && skip_blanks(body, *end) == body.size() ? EPHOR_FORMAT_SINGLE : EPHOR_FORMAT_LINES;
}

}  // namespace

// One body's way through the door. Reused, so that parsers keep their memory.
class Door::Worker final : public DoorSink, private MadeEventSink {
 public:
  Worker(const IngestConfig& config, const EventRules& rules, Names& names, OtlpSources& sources)
      : config_(config),
        names_(names),
        host_topics_{names.topics.id("ephor.tick"), names.topics.id("ephor.flush"),
                     names.topics.id("ephor.plugin")},
        records_(config, rules, names),
        drafts_(config, rules, names),
        traces_(config, names, sources) {}

  Arrival admit(Buffer body, const Admission& admission) {
    admission_ = admission;
    arrival_ = {};
    checked_source_ = UINT32_MAX;
    is_body_gone_ = false;
    body_ = std::move(body);
    text_ = body_.view();
    at_ = text_.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
    start_batch();
    std::uint32_t format = admission.format;
    if (format == EPHOR_FORMAT_AUTO) format = format_of(text_.substr(at_));
    if (admit_signals(format)) {
      // Metrics and logs of other protocols: events were made of them.
    } else if (format == EPHOR_FORMAT_SINGLE) {
      admit_single();
    } else if (format == EPHOR_FORMAT_BATCH) {
      admit_array();
    } else if (format == EPHOR_FORMAT_OTLP_TRACES) {
      traces_.admit(text_, admission.arrived_ns, *this);
    } else if (format == EPHOR_FORMAT_OTLP_TRACES_JSON) {
      traces_.admit_json(text_.substr(at_), admission.arrived_ns, *this);
    } else if (format == kFormatStoredSpans) {
      traces_.admit_stored(text_, admission.arrived_ns, *this);
    } else {
      admit_lines();
    }
    seal_batch();
    body_ = Buffer();
    return std::move(arrival_);
  }

 private:
  // Of a format whose reader walks the body itself: a batch that is full goes on in a new one, to
  // which the bytes are copied, since the body went with the first.
  void take(const ephor_event& event, bool is_in_body, const Hash128& id,
            std::span<const JoinId> joins, std::uint32_t line) override {
    if (batch_->events.size() >= kArrivedEventsMax) {
      is_body_gone_ = is_body_gone_ || is_body_used_;
      seal_batch();
      start_batch();
    }
    ephor_event& taken = batch_->events.emplace_back(event);
    if (is_in_body && !is_body_gone_) {
      is_body_used_ = true;
    } else {
      taken.record = keep({event.record, event.record_length}).data();
    }
    batch_->ids.push_back(id);
    for (const JoinId& join : joins) joins_.add(join.kind, join.hash);
    groups_.push_back({line, static_cast<std::uint32_t>(batch_->events.size() - 1), 1});
    note_source(event.source);
  }

  void note_source(std::uint32_t number) {
    if (number == noted_source_) return;
    noted_source_ = number;
    if (noted_sources_.insert(number).second) {
      batch_->sources.push_back({number, names_.sources.name(number)});
    }
  }

  enum class Outcome { taken, refused, broken, full };  // broken: not even JSON

  void admit_single() {
    const std::string_view record = trimmed(text_.substr(at_));
    if (record.empty()) {
      reject(1, {"", "found nothing, expected one JSON object"});
      return;
    }
    take(record, 1);
  }

  void admit_lines() {
    std::uint32_t line = admission_.first_line;
    while (at_ < text_.size()) {
      const std::size_t start = at_;
      const void* newline = std::memchr(text_.data() + at_, '\n', text_.size() - at_);
      const std::size_t end =
          newline == nullptr
              ? text_.size()
              : static_cast<std::size_t>(static_cast<const char*>(newline) - text_.data());
      const std::string_view record = trimmed(text_.substr(start, end - start));
      at_ = end + 1;
      if (!record.empty() && take(record, line) == Outcome::full) {
        go_on_from(start);
        continue;
      }
      ++line;
    }
  }

  // Element by element: what stands before a broken one is kept, what follows cannot be told apart.
  void admit_array() {
    at_ = skip_blanks(text_, at_);
    if (at_ >= text_.size() || text_[at_] != '[') {
      reject(1, {"", "found no array, expected '['"});
      return;
    }
    at_ = skip_blanks(text_, at_ + 1);
    if (at_ < text_.size() && text_[at_] == ']') {
      ++at_;
      return expect_end(1);
    }
    for (std::uint32_t element = 1;; ++element) {
      at_ = skip_blanks(text_, at_);
      const std::size_t start = at_;
      const auto end = end_of_value(text_, start);
      if (!end || *end == start) {
        reject(element,
               {"", !end || start >= text_.size()
                        ? "found the end of the body, expected a whole element"
                        : "found " + shown(text_.substr(start, 1)) + ", expected an element"});
        return;
      }
      Outcome outcome = take(text_.substr(start, *end - start), element);
      std::size_t behind = *end;
      if (outcome == Outcome::full) {
        behind -= start;
        go_on_from(start);
        outcome = take(text_.substr(0, behind), element);
      }
      if (outcome == Outcome::broken) return;
      at_ = skip_blanks(text_, behind);
      const char next = at_ < text_.size() ? text_[at_] : '\0';
      ++at_;
      if (next == ']') return expect_end(element + 1);
      if (next != ',') {
        reject(element + 1,
               {"", "found " +
                        (next == '\0' ? "the end of the body" : shown(std::string_view(&next, 1))) +
                        ", expected ',' or ']'"});
        return;
      }
    }
  }

  void expect_end(std::uint32_t element) {
    const std::size_t start = skip_blanks(text_, at_);
    if (start >= text_.size()) return;
    reject(element,
           {"", "found " + shown(text_.substr(start, 20)) + ", expected nothing behind the array"});
  }

  // Either all events of the record are taken or none.
  Outcome take(std::string_view record, std::uint32_t line) {
    Fault fault;
    dom::element root;
    if (!records_.parse(record, root, fault)) {
      reject(line, std::move(fault));
      return Outcome::broken;
    }
    if (!root.is_object()) {
      reject(line, {"", "found " + shown(root) + ", expected an object"});
      return Outcome::refused;
    }
    if (root["specversion"].error() == simdjson::SUCCESS) return take_event(record, root, line);
    return take_bare(record, root, line);
  }

  Outcome take_event(std::string_view record, dom::element root, std::uint32_t line) {
    if (batch_->events.size() >= kArrivedEventsMax) return Outcome::full;
    ephor_event event;
    Hash128 id;
    Fault fault;
    const std::size_t joins_before = joins_.size();
    if (!records_.describe(record, root, admission_.arrived_ns, joins_, event, id, fault) ||
        is_forged(event, fault)) {
      joins_.roll_back(joins_before);
      reject(line, std::move(fault));
      return Outcome::refused;
    }
    groups_.push_back({line, static_cast<std::uint32_t>(batch_->events.size()), 1});
    batch_->events.push_back(event);
    batch_->ids.push_back(id);
    is_body_used_ = true;
    return Outcome::taken;
  }

  Outcome take_bare(std::string_view record, dom::element root, std::uint32_t line) {
    std::string_view type;
    dom::element type_element;
    if (root["type"].get(type_element) != simdjson::SUCCESS) {
      reject(line, {"",
                    "found neither \"specversion\" nor \"type\", expected a CloudEvents 1.0 "
                    "object or a bare record"});
      return Outcome::refused;
    }
    const BareRecord* mapping = nullptr;
    if (type_element.get(type) == simdjson::SUCCESS) mapping = config_.bare->find(type);
    if (mapping == nullptr) {
      const bool is_event =
          type.starts_with("ephor.") ||
          (root["id"].error() == simdjson::SUCCESS && root["source"].error() == simdjson::SUCCESS);
      if (is_event) {
        reject(line, {"/specversion", "found nothing, expected \"1.0\""});
      } else {
        reject(line, {"/type", "found " + shown(type_element) +
                                   ", expected a CloudEvents object (with specversion) or one of " +
                                   config_.bare->type_names()});
      }
      return Outcome::refused;
    }
    const BareContext context{admission_.default_source, config_.assumed_offset_ns, record};
    BareConversion conversion(*mapping, type, root, context);
    made_.clear();
    Fault fault;
    if (!conversion.convert(made_, fault)) {
      reject(line, std::move(fault));
      return Outcome::refused;
    }
    if (made_.size() > kArrivedEventsMax) {
      reject(line, {"", "found " + std::to_string(made_.size()) +
                            " events in one record, expected at most " +
                            std::to_string(kArrivedEventsMax)});
      return Outcome::refused;
    }
    if (batch_->events.size() + made_.size() > kArrivedEventsMax) return Outcome::full;
    return add_drafts(conversion, line);
  }

  Outcome add_drafts(const BareConversion& conversion, std::uint32_t line) {
    const std::size_t events_before = batch_->events.size();
    const std::size_t joins_before = joins_.size();
    for (const BareDraft& draft : made_) {
      const std::string_view text = keep(draft.text);
      dom::element root;
      ephor_event event;
      Hash128 id;
      Fault fault;
      if (drafts_.parse(text, root, fault) &&
          drafts_.describe(text, root, admission_.arrived_ns, joins_, event, id, fault) &&
          !is_forged(event, fault)) {
        batch_->events.push_back(event);
        batch_->ids.push_back(id);
        continue;
      }
      batch_->events.resize(events_before);
      batch_->ids.resize(events_before);
      joins_.roll_back(joins_before);
      reject(line, conversion.trace_back(draft, std::move(fault)));
      return Outcome::refused;
    }
    groups_.push_back({line, static_cast<std::uint32_t>(events_before),
                       static_cast<std::uint32_t>(made_.size())});
    return Outcome::taken;
  }

  // False: the body is of another format.
  bool admit_signals(std::uint32_t format) {
    const MadeContext context{
        admission_.default_source.empty() ? "unknown" : admission_.default_source,
        admission_.arrived_ns, config_.future_skew_ns, config_.record_bytes_max};
    const std::string_view body = text_.substr(at_);
    switch (format) {
      case EPHOR_FORMAT_OTLP_METRICS:
        read_otlp_metrics(text_, context, *this);
        return true;
      case EPHOR_FORMAT_OTLP_LOGS:
        read_otlp_logs(text_, context, *this);
        return true;
      case EPHOR_FORMAT_OTLP_METRICS_JSON:
        read_otlp_metrics_json(body, config_.depth_max, context, *this);
        return true;
      case EPHOR_FORMAT_OTLP_LOGS_JSON:
        read_otlp_logs_json(body, config_.depth_max, context, *this);
        return true;
      case EPHOR_FORMAT_INFLUX_NS:
        read_influx_lines(body, 1, context, *this);
        return true;
      case EPHOR_FORMAT_INFLUX_US:
        read_influx_lines(body, 1'000, context, *this);
        return true;
      case EPHOR_FORMAT_INFLUX_MS:
        read_influx_lines(body, 1'000'000, context, *this);
        return true;
      case EPHOR_FORMAT_INFLUX_S:
        read_influx_lines(body, 1'000'000'000, context, *this);
        return true;
      default:
        return false;
    }
  }

  void take(const MadeEvent& made) override {
    if (batch_->events.size() >= kArrivedEventsMax) {
      seal_batch();
      start_batch();
    }
    const std::string_view text = keep(made.record);
    const std::size_t joins_before = joins_.size();
    dom::element root;
    ephor_event event;
    Hash128 id;
    Fault fault;
    if (!drafts_.parse(text, root, fault) ||
        !drafts_.describe(text, root, admission_.arrived_ns, joins_, event, id, fault) ||
        is_forged(event, fault)) {
      joins_.roll_back(joins_before);
      fault.json_pointer = made.pointer;  // not into the event, which the sender has never seen
      for (std::uint32_t i = 0; i < made.record_count; ++i) reject(made.first_line, fault);
      return;
    }
    event.flags |= made.flags;
    groups_.push_back(
        {made.first_line, static_cast<std::uint32_t>(batch_->events.size()), 1, made.record_count});
    batch_->events.push_back(event);
    batch_->ids.push_back(id);
  }

  // What the host makes and what its plugins say cannot be said by a client.
  bool is_forged(const ephor_event& event, Fault& fault) {
    if (std::find(host_topics_.begin(), host_topics_.end(), event.topic) != host_topics_.end()) {
      fault = {"/type",
               "found " + std::string(names_.topics.name(static_cast<std::uint16_t>(event.topic))) +
                   ", which the host makes itself"};
      return true;
    }
    if (event.source != checked_source_) {
      checked_source_ = event.source;
      const std::string_view source = names_.sources.name(event.source);
      const bool is_own = source == "ephor" || source.starts_with("ephor/");
      is_source_free_ =
          !is_own || source == admission_.own_source || admission_.own_source == kAnyOwnSource;
    }
    if (is_source_free_) return false;
    fault = {"/source", "found " + shown(names_.sources.name(event.source)) +
                            ", expected one that is not below \"ephor\": those are the host's own"};
    return true;
  }

  // Copies a draft to where its event can point to: buffers never move their bytes.
  std::string_view keep(std::string_view text) {
    if (kept_.capacity() - kept_.size() < text.size()) {
      const std::size_t wanted =
          std::clamp(kept_.capacity() * 2, kDraftBufferBytesMin, kDraftBufferBytesMax);
      if (kept_.size() > 0) batch_->buffers.push_back(std::move(kept_));
      kept_ = Buffer(std::max(wanted, text.size()));
    }
    char* place = kept_.data() + kept_.size();
    std::memcpy(place, text.data(), text.size());
    kept_.set_size(kept_.size() + text.size());
    return {place, text.size()};
  }

  void reject(std::uint32_t line, Fault fault) override {
    ++arrival_.rejected_count;
    if (arrival_.rejections.size() >= kRejectionsMax) return;
    if (fault.json_pointer.size() > kJsonPointerBytesMax) fault.json_pointer.clear();
    arrival_.rejections.push_back({line, std::move(fault.json_pointer), std::move(fault.reason)});
  }

  void start_batch() {
    batch_ = std::make_unique<Batch>();
    batch_->arrived_ns = admission_.arrived_ns;
    constexpr std::size_t kTypicalRecordBytes = 400;
    const std::size_t expected =
        std::min<std::size_t>(text_.size() / kTypicalRecordBytes + 1, kArrivedEventsMax);
    batch_->events.reserve(expected);
    batch_->ids.reserve(expected);
    groups_.clear();
    is_body_used_ = false;
    noted_source_ = UINT32_MAX;
    noted_sources_.clear();
  }

  void seal_batch() {
    arrival_.record_count = arrival_.rejected_count;
    if (!batch_->events.empty()) {
      if (is_body_used_) batch_->buffers.push_back(std::move(body_));
      if (kept_.size() > 0) batch_->buffers.push_back(std::move(kept_));
      batch_->join_keys = joins_.take_sorted();
      arrival_.event_count += static_cast<std::uint32_t>(batch_->events.size());
      arrival_.batches.push_back({std::move(batch_), std::move(groups_)});
    }
    kept_ = Buffer();
    joins_.roll_back(0);
    groups_.clear();
    for (const ArrivedBatch& arrived : arrival_.batches) {
      for (const RecordGroup& group : arrived.records) arrival_.record_count += group.record_count;
    }
  }

  // The batch is full: its buffers go with it, the rest of the body moves to a new one.
  void go_on_from(std::size_t start) {
    const std::string_view rest = text_.substr(start);
    Buffer next(rest.size());
    std::memcpy(next.data(), rest.data(), rest.size());
    next.set_size(rest.size());
    seal_batch();
    body_ = std::move(next);
    text_ = body_.view();
    at_ = 0;
    start_batch();
  }

  const IngestConfig& config_;
  Names& names_;
  const std::array<std::uint32_t, 3> host_topics_;
  std::uint32_t checked_source_ = UINT32_MAX;  // the last source looked at
  bool is_source_free_ = true;
  Describer records_;
  Describer drafts_;  // a parser of its own: drafts are read while their record's tree is in use
  Admission admission_;
  Arrival arrival_;
  Buffer body_;
  std::string_view text_;
  std::size_t at_ = 0;
  BatchPointer batch_;
  std::vector<RecordGroup> groups_;
  JoinKeys joins_;
  Buffer kept_;
  std::vector<BareDraft> made_;
  bool is_body_used_ = false;
  bool is_body_gone_ = false;  // to an earlier batch of the arrival
  OtlpTraces traces_;
  std::uint32_t noted_source_ = UINT32_MAX;
  std::unordered_set<std::uint32_t> noted_sources_;  // of batch_->sources
};

// A worker for the length of one call.
class Door::Lease {
 public:
  explicit Lease(Door& door) : door_(door) {
    {
      std::lock_guard lock(door.mutex_);
      if (!door.idle_.empty()) {
        worker_ = std::move(door.idle_.back());
        door.idle_.pop_back();
      }
    }
    if (!worker_) {
      worker_ =
          std::make_unique<Worker>(door.config_, door.rules_, door.names_, door.otlp_sources_);
    }
  }
  // Only a worker that did its work goes back; one that threw (no memory) is thrown away.
  void give_back() {
    std::lock_guard lock(door_.mutex_);
    if (door_.idle_.size() < kIdleWorkersMax) door_.idle_.push_back(std::move(worker_));
  }
  Worker& operator*() { return *worker_; }

 private:
  Door& door_;
  std::unique_ptr<Worker> worker_;
};

Door::Door(IngestConfig config, Names& names)
    : config_(std::move(config)),
      rules_(config_.join_attributes),
      names_(names),
      otlp_sources_(config_, names) {}

Door::~Door() = default;

Arrival Door::admit(Buffer body, const Admission& admission) {
  Lease worker(*this);
  Arrival arrival = (*worker).admit(std::move(body), admission);
  worker.give_back();
  return arrival;
}

std::unique_ptr<Describer> Door::make_describer() {
  return std::make_unique<Describer>(config_, rules_, names_);
}

}  // namespace ephor::host
