#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sdk_package.sh BUILD CC CXX: the installed SDK as strangers use it: moved to another place; from a
# project of C alone; with every compiler and linker there is; with sanitizers; by pkg-config.
set -euo pipefail
build=$1 cc=$2 cxx=$3
export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "$*" >&2
  exit 1
}
# quietly COMMAND...: its output is shown only if it fails.
quietly() { "$@" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; fail "failed: $*"; }; }
# refused WORDS COMMAND...: the command fails and says so in these words.
refused() {
  local words=$1
  shift
  if "$@" >"$scratch/output" 2>&1; then fail "succeeded, expected a refusal: $*"; fi
  # CMake breaks its lines.
  tr -s ' \n' ' ' <"$scratch/output" | grep -qF -- "$words" ||
    { cat "$scratch/output" >&2; fail "found no \"$words\" in the output of: $*"; }
}
loads() {
  if [ -x "$build/bin/ephor" ]; then
    "$build/bin/ephor" plugin inspect "$1" | grep -q '"id": "minimal_c"' || fail "$1: does not load"
  fi
}

# The package is found where it was moved to, not where it was installed.
quietly cmake --install "$build" --prefix "$scratch/first" --component sdk
mv "$scratch/first" "$scratch/prefix with space"
prefix="$scratch/prefix with space"
if grep -rIl -e "$scratch/first" -e "$build" "$prefix"; then fail "these files name the build"; fi

# ---- C alone
mkdir "$scratch/c"
cp "$prefix/share/ephor/examples/minimal_c/minimal.c" "$scratch/c/minimal.c"
cat >"$scratch/c/CMakeLists.txt" <<'END_OF_FILE'
cmake_minimum_required(VERSION 3.25)
project(only_c LANGUAGES C)
find_package(EphorSDK 1 REQUIRED)
enable_testing()
ephor_add_plugin(minimal_c ENTRY minimal.c)
ephor_add_plugin(kept_here ENTRY minimal.c NO_INSTALL)
ephor_check_plugin(minimal_c ARGUMENTS --only load)
END_OF_FILE
printf '#!/bin/sh\necho "$@" >"%s"\n' "$scratch/asked" >"$scratch/ephor"
chmod +x "$scratch/ephor"
# configure NAME ARGUMENT...: into $scratch/NAME
configure() {
  local name=$1
  shift
  cmake -S "$scratch/c" -B "$scratch/$name" -DCMAKE_PREFIX_PATH="$prefix" "$@"
}
quietly configure plain -DCMAKE_C_COMPILER="$cc" -DEPHOR_PROGRAM="$scratch/ephor"
quietly cmake --build "$scratch/plain"
"$here/exports.sh" "$scratch/plain/lib/ephor/plugins" >/dev/null
loads "$scratch/plain/lib/ephor/plugins/minimal_c.so"
quietly cmake --install "$scratch/plain" --prefix "$scratch/installed"
found=$(cd "$scratch/installed" && find . -type f)
[ "$found" = ./lib/ephor/plugins/minimal_c.so ] || fail "installed: found $found"
quietly ctest --test-dir "$scratch/plain" --no-tests=error
expected="plugin check $scratch/plain/lib/ephor/plugins/minimal_c.so --only load"
[ "$(cat "$scratch/asked")" = "$expected" ] || fail "asked $(cat "$scratch/asked"), expected $expected"
echo "C alone: ok"

# A missing function is an error of the linker, not of the host; a sanitizer's are allowed.
printf 'void nowhere(void);\nvoid used(void) { nowhere(); }\n' >"$scratch/c/more.c"
sed -i 's/minimal_c ENTRY minimal.c/minimal_c ENTRY minimal.c more.c/' "$scratch/c/CMakeLists.txt"
refused 'found "more.c", expected ENTRY FILE' configure wrong
sed -i 's/ENTRY minimal.c more.c/ENTRY minimal.c SOURCES more.c/' "$scratch/c/CMakeLists.txt"
sed -i '1i void used(void);\n#define HOLD used()' "$scratch/c/minimal.c"
sed -i 's/^  return &entry;/  HOLD;\n  return \&entry;/' "$scratch/c/minimal.c"
quietly configure undefined -DCMAKE_C_COMPILER="$cc"
refused nowhere cmake --build "$scratch/undefined" --target ephor_plugin_minimal_c
printf 'void used(void) {}\n' >"$scratch/c/more.c"
quietly configure sanitized -DCMAKE_C_COMPILER="$cc" -DCMAKE_C_FLAGS=-fsanitize=address
quietly cmake --build "$scratch/sanitized" --target ephor_plugin_minimal_c
"$here/exports.sh" "$scratch/sanitized/lib/ephor/plugins" >/dev/null
sed -i 's/(minimal_c ENTRY minimal.c/(minimal_c/' "$scratch/c/CMakeLists.txt"
refused "found no ENTRY" configure no_entry
echo "missing functions, sanitizers, wrong arguments: ok"

