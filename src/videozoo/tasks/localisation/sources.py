"""Find the videos whose features a network reads, and decode its outputs for them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils._pytree import tree_map_only

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import (
    Annotation,
    Annotations,
    annotated_durations,
    read_durations,
    video_lengths,
)
from videozoo.data.coverage import load_annotations, load_features
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.lengths import MEASURED_COUNTS, check_lengths
from videozoo.data.loader import EvalLoader
from videozoo.data.segment_windows import WindowDataset, find_windows
from videozoo.data.segments import (
    SequenceBatch,
    SequenceDataset,
    SequenceVideos,
    check_rate,
    times_of_features,
    with_features,
)
from videozoo.data.text import integer, lines_of, of_video, text_of
from videozoo.errors import ConfigError, DataError, few
from videozoo.ops.windows import Window
from videozoo.settings.segments import SequenceData, SequenceViews
from videozoo.settings.shared import Part
from videozoo.tasks.inference import eval_loader
from videozoo.tasks.localisation.scoring import (
    NetworkOutput,
    VideoSource,
    candidate_table,
    generator_of,
)
from videozoo.types import Localisation, ProposalGeneration, SequenceShape, Targets

LISTS = (".txt", ".list", ".lst", ".json")
"""Endings of files that list names of videos."""
Known = Mapping[str, tuple[float, Path]]
"""Video -> its length in seconds, and the file with that length."""
_log = logging.getLogger(__name__)


def localiser_of(config: RunConfig) -> Localisation:
    """The description of how the configured model finds segments."""
    if not isinstance(config.spec.task, Localisation):
        raise ConfigError(f"model {config.name!r} does not find segments in features")
    return config.spec.task


def generation_of(config: RunConfig) -> ProposalGeneration:
    """How the scores of a first stage become proposals for the second."""
    proposals = localiser_of(config).proposals
    if proposals is None:
        raise ConfigError(f"model {config.name!r} is not the first stage of two")
    return proposals(config.model)


def sequence_shape(config: RunConfig) -> SequenceShape:
    """Shape of the features that the configured model reads."""
    return localiser_of(config).sequence_shape(config.model)


class FeatureSource(VideoSource):
    """Videos that each have features."""

    def __init__(
        self,
        config: RunConfig,
        views: SequenceViews,
        videos: SequenceVideos,
        *,
        with_loss: bool = False,
    ) -> None:
        """Make the source of some videos.

        Args:
            config: The configuration of the run.
            views: Its `eval` or `predict` section.
            videos: The videos; of windows, where `data.window_seconds` asks for them.
            with_loss: Also compute losses.

        Raises:
            DataError: Windows are asked for, and a length is not known, or they are too short.
        """
        self.windows = None
        if config.data.window_seconds is not None:
            self.windows = find_windows(videos, config.data)
            videos = self.windows.videos
        self._only: Sequence[tuple[int, Window]] | None = None
        self.config, self.views, self.videos = config, views, videos
        self.annotations, self.present = videos.annotations, videos.present
        self.missing, self.extractor = videos.missing, videos.files.extractor
        self.video_files = videos.files.videos
        self._localiser = localiser_of(config)
        self._targets = self._localiser.targets(config.model) if with_loss else None

    def read_only(self, windows: Sequence[tuple[int, Window]]) -> None:
        """Leave out all windows but these, each with the number of its video."""
        self._only = windows

    def batches(self, accelerator: Accelerator, *, skip_bad: bool) -> EvalLoader[SequenceBatch]:
        """The batches of this process."""
        data = self.config.data
        shape = sequence_shape(self.config)
        if self.windows is None:
            dataset = SequenceDataset(self.videos, shape, data, targets=self._targets)
        else:
            dataset = WindowDataset(self.windows, shape, targets=self._targets, only=self._only)
        return eval_loader(
            dataset,
            data,
            accelerator,
            batch_size=self.views.batch_size,
            skip_bad=skip_bad,
        )

    def decode(self, batch: SequenceBatch, outputs: Any) -> NetworkOutput:
        """Turn the outputs of the network for a batch into scored segments."""
        localiser = self._localiser
        losses: Mapping[str, Tensor] = {}
        if batch.targets:
            generator = generator_of(int(batch.videos[0]))
            losses = localiser.losses(outputs, batch.targets, generator)
        outputs = tree_map_only(Tensor, _on_host, outputs)
        threshold = self.views.class_nms.score_threshold
        candidates = localiser.candidates(self.config.model, outputs, threshold)
        curves = {name: each.numpy() for name, each in localiser.curves(outputs).items()}
        rows = [{name: each[row] for name, each in curves.items()} for row in range(len(batch))]
        is_first_stage = localiser.proposals is not None
        return NetworkOutput(
            candidates=candidates,
            curves=rows,
            tables=rows if is_first_stage else [candidate_table(each) for each in candidates],
            losses=named_losses(losses),
        )


def named_losses(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Losses as numbers; the names of the parts end in `_loss`."""
    return {
        name if name == "loss" else f"{name}_loss": float(value) for name, value in losses.items()
    }


