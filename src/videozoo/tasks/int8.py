"""Export with weights of 8 bits, if the metric on a data set stays within a stated loss.

Matrix products, convolutions and tables of words get weights of one byte; the numbers between
layers are quantised while the graph runs (dynamic quantisation of onnxruntime). Recurrent layers
stay as they are. Weights are unsigned: sums of signed bytes overflow on some processors, and the
file should answer alike on all of them.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from videozoo import safe_sums
from videozoo.commands import command
from videozoo.errors import RunError, UsageError
from videozoo.tasks import run
from videozoo.tasks.common import speaker
from videozoo.tasks.exporting import export_target, one_process, refuse_existing, write_onnx
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import EvalRequest, ExportRequest
from videozoo.weights.exported import Description, read_description, second_path
from videozoo.weights.files import sha256_of
from videozoo.weights.onnx_graphs import graph_sha256, need_packages, open_onnx
from videozoo.weights.whole_files import written_aside

_QUANTISED = ["MatMul", "Gather", "Conv"]
_METRICS = (
    ("top1", "top-1"),
    ("gap", "GAP"),
    ("meteor", "METEOR"),
    ("cider", "CIDEr"),  # where METEOR cannot be computed
    ("mean_tiou", "mean tIoU"),
    ("map", "mAP"),
    ("auc", "AUC"),
)
"""Keys of `eval.json`, or of its metrics, and what people call them: the first one counts."""
_ITEMS = ("sentences", "events", "proposals", "videos")
_ROUNDS = 5
_SIZES = {"N": 1, "P": 128}
"""Of a timed input: one video, or so many pairs of a clip and a sentence."""
_LENGTH = 100
"""Frames, or other sizes that are not fixed."""


@dataclass(frozen=True)
class _Score:
    """What an evaluation says of one file."""

    title: str
    value: float
    items: str
    """What was scored, in words."""


@dataclass(frozen=True)
class _Files:
    """One export: one file, or two that stay together."""

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, path: Path) -> _Files:
        """Find the second file of an export by its description."""
        about = read_description(path)
        if about.part != "first":
            return cls((path,))
        return cls((path, second_path(path, _second_name(about))))

    @property
    def megabytes(self) -> float:
        """Of all files together."""
        return sum(path.stat().st_size for path in self.paths) / 1e6


def export_int8(request: ExportRequest, *, console: Console | None = None) -> Path:
    """Export a trained model with weights of 8 bits, and compare its metric with the float file's.

    Args:
        request: The options of the command; `int8_loss` is the largest loss, as a share of the
            metric of the float file.
        console: For messages.

    Returns:
        The file; the first if there are two.

    Raises:
        UsageError: Flags that do not go together.
        RunError: The loss is too large, and nothing is written; or a package is missing, the file
            exists, or the metric of the float file is 0.
        VideozooError: As for an export and an evaluation.
    """
    _refuse_flags(request)
    trained = config_for_weights(request.source, request.weights)
    _, plain = export_target(
        trained, replace(request, output=None, overwrite=True), kinds=("onnx",)
    )
    given = replace(request, output=request.output or plain.with_name(f"{plain.stem}.int8.onnx"))
    _, path = export_target(trained, given, kinds=("onnx",))
    need_packages("onnx", "onnxscript", "onnxruntime")
    say = speaker(console or Console(), one_process())
    home = trained.path.parent  # where the encoder of the run is found, too
    home = home if os.access(home, os.W_OK) else path.parent
    with _removed_after(home / f".{plain.stem}-{os.getpid()}") as (ours, theirs):
        asked = replace(request, output=ours, overwrite=True)
        run.export_trained(trained, asked, console=Console(file=StringIO()))
        before = _Files.of(ours)
        about = read_description(ours)
        if len(before.paths) > 1:
            refuse_existing(second_path(path, _second_name(about)), request)
        with _quiet_quantiser():
            graphs = [_quantised(each, theirs) for each in before.paths]
        after = _write(theirs, graphs, about, before.paths)
        score, said = _score(ours, request)
        for line in said:
            say(line)
        lower, _ = _score(theirs, request)  # which says the same again
        times = _milliseconds(before, after)
        loss = _loss(score, lower, ours.name)
        sizes = before.megabytes, after.megabytes
        for name, each, size, took in zip(
            ("float", "int8"), (score, lower), sizes, times, strict=True
        ):
            say(f"{name:<5}  {size:8.2f} MB  {took:8.2f} ms  {each.title} {each.value:.4f}")
        measured = f"{100 * loss:.2g} % of {score.title} on {score.items}"
        allowed = f"{100 * request.int8_loss:g} % (--int8-loss)"
        if not loss <= request.int8_loss:
            raise RunError(
                f"{path}: not written: with weights of 8 bits it loses {measured}; allowed "
                f"{allowed}. Export without --int8, or allow more"
            )
        facts = {
            "metric": score.title,
            "float": score.value,
            "int8": lower.value,
            "loss": loss,
            "allowed": request.int8_loss,
            "on": score.items,
            "data": None if request.data is None else str(request.data),
            "float_check": about.check,
        }
        final = about.model_copy(update={"int8": facts, "check": None})
        written = _write_whole(path, graphs, final, before.paths)
    say(f"loss: {measured}; allowed {allowed}" if loss > 0 else f"no loss on {score.items}")
    if times[1] > 1.2 * times[0]:
        say("note: the int8 file is smaller, and slower on this processor")
    for each in written.paths:
        say(f"written: {each} (int8, ONNX)")
    say(f"use it: {command('predict', '--weights', path, 'INPUT')}")
    return path


def _refuse_flags(request: ExportRequest) -> None:
    if request.features or request.encoder is not None:
        raise UsageError("--int8: an encoder has no metric to compare; leave it out")
    if request.format == "torch-export":
        raise UsageError("--int8: files of 8 bits are ONNX; leave out --format torch-export")
    if not 0 <= request.int8_loss < 1:
        raise UsageError(
            f"--int8-loss {request.int8_loss:g}: expected a share of the metric from 0 to below "
            "1, such as 0.01"
        )


# --- the files -------------------------------------------------------------------------------


@contextmanager
def _removed_after(stem: Path) -> Generator[tuple[Path, Path]]:
    """Two paths for files on their way, beside the weights; all of these files go at the end."""
    try:
        yield stem.with_name(f"{stem.name}-float.onnx"), stem.with_name(f"{stem.name}-int8.onnx")
    finally:
        run_folder = safe_sums.home_of(stem)
        for left in list(stem.parent.iterdir()):
            if left.name.startswith(f"{stem.name}-"):
                left.unlink(missing_ok=True)
                if run_folder is not None:
                    safe_sums.settle(run_folder, left, None)


@contextmanager
def _quiet_quantiser() -> Generator[None]:
    """It advises to optimise the graph first, which the exporter has done."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def _quantised(path: Path, aside: Path) -> Any:
    """The graph of a file with weights of 8 bits, a ModelProto; `aside` is written over."""
    onnx: Any = import_module("onnx")
    quantisation: Any = import_module("onnxruntime.quantization")
    quantisation.quantize_dynamic(
        onnx.load(path),
        aside,
        op_types_to_quantize=_QUANTISED,
        weight_type=quantisation.QuantType.QUInt8,
    )
    return onnx.load(aside)


