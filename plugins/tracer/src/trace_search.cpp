// SPDX-License-Identifier: Apache-2.0
#include "trace_search.hpp"

#include <algorithm>
#include <ephor/times.hpp>
#include <utility>

#include "event_members.hpp"
#include "jaeger.hpp"
#include "red_answers.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kHopsMax = 16;
// Clocks are asked for this many summaries at a time.
constexpr std::size_t kLookedAtPerClock = 1024;

bool has_value(const Json& object, std::string_view name, const std::string& wanted) {
  const auto found = object.find(name);
  if (found == object.end()) return false;
  return is_attribute_value(
      wanted, found->is_string() ? found->get<std::string>() : dump(*found),
      found->is_number() ? std::optional(found->get<double>()) : std::nullopt);
}

bool has_id(const StoryEvent& event, IdKind kind, const std::string& wanted) {
  if (kind == IdKind::correlation && text_at(event.event, "correlationid") == wanted) return true;
  const Json& data = member(event.event, "data");
  if (text_at(data, name_of(kind)) == wanted) return true;
  const Json& attributes = member(data, "attributes");
  for (const auto& [name, value] : attributes.items()) {
    if (id_kind_of(name) == kind && has_value(attributes, name, wanted)) return true;
  }
  return false;
}

// Whether one event of the trace fulfils the term, != aside.
bool fulfils(const StoryEvent& event, const SearchTerm& term) {
  if (term.field == SearchField::id) return has_id(event, term.kind, term.text);
  if (event.topic != "ephor.span") return false;
  const Json& data = member(event.event, "data");
  switch (term.field) {
    case SearchField::service:
      return service_of(event) == term.text;
    case SearchField::component:
      return text_at(data, "component") == term.text;
    case SearchField::operation:
      return text_at(data, "operation") == term.text;
    case SearchField::attribute:
      return has_value(member(data, "attributes"), term.name, term.text) ||
             has_value(member(data, "resource"), term.name, term.text);
    default:
      return false;
  }
}

std::optional<TraceId> trace_of(const StoryEvent& event) {
  return trace_id_from(trace_id_of(event));
}

}  // namespace

SearchRequest SearchRequest::of(const Json& request) {
  constexpr auto kNumberMax = std::numeric_limits<std::int64_t>::max();
  SearchRequest out;
  out.expression = SearchExpression::parse(request_text(request, "q"));
  const auto term_of = [](SearchField field, std::string text) {
    SearchTerm term;
    term.field = field;
    term.text = std::move(text);
    return term;
  };
  const auto demand = [&](std::string_view name, SearchField field,
                          IdKind kind = IdKind::correlation) {
    SearchTerm term = term_of(field, request_text(request, name));
    term.kind = kind;
    if (!term.text.empty()) out.expression.demand(std::move(term));
  };
  demand("service", SearchField::service);
  demand("component", SearchField::component);
  demand("operation", SearchField::operation);
  demand("root_operation", SearchField::root_operation);
  if (const std::string id = request_text(request, "trace_id"); !id.empty()) {
    const auto parsed = trace_id_from(id);
    if (!parsed) {
      throw Error(EPHOR_INVALID, "trace_id: found \"" + id + "\", expected 32 hex digits",
                  "/trace_id");
    }
    out.expression.demand(term_of(SearchField::trace_id, hex_of(*parsed)));
  }
  for (const IdKind kind : kIdKinds) demand(name_of(kind), SearchField::id, kind);
  if (const std::string status = request_text(request, "status"); !status.empty()) {
    if (status != "error" && status != "ok") {
      throw Error(EPHOR_INVALID, "status: found \"" + status + "\", expected error or ok",
                  "/status");
    }
    out.expression.demand(term_of(SearchField::error, status));
  }
  const auto duration = [&](std::string_view name, Comparison comparison) {
    const std::string text = request_text(request, name);
    if (text.empty()) return;
    const auto ns = duration_ns_from(text);
    if (!ns) {
      throw Error(EPHOR_INVALID,
                  std::string(name) + ": found \"" + text + "\", expected a duration such as 250ms",
                  "/" + std::string(name));
    }
    SearchTerm term = term_of(SearchField::duration, text);
    term.comparison = comparison;
    term.number = *ns;
    out.expression.demand(std::move(term));
  };
  duration("min_duration", Comparison::at_least);
  duration("max_duration", Comparison::at_most);
  if (const std::string text = request_text(request, "attribute"); !text.empty()) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      throw Error(EPHOR_INVALID, "attribute: found \"" + text + "\", expected name=value",
                  "/attribute");
    }
    SearchTerm term = term_of(SearchField::attribute, text.substr(equals + 1));
    term.name = text.substr(0, equals);
    out.expression.demand(std::move(term));
  }
  out.from_ns = time_parameter(request, "from");
  out.to_ns = time_parameter(request, "to");
  out.limit = static_cast<std::size_t>(request_integer(request, "limit", 20, 1, 1000));
  out.before =
      static_cast<std::uint64_t>(request_integer(request, "cursor", kNumberMax, 0, kNumberMax));
  out.deadline_ms = request_integer(request, "deadline_ms", 250, 1, 10'000);
  return out;
}

