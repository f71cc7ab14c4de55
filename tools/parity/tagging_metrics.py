"""Compare the metrics of tagging with recorded runs of the 2019 ones.

2019 leaves the order of equal scores to a partition, a heap, a shuffle with a fixed seed and a
stable sort; ours has a rule. Where a recorded case has equal scores, they are put in 2019's order
first.
"""

from __future__ import annotations

import heapq
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.parity import golden
from tools.parity.rows import Row
from videozoo.metrics.multicrop import top_classes
from videozoo.metrics.tagging import TaggingCounter, average_precision, hit_at_one_2019

EXACT = 0.0
SUMS = 1e-9
"""Absolute; float64 sums of float32 scores."""
FLOAT32 = 1e-6
"""Absolute; means that 2019 took in float32."""
BATCH_K = 20
"""Classes of a video in the GAP of a batch, whatever the GAP of all takes."""

Pair = tuple[float, float]
"""A score, and whether it is that of a tag."""


def covers(name: str) -> bool:
    """Whether a recorded set of this name is one of a metric here."""
    return name.startswith("metrics_youtube8m")


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    data = golden.arrays(folder, "data")
    for case, recorded in expected.items():
        if isinstance(recorded, dict) and "per_batch" in recorded:
            numbers = range(len(recorded["per_batch"]))
            batches = [_batch(data, f"{case}/batch{number}") for number in numbers]
            yield from _case(case, batches, recorded)
    if "ap_direct" in expected:
        yield from _one_list(data["ap/pred"], data["ap/actual"], expected["ap_direct"])
    for key, listed in expected.items():
        if found := re.fullmatch(r"infer_top(\d+)_on_(\w+)_batch(\d+)", key):
            scores = data[f"{found[2]}/batch{found[3]}/pred"]
            yield from _infer_lists(scores, listed, k=int(found[1]), name=key)


def _batch(data: golden.Arrays, prefix: str) -> golden.Arrays:
    return {name: data[f"{prefix}/{name}"] for name in ("pred", "label", "loss")}


def _case(case: str, batches: Sequence[golden.Arrays], recorded: dict[str, Any]) -> Iterator[Row]:
    k, classes = recorded["topk"], recorded["num_classes"]
    everything = np.concatenate([batch["pred"].ravel() for batch in batches])
    ties = len(np.unique(everything)) < len(everything)
    note = "equal scores in 2019's order" if ties else ""
    whole = TaggingCounter(classes, k)
    parts: list[TaggingCounter] = []
    hits_2019: list[float] = []
    gaps: list[float] = []
    for batch in batches:
        part = TaggingCounter(classes, BATCH_K)
        scores = _untied(batch) if ties else batch["pred"]
        for counter in (whole, part):
            counter.update(scores, batch["label"], loss=batch["loss"].mean())
        parts.append(part)
        hits_2019.append(hit_at_one_2019(batch["pred"], batch["label"]))
        gaps.append(_pooled([batch], BATCH_K)[0] if ties else part.gap)
    gap, class_ap = _pooled(batches, k) if ties else (whole.gap, whole.class_ap)
    class_ap = np.nan_to_num(class_ap)  # 2019 says 0 of a class without tags

    quantities = {
        "hit_at_one": (hits_2019, FLOAT32),
        "perr": ([part.perr for part in parts], SUMS),
        "gap_top20_of_this_batch_only": (gaps, FLOAT32),
        "loss": ([part.loss for part in parts], FLOAT32),
    }
    for key, (ours, tolerance) in quantities.items():
        error = _largest(ours, [row[key] for row in recorded["per_batch"]])
        yield Row(
            f"{case}: {key} of each batch".replace("_of_this_batch_only", ""), error, tolerance
        )
    final = recorded["final"]
    sizes = [len(batch["pred"]) for batch in batches]
    hit = float(np.average(hits_2019, weights=sizes))
    yield Row(f"{case}: avg_hit_at_one", abs(hit - final["avg_hit_at_one"]), FLOAT32)
    yield Row(f"{case}: avg_perr", abs(whole.perr - final["avg_perr"]), SUMS, note)
    loss = float("nan") if whole.loss is None else whole.loss
    yield Row(f"{case}: avg_loss", abs(loss - final["avg_loss"]), FLOAT32)
    yield Row(f"{case}: gap", abs(gap - final["gap"]), SUMS, note)
    yield Row(f"{case}: aps", _largest(class_ap, final["aps"]), SUMS, note)
    if "mean_of_aps" in recorded:
        error = abs(float(class_ap.mean()) - recorded["mean_of_aps"])
        yield Row(f"{case}: mean of aps", error, SUMS, note)
    right = recorded.get("true_hit_at_one_for_reference_not_original")
    if right is not None and not ties:
        yield Row(f"{case}: true Hit@1", abs(whole.hit_at_one - right), SUMS)
    lines = _log_lines(parts, hits_2019, gaps)
    differ = sum(a != b for a, b in zip(lines, recorded["log_lines"], strict=False))
    yield Row(f"{case}: log lines of batches", differ, EXACT, "lines that differ")


