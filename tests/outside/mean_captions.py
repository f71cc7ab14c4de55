"""Mean to words: a GRU writes a sentence on the mean vector of an event."""

import torch
from pydantic import Field
from torch import Tensor, nn

from videozoo.ops import frame_mask
from videozoo.ops.beam_search import Hypothesis, beam_search
from videozoo.ops.sentences import END, START
from videozoo.types import Captioning, ModelSpec, Settings


class MeanCaptionsSettings(Settings):
    vocabulary_size: int = Field(default=100, ge=3)
    """Words it knows."""
    feature_dim: int = Field(default=8, ge=1)
    """Length of a frame's features."""
    size: int = Field(default=24, ge=1)
    """Units of the GRU, and length of a word's vector."""


class MeanCaptions(nn.Module):
    def __init__(self, settings: MeanCaptionsSettings) -> None:
        super().__init__()
        self.start = nn.Linear(settings.feature_dim, settings.size)
        self.words = nn.Embedding(settings.vocabulary_size, settings.size)
        self.cell = nn.GRUCell(settings.size, settings.size)
        self.head = nn.Linear(settings.size, settings.vocabulary_size)

    def forward(self, features: Tensor, lengths: Tensor, words: Tensor) -> Tensor:
        """Logits (N, L, vocabulary_size) of the word after each."""
        state, logits = self.state(features, lengths), list[Tensor]()
        for word in words.clamp(min=0).unbind(1):
            state = self.cell(self.words(word), state)
            logits.append(self.head(state))
        return torch.stack(logits, dim=1)

    def state(self, features: Tensor, lengths: Tensor) -> Tensor:
        mask = frame_mask(lengths, features.shape[1])[:, :, None]
        return self.start(features.masked_fill(~mask, 0).sum(1) / lengths[:, None]).tanh()

    def caption(
        self, features: Tensor, lengths: Tensor, *, beam_size: int, max_length: int
    ) -> list[list[Hypothesis]]:
        def step(videos: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
            flat = self.cell(self.words(words).flatten(0, 1), states.flatten(0, 1))
            states = flat.unflatten(0, words.shape)
            return self.head(states).log_softmax(2), states

        first = self.state(features, lengths)
        return beam_search(
            step, first, beam_size=beam_size, max_length=max_length, start=START, end=END
        )


SPEC = ModelSpec(
    title="Mean to words",
    task=Captioning(),
    settings=MeanCaptionsSettings,
    build=MeanCaptions,
)
