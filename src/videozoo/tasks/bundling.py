"""Write a bundle: a folder with a model, what makes its features, and all that its answers need.

`videozoo.runtime` runs it on onnxruntime alone. Graphs are those of `videozoo export`, compared
with the model before they are kept; `bundle.json` describes them, `SHA256SUMS` proves them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console

from videozoo import __version__, safe_sums
from videozoo.config import RunConfig
from videozoo.data.features.writer import STREAM
from videozoo.data.frames.views import eval_plan
from videozoo.data.frames.windows import WindowPlan
from videozoo.encoders.base import Encoder
from videozoo.encoders.onnx import OnnxEncoder, open_onnx_encoder
from videozoo.errors import RunError, UsageError, counted
from videozoo.runtime.description import FORMAT, NAME, VERSION
from videozoo.runtime.model import load
from videozoo.runtime.moments import HASHED
from videozoo.tasks.captioning.scoring import trained_vocabulary
from videozoo.tasks.classification.along import window_seconds_of
from videozoo.tasks.clip_views import clip_shape, has_several_classes, with_views
from videozoo.tasks.common import names_of_classes, speaker, without_absent_names, write_json
from videozoo.tasks.encoder_export import export_encoder
from videozoo.tasks.exporting import beside, one_process, stem_of
from videozoo.tasks.extractor import MIRROR
from videozoo.tasks.kept_encoder import extractor_for
from videozoo.tasks.loading import Trained, config_for_weights
from videozoo.tasks.localisation.prediction import class_names
from videozoo.tasks.localisation.sources import num_classes
from videozoo.tasks.moments.presence import least_score_of
from videozoo.tasks.requests import EncoderChoice, ExportRequest
from videozoo.tasks.run import export_trained
from videozoo.tasks.tagging.scoring import one_class_each
from videozoo.weights.exported import (
    Description,
    exported_kind,
    read_description,
    second_path,
    step_file,
)

SUFFIX = ".bundle"
_MODEL = "model.onnx"
Say = Callable[[str], None]


def export_bundle(request: ExportRequest, *, console: Console | None = None) -> Path:
    """Write a bundle.

    Returns:
        Its folder.

    Raises:
        UsageError: A flag is for single files.
        RunError: The folder exists; or a bundle cannot hold a part of this model.
        VideozooError: As `tasks.run.export`.
    """
    for flag, is_given in (
        ("--features", request.features),
        ("--format", request.format is not None),
    ):
        if is_given:
            raise UsageError(f"{flag} is for single files; leave it out with --bundle")
    accelerator = one_process()
    say = speaker(console or Console(), accelerator)
    trained = config_for_weights(request.source, request.weights)
    config = without_absent_names(trained.config)
    task = config.spec.task.name
    describe = _PARTS.get(task)
    if describe is None or exported_kind(trained.path) is not None:
        raise RunError(
            f"{trained.path}: exported already; a bundle is made of the weights of a run"
            if describe is not None
            else f"{config.spec.title}: bundles do not hold models of this kind; `videozoo export` "
            "without --bundle writes the model alone"
        )
    if request.encoder is not None and task == "classification":
        raise UsageError(f"--encoder: {config.spec.title} reads videos itself; leave it out")
    folder = request.output or beside(trained.path, f"{stem_of(trained.path)}{SUFFIX}")
    _refuse_other(folder, request)
    with folder_written_aside(folder) as aside:
        path = aside / _MODEL
        single = replace(request, encoder=None, output=path)
        export_trained(trained, single, console=Console(file=StringIO()))
        about = read_description(path)
        found: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "videozoo": __version__,
            "model": config.name,
            "title": config.spec.title,
            "task": task,
            "weights": about.source,
            "check": about.check,
            **describe(trained, config, about, aside),
        }
        if task != "classification":
            found["features"] = _features(trained, request, accelerator, aside, say)
        write_json(aside / NAME, found)
        safe_sums.keep(aside, sorted(each for each in aside.rglob("*") if each.is_file()))
        load(aside)  # does it open?
        files = [each for each in aside.rglob("*") if each.is_file()]
        size = sum(each.stat().st_size for each in files) / 1e6
    say(f"written: {folder} ({counted(len(files), 'file')}, {size:.1f} MB)")
    if about.check is None:
        say("not compared with the model (--no-check)")
    else:
        largest, inputs = about.check["largest_difference"], about.check.get("inputs")
        say(f"largest difference of an answer: {largest:.2g}" + (f", on {inputs}" * bool(inputs)))
    say(f"use it, with torch or without: python -m videozoo.runtime {folder} VIDEO")
    return folder


# --- what a bundle says of its parts -------------------------------------------------------------


def _clips(trained: Trained, config: RunConfig, about: Description, _aside: Path) -> dict[str, Any]:
    views = config.predict
    config = with_views(config, views)
    plan = eval_plan(clip_shape(config), config.data, views)
    along = None
    if views.every_seconds is not None:
        along = {
            "every_seconds": views.every_seconds,
            "window_seconds": window_seconds_of(trained, config),
            "smooth_windows": views.smooth_windows,
        }
    return {
        "class_names": about.class_names or names_of_classes(trained, config),
        "clips": {
            "file": _MODEL,
            "views": {
                "sampling": plan.sampling,
                "num_steps": plan.num_steps,
                "frames_per_step": plan.frames_per_step,
                "frame_stride": plan.frame_stride,
                "num_clips": plan.num_clips,
                "num_crops": plan.num_crops,
                "short_side": plan.short_side,
                "crop_size": plan.crop_size,
                "resize": plan.resize,
                "resize_with": plan.resize_with,
            },
            "along": along,
            "several": has_several_classes(config),
            "least_score": views.least_score,
            "top_k": views.top_k,
            "batch_size": views.batch_size,
        },
    }


def _tags(trained: Trained, config: RunConfig, about: Description, _aside: Path) -> dict[str, Any]:
    data, tags = config.data, about.tags
    assert tags is not None  # as the description was checked
    streams = [stream.name for stream in tags.streams]
    if streams != [STREAM]:
        raise RunError(
            f"{config.spec.title} reads {' and '.join(streams)}; a bundle turns videos into one "
            f"sequence of vectors, called {STREAM}"
        )
    if data.segments:
        raise RunError("data.segments: bundles answer for whole videos; --set data.segments=false")
    if data.eval_frames == "random" and tags.num_frames is not None:
        raise RunError(
            "data.eval_frames is random: answers would depend on the order of the videos; "
            "--set data.eval_frames=middle"
        )
    return {
        "class_names": about.class_names or names_of_classes(trained, config),
        "tags": {
            "file": _MODEL,
            "stream": STREAM,
            "num_frames": tags.num_frames,
            "max_frames": data.max_frames,
            "one_class": one_class_each(config),
            "top_k": config.predict.top_k,
        },
    }


def _segments(
    trained: Trained, config: RunConfig, about: Description, aside: Path
) -> dict[str, Any]:
    data, views, segments = config.data, config.predict, about.segments
    assert segments is not None  # as the description was checked
    if views.labels is not None and num_classes(config) is None:
        raise RunError(
            "predict.labels: bundles hold nothing that names proposals; --set predict.labels=null"
        )
    decoding = segments.decoding
    second = second_path(aside / _MODEL, segments.second).name if segments.second else None
    names = class_names(trained, config, None) if num_classes(config) is not None else ()
    return {
        "class_names": list(names),
        "segments": {
            "file": _MODEL,
            "second": second,
            "outputs": list(segments.outputs),
            "form": decoding.form,
            "num_steps": decoding.num_steps,
            "strides": list(decoding.strides),
            "proposals": decoding.proposals.model_dump(mode="json"),
            "resize": data.resize,
            "window_seconds": data.window_seconds,
            "stride_seconds": data.stride_seconds,
            "max_segments": views.max_segments,
            "soft_nms": views.soft_nms.model_dump(mode="json"),
            "class_nms": views.class_nms.model_dump(mode="json"),
            "result_form": views.result_form,
        },
    }


def _captions(
    trained: Trained, config: RunConfig, about: Description, aside: Path
) -> dict[str, Any]:
    views = config.predict
    return {
        "class_names": [],
        "captions": {
            "file": _MODEL,
            "step": step_file(aside / _MODEL).name,
            "vocabulary": about.vocabulary or list(trained_vocabulary(trained).words),
            "beam_size": views.beam_size,
            "max_length": views.max_length,
            "top_k": views.top_k,
            "drop_last_word_as_in_2019": views.drop_last_word_as_in_2019,
        },
    }


def _moments(
    trained: Trained, config: RunConfig, _about: Description, _aside: Path
) -> dict[str, Any]:
    data, views = config.data, config.predict
    if data.sentences.encoder != HASHED:
        raise RunError(
            f"data.sentences.encoder is {data.sentences.encoder}: bundles hold the built-in "
            f"encoder of sentences alone, {HASHED}"
        )
    if (data.test_clips or data.clips) is not None:
        raise RunError(f"{config.spec.title} reads files of clips (data.clips), and no videos")
    return {
        "class_names": [],
        "moments": {
            "file": _MODEL,
            "sentences": HASHED,
            "sentence_dim": config.model.sentence_dim,
            "windows": data.windows.model_dump(mode="json"),
            "top_k": views.top_k,
            "nms_limit": views.nms_limit,
            "least_score": least_score_of(views.least_score, trained.measured),
        },
    }


_PARTS: dict[str, Callable[[Trained, RunConfig, Description, Path], dict[str, Any]]] = {
    "classification": _clips,
    "tagging": _tags,
    "localisation": _segments,
    "two_stage_localisation": _segments,
    "captioning": _captions,
    "moments": _moments,
}


# --- what makes the features ---------------------------------------------------------------------


def _features(
    trained: Trained, request: ExportRequest, accelerator: Accelerator, aside: Path, say: Say
) -> dict[str, Any]:
    encoders = () if request.encoder is None else (request.encoder,)
    extractor = extractor_for(trained, EncoderChoice(encoders=encoders), accelerator, say)
    return {
        "rate": extractor.rate,
        "mirror": bool(extractor.facts.get(MIRROR)),
        "batch_size": extractor.batch_size,
        "encoders": [
            _encoder(encoder, plan, aside / f"encoder{number}.onnx", request, say)
            for number, (encoder, plan) in enumerate(
                zip(extractor.encoders, extractor.plans, strict=True)
            )
        ],
    }


def _encoder(
    encoder: Encoder, plan: WindowPlan, path: Path, request: ExportRequest, say: Say
) -> dict[str, Any]:
    """Put an encoder into the bundle: an ONNX file as it is, others exported."""
    if isinstance(encoder, OnnxEncoder):
        about = encoder.about
        shutil.copyfile(encoder.files[0], path)
    else:
        if encoder.precision != "fp32":
            say(
                f"note: {encoder.title} computes in {encoder.precision} in the run, and in fp32 in "
                "the bundle: scores differ a little"
            )
        export_encoder(encoder, path, check=request.check)
        about = open_onnx_encoder(str(path)).about
    return {
        "file": path.name,
        "title": about.title,
        "input": about.input,
        "layout": about.layout,
        "output": about.output,
        "pooling": about.pooling,
        "dim": about.dim,
        "colours": about.colours,
        "normalises": about.mean is not None,
        "preparation": about.preparation.facts,
        "num_steps": plan.num_steps,
        "frames_per_step": plan.frames_per_step,
        "window_seconds": plan.window_seconds,
        "frame_stride": plan.frame_stride,
    }


# --- the folder ----------------------------------------------------------------------------------


def _refuse_other(folder: Path, request: ExportRequest) -> None:
    """Raise RunError if the folder may not be replaced: only bundles are."""
    if not folder.exists():
        return
    if not request.overwrite:
        raise RunError(
            f"{folder}: exists; pass --overwrite to replace it, or another --output FOLDER"
        )
    if folder.is_symlink() or not (folder / NAME).is_file():
        raise RunError(f"{folder}: exists and is no bundle; name another --output FOLDER")


@contextmanager
def folder_written_aside(folder: Path) -> Generator[Path]:
    """Write a folder beside its place; it gets its name when it is whole.

    Raises:
        RunError: The disk refuses.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        inside = aside / folder.name
        inside.mkdir()
        yield inside
        _put(inside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put(new: Path, folder: Path) -> None:
    """Give a folder its name; what had the name comes back if that fails."""
    before = new.parent / "before"
    try:
        if folder.exists():
            folder.rename(before)
        new.rename(folder)
    except BaseException as error:
        if before.exists() and not folder.exists():
            before.rename(folder)
        if isinstance(error, OSError):
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
        raise
