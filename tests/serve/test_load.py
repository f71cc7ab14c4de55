"""Many clients at once, slow and broken ones among them: nothing lost, nothing swapped."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.figures import Figures
from videozoo.data.synthetic.clips import write_video

CLIENTS, UPLOADS, RESULTS = 20, 200, 2000
pytestmark = pytest.mark.slow


@pytest.mark.guarantee("the server loses, mixes up and leaks nothing under load")
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_two_hundred_uploads_of_twenty_clients(
    run: Path,
    tmp_path: Path,
    figures: Figures,
):
    lengths = {f"{count}.mp4": count for count in range(8, 28)}
    videos: dict[str, bytes] = {}
    for name, count in lengths.items():
        write_video(tmp_path / name, np.full((count, 32, 32, 3), 90, np.uint8), frames_per_second=8)
        videos[name] = (tmp_path / name).read_bytes()
    jobs = tmp_path / "jobs"
    started = subprocess.Popen(
        [
            *(sys.executable, "-m", "videozoo", "serve", "--weights", str(run), "--port", "0"),
            *("--jobs", str(jobs), "--waiting-jobs", "30", "--upload-mb", "1", "--device", "cpu"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        address = next(line for line in started.stdout if "listening on" in line).split()[2]
        tried = asyncio.run(_load(address, videos, lengths, started.pid))
    finally:
        started.terminate()
        started.communicate(timeout=60)

    answered, wrong, memory_mb, files, busy = tried
    figures.add(cases=UPLOADS + RESULTS, failures=wrong + UPLOADS - answered)
    figures.add(worst=memory_mb, unit="MB of growth", limit=60)
    assert (answered, wrong) == (UPLOADS, 0)
    assert busy > 0, "the queue was never full, so that was not tried"
    assert memory_mb < 60
    assert files <= 2  # SQLite opens its log when it needs it
    assert list((jobs / "jobs").iterdir()) == []


async def _load(
    address: str, videos: dict[str, bytes], lengths: dict[str, int], server: int
) -> tuple[int, int, float, int, int]:
    """Ask; returns videos answered, wrong answers, growth of memory and of open files, and how
    often a client was told to come later."""
    random_numbers = random.Random(0)
    answered = wrong = busy = 0
    done: list[tuple[str, str]] = []
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=address, timeout=120) as client:
        await _one(client, "8.mp4", videos["8.mp4"])
        memory = _memory_mb(server)
    files = await _files_without_clients(server)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:

        async def ask(number: int) -> None:
            nonlocal answered, wrong, busy
            for turn in range(UPLOADS // CLIENTS):
                name = random_numbers.choice(list(videos))
                if turn % 4 == 1:
                    await _break_off(address, videos[name])
                if turn % 4 == 2:
                    text = await client.post("/v1/jobs", content=b"no video " * 900)
                    wrong += text.status_code != 415
                while True:
                    data = videos[name]
                    body = _slowly(data) if (turn + number) % 5 == 0 else data
                    sent = await client.post("/v1/jobs", content=body, params={"name": name})
                    if sent.status_code != 429:
                        break
                    busy += 1
                    await asyncio.sleep(0.3)
                job = sent.json()["id"]
                while (state := (await client.get(f"/v1/jobs/{job}")).json()["state"]) != "done":
                    assert state in ("queued", "running"), state
                    await asyncio.sleep(0.1)
                answered += 1
                done.append((job, name))

        async def read(count: int) -> None:
            nonlocal wrong
            for _ in range(count):
                while not done:
                    await asyncio.sleep(0.05)
                job, name = random_numbers.choice(done)
                result = (await client.get(f"/v1/jobs/{job}/result")).json()
                seconds = lengths[name] / 8
                wrong += result["video"] != name or abs(result["duration_seconds"] - seconds) > 0.01

        readers = [read(RESULTS // CLIENTS) for _ in range(CLIENTS)]
        await asyncio.gather(*map(ask, range(CLIENTS)), *readers)
        assert (await client.get("/healthz")).json()["status"] == "ok"
        grown = _memory_mb(server) - memory
        for job, _ in done:
            assert (await client.delete(f"/v1/jobs/{job}")).status_code == 204
        for job in (await client.get("/v1/jobs")).json():
            await client.delete(f"/v1/jobs/{job['id']}")
    more_files = await _files_without_clients(server) - files
    return answered, wrong, grown, more_files, busy


async def _one(client: httpx.AsyncClient, name: str, data: bytes) -> None:
    job = (await client.post("/v1/jobs", content=data, params={"name": name})).json()["id"]
    while (await client.get(f"/v1/jobs/{job}")).json()["state"] != "done":
        await asyncio.sleep(0.1)


async def _slowly(data: bytes):
    for start in range(0, len(data), 500):
        yield data[start : start + 500]
        await asyncio.sleep(0.01)


async def _break_off(address: str, data: bytes) -> None:
    """Begin an upload, and leave."""
    host, port = address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data[: len(data) // 2])
    await writer.drain()
    writer.close()


def _memory_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _files_without_clients(process: int) -> int:
    """Open files and connections of the server, when it has seen that its clients have gone."""
    await asyncio.sleep(1)
    return len(list(Path(f"/proc/{process}/fd").iterdir()))
