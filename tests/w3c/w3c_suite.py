# SPDX-License-Identifier: Apache-2.0
"""w3c_suite.py COMMAND...: runs the public suite of W3C trace context (repository w3c/trace-context, folder
test) at level 2, strict, against the test endpoint. EPHOR_W3C_SUITE names that folder, which is not part
of this repository; EPHOR_W3C_PYTHON a Python that has aiohttp (Debian: python3-aiohttp). Exit code 77:
skipped, and why."""
import os
import re
import socket
import subprocess
import sys
from pathlib import Path


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    if "EPHOR_W3C_SUITE" not in os.environ:
        skip("EPHOR_W3C_SUITE does not name the folder test of w3c/trace-context")
    suite = Path(os.environ["EPHOR_W3C_SUITE"])
    if not (suite / "test.py").is_file():
        sys.exit(f"EPHOR_W3C_SUITE={suite}: found no test.py")
    python = os.environ.get("EPHOR_W3C_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import aiohttp"], capture_output=True).returncode != 0:
        skip(f"{python} has no aiohttp; EPHOR_W3C_PYTHON may name one that has")
    endpoint = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        address = endpoint.stdout.readline().split()[-1]
        environment = dict(os.environ, STRICT_LEVEL="2", SPEC_LEVEL="2", HARNESS_PORT=str(free_port()),
                           PYTHONDONTWRITEBYTECODE="1")
        done = subprocess.run([python, "test.py", address + "test"], cwd=suite, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    finally:
        endpoint.communicate()
    print(done.stdout)
    ran = re.search(r"^Ran (\d+) tests", done.stdout, re.MULTILINE)
    if done.returncode != 0 or ran is None or "skipped" in done.stdout:
        sys.exit(f"the suite ended with {done.returncode}; expected every test to pass, none skipped")
    print(f"{ran[1]} of {ran[1]}")


main()
