#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh SDK_INCLUDE OUT: how the binaries beside it were made (Debian 12, g++ 12.2, x86-64). They are
# never made again: what is kept is what authors built then. Run it to see what today's compiler makes.
set -euo pipefail
include=$1 out=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
map=$here/../../../../cmake/ephor_plugin.map
flags=(-O2 -fPIC -shared -fvisibility=hidden -I "$include" "-Wl,--version-script=$map"
  -Wl,--exclude-libs,ALL -Wl,-z,defs -Wl,-s)
gcc -std=c11 "${flags[@]}" -o "$out/kept_c.so" "$here/kept_c.c"
g++ -std=c++20 -fvisibility-inlines-hidden "${flags[@]}" -o "$out/kept_cpp.so" "$here/kept_cpp.cpp"
