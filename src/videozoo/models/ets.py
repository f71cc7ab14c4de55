"""ETS: describe what happens in a video, word by word (Yao et al., ICCV 2015, arXiv:1502.08029).

"Describing Videos by Exploiting Temporal Structure". Reference behaviour: PaddlePaddle/models
release/1.8, whose parts differ from the paper's.

::

    frames (N, T, D) ── tanh layer ─┬─ GRU, first to last ─┐
                                    └─ GRU, last to first ─┴─ states (N, T, 2H)
                                                               │
         mean over T weighted by attention ── context ─┐       ├─ mean over T, weighted by softmax
                     the word before, embedded ────────┴─ GRU ─┴─ of a score a frame: first state
                                                           │
                                                 a score for every word

The attention was meant to depend on the words so far. But the 2019 library adds the decoder's state
equally to all frames, and without a tanh around the sum the softmax cancels it: every word of a
video looks at the same frames. So the context is computed once per video, and all words of a known
sentence are read in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from videozoo.ops import frame_mask, softmax_over_frames
from videozoo.ops.beam_search import beam_search
from videozoo.ops.frames import attended, linear
from videozoo.ops.gated_recurrence import gated_recurrence, gated_step, recurrent_weights
from videozoo.ops.peephole import reversed_in_time
from videozoo.ops.sentences import END, PADDING, START, Caption, with_attention
from videozoo.types import (
    CaptionGraphs,
    Captioning,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    ParameterRule,
    Settings,
)


class ETSSettings(Settings):
    """Architecture of ETS."""

    vocabulary_size: int = Field(default=10_000, ge=3)
    """Size of the vocabulary, including `<s>`, `<e>` and `<unk>`."""
    feature_dim: int = Field(default=2048, ge=1)
    """Length of a frame's features."""
    embedding_size: int = Field(default=1024, ge=1)
    """Units between the features and the GRUs that read them."""
    gru_size: int = Field(default=512, ge=1)
    """Units of each of those GRUs."""
    decoder_size: int = Field(default=512, ge=1)
    """Units of the GRU that writes."""
    word_size: int = Field(default=512, ge=1)
    """Length of a word's vector."""


@dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """Inputs of the decoder for N videos."""

    states: Tensor
    """(N, T, 2H): outputs of the two GRUs; zeros in padding."""
    vector: Tensor
    """(N, 2H): the whole video."""
    projected: Tensor
    """(N, T, decoder_size): the states as the attention sees them."""
    attention: Tensor
    """(N, T): where every word looks; each row sums to 1, padding gets 0."""
    context: Tensor
    """(N, 2H): what every word sees there."""
    start: Tensor
    """(N, decoder_size): state before the first word."""


