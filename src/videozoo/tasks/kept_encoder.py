"""What makes the features that a model reads: opened by name, kept in the run, found again.

::

    RUN/encoder/encoder.json    the encoders, in order
    RUN/encoder/0/  1/ ...      their files, where they are not known by name alone
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from accelerate import Accelerator

from videozoo import safe_sums
from videozoo.commands import quoted
from videozoo.config import RunConfig
from videozoo.data.features.records import SOURCE
from videozoo.encoders import LITE0, open_known
from videozoo.encoders.base import Encoder
from videozoo.encoders.efficientnet_lite import weights_file
from videozoo.errors import DataError, RunError, UsageError, VideozooError, WeightsError
from videozoo.network import named_in, without_questions
from videozoo.safe_json import parse_json
from videozoo.safe_write import written_aside
from videozoo.tasks.clip_encoder import open_clip_encoder
from videozoo.tasks.extractor import MIRROR, Extractor
from videozoo.tasks.features import refuse_other_features
from videozoo.tasks.loading import Trained, refuse_damaged
from videozoo.tasks.requests import EncoderChoice, EncoderPrecision, Layer
from videozoo.tasks.results import run_folder_of
from videozoo.types import MomentRetrieval, Tagging, TwoStageLocalisation
from videozoo.weights import hub, hub_runs
from videozoo.weights.exported import exported_kind

KEPT = "encoder"
"""Folder of a run with what made its features."""
_ABOUT = "encoder.json"
_KEPT_FORMAT = "videozoo-encoder"
DEFAULT_RATE = 2.0
_THE_FEATURES = "the description of the features"
_DEFAULTS = ("features", "fp32", None)  # of options
ADVICE = "name one: --encoder NAME|RUN|FILE|hf://OWNER/NAME (`videozoo encoders` lists some)"


# --- encoders by name ----------------------------------------------------------------------------


def open_encoder(text: str, options: Mapping[str, Any] | None = None) -> Encoder:
    """Open the encoder that the user names.

    Args:
        text: A name of `videozoo encoders`, a run or weights of a clip model (`hf://` too), a
            ResNet, a folder or `hf://` name of Hugging Face, or an ONNX file.
        options: See `Encoder.options`.

    Raises:
        VideozooError: There is no such encoder, or it cannot be loaded.
    """
    options = options or {}
    if (Path(text) / "config.json").is_file():  # a model of Hugging Face, perhaps kept by a run
        _refuse_damaged(Path(text))
    refuse_damaged(Path(text))
    try:
        known = open_known(text, options)
    except WeightsError:
        if not (hub.is_model(text) and hub_runs.is_run(text)):
            raise
        known = None
    if known is not None:
        return known
    try:
        return open_clip_encoder(text, options)
    except WeightsError as error:
        if Path(text).exists():
            raise
        raise WeightsError(f"{error}; `videozoo encoders` lists encoders by name") from None


def encoder_at_hand() -> str | None:
    """The recommended encoder that works here without a download; None if there is none."""
    return LITE0 if weights_file() is not None else None


def encoder_options(
    layer: Layer, pooling: str | None, precision: EncoderPrecision = "fp32"
) -> dict[str, Any]:
    """The options of `open_encoder` that were chosen."""
    options: dict[str, Any] = {"layer": layer, "pooling": pooling, "precision": precision}
    return {key: value for key, value in options.items() if value not in _DEFAULTS}


def facts_to_store(extractor: Extractor, videos: Sequence[Path]) -> dict[str, Any]:
    """The facts of an extractor, with how to open its encoders again."""
    named = [{"encoder": each.reference, **each.options} for each in extractor.encoders]
    video = str(videos[0].absolute()) if videos else None
    return {**extractor.facts, SOURCE: {"encoders": named, "video": video}}


def _flag_of(option: str) -> str:
    return "--encoder-precision" if option == "precision" else f"--{option}"


def _entries_of(features: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """How to open the encoders of some features again; empty where that is not known."""
    source = cast("Mapping[str, Any]", (features or {}).get(SOURCE) or {})
    if source.get("encoders"):
        return [dict(entry) for entry in source["encoders"]]
    if source.get("weights"):  # as earlier versions stored it
        entry = {"encoder": source["weights"], "config": source.get("config")}
        if source.get("set"):
            entry["set"] = source["set"]
        if (features or {}).get("layer") == "class scores":
            entry["layer"] = "scores"
        return [{key: value for key, value in entry.items() if value is not None}]
    return []


def _open(entry: Mapping[str, Any], folder: Path | None = None) -> Encoder:
    """Open an encoder that only a file names.

    Args:
        entry: How to open it again, as `facts_to_store` writes it.
        folder: Where its file is kept.
    """
    options = dict(entry)
    text, file = str(options.pop("encoder")), options.pop("file", None)
    options.pop("title", None)
    if file is not None and folder is not None:
        for key in ("config", "set"):  # the kept file holds them
            options.pop(key, None)
        text = str(folder / str(file))
    return open_encoder(text, options)


def _as_flags(entries: Sequence[Mapping[str, Any]]) -> str:
    """What the user types to name the same encoders."""
    return " ".join(f"--encoder {quoted(str(entry['encoder']))}" for entry in entries)


# --- what a run keeps ----------------------------------------------------------------------------


def visual_features(features: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What made the video features, also for models that read sentences as well."""
    if features is not None and "visual" in features:
        return cast("Mapping[str, Any] | None", features["visual"])
    return features


