// SPDX-License-Identifier: Apache-2.0
#include "reporter.hpp"

EPHOR_PLUGIN(ephor::reporter::Reporter, "reporter")
