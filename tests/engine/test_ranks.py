"""A process of a run that waits for a dead one is ended, and says which one died."""

import os
import socket
import time

import pytest

from videozoo.engine import ranks
from videozoo.engine.ranks import Rank, watched
from videozoo.engine.run_lock import began_at


def test_a_process_that_waits_inside_a_library_is_ended_after_the_death_of_another(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """As on a GPU, where no error of the network comes."""
    own, host = os.getpid(), socket.gethostname()
    others = [
        Rank(0, host, own, began_at(own)),
        Rank(1, host, own, "long ago"),
        Rank(2, "b", 1, ""),
    ]
    ended: list[int] = []
    monkeypatch.setattr(ranks, "_ranks", others)
    monkeypatch.setattr(ranks, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ranks, "_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(os, "_exit", ended.append)
    limit = time.monotonic() + 20

    with watched("go on: train --resume RUN"):
        while not ended and time.monotonic() < limit:
            time.sleep(0.01)  # as in a library

    assert ended == [1]
    said = capfd.readouterr().err
    assert said.startswith(f"videozoo: rank 1 (process {own} on {host}) has ended, and the others")
    assert said.endswith("; go on: train --resume RUN\n")


def test_a_run_whose_processes_all_live_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    own, host = os.getpid(), socket.gethostname()
    ended: list[int] = []
    monkeypatch.setattr(ranks, "_ranks", [Rank(n, host, own, began_at(own)) for n in range(2)])
    monkeypatch.setattr(ranks, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ranks, "_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(os, "_exit", ended.append)

    with watched("go on"):
        time.sleep(0.2)

    assert ended == []
