# SPDX-License-Identifier: Apache-2.0
"""abi.h from the specification, laid out as clang-format (Google, 100 columns) leaves it."""
from spec import SpecError

COLUMNS = 100


def render(spec, source):
    out = ["/* SPDX-License-Identifier: Apache-2.0", " *",
           f" * Ephor plugin ABI {spec.version}. Generated from {source} by sdk/abi/generate.py.", " *"]
    out += [f" * {line}".rstrip() for line in spec.preamble.splitlines()] + [" */"]
    out += ["#ifndef EPHOR_ABI_H", "#define EPHOR_ABI_H", "", "#include <stddef.h>", "#include <stdint.h>", "",
            "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
            f"#define EPHOR_ABI_MAJOR {spec.major}", f"#define EPHOR_ABI_MINOR {spec.minor}",
            f"#define EPHOR_ENTRY_MAGIC {spec.entry['magic']} /* {spec.entry['magic_note']} */",
            f"#define EPHOR_ENTRY_SYMBOL \"{spec.entry['symbol']}\"", ""]
    out += comment(spec.has_doc, "")
    out += ["#define EPHOR_HAS(pointer, type, field) \\",
            "  ((pointer)->struct_size >= offsetof(type, field) + sizeof((pointer)->field))"]
    for section in spec.sections:
        out += ["", banner(section)]
        for item in section.items:
            if not item.is_attached:
                out.append("")
            out += ITEMS[item.kind](item)
    out += ["", "#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    long = [line for line in out if len(line) > COLUMNS]
    if long:
        raise SpecError(f"abi.h: found lines above {COLUMNS} columns, expected none:\n" + "\n".join(long))
    return "\n".join(out) + "\n"


def banner(section):
    what = "draft" if section.stability == "draft" else "frozen"
    start = f"/* ---- {section.title} ({what}) "
    return start + "-" * (COLUMNS - len(start) - 3) + " */"


def comment(text, indent):
    lines = text.splitlines()
    if not lines:
        return []
    out = [f"{indent}/* {lines[0]}"] + [f"{indent} * {line}".rstrip() for line in lines[1:]]
    out[-1] += " */"
    return out


def with_thread(one, text):
    tag = f"[{one.thread}]"
    return f"{tag} {text}" if text else tag


def wrapped(start, parameters, end):
    """A declaration whose parameters go on, where they must, below the first one."""
    lines, line = [], start
    pad = " " * len(start)
    for number, parameter in enumerate(parameters):
        is_last = number == len(parameters) - 1
        piece = parameter + (end if is_last else ",")
        if line.strip() and line != start and line != pad and len(line) + 1 + len(piece) > COLUMNS:
            lines.append(line)
            line = pad + piece
        else:
            line += ("" if line in (start, pad) else " ") + piece
    if not parameters:
        line += "void" + end
    return lines + [line]


def declaration(one, indent="  "):
    if one.is_function:
        return wrapped(f"{indent}{one.returns} (*{one.name})(", one.takes, ");")
    return [indent + one.declared(one.name) + ";"]


def aligned(rows):
    """(code, note) lines; notes of neighbouring lines begin in one column where they fit."""
    out, run = [], []

    def flush():
        column = max((len(code) for code, _ in run), default=0)
        out.extend(f"{code.ljust(column)} /* {note} */" for code, note in run)
        run.clear()

    for code, note in rows:
        if not note:
            flush()
            out.append(code)
            continue
        column = max([len(code)] + [len(one) for one, _ in run])
        if any(column + len(text) + 7 > COLUMNS for _, text in [*run, (code, note)]):
            flush()
        run.append((code, note))
    flush()
    return out


def constants(item):
    rows = [(f"#define {name} {value}", note) for name, value, note in item.values]
    return comment(item.doc, "") + aligned(rows)


def struct(item):
    out = comment(item.doc, "") + [f"typedef struct {item.name} {{"]
    rows = []
    for one in item.fields:
        if one.has_gap:
            out += aligned(rows) + [""]
            rows = []
        lines = declaration(one)
        above, behind = one.doc, one.note
        if one.is_function:
            above = with_thread(one, above) if above else ""
            behind = "" if above else with_thread(one, behind)
            if behind and (len(lines) > 1 or len(lines[0]) + len(behind) + 7 > COLUMNS):
                above, behind = behind, ""
        if above:
            out += aligned(rows) + comment(above, "  ")
            rows = []
        rows += [(line, "") for line in lines[:-1]] + [(lines[-1], behind)]
    return out + aligned(rows) + [f"}} {item.name};"]


def function(item):
    one = item.function
    return (comment(with_thread(one, item.doc), "") +
            wrapped(f"typedef {one.returns} (*{item.name})(", one.takes, ");"))


def alias(item):
    return aligned([(f"typedef {item.type} {item.name};", item.note)])


def opaque(item):
    return aligned([(f"typedef struct {item.name} {item.name};", item.note)])


ITEMS = {"constants": constants, "struct": struct, "function": function, "alias": alias, "opaque": opaque}
