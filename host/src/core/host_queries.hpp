// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace ephor::host {

class BusReport;
class Host;

// What the host itself answers, with routes onto it: system.bus (GET /api/system/bus) and
// system.status (GET /api/system/status). Both outlive the registry's use of them. [control]
void add_host_queries(Host& host, BusReport& report);

}  // namespace ephor::host
