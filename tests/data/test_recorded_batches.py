"""Batches of every loader stay as recorded: orders, draws, replacements, and values bit by bit.

`recorded_batches.json` holds a line per pass: numbers of the videos of each batch, and a hash of
everything in the batches. Where a loader is meant to give something else, record anew, in one
process, and read the difference:

    VIDEOZOO_RECORD=1 pytest -n 0 tests/data/test_recorded_batches.py

The bytes are the same on every machine: frames are PNG and resized by Pillow, which computes with
integers, and features are eighths, so that sums of them are exact in any order.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from videozoo.data import captions, clips, moments, proposals, segments, tags
from videozoo.data.annotations.segments import Annotation
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.features.record_formats import write_shard
from videozoo.data.features.records import FeatureRecord
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.settings.captions import CaptionData
from videozoo.settings.clips import ClipData, ClipViews
from videozoo.settings.moments import MomentData, SentenceSettings, WindowSettings
from videozoo.settings.segments import ProposalData, SequenceAugment, SequenceData
from videozoo.settings.tags import FeatureData
from videozoo.types import ClipShape, FeatureShape, SequenceShape, Stream

RECORD = Path(__file__).with_name("recorded_batches.json")
SEED = 7
SHARES = ({"rank": 0, "world": 1}, {"rank": 0, "world": 2}, {"rank": 1, "world": 2})
DAMAGED = 4
"""Number of the damaged video, in each data set."""

# --- data sets -------------------------------------------------------------------------------


def values(seed: int, *shape: int) -> NDArray[np.float32]:
    return (np.random.RandomState(seed).randint(-40, 40, shape) / 8).astype(np.float32)


def write_clips(root: Path) -> None:
    """Folders of 5 to 13 frames."""
    for video in range(9):
        rng = np.random.RandomState(video)
        folder = root / f"{video}"
        folder.mkdir(parents=True)
        for number in range(5 + video):
            frame = rng.randint(0, 256, (26, 34 if video % 2 else 20, 3)).astype(np.uint8)
            Image.fromarray(frame).save(folder / f"{number}.png")
    (root / f"{DAMAGED}" / "0.png").write_bytes(b"this is no image")
    (root / "6" / "9.png").write_bytes(b"this is no image")  # only some clips find it


def write_records(root: Path) -> None:
    """Four shards; the damaged video has no frames."""
    root.mkdir()
    for shard in range(4):
        videos: list[FeatureRecord] = []
        for number in range(shard * 4, shard * 4 + 4):
            rng = np.random.RandomState(number)
            count = 0 if number == DAMAGED else number % 7 + 1
            streams = {
                name: rng.randint(0, 256, (count, dim)).astype(np.uint8)
                for name, dim in (("rgb", 6), ("audio", 4))
            }
            videos.append(FeatureRecord(f"v{number}", streams, (number % 8, (number + 3) % 8)))
        write_shard(root / f"{shard}.tfrecord", videos)


def write_sequences(root: Path) -> None:
    """Features and proposals of ten videos to learn from and of eight to check with."""
    database: dict[str, Any] = {}
    for name in ("features", "proposals", "proposal_features"):
        (root / name).mkdir(parents=True)
    for number in range(18):
        video = f"v{number:02d}"
        database[video] = {
            "duration": 16.0 + number,
            "subset": "training" if number < 10 else "validation",
            "annotations": [
                {"segment": [1, 4 + number / 2], "label": "ab"[number % 2]},
                {"segment": [11, 13.5 + number / 4], "label": "c"},
            ],
        }
        count = number % 3 + 2
        write = proposals.write_proposals
        write(root / "proposals" / f"{video}.csv", some_proposals(number, count))
        np.save(root / "features" / f"{video}.npy", values(number, 14 + number % 5, 3))
        np.save(root / "proposal_features" / f"{video}.npy", values(number, count, 5))
        if number in (DAMAGED, 10 + DAMAGED):
            for folder in ("features", "proposal_features"):
                (root / folder / f"{video}.npy").write_bytes(b"this is no array")
    (root / "annotations.json").write_text(json.dumps({"database": database}))


def some_proposals(seed: int, count: int) -> proposals.Proposals:
    columns = np.abs(values(seed, 6, count)).astype(np.float64) / 8
    ends = np.sort(columns[:2].T, axis=1)
    return proposals.Proposals(ends, *columns[2:])


def write_captions(root: Path) -> None:
    """Nine videos of four seconds, two events of each; one more shows nothing."""
    (root / "features").mkdir(parents=True)
    lines = list[str]()
    for number in range(9):
        rows = pickle.dumps(values(number, 20, 3), protocol=2)
        bad = number == DAMAGED
        (root / "features" / f"v_{number}").write_bytes(b"no pickle" if bad else rows)
        lines.append(f"v_{number}\t0.{number}\t2.4{number}\ta man runs away")
        lines.append(f"v_{number}\t1.2\t3.{number}\t{'a dog ' * (number % 3)}runs")
    (root / "events.list").write_text("\n".join([*lines, "v_1\t3.99\t4\ta dog"]))


def write_moments(root: Path) -> None:
    """Movies in clips as in 2019, with vectors of sentences; and whole videos with texts."""
    for name in ("clips", "features"):
        (root / name).mkdir(parents=True)
    entries: list[Any] = []
    for number in range(7):
        for start in (1, 65, 129, 257):
            path = root / "clips" / f"m{number}.avi_{start}_{start + 128}.npy"
            np.save(path, values(number * 1000 + start, 3))
            entries.append(
                [f"m{number}.avi_{start + 3}_{start + 125}".encode(), [*values(start, 1, 8)]]
            )
        np.save(root / "features" / f"V{number}.npy", values(number, 17 + number, 3))
    (root / "clips" / f"m{DAMAGED}.avi_65_193.npy").write_bytes(b"this is no array")
    (root / "vectors.pkl").write_bytes(pickle.dumps(entries, protocol=2))
    lines = [f"V{n} {n}.0 {n + 8}.0##a man runs {n}." for n in range(7)]
    lines += [f"V{n} 8 11.5##a dog sleeps {n}." for n in range(7)]
    (root / "sta.txt").write_text("\n".join(lines))
    texts = [line.partition("##")[2] for line in lines]
    np.savez(root / "texts.npz", sentences=np.array(texts), vectors=values(0, len(texts), 8))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_clips(root / "clips")
    write_records(root / "tags")
    write_sequences(root / "segments")
    write_captions(root / "captions")
    write_moments(root / "moments")
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path))


# --- loaders: where these get other names or arguments, only this part changes -----------------


@dataclass(frozen=True)
class Case:
    """A loader and how its batches are read."""

    make: Callable[..., Any]
    """From the folder of all data sets, number of workers, rank and world, and `options`."""
    fields: tuple[str, ...]
    """Of a batch; the first holds the numbers of its videos."""
    options: Mapping[str, Any]


Share = Mapping[str, Any]
"""`rank` and `world`."""
SEGMENTS = ClipShape(sampling="segments", num_steps=3)
RUNS = ClipShape(sampling="segments", num_steps=2, frames_per_step=3)
DENSE = ClipShape(sampling="dense", num_steps=4)
STREAMS = FeatureShape(streams=(Stream(name="audio", dim=4), Stream(name="rgb", dim=6)))
SLICES = FeatureShape(streams=STREAMS.streams, num_frames=5)
STEPS = SequenceShape(feature_dim=3, num_steps=8)
CLIP = ("videos", "clips", "labels", "views")
TAGGED = ("videos", "names", "streams", "lengths", "labels")
SEQUENCE = ("videos", "names", "features", "targets", "segments", "labels", "durations")
PROPOSAL = ("videos", "names", "features", "mask", "tious", "proposals", "durations")
CAPTION = ("events", "features", "lengths", "words", "targets")
PAIR = ("pairs", "visual", "sentences", "offsets")
SEARCH = ("videos", "visual", "sentences")
VOCABULARY = captions.Vocabulary(["<s>", "<e>", "<unk>", "a", "man", "runs"])


def clip_data(workers: int, **options: Any) -> ClipData:
    given: dict[str, Any] = {"short_side": 24, "crop_size": 16, "frame_stride": 2, **options}
    return ClipData(resize_with="pillow", num_workers=workers, bad_video_share=0.5, **given)


def train_clips(root: Path, workers: int, share: Share, shape: Any, **options: Any) -> Any:
    entries = [ClipEntry(root / "clips" / f"{n}", n % 3, f"{n}") for n in range(9)]
    data = clip_data(workers, **options)
    return TrainLoader(
        clips.ClipDataset(entries, shape, data, seed=SEED), data, batch_size=2, **share
    )


def eval_clips(
    root: Path, workers: int, share: Share, shape: Any, listed: bool = False, **views: Any
) -> Any:
    entries = [
        ClipEntry(root / "clips" / f"{n}", n, f"{n}", clip_index=0, crop_index=crop, video=n)
        if listed  # a line per view, as in lists of 2019
        else ClipEntry(root / "clips" / f"{n}", n, f"{n}")
        for n in range(9)
        for crop in ((2, 0) if listed else (0,))
    ]
    seen = ClipViews(**views)
    data = clip_data(workers)
    dataset = clips.ViewDataset(entries, shape, data, seen)
    return EvalLoader(dataset, data, batch_size=4, skip_bad=True, **share)


def tag_data(root: Path, workers: int, **options: Any) -> FeatureData:
    where = root / "tags"
    given: dict[str, Any] = {"train": where, "val": where, "bad_video_share": 0.5, **options}
    return FeatureData(num_workers=workers, **given)


def train_tags(root: Path, workers: int, share: Share, shape: Any, **options: Any) -> Any:
    data = tag_data(root, workers, **options)
    records = tags.load_records(data, "train")
    dataset = tags.FeatureDataset(records, shape, data, num_classes=11, seed=SEED)
    return TrainLoader(dataset, data, batch_size=3, **share)


def eval_tags(
    root: Path, workers: int, share: Share, shape: Any, num_classes: int | None, **options: Any
) -> Any:
    data = tag_data(root, workers, **options)
    records = tags.load_records(data, "val")
    dataset = tags.FeatureDataset(records, shape, data, num_classes=num_classes)
    return EvalLoader(dataset, data, batch_size=3, skip_bad=True, **share)


def targets(
    segments: NDArray[np.float64], labels: NDArray[np.int64], num_steps: int
) -> Mapping[str, NDArray[Any]] | None:
    if not len(labels) or segments[0, 1] < 0.28:
        return None  # nothing to learn from: another video takes its place
    starts = np.zeros(num_steps)
    starts[: len(segments)] = segments[:, 0]
    return {"starts": starts, "count": np.array(len(labels))}


def segment_data(root: Path, workers: int, **options: Any) -> dict[str, Any]:
    annotations = root / "segments" / "annotations.json"
    shared = {"num_workers": workers, "bad_video_share": 0.5}
    return {"annotations": annotations, **shared, **options}


def train_sequences(root: Path, workers: int, share: Share, **options: Any) -> Any:
    where = root / "segments" / "features"
    data = SequenceData(**segment_data(root, workers, features=where, **options))
    videos = segments.load_videos(data, "train")
    dataset = segments.SequenceDataset(videos, STEPS, data, seed=SEED, targets=targets)
    return TrainLoader(dataset, data, batch_size=2, **share)


def eval_sequences(root: Path, workers: int, share: Share, **options: Any) -> Any:
    where = root / "segments" / "features"
    data = SequenceData(**segment_data(root, workers, features=where, **options))
    dataset = segments.SequenceDataset(segments.load_videos(data, "val"), STEPS, data)
    return EvalLoader(dataset, data, batch_size=2, skip_bad=True, **share)


def proposal_data(root: Path, workers: int) -> ProposalData:
    names = ("proposals", "proposal_features")
    folders = {name: root / "segments" / name for name in names}
    return ProposalData(**segment_data(root, workers, max_proposals=3, **folders))


def train_proposals(root: Path, workers: int, share: Share) -> Any:
    data = proposal_data(root, workers)
    videos = proposals.load_proposals(data, "train")
    dataset = proposals.ProposalDataset(videos, data, feature_dim=5, seed=SEED)
    return TrainLoader(dataset, data, batch_size=2, **share)


def eval_proposals(root: Path, workers: int, share: Share) -> Any:
    data = proposal_data(root, workers)
    videos = proposals.load_proposals(data, "val")
    dataset = proposals.ProposalDataset(videos, data, feature_dim=5, matched=False)
    return EvalLoader(dataset, data, batch_size=3, skip_bad=True, **share)


def train_in_memory(_root: Path, _workers: int, share: Share) -> Any:
    videos = [
        proposals.ProposedVideo(
            number=n,
            annotation=Annotation(video=f"v{n}", duration_seconds=8.0 + n),
            proposals=some_proposals(n, n % 3 + 2),
            features=values(n, n % 3 + 2, 5),
        )
        for n in range(9)
    ]
    return TrainLoader(proposals.MemoryProposals(videos, seed=SEED), batch_size=2, **share)


def caption_data(root: Path, workers: int) -> tuple[CaptionData, captions.CaptionEvents]:
    data = CaptionData(
        train=root / "captions" / "events.list",
        features=root / "captions" / "features",
        outside="skip",
        num_workers=workers,
        bad_video_share=0.5,
    )
    return data, captions.load_events(data, "train", feature_dim=3)


def train_captions(root: Path, workers: int, share: Share) -> Any:
    data, events = caption_data(root, workers)
    dataset = captions.CaptionDataset(events, VOCABULARY, data, feature_dim=3, seed=SEED)
    return TrainLoader(dataset, data, batch_size=4, **share)


def eval_captions(root: Path, workers: int, share: Share) -> Any:
    data, events = caption_data(root, workers)
    dataset = captions.CaptionDataset(events, VOCABULARY, data, feature_dim=3)
    return EvalLoader(dataset, data, batch_size=4, skip_bad=True, **share)


def moment_data(root: Path, workers: int, **options: Any) -> tuple[Any, Any]:
    where = root / "moments"
    inputs: dict[str, Any] = {"train": where / "vectors.pkl", "clips": where / "clips"}
    if options:
        inputs = {"train": where / "sta.txt", "features": where / "features", **options}
    inputs["sentences"] = SentenceSettings(encoder="given", file=where / "texts.npz")
    data = MomentData(num_workers=workers, bad_video_share=0.5, **inputs)
    return data, moments.load_moments(data, "train", visual_dim=9, sentence_dim=8)


def train_moments(root: Path, workers: int, share: Share, **options: Any) -> Any:
    data, asked = moment_data(root, workers, **options)
    dataset = moments.PairDataset(asked, data, seed=SEED)
    return TrainLoader(dataset, data, batch_size=3, **share)


def eval_moments(root: Path, workers: int, share: Share, **options: Any) -> Any:
    data, asked = moment_data(root, workers, **options)
    dataset = moments.SearchDataset(asked)
    return EvalLoader(dataset, data, batch_size=2, skip_bad=True, **share)


NEW_LOOKS = SequenceAugment(
    random_move=True, random_crop=True, resize=("nearest", "linear", "area")
)
WINDOWS = WindowSettings(seconds=(4, 8), overlap=0.5, context_seconds=2)
WHOLE: dict[str, Any] = {"rate": 1, "windows": WINDOWS}
CROPPED: dict[str, Any] = {"shape": RUNS, "crops": "multi_scale", "resize": "fixed_4_3"}
DRAWN: dict[str, Any] = {"shape": SLICES, "eval_frames": "random", "num_classes": 11}
JITTER: dict[str, Any] = {"short_side_jitter": (20, 30)}
CASES = {
    "clips, train, segments": Case(train_clips, CLIP, {"shape": SEGMENTS, **JITTER}),
    "clips, train, multi-scale": Case(train_clips, CLIP, CROPPED),
    "clips, train, dense": Case(train_clips, CLIP, {"shape": DENSE, **JITTER}),
    "clips, eval, dense": Case(eval_clips, CLIP, {"shape": DENSE, "num_clips": 2, "num_crops": 3}),
    "clips, eval, runs": Case(eval_clips, CLIP, {"shape": RUNS, "num_clips": 2}),
    "clips, eval, listed views": Case(eval_clips, CLIP, {"shape": SEGMENTS, "listed": True}),
    "tags, train, slices": Case(train_tags, TAGGED, {"shape": SLICES, "shuffle_records": 8}),
    "tags, train, whole": Case(train_tags, TAGGED, {"shape": STREAMS, "max_frames": 6}),
    "tags, eval, drawn slices": Case(eval_tags, TAGGED, DRAWN),
    "tags, eval, no labels": Case(eval_tags, TAGGED, {"shape": STREAMS, "num_classes": None}),
    "segments, train": Case(train_sequences, SEQUENCE, {}),
    "segments, train, new looks": Case(train_sequences, SEQUENCE, {"augment": NEW_LOOKS}),
    "segments, eval": Case(eval_sequences, SEQUENCE, {"resize": "area"}),
    "proposals, train": Case(train_proposals, PROPOSAL, {}),
    "proposals, train, in memory": Case(train_in_memory, PROPOSAL, {}),
    "proposals, eval": Case(eval_proposals, PROPOSAL, {}),
    "captions, train": Case(train_captions, CAPTION, {}),
    "captions, eval": Case(eval_captions, CAPTION, {}),
    "moments, train, clips": Case(train_moments, PAIR, {}),
    "moments, train, whole videos": Case(train_moments, PAIR, WHOLE),
    "moments, eval, clips": Case(eval_moments, SEARCH, {}),
    "moments, eval, whole videos": Case(eval_moments, SEARCH, WHOLE),
}

# --- the record ------------------------------------------------------------------------------


def update(digest: Any, value: Any) -> None:
    """Take in a value with its type and shape, whatever it is made of."""
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        digest.update(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
    elif isinstance(value, tuple):
        parts = cast("tuple[Any, ...]", value)
        digest.update(f"{len(parts)} of".encode())
        for part in parts:
            update(digest, part)
    elif isinstance(value, Mapping):
        update(digest, tuple(sorted(cast("Mapping[str, Any]", value).items())))
    elif is_dataclass(value):
        update(digest, tuple(getattr(value, field.name) for field in fields(value)))
    else:
        digest.update(repr(value).encode())


def line_of(batches: Any, names: Iterable[str], bad: Callable[[], Mapping[int, str]]) -> str:
    """A pass over batches in one line."""
    digest, shown = hashlib.sha256(), list[str]()
    first, *_ = names
    for batch in batches:
        for name in names:
            update(digest, getattr(batch, name))
        skipped = tuple(getattr(batch, "skipped", ()))
        text = " ".join(map(str, getattr(batch, first).tolist()))
        text += f" ({batch.replaced} replaced)" if batch.replaced else ""
        text += f" (skipped {' '.join(map(str, skipped))})" if skipped else ""
        shown.append(text)
    ends = f"{len(batches)} batches, bad {sorted(bad())}, {digest.hexdigest()[:24]}"
    return f"{', '.join(shown)}: {ends}"


def lines_of(loader: Any, names: Iterable[str]) -> Iterator[str]:
    """Some passes over a loader, a line each."""
    if not hasattr(loader, "epoch"):
        yield "all: " + line_of(loader, names, lambda: loader.skipped)
        return
    for number in range(3):
        assert len(loader.epoch(number)) == loader.batches_per_epoch
        yield f"epoch {number}: " + line_of(loader.epoch(number), names, lambda: loader.bad_videos)
    later = loader.epoch(1, skip_batches=1)
    yield "epoch 1 from batch 1: " + line_of(later, names, lambda: loader.bad_videos)


def read_record() -> dict[str, dict[str, list[str]]]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


@pytest.mark.parametrize("name", CASES)
def test_batches_are_those_recorded(root: Path, name: str):
    case = CASES[name]
    for workers in (0, 1):
        found = {
            f"rank {share['rank']} of {share['world']}": list(
                lines_of(case.make(root, workers, share, **case.options), case.fields)
            )
            for share in SHARES
        }
        if os.environ.get("VIDEOZOO_RECORD") and not workers:
            record = {**read_record(), name: found}
            kept = {one: record[one] for one in CASES if one in record}
            RECORD.write_text(json.dumps(kept, indent=1) + "\n")
        assert found == read_record()[name], f"with {workers} workers"


def test_all_that_is_recorded_is_tested():
    assert list(read_record()) == list(CASES)
