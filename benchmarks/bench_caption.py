"""Captions for many videos: beams of all videos in one batch beside one video at a time.

The plain side is the same search as most captioners write it: a video, then each of its sentences,
a step of the decoder for each, and the attention computed anew for every word. Both sides give the
same captions, which is checked first. A third side is ours, but fed one video at a time.

    python -m benchmarks caption
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    UnequalError,
    as_figures,
    check_close,
    main,
    measure,
    one_thread,
    ratio,
)
from videozoo.models.ets import ETS, ETSSettings
from videozoo.ops.gated_recurrence import gated_step
from videozoo.ops.sentences import END, START

VIDEOS, WORDS, MAX_LENGTH, BEAM = 16, 5000, 20, 3
FRAMES = 20, 60
"""Shortest and longest video."""
NEVER_SAID, END_LIKED = -1e9, 6.0
"""Logits of the start, and of the end: so that captions have about ten words."""

Found = list[list[tuple[tuple[int, ...], float]]]
"""By video, best first: tokens and score."""


@dataclass(frozen=True)
class Case:
    """A network and what it is to describe."""

    module: ETS
    features: Tensor
    lengths: Tensor


def made(options: Options) -> Case:
    torch.manual_seed(0)
    size = 64 if options.quick else 512
    words = 100 if options.quick else WORDS
    module = ETS(
        ETSSettings(
            vocabulary_size=words,
            feature_dim=2 * size,
            embedding_size=size,
            gru_size=size,
            decoder_size=size,
            word_size=size,
        )
    )
    with torch.no_grad():  # fresh weights like every word alike; these have opinions, and an end
        module.words.weight.mul_(40)
        module.head.weight.mul_(30)
        module.head.bias[END] = END_LIKED
        module.head.bias[START] = NEVER_SAID
    videos = 3 if options.quick else VIDEOS
    lengths = torch.randint(*FRAMES, (videos,))
    return Case(module.eval(), torch.randn(videos, int(lengths.max()), 2 * size), lengths)


def together(case: Case, beam_size: int) -> Found:
    found = case.module.caption(
        case.features, case.lengths, beam_size=beam_size, max_length=MAX_LENGTH
    )
    return [[(s.tokens, s.scores[-1]) for s in sentences] for sentences in found]


def one_by_one(case: Case, beam_size: int) -> Found:
    return [
        together(Case(case.module, features[None, :length], torch.tensor([length])), beam_size)[0]
        for features, length in zip(case.features, case.lengths.tolist(), strict=True)
    ]


@torch.no_grad()
def plainly(case: Case, beam_size: int) -> Found:
    return [
        _plain_search(case.module, features[:length], beam_size)
        for features, length in zip(case.features, case.lengths.tolist(), strict=True)
    ]


def _plain_search(module: ETS, features: Tensor, beam_size: int) -> list[Any]:
    encoded = module.encode(features[None], torch.tensor([len(features)]))
    states, projected = encoded.states[0], encoded.projected[0]
    live: list[tuple[tuple[int, ...], float, Tensor]] = [((START,), 0.0, encoded.start[0])]
    for _ in range(MAX_LENGTH):
        candidates: list[tuple[tuple[int, ...], float, Tensor]] = []
        for tokens, score, hidden in live:
            if tokens[-1] == END:
                candidates.append((tokens, score, hidden))
                continue
            scores = module.attention_scores(projected + module.project_state(hidden))
            context = scores.softmax(0).T @ states
            inputs = module.word_inputs(module.words.weight[tokens[-1]])
            inputs = inputs + module.context_inputs(context)[0] + module.decoder_bias[0]
            hidden = gated_step(inputs, hidden, module.decoder_recurrent)
            best = module.head(hidden).log_softmax(0).topk(beam_size)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            candidates += [((*tokens, word), score + value, hidden) for word, value in pairs]
        live = sorted(candidates, key=lambda candidate: -candidate[1])[:beam_size]
        if all(tokens[-1] == END for tokens, *_ in live):
            break
    return [(tokens, score) for tokens, score, _ in live]


def compared(case: Case, beam_size: int, options: Options) -> tuple[list[Target], dict[str, Any]]:
    """Targets and figures of one beam size."""
    ways = {"videozoo": together, "one video at a time": one_by_one, "plain": plainly}
    found = {name: way(case, beam_size) for name, way in ways.items()}
    difference = 0.0
    for name in ("one video at a time", "plain"):
        ours, theirs = (
            [sentence for video in found[side] for sentence in video] for side in ("videozoo", name)
        )
        if [tokens for tokens, _ in ours] != [tokens for tokens, _ in theirs]:
            raise UnequalError(f"beam {beam_size}: {name} finds other captions")
        scores = ([score for _, score in side] for side in (ours, theirs))
        difference = max(difference, check_close(name, *scores, most=1e-3))
    words = [len(tokens) - 1 for video in found["videozoo"] for tokens, _ in video]
    sides = {name: partial(way, case, beam_size) for name, way in ways.items()}
    timings = measure(sides, rounds=2 if options.quick else 5)
    kind = "greedy" if beam_size == 1 else f"beam {beam_size}"
    targets = [
        Target(
            name=f"{kind}, {len(case.lengths)} videos: as fast as {name}",
            limit=limit,
            figure=ratio(timings, name, "videozoo"),
        )
        for name, limit in (("one video at a time", 1.5), ("plain", 3.0))
    ]
    sizes = {"words_mean": sum(words) / len(words), "largest_difference": difference}
    return targets, sizes | as_figures(timings)


def run(options: Options) -> Outcome:
    one_thread()
    case = made(options)
    targets: list[Target] = []
    figures: dict[str, Any] = {
        "videos": len(case.lengths),
        "words_known": case.module.words.num_embeddings,
        "max_length": MAX_LENGTH,
    }
    for beam_size in (1, BEAM):
        found, figures[f"beam_{beam_size}"] = compared(case, beam_size, options)
        targets += found
    return Outcome("caption", targets, figures, packages=("torch",))


if __name__ == "__main__":
    main(run)
