// SPDX-License-Identifier: Apache-2.0
//
// The least a plugin can do with an event, so that what is measured is the way to it. Its state
// tells that it was done.
#include <ephor/plugin.hpp>

namespace ephor::hop {

class Hop final : public Plugin {
 public:
  Hop(Host host, std::string_view) { host.subscribe({">"}); }
  void on_event(const Event& event) override { sum_ += event.sequence; }
  void save(const Rows&, std::string& state) override { state = std::to_string(sum_); }
  bool load(std::uint32_t, std::string_view) override { return false; }

 private:
  std::uint64_t sum_ = 0;
};

}  // namespace ephor::hop

EPHOR_PLUGIN(ephor::hop::Hop, "hop_cpp")
