"""Write an encoder as an ONNX file: windows of frames in, vectors out.

The graph normalises by itself; the description inside says how frames are prepared, so that the
file is an encoder again (`--encoder FILE.onnx`). It is compared with the encoder before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch.export import Dim, ExportedProgram

from videozoo.commands import command
from videozoo.encoders.base import Encoder, EncoderGraph
from videozoo.encoders.onnx import FORMAT, OnnxDescription, OnnxEncoder
from videozoo.errors import RunError, UsageError
from videozoo.tasks.clip_encoder import ClipEncoder
from videozoo.tasks.common import speaker
from videozoo.tasks.exporting import (
    LARGEST_DIFFERENCE,
    MOST_ROWS,
    OPSET,
    beside,
    difference,
    forget_traces,
    one_process,
    onnx_model,
    refuse_existing,
    tracing,
    write_described,
)
from videozoo.tasks.kept_encoder import open_encoder
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import ExportRequest
from videozoo.weights.exported import ENCODER_KEY, exported_kind
from videozoo.weights.onnx_graphs import need_packages
from videozoo.weights.whole_files import written_aside

INPUT, OUTPUT = "windows", "features"
_BATCH_SIZES = (1, 2, 3)  # batches of random windows to compare
_PREPARED = ("pixel_scale", "pixel_offset", "mean", "std")  # inside the graph


def export_features(request: ExportRequest) -> Path:
    """Write an encoder, or what gives the features of a clip model, as an ONNX file.

    Returns:
        The file.

    Raises:
        UsageError: Options that do not go together.
        VideozooError: As `export_encoder`; or there is no such encoder, or the file exists.
    """
    source = request.source
    if request.encoder is not None and (
        request.weights is not None or source.path is not None or source.model is not None
    ):
        raise UsageError(
            f"--encoder {request.encoder} names what is written; leave out --weights, --config and "
            "--model"
        )
    if request.format == "torch-export":
        raise UsageError("encoders are written as ONNX only; leave out --format torch-export")
    if request.video is not None:
        raise UsageError("encoders are compared on random windows; leave out --video")
    output = request.output
    if output is not None and exported_kind(output) != "onnx":
        raise UsageError(f"--output {output}: an exported encoder ends in .onnx")
    say = speaker(Console(), one_process())
    if request.encoder is not None:
        encoder = open_encoder(request.encoder)
        path = output or Path(f"{Path(request.encoder).name}.onnx")
    else:
        trained = config_for_weights(source, request.weights)
        encoder = ClipEncoder(trained, source=source)
        path = output or beside(trained.path, f"{trained.path.stem}.features.onnx")
    refuse_existing(path, request)
    for note in encoder.notes:
        say(f"note: {note}")
    return export_encoder(encoder, path, check=request.check, say=say)


def export_encoder(
    encoder: Encoder,
    path: Path,
    *,
    check: bool = True,
    say: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Write an encoder as an ONNX file.

    Args:
        encoder: Moved to the CPU, and to fp32.
        path: The file, NAME.onnx; replaced if it is there.
        check: Compare the file's vectors with the encoder's. Only then they count as the same.
        say: Told what was written.

    Returns:
        The file.

    Raises:
        RunError: The encoder cannot be exported, a package is missing, or the vectors differ.
        WeightsError: The file cannot be written.
    """
    encoder.to(torch.device("cpu"), "fp32")
    graph = encoder.graph()
    if graph is None:
        raise RunError(
            f"{encoder.title}: encoders of this kind cannot be exported; --encoder takes "
            f"{encoder.reference} itself"
        )
    need_packages("onnx", "onnxscript", *(("onnxruntime",) if check else ()))
    about = describe_encoder(encoder, graph, is_checked=check)
    proto = onnx_model(_trace(graph.module, about), {INPUT: ("N",)}, {OUTPUT: ("N",)})
    found = None
    with written_aside(path) as aside:
        write_described(proto, aside, ENCODER_KEY, about.as_json())
        if check:
            found = _compare(encoder, OnnxEncoder(aside, about, (aside,)), about)
            if found > LARGEST_DIFFERENCE:
                raise RunError(
                    f"{path}: not written: its vectors differ from the encoder's by {found:.2g}; "
                    f"allowed {LARGEST_DIFFERENCE:g}. Report it with the encoder; --no-check keeps "
                    "the file all the same"
                )
    say(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB; ONNX, opset {OPSET})")
    if found is None:
        say("not compared with the encoder (--no-check)")
    else:
        say(
            f"largest difference of a value: {found:.2g}, on {sum(_BATCH_SIZES)} random windows "
            f"(onnxruntime {version('onnxruntime')})"
        )
    shape = ", ".join(map(str, about.shape))
    say(f"in: {INPUT} uint8 (N, {shape}) RGB; out: {OUTPUT} (N, {about.dim})")
    say(f"use it: {command('extract', '--encoder', path, '--output', 'FEATURES', 'VIDEO')}")
    return path


def describe_encoder(encoder: Encoder, graph: EncoderGraph, *, is_checked: bool) -> OnnxDescription:
    """What the file says of itself."""
    window = encoder.window
    facts = graph.preparation.facts
    return OnnxDescription.model_validate(
        {
            "videozoo_encoder": FORMAT,
            "title": encoder.title,
            "input": INPUT,
            "layout": "NTCHW",
            "output": OUTPUT,
            "dim": encoder.dim,
            "frames": window.num_steps,
            "frames_per_step": window.frames_per_step,
            "window_seconds": window.seconds,
            "frame_stride": window.frame_stride,
            "exported_from": encoder.facts if is_checked else None,
            **{key: value for key, value in facts.items() if key not in _PREPARED},
        }
    )


def _trace(module: nn.Module, about: OnnxDescription) -> ExportedProgram:
    # two windows: with one, PyTorch fixes the batch size at 1
    windows = torch.zeros(2, *about.shape, dtype=torch.uint8)
    sizes: Any = {INPUT: {0: Dim("N", min=1, max=MOST_ROWS)}}
    with tracing():
        program = torch.export.export(module, (windows,), dynamic_shapes=sizes)
    return forget_traces(program)


def _compare(encoder: Encoder, exported: Encoder, about: OnnxDescription) -> float:
    """The largest difference between the vectors of both; see `LARGEST_DIFFERENCE`."""
    generator = torch.Generator().manual_seed(0)
    found = 0.0
    for size in _BATCH_SIZES:
        shape = (size, *about.shape)
        windows = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        found = max(found, difference(exported.encode(windows), encoder.encode(windows)))
    return found
