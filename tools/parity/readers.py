"""Compare the readers of Kinetics (TSN, TSM, StNet) and of Non-local with the recorded ones.

Pixels are compared in grey levels, 0..255, after normalising and taking that back. "From recorded
frames" feeds our transforms the frames that the original decoded; "from the files" goes through our
decoder too and, in evaluation, through the loader that users run.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from tools.parity import golden
from tools.parity.rows import Row
from videozoo.data.annotations.videos import ClipEntry, find_videos, read_list
from videozoo.data.clips import ViewDataset, epoch_order
from videozoo.data.frames import sampling, transforms
from videozoo.data.frames.video import JpegPickle, VideoInfo, VideoReader, open_video
from videozoo.data.frames.views import (
    Draws,
    ViewPlan,
    eval_plan,
    eval_views,
    train_plan,
    train_view,
)
from videozoo.data.loader import EvalLoader
from videozoo.ops.pixels import normalize
from videozoo.settings.clips import ClipData, ClipViews
from videozoo.types import ClipShape

EXACT = 1e-3
"""Grey levels; float32 rounding only."""
OTHER_PILLOW = 1.0
"""Grey levels for each resize where one Pillow is older than 10 and the other is not."""
OTHER_CONVERSION = 2.0
"""Grey levels between our decoder and that of OpenCV 4.2; for 4:2:0 H.264 they are equal."""
OTHER_BILINEAR = 2.0
"""Grey levels between our `plain` resize and OpenCV 4.2, which rounds its weights to 11 bits."""


def covers(name: str) -> bool:
    """Whether a recorded set of this name is one of a reader of videos."""
    return name.startswith(("reader_kinetics", "reader_nonlocal"))


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    meta = json.loads((folder / "meta.json").read_text())
    with np.load(folder / "outputs.npz") as arrays:
        recorded = {name: arrays[name] for name in arrays.files}
    if folder.name.startswith("reader_kinetics"):
        yield from _index_table(json.loads((folder / "index_table.json").read_text()))
        yield from _kinetics_decoding(folder, recorded)
        yield from _kinetics_pieces(recorded, meta)
        yield from _sharding(meta["info"].get("sharding", {}))
        yield from _kinetics_modes(folder, recorded, meta)
    else:
        yield from _nonlocal(folder, recorded, meta)


@dataclass
class _Watched:
    """A reader that remembers which frames were asked for; over an array or another reader."""

    recorded: NDArray[np.uint8]
    asked: list[int]

    @property
    def num_frames(self) -> int:
        return len(self.recorded)

    @property
    def frame_seconds(self) -> None:
        return None

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        return iter(self.recorded)

    @property
    def info(self) -> VideoInfo:
        raise NotImplementedError

    def read(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        self.asked = list(indices)
        return self.recorded[list(indices)]

    def frames_at(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        return ((index, self.recorded[index]) for index in sorted(set(indices)))

    def close(self) -> None: ...
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def _levels(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Largest difference; nan where shapes differ."""
    if ours.shape != theirs.shape:
        return float("nan")
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0))


