// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "faults.hpp"
#include "render.hpp"
#include "session.hpp"

namespace ephor::simulator {

// What `ephor simulate` was asked for.
struct SimulateOptions {
  double hours = 24.0;
  double interval_s = 60.0;  // between two cycles
  std::int64_t start_ns = 0;
  SessionSettings settings;
  std::vector<Fault> faults;
  std::string out;    // NDJSON, gzip if it ends in .gz
  std::string truth;  // empty: none
};

extern const std::string_view kSimulateUsage;

// Throws ephor::Error that names the option, what was found and what was expected.
SimulateOptions parse_simulate(const std::vector<std::string>& arguments);

// What a finished simulation holds, counted while it was written.
struct Truth {
  std::uint64_t cycles = 0;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  double final_equity = 0.0;  // realised
  std::uint64_t trades_closed = 0;
  std::uint64_t trades_won = 0;
  Tally tally;
};

// Runs the session; `write` gets the lines of one cycle at a time.
Truth simulate(const SimulateOptions& options,
               const std::function<void(std::string_view lines)>& write);

// The truth as JSON, with the keys of a recorded session's truth file.
std::string truth_json(const SimulateOptions& options, const Truth& truth);

// Simulates into options.out and options.truth; the answer is a line for the user. Throws
// ephor::Error(EPHOR_IO) if a file cannot be written.
std::string simulate_to_files(const SimulateOptions& options);

}  // namespace ephor::simulator
