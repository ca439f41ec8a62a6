// SPDX-License-Identifier: Apache-2.0
#include "story_gaps.hpp"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <ephor/times.hpp>
#include <set>
#include <utility>

#include "event_members.hpp"

namespace ephor::tracer {
namespace {

bool is_trade_end(const std::string& status) {
  return status == "closed" || status == "cancelled" || status == "failed";
}

// Labels in any case and spelling ("HOLD", "Hold"), or a score of zero.
bool is_inaction(std::string decision) {
  std::transform(decision.begin(), decision.end(), decision.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return decision.empty() || decision == "hold" || decision == "0" || decision == "0.0" ||
         decision == "none" || decision == "neutral";
}

class Gaps {
 public:
  void add(std::string_view kind, const std::string& id, std::string sentence) {
    if (list_.size() >= kGapsMax) return;
    list_.push_back({{"kind", kind}, {"id", id}, {"what", std::move(sentence)}});
  }
  Json take() { return std::move(list_); }

 private:
  Json list_ = Json::array();
};

struct Facts {
  std::map<std::string, std::string> decisions;         // id -> what was decided
  std::map<std::string, std::string> orders;            // id -> status
  std::set<std::string> filled;                         // order ids of fills
  std::set<std::string> acted;                          // decision ids of orders, fills and trades
  std::map<std::string, std::pair<bool, bool>> trades;  // id -> has open, has close
  std::set<std::string> predictions;
  std::set<std::string> outcomes;
  std::map<std::string, std::set<std::string>> span_ids;  // by trace
  std::size_t actions = 0;
};

void read(const StoryEvent& event, Facts& facts) {
  const Json& data = data_of(event);
  const auto& topic = event.topic;
  const std::string status = text_at(data, "status");
  if (topic == "ephor.span") {
    facts.span_ids[trace_id_of(event)].insert(text_at(data, "span_id"));
  } else if (topic == "ephor.ensemble_decision") {
    std::string decided = text_at(data, "final_decision");
    if (decided.empty()) decided = text_at(data, "primary_prediction");
    facts.decisions[text_at(data, "decision_id")] = decided;
  } else if (topic == "ephor.decision_path") {
    facts.decisions.emplace(text_at(data, "decision_id"), text_at(data, "final_decision"));
  } else if (topic == "ephor.order") {
    facts.orders[text_at(data, "order_id")] = status;
  } else if (topic == "ephor.fill") {
    facts.filled.insert(text_at(data, "order_id"));
  } else if (topic == "ephor.trade") {
    auto& [has_open, has_close] = facts.trades[text_at(data, "trade_id")];
    (is_trade_end(status) ? has_close : has_open) = true;
  } else if (topic == "ephor.prediction") {
    facts.predictions.insert(text_at(data, "prediction_id"));
  } else if (topic == "ephor.outcome") {
    facts.outcomes.insert(text_at(data, "prediction_id"));
  }
  if (topic == "ephor.order" || topic == "ephor.fill" || topic == "ephor.trade") {
    ++facts.actions;
    facts.acted.insert(text_at(data, "decision_id"));
  }
}

void add_span_gaps(const std::vector<StoryEvent>& events, const Facts& facts,
                   const std::map<std::string, std::size_t>& spans_known, Gaps& gaps) {
  for (const StoryEvent& event : events) {
    if (event.topic != "ephor.span") continue;
    const Json& data = data_of(event);
    const std::string parent = text_at(data, "parent_span_id");
    const auto& known = facts.span_ids.at(trace_id_of(event));
    if (parent.empty() || known.contains(parent)) continue;
    const std::string id = text_at(data, "span_id");
    gaps.add("missing_parent", id,
             "span " + id + " names the parent " + parent + ", which is not in its trace");
  }
  for (const auto& [trace, count] : spans_known) {
    const auto found = facts.span_ids.find(trace);
    const std::size_t here = found == facts.span_ids.end() ? 0 : found->second.size();
    if (here >= count) continue;
    gaps.add("spans_gone", trace,
             std::to_string(count - here) + " of " + std::to_string(count) +
                 " spans are beyond the journal's retention");
  }
}

void add_trading_gaps(const Facts& facts, Gaps& gaps) {
  for (const auto& [id, decided] : facts.decisions) {
    // An order that names no decision may be this one's, as far as anybody can tell.
    const bool has_acted =
        facts.acted.contains(id) || (facts.actions > 0 && facts.acted.contains(""));
    if (is_inaction(decided) || has_acted) continue;
    gaps.add("decision_without_trade", id,
             "decided " + decided + ", and neither order, fill nor trade followed");
  }
  for (const auto& [id, status] : facts.orders) {
    const bool has_ended = status == "cancelled" || status == "rejected" || status == "expired";
    if (facts.filled.contains(id) || has_ended) continue;
    gaps.add("order_without_fill", id, "its last status is " + status + ", and no fill is known");
  }
  for (const std::string& id : facts.filled) {
    if (!id.empty() && !facts.orders.contains(id)) {
      gaps.add("fill_without_order", id, "filled, and no order of this id is known");
    }
  }
  for (const auto& [id, parts] : facts.trades) {
    const auto& [has_open, has_close] = parts;
    if (!has_close) gaps.add("trade_without_close", id, "open, and no end of it is known");
    if (!has_open) gaps.add("trade_without_open", id, "ended, and no beginning of it is known");
  }
  for (const std::string& id : facts.predictions) {
    if (!facts.outcomes.contains(id)) {
      gaps.add("prediction_without_outcome", id, "predicted, and what came true is not known");
    }
  }
}

}  // namespace

Json gaps_of(const std::vector<StoryEvent>& events,
             const std::map<std::string, std::size_t>& spans_known) {
  Facts facts;
  for (const StoryEvent& event : events) read(event, facts);
  Gaps gaps;
  add_span_gaps(events, facts, spans_known, gaps);
  add_trading_gaps(facts, gaps);
  return gaps.take();
}

Json pnl_of(const std::vector<StoryEvent>& events) {
  std::map<std::string, double> by_trade;  // the last word on each
  for (const StoryEvent& event : events) {
    const Json& data = data_of(event);
    const auto pnl = data.find("pnl");
    if (event.topic != "ephor.trade" || !is_trade_end(text_at(data, "status"))) continue;
    if (pnl != data.end() && pnl->is_number()) by_trade[text_at(data, "trade_id")] = *pnl;
  }
  if (by_trade.empty()) return nullptr;
  double total = 0.0;
  for (const auto& [trade, pnl] : by_trade) total += pnl;
  return {{"pnl", total}, {"closed_trades", by_trade.size()}};
}

Json traces_of(const std::vector<StoryEvent>& events) {
  struct Trace {
    std::int64_t start_ns = INT64_MAX;
    std::int64_t end_ns = INT64_MIN;
    std::size_t spans = 0;
    std::size_t errors = 0;
    std::set<std::string> components;
    std::string root;
  };
  std::map<std::string, Trace> traces;
  for (const StoryEvent& event : events) {
    if (event.topic != "ephor.span") continue;
    const Json& data = data_of(event);
    Trace& trace = traces[trace_id_of(event)];
    trace.start_ns = std::min(trace.start_ns, integer_at(data, "start_time_unix_nano"));
    trace.end_ns = std::max(trace.end_ns, integer_at(data, "end_time_unix_nano"));
    ++trace.spans;
    trace.errors += text_at(data, "status") == "error" ? 1 : 0;
    trace.components.insert(text_at(data, "component"));
    if (text_at(data, "parent_span_id").empty()) trace.root = text_at(data, "operation");
  }
  Json list = Json::array();
  for (const auto& [id, trace] : traces) {
    list.push_back({{"trace_id", id},
                    {"root_operation", text_or_null(trace.root)},
                    {"start", format_time(trace.start_ns)},
                    {"duration_ms", to_milliseconds(trace.end_ns - trace.start_ns)},
                    {"span_count", trace.spans},
                    {"error_count", trace.errors},
                    {"components", trace.components}});
  }
  std::stable_sort(list.begin(), list.end(),
                   [](const Json& a, const Json& b) { return a["start"] < b["start"]; });
  return list;
}

}  // namespace ephor::tracer
