// SPDX-License-Identifier: Apache-2.0
//
// Calling a plugin: what it throws in spite of the ABI's rules ends here, and what it says is put
// into words.
#pragma once

#include <ephor/plugin.hpp>

#include <exception>
#include <string>
#include <string_view>

namespace ephor::host {

inline std::string described(std::string_view what, ephor_status status, const ephor_error& error) {
  std::string text = std::string(what) + ": ";
  text += error.message[0] != '\0' ? error.message : "no message";
  if (error.json_pointer[0] != '\0') text += std::string(" at ") + error.json_pointer;
  return text + " (status " + std::to_string(status) + ")";
}

inline ephor_error fresh_error() {
  ephor_error error;
  error.struct_size = sizeof error;
  error.code = EPHOR_OK;
  error.message[0] = '\0';
  error.json_pointer[0] = '\0';
  return error;
}

// A plugin written straight onto the C ABI may throw in spite of it.
template <typename Call>
ephor_status contained_call(ephor_error& error, Call&& call) noexcept {
  try {
    return call();
  } catch (const std::exception& thrown) {
    return store_error(&error, EPHOR_INTERNAL, std::string_view(thrown.what()));
  } catch (...) {
    return store_error(&error, EPHOR_INTERNAL, "an exception crossed the ABI");
  }
}

}  // namespace ephor::host