def _log_lines(
    parts: Sequence[TaggingCounter], hits: Sequence[float], gaps: Sequence[float]
) -> list[str]:
    return [
        f"batch{i} , loss = {part.loss:.6f}, Hit@1 = {hit:.2f}, PERR = {part.perr:.2f}, "
        f"GAP = {gap:.2f}"
        for i, (part, hit, gap) in enumerate(zip(parts, hits, gaps, strict=True))
    ]


def _untied(batch: golden.Arrays) -> NDArray[np.float32]:
    """Scores in which those that 2019's PERR chose are a little better than their equals."""
    scores = batch["pred"].copy()
    for row, count in zip(scores, batch["label"].sum(1).astype(int).tolist(), strict=True):
        chosen = _chosen(row, count)
        row[chosen] = np.where(row[chosen] > 0, np.nextafter(row[chosen], np.float32(2)), 0)
    return scores


def _chosen(row: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The k best classes in the order NumPy's partition left them in 2019.

    Today's partition of float32 uses the processor's vectors, which orders equals differently;
    that of long doubles does not.
    """
    k = min(k, len(row))
    return np.argpartition(row.astype(np.longdouble), -k)[-k:]


def _pooled(batches: Sequence[golden.Arrays], k: int) -> tuple[float, NDArray[np.float64]]:
    """GAP and the classes' AP, equal scores in 2019's order."""
    classes = batches[0]["pred"].shape[1]
    positives = np.concatenate([batch["label"] for batch in batches]).sum(0).astype(int)
    everything: list[Pair] = []
    of_class: list[list[Pair]] = [[] for _ in range(classes)]
    for batch in batches:
        lists: list[list[Pair]] = [[] for _ in range(classes)]
        for row, tags in zip(batch["pred"], batch["label"], strict=True):
            for label in _chosen(row, k).tolist():
                lists[label].append((float(row[label]), float(tags[label])))
        for label, pairs in enumerate(lists):
            for pair in pairs:
                heapq.heappush(everything, pair)
                heapq.heappush(of_class[label], pair)
    aps = [_in_order_of_2019(p, n) for p, n in zip(of_class, positives.tolist(), strict=True)]
    return _in_order_of_2019(everything, int(positives.sum())), np.array(aps)


def _in_order_of_2019(pairs: list[Pair], positives: int) -> float:
    shuffled = random.Random(0).sample(pairs, len(pairs))
    ordered = sorted(shuffled, key=lambda pair: pair[0], reverse=True)
    places = -np.arange(len(ordered))
    return average_precision(places, [hit for _, hit in ordered], positives=positives)


def _one_list(
    scores: NDArray[Any], hits: NDArray[Any], recorded: dict[str, float]
) -> Iterator[Row]:
    """One list of scores by itself, `ap_at_20_total_pos_30` and the like."""
    for key, value in recorded.items():
        k, total = re.search(r"_at_(\d+)", key), re.search(r"_total_pos_(\d+)", key)
        ours = average_precision(
            scores, hits, k=int(k[1]) if k else None, positives=int(total[1]) if total else None
        )
        yield Row(f"one list: {key}", abs(ours - value), SUMS)


def _infer_lists(
    scores: NDArray[Any], listed: Sequence[Any], *, k: int, name: str
) -> Iterator[Row]:
    ours = [top_classes(row, k) for row in scores[: len(listed)]]
    wrong = sum(
        [label for label, _ in row] != other[1] for row, other in zip(ours, listed, strict=True)
    )
    yield Row(f"{name}: classes", wrong, EXACT, "videos that differ")
    values = [score for row in ours for _, score in row]
    yield Row(f"{name}: scores", _largest(values, [s for row in listed for s in row[2]]), SUMS)


def _largest(ours: Any, theirs: Sequence[float]) -> float:
    """Largest absolute difference; nan where the numbers of values differ."""
    if len(ours) != len(theirs) or not len(ours):
        return float("nan")
    return float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())
