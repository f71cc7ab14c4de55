"""Share a trained run: `videozoo push` to the hub or into a folder, `videozoo card`.

Only these files leave the machine: weights, settings, names, the encoder that the run keeps where
it is of videozoo, their sums, and the card. Paths of the machine are taken out of all of them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import yaml

from videozoo import __version__, safe_sums
from videozoo.commands import command
from videozoo.config import from_layers
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import RunError, UsageError, WeightsError, few
from videozoo.models import is_from_outside, is_model_file
from videozoo.safe_names import shown
from videozoo.safe_write import written_aside
from videozoo.settings.moments import TRAINED
from videozoo.tasks.card import NOT_STATED, RunFacts, read_facts, unescaped, write_card
from videozoo.tasks.kept_encoder import KEPT, kept_files
from videozoo.tasks.loading import Trained, config_for_weights, names_key, refuse_damaged
from videozoo.tasks.requests import CardRequest, ConfigSource, PushRequest
from videozoo.types import Tagging, TwoStageLocalisation
from videozoo.weights import hub
from videozoo.weights.exported import exported_kind
from videozoo.weights.files import copy_described, read_metadata
from videozoo.weights.hub_runs import (
    CARD,
    CLASSES,
    CONFIG,
    MANIFEST,
    WORDS,
    Manifest,
    SharedFile,
    is_safetensors,
    read_manifest,
)
from videozoo.weights.hub_upload import Repository, Uploader

Say = Callable[[str], None]

_WEIGHTS = "best.safetensors"
_MOST_BYTES = 1 << 22
_MOST_CHARACTERS = 120
_ABSOLUTE = re.compile(rf"^({re.escape(TRAINED)})?(?:/|~|\\\\|[A-Za-z]:[\\/]|file:)")
_OF_THE_HUB = (".gitattributes", CARD)
"""Files of a repository that hold no model."""


@dataclass
class Scrubbed:
    """What was taken out of the descriptions, for the user."""

    dropped: dict[str, None] = field(default_factory=dict[str, None])
    """Keys of settings whose paths were dropped, in order."""
    renamed: dict[str, None] = field(default_factory=dict[str, None])
    """Keys of which only the name of the file is left."""

    def lines(self) -> Iterator[str]:
        """Notes for the user."""
        if self.dropped:
            yield f"paths of this machine are left out: {few(self.dropped, 12)}"
        if self.renamed:
            yield f"of these paths only the last part is sent: {few(self.renamed, 12)}"


# --- what a run shares ---------------------------------------------------------------------------


def read_run(run: Path, *, unfinished: bool = False) -> tuple[RunFacts, dict[str, Any]]:
    """Read a run that is to be shared, and the description in its weights.

    Raises:
        RunError: It holds no run, one that is being trained, or one that is not finished.
        WeightsError: It has no weights, or they are damaged.
    """
    if not (run / CONFIG).is_file():
        what = "holds no run" if run.is_dir() else "there is no such folder"
        raise RunError(f"{run}: {what}; expected a folder that `videozoo train` wrote")
    try:
        RunFolder.refuse_live(run)
    except RunError as error:
        who = str(error).partition(" is writing")[0]
        raise RunError(f"{who} is training it; wait for its end, or stop it") from None
    trained = config_for_weights(ConfigSource(), str(run))
    if exported_kind(trained.path) is not None or not is_safetensors(trained.path):
        raise WeightsError(f"{trained.path}: only safetensors are shared")
    metadata = read_metadata(trained.path)
    found = read_facts(run, trained, metadata)
    if not unfinished and (why := _why_unfinished(run, found)):
        raise RunError(
            f"{run}: {why}; finish it ({command('train', '--resume', run)}), or share it as it is: "
            "--unfinished"
        )
    return found, metadata


def _why_unfinished(run: Path, found: RunFacts) -> str:
    config = found.trained.config
    task, train = config.spec.task, config.train
    if isinstance(task, TwoStageLocalisation) or found.epochs is None:
        return ""  # the weights of both stages are written at the end
    if isinstance(task, Tagging) and task.is_solved:
        return ""
    if found.epochs >= train.epochs:
        return ""
    best, patience = found.facts.get("epoch"), train.early_stop_epochs
    if patience is not None and isinstance(best, int) and found.epochs - best >= patience:
        return ""
    return f"not finished: {found.epochs} of {train.epochs} epochs"


def stage(run: Path, request: PushRequest, folder: Path) -> tuple[Manifest, list[str]]:
    """Write all that is shared of a run into a folder.

    Args:
        run: The run folder; it stays as it is.
        request: What the user says of it.
        folder: Empty.

    Returns:
        What `videozoo.json` there says, and notes for the user.

    Raises:
        RunError, WeightsError: See `read_run`; or a kept encoder is damaged.
    """
    found, metadata = read_run(run, unfinished=request.unfinished)
    trained, scrubbed = found.trained, Scrubbed()
    about = shared_description(metadata, trained, scrubbed)
    copy_described(trained.path, folder / _WEIGHTS, about)
    text = yaml.safe_dump(about["config"], sort_keys=False, allow_unicode=True)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    key = names_key(trained.config)
    if about.get(key):
        name = WORDS if key == "vocabulary" else CLASSES
        _write_json(folder / name, about[key])
    notes = [*found.notes]
    encoders = tuple(_share_encoders(run, found, folder, scrubbed, notes))
    files = _listed(folder)
    card = write_card(replace(found, encoders=encoders or found.encoders), request)
    _refuse_paths(folder, card, run)
    (folder / CARD).write_text(card, encoding="utf-8")
    manifest = Manifest(
        model=_model_of(trained),
        outputs=_outputs(trained),
        weights=_WEIGHTS,
        files=files,
        card_sha256=safe_sums.sum_of(folder / CARD),
        licence=request.licence or "",
        title=trained.config.spec.title,
        videozoo=__version__,
    )
    (folder / MANIFEST).write_text(manifest.as_json(), encoding="utf-8")
    sums = "".join(f"{each.sha256}  {each.path}\n" for each in files)
    (folder / safe_sums.NAME).write_text(sums, encoding="utf-8")
    return manifest, [*notes, *scrubbed.lines()]


def _listed(folder: Path) -> tuple[SharedFile, ...]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(
        SharedFile(path.relative_to(folder).as_posix(), path.stat().st_size, safe_sums.sum_of(path))
        for path in files
    )


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _model_of(trained: Trained) -> str:
    name = trained.config.name
    return Path(name).name if is_from_outside(name) else name


def _outputs(trained: Trained) -> str:
    names = trained.class_names or trained.vocabulary
    return hashlib.sha256(json.dumps(names).encode()).hexdigest() if names else ""


# --- descriptions without paths of this machine --------------------------------------------------


def shared_description(
    metadata: Mapping[str, Any], trained: Trained, scrubbed: Scrubbed
) -> dict[str, Any]:
    """The description in weights, without paths of the machine that trained them.

    Args:
        metadata: As stored with the weights.
        trained: The same weights, read.
        scrubbed: Told what was taken out.
    """
    about = dict(metadata)
    about["config"] = _shared_config(trained, scrubbed)
    about["relative_paths"] = {}
    for key in about.keys() - {"config", "class_names", "vocabulary"}:
        about[key] = _shared_values(about[key], key, scrubbed)
    return about


def _shared_config(trained: Trained, scrubbed: Scrubbed) -> dict[str, Any]:
    config = trained.config
    sections, paths = config.as_dict(), config.paths()
    for key in (*paths, "data.encoder"):
        parts = key.split(".")
        number = parts.pop() if parts[-1].isdigit() else None
        place = sections
        for part in parts[:-1]:
            place = place[part]
        if place.get(parts[-1]):
            place[parts[-1]] = [] if number is not None or key == "data.encoder" else None
            scrubbed.dropped[".".join(parts)] = None
    if is_model_file(config.name):
        sections["model"]["name"] = Path(config.name).name
    shared = {name: _shared_values(part, name, scrubbed) for name, part in sections.items()}
    if not is_model_file(config.name):
        from_layers([("the settings to be shared", shared)])  # they can still be read
    return shared


def _shared_values(value: Any, key: str, scrubbed: Scrubbed) -> Any:
    """Plain data with the last parts of paths in place of absolute paths."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        if key.endswith("source"):
            items = [(name, None if name == "video" else each) for name, each in items]
            if cast("dict[str, Any]", value).get("video"):
                scrubbed.dropped[f"{key}.video"] = None
        return {name: _shared_values(each, f"{key}.{name}", scrubbed) for name, each in items}
    if isinstance(value, list):
        return [_shared_values(each, key, scrubbed) for each in cast("list[Any]", value)]
    if isinstance(value, str) and is_path(value):
        scrubbed.renamed[key] = None
        return last_part(value)
    return value


