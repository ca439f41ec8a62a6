// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "ingest/fault.hpp"

namespace ephor::host {

// Why `text` is no JSON value that the door takes, and where. Called only after the fast parser has
// refused it; `fallback` is what that parser said, used when the slow one finds nothing.
Fault json_fault(std::string_view text, unsigned depth_max, std::string_view fallback);

}  // namespace ephor::host
