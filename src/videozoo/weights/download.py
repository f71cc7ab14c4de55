"""Download one file into the cache: once, completely, and checked at every later use.

NAME            the file; it has this name only if it is complete and holds weights
NAME.json       its address, size and sha256, compared at every later use
NAME.part       the bytes so far; a later attempt continues from there
NAME.part.json  the file that it is a part of
NAME.lock       held by the process that downloads; the others wait and then find the file
NAME.failed     why the last attempt failed

None of them is written through a link, which another user of a shared folder may have put there.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from videozoo import safe_write
from videozoo.errors import WeightsError
from videozoo.network import refusal
from videozoo.safe_json import parse_json
from videozoo.safe_lock import hold
from videozoo.safe_sums import sum_of
from videozoo.weights._apart import run_apart
from videozoo.weights._http import Again, Answer, Pace, Patience, Refused, Unreachable, get
from videozoo.weights._progress import Bar

Say = Callable[[str], None]

_CHECKER = "videozoo.weights.content"
_CHECK_SECONDS = 120
_LOOK_AGAIN_BYTES, _SPARED_BYTES = 2**25, 2**27
"""How often to look at the disk, and what a file of unknown length leaves of it to others."""
_CHECK_BYTES_PER_SECOND = 5e6


def fetch(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    patience: Patience | None = None,
    token: str | None = None,
    is_weights: bool = True,
    say: Say = lambda _: None,
) -> Path:
    """Return `target`, downloaded from `url` if it is not there yet.

    Safe to call from several processes at once: one downloads.

    Args:
        url: http or https.
        target: Path of the file.
        size: Bytes, if known.
        sha256: If known; otherwise the one of the first download is used from then on.
        patience: Time limits and number of tries.
        token: What the user has been given to read there; only the host of `url` is told it.
        is_weights: Whether its content is checked to be weights; of other files pass the sha256.
        say: Called with each line for the user.

    Raises:
        WeightsError: The file cannot be downloaded, holds no weights, or has changed.
    """
    if target.exists():
        return verified(target, sha256=sha256)
    if reason := refusal(url):
        raise WeightsError(
            f"{target.name}: not downloaded yet, and {reason}; or get {url} by other means and put "
            f"it at {target}"
        )
    _make_folder(target)
    started = time.time()
    with _alone(target, say):
        if target.exists():
            return verified(target, sha256=sha256)
        if failed := _failed_since(target, started):
            raise WeightsError(failed)
        download = _Download(url, target, size, sha256, patience or Patience(), say)
        download.token, download.is_weights = token, is_weights
        try:
            download.run()
        except WeightsError as error:
            with suppress(OSError):  # the disk may be what failed
                _note(_beside(target, "failed"), str(error))
            raise
        _beside(target, "failed").unlink(missing_ok=True)
    return target


def verified(path: Path, *, sha256: str | None = None) -> Path:
    """Return `path` if the file is unchanged since its download.

    A file without a record (put there by hand) is checked and gets one.

    Raises:
        WeightsError: The file has changed.
    """
    record = _read_json(_beside(path, "json"))
    expected = sha256 or record.get("sha256")
    found = _sha256(path)
    if expected and found != expected:
        source = f"; delete it to download {record['url']} again" if "url" in record else ""
        raise WeightsError(
            f"{path}: has changed since it was downloaded, or is another file: sha256 {found}, "
            f"expected {expected}{source}"
        )
    if not record:
        try:
            check_apart(path)
        except WeightsError as error:
            raise WeightsError(f"{path}: {str(error).removeprefix(f'{path.name}: ')}") from None
        _remember(path, {"url": None, "size": path.stat().st_size, "sha256": found, "etag": None})
    return path


class _Download:
    def __init__(
        self,
        url: str,
        target: Path,
        size: int | None,
        sha256: str | None,
        patience: Patience,
        say: Say,
    ):
        self.url = url
        self.target = target
        self.size = size
        self.sha256 = sha256
        self.patience = patience
        self.say = say
        self.part = _beside(target, "part")
        self.about_part = _beside(target, "part.json")
        self.etag: str | None = None
        self.pace = Pace(self.patience)
        self.token: str | None = None
        self.is_weights = True
        self.looked_at = 0
        """Bytes after which the disk was last looked at."""

    def run(self) -> None:
        """Download, check, and only then give the file its name."""
        try:
            if _read_json(self.about_part).get("is_checked_here"):
                self._forget_part()  # its check ended the process that did it
            if not self._is_all_here():
                self.say(f"downloading {self.url} to {self.target}")
                self._fetch_all()
            self._check()
        except OSError as error:
            raise WeightsError(
                f"{self.target}: cannot be written: {error.strerror or error}"
            ) from None
        self.part.replace(self.target)
        self.about_part.unlink(missing_ok=True)
        safe_write.sync(self.target.parent)

    def _fetch_all(self) -> None:
        """Request again, from the end of the last answer, until the file is complete."""
        farthest, tries, received = 0, 0, False
        while True:
            wait: float | None = None
            try:
                if self._fetch_some():
                    return
                reason = "the connection broke off"
            except Unreachable as error:
                if not received:
                    raise self._failure(f"{error}; is there a network?") from None
                reason = str(error)
            except Again as error:
                reason, wait = str(error), error.wait_seconds
            except Refused as error:
                raise self._failure(str(error)) from None
            here = self._here()
            received = received or here > 0
            try:
                self.pace.note()
            except Refused as error:
                raise self._failure(f"{error}, {self._how_far()}") from None
            tries = 0 if here > farthest else tries + 1
            farthest = max(farthest, here)
            if tries >= self.patience.tries:
                raise self._failure(f"{reason}, {self._how_far()}, {tries} times")
            time.sleep(self.patience.wait_seconds(tries, wait))

    def _fetch_some(self) -> bool:
        """Read one answer; returns whether the file is complete."""
        start, validator = self._resume_point()
        answering = get(
            self.url, start=start, validator=validator, patience=self.patience, token=self.token
        )
        with answering as answer:
            if answer.is_past_the_end:
                self._forget_part()
                raise Again("the server now says that the file ends there")
            start = answer.start  # 0 if the server sends the whole file again
            if start and not self._is_same(answer):
                self._forget_part()
                raise Again("the server now has another version of the file")
            self._check_total(answer)
            self._note_part(answer)
            bar, here = Bar(self.target, done=start, total=answer.total), start
            with _open_part(self.part, start) as file, bar:
                for chunk in answer.chunks():
                    here += len(chunk)
                    self._check_size(here)
                    self.pace.note(len(chunk))
                    file.write(chunk)
                    bar.advance(len(chunk))
        here = self._here()
        if answer.total is not None and here > answer.total:
            self._forget_part()
            raise Again(f"the server sent more than the {answer.total} bytes it announced")
        return here == answer.total if answer.total is not None else answer.is_whole

    def _check_total(self, answer: Answer) -> None:
        total = answer.total
        if self.size is not None and total is not None and total != self.size:
            raise Refused(f"the server offers {total} bytes, the file has {self.size}")
        if total is not None:
            self._check_size(total)
        needed = (total or 0) - answer.start
        free = shutil.disk_usage(self.target.parent).free
        if needed > free:
            raise Refused(f"{needed} bytes to come, and the disk has {free} left")

    def _check_size(self, num_bytes: int) -> None:
        """Raise Refused if the file is larger than it may be, whatever its server announced."""
        most = self.patience.most_bytes if self.size is None else self.size
        if num_bytes > most:
            self._forget_part()
            what = "videozoo takes at most" if self.size is None else "the file has"
            raise Refused(f"the server sends more than {most} bytes, and {what} so many")
        if num_bytes - self.looked_at >= _LOOK_AGAIN_BYTES:
            self.looked_at = num_bytes
            free = shutil.disk_usage(self.target.parent).free
            if free < _SPARED_BYTES:
                self._forget_part()
                raise Refused(f"the disk has {free} bytes left, after {num_bytes} of the file")

    def _is_same(self, answer: Answer) -> bool:
        """Whether the rest that a server sends is of the file whose beginning is here."""
        about = _read_json(self.about_part)
        same_etag = answer.etag is None or about.get("etag") in (None, answer.etag)
        return same_etag and about.get("total") in (None, answer.total)

    def _resume_point(self) -> tuple[int, str | None]:
        """Bytes that have arrived, and the server's name for this version of the file."""
        here = self._here()
        about = _read_json(self.about_part)
        validator = about.get("validator")
        if not here or about.get("url") != self.url or not isinstance(validator, str):
            return 0, None
        return here, validator

    def _is_all_here(self) -> bool:
        """Whether an earlier process stopped between the last byte and the check."""
        about = _read_json(self.about_part)
        here = self._here()
        return here > 0 and (about.get("url"), about.get("total")) == (self.url, here)

    def _note_part(self, answer: Answer) -> None:
        self.etag = answer.etag
        about = {
            "url": self.url,
            "validator": answer.validator,
            "etag": answer.etag,
            "total": answer.total,
        }
        _note(self.about_part, json.dumps(about))

    def _forget_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.about_part.unlink(missing_ok=True)

    def _here(self) -> int:
        facts = _facts_of(self.part)
        return facts.st_size if facts else 0

    def _check(self) -> None:
        found = _sha256(self.part)
        try:
            if self.size is not None and self._here() != self.size:
                raise WeightsError(f"{self._here()} bytes, expected {self.size}")
            if self.sha256 and found != self.sha256:
                raise WeightsError(f"sha256 {found}, expected {self.sha256}")
            if not sys.executable:
                about = _read_json(self.about_part) | {"is_checked_here": True}
                _note(self.about_part, json.dumps(about))
            if self.is_weights:
                check_apart(self.part)
        except WeightsError as error:
            self._forget_part()
            said = str(error).replace(str(self.part), self.part.name)
            said = said.replace(f"{self.part.name}: ", "").replace(self.part.name, "it")
            raise self._failure(f"what the server sent is not the file: {said}") from None
        size = self._here()
        safe_write.sync(self.part)
        facts = {"url": self.url, "size": size, "sha256": found, "etag": self.etag}
        _remember(self.target, facts)

    def _how_far(self) -> str:
        total = _read_json(self.about_part).get("total")
        of = f" of the {total} announced" if isinstance(total, int) else ""
        return f"after {self._here()} bytes{of}"

    def _failure(self, reason: str) -> WeightsError:
        return WeightsError(
            f"{self.url}: cannot be downloaded: {reason}\n"
            f"get it by other means and put it at {self.target}"
        )


