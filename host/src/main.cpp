// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "core/commands.hpp"
#include "core/options.hpp"
#include "event/error.hpp"

int main(int argument_count, char** arguments) {
  try {
    return ephor::host::run_command_line(ephor::host::read_options(argument_count, arguments));
  } catch (const ephor::host::HostError& failure) {
    std::cerr << "ephor: " << failure.what() << "\n";
    return 2;
  }
}
