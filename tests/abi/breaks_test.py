#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""breaks_test.py CC CXX: breaks the ABI on purpose, one way at a time, and names what caught it. A break
that nothing catches fails; so does a change that is allowed and is taken for a break.

Gates: `golden C` and `golden C++` compile the released golden asserts against the broken header (somebody
edited abi.h, or the specification and what is made of it); `released` holds the specification against the
record of the release; `rules` reads the preprocessed header; `spec` is what the specification refuses
itself; `check` is generate.py --check; `sums` the checksums of the records."""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "sdk/abi"))
import generate  # noqa: E402
import header  # noqa: E402
import header_rules  # noqa: E402
import released  # noqa: E402
import spec as specification  # noqa: E402

NEW_CALL = {"name": "on_idle", "returns": "ephor_status", "takes": ["void* self", "ephor_error* error"],
            "thread": "control", "since": "1.1"}
BREAKS, TEXT_BREAKS, ALLOWED = [], [], []


def breaks(name, *caught_by):
    """A change of the specification that has to be caught by each of these gates."""
    return lambda change: BREAKS.append((name, set(caught_by), change))


def text_break(name, old, new, *caught_by):
    """The same for an edit of the header itself."""
    TEXT_BREAKS.append((name, set(caught_by), lambda text: replaced(text, old, new)))


def allowed(name, *silent):
    """A change that these gates have to let pass."""
    return lambda change: ALLOWED.append((name, set(silent), change))


def replaced(text, old, new):
    if text.count(old) != 1:
        raise AssertionError(f"the header holds {old!r} {text.count(old)} times, expected once")
    return text.replace(old, new)


def new_field(**values):
    return specification.Field(**{"since": "1.1", **values})


def field(spec, struct, name):
    return next(one for one in spec.item(struct).fields if one.name == name)


def place(spec, struct, name):
    return next(i for i, one in enumerate(spec.item(struct).fields) if one.name == name)


def swap(spec, struct, one, other):
    fields = spec.item(struct).fields
    i, j = place(spec, struct, one), place(spec, struct, other)
    fields[i], fields[j] = fields[j], fields[i]


def value(spec, name):
    return next(one for item in spec.items("constants") for one in item.values if one[0] == name)


GOLDEN = ("golden C", "golden C++")


@breaks("a function inserted in the middle of ephor_host", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_host").fields.insert(place(spec, "ephor_host", "publish"), new_field(**NEW_CALL))


@breaks("fields inserted in the middle of ephor_subscription", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_subscription").fields.insert(2, new_field(name="priority", type="uint64_t"))


@breaks("start and stop of ephor_plugin change places (one signature)", *GOLDEN, "released")
def _(spec):
    swap(spec, "ephor_plugin", "start", "stop")


@breaks("topic_name and source_name of ephor_host change places", *GOLDEN, "released")
def _(spec):
    swap(spec, "ephor_host", "topic_name", "source_name")


@breaks("a parameter of on_events becomes wider", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_plugin", "on_events").takes[2] = "uint64_t count"


@breaks("a parameter of render_json loses its const", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_host", "render_json").takes[1] = "ephor_event* event"


@breaks("create takes one parameter more", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_plugin_info", "create").takes.append("uint32_t flags")


@breaks("two parameters of one type change places in create", "released")
def _(spec):
    takes = field(spec, "ephor_plugin_info", "create").takes
    takes[1], takes[2] = takes[2], takes[1]


@breaks("destroy returns a status", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_plugin", "destroy").returns = "ephor_status"


@breaks("get_extension returns a table that is not const", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_host", "get_extension").returns = "void*"


@breaks("a status is renumbered", *GOLDEN, "released")
def _(spec):
    value(spec, "EPHOR_FULL")[1] = "12"


@breaks("two policies exchange their numbers", *GOLDEN, "released")
def _(spec):
    value(spec, "EPHOR_POLICY_REPLAY")[1] = "1"
    value(spec, "EPHOR_POLICY_DROP_OLDEST")[1] = "0"


@breaks("a status is taken away", *GOLDEN, "released")
def _(spec):
    item = next(one for one in spec.items("constants") if one.name == "status")
    item.values = [one for one in item.values if one[0] != "EPHOR_DENIED"]


@breaks("a new status with a number that another has", "released")
def _(spec):
    next(one for one in spec.items("constants") if one.name == "status").values.append(["EPHOR_BUSY", "6", ""])


@breaks("drain is taken out of ephor_plugin", *GOLDEN, "released")
def _(spec):
    del spec.item("ephor_plugin").fields[place(spec, "ephor_plugin", "drain")]


@breaks("the last function of ephor_host is taken away", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_host").fields.pop()


@breaks("a field is appended to a frozen table", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_plugin").fields.append(new_field(**NEW_CALL))


@breaks("a field is renamed", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_host", "publish").name = "emit"


@breaks("a field of the event becomes wider", *GOLDEN, "released", "spec")
def _(spec):
    field(spec, "ephor_event", "flags").type = "uint16_t"


@breaks("a time becomes unsigned", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_event", "time_ns").type = "uint64_t"


@breaks("a buffer of ephor_error becomes longer", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_error", "message").type = "char[1016]"


@breaks("the bytes behind a view become writable", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_view", "data").type = "char*"


@breaks("ephor_status becomes wider", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_status").type = "int64_t"


@breaks("the entry symbol has another name", "golden C++", "released")
def _(spec):
    spec.entry["symbol"] = "ephor_plugin_entry_v2"


@breaks("the entry symbol has another type", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_entry_function").function.takes.append("uint32_t host_minor")


@breaks("a second symbol that a plugin must export", "released")
def _(spec):
    spec.entry["exit_symbol"] = "ephor_plugin_exit_v1"


@breaks("another magic", *GOLDEN, "released")
def _(spec):
    spec.entry["magic"] = "0x45504850u"


@breaks("another major under the file of this one", *GOLDEN, "released")
def _(spec):
    spec.major = 2


@breaks("a frozen section becomes a draft", "released")
def _(spec):
    section = spec.section_of(spec.item("ephor_plugin"))
    section.stability, section.extension = "draft", "ephor.core/1"


@breaks("a new struct in a frozen section", "released")
def _(spec):
    made = spec.copy().item("ephor_writer")
    made.name = "ephor_reader"
    spec.section_of(spec.item("ephor_writer")).items.append(made)


@breaks("a draft's struct grows in the middle, its revision stays", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_http_route").fields.insert(4, new_field(name="host", type="ephor_view"))


@breaks("a draft's function changes, its revision stays", *GOLDEN, "released")
def _(spec):
    field(spec, "ephor_metrics", "add").takes[2] = "int64_t amount"


@breaks("a draft's array element grows, its revision stays", *GOLDEN, "released")
def _(spec):
    spec.item("ephor_cell").fields.append(new_field(name="more", type="uint64_t"))


@breaks("a type that differs between compilers", "spec", "rules")
def _(spec):
    field(spec, "ephor_draft", "cause_sequence").type = "unsigned long"


@breaks("a gap that nobody named", *GOLDEN, "released", "spec")
def _(spec):
    spec.item("ephor_writer").fields.pop(1)


text_break("a function every plugin would have to have", "typedef const ephor_entry* (*ephor_entry_function)(void);",
           "typedef const ephor_entry* (*ephor_entry_function)(void);\nvoid ephor_plugin_exit_v1(void);", "rules")
text_break("an include of <stdbool.h>", "#include <stdint.h>", "#include <stdbool.h>\n#include <stdint.h>", "rules")
text_break("a bit-field", "  uint8_t encoding; ", "  uint8_t encoding : 4; uint8_t version : 4; ", "rules", *GOLDEN)
text_break("an enum", "typedef int32_t ephor_status;", "typedef enum { EPHOR_FINE } ephor_status;", "rules", *GOLDEN)
text_break("a packed struct", "} ephor_subscription;", "} __attribute__((packed)) ephor_subscription;", "rules", *GOLDEN)
text_break("varargs", "void (*log)(void* context, int32_t level, ephor_view message);",
           "void (*log)(void* context, int32_t level, const char* format, ...);", "rules", *GOLDEN)
text_break("a comment edited by hand", "a retired number is never used again", "a number may be used again", "check")


@allowed("a status with a new number", *GOLDEN, "released", "rules", "spec")
def _(spec):
    next(one for one in spec.items("constants") if one.name == "status").values.append(["EPHOR_BUSY", "12", ""])


@allowed("an event flag in a free bit", *GOLDEN, "released", "rules", "spec")
def _(spec):
    next(one for one in spec.items("constants") if one.name == "event flag").values.append(
        ["EPHOR_EVENT_REPLAYED", "0x40u", ""])


@allowed("a new extension, and a new minor", *GOLDEN, "released", "rules", "spec")
def _(spec):
    made = spec.copy()
    section = made.section_of(made.item("ephor_task"))
    section.title = section.extension = "ephor.timer/1"
    for item in section.items:
        item.name = item.name.replace("task", "timer")
        for one in item.fields:
            one.takes = [text.replace("task", "timer") for text in one.takes]
    spec.sections.append(section)
    spec.minor = 1


@allowed("other words", *GOLDEN, "released", "rules", "spec")
def _(spec):
    field(spec, "ephor_plugin", "destroy").doc = "Nothing is called after it."
    spec.preamble = "One table."


@allowed("a draft's table grows at its end", "released", "rules", "spec")
def _(spec):
    spec.item("ephor_log").fields.append(new_field(**NEW_CALL))


@allowed("a draft changes with its revision", "released", "rules", "spec")
def _(spec):
    section = spec.section_of(spec.item("ephor_http_route"))
    section.extension = section.title = "ephor.http/2"
    spec.item("ephor_http_route").fields.insert(4, new_field(name="host", type="ephor_view"))


class Gates:
    def __init__(self, folder, cc, cxx):
        self.folder, self.cc, self.cxx = Path(folder), cc, cxx
        self.spec = specification.load(generate.SPEC)
        self.header = (ROOT / "sdk/include/ephor/abi.h").read_text()
        (self.folder / "ephor").mkdir()
        for suffix in ("c", "cpp"):
            (self.folder / f"golden.{suffix}").write_text('#include "golden_1_0.h"\nint main(void) { return 0; }\n')

    def of_header(self, text):
        """Which gates the header does not pass."""
        (self.folder / "ephor/abi.h").write_text(text)
        caught = set()
        for name, compiler, standard, suffix in (("golden C", self.cc, "c11", "c"),
                                                 ("golden C++", self.cxx, "c++20", "cpp")):
            done = subprocess.run([compiler, f"-std={standard}", "-fsyntax-only", "-I", str(self.folder), "-I",
                                   str(ROOT / "tests/abi"), str(self.folder / f"golden.{suffix}")], capture_output=True)
            if done.returncode:
                caught.add(name)
        try:
            if header_rules.faults(header_rules.preprocessed(self.folder, self.cc)):
                caught.add("rules")
        except ValueError:
            caught.add("rules")
        return caught

    def of_spec(self, changed):
        caught = set()
        try:
            specification.lay_out(changed)
        except specification.SpecError:
            caught.add("spec")
        if released.breaks(released.record(self.spec), released.record(changed)):
            caught.add("released")
        return caught | self.of_header(header.render(changed, "a copy"))

    def of_text(self, text):
        caught = self.of_header(text)
        for path in generate.outputs(self.spec):
            (self.folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, self.folder / "tree" / path)
        (self.folder / "tree/sdk/include/ephor/abi.h").write_text(text)
        if generate.differences(self.spec, self.folder / "tree"):
            caught.add("check")
        return caught

    def sums(self):
        """A record that somebody edited, or lost."""
        copy = self.folder / "released"
        shutil.copytree(generate.RELEASED, copy)
        count, found = released.check(self.spec, copy)
        if count == 0 or found:
            return f"the records as they are: {count} read, {found}"
        record = copy / f"{self.spec.version}.json"
        kept = record.read_text()
        record.write_text(re.sub(r'("EPHOR_FULL": )6', r"\g<1>7", kept))
        if not any("SHA256SUMS" in text for text in released.check(self.spec, copy)[1]):
            return "an edited record passed"
        record.unlink()
        if not released.check(self.spec, copy)[1]:
            return "a record that is gone passed"
        return ""


def main():
    cc, cxx = sys.argv[1:3]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        gates = Gates(folder, cc, cxx)
        caught = gates.of_header(gates.header)
        if caught:
            print(f"the header as it is does not pass {sorted(caught)}: the rest would prove nothing")
            return 1
        results = []
        for name, expected, change in BREAKS:
            changed = gates.spec.copy()
            change(changed)
            results.append((name, expected, gates.of_spec(changed), True))
        for name, expected, change in TEXT_BREAKS:
            results.append((name, expected, gates.of_text(change(gates.header)), True))
        for name, silent, change in ALLOWED:
            changed = gates.spec.copy()
            change(changed)
            results.append((name, silent, gates.of_spec(changed), False))
        for name, gate_names, caught, is_break in results:
            if is_break:
                is_right = bool(caught) and gate_names <= caught
                said = "caught by " + (", ".join(sorted(caught)) or "NOTHING")
                wanted = f", expected {', '.join(sorted(gate_names - caught))}, too"
            else:
                is_right = not gate_names & caught
                said, wanted = "allowed", f", but {', '.join(sorted(gate_names & caught))} objects"
            failed += not is_right
            print(f"{'ok  ' if is_right else 'FAIL'} {name}: {said}{'' if is_right else wanted}")
        trouble = gates.sums()
        failed += bool(trouble)
        print(f"{'FAIL' if trouble else 'ok  '} records edited or gone: {trouble or 'caught by sums'}")
    print(f"{len(BREAKS) + len(TEXT_BREAKS) + 1} breaks, {len(ALLOWED)} allowed changes, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
