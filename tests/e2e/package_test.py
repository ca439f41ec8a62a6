#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is in the two Debian packages and in an installation, and what is not."""
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from ephor_e2e import BUILD, CONFIG, EPHOR, PLUGINS, ROOT, TestCase, cli, main
from ephor_packages import VERSION, contents, control, names_in, package, run


def is_elf(file):
    with open(file, "rb") as stream:
        return stream.read(4) == b"\x7fELF"


def files_below(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def owners_of(file):
    """The packages a file is of, and what else they are called, such as libspdlog1.10-fmt9."""
    for name in (file, f"*/{file.name}"):  # merged /usr: dpkg may know it by its old name
        found = subprocess.run(["dpkg", "--search", name], capture_output=True, text=True)
        if found.returncode == 0:
            break
    owners = {line.split(":")[0] for line in found.stdout.splitlines()}
    for one in list(owners):
        owners |= names_in(run("dpkg-query", "--show", "--showformat=${Provides}", one))
    return owners


def unit_of(text):
    """[(key, value)] of a unit file."""
    return [tuple(part.strip() for part in line.split("=", 1)) for line in text.splitlines()
            if "=" in line and not line.startswith("#")]


@unittest.skipUnless(shutil.which("dpkg-deb"), "no dpkg-deb")
class Packages(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.root = {}
        for name in ("ephor", "ephor-sdk"):
            cls.root[name] = cls.folder / name
            run("dpkg-deb", "--raw-extract", package(name), cls.root[name])

    def test_control(self):
        host, sdk = control(package("ephor")), control(package("ephor-sdk"))
        architecture = run("dpkg", "--print-architecture").strip()
        self.assertEqual((host["Architecture"], sdk["Architecture"]), (architecture, "all"))
        for fields in (host, sdk):
            self.assertEqual(fields["Version"], f"{VERSION}-1")
            self.assertRegex(fields["Maintainer"], r"^[^<>]+ <[^@<> ]+@[^@<> ]+>$")
            summary, *more = fields["Description"].splitlines()
            self.assertTrue(0 < len(summary) < 80 and len(more) >= 3, fields["Description"])
            self.assertTrue(all(re.match(r" (\S|\.$)", line) for line in more), more)
            self.assertEqual(fields["Priority"], "optional")
        self.assertEqual((host["Section"], sdk["Section"]), ("misc", "devel"))
        self.assertNotIn("Depends", sdk)  # a plugin in C needs nothing but a compiler
        self.assertIn("ephor-sdk", names_in(host["Suggests"]))
        self.assertIn("ephor", names_in(sdk["Suggests"]))
        self.assertLessEqual({"cmake", "nlohmann-json3-dev", "libsimdjson-dev", "libxxhash-dev"},
                             names_in(sdk["Recommends"]))

    def test_every_library_is_depended_on(self):
        """Computed a second time: what the linker finds for each file, and whose it is."""
        depends = names_in(control(package("ephor"))["Depends"])
        checked, owners = 0, {}
        for file in filter(is_elf, files_below(self.root["ephor"])):
            needed = set(re.findall(r"NEEDED.*\[(.+)\]", run("readelf", "--dynamic", file)))
            places = dict(re.findall(r"^\s*(\S+) => (/\S+)", run("ldd", file), re.MULTILINE))
            for library in needed & places.keys():  # not the dynamic linker itself
                if library not in owners:
                    owners[library] = owners_of(Path(places[library]).resolve())
                self.assertTrue(owners[library] & depends,
                                f"{file.name} needs {library} of {owners[library]}")
                checked += 1
        self.assertGreater(checked, 50)

    def test_contents_of_the_host(self):
        found = contents(package("ephor"))
        plugins = {f"/usr/lib/ephor/plugins/{file.name}" for file in PLUGINS.glob("*.so")}
        shipped = {path for path in found if path.startswith("/usr/lib/ephor/plugins/") and path[-1] != "/"}
        sources = {path.parent.name for path in ROOT.glob("plugins/*/CMakeLists.txt")}
        self.assertEqual({Path(path).stem for path in shipped}, sources)
        self.assertLessEqual(shipped, plugins)
        helpers = {f"/usr/lib/ephor/{file.name}" for file in (BUILD / "bin").glob("ephor-*")}
        self.assertIn("/usr/lib/ephor/ephor-runner", helpers)
        for path in ("/usr/bin/ephor", *helpers, "/etc/ephor/ephor.yaml",
                     "/usr/lib/systemd/system/ephor.service", "/usr/lib/sysusers.d/ephor.conf",
                     "/usr/share/ephor/config/demo.yaml", "/usr/share/man/man1/ephor.1.gz",
                     "/usr/share/doc/ephor/copyright", "/usr/share/doc/ephor/changelog.gz",
                     "/usr/share/doc/ephor/changelog.Debian.gz", "/usr/share/doc/ephor/operations/faults.md"):
            self.assertIn(path, found)
        self.check_modes(found, {"/usr/bin/ephor", *helpers})

    def test_contents_of_the_sdk(self):
        found = contents(package("ephor-sdk"))
        headers = {f"/usr/include/ephor/{file.relative_to(ROOT / 'sdk/include/ephor')}"
                   for file in files_below(ROOT / "sdk/include/ephor")}
        self.assertEqual({path for path in found if path.startswith("/usr/include/") and path[-1] != "/"},
                         headers)
        examples = {path.name for path in (ROOT / "sdk/examples").iterdir() if path.is_dir()}
        shipped = {path.split("/")[5] for path in found
                   if path.startswith("/usr/share/ephor/examples/") and path.count("/") > 5}
        self.assertEqual(shipped, examples)
        self.assertNotIn("/usr/share/ephor/examples/CMakeLists.txt", found)
        for name in ("EphorSDKConfig.cmake", "EphorSDKConfigVersion.cmake", "EphorPlugin.cmake",
                     "ephor_plugin.map"):
            self.assertIn(f"/usr/share/cmake/EphorSDK/{name}", found)
        for path in ("/usr/share/pkgconfig/ephor-sdk.pc", "/usr/share/doc/ephor-sdk/plugin-authoring.md",
                     "/usr/share/doc/ephor-sdk/copyright", "/usr/share/doc/ephor-sdk/changelog.Debian.gz"):
            self.assertIn(path, found)
        self.check_modes(found, set())
        self.assertEqual([file for file in files_below(self.root["ephor-sdk"]) if is_elf(file)], [])

    def check_modes(self, found, programs):
        for path, (mode, owner, size) in found.items():
            self.assertEqual(owner, "root/root", path)
            expected = "drwxr-xr-x" if path.endswith("/") else \
                "-rwxr-xr-x" if path in programs else "-rw-r--r--"
            self.assertEqual(mode, expected, path)
            self.assertTrue(path.endswith("/") or size > 0, f"{path} is empty")

    def test_conffiles_and_checksums(self):
        for name, root in self.root.items():
            with self.subTest(name):
                configuration = {f"/{file.relative_to(root)}" for file in files_below(root / "etc")} \
                    if (root / "etc").exists() else set()
                listed = root / "DEBIAN" / "conffiles"
                self.assertEqual(set(listed.read_text().split()) if listed.exists() else set(), configuration)
                sums = dict(reversed(line.split("  ", 1))
                            for line in (root / "DEBIAN" / "md5sums").read_text().splitlines())
                for file in files_below(root):
                    path = str(file.relative_to(root))
                    if path.startswith("DEBIAN/") or f"/{path}" in configuration and path not in sums:
                        continue
                    self.assertEqual(sums[path], hashlib.md5(file.read_bytes()).hexdigest(), path)

    def test_scripts(self):
        """Their effects are seen in bare_system_test.py."""
        found = self.root["ephor"] / "DEBIAN"
        for name in ("postinst", "prerm", "postrm"):
            text = (found / name).read_text()
            self.assertTrue(text.startswith("#!/bin/sh\n"), name)
            self.assertRegex(text, r"(?m)^set -e$")
            self.assertEqual((found / name).stat().st_mode & 0o777, 0o755, name)
            run("sh", "-n", found / name)
        self.assertFalse((self.root["ephor-sdk"] / "DEBIAN" / "postinst").exists())

    def test_nothing_of_the_build_is_left(self):
        places = {str(ROOT).encode(), str(BUILD).encode()}
        for root in self.root.values():
            for file in files_below(root):
                data = file.read_bytes()
                if file.suffix == ".gz":
                    self.assertEqual(data[4:8], bytes(4), f"{file.name} tells when it was made")
                    data = gzip.decompress(data)
                for place in places:
                    self.assertFalse(place in data, f"{file} names {place}")
                if not is_elf(file):
                    continue
                sections = run("readelf", "--sections", "--wide", file)
                for section in (".symtab", ".debug_info"):
                    self.assertFalse(f" {section} " in sections, f"{file.name} is not stripped")
                dynamic = run("readelf", "--dynamic", file)
                self.assertNotRegex(dynamic, "RPATH|RUNPATH|TEXTREL", file.name)
                self.assertRegex(dynamic, r"BIND_NOW|FLAGS.*NOW", file.name)

    def test_the_shipped_configuration(self):
        shipped = self.root["ephor"] / "etc/ephor/ephor.yaml"
        old, new = CONFIG.read_text().splitlines(), shipped.read_text().splitlines()
        changed = [line for line in new if line not in old and not line.startswith("#")]
        self.assertEqual(changed, ["data_dir: /var/lib/ephor"])
        self.assertEqual([line for line in old if line not in new and not line.startswith("#")],
                         ["data_dir: data"])
        self.assertNotIn("config/", shipped.read_text().replace("/usr/share/ephor/config/", ""))
        for file in (shipped, *files_below(self.root["ephor"] / "usr/share/ephor/config")):
            cli("check", "--config", file)

    def test_the_manual_names_every_option(self):
        page = self.root["ephor"] / "usr/share/man/man1/ephor.1.gz"
        text = gzip.decompress(page.read_bytes()).decode().replace("\\-", "-").replace("\\e", "\\")
        for line in cli("--help").stdout.splitlines():
            self.assertIn(line, text)
        if shutil.which("man") and shutil.which("groff"):
            run("man", "--warnings", "--local-file", page)
            warnings = subprocess.run(["man", "--warnings", "--local-file", page], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True).stderr
            self.assertEqual(warnings, "")

    def test_unit(self):
        root = self.root["ephor"]
        unit = root / "usr/lib/systemd/system/ephor.service"
        settings = unit_of(unit.read_text())
        values = dict(settings)
        self.assertEqual(len(dict(settings)), len({key for key, _ in settings}))
        for key in ("ExecStart", "ExecReload"):
            program, *arguments = values[key].split()
            self.assertTrue((root / program.lstrip("/")).is_file(), program)
            config = arguments[arguments.index("--config") + 1]
            self.assertTrue((root / config.lstrip("/")).is_file(), config)
            self.assertIn(f"  {arguments[0]} ", cli("--help").stdout)
        self.assertEqual(values["User"], (root / "usr/lib/sysusers.d/ephor.conf").read_text()
                         .splitlines()[-1].split()[1])
        config = (root / "etc/ephor/ephor.yaml").read_text()
        self.assertIn(f"\ndata_dir: /var/lib/{values['StateDirectory']}\n", config)
        # It has to last longer than the drain it waits for.
        schema = json.loads(cli("schema").stdout)
        drain_s = schema["properties"]["shutdown"]["properties"]["drain_timeout_s"]["default"]
        self.assertGreater(int(values["TimeoutStopSec"]), 2 * drain_s)
        hard_s = schema["properties"]["faults"]["properties"]["hard_limit_s"]["default"]
        self.assertGreater(int(values["WatchdogSec"]), hard_s)
        if not shutil.which("systemd-analyze"):
            print("SKIPPED: no systemd-analyze", flush=True)
            return
        # 2.0 of 10 and better is what systemd calls safe; --threshold is in tenths.
        run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit)
        # Beside warnings on what is not on this machine (the program, the manual), nothing.
        lines = run("systemd-analyze", "verify", "--man=no", unit, code=None).splitlines()
        self.assertEqual([line for line in lines if line.startswith("ephor.service") and
                          "is not executable" not in line], [])


class Installation(TestCase):
    def install(self, prefix, *more, **environment):
        return run("cmake", "--install", BUILD, "--prefix", prefix, *more,
                   env={**os.environ, **environment})

    def test_another_prefix(self):
        prefix = self.folder / "opt"
        self.install(prefix, "--component", "host", "--strip")
        unit = (prefix / "lib/systemd/system/ephor.service").read_text()
        self.assertIn(f"ExecStart={prefix}/bin/ephor run --config {prefix}/etc/ephor/ephor.yaml\n", unit)
        self.assertNotRegex(unit, r"[= ]/(usr|etc)/")
        config = prefix / "etc/ephor/ephor.yaml"
        cli("check", "--config", config)
        # It finds its own plugins and its runner from where it lies.
        listed = run(prefix / "bin/ephor", "plugin", "list").splitlines()
        names = {line.split()[0] for line in listed}
        self.assertLessEqual({path.parent.name for path in ROOT.glob("plugins/*/CMakeLists.txt")}, names)
        replayed = self.folder / "session.ndjson"
        run(prefix / "bin/ephor", "simulate", "--hours", "1", "--seed", "1", "--out", replayed)
        run(prefix / "bin/ephor", "replay", replayed, "--config", config, "--data-dir", self.folder / "isolated",
            "--set", 'plugins.tracer.isolation="process"')
        (prefix / "lib/ephor/ephor-runner").unlink()
        refused = run(prefix / "bin/ephor", "replay", replayed, "--config", config, "--data-dir",
                      self.folder / "missing", "--set", 'plugins.tracer.isolation="process"', code=None)
        self.assertIn("ephor-runner", refused)
        # What an administrator wrote stays.
        config.write_text("data_dir: mine\n")
        self.assertIn("Keeping", self.install(prefix, "--component", "host"))
        self.assertEqual(config.read_text(), "data_dir: mine\n")

    def test_usr_has_etc_beside_it(self):
        root = self.folder / "staged"
        self.install("/usr", "--component", "host", DESTDIR=str(root))
        self.assertTrue((root / "etc/ephor/ephor.yaml").is_file())
        self.assertFalse((root / "usr/etc").exists())
        self.assertEqual((root / "usr/lib/systemd/system/ephor.service").read_text(),
                         (ROOT / "packaging/ephor.service").read_text())

    def test_order_of_the_plugin_path(self):
        """plugin_path of the configuration, then EPHOR_PLUGIN_PATH, then beside the program."""
        places = {}
        for name in ("first", "second", "third"):
            places[name] = self.folder / name
            places[name].mkdir(mode=0o755)
            shutil.copy(PLUGINS / "tracer.so", places[name])
        config = self.folder / "path.json"

        def found(plugin_path, environment):
            config.write_text(json.dumps({"plugin_path": [str(path) for path in plugin_path]}))
            more = {"EPHOR_PLUGIN_PATH": ":".join(map(str, environment))} if environment else {}
            facts = json.loads(cli("plugin", "inspect", "tracer", "--config", config,
                                   env={**os.environ, **more}).stdout)
            return next(Path(value).parent for value in facts.values()
                        if isinstance(value, str) and value.endswith("/tracer.so"))

        first, second, third = places["first"], places["second"], places["third"]
        self.assertEqual(found([first, second], [third]), first)
        self.assertEqual(found([second, first], [third]), second)
        self.assertEqual(found([], [third, first]), third)
        self.assertEqual(found([self.folder / "nowhere"], [self.folder / "none", second]), second)
        self.assertEqual(found([], []), EPHOR.parent.parent / "lib/ephor/plugins")


if __name__ == "__main__":
    main()
