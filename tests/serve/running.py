"""A server inside a test, asked as a client does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

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