def is_path(text: str) -> bool:
    r"""Whether a value of a description is a path of a machine, and no name.

    >>> [is_path(text) for text in ("/home/me/a.npy", r"C:\\a", "~/x", "hf://me/clip", "adam")]
    [True, True, True, False, False]
    """
    return _ABSOLUTE.match(text) is not None


def last_part(text: str) -> str:
    r"""The name of a file or folder, of any system.

    >>> last_part("/home/me/a.npy"), last_part("C:\\data\\a.npy"), last_part("/")
    ('a.npy', 'a.npy', 'file')
    >>> last_part("sentence-transformers:/home/me/mini")
    'sentence-transformers:mini'
    """
    kind = TRAINED if text.startswith(TRAINED) else ""
    return kind + (re.split(r"[\\/]", text.rstrip("\\/"))[-1] or "file")


def _refuse_paths(folder: Path, card: str, run: Path) -> None:
    """Raise RunError if a path of this machine is still in what would be sent.

    The last guard: settings of models from outside may hold them where nobody thinks of it.
    """
    here = {str(Path.home()), str(run.absolute()), str(Path.cwd()), tempfile.gettempdir()}
    here = {each for each in here if len(PurePath(each).parts) > 2 or each == str(Path.home())}
    here.discard("/")
    texts = {CARD: unescaped(card)}
    for path in folder.rglob("*"):
        if path.suffix in (".yaml", ".json"):
            texts[path.name] = path.read_text(encoding="utf-8")
        elif path.suffix == ".safetensors":
            about = read_metadata(path)
            kept = {key: about[key] for key in about if key not in ("class_names", "vocabulary")}
            texts[path.relative_to(folder).as_posix()] = json.dumps(kept, ensure_ascii=False)
    for name, text in texts.items():
        if name in (CLASSES, WORDS):
            continue
        for place in here:
            if re.search(rf"{re.escape(place)}(?![\w.-])", text):
                raise RunError(
                    f"{run}: not shared: {name} would hold the path {place} of this machine; take "
                    "it out of the settings of the run"
                )


