#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# outside_plugin.sh BUILD CC CXX: installs the SDK alone and builds the examples against the installed
# package, as somebody outside this repository does.
set -euo pipefail
build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/prefix" --component sdk >/dev/null
mkdir "$scratch/plugin"
cp "$scratch/prefix/share/ephor/examples/minimal_c/minimal.c" "$scratch/plugin/"
cp "$scratch/prefix/share/ephor/examples/minimal_cpp/minimal.cpp" "$scratch/plugin/"
cat >"$scratch/plugin/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES C CXX)
find_package(EphorSDK 1 REQUIRED)
find_package(nlohmann_json REQUIRED)
ephor_add_plugin(outside_c ENTRY minimal.c)
ephor_add_plugin(outside_cpp ENTRY minimal.cpp
                 LIBRARIES ephor::events nlohmann_json::nlohmann_json)
END
cmake -S "$scratch/plugin" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_C_COMPILER="$2" -DCMAKE_CXX_COMPILER="$3" >/dev/null
cmake --build "$scratch/build" >/dev/null
"$(dirname "${BASH_SOURCE[0]}")/exports.sh" "$scratch/build/lib/ephor/plugins"

# The SDK's major is what a plugin asks for; another one is refused.
sed -i 's/EphorSDK 1 REQUIRED/EphorSDK 2 REQUIRED/' "$scratch/plugin/CMakeLists.txt"
if cmake -S "$scratch/plugin" -B "$scratch/other" -G Ninja \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" >/dev/null 2>&1; then
  echo "find_package(EphorSDK 2) found major 1" >&2
  exit 1
fi
echo "outside plugins: ok"
