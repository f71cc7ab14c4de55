"""Solve the head of a probe: the penalty is chosen, and the result judged, by cross-validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.data.annotations.neighbours import places
from videozoo.data.loader import seed_of
from videozoo.data.tags import FeatureDataset
from videozoo.errors import DataError, counted, few
from videozoo.metrics.certainty import chance_level, wilson_interval
from videozoo.metrics.tagging import TaggingCounter
from videozoo.ops.linear_heads import Loss, mean_loss, solve_linear
from videozoo.tasks.tagging.scoring import model_inputs
from videozoo.types import Stream

PENALTIES = tuple(10 ** (power / 2) for power in range(0, -11, -1))
"""Tried for the squared weights, largest first; features have a length of about 1."""
_FOLDS = 10
_REPEATS = 3
_FOLDS_OF_MANY = 5
_MANY_VIDEOS = 100
"""From so many on there are fewer folds, each with more neighbours."""
_BATCH = 64


@dataclass(frozen=True)
class Pooled:
    """What the head reads of the training videos."""

    features: Tensor
    """(N, D), not yet standardised."""
    targets: Tensor
    """(N, C): 1 for the classes of a video."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """The penalty with the lowest loss on held-out folds, and what cross-validation says of it."""

    penalty: float
    folds: int
    repeats: int
    metric: str
    """`top1` or `gap`."""
    value: float
    """Of the held-out folds."""
    loss: float
    """The same; mean per video."""
    videos: int
    chance: float | None = None
    """Accuracy of always naming the most frequent class; None where a video has several."""
    groups: int | None = None
    """Groups of videos that were held out together; None: neighbours by name, or at random."""
    by_name: bool = False
    """Neighbours by name were held out together."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of an accuracy; groups, not videos, are independent."""
        if self.chance is None:
            return None
        return wilson_interval(self.value, self.groups or self.videos)

    def facts(self) -> dict[str, Any]:
        """All of it as JSON values."""
        found = {**vars(self), "interval": self.interval}
        return {key: value for key, value in found.items() if value is not None}

    def line(self, title: str) -> str:
        """What to tell the user."""
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        together = ", neighbours by name together" if self.by_name else ""
        if self.groups is not None:
            together = f" of {counted(self.groups, 'group')}"
        return (
            f"cross-validation on the {self.videos} videos to learn from ({self.folds} folds"
            f"{together}{times}): {title} "
            + figure(self.value, self.interval, self.chance, self.videos)
            + f"; penalty {self.penalty:.2g}"
        )


def figure(
    value: float, interval: tuple[float, float] | None, chance: float | None, videos: int
) -> str:
    """A share with its interval, beside chance."""
    text = f"{100 * value:.1f} %"
    if interval is None or chance is None:
        return f"{text} ({counted(videos, 'video')})"
    low, high = interval
    text += f" (95 % interval {100 * low:.0f} to {100 * high:.0f} %, chance {100 * chance:.0f} %)"
    return text + (": NEAR CHANCE, the interval contains it" if low <= chance else "")


def is_little(
    value: float | None, interval: tuple[float, float] | None, chance: float | None
) -> bool:
    """Whether guessing may do as well, or half of what guessing gets wrong is wrong still."""
    if value is None or interval is None or chance is None:
        return False
    return interval[0] <= chance or value < (1 + chance) / 2


MOTION_ADVICE = (
    "near chance, or little better: these features hardly tell the classes apart; add videos, name "
    "another encoder, or learn motion: --config tsm --pretrain WEIGHTS"
)
SCENES_ADVICE = (
    "the held-out videos look easier than neighbours held out together: they may show the same "
    "scenes as those to learn from; hold out whole people, places or days: --set "
    "data.groups=PATTERN, or a folder `val`"
)


def pooled(
    module: nn.Module,
    dataset: FeatureDataset,
    streams: Sequence[Stream],
    device: torch.device,
    *,
    bad_video_share: float,
) -> tuple[Pooled, list[str]]:
    """Read all training videos once.

    Returns:
        What the head reads, and a line per video that cannot be used.

    Raises:
        DataError: Too many cannot be used.
    """
    features: list[Tensor] = []
    targets: list[Tensor] = []
    names: list[str] = []
    bad: list[str] = []
    for start in range(0, len(dataset), _BATCH):
        items: list[Any] = []
        for number in range(start, min(start + _BATCH, len(dataset))):
            try:
                items.append(dataset.read(number, None))
            except DataError as error:
                bad.append(str(error))
        if not items:
            continue
        batch = dataset.collate(items)
        assert batch.labels is not None
        with torch.no_grad():
            inputs = model_inputs(batch.to(device), streams)
            features.append(cast(Any, module).pooled(*inputs).float())
        targets.append(batch.labels)
        names += batch.names
    if len(bad) > bad_video_share * len(dataset) or not features:
        raise DataError(
            f"{len(bad):,} of {counted(len(dataset), 'video')} to learn from cannot be used, more "
            f"than data.bad_video_share={bad_video_share:g} allows:\n  {few(bad, between=chr(10))}"
        )
    found = Pooled(torch.cat(features), torch.cat(targets).to(device), tuple(names))
    return found, bad


