// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_note.hpp"

#include <ephor/note.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "event/error.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// Far above what a plugin has; a file that claims more is not believed.
constexpr std::size_t kHeadersMax = 1024;
constexpr std::size_t kNoteSegmentBytesMax = 4U << 20;
constexpr std::size_t kNotesMax = 64;
constexpr std::size_t kSymbolsMax = 1U << 18;
constexpr std::size_t kStringsBytesMax = 8U << 20;
constexpr int kDepthMax = 64;

#if defined(__x86_64__)
constexpr Elf64_Half kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr Elf64_Half kMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr Elf64_Half kMachine = EM_RISCV;
#else
constexpr Elf64_Half kMachine = EM_NONE;  // any
#endif

[[noreturn]] void refuse(const std::string& found, const std::string& expected) {
  throw HostError(EPHOR_INVALID, "found " + found + ", expected " + expected);
}

std::string bytes_text(const LibraryBytes& bytes, std::uint64_t offset, std::uint64_t size,
                       std::string_view what) {
  if (offset > bytes.size() || size > bytes.size() - offset) {
    refuse(std::string(what) + " at byte " + std::to_string(offset) + " of " +
               std::to_string(size) + " bytes in a file of " + std::to_string(bytes.size()),
           "it inside the file");
  }
  std::string out(size, '\0');
  bytes.read(offset, out.data(), out.size());
  return out;
}

template <typename Struct>
Struct struct_at(std::string_view text, std::size_t offset) {
  Struct out;
  std::memcpy(&out, text.data() + offset, sizeof out);
  return out;
}

template <typename Struct>
std::vector<Struct> table(const LibraryBytes& bytes, std::uint64_t offset, std::uint64_t count,
                          std::string_view what) {
  const std::string text = bytes_text(bytes, offset, count * sizeof(Struct), what);
  std::vector<Struct> out;
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(struct_at<Struct>(text, i * sizeof(Struct)));
  }
  return out;
}

