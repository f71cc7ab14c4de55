"""BMN: scores every proposal of a video at once, by start and duration (arXiv:1907.09702).

Lin, Liu, Li, Ding, Wen. "BMN: Boundary-Matching Network for Temporal Action Proposal Generation",
ICCV 2019. Reference behaviour: PaddlePaddle/models release/1.8.

::

    features (N, C, T) ── conv 3, relu ── conv 3, relu ─┬─ conv 3, relu ── conv 1, sigmoid ── start
                               256               256    ├─ conv 3, relu ── conv 1, sigmoid ── end
                                                        └─ conv 3, relu ── boundary matching, relu
                                                              128                 512   │
      map (N, 2, D, T) ── sigmoid, conv 1 ── relu, conv 3 ── relu, conv 3 ── relu, conv 1

The map's rows are durations and its columns starts: cell (d, s) is the proposal of the steps s to
s + d. Its channels are two predictions of the tIoU with an action, by regression and by
classification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from videozoo.models._localiser import (
    TimeConv,
    balanced_log_loss,
    sampled_regression_loss,
    uniform_draws,
)
from videozoo.ops.boundary_matching import BoundaryMatching, ProposalMap, is_exporting
from videozoo.ops.boundary_targets import boundary_targets, window_overlaps
from videozoo.ops.segment_decoders import decoded
from videozoo.types import (
    Candidates,
    Localisation,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    SegmentDecoding,
    SegmentGraph,
    SequenceShape,
    Settings,
    Targets,
)

_HIDDEN, _NARROW, _MATCHED, _GROUPS = 256, 128, 512, 4
_REGION_STEPS = 3
"""Width of the region around a start or an end that counts as one."""
_COUNTED_INPUTS = 400
"""Inputs of the first layer as its initialisation counts them, for any feature_dim."""
_LAYERS = {
    "base_1": "Base_1",
    "base_2": "Base_2",
    "start_1": "TEM_s1",
    "start_2": "TEM_s2",
    "end_1": "TEM_e1",
    "end_2": "TEM_e2",
    "narrow": "PEM_1d",
    "matched": "PEM_3d1",
    "map_1": "PEM_2d1",
    "map_2": "PEM_2d2",
    "map_3": "PEM_2d3",
    "head": "PEM_2d4",
}


_MOST_STEPS = 2000
_MOST_SAMPLES = 200_000_000


class BMNSettings(Settings):
    """Architecture of BMN."""

    feature_dim: int = Field(default=400, ge=_GROUPS, multiple_of=_GROUPS)
    """Length of a step's feature vector."""
    num_steps: int = Field(default=100, ge=1)
    """T, steps that a video is resized to."""
    num_durations: int = Field(default=100, ge=1)
    """D, durations of proposals: 1 to D steps."""
    num_samples: int = Field(default=32, ge=1)
    """Samples of the sequence that describe a proposal."""
    samples_per_bin: int = Field(default=3, ge=1)
    """Points whose mean is a sample."""
    boundary_ratio: float = Field(default=0.5, ge=0, le=1000)
    """How far beyond its ends a proposal is sampled, in lengths of the proposal."""

    @model_validator(mode="after")
    def _of_a_size(self) -> BMNSettings:
        """The sampling of all proposals is computed at once."""
        samples = self.num_steps * self.num_durations * self.num_samples * self.samples_per_bin
        if max(self.num_steps, self.num_durations) > _MOST_STEPS or samples > _MOST_SAMPLES:
            raise ValueError(
                f"num_steps {self.num_steps}, num_durations {self.num_durations}, num_samples "
                f"{self.num_samples} and samples_per_bin {self.samples_per_bin} are {samples:,} "
                f"samples, expected at most {_MOST_SAMPLES:,} and {_MOST_STEPS:,} steps"
            )
        return self


class BMNOutput(NamedTuple):
    """BMN's outputs for a batch; all are probabilities."""

    maps: Tensor
    """(N, 2, D, T): tIoU of proposal (d, s) by regression, by classification. Cells with s + d >= T
    are no proposals; their values are undefined."""
    start: Tensor
    """(N, T): an action starts in this step."""
    end: Tensor
    """(N, T): an action ends in this step."""


