"""Whole runs on the hub: `hf://owner/name[@revision]`, described by their `videozoo.json`.

::

    CACHE/hub/OWNER--NAME/COMMIT/          a run: complete and checked, or not there
    CACHE/hub/OWNER--NAME/COMMIT.part/     what has arrived of it
    CACHE/hub/OWNER--NAME/revisions.json   the commits that revisions meant last

Only settings, names and safetensors are fetched, by names that `videozoo.json` lists with sizes and
sums. Nothing in them is run, and no pickle is taken.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from videozoo import safe_sums
from videozoo.errors import WeightsError, brief, counted
from videozoo.network import consent, is_offline, is_only_named, refusal
from videozoo.safe_json import parse_json
from videozoo.safe_lock import hold
from videozoo.safe_write import written_aside
from videozoo.weights import hub
from videozoo.weights.cache import cache_folder
from videozoo.weights.download import check_apart
from videozoo.weights.download import fetch as download
from videozoo.weights.kinds import sniff

MANIFEST = "videozoo.json"
CARD = "README.md"
FORMAT, VERSION = "videozoo-run", 1
CONFIG, CLASSES, WORDS = "config.yaml", "class_names.json", "vocabulary.json"

_NAME = r"[A-Za-z0-9_][\w.-]{0,100}\.safetensors"
_WEIGHTS = re.compile(rf"(?:encoder/\d{{1,2}}/)?{_NAME}", re.ASCII)
_TEXTS = (CONFIG, CLASSES, WORDS, "encoder/encoder.json")
_MOST_FILES = 40
_MOST_MANIFEST_BYTES, _MOST_TEXT_BYTES, _MOST_BYTES = 1 << 20, 1 << 26, 1 << 36

Say = Callable[[str], None]


@dataclass(frozen=True)
class SharedFile:
    """A file of a shared run."""

    path: str
    """Below the folder of the run, with slashes."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What `videozoo.json` says of a shared run."""

    model: str
    """By our name, or of a model from outside the name of its file."""
    outputs: str
    """Tells outputs apart: the sha256 of the names of the classes or words, or "" without names."""
    weights: str
    files: tuple[SharedFile, ...]
    """All but the card and this list."""
    card_sha256: str = ""
    """Of the card as it was generated: another one was written by a person."""
    licence: str = ""
    """As stated by the owner; "" if it is not."""
    title: str = ""
    videozoo: str = ""

    def as_json(self) -> str:
        """The text of `videozoo.json`."""
        files = [
            {"path": each.path, "size": each.size, "sha256": each.sha256} for each in self.files
        ]
        about = {
            "format": FORMAT,
            "version": VERSION,
            "videozoo": self.videozoo,
            "model": self.model,
            "title": self.title,
            "outputs_sha256": self.outputs,
            "weights": self.weights,
            "files": files,
            "card_sha256": self.card_sha256,
            "licence": self.licence,
        }
        return json.dumps(about, indent=2) + "\n"

    def is_same_model(self, other: Manifest) -> bool:
        """Whether two runs answer with the same model and the same outputs."""
        return (self.model, self.outputs) == (other.model, other.outputs)


