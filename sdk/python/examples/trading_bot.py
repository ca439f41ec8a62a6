#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small trading loop that tells Ephor all it does: spans, predictions, regimes, decisions and their
paths, whole TradeRecords, outcomes, metrics and its log.

    trading_bot.py [--url http://127.0.0.1:8780] [--cycles 200] [--period-ms 50] [--spool DIR] [--seed 1]

Prices are a random walk and the models are three simple rules: what matters here is what is sent. The
last line of its output is the account of what became of it.
"""
import argparse
import dataclasses
import datetime
import json
import logging
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import ephor_client  # noqa: E402

SYMBOL = "ETHUSDT"
log = logging.getLogger("trading_bot")


@dataclasses.dataclass
class TradeRecord:
    """As the bot keeps it; `ensemble_decision` and the other parts are nested."""
    trade_id: str
    symbol: str
    side: str
    size: float
    price: float
    timestamp: datetime.datetime
    status: str = "open"
    decision_id: str = ""
    execution_id: str = ""
    order_id: str = ""
    stop_loss: float = 0.0
    take_profit: float = 0.0
    close_price: float = None
    close_timestamp: datetime.datetime = None
    close_reason: str = None
    pnl: float = None
    correlation_id: str = ""
    risk_metrics: dict = dataclasses.field(default_factory=dict)
    ensemble_decision: dict = None
    regime_analysis: dict = None
    decision_path: dict = None
    model_behaviors: list = None


def utc():
    return datetime.datetime.now(datetime.timezone.utc)


class Bot:
    MODELS = ("momentum", "reversal", "breakout")

    def __init__(self, ephor, seed):
        self.ephor = ephor
        self.random = random.Random(seed)
        self.prices = [2000.0]
        self.open = None  # (trade, cycle of its opening, {model: prediction id})
        self.equity = 10_000.0
        self.trades = 0

    def load(self):
        with self.ephor.span("load_price", "exchange", symbol=SYMBOL):
            self.prices.append(self.prices[-1] * (1.0 + self.random.gauss(0.0, 0.002)))
            self.ephor.market(SYMBOL, price=self.prices[-1])

    def features(self):
        window = self.prices[-20:]
        mean = sum(window) / len(window)
        return {"distance": window[-1] / mean - 1.0, "range": max(window) / min(window) - 1.0,
                "last_return": window[-1] / window[max(-2, -len(window))] - 1.0}

    def predict(self, features):
        scores = {"momentum": features["last_return"], "reversal": -features["distance"],
                  "breakout": features["distance"] * features["range"] * 50.0}
        predictions = {}
        with self.ephor.span("predict", "analyst", symbol=SYMBOL):
            for model in self.MODELS:
                label = "buy" if scores[model] > 0 else "sell"
                confidence = min(0.99, 0.5 + abs(scores[model]) * 50.0)
                predictions[model] = {"model_id": model, "prediction": label, "confidence": confidence,
                                      "prediction_id": self.ephor.prediction(
                                          model, label, confidence=confidence, symbol=SYMBOL, features=features)}
        return predictions

    def decide(self, features, predictions):
        with self.ephor.span("blend", "strategist"):
            regime = {"regime_type": "high_volatility" if features["range"] > 0.02 else "sideways",
                      "regime_confidence": 0.7, "symbol": SYMBOL}
            self.ephor.regime(**regime)
            score = sum(one["confidence"] if one["prediction"] == "buy" else -one["confidence"]
                        for one in predictions.values())
            label = "buy" if score > 0.6 else "sell" if score < -0.6 else "hold"
            decision = {"ensemble_id": "main", "final_decision": label,
                        "individual_predictions": list(predictions.values()),
                        "ensemble_weights": dict.fromkeys(predictions, 1.0 / len(predictions))}
            decision["decision_id"] = self.ephor.decision(symbol=SYMBOL, regime=regime["regime_type"], **decision)
            path = {"decision_steps": ["predict", "blend", "risk_check"], "final_decision": label,
                    "decision_thresholds": {"score": 0.6}, "decision_reasons": [f"score {score:.2f}"]}
        return decision, regime, path

    @property
    def price(self):
        return self.prices[-1]

    def enter(self, cycle, decision, regime, path, predictions):
        with self.ephor.span("place_order", "tactician", symbol=SYMBOL) as span:
            if self.random.random() < 0.05:
                raise ConnectionError("the exchange did not answer in 250 ms")
            name = f"{time.time_ns():x}"
            trade = TradeRecord(
                f"trade_{name}", SYMBOL, decision["final_decision"], 0.5, self.price, utc(),
                decision_id=decision["decision_id"], execution_id=f"ex_{name}", order_id=f"order_{name}",
                stop_loss=self.price * 0.98, take_profit=self.price * 1.02, correlation_id=span.correlation_id,
                risk_metrics={"position_risk": 0.01}, ensemble_decision=decision, regime_analysis=regime,
                decision_path=path, model_behaviors=[{"model_id": model, "prediction_drift": 0.0}
                                                     for model in predictions])
            self.ephor.trade_record(trade)
            log.info("opened %s %s at %.2f", trade.side, trade.trade_id, trade.price)
            self.open = (trade, cycle, {model: one["prediction_id"] for model, one in predictions.items()})

    def leave(self):
        trade, _, predictions = self.open
        with self.ephor.span("close_position", "tactician", symbol=SYMBOL):
            sign = 1.0 if trade.side == "buy" else -1.0
            trade.status, trade.close_price, trade.close_timestamp = "closed", self.price, utc()
            trade.close_reason, trade.pnl = "TIME_EXIT", sign * (self.price - trade.price) * trade.size
            # The next state of the same trade: the parts inside were told when it opened.
            trade.ensemble_decision = trade.regime_analysis = trade.decision_path = trade.model_behaviors = None
            self.ephor.trade_record(trade)
            actual = "buy" if self.price > trade.price else "sell"
            for model, prediction_id in predictions.items():
                self.ephor.outcome(actual, prediction_id, model_id=model)
            self.equity += trade.pnl
            self.trades += 1
            self.open = None
            log.info("closed %s: %.2f", trade.trade_id, trade.pnl)

    def cycle(self, number):
        with self.ephor.span("cycle", "supervisor", correlation_id=f"bot-{time.time_ns():x}-{number}", cycle=number):
            self.load()
            features = self.features()
            predictions = self.predict(features)
            decision, regime, path = self.decide(features, predictions)
            if self.open is not None and number - self.open[1] >= 5:
                self.leave()
            elif self.open is None and decision["final_decision"] != "hold":
                try:
                    self.enter(number, decision, regime, path, predictions)
                except ConnectionError:
                    log.exception("no order")
            self.ephor.metric("equity", self.equity, "USD")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8780")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--period-ms", type=float, default=50.0)
    parser.add_argument("--spool", default=None)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ephor = ephor_client.Client(options.url, source="trading_bot", spool_dir=options.spool)
    log.setLevel(logging.INFO)
    log.addHandler(ephor_client.LogHandler(ephor))
    bot = Bot(ephor, options.seed)
    for number in range(options.cycles):
        bot.cycle(number)
        time.sleep(options.period_ms / 1000.0)
    if bot.open is not None:
        with ephor.correlate(bot.open[0].correlation_id):
            bot.leave()
    is_whole = ephor.flush(30)
    ephor.close()
    stats = ephor.stats()
    print(json.dumps({"trades": bot.trades, "pnl": bot.equity - 10_000.0, "is_whole": is_whole,
                      **{name: stats[name] for name in ("recorded", "accepted", "rejected", "refused", "errors")}}))


if __name__ == "__main__":
    main()
