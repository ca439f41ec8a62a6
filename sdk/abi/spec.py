# SPDX-License-Identifier: Apache-2.0
"""The specification file: reading it, holding it to its own rules, and the layout that follows from it
on 64-bit targets (System V: natural alignment)."""
import copy
import re
import tomllib
from dataclasses import dataclass, field

THREADS = ("control", "dispatch", "query", "any")
STABILITIES = ("frozen", "draft")
# Size and alignment. Nothing else may cross: no bool, long, size_t, enum, union, bit-field or varargs.
SCALARS = {"char": 1, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4,
           "int64_t": 8, "uint64_t": 8, "double": 8}
POINTER_BYTES = 8
ITEM_KEYS = {"doc", "note", "is_attached", "since"}
KIND_KEYS = {"constants": {"values", "unknown"}, "struct": {"field"}, "alias": {"type"}, "opaque": set(),
             "function": {"thread", "returns", "takes", "errors"}}
FIELD_KEYS = {"name", "type", "thread", "returns", "takes", "errors", "doc", "note", "has_gap", "since"}


class SpecError(Exception):
    """Says where in the specification, what was found and what was expected."""


@dataclass
class Field:
    name: str
    type: str = ""  # with its array length, "char[760]"; empty for a function pointer
    thread: str = ""
    returns: str = ""
    takes: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    doc: str = ""
    note: str = ""
    has_gap: bool = False
    since: str = ""
    offset: int = 0
    size: int = 0

    @property
    def is_function(self):
        return bool(self.returns)

    def declared(self, name):
        """The C declaration of `name` with this field's type."""
        if self.is_function:
            return f"{self.returns} (*{name})({', '.join(self.takes) or 'void'})"
        base, length = split_array(self.type)
        return f"{base} {name}{length}"

    def signature(self):
        """What a release promises: the type, and of a function its parameters' names, too. Two views that
        change places have the types they had before."""
        if not self.is_function:
            return self.type
        return f"{self.returns} (*)({', '.join(self.takes) or 'void'})"


@dataclass
class Item:
    kind: str  # constants, struct, function, alias, opaque
    name: str
    doc: str = ""
    note: str = ""
    is_attached: bool = False  # no blank line before it
    since: str = ""
    fields: list = field(default_factory=list)
    values: list = field(default_factory=list)  # [name, value, note]
    unknown: str = ""
    type: str = ""
    function: Field = None
    size: int = 0
    alignment: int = 0

    @property
    def has_struct_size(self):
        return self.kind == "struct" and any(one.name == "struct_size" for one in self.fields)


@dataclass
class Section:
    title: str
    stability: str
    since: str
    extension: str = ""
    items: list = field(default_factory=list)


@dataclass
class Spec:
    major: int
    minor: int
    entry: dict
    has_doc: str
    preamble: str
    sections: list

    @property
    def version(self):
        return f"{self.major}.{self.minor}"

    def items(self, kind=None):
        return [one for section in self.sections for one in section.items if kind in (None, one.kind)]

    def item(self, name):
        return next(one for one in self.items() if one.name == name)

    def section_of(self, item):
        return next(section for section in self.sections if any(one is item for one in section.items))

    def copy(self):
        return copy.deepcopy(self)


def split_array(text):
    found = re.fullmatch(r"(.*?)(\[\d+\])?", text)
    return found.group(1), found.group(2) or ""


def parameter_type(parameter):
    """"const ephor_event* events" -> "const ephor_event*"."""
    found = re.fullmatch(r"(.*[*\s])(\w+)", parameter)
    if not found:
        raise SpecError(f"parameter: found {parameter!r}, expected a type and a name")
    return found.group(1).strip()


def constant_value(text):
    return int(text.rstrip("u"), 0)


def load(path):
    with open(path, "rb") as file:
        raw = tomllib.load(file)
    spec = Spec(raw["major"], raw["minor"], raw["entry"], raw["has"]["doc"], raw["preamble"]["text"],
                [_section(one) for one in raw["section"]])
    lay_out(spec)
    return spec


def _section(raw):
    section = Section(raw["title"], raw["stability"], raw["since"], raw.get("extension", ""))
    where = f"section {section.title!r}"
    if section.stability not in STABILITIES:
        raise SpecError(f"{where}: stability: found {section.stability!r}, expected one of {STABILITIES}")
    if (section.stability == "draft") != bool(section.extension):
        raise SpecError(f"{where}: found {section.stability} with extension {section.extension!r}, expected that "
                        "extensions are draft and all else is frozen")
    if section.extension and not re.fullmatch(r"ephor\.[a-z_]+/[1-9]\d*", section.extension):
        raise SpecError(f"{where}: extension: found {section.extension!r}, expected ephor.NAME/REVISION")
    section.items = [_item(one, section.since) for one in raw["item"]]
    return section


