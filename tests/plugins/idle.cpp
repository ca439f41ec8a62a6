// SPDX-License-Identifier: Apache-2.0
//
// Looks at one byte of each event and does nothing else: what is left is the cost of delivery.
#include <ephor/plugin.hpp>

namespace ephor::idle {

class Idle final : public Plugin {
 public:
  Idle(Host host, std::string_view) { host.subscribe({">"}); }
  void on_event(const Event& event) override {
    if (event.record_length > 0) seen_ = seen_ + static_cast<unsigned char>(event.record[0]);
  }

 private:
  volatile std::uint64_t seen_ = 0;  // so that the look is not left out
};

}  // namespace ephor::idle

EPHOR_PLUGIN(ephor::idle::Idle, "idle")