def _on_host(tensor: Tensor) -> Tensor:
    """Move a tensor to the CPU, in float32 if it has lower precision."""
    tensor = tensor.cpu()
    if tensor.is_floating_point():
        return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    return tensor


# --- which videos ----------------------------------------------------------------------------


def data_of(config: RunConfig, section: Literal["eval", "predict"]) -> SequenceData:
    """The `data:` section, with the streams of another section if that has its own."""
    data: SequenceData = config.data
    streams: tuple[str, ...] = getattr(config, section).streams
    return data.model_copy(update={"streams": streams}) if streams else data


def find_videos(config: RunConfig, part: Part, *, quiet: bool = False) -> SequenceVideos:
    """Find the videos of one part.

    Args:
        config: The configuration of the run.
        part: The part of the data.
        quiet: Log no warnings, because the same annotations were read before.

    Raises:
        DataError: The part is not set or cannot be used, or no video has features.
    """
    data: SequenceData = config.data if part == "train" else data_of(config, "eval")
    files = load_features(data)
    frames: dict[str, float] = {}
    if part == "train" and data.annotations is not None:
        frames = _lengths_in_list(data.annotations)
    found = load_annotations(
        data,
        part,
        durations=frames,
        measured=files.measured,
        frame_times=times_of_features(files),
        quiet=quiet,
    )
    videos = with_features(found, files)
    if not frames:  # else lengths are in frames
        check_rate(videos, data.rate)
    return videos


def _lengths_in_list(path: Path) -> dict[str, float]:
    """Lengths in frames, from a C-TCN list of the 2019 library; training needs only ratios."""
    if path.is_dir() or path.suffix.lower() in (".json", ".csv"):
        return {}
    lengths: dict[str, float] = {}
    for _, line in lines_of(path):
        name, *rest = line.split()
        frames = integer(rest[0]) if rest else None
        if frames:
            lengths[name] = float(frames)
    return lengths


def input_videos(inputs: Sequence[str], config: RunConfig) -> list[SequenceVideos]:
    """Find videos to predict on.

    Args:
        inputs: Folders of features, feature packs, files of features, and lists of names of
            videos (see `listed_videos`) whose features lie in `data.features`; by default
            `predict.inputs`.
        config: The configuration of the run. Its annotations or durations, if their files
            exist, give lengths.

    Raises:
        DataError: Something named is not there, or holds no features.
    """
    if not inputs:
        listed: Path | None = config.predict.inputs
        if listed is None:
            raise DataError(
                "no features: name folders, files or lists of videos, or set predict.inputs"
            )
        inputs = (str(listed),)
    data = data_of(config, "predict")
    durations = known_durations(data)
    found: list[SequenceVideos] = []
    folders: dict[Path, list[Path]] = {}
    for path in map(Path, inputs):
        if path.is_file() and path.suffix.lower() in LISTS:
            found.append(_listed(path, load_features(data), durations))
        elif path.is_file():
            folders.setdefault(path.parent, []).append(path)
        else:
            found.append(_all_of(FeatureFiles(path, streams=data.streams), durations))
    for folder, paths in folders.items():
        found += _of_files(folder, paths, data, durations)
    return found


def _of_files(
    folder: Path, paths: Sequence[Path], data: SequenceData, durations: Known
) -> list[SequenceVideos]:
    """Single files; files of one folder are read together if possible, to share batches."""
    try:
        files = FeatureFiles(folder, streams=data.streams)
    except DataError:
        files = None
    if files is not None and {path.stem for path in paths} <= set(files):
        return [_named([path.stem for path in paths], files, durations, folder)]
    return [_all_of(FeatureFiles(path, streams=data.streams), durations) for path in paths]


def _all_of(files: FeatureFiles, durations: Known) -> SequenceVideos:
    return _named(list(files), files, durations, files.path)


def _listed(path: Path, files: FeatureFiles, durations: Known) -> SequenceVideos:
    names, lengths = listed_videos(path)
    lacking = [name for name in names if name not in files]
    if len(lacking) == len(names):
        raise DataError(f"{path}: no features in {files.path} of {few(lacking)}")
    return _named(names, files, {**durations, **lengths}, path)


def _named(
    names: Sequence[str], files: FeatureFiles, durations: Known, path: Path
) -> SequenceVideos:
    """Videos by name; a length from features overrides a length from annotations."""
    apart: dict[Path, dict[str, tuple[float, float]]] = {}
    videos: list[Annotation] = []
    by_name: list[str] = []
    for name in dict.fromkeys(names):
        seconds, (elsewhere, source) = of_video(name, files.durations), _known(name, durations)
        if seconds is None:
            seconds = elsewhere
            by_name += [] if elsewhere is None or source == path else [name]
        elif elsewhere is not None:
            apart.setdefault(source, {})[name] = elsewhere, seconds
        videos.append(Annotation(video=name, duration_seconds=seconds or float("nan")))
    for source, lengths in apart.items():
        check_lengths(
            lengths, source=source, features=files.path, may_refuse=False, advice=MEASURED_COUNTS
        )
    if by_name:
        _say_by_name(by_name, durations)
    return with_features(Annotations(path=path, videos=tuple(videos), class_names=()), files)


