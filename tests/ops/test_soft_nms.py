import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videozoo.ops.soft_nms import lowering_nms, nms, soft_nms, suppress_by_class
from videozoo.ops.tiou import tiou
from videozoo.types import Candidates

quick = settings(max_examples=40, deadline=None)


@st.composite
def candidates(draw: st.DrawFn, most: int = 40) -> Candidates:
    """Segments on a grid of sixteenths, a few of them without length; scores all different."""
    count, seed = draw(st.integers(0, most)), draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    segments = np.sort(rng.integers(0, 17, (count, 2)), axis=1) / 16
    labels = rng.integers(0, 3, count)
    return Candidates(segments, rng.permutation(count) / 64 + 0.1, labels)


def by_the_book(
    found: Candidates, alpha: float, low: float, high: float, limit: int
) -> list[tuple[float, ...]]:
    rows = [(*s, p) for s, p in zip(found.segments.tolist(), found.scores.tolist(), strict=True)]
    kept: list[tuple[float, ...]] = []
    while rows and len(kept) < limit:
        best = max(rows, key=lambda row: row[2])
        rows.remove(best)
        kept.append(best)
        limit_of = low + (high - low) * (best[1] - best[0])
        for place, (start, end, score) in enumerate(rows):
            overlap = tiou([best[:2]], [[start, end]])[0, 0]
            if overlap > limit_of:
                rows[place] = (start, end, score * np.exp(-(overlap**2) / alpha))
    return kept


@quick
@given(candidates(), st.integers(1, 50))
def test_the_best_is_taken_and_lowers_its_repeats(found: Candidates, limit: int):
    kept = soft_nms(found, alpha=0.4, low_threshold=0.3, high_threshold=0.9, max_out=limit)

    expected = by_the_book(found, 0.4, 0.3, 0.9, limit)
    rows = np.column_stack((kept.segments, kept.scores))
    np.testing.assert_allclose(rows, np.array(expected).reshape(-1, 3), rtol=1e-12)


@quick
@given(candidates(most=130))
def test_2019_leaves_the_last_one_out_and_stops_at_101(found: Candidates):
    everything, kept = (
        soft_nms(
            found,
            alpha=0.4,
            low_threshold=0.5,
            high_threshold=0.9,
            max_out=200,
            as_in_2019=as_in_2019,
        )
        for as_in_2019 in (False, True)
    )

    count = len(found.scores)
    assert len(everything.scores) == count
    assert len(kept.scores) == (count if count <= 1 else min(count - 1, 101))
    np.testing.assert_array_equal(kept.scores, everything.scores[: len(kept.scores)])


def test_a_penalty_that_takes_everything_still_takes_each_once():
    found = Candidates(np.tile([0.0, 0.5], (30, 1)), np.linspace(1, 0.5, 30), np.arange(30))

    kept = soft_nms(found, alpha=1e-6, low_threshold=0.5, high_threshold=0.9)

    assert kept.labels is not None
    assert sorted(kept.labels.tolist()) == list(range(30))


@quick
@given(candidates(), st.sampled_from([0.0, 0.3, 0.7]))
def test_nms_keeps_what_no_better_kept_one_covers(found: Candidates, threshold: float):
    kept = nms(found.segments, found.scores, threshold=threshold)

    overlaps = tiou(found.segments, found.segments)
    expected: list[int] = []
    for place in np.argsort(-found.scores).tolist():
        if all(overlaps[place, other] <= threshold for other in expected):
            expected.append(place)
    assert kept.tolist() == expected


def test_what_falls_below_the_least_score_is_dropped():
    segments = np.array([[0, 10], [0, 10], [20, 30.0]])

    order, scores = lowering_nms(
        segments, np.array([0.9, 0.8, 0.1]), weight_of=lambda x: 1 - x, least_score=0.05
    )

    assert order.tolist() == [0, 2]
    assert scores.tolist() == [0.9, 0.1]


@quick
@given(candidates())
def test_classes_do_not_compete(found: Candidates):
    options = {"nms_threshold": 0.6, "sigma": 0.9, "least_score": 0.05}
    kept = suppress_by_class(found, **options)

    assert kept.labels is not None
    assert found.labels is not None
    assert np.all(np.diff(kept.labels) >= 0)
    for label in range(3):
        own = found.labels == label
        alone = suppress_by_class(
            Candidates(found.segments[own], found.scores[own], found.labels[own]), **options
        )
        np.testing.assert_array_equal(alone.scores, kept.scores[kept.labels == label])
        assert np.all(np.diff(alone.scores) <= 0)


def test_nothing_in_gives_nothing_out():
    nothing = Candidates(np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.int64))

    kept = suppress_by_class(nothing, nms_threshold=0.8, sigma=0.9, least_score=0.01)

    assert (kept.segments.shape, kept.scores.shape) == ((0, 2), (0,))
    assert soft_nms(nothing, alpha=1, low_threshold=0, high_threshold=1).segments.shape == (0, 2)


def test_classes_are_needed_to_suppress_by_class():
    found = Candidates(np.array([[0.0, 1.0]]), np.ones(1))

    with pytest.raises(ValueError, match="no labels"):
        suppress_by_class(found, nms_threshold=0.8, sigma=0.9, least_score=0.1)


def test_what_is_kept_in_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    starts = rng.uniform(0, 1, 300)
    segments = np.stack([starts, starts + rng.uniform(0.01, 0.3, 300)], axis=1)
    found = Candidates(segments, rng.random(300))

    def kept_of() -> Candidates:
        return soft_nms(found, alpha=0.4, low_threshold=0.3, high_threshold=0.9, max_out=200)

    wanted = kept_of()
    monkeypatch.setattr("videozoo.ops.soft_nms._MOST_HELD", 1000)  # three rows
    kept = kept_of()

    assert kept.scores.tolist() == wanted.scores.tolist()
    assert kept.segments.tolist() == wanted.segments.tolist()


@pytest.mark.parametrize("most_held", [2**24, 1000])
def test_equal_scores_are_taken_in_their_order(most_held: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("videozoo.ops.soft_nms._MOST_HELD", most_held)
    rng = np.random.default_rng(5)
    starts = rng.uniform(0, 0.5, 400)
    segments = np.stack([starts, starts + rng.uniform(0.2, 0.5, 400)], axis=1)
    scores = rng.choice([0.0, 1e-300, 0.5], 400)

    found = soft_nms(
        Candidates(segments, scores), alpha=1e-3, low_threshold=0.0, high_threshold=0.0, max_out=400
    )

    np.testing.assert_array_equal(np.sort(found.segments[:, 0]), np.sort(starts))
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    left, order = np.sort(scores)[::-1].copy(), np.argsort(-scores, kind="stable")
    for place in range(400):  # one after another
        best = int(left.argmax())
        assert found.segments[place].tolist() == segments[order[best]].tolist()
        overlaps = tiou(segments[order[best]][None], segments[order])[0]
        factors = np.maximum(np.exp(-np.square(overlaps) / 1e-3), np.finfo(np.float64).tiny)
        left *= np.where(overlaps > 0, factors, 1.0)
        left[best] = -np.inf
