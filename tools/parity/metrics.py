"""Compare the metrics of clip classification with recorded runs of the 2019 ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.parity import golden
from tools.parity.rows import Row
from videozoo.metrics.accuracy import AccuracyCounter, batch_metrics
from videozoo.metrics.multicrop import MultiCropCounter, MultiCropResult, top_classes

EXACT = 0.0
SUMS = 1e-9
"""Absolute; float64 sums of float32 scores in the recorded order."""
PERCENT = 1e-9
FLOAT32 = 1e-6
"""Absolute; means of recorded float32 losses."""
PRINTED = 0.006
"""Half a unit of the last digit of a percentage with two decimals, and a little."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def covers(name: str) -> bool:
    """Whether a recorded set of this name is one of a metric here."""
    return name.startswith(("metrics_kinetics", "nonlocal_multicrop"))


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    if folder.name.startswith("metrics_kinetics"):
        yield from _kinetics(folder)
    else:
        yield from _multicrop(folder)


def _kinetics(folder: Path) -> Iterator[Row]:
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    data = golden.arrays(folder, "data")
    batches = _batches(data)
    num_classes = batches[0]["softmax"].shape[1]
    counter, everyone = AccuracyCounter(num_classes), AccuracyCounter(num_classes)
    ours: list[tuple[float, float, float]] = []
    for batch in batches:
        loss = float(batch["loss"].mean())
        counter.update(batch["softmax"], batch["label"])
        everyone.update(batch["softmax"], np.maximum(batch["label"], 0), loss=loss)
        ours.append((*batch_metrics(batch["softmax"], batch["label"]), loss))
    # videos with an unknown label: 2019 counts them as wrong, we do not count them
    share = 100 * counter.total / everyone.total if counter.total else 0.0
    top1, top5 = (share * value if share else 0.0 for value in (counter.top1, counter.top5))
    loss = float("nan") if everyone.loss is None else everyone.loss

    recorded = [(row["top1"], row["top5"], row["loss"]) for row in expected["per_batch"]]
    for place, name in enumerate(("top1", "top5", "loss")):
        error = _largest([row[place] for row in ours], [row[place] for row in recorded])
        yield Row(f"{name} of each batch", error, PERCENT, "percent" if place < 2 else "passed on")
    final = expected["final"]
    yield Row("avg_acc1", abs(top1 - final["avg_acc1"]), PERCENT, "percent")
    yield Row("avg_acc5", abs(top5 - final["avg_acc5"]), PERCENT, "percent")
    yield Row("avg_loss", abs(loss - final["avg_loss"]), FLOAT32)

    lines = [_log_line(f"batch{i}", *row) for i, row in enumerate(ours)]
    lines.append(_log_line("final", top1, top5, loss))
    yield Row("log lines", _different(lines, expected["log_lines"]), EXACT, "lines that differ")

    for key, listed in expected.items():
        if found := re.fullmatch(r"infer_top(\d+)_on_batch(\d+)", key):
            scores = batches[int(found[2])]["softmax"]
            yield from _infer_lists(scores, listed, k=int(found[1]), name=key)


def _batches(data: golden.Arrays) -> list[golden.Arrays]:
    """Split `batch3/label` and the like into one dictionary a batch, in order."""
    numbers = sorted({int(found[1]) for key in data if (found := re.match(r"batch(\d+)/", key))})
    return [
        {name: data[f"batch{number}/{name}"] for name in ("softmax", "label", "loss")}
        for number in numbers
    ]


def _log_line(name: str, top1: float, top5: float, loss: float) -> str:
    return f"{name}\tLoss: {loss:.6f},\ttop1_acc: {top1:.2f}, \ttop5_acc: {top5:.2f}"


def _infer_lists(
    scores: NDArray[Any], listed: Sequence[Any], *, k: int, name: str
) -> Iterator[Row]:
    ours = [top_classes(row, k) for row in scores[: len(listed)]]
    classes = [[label for label, _ in row] for row in ours]
    wrong = sum(mine != row[1] for mine, row in zip(classes, listed, strict=True))
    yield Row(f"{name}: classes", wrong, EXACT, "videos that differ")
    values = [score for row in ours for _, score in row]
    error = _largest(values, [score for row in listed for score in row[2]])
    yield Row(f"{name}: scores", error, SUMS)


