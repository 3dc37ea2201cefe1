"""`autowu report --watch`: the page of runs that go on, served to this machine alone until Ctrl-C.

The page asks for ``data.json`` every two seconds and is told what has changed since.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from autowu.errors import UserError
from autowu.offline import logs
from autowu.offline.arguments import Asked
from autowu.report import output, page
from autowu.report.progress import Speeds
from autowu.runlog.writer import ABOUT, LOG

LOOPBACK: Final = "127.0.0.1"


class Source:
    """What there is to see of the runs, read again when their files have changed."""

    def __init__(self, folders: Sequence[Path], asked: Asked | None = None) -> None:
        self._folders, self._asked = folders, asked
        self._lock = threading.Lock()  # two windows of a browser may ask at once
        self._stamp: object = None
        self._speeds = Speeds()
        self._news: dict[str, Any] = {}

    def news(self) -> dict[str, Any]:
        """The parts of the page, with a ``revision`` that tells whether anything is new.

        Raises:
            UserError: the runs cannot be read.
        """
        from autowu.report import read

        with self._lock:
            stamp = [_stamp(folder) for folder in self._folders]
            if stamp != self._stamp:
                runs = read(self._folders, self._asked)
                parts = page.parts(runs, speeds=self._speeds.see(runs, time.monotonic()))
                revision = hashlib.sha256(page.to_json(parts).encode()).hexdigest()[:16]
                self._news, self._stamp = parts | {"revision": revision}, stamp
            return self._news

    def html(self, plotly_js: str) -> str:
        """The page itself."""
        from autowu.report import read

        return page.page(read(self._folders, self._asked), plotly_js, live=True)


def _stamp(folder: Path) -> list[tuple[str, int, int]]:
    """Sizes and times of a run's files."""
    inside = logs.places.within(folder)
    files = [folder / ABOUT, folder / LOG] if folder.is_dir() else [folder]
    if inside is not None:
        files += inside.iterdir() if inside.is_dir() else [inside]
    known = [(path, path.stat()) for path in files if path.exists()]
    return [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in known]


class Server(ThreadingHTTPServer):
    """Serves one page and its data."""

    daemon_threads = True

    def __init__(self, source: Source, plotly_js: str, port: int) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.source, self.plotly_js = source, plotly_js
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has left: closed, reloaded, or tired of waiting."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "autowu", ""

    def do_GET(self) -> None:
        server = cast(Server, self.server)
        if self.headers.get("Host") not in server.hosts:
            # A page of somewhere else that has its own name resolve to this machine must not read along.
            return self._answer(403, "text/plain", "this server is for its own machine")
        url = urlsplit(self.path)
        try:
            if url.path == "/":
                return self._answer(200, "text/html", server.source.html(server.plotly_js))
            if url.path != "/data.json":
                return self._answer(404, "text/plain", "there is nothing here")
            news = server.source.news()
        except UserError as error:
            return self._answer(503, "text/plain", str(error))
        if parse_qs(url.query).get("seen") == [news["revision"]]:
            return self._answer(204, "application/json", "")
        return self._answer(200, "application/json", page.to_json(news))

    def _answer(self, status: int, kind: str, content: str) -> None:
        body = content.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


def watch(folders: Sequence[Path], port: int = 0, asked: Asked | None = None) -> int:
    """Serve the page of ``folders`` until Ctrl-C; the exit status, 0.

    ``asked`` says how logs of others are to be replayed.

    Raises:
        UserError: the runs cannot be read, or the port cannot be had.
    """
    source = Source(folders, asked)
    source.news()  # what is wrong is told at once
    try:
        server = Server(source, output.plotly_source(), port)
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {getattr(error, 'strerror', None) or error}") from error
    with server:
        try:
            print(
                f"http://{LOOPBACK}:{server.server_port}/ shows the runs as they go on. Ctrl-C stops it.",
                flush=True,
            )
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nStopped.")
    return 0