class ETS(nn.Module):
    """Feature sequences and the words so far in, logits of the next words out."""

    def __init__(self, settings: ETSSettings) -> None:
        super().__init__()
        size, decoder, units = settings.gru_size, settings.decoder_size, settings.embedding_size

        def layer(c_in: int, c_out: int) -> nn.Linear:
            return linear(c_in, c_out, init="xavier", bias=False)

        self.embed = linear(settings.feature_dim, units, init="xavier")
        self.inputs = nn.ModuleList(layer(units, 3 * size) for _ in range(2))
        self.recurrent = nn.ParameterList(_recurrent(size) for _ in range(2))
        self.bias = nn.ParameterList(torch.zeros(1, 3 * size) for _ in range(2))
        self.frame_scores = layer(2 * size, 1)
        self.project = layer(2 * size, decoder)
        self.start = layer(2 * size, decoder)
        self.words = nn.Embedding(settings.vocabulary_size, settings.word_size)
        nn.init.xavier_uniform_(self.words.weight)
        self.project_state = layer(decoder, decoder)
        self.attention_scores = layer(decoder, 1)
        self.word_inputs = layer(settings.word_size, 3 * decoder)
        self.context_inputs = layer(2 * size, 3 * decoder)
        self.decoder_recurrent = _recurrent(decoder)
        self.decoder_bias = nn.Parameter(torch.zeros(1, 3 * decoder))
        self.head = linear(decoder, settings.vocabulary_size, init="xavier")

    def forward(self, features: Tensor, lengths: Tensor, words: Tensor) -> Tensor:
        """Score the word after each word of known sentences.

        Args:
            features: (N, T, feature_dim), padded at the end.
            lengths: int64 (N,), frames of each video, at least 1.
            words: int64 (N, L): `START`, the sentence, then `PADDING`.

        Returns:
            Logits (N, L, vocabulary_size); undefined in padding.
        """
        encoded = self.encode(features, lengths)
        context = self.context_inputs(encoded.context)
        hidden = gated_recurrence(
            (self.word_inputs(self.words(words.clamp(min=0))) + context[:, None])[None],
            self.decoder_recurrent[None],
            self.decoder_bias,
            (words != PADDING).sum(1),
            encoded.start[None],
        )
        return self.head(hidden[0])

    def encode(self, features: Tensor, lengths: Tensor) -> EncodedVideo:
        """Look at videos: features (N, T, feature_dim), padded at the end, and lengths (N,)."""
        x = torch.tanh(self.embed(features))
        forwards, backwards = self.inputs
        hidden = gated_recurrence(
            torch.stack((forwards(x), reversed_in_time(backwards(x), lengths))),
            torch.stack(tuple(self.recurrent)),
            torch.cat(tuple(self.bias)),
            lengths,
        )
        states = torch.cat((hidden[0], reversed_in_time(hidden[1], lengths)), dim=2)
        return self.look(states, lengths)

    def look(self, states: Tensor, lengths: Tensor) -> EncodedVideo:
        """Do what `encode` does from the states of the two GRUs on, (N, T, 2 * gru_size)."""
        mask = frame_mask(lengths, states.shape[1])
        vector = _mean(states, softmax_over_frames(self.frame_scores(states).squeeze(2), mask))
        projected, start = self.project(states), torch.tanh(self.start(vector))
        # any state of the decoder gives the same attention, so the first one is used
        scores = self.attention_scores(projected + self.project_state(start)[:, None])
        attention = softmax_over_frames(scores.squeeze(2), mask)
        return EncodedVideo(
            states=states,
            vector=vector,
            projected=projected,
            attention=attention,
            context=_mean(states, attention),
            start=start,
        )

    def step(
        self, encoded: EncodedVideo, words: Tensor, states: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One word more, in K sentences per video.

        Args:
            encoded: N videos.
            words: int64 (N, K), the last word of each sentence.
            states: (N, K, decoder_size); at first `encoded.start` for all K.

        Returns:
            Log-probabilities of the next words (N, K, vocabulary_size), new states, and where the
            words looked, (N, K, T).
        """
        context = self.context_inputs(encoded.context)
        log_probs, states = self.step_from(context, words, states)
        return log_probs, states, encoded.attention[:, None].expand(-1, words.shape[1], -1)

    @torch.no_grad()
    def caption(
        self, features: Tensor, lengths: Tensor, *, beam_size: int, max_length: int
    ) -> list[list[Caption]]:
        """Describe videos.

        Args:
            features: (N, T, feature_dim), padded at the end.
            lengths: int64 (N,), frames of each video, at least 1.
            beam_size: Sentences kept per video; 1 decodes greedily.
            max_length: Most words of a sentence, the end mark included.

        Returns:
            Up to `beam_size` captions per video, the best first.

        Raises:
            ConfigError: `beam_size` or `max_length` is below 1.
        """
        encoded = self.encode(features, lengths)
        context = self.context_inputs(encoded.context)
        found = beam_search(
            lambda videos, words, states: self.step_from(context[videos], words, states),
            encoded.start,
            beam_size=beam_size,
            max_length=max_length,
            start=START,
            end=END,
        )
        # Autocast keeps the weights that it cast, in PyTorch 2.9 also those cast here, without
        # gradients: training in the same block would learn nothing.
        torch.clear_autocast_cache()
        return with_attention(found, encoded.attention, lengths)

    def step_from(self, context: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """As `step`, from the inputs (N, 3 * decoder_size) that the context makes."""
        inputs = self.word_inputs(self.words(words)) + context[:, None] + self.decoder_bias
        states = gated_step(inputs, states, self.decoder_recurrent)
        return self.head(states).log_softmax(dim=2), states


def _recurrent(size: int) -> nn.Parameter:
    """A recurrent weight in the layout of PaddlePaddle 1.8; see `recurrent_weights`."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(size, 3 * size)))


def _mean(states: Tensor, weights: Tensor) -> Tensor:
    """(N, T, C) weighted by (N, T) -> (N, C)."""
    return attended(weights[:, :, None], states).squeeze(1)


def paddle_names(settings: ETSSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names, numbered in the order of creation."""
    layers = {
        "embed": "fc_0.w_0",
        "inputs.0": "fc_1.w_0",
        "inputs.1": "fc_2.w_0",
        "frame_scores": "fc_3.w_0",
        "project": "fc_4.w_0",
        "start": "fc_5.w_0",
        "project_state": "fc_6.w_0",
        "attention_scores": "fc_7.w_0",
        "word_inputs": "fc_8.w_0",
        "context_inputs": "fc_8.w_1",
        "head": "fc_9.w_0",
    }
    names = {f"{ours}.weight": PaddleName(n, transpose=True) for ours, n in layers.items()}
    names["words.weight"] = PaddleName("embedding_0.w_0")
    names["embed.bias"], names["head.bias"] = PaddleName("fc_0.b_0"), PaddleName("fc_9.b_0")
    grus = {"gru_0": ("recurrent.0", "bias.0"), "gru_1": ("recurrent.1", "bias.1")}
    grus["gru_unit_0"] = "decoder_recurrent", "decoder_bias"
    for gru, (recurrent, bias) in grus.items():
        names[recurrent] = PaddleName(f"{gru}.w_0")
        names[bias] = PaddleName(f"{gru}.b_0")
    return names


def parameter_rules(module: nn.Module) -> dict[str, ParameterRule]:
    """Everything decays, also biases, except that of the first layer."""
    return {"embed.bias": ParameterRule(decay="none")}


class Encoder(nn.Module):
    """From frames to what the decoder needs to know of a video: one half of an exported model."""

    def __init__(self, network: ETS) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, T, feature_dim) and lengths (N,) to context, first state and attention.

        The context, (N, 3 * decoder_size), is what every word adds to its input; the state before
        the first word is (N, decoder_size), where every word looks (N, T).
        """
        encoded = self.network.encode(features, lengths)
        return self.network.context_inputs(encoded.context), encoded.start, encoded.attention


class EncoderGraph(nn.Module):
    """As `Encoder`, for an export.

    ONNX has an operator for the GRUs that read the frames. There the update gate weighs the old
    state and not the new candidate, so its numbers get the other sign: 1 - sigmoid(x) is
    sigmoid(-x).
    """

    weight: Tensor
    recurrent: Tensor
    bias: Tensor

    def __init__(self, network: ETS) -> None:
        super().__init__()
        self.network = network
        size = network.bias[0].shape[1] // 3
        sign = torch.ones(3 * size)
        sign[:size] = -1
        gates, candidate = recurrent_weights(torch.stack(tuple(network.recurrent)))
        recurrent = torch.cat((gates, candidate), dim=2).transpose(1, 2)
        bias = torch.cat(tuple(network.bias)) * sign
        weight = torch.stack([layer.get_parameter("weight") for layer in network.inputs])
        self.size = size
        self.register_buffer("weight", weight * sign[:, None])
        self.register_buffer("recurrent", recurrent * sign[:, None])
        self.register_buffer("bias", torch.cat((bias, torch.zeros_like(bias)), dim=1))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Encoder.forward`."""
        x = torch.tanh(self.network.embed(features)).transpose(0, 1)
        states = torch.onnx.ops.symbolic(
            "GRU",
            (x, self.weight, self.recurrent, self.bias, lengths.to(torch.int32)),
            {"hidden_size": self.size, "direction": "bidirectional", "linear_before_reset": 0},
            dtype=torch.float32,
            shape=(x.shape[0], 2, x.shape[1], self.size),
            version=14,
        )
        encoded = self.network.look(states.permute(2, 0, 1, 3).flatten(2), lengths)
        return self.network.context_inputs(encoded.context), encoded.start, encoded.attention


class StepGraph(nn.Module):
    """From the last words to the next: the other half."""

    def __init__(self, network: ETS) -> None:
        super().__init__()
        self.network = network

    def forward(self, context: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """As `ETS.step_from`."""
        return self.network.step_from(context, words, states)


SPEC = ModelSpec(
    title="ETS",
    task=Captioning(
        explains=True,
        exports=CaptionGraphs(encoder=EncoderGraph, step=StepGraph, reference=Encoder),
    ),
    settings=ETSSettings,
    build=ETS,
    parameter_rules=parameter_rules,
    paddle=PaddleWeights(names=paddle_names),
)
