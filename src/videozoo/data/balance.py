"""The order of an epoch in which every class has the same share."""

from __future__ import annotations

import random
from collections.abc import Sequence


def balanced_order(classes: Sequence[Sequence[int]], *, seed: int, epoch: int) -> list[int]:
    """Order of an epoch in which every class has the same share, as near as possible.

    Of a class with more videos than its share some are drawn, others in another epoch; of one with
    fewer, all come, some more often. Videos without a class are one more class.

    Args:
        classes: Of each video; several give it several chances.
        seed: Of the run.
        epoch: From 0.

    Returns:
        As many numbers as there are videos. Number k * len(classes) + v is video v for the k-th
        time more, so that other parts of it are drawn.

    >>> sorted(n % 4 for n in balanced_order([[0], [0], [0], [1]], seed=0, epoch=0))[2:]
    [3, 3]
    """
    rng = random.Random(f"balance/{seed}/{epoch}")
    members: dict[int, list[int]] = {}
    for video, own in enumerate(classes):
        for label in own or (-1,):
            members.setdefault(label, []).append(video)
    total = len(classes)
    groups = [members[label] for label in sorted(members)]
    rng.shuffle(groups)  # the first ones get what is left over
    drawn: list[int] = []
    for place, group in enumerate(groups):
        share = total // len(groups) + (place < total % len(groups))
        while share:
            some = rng.sample(group, min(share, len(group)))
            drawn += some
            share -= len(some)
    rng.shuffle(drawn)
    times = [0] * total
    order: list[int] = []
    for video in drawn:
        order.append(times[video] * total + video)
        times[video] += 1
    return order
