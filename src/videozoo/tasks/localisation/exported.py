"""Localisers from ONNX files, run by onnxruntime; decoding and soft-NMS are ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from videozoo.config import RunConfig
from videozoo.errors import WeightsError
from videozoo.ops.segment_candidates import CURVES
from videozoo.ops.segment_decoders import propose_and_score
from videozoo.tasks.exporting import load_model
from videozoo.tasks.loading import Trained
from videozoo.weights.exported import (
    ExportedSegments,
    open_graph,
    read_description,
    second_file,
)
from videozoo.weights.onnx_graphs import graph_sha256
from videozoo.weights.port_names import FEATURES, PROPOSALS, SCORES


class ExportedLocaliser:
    """Reads features as the network did: to outputs by name, see `SegmentGraph`.

    Args:
        path: The file.
        segments: Its outputs, from its description.
        device: `cuda` asks onnxruntime for its CUDA provider.
        device_index: Which GPU.
    """

    def __init__(
        self, path: Path, segments: ExportedSegments, device: str = "cpu", device_index: int = 0
    ) -> None:
        self._outputs = segments.outputs
        self._run = open_graph(
            path,
            inputs=(FEATURES,),
            outputs=segments.outputs,
            device="cuda" if device == "cuda" else "cpu",
            device_index=device_index,
        )

    def __call__(self, features: Tensor) -> dict[str, Tensor]:
        """Score steps, proposals or anchors."""
        return dict(zip(self._outputs, self._run({FEATURES: features}), strict=True))


class ExportedScorer:
    """Scores proposals as the network did: (N, K, feature_dim) to (N, K); arguments as above."""

    def __init__(self, path: Path, device: str = "cpu", device_index: int = 0) -> None:
        self._run = open_graph(
            path,
            inputs=(PROPOSALS,),
            outputs=(SCORES,),
            device="cuda" if device == "cuda" else "cpu",
            device_index=device_index,
        )

    def __call__(self, proposals: Tensor) -> Tensor:
        """Score proposals; of a batch without any, no graph is run."""
        if not proposals.numel():
            return proposals.new_zeros(proposals.shape[:2])
        return self._run({PROPOSALS: proposals})[0]


class ExportedStages:
    """Both stages of a network: what lies between them is computed as for the weights."""

    def __init__(
        self, first: ExportedLocaliser, second: ExportedScorer, segments: ExportedSegments
    ) -> None:
        """Put two files together; see `open_stages`."""
        self._first, self._second, self._segments = first, second, segments

    def __call__(self, features: Tensor) -> dict[str, Tensor]:
        """Propose and score: (N, feature_dim, T) to outputs by name."""
        found = self._first(features)
        curves = torch.stack([found[name] for name in CURVES], dim=1)
        scored = propose_and_score(curves, self._segments.decoding.proposals, self._second)
        return {**scored._asdict(), **found}


def open_stages(path: Path, device: str = "cpu", device_index: int = 0) -> ExportedStages:
    """Open the two files of a network of two stages, which were written together.

    Raises:
        WeightsError: The second file is missing, or one of them is from another export.
    """
    about = read_description(path)
    segments = _segments_of(path)
    second = second_file(path, segments.second, about.step_sha256)
    if read_description(second).first_sha256 != graph_sha256(path):
        raise WeightsError(
            f"{path}: not the file that {second.name} was written with; copy both, or export again"
        )
    return ExportedStages(
        ExportedLocaliser(path, segments, device, device_index),
        ExportedScorer(second, device, device_index),
        segments,
    )


def _segments_of(path: Path) -> ExportedSegments:
    segments = read_description(path).segments
    assert segments is not None  # as the description was checked
    return segments


def localiser_model(
    trained: Trained, config: RunConfig, accelerator: Accelerator, **options: Any
) -> Any:
    """Load a model that finds segments or scores proposals; `options` are those of `load_model`.

    Returns:
        A module or an exported graph: from a batch of features to what `candidates` of its task
        reads, or to the scores of proposals.
    """

    def exported(path: Path, device: str, index: int) -> Any:
        match config.spec.task.name:
            case "proposal_scoring":
                return ExportedScorer(path, device, index)
            case "two_stage_localisation":
                return open_stages(path, device, index)
            case _:
                return ExportedLocaliser(path, _segments_of(path), device, index)

    return load_model(trained, config, accelerator, exported, **options)
