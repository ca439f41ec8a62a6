// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <string>

namespace ephor::ml_monitor {

// Three significant digits: for sentences.
inline std::string figure(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

}  // namespace ephor::ml_monitor
