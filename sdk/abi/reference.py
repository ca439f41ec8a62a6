# SPDX-License-Identifier: Apache-2.0
"""docs/abi-reference.md: the specification as a page to look things up in."""
import re

HEAD = """\
# The plugin ABI {version}, item by item

<!-- Generated from {source} by sdk/abi/generate.py. Do not edit. -->

The header is `<ephor/abi.h>`; what is promised of it is in [versioning.md](versioning.md), how to write a
plugin in [plugin-authoring.md](plugin-authoring.md). Offsets and sizes are bytes on 64-bit targets."""


def render(spec, source):
    out = [HEAD.format(version=spec.version, source=source)]
    out += ["", "| part | stability | holds |", "|---|---|---|"]
    for section in spec.sections:
        names = ", ".join(f"[`{one.name}`](#{one.name})" for one in section.items if one.kind != "constants")
        out.append(f"| {link(section)} | {stability(section)} | {names or 'constants'} |")
    out += ["", "## Threads", "", "| tag | means |", "|---|---|",
            "| `[control]` | load, start, drain, stop: one call at a time |",
            "| `[dispatch]` | event delivery and checkpoints: one call at a time |",
            "| `[query]` | answering a query |", "| `[any]` | any thread |", "",
            "For one instance the host never runs two of control, dispatch and query at once, except queries of a",
            "plugin that declares `EPHOR_CAP_CONCURRENT_QUERY`.", "",
            "## The entry", "",
            f"A plugin exports one symbol, `{spec.entry['symbol']}`, of type [`{spec.entry['type']}`]"
            f"(#{spec.entry['type']}), and nothing else. `ephor_entry.magic` is `{spec.entry['magic']}` "
            f"({spec.entry['magic_note']}); `EPHOR_ABI_MAJOR` is {spec.major}, `EPHOR_ABI_MINOR` {spec.minor}.",
            "`EPHOR_HAS(pointer, type, field)`: " + flowing(spec.has_doc)]
    for section in spec.sections:
        out += ["", f"## {heading(section)}", "", f"{stability(section).capitalize()}, since {section.since}."]
        for item in section.items:
            out += [""] + ITEMS[item.kind](item)
    return "\n".join(line.rstrip() for line in out) + "\n"


def heading(section):
    return section.title[0].upper() + section.title[1:] if not section.extension else section.extension


def link(section):
    anchor = re.sub(r"[^a-z0-9 _-]", "", heading(section).lower()).replace(" ", "-")
    return f"[{heading(section)}](#{anchor})"


def stability(section):
    if section.stability == "frozen":
        return "frozen"
    return f"draft, revision {section.extension.rsplit('/', 1)[1]}"


def flowing(text):
    return " ".join(text.split()).replace("<", "&lt;")


def cell(text):
    return flowing(text).replace("|", "\\|")


def sentence(*texts):
    return " ".join(one for one in map(flowing, texts) if one)


def constants(item):
    out = [f"### Constants: {item.name}", ""]
    if item.doc:
        out += [flowing(item.doc), ""]
    out += ["| name | value | means |", "|---|---|---|"]
    out += [f"| `{name}` | `{value}` | {cell(note)} |" for name, value, note in item.values]
    return out + ["", f"A value the reader does not know: {flowing(item.unknown)}."]


def struct(item):
    out = [f"### {item.name}", "", f"{item.size} bytes, aligned to {item.alignment}, since {item.since}."]
    if item.doc:
        out += ["", flowing(item.doc)]
    out += ["", "| offset | size | field | type | means |", "|---|---|---|---|---|"]
    for one in item.fields:
        means = f"see [below](#{item.name}_{one.name})" if one.is_function else cell(sentence(one.doc, one.note))
        if one.since != item.since:
            means += f" (since {one.since})"
        kind = "function" if one.is_function else f"`{one.type}`"
        out.append(f"| {one.offset} | {one.size} | `{one.name}` | {kind} | {means} |")
    for one in item.fields:
        if one.is_function:
            out += ["", f'#### <a id="{item.name}_{one.name}"></a>{item.name}.{one.name}', ""] + callable_(one)
    return out


def callable_(one):
    out = ["```c", f"{one.returns} {one.name}({', '.join(one.takes) or 'void'});", "```", "",
           f"Thread: `[{one.thread}]`. Since {one.since}."]
    text = sentence(one.doc, one.note)
    if text:
        out += ["", text[0].upper() + text[1:] if text[0].isalpha() else text]
    if one.errors:
        out += ["", "Failures:"] + [f"- {failure(text)}" for text in one.errors]
    return out


def failure(text):
    code, colon, why = text.partition(": ")
    return f"`{code}`: {flowing(why)}" if colon and code.isupper() else flowing(text)


def function(item):
    return [f"### {item.name}", ""] + callable_(
        type(item.function)(**{**vars(item.function), "doc": item.doc, "note": item.note}))


def alias(item):
    return [f"### {item.name}", "", f"`{item.type}`: {flowing(item.note)}."]


def opaque(item):
    return [f"### {item.name}", "", f"Opaque. {flowing(item.doc)}"]


ITEMS = {"constants": constants, "struct": struct, "function": function, "alias": alias, "opaque": opaque}
