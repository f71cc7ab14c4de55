"""The card of a run, `README.md`: what the model does, how to use it, what was measured, limits.

Every number is one that the run holds. What it does not hold is said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from videozoo import __version__
from videozoo.commands import quoted
from videozoo.data.features.records import SOURCE
from videozoo.engine.progress import metric
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import RunError, counted
from videozoo.metrics.certainty import wilson_interval
from videozoo.models import is_from_outside, model_summary
from videozoo.report.tables import title_of
from videozoo.safe_json import parse_json
from videozoo.safe_names import shown
from videozoo.settings.moments import GIVEN, HASHED, TRAINED
from videozoo.tasks.kept_encoder import kept_files, visual_features
from videozoo.tasks.loading import Trained
from videozoo.tasks.measured import Lengths
from videozoo.tasks.requests import CardRequest
from videozoo.types import (
    Captioning,
    Classification,
    Localisation,
    MomentRetrieval,
    ProposalScoring,
    Tagging,
)
from videozoo.weights.files import sha256_of

NOT_STATED = "not stated"
LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-2.0", "gpl-3.0", "lgpl-3.0"),
    *("agpl-3.0", "mpl-2.0", "isc", "unlicense", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "openrail"),
)
"""Licences that the hub knows by these names; any other is `other` there, with its name beside."""
_MOST_NAMES, _MOST_ROWS = 60, 20
_PRESENCE = "presence"
"""Key of how well a moment model tells what is not in a video."""
_TITLES = {"mean_tiou": "mean tIoU", "recall_1": "R@1, tIoU 0.5", "recall_5": "R@5, tIoU 0.5"}
_HUB_METRICS = {
    "top1": "accuracy",
    "bleu_1": "bleu",
    "bleu_2": "bleu",
    "bleu_3": "bleu",
    "bleu_4": "bleu",
    "rouge_l": "rouge",
    "meteor": "meteor",
}
"""Our metrics that have a name on the hub; the others keep ours."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run folder tells of its model."""

    trained: Trained
    facts: Mapping[str, Any]
    """Epoch, step and validation metrics of the weights, as stored with them."""
    videozoo: str
    """The version that wrote the weights."""
    start: Mapping[str, Any]
    """`start.json`; empty if there is none."""
    epochs: int | None
    """Epochs that were trained, if the run tells."""
    last: Mapping[str, Any]
    """The last line of `metrics.jsonl` of an epoch; of a model that is solved, its only one."""
    evaluation: Mapping[str, Any] | None
    """`eval.json` of these very weights."""
    notes: tuple[str, ...] = ()
    """What of the run was not taken, and why."""
    encoders: tuple[Mapping[str, Any], ...] = ()
    """What makes the features: entries with `title`, `encoder`, and `file` if the run keeps it."""


def read_facts(run: Path, trained: Trained, metadata: Mapping[str, Any]) -> RunFacts:
    """Read what a card tells.

    Args:
        run: The run folder.
        trained: Its weights.
        metadata: The description in them.
    """
    folder = RunFolder(run)
    first = RunFolder(run / "first")
    start = folder.read_start() or first.read_start() or {}
    lines = [line for line in folder.read_metrics() if line.get("kind") == "epoch"]
    epochs = max(
        (line["epoch"] for line in lines if isinstance(line.get("epoch"), int)), default=None
    )
    evaluation, notes = _evaluation(run, trained.path)
    return RunFacts(
        trained=trained,
        facts=cast("Mapping[str, Any]", metadata.get("facts") or {}),
        videozoo=str(metadata.get("videozoo") or "unknown"),
        start=start,
        epochs=epochs,
        last=lines[-1] if lines else {},
        evaluation=evaluation,
        notes=tuple(notes),
        encoders=_encoders(run, trained),
    )


