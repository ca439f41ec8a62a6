#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# exports.sh FOLDER...: every plugin in the folders exports ephor_plugin_entry_v1 and nothing else.
set -euo pipefail
checked=0 failed=0
for folder in "$@"; do
  for library in "$folder"/*.so; do
    [ -e "$library" ] || continue
    checked=$((checked + 1))
    exported=$(nm -D --defined-only "$library" | awk '{print $NF}' | sort | tr '\n' ' ')
    if [ "$exported" != "ephor_plugin_entry_v1 " ]; then
      echo "$library: exports [$exported], expected ephor_plugin_entry_v1 alone" >&2
      failed=$((failed + 1))
    else
      echo "$library: ok"
    fi
  done
done
if [ "$checked" -eq 0 ]; then
  echo "no plugin in: $*" >&2
  exit 1
fi
exit $((failed > 0))