Json TraceSearch::answer(const SearchRequest& request) {
  request_ = &request;
  deadline_ns_ = source_.monotonic_ns() + request.deadline_ms * 1'000'000;
  if (const auto ids = ask_index(request)) {
    look_up(*ids);
    // The journal may have let go of events whose summary is still here.
    if (ids->empty()) add_remembered();
  } else {
    scan();
  }
  return {{"over",
           {{"summaries", traces_.size()},
            {"summaries_evicted", traces_.evicted_count()},
            {"looked_at", looked_at_},
            {"traces_read", read_},
            {"spans_gone", gone_},
            {"complete", is_complete_},
            {"searched_back_to", is_complete_ ? Json() : time_or_null(back_to_ns_)}}},
          {"traces", std::move(list_)},
          {"next_cursor", cursor_ ? Json(std::to_string(*cursor_)) : Json()}};
}

bool TraceSearch::is_indexed(const SearchTerm& term) const {
  if (term.comparison != Comparison::equal || term.text.empty()) return false;
  if (term.field == SearchField::trace_id) return true;
  if (term.field == SearchField::id) return term.kind != IdKind::symbol;
  if (term.field != SearchField::attribute) return false;
  const auto& names = source_.join_attributes;
  return id_kind_of(term.name).value_or(IdKind::symbol) != IdKind::symbol ||
         std::find(names.begin(), names.end(), term.name) != names.end();
}

std::optional<TraceSearch::Ids> TraceSearch::ask_index(const SearchRequest& request) {
  std::optional<Ids> common;
  for (const SearchTerm* term : request.expression.demands()) {
    if (!is_indexed(*term)) continue;
    Ids& ids = by_index_[term] = ids_by(term->text);
    if (!common) {
      common = ids;
      continue;
    }
    std::erase_if(*common, [&](const TraceId& id) { return !ids.contains(id); });
  }
  return common;
}

// Traces of the events that carry the id, and of events of the same correlation id where they name
// no trace themselves.
TraceSearch::Ids TraceSearch::ids_by(const std::string& text) const {
  Ids ids;
  std::set<std::string> hops;
  for (const StoryEvent& event : source_.events_of(text)) {
    if (const auto id = trace_of(event)) {
      ids.insert(*id);
    } else if (hops.size() < kHopsMax) {
      const std::string correlation = text_at(event.event, "correlationid");
      if (!correlation.empty() && correlation != text) hops.insert(correlation);
    }
  }
  for (const std::string& correlation : hops) {
    for (const StoryEvent& event : source_.events_of(correlation)) {
      if (const auto id = trace_of(event)) ids.insert(*id);
    }
  }
  return ids;
}