def _say_by_name(names: Sequence[str], durations: Known) -> None:
    sources = ", ".join(dict.fromkeys(str(_known(name, durations)[1]) for name in names))
    _log.warning(
        "features do not tell how long %d of the videos are; %s does, by name: %s",
        len(names),
        sources,
        few(names),
    )


def listed_videos(path: Path) -> tuple[list[str], Known]:
    """Names of videos in a list, and their lengths if it holds them.

    A list has one name per line, up to the first blank; or it is JSON annotations with lengths,
    such as the `infer.list` of the 2019 library.

    Raises:
        DataError: The file is missing, names none, or is JSON of another kind.
    """
    if text_of(path).lstrip()[:1] != "{":
        return [line.split()[0] for _, line in lines_of(path)], {}
    lengths = video_lengths(path)
    if not lengths:
        raise DataError(f"{path}: names no video")
    return list(lengths), {name: (each, path) for name, each in lengths.items() if each is not None}


def known_durations(data: Any) -> Known:
    """Lengths of videos in seconds, from those files of the `data:` section that exist."""
    found: dict[str, tuple[float, Path]] = {}
    for path in (data.annotations, data.val_annotations, data.test_annotations):
        if path is not None and path.is_file():
            found |= {name: (seconds, path) for name, seconds in _told_by(path).items()}
    if data.durations is not None and data.durations.is_file():
        lengths = read_durations(data.durations)
        found |= {name: (seconds, data.durations) for name, seconds in lengths.items()}
    return found


def _told_by(annotations: Path) -> dict[str, float]:
    try:
        return annotated_durations(annotations)
    except DataError:  # errors in annotations of other videos do not matter here
        return {}


def _known(name: str, durations: Known) -> tuple[float | None, Path]:
    return of_video(name, durations) or (None, Path())


def of_known_length(
    names: Iterable[str], durations: Known, *, lists: Collection[Path] = ()
) -> list[Annotation]:
    """Videos with lengths from `durations`; nan seconds if unknown.

    Args:
        names: Names of the videos.
        durations: Known lengths.
        lists: Files that named the videos; lengths from these are not reported.
    """
    found = {name: _known(name, durations) for name in names}
    by_name = [
        name for name, (each, source) in found.items() if each is not None and source not in lists
    ]
    if by_name:
        _say_by_name(by_name, durations)
    return [
        Annotation(video=name, duration_seconds=seconds or float("nan"))
        for name, (seconds, _) in found.items()
    ]


# --- classes ---------------------------------------------------------------------------------


def num_classes(config: RunConfig) -> int | None:
    """Number of classes of the model, without the background; None for proposals."""
    task = config.spec.task
    if not isinstance(task, Localisation) or task.decides != "map":
        return None
    return int(config.model.num_classes) - task.background


def agreed_classes(config: RunConfig, names: Sequence[str]) -> tuple[str, ...]:
    """Return the class names, after a check that the model has as many classes.

    Raises:
        ConfigError: There are more or fewer names, or the segments have no classes.
    """
    wanted, data = num_classes(config), config.data
    where = data.class_names or data.annotations
    if wanted is not None and "" in names:
        raise ConfigError(
            f"{where}: its segments have no labels, and {config.spec.title} tells classes apart; "
            "add labels, or use a model that finds segments whatever their class (bmn, bsn)"
        )
    if wanted is not None and len(names) != wanted:
        background = int(config.model.num_classes) - wanted
        with_it = " and the background" if background else ""
        raise ConfigError(
            f"{where}: {len(names)} classes ({few(names)}), but model.num_classes is "
            f"{config.model.num_classes}, for {wanted} of them{with_it}; make them agree (--set "
            f"model.num_classes={len(names) + background}), leave classes out "
            "(data.ignored_classes), or name all classes in data.class_names"
        )
    return tuple(names)


def with_class_numbers(annotations: Annotations, names: Sequence[str]) -> Annotations:
    """The same videos, with classes numbered as in the model.

    Raises:
        DataError: A class is unknown to the model.
    """
    unknown = [name for name in annotations.class_names if name not in set(names)]
    used = {one.label for video in annotations.videos for one in video.instances}
    unknown = [name for name in unknown if name in used]
    if unknown:
        raise DataError(
            f"{annotations.path}: unknown class {unknown[0]!r}, expected one of the model's "
            f"{len(names)}: {few(map(repr, names))}; or leave it out (data.ignored_classes)"
        )
    return replace(annotations, class_names=tuple(names))


def targets_of(config: RunConfig) -> Targets:
    """The training targets of the configured model for a video."""
    return localiser_of(config).targets(config.model)
