"""Write a trained clip model as one file: pixels in, scores out.

The graph normalises by itself and ends in a softmax, and any number of clips goes through it at
once. It is compared with the model before the file is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from videozoo import __version__
from videozoo.config import RunConfig
from videozoo.data.clips import ClipData, EvalBatches, eval_plan, has_entries, load_entries
from videozoo.data.kinetics import ClipEntry, find_videos
from videozoo.data.views import ClipPredict
from videozoo.engine.devices import make_accelerator
from videozoo.errors import DataError, RunError, UsageError, WeightsError
from videozoo.ops.folding import fold_batch_norms
from videozoo.ops.pixels import normalize
from videozoo.tasks.classification.common import clip_shape, configured_class_names
from videozoo.tasks.classification.scoring import ClipScorer, ModuleScorer, with_views
from videozoo.tasks.common import speaker, without_absent_names
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.requests import ExportRequest
from videozoo.weights._files import written_aside
from videozoo.weights._pt2 import is_known
from videozoo.weights.exported import (
    FORMAT,
    INPUT,
    ONNX_KEY,
    OUTPUT,
    PT2_KEY,
    SUFFIXES,
    Description,
    ExportedClips,
    Kind,
    describe,
    exported_kind,
    need_packages,
    open_exported,
    read_description,
)

LARGEST_DIFFERENCE = 1e-4
"""Between the scores of the graph and of the model, both in 0..1."""
OPSET = 18
"""The operator set that PyTorch's exporter is written for; onnxruntime knows it since 1.14."""

_BATCH_SIZES = (1, 2, 3)  # of random clips; the graph is traced with 2
_MOST_REAL = 3  # videos compared
_MOST_BYTES = 2**31 - 2**20  # of one ONNX file
_MOST_CLIPS = 2**16  # in one batch
_TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")

Write = Callable[[Path, Description], None]


class ScoringGraph(nn.Module):
    """What is exported: a network between normalising and softmax."""

    def __init__(self, network: nn.Module, data: ClipData) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = data.mean, data.std

    def forward(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, C, H, W) -> scores (N, num_classes), each row summing to 1."""
        return torch.softmax(self.network(normalize(clips, self.mean, self.std)), dim=1)


@dataclass(frozen=True)
class Comparison:
    """How far the graph's scores are from the model's, over all clips and classes."""

    random: float
    """The largest difference on clips of random pixels."""
    real: float | None
    """The same on clips of videos, where there were any."""
    videos: tuple[str, ...] = ()
    """Their names."""

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
        UsageError: The file's suffix does not agree with the format.
        VideoError: `request.video` cannot be read.
    """
    kind, path = _target(trained, request)
    if kind == "onnx":
        need_packages("onnx", "onnxscript", *(("onnxruntime",) if request.check else ()))
    accelerator = make_accelerator(device="cpu")
    if accelerator.num_processes > 1:
        raise RunError("export runs in one process; start it without torchrun")
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
                aside, kind, ModuleScorer(network, config.data, accelerator), about, real
            )
            _refuse_if_different(found, path)
            about = about.model_copy(update={"check": _check_facts(found, kind)})
            write(aside, about)
        if read_description(aside, kind) != about:
            raise WeightsError(f"{path}: its description does not come back as written")
    for line in _summary(path, about):
        say(line)
    return path


def _target(trained: Trained, request: ExportRequest) -> tuple[Kind, Path]:
    """Decide on the format and the file."""
    if exported_kind(trained.path) is not None:
        raise WeightsError(
            f"{trained.path}: exported already; name the weights that it was made from"
        )
    output = request.output
    by_suffix = exported_kind(output) if output else None
    kind: Kind = request.format or by_suffix or "onnx"
    suffix = SUFFIXES[kind]
    if output is not None and by_suffix != kind:
        raise UsageError(f"--output {output}: a file of format {kind} ends in {suffix}")
    path = output or trained.path.with_name(f"{_stem(trained.path)}{suffix}")
    if path.exists() and not request.overwrite:
        raise RunError(f"{path}: exists; pass --overwrite to replace it, or another --output FILE")
    return kind, path


def _stem(path: Path) -> str:
    return path.stem if path.is_file() else path.name  # a folder of PaddlePaddle parameters


def _description(trained: Trained, config: RunConfig, kind: Kind) -> Description:
    names = trained.class_names or configured_class_names(config)
    shape = clip_shape(config)
    plan = eval_plan(shape, config.data, config.predict)
    return Description(
        format=FORMAT,
        videozoo=__version__,
        torch=torch.__version__,
        model=config.name,
        title=config.spec.title,
        task=config.spec.task,
        config=config.as_dict(),
        class_names=list(names) if names else None,
        source={"file": trained.path.name, "sha256": _sha256(trained.path)},
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
        check=None,
    )


