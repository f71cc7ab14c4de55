"""How sure a share of right answers is, and whether it may be chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_Z_95 = 1.959963984540054


def wilson_interval(share: float, total: int) -> tuple[float, float]:
    """95 % interval of a share of right answers (Wilson 1927), in [0, 1].

    Args:
        share: Share of right answers, in [0, 1].
        total: Number of independent answers, at least 1.

    >>> low, high = wilson_interval(0.5, 10)
    >>> round(low, 4), round(high, 4)
    (0.2366, 0.7634)
    >>> round(wilson_interval(1.0, 25)[0], 4)
    0.8668
    """
    z = _Z_95
    denominator = 1 + z * z / total
    middle = share + z * z / (2 * total)
    half = z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    low, high = (middle - half) / denominator, (middle + half) / denominator
    return max(0.0, low), min(1.0, high)


def chance_level(labels: Iterable[int]) -> float:
    """Accuracy of always naming the class that is most frequent.

    >>> chance_level([0, 0, 1, 2])
    0.5
    """
    counts = Counter(labels)
    return max(counts.values()) / counts.total() if counts else float("nan")
