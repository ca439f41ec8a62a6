// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ephor::host::check {

// A rule of the ABI that a plugin's call broke. Each is reported by one check, so that a plugin
// that breaks one fails that one.
enum class Rule {
  thread,        // a function was called where it must not be: [control], [dispatch] ...
  lifetime,      // a call after destroy, or registering after start
  handles,       // a context, buffer or series that nobody gave out
  structs,       // struct_size, counts and pointers that do not fit
  text,          // a view that is no UTF-8 or points nowhere
  topics,        // the grammar of topics and patterns
  json,          // what must be JSON is none
  subscription,  // twice, an unknown policy or key
  queries,       // names, summaries
  routes,        // methods, paths, scopes, schemas
  commands,      // names, summaries
  storage,       // declared tables, rows, SELECTs
  metrics,       // names, labels, kinds, values
  log,           // levels, empty lines
  health,        // states, reasons
  errors,        // a failure without a text, an unknown status
  exceptions,    // one crossed the ABI
  drafts,        // causes and data of what is published
};

std::string_view name_of(Rule rule);

struct Violation {
  Rule rule;
  std::string text;  // what was found, what was expected
};

}  // namespace ephor::host::check
