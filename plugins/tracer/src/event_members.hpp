// SPDX-License-Identifier: Apache-2.0
//
// Members of events as the journal gives them back: CloudEvents that a client wrote, so any member
// may be missing or of another type.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <string>
#include <string_view>

#include "story.hpp"

namespace ephor::tracer {

// An object or array; an empty object for anything else.
const Json& member(const Json& object, std::string_view name);
const Json& data_of(const StoryEvent& event);
// A text as it is, any other value as its JSON; empty for null and where there is none.
std::string text_at(const Json& object, std::string_view name);
// A whole number, also one written as text (64 bits do not fit JSON's doubles); else 0.
std::int64_t integer_at(const Json& object, std::string_view name);

}  // namespace ephor::tracer
