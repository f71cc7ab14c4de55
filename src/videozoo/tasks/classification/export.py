"""Write a trained clip model as one file: pixels in, scores out.

The graph normalises its input and ends in a softmax, or in sigmoids where a video may have several
classes; the batch can have any size. It is compared
with the model before the file is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.data.annotations.videos import ClipEntry, find_videos
from videozoo.data.clips import ViewDataset, has_entries, load_entries
from videozoo.data.frames.views import eval_plan
from videozoo.data.loader import EvalLoader
from videozoo.errors import DataError, RunError, WeightsError, counted
from videozoo.ops.folding import fold_batch_norms
from videozoo.ops.pixels import normalize
from videozoo.settings.clips import ClipData, ClipPredict
from videozoo.tasks.building import build
from videozoo.tasks.classification.scoring import ClipScorer, ModuleScorer, class_scores
from videozoo.tasks.clip_views import clip_shape, has_several_classes, with_views
from videozoo.tasks.common import configured_class_names, speaker, without_absent_names
from videozoo.tasks.exporting import (
    LARGEST_DIFFERENCE,
    MOST_ROWS,
    OPSET,
    description,
    export_target,
    forget_traces,
    one_process,
    onnx_model,
    tracing,
    write_onnx,
)
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.requests import ExportRequest
from videozoo.weights.exported import (
    INPUT,
    OUTPUT,
    PT2_KEY,
    Description,
    ExportedClips,
    Kind,
    describe,
    open_exported,
    read_description,
)
from videozoo.weights.onnx_graphs import need_packages
from videozoo.weights.pt2 import is_known
from videozoo.weights.whole_files import written_aside

_BATCH_SIZES = (1, 2, 3)  # batches of random clips to compare; the graph is traced with 2
_MOST_REAL = 3  # videos compared

Write = Callable[[Path, Description], None]


class ScoringGraph(nn.Module):
    """The exported module: normalising, the network, softmax or sigmoids."""

    def __init__(self, network: nn.Module, data: ClipData, *, several: bool = False) -> None:
        super().__init__()
        self.network, self.several = network, several
        self.mean, self.std = data.mean, data.std

    def forward(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, C, H, W) -> scores (N, num_classes); rows sum to 1, unless `several`."""
        logits = self.network(normalize(clips, self.mean, self.std))
        return class_scores(logits, several=self.several)


@dataclass(frozen=True)
class Comparison:
    """Differences between the scores of the graph and the model, over all clips and classes."""

    random: float
    """The largest difference on clips of random pixels."""
    real: float | None
    """The same on clips of videos; None without videos."""
    videos: tuple[str, ...] = ()
    """Names of these videos."""

    @property
    def largest(self) -> float:
        """The larger of the two; nan counts as infinite."""
        found = (self.random, self.real or 0.0)
        return float("inf") if any(map(np.isnan, found)) else max(found)


def export(trained: Trained, request: ExportRequest, *, console: Console | None = None) -> Path:
    """Write a trained model as an ONNX or `.pt2` file, compared with the model first.

    Returns:
        The file.

    Raises:
        WeightsError: The weights do not fit, or are exported already.
        RunError: A package is missing, the file exists, or its scores are not the model's.
        UsageError: The file suffix does not match the format.
        VideoError: `request.video` cannot be read.
    """
    kind, path = export_target(trained, request)
    if kind == "onnx":
        need_packages("onnx", "onnxscript", *(("onnxruntime",) if request.check else ()))
    accelerator = one_process()
    say = speaker(console or Console(), accelerator)
    config = without_absent_names(trained.config)
    config = with_views(config, config.predict)
    for note in (*config.notes, *_view_notes(config.predict)):
        say(f"note: {note}")
    about = _description(trained, config, kind)
    network = build_trained(trained, config).eval().requires_grad_(False)
    real = _real_clips(config, request.video, say) if request.check else None
    with written_aside(path) as aside:
        write = _writer(network, config, kind)
        write(aside, about)
        if request.check:
            found = _compare(
                aside,
                kind,
                ModuleScorer(network, config.data, accelerator, has_several_classes(config)),
                about,
                real,
            )
            _refuse_if_different(found, path)
            about = about.model_copy(update={"check": _check_facts(found, kind)})
            write(aside, about)
        if read_description(aside, kind) != about:
            raise WeightsError(f"{path}: its description does not come back as written")
    for line in _summary(path, about, request.video or _a_video(config) or "VIDEO"):
        say(line)
    return path