void TraceSearch::look_up(const Ids& ids) {
  struct Candidate {
    std::uint64_t number = 0;  // 0: no summary
    std::int64_t start_ns = 0;
    std::shared_ptr<const TraceChunk> chunk;
    const TraceSummary* summary = nullptr;
  };
  std::vector<Candidate> candidates;
  for (const TraceId& id : ids) {
    if (const TraceStore::Found found = traces_.find(id)) {
      if (found->number >= request_->before) continue;
      candidates.push_back({found->number + 1, found->start_ns, found.chunk, found.summary});
      continue;
    }
    // Not read yet, not sampled, or its summary made room: its spans tell.
    if (request_->before != SearchRequest::kFirstPage) continue;  // they came with the first page
    events_ = source_.events_of(hex_of(id));
    loaded_ = id;
    ++read_;
    auto made = std::make_shared<TraceChunk>(summary_of(id, events_));
    if (const TraceSummary* summary = std::as_const(*made).find(0)) {
      candidates.push_back({0, summary->start_ns, made, summary});
    }
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::pair(a.number, a.start_ns) > std::pair(b.number, b.start_ns);
  });
  for (const Candidate& candidate : candidates) {
    ++looked_at_;
    if (!is_wanted(*candidate.chunk, *candidate.summary)) continue;
    if (list_.size() >= request_->limit) return;
    add(*candidate.chunk, *candidate.summary);
    if (list_.size() == request_->limit && candidate.number != 0) cursor_ = candidate.number - 1;
  }
}

void TraceSearch::add_remembered() {
  by_index_.clear();
  std::vector<std::pair<IdKind, std::string>> ids;
  for (const SearchTerm* term : request_->expression.demands()) {
    if (term->comparison != Comparison::equal) continue;
    if (term->field == SearchField::id) ids.emplace_back(term->kind, term->text);
    if (term->field != SearchField::attribute) continue;
    if (const auto kind = id_kind_of(term->name)) ids.emplace_back(*kind, term->text);
  }
  if (ids.empty()) return;
  const auto wants = [&](const TraceChunk& chunk) {
    return std::all_of(ids.begin(), ids.end(),
                       [&](const auto& id) { return chunk.may_have_id(id.second); });
  };
  traces_.for_each_latest(
      request_->before, wants, [&](const TraceChunk& chunk, const TraceSummary& summary) {
        const bool has_all = std::all_of(ids.begin(), ids.end(), [&](const auto& id) {
          return summary.has_id(id.first, id.second);
        });
        if (!has_all) return true;
        ++looked_at_;
        if (is_wanted(chunk, summary)) add(chunk, summary);
        return list_.size() < request_->limit;
      });
}

void TraceSearch::scan() {
  traces_.for_each_latest(
      request_->before,
      [&](const TraceChunk& chunk) {
        if (is_late()) is_complete_ = false;
        return is_complete_ && request_->expression.may_match(chunk);
      },
      [&](const TraceChunk& chunk, const TraceSummary& summary) {
        if (looked_at_++ % kLookedAtPerClock == 0 && is_late()) is_complete_ = false;
        if (!is_complete_) return false;
        back_to_ns_ = summary.start_ns;
        if (!is_wanted(chunk, summary)) return is_complete_;
        add(chunk, summary);
        if (list_.size() < request_->limit) return true;
        cursor_ = summary.number;
        return false;
      });
}

