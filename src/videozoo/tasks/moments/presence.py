"""Is it there at all: the score from which on a sentence counts as seen in a video.

A moment model always names a best moment, also of a video that shows nothing of the kind. How high
such false moments score is learnt on the validation data: each video is also searched for a few
sentences of other videos. The score with the best balanced accuracy between both is kept with the
weights. Sentences that are written for one video may hold for others too, so it errs on the high
side rather than on the low.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from videozoo.data.moments import MomentSet, MomentVideo, Query
from videozoo.metrics.moments import best_cut
from videozoo.tasks.moments.scoring import MomentResults, QueryMoments

PRESENCE = "presence"
"""The key in `Trained.measured`."""
LEAST_ACCURACY = 0.6
"""A score that parts the two worse than this says nothing, and is not used."""
_OTHERS = 5  # sentences of other videos per video
_FEWEST = 8  # sentences that are there, and that are not


@dataclass(frozen=True, kw_only=True)
class Presence:
    """What parts sentences that are in a video from sentences of other videos."""

    least_score: float
    balanced_accuracy: float
    """On the data that the score was chosen on; 0.5 is a guess."""
    present: int
    """Sentences searched for in their own video."""
    absent: int
    """Sentences searched for in another."""

    @property
    def facts(self) -> dict[str, Any]:
        """As plain data, to be stored with weights."""
        return {
            "least_score": self.least_score,
            "balanced_accuracy": self.balanced_accuracy,
            "present": self.present,
            "absent": self.absent,
        }

    def tried_on(self, own: Sequence[QueryMoments], others: Sequence[QueryMoments]) -> Presence:
        """How well the same score parts other data."""
        found = [best_score(one) >= self.least_score for one in own]
        refused = [best_score(one) < self.least_score for one in others]
        accuracy = (sum(found) / max(len(found), 1) + sum(refused) / max(len(refused), 1)) / 2
        return replace(self, balanced_accuracy=accuracy, present=len(found), absent=len(refused))

    @classmethod
    def stored(cls, measured: Mapping[str, Any]) -> Presence | None:
        """From `Trained.measured`; None where it holds none, or no sense."""
        held: Any = measured.get(PRESENCE)
        if not isinstance(held, dict):
            return None
        facts = cast("dict[str, Any]", held)
        least, accuracy = facts.get("least_score"), facts.get("balanced_accuracy")
        counts = [facts.get("present"), facts.get("absent")]
        if not (_is_number(least) and _is_number(accuracy) and all(map(_is_number, counts))):
            return None
        present, absent = (int(count) for count in counts if count is not None)
        return cls(
            least_score=float(least or 0),
            balanced_accuracy=float(accuracy or 0),
            present=present,
            absent=absent,
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def with_others(moments: MomentSet) -> MomentSet:
    """The same videos; each is also searched for some sentences of other videos, which come last.

    Which ones depends on the place of the video alone. A sentence that the video has itself is not
    among them.
    """
    distinct: dict[Any, Query] = {}
    for video in moments.videos:
        for query in video.queries:
            distinct.setdefault(_key(query), replace(query, moments=(), saliency=None))
    videos = tuple(
        _with(video, distinct, random.Random(number)) for number, video in enumerate(moments.videos)
    )
    return replace(moments, videos=videos)


def _with(video: MomentVideo, distinct: Mapping[Any, Query], draw: random.Random) -> MomentVideo:
    own = {_key(query) for query in video.queries}
    others = [key for key in distinct if key not in own]
    chosen = draw.sample(others, min(_OTHERS, len(others)))
    return replace(video, queries=(*video.queries, *(distinct[key] for key in chosen)))


def _key(query: Query) -> Any:
    text = " ".join(query.sentence.lower().split()).strip(" .")
    return text or query.vector.tobytes()


def parted(
    searched: MomentResults, moments: MomentSet
) -> tuple[list[QueryMoments], list[QueryMoments]]:
    """Results for the videos of `with_others`: of their own sentences, and of others.

    Args:
        searched: The results.
        moments: The set before the others were added.
    """
    own: list[QueryMoments] = []
    others: list[QueryMoments] = []
    for number, found in searched.by_number.items():
        count = len(moments.videos[number].queries)
        own += found[:count]
        others += found[count:]
    return own, others


def learn_presence(own: Sequence[QueryMoments], others: Sequence[QueryMoments]) -> Presence | None:
    """The score that parts both best; None if there are too few of either."""
    present, absent = [best_score(one) for one in own], [best_score(one) for one in others]
    present = [score for score in present if math.isfinite(score)]
    absent = [score for score in absent if math.isfinite(score)]
    if min(len(present), len(absent)) < _FEWEST:
        return None
    cut = best_cut(present, absent)
    return Presence(
        least_score=cut.least,
        balanced_accuracy=cut.accuracy,
        present=len(present),
        absent=len(absent),
    )


def best_score(found: QueryMoments) -> float:
    """The score of the best moment; -inf without any."""
    scores = [float(score) for score in found.search.scores if not math.isnan(score)]
    return max(scores, default=-math.inf)


def least_score_of(setting: float | None, measured: Mapping[str, Any]) -> float | None:
    """`predict.least_score`, or what was learnt and is of use; None: nothing tells."""
    if setting is not None:
        return setting
    learnt = Presence.stored(measured)
    usable = learnt is not None and learnt.balanced_accuracy >= LEAST_ACCURACY
    return learnt.least_score if learnt is not None and usable else None


def presence_note(setting: float | None, measured: Mapping[str, Any]) -> str | None:
    """A line on what "probably not there" rests on."""
    if setting is not None:
        return f"marked: moments that score less than predict.least_score, {setting:g}"
    learnt = Presence.stored(measured)
    if learnt is None:
        return None
    share = f"{100 * learnt.balanced_accuracy:.0f} %"
    if learnt.balanced_accuracy < LEAST_ACCURACY:
        return (
            f"scores do not tell whether a sentence is in a video at all: right in {share} on the "
            "validation data (balanced; 50 % is a guess)"
        )
    return (
        f"marked: moments that score less than {learnt.least_score:.3g}. On the validation data "
        f"this was right in {share} (balanced; 50 % is a guess), with {learnt.present} sentences "
        f"in their own video and {learnt.absent} in another; predict.least_score sets another score"
    )
