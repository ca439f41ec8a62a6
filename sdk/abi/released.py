# SPDX-License-Identifier: Apache-2.0
"""Records of what was released (layout alone, no words), and what of them today's specification breaks."""
import hashlib
import json
from pathlib import Path

from spec import constant_value


def record(spec):
    """Everything a binary can depend on, in a form that has no room for words."""
    sections = {}
    for section in spec.sections:
        made = {"stability": section.stability, "constants": {}, "structs": {}, "functions": {}, "aliases": {},
                "opaque": []}
        for item in section.items:
            if item.kind == "constants":
                made["constants"].update({name: constant_value(value) for name, value, _ in item.values})
            elif item.kind == "struct":
                made["structs"][item.name] = {
                    "size": item.size, "alignment": item.alignment,
                    "fields": [[one.name, one.offset, one.size, one.signature()] for one in item.fields]}
            elif item.kind == "function":
                made["functions"][item.name] = item.function.signature()
            elif item.kind == "alias":
                made["aliases"][item.name] = item.type
            else:
                made["opaque"].append(item.name)
        sections[section.extension or section.title] = made
    return {"major": spec.major, "minor": spec.minor,
            "entry": {key: value for key, value in spec.entry.items() if key != "magic_note"}, "sections": sections}


def text_of(made):
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def frozen(made):
    """(kind, name) -> layout of all that is frozen, wherever it stands."""
    out = {}
    for section in made["sections"].values():
        if section["stability"] == "frozen":
            out.update(_things(section))
    return out


def _things(section):
    out = {}
    for kind in ("constants", "structs", "functions", "aliases"):
        out.update({(kind, name): value for name, value in section[kind].items()})
    out.update({("opaque", name): name for name in section["opaque"]})
    return out


def breaks(old, new):
    """What a binary of the release `old` would miss in `new`: sentences, none if nothing."""
    if new["major"] != old["major"]:
        return [f"major: found {new['major']}, expected {old['major']}: a new major has a specification of its own"]
    found = []
    if new["minor"] < old["minor"]:
        found.append(f"minor: found {new['minor']}, expected at least {old['minor']}")
    for key, value in old["entry"].items():
        if new["entry"].get(key) != value:
            found.append(f"entry {key}: found {new['entry'].get(key)!r}, expected {value!r}")
    for key in new["entry"].keys() - old["entry"].keys():
        found.append(f"entry {key}: found {new['entry'][key]!r}, expected nothing: a second thing that old plugins lack")
    before, now = frozen(old), frozen(new)
    for (kind, name), value in before.items():
        if (kind, name) not in now:
            found.append(f"{name}: not in the frozen part any more")
        elif now[kind, name] != value:
            found.append(_difference(name, value, now[kind, name]))
    for kind, name in now.keys() - before.keys():
        if kind == "structs":
            found.append(f"{name}: a new frozen struct, expected none: growth happens through extensions")
    found += _twice_numbered(new)
    for extension, section in old["sections"].items():
        if section["stability"] == "draft" and extension in new["sections"]:
            found += _revision_breaks(extension, section, new["sections"][extension])
    return found


def _difference(name, old, new):
    if not isinstance(old, dict):
        return f"{name}: found {new!r}, expected {old!r}"
    for number, field in enumerate(old["fields"]):
        if number >= len(new["fields"]) or new["fields"][number] != field:
            other = new["fields"][number] if number < len(new["fields"]) else None
            return f"{name}: field {number}: found {other}, expected {field}"
    if len(new["fields"]) > len(old["fields"]):
        return f"{name}: found the new field {new['fields'][len(old['fields'])][0]}, expected none: the table is frozen"
    return f"{name}: found size {new['size']} and alignment {new['alignment']}, expected {old['size']}, {old['alignment']}"


def _twice_numbered(new):
    """Two names of one number in a family of frozen constants ("a retired number is never used again")."""
    families = {}
    for kind, name in frozen(new):
        if kind == "constants":
            value = frozen(new)[kind, name]
            families.setdefault((_family(name), value), []).append(name)
    return [f"{' and '.join(names)}: found one number for both, expected two" for names in families.values()
            if len(names) > 1]


def _family(name):
    parts = name.split("_")
    return "_".join(parts[:2]) if parts[1] in ("ENCODING", "EVENT", "POLICY", "CAP") else "EPHOR_status"


def _revision_breaks(extension, old, new):
    """A draft may become another revision; under one id its structs grow at their end, and no more."""
    found = []
    then, now = _things(old), _things(new)
    for (kind, name), value in then.items():
        other = now.get((kind, name))
        if kind == "structs" and other is not None and name != "ephor_cell":
            is_kept = other["fields"][:len(value["fields"])] == value["fields"] and (
                other["size"] == value["size"] or value["fields"][0][0] == "struct_size")
        else:
            is_kept = other == value
        if not is_kept:
            found.append(f"{extension}: {name}: found {'nothing' if other is None else 'a change'}, expected what "
                         "was released, or another revision of the extension")
    return found


def check(spec, folder):
    """Every record of this major against the specification. Returns (records read, what is broken)."""
    folder = Path(folder)
    found, names = [], sorted(folder.glob(f"{spec.major}.*.json"))
    sums = {}
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        value, name = line.split()
        sums[name] = value
    for name in sums:
        if not (folder / name).exists():
            found.append(f"{name}: not there, expected the record of a release")
    for file in names:
        if hashlib.sha256(file.read_bytes()).hexdigest() != sums.get(file.name):
            found.append(f"{file.name}: it is not what was released (SHA256SUMS)")
        found += [f"{file.stem}: {text}" for text in breaks(json.loads(file.read_text()), record(spec))]
    return len(names), found


def seal(spec, folder):
    """Writes the record of a release, once."""
    folder = Path(folder)
    file = folder / f"{spec.version}.json"
    if file.exists():
        raise FileExistsError(f"{file}: there already; a release is recorded once")
    text = text_of(record(spec))
    file.write_text(text)
    with open(folder / "SHA256SUMS", "a") as sums:
        sums.write(f"{hashlib.sha256(text.encode()).hexdigest()}  {file.name}\n")
    return file
