// SPDX-License-Identifier: Apache-2.0
//
// <ephor/json_value.hpp> under the names of the tests.
#pragma once

#include <ephor/json_value.hpp>

namespace ephor::testing {

using ephor::json_quoted;
using ephor::JsonMember;
using ephor::JsonValue;
using ephor::parse_json_value;

}  // namespace ephor::testing