def keep_encoder(
    run: Path,
    features: Mapping[str, Any] | None,
    say: Callable[[str], None],
    *,
    encoders: Sequence[Encoder] = (),
) -> None:
    """Put what makes the features of a run into its folder, so that it answers on videos.

    Args:
        run: The run folder.
        features: What made the training features.
        say: Told how large it is, or why nothing is kept.
        encoders: Those that made the features, if they are open; otherwise they are opened.

    Raises:
        RunError: The folder cannot be written.
    """
    features = visual_features(features)
    entries = _entries_of(features)
    folder, kept = run / KEPT, list[dict[str, Any]]()
    if features is None or not entries or (folder / _ABOUT).is_file():
        return
    try:
        for place, entry in enumerate(entries):
            encoder = encoders[place] if len(encoders) == len(entries) else _opened_here(entry)
            _refuse_changed(encoder, features, place, len(entries))
            inside = folder / str(place)
            inside.mkdir(parents=True, exist_ok=True)
            name = encoder.keep(inside)
            options = {"encoder": encoder.reference, "title": encoder.title, **encoder.options}
            kept.append(options if name is None else options | {"file": f"{place}/{name}"})
        held = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in held)
        about = {"format": _KEPT_FORMAT, "version": 1, "encoders": kept}
        with written_aside(folder / _ABOUT) as aside:
            aside.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        safe_sums.keep(run, [*held, folder / _ABOUT])
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    except VideozooError as error:
        say(
            f"note: the run keeps no copy of what made its features ({error}); to predict on "
            "videos name it then: --encoder"
        )
        return
    titles = " + ".join(entry["title"] for entry in kept)
    copied = f"{size / 1e6:.1f} MB in {folder}" if any("file" in one for one in kept) else "by name"
    say(f"encoder: {titles}, kept {copied}")


def _opened_here(entry: Mapping[str, Any]) -> Encoder:
    """Open what made features that are on this machine; a training must not stop for a question."""
    with without_questions(), named_in(_THE_FEATURES, instead="--encoder in a later predict"):
        return _open(entry)


def _refuse_changed(encoder: Encoder, features: Mapping[str, Any], place: int, count: int) -> None:
    """Raise WeightsError if the file is no longer the one that made the features."""
    theirs = features if count == 1 else features["encoders"][place]
    mine = encoder.facts.get("weights_sha256")
    if mine != theirs.get("weights_sha256"):
        raise WeightsError(f"{encoder.reference} has changed since it made the features")


def _refuse_damaged(folder: Path) -> None:
    """Raise WeightsError if a kept file is not as the training wrote it."""
    for held in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            fault = safe_sums.fault_of(held)
        except OSError as error:
            fault = f"cannot be read: {error.strerror}"
        if fault:
            raise WeightsError(
                f"{held}: {fault}; copy the run again, or name what makes the features: --encoder"
            )


def _kept_entries(weights: Path) -> tuple[list[dict[str, Any]], Path] | None:
    run = run_folder_of(weights)
    path = None if run is None else run / KEPT / _ABOUT
    if path is None or not path.is_file():
        return None
    _refuse_damaged(path.parent)
    try:
        about: Any = parse_json(path.read_text(encoding="utf-8"))
        entries = [dict(entry) for entry in about["encoders"]]
        if about["format"] != _KEPT_FORMAT or not all("encoder" in one for one in entries):
            raise ValueError("other content")
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise WeightsError(f"{path}: not what a training writes: {error}") from None
    for entry in entries:
        file = entry.get("file")
        if file is not None and not (path.parent / str(file)).resolve().is_relative_to(
            path.parent.resolve()
        ):
            raise WeightsError(f"{path}: names a file outside its folder: {file}")
    return entries, path.parent


def kept_files(run: Path) -> list[tuple[dict[str, Any], Path | None]]:
    """What makes the features of a run: how each encoder is opened, and its file if the run has it.

    Raises:
        WeightsError: The folder of the encoder is damaged.
    """
    entries, folder = _kept_entries(run / "best.safetensors") or ([], None)
    return [
        (entry, folder / str(entry["file"]) if folder is not None and entry.get("file") else None)
        for entry in entries
    ]


