# SPDX-License-Identifier: Apache-2.0
"""What a compiler has to confirm of abi.h, as C11 and as C++11 and later: the place, size and type of
each field, the signature of each function pointer, the value of each constant, the entry's name."""

HEAD = """\
/* SPDX-License-Identifier: Apache-2.0
 *
 * What binaries of ABI {version} were built against, on 64-bit targets: a line that no longer compiles
 * is a plugin that no longer works. Made of {source} by sdk/abi/generate.py. */
/* clang-format off */
#ifndef EPHOR_GOLDEN_{tag}_H
#define EPHOR_GOLDEN_{tag}_H

#include <ephor/abi.h>

#ifdef __cplusplus
#include <type_traits>
#define EPHOR_GOLDEN(condition, text) static_assert(condition, text)
#define EPHOR_GOLDEN_ALIGNMENT(type) alignof(type)
#define EPHOR_GOLDEN_SAME(type, field, golden) std::is_same<decltype(type::field), golden>::value
#define EPHOR_GOLDEN_ALIAS(type, golden) std::is_same<type, golden>::value
constexpr bool ephor_golden_same_text(const char* one, const char* other) {{
  return *one == *other && (*one == '\\0' || ephor_golden_same_text(one + 1, other + 1));
}}
#define EPHOR_GOLDEN_TEXT(text, golden) ephor_golden_same_text(text, golden)
#else
#define EPHOR_GOLDEN(condition, text) _Static_assert(condition, text)
#define EPHOR_GOLDEN_ALIGNMENT(type) _Alignof(type)
#define EPHOR_GOLDEN_SAME(type, field, golden) \\
  _Generic(&((type*)0)->field, golden* : 1, default : 0)
#define EPHOR_GOLDEN_ALIAS(type, golden) _Generic((type*)0, golden* : 1, default : 0)
#define EPHOR_GOLDEN_TEXT(text, golden) (sizeof(text) == sizeof(golden)) /* C++ compares it whole */
#endif
#define EPHOR_GOLDEN_FIELD(type, field, at, bytes, golden)                                     \\
  EPHOR_GOLDEN(offsetof(type, field) == (at), #type "." #field ": expected at offset " #at);   \\
  EPHOR_GOLDEN(sizeof(((type*)0)->field) == (bytes), #type "." #field ": expected " #bytes " bytes"); \\
  EPHOR_GOLDEN(EPHOR_GOLDEN_SAME(type, field, golden), #type "." #field ": another type or signature")
#define EPHOR_GOLDEN_STRUCT(type, bytes, alignment)                                            \\
  EPHOR_GOLDEN(sizeof(type) == (bytes), #type ": expected " #bytes " bytes");                  \\
  EPHOR_GOLDEN(EPHOR_GOLDEN_ALIGNMENT(type) == (alignment), #type ": expected alignment " #alignment)
#define EPHOR_GOLDEN_VALUE(name, value) EPHOR_GOLDEN((name) == (value), #name ": expected " #value)
"""


def render(spec, source):
    tag = f"{spec.major}_{spec.minor}"
    out = [HEAD.format(version=spec.version, source=source, tag=tag),
           'EPHOR_GOLDEN(sizeof(void*) == 8, "these figures are of 64-bit targets");', "",
           f"EPHOR_GOLDEN_VALUE(EPHOR_ABI_MAJOR, {spec.major});",
           # A later host of this major has another minor, and keeps all below.
           f'EPHOR_GOLDEN(EPHOR_ABI_MINOR >= {spec.minor}, "EPHOR_ABI_MINOR: expected at least {spec.minor}");',
           f"EPHOR_GOLDEN_VALUE(EPHOR_ENTRY_MAGIC, {spec.entry['magic']});",
           f"EPHOR_GOLDEN(EPHOR_GOLDEN_TEXT(EPHOR_ENTRY_SYMBOL, \"{spec.entry['symbol']}\"), \"EPHOR_ENTRY_SYMBOL\");"]
    for section in spec.sections:
        out += ["", f"/* {section.title} */"]
        for item in section.items:
            out += ITEMS[item.kind](item)
    out += ["", "#endif"]
    return "\n".join(out) + "\n"


def constants(item):
    return [f"EPHOR_GOLDEN_VALUE({name}, {value});" for name, value, _ in item.values]


def struct(item):
    out = [f"EPHOR_GOLDEN_STRUCT({item.name}, {item.size}, {item.alignment});"]
    for one in item.fields:
        golden = f"golden_{item.name}_{one.name}"
        out += [f"typedef {one.declared(golden)};",
                f"EPHOR_GOLDEN_FIELD({item.name}, {one.name}, {one.offset}, {one.size}, {golden});"]
    return out


def function(item):
    golden = f"golden_{item.name}"
    return [f"typedef {item.function.declared(golden)};",
            f'EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS({item.name}, {golden}), "{item.name}: another signature");']


def alias(item):
    return [f'EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS({item.name}, {item.type}), "{item.name}: expected {item.type}");']


def opaque(item):
    return [f"typedef struct {item.name} golden_{item.name};",
            f'EPHOR_GOLDEN(EPHOR_GOLDEN_ALIAS({item.name}, golden_{item.name}), "{item.name}");']


ITEMS = {"constants": constants, "struct": struct, "function": function, "alias": alias, "opaque": opaque}
