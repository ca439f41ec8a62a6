#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""neighbours_test.py BUILD CXX: plugins that could hurt each other, together in one host. One source is
built by g++ with an nlohmann::json of another layout (JSON_DIAGNOSTICS) under the same mangled names, by
g++ -O0 with the plain one, by clang++ and, where it is there, by clang++ with libc++; with
EPHOR_OTHER_NLOHMANN=FOLDER also with that folder's nlohmann/json.hpp. All are loaded into one host, read the
same events and are asked the same; what they answer is computed here a second time."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# One name for all, as older releases had it: without the version and the layout in the namespace.
ONE_NAMESPACE = ["-DNLOHMANN_JSON_NAMESPACE=nlohmann", "-DNLOHMANN_JSON_NAMESPACE_BEGIN=namespace nlohmann {",
                 "-DNLOHMANN_JSON_NAMESPACE_END=}"]
CONFIG = {"settings": {"factor": 3}, "zeta": [1, {"alpha": None, "beta": [[], {}, "\u00e9"]}], "alpha": 1.5}
REQUEST = {"zeta": {"first": [1, [2, [3]]]}, "alpha": None, "echo": "\"quoted\""}
EVENTS = 400


def variants(cxx):
    """(name, compiler, flags) of what can be built here."""
    found = [("nested_diagnostics", cxx, ["-O0", "-DJSON_DIAGNOSTICS=1"]),
             ("nested_plain", cxx, ["-O0", "-DJSON_DIAGNOSTICS=0"])]
    clang = shutil.which("clang++")
    if clang:
        found.append(("nested_clang", clang, ["-O1", "-DJSON_DIAGNOSTICS=0"]))
        probe = subprocess.run([clang, "-stdlib=libc++", "-x", "c++", "-fsyntax-only", "-"], input="#include <string>",
                               text=True, capture_output=True)
        if probe.returncode == 0:
            found.append(("nested_libcxx", clang, ["-O1", "-stdlib=libc++", "-DJSON_DIAGNOSTICS=0"]))
        else:
            print("neighbours: no libc++: clang++ is used with libstdc++ alone")
    else:
        print("SKIPPED neighbours: no clang++: its part is left out")
    other = os.environ.get("EPHOR_OTHER_NLOHMANN")
    if other:
        found.append(("nested_other", cxx, ["-O0", "-isystem", other, "-DJSON_DIAGNOSTICS=0"]))
    else:
        print("neighbours: EPHOR_OTHER_NLOHMANN is not set: one release of nlohmann::json, two layouts of it")
    return found


def build(folder, cxx):
    """Builds all at once. Returns the names."""
    made = variants(cxx)
    running = []
    for name, compiler, flags in made:
        source = [*flags, *ONE_NAMESPACE, "-std=c++20", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden",
                  "-I", str(ROOT / "sdk/include"), "-c", str(ROOT / "tests/abi/neighbours/nested.cpp"), "-o",
                  str(folder / f"{name}.o")]
        running.append((name, compiler, flags, subprocess.Popen([compiler, *source])))
    for name, compiler, flags, process in running:
        if process.wait():
            raise AssertionError(f"{name}: {compiler} failed")
        library = [flag for flag in flags if flag.startswith("-stdlib")]
        subprocess.run([compiler, *library, "-shared", "-o", folder / f"{name}.so", folder / f"{name}.o",
                        f"-Wl,--version-script={ROOT / 'cmake/ephor_plugin.map'}", "-Wl,--exclude-libs,ALL",
                        "-Wl,-z,defs"], check=True)
    return [name for name, *_ in made]


def shared_names(folder, one, other):
    """Functions of nlohmann::json that both objects define under one name: what could be mixed up."""
    names = []
    for name in (one, other):
        listed = subprocess.run(["nm", "--defined-only", folder / f"{name}.o"], check=True, text=True,
                                capture_output=True).stdout
        names.append({line.split()[-1] for line in listed.splitlines() if "8nlohmann" in line})
    return names[0] & names[1]


