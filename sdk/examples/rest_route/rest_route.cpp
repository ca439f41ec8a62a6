// SPDX-License-Identifier: Apache-2.0
//
// The last price of every symbol, as a table of the plugin's own and two REST routes onto it.
#include <algorithm>
#include <ephor/events.hpp>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/times.hpp>
#include <map>
#include <set>
#include <string>

namespace {

using ephor::Json;

class RestRoute final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "The last price of every symbol, over REST";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = R"({
    "type": "object", "additionalProperties": false, "properties": {
      "symbols_max": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 10000,
        "description": "Symbols kept; further ones are counted as left out"}}})";

  RestRoute(ephor::Host host, std::string_view config) : host_(std::move(host)) {
    symbols_max_ =
        ephor::member_or<std::size_t>(ephor::parse_json(config, "config"), "symbols_max", 10000);
    host_.declare_tables(R"({"version": 1, "tables": [
      {"name": "rest_route_quotes", "key": ["symbol"], "columns": [
        {"name": "symbol", "type": "text"}, {"name": "price", "type": "real"},
        {"name": "updates", "type": "integer"}, {"name": "time_ns", "type": "integer"}]}]})");
    host_.subscribe({"ephor.market"});
    host_.provide_route({.method = "GET",
                         .path = "/api/example/quotes/{symbol}",
                         .query = "rest_route.quote",
                         .summary = "The last price of one symbol",
                         .request_schema = kQuoteRequest,
                         .response_schema = kQuote},
                        [this](std::string_view request) { return quote(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/example/quotes",
                         .query = "rest_route.quotes",
                         .summary = "The symbols with the most updates, as last committed",
                         .request_schema = kQuotesRequest,
                         .response_schema = kQuotes},
                        [this](std::string_view request) { return quotes(request); });
  }

  void on_event(const ephor::Event& event) override {
    const simdjson::dom::object market = reader_.object(event);
    std::string_view symbol;
    double price = 0.0;
    if (market["symbol"].get(symbol) != simdjson::SUCCESS) return;
    if (market["price"].get(price) != simdjson::SUCCESS &&
        market["close"].get(price) != simdjson::SUCCESS) {
      return;
    }
    auto found = quotes_.find(symbol);
    if (found == quotes_.end()) {
      if (quotes_.size() >= symbols_max_) {
        ++left_out_count_;
        return;
      }
      found = quotes_.emplace(symbol, Quote{}).first;  // copies the symbol: the view dies
    }
    Quote& quote = found->second;
    ++quote.update_count;
    if (event.time_ns >= quote.time_ns) {  // an older price, come late, is counted and no more
      quote.price = price;
      quote.time_ns = event.time_ns;
    }
    changed_.insert(found->first);
  }

  // Rows that changed since the last save, whole: an upsert that comes twice does no harm.
  void save(const ephor::Rows& rows, std::string& state) override {
    for (const std::string& symbol : changed_) {
      const Quote& quote = quotes_.at(symbol);
      rows.upsert("rest_route_quotes",
                  {ephor::Cell::text(symbol), ephor::Cell::real_value(quote.price),
                   ephor::Cell::integer_value(static_cast<std::int64_t>(quote.update_count)),
                   ephor::Cell::integer_value(quote.time_ns)});
    }
    ephor::StateWriter out(state);
    out.u64(left_out_count_).varint(quotes_.size());
    for (const auto& [symbol, quote] : quotes_) {
      out.text(symbol).f64(quote.price).u64(quote.update_count).i64(quote.time_ns);
    }
    changed_.clear();  // last: a save that throws is made again
  }
  bool load(std::uint32_t version, std::string_view state) override {
    return version == kStateVersion && ephor::read_state(state, [this](ephor::StateReader& in) {
             left_out_count_ = in.u64();
             for (std::size_t left = in.count(25); left > 0; --left) {
               Quote& quote = quotes_[in.text()];
               quote.price = in.f64();
               quote.update_count = in.u64();
               quote.time_ns = in.i64();
             }
           });
  }

 private:
  struct Quote {
    double price = 0.0;
    std::uint64_t update_count = 0;
    std::int64_t time_ns = 0;
  };

  static constexpr std::string_view kQuoteRequest = R"({"type": "object", "required": ["symbol"],
    "properties": {"symbol": {"type": "string", "description": "As in the event"}}})";
  static constexpr std::string_view kQuote = R"({"type": "object", "properties": {
    "symbol": {"type": "string"}, "price": {"type": "number"}, "updates": {"type": "integer"},
    "time": {"type": "string", "format": "date-time"}}})";
  static constexpr std::string_view kQuotesRequest = R"({"type": "object", "properties": {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}}})";
  static constexpr std::string_view kQuotes = R"({"type": "object", "properties": {
    "quotes": {"type": "array", "items": {"type": "object"}}, "left_out": {"type": "integer"}}})";

  static Json quote_json(std::string_view symbol, const Quote& quote) {
    return {{"symbol", symbol},
            {"price", ephor::number_or_null(quote.price)},
            {"updates", quote.update_count},
            {"time", ephor::format_time(quote.time_ns)}};
  }

  // From memory: as fresh as the last event. EPHOR_NOT_FOUND is 404, EPHOR_INVALID is 400.
  std::string quote(std::string_view request_text) const {
    const Json request = ephor::parse_json(request_text, "request");
    const std::string symbol = ephor::request_text(request, "symbol");
    const auto found = quotes_.find(symbol);
    if (found == quotes_.end()) {
      throw ephor::Error(EPHOR_NOT_FOUND, "found no price of \"" + symbol + "\" so far");
    }
    return ephor::dump(quote_json(symbol, found->second));
  }
  // From the table: as fresh as the last checkpoint.
  std::string quotes(std::string_view request_text) const {
    const Json request = ephor::parse_json(request_text, "request");
    const std::int64_t limit = ephor::request_integer(request, "limit", 100, 1, 1000);
    Json list = Json::array();
    host_.select(
        "SELECT symbol, price, updates, time_ns FROM rest_route_quotes "
        "ORDER BY updates DESC, symbol LIMIT ?",
        {ephor::Cell::integer_value(limit)}, [&](std::span<const ephor_cell> cells) {
          list.push_back(quote_json(
              ephor::to_text(cells[0].bytes),
              {cells[1].real, static_cast<std::uint64_t>(cells[2].integer), cells[3].integer}));
        });
    return ephor::dump({{"quotes", list}, {"left_out", left_out_count_}});
  }

  ephor::Host host_;
  ephor::EventReader reader_;
  std::size_t symbols_max_ = 0;
  std::map<std::string, Quote, std::less<>> quotes_;
  std::set<std::string> changed_;  // since the last save
  std::uint64_t left_out_count_ = 0;
};

}  // namespace

EPHOR_PLUGIN(RestRoute, "rest_route")
