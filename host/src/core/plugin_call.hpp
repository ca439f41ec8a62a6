// SPDX-License-Identifier: Apache-2.0
//
// Calling a plugin: what it throws in spite of the ABI's rules ends here, and what it says is put
// into words.
#pragma once

#include <ephor/plugin.hpp>

#include <cstring>
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

// Whoever filled it may have forgotten to end its texts.
inline void end_texts(ephor_error& error) {
  error.message[sizeof error.message - 1] = '\0';
  error.json_pointer[sizeof error.json_pointer - 1] = '\0';
}

// The texts of a plugin's own error, which may be short, missing or without an end.
inline std::string message_in(const ephor_error* error) {
  if (error == nullptr || !EPHOR_HAS(error, ephor_error, message)) return {};
  return {error->message, ::strnlen(error->message, sizeof error->message)};
}
inline std::string json_pointer_in(const ephor_error* error) {
  if (error == nullptr || !EPHOR_HAS(error, ephor_error, json_pointer)) return {};
  return {error->json_pointer, ::strnlen(error->json_pointer, sizeof error->json_pointer)};
}

// A plugin written straight onto the C ABI may throw in spite of it.
template <typename Call>
ephor_status contained_call(ephor_error& error, Call&& call) noexcept {
  try {
    const ephor_status status = call();
    end_texts(error);
    return status;
  } catch (const std::exception& thrown) {
    return store_error(&error, EPHOR_INTERNAL, std::string_view(thrown.what()));
  } catch (...) {
    return store_error(&error, EPHOR_INTERNAL, "an exception crossed the ABI");
  }
}

}  // namespace ephor::host
