import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from videozoo.ops.mixup import MixedLabels, mixed_cross_entropy, mixed_hits, mixup

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
