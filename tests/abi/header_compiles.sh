#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# header_compiles.sh SDK_INCLUDE CC CXX: abi.h is clean C11, C17 and C++11 to C++20, includes nothing
# but <stddef.h> and <stdint.h>, and each C++ header of the SDK that needs no library compiles alone.
set -euo pipefail
include=$1 cc=$2 cxx=$3
warnings=(-Wall -Wextra -pedantic -Werror -fsyntax-only -I "$include")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

printf '#include <ephor/abi.h>\nint main(void) { return (int)EPHOR_OK; }\n' >"$scratch/abi.c"
cp "$scratch/abi.c" "$scratch/abi.cpp"
for standard in c11 c17; do
  "$cc" -std=$standard "${warnings[@]}" "$scratch/abi.c"
  echo "abi.h: $standard"
done
for standard in c++11 c++14 c++17 c++20; do
  "$cxx" -std=$standard "${warnings[@]}" "$scratch/abi.cpp"
  echo "abi.h: $standard"
done

others=$(grep -E '^[[:space:]]*#[[:space:]]*include' "$include/ephor/abi.h" |
  grep -vE '<(stddef|stdint)\.h>' || true)
if [ -n "$others" ]; then
  echo "abi.h includes more than <stddef.h> and <stdint.h>: $others" >&2
  exit 1
fi
for header in plugin state testing/json_value testing/cloud_event testing/fake_host; do
  printf '#include <ephor/%s.hpp>\nint main() {}\n' "$header" >"$scratch/alone.cpp"
  "$cxx" -std=c++20 "${warnings[@]}" -Wshadow "$scratch/alone.cpp"
  echo "$header.hpp: alone"
done
