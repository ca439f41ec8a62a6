// SPDX-License-Identifier: Apache-2.0
//
// Builds the note of <ephor/note.h> while compiling; <ephor/plugin.hpp> includes it.
#pragma once

#include <ephor/note.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ephor {

// FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923): eight lines that a compiler can run on a schema. It
// tells a stale description from a current one and is no protection; SHA-256 of the file is.
constexpr std::uint64_t fnv1a(const char* text, std::size_t size) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (std::size_t i = 0; i < size; ++i) {
    hash = (hash ^ static_cast<unsigned char>(text[i])) * 0x100000001b3U;
  }
  return hash;
}

namespace detail {

// What a note says; each text as it is, unescaped.
struct NoteFacts {
  std::string_view id, version, summary, config_schema;
  std::string_view license = {};
  std::uint32_t capabilities = 0;
};

// Appends to `out`, or only counts if there is no `out`.
class NoteText {
 public:
  constexpr explicit NoteText(char* out) : out_(out) {}
  constexpr std::size_t size() const { return size_; }

  constexpr void put(char one) {
    if (out_ != nullptr) out_[size_] = one;
    ++size_;
  }
  // Without looking at the text where it only counts, so that a long schema stays cheap: compilers
  // bound the steps of a constant expression (clang: 1048576).
  constexpr void raw(std::string_view text) {
    if (out_ != nullptr) {
      const char* from = text.data();
      char* to = out_ + size_;
      for (std::size_t i = 0; i < text.size(); ++i) to[i] = from[i];
    }
    size_ += text.size();
  }
  constexpr void text(std::string_view name, std::string_view value) {
    raw(",\"");
    raw(name);
    raw("\":\"");
    for (const char one : value) escaped(one);
    put('"');
  }
  constexpr void number(std::uint64_t value) {
    if (value >= 10) number(value / 10);
    put(static_cast<char>('0' + value % 10));
  }
  constexpr void hexadecimal(std::uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4) put(digit((value >> shift) & 15U));
  }

 private:
  static constexpr char digit(std::uint64_t value) { return "0123456789abcdef"[value]; }
  constexpr void escaped(char one) {
    const auto byte = static_cast<unsigned char>(one);
    if (one == '"' || one == '\\') {
      put('\\');
      put(one);
    } else if (byte < 0x20) {
      raw("\\u00");
      put(digit(byte >> 4U));
      put(digit(byte & 15U));
    } else {
      put(one);
    }
  }

  char* out_;
  std::size_t size_ = 0;
};

// The JSON object. Returns its size; `out` may be nullptr.
constexpr std::size_t write_note(const NoteFacts& facts, char* out) {
  NoteText note(out);
  note.raw("{\"note\":1");
  note.text("id", facts.id);
  note.text("version", facts.version);
  note.text("summary", facts.summary);
  note.raw(",\"abi\":\"");
  note.number(EPHOR_ABI_MAJOR);
  note.put('.');
  note.number(EPHOR_ABI_MINOR);
  note.raw("\",\"abi_required\":0,\"capabilities\":");
  note.number(facts.capabilities);
  note.text("sdk", EPHOR_SDK_VERSION);
  if (!facts.license.empty()) note.text("license", facts.license);
  if (facts.config_schema.size() <= EPHOR_NOTE_SCHEMA_MAX) {
    note.raw(",\"config_schema_hash\":\"");
    note.hexadecimal(
        out == nullptr ? 0 : fnv1a(facts.config_schema.data(), facts.config_schema.size()));
    note.raw("\",\"config_schema\":");
    note.raw(facts.config_schema);
  }
  note.put('}');
  return note.size();
}

// The note as it stands in the file. `DescriptionSize` counts at least one zero byte at the end.
template <std::size_t DescriptionSize>
struct Note {
  static_assert(DescriptionSize % 4 == 0);
  std::uint32_t name_size = sizeof(EPHOR_NOTE_OWNER);
  std::uint32_t description_size = DescriptionSize;
  std::uint32_t type = EPHOR_NOTE_TYPE;
  char name[(sizeof(EPHOR_NOTE_OWNER) + 3) / 4 * 4] = EPHOR_NOTE_OWNER;
  char description[DescriptionSize] = {};
};

constexpr std::size_t note_size(const NoteFacts& facts) {
  return write_note(facts, nullptr) / 4 * 4 + 4;
}

template <std::size_t DescriptionSize>
constexpr Note<DescriptionSize> make_note(const NoteFacts& facts) {
  Note<DescriptionSize> note;
  write_note(facts, note.description);
  return note;
}

}  // namespace detail
}  // namespace ephor
