// SPDX-License-Identifier: Apache-2.0
#include "check/elf_image.hpp"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace ephor::host::check {
namespace {

#if defined(__x86_64__)
constexpr Elf64_Half kMachine = EM_X86_64;
constexpr const char* kMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr Elf64_Half kMachine = EM_AARCH64;
constexpr const char* kMachineName = "AArch64";
#elif defined(__riscv)
constexpr Elf64_Half kMachine = EM_RISCV;
constexpr const char* kMachineName = "RISC-V";
#else
#error "name the ELF machine of this processor"
#endif

[[noreturn]] void refuse(const std::string& found, const std::string& expected) {
  throw std::runtime_error("found " + found + ", expected " + expected);
}

}  // namespace

template <typename Type>
Type ElfImage::at(std::uint64_t offset) const {
  if (offset > bytes_.size() || bytes_.size() - offset < sizeof(Type)) {
    refuse("a table that ends behind the file's " + std::to_string(bytes_.size()) + " bytes",
           "a whole ELF file");
  }
  Type out;
  std::memcpy(&out, bytes_.data() + offset, sizeof out);
  return out;
}

ElfImage::ElfImage(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) refuse("no readable file " + file.string(), "a plugin");
  bytes_.assign(std::istreambuf_iterator<char>(in), {});
  if (!bytes_.starts_with("\177ELF")) {
    refuse(bytes_.empty() ? "an empty file" : "other first bytes", "\\177ELF");
  }
  if (bytes_.size() < sizeof header_)
    refuse(std::to_string(bytes_.size()) + " bytes", "an ELF header");
  header_ = at<Elf64_Ehdr>(0);
  if (header_.e_ident[EI_CLASS] != ELFCLASS64) refuse("32-bit ELF", "64-bit");
  if (header_.e_ident[EI_DATA] != ELFDATA2LSB) refuse("big-endian ELF", "little-endian");
  if (header_.e_machine != kMachine) {
    refuse("ELF machine " + std::to_string(header_.e_machine),
           std::to_string(kMachine) + " (" + kMachineName + ")");
  }
  if (header_.e_type != ET_DYN) {
    refuse("ELF type " + std::to_string(header_.e_type), "3, a shared library");
  }
  if (header_.e_phentsize != sizeof(Elf64_Phdr)) refuse("odd program headers", "those of ELF64");
  for (unsigned i = 0; i < header_.e_phnum; ++i) {
    segments_.push_back(at<Elf64_Phdr>(header_.e_phoff + i * sizeof(Elf64_Phdr)));
  }
  if (const Elf64_Phdr* segment = segment_of(PT_DYNAMIC); segment != nullptr) {
    for (std::uint64_t i = 0; i + sizeof(Elf64_Dyn) <= segment->p_filesz; i += sizeof(Elf64_Dyn)) {
      const auto entry = at<Elf64_Dyn>(segment->p_offset + i);
      if (entry.d_tag == DT_NULL) break;
      dynamic_.push_back(entry);
    }
  }
  if (dynamic_.empty()) refuse("no dynamic section", "a shared library");
  read_symbols();
}

const Elf64_Phdr* ElfImage::segment_of(Elf64_Word type) const {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == type) return &segment;
  }
  return nullptr;
}

std::optional<std::uint64_t> ElfImage::offset_of(std::uint64_t address) const {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
        address - segment.p_vaddr < segment.p_filesz) {
      return segment.p_offset + (address - segment.p_vaddr);
    }
  }
  return std::nullopt;
}

std::string ElfImage::text_at(std::uint64_t table, std::uint64_t table_size,
                              std::uint64_t offset) const {
  if (table > bytes_.size() || offset >= table_size || bytes_.size() - table < table_size) {
    refuse("a name outside of its table", "a whole ELF file");
  }
  const std::string_view rest(bytes_.data() + table + offset, table_size - offset);
  return std::string(rest.substr(0, rest.find('\0')));
}

std::optional<Elf64_Xword> ElfImage::value_of(Elf64_Sxword tag) const {
  for (const Elf64_Dyn& entry : dynamic_) {
    if (entry.d_tag == tag) return entry.d_un.d_val;
  }
  return std::nullopt;
}

std::vector<std::string> ElfImage::texts_of(Elf64_Sxword tag) const {
  std::vector<std::string> out;
  const auto table = offset_of(value_of(DT_STRTAB).value_or(0));
  const std::uint64_t size = value_of(DT_STRSZ).value_or(0);
  for (const Elf64_Dyn& entry : dynamic_) {
    if (entry.d_tag == tag && table) out.push_back(text_at(*table, size, entry.d_un.d_val));
  }
  return out;
}

// Their number stands in the section headers only (or in a hash table whose layout varies).
void ElfImage::read_symbols() {
  if (header_.e_shentsize != sizeof(Elf64_Shdr)) refuse("odd section headers", "those of ELF64");
  for (unsigned i = 0; i < header_.e_shnum; ++i) {
    const auto section = at<Elf64_Shdr>(header_.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type != SHT_DYNSYM) continue;
    const auto names =
        at<Elf64_Shdr>(header_.e_shoff + std::uint64_t{section.sh_link} * sizeof(Elf64_Shdr));
    for (std::uint64_t k = sizeof(Elf64_Sym); k + sizeof(Elf64_Sym) <= section.sh_size;
         k += sizeof(Elf64_Sym)) {
      const auto symbol = at<Elf64_Sym>(section.sh_offset + k);
      symbols_.push_back({text_at(names.sh_offset, names.sh_size, symbol.st_name),
                          static_cast<unsigned>(ELF64_ST_BIND(symbol.st_info)),
                          static_cast<unsigned>(ELF64_ST_VISIBILITY(symbol.st_other)),
                          symbol.st_shndx != SHN_UNDEF});
    }
    return;
  }
  refuse("no dynamic symbols", "a shared library that exports its entry");
}

}  // namespace ephor::host::check
