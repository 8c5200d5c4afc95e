"""Serving: the site on this machine only, built again when what it shows has changed."""

import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.formats import numbers

from . import addresses
from .building import build, site_fingerprint
from .rendering import POLICY

LOOPBACK = "127.0.0.1"
LOOK_S = 1.0


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, to a browser on this machine that asked for this machine by name."""

    def do_GET(self) -> None:
        if self._is_ours():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_ours():
            super().do_HEAD()

    def _is_ours(self) -> bool:
        """Refuse other sites' names for this address (DNS rebinding), and what is not for readers."""
        host = re.sub(r":\d*$", "", self.headers.get("Host", "")).lower()  # at port 80 browsers leave the port out
        if host not in (LOOPBACK, "localhost", "[::1]"):
            self.send_error(421)
        elif any(part.startswith(".") for part in self.translate_path(self.path)[len(self.directory) :].split("/")):
            self.send_error(404)
        else:
            return True
        return False

    def guess_type(self, path: str | PathLike[str]) -> str:
        """Text is UTF-8, and what it is called decides nothing else."""
        found = super().guess_type(path)
        return f"{found}; charset=utf-8" if found.startswith("text/") else found

    def end_headers(self) -> None:
        for name, value in (
            ("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-cache"),
        ):
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: a page is a dozen requests."""


class Server(ThreadingHTTPServer):
    """A browser that goes away in the middle is no event."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Not serving yet. port 0: any. Raises UserError where the port is taken."""
    try:
        return Server((LOOPBACK, port), partial(Handler, directory=str(folder.resolve())))
    except OSError as error:
        raise UserError(f"expected port {port} to be free, found: {error.strerror}; name another --port") from error


def address_of(server: ThreadingHTTPServer) -> str:
    return f"http://{LOOPBACK}:{server.server_address[1]}/{addresses.HOME}"


def watch(out: Path, tell: Callable[[str], None], stop: threading.Event, look_s: float = LOOK_S) -> None:
    """Build again after every change, until `stop`; what goes wrong is told, and the next change is another chance."""
    seen = site_fingerprint()
    while not stop.wait(look_s):
        try:
            found = site_fingerprint()
            if found == seen:
                continue
            seen, begun = found, time.monotonic()
            built = build(out)
            taken = numbers.fixed_seconds(time.monotonic() - begun, 1)
            tell(f"built again in {taken}: {len(built.written)} files changed")
        except (UserError, OSError) as error:
            tell(f"not built: {error}")
