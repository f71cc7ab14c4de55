"""Compare the reader of YouTube-8M features (Attention Cluster, Attention LSTM, NeXtVLAD).

The original drops the last incomplete batch; ours keeps it, so that it is left out here. Its
training order came from Python's `random`; it is drawn again here, and our reader asked for the
same videos.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tools.parity import golden
from tools.parity.rows import Row
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import FeatureRecord, RecordSet
from videozoo.data.loader import EvalLoader
from videozoo.data.tags import FeatureDataset, slice_frames
from videozoo.ops.feature_bytes import dequantize
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape, Stream

ROUNDING = 1e-6
"""The original computes in float64, ours in float32; features go from -2 to 2."""
_STREAMS = ("rgb", "audio")


def covers(name: str) -> bool:
    """Whether a recorded set of this name is one of a reader of features."""
    return name.startswith("reader_feature")


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    with np.load(folder / "outputs.npz", allow_pickle=False) as arrays:
        recorded = {name: arrays[name] for name in arrays.files}
    listed = find_records(folder / "list.txt")
    python_seed, numpy_seed = golden.seeds(meta)
    yield from _python_3(folder)
    for case, info in meta["info"].items():
        theirs = {
            name.removeprefix(f"{case}/"): array
            for name, array in recorded.items()
            if name.startswith(f"{case}/")
        }
        model, mode = case.split("/")
        numbers = _train_order(listed, python_seed) if mode == "train" else list(range(len(listed)))
        videos = [listed.read(number) for number in numbers]
        rng = np.random.RandomState(numpy_seed)
        chosen = [_frames(one, meta["config"]["seg_num"], rng, model) for one in videos]
        if "idx" in theirs:
            wrong = int((np.array(chosen) != theirs["idx"]).any(axis=1).sum())
            yield Row(f"{case} drawn frames, wrong videos", wrong, 0)
        kept = len(theirs["len"])
        yield from _rows(case, videos[:kept], chosen[:kept], theirs, info, meta["config"])
        if "idx" not in theirs and mode != "train":
            yield from _loaded(case, listed, theirs, meta["config"])


def _python_3(folder: Path) -> Iterator[Row]:
    """Pickles of Python 3 read the same as the one of Python 2 that holds their videos."""
    new = sorted(folder.glob("py3*.pkl"))
    old = [path for path in sorted(folder.glob("*.pkl")) if path not in new]
    for path in new:
        ours = find_records(path)
        wrong, twin = min((_wrong_videos(ours, find_records(other)), other.name) for other in old)
        yield Row(f"{path.name}, wrong videos", wrong, 0, f"against {twin}")


def _wrong_videos(ours: RecordSet, theirs: RecordSet) -> int:
    pairs = [(ours.read(n), theirs.read(n)) for n in range(min(len(ours), len(theirs)))]
    return abs(len(ours) - len(theirs)) + sum(not _equal(*pair) for pair in pairs)


def _equal(one: FeatureRecord, other: FeatureRecord) -> bool:
    same = one.name == other.name and one.labels == other.labels
    return same and all(
        torch.equal(torch.as_tensor(one.streams[name]), torch.as_tensor(other.streams[name]))
        for name in _STREAMS
    )


def _train_order(listed: RecordSet, seed: int) -> list[int]:
    """Files shuffled once, videos of a file when it is read."""
    rng = random.Random(seed)
    starts = np.cumsum(listed.counts) - listed.counts
    files = list(zip(starts.tolist(), listed.counts.tolist(), strict=True))
    rng.shuffle(files)
    order: list[int] = []
    for start, count in files:
        videos = list(range(start, start + count))
        rng.shuffle(videos)
        order += videos
    return order


def _frames(
    video: FeatureRecord, wanted: int, rng: np.random.RandomState, model: str
) -> NDArray[np.int64]:
    count = len(video.streams["rgb"])
    return slice_frames(count, wanted, rng) if model == "ATTENTIONCLUSTER" else np.arange(count)


def _rows(
    case: str,
    videos: Sequence[FeatureRecord],
    chosen: Sequence[NDArray[np.int64]],
    theirs: dict[str, NDArray[Any]],
    info: dict[str, Any],
    config: dict[str, Any],
) -> Iterator[Row]:
    lengths = np.array([len(frames) for frames in chosen])
    yield Row(f"{case} lengths, wrong", int((lengths != theirs["len"]).sum()), 0)
    if "video" in info:
        names = [video.name for video in videos]
        yield Row(f"{case} names, wrong", sum(map(str.__ne__, names, info["video"])), 0)
    if "label" in theirs:
        labels = np.zeros((len(videos), config["num_classes"]))
        for row, video in zip(labels, videos, strict=True):
            row[list(video.labels or ())] = 1
        yield Row(f"{case} labels, wrong", int((labels != theirs["label"]).sum()), 0)
    for name in _STREAMS:
        ours = np.concatenate(
            [video.streams[name][frames] for video, frames in zip(videos, chosen, strict=True)]
        )
        yield from _compared(f"{case} {name}", torch.from_numpy(ours), theirs[name])


def _loaded(
    case: str, listed: RecordSet, theirs: dict[str, NDArray[Any]], config: dict[str, Any]
) -> Iterator[Row]:
    """Through the loader that evaluation uses."""
    first = listed.read(0)
    streams = [Stream(name=name, dim=first.streams[name].shape[1]) for name in _STREAMS]
    labels = theirs.get("label")
    data = FeatureData(num_workers=0)
    num_classes = None if labels is None else config["num_classes"]
    dataset = FeatureDataset(listed, FeatureShape(streams=streams), data, num_classes=num_classes)
    loader = EvalLoader(dataset, data, batch_size=config["batch_size"])
    batches = list(loader)[: len(theirs["len"]) // config["batch_size"]]
    for place, name in enumerate(_STREAMS):
        ours = torch.cat(
            [
                row[:length]
                for batch in batches
                for row, length in zip(batch.streams[place], batch.lengths.tolist(), strict=True)
            ]
        )
        yield from _compared(f"{case} {name}, loaded", ours, theirs[name])
    if labels is not None:
        loaded = torch.cat([batch.labels for batch in batches if batch.labels is not None])
        yield Row(f"{case} labels, loaded, wrong", int((loaded.numpy() != labels).sum()), 0)


def _compared(what: str, stored: torch.Tensor, theirs: NDArray[np.float64]) -> Iterator[Row]:
    """Bytes exactly, where need be those that their features stand for; and the features."""
    raw = theirs
    if theirs.min() < 0:
        raw = np.round((theirs - (4 / 512 - 2)) * 255 / 4)
        error = np.abs(dequantize(stored).numpy() - theirs).max()
        yield Row(f"{what}, features", float(error), ROUNDING)
    yield Row(f"{what}, wrong bytes", int((stored.numpy() != raw).sum()), 0)
