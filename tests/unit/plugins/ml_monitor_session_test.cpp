// SPDX-License-Identifier: Apache-2.0
//
// The recorded session and the first client's records, against a plain recomputation from the same
// lines (nlohmann, std::map, the textbook formulas).
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <ephor/events.hpp>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "monitor.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::ml_monitor;
using ephor::Json;

namespace {

struct Item {
  bool is_outcome = false;
  std::string prediction_id;
  std::string label;  // predicted or actual
  std::string model_id;
  std::string version;
  double confidence = 0.0;
  std::map<std::string, double> probability;
};

struct Session {
  std::string text;                  // the records, with slack behind
  std::vector<ephor::Event> events;  // predictions and outcomes, each (source, id) once
  std::vector<Item> items;           // the same, read by nlohmann
};

std::string inflate(const std::string& path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  std::vector<char> chunk(1 << 20);
  for (int size = 0;
       (size = gzread(file, chunk.data(), static_cast<unsigned>(chunk.size()))) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(size));
  }
  gzclose(file);
  return text;
}

std::int64_t nanoseconds_of(const std::string& time) {  // 2017-11-07T06:29:00.088320685Z
  std::tm parts{};
  REQUIRE(strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) != nullptr);
  std::string fraction = time.size() > 20 ? time.substr(20, time.size() - 21) : "";
  fraction.resize(9, '0');
  return static_cast<std::int64_t>(timegm(&parts)) * 1'000'000'000 + std::stoll(fraction);
}

Session read_session(const std::string& path) {
  Session session;
  session.text = inflate(path);
  session.text.append(64, '\0');
  std::set<std::pair<std::string, std::string>> seen;
  for (std::size_t at = 0; at < session.text.size();) {
    const std::size_t end = std::min(session.text.find('\n', at), session.text.size());
    const std::string_view line(session.text.data() + at, end - at);
    at = end + 1;
    const bool is_outcome = line.find("\"ephor.outcome\"") != std::string_view::npos;
    if (!is_outcome && line.find("\"ephor.prediction\"") == std::string_view::npos) continue;
    const Json json = Json::parse(line);
    if (!seen.emplace(json["source"], json["id"]).second) continue;
    const Json& data = json["data"];
    Item item;
    item.is_outcome = is_outcome;
    item.prediction_id = data["prediction_id"];
    item.label = data[is_outcome ? "actual" : "prediction"];
    item.model_id = data["model_id"];
    if (!is_outcome) {
      item.version = data["model_version"];
      item.confidence = data["confidence"];
      item.probability = data["probability"].get<std::map<std::string, double>>();
    }
    session.items.push_back(std::move(item));
    ephor::Event event{};
    event.time_ns = nanoseconds_of(json["time"]);
    event.record = line.data();
    event.record_length = static_cast<std::uint32_t>(line.size());
    event.data_offset = static_cast<std::uint32_t>(line.find("\"data\":") + 7);
    session.events.push_back(event);
  }
  return session;
}

void feed(Monitor& monitor, ephor::EventReader& reader, const Session& session, std::size_t at) {
  const ephor::Event& event = session.events[at];
  if (session.items[at].is_outcome) {
    monitor.add_outcome(reader.outcome(event), event.time_ns, false);
  } else {
    monitor.add_prediction(reader.prediction(event), event.time_ns, false);
  }
}

struct Expected {
  std::uint64_t joined = 0, correct = 0;
  double confidence = 0, brier = 0, log_loss = 0;
  std::map<std::pair<std::string, std::string>, std::uint64_t> confusion;  // actual, predicted
};

// By model, and by "model version".
std::map<std::string, Expected> recompute(const Session& session) {
  std::map<std::string, std::string> actual;
  for (const Item& item : session.items) {
    if (item.is_outcome) actual.emplace(item.prediction_id, item.label);
  }
  std::map<std::string, Expected> out;
  for (const Item& item : session.items) {
    if (item.is_outcome || !actual.contains(item.prediction_id)) continue;
    const std::string& truth = actual[item.prediction_id];
    for (const std::string& key : {item.model_id, item.model_id + " " + item.version}) {
      Expected& sums = out[key];
      ++sums.joined;
      sums.correct += item.label == truth ? 1 : 0;
      sums.confidence += item.confidence;
      ++sums.confusion[{truth, item.label}];
      for (const auto& [label, p] : item.probability) {
        const double y = label == truth ? 1.0 : 0.0;
        sums.brier += (p - y) * (p - y);
        if (label == truth) sums.log_loss -= std::log(std::max(p, 2.220446049250313e-16));
      }
    }
  }
  return out;
}

