"""A file server on this machine that misbehaves as told."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_AS_GOOD_AS_ENDLESS = 2**26
"""Bytes: a client that does not stop must not fill the disk."""


@dataclass(kw_only=True)
class Reply:
    """How one request is answered. By default: well."""

    status: int | None = None
    """An error without content, in place of the file."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    takes_ranges: bool = True
    send_at_most: int | None = None
    """Bytes after which the connection is closed."""
    announce_more: int = 0
    """Added to the length in the header."""
    content: bytes | None = None
    """In place of the file's."""
    etag: str | None = '"one"'
    wait: bool = False
    """Say nothing before the server is stopped."""
    stall: bool = False
    """Fall silent after `send_at_most` bytes, with the connection open."""
    redirect: str = ""
    ignores_if_range: bool = False
    """Send the rest of whatever there is."""
    drip_seconds: float = 0.0
    """Send the content in pieces of 100 bytes, so far apart."""
    endless: bool = False
    """Send the content again and again, and announce no length."""


@dataclass
class FileServer:
    """One file under every path."""

    content: bytes
    replies: list[Reply] = field(default_factory=list[Reply])
    """The first requests are answered by these, the others by `always`."""
    always: Reply = field(default_factory=Reply)
    asked: list[str] = field(default_factory=list[str])
    """`Range` of each request so far."""
    paths: list[str] = field(default_factory=list[str])
    url: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(content: bytes) -> Generator[FileServer]:
    """Run a server until the block ends."""
    files = FileServer(content)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            with lock:
                files.asked.append(self.headers.get("Range", ""))
                files.paths.append(self.path)
                reply = files.replies.pop(0) if files.replies else files.always
            with suppress(BrokenPipeError, ConnectionResetError):
                _answer(self, reply, files)

        do_HEAD = do_GET  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    files.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield files
    finally:
        files.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, reply: Reply, files: FileServer) -> None:
    request.close_connection = True
    if reply.wait:
        files.stopped.wait(20)
        return
    if reply.redirect:
        request.send_response(302)
        request.send_header("Location", reply.redirect)
        request.end_headers()
        for _ in range(_AS_GOOD_AS_ENDLESS >> 16 if reply.endless else 0):
            request.wfile.write(bytes(2**16))
        if reply.stall:
            request.wfile.flush()
            files.stopped.wait(20)
        return
    if reply.status is not None:
        request.send_response(reply.status)
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.end_headers()
        return
    content = files.content if reply.content is None else reply.content
    start, wanted = 0, request.headers.get("Range")
    same = request.headers.get("If-Range") in (None, reply.etag) or reply.ignores_if_range
    if wanted and reply.takes_ranges and same:
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.end_headers()
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        request.send_response(200)
    if reply.etag:
        request.send_header("ETag", reply.etag)
    for name, value in reply.headers.items():
        request.send_header(name, value)
    if not reply.endless:
        request.send_header("Content-Length", str(len(content) - start + reply.announce_more))
    request.end_headers()
    if request.command == "HEAD":
        return
    for _ in range(_AS_GOOD_AS_ENDLESS // len(content) if reply.endless else 0):
        request.wfile.write(content)
    if reply.endless:
        return
    for place in range(start, len(content), 100) if reply.drip_seconds else ():
        request.wfile.write(content[place : place + 100])
        files.stopped.wait(reply.drip_seconds)
    end = None if reply.send_at_most is None else start + reply.send_at_most
    request.wfile.write(content[start:end])
    request.wfile.flush()
    if reply.stall:
        files.stopped.wait(20)
