// SPDX-License-Identifier: Apache-2.0
//
// What the functions of the checking host's tables share: who calls, and how each call begins.
#pragma once

#include <ephor/plugin.hpp>

#include <string_view>
#include <utility>

#include "check/allocations.hpp"
#include "check/checking_host.hpp"
#include "event/error.hpp"

namespace ephor::host::check {

// The host in whose call this thread is, and which call.
struct CurrentCall {
  CheckingHost* host = nullptr;
  CallKind kind = CallKind::none;
};
CurrentCall& current_call();

// The host behind a context, or nullptr if it is none that lives; that is noted.
CheckingHost* host_behind(void* context, std::string_view function);

// Runs `body(host)` as the function of that name; what it throws becomes the call's status.
template <typename Body>
ephor_status entered(void* context, std::string_view function, ephor_error* error, Body&& body) {
  const allocations::HostSide ours;
  return guarded(error, [&] {
    CheckingHost* host = host_behind(context, function);
    if (host == nullptr) throw Error(EPHOR_INVALID, "no such context");
    host->begin_call(function, error);
    try {
      body(*host);
    } catch (const HostError& failure) {
      throw Error(failure.status(), failure.what());
    }
  });
}

}  // namespace ephor::host::check
