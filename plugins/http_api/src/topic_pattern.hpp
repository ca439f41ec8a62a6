// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace ephor::http_api {

// Dot-separated tokens; '*' stands for one, a final '>' for one or more.
bool is_topic_pattern(std::string_view pattern);
bool topic_matches(std::string_view pattern, std::string_view topic);

}  // namespace ephor::http_api