Elf64_Ehdr header_of(const LibraryBytes& bytes) {
  const std::string plugin = "a plugin";
  constexpr const char* kExpected = "a shared library (ELF, 64 bits, little endian)";
  if (bytes.size() < sizeof(Elf64_Ehdr)) {
    refuse("no loadable library", plugin + (": it has " + std::to_string(bytes.size()) + " bytes"));
  }
  const auto header =
      struct_at<Elf64_Ehdr>(bytes_text(bytes, 0, sizeof(Elf64_Ehdr), "the ELF header"), 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    refuse("no loadable library", plugin + ": it is no ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_version != EV_CURRENT) {
    refuse("an ELF file of class " + std::to_string(header.e_ident[EI_CLASS]) + ", data " +
               std::to_string(header.e_ident[EI_DATA]) + ", version " +
               std::to_string(header.e_version),
           kExpected);
  }
  if (header.e_type != ET_DYN) {
    refuse("an ELF file of type " + std::to_string(header.e_type), kExpected);
  }
  if (kMachine != EM_NONE && header.e_machine != kMachine) {
    throw HostError(EPHOR_UNSUPPORTED,
                    "found a library for machine " + std::to_string(header.e_machine) +
                        ", expected machine " + std::to_string(kMachine) + " (ELF e_machine)");
  }
  return header;
}

// ---- notes

int depth_of(std::string_view json) {
  int depth = 0, deepest = 0;
  bool is_text = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char one = json[i];
    if (is_text) {
      if (one == '\\') ++i;
      if (one == '"') is_text = false;
    } else if (one == '"') {
      is_text = true;
    } else if (one == '{' || one == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (one == '}' || one == ']') {
      --depth;
    }
  }
  return deepest;
}

// Short, and ASCII wherever it is cut.
std::string shown(const Json& value) { return value.dump(-1, ' ', true).substr(0, 80); }

const Json& member(const Json& note, const char* name, bool (Json::*is_right)() const noexcept,
                   const char* expected) {
  const auto found = note.find(name);
  if (found == note.end()) refuse(std::string("no \"") + name + "\" in the note", expected);
  if (!((*found).*is_right)()) {
    refuse(shown(*found) + " as \"" + name + "\" in the note", expected);
  }
  return *found;
}

std::string text_of(const Json& note, const char* name) {
  return member(note, name, &Json::is_string, "a text").get<std::string>();
}

template <typename Number>
std::optional<Number> number_in(std::string_view text, int base = 10) {
  Number value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void take_abi(const Json& note, PluginNote& out) {
  const std::string text = text_of(note, "abi");
  const std::size_t dot = std::min(text.find('.'), text.size());
  const auto major = number_in<std::uint16_t>(std::string_view(text).substr(0, dot));
  const auto minor =
      number_in<std::uint16_t>(std::string_view(text).substr(std::min(dot + 1, text.size())));
  if (!major || !minor) {
    refuse("\"abi\": " + shown(text) + " in the note", "\"MAJOR.MINOR\"");
  }
  const Json& required = member(note, "abi_required", &Json::is_number_unsigned, "a number");
  if (required.get<std::uint64_t>() > UINT16_MAX) {
    refuse("\"abi_required\": " + shown(required) + " in the note", "at most 65535");
  }
  out.abi_major = *major;
  out.abi_minor = *minor;
  out.abi_minor_required = required.get<std::uint16_t>();
}

// A number, or what is left of a C expression: "0x01u | 0x02u".
std::uint32_t capabilities_in(const Json& note) {
  const auto found = note.find("capabilities");
  if (found == note.end()) return 0;
  if (found->is_number_unsigned() && found->get<std::uint64_t>() <= UINT32_MAX) {
    return found->get<std::uint32_t>();
  }
  std::uint32_t all = 0;
  bool is_good = found->is_string();
  std::string text = is_good ? found->get<std::string>() : std::string();
  std::erase_if(text, [](char one) { return std::strchr(" ()uUlL", one) != nullptr; });
  for (std::size_t from = 0; is_good && from <= text.size();) {
    const std::size_t to = std::min(text.find('|', from), text.size());
    std::string_view one = std::string_view(text).substr(from, to - from);
    const bool is_hexadecimal = one.starts_with("0x");
    if (is_hexadecimal) one.remove_prefix(2);
    const auto value = number_in<std::uint32_t>(one, is_hexadecimal ? 16 : 10);
    is_good = value.has_value();
    all |= value.value_or(0);
    from = to + 1;
  }
  if (!is_good) {
    refuse(shown(*found) + " as \"capabilities\" in the note",
           "a number, or C constants joined by |");
  }
  return all;
}

std::vector<std::string> texts_in(const Json& note, const char* name) {
  std::vector<std::string> out;
  if (!note.contains(name)) return out;
  for (const Json& one : member(note, name, &Json::is_array, "a list of texts")) {
    if (!one.is_string()) refuse(std::string("no text in \"") + name + "\" in the note", "texts");
    out.push_back(one.get<std::string>());
  }
  return out;
}

PluginNote note_in(std::string_view description) {
  const std::string_view text = description.substr(0, description.find('\0'));
  if (depth_of(text) > kDepthMax) {
    refuse("a note nested deeper than " + std::to_string(kDepthMax), "a flat one");
  }
  const Json note = Json::parse(text, nullptr, false);
  if (!note.is_object()) {
    refuse("a note of " + std::to_string(text.size()) + " bytes that is no JSON object",
           "one, as <ephor/note.h> says");
  }
  PluginNote out;
  out.id = text_of(note, "id");
  out.version = text_of(note, "version");
  out.summary = text_of(note, "summary");
  if (out.id.empty()) refuse("an empty \"id\" in the note", "a name");
  out.sdk = note.contains("sdk") ? text_of(note, "sdk") : "";
  out.license = note.contains("license") ? text_of(note, "license") : "";
  take_abi(note, out);
  out.capabilities = capabilities_in(note);
  out.required_extensions = texts_in(note, "required_extensions");
  out.optional_extensions = texts_in(note, "optional_extensions");
  if (note.contains("config_schema")) {
    out.config_schema = member(note, "config_schema", &Json::is_object, "a JSON Schema").dump();
  }
  if (note.contains("config_schema_hash")) {
    const std::string hash = text_of(note, "config_schema_hash");
    out.config_schema_hash = number_in<std::uint64_t>(hash, 16);
    if (!out.config_schema_hash || hash.size() != 16) {
      refuse(shown(hash) + " as \"config_schema_hash\" in the note", "16 hexadecimal digits");
    }
  }
  return out;
}

std::string hexadecimal(std::string_view bytes) {
  std::string out;
  for (const char one : bytes) {
    const auto byte = static_cast<unsigned char>(one);
    out += "0123456789abcdef"[byte >> 4U];
    out += "0123456789abcdef"[byte & 15U];
  }
  return out;
}

constexpr std::uint64_t rounded_up(std::uint64_t value, std::uint64_t to) {
  return (value + to - 1) / to * to;
}

// One PT_NOTE segment. Alignment 8 is that of some notes of the tool chain.
void read_notes(std::string_view segment, std::uint64_t alignment, LibraryFacts& out) {
  std::size_t at = 0;
  while (at + sizeof(Elf64_Nhdr) <= segment.size()) {
    const auto note = struct_at<Elf64_Nhdr>(segment, at);
    if (note.n_namesz == 0) {
      at += 4;  // padding: a note has an owner
      continue;
    }
    const std::uint64_t name_at = at + sizeof note;
    const std::uint64_t description_at = rounded_up(name_at + note.n_namesz, alignment);
    if (description_at > segment.size() || note.n_descsz > segment.size() - description_at) {
      refuse("a note of " + std::to_string(note.n_namesz) + " and " +
                 std::to_string(note.n_descsz) + " bytes at byte " + std::to_string(at) +
                 " of a segment of " + std::to_string(segment.size()),
             "it inside the segment");
    }
    const std::string_view name = segment.substr(name_at, note.n_namesz);
    const std::string_view description = segment.substr(description_at, note.n_descsz);
    using namespace std::string_view_literals;
    if (name == "GNU\0"sv && note.n_type == NT_GNU_BUILD_ID && note.n_descsz <= 64) {
      out.build_id = hexadecimal(description);
    }
    if (name == std::string_view(EPHOR_NOTE_OWNER, sizeof EPHOR_NOTE_OWNER) &&
        note.n_type == EPHOR_NOTE_TYPE) {
      if (out.notes.size() == kNotesMax) {
        refuse("more than " + std::to_string(kNotesMax) + " plugins in one file", "fewer");
      }
      out.notes.push_back(note_in(description));
    }
    at = std::min<std::uint64_t>(rounded_up(description_at + note.n_descsz, alignment),
                                 segment.size());
  }
}

// ---- exported symbols

bool is_exported(const Elf64_Sym& symbol) {
  const unsigned binding = ELF64_ST_BIND(symbol.st_info);
  const unsigned visibility = ELF64_ST_VISIBILITY(symbol.st_other);
  return symbol.st_shndx != SHN_UNDEF && binding != STB_LOCAL &&
         (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

// Only tells; a table that makes no sense leaves it unknown, the dynamic linker judges it.
void count_exports(const LibraryBytes& bytes, const Elf64_Ehdr& header, LibraryFacts& out) {
  if (header.e_shoff == 0 || header.e_shnum == 0 || header.e_shnum > kHeadersMax ||
      header.e_shentsize != sizeof(Elf64_Shdr)) {
    return;
  }
  try {
    const auto sections =
        table<Elf64_Shdr>(bytes, header.e_shoff, header.e_shnum, "section headers");
    const auto symbols = std::find_if(sections.begin(), sections.end(), [](const Elf64_Shdr& one) {
      return one.sh_type == SHT_DYNSYM;
    });
    if (symbols == sections.end() || symbols->sh_link >= sections.size()) return;
    const Elf64_Shdr& names = sections[symbols->sh_link];
    const std::uint64_t count = symbols->sh_size / sizeof(Elf64_Sym);
    if (count > kSymbolsMax || names.sh_size > kStringsBytesMax) return;
    const std::string texts = bytes_text(bytes, names.sh_offset, names.sh_size, "symbol names");
    std::uint64_t exported = 0;
    bool has_entry = false;
    for (const Elf64_Sym& symbol :
         table<Elf64_Sym>(bytes, symbols->sh_offset, count, "dynamic symbols")) {
      if (!is_exported(symbol)) continue;
      ++exported;
      constexpr std::string_view kEntry(EPHOR_ENTRY_SYMBOL, sizeof EPHOR_ENTRY_SYMBOL);
      if (symbol.st_name < texts.size() &&
          std::string_view(texts).substr(symbol.st_name, kEntry.size()) == kEntry) {
        has_entry = true;
      }
    }
    out.exported_count = exported;
    out.has_entry = has_entry;
  } catch (const HostError&) {
  }
}

class FileBytes final : public LibraryBytes {
 public:
  FileBytes(int descriptor, const fs::path& file) : descriptor_(descriptor) {
    struct stat status {};
    if (::fstat(descriptor, &status) != 0) {
      throw HostError(EPHOR_IO, file.string() + ": " + std::strerror(errno));
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  std::uint64_t size() const override { return size_; }
  void read(std::uint64_t offset, char* to, std::size_t size) const override {
    while (size > 0) {
      const ssize_t got = ::pread(descriptor_, to, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw HostError(EPHOR_IO, std::string("reading it: ") + std::strerror(errno));
      if (got == 0) refuse("its end while reading", "the file to stay as it is");
      to += got;
      offset += static_cast<std::uint64_t>(got);
      size -= static_cast<std::size_t>(got);
    }
  }

 private:
  int descriptor_;
  std::uint64_t size_ = 0;
};

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

LibraryFacts read_library(const LibraryBytes& bytes) {
  const Elf64_Ehdr header = header_of(bytes);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > kHeadersMax) {
    refuse(std::to_string(header.e_phnum) + " program headers of " +
               std::to_string(header.e_phentsize) + " bytes",
           "1 to " + std::to_string(kHeadersMax) + " of " + std::to_string(sizeof(Elf64_Phdr)));
  }
  LibraryFacts out;
  out.size = bytes.size();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen;
  std::uint64_t total = 0;
  for (const Elf64_Phdr& one :
       table<Elf64_Phdr>(bytes, header.e_phoff, header.e_phnum, "program headers")) {
    if (one.p_type != PT_NOTE) continue;
    // Some linkers name a segment twice.
    const std::pair<std::uint64_t, std::uint64_t> place{one.p_offset, one.p_filesz};
    if (std::find(seen.begin(), seen.end(), place) != seen.end()) continue;
    seen.push_back(place);
    if (one.p_filesz > kNoteSegmentBytesMax - total) {
      refuse("notes of more than " + std::to_string(kNoteSegmentBytesMax) + " bytes", "fewer");
    }
    total += one.p_filesz;
    read_notes(bytes_text(bytes, one.p_offset, one.p_filesz, "a segment of notes"),
               one.p_align == 8 ? 8 : 4, out);
  }
  count_exports(bytes, header, out);
  return out;
}

LibraryFacts read_library(int descriptor, const fs::path& file) {
  try {
    return read_library(FileBytes(descriptor, file));
  } catch (const HostError& failure) {
    throw HostError(failure.status(), file.string() + ": " + failure.what());
  }
}

LibraryFacts read_library(const fs::path& file) {
  return read_library(OpenedFile(file).descriptor(), file);
}

// Opening a pipe or a terminal could wait, opening a device could do something.
OpenedFile::OpenedFile(const fs::path& file) {
  const int place = ::open(file.c_str(), O_PATH | O_CLOEXEC);
  struct stat status {};
  if (place < 0 || ::fstat(place, &status) != 0) {
    const int problem = errno;
    if (place >= 0) ::close(place);
    throw HostError(EPHOR_NOT_FOUND,
                    file.string() + ": " + std::strerror(problem) + ", expected a plugin");
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(place);
    throw HostError(EPHOR_INVALID, file.string() + ": found " + kind_of(status.st_mode) +
                                       ", expected a shared library");
  }
  descriptor_ = ::open(("/proc/self/fd/" + std::to_string(place)).c_str(), O_RDONLY | O_CLOEXEC);
  const int problem = errno;
  ::close(place);
  if (descriptor_ < 0) {
    throw HostError(EPHOR_IO, file.string() + ": " + std::strerror(problem) +
                                  ", expected a file that can be read");
  }
}

OpenedFile::~OpenedFile() { ::close(descriptor_); }

}  // namespace ephor::host
