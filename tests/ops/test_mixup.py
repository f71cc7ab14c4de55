from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from videozoo.ops.mixup import (
    MixedLabels,
    mixed_binary_cross_entropy,
    mixed_cross_entropy,
    mixed_hits,
    mixup,
)

LABELS = torch.tensor([0, 1, 2, 3])


def one_hot_clips() -> torch.Tensor:
    """Each clip tells its label."""
    return torch.eye(4).reshape(4, 1, 2, 2)


@settings(deadline=None)  # the first draw loads much of torch
@given(alpha=st.floats(1e-3, 8), seed=st.integers(0, 1000))
def test_a_blend_shows_its_labels_by_their_shares(alpha: float, seed: int):
    torch.manual_seed(seed)

    clips, mixed = mixup(one_hot_clips(), LABELS, alpha)

    assert 0 <= mixed.share <= 1
    assert sorted(mixed.others.tolist()) == LABELS.tolist()
    truth = mixed.share * F.one_hot(mixed.labels, 4) + (1 - mixed.share) * F.one_hot(
        mixed.others, 4
    )
    torch.testing.assert_close(clips.flatten(1), truth)


def test_zero_changes_nothing_and_draws_nothing():
    before = torch.get_rng_state()

    clips, mixed = mixup(one_hot_clips(), LABELS, 0)

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(clips, one_hot_clips())
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixed_cross_entropy(logits, mixed), F.cross_entropy(logits, LABELS))
    assert mixed_hits(logits, mixed) == (logits.argmax(1) == LABELS).sum()


def test_the_same_seed_draws_the_same_blend():
    torch.manual_seed(3)
    one, first = mixup(one_hot_clips(), LABELS, 0.4)
    torch.manual_seed(3)
    other, second = mixup(one_hot_clips(), LABELS, 0.4)

    assert torch.equal(one, other)
    assert first.share == second.share


@settings(deadline=None)
@given(share=st.floats(0, 1), smoothing=st.floats(0, 0.9), seed=st.integers(0, 100))
def test_the_loss_is_that_of_labels_given_as_probabilities(
    share: float, smoothing: float, seed: int
):
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))
    others = LABELS.flip(0)
    blended = share * F.one_hot(LABELS, 5) + (1 - share) * F.one_hot(others, 5)
    probabilities = (1 - smoothing) * blended + smoothing / 5

    loss = mixed_cross_entropy(
        logits, MixedLabels(LABELS, others, share), label_smoothing=smoothing
    )

    torch.testing.assert_close(loss, F.cross_entropy(logits, probabilities))


def test_a_hit_on_either_label_counts_by_its_share():
    best = torch.tensor([0, 3, 4, 4])  # the first label; the other one; neither; neither
    mixed = MixedLabels(LABELS, torch.tensor([1, 3, 1, 0]), 0.7)

    assert mixed_hits(F.one_hot(best, 5).float(), mixed).item() == pytest.approx(0.7 + 0.3)


def test_bytes_are_refused():
    with pytest.raises(ValueError, match=r"expected normalised, floating clips, got torch\.uint8"):
        mixup(torch.zeros(2, 3, dtype=torch.uint8), LABELS[:2], 0.2)


def test_a_class_weight_counts_like_so_many_examples():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    labels, weights = torch.tensor([0, 2, 2]), torch.tensor([3.0, 1.0, 0.5, 1.0])
    mixed = MixedLabels(labels, labels, 1.0)

    found = mixed_cross_entropy(logits, mixed, class_weights=weights)

    single = torch.stack(
        [F.cross_entropy(row[None], one[None]) for row, one in zip(logits, labels, strict=True)]
    )
    assert torch.allclose(found, (single * weights[labels]).mean())
    ones = mixed_cross_entropy(logits, mixed, class_weights=torch.ones(4))
    assert torch.allclose(ones, mixed_cross_entropy(logits, mixed))


def test_blended_tables_of_classes_cost_their_share():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, generator=generator)
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    weights = torch.tensor([1.0, 2.0, 0.0])

    def loss(share: float, **options: Any) -> Tensor:
        mixed = MixedLabels(labels, labels.flip(0), share)
        return mixed_binary_cross_entropy(logits, mixed, **options)

    terms = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    assert torch.allclose(loss(1.0), terms.sum(1).mean())
    assert torch.allclose(loss(1.0, class_weights=weights), (terms * weights).sum(1).mean())
    assert torch.allclose(loss(0.25), 0.25 * loss(1.0) + 0.75 * loss(0.0))
    smooth = F.binary_cross_entropy_with_logits(logits, labels * 0.8 + 0.1, reduction="none")
    assert torch.allclose(loss(1.0, label_smoothing=0.2), smooth.sum(1).mean())


def test_a_hit_is_any_class_of_the_example():
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0]])

    assert mixed_hits(logits, MixedLabels(labels, labels, 1.0)).item() == 1
