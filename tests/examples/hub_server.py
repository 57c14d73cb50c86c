"""A model hub on this machine, as far as fetching a model asks one: branches, file lists, files, and refusals."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """Repositories by name: their folder, and the commit of each branch. `requested` are the files that were asked for.

    `commits` are those that all repositories have; `ranges` the files that were asked for from their middle on; `limit`
    is how many bytes of a file are sent before the connection breaks, once.
    """

    folders: dict[str, Path] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: tuple[str, ...] = ()
    gated: set[str] = field(default_factory=set)
    requested: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    limit: int | None = None
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve the hub at `hub.url` within the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if found := re.fullmatch(r"/api/models/(\w+/[\w.-]+)/(revision|tree)/(.+)", path):
                self.describe(*found.groups())
            elif found := re.fullmatch(r"/(\w+/[\w.-]+)/resolve/([^/]+)/(.+)", path):
                self.send_file(*found.groups())
            else:
                self.refuse(404, "EntryNotFound")

        def describe(self, repository: str, what: str, revision: str) -> None:
            if repository not in hub.folders:
                return self.refuse(401, "RepoNotFound")
            commit = hub.branches[repository].get(revision, revision)
            if commit not in hub.commits:
                return self.refuse(404, "RevisionNotFound")
            files = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
                for file in sorted(hub.folders[repository].iterdir())
            ]
            self.answer(json.dumps(files if what == "tree" else {"id": repository, "sha": commit}).encode())

        def send_file(self, repository: str, commit: str, name: str) -> None:
            if repository in hub.gated:
                return self.refuse(403, "GatedRepo")
            file = hub.folders[repository] / name
            if not file.is_file():
                return self.refuse(404, "EntryNotFound")
            content = file.read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
            start = 0
            if self.command == "GET":
                hub.requested.append(name)
                if found := re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", "")):
                    hub.ranges.append(name)
                    start = int(found[1])
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(content[start:], headers, 206 if start else 200)

        def refuse(self, status: int, code: str) -> None:
            self.answer(b"{}", {"X-Error-Code": code, "X-Error-Message": code}, status)

        def answer(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for key, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if hub.limit is not None and len(content) > hub.limit:
                self.wfile.write(content[: hub.limit])
                hub.limit = None
                self.close_connection = True
                return
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