# --- encoders ------------------------------------------------------------------------------------


def _share_encoders(
    run: Path, found: RunFacts, folder: Path, scrubbed: Scrubbed, notes: list[str]
) -> Iterator[dict[str, Any]]:
    """Write the encoders of a run: files of ours, names of others."""
    entries: list[dict[str, Any]] = []
    for place, (entry, file) in enumerate(kept_files(run)):
        shared = {
            key: _shared_values(value, f"encoder.{key}", Scrubbed())
            for key, value in entry.items()
            if key not in ("file", "config", "set")
        }
        if file is None:
            more = {key: entry[key] for key in ("config", "set") if key in entry}
            entries.append(shared | _shared_values(more, "encoder", scrubbed))
            continue
        refuse_damaged(file)
        about = read_metadata(file) if file.suffix == ".safetensors" else {}
        if not about.get("config"):
            notes.append(
                f"the encoder {entry.get('title', file.name)} is not written by videozoo and stays "
                "here: others must name their own with --encoder"
            )
            entries.append(shared)
            continue
        name = f"{place}/{_WEIGHTS}"
        (folder / KEPT / str(place)).mkdir(parents=True, exist_ok=True)
        trained = config_for_weights(ConfigSource(), str(file))
        kept = shared_description(about, trained, scrubbed)
        copy_described(file, folder / KEPT / name, kept)
        entries.append(shared | {"file": name})
    if entries:
        about = {"format": "videozoo-encoder", "version": 1, "encoders": entries}
        _write_json(folder / KEPT / "encoder.json", about)
    yield from entries


