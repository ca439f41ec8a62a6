// SPDX-License-Identifier: Apache-2.0
#include <ephor/plugin.hpp>

#include "http_api.hpp"

EPHOR_PLUGIN(ephor::http_api::HttpApi, "http_api")
