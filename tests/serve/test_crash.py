"""The server is killed in the middle of everything, and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.figures import Figures
from videozoo.data.synthetic.clips import write_video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc"),
]
OF_A_JOB = {
    "video.mp4", "answers.json", "answers.csv", "answers.vtt", "answers.srt", "rows.json",
    "page.html", "annotated.mp4", "features",
}  # fmt: skip


@contextmanager
def served(run: Path, jobs: Path) -> Generator[tuple[httpx.Client, subprocess.Popen[str]]]:
    """A server as the command starts it."""
    words = ["serve", "--weights", str(run), "--jobs", str(jobs), "--port", "0", "--device", "cpu"]
    started = subprocess.Popen(
        [sys.executable, "-m", "videozoo", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout is not None
        address = next(line for line in started.stdout if "listening on" in line).split()[2]
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client, started
    finally:
        started.terminate()
        started.communicate(timeout=60)


def job_of(client: httpx.Client, job: str, *states: str) -> dict[str, Any]:
    """Wait for a state of a job."""
    end = time.monotonic() + 240
    while True:
        found = client.get(f"/v1/jobs/{job}").json()
        if found["state"] in states:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.02)


def children_of(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text("ascii")
    return list(map(int, text.split()))


def is_alive(process: int) -> bool:
    """Whether a process runs; one that nobody has asked for its status has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def begin_upload(address: httpx.URL, data: bytes) -> socket.socket:
    """Send half of a video, and stay."""
    connection = socket.create_connection((address.host, address.port or 80))
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data[: len(data) // 2])
    return connection


@pytest.mark.guarantee("a killed server loses no job and leaves no file")
@pytest.mark.timeout(900)
def test_a_killed_server_goes_on_where_it_was(run: Path, tmp_path: Path, figures: Figures):
    jobs, video = tmp_path / "jobs", tmp_path / "long.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (1000, 64, 64, 3), np.uint8)
    write_video(video, noise, frames_per_second=25)
    data = video.read_bytes()
    query = {"every_seconds": "0.1", "annotate": "true"}

    with served(run, jobs) as (client, process):
        sent = [
            client.post("/v1/jobs", content=data, params={"name": name, **query}).json()["id"]
            for name in ("first.mp4", "second.mp4")
        ]
        job_of(client, sent[0], "running")
        with begin_upload(client.base_url, data):
            wait_for(lambda: len(list((jobs / "jobs").glob("*/upload.part"))) == 1)
            (worker,) = children_of(process.pid)
            process.kill()
            process.wait(60)
            wait_for(lambda: not is_alive(worker))
    left = len(list((jobs / "jobs").iterdir()))

    with served(run, jobs) as (client, process):
        ended = [job_of(client, job, "done", "failed") for job in sent]
        results = [client.get(f"/v1/jobs/{job}/result").json() for job in sent]
        assert client.get("/healthz").json()["status"] == "ok"

    assert left == 3  # the cut upload, too
    assert [(each["state"], each["error"]) for each in ended] == [("done", None)] * 2
    assert [each["video"] for each in results] == ["first.mp4", "second.mp4"]
    assert results[0]["models"] == [
        {**each, "results": [{**row, "video": "first.mp4"} for row in each["results"]]}
        for each in results[1]["models"]
    ]
    assert sorted(path.name for path in (jobs / "jobs").iterdir()) == sorted(sent)
    for job in sent:
        assert {path.name for path in (jobs / "jobs" / job).iterdir()} <= OF_A_JOB
    figures.add(cases=3, failures=0)


@pytest.mark.timeout(900)
def test_a_worker_that_is_killed_costs_its_job_alone(run: Path, tmp_path: Path):
    jobs, video = tmp_path / "jobs", tmp_path / "long.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (1000, 64, 64, 3), np.uint8)
    write_video(video, noise, frames_per_second=25)

    with served(run, jobs) as (client, process):
        first, second = (
            client.post("/v1/jobs", content=video.read_bytes(), params={"annotate": "true"}).json()
            for _ in range(2)
        )
        job_of(client, first["id"], "running")
        (worker,) = children_of(process.pid)
        os.kill(worker, signal.SIGKILL)

        assert "SIGKILL" in job_of(client, first["id"], "failed")["error"]
        assert job_of(client, second["id"], "done", "failed")["state"] == "done"
        client.delete(f"/v1/jobs/{first['id']}").raise_for_status()
        assert [path.name for path in (jobs / "jobs").iterdir()] == [second["id"]]


def wait_for(met: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 60
    while not met():
        assert time.monotonic() < end
        time.sleep(0.02)