void check_scores(const Json& scores, const Expected& expected) {
  const double n = static_cast<double>(expected.joined);
  CHECK(scores["predictions"] == expected.joined);
  CHECK(scores["outcomes_joined"] == expected.joined);
  CHECK(scores["correct"] == expected.correct);
  CHECK(scores["accuracy"].get<double>() == static_cast<double>(expected.correct) / n);
  // Sums in another order differ in the last bits only.
  CHECK(scores["mean_confidence"].get<double>() == Approx(expected.confidence / n).epsilon(1e-11));
  CHECK(scores["brier_score"].get<double>() == Approx(expected.brier / n).epsilon(1e-11));
  CHECK(scores["log_loss"].get<double>() == Approx(expected.log_loss / n).epsilon(1e-11));
}

// The bound leaves room for every order; the session is shorter than the longest wait.
const Session* session() {
  static const auto path = ephor::testing::shared_data("session/btc.ndjson.gz");
  if (!path) return nullptr;
  static const Session read = read_session(path->string());
  return &read;
}

// Everything that can be asked.
std::string answers(const Monitor& monitor) {
  std::string out = ephor::dump(monitor.summary()) + ephor::dump(monitor.models(0, 10'000));
  for (std::uint32_t i = 0; i < monitor.table().size(); ++i) {
    out += ephor::dump(*monitor.model(monitor.table().id(i)));
  }
  return out;
}

}  // namespace

TEST_CASE("session: figures per model and version equal a plain recomputation, in any order",
          "[unit][ml]") {
  if (session() == nullptr) return;
  const Session& btc = *session();
  const auto expected = recompute(btc);
  REQUIRE(expected.size() == 11);  // five models, six versions
  const std::size_t count = btc.events.size();

  std::vector<std::vector<std::size_t>> orders(4);
  for (std::size_t i = 0; i < count; ++i) orders[0].push_back(i);
  orders[1] = orders[0];  // all outcomes first
  std::stable_partition(orders[1].begin(), orders[1].end(),
                        [&](std::size_t at) { return btc.items[at].is_outcome; });
  orders[2] = orders[0];  // each outcome just before its prediction
  std::map<std::string, std::size_t> place_of;
  for (std::size_t i = 0; i < count; ++i) {
    if (!btc.items[i].is_outcome) place_of[btc.items[i].prediction_id] = i;
  }
  std::stable_sort(orders[2].begin(), orders[2].end(), [&](std::size_t left, std::size_t right) {
    const auto key = [&](std::size_t at) {
      return std::pair(place_of[btc.items[at].prediction_id], !btc.items[at].is_outcome);
    };
    return key(left) < key(right);
  });
  orders[3] = orders[0];
  std::shuffle(orders[3].begin(), orders[3].end(), std::mt19937_64(3));

  for (const auto& order : orders) {
    Monitor monitor{{}};
    ephor::EventReader reader;
    for (const std::size_t at : order) feed(monitor, reader, btc, at);
    const Json summary = monitor.summary();
    CHECK(summary["predictions"] == 53'245);
    CHECK(summary["outcomes_joined"] == 53'245);
    CHECK(summary["outcomes_waiting"] == 0);
    CHECK(summary["predictions_waiting"] == 0);
    CHECK(summary["models"] == 5);
    for (const auto& [key, sums] : expected) {
      const std::size_t blank = key.find(' ');
      const Json model = *monitor.model(key.substr(0, blank));
      if (blank != std::string::npos) {
        check_scores(model["versions"][key.substr(blank + 1)], sums);
        continue;
      }
      check_scores(model, sums);
      check_scores(model["symbols"]["BTCUSDT"], sums);
      for (const auto& [pair, cell] : sums.confusion) {
        CHECK(model["confusion"]["by_actual_then_predicted"][pair.first][pair.second] == cell);
      }
    }
  }
}

TEST_CASE("session: the windowed accuracy is that of the last 500 outcomes", "[unit][ml]") {
  if (session() == nullptr) return;
  const Session& btc = *session();
  Monitor monitor{{}};
  ephor::EventReader reader;
  std::map<std::string, std::string> predicted;
  std::map<std::string, std::vector<bool>> hits;
  for (std::size_t at = 0; at < btc.events.size(); ++at) {
    feed(monitor, reader, btc, at);
    const Item& item = btc.items[at];
    if (!item.is_outcome)
      predicted[item.prediction_id] = item.label;
    else
      hits[item.model_id].push_back(predicted.at(item.prediction_id) == item.label);
  }
  for (const auto& [model, history] : hits) {
    const auto right = std::count(history.end() - 500, history.end(), true);
    const Json window = (*monitor.model(model))["window"];
    CHECK(window["outcomes"] == 500);
    CHECK(window["accuracy"].get<double>() == static_cast<double>(right) / 500.0);
  }
}

TEST_CASE("session: saved and loaded at random positions, all answers and rows are the same",
          "[unit][ml]") {
  if (session() == nullptr) return;
  const Session& btc = *session();
  Monitor::Config config;
  config.joiner.remembered_max = 5'000;  // so that the ring wraps
  Monitor straight(config);
  auto reloading = std::make_unique<Monitor>(config);
  ephor::EventReader reader;
  std::mt19937_64 random(11);
  std::map<std::string, std::string> rows[2];
  const auto take_rows = [&](Monitor& monitor, int which) {
    for (const BehaviorRow& row : monitor.table().changed_rows()) {
      rows[which][row.id] = row.performance_metrics + row.feature_importance + row.metadata;
    }
    monitor.table().set_rows_saved();
  };
  for (std::size_t at = 0; at < btc.events.size(); ++at) {
    feed(straight, reader, btc, at);
    feed(*reloading, reader, btc, at);
    if (at % 1'000 == 0) {
      straight.advance(btc.events[at].time_ns);
      reloading->advance(btc.events[at].time_ns);
    }
    if (random() % 2'000 != 0) continue;
    take_rows(*reloading, 1);
    std::string state;
    reloading->save(state);
    auto loaded = std::make_unique<Monitor>(config);
    REQUIRE(loaded->load(state));
    reloading = std::move(loaded);
    CHECK(answers(*reloading) == answers(straight));
  }
  take_rows(straight, 0);
  take_rows(*reloading, 1);
  CHECK(answers(*reloading) == answers(straight));
  CHECK(rows[0].size() > 5 * 24 * 7);
  CHECK(rows[0] == rows[1]);
  std::string states[2];
  straight.save(states[0]);
  reloading->save(states[1]);
  CHECK(states[0] == states[1]);
}

TEST_CASE("state: random bytes and flipped bits are refused or read, never worse", "[unit][ml]") {
  Monitor monitor{{}};
  ephor::Prediction prediction;
  for (int i = 0; i < 60; ++i) {
    const std::string id = "p" + std::to_string(i);
    const std::string decision = "d" + std::to_string(i / 4);
    const std::string model = "m" + std::to_string(i % 5);
    prediction.prediction_id = id;
    prediction.decision_id = decision;
    prediction.model_id = model;
    prediction.prediction = {i % 2 == 0 ? "buy" : "sell", {}};
    prediction.probability = {{"buy", 0.25}, {"sell", 0.75}};
    monitor.add_prediction(prediction, i, false);
    ephor::Outcome outcome;
    if (i % 3 == 0)
      outcome.prediction_id = id;
    else
      outcome.decision_id = decision;
    outcome.actual.number = i % 2;
    if (i % 5 == 0) monitor.add_outcome(outcome, i, false);
  }
  monitor.add_feature_importance("m1", R"({"rsi":0.5})", "shap", 5);
  std::string good;
  monitor.save(good);
  REQUIRE(Monitor({}).load(good));

  // The texts of the loop are gone.
  prediction.prediction_id = "p60";
  prediction.decision_id = "d15";
  prediction.model_id = "m0";
  std::mt19937_64 random(5);
  const auto use = [&](const std::string& state) {
    Monitor loaded{{}};
    if (!loaded.load(state)) return;
    loaded.add_prediction(prediction, 1'000, false);
    loaded.advance(INT64_MAX);
    answers(loaded);
    loaded.table().changed_rows();
  };
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_FALSE(Monitor({}).load(std::string_view(good).substr(0, size)));
  }
  for (int round = 0; round < 4'000; ++round) {
    std::string state = good;
    for (std::uint64_t flips = random() % 4 + 1; flips > 0; --flips) {
      state[random() % state.size()] ^= static_cast<char>(1U << random() % 8);
    }
    use(state);
    std::string noise(random() % 300, '\0');
    for (char& byte : noise) byte = static_cast<char>(random());
    if (round % 2 == 0) noise = good.substr(0, 4) + noise;
    use(noise);
  }
}

// The records as the door takes them apart: prediction id = decision id ":" model id.
TEST_CASE("client records: accuracy per model is that of the truth file", "[unit][ml]") {
  const auto path = ephor::testing::shared_data("trading/client_events.jsonl");
  const auto truth_path = ephor::testing::shared_data("trading/client_events.expected.json");
  if (!path || !truth_path) return;
  const Json truth = Json::parse(std::ifstream(*truth_path));
  Monitor monitor{{}};
  std::ifstream lines(*path);
  std::int64_t time_ns = 0;
  for (std::string line; std::getline(lines, line); ++time_ns) {
    const Json record = Json::parse(line);
    const std::string decision_id = record.value("decision_id", "");
    if (record["type"] == "ensemble_decision") {
      for (const Json& member : record["ensemble_decision"]["individual_predictions"]) {
        const std::string model = member["model_id"];
        const std::string label = member["prediction"];
        const std::string id = decision_id + ":" + model;
        ephor::Prediction prediction;
        prediction.prediction_id = id;
        prediction.decision_id = decision_id;
        prediction.model_id = model;
        prediction.prediction.label = label;
        prediction.confidence = member["confidence"].get<double>();
        for (const auto& [name, p] : member["probability"].items()) {
          prediction.probability.push_back({name == "buy" ? "buy" : "sell", p.get<double>()});
        }
        monitor.add_prediction(prediction, time_ns, false);
      }
    } else if (record["type"] == "outcome") {
      ephor::Outcome outcome;
      outcome.decision_id = decision_id;
      outcome.actual.number = record["actual_outcome"].get<double>();
      monitor.add_outcome(outcome, time_ns, false);
    }
  }
  CHECK(monitor.summary()["predictions"] == 2'000);
  CHECK(monitor.summary()["outcomes_joined"] == 2'000);
  CHECK(monitor.summary()["outcomes_waiting"] == 0);
  for (const auto& [model, accuracy] : truth["model_accuracy"].items()) {
    CHECK((*monitor.model(model))["accuracy"].get<double>() == Approx(accuracy.get<double>()));
  }
}

TEST_CASE("bench: cost per event, and of a state of 53,245 waiting predictions", "[.bench]") {
  if (session() == nullptr) return;
  const Session& btc = *session();
  const auto seconds = [](auto&& body) {
    const auto begin = std::clock();
    body();
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  const double n = static_cast<double>(btc.events.size());
  for (int round = 0; round < 5; ++round) {
    ephor::EventReader reader;
    Monitor monitor{{}};
    const double all = seconds([&] {
      for (std::size_t at = 0; at < btc.events.size(); ++at) feed(monitor, reader, btc, at);
    });
    std::size_t size = 0;
    const double parsing = seconds([&] {
      for (std::size_t at = 0; at < btc.events.size(); ++at) {
        if (btc.items[at].is_outcome)
          size += reader.outcome(btc.events[at]).prediction_id.size();
        else
          size += reader.prediction(btc.events[at]).probability.size();
      }
    });
    Monitor waiting{{}};
    for (std::size_t at = 0; at < btc.events.size(); ++at) {
      if (!btc.items[at].is_outcome) feed(waiting, reader, btc, at);
    }
    std::string states[2];
    const double save_joined = seconds([&] { monitor.save(states[0]); });
    const double save_waiting = seconds([&] { waiting.save(states[1]); });
    Monitor loaded{{}};
    const double load_waiting = seconds([&] { CHECK(loaded.load(states[1])); });
    std::cout << "per event " << all / n * 1e6 << " us, of it parsing " << parsing / n * 1e6
              << " us (" << size << "); joined state " << states[0].size() << " B in "
              << save_joined * 1e3 << " ms; waiting state " << states[1].size() << " B in "
              << save_waiting * 1e3 << " ms, loaded in " << load_waiting * 1e3 << " ms\n";
  }
}
