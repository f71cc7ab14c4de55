from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.settings import TrainSettings
from videozoo.errors import ConfigError
from videozoo.models.ets import ETS, SPEC, ETSSettings, paddle_names
from videozoo.ops.sentences import PADDING, START, caption_loss, sentence_of

quick = settings(max_examples=15, deadline=None)

SMALL = ETSSettings(
    vocabulary_size=11, feature_dim=6, embedding_size=5, gru_size=4, decoder_size=3, word_size=7
)
LENGTHS = st.lists(st.integers(1, 8), min_size=1, max_size=4)


def build(**changes: Any) -> ETS:
    torch.manual_seed(0)
    return ETS(SMALL.model_copy(update=changes))


def videos(lengths: list[int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(lengths), max(lengths), 6, generator=generator), torch.tensor(lengths)


def sentences(counts: list[int]) -> Tensor:
    """Random words after the start token, then padding."""
    generator = torch.Generator().manual_seed(2)
    words = torch.randint(2, 11, (len(counts), max(counts)), generator=generator)
    words[:, 0] = START
    return words.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], PADDING)


@quick
@given(LENGTHS)
def test_known_sentences_are_scored_as_if_written_word_by_word(lengths: list[int]):
    module, (features, counts) = build().eval(), videos(lengths)
    words = sentences([length % 5 + 1 for length in lengths])

    logits = module(features, counts, words)

    assert logits.shape == (*words.shape, 11)
    encoded = module.encode(features, counts)
    states = encoded.start[:, None]
    for step in range(words.shape[1]):
        last = words[:, step : step + 1]
        log_probs, states, _ = module.step(encoded, last.clamp(min=0), states)
        real = last[:, 0] != PADDING
        torch.testing.assert_close(
            logits.log_softmax(2)[real, step], log_probs[real, 0], atol=1e-5, rtol=1e-5
        )


@quick
@given(LENGTHS, st.integers(1, 3), st.sampled_from([1e3, -7.0]))
def test_padding_changes_nothing(lengths: list[int], more: int, filler: float):
    module, (features, counts) = build(), videos(lengths)
    words = sentences([length % 5 + 1 for length in lengths])
    padding = torch.arange(features.shape[1] + more) >= counts[:, None]
    longer = F.pad(features, (0, 0, 0, more)).masked_fill(padding[:, :, None], filler)

    plain = module(features, counts, words)
    padded = module(longer, counts, F.pad(words, (0, more), value=PADDING))[:, : words.shape[1]]

    torch.testing.assert_close(padded[words != PADDING], plain[words != PADDING])
    ours = module.caption(longer, counts, beam_size=2, max_length=6)
    assert [[c.tokens for c in some] for some in ours] == [
        [c.tokens for c in some]
        for some in module.caption(features, counts, beam_size=2, max_length=6)
    ]


def test_the_attention_is_the_same_after_any_word():
    module, (features, counts) = build().eval(), videos([7, 3])
    encoded = module.encode(features, counts)

    for state in (encoded.start, torch.randn(2, 3)):
        moved = encoded.projected + module.project_state(state)[:, None]
        scores = module.attention_scores(moved).squeeze(2)
        mask = torch.arange(7) < counts[:, None]
        attention = scores.masked_fill(~mask, -torch.inf).softmax(1)
        torch.testing.assert_close(attention, encoded.attention)


@quick
@given(LENGTHS, st.integers(1, 3))
def test_videos_are_described_alike_alone_and_together(lengths: list[int], beam_size: int):
    module, (features, counts) = build().eval(), videos(lengths)

    together = module.caption(features, counts, beam_size=beam_size, max_length=7)

    for video, length in enumerate(lengths):
        (alone,) = module.caption(
            features[video, None, :length],
            counts[video, None],
            beam_size=beam_size,
            max_length=7,
        )
        assert [c.tokens for c in alone] == [c.tokens for c in together[video]]
        for ours, theirs in zip(alone, together[video], strict=True):
            assert ours.scores == pytest.approx(theirs.scores, abs=1e-5)
            assert ours.attention.shape == (len(ours.tokens) - 1, length)
            torch.testing.assert_close(ours.attention, theirs.attention)
            torch.testing.assert_close(ours.attention.sum(1), torch.ones(len(ours.tokens) - 1))


