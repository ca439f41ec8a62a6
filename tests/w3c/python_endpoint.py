#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What w3c_endpoint.cpp is for the C++ library, for the Python client: POST [{"url", "arguments"}], and each
url is called below the span of the request. Loopback only. Ends with its standard input."""
import http.server
import json
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sdk" / "python"))
import ephor_client  # noqa: E402

client = ephor_client.Client("", source="w3c")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        status = 200
        try:
            actions = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with client.serve(self.headers, "POST"):
                for action in actions or []:
                    self.call(action["url"], json.dumps(action.get("arguments") or []).encode())
        except Exception as error:
            status = 400
            print(repr(error), file=sys.stderr)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    @staticmethod
    def call(url, body):
        if urllib.parse.urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(f"found {url}, expected this machine")
        with client.span("call", kind="client"):
            headers = client.inject({"Content-Type": "application/json"})
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5).read()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
sys.stdin.read()
server.shutdown()
