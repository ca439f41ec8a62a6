// SPDX-License-Identifier: Apache-2.0
//
// What a plugin made of a session, so that two lives over the same events can be compared.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "check/subject.hpp"
#include "check/traffic.hpp"

namespace ephor::host::check {

// A request of one query, and how its answer is read.
struct Ask {
  CheckingHost::Query query;
  std::string name;     // of the route, or of the query that has none
  std::string request;  // one that is right by the route
  std::string response_schema;
  bool is_read = false;  // of a GET route: it changes nothing
  bool is_json = true;
};

// One for each route, and one for each query without a route.
std::vector<Ask> asks_of(CheckingHost& host);

// Of each cause what was published because of it, in order.
using Drafts = std::map<std::uint64_t, std::vector<std::string>>;

struct Observed {
  Drafts drafts;
  std::string rows;     // without what depends on the run
  std::string answers;  // of the GET routes, without what depends on the run
};

Drafts drafts_of(CheckingHost& host);
std::string rows_of(CheckingHost& host);
std::string answers_of(Subject& subject);
// save must succeed; a plugin without state has no rows.
Observed observe(Subject& subject);

// Fails if two lives differ: "found that LEFT and RIGHT differ ...".
void must_agree(const Observed& left, const Observed& right, const std::string& left_name,
                const std::string& right_name);

// A life in which what a plugin does depends on the events alone: not a source, mode replay.
// `rows`: of an earlier life, may be null.
HostOptions replaying(CheckingStorage* rows = nullptr);
// Skips the check for a source, which is not started in a replay.
void skip_source(Context& context);

// Creates and starts it, and makes the traffic it wants. Skips the check if it wants no event.
Traffic begin(Subject& subject);
// Events `from` to `from + count` in slices of `slice` events; each must be handled.
void give(Subject& subject, const Traffic& traffic, std::uint64_t from, std::uint64_t count,
          std::uint64_t slice = 64);
// Drain, stop, destroy.
void end(Subject& subject);

// When this share of the check's time limit is over (monotonic clock): checks that could go on for
// ever do so until then, so that --timeout makes them deeper.
std::int64_t after_share(const Context& context, double share);

// Every answer is JSON where it is said to be, every failure has a text.
void must_answer_soundly(Subject& subject);

}  // namespace ephor::host::check
