// SPDX-License-Identifier: Apache-2.0
//
// A shared library as its file says it is, read without running any of it.
#pragma once

#include <elf.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host::check {

class ElfImage {
 public:
  struct Symbol {
    std::string name;
    unsigned binding = 0;     // STB_*
    unsigned visibility = 0;  // STV_*
    bool is_defined = false;
  };

  // Throws std::runtime_error: what was found, what was expected. No byte of the file is trusted.
  explicit ElfImage(const std::filesystem::path& file);

  const Elf64_Ehdr& header() const { return header_; }
  const std::vector<Elf64_Phdr>& segments() const { return segments_; }
  const std::vector<Symbol>& symbols() const { return symbols_; }  // of the dynamic table
  const std::vector<Elf64_Dyn>& dynamic() const { return dynamic_; }

  // The texts of every entry of `tag` (DT_NEEDED, DT_RUNPATH).
  std::vector<std::string> texts_of(Elf64_Sxword tag) const;
  std::optional<Elf64_Xword> value_of(Elf64_Sxword tag) const;
  const Elf64_Phdr* segment_of(Elf64_Word type) const;

 private:
  template <typename Type>
  Type at(std::uint64_t offset) const;
  std::string text_at(std::uint64_t table, std::uint64_t table_size, std::uint64_t offset) const;
  std::optional<std::uint64_t> offset_of(std::uint64_t address) const;
  void read_symbols();

  std::string bytes_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
  std::vector<Elf64_Dyn> dynamic_;
  std::vector<Symbol> symbols_;
};

}  // namespace ephor::host::check