def folds_of(
    targets: NDArray[Any], groups: Sequence[str] | None, *, folds: int, seed: int
) -> NDArray[np.int64]:
    """Divide videos into folds with about equal shares of each class; groups stay together.

    Args:
        targets: (N, C), 1 for the classes of a video.
        groups: The group of each video; None: each is alone.
        folds: How many.
        seed: Of the division.

    Returns:
        The fold of each video, (N,).
    """
    rng = np.random.RandomState(seed)
    members: dict[str, list[int]] = defaultdict(list)
    for number in range(len(targets)):
        members[str(number) if groups is None else groups[number]].append(number)
    units = list(members.values())
    rng.shuffle(units)
    # the rarest classes first, then the largest groups: they are the hardest to spread
    rarity = targets.sum(axis=0)
    rarest = [min((rarity[c] for n in unit for c in np.flatnonzero(targets[n])), default=0)
              for unit in units]  # fmt: skip
    order = sorted(range(len(units)), key=lambda place: (rarest[place], -len(units[place])))
    counts = np.zeros((folds, targets.shape[1]))
    sizes = np.zeros(folds)
    fold = np.zeros(len(targets), np.int64)
    for place in order:
        unit = units[place]
        own = targets[unit].sum(axis=0)
        crowded = (counts * own).sum(axis=1) / max(own.sum(), 1)
        best = int(np.lexsort((sizes, crowded))[0])
        counts[best] += own
        sizes[best] += len(unit)
        fold[unit] = best
    return fold


def judge(
    module: nn.Module,
    found: Pooled,
    loss: Loss,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    top_k: int = 20,
    on_fold: Callable[[], None] = lambda: None,
) -> Judged:
    """Choose the penalty by cross-validation. The module's statistics are changed.

    Raises:
        DataError: There are too few videos.
    """
    targets = found.targets.cpu().numpy()
    total = len(targets)
    units = total if groups is None else len(set(groups))
    if units < 2:
        raise DataError(f"{counted(total, 'video')} to learn from: expected two or more")
    folds, repeats = (_FOLDS_OF_MANY, 1) if total >= _MANY_VIDEOS else (_FOLDS, _REPEATS)
    folds = min(folds, units)
    by_name = groups is None and loss == "softmax"
    if by_name:
        repeats = 1
    repeats = 1 if folds == units else repeats
    logits = torch.zeros(repeats, len(PENALTIES), *found.targets.shape)
    divisions: list[NDArray[np.int64]] = []
    for repeat in range(repeats):
        if by_name:
            own = places(found.names, targets.argmax(axis=1).tolist())
            fold = (np.array(own) * folds).astype(np.int64)
        else:
            fold = folds_of(targets, groups, folds=folds, seed=seed_of(seed, repeat))
        divisions.append(fold)
        for number in range(folds):
            held = torch.from_numpy(fold == number).to(found.features.device)
            if not bool(held.any()) or bool(held.all()):
                continue
            solved = _solved(module, found.features[~held], found.targets[~held], loss, PENALTIES)
            tested = cast(Any, module).standardised(found.features[held])
            for place, (weight, bias) in enumerate(solved):
                logits[repeat, place, held.cpu()] = (tested @ weight.T + bias).cpu()
            on_fold()
    wanted = found.targets.cpu()
    # (repeats, penalties, videos)
    losses = torch.stack([_losses(each, wanted, loss) for each in logits.flatten(0, 1)])
    losses = losses.view(repeats, len(PENALTIES), total)
    best = int(losses.mean(dim=(0, 2)).argmin())
    chosen = [_chosen(logits[r], losses[r], divisions[r]) for r in range(repeats)]
    return Judged(
        penalty=PENALTIES[best],
        folds=folds,
        repeats=repeats,
        metric="top1" if loss == "softmax" else "gap",
        value=float(np.mean([_value(each, wanted, loss, top_k) for each in chosen])),
        loss=float(np.mean([float(mean_loss(each, wanted, loss)) for each in chosen])),
        videos=total,
        chance=chance_level(targets.argmax(axis=1).tolist()) if loss == "softmax" else None,
        groups=None if groups is None else units,
        by_name=by_name,
    )


def _losses(logits: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    rows = zip(logits[:, None], targets[:, None], strict=True)
    return torch.stack([mean_loss(row, wanted, loss) for row, wanted in rows])


def _chosen(logits: Tensor, losses: Tensor, fold: NDArray[np.int64]) -> Tensor:
    """The answers for each fold with the penalty that the other folds choose: so that the choice
    does not flatter the figure."""
    found = torch.empty_like(logits[0])
    for number in set(fold.tolist()):
        held = torch.from_numpy(fold == number)
        others = losses[:, ~held] if bool((~held).any()) else losses
        found[held] = logits[int(others.mean(dim=1).argmin())][held]
    return found


def solve(module: nn.Module, found: Pooled, loss: Loss, penalty: float) -> None:
    """Put the solution for all training videos into the module."""
    ((weight, bias),) = _solved(module, found.features, found.targets, loss, [penalty])
    head = cast(Any, module).head
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)


def _solved(
    module: nn.Module, features: Tensor, targets: Tensor, loss: Loss, penalties: Sequence[float]
) -> list[tuple[Tensor, Tensor]]:
    held = cast(Any, module)
    held.standardise(features)
    return solve_linear(held.standardised(features), targets, penalties, loss=loss)


def _value(logits: Tensor, targets: Tensor, loss: Loss, top_k: int) -> float:
    if loss == "softmax":
        return float((logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean())
    counter = TaggingCounter(targets.shape[1], top_k)
    counter.update(logits.sigmoid().numpy(), targets.numpy())
    return counter.gap


def certainty(metrics: Mapping[str, float], class_counts: Mapping[int, int]) -> dict[str, Any]:
    """How sure a top-1 accuracy on labelled videos is.

    Args:
        metrics: With `top1`; otherwise nothing is said.
        class_counts: Videos by class; with videos of one class nothing is said.
    """
    total = sum(class_counts.values())
    if "top1" not in metrics or sum(count > 0 for count in class_counts.values()) < 2:
        return {}
    labels = [label for label, count in class_counts.items() for _ in range(count)]
    return {
        "videos": total,
        "interval": wilson_interval(metrics["top1"], total),
        "chance": chance_level(labels),
    }
