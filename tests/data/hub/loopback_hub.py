"""A Hub on 127.0.0.1: the endpoints a dataset download uses, with every way a real one has been seen to fail.

    GET      /api/datasets/NS/REPO/revision/REV?blobs=true     what a repository holds
    GET|HEAD /datasets/NS/REPO/resolve/REV/FILE                302 with commit, linked size and linked hash
    GET|HEAD /cdn/SHA256/FILE                                  the bytes, with ETag and ranges

Faults are ordered beforehand and used up one request at a time.
"""

import hashlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

CHUNK_BYTES = 2**14


def commit_of(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `times` requests whose path contains `where`."""

    kind: str
    where: str
    times: int = 1
    status: int = 503
    retry_after: str | None = "0"


@dataclass(slots=True)
class Request:
    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass(slots=True)
class LoopbackHub:
    """One repository with its commits, the faults to come, and what has been asked."""

    repository: str = "maker/tiny-gpt2"
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    main: str = ""
    token: str | None = None
    bytes_per_s: float | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    sent_bytes: int = 0
    stated: dict[str, str] = field(default_factory=dict)  # a hash stated for a file that is not its own
    stated_bytes: dict[str, int] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _servers: list[ThreadingHTTPServer] = field(default_factory=list)

    def publish(self, files: dict[str, bytes], label: str = "first") -> str:
        """A new commit that `main` points to."""
        self.main = commit_of(label)
        self.commits[self.main] = files
        return self.main

    def start(self) -> "LoopbackHub":
        """Two ports: the Hub, and the place it redirects to, which clients must not tell their token."""
        for _ in range(2):
            server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            self._servers.append(server)
        return self

    def stop(self) -> None:
        self.released.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def store(self) -> str:
        return f"http://127.0.0.1:{self._servers[1].server_address[1]}"

    def fault_for(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times and fault.where in path:
                    fault.times -= 1
                    return fault
        return None

    def note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def count(self, sent: int) -> None:
        with self._lock:
            self.sent_bytes += sent

    def asked(self, where: str) -> list[Request]:
        return [request for request in self.requests if where in request.path]


class Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client was killed
            self.close_connection = True

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        authorization = self.headers.get("Authorization")
        self.hub.note(Request(self.command, unquote(parts.path), self.headers.get("Range"), authorization))
        fault = self.hub.fault_for(unquote(parts.path))
        if fault is not None and fault.kind == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            self._answer(fault.status, b"busy", headers)
        elif fault is not None and fault.kind == "nonsense":
            self._answer(200, b"<html>please log in to this network</html>", {"Content-Type": "text/html"})
        elif self.hub.token is not None and "/cdn/" not in self.path and authorization != f"Bearer {self.hub.token}":
            self._answer(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid credentials"})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/revision/([^/]+)", unquote(parts.path)):
            self._describe(match[1], match[2])
        elif match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", unquote(parts.path)):
            self._redirect(match[1], match[2], match[3])
        elif match := re.fullmatch(r"/cdn/([0-9a-f]{64})/(.+)", unquote(parts.path)):
            self._send_file(match[1], fault)
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _commit(self, repository: str, revision: str) -> str | None:
        if repository != self.hub.repository:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        commit = self.hub.main if revision == "main" else revision
        if commit not in self.hub.commits:
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            return None
        return commit

    def _describe(self, repository: str, revision: str) -> None:
        if (commit := self._commit(repository, revision)) is None:
            return
        siblings: list[dict[str, Any]] = [{"rfilename": "README.md", "size": 1, "blobId": "0" * 40}]
        for name, content in self.hub.commits[commit].items():
            sha256 = self.hub.stated.get(name, hashlib.sha256(content).hexdigest())
            size = self.hub.stated_bytes.get(name, len(content))
            lfs = {"sha256": sha256, "size": size, "pointerSize": 134}
            siblings.append({"rfilename": name, "size": size, "blobId": commit_of(name), "lfs": lfs})
        body = {"id": repository, "sha": commit, "private": False, "siblings": siblings, "tags": []}
        self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _redirect(self, repository: str, revision: str, name: str) -> None:
        if (commit := self._commit(repository, revision)) is None:
            return
        content = self.hub.commits[commit].get(name)
        if content is None:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        own = hashlib.sha256(content).hexdigest()
        headers = {
            "Location": f"{self.hub.store}/cdn/{own}/{name}",
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(len(content)),
            "X-Linked-Etag": f'"{self.hub.stated.get(name, own)}"',
            "ETag": f'"{commit_of(name)}"',
        }
        self._answer(302, b"", headers)

    def _send_file(self, sha256: str, fault: Fault | None) -> None:
        contents = [content for files in self.hub.commits.values() for content in files.values()]
        found = [content for content in contents if hashlib.sha256(content).hexdigest() == sha256]
        if not found:
            self._answer(404, b"", {})
            return
        content, kind = found[0], fault.kind if fault is not None else ""
        content = {
            "flip": content[:-1] + bytes([content[-1] ^ 1]),
            "short": content[: len(content) // 2],
            "long": content + b"more",
        }.get(kind, content)
        start = 0
        if (asked := self.headers.get("Range")) and kind != "no_range":
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(content) and start:
            self._answer(416, b"", {"Retry-After": "0"})
            return
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if kind == "wrong_range" else start
            self.send_header(
                "Content-Range", f"bytes {shown + (kind == 'wrong_range')}-{len(content) - 1}/{len(content)}"
            )
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{sha256}"')
        self.end_headers()
        if self.command == "GET":
            self._send_body(memoryview(content)[start:], kind)

    def _send_body(self, body: memoryview, kind: str) -> None:
        end = len(body) // 2 if kind in ("cut", "stall") else len(body)
        for offset in range(0, end, CHUNK_BYTES):
            block = body[offset : min(offset + CHUNK_BYTES, end)]
            self.wfile.write(block)
            self.hub.count(len(block))
            if self.hub.bytes_per_s is not None:
                time.sleep(len(block) / self.hub.bytes_per_s)
        if kind == "stall":
            self.hub.released.wait()
        if kind in ("cut", "stall"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
