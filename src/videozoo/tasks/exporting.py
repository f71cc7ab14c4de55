"""What the tasks share to export trained models as ONNX files, and to run such files."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.export import ExportedProgram

from videozoo import __version__
from videozoo.config import RunConfig
from videozoo.engine.devices import make_accelerator, split_device
from videozoo.errors import RunError, UsageError, VideozooError, WeightsError
from videozoo.models import own_fault
from videozoo.tasks.loading import Trained, build_trained, names_key
from videozoo.tasks.requests import Device, ExportRequest
from videozoo.weights.exported import (
    FORMAT,
    ONNX_KEY,
    SUFFIXES,
    Description,
    Kind,
    describe,
    exported_kind,
)
from videozoo.weights.files import sha256_of
from videozoo.weights.hub_runs import local_name
from videozoo.weights.onnx_graphs import need_packages
from videozoo.weights.whole_files import written_aside

M = TypeVar("M")

LARGEST_DIFFERENCE = 1e-4
"""Allowed between an output of the graph and of the model. Scores in 0..1 are compared directly;
unbounded numbers relative to the largest, if that is above 1."""
OPSET = 18
"""The operator set that PyTorch's exporter is written for; onnxruntime knows it since 1.14."""
MOST_ROWS = 2**16
"""The most of a batch along each size that is not fixed."""

_MOST_BYTES = 2**31 - 2**20  # in one ONNX file
_TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


# --- what is asked for -----------------------------------------------------------------------


def export_target(
    trained: Trained, request: ExportRequest, *, kinds: Collection[Kind] = tuple(SUFFIXES)
) -> tuple[Kind, Path]:
    """Decide on the format and the file.

    Raises:
        WeightsError: The weights are an exported file already.
        UsageError: The file suffix does not match the format, or the model has no such format.
        RunError: The file exists.
    """
    if exported_kind(trained.path) is not None:
        raise WeightsError(
            f"{trained.path}: exported already; name the weights that it was made from"
        )
    output = request.output
    by_suffix = exported_kind(output) if output else None
    kind: Kind = request.format or by_suffix or "onnx"
    if kind not in kinds:
        title = trained.config.spec.title
        raise UsageError(f"{title} is exported as {', '.join(kinds)} only, not as {kind}")
    suffix = SUFFIXES[kind]
    if output is not None and by_suffix != kind:
        raise UsageError(f"--output {output}: a file of format {kind} ends in {suffix}")
    path = output or beside(trained.path, f"{stem_of(trained.path)}{suffix}")
    refuse_existing(path, request)
    return kind, path


def beside(weights: Path, name: str) -> Path:
    """Where an export goes by default: beside its weights; for a run of the hub, in this folder."""
    fetched = local_name(weights)
    return weights.with_name(name) if fetched is None else Path(f"{fetched}-{name}")


def onnx_target(trained: Trained, request: ExportRequest) -> Path:
    """Decide on the file of a model of features, which is exported as ONNX only.

    Raises:
        VideozooError: See `export_target`; or a package is missing, or a video is named.
    """
    _, path = export_target(trained, request, kinds=("onnx",))
    if request.video is not None:
        raise UsageError(f"--video: {trained.config.spec.title} reads features; leave it out")
    need_packages("onnx", "onnxscript", *(("onnxruntime",) if request.check else ()))
    return path


def refuse_existing(path: Path, request: ExportRequest) -> None:
    """Raise RunError if the file exists and may not be replaced."""
    if path.exists() and not request.overwrite:
        raise RunError(f"{path}: exists; pass --overwrite to replace it, or another --output FILE")


def stem_of(path: Path) -> str:
    """What is written of weights is called; a folder of PaddlePaddle parameters has no ending."""
    return path.stem if path.is_file() else path.name


def one_process() -> Accelerator:
    """Make the accelerator of an export: one process, on the CPU.

    Raises:
        RunError: There are several processes.
    """
    accelerator = make_accelerator(device="cpu")
    if accelerator.num_processes > 1:
        raise RunError("export runs in one process; start it without torchrun")
    return accelerator


