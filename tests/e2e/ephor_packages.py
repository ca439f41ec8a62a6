# SPDX-License-Identifier: Apache-2.0
"""The Debian packages of this build, as the tests of them read them."""
import os
import re
import subprocess
from pathlib import Path

from ephor_e2e import BUILD, ROOT

# CTest's package_build puts them there; EPHOR_PACKAGES names another folder.
PACKAGES = Path(os.environ.get("EPHOR_PACKAGES", BUILD / "packages"))
VERSION = re.search(r"^project\(Ephor VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text(),
                    re.MULTILINE)[1]


def run(*command, code=0, **more):
    """Runs a command and returns its output; its exit code has to be `code` (None: any)."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", **more)
    if code is not None and done.returncode != code:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}, expected {code}\n"
                             f"{done.stdout[-6000:]}")
    return done.stdout


def package(name):
    """The file of a package of this version."""
    found = sorted(PACKAGES.glob(f"{name}_{VERSION}-*.deb"))
    if len(found) != 1:
        raise AssertionError(f"{PACKAGES}: found {[file.name for file in found]}, expected one {name}_"
                             f"{VERSION}-*.deb (ctest -R package_build, or script/package, makes it)")
    return found[0]


def control(file):
    """Its control fields; of a field of several lines all of them."""
    fields, name = {}, None
    for line in filter(None, run("dpkg-deb", "--field", file).splitlines()):
        if line.startswith(" "):
            fields[name] += "\n" + line
        else:
            name, text = line.split(":", 1)
            fields[name] = text.strip()
    return fields


def contents(file):
    """{path: (mode as ls shows it, owner, size)}; folders end with a slash."""
    found = {}
    for line in run("dpkg-deb", "--contents", file).splitlines():
        mode, owner, size, _, _, path = line.split(None, 5)
        found[path.removeprefix(".").split(" -> ")[0]] = (mode, owner, int(size))
    return found


def names_in(dependencies):
    """Package names of a field such as Depends, alternatives too."""
    return {re.match(r"[a-z0-9.+-]+", word.strip())[0]
            for word in re.split(r"[,|]", dependencies) if word.strip()}
