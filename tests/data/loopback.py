"""A server on this machine that behaves badly on request, and counts what it serves."""

from __future__ import annotations

import http.server
import threading
import time
from collections import defaultdict

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 4000


class Handler(http.server.BaseHTTPRequestHandler):
    """GET only, with ranges. /missing is no file, /moved leads to `server.leads_to`, /page is a web page."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers.get("Range"))
        if self.path.startswith("/missing"):
            self.send_error(404)
        elif self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", server.leads_to)
            self.end_headers()
        elif self.path.startswith("/page"):
            self._send(b"\n<!DOCTYPE html><html>Quota exceeded</html>", 200, {"Content-Type": "text/html"})
        elif server.failures:
            server.failures -= 1
            self.send_error(503)
        else:
            self._file()

    def _file(self):
        server, begin = self.server, 0
        content = server.files.get(self.path, server.content)
        wanted, known = self.headers.get("Range"), self.headers.get("If-Range")
        headers = {"ETag": server.etag} if server.etag else {}
        if wanted and server.ranges and known in (None, server.etag):
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                self.send_error(416)
                return
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._send(content[begin:], 206 if "Content-Range" in headers else 200, headers)

    def _send(self, body, status, headers):
        server = self.server
        self.send_response(status)
        if server.length is not None:  # else it is only known at the end
            self.send_header("Content-Length", str(server.length or len(body)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        if server.stalls:
            at = server.stalls.pop(0)
            self._write(body[:at])
            server.stalled.wait(5)
            return
        if server.trickles:
            server.trickles -= 1
            try:
                for at in range(0, 1000):
                    self._write(body[at : at + 1])
                    time.sleep(0.005)
            except OSError:
                pass  # the other side has had enough
            return
        self._write(body)

    def _write(self, body):
        self.server.served[self.path] += len(body)  # before the other side can look
        self.wfile.write(body)


def start() -> http.server.ThreadingHTTPServer:
    """A running server; `stop` ends it. `served`: bytes of bodies by path."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.content, server.etag, server.ranges, server.files = CONTENT, '"one"', True, {}
    server.failures, server.cuts, server.stalls, server.trickles, server.length = 0, [], [], 0, 0
    server.requests, server.served, server.leads_to = [], defaultdict(int), ""
    server.stalled = threading.Event()
    server.base = f"http://127.0.0.1:{server.server_port}"
    server.url = f"{server.base}/set.zip"
    server.thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    server.thread.start()
    return server


def stop(server: http.server.ThreadingHTTPServer) -> None:
    server.stalled.set()
    server.shutdown()
    server.thread.join()
    server.server_close()