# ---- every compiler and linker there is
mkdir "$scratch/cpp"
cat >"$scratch/cpp/plugin.cpp" <<'END_OF_FILE'
#include <ephor/plugin.hpp>
#include "thinking.hpp"
class Outside final : public ephor::Plugin {
 public:
  static constexpr std::string_view kSummary = "Built with whatever is there";
  Outside(ephor::Host host, std::string_view) : host_(std::move(host)) { host_.subscribe({">"}); }
  void on_event(const ephor::Event&) override { ++counted<int>(); }

 private:
  ephor::Host host_;
};
EPHOR_PLUGIN(Outside, "outside")
END_OF_FILE
mkdir "$scratch/cpp/src"
cat >"$scratch/cpp/src/thinking.hpp" <<'END_OF_FILE'
#pragma once
// A static in an inline function is STB_GNU_UNIQUE with g++ unless it is told otherwise.
template <typename T>
T& counted() {
  static T count{};
  return count;
}
int think();
END_OF_FILE
printf '#include "thinking.hpp"\nint think() { return ++counted<int>(); }\n' \
  >"$scratch/cpp/src/thinking.cpp"
cat >"$scratch/cpp/CMakeLists.txt" <<'END_OF_FILE'
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES CXX)
find_package(EphorSDK 1 REQUIRED)
ephor_add_plugin(outside ENTRY plugin.cpp SOURCES src/thinking.cpp)
END_OF_FILE
compilers=("$cxx")
if command -v clang++ >/dev/null && [ "$(basename "$cxx")" != clang++ ]; then
  compilers+=("$(command -v clang++)")
else
  echo "SKIPPED: no clang++ besides $cxx"
fi
for compiler in "${compilers[@]}"; do
  for linker in bfd gold lld mold; do
    if ! command -v "ld.$linker" >/dev/null; then continue; fi
    name=$(basename "$compiler")-$linker
    quietly cmake -S "$scratch/cpp" -B "$scratch/$name" -DCMAKE_PREFIX_PATH="$prefix" \
      -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" \
      -DCMAKE_MODULE_LINKER_FLAGS="-fuse-ld=$linker"
    quietly cmake --build "$scratch/$name"
    library=$scratch/$name/lib/ephor/plugins/outside.so
    "$here/exports.sh" "$(dirname "$library")" >/dev/null
    objects=$(find "$scratch/$name" -name '*.o')
    # shellcheck disable=SC2086
    if nm $objects "$library" | grep ' u '; then fail "$name: found unique symbols"; fi
    if readelf -d "$library" | grep -E 'RPATH|RUNPATH|TEXTREL'; then fail "$name: see above"; fi
    echo "$name: ok"
  done
done

# ---- without CMake
if ! command -v pkg-config >/dev/null; then
  echo "SKIPPED: no pkg-config"
  exit 0
fi
mv "$prefix" "$scratch/prefix"  # pkg-config's users split words
export PKG_CONFIG_PATH=$scratch/prefix/share/pkgconfig
# shellcheck disable=SC2046
quietly "$cc" -shared -fPIC -fvisibility=hidden -Wall -Wextra -Werror -pedantic \
  $(pkg-config --cflags ephor-sdk) -Wl,-z,defs \
  -Wl,--version-script="$(pkg-config --variable=versionscript ephor-sdk)" \
  -o "$scratch/minimal_c.so" "$scratch/prefix/share/ephor/examples/minimal_c/minimal.c"
mkdir "$scratch/by_hand"
mv "$scratch/minimal_c.so" "$scratch/by_hand/"
"$here/exports.sh" "$scratch/by_hand" >/dev/null
loads "$scratch/by_hand/minimal_c.so"
for variable in cmakedir includedir examplesdir; do
  [ -d "$(pkg-config --variable=$variable ephor-sdk)" ] || fail "pkg-config: no folder $variable"
done
pkg-config --exists 'ephor-sdk >= 1.0 ephor-sdk < 2' || fail "pkg-config: wrong version"
case $(pkg-config --variable=plugindir ephor-sdk) in
  */lib/ephor/plugins) ;;
  *) fail "pkg-config: plugindir is $(pkg-config --variable=plugindir ephor-sdk)" ;;
esac
echo "pkg-config: ok"
