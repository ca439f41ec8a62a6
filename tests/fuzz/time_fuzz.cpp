// SPDX-License-Identifier: Apache-2.0
//
// Times as text. The host (event/times) and the plugins (ephor/times.hpp) read them with code of
// their own; both must say the same of every text, or an event lands elsewhere than a plugin
// thinks.
#include <ephor/times.hpp>

#include <optional>

#include "event/times.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::optional<ephor::host::ParsedTime> host = ephor::host::parse_time(text);
  const std::optional<std::int64_t> plugin = ephor::parse_time(text);
  EPHOR_PROMISE(host.has_value() == plugin.has_value(), "both take it or neither");
  if (!host) return 0;
  EPHOR_PROMISE(host->ns == *plugin, "both read the same");
  const std::string written = ephor::host::format_time(host->ns);
  EPHOR_PROMISE(written == ephor::format_time(host->ns), "both write the same");
  const auto again = ephor::host::parse_time(written);
  EPHOR_PROMISE(again && again->ns == host->ns && !again->is_naive, "what is written is read");
  const std::string short_text = ephor::format_time(host->ns, ephor::TimeFraction::shortest);
  EPHOR_PROMISE(ephor::parse_time(short_text) == host->ns, "in its short form too");
  return 0;
}
