/* SPDX-License-Identifier: Apache-2.0
 *
 * What a plugin says of itself without being run: an ELF note that `ephor plugin list`, `inspect`
 * and the configuration's check read from the file.
 *
 * Section ".note.ephor" (SHT_NOTE, in a PT_NOTE segment: strip, objcopy --strip-debug and
 * --gc-sections keep it), one note for each plugin in the file, in the order of ephor_entry.infos:
 *   name        "Ephor"
 *   type        EPHOR_NOTE_TYPE
 *   description one UTF-8 JSON object, then zero bytes up to the note's size
 *
 * Its members. A reader ignores others.
 *   "note"          1, the version of this list
 *   "id", "version", "summary"    as in ephor_plugin_info
 *   "abi"           "MAJOR.MINOR" of the headers it was built with
 *   "abi_required"  the least minor a host must have
 *   "capabilities"  a number, or a text of C integer constants joined by '|': EPHOR_CAP_*
 *   "sdk"           version of the SDK
 *   "license", "required_extensions", "optional_extensions"    if there are any
 *   "config_schema"       the schema itself, at most EPHOR_NOTE_SCHEMA_MAX bytes; else not there
 *   "config_schema_hash"  FNV-1a, 64 bits, of the schema's bytes as in ephor_plugin_info, 16 digits
 *
 * The note must say what the entry says: the host refuses a file whose note lies. In C++
 * EPHOR_PLUGIN of <ephor/plugin.hpp> writes it; in C it is one line, EPHOR_NOTE. */
#ifndef EPHOR_NOTE_H
#define EPHOR_NOTE_H

#include <ephor/abi.h>

#define EPHOR_SDK_VERSION "0.1.0"
#define EPHOR_NOTE_OWNER "Ephor"
#define EPHOR_NOTE_SECTION ".note.ephor"
#define EPHOR_NOTE_TYPE 1
#define EPHOR_NOTE_SCHEMA_MAX 65536

/* clang instruments a variable in a section of its own, and what it adds would be read as a note.
 */
#if defined(__clang__)
#define EPHOR_NOTE_PLAIN_ __attribute__((no_sanitize("address")))
#else
#define EPHOR_NOTE_PLAIN_
#endif

#if defined(__ELF__)
#define EPHOR_NOTE_PLACE_ \
  __attribute__((section(EPHOR_NOTE_SECTION), used, aligned(4))) EPHOR_NOTE_PLAIN_
#else
#define EPHOR_NOTE_PLACE_
#endif

#define EPHOR_NOTE_QUOTE_(text) #text
#define EPHOR_NOTE_EXPAND_(text) EPHOR_NOTE_QUOTE_(text)

/* At file scope of a C plugin, once for each plugin in the file. `id`, `version` and `summary` are
 * string literals without quotes, backslashes and control characters; `capabilities` is 0 or
 * EPHOR_CAP_* joined by `|`; `schema` is a string literal, the text of
 * ephor_plugin_info.config_schema:
 *
 *   #define SCHEMA "{\"type\":\"object\",\"additionalProperties\":false}"
 *   EPHOR_NOTE("counter", "1.2.0", "Counts events", 0, SCHEMA); */
#define EPHOR_NOTE(id, version, summary, capabilities, schema) \
  EPHOR_NOTE_WITH(id, version, summary, capabilities, schema, "")

/* `more`: a string literal with more members, each with a comma before it:
 *   ",\"license\":\"MIT\",\"required_extensions\":[\"ephor.storage/1\"]" */
#define EPHOR_NOTE_WITH(id, version, summary, capabilities, schema, more) \
  EPHOR_NOTE_PUT_(                                                                                \
      __LINE__,                                                                                   \
      "{\"note\":1,\"id\":\"" id "\",\"version\":\"" version "\",\"summary\":\"" summary          \
      "\",\"abi\":\"" EPHOR_NOTE_EXPAND_(EPHOR_ABI_MAJOR) "." EPHOR_NOTE_EXPAND_(EPHOR_ABI_MINOR) \
      "\",\"abi_required\":0,\"capabilities\":\"" EPHOR_NOTE_EXPAND_(capabilities)                \
      "\",\"sdk\":\"" EPHOR_SDK_VERSION "\"" more ",\"config_schema\":" schema "}")

#define EPHOR_NOTE_PUT_(line, json) EPHOR_NOTE_PUT_AT_(line, json)
#define EPHOR_NOTE_PUT_AT_(line, json)                                                    \
  EPHOR_NOTE_PLACE_ static const struct {                                                 \
    uint32_t name_size, description_size, type;                                           \
    char name[(sizeof(EPHOR_NOTE_OWNER) + 3) / 4 * 4];                                    \
    char description[(sizeof(json) + 3) / 4 * 4];                                         \
  } ephor_note_of_line_##line = {sizeof(EPHOR_NOTE_OWNER), sizeof(json), EPHOR_NOTE_TYPE, \
                                 EPHOR_NOTE_OWNER, json}

#endif
