// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "router.hpp"

namespace ephor::http_api {

// The routes as an OpenAPI 3.1 document. `has_tokens`: whether callers must present one.
std::string openapi_document(const std::vector<const Endpoint*>& endpoints,
                             std::string_view version, bool has_tokens);

// The routes as {"routes": [{method, path, query, summary, scope, instance}]}.
std::string route_list(const std::vector<const Endpoint*>& endpoints);

}  // namespace ephor::http_api
