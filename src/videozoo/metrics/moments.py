"""Moments found for a sentence: R@n at a tIoU threshold, mean tIoU, and the scores of QVHighlights.

A moment is a (start, end); all moments of a call are in one unit, seconds or frames. A sentence may
have several true moments: any of them may be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Moments = NDArray[np.float64]

AP_TIOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""tIoU thresholds that the average precision of moments is a mean over."""
LENGTHS_SECONDS = {"short": (0.0, 10.0), "middle": (10.0, 30.0), "long": (30.0, 150.0)}
"""Groups of true moments by their length in QVHighlights: above the first, up to the second."""
LEVELS = {"fair": 2, "good": 3, "very_good": 4}
"""From which label on, of 0 to 4, a clip counts as a highlight in QVHighlights."""
MOST_MOMENTS = 10
"""Moments per sentence that count for the average precision of QVHighlights."""


def tiou(moments: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Temporal IoU of moments with the true one.

    Args:
        moments: (..., 2), start and end. A moment that ends before it starts is empty.
        truth: (2,), or one per moment.

    Returns:
        (...), in [0, 1].

    >>> tiou([[0, 10], [8, 12], [20, 30]], [5, 15]).round(3).tolist()
    [0.333, 0.4, 0.0]
    """
    ours, true = np.asarray(moments, np.float64), np.asarray(truth, np.float64)
    overlap = np.minimum(ours[..., 1], true[..., 1]) - np.maximum(ours[..., 0], true[..., 0])
    overlap = np.maximum(overlap, 0)
    lengths = np.maximum(np.diff(ours)[..., 0], 0) + np.maximum(np.diff(true)[..., 0], 0)
    covered = lengths - overlap
    return np.divide(overlap, covered, out=np.zeros_like(covered), where=covered > 0)


def tiou_2019(moments: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """As `tiou`, but below 0 for moments that are apart or reversed.

    Source: PaddlePaddle/models release/1.8, metrics/tall. Shared part over hull.

    >>> tiou_2019([[0, 10], [20, 30], [30, 10]], [5, 15]).round(3).tolist()
    [0.333, -0.2, -2.0]
    """
    ours, true = np.asarray(moments, np.float64), np.asarray(truth, np.float64)
    shared = np.minimum(ours[..., 1], true[..., 1]) - np.maximum(ours[..., 0], true[..., 0])
    hull = np.maximum(ours[..., 1], true[..., 1]) - np.minimum(ours[..., 0], true[..., 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return shared / hull


def distinct(moments: ArrayLike, scores: ArrayLike, *, limit: float) -> NDArray[np.int64]:
    """Non-maximum suppression: the best moments that do not repeat a better one.

    Args:
        moments: (P, 2); may be reversed, as outputs of a network often are.
        scores: (P,), larger is better. Of equal scores the last is best, as in the 2019 library.
        limit: A moment is removed if its overlap with a chosen one is above this.

    Returns:
        Indices of the remaining moments, best first.

    Source: PaddlePaddle/models release/1.8, metrics/tall. Overlap over the sum of lengths without
    it; a length may be negative.

    >>> distinct([[0, 10], [1, 10], [20, 30]], [0.9, 0.8, 0.3], limit=0.5).tolist()
    [0, 2]
    """
    table = np.asarray(moments, np.float64).reshape(-1, 2)
    starts, ends = table.T
    lengths = ends - starts
    left = np.argsort(_comparable(scores), kind="stable")[::-1]
    chosen: list[int] = []
    while len(left):
        best, left = left[0], left[1:]
        chosen.append(int(best))
        shared = np.minimum(ends[left], ends[best]) - np.maximum(starts[left], starts[best])
        shared = np.maximum(shared, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap = shared / (lengths[left] + lengths[best] - shared)
        left = left[overlap <= limit]
    return np.array(chosen, np.int64)


@dataclass(frozen=True)
class Search:
    """One sentence, the moments that were proposed for it, and the true ones."""

    moments: NDArray[np.floating]
    """(P, 2), in any order."""
    scores: NDArray[np.floating]
    """(P,), larger is better."""
    truth: NDArray[np.floating]
    """(G, 2), the true moments; one may be given as (2,). With no row nothing is right."""

    @property
    def true_moments(self) -> Moments:
        """(G, 2): the true moments, of which any may be found."""
        return np.asarray(self.truth, np.float64).reshape(-1, 2)

    def ranked(self, *, limit: float | None = None) -> Moments:
        """Moments best first, (K, 2); with a limit, only those that `distinct` leaves."""
        table = np.asarray(self.moments, np.float64)
        if limit is not None:
            return table[distinct(table, self.scores, limit=limit)]
        return table[np.argsort(-_comparable(self.scores), kind="stable")]

    def best(self, k: int, *, limit: float | None = None) -> list[tuple[float, float, float]]:
        """The k best moments: start, end and score; `limit` as in `ranked`."""
        scores = {
            (float(start), float(end)): float(score)
            for (start, end), score in zip(self.moments, self.scores, strict=True)
        }
        ranked = self.ranked(limit=limit)[:k]
        return [(start, end, scores[start, end]) for start, end in ranked.tolist()]


def recall_2019(searches: Sequence[Search], *, n: int, threshold: float) -> float:
    """R@n at a tIoU as the 2019 library computes it, with an NMS that depends on the tIoU.

    Moments that overlap a better one by more than `threshold` - 0.05 are removed first. So with a
    lower threshold the first n cover more of the video.

    Args:
        searches: One a sentence.
        n: How many moments of each count.
        threshold: One of them must overlap a true moment by this, by `tiou_2019`.

    Returns:
        Share of sentences in [0, 1]; nan without any.

    Source: PaddlePaddle/models release/1.8, metrics/tall.

    >>> search = Search(np.array([[0, 10], [5, 15]]), np.array([0.9, 0.1]), np.array([6, 16]))
    >>> [recall_2019([search], n=n, threshold=0.5) for n in (1, 2)]
    [0.0, 1.0]
    """
    return _share(
        [
            tiou_2019(search.ranked(limit=threshold - 0.05)[:n], search.true_moments[:, None])
            >= threshold
            for search in searches
        ]
    )


def recall(
    searches: Sequence[Search], *, n: int, threshold: float, limit: float | None = None
) -> float:
    """R@n at a tIoU: share of sentences with a good moment among their first n.

    Args:
        searches: One a sentence.
        n: How many moments of each count.
        threshold: One of them must overlap a true moment by this.
        limit: Remove moments that overlap a better one by more than this; None: keep all.

    Returns:
        Share of sentences in [0, 1]; nan without any.

    Source: Gao et al., arXiv:1705.02101, section 5.1.

    >>> search = Search(np.array([[0, 10], [5, 15]]), np.array([0.9, 0.1]), np.array([6, 16]))
    >>> [recall([search], n=n, threshold=0.5) for n in (1, 2)]
    [0.0, 1.0]
    """
    return _share(
        [
            tiou(search.ranked(limit=limit)[:n], search.true_moments[:, None]) >= threshold
            for search in searches
        ]
    )


def mean_tiou(searches: Sequence[Search]) -> float:
    """Mean over sentences of the best moment's tIoU with the true moment that fits it best.

    It is 0 for a sentence without moments, found or true.

    >>> search = Search(np.array([[0, 10], [5, 15]]), np.array([0.9, 0.1]), np.array([0, 5]))
    >>> mean_tiou([search])
    0.5
    """
    best = [
        tiou(search.ranked()[:1], search.true_moments[:, None]).max(initial=0)
        for search in searches
    ]
    return float(np.mean(best)) if best else float("nan")


@dataclass(frozen=True)
class Cut:
    """A score that parts what is there from what is not."""

    least: float
    """What is there scores this much or more."""
    accuracy: float
    """Balanced: mean of the share of what is there that is found, and the share of what is not that
    is turned down; 0.5 is a guess."""


def best_cut(present: ArrayLike, absent: ArrayLike) -> Cut:
    """The score with the highest balanced accuracy; in the middle between two scores.

    Args:
        present: (N,), scores of what is there, at least one.
        absent: (M,), scores of what is not, at least one.

    >>> best_cut([3.0, 2.0], [0.0, 1.0, -1.0])
    Cut(least=1.5, accuracy=1.0)
    """
    there, not_there = np.sort(_comparable(present)), np.sort(_comparable(absent))
    scores = np.unique(np.concatenate((there, not_there)))
    scores = scores[np.isfinite(scores)]
    cuts = np.concatenate((scores[:1], (scores[:-1] + scores[1:]) / 2))
    found = 1 - np.searchsorted(there, cuts, side="left") / len(there)
    refused = np.searchsorted(not_there, cuts, side="left") / len(not_there)
    accuracies = (found + refused) / 2
    best = int(accuracies.argmax())
    return Cut(float(cuts[best]), float(accuracies[best]))


# ---- DiDeMo -------------------------------------------------------------------------------------

_CELL_SECONDS = 5.0
_MOST_CELLS = 6  # of a video, which has 30 s at most
_ALL_SPANS = _MOST_CELLS * (_MOST_CELLS + 1) // 2
_AGREEING = 3  # people of four whose marks count


@dataclass(frozen=True)
class DidemoScores:
    """Scores of DiDeMo, in [0, 1]; nan without sentences."""

    sentences: int
    rank_1: float
    """Share of sentences whose mean rank is 1."""
    rank_5: float
    mean_iou: float

    @property
    def published(self) -> dict[str, float]:
        """The numbers that papers give, by their names."""
        return {
            "DiDeMo-rank@1": self.rank_1,
            "DiDeMo-rank@5": self.rank_5,
            "DiDeMo-mIoU": self.mean_iou,
        }


def didemo(searches: Sequence[Search]) -> DidemoScores:
    """Score moments as the evaluation code of DiDeMo does, against what each person marked.

    A video has 6 cells of 5 seconds, so 21 moments. Moments in seconds are rounded to whole cells;
    of equal ones the best counts. The rank of a sentence is the mean of the ranks of the three
    marks that are ranked best, its IoU the mean of the three marks that fit the first moment best.

    Difference: a mark that is not among the moments has rank 21 (there it is an error).

    Args:
        searches: One per sentence, in seconds; `truth` (P, 2) has one row per person.

    Source: LisaAnne/LocalizingMoments, utils/eval.py; Hendricks et al., ICCV 2017.

    >>> search = Search(np.array([[0, 5], [5, 15.2]]), np.array([0.9, 0.8]),
    ...                 np.array([[5, 15], [5, 15], [0, 5], [0, 5]]))
    >>> found = didemo([search])
    >>> found.rank_1, found.rank_5, round(found.mean_iou, 3)
    (0.0, 1.0, 0.667)
    """
    ranks: list[float] = []
    ious: list[float] = []
    for one in searches:
        if not len(one.true_moments):
            continue
        spans = list(dict.fromkeys(_cells(moment) for moment in one.ranked()))
        marks = [_cells(mark) for mark in one.true_moments]
        places = [spans.index(m) + 1 if m in spans else _ALL_SPANS for m in marks]
        fits = tiou(spans[0], np.array(marks)) if spans else np.zeros(len(marks))
        ranks.append(float(np.mean(sorted(places)[:_AGREEING])))
        ious.append(float(np.mean(sorted(fits)[-_AGREEING:])))
    if not ranks:
        return DidemoScores(0, *(float("nan"),) * 3)
    table = np.array(ranks)
    return DidemoScores(
        sentences=len(ranks),
        rank_1=float(np.mean(table <= 1)),
        rank_5=float(np.mean(table <= 5)),
        mean_iou=float(np.mean(ious)),
    )


def _cells(moment: NDArray[np.floating]) -> tuple[int, int]:
    """The first cell of a moment, and the one after its last."""
    start, end = np.nan_to_num(np.asarray(moment, np.float64) / _CELL_SECONDS)
    first = int(np.clip(np.round(start), 0, _MOST_CELLS - 1))
    return first, int(np.clip(np.round(end), first + 1, _MOST_CELLS))


# ---- QVHighlights -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Saliency:
    """How salient the clips of a video are for one sentence: as predicted, and as people say."""

    scores: NDArray[np.floating]
    """(C,), a score per clip of 2 s from the start of the video; larger is better, any range."""
    labels: NDArray[np.floating]
    """(C', A): labels of A people per clip of the whole video, 0 to 4; 0 outside true moments."""


@dataclass(frozen=True, kw_only=True)
class QVHighlightsScores:
    """Scores of QVHighlights, in [0, 1]; nan where nothing is counted."""

    sentences: int
    """Sentences that count: those with a true moment."""
    without_truth: int
    """Sentences without a true moment, which are left out."""
    unanswered: int
    """Sentences that count, and for which no moment was predicted: misses."""
    recall_1: tuple[float, ...]
    """R@1 at each of `AP_TIOUS`."""
    ap: tuple[float, ...]
    """Mean average precision at each of `AP_TIOUS`."""
    mean_ap_by_length: Mapping[str, float]
    """Mean over `AP_TIOUS` of the average precision for true moments of a group of lengths."""
    highlights: Mapping[str, tuple[float, float]]
    """For each of `LEVELS`, mean average precision and Hit@1 of clips; empty without saliencies."""

    @property
    def mean_ap(self) -> float:
        """Mean average precision over all thresholds."""
        return float(np.mean(self.ap))

    @property
    def published(self) -> dict[str, float]:
        """The numbers that papers give, in percent, by the names of the data set's own code."""
        recalls, aps = (
            dict(zip(AP_TIOUS, values, strict=True)) for values in (self.recall_1, self.ap)
        )
        found = {
            "MR-full-R1@0.5": recalls[0.5],
            "MR-full-R1@0.7": recalls[0.7],
            "MR-full-mAP": self.mean_ap,
            "MR-full-mAP@0.5": aps[0.5],
            "MR-full-mAP@0.75": aps[0.75],
            **{f"MR-{name}-mAP": value for name, value in self.mean_ap_by_length.items()},
        }
        for level, (mean_ap, hit) in self.highlights.items():
            name = "".join(word.capitalize() for word in level.split("_"))
            found |= {f"HL-min-{name}-mAP": mean_ap, f"HL-min-{name}-Hit1": hit}
        return {name: 100 * value for name, value in found.items()}


def qvhighlights(
    searches: Sequence[Search], saliencies: Sequence[Saliency] = ()
) -> QVHighlightsScores:
    """Score moments and highlights as the evaluation code of QVHighlights does.

    R@1 is the share of sentences whose first moment fits one of the true ones. Average precision is
    computed for each sentence over its first 10 moments: from the highest score down, each takes
    the free true moment that it fits best. So the best moment must be listed first: `moments` in
    the order of the submission, or from `Search.ranked`.

    Differences: a sentence without predictions counts as a miss (there it is an error, or left out
    of the average precision), and one without a true moment is left out (there it is an error).

    How to call it: one `Search` per sentence, with `truth` (G, 2) in seconds; where clips have
    scores, also one `Saliency` per sentence that has labels. For a submission file and the file of
    its truth, `tasks.moments.submissions.score_submission` does it all.

    Args:
        searches: One per sentence, predicted or not, moments in seconds, the best first.
        saliencies: One per sentence with labels; without predictions its scores are empty.

    Source: jayleicn/moment_detr, standalone_eval; Lei et al., NeurIPS 2021.

    >>> search = Search(np.array([[0, 9], [20, 30]]), np.array([0.9, 0.8]),
    ...                 np.array([[0, 10], [20, 30]]))
    >>> found = qvhighlights([search])
    >>> found.recall_1[0], found.ap[0], round(found.ap[-1], 3)
    (1.0, 1.0, 0.25)
    """
    known = [one for one in searches if len(one.true_moments)]
    precisions = np.array([_precisions(one, one.true_moments) for one in known])
    by_length: dict[str, float] = {}
    for name, (above, most) in LENGTHS_SECONDS.items():
        rows: list[NDArray[np.float64]] = []
        for one in known:
            lengths = np.diff(one.true_moments)[:, 0]
            chosen = one.true_moments[(lengths > above) & (lengths <= most)]
            if len(chosen):
                rows.append(_precisions(one, chosen))
        by_length[name] = float(np.mean(rows)) if rows else float("nan")
    first = np.array(
        [tiou(one.moments[:1], one.true_moments[:, None]).max(initial=0) for one in known]
    )
    nothing = (float("nan"),) * len(AP_TIOUS)
    return QVHighlightsScores(
        sentences=len(known),
        without_truth=len(searches) - len(known),
        unanswered=sum(not len(one.moments) for one in known),
        recall_1=tuple(float(np.mean(first >= limit)) for limit in AP_TIOUS) if known else nothing,
        ap=tuple(precisions.mean(0).tolist()) if known else nothing,
        mean_ap_by_length=by_length,
        highlights={name: _highlights(saliencies, least) for name, least in LEVELS.items()}
        if saliencies
        else {},
    )


def _precisions(search: Search, truth: Moments) -> NDArray[np.float64]:
    """(10,): average precision of one sentence at each of `AP_TIOUS`."""
    limits = np.array(AP_TIOUS)
    moments = np.asarray(search.moments, np.float64)[:MOST_MOMENTS]
    order = np.argsort(-_comparable(search.scores)[:MOST_MOMENTS], kind="stable")
    is_free = np.ones((len(limits), len(truth)), np.bool_)
    right = np.zeros((len(limits), len(order)), np.bool_)
    for rank, number in enumerate(order):
        overlaps = tiou(moments[number], truth)
        for place in overlaps.argsort(kind="stable")[::-1]:  # of equal overlaps the last, as there
            takes = (overlaps[place] >= limits) & is_free[:, place] & ~right[:, rank]
            right[:, rank] |= takes
            is_free[takes, place] = False
    hits = right.cumsum(1)
    precision = hits / np.arange(1, len(order) + 1)
    best_later = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.where(right, best_later, 0).sum(1) / len(truth)


def _highlights(saliencies: Sequence[Saliency], least: int) -> tuple[float, float]:
    """Mean average precision over sentences and people, and Hit@1."""
    precisions: list[float] = []
    hits: list[bool] = []
    for one in saliencies:
        is_highlight = np.asarray(one.labels) >= least
        scores = _comparable(one.scores)
        best = int(scores.argmax()) if len(scores) else len(is_highlight)
        hits.append(best < len(is_highlight) and bool(is_highlight[best].any()))
        padded = np.zeros(len(is_highlight))  # clips without a score have 0, as there
        padded[: len(scores)] = scores[: len(padded)]
        found = [_clip_precision(person, padded) for person in is_highlight.T]
        precisions.append(float(np.mean(found)) if len(scores) else 0.0)
    return float(np.mean(precisions)), float(np.mean(hits))


def _clip_precision(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Average precision of one person's clips: mean over the recalls that scores can reach."""
    if not truth.any():
        return 0.0
    if truth.all():
        return 1.0
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of equal scores
    hits = truth[order].cumsum()[ends]
    precision = hits / (ends + 1)
    best_later = np.maximum.accumulate(precision[::-1])[::-1]
    rises = np.diff(hits, prepend=0) > 0
    return float(best_later[rises].mean())


def _comparable(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores with nan as the worst."""
    table = np.asarray(scores, np.float64)
    return np.where(np.isnan(table), -np.inf, table)


def _share(hits: Sequence[NDArray[np.bool_]]) -> float:
    return float(np.mean([found.any() for found in hits])) if hits else float("nan")
