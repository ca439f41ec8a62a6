// SPDX-License-Identifier: Apache-2.0
//
// Time zones of the IANA database, without the C library's process-wide TZ: g++ 12 has no
// std::chrono::locate_zone. Reads TZif files (RFC 8536) and their POSIX footer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::reporter {

class TimeZone {
 public:
  // "UTC", "+02:00", or a name of the database such as "Europe/Paris". Throws Error(EPHOR_INVALID)
  // if there is no such zone or its file is unreadable.
  static TimeZone load(std::string_view name,
                       const std::filesystem::path& database = "/usr/share/zoneinfo");
  // `file`: the bytes of a TZif file.
  static TimeZone parse(std::string_view name, std::string_view file);

  const std::string& name() const { return name_; }
  // East positive.
  std::int32_t offset_s(std::int64_t utc_s) const;
  // The first instant whose local time has reached `local_s`: that of the clock's first pass where
  // a local time exists twice, the end of the gap where it does not exist.
  std::int64_t to_utc(std::int64_t local_s) const;

 private:
  struct Transition {
    std::int64_t utc_s;
    std::int32_t offset_s;  // from here on
  };
  void extend(std::string_view posix);

  std::string name_ = "UTC";
  std::int32_t first_offset_s_ = 0;
  std::vector<Transition> transitions_;
};

}  // namespace ephor::reporter
