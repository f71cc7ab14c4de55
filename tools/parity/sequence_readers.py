"""Compare the reader of C-TCN: pickles in, sequences of one length and targets out; augmentation.

What a network makes of them is compared elsewhere.
"""

from __future__ import annotations

import pickle
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.parity import golden
from tools.parity.rows import Row
from videozoo.data.features.transforms import random_crop, random_move
from videozoo.data.loader import EvalLoader
from videozoo.data.segments import SequenceDataset, load_videos
from videozoo.ops.anchors import AnchorCoder
from videozoo.settings.segments import SequenceData
from videozoo.types import SequenceShape

EXACT = 0.0
ROUNDING = 1e-6
"""Relative to the largest value; recorded targets are float32."""
_STREAMS = ("rgb", "flow")


def covers(name: str) -> bool:
    """Whether a recorded set of this name is one of C-TCN's reader."""
    return name.startswith("ctcn_post")


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    recorded = golden.arrays(folder, "data")
    meta = golden.meta(folder)
    yield from _reader(folder, recorded, meta.get("snippet_length", 1))
    yield from _augmented(recorded, meta["arrays"]["augK"])


def _reader(folder: Path, recorded: golden.Arrays, snippet_length: int) -> Iterator[Row]:
    """Test mode: nearest resize, segments on the new length, targets of the anchors."""
    names = [line.split()[0] for line in (folder / "reader.list").read_text("utf-8").splitlines()]
    cases = sorted({key.split("/")[0] for key in recorded if key.startswith("reader")})
    num_steps, dim = recorded[f"{cases[0]}/feat_rows"].shape
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        for case in cases:
            name = names[int(recorded[f"{case}/id"])]
            for stream in _STREAMS:
                (root / stream).mkdir(exist_ok=True)
                content = {b"scores": recorded[f"{case}/{stream}"]}
                (root / stream / f"{name}.pkl").write_bytes(pickle.dumps(content, protocol=2))
        durations = root / "durations.list"
        durations.write_text("".join(f"{name} 1.0\n" for name in names), encoding="utf-8")
        data = SequenceData(
            annotations=folder / "reader.list",
            class_names=folder / "labels.txt",
            durations=durations,
            features=root,
            resize="nearest",
            snippet_length=snippet_length,
            num_workers=0,
        )
        shape = SequenceShape(feature_dim=dim, num_steps=num_steps)
        dataset = SequenceDataset(load_videos(data, "val"), shape, data)
        batches = list(EvalLoader(dataset, data, batch_size=1))
    ours = {batch.names[0]: batch for batch in batches}
    coder = AnchorCoder(num_steps)
    for case in cases:
        batch = ours[names[int(recorded[f"{case}/id"])]]
        theirs = recorded[f"{case}/feat_rows"]
        wrong = int((theirs != batch.features[0].numpy().T).sum())
        yield Row(f"{case}: features", wrong, EXACT, "values that differ")
        offsets, labels = coder.encode(batch.segments[0] * num_steps, batch.labels[0] + 1)
        wrong = int((labels != recorded[f"{case}/cls_targets"]).sum())
        yield Row(f"{case}: classes of anchors", wrong, EXACT, "anchors that differ")
        expected = recorded[f"{case}/loc_targets"]
        error = np.abs(offsets - expected).max() / np.abs(expected).max()
        yield Row(f"{case}: offsets of anchors", float(error), ROUNDING)


def _augmented(recorded: golden.Arrays, rule: str) -> Iterator[Row]:
    """Training mode, under seeds of Python's `random`; the rule says what went in."""
    length = int(re.findall(r"T=(\d+)", rule)[0])
    seeds = {
        kind: int(re.findall(rf"random_{kind} after random\.seed\((\d+)", rule)[0])
        for kind in ("move", "crop")
    }
    boxes = np.array(re.findall(r"\[(\d+),(\d+)\]", rule), np.float64)
    cases = sorted({int(key[3:].split("/")[0]) for key in recorded if key.startswith("aug")})
    for case in cases:
        columns = recorded[f"aug{case}/move_feat"].shape[1]
        steps = np.arange(length, dtype=np.float32) + 1000 * case
        features = np.repeat(steps[:, None], columns, axis=1)
        segments, labels = boxes[: case + 1], np.arange(1, case + 2)
        for kind, seed in seeds.items():
            rng = random.Random(seed + case)
            change = random_move if kind == "move" else random_crop
            made = change(features, segments, labels, rng)
            theirs = [recorded[f"aug{case}/{kind}_{part}"] for part in ("feat", "boxes", "labels")]
            wrong = sum(map(_differ, _as_in_2019(*made), theirs))
            yield Row(f"aug{case}: random_{kind}", wrong, EXACT, "arrays that differ")


def _as_in_2019(
    features: NDArray[np.float32], segments: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
    """A segment of the background from 0 to 0 where ours has none."""
    if len(segments):
        return features, segments, labels
    return features, np.zeros((1, 2)), np.zeros(1, np.int64)


def _differ(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> bool:
    return ours.shape != theirs.shape or bool((ours != theirs).any())
