"""From videos to sequences of features: a clip model is run along the whole video.

    extractor = Extractor(config_for_weights(ConfigSource(), "runs/tsm"), rate=2)
    record = extractor.extract("match.mp4")  # record.streams["rgb"]: (T, dim), 2 rows per second

`extract_all` is the command: many videos into a folder; a second call continues the first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from videozoo import __version__
from videozoo.config import RunConfig
from videozoo.data.annotations.list_labels import own_class_names
from videozoo.data.annotations.video_labels import VideoLabels, absolute, read_labels, video_name
from videozoo.data.annotations.videos import (
    ClipEntry,
    find_videos,
    is_list_name,
    matching_paths,
    read_list,
    videos_of,
)
from videozoo.data.features.records import SOURCE, FeatureRecord, fingerprint
from videozoo.data.features.writer import STREAM, FeatureFolder
from videozoo.data.frames.video import count_frames, open_video
from videozoo.data.frames.views import eval_plan
from videozoo.data.frames.windows import FrameTimes, WindowPlan, read_windows, window_frames
from videozoo.engine.devices import make_accelerator, use_channels_last
from videozoo.errors import ConfigError, DataError, UsageError, WeightsError, counted, few
from videozoo.ops.folding import fold_batch_norms
from videozoo.ops.pixels import normalize
from videozoo.tasks.building import build
from videozoo.tasks.classification.common import clip_shape
from videozoo.tasks.classification.scoring import with_views
from videozoo.tasks.common import speaker
from videozoo.tasks.loading import Trained, build_trained, config_for_weights
from videozoo.tasks.next_steps import after_extraction, source_of_features, train_tagger
from videozoo.tasks.requests import Device, ExtractRequest, Layer
from videozoo.tasks.results import conclude, say_damaged
from videozoo.tasks.starting import initialise
from videozoo.types import Classification
from videozoo.weights.exported import exported_kind
from videozoo.weights.files import read_weights, sniff
from videozoo.weights.torchvision import recognise

MOST_VECTORS_A_SECOND = 1000.0
_log = logging.getLogger(__name__)


class ClipModel(Protocol):
    """The methods that extraction needs of a model; see `TSN.features`."""

    @property
    def feature_dim(self) -> int:
        """Length of a vector."""
        ...

    def features(self, clips: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, feature_dim)."""
        ...


