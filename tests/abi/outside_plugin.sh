#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# outside_plugin.sh BUILD CC CXX: installs the SDK alone and builds every example against the installed
# package, each by its own CMakeLists.txt in a folder of its own, as somebody outside this repository
# does; without a warning, and with its tests.
set -euo pipefail
build=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# quietly COMMAND...: its output is shown only if it fails.
quietly() { "$@" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; echo "failed: $*" >&2; exit 1; }; }

quietly cmake --install "$build" --prefix "$scratch/prefix" --component sdk
# The folder's name differs from run to run; the compiler's cache must not see it.
export CCACHE_BASEDIR="$scratch" CCACHE_NOHASHDIR=1
configure=(-G Ninja -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_C_COMPILER="$2"
  -DCMAKE_CXX_COMPILER="$3" -DCMAKE_C_FLAGS="-Wall -Wextra -Wpedantic -Wshadow -Werror"
  -DCMAKE_CXX_FLAGS="-O0 -Wall -Wextra -Wpedantic -Wshadow -Werror")
if command -v ccache >/dev/null; then
  configure+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi

count=0
for example in "$here"/../../sdk/examples/*/; do
  name=$(basename "$example")
  cp -r "$example" "$scratch/$name"
  quietly cmake -S "$scratch/$name" -B "$scratch/$name/b" "${configure[@]}"
  quietly cmake --build "$scratch/$name/b"
  "$here/exports.sh" "$scratch/$name/b/lib/ephor/plugins"
  # The C example has no test: the fake host is C++.
  if [ "$name" != minimal_c ]; then
    quietly ctest --test-dir "$scratch/$name/b" --output-on-failure --no-tests=error
  fi
  count=$((count + 1))
done
if [ $count -ne 6 ]; then
  echo "found $count examples, expected 6" >&2
  exit 1
fi

# The SDK's major is what a plugin asks for; another one is refused.
sed -i 's/EphorSDK 1 REQUIRED/EphorSDK 2 REQUIRED/' "$scratch/minimal_c/CMakeLists.txt"
if cmake -S "$scratch/minimal_c" -B "$scratch/other" -G Ninja \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" >/dev/null 2>&1; then
  echo "find_package(EphorSDK 2) found major 1" >&2
  exit 1
fi
echo "outside plugins: ok, $count examples"