bool TraceSearch::is_wanted(const TraceChunk& chunk, const TraceSummary& summary) {
  if (request_->from_ns && summary.start_ns < *request_->from_ns) return false;
  if (request_->to_ns && summary.start_ns >= *request_->to_ns) return false;
  // That an event of the trace has the id is enough for the id; an attribute has to be a span's.
  const auto by_index = [&](const SearchTerm& term) {
    const auto found = by_index_.find(&term);
    const bool is_told = found != by_index_.end() && term.field != SearchField::attribute &&
                         found->second.contains(summary.id);
    return is_told ? Truth::yes : Truth::unknown;
  };
  Truth truth = request_->expression.holds(chunk, summary, by_index);
  if (truth != Truth::unknown) return truth == Truth::yes;
  if (is_late() && loaded_ != summary.id) {
    is_complete_ = false;
    return false;
  }
  truth = request_->expression.holds(chunk, summary, [&](const SearchTerm& term) {
    const Truth told = by_index(term);
    return told != Truth::unknown ? told : tell(summary.id, term);
  });
  return truth == Truth::yes;
}

// What the spans say; unknown if they are gone.
Truth TraceSearch::tell(const TraceId& id, const SearchTerm& term) {
  if (loaded_ != id) {
    events_ = source_.events_of(hex_of(id));
    loaded_ = id;
    ++read_;
    gone_ += events_.empty() ? 1 : 0;
  }
  if (events_.empty()) return Truth::unknown;
  for (const StoryEvent& event : events_) {
    if (fulfils(event, term)) return Truth::yes;
  }
  return Truth::no;
}

void TraceSearch::add(const TraceChunk& chunk, const TraceSummary& summary) {
  if (found_.insert(summary.id).second) list_.push_back(summary_json(chunk, summary));
}

Json summary_json(const TraceChunk& chunk, const TraceSummary& summary) {
  const bool has_root = summary.root != TraceSummary::kNoOperation;
  const OperationName none;
  const OperationName& root = has_root ? chunk.operations()[summary.root] : none;
  Json out{
      {"trace_id", hex_of(summary.id)},
      {"root_service", text_or_null(root.service)},
      {"root_component", text_or_null(root.component)},
      {"root_operation", text_or_null(root.operation)},
      {"start", format_time(summary.start_ns)},
      {"duration_ms", to_milliseconds(summary.duration_ns())},
      {"span_count", summary.span_count},
      {"error_count", summary.error_count},
      {"components", components_of(chunk, summary)},
      {"services", services_of(chunk, summary)},
      {"sampling",
       {{"decision", summary.verdict == Verdict::none ? Json() : Json(name_of(summary.verdict))},
        {"reason", summary.reason == Reason::none ? Json() : Json(name_of(summary.reason))}}}};
  for (const IdKind kind : kIdKinds) {
    const std::string_view id = summary.id_of(kind);
    out[std::string(name_of(kind))] = id.empty() ? Json() : Json(id);
  }
  return out;
}

TraceChunk summary_of(const TraceId& id, const std::vector<StoryEvent>& events) {
  TraceChunk chunk;
  std::set<std::string> known;
  for (const StoryEvent& event : events) {
    if (event.topic != "ephor.span") continue;
    const Json& data = member(event.event, "data");
    if (!known.insert(text_at(data, "span_id")).second) continue;
    const std::string service = service_of(event);
    const std::string component = text_at(data, "component");
    const std::string operation = text_at(data, "operation");
    const std::string correlation = text_at(event.event, "correlationid");
    std::vector<std::pair<IdKind, std::string>> ids;
    for (const auto& [name, value] : member(data, "attributes").items()) {
      const auto kind = id_kind_of(name);
      if (kind) ids.emplace_back(*kind, value.is_string() ? value.get<std::string>() : dump(value));
    }
    SpanFacts span;
    span.trace_id = id;
    span.service = service;
    span.component = component;
    span.operation = operation;
    span.correlation_id = correlation;
    for (const auto& [kind, text] : ids) span.ids.push_back({kind, text});
    span.start_ns = integer_at(data, "start_time_unix_nano");
    span.end_ns = integer_at(data, "end_time_unix_nano");
    span.is_root = text_at(data, "parent_span_id").empty();
    span.is_error = text_at(data, "status") == "error";
    chunk.add(0, span);
  }
  return chunk;
}

}  // namespace ephor::tracer
