// SPDX-License-Identifier: Apache-2.0
#include "requests.hpp"

#include <charconv>
#include <ephor/times.hpp>

#include "vocabulary.hpp"
#include "votes.hpp"

namespace ephor::trade_tracker {
namespace {

std::optional<double> sort_value(const TradeRecord& trade, const std::string& name) {
  const auto time = [](const std::optional<std::int64_t>& ns) {
    return ns ? std::optional(static_cast<double>(*ns)) : std::nullopt;
  };
  if (name == "open_time") return time(trade.open_ns);
  if (name == "close_time") return time(trade.close_ns);
  if (name == "pnl") return realised_pnl(trade);
  if (name == "holding") {
    if (!trade.open_ns || !trade.close_ns) return std::nullopt;
    return static_cast<double>(*trade.close_ns - *trade.open_ns);
  }
  return static_cast<double>(trade.sequence);
}

}  // namespace

std::optional<std::int64_t> request_time(const Json& request, std::string_view name) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return std::nullopt;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  if (found->is_string()) {
    const auto& text = found->get_ref<const std::string&>();
    if (text.empty()) return std::nullopt;
    std::int64_t ns = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ns);
    if (error == std::errc() && end == text.data() + text.size()) return ns;
    if (const auto time = parse_time(text)) return time;
  }
  throw Error(EPHOR_INVALID,
              std::string(name) + ": found " + found->dump() +
                  ", expected an RFC 3339 time or nanoseconds since the epoch",
              "/" + std::string(name));
}

Period request_period(const Json& request) {
  const Period period{request_time(request, "from"), request_time(request, "to")};
  if (period.from_ns && period.to_ns && *period.to_ns < *period.from_ns) {
    throw Error(EPHOR_INVALID, "to: found a time before from, expected one at or after it", "/to");
  }
  return period;
}

TradeFilter::TradeFilter(const Json& request)
    : status(normalise_status(request_text(request, "status"))),
      symbol(request_text(request, "symbol")),
      side(normalise_side(request_text(request, "side"))),
      regime(request_text(request, "regime")),
      model(request_text(request, "model")),
      result(request_text(request, "result")),
      decision_id(request_text(request, "decision_id")),
      correlation_id(request_text(request, "correlation_id")),
      period(request_period(request)),
      before(static_cast<std::uint64_t>(request_integer(request, "cursor", 0, 0, INT64_MAX))) {
  if (!result.empty() && result != "won" && result != "lost" && result != "even" &&
      result != "none") {
    throw Error(EPHOR_INVALID, "result: found \"" + result + "\", expected won, lost, even or none",
                "/result");
  }
}

bool TradeFilter::accepts(const TradeRecord& trade) const {
  if (!status.empty() && trade.status != status) return false;
  if (!symbol.empty() && trade.symbol != symbol) return false;
  if (before != 0 && trade.sequence >= before) return false;
  if (!side.empty() && trade.side != side) return false;
  if (!regime.empty() && trade.known_regime() != regime) return false;
  if (!decision_id.empty() && trade.decision_id != decision_id) return false;
  if (!correlation_id.empty() && trade.correlation_id != correlation_id) return false;
  if (!model.empty()) {
    const int side_sign = trade.is_long() ? 1 : trade.is_short() ? -1 : 0;
    if (side_sign == 0 || vote_of(trade.model_votes, model) != side_sign) return false;
  }
  if (!result.empty()) {
    const auto pnl = realised_pnl(trade);
    const std::string_view found = !pnl         ? "none"
                                   : *pnl > 0.0 ? "won"
                                   : *pnl < 0.0 ? "lost"
                                                : "even";
    if (found != result) return false;
  }
  if (period.from_ns || period.to_ns) {
    const auto& time_ns = trade.close_ns ? trade.close_ns : trade.open_ns;
    if (!time_ns || (period.from_ns && *time_ns < *period.from_ns) ||
        (period.to_ns && *time_ns >= *period.to_ns)) {
      return false;
    }
  }
  return true;
}

bool TradeFilter::is_plain() const {
  return side.empty() && regime.empty() && model.empty() && result.empty() && decision_id.empty() &&
         correlation_id.empty() && !period.from_ns && !period.to_ns;
}

TradeOrder::TradeOrder(const Json& request) : name(request_text(request, "sort", "-time")) {
  is_descending = name.starts_with('-');
  if (is_descending) name.erase(0, 1);
  if (name != "time" && name != "open_time" && name != "close_time" && name != "pnl" &&
      name != "holding") {
    throw Error(EPHOR_INVALID,
                "sort: found \"" + name +
                    "\", expected time, open_time, close_time, pnl or holding, or one of them "
                    "behind a '-'",
                "/sort");
  }
}

bool TradeOrder::operator()(const TradeRecord& a, const TradeRecord& b) const {
  const auto left = sort_value(a, name);
  const auto right = sort_value(b, name);
  if (left.has_value() != right.has_value()) return left.has_value();
  if (left && *left != *right) return is_descending ? *left > *right : *left < *right;
  return is_descending ? a.sequence > b.sequence : a.sequence < b.sequence;
}

}  // namespace ephor::trade_tracker