def _second_name(about: Description) -> str:
    return about.segments.second if about.segments is not None else "step"


def _write(
    path: Path, graphs: Sequence[Any], about: Description, described: Sequence[Path]
) -> _Files:
    """Write graphs with their descriptions: a second file is known to the first by its sha256.

    Args:
        path: The first file.
        graphs: One per file.
        about: The description of the first.
        described: The float files, whose second has a description of its own.
    """
    if len(graphs) == 1:
        write_onnx(graphs[0], path, about)
        return _Files((path,))
    second = second_path(path, _second_name(about))
    write_onnx(graphs[0], path, about)
    own: dict[str, Any] = {"int8": about.int8, "check": about.check}
    if read_description(described[1]).first_sha256 is not None:
        own["first_sha256"] = graph_sha256(path)
    write_onnx(graphs[1], second, read_description(described[1]).model_copy(update=own))
    known = {"step_sha256": sha256_of(second)}
    write_onnx(graphs[0], path, about.model_copy(update=known))
    return _Files((path, second))


def _write_whole(
    path: Path, graphs: Sequence[Any], about: Description, described: Sequence[Path]
) -> _Files:
    """As `_write`, under the final names: completely, or not at all."""
    with TemporaryDirectory(prefix="videozoo-") as folder:
        made = _write(Path(folder) / path.name, graphs, about, described)
        names = [path.with_name(each.name) for each in made.paths]
        for source, target in reversed(list(zip(made.paths, names, strict=True))):
            with written_aside(target) as aside:
                aside.write_bytes(source.read_bytes())
    return _Files(tuple(names))


