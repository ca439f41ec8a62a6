#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# note.sh SDK_INCLUDE CC CXX: note.h is clean C11, C17 and C++11 to C++20; the note that EPHOR_NOTE and
# EPHOR_PLUGIN make is a note segment of the library, and stays one through --gc-sections, every linker
# that is here, strip and objcopy. Clang is tried as well where it is installed.
set -euo pipefail
include=$1 cc=$2 cxx=$3
warnings=(-Wall -Wextra -pedantic -Werror -I "$include")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/note.c" <<'END_C'
#include <ephor/note.h>
EPHOR_NOTE("one", "1.0.0", "first", EPHOR_CAP_SOURCE | EPHOR_CAP_CONCURRENT_QUERY, "{\"type\":\"object\"}");
EPHOR_NOTE_WITH("two", "1.0.0", "second", 0, "{}", ",\"license\":\"MIT\"");
END_C
cp "$scratch/note.c" "$scratch/note.cpp"
cat >"$scratch/plugin.cpp" <<'END_CPP'
#include <ephor/plugin.hpp>
namespace own {
class One final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "says \"one\"";
  static constexpr std::string_view kLicense = "MIT";
  static constexpr std::uint32_t kCapabilities = EPHOR_CAP_SOURCE;
  One(ephor::Host, std::string_view) {}
};
}  // namespace own
EPHOR_PLUGIN(own::One, "one")
END_CPP

# is_whole FILE WORDS...: they are in a PT_NOTE segment.
is_whole() {
  local file=$1
  shift
  python3 - "$file" "$@" <<'END_PYTHON'
import struct, sys
data = open(sys.argv[1], "rb").read()
start, = struct.unpack_from("<Q", data, 32)
size, count = struct.unpack_from("<HH", data, 54)
notes = b""
for i in range(count):
    kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", data, start + i * size)
    if kind == 4:
        notes += data[offset:offset + length]
missing = [word for word in sys.argv[2:] if word.encode() not in notes]
if missing:
    sys.exit(f"{sys.argv[1]}: no {missing} in its notes")
END_PYTHON
}

try() { # try COMPILER-OF-C COMPILER-OF-C++
  for standard in c11 c17; do "$1" -std=$standard "${warnings[@]}" -c "$scratch/note.c" -o "$scratch/note.o"; done
  for standard in c++11 c++14 c++17 c++20; do
    "$2" -std=$standard "${warnings[@]}" -Wshadow -c "$scratch/note.cpp" -o "$scratch/note.o"
  done
  "$2" -shared "$scratch/note.o" -o "$scratch/c.so"
  is_whole "$scratch/c.so" '"id":"one"' '"id":"two"' '"license":"MIT"' '0x02u | 0x01u'
  echo "note.h: $1 and $2"
  for linker in bfd gold lld; do
    if [ -z "$(command -v ld.$linker)" ]; then
      echo "SKIPPED: no ld.$linker is here"
      continue
    fi
    for sanitizer in -O2 -fsanitize=address; do
      if ! "$2" -std=c++20 "${warnings[@]}" -Wshadow -fPIC -ffunction-sections -fdata-sections $sanitizer -fuse-ld=$linker \
        -shared -Wl,--gc-sections "$scratch/plugin.cpp" -o "$scratch/p.so" 2>"$scratch/errors"; then
        # A sanitizer needs its library.
        if [ "$sanitizer" = -O2 ]; then
          cat "$scratch/errors" >&2
          exit 1
        fi
        echo "SKIPPED: $2 $sanitizer does not link here"
        continue
      fi
      objcopy --strip-debug "$scratch/p.so" "$scratch/debug.so"
      strip --strip-all "$scratch/p.so"
      for file in p debug; do
        is_whole "$scratch/$file.so" '"id":"one"' 'says \"one\"' '"capabilities":2' '"license":"MIT"'
      done
      echo "EPHOR_PLUGIN: $2, ld.$linker, $sanitizer"
    done
  done
}

try "$cc" "$cxx"
if command -v clang++ >/dev/null && [ "$(basename "$cxx")" != clang++ ]; then
  try clang clang++
else
  echo "SKIPPED: no second compiler is here"
fi