class Extractor:
    """A trained clip model that turns a video into a sequence of vectors, evenly spaced in time.

    A vector is what the model's classifier reads for a window of the video; windows are chosen as
    `data.windows` says, frames are scaled and normalised as in the model's evaluation.

    Attributes:
        facts: All that the features depend on, as plain data: equal facts mean equal features.
        dim: Length of a vector.
    """

    def __init__(
        self,
        trained: Trained,
        *,
        rate: float = 2.0,
        window_seconds: float | None = None,
        layer: Layer = "features",
        device: Device = "auto",
        accelerator: Accelerator | None = None,
    ) -> None:
        """Load the weights.

        Args:
            trained: From `config_for_weights`. For TSN also a torchvision ResNet.
            rate: Vectors per second of video.
            window_seconds: Seconds of video per vector. None: 1 / rate; for models of dense clips
                (Non-local) the number of frames and the stride of their training.
            layer: `features`: the input of the classifier. `scores`: its output, a share per class.
            device: Where to compute.
            accelerator: In place of `device`, if several processes share the work.

        Raises:
            UsageError: `rate` or `window_seconds` is out of range.
            ConfigError: The model does not read videos.
            WeightsError: The weights do not fit, or are an exported graph, which gives scores only.
        """
        _check_rate(rate, window_seconds)
        config = _clip_config(trained, layer)
        views = config.predict
        config = with_views(config, views)
        view = replace(eval_plan(clip_shape(config), config.data, views), num_clips=1, num_crops=1)
        if window_seconds is None and view.sampling == "segments":
            window_seconds = 1 / rate
        self._config = config
        self._plan = WindowPlan(view=view, rate=rate, window_seconds=window_seconds)
        self._accelerator = accelerator or make_accelerator(
            device=device, precision=config.train.precision
        )
        module = _built(trained, config, layer)
        self._layer: Layer = layer
        self.facts = _facts(config, self._plan, module, layer)
        self.dim: int = self.facts["dim"]
        module.to(self._accelerator.device).eval()
        fold_batch_norms(module)  # this module is never saved
        use_channels_last(module)
        self._module = module
        self._batch_size: int = views.batch_size

    @property
    def fingerprint(self) -> str:
        """Hash of `facts`: two extractors share it only if their features are equal."""
        return fingerprint(self.facts)

    def extract(
        self, path: str | Path, *, on_windows: Callable[[int, int], None] | None = None
    ) -> FeatureRecord:
        """Turn one video into vectors.

        The video is decoded once, in order; only the memory for the vectors grows with its length.

        Args:
            path: A video file.
            on_windows: Called with (windows done, windows in all) after each batch.

        Returns:
            `streams["rgb"]` is float32 (T, dim); row k is centred on (k + 0.5) / rate seconds.
            `duration_seconds` is that of the video; `facts` hold its path, its size in bytes, and
            any damage found.

        Raises:
            VideoError: The video cannot be read, or does not tell its frame rate.
        """
        path = Path(path)
        with open_video(path) as reader:
            times = FrameTimes.of(reader, str(path))
            numbers = window_frames(times, self._plan)
            rows = np.empty((len(numbers), self.dim), np.float32)
            done, computed = 0, None
            for windows in read_windows(
                reader, numbers, self._plan, batch_size=self._batch_size, name=str(path)
            ):
                # a GPU computes this batch while the frames of the next are decoded
                following = self._features(windows)
                if computed is not None:
                    done = _store(computed, rows, done)
                    if on_windows is not None:
                        on_windows(done, len(rows))
                computed = following
            assert computed is not None  # a video has at least one window
            _store(computed, rows, done)
            if on_windows is not None:
                on_windows(len(rows), len(rows))
            damage = str(getattr(reader, "damage", ""))
        facts: dict[str, Any] = {"path": str(path), "bytes": _size_of(path)}
        if damage:
            facts["damage"] = damage
        return FeatureRecord(
            video_name(path),
            {STREAM: rows},
            duration_seconds=round(times.duration_seconds, 6),
            facts=facts,
        )

    def _features(self, frames: NDArray[np.uint8]) -> Tensor:
        """(N, T, H, W, C) pixels -> (N, dim) on the device, perhaps still being computed."""
        pixels = torch.from_numpy(frames)
        if self._accelerator.device.type == "cuda":
            pixels = pixels.pin_memory()
        clips = pixels.to(self._accelerator.device, non_blocking=True).permute(0, 1, 4, 2, 3)
        data = self._config.data
        with torch.inference_mode(), self._accelerator.autocast():
            windows = normalize(clips, data.mean, data.std)
            if self._layer == "scores":
                return self._module(windows).float().softmax(dim=1)
            return cast(ClipModel, self._module).features(windows).float()


def _store(features: Tensor, rows: NDArray[np.float32], start: int) -> int:
    end = start + len(features)
    rows[start:end] = features.cpu().numpy()
    return end


# --- the model -----------------------------------------------------------------------------------


def _check_rate(rate: float, window_seconds: float | None) -> None:
    if not 0 < rate <= MOST_VECTORS_A_SECOND:
        raise UsageError(
            f"--rate {rate:g}: expected vectors per second, more than 0 and at most "
            f"{MOST_VECTORS_A_SECOND:g}"
        )
    if window_seconds is not None and not 0 < window_seconds < float("inf"):
        raise UsageError(f"--window-seconds {window_seconds:g}: expected more than 0 seconds")


def _clip_config(trained: Trained, layer: Layer) -> RunConfig:
    config = trained.config
    if exported_kind(trained.path) is not None:
        raise WeightsError(
            f"{trained.path}: an exported graph gives scores and no features; pass the weights it "
            "was made from (a run folder or a .safetensors file)"
        )
    task = config.spec.task
    if not isinstance(task, Classification):
        raise ConfigError(
            f"{trained.path}: {config.spec.title} reads features itself; features are extracted "
            "with a model that looks at videos (tsn, tsm, stnet, nonlocal)"
        )
    if layer == "features" and not task.features:
        raise ConfigError(
            f"{trained.path}: {config.spec.title} does not give features (its model file says "
            "nothing of `features`); extract its scores (--layer scores), or use another model"
        )
    return config


