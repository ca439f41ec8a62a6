#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every check of `ephor plugin check` can fail: one bad plugin for each, compiled here from
tests/plugins/bad, must fail the check of that name and say what the table below expects. The same
plugin without a defect passes all of them."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from plugin_check_running_test import GROUPS  # whose bad plugins are its own

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("EPHOR_BUILD_DIR", ROOT / "build" / "release"))
EPHOR = BUILD / "bin" / "ephor"
# Seconds for one check; longer where a sanitizer slows everything down.
TIMEOUT_S = 10 * max(1.0, float(os.environ.get("EPHOR_SLOWDOWN", "1")))
SOURCES = ROOT / "tests" / "plugins" / "bad"
COMPILER = shutil.which("cc") or shutil.which("gcc")
CXX_COMPILER = shutil.which("c++") or shutil.which("g++")
MAP = f"-Wl,--version-script={SOURCES / 'plugin.map'}"


def text(value):
    """A C string literal as the value of a macro."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def schema(**parts):
    return {"SCHEMA_" + name.upper(): text(value) for name, value in parts.items()}


def key(more):
    """The schema of the one key, with more or other members."""
    members = {"type": "integer", "minimum": 0, "maximum": 100, "default": 10, "examples": [5],
               "description": "events between two reports"}
    members.update(more)
    return schema(key=json.dumps({name: value for name, value in members.items()
                                  if value is not None}))


class Bad:
    """What a check is given. `says`: a part of its message. `macros`: of plugin.c."""

    def __init__(self, says, macros=(), flags=(), without=(), outcome="failed", more=()):
        self.says = says
        self.macros = dict.fromkeys(macros, "1") if not isinstance(macros, dict) else macros
        self.flags = list(flags)
        self.without = set(without)
        self.outcome = outcome
        self.more = list(more)  # words for `plugin check`


def loading(code, says, flags=()):
    return Bad(says, {"BAD_LOAD": code}, flags)


BAD = {
    "load/is_elf": Bad("expected \\177ELF"),
    "load/one_exported_symbol": Bad("exported_by_mistake", ["BAD_EXPORTS_MORE"], without=[MAP]),
    "load/no_unique_symbols": Bad("unique_by_mistake", ["BAD_UNIQUE"], without=[MAP]),
    "load/no_executable_stack": Bad("executable stack", flags=["-Wl,-z,execstack"]),
    "load/no_writable_code": Bad("writable and executable", ["BAD_WRITABLE_CODE"]),
    "load/no_text_relocations": Bad("text relocations", ["BAD_TEXT_RELOCATION"],
                                    ["-Wl,-z,notext"]),
    "load/read_only_relocations": Bad("no PT_GNU_RELRO", flags=["-Wl,-z,norelro"],
                                      without=["-Wl,-z,relro"]),
    "load/no_foreign_search_path": Bad("/home/somebody/build",
                                       flags=["-Wl,-rpath,/home/somebody/build"]),
    "load/needs_no_other_plugin": Bad("that it needs other.so, a plugin", flags=["other.so"]),
    "load/loads": Bad("nobody_defines_this", ["BAD_UNDEFINED"]),
    "load/entry": Bad("an entry at NULL", ["BAD_ENTRY_NULL"]),
    "load/is_quick": loading("burn(1.3)", "to load it"),
    "load/entry_is_pure": Bad("another address at the second call", ["BAD_ENTRY_CHANGES"]),
    "load/loads_twice": Bad("the copy's entry", ["BAD_ENTRY_SHARED"]),
    "load/starts_no_thread": loading("start_thread_and_forget_it()", "1 threads after loading"),
    "load/starts_no_process": loading("start_process()", "1 processes after loading"),
    "load/prints_nothing": loading('puts("hello")', "6 bytes printed while loading"),
    "load/opens_nothing": loading("open_file()", "/dev/null"),
    "load/writes_no_file": loading("write_file()", "written_while_loading"),
    "load/keeps_environment": loading('setenv("CHANGED_BY", "me", 1)', "+ CHANGED_BY=me"),
    "load/keeps_working_directory": loading('if (chdir("/") != 0) abort()', "working directory"),
    "load/keeps_umask": loading("umask(0)", "umask"),
    "load/keeps_locale": loading('setlocale(LC_ALL, "C.UTF-8")', "locale"),
    "load/keeps_floating_point": loading("flush_denormals()", "floating-point mode"),
    "load/keeps_signals": loading("signal(SIGUSR1, SIG_IGN)", "signal 10 ignored"),

    "descriptor/magic": Bad("magic 1", {"MAGIC": "1"}),
    "descriptor/sizes": Bad("ephor_entry.struct_size 8", {"ENTRY_SIZE": "8"}),
    "descriptor/abi_version": Bad("ABI major 7", {"ABI_MAJOR": "7"}),
    "descriptor/info_table": Bad("no plugin in the entry", {"INFO_COUNT": "0"}),
    "descriptor/text_is_utf8": Bad("summary that is no UTF-8", {"SUMMARY_TEXT": '"a \\xFF"'}),
    "descriptor/id": Bad('id "Not An Id"', {"ID_TEXT": text("Not An Id")}),
    "descriptor/id_is_file_name": Bad('id "another"', {"ID_TEXT": text("another")}),
    "descriptor/ids_differ": Bad("two plugins of the id", {"INFO_COUNT": "2"}),
    "descriptor/version": Bad('version "1.2"', {"VERSION_TEXT": text("1.2")}),
    "descriptor/summary": Bad("no summary", {"SUMMARY_TEXT": text("")}),
    "descriptor/capabilities": Bad("unknown capability bits 128", {"CAPABILITIES": "0x80u"}),
    "descriptor/extension_ids": Bad('extension "ephor.query"',
                                    {"REQUIRED_ID": text("ephor.query"), "REQUIRED_COUNT": "1"}),
    "descriptor/extensions_are_named_once": Bad("extension ephor.query/1 twice",
                                                {"REQUIRED_COUNT": "1"}),
    "descriptor/required_extensions_exist": Bad(
        "it requires ephor.teleport/1",
        {"REQUIRED_ID": text("ephor.teleport/1"), "REQUIRED_COUNT": "1"}),

    "schema/is_json": Bad("config_schema", schema(text='{"type":')),
    "schema/dialect": Bad("draft-07", schema(
        root='"type":"object","additionalProperties":false,"$schema":'
             '"http://json-schema.org/draft-07/schema#"')),
    "schema/keywords_are_known": Bad("multipleOf", key({"multipleOf": 5})),
    "schema/keywords_are_used_rightly": Bad('"many"', key({"minimum": "many"})),
    "schema/root_is_an_object": Bad("type", schema(root='"additionalProperties":false')),
    "schema/bounds_leave_room": Bad("minimum 200.0 with maximum 100.0", key({"minimum": 200})),
    "schema/enums_fit_their_type": Bad('"ten"', key({"enum": [10, 5, "ten"]})),
    "schema/defaults_are_valid": Bad("the default 1000", key({"default": 1000})),
    "schema/examples_are_valid": Bad("the example 1000", key({"examples": [1000]})),
    "schema/required_is_declared": Bad('"nowhere" required', schema(
        root='"type":"object","additionalProperties":false,"required":["nowhere"]')),
    "schema/properties_are_described": Bad("no description of threshold",
                                           key({"description": None})),
    "schema/properties_have_types": Bad("no type of threshold", key({"type": None})),
    "schema/unknown_keys_are_decided": Bad("without additionalProperties",
                                           schema(root='"type":"object"')),
    "schema/is_small": Bad("bytes of schema", key({"description": "x" * 1100000})),

    "config/default_creates": Bad("it is never created", ["BAD_CREATE_FAILS"]),
    "config/random_valid": Bad("a JSON pointer", ["BAD_CREATE_REFUSES_SILENTLY"]),
    "config/bounds": Bad("divided by 0", ["BAD_CREATE_FAILS_AT_ZERO"]),
    "config/survives_invalid": Bad("signal 6", ["BAD_CREATE_TRUSTS_TYPES"], outcome="crashed"),
    "config/survives_bad_json": Bad("call create", ["BAD_CREATE_TRUSTS_JSON"], outcome="crashed"),
    "config/any_notation": Bad("found no threshold", ["BAD_CREATE_SEARCHES_TEXT"]),
    "config/tolerates_unknown_keys": Bad(
        "an unknown key", {"BAD_CREATE_REFUSES_UNKNOWN": "1",
                           **schema(root='"type":"object","additionalProperties":true')}),
    "config/examples_create": Bad(
        "not seven", {"BAD_CREATE_REFUSES_SEVEN": "1",
                      **schema(root='"type":"object","additionalProperties":false,'
                                    '"examples":[{"threshold":7}]')}),
    "config/failure_is_explained": Bad("without a message", ["BAD_FAILURE_SILENT"]),
    "config/failure_leaves_out_alone": Bad("wrote to out", ["BAD_FAILURE_WRITES_OUT"]),
    "config/failure_leaves_nothing": Bad("more blocks of memory", ["BAD_FAILURE_LEAKS"]),

    "lifecycle/create_destroy": Bad("call destroy", ["BAD_DESTROY_NEEDS_START"],
                                    outcome="crashed"),
    "lifecycle/start_stop": Bad("it never starts", ["BAD_START_FAILS"]),
    "lifecycle/stop_without_start": Bad("call stop", ["BAD_STOP_NEEDS_START"], outcome="crashed"),
    "lifecycle/stop_twice": Bad("call stop", ["BAD_STOP_ONCE"], outcome="crashed"),
    "lifecycle/drain_without_events": Bad("it cannot drain", ["BAD_DRAIN_FAILS"]),
    "lifecycle/drain_after_its_deadline": Bad("that drain took",
                                              ["BAD_DRAIN_IGNORES_DEADLINE"]),
    "lifecycle/failed_start": Bad("call stop", ["BAD_STOP_AFTER_FAILED_START"],
                                  outcome="crashed"),
    "lifecycle/two_instances": Bad("call on_events of second", ["BAD_SHARES_INSTANCES"],
                                   outcome="crashed"),
    "lifecycle/same_name_again": Bad("there was one before", ["BAD_CREATED_ONCE"]),
    "lifecycle/legal_orders": Bad("call destroy", ["BAD_DESTROY_AFTER_DRAIN"],
                                  outcome="crashed"),
    "lifecycle/table_is_complete": Bad("ephor_plugin.drain at NULL", {"DRAIN_FUNCTION": "NULL"}),
    "lifecycle/out_size": Bad("create wrote behind", ["BAD_WRITES_BEHIND_OUT"]),
    "lifecycle/extensions_are_pure": Bad("a table for the extension", ["BAD_EXTENSION_FOR_ALL"]),
    "lifecycle/checkpoint_table": Bad("ephor_checkpoint.struct_size 4", {"CHECKPOINT_SIZE": "4"}),
    "lifecycle/create_is_passive": Bad("threads after create", ["BAD_CREATE_THREAD"]),
    "lifecycle/stop_ends_threads": Bad("threads after stop", ["BAD_START_THREAD"]),
    "lifecycle/stop_closes_sockets": Bad("open sockets after stop", ["BAD_START_SOCKET"]),
    "lifecycle/stop_is_prompt": Bad("that stop took", ["BAD_STOP_SLOW"]),
    "lifecycle/is_silent": Bad("bytes printed", ["BAD_START_PRINTS"]),
    "lifecycle/keeps_process_state": Bad("locale", ["BAD_START_CHANGES_LOCALE"]),
    "lifecycle/copies_what_it_keeps": Bad("call on_events", ["BAD_KEEPS_VIEW"],
                                          outcome="crashed"),

    "leaks/create_heap": Bad("more blocks of memory", ["BAD_CREATE_HEAP"]),
    "leaks/create_descriptors": Bad("/dev/null", ["BAD_CREATE_DESCRIPTOR"]),
    "leaks/create_threads": Bad("more threads", ["BAD_CREATE_THREAD"]),
    "leaks/create_mappings": Bad("more mappings", ["BAD_CREATE_MAPPING"]),
    "leaks/start_heap": Bad("more blocks of memory", ["BAD_START_HEAP"]),
    "leaks/start_descriptors": Bad("/dev/null", ["BAD_START_DESCRIPTOR"]),
    "leaks/start_threads": Bad("more threads", ["BAD_START_THREAD"]),
    "leaks/start_mappings": Bad("more mappings", ["BAD_START_MAPPING"]),

    "contract/threads": Bad("publish was called from start", ["BAD_PUBLISHES_IN_START"]),
    "contract/lifetime": Bad("after start has returned", ["BAD_REGISTERS_LATE"]),
    "contract/handles": Bad("series 999", ["BAD_HANDLE"]),
    "contract/structs": Bad("ephor_subscription: found struct_size 200000",
                            {"SUBSCRIPTION_SIZE": "200000"}),
    "contract/text": Bad("log line", ["BAD_LOG_TEXT"]),
    "contract/json": Bad("request schema", {"REQUEST_SCHEMA": text("{")}),
    "contract/topics": Bad("good..in", {"PATTERN": text("good..in")}),
    "contract/subscription": Bad("policy 9", {"POLICY": "9"}),
    "contract/drafts": Bad("cause 1", {"DRAFT_CAUSE": "1"}),
    "contract/queries": Bad("found no summary", {"QUERY_SUMMARY": text(" ")}),
    "contract/routes": Bad('scope "root"', {"ROUTE_SCOPE": text("root")}),
    "contract/commands": Bad("found no summary", {"COMMAND_SUMMARY": text("")}),
    "contract/storage": Bad("found 1 cells", {"ROW_CELLS": "1"}),
    "contract/metrics": Bad("bad name", {"SERIES_NAME": text("bad name")}),
    "contract/log": Bad("found level 9", ["BAD_LOG_LEVEL"]),
    "contract/health": Bad("without a reason", ["BAD_HEALTH"]),
    "contract/errors": Bad("without a message", ["BAD_SILENT_FAILURE"]),
    "contract/exceptions": Bad("threw an exception", ["BAD_THROWS"]),
}


if (ROOT / "sdk" / "include" / "ephor" / "note.h").exists():
    BAD["note/is_there"] = Bad("no note", ["BAD_NO_NOTE"])
    BAD["note/is_true"] = Bad("another version in the note", {"NOTE_VERSION": text("9.9.9")})

# A sanitizer's malloc is not ephor-checker's.
NEEDS_COUNTED_MALLOC = {"leaks/create_heap", "leaks/start_heap", "config/failure_leaves_nothing"}


def run(words, **more):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=240, check=False, **more)


def compiled(directory, name, bad):
    """The plugin with this defect, as directory/NAME.so."""
    out = directory / f"{name}.so"
    if bad is not None and not bad.macros and bad.says == "expected \\177ELF":
        out.write_text("no library\n")
        return out
    macros = dict(bad.macros) if bad else {}
    header = directory / f"{name}.h"
    # Through a file: a macro may be longer than a command line.
    lines = [f"#define PLUGIN_ID {text(name)}"]
    lines += [f"#define {macro} {value}" for macro, value in macros.items()]
    header.write_text("\n".join(lines) + "\n")
    flags = ["-std=gnu11", "-fPIC", "-shared", "-fexceptions", "-fvisibility=hidden", MAP,
             "-Wl,-z,relro", "-Wl,-z,noexecstack", f"-I{ROOT / 'sdk' / 'include'}"]
    flags = [flag for flag in flags if bad is None or flag not in bad.without]
    extra = bad.flags if bad else []
    driver = COMPILER
    if "BAD_THROWS" in macros:
        thrown = directory / f"{name}_thrown.o"
        built = run([CXX_COMPILER, "-c", "-fPIC", SOURCES / "throw_something.cpp", "-o", thrown])
        assert built.returncode == 0, built.stderr
        extra = [*extra, thrown, "-lstdc++"]
    if "other.so" in extra:
        (directory / "other.c").write_text(
            "const void* ephor_plugin_entry_v1(void) { return 0; }\n")
        built = run([COMPILER, "-shared", "-fPIC", "other.c", "-o", "other.so",
                     "-Wl,-soname,other.so"], cwd=directory)
        assert built.returncode == 0, built.stderr
        extra = ["-Wl,--no-as-needed", *extra]
    built = run([driver, *flags, "-include", header, SOURCES / "plugin.c", *extra, "-lpthread",
                 "-o", out], cwd=directory)
    if built.returncode != 0:
        raise AssertionError(f"{name}: {built.stderr}")
    return out


def checked(library, *words):
    ran = run([EPHOR, "plugin", "check", library, "--format", "json", "--jobs", "1",
               "--timeout", TIMEOUT_S, *words])
    if not ran.stdout:
        raise AssertionError(f"no report: {ran.stderr}")
    return ran.returncode, json.loads(ran.stdout)


@unittest.skipUnless(COMPILER and CXX_COMPILER, "no C and C++ compiler: bad plugins cannot be made")
class BadPlugins(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="ephor-bad-plugins-")
        cls.directory = pathlib.Path(cls.scratch.name)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_each_check_has_its_bad_plugin(self):
        listed = json.loads(run([EPHOR, "plugin", "check", "--list", "--format", "json"]).stdout)
        self.assertGreaterEqual(len(listed), 70)
        names = [one["check"] for one in listed]
        # The rest have theirs in plugin_check_running_test.py.
        own = [name for name in names if name.split("/")[0] not in GROUPS]
        self.assertEqual(sorted(own), sorted(BAD))

    def test_the_good_plugin_passes_all(self):
        library = compiled(self.directory, "good", None)
        code, report = checked(library, "--skip", ",".join(GROUPS))
        bad = [(one["check"], one["outcome"], one["message"]) for one in report["results"]
               if one["outcome"] not in ("passed", "skipped")]
        self.assertEqual(bad, [])
        self.assertEqual(code, 0)
        # A check that is skipped for the good plugin shows nothing.
        skipped = {one["check"] for one in report["results"] if one["outcome"] == "skipped"
                   and not one["message"].startswith("a sanitizer")}
        self.assertEqual(skipped, {"config/tolerates_unknown_keys", "config/examples_create"})

    def test_each_bad_plugin_fails_its_check(self):
        counted = checked(compiled(self.directory, "good", None), "--only", "leaks/create_heap")[1]
        is_uncounted = counted["results"][0]["outcome"] == "skipped"

        def look(item):
            name, bad = item
            try:
                library = compiled(self.directory, name.replace("/", "_"), bad)
                code, report = checked(library, "--only", name, *bad.more)
            except AssertionError as failure:
                return [f"{name}: {failure}"]
            result = report["results"][0]
            problems = []
            if is_uncounted and name in NEEDS_COUNTED_MALLOC:
                print(f"SKIPPED: {name}: a sanitizer has its own malloc", flush=True)
            elif (result["check"], result["outcome"]) != (name, bad.outcome) or code != 1:
                problems.append(f"{name}: found {result['outcome']}, exit code {code}, expected "
                                f"{bad.outcome} and 1: {result['message']}")
            elif bad.says not in result["message"]:
                problems.append(f"{name}: found \"{result['message']}\", expected \"{bad.says}\"")
            return problems

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            problems = [line for found in pool.map(look, BAD.items()) for line in found]
        self.assertEqual(problems, [])


if __name__ == "__main__":
    if not EPHOR.exists():
        sys.exit(f"{EPHOR}: not built")
    unittest.main()
