// SPDX-License-Identifier: Apache-2.0
#include "trade_story.hpp"

#include <cmath>
#include <ephor/times.hpp>

#include "votes.hpp"

namespace ephor::trade_tracker {
namespace {

std::optional<double> number_of(const Json& data, const char* name) {
  const auto found = data.find(name);
  if (found == data.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  return std::abs(value) <= kAmountMax ? std::optional(value) : std::nullopt;
}

}  // namespace

Json models_json(const TradeRecord& trade, const DecisionRecord& decision) {
  Json out = Json::array();
  const Json members = json_or_null(decision.members_json);
  if (!members.is_array()) return out;
  const int side = trade.is_long() ? 1 : trade.is_short() ? -1 : 0;
  int move = 0;
  if (trade.price && trade.close_price) {
    move = *trade.close_price > *trade.price ? 1 : *trade.close_price < *trade.price ? -1 : 0;
  }
  for (const Json& member : members) {
    if (!member.is_array() || member.size() < 4 || !member[0].is_string()) continue;
    LabelOrNumber prediction;
    if (member[1].is_number()) prediction.number = member[1].get<double>();
    if (member[1].is_string()) prediction.label = member[1].get_ref<const std::string&>();
    const int direction = direction_of(prediction);
    out.push_back({{"model_id", member[0]},
                   {"prediction", member[1]},
                   {"confidence", member[2]},
                   {"weight", member[3]},
                   {"direction", direction > 0   ? Json("buy")
                                 : direction < 0 ? Json("sell")
                                                 : Json()},
                   {"agreed", direction == 0 || side == 0 ? Json() : Json(direction == side)},
                   {"right", direction == 0 || move == 0 ? Json() : Json(direction == move)}});
  }
  return out;
}

void ExecutionStory::add(bool is_fill, std::uint64_t sequence, std::int64_t time_ns,
                         const Json& record) {
  const auto found = record.find("data");
  if (found == record.end() || !found->is_object()) return;
  const Json& data = *found;
  events_.push_back({{"kind", is_fill ? "fill" : "order"},
                     {"sequence", sequence},
                     {"time", format_time(time_ns)},
                     {"data", data}});
  for (const char* name : {"execution_time_ms", "slippage", "max_adverse_excursion",
                           "max_favorable_excursion", "status", "order_type", "liquidity"}) {
    if (const auto value = data.find(name); value != data.end() && !value->is_null()) {
      last_[name] = *value;
    }
  }
  if (!is_fill) return;
  ++fills_;
  const auto price = number_of(data, "price");
  const auto quantity = number_of(data, "quantity");
  if (price && quantity) {
    quantity_.add(*quantity);
    notional_.add(*price * *quantity);
  }
  if (const auto fee = number_of(data, "fee")) {
    fees_.add(*fee);
    has_fees_ = true;
  }
}

Json ExecutionStory::json() const {
  if (events_.empty()) return nullptr;
  const double quantity = quantity_.value();
  Json out = last_;
  out["events"] = events_;
  out["fills"] = fills_;
  out["quantity"] = fills_ == 0 ? Json() : Json(quantity);
  out["average_price"] = quantity > 0.0 ? number_or_null(notional_.value() / quantity) : Json();
  out["fees"] = has_fees_ ? Json(fees_.value()) : Json();
  return out;
}

}  // namespace ephor::trade_tracker
