import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from videozoo.errors import ConfigError
from videozoo.ops.beam_search import Hypothesis, beam_search

quick = settings(max_examples=60, deadline=None)

START, END = 0, 1


@dataclass(frozen=True)
class Language:
    """What comes next depends on the video and on all words so far, by a table of chances."""

    words: int
    likely_end: float
    seed: int

    def table(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        logits = 2 * torch.randn(97, self.words, generator=generator, dtype=torch.float64)
        logits[:, END] += self.likely_end
        return logits.log_softmax(dim=1)

    def starts(self, videos: int) -> Tensor:
        return torch.arange(videos, dtype=torch.float64)[:, None] * 11 % 97

    def step(self, videos: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        assert len(videos) == len(words) == len(states)
        states = (states * 7 + words[:, :, None] * 13 + 5) % 97
        return self.table()[states[:, :, 0].long()], states


languages = st.builds(
    Language, words=st.integers(2, 7), likely_end=st.floats(-2, 4), seed=st.integers(0, 10_000)
)


def searched(
    language: Language, *, videos: int = 1, beam_size: int, max_length: int
) -> list[list[Hypothesis]]:
    return beam_search(
        language.step, language.starts(videos), beam_size=beam_size, max_length=max_length
    )


Sentence = tuple[tuple[int, ...], tuple[float, ...]]


def plain(language: Language, video: int, beam_size: int, max_length: int) -> list[Sentence]:
    """One video and one sentence at a time."""
    table = language.table()
    live: list[tuple[Sentence, float]] = [(((START,), (0.0,)), video * 11 % 97)]
    for _ in range(max_length):
        candidates: list[tuple[Sentence, float, bool]] = []
        for (tokens, scores), state in live:
            if tokens[-1] == END:
                candidates.append((((*tokens, END), (*scores, scores[-1])), state, True))
                continue
            state = (state * 7 + tokens[-1] * 13 + 5) % 97
            row = list[float](table[int(state)].tolist())
            for chance, word in sorted(((c, w) for w, c in enumerate(row)), reverse=True)[
                :beam_size
            ]:
                longer = (*tokens, word), (*scores, scores[-1] + chance)
                candidates.append((longer, state, False))
        candidates.sort(key=lambda candidate: -candidate[0][1][-1])
        kept = candidates[:beam_size]
        if all(had_ended for *_, had_ended in kept):
            break
        live = [(sentence, state) for sentence, state, _ in kept]
    return [_cut(*sentence) for sentence, _ in live]


def _cut(tokens: tuple[int, ...], scores: tuple[float, ...]) -> Sentence:
    stop = tokens.index(END) + 1 if END in tokens else len(tokens)
    return tokens[:stop], scores[:stop]


@quick
@given(languages, st.integers(1, 5), st.integers(1, 6), st.integers(1, 12))
def test_finds_what_the_plain_search_finds(
    language: Language, videos: int, beam_size: int, max_length: int
):
    found = searched(language, videos=videos, beam_size=beam_size, max_length=max_length)

    assert len(found) == videos
    for video, sentences in enumerate(found):
        expected = plain(language, video, beam_size, max_length)
        assert [s.tokens for s in sentences] == [tokens for tokens, _ in expected]
        for sentence, (_, scores) in zip(sentences, expected, strict=True):
            assert sentence.scores == pytest.approx(scores, abs=1e-5)


@quick
@given(languages, st.integers(1, 12))
def test_a_beam_of_one_takes_the_likeliest_word_each_time(language: Language, max_length: int):
    ((sentence,),) = searched(language, beam_size=1, max_length=max_length)

    state, tokens = 0.0, [START]
    while len(tokens) <= max_length and (len(tokens) == 1 or tokens[-1] != END):
        state = (state * 7 + tokens[-1] * 13 + 5) % 97
        tokens.append(int(language.table()[int(state)].argmax()))
    assert list(sentence.tokens) == tokens


@quick
@given(languages, st.integers(1, 6), st.integers(1, 12))
def test_sentences_differ_end_once_and_come_best_first(
    language: Language, beam_size: int, max_length: int
):
    (sentences,) = searched(language, beam_size=beam_size, max_length=max_length)

    assert 1 <= len(sentences) <= beam_size
    assert len({s.tokens for s in sentences}) == len(sentences)
    finals = [s.scores[-1] for s in sentences]
    assert finals == sorted(finals, reverse=True)
    for sentence in sentences:
        assert len(sentence.tokens) == len(sentence.scores) <= max_length + 1
        assert sentence.tokens[0] == START
        assert sentence.scores[0] == 0
        assert END not in sentence.tokens[1:-1]
        assert list(sentence.scores) == sorted(sentence.scores, reverse=True)


def test_an_ended_sentence_competes_with_longer_ones():
    # it may end at once; by "2" it takes longer but is likelier in all
    table = {0: (0.0, 0.35, 0.4, 0.25), 2: (0.0, 0.9, 0.0, 0.1), 3: (0.0, 0.3, 0.3, 0.4)}
    chances_of = torch.zeros(4, 4)
    for word, row in table.items():
        chances_of[word] = torch.tensor(row)

    def step(videos: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        return chances_of.log()[words], states

    (found,) = beam_search(step, torch.zeros(1, 1), beam_size=2, max_length=5)

    assert [s.tokens for s in found] == [(0, 2, 1), (0, 1)]
    chances = [math.exp(s.scores[-1]) for s in found]
    assert chances == pytest.approx([0.36, 0.35], abs=1e-6)


@given(st.integers(-3, 0))
def test_a_beam_below_one_is_refused(size: int):
    with pytest.raises(ConfigError, match=f"beam_size is {size}, expected 1 or more; 1 decodes"):
        searched(Language(3, 0, 0), beam_size=size, max_length=3)
    with pytest.raises(ConfigError, match=f"max_length is {size}, expected 1 or more"):
        searched(Language(3, 0, 0), beam_size=1, max_length=size)


def test_no_video_gives_no_sentence():
    assert searched(Language(3, 0, 0), videos=0, beam_size=2, max_length=3) == []


def test_a_video_that_is_done_is_not_decoded_any_further():
    asked: list[int] = []

    def step(videos: Tensor, words: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(videos))
        chances = torch.full((*words.shape, 3), -9.0)
        chances[videos == 0, :, END] = 0  # the first video ends at once
        chances[videos == 1, :, 2] = 0  # the second never does
        return chances, states

    beam_search(step, torch.zeros(2, 1), beam_size=1, max_length=6)

    assert asked == [2, 2, 1, 1, 1, 1]  # one step more to see that it is over
