"""What a download promises, against a server that breaks off, lies and sends other things."""

import errno
import hashlib
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.weights.server import FileServer, Reply, serve
from videozoo.errors import WeightsError
from videozoo.weights import content as weights_content
from videozoo.weights import download, registry
from videozoo.weights._http import Patience, _HttpRedirects
from videozoo.weights.download import (
    _alone,
    _check_content,
    _Download,
    check_apart,
    fetch,
    verified,
)
from videozoo.weights.paddle import write_pdparams
from videozoo.weights.sources import fetch_published

QUICK = Patience(answer_seconds=20, stall_seconds=20, tries=3, first_wait_seconds=0.01)
"""Quick to try again; the machine may be busy."""


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return vars(os)["system"], ("touch hacked",)


@pytest.fixture(autouse=True)
def checked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for each check takes seconds; the tests of it switch it on again."""
    monkeypatch.setattr(download, "check_apart", _check_content)


@pytest.fixture
def checked_apart(checked_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "check_apart", check_apart)


@pytest.fixture
def checker(checked_apart: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module to write, which takes the place of the check."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(download, "_CHECKER", "checker")
    return tmp_path / "checker.py"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("content") / "TSM.pdparams"
    noise = np.random.default_rng(0).random((200, 100), np.float32)
    write_pdparams(path, {"fc_0.w_0": noise})
    return path.read_bytes()


@pytest.fixture
def server(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.delenv("VIDEOZOO_OFFLINE")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve(content) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "TSM.pdparams"


def get(server: FileServer, target: Path, patience: Patience = QUICK, **more: Any) -> Path:
    return fetch(f"{server.url}/TSM.pdparams", target, patience=patience, **more)


def failure(server: FileServer, target: Path, **more: Any) -> str:
    """The message of a download that must fail, and leave nothing that looks like weights."""
    with pytest.raises(WeightsError) as caught:
        get(server, target, **more)
    assert not target.exists()
    return str(caught.value)


def test_a_file_arrives_whole_once_and_with_its_record(server: FileServer, target: Path):
    said: list[str] = []

    assert get(server, target, say=said.append) == target
    assert get(server, target, say=said.append) == target

    assert target.read_bytes() == server.content
    assert server.asked == [""]
    assert said == [f"downloading {server.url}/TSM.pdparams to {target}"]
    record = json.loads((target.parent / "TSM.pdparams.json").read_text())
    assert record["url"] == f"{server.url}/TSM.pdparams"
    assert record["size"] == len(server.content)
    assert record["sha256"] == hashlib.sha256(server.content).hexdigest()
    assert (record["etag"], record["when"][:2]) == ('"one"', "20")
    left = {path.name for path in target.parent.iterdir()} - {"TSM.pdparams.lock"}
    assert left == {"TSM.pdparams", "TSM.pdparams.json"}


def test_a_broken_connection_is_taken_up_where_it_broke(server: FileServer, target: Path):
    server.replies = [Reply(send_at_most=30_000), Reply(send_at_most=20_000)]

    get(server, target)

    assert target.read_bytes() == server.content
    assert server.asked == ["", "bytes=30000-", "bytes=50000-"]


def test_a_stopped_process_is_taken_up_by_the_next(server: FileServer, target: Path):
    server.always = Reply(send_at_most=0)
    server.replies = [Reply(send_at_most=30_000)]
    assert "after 30000 bytes of the" in failure(server, target)

    server.always, server.asked = Reply(), []
    get(server, target)

    assert target.read_bytes() == server.content
    assert server.asked == ["bytes=30000-"]


def test_a_process_stopped_before_the_check_downloads_nothing_again(
    server: FileServer, target: Path
):
    url = f"{server.url}/TSM.pdparams"
    target.parent.mkdir()
    (target.parent / "TSM.pdparams.part").write_bytes(server.content)
    about = {"url": url, "validator": '"one"', "total": len(server.content)}
    (target.parent / "TSM.pdparams.part.json").write_text(json.dumps(about))

    get(server, target)

    assert target.read_bytes() == server.content
    assert server.asked == []


def test_a_server_without_ranges_sends_all_of_it_again(server: FileServer, target: Path):
    server.replies = [Reply(send_at_most=30_000)]
    server.always = Reply(takes_ranges=False)

    get(server, target)

    assert target.read_bytes() == server.content
    assert server.asked == ["", "bytes=30000-"]


def test_parts_of_two_files_are_never_joined(server: FileServer, target: Path):
    old = bytes(reversed(server.content))
    server.replies = [Reply(content=old, etag='"old"', send_at_most=30_000)]

    get(server, target)

    assert target.read_bytes() == server.content


def test_a_part_that_the_server_cannot_vouch_for_is_fetched_again(server: FileServer, target: Path):
    server.replies = [Reply(etag=None, send_at_most=30_000)]

    get(server, target)

    assert target.read_bytes() == server.content
    assert server.asked == ["", ""]


@pytest.mark.parametrize("takes_ranges", [True, False])
def test_a_server_that_announces_too_much_is_an_error(
    server: FileServer, target: Path, takes_ranges: bool
):
    server.always = Reply(announce_more=1000, takes_ranges=takes_ranges)

    assert "cannot be downloaded" in failure(server, target)
    assert len(server.asked) <= 8


def test_a_server_that_announces_too_little_is_an_error(server: FileServer, target: Path):
    server.always = Reply(announce_more=-1000)

    assert "is it complete?" in failure(server, target)


def test_a_known_length_is_compared_before_anything_is_read(server: FileServer, target: Path):
    error = failure(server, target, size=99)

    assert f"offers {len(server.content)} bytes, the file has 99" in error
    assert len(server.asked) == 1


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>log in", b"\n <HTML><body>404"])
def test_a_web_page_is_not_taken_for_weights(server: FileServer, target: Path, page: bytes):
    server.always = Reply(content=page)

    error = failure(server, target)
    assert "a web page, not weights" in error
    assert f"put it at {target}" in error
    server.always = Reply()
    get(server, target)  # nothing of the page is left to go on from
    assert target.read_bytes() == server.content


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"", "is empty"),
        (b'{"error": "no such file"}', "not a weights file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"\x1f\x8b" + bytes(60), "not a whole tar archive"),
        (b"PK\x03\x04" + bytes(60), "refused or damaged"),
    ],
)
def test_other_files_are_not_taken_for_weights(
    server: FileServer, target: Path, wrong: bytes, says: str
):
    server.always = Reply(content=wrong)

    assert says in failure(server, target)


def test_a_hostile_pickle_runs_nothing_and_is_not_kept(
    server: FileServer, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    server.always = Reply(content=pickle.dumps({"w": _Hostile()}, protocol=2))

    error = failure(server, target)

    assert "this pickle asks to run" in error
    assert "system" in error
    assert not (tmp_path / "hacked").exists()
    assert not (target.parent / "TSM.pdparams.part").exists()


@pytest.mark.usefixtures("checked_apart")
def test_the_check_in_its_own_process_says_the_same(server: FileServer, target: Path):
    server.always = Reply(content=pickle.dumps({"w": _Hostile()}, protocol=2))

    error = failure(server, target)

    assert "what the server sent is not the file: refused: this pickle asks to run" in error
    server.always = Reply()
    assert get(server, target).read_bytes() == server.content


@pytest.mark.parametrize(
    ("program", "seconds", "says"),
    [
        ("import os; os.abort()", 60, r"ends the process that does \(signal 6\)"),
        ("import time; time.sleep(99)", 0.2, r"did not end within 0 s"),
        (
            "from videozoo.weights._apart import bound_memory\n"
            "bound_memory(2**28); bytearray(2**29)",
            60,
            r"ends the process that does \(1: MemoryError\)",
        ),
    ],
    ids=["crashes", "hangs", "fills the memory"],
)
def test_a_file_that_breaks_its_check_is_removed(
    server: FileServer,
    target: Path,
    checker: Path,
    program: str,
    seconds: float,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(download, "_CHECK_SECONDS", seconds)
    checker.write_text(program)
    target.parent.mkdir()
    (target.parent / "TSM.pdparams.part").write_bytes(server.content)  # of an earlier process
    about = {"url": f"{server.url}/TSM.pdparams", "total": len(server.content)}
    (target.parent / "TSM.pdparams.part.json").write_text(json.dumps(about))

    with pytest.raises(WeightsError, match=says):
        get(server, target)

    assert not list(target.parent.glob("*.part*"))
    checker.write_text("")
    monkeypatch.setattr(download, "_CHECK_SECONDS", 60)
    assert get(server, target).read_bytes() == server.content


def test_a_file_that_is_here_is_not_checked_again(server: FileServer, target: Path, checker: Path):
    checker.write_text("")
    get(server, target)
    checker.write_text("import os; os.abort()")

    assert get(server, target) == target


def test_other_bytes_than_the_known_ones_are_refused(server: FileServer, target: Path):
    known = hashlib.sha256(server.content[::-1]).hexdigest()

    assert f"expected {known}" in failure(server, target, sha256=known)


def test_a_file_that_changed_since_its_download_is_refused(server: FileServer, target: Path):
    get(server, target)
    with target.open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2")

    with pytest.raises(WeightsError, match=r"has changed since it was downloaded.*delete it"):
        get(server, target)


def test_a_file_put_there_by_hand_is_remembered(target: Path, content: bytes):
    target.parent.mkdir()
    target.write_bytes(content)
    assert fetch("https://example.org/TSM.pdparams", target) == target

    target.write_bytes(content[:-1] + b"x")
    with pytest.raises(WeightsError, match="has changed"):
        verified(target)


def test_a_web_page_put_there_by_hand_is_refused(target: Path):
    target.parent.mkdir()
    target.write_bytes(b"<html>")

    with pytest.raises(WeightsError, match="a web page"):
        fetch("https://example.org/TSM.pdparams", target)


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_file_that_is_gone_is_asked_for_once(server: FileServer, target: Path, status: int):
    server.always = Reply(status=status)

    error = failure(server, target)

    assert f"the server says {status}" in error
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [503, 429, 500])
def test_a_server_that_is_busy_is_asked_again(server: FileServer, target: Path, status: int):
    server.replies = [Reply(status=status, headers={"Retry-After": "0"}), Reply(status=status)]

    get(server, target)

    assert target.read_bytes() == server.content
    assert len(server.asked) == 3


def test_a_server_that_stays_busy_is_given_up(server: FileServer, target: Path):
    server.always = Reply(status=503)

    assert "the server says 503" in failure(server, target)
    assert len(server.asked) == QUICK.tries


def test_a_silent_server_is_asked_again_for_the_rest(server: FileServer, target: Path):
    server.replies = [Reply(send_at_most=30_000, stall=True)]

    get(server, target, patience=replace(QUICK, stall_seconds=0.5))

    assert target.read_bytes() == server.content
    assert server.asked == ["", "bytes=30000-"]


def test_a_server_that_never_answers_is_given_up_in_time(server: FileServer, target: Path):
    server.always = Reply(wait=True)
    patience = Patience(answer_seconds=0.3)
    started = time.monotonic()

    with pytest.raises(WeightsError, match=r"no answer within 0\.3 s"):
        fetch(f"{server.url}/a", target, patience=patience)

    assert time.monotonic() - started < 10


def test_no_server_is_said_at_once(server: FileServer, target: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/TSM.pdparams"
        started = time.monotonic()
        with pytest.raises(WeightsError, match=r"no connection .*is there a network\?"):
            fetch(url, target)

    assert time.monotonic() - started < 10
    assert Patience().answer_seconds <= 10


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "file:///etc/passwd"])
def test_only_http_is_spoken(server: FileServer, target: Path, url: str):
    with pytest.raises(WeightsError, match="only http and https"):
        fetch(url, target)

    server.always = Reply(redirect=url)
    error = failure(server, target)
    assert f"cannot be downloaded: it sends on to '{url}'" in error
    assert len(server.asked) == 1


def test_redirections_are_followed(server: FileServer, target: Path):
    server.replies = [Reply(redirect=f"{server.url}/elsewhere")]

    get(server, target)

    assert server.paths == ["/TSM.pdparams", "/elsewhere"]
    assert target.read_bytes() == server.content


@pytest.mark.parametrize("name", ["VIDEOZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_says_what_to_fetch_and_where_to_put_it(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv(name, "1")

    error = failure(server, target)

    assert f"{server.url}/TSM.pdparams" in error
    assert f"put it at {target}" in error
    assert server.asked == []
    assert not target.parent.exists()


def test_a_full_disk_is_known_before_it_is_full(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
):
    def almost_full(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=1000)

    monkeypatch.setattr("videozoo.weights.download.shutil.disk_usage", almost_full)

    assert "the disk has 1000 left" in failure(server, target)


def test_a_file_without_end_does_not_fill_the_disk(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
):
    server.always = Reply(endless=True)

    def fuller(folder: Path) -> SimpleNamespace:
        here = sum(file.stat().st_size for file in target.parent.iterdir())
        return SimpleNamespace(free=2**27 + 400_000 - here)

    monkeypatch.setattr("videozoo.weights.download.shutil.disk_usage", fuller)
    monkeypatch.setattr(download, "_LOOK_AGAIN_BYTES", 100_000)

    assert "bytes left, after" in failure(server, target)
    assert not list(target.parent.glob("*.part*"))


def test_a_disk_that_takes_no_more_is_said(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, _rest: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(download, "_open_part", full)
    monkeypatch.setattr(download, "_note", full)
    assert "TSM.pdparams: cannot be written: No space left" in failure(server, target)


def test_several_processes_download_once(server: FileServer, target: Path):
    script = (
        "import sys; from pathlib import Path; from videozoo.weights.download import fetch\n"
        "say = lambda line: print(line, flush=True)\n"
        "print(fetch(sys.argv[1], Path(sys.argv[2]), say=say))\n"
        "assert 'torch' not in sys.modules, 'who only waits need not load it'\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "VIDEOZOO_OFFLINE"}
    url = f"{server.url}/TSM.pdparams"
    line = [sys.executable, "-c", script, url, str(target)]
    target.parent.mkdir()
    with ExitStack() as stack:
        with _alone(target, print):
            processes = [
                stack.enter_context(
                    subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)
                )
                for _ in range(2)
            ]
            for process in processes:
                assert process.stdout is not None
                assert "waiting for the process" in process.stdout.readline()
            _Download(url, target, None, None, QUICK, print).run()
        said = [process.communicate(timeout=60)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert said == [f"{target}\n"] * 2
    assert len(server.asked) == 1


def test_processes_that_waited_in_vain_do_not_try_again(server: FileServer, target: Path):
    server.always = Reply(wait=True)
    patience = Patience(answer_seconds=1.5)
    said: list[str] = []

    def attempt() -> None:
        try:
            fetch(f"{server.url}/a", target, patience=patience)
        except WeightsError as error:
            said.append(str(error))

    threads = [Thread(target=attempt) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(said) == 3
    assert len(server.asked) == 1


# --- slow, endless and hostile -------------------------------------------------------------------


def test_a_server_that_is_too_slow_is_given_up(server: FileServer, target: Path):
    server.always = Reply(drip_seconds=0.05)
    patience = replace(QUICK, window_seconds=0.4, least_bytes=50_000)
    started = time.monotonic()

    error = failure(server, target, patience=patience)

    assert "the server is too slow:" in error
    assert time.monotonic() - started < 10
    assert (target.parent / "TSM.pdparams.part").stat().st_size > 0
    server.always, server.asked = Reply(), []
    get(server, target)  # goes on from there
    assert server.asked[0].startswith("bytes=")


def test_a_server_that_gives_a_little_per_connection_is_given_up(server: FileServer, target: Path):
    server.always = Reply(send_at_most=1)
    patience = replace(QUICK, window_seconds=0.4, least_bytes=50_000)

    assert "the server is too slow:" in failure(server, target, patience=patience)


def test_the_time_of_a_download_is_limited(server: FileServer, target: Path):
    server.always = Reply(drip_seconds=0.02)

    error = failure(server, target, patience=replace(QUICK, most_seconds=0.3))

    assert "not done within 8.3e-05 hours" in error


@pytest.mark.parametrize("size", [None, 100_000])
def test_a_file_without_end_is_cut_off(server: FileServer, target: Path, size: int | None):
    server.always = Reply(endless=True)
    patience = replace(QUICK, most_bytes=200_000)

    error = failure(server, target, patience=patience, size=size)

    most = 200_000 if size is None else size
    assert f"the server sends more than {most} bytes" in error
    assert not list(target.parent.glob("*.part*"))


def test_a_file_that_is_too_large_is_not_begun(server: FileServer, target: Path):
    server.always = Reply(send_at_most=10)

    error = failure(server, target, patience=replace(QUICK, most_bytes=1000))

    assert "the server sends more than 1000 bytes" in error
    assert not list(target.parent.glob("*.part"))
    assert len(server.asked) == 1


def test_a_server_that_sends_on_in_a_circle_is_left(server: FileServer, target: Path):
    server.always = Reply(redirect="/TSM.pdparams")
    assert "it sends on in a circle" in failure(server, target)
    assert len(server.asked) <= 6

    server.replies = [Reply(redirect=f"/{number}") for number in range(20)]
    server.asked.clear()
    assert "or more than 5 times" in failure(server, target)
    assert len(server.asked) <= 7


@pytest.mark.parametrize("to", ["http://example.org/a", "ftp://example.org/a", "file:///a"])
def test_a_redirection_never_leads_to_less_safety(to: str):
    asked = urllib.request.Request("https://example.org/a")

    with pytest.raises(urllib.error.URLError, match="which is less safe"):
        _HttpRedirects().redirect_request(asked, io.BytesIO(), 302, "Found", {}, to)


def test_the_table_of_sums_decides_what_a_download_must_be(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VIDEOZOO_WEIGHTS_URL", server.url)
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    entry = registry.find("tsm-kinetics400-2019")
    right = hashlib.sha256(server.content).hexdigest()

    with pytest.raises(WeightsError, match=f"sha256 {right}, expected 0000"):
        fetch_published(replace(entry, sha256="0" * 64))
    with pytest.raises(WeightsError, match="the file has 99"):
        fetch_published(replace(entry, size=99))
    found = fetch_published(replace(entry, size=len(server.content), sha256=right))

    assert found.read_bytes() == server.content


def test_the_check_of_a_file_may_use_memory_in_proportion_to_it(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.pdparams").write_bytes(content)
    bounds: list[int] = []
    monkeypatch.setattr(weights_content, "bound_memory", bounds.append)

    assert weights_content.main([str(tmp_path / "a.pdparams")]) == 0
    assert bounds == [2**30 + 8 * len(content)]


def test_what_comes_with_a_redirection_is_not_read(server: FileServer, target: Path):
    """Neither a large page nor one that never ends."""
    server.replies = [Reply(redirect="/elsewhere", endless=True, stall=True)]

    get(server, target, patience=replace(QUICK, answer_seconds=12))

    assert target.read_bytes() == server.content


@pytest.mark.parametrize(
    "suffix", ["part", "part.json", "part.json.new", "failed", "failed.new", "json.new"]
)
@pytest.mark.parametrize("works", [True, False], ids=["works", "fails"])
def test_no_temporary_file_is_written_through_a_link(
    server: FileServer, target: Path, tmp_path: Path, suffix: str, works: bool
):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    target.parent.mkdir()
    (target.parent / f"TSM.pdparams.{suffix}").symlink_to(mine)
    server.always = Reply() if works else Reply(content=b"<html>")

    if works:
        assert get(server, target).read_bytes() == server.content
        assert not target.is_symlink()
    else:
        failure(server, target)

    assert mine.read_text() == "precious"


def test_a_lock_that_is_a_link_is_refused(server: FileServer, target: Path, tmp_path: Path):
    (tmp_path / "mine").write_text("precious")
    target.parent.mkdir()
    (target.parent / "TSM.pdparams.lock").symlink_to(tmp_path / "mine")

    assert "is a link, expected a lock file" in failure(server, target)
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_part_that_shares_its_content_with_another_file_is_not_continued(
    server: FileServer, target: Path, tmp_path: Path
):
    (tmp_path / "mine").write_bytes(server.content[:30_000])
    target.parent.mkdir()
    (target.parent / "TSM.pdparams.part").hardlink_to(tmp_path / "mine")
    about = {"url": f"{server.url}/TSM.pdparams", "validator": '"one"'}
    (target.parent / "TSM.pdparams.part.json").write_text(json.dumps(about))

    get(server, target)

    assert server.asked == [""]
    assert (tmp_path / "mine").stat().st_size == 30_000


def test_a_server_that_continues_another_version_is_asked_for_all_of_it(
    server: FileServer, target: Path
):
    server.replies = [
        Reply(send_at_most=30_000),
        Reply(content=bytes(reversed(server.content)), etag='"two"', ignores_if_range=True),
    ]

    get(server, target)

    assert target.read_bytes() == server.content
    assert server.asked == ["", "bytes=30000-", ""]


def test_a_check_in_this_process_that_ends_it_is_not_tried_again(
    server: FileServer, target: Path, checked_apart: None, monkeypatch: pytest.MonkeyPatch
):
    class Ended(BaseException):
        pass

    def ends(_path: Path) -> None:
        raise Ended

    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "")  # Python inside another program
        patch.setattr(download, "_check_content", ends)
        with pytest.raises(Ended):
            get(server, target)
        patch.setattr(download, "_check_content", lambda _path: None)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
        get(server, target)

    assert target.read_bytes() == server.content
    assert server.asked == ["", ""]


@pytest.mark.usefixtures("checked_apart")
def test_a_file_put_there_by_hand_is_checked_in_its_own_process(
    target: Path, content: bytes, checker: Path
):
    checker.write_text("import os; os.abort()")
    target.parent.mkdir()
    target.write_bytes(content)

    with pytest.raises(WeightsError, match=r"TSM\.pdparams: reading it ends the process"):
        fetch("https://example.org/TSM.pdparams", target)


@pytest.mark.slow
@pytest.mark.parametrize("old_form", [True, False])
@pytest.mark.usefixtures("checked_apart")
def test_a_torch_file_fits_into_the_memory_of_its_check(
    server: FileServer, target: Path, tmp_path: Path, old_form: bool
):
    torch.save(
        {"w": torch.ones(1000)}, tmp_path / "a.pth", _use_new_zipfile_serialization=not old_form
    )
    server.content = (tmp_path / "a.pth").read_bytes()
    server.always = Reply(content=server.content)

    assert get(server, target.with_name("a.pth")).read_bytes() == server.content
