#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# header_compiles.sh SDK_INCLUDE CC CXX: abi.h is clean C11, C17 and C++11 to C++20 (C23 and C++23 where
# the compiler knows them), for the given compilers and for clang where it is there; in each of these
# modes the golden asserts hold. It includes nothing but <stddef.h> and <stdint.h>, and each C++ header
# of the SDK that needs no library compiles alone.
set -euo pipefail
include=$1 cc=$2 cxx=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
warnings=(-Wall -Wextra -pedantic -Werror -fsyntax-only -I "$include" -I "$here")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

printf '#include <ephor/abi.h>\nint main(void) { return (int)EPHOR_OK; }\n' >"$scratch/abi.c"
cp "$scratch/abi.c" "$scratch/abi.cpp"
printf '#include "golden_1_0.h"\nint main(void) { return 0; }\n' >"$scratch/golden.c"
cp "$scratch/golden.c" "$scratch/golden.cpp"

knows() { "$1" "-std=$2" -fsyntax-only -x "$3" /dev/null 2>/dev/null; }
# modes COMPILER LANGUAGE SUFFIX STANDARD...: a standard with a ? may be unknown to the compiler.
modes() {
  local compiler=$1 language=$2 suffix=$3 standard
  shift 3
  for standard in "$@"; do
    if [ "${standard%\?}" != "$standard" ]; then
      standard=${standard%\?}
      if ! knows "$compiler" "$standard" "$language"; then
        echo "abi.h: $compiler does not know $standard: left out"
        continue
      fi
    fi
    "$compiler" "-std=$standard" "${warnings[@]}" "$scratch/abi.$suffix"
    "$compiler" "-std=$standard" "${warnings[@]}" "$scratch/golden.$suffix"
    echo "abi.h: $compiler $standard, golden asserts hold"
  done
}
modes "$cc" c c c11 c17 c2x?
modes "$cxx" c++ cpp c++11 c++14 c++17 c++20 c++2b?
for name in clang:c clang++:c++; do
  other=${name%:*} language=${name#*:}
  if ! command -v "$other" >/dev/null; then
    echo "abi.h: $other is not installed: left out"
  elif [ "$language" = c ]; then modes "$other" c c c11 c17 c2x?
  else modes "$other" c++ cpp c++11 c++14 c++17 c++20 c++2b?
  fi
done

python3 "$here/header_rules.py" "$include" "$cc"
for header in abi_sizes plugin state testing/json_value testing/cloud_event testing/fake_host; do
  printf '#include <ephor/%s.hpp>\nint main() {}\n' "$header" >"$scratch/alone.cpp"
  "$cxx" -std=c++20 "${warnings[@]}" -Wshadow "$scratch/alone.cpp"
  echo "$header.hpp: alone"
done
# What programs outside take alone is C++17.
for header in xxh3 trace_ids trace_context baggage propagation; do
  printf '#include <ephor/%s.hpp>\nint main() {}\n' "$header" >"$scratch/alone.cpp"
  "$cxx" -std=c++17 "${warnings[@]}" -Wshadow "$scratch/alone.cpp"
  echo "$header.hpp: alone, C++17"
done