class BMN(nn.Module):
    """Features of a video in, curves of starts and ends and the map of proposals out."""

    def __init__(self, settings: BMNSettings) -> None:
        super().__init__()
        self.base_1 = TimeConv(
            settings.feature_dim, _HIDDEN, 3, groups=_GROUPS, initial_inputs=_COUNTED_INPUTS
        )
        self.base_2 = _hidden_conv()
        self.start_1, self.start_2 = _hidden_conv(), TimeConv(_HIDDEN, 1, 1)
        self.end_1, self.end_2 = _hidden_conv(), TimeConv(_HIDDEN, 1, 1)
        self.narrow = TimeConv(_HIDDEN, _NARROW, 3)
        self.matching = BoundaryMatching(
            settings.num_steps,
            settings.num_durations,
            num_samples=settings.num_samples,
            samples_per_bin=settings.samples_per_bin,
            boundary_ratio=settings.boundary_ratio,
        )
        self.cells = ProposalMap(settings.num_steps, settings.num_durations)
        self.matched = nn.Conv3d(_NARROW, _MATCHED, (settings.num_samples, 1, 1))
        """Never called: `matching` does its work with its weight and bias."""
        self.map_1 = nn.Conv2d(_MATCHED, _NARROW, 1)
        self.map_2 = nn.Conv2d(_NARROW, _NARROW, 3, padding=1)
        self.map_3 = nn.Conv2d(_NARROW, _NARROW, 3, padding=1)
        self.head = nn.Conv2d(_NARROW, 2, 1)
        for layer in (self.matched, self.map_1, self.map_2, self.map_3, self.head):
            _init_normal(layer)

    def forward(self, features: Tensor) -> BMNOutput:
        """Score each step and each proposal.

        Args:
            features: (N, feature_dim, T).
        """
        x = torch.relu(self.base_1(features))
        x = torch.relu(self.base_2(x))
        start = torch.sigmoid(self.start_2(torch.relu(self.start_1(x))))
        end = torch.sigmoid(self.end_2(torch.relu(self.end_1(x))))
        maps = self._maps(torch.relu(self.narrow(x)))
        return BMNOutput(maps, start.squeeze(1), end.squeeze(1))

    def _maps(self, x: Tensor) -> Tensor:
        """Match, (N, 128, T) -> (N, 2, D, T). What is alike everywhere is computed once."""
        weight, bias = self.matched.weight.flatten(2), self.matched.bias
        assert bias is not None
        matched = self.matching(x, weight, bias).relu_()  # (N, P, 512)
        outside = _at_cells(self.map_1, torch.relu(bias)).relu()
        cells = self.cells.fill(_at_cells(self.map_1, matched).relu(), outside)  # (N, Q, 128)
        if x.device.type == "cpu" or is_exporting():
            for conv in (self.map_2, self.map_3):
                cells = torch.relu(self.cells.convolve(cells, conv))
            return self.cells.whole(torch.sigmoid(_at_cells(self.head, cells)))
        maps = self.cells.whole(cells)
        for conv in (self.map_2, self.map_3):
            maps = torch.relu(conv(maps))
        return torch.sigmoid(self.head(maps))