def extractor_for(
    trained: Trained,
    choice: EncoderChoice,
    accelerator: Accelerator,
    say: Callable[[str], None] = lambda _line: None,
) -> Extractor:
    """What makes features of new videos as those that a model learnt from were made.

    Args:
        trained: The model.
        choice: Encoders named by the user; by default those that the run keeps, or where its
            features say they are.
        accelerator: Where to compute.
        say: Told what cannot be checked.

    Raises:
        UsageError: Options of an encoder without an encoder.
        WeightsError: The encoder is not known, or cannot be found.
        DataError: It is not the one that the model learnt with; the message names what differs.
    """
    learnt = visual_features(trained.features)
    facts = learnt or {}
    options = encoder_options(choice.layer, choice.pooling, choice.precision)
    title = trained.config.spec.title
    if choice.encoders:
        if "layer" not in options and facts.get("layer") == "class scores":
            options["layer"] = "scores"
        encoders = [open_encoder(text, options) for text in choice.encoders]
    elif options:
        flags = " and ".join(map(_flag_of, options))
        raise UsageError(
            f"only with --encoder: {flags}; without it, features are made as those that {title} "
            "learnt from"
        )
    else:
        kept = _kept_entries(trained.path)
        entries, folder = kept or (_entries_of(learnt), None)
        if not entries:
            raise WeightsError(
                f"{trained.path}: {title} reads features, and its weights do not say what makes "
                f"them; {ADVICE}, or give features"
            )
        try:
            instead, is_of_run = _as_flags(entries), trained.config.is_of_run
            with named_in(str(trained.path), instead=instead, may_be_code=is_of_run):
                encoders = [_open(entry, folder) for entry in entries]
        except VideozooError as error:
            titles = facts.get("title", "the encoder")
            is_graph = exported_kind(trained.path) is not None
            back = "; or put the file back into its run, which keeps it" if is_graph else ""
            raise WeightsError(
                f"{trained.path}: {title} reads features by {titles}, which cannot be loaded: "
                f"{error}; tell where it is: --encoder{back}"
            ) from None
    rate = facts.get("rate") or trained.config.data.rate or DEFAULT_RATE
    seconds = None if "encoders" in facts else facts.get("window_seconds")
    extractor = Extractor(
        encoders,
        rate=rate if choice.rate is None else choice.rate,
        window_seconds=seconds if choice.window_seconds is None else choice.window_seconds,
        mirror=bool(facts.get(MIRROR)),
        accelerator=accelerator,
    )
    if learnt is None:
        say(
            f"note: {trained.path} does not say what made the features that it learnt from; "
            f"taking {extractor.title}, {extractor.rate:g} vectors per second"
        )
    else:
        given = {
            "--encoder": bool(choice.encoders),
            "--rate": choice.rate,
            "--window-seconds": choice.window_seconds,
            **{_flag_of(key): True for key in options},
        }
        flags = ", ".join(flag for flag, value in given.items() if value not in (None, False))
        refuse_other_features(
            extractor.facts,
            learnt,
            f"features by {extractor.title}",
            str(trained.path),
            advice=f"leave out {flags}: then they are made as in training"
            if flags
            else "what made them in training has changed since; name that: --encoder",
        )
    expected = _feature_dim(trained.config)
    if expected not in (None, extractor.dim):
        raise DataError(
            f"{extractor.title} gives vectors of {extractor.dim} numbers, but {title} in "
            f"{trained.path} reads {expected}; it learnt from another encoder: --encoder"
        )
    return extractor


def example_video(features: Mapping[str, Any] | None) -> Path | None:
    """A video that features were made of, if it and their encoders are still there."""
    features = visual_features(features)
    source = cast("Mapping[str, Any]", (features or {}).get(SOURCE) or {})
    video = source.get("video")
    if not video or not Path(video).exists() or not _entries_of(features):
        return None
    return Path(video)


def feature_dim_key(config: RunConfig) -> str:
    """The setting that tells how long the vectors are that a model reads."""
    task = config.spec.task
    if isinstance(task, MomentRetrieval):
        return "model.visual_dim"
    if isinstance(task, Tagging):
        return "model.streams"
    if isinstance(task, TwoStageLocalisation):
        return f"model.{task.first.part}.feature_dim"
    return "model.feature_dim"


def value_at(config: RunConfig, key: str) -> Any:
    """The value of a dotted key; None if there is no such key."""
    value: Any = config.as_dict()
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _feature_dim(config: RunConfig) -> int | None:
    """Length of the vectors that a model reads; None if several streams or no setting tell."""
    value = value_at(config, feature_dim_key(config))
    if isinstance(config.spec.task, MomentRetrieval):
        return value // 3 if isinstance(value, int) and not config.data.clips else None
    if isinstance(value, list):
        streams = cast("list[dict[str, Any]]", value)
        return int(streams[0]["dim"]) if len(streams) == 1 else None
    return value if isinstance(value, int) else None