def _item(raw, since):
    kinds = [kind for kind in KIND_KEYS if kind in raw]
    if len(kinds) != 1:
        raise SpecError(f"item: found {sorted(raw)}, expected exactly one of {sorted(KIND_KEYS)}")
    kind, name = kinds[0], raw[kinds[0]]
    strange = set(raw) - ITEM_KEYS - KIND_KEYS[kind] - {kind}
    if strange:
        raise SpecError(f"{kind} {name}: found {sorted(strange)}, expected of these only "
                        f"{sorted(ITEM_KEYS | KIND_KEYS[kind])}")
    item = Item(kind, name, raw.get("doc", ""), raw.get("note", ""), raw.get("is_attached", False),
                raw.get("since", since), unknown=raw.get("unknown", ""), type=raw.get("type", ""))
    if kind == "struct":
        item.fields = [_field(one, name, item.since) for one in raw["field"]]
    elif kind == "constants":
        item.values = [[*one, ""][:3] for one in raw["values"]]
        if not item.unknown:
            raise SpecError(f"constants {name}: found no `unknown`, expected what becomes of an unknown value")
    elif kind == "function":
        item.function = _field({"name": name, **{key: raw[key] for key in KIND_KEYS[kind] if key in raw}}, name,
                               item.since)
    return item


def _field(raw, owner, since):
    where = f"{owner}.{raw.get('name')}"
    strange = set(raw) - FIELD_KEYS
    if strange:
        raise SpecError(f"{where}: found {sorted(strange)}, expected of these only {sorted(FIELD_KEYS)}")
    made = Field(**{"since": since, **raw})
    if made.is_function == bool(made.type):
        raise SpecError(f"{where}: expected either a type, or returns and takes")
    if made.is_function and made.thread not in THREADS:
        raise SpecError(f"{where}: thread: found {made.thread!r}, expected one of {THREADS}")
    return made


def lay_out(spec):
    """Checks every type against the whitelist and fills in offsets, sizes and alignments."""
    sizes = {name: (size, size) for name, size in SCALARS.items()}
    pointable = set(SCALARS) | {"void"} | {one.name for one in spec.items() if one.kind in ("struct", "opaque")}
    functions = {one.name for one in spec.items("function")}

    def measured(where, text):
        base, length = split_array(text)
        count = int(length[1:-1]) if length else 1
        if base in functions:
            size = alignment = POINTER_BYTES
        elif base.endswith("*"):
            pointee = re.fullmatch(r"(?:const )?(\w+)((?:\*| const)*)\*", base)
            if not pointee or pointee.group(1) not in pointable:
                raise SpecError(f"{where}: found type {text!r}, expected a pointer to a known type")
            size = alignment = POINTER_BYTES
        elif base in sizes:
            size, alignment = sizes[base]
        else:
            raise SpecError(f"{where}: found type {text!r}, expected one of {sorted(SCALARS)}, a struct that "
                            "stands above, or a pointer")
        return size * count, alignment

    def check_callable(where, one):
        if one.returns != "void":
            measured(f"{where}: returns", one.returns)
        for parameter in one.takes:
            measured(where, parameter_type(parameter))

    names = set()
    for item in spec.items():
        if item.kind != "constants" and item.name in names:
            raise SpecError(f"{item.name}: found twice, expected once")
        names.add(item.name)
        if item.kind == "alias":
            sizes[item.name] = measured(item.name, item.type)
        elif item.kind == "function":
            check_callable(item.name, item.function)
        elif item.kind == "struct":
            offset, widest = 0, 1
            for one in item.fields:
                where = f"{item.name}.{one.name}"
                if one.is_function:
                    check_callable(where, one)
                    one.size, alignment = POINTER_BYTES, POINTER_BYTES
                else:
                    one.size, alignment = measured(where, one.type)
                if offset % alignment:
                    raise SpecError(f"{where}: found a gap of {-offset % alignment} bytes before it, expected none: "
                                    "name it `reserved`")
                one.offset = offset
                offset += one.size
                widest = max(widest, alignment)
            if offset % widest:
                raise SpecError(f"{item.name}: found {offset} bytes, expected a multiple of {widest}: name the rest")
            item.size, item.alignment = offset, widest
            sizes[item.name] = (offset, widest)
