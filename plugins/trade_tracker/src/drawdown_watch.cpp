// SPDX-License-Identifier: Apache-2.0
#include "drawdown_watch.hpp"

#include <algorithm>
#include <cstdio>
#include <ephor/times.hpp>

namespace ephor::trade_tracker {
namespace {

constexpr std::string_view kKind = "drawdown";
constexpr std::string_view kTarget = "portfolio";

std::string amount_text(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

}  // namespace

void DrawdownWatch::update(std::int64_t time_ns, double equity, bool is_whole) {
  if (!limits_.is_set()) return;
  if (is_whole != was_whole_) has_peak_ = false;  // another figure: its peaks are not comparable
  was_whole_ = is_whole;
  if (!has_peak_ || equity > peak_) {
    if (!is_whole && !has_peak_) peak_ = std::max(0.0, equity);
    if (is_whole || has_peak_) peak_ = equity;
    has_peak_ = true;
    peak_ns_ = time_ns;
  }
  const double loss = peak_ - equity;
  const double share = is_whole && peak_ > 0.0 ? loss / peak_ : 0.0;
  const auto is_beyond = [&](double part) {
    return (limits_.share && is_whole && share >= part * *limits_.share) ||
           (limits_.amount && loss >= part * *limits_.amount);
  };
  if (!is_open_) {
    if (!is_beyond(1.0)) return;
    is_open_ = true;
    open_peak_ = peak_;
    onset_ns_ = peak_ns_;
    deepest_ = loss;
    Finding finding;
    finding.kind = kKind;
    finding.target = kTarget;
    finding.target_kind = kTarget;
    finding.severity = "critical";
    finding.summary = summary(equity, false);
    finding.evidence = evidence(equity);
    finding.onset_ns = onset_ns_;
    finding.detected_ns = time_ns;
    findings_.open(std::move(finding));
    return;
  }
  deepest_ = std::max(deepest_, open_peak_ - equity);
  if (is_beyond(0.5)) return;
  is_open_ = false;
  if (Finding* const finding = findings_.find_open(kKind, kTarget)) {
    finding->summary = summary(equity, true);
    finding->evidence = evidence(equity);
    findings_.close(kKind, kTarget, time_ns, "back within half of the limit");
  }
}

std::string DrawdownWatch::summary(double equity, bool is_closed) const {
  return "Equity fell by " + amount_text(deepest_) + " from its peak of " +
         amount_text(open_peak_) + " at " + format_time(onset_ns_) +
         (is_closed ? "; it is back at " : " to ") + amount_text(equity) + ".";
}

Json DrawdownWatch::evidence(double equity) const {
  return {{"detector", "configured limit"},
          {"peak", open_peak_},
          {"equity", equity},
          {"deepest", deepest_},
          {"deepest_share", open_peak_ > 0.0 ? Json(deepest_ / open_peak_) : Json()},
          {"limits",
           {{"max_drawdown_alert", number_or_null(limits_.share)},
            {"max_drawdown_alert_amount", number_or_null(limits_.amount)}}}};
}

void DrawdownWatch::write(StateWriter& out) const {
  out.boolean(has_peak_)
      .boolean(was_whole_)
      .f64(peak_)
      .i64(peak_ns_)
      .boolean(is_open_)
      .f64(deepest_);
  out.f64(open_peak_).i64(onset_ns_);
  findings_.save(out);
}

void DrawdownWatch::read(StateReader& in) {
  has_peak_ = in.boolean();
  was_whole_ = in.boolean();
  peak_ = in.f64();
  peak_ns_ = in.i64();
  is_open_ = in.boolean();
  deepest_ = in.f64();
  open_peak_ = in.f64();
  onset_ns_ = in.i64();
  findings_.load(in);
}

}  // namespace ephor::trade_tracker