# --- where it goes -------------------------------------------------------------------------------


def push(request: PushRequest, say: Say) -> str:
    """Share a run, and return where it is.

    Raises:
        UsageError: The target has another form.
        RunError: The run cannot be shared, or the folder holds something else.
        WeightsError: The hub refuses.
    """
    folder = _folder_of(request.target)
    _refuse_odd(request)
    is_run = (request.run / CONFIG).is_file()
    if is_run and folder is not None and folder.resolve().is_relative_to(request.run.resolve()):
        raise UsageError(f"{request.target}: inside the run itself; name another folder")
    with tempfile.TemporaryDirectory(prefix="videozoo-push-") as scratch:
        staged = Path(scratch)
        manifest, notes = stage(request.run, _named(request, folder), staged)
        for line in _announcement(request, staged, folder, notes):
            say(line)
        if request.is_trial:
            return "nothing was sent (--dry-run)"
        if folder is not None:
            return _to_folder(staged, folder, manifest, request, say)
        return _to_hub(staged, manifest, request, say)


def card(request: CardRequest) -> str:
    """The card of a run, as `push` would write it.

    Raises:
        RunError, WeightsError: See `read_run`; or the name is none of the hub.
        UsageError: The licence is no name.
    """
    if request.name is not None:
        hub.parse_model(request.name)
    _refuse_odd(request)
    found, _ = read_run(request.run, unfinished=True)
    with tempfile.TemporaryDirectory(prefix="videozoo-card-") as scratch:
        entries = tuple(_share_encoders(request.run, found, Path(scratch), Scrubbed(), []))
    return write_card(replace(found, encoders=entries or found.encoders), request)


def write_card_file(path: Path, text: str, *, overwrite: bool) -> Path:
    """Write a card into a file.

    Raises:
        RunError: The file is there already, or cannot be written.
    """
    if path.exists() and not overwrite:
        raise RunError(f"{path}: exists; pass --overwrite to replace it, or another --out FILE")
    try:
        with written_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def _folder_of(target: str) -> Path | None:
    """The folder that a target means; None for a repository of the hub."""
    if target.startswith(hub.PREFIX):
        hub.parse_model(target)
        return None
    if target.startswith("file://"):
        parts = urlsplit(target)
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise UsageError(f"{target}: expected file:///PATH/OF/A/FOLDER")
        return Path(unquote(parts.path))
    if "://" in target or not target.strip():
        raise UsageError(f"{target!r}: expected hf://OWNER/NAME, a folder, or file:// and its path")
    return Path(target)


def _refuse_odd(request: CardRequest) -> None:
    for flag, text in (("--licence", request.licence), ("--data-name", request.data_name)):
        if text is not None and (not text.strip() or len(text) > _MOST_CHARACTERS or "\n" in text):
            raise UsageError(
                f"{flag} {text[:40]!r}: expected a name, one line of at most {_MOST_CHARACTERS} "
                "characters"
            )


def _named(request: PushRequest, folder: Path | None) -> PushRequest:
    return request if folder is not None else replace(request, name=request.target)


def _announcement(
    request: PushRequest, staged: Path, folder: Path | None, notes: Iterable[str]
) -> Iterator[str]:
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in files)
    yield f"to {request.target}, {total / 1e6:.1f} MB in {len(files)} files:"
    for path in files:
        yield f"  {path.relative_to(staged).as_posix():<32} {path.stat().st_size:>13,} bytes"
    for note in notes:
        yield f"note: {note}"
    yield f"licence: {request.licence or f'{NOT_STATED} (--licence NAME states one)'}"
    if folder is None:
        to = "everybody" if request.is_public else "you alone (--public: everybody)"
        yield f"visible to: {to}"