def _sha256(path: Path) -> str:
    """Of a file; of a folder, of its files' names and contents in order."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as content:
            while block := content.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _view_notes(views: ClipPredict) -> Iterator[str]:
    looks = views.num_clips * views.num_crops
    if looks > 1:
        yield (
            f"the graph scores one clip; the {views.num_clips} clips x {views.num_crops} crops of "
            "a video are cut and averaged by `videozoo predict`"
        )


# --- the graph -------------------------------------------------------------------------------


def _writer(network: nn.Module, config: RunConfig, kind: Kind) -> Write:
    """Trace the model once; the description can then be written as often as it changes."""
    program = trace(network, config)
    if kind == "torch-export":
        _refuse_unknown(program)
        return lambda path, about: _write_pt2(program, path, about)
    return _onnx_writer(program)


def trace(network: nn.Module, config: RunConfig) -> ExportedProgram:
    """Turn a network in evaluation mode into a graph from uint8 clips to scores.

    Args:
        network: Left as it is.
        config: Says which clips it takes.
    """
    folded = config.spec.build(config.model)
    folded.load_state_dict(network.state_dict())
    folded.eval().requires_grad_(False)
    fold_batch_norms(folded)
    plan = eval_plan(clip_shape(config), config.data, config.predict)
    side = plan.crop_size
    # two clips: PyTorch takes a single one for a fact about every batch
    clips = torch.zeros(2, plan.num_steps, 3 * plan.frames_per_step, side, side, dtype=torch.uint8)
    batch = Dim("N", min=1, max=_MOST_CLIPS)
    with _quiet():
        program = torch.export.export(
            ScoringGraph(folded, config.data).eval(),
            (clips,),
            dynamic_shapes={INPUT: {0: batch}},
        )
    program.example_inputs = None  # they would be pickled
    for node in program.graph.nodes:
        for key in _TRACES:  # source lines, with the folders of this machine
            node.meta.pop(key, None)
    return program


def _refuse_unknown(program: ExportedProgram) -> None:
    """Raise RunError where a graph holds what the reader of `.pt2` files would refuse."""
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
    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    if size > _MOST_BYTES:
        raise RunError(
            f"{size / 2**30:.1f} GiB of weights do not fit into one ONNX file (2 GiB at most); "
            "pass --format torch-export"
        )
    with _quiet():
        made: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
        )
    graph = made.model.graph
    for value in (*graph, *graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()  # how PyTorch wrote each node: twice as long as the graph
    graph.metadata_props.clear()
    proto = made.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del proto.graph.value_info[:]  # sizes in between, in the exporter's own names

    def write(path: Path, about: Description) -> None:
        del proto.metadata_props[:]
        proto.metadata_props.add(key=ONNX_KEY, value=json.dumps(describe(about)))
        path.write_bytes(proto.SerializeToString())

    return write


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the exporters from speaking of themselves: other packages, their own old calls."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)


# --- the comparison --------------------------------------------------------------------------


def _compare(
    path: Path, kind: Kind, model: ClipScorer, about: Description, real: _RealClips | None
) -> Comparison:
    graph = open_exported(path, kind=kind)
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
    """Cut one clip from each of a few videos: the one named, or the first that are configured."""
    if video is not None:
        return _cut(config, find_videos(video)[:_MOST_REAL], skip_bad=False)
    why = "the configuration names none"
    try:
        if has_entries(config.data, "test"):
            entries = load_entries(config.data, "test", num_classes=config.model.num_classes)
            first = {entry.path: entry for entry in reversed(entries)}
            return _cut(config, list(reversed(first.values()))[:_MOST_REAL], skip_bad=True)
    except DataError as error:
        why = str(error).partition("\n")[0]
    say(f"note: compared on random clips only, no videos at hand ({why}); --video FILE adds one")
    return None


def _cut(config: RunConfig, entries: Sequence[ClipEntry], *, skip_bad: bool) -> _RealClips:
    whole = [replace(entry, label=None, clip_index=None, crop_index=None) for entry in entries]
    one = {"num_clips": 1, "num_crops": 1, "batch_size": _MOST_REAL}
    batches = EvalBatches(
        whole,
        clip_shape(config),
        config.data.model_copy(update={"num_workers": 0}),
        config.predict.model_copy(update=one),
        skip_bad=skip_bad,
    )
    cut = [(batch.clips, batch.videos.tolist()) for batch in batches]
    names = [Path(whole[number].path).name for _, numbers in cut for number in numbers]
    return _RealClips(torch.cat([clips for clips, _ in cut]), tuple(names))


# --- what the user is told -------------------------------------------------------------------


def _summary(path: Path, about: Description) -> Iterator[str]:
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
    frames, channels, height, width = about.clips.shape
    num_classes = about.config["model"]["num_classes"]
    yield (
        f"in: {INPUT} uint8 (N, {frames}, {channels}, {height}, {width}) RGB; "
        f"out: {OUTPUT} (N, {num_classes})"
    )
    yield f"use it: videozoo predict --weights {os.fspath(path)} VIDEO"
