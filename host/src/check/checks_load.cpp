// SPDX-License-Identifier: Apache-2.0
//
// load/*: what the file is. None of these runs code of it, up to load/loads.
#include <ephor/abi.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

#include <dlfcn.h>
#include <time.h>

#include "check/check.hpp"
#include "check/context.hpp"

namespace ephor::host::check {
namespace {

namespace fs = std::filesystem;

std::string joined(const std::vector<std::string>& texts, std::size_t shown_max = 5) {
  std::string out;
  for (std::size_t i = 0; i < std::min(texts.size(), shown_max); ++i) {
    out += (i == 0 ? "" : ", ") + texts[i];
  }
  if (texts.size() > shown_max) out += " and " + std::to_string(texts.size() - shown_max) + " more";
  return out;
}

void is_elf(Context& context) {
  const ElfImage image(context.target().file);  // throws what was found and what was expected
  (void)image;
}

void one_exported_symbol(Context& context) {
  std::vector<std::string> others;
  bool has_entry = false;
  for (const ElfImage::Symbol& symbol : context.elf().symbols()) {
    if (!symbol.is_defined || symbol.binding == STB_LOCAL) continue;
    if (symbol.visibility == STV_HIDDEN || symbol.visibility == STV_INTERNAL) continue;
    if (symbol.name == EPHOR_ENTRY_SYMBOL) {
      has_entry = true;
    } else {
      others.push_back(symbol.name);
    }
  }
  if (!has_entry) Context::fail("no exported " EPHOR_ENTRY_SYMBOL, "this one symbol");
  if (!others.empty()) {
    Context::fail(std::to_string(others.size()) + " more exported symbols: " + joined(others),
                  EPHOR_ENTRY_SYMBOL " alone (-fvisibility=hidden and a linker map)");
  }
}

void no_unique_symbols(Context& context) {
  std::vector<std::string> unique;
  for (const ElfImage::Symbol& symbol : context.elf().symbols()) {
    if (symbol.is_defined && symbol.binding == STB_GNU_UNIQUE) unique.push_back(symbol.name);
  }
  if (!unique.empty()) {
    Context::fail("STB_GNU_UNIQUE symbols: " + joined(unique), "none (-fno-gnu-unique)");
  }
}

void no_executable_stack(Context& context) {
  const Elf64_Phdr* stack = context.elf().segment_of(PT_GNU_STACK);
  Context::expect(stack != nullptr, "no PT_GNU_STACK", "one without PF_X (-z noexecstack)");
  Context::expect((stack->p_flags & PF_X) == 0, "an executable stack",
                  "none (-z noexecstack; assembler sources need a .note.GNU-stack)");
}

void no_writable_code(Context& context) {
  for (const Elf64_Phdr& segment : context.elf().segments()) {
    if (segment.p_type != PT_LOAD) continue;
    if ((segment.p_flags & PF_W) != 0 && (segment.p_flags & PF_X) != 0) {
      Context::fail("a segment that is writable and executable", "either (not -Wl,-N)");
    }
  }
}

void no_text_relocations(Context& context) {
  const ElfImage& elf = context.elf();
  const bool has_flag = (elf.value_of(DT_FLAGS).value_or(0) & DF_TEXTREL) != 0;
  Context::expect(!elf.value_of(DT_TEXTREL).has_value() && !has_flag, "text relocations",
                  "none (compile everything with -fPIC)");
}

void read_only_relocations(Context& context) {
  Context::expect(context.elf().segment_of(PT_GNU_RELRO) != nullptr, "no PT_GNU_RELRO",
                  "one (-Wl,-z,relro)");
}

void no_foreign_search_path(Context& context) {
  const ElfImage& elf = context.elf();
  for (const Elf64_Sxword tag : {Elf64_Sxword{DT_RPATH}, Elf64_Sxword{DT_RUNPATH}}) {
    for (const std::string& list : elf.texts_of(tag)) {
      std::string rest = list;
      for (;;) {
        const std::size_t end = std::min(rest.find(':'), rest.size());
        const std::string path = rest.substr(0, end);
        const auto is_below = [&](std::string_view root) { return path.starts_with(root); };
        if (!is_below("$ORIGIN") && !is_below("${ORIGIN}") && !is_below("/usr/") &&
            !is_below("/opt/") && !is_below("/lib")) {
          Context::fail("the library search path \"" + path + "\"",
                        "none, $ORIGIN or one below /usr, /opt or /lib");
        }
        if (end == rest.size()) break;
        rest.erase(0, end + 1);
      }
    }
  }
}

bool is_plugin(const fs::path& file) {
  try {
    const ElfImage image(file);
    return std::any_of(image.symbols().begin(), image.symbols().end(), [](const auto& symbol) {
      return symbol.is_defined && symbol.name == EPHOR_ENTRY_SYMBOL;
    });
  } catch (const std::exception&) {
    return false;
  }
}

void needs_no_other_plugin(Context& context) {
  for (const std::string& name : context.elf().texts_of(DT_NEEDED)) {
    Context::expect(name.find('/') == std::string::npos, "that it needs " + name,
                    "libraries by their names, without a path");
    Context::expect(!is_plugin(context.target().file.parent_path() / name),
                    "that it needs " + name + ", a plugin", "that plugins meet through events");
  }
}

void loads(Context& context) {
  void* library = nullptr;
  context.step("load the library");
  const std::string failure = Context::load_error(context.target().file, library);
  if (!failure.empty()) {
    Context::fail("dlopen(RTLD_NOW) failed: " + failure);
  }
}

void entry(Context& context) {
  void* symbol = ::dlsym(context.library(), EPHOR_ENTRY_SYMBOL);
  Context::expect(symbol != nullptr, "no symbol " EPHOR_ENTRY_SYMBOL, "it");
  context.step("call " EPHOR_ENTRY_SYMBOL);
  Context::expect(reinterpret_cast<ephor_entry_function>(symbol)() != nullptr, "an entry at NULL",
                  "its table");
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void is_quick(Context& context) {
  constexpr double kSecondsMax = 1.0;
  const double cpu_before = cpu_seconds();
  const auto began = std::chrono::steady_clock::now();
  (void)context.entry();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const double cpu = cpu_seconds() - cpu_before;
  char text[64];
  std::snprintf(text, sizeof text, "%.1f ms (%.1f ms of CPU) to load it", seconds * 1e3, cpu * 1e3);
  // A busy machine makes it wait; a sleeping plugin uses no CPU and still waits for long.
  Context::expect(cpu < kSecondsMax && seconds < 3 * kSecondsMax, text, "less than 1 s");
  context.note(text);
}

// Everything that the entry leads to, as text.
std::string content_of(const ephor_entry& found) {
  std::string out(reinterpret_cast<const char*>(&found), offsetof(ephor_entry, infos));
  for (unsigned i = 0; i < found.info_count; ++i) {
    const ephor_plugin_info& info = *found.infos[i];
    out.append(reinterpret_cast<const char*>(&info), sizeof info);
    for (const ephor_view& text : {info.id, info.version, info.summary, info.config_schema}) {
      if (text.size > 0) out.append(text.data, text.size);
    }
  }
  return out;
}

void entry_is_pure(Context& context) {
  (void)context.info();  // what cannot be read is another check's
  const auto function =
      reinterpret_cast<ephor_entry_function>(::dlsym(context.library(), EPHOR_ENTRY_SYMBOL));
  const ephor_entry* first = function();
  const std::string content = content_of(*first);
  context.step("call " EPHOR_ENTRY_SYMBOL " again");
  const ephor_entry* second = function();
  Context::expect(first == second, "another address at the second call", "the same");
  Context::expect(content == content_of(*second), "another content at the second call", "the same");
}

// `run --watch` loads a private copy beside the old one.
void loads_twice(Context& context) {
  const ephor_plugin_info& info = context.info();
  const fs::path copy = context.target().directory / "copy.so";
  fs::copy_file(context.target().file, copy);
  context.step("load a copy beside it");
  void* library = nullptr;
  const std::string failure = Context::load_error(copy, library);
  if (!failure.empty()) Context::fail("a copy beside it does not load: " + failure);
  const auto function =
      reinterpret_cast<ephor_entry_function>(::dlsym(library, EPHOR_ENTRY_SYMBOL));
  Context::expect(function != nullptr, "no entry in the copy", "one");
  const ephor_entry* other = function();
  Context::expect(other != &context.entry() && other->infos[0] != &info,
                  "the copy's entry at the address of the first library's",
                  "one of its own (no symbol is shared)");
  Context::expect(other->infos[0]->create != info.create, "one create for both", "two");
}

}  // namespace

std::vector<Check> load_checks() {
  return {
      {"load/is_elf", "The file is a shared library of this machine.",
       "Anything else fails in the dynamic linker with a message nobody understands.", &is_elf},
      {"load/one_exported_symbol", "It exports ephor_plugin_entry_v1 and nothing else.",
       "An exported symbol can take the place of another library's: two plugins with different "
       "versions of one library then crash each other.",
       &one_exported_symbol},
      {"load/no_unique_symbols", "It defines no STB_GNU_UNIQUE symbol.",
       "They are shared by all libraries of the process in spite of RTLD_LOCAL, so a new version "
       "loaded beside the old one would use the old one's data.",
       &no_unique_symbols},
      {"load/no_executable_stack", "It asks for no executable stack.",
       "One such library makes the stacks of the whole host executable.", &no_executable_stack},
      {"load/no_writable_code", "No segment is writable and executable.",
       "Hardened systems refuse to map it.", &no_writable_code},
      {"load/no_text_relocations", "It has no text relocations.",
       "They make code writable while it loads; hardened systems refuse that.",
       &no_text_relocations},
      {"load/read_only_relocations", "Its relocated data is read-only after loading (RELRO).",
       "A stray write can otherwise redirect its calls.", &read_only_relocations},
      {"load/no_foreign_search_path", "Its RPATH and RUNPATH name no build directory.",
       "Whoever can write there chooses the code that the host runs.", &no_foreign_search_path},
      {"load/needs_no_other_plugin", "It needs no other plugin, and libraries by their names.",
       "A plugin that links another one cannot be replaced, updated or left out alone.",
       &needs_no_other_plugin},
      {"load/loads", "It loads with every symbol resolved (RTLD_NOW).",
       "A missing function would end the host later, at its first call.", &loads},
      {"load/entry", "Its entry function gives a table.", "Without it the host refuses the file.",
       &entry},
      {"load/is_quick", "Loading it takes less than a second.",
       "Loading happens before the host answers anything; work belongs to start.", &is_quick},
      {"load/entry_is_pure", "Its entry gives the same table each time.",
       "The host asks more than once, and keeps what it got first.", &entry_is_pure},
      {"load/loads_twice", "A copy of it loads beside it and is another plugin.",
       "A rebuilt plugin is loaded beside the old one, which stays mapped.", &loads_twice},
  };
}

}  // namespace ephor::host::check