def _to_folder(
    staged: Path, folder: Path, manifest: Manifest, request: PushRequest, say: Say
) -> str:
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file; name a folder")
    old = _read_there(folder / MANIFEST) if there else None
    if there and (old is None or not old.is_same_model(manifest)) and not request.overwrite:
        what = f"another model ({old.title or old.model})" if old else "other files"
        raise RunError(f"{folder}: holds {what}; name another folder, or replace it: --overwrite")
    if old is None and (folder / CONFIG).is_file():
        raise RunError(f"{folder}: holds a run that was not shared; name another folder")
    _refuse_lost_licence(old, request)
    card = folder / CARD
    if _is_edited(card.read_bytes() if card.is_file() else None, old, request):
        say(f"note: {folder / CARD} was changed by hand and stays; --overwrite replaces it")
        (staged / CARD).unlink()
    try:
        for path in sorted(each for each in staged.rglob("*") if each.is_file()):
            target = folder / path.relative_to(staged)
            with written_aside(target) as aside:
                shutil.copyfile(path, aside)
        for name in _gone(old, manifest):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return f"written: {folder}"


def _read_there(path: Path) -> Manifest | None:
    try:
        return read_manifest(path.read_bytes(), str(path.parent))
    except (OSError, WeightsError):
        return None


def _refuse_lost_licence(old: Manifest | None, request: PushRequest) -> None:
    """Raise UsageError if a licence that was stated would silently go."""
    if old is not None and old.licence and request.licence is None and not request.overwrite:
        raise UsageError(
            f"{request.target}: was shared under {shown(old.licence)} before; state it again, or "
            "another: --licence NAME"
        )


def _is_edited(card: bytes | None, old: Manifest | None, request: PushRequest) -> bool:
    """Whether the card that is there is not the one that was shared; None: there is none."""
    if old is None or request.overwrite or card is None:
        return False
    return hashlib.sha256(card).hexdigest() != old.card_sha256


def _gone(old: Manifest | None, new: Manifest) -> list[str]:
    """Files of an earlier version of the run that this one does not have."""
    kept = {each.path for each in new.files}
    return [each.path for each in (old.files if old else ()) if each.path not in kept]


def _to_hub(staged: Path, manifest: Manifest, request: PushRequest, say: Say) -> str:
    uploader = Uploader(request.target)
    there = uploader.look()
    old = None if there is None else _on_hub(uploader, there, manifest, request)
    _refuse_lost_licence(old, request)
    if there is None:
        uploader.create(is_private=not request.is_public)
        there = uploader.look()
    elif there.is_private == request.is_public:
        is_now = "private" if there.is_private else "public"
        say(f"note: {request.target} is {is_now} and stays so; its settings on the hub change that")
    parent = None if there is None else there.commit
    files = sorted(
        path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()
    )
    if there is not None and _is_edited(_card_there(uploader, there), old, request):
        say(f"note: {CARD} was changed on the hub and stays; --overwrite replaces it")
        files.remove(CARD)
    gone = [name for name in _gone(old, manifest) if there is not None and name in there.files]
    message = request.message or f"{manifest.title}, by videozoo {__version__}"
    commit = uploader.commit(staged, files, remove=gone, parent=parent, message=message, say=say)
    return f"sent: {request.target}@{commit}"


def _on_hub(
    uploader: Uploader, there: Repository, manifest: Manifest, request: PushRequest
) -> Manifest | None:
    """What the repository says of the run in it.

    Raises:
        WeightsError: It holds another model, or other files.
    """
    old = None
    if MANIFEST in there.files and there.commit:
        content = uploader.read(MANIFEST, there.commit, most_bytes=_MOST_BYTES)
        try:
            old = read_manifest(content or b"", request.target)
        except WeightsError:
            old = None
    others = [name for name in there.files if name not in _OF_THE_HUB]
    if not others or request.overwrite or (old is not None and old.is_same_model(manifest)):
        return old
    what = f"another model ({old.title or old.model})" if old else f"other files ({few(others, 3)})"
    raise WeightsError(
        f"{request.target}: holds {what}; choose another name, or replace it: --overwrite"
    )


def _card_there(uploader: Uploader, there: Repository) -> bytes | None:
    """The card in a repository; one that is too large to be ours is as good as an empty one."""
    if CARD not in there.files or there.commit is None:
        return None
    return uploader.read(CARD, there.commit, most_bytes=_MOST_BYTES) or b""