# --- what the file says of itself ------------------------------------------------------------


def description(
    trained: Trained, config: RunConfig, names: Sequence[str] | None, **more: Any
) -> Description:
    """Describe an export; `more` holds the fields that differ between models."""
    return Description(
        format=FORMAT,
        videozoo=__version__,
        torch=torch.__version__,
        model=config.name,
        title=config.spec.title,
        task=config.spec.task.name,
        config=config.as_dict(),
        source={"file": trained.path.name, "sha256": sha256_of(trained.path)},
        check=None,
        features=None if trained.features is None else dict(trained.features),
        measured=dict(trained.measured),
        **{names_key(config): list(names) if names else None},
        **more,
    )


# --- the graph -------------------------------------------------------------------------------


def forget_traces(program: ExportedProgram) -> ExportedProgram:
    """Remove from a graph how it was made: that includes folders of this machine."""
    program.example_inputs = None  # they would be pickled
    for node in program.graph.nodes:
        for key in _TRACES:
            node.meta.pop(key, None)
    return program


def onnx_model(
    program: ExportedProgram,
    inputs: Mapping[str, Sequence[str]],
    outputs: Mapping[str, Sequence[str]],
    *,
    hint: str = "",
) -> Any:
    """Turn a graph into an ONNX model.

    Args:
        program: From `torch.export`.
        inputs: Name -> names of its leading sizes, which are not fixed.
        outputs: The same for the outputs.
        hint: Advice for a model that is too large for one file.

    Returns:
        A ModelProto without metadata.

    Raises:
        RunError: The model is too large for one file.
    """
    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    if size > _MOST_BYTES:
        raise RunError(
            f"{size / 2**30:.1f} GiB of weights do not fit into one ONNX file (2 GiB at most){hint}"
        )
    with quiet_exporters():
        made: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
        )
    graph = made.model.graph
    for value in (*graph, *graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()  # origin of each node in PyTorch: twice the size of the graph
    graph.metadata_props.clear()
    proto = made.model_proto
    sizes = {**inputs, **outputs}
    for value in (*proto.graph.input, *proto.graph.output):
        for place, name in enumerate(sizes[value.name]):
            value.type.tensor_type.shape.dim[place].dim_param = name
    del proto.graph.value_info[:]  # inner sizes, in names of the exporter
    return proto


def write_onnx(proto: Any, path: Path, about: Description) -> None:
    """Write an ONNX model with its description."""
    write_described(proto, path, ONNX_KEY, describe(about))


def write_compared(
    proto: Any,
    path: Path,
    about: Description,
    compare: Callable[[Path], tuple[float, str]] | None,
) -> Description:
    """Write an ONNX model once it is compared with the network that it was made from.

    Args:
        proto: The model.
        path: The file; it appears whole, or not at all.
        about: Its description.
        compare: From the written file to the largest difference of an answer, and what was
            compared, in words; None: it is not compared.

    Returns:
        The description with the comparison.

    Raises:
        RunError: The difference is too large.
    """
    with written_aside(path) as aside:
        write_onnx(proto, aside, about)
        if compare is not None:
            found, inputs = compare(aside)
            about = about.model_copy(update={"check": check_facts(found, inputs, path)})
            write_onnx(proto, aside, about)
    return about


def write_described(proto: Any, path: Path, key: str, about: Mapping[str, Any]) -> None:
    """Write an ONNX model with a description of any form, JSON data, in its metadata."""
    del proto.metadata_props[:]
    proto.metadata_props.add(key=key, value=json.dumps(about))
    path.write_bytes(proto.SerializeToString())


@contextmanager
def quiet_exporters() -> Generator[None]:
    """Silence the messages of the exporters about other packages and their own old calls."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


@contextmanager
def tracing() -> Generator[None]:
    """Trace a network quietly.

    Raises:
        RunError: The file of a model from outside has a line that cannot be traced.
    """
    with quiet_exporters(), redirect_stderr(StringIO()):  # a failing tracer prints its graph
        try:
            yield
        except VideozooError:
            raise
        except Exception as error:  # the tracer has an own class per reason
            if (fault := own_fault(error)) is None:
                raise
            raise RunError(
                f"{fault.partition('. ')[0][:300]}; torch.export cannot trace this model: without "
                "branches on values, .item() and .numpy() in forward it could"
            ) from error


# --- the comparison of models that read features ---------------------------------------------


def difference(got: Tensor, expected: Tensor) -> float:
    """The largest difference, as for `LARGEST_DIFFERENCE`; infinite for nan and other shapes."""
    if got.shape != expected.shape:
        return float("inf")
    largest = (got - expected).abs().max() / expected.abs().max().clamp(min=1)
    return float(largest.nan_to_num(nan=float("inf")))


def check_facts(found: float, inputs: str, path: Path) -> dict[str, Any]:
    """Return how an export was compared with the model, for its description.

    Args:
        found: The largest difference.
        inputs: What was compared, in words.
        path: The file.

    Raises:
        RunError: The difference is too large.
    """
    if found > LARGEST_DIFFERENCE:
        raise RunError(
            f"{path}: not written: its answers differ from the model's by {found:.2g} on {inputs}; "
            f"allowed {LARGEST_DIFFERENCE:g}. Report it with the configuration; --no-check keeps "
            "the file all the same"
        )
    return {
        "largest_difference": found,
        "allowed": LARGEST_DIFFERENCE,
        "inputs": inputs,
        "runtime": f"onnxruntime {version('onnxruntime')}",
    }


def summary(about: Description, *paths: Path) -> Iterator[str]:
    """Lines about the written files."""
    for path in paths:
        size = path.stat().st_size / 1e6
        yield f"written: {path} ({size:.1f} MB; ONNX, opset {about.opset})"
    if about.check is None:
        yield "not compared with the model (--no-check)"
    else:
        largest, inputs = about.check["largest_difference"], about.check["inputs"]
        yield f"largest difference of an answer: {largest:.2g}, on {inputs}"


# --- running exported files ------------------------------------------------------------------


def accelerator_for(trained: Trained, device: Device) -> Accelerator:
    """Join the processes of this run on the device that fits its weights.

    ONNX files leave the device to onnxruntime, which may see a GPU where PyTorch does not.

    Raises:
        RunError: The device is not there.
    """
    kind = exported_kind(trained.path)
    if kind is None:
        return make_accelerator(device=device, precision=trained.config.train.precision)
    if kind == "onnx" or (split_device(device)[0] == "auto" and not torch.cuda.is_available()):
        device = "cpu"
    return make_accelerator(device=device)


def load_model(
    trained: Trained,
    config: RunConfig,
    accelerator: Accelerator,
    exported: Callable[[Path, str, int], M],
    *,
    drop: Sequence[str] = (),
    device: Device = "auto",
) -> nn.Module | M:
    """Load the weights, or the exported graph, ready to compute.

    Args:
        trained: What the user named.
        config: Its configuration.
        accelerator: From `accelerator_for`.
        exported: Opens an exported file, given the kind of `device` and the number of the GPU.
        drop: Leading parts of parameter names that keep their fresh values.
        device: For ONNX files: `cuda` asks onnxruntime for its CUDA provider.

    Raises:
        WeightsError: They do not fit; every mismatch is listed. Or a graph is damaged or missing.
        RunError: onnxruntime is missing, or has no support for the device.
    """
    if exported_kind(trained.path) is None:
        return build_trained(trained, config, drop=drop).to(accelerator.device).eval()
    if drop:
        raise WeightsError(f"{trained.path}: an exported graph has no parameters to --drop")
    kind, index = split_device(device)
    return exported(trained.path, kind, accelerator.local_process_index if index is None else index)