def _multicrop(folder: Path) -> Iterator[Row]:
    meta = golden.meta(folder)
    data = golden.arrays(folder, "data")
    classes, clips = meta["num_classes"], meta["num_test_clips"]
    counter = MultiCropCounter(data["gt"], num_classes=classes, clips_per_video=clips)
    for start in range(0, len(data["pred"]), meta["batch_size"]):
        part = slice(start, start + meta["batch_size"])
        counter.update(data["video_id"][part], data["pred"][part])
    result = counter.result()

    videos = len(counter.labels)
    yield Row("videos", abs(videos - meta["dataset_size"]), EXACT)
    truth = [int(line.split()[-1]) for line in (folder / "gt.txt").read_text().splitlines() if line]
    yield Row("gt.txt", _different(counter.labels.tolist(), truth), EXACT, "labels that differ")
    if "kept" in data:
        yield Row("kept clips", abs(result.clips - int(data["kept"])), EXACT)
    yield Row("counts", float(np.abs(counter.counts - data["counts"]).max()), EXACT)
    yield Row("sum_probs", float(np.abs(counter.sums - data["sum_probs"]).max()), SUMS)
    yield from _test_log(result, meta["test_log"])
    order = list(dict.fromkeys(data["video_id"].ravel().tolist()))
    means = {video: counter.sums[video] / counter.counts[video] for video in order}
    yield from _infer_log(means, meta, _class_names(folder, classes))


def _test_log(result: MultiCropResult, recorded: list[str]) -> Iterator[Row]:
    lines = result.log_lines()
    yield Row("test_log", _different(lines, recorded), EXACT, "lines that differ")
    values = {
        "Clip1 accuracy": 100 * result.clip1_accuracy,
        "Clip accuracy": 100 * result.clip_accuracy,
        "top-1 accuracy": 100 * result.top1,
        "top-5 accuracy": 100 * result.top5,
        "Num of empty videos": result.empty,
        "Num of corrupted videos": len(result.incomplete),
    }
    for name, ours in values.items():
        line = next((line for line in recorded if line.startswith(name)), None)
        found = _NUMBER.search(line.removeprefix(name)) if line else None
        error = abs(ours - float(found[0])) if found else float("nan")
        yield Row(name, error, PRINTED, "of the printed line")


def _infer_log(
    means: dict[int, NDArray[np.float64]], meta: dict[str, Any], names: list[str]
) -> Iterator[Row]:
    """The mean of each video's clips without those too many, in the order the videos came in."""
    recorded: list[str] = meta["infer_log_head"]
    found = re.search(r"topk\((\d+)\)", recorded[0])
    assert found is not None, recorded[0]
    top = int(found[1])
    ours: list[str] = []
    values: list[float] = []
    for video, mean in means.items():
        ours.append(f"video {video}, topk({top}) preds: \n")
        for label, score in top_classes(mean, top):
            ours.append(f"\t    class: {names[label]},  probability  {score} \n")
            values.append(score)
    lines = abs(len(ours) - meta["n_infer_log"])
    yield Row("infer log: number of lines", lines, EXACT)
    head = [_without_score(line) for line in ours[: len(recorded)]]
    differ = _different(head, [_without_score(line) for line in recorded])
    yield Row("infer log: videos and classes", differ, EXACT, "lines that differ")
    printed = [float(line.split("probability")[1]) for line in recorded if "probability" in line]
    yield Row("infer log: scores", _largest(values[: len(printed)], printed), SUMS)


def _class_names(folder: Path, classes: int) -> list[str]:
    path = folder / "labels.json"
    return (
        json.loads(path.read_text("utf-8")) if path.exists() else [str(i) for i in range(classes)]
    )


def _without_score(line: str) -> str:
    return line.split("probability")[0]


def _different(ours: Sequence[object], theirs: Sequence[object]) -> float:
    """How many entries differ, missing and surplus ones included."""
    same = sum(a == b for a, b in zip(ours, theirs, strict=False))
    return float(max(len(ours), len(theirs)) - same)


def _largest(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Largest absolute difference; nan where the numbers of values differ."""
    if len(ours) != len(theirs) or not ours:
        return float("nan")
    return float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())
