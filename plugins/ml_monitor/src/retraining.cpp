// SPDX-License-Identifier: Apache-2.0
#include "retraining.hpp"

#include <algorithm>
#include <utility>

namespace ephor::ml_monitor {

void Retraining::keep(Request request) {
  if (requests_.size() >= settings_.requests_max) requests_.erase(requests_.begin());
  requests_.push_back(std::move(request));
}

void Retraining::advance(std::int64_t log_time_ns) {
  if (!settings_.is_enabled || log_time_ns < next_look_ns_) return;
  next_look_ns_ = time_plus(log_time_ns, 60'000'000'000);
  for (const Finding& finding : findings_.all()) {
    if (!finding.is_open() || finding.target_kind != "model") continue;
    if (finding.kind != "concept_drift" && finding.kind != "overconfidence") continue;
    if (finding.evidence.contains("attributed_to")) continue;
    if (time_since(finding.detected_ns, log_time_ns) < settings_.persistence_ns) continue;
    const bool is_known =
        std::any_of(requests_.begin(), requests_.end(), [&](const Request& request) {
          return request.model == finding.target &&
                 (request.finding_id == findings_.id_of(finding) ||
                  (request.is_ours &&
                   time_since(request.requested_ns, log_time_ns) < settings_.cooldown_ns));
        });
    if (is_known) continue;
    Request request;
    request.id = instance_ + ":retrain:" + finding.target + ":" + format_time(log_time_ns);
    request.model = finding.target;
    request.version = finding.evidence.value("model_version", Json()).is_string()
                          ? finding.evidence["model_version"].get<std::string>()
                          : "";
    request.reason = finding.kind + ": " + finding.summary;
    request.finding_id = findings_.id_of(finding);
    request.status = "requested";
    request.evidence = {
        {"open_for_s", time_since(finding.detected_ns, log_time_ns) / 1'000'000'000},
        {"persistence_s", settings_.persistence_ns / 1'000'000'000},
        {"cooldown_s", settings_.cooldown_ns / 1'000'000'000},
        {"before", finding.evidence.value("before", Json())},
        {"after", finding.evidence.value("after", Json())}};
    request.requested_ns = request.updated_ns = log_time_ns;
    news_.push_back(dump(to_json(request)));
    keep(std::move(request));
  }
}

bool Retraining::follow(std::string_view retrain_id, std::string_view model_id,
                        std::string_view version, std::string_view status, std::string_view note,
                        std::int64_t time_ns) {
  const auto found = std::find_if(requests_.begin(), requests_.end(),
                                  [&](const Request& request) { return request.id == retrain_id; });
  if (found == requests_.end()) {
    Request request;
    request.id = retrain_id;
    request.model = model_id;
    request.version = version;
    request.status = status;
    request.note = note;
    request.reason = "not requested here";
    request.requested_ns = request.updated_ns = time_ns;
    request.is_ours = false;
    keep(std::move(request));
    return status == "done";
  }
  if (time_ns < found->updated_ns) return false;  // an older word, out of order
  const bool is_news = found->status != status;
  found->status = status;
  found->note = note;
  found->updated_ns = time_ns;
  return is_news && status == "done";
}

Json Retraining::to_json(const Request& request) {
  return {{"retrain_id", request.id},
          {"model_id", request.model},
          {"model_version", text_or_null(request.version)},
          {"reason", request.reason},
          {"finding_id", text_or_null(request.finding_id)},
          {"status", request.status},
          {"requested_at", format_time(request.requested_ns)},
          {"updated_at", format_time(request.updated_ns)},
          {"note", text_or_null(request.note)},
          {"evidence", request.evidence}};
}

Json Retraining::list(std::size_t offset, std::size_t limit, std::optional<std::int64_t> from_ns,
                      std::optional<std::int64_t> to_ns) const {
  Json list = Json::array();
  std::size_t total = 0;
  for (auto request = requests_.rbegin(); request != requests_.rend(); ++request) {
    if (from_ns && request->requested_ns < *from_ns) continue;
    if (to_ns && request->requested_ns >= *to_ns) continue;
    if (total >= offset && total - offset < limit) list.push_back(to_json(*request));
    ++total;
  }
  return {{"requests_total", total},
          {"offset", offset},
          {"limit", limit},
          {"requests", std::move(list)},
          {"settings", settings_json()}};
}

Json Retraining::settings_json() const {
  return {{"auto_retraining_enabled", settings_.is_enabled},
          {"persistence_s", settings_.persistence_ns / 1'000'000'000},
          {"cooldown_s", settings_.cooldown_ns / 1'000'000'000}};
}

void Retraining::save(StateWriter& out) const {
  out.i64(next_look_ns_).varint(requests_.size());
  for (const Request& request : requests_) {
    out.text(request.id).text(request.model).text(request.version).text(request.reason);
    out.text(request.finding_id).text(request.status).text(request.note);
    out.text(dump(request.evidence)).i64(request.requested_ns).i64(request.updated_ns);
    out.boolean(request.is_ours);
  }
}

void Retraining::load(StateReader& in) {
  next_look_ns_ = in.i64();
  requests_.resize(in.count(24));
  for (Request& request : requests_) {
    for (std::string* text : {&request.id, &request.model, &request.version, &request.reason,
                              &request.finding_id, &request.status, &request.note}) {
      *text = in.text();
    }
    request.evidence = Json::parse(in.text(), nullptr, false);
    if (!request.evidence.is_object()) {
      throw Error(EPHOR_INVALID, "state: evidence that is no object");
    }
    request.requested_ns = in.i64();
    request.updated_ns = in.i64();
    request.is_ours = in.boolean();
  }
}

}  // namespace ephor::ml_monitor
