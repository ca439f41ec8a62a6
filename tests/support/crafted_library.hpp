// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a shared library that has notes and nothing else, made by hand after the ELF
// specification (Tool Interface Standard 1.2; ELF-64 draft 1.5): no compiler, no <elf.h>.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ephor::testing {

inline void put_number(std::string& bytes, std::size_t at, std::uint64_t value, std::size_t size) {
  if (bytes.size() < at + size) bytes.resize(at + size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

inline std::string crafted_note(std::string_view owner, std::uint32_t type,
                                std::string_view description) {
  std::string out;
  put_number(out, 0, owner.size() + 1, 4);
  put_number(out, 4, description.size(), 4);
  put_number(out, 8, type, 4);
  out += owner;
  out += '\0';
  out.resize((out.size() + 3) / 4 * 4, '\0');
  out += description;
  out.resize((out.size() + 3) / 4 * 4, '\0');
  return out;
}

// Where the fields are that tests break.
inline constexpr std::size_t kAtClass = 4, kAtData = 5, kAtType = 16, kAtMachine = 18,
                             kAtProgramHeaders = 32, kAtProgramHeaderCount = 56,
                             kAtSegmentOffset = 64 + 8, kAtSegmentSize = 64 + 32, kAtNotes = 120;

inline std::string crafted_library(std::string_view notes) {
  std::string out(
      "\x7f"
      "ELF\x02\x01\x01",
      7);
  out.resize(64, '\0');
  put_number(out, kAtType, 3, 2);
#if defined(__aarch64__)
  put_number(out, kAtMachine, 183, 2);
#else
  put_number(out, kAtMachine, 62, 2);
#endif
  put_number(out, 20, 1, 4);
  put_number(out, kAtProgramHeaders, 64, 8);
  put_number(out, 52, 64, 2);
  put_number(out, 54, 56, 2);
  put_number(out, kAtProgramHeaderCount, 1, 2);
  put_number(out, 64, 4, 4);  // PT_NOTE
  put_number(out, 68, 4, 4);
  put_number(out, kAtSegmentOffset, kAtNotes, 8);
  put_number(out, kAtSegmentSize, notes.size(), 8);
  put_number(out, 112, 4, 8);
  out += notes;
  return out;
}

}  // namespace ephor::testing