# --- the comparison --------------------------------------------------------------------------


def _score(path: Path, request: ExportRequest) -> tuple[_Score, list[str]]:
    """Evaluate an exported file on the configured data, or on `request.data`; its notes."""
    said = StringIO()
    with (
        TemporaryDirectory(prefix="videozoo-") as folder,
        redirect_stdout(StringIO()),
        redirect_stderr(said),
    ):
        facts = run.evaluate(
            EvalRequest(
                source=request.source,
                weights=str(path),
                data=request.data,
                save_dir=Path(folder),
                report=False,
            )
        )
    metrics: Mapping[str, Any] = facts.get("metrics") or {}
    for key, title in _METRICS:
        value = metrics.get(key, facts.get(key))
        if isinstance(value, int | float):
            lines = said.getvalue().splitlines()
            notes = [line for line in lines if line.startswith(("note:", "left out:"))]
            return _Score(title, float(value), _items_of(facts)), notes
    raise RunError("--int8: the evaluation gives no metric to compare; export without --int8")


def _items_of(facts: Mapping[str, Any]) -> str:
    key = next((key for key in _ITEMS if isinstance(facts.get(key), int)), None)
    return "the data" if key is None else f"{facts[key]} {key}"


def _loss(before: _Score, after: _Score, name: str) -> float:
    """How much of the metric is lost, as a share; negative where it grew."""
    if not before.value > 0:
        raise RunError(
            f"{name}: {before.title} of the float file on {before.items} is {before.value:g}, so "
            "that a loss cannot be told; name data that the model does well on: --data or --set"
        )
    return (before.value - after.value) / before.value


def _milliseconds(*sides: _Files) -> list[float]:
    """Median CPU time of the graphs of each side for one input, the sides in turns."""
    opened = [[open_onnx(path) for path in side.paths] for side in sides]
    given = [_random_inputs(path) for path in sides[0].paths]
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(_ROUNDS + 1):
        for graphs, times in zip(opened, taken, strict=True):
            begin = time.process_time()
            for graph, inputs in zip(graphs, given, strict=True):
                graph.run(inputs, [port.name for port in graph.outputs])
            if turn:  # the first one warms up
                times.append(1000 * (time.process_time() - begin))
    return [statistics.median(times) for times in taken]


def _random_inputs(path: Path) -> dict[str, Tensor]:
    onnx: Any = import_module("onnx")
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Tensor] = {}
    for port in onnx.load(path).graph.input:
        kind = port.type.tensor_type
        sizes = list(_sizes(kind.shape))
        if kind.elem_type == onnx.TensorProto.UINT8:
            found[port.name] = torch.randint(256, sizes, generator=generator, dtype=torch.uint8)
        elif kind.elem_type == onnx.TensorProto.INT64:
            whole = _LENGTH if port.name == "lengths" else 1
            found[port.name] = torch.full(sizes, whole, dtype=torch.int64)
        else:
            found[port.name] = torch.randn(sizes, generator=generator)
    return found


def _sizes(shape: Any) -> Iterator[int]:
    for size in shape.dim:
        yield _SIZES.get(size.dim_param, _LENGTH) if size.dim_param else size.dim_value