def read_manifest(content: bytes, source: str) -> Manifest:
    """Read `videozoo.json`.

    Raises:
        WeightsError: It is damaged, of another version, or names files that are not fetched.
    """
    try:
        about = parse_json(content)
    except ValueError as error:
        raise WeightsError(f"{source}: {MANIFEST} is not JSON: {error}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise WeightsError(f"{source}: {MANIFEST} does not describe a run of videozoo")
    about = cast("dict[str, Any]", about)
    if about.get("version") != VERSION:
        raise WeightsError(
            f"{source}: {MANIFEST} is of version {brief(about.get('version'))}, and this videozoo "
            f"reads version {VERSION}; take a newer videozoo"
        )
    listed = about.get("files")
    if not isinstance(listed, list) or not 0 < len(cast("list[Any]", listed)) <= _MOST_FILES:
        raise WeightsError(f"{source}: {MANIFEST}: files: expected 1 to {_MOST_FILES} files")
    files = tuple(_file(each, source) for each in cast("list[Any]", listed))
    names = [each.path for each in files]
    texts = {key: about.get(key, "") for key in ("model", "outputs_sha256", "weights")}
    texts |= {key: about.get(key, "") for key in ("card_sha256", "licence", "title", "videozoo")}
    wrong = [key for key, value in texts.items() if not isinstance(value, str) or len(value) > 200]
    if wrong:
        raise WeightsError(f"{source}: {MANIFEST}: {wrong[0]}: expected a short text")
    if len(set(names)) < len(names):
        raise WeightsError(f"{source}: {MANIFEST} lists a file twice")
    if not {texts["weights"], CONFIG} <= set(names) or "/" in texts["weights"]:
        raise WeightsError(f"{source}: {MANIFEST} lists no weights, or no {CONFIG}")
    if sum(each.size for each in files) > _MOST_BYTES:
        raise WeightsError(
            f"{source}: {MANIFEST}: more than {_MOST_BYTES >> 30} GiB are not fetched"
        )
    return Manifest(
        model=texts["model"],
        outputs=texts["outputs_sha256"],
        weights=texts["weights"],
        files=files,
        card_sha256=texts["card_sha256"],
        licence=texts["licence"],
        title=texts["title"],
        videozoo=texts["videozoo"],
    )


def _file(entry: Any, source: str) -> SharedFile:
    path, size, digest = (
        cast("dict[str, Any]", entry).get(key) if isinstance(entry, dict) else None
        for key in ("path", "size", "sha256")
    )
    if not isinstance(path, str) or not (path in _TEXTS or _WEIGHTS.fullmatch(path)):
        raise WeightsError(
            f"{source}: {MANIFEST} names the file {brief(path)}; of a run only settings, names and "
            "safetensors are fetched"
        )
    most = _MOST_TEXT_BYTES if path in _TEXTS else _MOST_BYTES
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= most:
        raise WeightsError(f"{source}: {MANIFEST}: {path}: a size of {brief(size)} is not fetched")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise WeightsError(f"{source}: {MANIFEST}: {path}: {brief(digest)} is no sha256")
    return SharedFile(path, size, digest)


# --- where fetched runs are ----------------------------------------------------------------------


def runs_folder() -> Path:
    """The folder of all runs that were fetched."""
    return cache_folder() / "hub"


def reference_of(path: Path) -> str | None:
    """What to type for a run of the cache, by its weights file: `hf://OWNER/NAME@COMMIT`.

    None for a file elsewhere, and for that of its encoder.
    """
    place = _place(path)
    if place is None or path.parent.name != place[1]:
        return None
    home, commit = place
    return f"{hub.PREFIX}{home.replace('--', '/', 1)}@{commit}"


def pinned(text: str) -> str:
    """A name of a run with the commit that was fetched for it; as it is if none was."""
    repository, revision = hub.parse_model(text)
    found = _here(_folder(repository), revision)
    return text if found is None else f"{hub.PREFIX}{repository}@{found.name}"


def local_name(path: Path) -> str | None:
    """A name for what is written about a fetched run, outside the cache: `OWNER--NAME`.

    None for a file elsewhere.
    """
    place = _place(path)
    return None if place is None else place[0]


def _place(path: Path) -> tuple[str, str] | None:
    """`OWNER--NAME` and commit of a file in a fetched run."""
    try:
        parts = path.absolute().relative_to(runs_folder().absolute()).as_posix().split("/")
    except ValueError:
        return None
    if len(parts) < 3 or "--" not in parts[0] or not hub.is_commit(parts[1]):
        return None
    return parts[0], parts[1]


# --- fetching ------------------------------------------------------------------------------------


def is_run(text: str) -> bool:
    """Whether `hf://owner/name` is a run of videozoo: here already, or on the hub.

    The network is not asked for a name that only a file gives, unless the user agrees.

    Raises:
        WeightsError: The hub cannot be asked.
    """
    repository, revision = hub.parse_model(text)
    if _here(_folder(repository), revision) is not None:
        return True
    if refusal(text):
        return False
    try:
        hub.commit_and_size(text, MANIFEST)
    except hub.NoFileError:
        return False
    return True


def fetch(text: str, *, say: Say = lambda _: None) -> Path:
    """Return the weights file of a run on the hub, which lies in a run folder of the cache.

    A revision that is no commit is asked for at every call, and what it meant last is taken
    without a network.

    Raises:
        WeightsError: There is no such run, no permission, no network, or a file is not as the run
            lists it.
    """
    repository, revision = hub.parse_model(text)
    home = _folder(repository)
    known = _here(home, revision)
    if known is not None and (hub.is_commit(revision) or is_offline() or is_only_named()):
        return _weights_in(known, text)
    if reason := refusal(text):
        raise WeightsError(f"{text}: not on this machine, and {reason}")
    try:
        commit, size = hub.commit_and_size(text, MANIFEST)
    except hub.NoFileError:
        raise WeightsError(
            f"{text}: holds no run of videozoo (no {MANIFEST}); a file of it is named "
            f"{hub.PREFIX}{repository}/FILE, and an encoder of Hugging Face with --encoder"
        ) from None
    except WeightsError:
        if known is not None and not hub.is_reachable(hub.endpoint()):
            say(
                f"note: no answer from the hub; taking {known.name} of {repository}, fetched before"
            )
            return _weights_in(known, text)
        raise
    folder = home / commit
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = hold(
            home / f"{commit}.lock", lambda: say(f"waiting for the process that fetches {text}")
        )
        try:
            if not folder.is_dir():
                _fetch_into(folder, text, repository, commit, size, say)
            _remember(home, revision, commit)
        finally:
            lock.release()
    except OSError as error:
        raise WeightsError(
            f"{home}: cannot be written: {error.strerror or error}; VIDEOZOO_CACHE names another "
            "folder"
        ) from None
    return _weights_in(folder, text)


def _fetch_into(folder: Path, text: str, repository: str, commit: str, size: int, say: Say) -> None:
    """Fetch a run; the folder has its name only if every file is as listed."""
    if size > _MOST_MANIFEST_BYTES:
        raise WeightsError(f"{text}: {MANIFEST} has {size:,} bytes; it is no list of files")
    part, key = folder.with_name(f"{commit}.part"), hub.token()

    def get(name: str, size: int, sha256: str | None) -> Path:
        target, url = part / name, hub.address_of(repository, commit, name)
        try:
            with consent(agreed=True):  # the user was asked for the whole run
                download(
                    url,
                    target,
                    size=size,
                    sha256=sha256,
                    token=key,
                    is_weights=False,
                )
        except WeightsError as error:
            said = str(error).partition("\n")[0].removeprefix(f"{url}: ")
            raise WeightsError(f"{text}: {name}: {said}") from None
        if name.endswith(".safetensors"):
            _check(target, f"{text}: {name}")
        return target

    manifest = read_manifest(get(MANIFEST, size, None).read_bytes(), text)
    total = sum(each.size for each in manifest.files)
    say(
        f"fetching {text}: {counted(len(manifest.files), 'file')}, {total / 1e6:.1f} MB, "
        f"commit {commit[:12]}"
    )
    for each in manifest.files:
        get(each.path, each.size, each.sha256)
    new = folder.with_name(f"{commit}.new")
    shutil.rmtree(new, ignore_errors=True)
    for name in (MANIFEST, *(each.path for each in manifest.files)):
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (part / name).replace(target)
    _write_sums(new, manifest.files)
    new.rename(folder)
    shutil.rmtree(part, ignore_errors=True)


def _check(path: Path, name: str) -> None:
    """Refuse all but safetensors; pickles are not even read. A file that fails is gone."""
    try:
        if not is_safetensors(path):
            raise WeightsError("no safetensors file; other kinds are not taken")
        check_apart(path)
    except WeightsError as error:
        path.unlink()
        said = str(error).removeprefix(f"{path.name}: ")
        raise WeightsError(f"{name}: {said}") from None


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do."""
    try:
        return sniff(path) == "safetensors"
    except WeightsError:
        return False


def _write_sums(folder: Path, files: Iterable[SharedFile]) -> None:
    lines = [f"{each.sha256}  {each.path}\n" for each in sorted(files, key=lambda one: one.path)]
    (folder / safe_sums.NAME).write_text("".join(lines), encoding="utf-8")


def _weights_in(folder: Path, text: str) -> Path:
    try:
        manifest = read_manifest((folder / MANIFEST).read_bytes(), text)
    except OSError as error:
        raise WeightsError(
            f"{folder}: cannot be read: {error.strerror}; delete it, and it is fetched again"
        ) from None
    return folder / manifest.weights


def _folder(repository: str) -> Path:
    return runs_folder() / repository.replace("/", "--")


def _here(home: Path, revision: str | None) -> Path | None:
    """The folder of a revision, as far as this machine knows it."""
    commit = revision if hub.is_commit(revision) else _revisions(home).get(revision or "main")
    if not isinstance(commit, str) or not hub.is_commit(commit):
        return None
    return home / commit if (home / commit).is_dir() else None


def _revisions(home: Path) -> dict[str, Any]:
    try:
        found = parse_json((home / "revisions.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _remember(home: Path, revision: str | None, commit: str) -> None:
    name = revision or "main"
    known = _revisions(home)
    if hub.is_commit(revision) or known.get(name) == commit:
        return
    with written_aside(home / "revisions.json") as aside:
        aside.write_text(json.dumps(known | {name: commit}, indent=1), encoding="utf-8")