def _at_cells(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to single cells: (..., C) -> (..., C')."""
    return nn.functional.linear(x, conv.weight.flatten(1), conv.bias)


def _hidden_conv() -> TimeConv:
    return TimeConv(_HIDDEN, _HIDDEN, 3, groups=_GROUPS, initial_inputs=_HIDDEN)


def _init_normal(layer: nn.Conv2d | nn.Conv3d) -> None:
    """Weights of variance 2 / inputs, bias 0: PaddlePaddle's default."""
    nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel()) ** 0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def proposal_mask(num_durations: int, num_steps: int, device: torch.device) -> Tensor:
    """Mark the cells of a map that are proposals inside the video: bool (D, T), s + d < T."""
    ends = torch.arange(num_durations, device=device)[:, None]
    return ends + torch.arange(num_steps, device=device) < num_steps


def losses(
    outputs: BMNOutput,
    targets: Mapping[str, Tensor],
    *,
    draws: tuple[Tensor, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Losses of a batch; the regression's over a random sample of the proposals.

    Where the 2019 library returned nan: without a proposal above a tIoU of 0.7, the regression loss
    is 0; without one above 0.9, the classification trains on the negatives only; start and end
    without a positive step do the same.

    Args:
        outputs: From the model.
        targets: maps (N, D, T), the tIoU of each proposal with the action it fits best; start and
            end, (N, T) each: how much of the step lies in such a region. All in [0, 1].
        draws: Two of uniform random numbers in [0, 1), (D, T) each: a batch shares them. None:
            drawn here.
        generator: Random generator of the draws; None: the default one of the outputs' device.

    Returns:
        `loss`: tem + 10 * pem_regression + pem_classification, and these three.
    """
    regressed, classified = outputs.maps.unbind(1)
    _, num_durations, num_steps = regressed.shape
    mask = proposal_mask(num_durations, num_steps, regressed.device)
    tious = targets["maps"] * mask
    if draws is None:
        draws = uniform_draws(mask.shape, generator=generator, device=mask.device)
    tem = balanced_log_loss(outputs.start, targets["start"] > 0.5)
    tem = tem + balanced_log_loss(outputs.end, targets["end"] > 0.5)
    regression = sampled_regression_loss(
        regressed, tious, draws, high=0.7, middle=0.3, low_factor=1.0, counts=mask
    )
    classification = balanced_log_loss(classified, tious > 0.9, counts=mask)
    return {
        "loss": tem + 10 * regression + classification,
        "tem": tem,
        "pem_regression": regression,
        "pem_classification": classification,
    }


def paddle_names(settings: BMNSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names.

    Checkpoints also hold `sample_mask`, the matrix of `videozoo.ops.boundary_matching`, which
    follows from the settings.
    """
    return {
        f"{ours}.{key}": PaddleName(f"{theirs}.{part}")
        for ours, theirs in _LAYERS.items()
        for key, part in (("weight", "w_0"), ("bias", "b_0"))
    }


def sequence_shape(settings: BMNSettings) -> SequenceShape:
    """The whole video."""
    return SequenceShape(feature_dim=settings.feature_dim, num_steps=settings.num_steps)


def targets(settings: BMNSettings) -> Targets:
    """Boundaries and the overlap of every proposal, as `losses` takes them."""

    def of_video(
        segments: NDArray[np.float64], labels: NDArray[np.int64], num_steps: int
    ) -> dict[str, NDArray[Any]]:
        start, end, _ = boundary_targets(segments, num_steps, width_steps=_REGION_STEPS)
        maps = window_overlaps(segments, settings.num_durations, num_steps)
        found = {"maps": maps, "start": start, "end": end}
        return {name: array.astype(np.float32) for name, array in found.items()}

    return of_video


def candidates(
    settings: BMNSettings, outputs: BMNOutput, score_threshold: float
) -> list[Candidates]:
    """All pairs of a likely start and a likely end; see `decode_boundary_maps`."""
    return decoded(outputs._asdict(), decoding(settings), score_threshold)


def decoding(settings: BMNSettings) -> SegmentDecoding:
    """Pairs of a likely start and a likely end."""
    return SegmentDecoding(form="boundary_maps", num_steps=settings.num_steps)


SPEC = ModelSpec(
    title="BMN",
    task=Localisation(
        sequence_shape=sequence_shape,
        targets=targets,
        losses=lambda outputs, targets, generator: losses(outputs, targets, generator=generator),
        curves=lambda outputs: {"start": outputs.start, "end": outputs.end},
        candidates=candidates,
        decides="auc",
        exports=SegmentGraph(
            outputs=lambda outputs: outputs._asdict(), curves=("start", "end"), decoding=decoding
        ),
    ),
    settings=BMNSettings,
    build=BMN,
    paddle=PaddleWeights(names=paddle_names, ignored=("sample_mask",)),
)