def _built(trained: Trained, config: RunConfig, layer: Layer) -> nn.Module:
    path = trained.path
    net = None if sniff(path).startswith("paddle") else recognise(read_weights(path)[0])
    if net is None:
        return build_trained(trained, config)
    if layer == "scores":
        raise WeightsError(
            f"{path}: a torchvision {net.title}, whose classifier knows images; extract its "
            "features, or scores with trained weights"
        )
    task = config.spec.task
    if not (isinstance(task, Classification) and task.features_of_images):
        raise WeightsError(
            f"{path}: a torchvision {net.title}, which knows nothing of what {config.spec.title} "
            "does along time; extract with it as a TSN (--config tsn), or train first"
        )
    module = build(config)
    initialise(module, config, str(path))  # all but the classifier, which features do not need
    return module


def _facts(config: RunConfig, plan: WindowPlan, module: nn.Module, layer: Layer) -> dict[str, Any]:
    view, has_scores = plan.view, layer == "scores"
    facts = {
        "model": config.name,
        "title": config.spec.title,
        "settings": config.model.model_dump(
            mode="json", exclude_defaults=True, exclude={"num_classes", "dropout"}
        ),
        "weights_sha256": _weights_sha256(module, with_classifier=has_scores),
        "layer": "class scores" if has_scores else "classifier input",
        "dim": config.model.num_classes if has_scores else cast(ClipModel, module).feature_dim,
        "rate": plan.rate,
        "window_seconds": plan.window_seconds,
        "frame_stride": view.frame_stride if plan.window_seconds is None else None,
        "frames_per_window": plan.frames_per_window,
        "short_side": view.short_side,
        "crop_size": view.crop_size,
        "resize": view.resize,
        "resize_with": view.resize_with,
        "mean": config.data.mean,
        "std": config.data.std,
        "precision": config.train.precision,
    }
    return json.loads(json.dumps(facts))  # tuples and lists are one


def _weights_sha256(module: nn.Module, *, with_classifier: bool) -> str:
    """Hash of all tensors that the vectors depend on, the same for every file format.

    Leaves out the classifier, which comes after the features, and counters of batches.
    """
    digest = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        is_after = name.startswith("head.") and not with_classifier
        if is_after or name.endswith("num_batches_tracked"):
            continue
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        flat = values.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


# --- the videos ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Video:
    """One video to extract."""

    path: Path
    name: str
    labels: tuple[int, ...] | None