def _description(trained: Trained, config: RunConfig, kind: Kind) -> Description:
    names = trained.class_names or configured_class_names(config)
    shape = clip_shape(config)
    plan = eval_plan(shape, config.data, config.predict)
    return description(
        trained,
        config,
        names,
        clips=ExportedClips(
            num_steps=plan.num_steps,
            frames_per_step=plan.frames_per_step,
            crop_size=plan.crop_size,
            sampling=shape.sampling,
            frame_stride=plan.frame_stride,
            short_side=plan.short_side,
            resize=plan.resize,
            resize_with=plan.resize_with,
        ),
        opset=OPSET if kind == "onnx" else None,
    )


def _view_notes(views: ClipPredict) -> Iterator[str]:
    looks = views.num_clips * views.num_crops
    if looks > 1:
        yield (
            f"the graph scores one clip; the {counted(views.num_clips, 'clip')} x "
            f"{counted(views.num_crops, 'crop')} of "
            "a video are cut and averaged by `videozoo predict`"
        )


# --- the graph -------------------------------------------------------------------------------


def _writer(network: nn.Module, config: RunConfig, kind: Kind) -> Write:
    """Trace the model once; return a function that writes the file with a description."""
    program = trace(network, config)
    if kind == "torch-export":
        _refuse_unknown(program)
        return lambda path, about: _write_pt2(program, path, about)
    return _onnx_writer(program)


def trace(network: nn.Module, config: RunConfig) -> ExportedProgram:
    """Turn a network in evaluation mode into a graph from uint8 clips to scores.

    Args:
        network: Not changed.
        config: Says the shape of the clips.
    """
    folded = build(config)
    folded.load_state_dict(network.state_dict())
    folded.eval().requires_grad_(False)
    fold_batch_norms(folded)
    plan = eval_plan(clip_shape(config), config.data, config.predict)
    side = plan.crop_size
    # two clips: with one, PyTorch fixes the batch size at 1
    clips = torch.zeros(2, plan.num_steps, 3 * plan.frames_per_step, side, side, dtype=torch.uint8)
    batch = Dim("N", min=1, max=MOST_ROWS)
    with tracing():
        program = torch.export.export(
            ScoringGraph(folded, config.data, several=has_several_classes(config)).eval(),
            (clips,),
            dynamic_shapes={INPUT: {0: batch}},
        )
    return forget_traces(program)


def _refuse_unknown(program: ExportedProgram) -> None:
    """Raise RunError if our reader of `.pt2` files would refuse an operation of the graph."""
    for node in program.graph.nodes:
        name = f"torch.ops.{node.target}"
        if node.op == "call_function" and not is_known(name):
            raise RunError(
                f"the model uses {name}, which is not on the list of operations that .pt2 files "
                "may hold; pass --format onnx, and report it with the configuration"
            )


def _write_pt2(program: ExportedProgram, path: Path, about: Description) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={PT2_KEY: json.dumps(describe(about))})


def _onnx_writer(program: ExportedProgram) -> Write:
    proto = onnx_model(
        program, {INPUT: ("N",)}, {OUTPUT: ("N",)}, hint="; pass --format torch-export"
    )
    return lambda path, about: write_onnx(proto, path, about)


# --- the comparison --------------------------------------------------------------------------


def _compare(
    path: Path, kind: Kind, model: ClipScorer, about: Description, real: _RealClips | None
) -> Comparison:
    graph = open_exported(path, kind=kind)
    assert about.clips is not None
    generator = torch.Generator().manual_seed(0)
    random = [
        torch.randint(256, (size, *about.clips.shape), generator=generator, dtype=torch.uint8)
        for size in _BATCH_SIZES
    ]
    on_random = max(largest_difference(graph, model, clips) for clips in random)
    if real is None:
        return Comparison(on_random, None)
    on_real = largest_difference(graph, model, real.clips)
    return Comparison(on_random, on_real, real.names)


