"""Start the server: check what is asked for, listen, say where."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from videozoo.errors import RunError, UsageError, counted
from videozoo.safe_lock import try_hold
from videozoo.serve.app import make_app
from videozoo.serve.guard import Guard, is_local, new_token
from videozoo.serve.limits import Limits
from videozoo.serve.metrics import Metrics
from videozoo.serve.store import JobStore
from videozoo.serve.supervisor import Supervisor

TOKEN_VARIABLE = "VIDEOZOO_TOKEN"
_LEAST_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """`videozoo serve`."""

    weights: tuple[str, ...]
    folder: Path
    """Of jobs and uploads."""
    limits: Limits
    host: str = "127.0.0.1"
    port: int = 8000
    labels: str | None = None
    """A run that names segments."""
    device: str = "auto"
    workers: int = 1
    library: Path | None = None
    token_file: Path | None = None


def serve(request: ServeRequest, say: Callable[[str], None]) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError: The request is wrong.
        RunError: The folder is in use or cannot be written, or the port is taken.
        WeightsError: A model cannot be loaded.
    """
    token = _token(request)
    if request.library is not None and not request.library.is_dir():
        raise UsageError(f"--library {request.library}: no such folder")
    try:
        request.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = try_hold(request.folder / "server.lock")
    except OSError as error:
        raise RunError(f"{request.folder}: cannot be written: {error.strerror}") from None
    if lock is None:
        raise RunError(
            f"{request.folder}: another server uses this folder; name another one: --jobs DIR"
        )
    with lock, _listening(request) as listener:
        asyncio.run(_serve(request, token, listener, say))


def _token(request: ServeRequest) -> str | None:
    """The token that requests need; None where only this computer can ask and none was given."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if request.token_file is not None:
        try:
            token = request.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise UsageError(f"--token-file {request.token_file}: {why}") from None
    if token and (len(token) < _LEAST_TOKEN or not token.isascii() or " " in token):
        raise UsageError(
            f"the token is too easy to guess: expected {_LEAST_TOKEN} or more letters and digits"
        )
    return token or (None if is_local(request.host) else new_token())


def _listening(request: ServeRequest) -> socket.socket:
    family = socket.AF_INET6 if ":" in request.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((request.host, request.port))
        listener.listen()  # who reads the address and comes at once waits
    except OSError as error:
        listener.close()
        advice = "; another program listens there, name another --port" * (
            error.errno == errno.EADDRINUSE
        )
        raise RunError(
            f"{request.host}:{request.port}: cannot listen: {error.strerror}{advice}"
        ) from None
    except OverflowError:
        listener.close()
        raise UsageError(f"--port {request.port}: expected 0 to 65535") from None
    return listener


async def _serve(
    request: ServeRequest, token: str | None, listener: socket.socket, say: Callable[[str], None]
) -> None:
    store = JobStore(request.folder)
    metrics = Metrics()
    supervisor = Supervisor(
        store,
        request.weights,
        request.limits,
        metrics,
        labels=request.labels,
        device=request.device,
        workers=request.workers,
    )
    say(f"loading {counted(len(request.weights), 'model')} ...")
    try:
        store.recover()
        await supervisor.start()
        app = make_app(store, supervisor, request.limits, metrics, library=request.library)
        guarded = Guard(app, token=token, host=request.host)
        config = uvicorn.Config(
            guarded,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=15,
        )
        port = listener.getsockname()[1]
        shown = f"[{request.host}]" if ":" in request.host else request.host
        titles = ", ".join(str(each["title"]) for each in supervisor.models)
        say(f"{titles}; jobs in {request.folder}")
        mark = "" if token is None else f"/login#{token}"
        say(f"listening on http://{shown}:{port}{mark}  (Ctrl-C ends it)")
        if token is not None and is_local(request.host) is False:
            say("anyone who has the token can ask; use a proxy with TLS where others can listen in")
        server = uvicorn.Server(config)
        await server.serve(sockets=[listener])
    finally:
        await supervisor.stop()
        store.close()
