"""A server inside a test, asked as a client does."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from videozoo.serve.app import make_app
from videozoo.serve.guard import Guard
from videozoo.serve.limits import Limits
from videozoo.serve.metrics import Metrics
from videozoo.serve.store import JobStore
from videozoo.serve.supervisor import Supervisor

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(100)
"""Begins as a video."""
FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


@dataclass
class Running:
    """A server, and a client of it."""

    client: httpx.AsyncClient
    store: JobStore
    folder: Path

    async def upload(self, name: str, data: bytes = MP4, **query: Any) -> httpx.Response:
        """Send a video as the body of a request."""
        params = httpx.QueryParams({"name": name, **query})
        return await self.client.post("/v1/jobs", content=data, params=params)

    async def over(self, job: str) -> dict[str, Any]:
        """Wait until a job is over."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.client.get(f"/v1/jobs/{job}")
                found: dict[str, Any] = answer.json()
                if answer.status_code != 200 or found["state"] in ("done", "failed"):
                    return found
                await asyncio.sleep(0.02)

    def folders(self) -> list[str]:
        """Identifiers of the jobs that have a folder."""
        return sorted(path.name for path in (self.folder / "jobs").iterdir())


@asynccontextmanager
async def running(
    folder: Path,
    *,
    token: str | None = None,
    host: str = "127.0.0.1",
    library: Path | None = None,
    weights: tuple[str, ...] = ("any",),
    workers: int = 1,
    command: tuple[str, ...] = FAKE,
    **limits: Any,
) -> AsyncGenerator[Running]:
    """Run a server whose worker is a fake one."""
    store = JobStore(folder)
    bounds, metrics = Limits(**limits), Metrics()
    supervisor = Supervisor(store, weights, bounds, metrics, workers=workers, command=command)
    store.recover()
    await supervisor.start()
    app = Guard(
        make_app(store, supervisor, bounds, metrics, library=library), token=token, host=host
    )
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield Running(client, store, folder)
    finally:
        await supervisor.stop()
        store.close()


def within(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario, for a minute at most."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(limited())


@dataclass
class Listening:
    """A server that listens on a port of this computer, in a thread."""

    address: str
    folder: Path


@contextmanager
def listening(
    folder: Path,
    *,
    weights: tuple[str, ...] = ("any",),
    command: tuple[str, ...] = FAKE,
    token: str | None = None,
    library: Path | None = None,
    **limits: Any,
) -> Generator[Listening]:
    """A server for clients outside of this process."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # who comes early waits
    ready: Future[uvicorn.Server] = Future()

    async def serve() -> None:
        store, bounds, metrics = JobStore(folder), Limits(**limits), Metrics()
        supervisor = Supervisor(store, weights, bounds, metrics, command=command)
        try:
            store.recover()
            await supervisor.start()
            app = make_app(store, supervisor, bounds, metrics, library=library)
            server = uvicorn.Server(
                uvicorn.Config(
                    Guard(app, token=token, host="127.0.0.1"),
                    lifespan="off",
                    log_level="error",
                    timeout_graceful_shutdown=1,
                )
            )
            ready.set_result(server)
            await server.serve(sockets=[listener])
        finally:
            await supervisor.stop()
            store.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    server = ready.result(timeout=120)
    try:
        yield Listening(f"http://127.0.0.1:{listener.getsockname()[1]}", folder)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
