"""From the outputs of localisers, as arrays, to candidates; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videozoo.candidates import Candidates
from videozoo.ops.anchors import AnchorCoder
from videozoo.ops.proposal_generation import (
    ProposalRules,
    decode_boundary_maps,
    generate_proposals,
)

Arrays = Mapping[str, NDArray[Any]]

CURVES = ("start", "end", "action")
"""Names of the scores of steps from which BSN makes proposals."""


class Decoding(Protocol):
    """How outputs become candidates; see `types.SegmentDecoding`."""

    @property
    def form(self) -> str:
        """What the outputs are."""
        ...

    @property
    def num_steps(self) -> int:
        """T."""
        ...

    @property
    def strides(self) -> Sequence[int]:
        """Of anchors: steps between the positions of each level."""
        ...

    @property
    def proposals(self) -> ProposalRules:
        """Which pairs become proposals."""
        ...


def candidates_of(outputs: Arrays, decoding: Decoding, score_threshold: float) -> list[Candidates]:
    """Candidates of each video.

    Args:
        outputs: float32, as `decoding.form` says; of anchors `probabilities` (N, A, C), the softmax
            of the logits, in place of these.
        decoding: How.
        score_threshold: Of candidates with classes, those that score lower are left out.

    Raises:
        KeyError, ValueError, IndexError: The outputs are not such ones.
    """
    if decoding.form == "boundary_maps":
        rows = zip(outputs["maps"], outputs["start"], outputs["end"], strict=True)
        return [decode_boundary_maps(*one) for one in rows]
    if decoding.form == "boundary_pairs":
        return _pairs(outputs["start"], outputs["end"], decoding.proposals)
    if decoding.form == "scored_proposals":
        return _scored(outputs)
    coder = anchor_coder(decoding.num_steps, tuple(decoding.strides))
    rows = zip(outputs["offsets"], outputs["probabilities"], strict=True)
    return [coder.decode(*one, score_threshold=score_threshold) for one in rows]


@cache
def anchor_coder(num_steps: int, strides: tuple[int, ...]) -> AnchorCoder:
    """The anchors of one size, made once.

    Raises:
        ValueError: A stride does not divide `num_steps`.
    """
    return AnchorCoder(num_steps, strides)


def _pairs(start: NDArray[Any], end: NDArray[Any], options: ProposalRules) -> list[Candidates]:
    found = [
        generate_proposals(*one, threshold=options.threshold, top_k=options.most)
        for one in zip(start, end, strict=True)
    ]
    return [Candidates(each.segments, each.scores) for each in found]


def _scored(outputs: Arrays) -> list[Candidates]:
    """All proposals; the score is the product of those of start, end and the second stage."""
    scores = (outputs["boundary_scores"] * outputs["scores"]).astype(np.float64)
    segments = outputs["segments"].astype(np.float64)
    return [
        Candidates(each[kept], values[kept])
        for each, values, kept in zip(segments, scores, outputs["mask"], strict=True)
    ]
