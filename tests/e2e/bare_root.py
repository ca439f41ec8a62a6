# SPDX-License-Identifier: Apache-2.0
"""Places to live in with nothing but the two packages: a bare Debian system, or a folder they are
unpacked into. Both run commands inside and show their files from outside."""
import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from ephor_packages import package, run

SUITE = "bookworm"
# Beside the packages, all that a stranger's Debian needs.
COMPILER = ("g++", "cmake", "make")


class Refusal(Exception):
    """Why there is no bare system here."""


class UnpackedSystem:
    """The packages' files below a folder, with the compiler, libraries and tools of this machine."""

    name = "unpacked"

    def __init__(self, folder):
        self.root = Path(folder) / "root"
        self.home = Path(folder) / "home"
        self.home.mkdir(parents=True)
        for one in ("ephor", "ephor-sdk"):
            run("dpkg-deb", "--extract", package(one), self.root)
        self.prefix = self.root / "usr"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EPHOR_")}
        self.environment = {**kept, "PATH": f"{self.prefix}/bin:{os.environ['PATH']}",
                            "CMAKE_PREFIX_PATH": str(self.prefix), "HOME": str(self.home),
                            "CMAKE_GENERATOR": os.environ.get("CMAKE_GENERATOR", "Ninja"),
                            "CMAKE_BUILD_TYPE": "Debug",  # built in half the time
                            "PKG_CONFIG_PATH": str(self.prefix / "share/pkgconfig")}

    def inside(self, path):
        """What a path of this machine is called inside."""
        return str(path)

    def run(self, *command, folder=None, code=0):
        return run(*command, cwd=folder or self.home, env=self.environment, code=code)

    def start(self, *command, folder, log):
        return subprocess.Popen([str(word) for word in command], cwd=folder, env=self.environment,
                                stdout=log, stderr=log)


class BareSystem:
    """A minimal Debian 12 made by debootstrap from the mirror this machine's apt uses. The root as
    debootstrap leaves it is kept in EPHOR_BARE_ROOT, if that is set, for the next time."""

    name = "bare"

    def __init__(self, folder):
        if os.geteuid() != 0:
            raise Refusal("a bare system needs root")
        if not shutil.which("debootstrap"):
            raise Refusal("no debootstrap")
        self.sources = debian_sources()
        self.folder = Path(folder)
        self.root = self.folder / "bare"
        kept = os.environ.get("EPHOR_BARE_ROOT")
        pristine = Path(kept) if kept else self.folder / "pristine"
        if not (pristine / "etc/debian_version").exists():
            pristine.mkdir(parents=True, exist_ok=True)
            run("debootstrap", "--variant=minbase", SUITE, pristine, self.sources[0]["URIs"].split()[0])
        run("cp", "-a", pristine, self.root)
        self.prefix = self.root / "usr"
        self.home = self.root / "root/work"
        self.home.mkdir()
        self._configure_apt()
        for one in ("ephor", "ephor-sdk"):
            shutil.copy(package(one), self.root / "root")
        self.debs = [f"/root/{package(one).name}" for one in ("ephor", "ephor-sdk")]

    def _configure_apt(self):
        etc = self.root / "etc"
        for name in ("resolv.conf", "hosts"):
            with contextlib.suppress(OSError):
                shutil.copy(Path("/etc") / name, etc / name)
        with contextlib.suppress(FileNotFoundError):
            (etc / "apt/sources.list").unlink()
        (etc / "apt/sources.list.d/debian.sources").write_text("\n".join(
            "".join(f"{key}: {value}\n" for key, value in source.items()) for source in self.sources))
        acquire = [line for line in run("apt-config", "dump").splitlines()
                   if re.match(r"Acquire::[^ ]*(Proxy|Verify-)", line)]
        (etc / "apt/apt.conf.d/90machine").write_text("\n".join(acquire) + "\n")

    def inside(self, path):
        return "/" + str(Path(path).relative_to(self.root))

    def _command(self, command, folder, user):
        # /proc and what else is mounted goes with the command's own namespace.
        outside = ('mount -t proc proc "$0/proc"; mount -t tmpfs tmpfs "$0/run"; user=$1; shift; '
                   'exec chroot --userspec="$user" "$0" "$@"')
        inside = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root",
                  "DEBIAN_FRONTEND=noninteractive", f"CMAKE_BUILD_PARALLEL_LEVEL={os.cpu_count()}", "sh", "-c", 'cd "$0"; exec "$@"',
                  self.inside(folder or self.home)]
        return ["unshare", "--mount", "sh", "-ec", outside, str(self.root), user, *inside,
                *map(str, command)]

    def run(self, *command, folder=None, code=0, user="root:root"):
        return run(*self._command(command, folder, user), code=code)

    def start(self, *command, folder, log, user="ephor:ephor"):
        return subprocess.Popen(self._command(command, folder, user), stdout=log, stderr=log)

    def install(self, *packages):
        self.run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages)


def debian_sources():
    """This machine's sources of the suite and what belongs to it, as fields of deb822."""
    sources = []
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for place in filter(Path.is_file, places):
        text = place.read_text()
        if place.suffix == ".sources":
            for block in re.split(r"\n\s*\n", text):
                sources.append(dict(re.findall(r"^([A-Za-z-]+):\s*(.+)$", block, re.MULTILINE)))
        elif place.suffix == ".list":
            for options, uri, suite, components in re.findall(
                    r"^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$", text, re.MULTILINE):
                key = re.search(r"signed-by=(\S+?)[\]\s]", options or "")
                sources.append({"Types": "deb", "URIs": uri, "Suites": suite, "Components": components,
                                **({"Signed-By": key[1]} if key else {})})
    found = []
    for source in sources:
        suites = [suite for suite in source.get("Suites", "").split()
                  if suite in (SUITE, f"{SUITE}-updates", f"{SUITE}-security")]
        if suites and "main" in source.get("Components", "").split():
            found.append({**source, "Types": "deb", "Suites": " ".join(suites), "Components": "main"})
    found.sort(key=lambda source: SUITE not in source["Suites"].split())
    if not found or SUITE not in found[0]["Suites"].split():
        raise Refusal(f"apt of this machine has no source of {SUITE}")
    return found