@contextmanager
def _alone(target: Path, say: Say) -> Generator[None]:
    """Hold the lock of a file; tell the user if another process has it."""
    waiting = f"waiting for the process that downloads {target.name}"
    try:
        lock = hold(_beside(target, "lock"), lambda: say(waiting))
    except OSError as error:
        raise WeightsError(
            f"{target.parent}: cannot be written: {error.strerror or error}"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _facts_of(path: Path) -> os.stat_result | None:
    """Facts of a file; None if there is none, or a link, a pipe or anything else of that name."""
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 else None


def _open_part(path: Path, start: int) -> IO[bytes]:
    """Open the file for the bytes from `start` on; what is beyond is cut off.

    Raises:
        OSError: It cannot be written, or has become a link.
    """
    if not start:
        safe_write.make_anew(path)
    file = os.fdopen(os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), "r+b")
    file.seek(start)
    file.truncate()
    return file


def _note(path: Path, text: str) -> None:
    """Write a small file, in place of any link of its name."""
    with safe_write.written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _failed_since(target: Path, started: float) -> str:
    """The failure of another process while this one waited; a new try would take as long."""
    note = _beside(target, "failed")
    try:
        facts = _facts_of(note)
        is_new = facts is not None and facts.st_mtime > started
        return note.read_text(encoding="utf-8") if is_new else ""
    except OSError:
        return ""


def check_apart(path: Path) -> None:
    """Check a downloaded file in another process, which it may crash or fill."""
    if sys.executable:
        seconds = _CHECK_SECONDS + path.stat().st_size / _CHECK_BYTES_PER_SECOND
        run_apart(_CHECKER, path, seconds=seconds)
    else:  # Python inside another program
        _check_content(path)


def _check_content(path: Path) -> None:
    # importing torch takes a second; a known file does not need it
    from videozoo.weights.content import check_content

    check_content(path)


def _make_folder(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(
            f"{target.parent}: cannot be made: {error.strerror}; VIDEOZOO_CACHE names another"
        ) from None


def _remember(path: Path, facts: dict[str, Any]) -> None:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with safe_write.written_aside(_beside(path, "json")) as aside:
            aside.write_text(json.dumps(facts | {"when": when}, indent=1), encoding="utf-8")
    except OSError:  # a shared cache that is read-only
        return


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError):
        return {}
    return cast(dict[str, Any], content) if isinstance(content, dict) else {}


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _sha256(path: Path) -> str:
    try:
        return sum_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
