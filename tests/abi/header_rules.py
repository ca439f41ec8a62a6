#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""header_rules.py INCLUDE_FOLDER CC: ephor/abi.h, preprocessed, holds type definitions alone, of the few
types that mean the same to every compiler; it includes nothing but <stddef.h> and <stdint.h>."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FIXED = re.compile(r"u?int(8|16|32|64)_t")
OTHERS = {"bool", "_Bool", "long", "short", "int", "unsigned", "signed", "float", "enum", "union", "size_t", "wchar_t",
          "static", "inline", "extern", "volatile", "restrict", "__attribute__", "_Alignas", "register", "ssize_t",
          "intptr_t", "uintptr_t", "ptrdiff_t", "complex", "_Complex", "va_list"}


def preprocessed(include, compiler):
    """The header's own text. The two standard headers are empty here, and there are no others."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("stddef.h", "stdint.h"):
            (Path(folder) / name).write_text("")
        done = subprocess.run([compiler, "-E", "-P", "-nostdinc", "-std=c11", "-I", folder, "-I", str(include), "-x", "c",
                               "-"], input="#include <ephor/abi.h>\n", text=True, capture_output=True)
    if done.returncode:
        raise ValueError(f"abi.h includes more than <stddef.h> and <stdint.h>, or does not preprocess:\n{done.stderr}")
    return done.stdout


def faults(text):
    found = []
    for word in sorted(set(re.findall(r"[A-Za-z_]\w*", text)) & OTHERS):
        found.append(f"found {word}, expected fixed-width integers, char, double, void, structs and pointers")
    for mark, why in (("...", "varargs"), (":", "a bit-field"), ("=", "an initialiser"), ("#", "a directive")):
        if mark in text:
            found.append(f"found {mark!r} ({why}), expected none")
    for word in sorted(set(re.findall(r"\b\w+_t\b", text))):
        if not FIXED.fullmatch(word):
            found.append(f"found the type {word}, expected intN_t or uintN_t")
    rest = text
    while True:  # bodies first, so that a definition ends with its own semicolon
        flat = re.sub(r"\{[^{}]*\}", " ", rest)
        if flat == rest:
            break
        rest = flat
    for statement in filter(None, (" ".join(one.split()) for one in rest.split(";"))):
        if not statement.startswith("typedef "):
            found.append(f"found \"{statement}\", expected a typedef: a declaration is a symbol that somebody has to have")
    return found


def main():
    text = preprocessed(sys.argv[1], sys.argv[2])
    found = faults(text)
    for one in found:
        print(f"abi.h: {one}", file=sys.stderr)
    if not found:
        print(f"abi.h: {text.count('typedef')} definitions, fixed-width types alone, no symbol of its own")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
