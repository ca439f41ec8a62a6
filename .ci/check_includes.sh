#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may include whom: the host knows no plugin, a plugin knows only the SDK, nothing includes tests,
# each heavy library has one home. Prints each line that breaks a rule; exit 1 if there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0
# rule WHY FOLDER... -- PATTERN: no #include in the folders matches the pattern.
rule() {
  local why=$1 folders=() pattern found
  shift
  while [ "$1" != -- ]; do
    if [ -e "$1" ]; then folders+=("$1"); fi
    shift
  done
  pattern=$2
  [ ${#folders[@]} -gt 0 ] || return 0
  found=$(grep -rHnE --include='*.h' --include='*.hpp' --include='*.c' --include='*.cpp' \
    "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$pattern" "${folders[@]}" || true)
  if [ -n "$found" ]; then
    printf '%s:\n%s\n' "$why" "$found" >&2
    failed=1
  fi
}
# Sources below a folder, less those that a regular expression over paths allows.
without() { find "$1" -type f \( -name '*.hpp' -o -name '*.cpp' -o -name '*.h' -o -name '*.c' \) \
  2>/dev/null | grep -vE "$2" || true; }

rule "abi.h includes <stddef.h> and <stdint.h> only" sdk/include/ephor/abi.h -- \
  '([^s]|s[^t]|st[^d]|std[^di]|std[a-z]*[^ft]\.h)'
rule "the SDK's basic headers know the standard library only" \
  sdk/include/ephor/plugin.hpp sdk/include/ephor/state.hpp sdk/include/ephor/times.hpp \
  sdk/include/ephor/json_value.hpp sdk/include/ephor/json_text.hpp \
  sdk/include/ephor/protobuf.hpp \
  sdk/include/ephor/id_set.hpp sdk/include/ephor/id_rows.hpp sdk/include/ephor/ledger.hpp \
  sdk/include/ephor/propagation.hpp sdk/include/ephor/baggage.hpp sdk/include/ephor/trace_context.hpp \
  sdk/include/ephor/trace_ids.hpp sdk/include/ephor/xxh3.hpp -- \
  '(nlohmann|boost|Poco|soci|simdjson|yaml-cpp|ephor/(json|events|testing))'
rule "the fake host needs no library (xxhash.h is optional)" sdk/include/ephor/testing -- \
  '(nlohmann|boost|Poco|soci|simdjson|yaml-cpp|ephor/(json\.|events))'
rule "the SDK and its examples know neither host nor plugins" sdk -- '(\.\./|host/|plugins/)'
rule "the host knows no plugin" host -- '(.*plugins/|.*/plugins/|.*\.\./\.\./\.\./)'
rule "nothing includes tests" host sdk plugins -- '(.*tests/|support/(catch|shared_data))'
rule "a file is included by its path from src, not upwards" host plugins -- '\.\./'
for plugin in plugins/*/; do
  name=$(basename "$plugin")
  others=$(find plugins -mindepth 1 -maxdepth 1 -type d ! -name "$name" -printf '%f|' | sed 's/|$//')
  rule "plugin $name includes the host or another plugin" "$plugin" -- \
    "(host/|core/|bus/|store/|ingest/|event/${others:+|plugins/|($others)/})"
done

# shellcheck disable=SC2046
{
  rule "Boost.DLL has its home in the host's plugin_loader" \
    $(without host 'plugin_loader') $(without plugins '^$') -- 'boost/dll'
  rule "Program_options has its home in the host's options" \
    $(without host '/options\.|/main\.') $(without plugins '^$') -- 'boost/program_options'
  rule "SOCI is the host's, in its journal and storage" \
    $(without host '/store/') $(without plugins '^$') -- 'soci'
  rule "Poco Net belongs to http_api, reporter and alerter" \
    $(without host '^$') $(without plugins '^plugins/(http_api|reporter|alerter)/') -- 'Poco/Net'
  rule "plugins read events through <ephor/events.hpp>" $(without plugins '^$') -- 'simdjson'
}

if [ $failed -eq 0 ]; then echo "includes: ok"; fi
exit $failed
