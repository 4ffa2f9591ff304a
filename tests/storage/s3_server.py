"""A server of S3 for tests: moto's, in a process of its own, behind a front that can be killed, slow or sick.

What the server holds lies in moto's memory, so that it is the front that is killed and started again: to a
client that is a server that died and came back with what it had acknowledged.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

BUCKET = "daflow"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "us-east-1"}
HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, method: str = "GET") -> None:
    """Ask a server for something, whatever it answers."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=10)
    try:
        connection.request(method, address.path)
        connection.getresponse().read()
    finally:
        connection.close()


def await_answer(url: str) -> None:
    """Wait until something answers."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError, http.client.HTTPException):
            ask(url)
            return
        time.sleep(0.05)
    raise TimeoutError(url)


@contextmanager
def moto(**environment: str) -> Iterator[str]:
    """Yield the URL of a server with an empty bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **environment}, **quiet) as server:
        try:
            await_answer(f"{url}/moto-api/data.json")
            ask(f"{url}/{BUCKET}", "PUT")
            yield url
        finally:
            server.kill()


class Front:
    """What stands between clients and a server.

    Parameters
    ----------
    backend
        The server's URL.
    log
        A file to which the method and path of every request go.
    """

    def __init__(self, backend: str, log: Path) -> None:
        self.backend, self.log, self.port = backend, log, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def start(self, *, delay: float = 0.0, refuse: str = "") -> None:
        """Start it: every request waits for so long; those whose "METHOD path" has a text in it fail."""
        command = [sys.executable, __file__, str(self.port), self.backend, str(self.log), str(delay), refuse]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_answer(f"{self.url}/moto-api/data.json")

    def kill(self) -> None:
        """Kill it as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend = log = refuse = ""
    delay = 0.0

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = f"{self.command} {self.path}"
        with Path(self.log).open("a") as log:
            log.write(f"{told}\n")
        time.sleep(self.delay)
        if self.refuse and self.refuse in told:
            self.answer(
                503, {}, b"<Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>"
            )
            return
        connection = http.client.HTTPConnection(self.backend, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        said = connection.getresponse()
        content = said.read()
        length = said.getheader("Content-Length")
        headers = {name: value for name, value in said.getheaders() if name.lower() not in HOP}
        self.answer(said.status, headers, content, length if self.command == "HEAD" else None)
        connection.close()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = pass_on  # noqa: N815 - as http.server calls them

    def log_message(self, *args: object) -> None:
        """Be quiet."""


def main() -> None:
    port, backend, Handler.log, delay, Handler.refuse = sys.argv[1:]
    Handler.backend, Handler.delay = backend.removeprefix("http://"), float(delay)
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
