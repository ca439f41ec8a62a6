// SPDX-License-Identifier: Apache-2.0
//
// Everything a data directory holds, in a form in which two of them can be compared: what came in,
// what was derived from it, every table, every answer; ordered by key, without what depends on the
// run (core/canonical.hpp, docs/proof.md).
#pragma once

#include <functional>
#include <string_view>

namespace ephor::host {

class Host;

// NDJSON, one {"section": ..., "key": [...], "value": ...} a call, without the line break. Sections
// come in order, and within one the keys.
using LineSink = std::function<void(std::string_view line)>;

// Of an offline host, or of a running one that settle() has brought to rest. Throws HostError:
// EPHOR_STATE if the tables are behind the journal, EPHOR_CONFLICT if something came in meanwhile.
// A section's lines are in memory until it is complete.
void export_canonical(Host& host, const LineSink& sink);

// [control] Running hosts: waits until every reader has read all that is in the log and nothing
// more is derived, and saves every instance. Throws HostError EPHOR_TIMEOUT.
void settle(Host& host);

}  // namespace ephor::host