def expected(lines):
    """What every plugin has to say, in the order its ordered JSON keeps."""
    keys, last = {}, None
    for line in lines:
        data = json.loads(line)["data"]
        key = keys.setdefault(data["key"], {"sum": 0, "values": []})
        key["sum"] += CONFIG["settings"]["factor"] * data["deep"]["value"]
        # nlohmann::json sorts members, which ordered_json then keeps.
        key["values"].append(dict(sorted(data["deep"].items())))
        last = dict(sorted(data.items()))
        last["deep"] = dict(sorted(last["deep"].items()))
    return {"seen": len(lines), "keys": keys, "last": last}


def merged(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = merged(out.get(name), value)
    return out


def events():
    for n in range(EVENTS):
        data = {"key": f"key {n * 7 % 11}", "deep": {"value": n * 37 % 101 - 50, "list": [n, [str(n)]], "a": None}}
        yield json.dumps({"specversion": "1.0", "id": f"n{n}", "source": "s", "type": "test.nested",
                          "time": f"2024-01-01T00:{n // 60:02}:{n % 60:02}Z", "data": data})


def main():
    build_dir, cxx = Path(sys.argv[1]), sys.argv[2]
    ephor = build_dir / "bin/ephor"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = build(folder, cxx)
        common = shared_names(folder, "nested_diagnostics", "nested_plain")
        if not common:
            raise AssertionError("the two layouts share no name: nothing could be mixed up, so nothing is tested")
        print(f"neighbours: {len(names)} plugins; {len(common)} functions of one name over two layouts")
        subprocess.run([ROOT / "tests/abi/exports.sh", folder], check=True, stdout=subprocess.DEVNULL)

        lines = list(events())
        (folder / "events.ndjson").write_text("\n".join(lines) + "\n")
        config = folder / "ephor.json"
        config.write_text(json.dumps({"plugin_path": [str(folder)], "log": {"level": "warning"},
                                      "plugins": {name: {"config": CONFIG} for name in names}}))
        common_arguments = ["--config", config, "--data-dir", folder / "data"]
        subprocess.run([ephor, "replay", folder / "events.ndjson", *common_arguments], check=True,
                       stdout=subprocess.DEVNULL)
        state = expected(lines)
        bytes_of = {}
        for name in names:
            # A second process: all are loaded again, and their states, which they wrote with their own library.
            done = subprocess.run([ephor, "query", name, json.dumps(REQUEST), *common_arguments], text=True,
                                  capture_output=True)
            if done.returncode:
                raise AssertionError(f"{name}: ephor query: exit {done.returncode}: {done.stderr}")
            told = json.loads(done.stdout)
            told["state"] = json.loads(told["state"])
            if json.dumps(told["state"]) != json.dumps(state):
                raise AssertionError(f"{name}: the state has another order")
            for member, value in (("state", state), ("config", CONFIG), ("echo", REQUEST), ("caught", True),
                                  ("merged", merged(CONFIG, REQUEST))):
                if told[member] != value:
                    raise AssertionError(f"{name}: {member}: found {json.dumps(told[member])[:400]}, "
                                         f"expected {json.dumps(value)[:400]}")
            bytes_of[name] = told["json_bytes"]
            failed = subprocess.run([ephor, "query", name, '{"throw": [1], "index": 5}', *common_arguments], text=True,
                                    capture_output=True)
            if failed.returncode != 1 or "out_of_range" not in failed.stderr:
                raise AssertionError(f"{name}: a json exception in a query: exit {failed.returncode}: {failed.stderr}")
            print(f"neighbours: {name}: nlohmann::json {told['version']} of {told['json_bytes']} bytes answers as "
                  "expected")
        if bytes_of["nested_diagnostics"] == bytes_of["nested_plain"]:
            raise AssertionError(f"json takes {bytes_of['nested_plain']} bytes in both: the layouts do not differ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
