#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a service manager is told (sd_notify): this test is the manager, with a socket of its own."""
import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path

from ephor_e2e import BUILD, CLOUDEVENT, PATIENCE_S, PLUGINS, Host, TestCase, main


class Manager:
    """Listens where NOTIFY_SOCKET points; `address` as systemd writes it, "@" for the abstract ones."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.settimeout(PATIENCE_S)
        self.environment = {"NOTIFY_SOCKET": address}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def drop_what_came(self):
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv(4096)
        self.socket.settimeout(PATIENCE_S)

    def hear(self, skipped=()):
        """The next message as a dictionary, but for those whose first key is to be skipped."""
        while True:
            lines = self.socket.recv(4096).decode().split("\n")
            message = dict(line.split("=", 1) for line in lines)
            if lines[0].split("=")[0] not in skipped:
                return message


@contextlib.contextmanager
def environment(**more):
    kept = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def environment_of(process):
    return dict(line.split("=", 1) for line in
                Path(f"/proc/{process}/environ").read_text().split("\0") if "=" in line)


class Service(TestCase):
    def test_a_manager_hears_of_ready_alive_and_stop(self):
        for address in (str(self.folder / "notify"), f"@ephor-e2e-{os.getpid()}"):
            with self.subTest(address=address[0]), Manager(address) as manager:
                with environment(**manager.environment, WATCHDOG_USEC="400000"):
                    host = Host(self.folder / f"told-{address[0] == '@'}").start()
                ready = manager.hear()
                self.assertEqual(ready["READY"], "1")
                self.assertIn(str(host.data_dir), ready["STATUS"])
                self.assertEqual(manager.hear(), {"WATCHDOG": "1"})
                started = time.monotonic()
                for _ in range(5):
                    self.assertEqual(manager.hear(), {"WATCHDOG": "1"})
                # Half of WATCHDOG_USEC, which nobody may miss; looked at every 50 ms.
                self.assertGreater(time.monotonic() - started, 5 * 0.2 - 0.1)

                host.process.send_signal(signal.SIGTERM)
                self.assertEqual(manager.hear(skipped=["WATCHDOG"])["STOPPING"], "1")
                self.assertEqual(host.process.wait(PATIENCE_S), 0)

    def test_a_hung_plugin_is_no_reason_to_end_the_host(self):
        config = self.folder / "hung.json"
        config.write_text(json.dumps({
            "plugin_path": [str(BUILD / "tests" / "plugins"), str(PLUGINS)],
            "faults": {"soft_limit_s": 0.2, "hard_limit_s": 600},
            "plugins": {"http_api": {}, "culprit": {"plugin": "faulty", "config": {
                "mode": "hang", "topic": "test.point"}}}}))
        with Manager(str(self.folder / "hung-notify")) as manager:
            with environment(**manager.environment, WATCHDOG_USEC="200000"):
                host = Host(self.folder / "hung", config=config).start()
            try:
                status, answer = host.post(json.dumps({
                    "specversion": "1.0", "id": "1", "source": "e2e", "type": "test.point",
                    "data": {"n": 1, "poison": True}}).encode(), CLOUDEVENT)
                self.assertEqual((status, answer["accepted"]), (200, 1))
                deadline = time.monotonic() + PATIENCE_S
                while next(one for one in host.status()["instances"] if one["instance"] == "culprit")[
                        "health"] == "ok":
                    self.assertLess(time.monotonic(), deadline, "the plugin never hung")
                    time.sleep(0.02)
                manager.drop_what_came()
                for _ in range(8):
                    self.assertEqual(manager.hear(), {"WATCHDOG": "1"})
            finally:
                host.kill()

    def test_a_watchdog_of_another_process_or_none_is_not_served(self):
        for more in ({}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}):
            with self.subTest(more), Manager(str(self.folder / f"n{len(more)}{len(str(more))}")) as manager:
                with environment(**manager.environment, **more):
                    host = Host(self.folder / f"unwatched{len(str(more))}").start()
                self.assertEqual(manager.hear()["READY"], "1")
                time.sleep(0.5)  # several intervals in which something would come
                self.assertEqual(host.stop(), 0)
                self.assertIn("STOPPING", manager.hear())

    def test_a_signal_that_a_manager_sends_ends_the_host(self):
        """WatchdogSignal=, `systemctl kill`: no instruction is at fault, and none will do it again."""
        for number in (signal.SIGABRT, signal.SIGSEGV):
            host = Host(self.folder / f"signal-{number}").start()
            host.process.send_signal(number)
            self.assertEqual(host.process.wait(PATIENCE_S), -number)

    def test_nobody_listens(self):
        with environment(NOTIFY_SOCKET=str(self.folder / "nobody"), WATCHDOG_USEC="100000"):
            with Host(self.folder / "alone"):
                pass
        with environment(NOTIFY_SOCKET="relative", WATCHDOG_USEC="100000"):
            with Host(self.folder / "wrong"):
                pass

    def test_a_plugins_own_process_does_not_speak_for_the_host(self):
        with Manager(str(self.folder / "parent")) as manager:
            with environment(**manager.environment, WATCHDOG_USEC="60000000"), \
                    Host(self.folder / "isolated", 'plugins.tracer.isolation="process"') as host:
                self.assertEqual(manager.hear()["READY"], "1")
                child = next(one["process"] for one in host.status()["instances"]
                             if one["instance"] == "tracer")
                found = environment_of(child)
                self.assertIn("PATH", found)
                for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
                    self.assertNotIn(name, found)


if __name__ == "__main__":
    main()
