#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sdk/abi/generate.py [--check | --gate | --release]

Writes from sdk/abi/ephor-1.0.toml what is made of it. --check writes nothing and fails where a file
differs. --gate fails where the specification breaks what sdk/abi/released/ records. --release records
this version, once. Exit 0, 1 (a difference or a break), 2 (a fault of the specification)."""
import argparse
import difflib
import sys
from pathlib import Path

import golden
import header
import reference
import released
import sizes
import spec as specification

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SPEC = HERE / "ephor-1.0.toml"
RELEASED = HERE / "released"


def outputs(spec):
    """Path in the checkout -> text."""
    source = "sdk/abi/" + SPEC.name
    return {"sdk/include/ephor/abi.h": header.render(spec, source),
            "sdk/include/ephor/abi_sizes.hpp": sizes.render(spec, source),
            f"tests/abi/golden_{spec.major}_{spec.minor}.h": golden.render(spec, source),
            "docs/abi-reference.md": reference.render(spec, source)}


def differences(spec, root):
    found = []
    for path, text in outputs(spec).items():
        file = Path(root) / path
        there = file.read_text() if file.exists() else ""
        if there != text:
            lines = difflib.unified_diff(there.splitlines(), text.splitlines(), path, "generated", n=1, lineterm="")
            found.append(f"{path}: differs from what sdk/abi/generate.py makes:\n" + "\n".join(list(lines)[:20]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    for name in ("check", "gate", "release"):
        mode.add_argument(f"--{name}", action="store_true")
    chosen = parser.parse_args()
    try:
        spec = specification.load(SPEC)
        if chosen.check:
            found = differences(spec, ROOT)
            done = f"{len(outputs(spec))} files are what the specification says"
        elif chosen.gate:
            count, found = released.check(spec, RELEASED)
            if count == 0:
                found.append("found no record of a release, expected one")
            done = f"nothing of {count} released ABI is broken"
        elif chosen.release:
            found, done = [], f"recorded in {released.seal(spec, RELEASED)}"
        else:
            for path, text in outputs(spec).items():
                (ROOT / path).write_text(text)
            found, done = [], "written: " + " ".join(outputs(spec))
    except (specification.SpecError, FileExistsError) as failure:
        print(f"abi: {failure}", file=sys.stderr)
        return 2
    for text in found:
        print(f"abi: {text}", file=sys.stderr)
    if not found:
        print(f"abi: {done}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