def _evaluation(run: Path, weights: Path) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The newest evaluation of these weights, and a line per one of others."""
    found: list[tuple[float, Mapping[str, Any]]] = []
    notes: list[str] = []
    for path in (run / "eval" / "eval.json", run / "eval.json"):
        try:
            read = parse_json(path.read_bytes())
            when = path.stat().st_mtime
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            notes.append(f"{path} is left out: {error}")
            continue
        if not isinstance(read, dict) or not isinstance(read.get("metrics"), dict):
            notes.append(f"{path} is left out: not what `videozoo eval` writes")
        elif read.get("weights_sha256") != sha256_of(weights):
            notes.append(f"{path} is left out: it is of other weights than {weights.name}")
        else:
            found.append((when, cast("Mapping[str, Any]", read)))
    return max(found, key=lambda each: each[0])[1] if found else None, notes


def _encoders(run: Path, trained: Trained) -> tuple[Mapping[str, Any], ...]:
    if kept := kept_files(run):
        return tuple(entry for entry, _ in kept)
    features: Any = visual_features(trained.features) or {}
    source: Any = features.get(SOURCE) if isinstance(features, dict) else None
    entries: Any = source.get("encoders") if isinstance(source, dict) else None
    listed = cast("list[Any]", entries) if isinstance(entries, list) else []
    title = cast("dict[str, Any]", features).get("title", "?")
    return tuple({"title": title, **entry} for entry in listed if isinstance(entry, dict))


# --- the card ------------------------------------------------------------------------------------


def write_card(found: RunFacts, request: CardRequest) -> str:
    """The text of the card, Markdown with the metadata of the hub at its top.

    Raises:
        RunError: Files of the run hold what videozoo does not write there.
    """
    try:
        lines = [*_front_matter(found, request), "", *_body(found, request)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"{request.run}: its card cannot be written: start.json, metrics.jsonl, eval.json or "
            f"the description in its weights holds what videozoo does not write there ({error!r})"
        ) from None
    return "\n".join(lines).rstrip() + "\n"


def _front_matter(found: RunFacts, request: CardRequest) -> Iterator[str]:
    about: dict[str, Any] = {"library_name": "videozoo"}
    licence = request.licence
    if licence is not None and licence.lower() in LICENCES:
        about["license"] = licence.lower()
    elif licence is not None:
        about["license"] = "other"
        about["license_name"] = re.sub(r"[^a-z0-9.-]+", "-", licence.lower()).strip("-") or "other"
    if isinstance(found.trained.config.spec.task, Classification):
        about["pipeline_tag"] = "video-classification"
    about["tags"] = _tags(found)
    measured = _measured(found)
    if measured:
        name = (request.name or found.trained.config.name).rpartition("/")[2]
        about["model-index"] = [{"name": name, "results": [_result(found, request, measured)]}]
    yield "---"
    yield yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=90).rstrip()
    yield "---"


def _tags(found: RunFacts) -> list[str]:
    task = found.trained.config.spec.task
    own = {
        Classification: ["action-recognition"],
        Tagging: ["video-tagging"],
        Captioning: ["video-captioning"],
        MomentRetrieval: ["moment-retrieval"],
    }
    is_localiser = isinstance(task, Localisation | ProposalScoring)
    named = ["temporal-action-localization"] if is_localiser else own[type(task)]
    config = found.trained.config
    model = [] if is_from_outside(config.name) else [config.name]
    return ["videozoo", "video", *named, *model]


def _measured(found: RunFacts) -> dict[str, float]:
    """The figures of the evaluation, in the order of `videozoo eval`."""
    if found.evaluation is None:
        return {}
    numbers: dict[str, float] = {}
    for row in cast("list[dict[str, Any]]", found.evaluation.get("recall") or []):
        numbers[f"recall_at_{row['n']}_tiou_{row['tiou']:g}"] = row["share"]
    for key, value in cast("dict[str, Any]", found.evaluation["metrics"]).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and value == value and not key.startswith("view_"):
            numbers[key] = float(value)
    return numbers


def _result(found: RunFacts, request: CardRequest, measured: Mapping[str, float]) -> dict[str, Any]:
    task = found.trained.config.spec.task
    kind = "video-classification" if isinstance(task, Classification) else _tags(found)[2]
    return {
        "task": {"type": kind},
        "dataset": {
            "type": "unspecified",
            "name": f"{request.data_name or 'data not named'} ({_counted_evaluation(found)})",
        },
        "metrics": [
            {"type": _HUB_METRICS.get(key, key), "name": _title(key), "value": round(value, 5)}
            for key, value in measured.items()
            if "loss" not in key
        ],
    }


def _title(key: str) -> str:
    """A metric as people write it.

    >>> _title("recall_at_1_tiou_0.5"), _title("top1")
    ('R@1, tIoU 0.5', 'top-1 accuracy')
    """
    found = re.fullmatch(r"recall_at_(\d+)_tiou_([\d.]+)", key)
    if found:
        return f"R@{found[1]}, tIoU {found[2]}"
    return _TITLES.get(key) or title_of(key)


def _counted_evaluation(found: RunFacts) -> str:
    facts = found.evaluation or {}
    parts = [
        counted(facts[key], noun)
        for key, noun in (("videos", "video"), ("events", "event"), ("sentences", "sentence"))
        if isinstance(facts.get(key), int)
    ]
    return ", ".join(parts) or "number unknown"


def _body(found: RunFacts, request: CardRequest) -> Iterator[str]:
    config = found.trained.config
    title, names = config.spec.title, found.trained.class_names
    name = (request.name or "").rpartition("/")[2]
    yield f"# {_plain(name) or title}"
    yield ""
    yield _what(found)
    yield ""
    if not is_from_outside(config.name):
        yield f"{model_summary(config.name)} Trained and written by videozoo {found.videozoo}."
    else:
        file = _code(Path(config.name).name)
        yield f"Its network is a Python file that is not part of this: `{file}`."
    yield from _section("How to use it", _usage(found, request))
    if names:
        yield from _section("Classes", _classes(names))
    elif found.trained.vocabulary:
        yield from _section("Words", _words(found.trained.vocabulary))
    yield from _section("What it reads", _input(found))
    yield from _section("Data", _data(found, request))
    yield from _section("Measured", _figures(found, request))
    yield from _section("Training", _training(found))
    yield from _section("Limits", _limits(found))
    yield from _section("Licence", _licence(found, request))
    yield ""
    yield f"*This card was generated by videozoo {__version__} from the files of the run.*"


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield from lines


def _what(found: RunFacts) -> str:
    config, names = found.trained.config, found.trained.class_names
    task, title = config.spec.task, config.spec.title
    several = getattr(config.train, "loss", None) == "sigmoid"
    classes = counted(len(names), "class") if names else "its classes (their names are not stored)"
    if isinstance(task, Classification):
        how = "each class with a score of its own" if several else "one class per clip"
        return f"{title} tells which of {classes} a video clip shows: {how}."
    if isinstance(task, Tagging):
        how = "each with a score of its own" if several else "one per video"
        return f"{title} tells which of {classes} a whole video shows: {how}."
    if isinstance(task, ProposalScoring):
        return f"{title} scores stretches of a video that another network proposes."
    if isinstance(task, Localisation):
        if names:
            return f"{title} finds when something happens in a long video, and which of {classes}."
        return (
            f"{title} finds when something happens in a long video: segments with a score, without "
            "the name of a class."
        )
    if isinstance(task, Captioning):
        words = len(found.trained.vocabulary or ())
        return f"{title} describes a video, or parts of it, in sentences of {words:,} known words."
    return f"{title} finds the moment of a video that a sentence describes."


def _usage(found: RunFacts, request: CardRequest) -> Iterator[str]:
    config = found.trained.config
    task, where = config.spec.task, request.name or "."
    flags, remarks = _flags(found)
    reads_features = not isinstance(task, Classification) and not found.encoders
    sample = "FEATURES" if reads_features else "video.mp4"
    what = "a folder or file of features made as below" if reads_features else "a video of yours"
    searches = isinstance(task, MomentRetrieval)
    asks = ' --sentence "a person opens a door"' if searches else ""
    yield f"With videozoo installed, and `{sample}` {what}:"
    yield ""
    yield "```bash"
    yield f"videozoo predict --weights {where}{flags}{asks} {sample}"
    if searches and not flags and not reads_features:
        yield f"videozoo serve --weights {where}      # a page with a search box"
    elif not searches and not reads_features:
        yield f"videozoo predict --page --weights {where}{flags} {sample}      # a page to look at"
    yield "```"
    if request.name is None:
        remarks = ["Run these in the folder of this file (`.` is that folder).", *remarks]
    for remark in remarks:
        yield ""
        yield remark
    if flags or reads_features:
        return
    asked = ', ["a person opens a door"]' if searches else ""
    yield ""
    yield "The same in Python:"
    yield ""
    yield "```python"
    yield "import videozoo"
    yield ""
    yield f'model = videozoo.load("{where}")'
    yield f'for result in model.predict("video.mp4"{asked}):'
    yield "    print(result)"
    yield "```"


def _flags(found: RunFacts) -> tuple[str, list[str]]:
    """What a command needs to name besides the weights, and remarks on it and on others."""
    config, flags, remarks = found.trained.config, "", list[str]()
    if is_from_outside(config.name):
        file = Path(config.name).name
        flags += f" --model {quoted(file)}"
        remarks.append(f"`{_code(file)}` is the Python file of its network; ask the owner for it.")
    if any(map(_is_missing, found.encoders)):
        flags += " --encoder ENCODER" * len(found.encoders)  # they replace all
        titles = ", ".join(f"`{_code(str(each.get('title', '?')))}`" for each in found.encoders)
        remarks.append(
            f"`ENCODER`: what made the features it learnt from ({titles}, in this order)."
        )
    elif any(_is_of_the_hub(each) for each in found.encoders):
        flags += " --allow-downloads"
        remarks.append("`--allow-downloads` lets it fetch the encoder that is named below.")
    if isinstance(config.spec.task, MomentRetrieval) and (more := _sentence_flags(found)):
        flags += more
        remarks.append(
            "`--set data.sentences` names what turns sentences into vectors: it is not part of "
            "this, and nothing fetches it unasked."
        )
    if isinstance(config.spec.task, Captioning):
        remarks.append(
            "A video is described as a whole; `--events FILE|RUN` names parts to describe, or a "
            "run that finds them."
        )
    if isinstance(config.spec.task, Localisation) and not found.trained.class_names:
        remarks.append(
            "`--labels RUN` names its segments: a run that classifies clips looks at each."
        )
    return flags, remarks


def _is_of_the_hub(entry: Mapping[str, Any]) -> bool:
    return "file" not in entry and str(entry.get("encoder", "")).startswith("hf://")


def _sentence_flags(found: RunFacts) -> str:
    """The flag that names what makes vectors of sentences, where only its user may."""
    encoder = str(found.trained.config.data.sentences.encoder)
    if encoder == HASHED:
        return ""
    if encoder == GIVEN:
        return " --set data.sentences.file=VECTORS"
    is_known = not Path(encoder.removeprefix(TRAINED)).expanduser().is_absolute()
    return f" --set data.sentences.encoder={quoted(encoder) if is_known else 'SENTENCE_ENCODER'}"


def _is_missing(entry: Mapping[str, Any]) -> bool:
    """Whether an encoder is neither in the run nor to be had by its name."""
    text = str(entry.get("encoder", ""))
    return "file" not in entry and not text.startswith("hf://") and ("/" in text or "." in text)


def _classes(names: Sequence[str]) -> Iterator[str]:
    listed = [_plain(name) for name in names[:_MOST_NAMES]]
    yield ", ".join(listed) + ("." if len(names) <= _MOST_NAMES else ", ...")
    if len(names) > _MOST_NAMES:
        yield ""
        yield f"These are the first {_MOST_NAMES} of {len(names):,}; `class_names.json` has all."


def _words(words: Sequence[str]) -> Iterator[str]:
    yield f"It can write {len(words):,} words and signs; `vocabulary.json` lists them."


def _input(found: RunFacts) -> Iterator[str]:
    config = found.trained.config
    if isinstance(config.spec.task, Classification):
        data, model = config.as_dict()["data"], config.as_dict()["model"]
        frames = model.get("num_segments") or model.get("num_frames")
        per = model.get("frames_per_segment") or 1
        if frames:
            each = f" of {per} neighbouring frames" if per > 1 else ""
            what = "stretches" if per > 1 else "frames"
            is_dense = bool(model.get("num_frames"))
            yield f"- {frames} {what}{each} per clip, " + (
                f"{data['frame_stride']} frames apart" if is_dense else "spread over it"
            )
            views = config.predict
            if views.num_clips > 1 or views.num_crops > 1:
                crops = counted(views.num_crops, "crop")
                yield f"- {counted(views.num_clips, 'clip')} per video, with {crops} each, averaged"
        yield (
            f"- shorter side scaled to {data['short_side']} pixels, then the middle "
            f"{data['crop_size']} x {data['crop_size']}"
        )
        yield _normalised(data)
        return
    features = visual_features(found.trained.features)
    if features is None:
        yield "Features of videos. The run does not say what made them."
    else:
        parts = cast("Sequence[Mapping[str, Any]]", features.get("encoders") or [features])
        for part in parts:
            yield from _encoder_lines(part)
        mirrored = (
            ", each the mean of a picture and its mirror image" if features.get("mirror") else ""
        )
        rate = features.get("rate")
        if rate:
            window = features.get("window_seconds")
            seen = f", each from {window:g} s of video" if window else ""
            yield f"- {rate:g} vectors per second{seen}{mirrored}"
    for entry in found.encoders:
        yield _where(entry)
    sentences = (found.trained.features or {}).get("sentences")
    if isinstance(sentences, dict):
        told = cast("dict[str, Any]", sentences)
        encoder = _code(str(told.get("encoder")))
        yield f"- sentences by the encoder `{encoder}`, {told.get('dim')} numbers each"


def _encoder_lines(part: Mapping[str, Any]) -> Iterator[str]:
    title, layer = _plain(str(part.get("title", "?"))), part.get("layer")
    yield f"- features by {title}" + (
        f" ({_plain(str(layer))}, {part['dim']} numbers)" if layer and "dim" in part else ""
    )
    side, crop = part.get("short_side"), part.get("crop_size")
    frames = part.get("frames_per_window")
    if frames and frames > 1:
        yield f"- {frames} frames per window"
    if side and crop:
        yield f"- shorter side scaled to {side} pixels, then the middle {crop} x {crop}"
    if part.get("mean") and part.get("std"):
        yield _normalised(part)


def _where(entry: Mapping[str, Any]) -> str:
    title = _plain(str(entry.get("title", "its encoder")))
    if "file" in entry:
        return f"- {title} is part of this, in `encoder/`"
    if _is_missing(entry):
        return f"- {title} is not part of this, and no address of it is known"
    text = _code(str(entry["encoder"]))
    where = "from the hub" if text.startswith("hf://") else "which videozoo knows by this name"
    return f"- {title} is not part of this: it is `{text}`, {where}, under a licence of its own"


def _normalised(facts: Mapping[str, Any]) -> str:
    mean, std = (", ".join(f"{float(value):g}" for value in facts[key]) for key in ("mean", "std"))
    return f"- RGB from 0 to 1, minus {mean}, divided by {std}"


def _data(found: RunFacts, request: CardRequest) -> Iterator[str]:
    if request.data_name:
        yield f"{_plain(request.data_name[:1].upper() + request.data_name[1:]).rstrip('.')}."
    else:
        yield "The owner of this model has not named its data."
    yield ""
    item = _item(found)
    train, held = found.start.get("num_train"), found.start.get("num_held_out")
    if isinstance(train, int):
        yield f"- learnt from {counted(train, item)}"
    else:
        yield "- how much it learnt from is not known"
    if isinstance(held, int) and _is_solved(found):
        yield f"- {counted(held, item)} were held out; it did not learn from them"
    elif isinstance(held, int):
        yield f"- the best epoch was chosen on {counted(held, item)} that it did not learn from"
    for key, what in (("clips", "training clips"), ("videos", "training videos")):
        lengths = Lengths.stored(found.trained.measured, key)
        if lengths is not None:
            yield (
                f"- {what} last {lengths.median_seconds:g} s (median) and at most "
                f"{lengths.max_seconds:g} s, by {lengths.measured:,} of them"
            )
    yield "- no video, list or annotation is part of this"


def _is_solved(found: RunFacts) -> bool:
    task = found.trained.config.spec.task
    return isinstance(task, Tagging) and task.is_solved


def _item(found: RunFacts) -> str:
    task = found.trained.config.spec.task
    if isinstance(task, Captioning):
        return "described event"
    return "sentence" if isinstance(task, MomentRetrieval) else "video"


def _figures(found: RunFacts, request: CardRequest) -> Iterator[str]:
    measured = _measured(found)
    if not measured:
        yield "These weights were not evaluated; `videozoo eval --weights RUN` would measure them."
        yield from _validation(found)
        return
    facts = found.evaluation or {}
    on = "the test part of its data" if not facts.get("data") else "data named for the evaluation"
    named = f" ({_plain(request.data_name)})" if request.data_name and not facts.get("data") else ""
    left_out = len(facts.get("skipped") or []) + len(facts.get("missing") or [])
    yield f"On {_counted_evaluation(found)}: {on}{named}, by `videozoo eval`."
    if left_out:
        yield f"{counted(left_out, 'video')} more could not be used."
    yield ""
    yield "| metric | value |"
    yield "|---|---|"
    for key, value in measured.items():
        is_mean = key == "map" and any(each.startswith("map@") for each in measured)
        title = "mAP, mean over these tIoU" if is_mean else _title(key)
        yield f"| {_cell(title)} | {metric(key, value)} |"
    if any(key.startswith("MR-") for key in measured):
        yield ""
        yield "MR are the measures of QVHighlights, over all moments (full) or the short ones."
    yield from _sure(facts)
    yield from _class_table(facts)
    yield from _validation(found)


def _sure(facts: Mapping[str, Any]) -> Iterator[str]:
    share, total = facts["metrics"].get("top1"), facts.get("videos")
    counts = _class_counts(facts)
    if not isinstance(share, float) or not isinstance(total, int) or total < 1 or not counts:
        return
    low, high = wilson_interval(share, total)
    chance = max(counts) / max(1, sum(counts))
    yield ""
    yield (
        f"Top-1 accuracy on so many videos: 95 % interval {100 * low:.1f} to {100 * high:.1f} %. "
        f"{_chance(chance)}"
    )


def _class_table(facts: Mapping[str, Any]) -> Iterator[str]:
    rows = cast("list[dict[str, Any]]", facts.get("classes") or [])
    if not rows or len(rows) > _MOST_ROWS:
        return
    is_ap = "ap" in rows[0]
    yield ""
    yield f"| class | videos | {'average precision' if is_ap else 'right'} |"
    yield "|---|---|---|"
    for row in rows:
        value = row.get("ap") if is_ap else row["right"] / row["videos"] if row["videos"] else None
        text = "-" if value is None else f"{100 * value:.1f} %"
        yield f"| {_cell(row['class'])} | {row['videos']} | {text} |"


def _validation(found: RunFacts) -> Iterator[str]:
    numbers = {
        key: value
        for key, value in found.facts.items()
        if isinstance(value, float) and key not in ("epoch", "step", _PRESENCE)
    }
    held = found.start.get("num_held_out")
    if _is_solved(found):
        yield from _solved(found)
        return
    if not numbers or not isinstance(held, int):
        return
    listed = ", ".join(f"{_title(key)} {metric(key, value)}" for key, value in numbers.items())
    yield ""
    of = counted(held, _item(found))
    yield f"On the {of} by which the epoch was chosen (figures there lean to the good): {listed}."


def _solved(found: RunFacts) -> Iterator[str]:
    """Figures of a model that is solved: by cross-validation, and on what was held out."""
    line = found.last
    count, folds, chance = (line.get(key) for key in ("cv_videos", "cv_folds", "cv_chance"))
    value, interval = line.get("cv_value"), line.get("cv_interval")
    if isinstance(count, int) and isinstance(value, float):
        yield ""
        yield (
            f"By cross-validation on the {counted(count, 'video')} it learnt from ({folds} folds): "
            f"{_title(str(line.get('cv_metric')))} {100 * value:.2f} %{_between(interval)}."
            + (f" {_chance(chance)}" if isinstance(chance, float) else "")
        )
    held = found.start.get("num_held_out")
    numbers = {
        key.removeprefix("valid_"): number
        for key, number in line.items()
        if key.startswith("valid_") and isinstance(number, float)
    }
    if isinstance(held, int) and numbers:
        listed = [f"{_title(key)} {metric(key, number)}" for key, number in numbers.items()]
        if "top1" in numbers:
            listed[0] += _between(wilson_interval(numbers["top1"], held))
        yield ""
        yield f"On the {counted(held, 'video')} that were held out: {', '.join(listed)}."


def _between(interval: Any) -> str:
    if not isinstance(interval, list | tuple):
        return ""
    low, high = cast("Sequence[float]", interval)
    return f" (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"


def _chance(share: float) -> str:
    return f"Always naming the most frequent class would be right in {100 * share:.1f} %."


def _is_near_chance(found: RunFacts) -> bool:
    """Whether the interval of a measured top-1 accuracy reaches down to chance."""
    held, line = found.start.get("num_held_out"), found.last
    share, chance = line.get("valid_top1"), line.get("cv_chance")
    if isinstance(held, int) and isinstance(share, float) and isinstance(chance, float):
        return wilson_interval(share, held)[0] <= chance
    facts = found.evaluation or {"metrics": {}}
    share, total = facts["metrics"].get("top1"), facts.get("videos")
    counts = _class_counts(facts)
    if not isinstance(share, float) or not isinstance(total, int) or total < 1 or not counts:
        return False
    return wilson_interval(share, total)[0] <= max(counts) / max(1, sum(counts))


def _class_counts(facts: Mapping[str, Any]) -> list[int]:
    return [row["videos"] for row in facts.get("classes") or () if "videos" in row]


def _training(found: RunFacts) -> Iterator[str]:
    train = found.trained.config.train
    if _is_solved(found):
        yield "- solved at once from all training videos (no epochs)"
    else:
        done = found.epochs or found.facts.get("epoch")
        planned = train.epochs
        if isinstance(done, int) and found.epochs is not None:
            short = f" of {planned} that were planned" if done < planned else ""
            taken = found.facts.get("epoch", "?")
            yield f"- {counted(done, 'epoch')}{short}; these weights are those after epoch {taken}"
        yield (
            f"- {train.optimizer}, learning rate {train.learning_rate:g} ({train.schedule}), "
            f"batches of {train.batch_size}, weight decay {train.weight_decay:g}, "
            f"{train.precision}, seed {train.seed}"
        )
    yield "- `config.yaml` has all settings, without the paths of the machine that trained"


def _limits(found: RunFacts) -> Iterator[str]:
    config, facts = found.trained.config, found.evaluation
    task = config.spec.task
    several = getattr(config.train, "loss", None) == "sigmoid"
    if isinstance(task, Classification | Tagging) and not several:
        yield "- It always names one of its classes, also for a video that shows none of them."
    if isinstance(task, Classification | Tagging) and several:
        yield "- Scores are not probabilities: choose from which score on a class counts as seen."
    if isinstance(task, Localisation):
        yield "- Segments are ranked by score; many low ones are wrong. Choose a score to cut at."
    if isinstance(task, Captioning):
        yield "- It knows no other words than its own, and writes a sentence for any video."
    if isinstance(task, MomentRetrieval):
        yield from _presence(found)
    for key, what in (("clips", "Clips"), ("videos", "Videos")):
        lengths = Lengths.stored(found.trained.measured, key)
        if lengths is not None:
            longest = f"{lengths.max_seconds:g} s"
            along = "; `predict --every SECONDS` answers along a long video"
            along = along if isinstance(task, Classification) else ""
            yield f"- {what} much longer than {longest} are unlike those it learnt from{along}."
    if _is_near_chance(found):
        yield (
            "- NEAR CHANCE: the measured accuracy is not surely above that of always naming the "
            "most frequent class."
        )
    rows = cast("list[dict[str, Any]]", (facts or {}).get("classes") or [])
    worst = _worst(rows)
    if worst:
        yield f"- Its weakest class in the evaluation is {worst}."
    learnt = (facts or {}).get("videos_learnt_from")
    if isinstance(learnt, int) and learnt:
        of = counted(learnt, "video")
        yield f"- It also learnt from {of} of the evaluation: the figures are too good."
    if facts is None and not _is_solved(found):
        yield "- How well it does was not measured on videos that took no part in its making."
    yield (
        "- How it does on videos of other sources (cameras, places, people) than its own was not "
        "measured."
    )


def _presence(found: RunFacts) -> Iterator[str]:
    told = (found.evaluation or {}).get(_PRESENCE) or found.trained.measured.get(_PRESENCE)
    yield "- It names a best moment for any sentence, also for what is not in the video."
    if isinstance(told, dict) and isinstance(told.get("balanced_accuracy"), float):
        held = cast("dict[str, Any]", told)
        yield (
            f'- A score of {held["least_score"]:.3g} or more is taken for "it is there"; this was '
            f"right in {100 * held['balanced_accuracy']:.1f} % (mean over {held['present']} "
            f"sentences that are there and {held['absent']} that are not)."
        )


def _worst(rows: Sequence[Mapping[str, Any]]) -> str:
    shares: list[tuple[float, str, int]] = []
    for row in rows:
        if not row.get("videos"):
            continue
        value = row.get("ap") if "ap" in row else row["right"] / row["videos"]
        if isinstance(value, float):
            shares.append((value, str(row["class"]), row["videos"]))
    if len(shares) < 2:
        return ""
    share, name, count = min(shares)
    what = "average precision" if "ap" in rows[0] else "right"
    return f"`{_code(name)}`: {100 * share:.1f} % {what}, of {counted(count, 'video')}"


def _licence(found: RunFacts, request: CardRequest) -> Iterator[str]:
    if request.licence is None:
        yield (
            f"Licence: **{NOT_STATED}**. The owner has not said what others may do with these "
            "files; ask before you use them for more than a look."
        )
    else:
        yield f"Licence: **{_plain(request.licence)}**, as stated by the owner of these files."
    if any("file" not in each for each in found.encoders):
        yield ""
        yield "The encoder that is not part of this has a licence of its own."


def _plain(text: str) -> str:
    """Text of the run inside Markdown: it makes no link, picture, heading or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|!])", r"\\\1", shown(text))


def unescaped(card: str) -> str:
    """The text of a card without the marks of `_plain`, in which paths are looked for."""
    return re.sub(r"\\([\\`*_\[\]<>#|!])", r"\1", card)


def _code(text: str) -> str:
    """Text of the run between backticks."""
    return shown(text).replace("`", "'")


def _cell(text: str) -> str:
    return _plain(str(text))
