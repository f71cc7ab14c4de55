"""TALL: find the moment that a sentence describes (Gao et al., ICCV 2017, arXiv:1705.02101).

"TALL: Temporal Activity Localization via Language Query", whose network is called CTRL there.
Reference behaviour: PaddlePaddle/models release/1.8.

::

    clip, with what comes before and after it (C, Dv) ── layer ── length 1 ─┐ a
                                        sentence (S, Dq) ── layer ── length 1 ─┐ b
                                                                               │
             every pair: a * b, a + b, a, b side by side ── layer, relu ── layer ── 3 numbers

The three are how well the two agree, and how far the moment's start and end are from the clip's.
Three of the four parts side by side belong to a clip or a sentence alone, so their products with
the layer are computed once for each; a pair costs a quarter of what it seems to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo.ops.frames import l2_normalize
from videozoo.types import ModelSpec, MomentRetrieval, PaddleName, PaddleWeights, Settings

_PAIRS_AT_ONCE = 16_384
"""Of a grid; more would only take memory."""


class TALLSettings(Settings):
    """Architecture of TALL."""

    visual_dim: int = Field(default=12_288, ge=1)
    """Length of a clip's features, including those before and after it."""
    sentence_dim: int = Field(default=4800, ge=1, le=1_000_000)
    """Length of a sentence's vector."""
    semantic_size: int = Field(default=1024, ge=1)
    """Units of the space where clips and sentences meet."""
    hidden_size: int = Field(default=1000, ge=1)
    """Units between a pair and its three numbers."""


class TALL(nn.Module):
    """Clips and sentences in; for every pair, how well they agree and how to move the clip's ends.

    The three numbers of a pair are a similarity without bounds, and what to add to the clip's
    start and end, in the unit of the training offsets (frames in the 2019 library).
    """

    def __init__(self, settings: TALLSettings) -> None:
        super().__init__()
        size = settings.semantic_size
        self.clips = nn.Linear(settings.visual_dim, size, bias=False)
        self.sentences = nn.Linear(settings.sentence_dim, size, bias=False)
        nn.init.normal_(self.clips.weight)
        nn.init.normal_(self.sentences.weight)
        self.fuse = _layer_of_pairs(4 * size, settings.hidden_size)
        self.head = _layer_of_pairs(settings.hidden_size, 3)

    def forward(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """Compare each of B clips with each of their B sentences, for training.

        Args:
            visual: (B, visual_dim).
            sentences: (B, sentence_dim), each belonging to the clip of the same number.

        Returns:
            (3, B, B): similarity, start and end offset; then sentences, then clips.
        """
        return self.grid(visual, sentences)

    def grid(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """Compare each of C clips with each of S sentences.

        Args:
            visual: (C, visual_dim).
            sentences: (S, sentence_dim).

        Returns:
            (3, S, C): similarity, start and end offset.
        """
        a, b = self._embedded(visual, sentences)
        product, of_clips, of_sentences = self._parts(a, b)
        step = max(1, _PAIRS_AT_ONCE // max(1, len(a)))
        rows = [
            self._three(F.linear(a * some[:, None], product) + of_clips + alone[:, None])
            for some, alone in zip(b.split(step), of_sentences.split(step), strict=True)
        ]
        return torch.cat(rows).permute(2, 0, 1)

    def pairs(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """Compare P clips each with its own sentence.

        Args:
            visual: (P, visual_dim).
            sentences: (P, sentence_dim).

        Returns:
            (P, 3): similarity, start and end offset.
        """
        a, b = self._embedded(visual, sentences)
        product, of_clips, of_sentences = self._parts(a, b)
        return self._three(F.linear(a * b, product) + of_clips + of_sentences)

    def _embedded(self, visual: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
        return l2_normalize(self.clips(visual), 1), l2_normalize(self.sentences(sentences), 1)

    def _parts(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights for a * b, and what clips and sentences add by themselves."""
        product, total, clip, sentence = self.fuse.weight.flatten(1).chunk(4, dim=1)
        return product, F.linear(a, total + clip), F.linear(b, total + sentence)

    def _three(self, hidden: Tensor) -> Tensor:
        """(..., hidden_size) -> (..., 3)."""
        return F.linear(torch.relu(hidden), self.head.weight.flatten(1))


def _layer_of_pairs(c_in: int, c_out: int) -> nn.Conv2d:
    """A 1x1 convolution over the grid of pairs, as in the 2019 library; only its weight is used."""
    layer = nn.Conv2d(c_in, c_out, 1, bias=False)
    nn.init.normal_(layer.weight, std=(2 / c_in) ** 0.5)
    return layer


@dataclass(frozen=True)
class MomentLosses:
    """The two parts of the loss of a batch."""

    alignment: Tensor
    """Of similarities: low for a clip and its own sentence, high for any other pair."""
    regression: Tensor
    """Mean distance of the offsets from the true ones, in their unit."""

    @property
    def total(self) -> Tensor:
        """The loss to minimise."""
        return self.alignment + 0.01 * self.regression


def losses(outputs: Tensor, offsets: Tensor) -> MomentLosses:
    """Score a batch in which every sentence has one clip, the one of the same number.

    Args:
        outputs: (3, B, B), from `TALL.forward`.
        offsets: (B, 2), from each clip's start and end to those of its moment.

    Source:
        ln(1 + exp(-similarity)) of the B pairs that belong together, weighted by 1 + 1 / B, and
        ln(1 + exp(similarity)) of the others, weighted by 1 / B; the sum divided by B * B.
    """
    outputs = outputs.float()
    size = outputs.shape[1]
    own = torch.eye(size, device=outputs.device)
    alignment = (F.softplus((1 - 2 * own) * outputs[0]) * (own + 1 / size)).mean()
    predicted = outputs[1:].diagonal(dim1=1, dim2=2).T
    return MomentLosses(alignment, F.l1_loss(predicted, offsets))


def paddle_names(settings: TALLSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    return {
        "clips.weight": PaddleName("v2s_lt_weights", transpose=True),
        "sentences.weight": PaddleName("s2s_lt_weights", transpose=True),
        "fuse.weight": PaddleName("mid_out_weights"),
        "head.weight": PaddleName("sim_mat_weights"),
    }


def named_losses(outputs: Tensor, offsets: Tensor) -> dict[str, Tensor]:
    """As `losses`, for training: what is learnt from, and what the log shows."""
    found = losses(outputs, offsets)
    return {"loss": found.total, "regression_loss": found.regression}


SPEC = ModelSpec(
    title="TALL",
    task=MomentRetrieval(losses=named_losses, exports=True),
    settings=TALLSettings,
    build=TALL,
    start_sizes=("visual_dim", "sentence_dim"),
    paddle=PaddleWeights(names=paddle_names),
)