def test_a_beam_below_one_is_refused():
    features, counts = videos([2])

    with pytest.raises(ConfigError, match="beam_size is 0, expected 1 or more"):
        build().caption(features, counts, beam_size=0, max_length=5)


def test_the_loss_is_the_mean_over_words_and_not_over_sentences():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    targets = torch.tensor([[2, 3, 1], [1, PADDING, PADDING]])

    loss = caption_loss(logits, targets)
    loss.backward()

    terms = logits.log_softmax(2)
    chosen = [terms[0, 0, 2], terms[0, 1, 3], terms[0, 2, 1], terms[1, 0, 1]]
    torch.testing.assert_close(loss, -torch.stack(chosen).mean())
    assert logits.grad is not None
    assert not logits.grad[1, 1:].any()


def test_every_parameter_is_updated_and_only_the_first_bias_is_not_pulled_to_zero():
    module = build()
    features, counts = videos([5, 2])
    caption_loss(module(features, counts, sentences([3, 2])), torch.tensor([[2, 3, 1], [4, 1, -1]]))
    loss = caption_loss(module(features, counts, sentences([3, 3])), torch.ones(2, 3).long())
    loss.backward()

    optimizer = build_optimizer(
        module, SPEC.parameter_rules(module), TrainSettings(optimizer="adam", weight_decay=0.5)
    )

    assert all(p.grad is not None for p in module.parameters())
    free = [p for g in optimizer.param_groups if not g["weight_decay"] for p in g["params"]]
    assert len(free) == 1
    assert free[0] is module.embed.bias


def test_names_and_shapes_are_those_of_2019():
    module, names = build(), paddle_names(SMALL)

    assert set(names) == set(module.state_dict())
    assert len({place.name for place in names.values()}) == 20
    shapes = {names[key].name: tuple(t.shape) for key, t in module.state_dict().items()}
    assert shapes["gru_0.w_0"] == (4, 12)
    assert shapes["gru_unit_0.b_0"] == (1, 9)
    assert shapes["embedding_0.w_0"] == (11, 7)


def test_a_caption_cut_off_at_the_limit_keeps_its_last_word():
    words = ["<s>", "<e>", "<unk>", "a", "dog"]

    assert sentence_of([0, 3, 4], words) == "a dog"
    assert sentence_of([0, 3, 4], words, drop_last_word_as_in_2019=True) == "a"
    for quirk in (False, True):
        assert sentence_of([0, 3, 4, 1], words, drop_last_word_as_in_2019=quirk) == "a dog"
        assert sentence_of([0, 1], words, drop_last_word_as_in_2019=quirk) == ""


def test_it_learns_to_tell_two_videos_apart():
    module = build(decoder_size=8)
    features, counts = videos([6, 4])
    words = torch.tensor([[0, 5, 6], [0, 7, 8]])
    targets = torch.tensor([[5, 6, 1], [7, 8, 1]])
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)

    for _ in range(60):
        optimizer.zero_grad()
        caption_loss(module(features, counts, words), targets).backward()
        optimizer.step()

    found = module.caption(features, counts, beam_size=3, max_length=8)
    assert [captions[0].tokens for captions in found] == [(0, 5, 6, 1), (0, 7, 8, 1)]


def test_reduced_precision_describes_and_learns():
    module, (features, counts) = build(), videos([5, 2])

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module.caption(features, counts, beam_size=2, max_length=4)
        caption_loss(
            module(features, counts, sentences([3, 3])), torch.ones(2, 3).long()
        ).backward()

    assert len(found) == 2
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("key", ["feature_dim", "gru_size", "vocabulary_size"])
def test_sizes_that_cannot_be_are_refused(key: str):
    with pytest.raises(ValidationError):
        ETSSettings(**{key: 0})
