"""A stub of the Hugging Face hub on this machine: repositories, uploads and downloads.

It speaks what `huggingface_hub` says: repos/create, models/NAME, validate-yaml, preupload, the
batch of Git LFS, commit, resolve. What is wrong with it is told by `refuse`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_secretsecretsecret"


@dataclass
class StubRepository:
    """One repository: its commits, oldest first, each with all files."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(
        default_factory=list[tuple[str, dict[str, bytes]]]
    )

    def add(self, files: dict[str, bytes], message: str = "") -> str:
        commit = hashlib.sha1(f"{len(self.commits)} {message} {sorted(files)}".encode()).hexdigest()
        self.commits.append((commit, files))
        return commit

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        known = {commit: (commit, files) for commit, files in self.commits}
        return self.commits[-1] if revision == "main" else known.get(revision)


@dataclass
class StubHub:
    """The server, and all that was asked of it."""

    url: str = ""
    repositories: dict[str, StubRepository] = field(default_factory=dict[str, StubRepository])
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Uploaded by Git LFS, by sha256."""
    asked: list[str] = field(default_factory=list[str])
    """Method and path of each request."""
    tokens: list[str] = field(default_factory=list[str])
    """`Authorization` of each request."""
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """Beginning of method and path -> status and message of the answer."""
    lose_length: bool = False
    """Send files without their length."""


@contextmanager
def serve_hub() -> Generator[StubHub]:
    """Run a hub until the block ends."""
    hub = StubHub()

    class Handler(_Handler):
        stub = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    stub: StubHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        path = unquote(urlsplit(self.path).path)
        self.stub.asked.append(f"{self.command} {path}")
        self.stub.tokens.append(self.headers.get("Authorization") or "")
        line = f"{self.command} {path}"
        for start, (status, message) in self.stub.refuse.items():
            if line.startswith(start):
                self._send(status, {"error": message})
                return
        if path == "/":
            self._send(200, {})
            return
        if path.startswith("/objects/"):
            if self.command == "PUT":
                self.stub.objects[path.rpartition("/")[2]] = body
            self._send(200, {})
            return
        if path.startswith("/elsewhere/"):  # another host in real life
            self._send_file(self.stub.objects[path.rpartition("/")[2]], {})
            return
        if path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
            return
        if path == "/api/repos/create":
            self._create(json.loads(body))
            return
        name = "/".join(path.removeprefix("/api/models").split("/")[1:3]).removesuffix(".git")
        repository = self.stub.repositories.get(name)
        may_read = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not may_read):
            self._send(404, {"error": "no"}, {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path:
            self._resolve(repository, *path.partition("/resolve/")[2].split("/", 1))
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in files
            ]
            self._send(200, {"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            actions = [
                {
                    **each,
                    "actions": {"upload": {"href": f"{self.stub.url}/objects/{each['oid']}"}},
                }
                for each in wanted
            ]
            self._send(200, {"transfer": "basic", "objects": actions})
        elif "/commit/" in path:
            self._commit(name, repository, body)
        else:
            self._info(name, repository)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().strip(), 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.stub.repositories:
            self._send(409, {"error": "there is one"})
            return
        private = asked.get("private") or asked.get("visibility") == "private"
        repository = self.stub.repositories[name] = StubRepository(bool(private))
        repository.add({".gitattributes": b"*.safetensors filter=lfs"})
        self._send(200, {"url": f"{self.stub.url}/{name}", "name": name})

    def _info(self, name: str, repository: StubRepository) -> None:
        commit, files = repository.commits[-1]
        about = {
            "id": name,
            "sha": commit,
            "private": repository.private,
            "tags": [],
            "siblings": [{"rfilename": file} for file in files],
        }
        self._send(200, about)

    def _resolve(self, repository: StubRepository, revision: str, file: str) -> None:
        found = repository.at(revision)
        if found is None:
            self._send(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
            return
        commit, files = found
        if file not in files:
            self._send(404, {"error": "no"}, {"X-Error-Code": "EntryNotFound"})
            return
        content = files[file]
        digest = hashlib.sha256(content).hexdigest()
        about = {"X-Repo-Commit": commit, "ETag": f'"{digest}"'}
        if file.endswith(".safetensors"):
            self.stub.objects[digest] = content
            place = f"{self.stub.url.replace('127.0.0.1', 'localhost')}/elsewhere/{digest}"
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
            self._send(302, {}, {**about, **linked, "Location": place})
            return
        self._send_file(content, about)

    def _commit(self, name: str, repository: StubRepository, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        parent = next(line["value"] for line in lines if line["key"] == "header")
        if parent.get("parentCommit") not in (None, repository.commits[-1][0]):
            self._send(412, {"error": "another commit came first"})
            return
        files = dict(repository.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
        commit = repository.add(files, parent["summary"])
        place = f"{self.stub.url}/{name}/commit/{commit}"
        self._send(200, {"commitUrl": place, "commitOid": commit, "pullRequestUrl": None})

    def _send_file(self, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        if self.stub.lose_length and self.command == "GET":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send(self, status: int, about: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(about).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
