// SPDX-License-Identifier: Apache-2.0
//
// contract/*: what the plugin does with the host's functions in one ordinary life.
#include <ephor/plugin.hpp>

#include <regex>
#include <set>

#include "check/check.hpp"
#include "check/context.hpp"
#include "check/subject.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

// Create, start, an event of each topic it asks for, a save, drain, stop, destroy; then `look`. A
// broken rule is told before what came of it: the host refuses some of what breaks one.
template <typename Look>
void after_a_life(Context& context, std::initializer_list<Rule> rules, const Look& look) {
  Subject subject(context);
  try {
    subject.must_create();
    subject.must_start();
  } catch (const Ended&) {
    require_no(subject.host(), rules);
    throw;
  }
  EventSlice slice(subject.host());
  slice.add({.topic = "ephor.tick"});
  for (const std::string& pattern : subject.host().patterns()) {
    if (pattern.find_first_of("*>") == std::string::npos) slice.add({.topic = pattern});
  }
  (void)subject.on_events(slice);
  std::string state;
  (void)subject.save(state);
  (void)subject.drain(monotonic_ns() + 1'000'000'000);
  (void)subject.stop();
  subject.destroy();
  require_no(subject.host(), rules);
  look(subject.host());
}

template <Rule... rules>
void keeps(Context& context) {
  after_a_life(context, {rules...}, [](CheckingHost&) {});
}

void routes(Context& context) {
  after_a_life(context, {Rule::routes}, [&](CheckingHost& host) {
    if (host.routes().empty()) Context::skip("it has no routes");
    static const std::set<std::string> kMethods{"GET", "POST", "PUT", "PATCH", "DELETE"};
    static const std::set<std::string> kScopes{"read", "write", "admin"};
    static const std::regex kPath("(/([A-Za-z0-9._~-]+|\\{[A-Za-z_][A-Za-z0-9_]*\\}))+/?|/");
    std::set<std::string> queries;
    for (const CheckingHost::Query& query : host.queries()) queries.insert(query.name);
    for (const CheckingHost::Route& route : host.routes()) {
      const std::string name = "route " + route.method + " " + route.path;
      Context::expect(kMethods.contains(route.method), name,
                      "a method in upper case: GET, POST, PUT, PATCH or DELETE");
      Context::expect(std::regex_match(route.path, kPath), name,
                      "a path of segments and {parameters}");
      Context::expect(kScopes.contains(route.scope), name + " with scope \"" + route.scope + "\"",
                      "read, write or admin");
      Context::expect(queries.contains(route.query),
                      name + " onto the query \"" + route.query + "\"", "one that it provides");
      Context::expect(!route.summary.empty(), name + " without a summary", "a line for OpenAPI");
    }
    context.note(std::to_string(host.routes().size()) + " routes");
  });
}

void queries(Context& context) {
  after_a_life(context, {Rule::queries}, [&](CheckingHost& host) {
    if (host.queries().empty()) Context::skip("it has no queries");
    context.note(std::to_string(host.queries().size()) + " queries");
  });
}

void commands(Context& context) {
  after_a_life(context, {Rule::commands}, [](CheckingHost& host) {
    if (host.commands().empty()) Context::skip("it has no commands");
  });
}

void storage(Context& context) {
  after_a_life(context, {Rule::storage}, [](CheckingHost& host) {
    if (host.call_counts().count("declare") == 0 && host.call_counts().count("select") == 0) {
      Context::skip("it does not use ephor.storage/1");
    }
  });
}

void metrics(Context& context) {
  after_a_life(context, {Rule::metrics}, [](CheckingHost& host) {
    if (host.call_counts().count("series") == 0) Context::skip("it has no metrics");
  });
}

}  // namespace

std::vector<Check> contract_checks() {
  return {
      {"contract/threads", "It calls each function of the host where that is allowed.",
       "Elsewhere the host's own data is not protected, or the call has no meaning.",
       &keeps<Rule::thread>},
      {"contract/lifetime", "It registers until start returns and calls nothing after destroy.",
       "The tables it would call are another instance's by then.", &keeps<Rule::lifetime>},
      {"contract/handles", "It gives back the contexts, buffers and handles that it was given.",
       "The host would follow a pointer that is not its own.", &keeps<Rule::handles>},
      {"contract/structs", "Its structs say their size and have no NULL where data must be.",
       "A host of another version reads too much or too little.", &keeps<Rule::structs>},
      {"contract/text", "Everything it passes as text is UTF-8.",
       "One other byte makes the JSON that it ends up in unreadable.", &keeps<Rule::text>},
      {"contract/json", "Everything it passes as JSON is JSON.",
       "Schemas, labels and requests are parsed by others.", &keeps<Rule::json>},
      {"contract/topics", "Its topics and patterns follow the grammar.",
       "The host refuses others, or no event ever matches.", &keeps<Rule::topics>},
      {"contract/subscription", "It subscribes once, with a known policy.",
       "A second subscription fails, and which one holds is luck.", &keeps<Rule::subscription>},
      {"contract/drafts", "What it publishes has its cause in the slice in hand and JSON data.",
       "Ids of derived events come from their causes; replay depends on it.", &keeps<Rule::drafts>},
      {"contract/queries", "Its queries have names and summaries.",
       "`ephor query` and other plugins find them by these.", &queries},
      {"contract/routes", "Its routes have a method, a path, a scope, a summary and a query.",
       "OpenAPI and access rights are made from them.", &routes},
      {"contract/commands", "Its commands have names and summaries and are provided in create.",
       "`ephor NAME` looks for them without starting anything.", &commands},
      {"contract/storage", "Its tables, rows and SELECTs fit together.",
       "A row that does not fit its table fails the whole checkpoint.", &storage},
      {"contract/metrics", "Its series have names, help and labels of Prometheus.",
       "One bad name makes the whole page of metrics unreadable.", &metrics},
      {"contract/log", "Its log lines have a known level and a text.",
       "An empty line or an unknown level helps nobody at night.", &keeps<Rule::log>},
      {"contract/health", "It reports known states, bad ones with a reason.",
       "Who is woken by it must read why.", &keeps<Rule::health>},
      {"contract/errors", "Its failures have a known status and a message.",
       "A status alone does not tell what to do.", &keeps<Rule::errors>},
      {"contract/exceptions", "No exception leaves it.",
       "Across the ABI an exception ends the host, or worse, does not.", &keeps<Rule::exceptions>},
  };
}

}  // namespace ephor::host::check
