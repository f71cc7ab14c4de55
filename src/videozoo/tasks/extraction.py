"""`videozoo extract`: many videos into a folder of features; a second call continues the first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console

from videozoo import __version__
from videozoo.data.annotations.inputs import NamedVideos, named_videos
from videozoo.data.annotations.list_labels import own_class_names
from videozoo.data.annotations.video_labels import VideoLabels, read_labels
from videozoo.data.annotations.videos import ClipEntry, read_list, videos_of
from videozoo.data.features.writer import STREAM, FeatureFolder
from videozoo.data.files import absolute
from videozoo.data.frames.video import count_frames
from videozoo.data.video_names import names_apart, video_name
from videozoo.encoders.base import Encoder
from videozoo.engine.devices import make_accelerator
from videozoo.errors import DataError, UsageError, counted, few
from videozoo.tasks.clip_encoder import ClipEncoder
from videozoo.tasks.common import speaker
from videozoo.tasks.extractor import (
    Extraction,
    Extractor,
    NamedVideo,
    check_rate,
    fill,
    identity,
)
from videozoo.tasks.kept_encoder import (
    DEFAULT_RATE,
    encoder_options,
    extractor_for,
    facts_to_store,
    open_encoder,
)
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.next_steps import after_extraction, train_tagger
from videozoo.tasks.requests import ConfigSource, EncoderChoice, ExtractRequest
from videozoo.tasks.results import conclude, say_of_videos

_log = logging.getLogger(__name__)


# --- the videos ----------------------------------------------------------------------------------


def find_inputs(
    inputs: Sequence[str], root: Path | None = None, *, strict: bool = False
) -> NamedVideos:
    """Videos that the user names: files, folders, patterns (`clips/*.mp4`) and lists.

    A video that is named twice is returned once.

    Raises:
        DataError: No input is there, or two videos have the same name.
    """

    def read(path: Path, missing: Callable[[str], None]) -> Sequence[ClipEntry]:
        names = own_class_names(path, root=root)
        if names:
            _log.warning(
                "%s: its classes are numbered in the order of their names, from 0 %r to %d %r",
                *(path, names[0], len(names) - 1, names[-1]),
            )
        return videos_of(
            read_list(
                path,
                root=root,
                labels="optional",
                missing=missing,
                class_names=names,
                count_frames=count_frames,
                several="as listed",
            )
        )

    named = named_videos(inputs, read, strict=strict)
    by_file = {absolute(entry.path): entry for entry in reversed(named.entries)}
    return NamedVideos(list(reversed(by_file.values())), named.absent)


def _labels_of(
    entries: Sequence[ClipEntry], labels: VideoLabels | None
) -> list[tuple[int, ...] | None]:
    """The classes of each video, from its list or from a file of labels."""
    found = [entry.classes if labels is None else labels.of(entry.path) for entry in entries]
    if labels is not None and found and all(each is None for each in found):
        raise DataError(
            f"{labels.path}: mentions none of the {counted(len(entries), 'video')}, e.g. "
            f"{entries[0].path}; paths are compared as from here and from beside the file, then "
            "names"
        )
    return found


def _names_of(entries: Sequence[ClipEntry], folder: FeatureFolder) -> list[str]:
    """The name of each video; those in the folder keep theirs."""
    there = {Path(line["path"]): name for name, line in folder.done.items() if line.get("path")}
    paths = [Path(absolute(entry.path)) for entry in entries]
    return names_apart(paths, kept={path: there[path] for path in paths if path in there})


def _say_longer(videos: Sequence[NamedVideo], say: Callable[[str], None]) -> None:
    longer = [video.name for video in videos if video.name != video_name(video.path)]
    if longer:
        say(
            f"note: {counted(len(longer), 'video')} share their names with others, so their "
            f"features have folders in their names: {few(longer)}"
        )


# --- the command ---------------------------------------------------------------------------------


def extract_all(request: ExtractRequest, *, console: Console | None = None) -> Extraction:
    """Turn videos into a folder of features; continue where an earlier call stopped.

    Each process takes every n-th of the videos that are not done yet.

    Raises:
        VideozooError: A video, the weights, the folder or the machine do not fit. What is
            finished by then is kept.
    """
    out = console or Console()
    check_rate(DEFAULT_RATE if request.rate is None else request.rate, request.window_seconds)
    if request.batch_size is not None and request.batch_size < 1:
        raise UsageError(f"--batch-size {request.batch_size}: expected 1 window or more")
    labels = None if request.labels is None else read_labels(request.labels)
    extractor, accelerator, say = _opened(request)
    clips = (one for one in extractor.encoders if isinstance(one, ClipEncoder))
    root = next((one.config.data.root for one in clips), None)
    named = find_inputs(request.inputs, root, strict=request.strict)
    for line in named.absent:
        say(f"failed: {line}")
    labels_of = _labels_of(named.entries, labels)
    facts = facts_to_store(extractor, [entry.path for entry in named.entries])
    folder = FeatureFolder(request.output, request.format, facts)
    if accelerator.is_main_process:
        folder.prepare(made_with=__version__, overwrite=request.overwrite)
    accelerator.wait_for_everyone()
    folder.read()
    names = _names_of(named.entries, folder)
    videos = [
        NamedVideo(entry.path, name, own)
        for entry, name, own in zip(named.entries, names, labels_of, strict=True)
    ]
    _say_longer(videos, say)
    missing = _not_done(videos, folder, say)
    without = sum(video.labels is None for video in videos)
    if labels is not None and without:
        say(f"note: {without} of {counted(len(videos), 'video')} have no label in {labels.path}")
    alone = len(videos) + len(named.absent) == 1
    strict = request.strict or (alone and bool(missing) and not request.skip_bad)
    result = fill(extractor, folder, missing, accelerator, strict=strict, say=say)
    result.kept = len(videos) - len(missing)
    if accelerator.is_main_process:
        say_of_videos(say, result, len(missing), extractor.rate)
        num_classes = 1 + max((one for video in videos for one in video.labels or ()), default=-1)
        if labels is not None:
            num_classes = labels.num_classes
        for line in _summary(result, extractor, request, len(folder.done), num_classes):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    failed = [*named.absent, *result.skipped]
    conclude(accelerator, request, failed, say, total=len(videos) + len(named.absent))
    return result


def _opened(request: ExtractRequest) -> tuple[Extractor, Accelerator, Callable[[str], None]]:
    """The extractor that a request describes, and the processes."""
    if request.for_run is not None:
        return _opened_for(request, request.for_run)
    encoders = _encoders(request)
    accelerator = make_accelerator(device=request.device, precision=encoders[0].precision)
    say = speaker(Console(stderr=True), accelerator)
    for encoder in encoders:
        for note in encoder.notes:
            say(f"note: {note}")
    extractor = Extractor(
        encoders,
        rate=DEFAULT_RATE if request.rate is None else request.rate,
        window_seconds=request.window_seconds,
        mirror=request.mirror,
        batch_size=request.batch_size,
        accelerator=accelerator,
    )
    return extractor, accelerator, say


def _opened_for(
    request: ExtractRequest, run: str
) -> tuple[Extractor, Accelerator, Callable[[str], None]]:
    """The extractor of the features that a run learnt from."""
    chosen = request.rate, request.window_seconds, request.weights, request.source.path
    own = request.layer != "features" or request.encoder_precision != "fp32" or request.mirror
    if any(each is not None for each in chosen) or own:
        raise UsageError(
            "--for takes rate, window, layer, precision, mirror and weights from the run; leave "
            "out --rate, --window-seconds, --layer, --encoder-precision, --mirror, --weights and "
            "--config"
        )
    trained = config_for_weights(ConfigSource(), run)
    accelerator = make_accelerator(device=request.device)
    say = speaker(Console(stderr=True), accelerator)
    choice = EncoderChoice(encoders=request.encoders, pooling=request.pooling)
    return extractor_for(trained, choice, accelerator, say), accelerator, say


def _encoders(request: ExtractRequest) -> list[Encoder]:
    """The encoders that a request names: with --encoder, or a clip model with --weights."""
    options = encoder_options(request.layer, request.pooling, request.encoder_precision)
    source = request.source
    if request.encoders:
        if request.weights is not None or source.path is not None or source.model is not None:
            raise UsageError(
                "--encoder names what makes features; leave out --weights, --config and --model"
            )
        return [open_encoder(text, options) for text in request.encoders]
    if request.weights is None and source.path is None:
        raise UsageError(
            "no encoder: pass --encoder NAME|RUN|FILE|hf://OWNER/NAME (`videozoo encoders`), or "
            "--weights RUN of a clip model"
        )
    if "precision" in options:
        raise UsageError(
            "--encoder-precision is for encoders of Hugging Face; a clip model computes as in its "
            "training: --set train.precision=bf16"
        )
    if request.pooling is not None:
        raise UsageError("--pooling is for encoders of Hugging Face, not for clip models")
    trained = config_for_weights(source, request.weights)
    return [ClipEncoder(trained, layer=request.layer, source=source)]


def _not_done(
    videos: Sequence[NamedVideo], folder: FeatureFolder, say: Callable[[str], None]
) -> list[NamedVideo]:
    """The videos whose features the folder does not hold yet.

    Raises:
        DataError: The folder holds another video of the same name.
    """
    missing: list[NamedVideo] = []
    relabelled = 0
    for video in videos:
        line = folder.done.get(video.name)
        if line is None:
            missing.append(video)
            continue
        if line.get("bytes") != identity(video.path)["bytes"]:
            raise DataError(
                f"{folder.folder}: already holds features of another {video.name} "
                f"({line.get('path')}, {line.get('bytes')} bytes; now {video.path}, "
                f"{identity(video.path)['bytes']} bytes); rename it, name another folder, or pass "
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
        f"of {extractor.dim}, {extractor.rate:g} per second; {result.video_seconds:.0f} s of video "
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