def _size_of(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def find_inputs(inputs: Sequence[str], root: Path | None = None) -> list[ClipEntry]:
    """Videos that the user names: files, folders, patterns (`clips/*.mp4`) and lists.

    A video that is named twice is returned once.

    Raises:
        DataError: An input does not exist or holds no video, or two videos have the same name.
    """
    entries: list[ClipEntry] = []
    for path in (path for text in inputs for path in matching_paths(text)):
        if is_list_name(path):
            names = own_class_names(path, root=root)
            if names:
                _log.warning(
                    "%s: its classes are numbered in the order of their names, from 0 %r to %d %r",
                    *(path, names[0], len(names) - 1, names[-1]),
                )
            entries += videos_of(
                read_list(
                    path, root=root, labels="optional", class_names=names, count_frames=count_frames
                )
            )
        else:
            entries += find_videos(path)
    by_file: dict[str, ClipEntry] = {}
    by_name: dict[str, Path] = {}
    collisions: list[str] = []
    for entry in entries:
        if by_file.setdefault(absolute(entry.path), entry) is not entry:
            continue
        other = by_name.setdefault(video_name(entry.path), entry.path)
        if other != entry.path:
            collisions.append(f"{other} and {entry.path}")
    if collisions:
        raise DataError(
            f"features go by the names of files, and these have one name: "
            f"{few(collisions, between='; ')}; rename them, or extract into two folders"
        )
    return list(by_file.values())


def _to_extract(entries: Sequence[ClipEntry], labels: VideoLabels | None) -> list[_Video]:
    videos: list[_Video] = []
    for entry in entries:
        own = None if entry.label is None else (entry.label,)
        found = own if labels is None else labels.of(entry.path)
        videos.append(_Video(entry.path, video_name(entry.path), found))
    if labels is not None and videos and all(video.labels is None for video in videos):
        raise DataError(
            f"{labels.path}: mentions none of the {counted(len(videos), 'video')}, e.g. "
            f"{videos[0].path}; paths are compared as from here and from beside the file, then "
            "names"
        )
    return videos


# --- many videos ---------------------------------------------------------------------------------


@dataclass
class Extraction:
    """What `extract_all` did, over all processes."""

    videos: int = 0
    """Videos turned into features by this call."""
    kept: int = 0
    """Videos done by an earlier call."""
    vectors: int = 0
    """Vectors of the videos done by this call."""
    video_seconds: float = 0.0
    """Total length of the videos done by this call."""
    wall_seconds: float = 0.0
    """Time of the extraction, without loading the weights."""
    skipped: list[str] = field(default_factory=list[str])
    """A line per unreadable video, with the reason."""
    damaged: list[str] = field(default_factory=list[str])
    """A line per damaged video, with what is wrong; read as far as it decodes."""


def extract_all(request: ExtractRequest, *, console: Console | None = None) -> Extraction:
    """Turn videos into a folder of features; continue where an earlier call stopped.

    Each process takes every n-th of the videos that are not done yet.

    Raises:
        VideozooError: A video, the weights, the folder or the machine do not fit. What is
            finished by then is kept.
    """
    out = console or Console()
    _check_rate(request.rate, request.window_seconds)
    labels = None if request.labels is None else read_labels(request.labels)
    trained = config_for_weights(request.source, request.weights)
    entries = find_inputs(request.inputs, _clip_config(trained, request.layer).data.root)
    videos = _to_extract(entries, labels)
    accelerator = make_accelerator(device=request.device, precision=trained.config.train.precision)
    say = speaker(Console(stderr=True), accelerator)
    for note in trained.config.notes:
        say(f"note: {note}")
    extractor = Extractor(
        trained,
        rate=request.rate,
        window_seconds=request.window_seconds,
        layer=request.layer,
        accelerator=accelerator,
    )
    source = source_of_features(trained.path, request.source, [video.path for video in videos])
    facts = {**extractor.facts, SOURCE: source}
    folder = FeatureFolder(request.output, request.format, facts)
    if accelerator.is_main_process:
        folder.prepare(made_with=__version__, overwrite=request.overwrite)
    accelerator.wait_for_everyone()
    folder.read()
    missing = _not_done(videos, folder, say)
    without = sum(video.labels is None for video in videos)
    if labels is not None and without:
        say(f"note: {without} of {counted(len(videos), 'video')} have no label in {labels.path}")
    try:
        result = _run(extractor, folder, missing, request, accelerator)
    except BaseException:
        if accelerator.num_processes == 1:
            folder.merge()
        raise
    result.kept = len(videos) - len(missing)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        folder.merge()
        say_damaged(say, result.damaged)
        num_classes = 1 + max((one for video in videos for one in video.labels or ()), default=-1)
        if labels is not None:
            num_classes = labels.num_classes
        for line in _summary(result, extractor, request, len(folder.done), num_classes):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    conclude(accelerator, request, result.skipped, say, total=len(videos))
    return result


def _not_done(
    videos: Sequence[_Video], folder: FeatureFolder, say: Callable[[str], None]
) -> list[_Video]:
    """The videos whose features the folder does not hold yet.

    Raises:
        DataError: The folder holds another video of the same name.
    """
    missing: list[_Video] = []
    relabelled = 0
    for video in videos:
        line = folder.done.get(video.name)
        if line is None:
            missing.append(video)
            continue
        if line.get("bytes") != _size_of(video.path):
            raise DataError(
                f"{folder.folder}: already holds features of another {video.name} "
                f"({line.get('path')}, {line.get('bytes')} bytes; now {video.path}, "
                f"{_size_of(video.path)} bytes); rename it, name another folder, or pass "
                "--overwrite"
            )
        stored = line.get("labels")
        relabelled += video.labels is not None and stored != list(video.labels)
    if relabelled:
        say(
            f"note: {relabelled} videos done before keep the labels they have, which are others; "
            "--overwrite writes all anew"
        )
    return missing


def _run(
    extractor: Extractor,
    folder: FeatureFolder,
    videos: Sequence[_Video],
    request: ExtractRequest,
    accelerator: Accelerator,
) -> Extraction:
    """Extract the videos of this process, then gather the results of all processes."""
    mine = videos[accelerator.process_index :: accelerator.num_processes]
    done = Extraction()
    started = time.perf_counter()
    writer = folder.writer(accelerator.process_index)
    try:
        with _bar(len(mine), accelerator) as advance:
            for number, video in enumerate(mine):
                try:
                    record = extractor.extract(video.path, on_windows=_part_of(advance, number))
                except DataError as error:
                    if request.strict or (len(videos) == 1 and not request.skip_bad):
                        raise
                    done.skipped.append(str(error))
                    continue
                writer.add(replace(record, labels=video.labels))
                done.videos += 1
                done.vectors += len(record.streams[STREAM])
                done.video_seconds += record.duration_seconds or 0.0
                if "damage" in record.facts:
                    done.damaged.append(f"{video.path}: {record.facts['damage']}")
    finally:
        writer.close_part()
    done.wall_seconds = time.perf_counter() - started
    return _merged(done, accelerator)


def _merged(mine: Extraction, accelerator: Accelerator) -> Extraction:
    if accelerator.num_processes == 1:
        return mine
    parts: list[Extraction] = gather_object([mine])
    return Extraction(
        videos=sum(part.videos for part in parts),
        vectors=sum(part.vectors for part in parts),
        video_seconds=sum(part.video_seconds for part in parts),
        wall_seconds=max(part.wall_seconds for part in parts),
        skipped=[problem for part in parts for problem in part.skipped],
        damaged=[problem for part in parts for problem in part.damaged],
    )


@contextmanager
def _bar(total: int, accelerator: Accelerator) -> Generator[Callable[[float], None]]:
    """A progress bar for the videos of this process; it also moves within long videos."""
    console = Console(stderr=True)
    shown = accelerator.is_main_process and console.is_terminal
    with Progress(
        TextColumn("videos"),
        BarColumn(),
        TextColumn("{task.completed:.1f}/{task.total:.0f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
        transient=True,
    ) as progress:
        bar = progress.add_task("videos", total=total)
        yield lambda done: progress.update(bar, completed=done)


def _part_of(advance: Callable[[float], None], number: int) -> Callable[[int, int], None]:
    return lambda done, total: advance(number + done / total)


def _summary(
    result: Extraction,
    extractor: Extractor,
    request: ExtractRequest,
    num_held: int,
    num_classes: int,
) -> list[str]:
    """What was done, and the commands to run next."""
    speed = result.video_seconds / max(result.wall_seconds, 1e-9)
    lines = [
        f"{extractor.facts['title']}: {counted(result.videos, 'video')}, {result.vectors} vectors "
        f"of {extractor.dim}, {request.rate:g} per second; {result.video_seconds:.0f} s of video "
        f"in {result.wall_seconds:.1f} s ({speed:.1f} s per second)"
    ]
    if result.kept or result.skipped:
        lines.append(f"{result.kept} done before, {len(result.skipped)} skipped")
    lines.append(
        f"written: {request.output} ({counted(num_held, 'video')}, {request.format}, fingerprint "
        f"{extractor.fingerprint})"
    )
    if not num_held:
        return lines
    if num_classes and request.format not in ("npy", "csv"):
        streams = {STREAM: extractor.dim}
        lines.append(f"next: {train_tagger(request.output, streams, num_classes)}")
        return lines
    return [*lines, after_extraction(extractor.facts, request.output)]
