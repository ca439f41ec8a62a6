// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace ephor::host {

enum class RunMode {
  live,     // sources bring events in; dispatchers run freely
  replay,   // a file or journal is read in rounds; sources are not started
  offline,  // state is loaded and brought up to date in memory; nothing is written
};

}  // namespace ephor::host
