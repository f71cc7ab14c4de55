"""A function may hang or crash on one input; the others get their answers."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import types

import pytest

from videozoo.data.frames.pool import run_apart
from videozoo.errors import DataError


def misbehave(job: str) -> str:
    if job == "hang":
        time.sleep(600)
    if job == "exit":
        os._exit(7)
    if job == "abort":
        os.abort()
    if job == "raise":
        raise KeyError("odd")
    return job.upper()


def unimportable(job: str) -> str:
    return job


def test_what_hangs_or_crashes_is_lost_alone():
    jobs = ["a", "hang", "b", "exit", "c", "raise", "d", "abort", "e"]

    before = set(multiprocessing.active_children())
    outcomes = dict(run_apart(misbehave, jobs, workers=2, limit_seconds=lambda _: 1.0))

    assert set(outcomes) == set(jobs)
    for job in "abcde":
        assert (outcomes[job].value, outcomes[job].failure) == (job.upper(), "")
    assert (outcomes["hang"].failure, outcomes["hang"].reason) == ("hung", "no answer in 1 s")
    assert outcomes["exit"].failure == "crashed"
    assert "exit status 7" in outcomes["exit"].reason
    assert outcomes["abort"].failure == "crashed"
    assert outcomes["raise"].reason == "KeyError: 'odd'"
    assert not set(multiprocessing.active_children()) - before


def test_jobs_are_drawn_only_as_processes_become_free():
    drawn: list[int] = []

    def jobs():
        for number in range(50):
            drawn.append(number)
            yield str(number)

    before = set(multiprocessing.active_children())
    results = run_apart(misbehave, jobs(), workers=1, limit_seconds=lambda _: 60.0)
    next(results)

    assert len(drawn) == 1
    results.close()  # type: ignore[attr-defined]
    assert not set(multiprocessing.active_children()) - before


def test_without_jobs_no_process_is_started():
    assert list(run_apart(misbehave, [], workers=4, limit_seconds=lambda _: 1.0)) == []


def test_a_process_that_cannot_start_ends_it_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unimportable, "__module__", "tests.no_such_module")
    # pickling checks that the name leads to the function: so let it, here only
    module = types.ModuleType("tests.no_such_module")
    module.__dict__["unimportable"] = unimportable
    monkeypatch.setitem(sys.modules, "tests.no_such_module", module)

    with pytest.raises(DataError, match="cannot be started"):
        list(run_apart(unimportable, ["a"], workers=1, limit_seconds=lambda _: 60.0))