def _mismatches(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    if len(ours) != len(theirs):
        return max(len(ours), len(theirs))
    return sum(our != their for our, their in zip(ours, theirs, strict=True))


# --- kinetics --------------------------------------------------------------------------------


def _index_table(table: dict[str, dict[str, list[int]]]) -> Iterator[Row]:
    wrong = total = 0
    for key, by_format in table.items():
        count, segments, run = map(int, key.split(",")[:3])
        for source, numbers in by_format.items():
            if key.endswith("train"):
                rng = random.Random(count * 1000 + segments * 10 + run)
                ours = sampling.segment_frames_random(
                    count, num_segments=segments, run=run, rng=rng
                )
            else:
                centre = "run" if source == "pkl" else "first"
                ours = sampling.segment_frames(count, num_segments=segments, run=run, centre=centre)
            wrong += ours != numbers
            total += 1
    yield Row("frame numbers, wrong rows", wrong, 0, f"{total} rows of the index table")


def _kinetics_decoding(folder: Path, recorded: dict[str, NDArray[Any]]) -> Iterator[Row]:
    videos = _decoding_error(folder, recorded, "decoded/")
    pickles = _decoding_error(folder, recorded, "jpeg_decoded/")
    yield Row("frames of videos, grey levels", videos, OTHER_CONVERSION)
    yield Row("frames of pickles, grey levels", pickles, EXACT)


def _decoding_error(folder: Path, recorded: dict[str, NDArray[Any]], prefix: str) -> float:
    errors: list[float] = []
    for name, frames in recorded.items():
        if not name.startswith(prefix):
            continue
        files = folder.glob(f"{name.removeprefix(prefix)}.*")
        (path,) = (p for p in files if (p.suffix == ".pkl") == prefix.startswith("jpeg"))
        with open_video(path) as reader:
            errors.append(_levels(reader.read(range(reader.num_frames)), frames))
    return _worst(errors)


def _worst(errors: Sequence[float]) -> float:
    """Largest error; nan wins, and so does having compared nothing."""
    return float(np.max(errors)) if errors else float("nan")


def _rounding(meta: dict[str, Any]) -> float:
    """Grey levels that a resize may be off: none where Pillow rounds as the recorded one did."""
    versions = str(meta.get("versions", {}).get("pillow", "0")), PIL.__version__
    recorded_is_old, ours_is_old = (int(each.partition(".")[0]) < 10 for each in versions)
    return 0.0 if recorded_is_old == ours_is_old else OTHER_PILLOW


def _kinetics_pieces(recorded: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Iterator[Row]:
    short, rounding = meta["config"]["short_size"], _rounding(meta)
    used = re.search(r"jpeg_decoded/(\w+)\[:(\d+)\], portrait (\w+)\[", meta["arrays"])
    assert used is not None, meta["arrays"]
    landscape, portrait = (
        transforms.resize_short_side(
            recorded[f"jpeg_decoded/{video}"][: int(used[2])],
            short,
            rule="fixed_4_3",
            backend="pillow",
        )
        for video in (used[1], used[3])
    )
    errors: dict[str, list[float]] = {}
    for name, theirs in recorded.items():
        if not name.startswith("piece/"):
            continue
        what, _, seed = name.removeprefix("piece/").partition("_seed")
        rng = random.Random(int(seed or 0))
        side = theirs.shape[1]
        match what:
            case "scale_landscape":
                ours = landscape
            case "scale_portrait":
                ours = portrait
            case "center":
                ours = transforms.centre_crop(landscape, side)
            case "multiscale":
                ours = transforms.multi_scale_crop(landscape, side, rng, backend="pillow")
            case "random_crop":
                ours = transforms.random_crop(landscape, side, rng)
            case "flip":
                ours = transforms.mirror(landscape) if rng.random() < 0.5 else landscape
            case _:
                ours = np.zeros(0, np.uint8)  # shows as nan
        errors.setdefault(what, []).append(_levels(ours, theirs))
    for what, values in errors.items():
        resizes = 2 if what == "multiscale" else 1
        limit = EXACT + resizes * rounding
        yield Row(f"{what}, grey levels", _worst(values), limit, f"{len(values)} cases")


def _sharding(shards: dict[str, list[str]]) -> Iterator[Row]:
    if not shards:
        return
    names = sorted({name for shard in shards.values() for name in shard}, key=_natural)
    world = len({key.partition("/")[0] for key in shards})
    wrong = 0
    for key, theirs in shards.items():
        rank, epoch = map(int, re.findall(r"\d+", key))
        order = epoch_order(len(names), seed=0, epoch=epoch, rank=rank, world=world)
        wrong += _mismatches([names[place] for place in order], theirs)
    yield Row("shares of processes, wrong places", wrong, 0, f"{len(shards)} shares")


def _natural(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _kinetics_modes(
    folder: Path, recorded: dict[str, NDArray[Any]], meta: dict[str, Any]
) -> Iterator[Row]:
    info, config = meta["info"], meta["config"]
    for case in sorted(name.removesuffix("/imgs") for name in recorded if name.endswith("/imgs")):
        segments, run = map(int, re.findall(r"\d+", case.split("/")[1]))
        shape = ClipShape(sampling="segments", num_steps=segments, frames_per_step=run)
        data = ClipData(
            short_side=config["short_size"],
            crop_size=config["target_size"],
            resize="fixed_4_3",
            resize_with="pillow",
            crops="multi_scale" if case.endswith("TSM") else "random",
            mean=config["image_mean"],
            std=config["image_std"],
            num_workers=0,
        )
        theirs = _pixels(recorded[f"{case}/imgs"], data)
        rounding = _rounding(meta) * (2 if data.crops == "multi_scale" else 1)
        if case.startswith("video_path"):
            entries = find_videos(folder / info[case]["label"])
            limit = OTHER_CONVERSION + rounding
            yield _from_files(case, entries, shape, data, theirs[None], [-1], limit)
        else:
            yield from _kinetics_mode(
                folder,
                recorded,
                case,
                shape,
                data,
                theirs,
                info[case],
                golden.seeds(meta),
                rounding,
            )


def _kinetics_mode(
    folder: Path,
    recorded: dict[str, NDArray[Any]],
    case: str,
    shape: ClipShape,
    data: ClipData,
    theirs: NDArray[np.float64],
    info: dict[str, Any],
    seeds: tuple[int, int],
    rounding: float,
) -> Iterator[Row]:
    source, _, mode = case.split("/")
    entries = read_list(folder / f"{source}.list", labels="optional")
    is_train = mode.startswith("train")
    order = epoch_order(len(entries), seed=0, epoch=0) if is_train else list(range(len(entries)))
    yield Row(f"{case} order, wrong", _mismatches(order, info["order"]), 0)
    entries = [entries[place] for place in order]

    stored = "jpeg_decoded" if source == "pkl" else "decoded"
    plan = train_plan(shape, data) if is_train else eval_plan(shape, data)
    draws = _draws(seeds)
    views: list[NDArray[np.uint8]] = []
    numbers: list[list[int]] = []
    for entry in entries:
        reader = _Watched(recorded[f"{stored}/{entry.path.stem}"], [])
        if is_train:
            views.append(train_view(reader, plan, draws))
        else:
            centre = "run" if source == "pkl" else "first"
            views += eval_views(reader, plan, centre=centre)
        numbers.append(reader.asked)
    wrong = _mismatches(numbers, recorded[f"{case}/idx"].tolist())
    yield Row(f"{case} frame numbers, wrong", wrong, 0)
    error = _levels(_as_clips(views, data), theirs)
    yield Row(f"{case} from recorded frames, grey levels", error, EXACT + rounding)

    tolerance = (EXACT if source == "pkl" else OTHER_CONVERSION) + rounding
    if is_train:
        draws = _draws(seeds)
        views, labels = [], []
        for entry in entries:
            with open_video(entry.path) as reader:
                views.append(train_view(reader, plan, draws))
                labels.append(_label(entry, reader))
        error = _levels(_as_clips(views, data), theirs)
        yield Row(f"{case} from the files, grey levels", error, tolerance)
        yield Row(f"{case} labels, wrong", _mismatches(labels, info["label"]), 0)
        return
    labels = info["label"]
    if labels and isinstance(labels[0], str):  # pickles give their names when predicting
        names = [_video_id(entry) for entry in entries]
        yield Row(f"{case} names, wrong", _mismatches(names, labels), 0)
        labels = None
    yield _from_files(case, entries, shape, data, theirs, labels, tolerance)


def _draws(seeds: tuple[int, int]) -> Draws:
    return Draws(random.Random(seeds[0]), np.random.RandomState(seeds[1]))


def _label(entry: ClipEntry, reader: VideoReader) -> int:
    label = reader.label if isinstance(reader, JpegPickle) else entry.label
    return -1 if label is None else label


def _video_id(entry: ClipEntry) -> str:
    with open_video(entry.path) as reader:
        return cast(JpegPickle, reader).video_id


def _from_files(
    case: str,
    entries: Sequence[ClipEntry],
    shape: ClipShape,
    data: ClipData,
    theirs: NDArray[np.float64],
    labels: Sequence[int] | None,
    tolerance: float,
    views: ClipViews | None = None,
) -> Row:
    """Run the evaluation loader; wrong labels show as nan."""
    batches = list(EvalLoader(ViewDataset(entries, shape, data, views), data, batch_size=2))
    clips = torch.cat([normalize(batch.clips, data.mean, data.std) for batch in batches])
    ours = [label for batch in batches for label in batch.labels.tolist()]
    error = _levels(_pixels(clips.numpy(), data), theirs)
    if labels is not None and ours != list(labels):
        error = float("nan")
    return Row(f"{case} from the files, grey levels", error, tolerance)


def _as_clips(views: Sequence[NDArray[np.uint8]], data: ClipData) -> NDArray[np.float64]:
    clips = torch.from_numpy(np.stack(views)).permute(0, 1, 4, 2, 3)
    return _pixels(normalize(clips, data.mean, data.std).numpy(), data)


def _pixels(clips: NDArray[Any], data: ClipData) -> NDArray[np.float64]:
    """Take back the normalising of (..., 3k, H, W): grey levels."""
    repeats = clips.shape[-3] // 3
    mean, std = (np.array(value * repeats)[:, None, None] for value in (data.mean, data.std))
    return (clips.astype(np.float64) * std + mean) * 255


# --- non-local -------------------------------------------------------------------------------


def _nonlocal(
    folder: Path, recorded: dict[str, NDArray[Any]], meta: dict[str, Any]
) -> Iterator[Row]:
    config = meta["config"]
    worst = _decoding_error(folder, recorded, "decoded/")
    yield Row("frames of videos, grey levels", worst, OTHER_CONVERSION)
    for name, theirs in recorded.items():
        if name.startswith("piece/resize"):
            frames = recorded["decoded/v0"][: len(theirs)]
            ours = transforms.resize(frames, *theirs.shape[1:3], backend="plain")
            yield Row(f"{name}, grey levels", _levels(ours, theirs), OTHER_BILINEAR)
    for case in sorted(name.removesuffix("/clips") for name in recorded if name.endswith("/clips")):
        is_train = case == "train"
        is_test = case.startswith(("test", "infer"))
        first, last = config["test_jitter" if is_test else "train_jitter"]
        if case == "valid":  # recorded at a fixed scale
            first = last = int(recorded["valid/resized"].min())
        data = ClipData(
            short_side=first,
            short_side_jitter=(first, last),
            crop_size=config["test_crop" if is_test else "train_crop"],
            resize_with="plain",
            frame_stride=config["sample_rate"],
            mean=(config["image_mean"] / 255,) * 3,
            std=(config["image_std"] / 255,) * 3,
            num_workers=0,
        )
        shape = ClipShape(sampling="dense", num_steps=config["video_length"])
        entries = _nonlocal_entries(folder, case, meta["info"])
        clips_per_video = _clips_per_video(meta["arrays"], case)
        their = {key: recorded[f"{case}/{key}"] for key in _CASE_ARRAYS}
        if is_test:
            views = ClipViews(num_clips=clips_per_video, short_side=first)
            yield from _nonlocal_test(case, entries, shape, data, views, recorded, their)
        else:
            seeds = golden.seeds(meta)
            yield from _nonlocal_drawn(case, entries, is_train, shape, data, recorded, their, seeds)


_CASE_ARRAYS = ("clips", "kept", "frames", "resized", "label", "mean_std")


def _nonlocal_entries(folder: Path, case: str, info: dict[str, Any]) -> list[ClipEntry]:
    if case == "infer_video_path":  # 10 clips, 3 crops each
        lines = info["temp_nonlocal_inference_list_first_lines"]
        (entry,) = find_videos(folder / lines[0].split()[0])
        return [
            replace(entry, video=0, clip_index=clip, crop_index=crop)
            for clip in range(10)
            for crop in range(3)
        ]
    name = {"test_multi0": "testlist.txt", "test_multi1": "testlist.txt", "test_multi2": "flip.txt"}
    labels = "optional" if case in name else "required"
    return read_list(folder / name.get(case, "trainlist.txt"), labels=labels)


def _clips_per_video(arrays: str, case: str) -> int:
    """Clips a video of a test case, from the sentence that describes it."""
    crops = {"test_multi0": 1, "test_multi1": 3, "test_multi2": 6}.get(case)
    found = re.search(rf"{case} \([^)]*?(\d+) clips", arrays)
    return int(found[1]) // crops if crops and found else 10


def _nonlocal_drawn(
    case: str,
    entries: list[ClipEntry],
    is_train: bool,
    shape: ClipShape,
    data: ClipData,
    recorded: dict[str, NDArray[Any]],
    their: dict[str, NDArray[Any]],
    seeds: tuple[int, int],
) -> Iterator[Row]:
    """Training, and 2019 validation, which drew where clips start; ours has no such mode."""
    draw = _nonlocal_train if is_train else _nonlocal_valid
    plan = train_plan(shape, data)
    for source in ("recorded frames", "the files"):
        draws = _draws(seeds)
        listed = list(entries)
        if is_train:
            draws.python.shuffle(listed)
        views: list[NDArray[np.uint8]] = []
        numbers: list[list[int]] = []
        for entry in listed:
            frames = recorded[f"decoded/{entry.path.stem}"]
            if source == "the files":
                with open_video(entry.path) as reader:
                    frames = reader.read(range(reader.num_frames))
            watched = _Watched(frames, [])
            views.append(draw(watched, plan, draws))
            numbers.append(watched.asked)
        if source == "recorded frames":
            labels = [entry.label for entry in listed]
            yield from _nonlocal_rows(case, labels, numbers, views, data, their)
        else:
            clips = _as_clips([views[item] for item in their["kept"]], data)
            error = _levels(clips, _dense_pixels(their["clips"], data))
            yield Row(
                f"{case} from the files, grey levels", error, OTHER_BILINEAR + OTHER_CONVERSION
            )


def _nonlocal_train(reader: VideoReader, plan: ViewPlan, draws: Draws) -> NDArray[np.uint8]:
    return train_view(reader, plan, draws)


def _nonlocal_valid(reader: VideoReader, plan: ViewPlan, draws: Draws) -> NDArray[np.uint8]:
    numbers = sampling.dense_frames_random(
        reader.num_frames, length=plan.num_steps, stride=plan.frame_stride, rng=draws.python
    )
    assert plan.short_side_jitter
    side = transforms.jittered_short_side(*plan.short_side_jitter, draws.numpy)
    draws.numpy.rand()  # whether to mirror, drawn and not used
    frames = transforms.resize_short_side(reader.read(numbers), side, backend="plain")
    return transforms.positioned_crop(frames, plan.crop_size, 1)


def _nonlocal_test(
    case: str,
    entries: list[ClipEntry],
    shape: ClipShape,
    data: ClipData,
    views: ClipViews,
    recorded: dict[str, NDArray[Any]],
    their: dict[str, NDArray[Any]],
) -> Iterator[Row]:
    plan = eval_plan(shape, data, views)
    cut: list[NDArray[np.uint8]] = []
    numbers: list[list[int]] = []
    for entry in entries:
        reader = _Watched(recorded[f"decoded/{entry.path.stem}"], [])
        cut += eval_views(reader, plan, clip=entry.clip_index, crop=entry.crop_index)
        numbers.append(reader.asked)
    labels = [entry.video for entry in entries]
    yield from _nonlocal_rows(case, labels, numbers, cut, data, their)
    yield _from_files(
        case,
        # a video each, so that the loader keeps the order of the list
        [replace(entries[item], video=n) for n, item in enumerate(their["kept"])],
        shape,
        data,
        _dense_pixels(their["clips"], data),
        None,
        OTHER_BILINEAR + OTHER_CONVERSION,
        views,
    )


def _nonlocal_rows(
    case: str,
    labels: Sequence[int | None],
    numbers: list[list[int]],
    views: list[NDArray[np.uint8]],
    data: ClipData,
    their: dict[str, NDArray[Any]],
) -> Iterator[Row]:
    yield Row(f"{case} labels, wrong", _mismatches(labels, their["label"].tolist()), 0)
    yield Row(f"{case} frame numbers, wrong", _mismatches(numbers, their["frames"].tolist()), 0)
    clips = _as_clips(views, data)
    error = _levels(clips[their["kept"]], _dense_pixels(their["clips"], data))
    yield Row(f"{case} from recorded frames, grey levels", error, OTHER_BILINEAR)
    # every clip, the ones not kept too: a wrong place or mirror would show here
    levels = np.stack([clips.mean(axis=(1, 2, 3, 4)), clips.std(axis=(1, 2, 3, 4))], axis=1)
    grey = np.array([data.std[0], data.std[0]]) * 255
    theirs = their["mean_std"] * grey + np.array([data.mean[0] * 255, 0.0])
    yield Row(f"{case} mean and spread, grey levels", _levels(levels, theirs), 0.5)


def _dense_pixels(clips: NDArray[Any], data: ClipData) -> NDArray[np.float64]:
    """(N, 3, T, H, W) as recorded, to grey levels (N, T, 3, H, W)."""
    return _pixels(np.moveaxis(clips, 1, 2), data)
