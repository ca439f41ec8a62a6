// SPDX-License-Identifier: Apache-2.0
//
// The one file that knows which Catch2 this is: 2.13 on Debian 12, 3.x on Debian 13.
#pragma once

#ifdef EPHOR_CATCH2_V2
#include <catch2/catch.hpp>
#else
#include <catch2/catch_all.hpp>
using Catch::Approx;
#endif
