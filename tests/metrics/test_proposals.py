import random

import numpy as np
import pytest
from benchmarks.bench_localisation_metrics import plain_recall
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.metrics.proposals import ProposalCounter, ProposalResult

quick = settings(max_examples=20, deadline=None)

Array = NDArray[np.float64]
Truth = dict[str, Array]
Proposals = dict[str, tuple[Array, Array]]


@st.composite
def videos(draw: st.DrawFn) -> tuple[Truth, Proposals]:
    """A few videos; some with truth only, some with proposals only. Scores all different."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    truth: Truth = {}
    proposals: Proposals = {}
    for number in range(draw(st.integers(1, 6))):
        name, kind = f"v{number}", draw(st.sampled_from(["both", "both", "truth", "proposals"]))
        if kind != "proposals" or not truth:
            truth[name] = segments(rng, int(rng.integers(1, 5)))
        if kind != "truth" or not proposals:
            count = int(rng.integers(0 if proposals else 1, 30))
            proposals[name] = segments(rng, count), rng.permutation(count) / 30
    return truth, proposals


def segments(rng: np.random.Generator, count: int) -> Array:
    ends: Array = np.sort(rng.integers(0, 20, (count, 2)), axis=1).astype(np.float64)
    return ends + np.array([0.0, 0.5])


def counted(truth: Truth, proposals: Proposals) -> ProposalCounter:
    counter = ProposalCounter(truth)
    for name, found in proposals.items():
        counter.update(name, *found)
    return counter


def result_of(truth: Truth, proposals: Proposals, most: float | None = 100) -> ProposalResult:
    return counted(truth, proposals).result(most)


@quick
@given(videos(), st.sampled_from([0.5, 3, 100]))
def test_recall_is_what_plain_loops_count(made: tuple[Truth, Proposals], most: float):
    result = result_of(*made, most)

    used = result.proposals_per_video[-1]
    assert used == pytest.approx(most)
    if sum(min(int(len(s) * _share(made, most)), len(s)) for s in _scores(made)):
        np.testing.assert_allclose(result.recall, plain_recall(*made, max_average=most), atol=1e-12)
    else:  # so few that no video gives one
        assert not result.recall.any()


def _share(made: tuple[Truth, Proposals], most: float) -> float:
    return most * len(made[0]) / sum(len(scores) for _, scores in made[1].values())


def _scores(made: tuple[Truth, Proposals]) -> list[Array]:
    return [scores for name, (_, scores) in made[1].items() if name in made[0]]


@quick
@given(videos(), st.randoms(use_true_random=False))
def test_the_order_of_videos_and_the_number_of_counters_do_not_matter(
    made: tuple[Truth, Proposals], rng: random.Random
):
    truth, proposals = made
    names = list(proposals)
    rng.shuffle(names)
    first, second = ProposalCounter(truth), ProposalCounter(truth)
    for place, name in enumerate(names):
        (first if place % 2 else second).update(name, *proposals[name])

    first.merge(second)
    first.merge(second)  # padded by a loader: nothing counts twice

    np.testing.assert_array_equal(first.result().recall, result_of(truth, proposals).recall)


def test_the_tiny_cases_of_other_libraries():
    truth = {"a": np.array([[0, 1], [1, 2.0]]), "b": np.array([[0, 1], [1, 2.0]])}
    right = np.array([[0, 1], [1, 2.0]]), np.array([1.0, 1.0])
    wrong = np.array([[10, 11], [11, 12.0]]), np.array([0.6, 0.4])
    half = result_of(truth, {"a": right, "b": right}, most=None)

    assert half.recall.tolist() == [[0.0] * 49 + [0.5] * 50 + [1.0]] * 10
    assert 100 * half.auc == pytest.approx(25.5)
    np.testing.assert_allclose(half.proposals_per_video, np.arange(1, 101) * 0.02)
    assert result_of(truth, {"a": wrong, "b": wrong}, most=None).auc == 0
    many = np.tile([0, 1.0], (100, 1)), np.linspace(1, 0, 100)
    best = result_of({"a": np.array([[0, 1.0]])}, {"a": many}, most=None)
    assert 100 * best.auc == pytest.approx(99.0)


def test_recall_at_any_number_lies_on_the_curve():
    truth = {"a": np.array([[0, 10], [20, 30.0]])}
    found = np.array([[0, 10], [50, 60], [20, 30.0]]), np.array([0.9, 0.8, 0.7])
    result = result_of(truth, {"a": found}, most=5)

    recalls = [result.average_recall_at(count) for count in (0, 0.5, 1.5, 2.5, 3.5, 5)]
    assert recalls == [0, 0, 0.5, 0.5, 1, 1]
    assert set(result.summary()) == {"ar@1", "ar@5", "auc"}
    with pytest.raises(ValueError, match="AR@10: the curve ends at 5"):
        result.average_recall_at(10)


def test_long_and_short_actions_are_told_apart():
    truth = {"a": np.array([[0, 10], [20, 120.0]])}
    counter = ProposalCounter(truth, durations_seconds={"a": 200.0})
    counter.update("a", [[20, 120]], [0.5])
    result = counter.result()

    assert [(each.truths, each.share) for each in result.by_length((30, 200))] == [
        (1, 0.0),
        (1, 1.0),
        (0, None),
    ]
    assert [each.truths for each in result.by_coverage()] == [1, 0, 1, 0, 0]
    assert result.by_coverage()[2].share == 1.0
    with pytest.raises(ValueError, match="without durations_seconds"):
        result_of(truth, {}).by_coverage()


def test_it_says_on_how_many_videos_it_stands():
    truth = {"a": np.array([[0, 1.0]]), "b": np.array([[0, 1.0]]), "no truth": np.zeros((0, 2))}
    counter = ProposalCounter(truth)
    for name in ("a", "no truth", "stranger"):
        counter.update(name, [[0, 1]], [0.5])
    result = counter.result()

    assert (result.videos, result.empty_videos, result.videos_without_truth) == (2, 1, 2)
    assert result.proposals == 3


@pytest.mark.parametrize("most", [None, 100])
@pytest.mark.parametrize("truth", [{}, {"a": np.array([[0, 1.0]])}])
@pytest.mark.parametrize("found", [{}, {"a": (np.zeros((0, 2)), np.zeros(0))}])
def test_nothing_found_or_nothing_to_find_is_0(truth: Truth, found: Proposals, most: float | None):
    result = result_of(truth, found, most)

    assert not result.recall.any()
    assert result.auc == 0
    assert not any(result.summary().values())
    assert result.empty_videos == len(truth)


def test_scores_that_are_not_numbers_are_the_worst():
    truth = {"a": np.array([[0, 1.0]])}
    found = np.array([[0, 1], [5, 6.0]]), np.array([np.nan, 0.1])

    assert result_of(truth, {"a": found}, most=2).average_recall_at(1) == 0


def test_mistakes_are_named_and_count_nothing():
    counter = ProposalCounter({"a": [[0, 1]]})
    counter.update("a", [[0, 1]], [0.5])
    with pytest.raises(ValueError, match="'a' came twice"):
        counter.update("a", [[0, 1]], [0.5])
    with pytest.raises(ValueError, match=r"'b': 1 segments, scores of shape \(2,\)"):
        counter.update("b", [[0, 1]], [0.5, 0.4])
    with pytest.raises(ValueError, match="thresholds"):
        ProposalCounter({}, tious=[0.0])
    with pytest.raises(ValueError, match="'a': no duration"):
        ProposalCounter({"a": [[0, 1]]}, durations_seconds={"b": 1.0})
    assert counter.result().proposals == 1


def test_equal_scores_are_counted_by_video_and_their_order_may_decide():
    counter = ProposalCounter({"a": [[0, 10]], "b": [[0, 10]]})
    counter.update("a", [[0, 10], [50, 60]], [0.5, 0.5])
    counter.update("b", [[0, 10], [50, 60]], [0.5, 0.25])

    turned = counter.backwards()

    assert counter.tied() == turned.tied() == 2
    assert counter.result().average_recall_at(1) == 1
    assert turned.result().average_recall_at(1) == 0.5