def largest_difference(graph: ClipScorer, model: ClipScorer, clips: Tensor) -> float:
    """Run both on the same clips, uint8 (N, T, C, H, W); the largest difference of a score."""
    got, expected = graph(clips), model(clips)
    if got.shape != expected.shape:
        return float("inf")
    return float(np.abs(got - expected).max())


def _refuse_if_different(found: Comparison, path: Path) -> None:
    if found.largest <= LARGEST_DIFFERENCE:
        return
    real = "" if found.real is None else f", {found.real:.2g} on videos"
    raise RunError(
        f"{path}: not written: its scores differ from the model's by {found.random:.2g} on random "
        f"clips{real}; allowed {LARGEST_DIFFERENCE:g}. Report it with the configuration; "
        "--no-check keeps the file all the same"
    )


def _check_facts(found: Comparison, kind: Kind) -> dict[str, Any]:
    runtime = "onnxruntime" if kind == "onnx" else "torch"
    return {
        "largest_difference": found.largest,
        "allowed": LARGEST_DIFFERENCE,
        "random_clips": sum(_BATCH_SIZES),
        "random_difference": found.random,
        "videos": list(found.videos),
        "video_difference": found.real,
        "runtime": f"{runtime} {version(runtime)}",
    }


@dataclass(frozen=True)
class _RealClips:
    clips: Tensor
    """uint8 (N, T, C, H, W)."""
    names: tuple[str, ...]


def _real_clips(
    config: RunConfig, video: Path | None, say: Callable[[str], None]
) -> _RealClips | None:
    """Cut one clip from each of a few videos: the named one, or the first of the configuration."""
    if video is not None:
        return _cut(config, find_videos(video)[:_MOST_REAL], skip_bad=False)
    why = "the configuration names none"
    try:
        if has_entries(config.data, "test"):
            entries = load_entries(
                config.data, "test", num_classes=config.model.num_classes, several="as listed"
            )
            first = {entry.path: entry for entry in reversed(entries)}
            return _cut(config, list(reversed(first.values()))[:_MOST_REAL], skip_bad=True)
    except DataError as error:
        why = str(error).partition("\n")[0]
    say(f"note: compared on random clips only, no videos at hand ({why}); --video FILE adds one")
    return None


def _cut(config: RunConfig, entries: Sequence[ClipEntry], *, skip_bad: bool) -> _RealClips:
    whole = [
        replace(entry, label=None, labels=None, clip_index=None, crop_index=None)
        for entry in entries
    ]
    views = config.predict.model_copy(update={"num_clips": 1, "num_crops": 1})
    dataset = ViewDataset(whole, clip_shape(config), config.data, views)
    batches = EvalLoader(dataset, batch_size=_MOST_REAL, skip_bad=skip_bad)
    cut = [(batch.clips, batch.videos.tolist()) for batch in batches]
    names = [Path(whole[number].path).name for _, numbers in cut for number in numbers]
    return _RealClips(torch.cat([clips for clips, _ in cut]), tuple(names))


# --- messages for the user -------------------------------------------------------------------


def _a_video(config: RunConfig) -> Path | None:
    """A video of the configuration, if there is one."""
    try:
        return load_entries(config.data, "test", several="as listed")[0].path
    except DataError:
        return None


def _summary(path: Path, about: Description, video: str | Path) -> Iterator[str]:
    size = path.stat().st_size / 1e6
    form = f"ONNX, opset {about.opset}" if about.opset else f"torch.export, torch {about.torch}"
    yield f"written: {path} ({size:.1f} MB; {form})"
    if about.check is None:
        yield "not compared with the model (--no-check)"
    else:
        check = about.check
        on = f"{check['random_clips']} random clips"
        if check["videos"]:
            on += f" and {', '.join(check['videos'])}"
        yield f"largest difference of a score: {check['largest_difference']:.2g}, on {on}"
    assert about.clips is not None
    frames, channels, height, width = about.clips.shape
    num_classes = about.config["model"]["num_classes"]
    yield (
        f"in: {INPUT} uint8 (N, {frames}, {channels}, {height}, {width}) RGB; "
        f"out: {OUTPUT} (N, {num_classes})"
    )
    yield f"use it: {command('predict', '--weights', path, video)}"
