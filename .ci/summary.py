#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""summary.py JUNIT.xml: the last line of script/test, counted from CTest's report.

A test is one CTest test. A program that passes but prints "SKIPPED: reason" has left out a part that
could not run here (say, data that is absent): each such line counts as one skipped test."""
import re
import sys
import xml.etree.ElementTree as ElementTree

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#(?:x[0-9a-fA-F]+|[0-9]+);")


def main(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            suite = ElementTree.fromstring(CONTROL.sub("?", file.read()))
    except (OSError, ElementTree.ParseError) as error:
        print(f"test: no report: {error}")
        print("0 passed, 1 failed, 0 skipped")
        return 1
    passed, failed, skipped = [], [], []
    for case in suite.iter("testcase"):
        name, status = case.get("name"), case.get("status")
        output = case.findtext("system-out") or ""
        if case.find("failure") is not None or status == "fail":
            failed.append(name)
        elif case.find("skipped") is not None or status in ("notrun", "disabled"):
            reason = case.find("skipped")
            text = reason.get("message", "") if reason is not None else ""
            skipped.append(f"{name}: {text or status}")
        else:
            passed.append(name)
            lines = dict.fromkeys(re.findall(r"^SKIPPED:? ?(.*)$", output, re.MULTILINE))
            skipped.extend(f"{name}: {line}" for line in lines)
    for line in skipped:
        print(f"skipped: {line}")
    for name in failed:
        print(f"failed: {name}")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
