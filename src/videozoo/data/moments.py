"""From videos, sentences and windows to batches.

The moment of a sentence is searched among windows: stretches of a video of a few fixed lengths. A
window either has its own file of features, `MOVIE_START_END.npy` as in the 2019 library (TACoS), or
its features are the mean of the features of the whole video inside it. A model reads the features
before the window, in the window and after it.

Times are in frames if windows have their own files, because their names count frames. Times are in
seconds if windows are cut out of the features of whole videos.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoo.data.annotations.sentence_vectors import (
    EncoderMaker,
    as_vector,
    check_dim,
    make_encoder,
)
from videozoo.data.annotations.sentences import (
    TimedSentence,
    TimedSentences,
    check_times,
    of_part,
    read_timed_sentences,
)
from videozoo.data.annotations.timed_sentences import ClipLabels
from videozoo.data.coverage import check_times_by_features
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.records import Facts, RecordSet, fingerprint
from videozoo.data.loader import Batch, Missing, VideoDataset
from videozoo.data.text import as_text, of_video
from videozoo.errors import ConfigError, DataError, MisfitError, counted, few
from videozoo.ops.moment_windows import sliding_windows, vectors_in_context
from videozoo.safe_npy import read_npy
from videozoo.safe_pickle import load_pickle
from videozoo.settings.moments import GIVEN, MomentData
from videozoo.settings.shared import Part

Unit = Literal["frames", "seconds"]
Table = NDArray[np.float64]

_RATE = 5.0  # vectors per second, unless features or settings give a rate


# --- windows ---------------------------------------------------------------------------------


class WindowSource(Protocol):
    """Windows of videos and their features. Can be sent to other processes."""

    unit: Unit
    extractor: Facts | None

    @property
    def path(self) -> Path:
        """Path of the features."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Names of videos."""
        ...

    def __contains__(self, video: object) -> bool: ...

    def windows(self, video: str) -> Table:
        """(W, 2): start and end, in order."""
        ...

    def length(self, video: str) -> float | None:
        """Length of a video in `unit`; None if unknown."""
        ...

    def visual(self, video: str, windows: Table) -> NDArray[np.float32]:
        """(W, visual_dim): features before, in and after each window."""
        ...

    def check_times(self, found: TimedSentences) -> tuple[str, ...]:
        """Compare times with the lengths of the videos; see `check_times_by_features`."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the windows."""
        ...

    @property
    def rate(self) -> float | None:
        """Vectors per second; None if times are in frames."""
        ...


class ClipFolder:
    """One file per window: MOVIE_START_END.npy, one array (C,) each; times are in frames.

    If a file before or after a window is missing, the nearest file between it and the window is
    used, or else the window itself.

    Reference behaviour: PaddlePaddle/models release/1.8, tall_reader.
    """

    unit: Unit = "frames"
    extractor: Facts | None = None
    notes: tuple[str, ...] = ()
    rate: float | None = None

    def __init__(self, path: Path, data: MomentData, *, clip_dim: int) -> None:
        """Find the clips of a folder.

        Raises:
            DataError: The folder does not exist, or holds no clip.
        """
        self.path = path
        self._dim = clip_dim
        self._frames, self._count = data.context_frames, data.context_clips
        self._lengths = {} if data.lengths is None else read_lengths(data.lengths)
        self._clips: dict[str, list[tuple[int, int]]] = defaultdict(list)
        try:
            with os.scandir(path) as inside:
                names = sorted(entry.name for entry in inside)
        except OSError as error:
            raise DataError(f"{path}: cannot be read as a folder: {error.strerror}") from None
        for name in names:
            clip = parse_clip_name(name.removesuffix(".npy")) if name.endswith(".npy") else None
            if clip is not None:
                self._clips[clip[0]].append(clip[1:])
        self._clips = {movie: sorted(clips) for movie, clips in sorted(self._clips.items())}
        if not self._clips:
            raise DataError(f"{path}: no clips here; expected files MOVIE_START_END.npy")

    def __iter__(self) -> Iterator[str]:
        return iter(self._clips)

    def __contains__(self, video: object) -> bool:
        return video in self._clips

    def windows(self, video: str) -> Table:
        """See `WindowSource`."""
        return np.array(self._clips[video], np.float64)

    def length(self, video: str) -> float | None:
        """See `WindowSource`."""
        known = length_of(self._lengths, video)
        return known[0] if known else None

    def check_times(self, found: TimedSentences) -> tuple[str, ...]:
        """See `WindowSource`."""
        known = {video: length_of(self._lengths, video) for video in found.videos}
        seconds = {v: one[0] / one[1] for v, one in known.items() if one is not None and one[1]}
        check_times(found, seconds, features=self.path)
        return ()

    def visual(self, video: str, windows: Table) -> NDArray[np.float32]:
        """See `WindowSource`."""
        read: dict[tuple[int, int], NDArray[np.float32]] = {}
        there = set(self._clips[video])

        def features(start: int, end: int) -> NDArray[np.float32] | None:
            if (start, end) not in there:
                return None
            if (start, end) not in read:
                read[start, end] = self._read(video, start, end)
            return read[start, end]

        rows: list[NDArray[np.float32]] = []
        for start, end in windows.astype(int).tolist():
            clip = features(start, end)
            assert clip is not None
            sides: list[NDArray[np.float32]] = []
            for at, step in ((start, -self._frames), (end, self._frames)):
                last, found = clip, list[NDArray[np.float32]]()
                for k in range(self._count):
                    ends = sorted((at + step * k, at + step * (k + 1)))
                    beside = features(ends[0], ends[1])
                    last = last if beside is None else beside
                    found.append(last)
                sides.append(np.stack(found).mean(axis=0))
            rows.append(np.concatenate((sides[0], clip, sides[1])))
        return np.stack(rows)

    def _read(self, video: str, start: int, end: int) -> NDArray[np.float32]:
        path = self.path / f"{video}_{start}_{end}.npy"
        clip = read_npy(path)
        if clip.dtype.kind not in "fiu" or clip.size == 0:
            raise DataError(f"{path}: holds {clip.dtype} {clip.shape}, expected numbers")
        if clip.size != self._dim:
            raise MisfitError(
                f"{path}: {clip.size} numbers, expected {self._dim}, a third of model.visual_dim; "
                "are these the features the model was made for?"
            )
        if not np.isfinite(clip).all():
            raise DataError(f"{path}: not all its values are finite numbers; extract it again")
        return clip.astype(np.float32).ravel()


class SlidingWindows:
    """Windows cut out of the features of whole videos; times are in seconds."""

    unit: Unit = "seconds"

    def __init__(self, features: FeatureFiles, data: MomentData, *, clip_dim: int) -> None:
        self._features = features
        self._settings = data.windows
        self._dim = clip_dim
        self._configured_rate = data.rate
        self.extractor = features.extractor
        self._rate = features.rate(data.rate, _RATE)
        self.notes = features.rate_notes(data.rate, self._rate)
        self._vectors: dict[str, int] = {}

    @property
    def rate(self) -> float | None:
        """See `WindowSource`."""
        return self._rate

    @property
    def path(self) -> Path:
        """See `WindowSource`."""
        return self._features.path

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __contains__(self, video: object) -> bool:
        return video in self._features

    def windows(self, video: str) -> Table:
        """See `WindowSource`."""
        return sliding_windows(self._length(video), self._rate, self._settings)

    def length(self, video: str) -> float | None:
        """See `WindowSource`; as stored with the features, else by their number."""
        stored = of_video(video, self._features.durations)
        return self._length(video) / self._rate if stored is None else stored

    def check_times(self, found: TimedSentences) -> tuple[str, ...]:
        """See `WindowSource`."""
        return check_times_by_features(
            found,
            {video: self._length(video) for video in found.videos if video in self},
            self._features,
            rate=self._rate,
            configured=self._configured_rate,
        )

    def visual(self, video: str, windows: Table) -> NDArray[np.float32]:
        """See `WindowSource`."""
        features = self._features.read(video, feature_dim=self._dim)
        context_seconds = self._settings.context_seconds
        return vectors_in_context(features, windows, self._rate, context_seconds=context_seconds)

    def _length(self, video: str) -> int:
        if video not in self._vectors:
            self._vectors[video] = len(self._features.read(video, feature_dim=self._dim))
        return self._vectors[video]


class JoinedWindows:
    """Windows of the videos of several sources, such as files of features in several places."""

    def __init__(self, sources: Sequence[WindowSource]) -> None:
        """Join them.

        Args:
            sources: At least one.

        Raises:
            DataError: A video is in two of them, or they differ in what made them, in their rate or
                in the unit of their times.
        """
        first = sources[0]
        self.path, self.rate = first.path, first.rate
        self.unit: Unit = first.unit
        self.extractor: Facts | None = first.extractor
        self.notes = tuple(dict.fromkeys(note for source in sources for note in source.notes))
        self._of: dict[str, WindowSource] = {}
        for source in sources:
            _refuse_other(first, source)
            for video in source:
                if video in self._of:
                    raise DataError(
                        f"{video!r} is there twice: {self._of[video].path} and {source.path}; name "
                        "each video once"
                    )
                self._of[video] = source

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __contains__(self, video: object) -> bool:
        return video in self._of

    def windows(self, video: str) -> Table:
        """See `WindowSource`."""
        return self._of[video].windows(video)

    def length(self, video: str) -> float | None:
        """See `WindowSource`."""
        return self._of[video].length(video)

    def visual(self, video: str, windows: Table) -> NDArray[np.float32]:
        """See `WindowSource`."""
        return self._of[video].visual(video, windows)

    def check_times(self, found: TimedSentences) -> tuple[str, ...]:
        """See `WindowSource`."""
        notes: list[str] = []
        for source in dict.fromkeys(self._of.values()):
            own = tuple(one for one in found.sentences if one.video in source)
            notes += source.check_times(replace(found, sentences=own)) if own else ()
        return tuple(notes)


def _refuse_other(one: WindowSource, other: WindowSource) -> None:
    for what, ours, theirs in (
        ("times", one.unit, other.unit),
        ("a rate", one.rate, other.rate),
        ("a fingerprint", _fingerprint(one), _fingerprint(other)),
    ):
        if ours != theirs:
            raise DataError(
                f"{one.path} has {what} of {ours}, {other.path} of {theirs}: features of two "
                "kinds; make them alike, or search them one after the other"
            )


def _fingerprint(source: WindowSource) -> str | None:
    return None if source.extractor is None else fingerprint(source.extractor)


def parse_clip_name(name: str) -> tuple[str, int, int] | None:
    """Movie, start and end of MOVIE_START_END; None for other names.

    >>> parse_clip_name("s13-d21.avi_1_129"), parse_clip_name("readme")
    (('s13-d21.avi', 1, 129), None)
    """
    parts = name.rsplit("_", 2)
    if len(parts) != 3 or not (parts[0] and parts[1].isdecimal() and parts[2].isdecimal()):
        return None
    if max(len(parts[1]), len(parts[2])) > 15:
        return None
    return parts[0], int(parts[1]), int(parts[2])


def read_lengths(path: Path) -> dict[str, tuple[float, float | None]]:
    """Read frames and frames per second of movies, from a pickle of the 2019 library.

    Raises:
        DataError: It cannot be read, would run code, or holds something else.
    """
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dict from movie to [frames, frames per second]")
    lengths: dict[str, tuple[float, float | None]] = {}
    for movie, value in cast("dict[Any, Any]", content).items():
        numbers = as_vector(value, path).astype(float).tolist()
        lengths[as_text(movie)] = numbers[0], numbers[1] if len(numbers) > 1 else None
    return lengths


def length_of(
    lengths: Mapping[str, tuple[float, float | None]], video: str
) -> tuple[float, float | None] | None:
    """Frames and frames per second of a movie; its name may have the suffix of its file."""
    return lengths.get(video) or lengths.get(video.rpartition(".")[0])


def open_windows(
    path: Path | RecordSet, data: MomentData, *, visual_dim: int, clips: bool
) -> WindowSource:
    """Open a folder of clips, or features of whole videos.

    Raises:
        DataError: There are no clips or features.
        ConfigError: `visual_dim` is not a multiple of three.
    """
    if visual_dim % 3:
        raise ConfigError(
            f"model.visual_dim is {visual_dim}, expected three times the length of a feature: what "
            f"comes before, the window, and what comes after: {3 * visual_dim} for features of "
            f"{visual_dim} values"
        )
    if clips and isinstance(path, Path):
        return ClipFolder(path, data, clip_dim=visual_dim // 3)
    return SlidingWindows(FeatureFiles(path, streams=data.streams), data, clip_dim=visual_dim // 3)


def load_windows(data: MomentData, part: Part, *, visual_dim: int) -> WindowSource:
    """Open the windows of one part of the `data:` section.

    Raises:
        DataError: They are not set, or there are none.
    """
    clips = data.clips if part == "train" else data.test_clips or data.clips
    if clips is not None:
        return open_windows(clips, data, visual_dim=visual_dim, clips=True)
    if data.features is None:
        raise DataError(
            "data.features is not set; name features of whole videos, or a folder of clips "
            "(data.clips)"
        )
    return open_windows(data.features, data, visual_dim=visual_dim, clips=False)


# --- sentences -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Query:
    """A sentence whose moments are searched, or are known."""

    sentence: str
    """Empty for files of the 2019 library, which hold vectors only."""
    vector: NDArray[np.float32]
    moments: tuple[tuple[float, float], ...] = ()
    """Start and end of each stretch that the sentence describes, in the unit of the windows; empty
    if none is known."""
    identifier: int | str | None = None
    """The sentence's own number or name in its data set."""
    saliency: ClipLabels | None = field(default=None, repr=False)
    """How salient people find the clips of the video; None: not labelled."""
    marked: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    """Start and end in seconds as each of several people marked them; see `TimedSentence`."""


@dataclass(frozen=True, kw_only=True)
class MomentVideo:
    """A video with its sentences and its windows."""

    name: str
    queries: tuple[Query, ...]
    windows: Table
    """(W, 2), in the unit of the set."""
    length: float | None
    """Length of the video in the unit of the set; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class MomentSet:
    """Videos with sentences; batches number them from 0."""

    path: Path
    videos: tuple[MomentVideo, ...]
    source: WindowSource
    encoder: str
    """Name of the encoder that made the vectors of the sentences."""
    encoder_facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What that name stands for; see `SentenceEncoder.facts`."""
    missing: tuple[str, ...] = ()
    """Videos of the file that have no windows."""
    damaged: Mapping[str, str] = field(default_factory=dict[str, str])
    """Videos whose features cannot be read, and why; they are not among `videos`."""
    left_out: tuple[str, ...] = ()
    """Sentences that were left out, because their moment lies outside its video."""
    notes: tuple[str, ...] = ()
    """What the user should know about these sentences."""

    def __len__(self) -> int:
        return sum(len(video.queries) for video in self.videos)

    @property
    def without_windows(self) -> Missing:
        """The videos without windows."""
        return Missing(self.missing, len(self.videos) + len(self.missing), self.source.path)

    @property
    def unit(self) -> Unit:
        """Unit of all times."""
        return self.source.unit


@dataclass(frozen=True, kw_only=True)
class _RawQuery:
    """A sentence as the file gives it."""

    video: str
    sentence: str
    spans: tuple[tuple[float, float], ...]
    """Start and end of each of its moments; empty if none is known."""
    unit: Unit
    where: str
    vector: NDArray[np.float32] | None = None
    identifier: int | str | None = None
    saliency: ClipLabels | None = None
    marked: tuple[tuple[float, float], ...] = ()


def has_part(data: MomentData, part: Part) -> bool:
    """Whether one part of the `data:` section is set."""
    return _part_path(data, part) is not None


def _part_path(data: MomentData, part: Part) -> Path | None:
    return {"train": data.train, "val": data.val, "test": data.test or data.val}[part]


def load_moments(
    data: MomentData,
    part: Part,
    *,
    visual_dim: int,
    sentence_dim: int,
    make: EncoderMaker = make_encoder,
) -> MomentSet:
    """Read the sentences of one part of the `data:` section, and find their windows.

    `make` makes the sentence encoder.

    Raises:
        DataError: The part is not set or cannot be used; a moment lies outside its video.
        ConfigError: The sentence encoder is not available.
    """
    path, source = _part_of(data, part, visual_dim)
    return read_moments(path, source, data, sentence_dim=sentence_dim, part=part, make=make)


def load_readable_moments(
    data: MomentData,
    part: Part,
    *,
    visual_dim: int,
    sentence_dim: int,
    make: EncoderMaker = make_encoder,
) -> MomentSet:
    """As `load_moments`, but leave out unreadable features; see `MomentSet.damaged`."""
    path, source = _part_of(data, part, visual_dim)
    return read_moments(
        path, source, data, sentence_dim=sentence_dim, part=part, strict=False, make=make
    )


def _part_of(data: MomentData, part: Part, visual_dim: int) -> tuple[Path, WindowSource]:
    path = _part_path(data, part)
    if path is None:
        raise DataError(
            f"data.{part} is not set; name a file of sentences with times, such as Charades-STA's"
        )
    return path, load_windows(data, part, visual_dim=visual_dim)


def unreadable(source: WindowSource) -> dict[str, str]:
    """Videos whose features cannot be read, and why."""
    found: dict[str, str] = {}
    for video in source:
        try:
            source.windows(video)
        except DataError as error:
            found[video] = str(error)
    return found


def read_moments(
    path: Path,
    source: WindowSource,
    data: MomentData,
    *,
    sentence_dim: int,
    part: Part | None = None,
    need_times: bool = True,
    strict: bool = True,
    make: EncoderMaker = make_encoder,
) -> MomentSet:
    """Read a file of sentences and convert its times to the unit of the windows.

    Args:
        path: The file.
        source: Windows of its videos.
        data: The `data:` section.
        sentence_dim: Length of the vectors of sentences.
        part: Take the subset of this part, where the file names subsets; None: take all.
        need_times: Refuse sentences without a moment.
        strict: Raise if features cannot be read; otherwise leave those videos out.
        make: Makes the sentence encoder.

    Raises:
        DataError: The file cannot be used, no video has windows, vectors have another length than
            `sentence_dim`, a moment lies outside its video, or times do not fit the features.
        ConfigError: The sentence encoder is not available.
    """
    found = None if holds_vectors(path) else read_timed_sentences(path, need_times=need_times)
    if found is not None:
        found = found.among(source)
        found = found if part is None else of_part(found, part, data)
    raw = _read_2019(path, data.sentences.dims) if found is None else _texts_of(found)
    try:
        return _moments_of(path, raw, found, source, data, sentence_dim, make)
    except DataError:
        wanted = {one.video for one in raw}
        damaged = {} if strict else unreadable(source)
        damaged = {video: reason for video, reason in damaged.items() if video in wanted}
        if not damaged or wanted <= damaged.keys():
            raise
    raw = [one for one in raw if one.video not in damaged]
    if found is not None:
        kept = tuple(one for one in found.sentences if one.video not in damaged)
        found = replace(found, sentences=kept)
    made = _moments_of(path, raw, found, source, data, sentence_dim, make)
    return replace(made, damaged=damaged)


def _moments_of(
    path: Path,
    raw: Sequence[_RawQuery],
    found: TimedSentences | None,
    source: WindowSource,
    data: MomentData,
    sentence_dim: int,
    make: EncoderMaker,
) -> MomentSet:
    videos = tuple(dict.fromkeys(one.video for one in raw))
    missing = tuple(video for video in videos if video not in source)
    if len(missing) == len(videos):
        raise DataError(
            f"{source.path}: no windows of any of the {counted(len(missing), 'video')} of {path}; "
            f"looked for {few(missing)}; there are windows of {few(tuple(source), 5)}"
        )
    lengths = {} if data.lengths is None else read_lengths(data.lengths)
    notes = () if found is None else (*found.notes, *source.check_times(found))
    if found is not None and found.num_several:
        notes = (
            f"{path}: {counted(found.num_several, 'sentence')} with several moments: all are "
            "learnt from, and a search that finds any of them is right",
            *notes,
        )
    by_video: dict[str, list[tuple[_RawQuery, tuple[tuple[float, float], ...]]]] = defaultdict(list)
    left_out: list[str] = []
    for one in raw:
        if one.video not in source:
            continue
        kept: list[tuple[float, float]] = []
        for span in one.spans:
            moment = _moment_of(span, one, source, data, lengths)
            wrong = _fault(span, one, moment, source)
            if wrong is None:
                kept.append(moment)
            elif data.outside == "refuse":
                raise DataError(
                    f"{wrong}; correct it, or leave such sentences out: --set data.outside=skip"
                )
            else:
                left_out.append(wrong)
        if kept or not one.spans:
            by_video[one.video].append((one, tuple(kept)))
    vectors, encoder, facts = _vectors_of(
        [p[0] for v in by_video.values() for p in v], data, sentence_dim, make
    )
    videos_found = tuple(
        MomentVideo(
            name=video,
            queries=tuple(
                Query(
                    sentence=one.sentence,
                    vector=next(vectors),
                    moments=moments,
                    identifier=one.identifier,
                    saliency=one.saliency,
                    marked=one.marked,
                )
                for one, moments in pairs
            ),
            windows=source.windows(video),
            length=source.length(video),
        )
        for video, pairs in by_video.items()
    )
    if not videos_found:
        raise DataError(f"{path}: every moment lies outside its video, such as {left_out[0]}")
    return MomentSet(
        path=path,
        videos=videos_found,
        source=source,
        encoder=encoder,
        encoder_facts=facts,
        missing=missing,
        left_out=tuple(left_out),
        notes=notes,
    )


def ask(
    sentences: Sequence[str | NDArray[np.float32]],
    source: WindowSource,
    data: MomentData,
    *,
    sentence_dim: int,
    strict: bool = True,
    make: EncoderMaker = make_encoder,
) -> MomentSet:
    """Search every sentence, text or a vector (sentence_dim,), in every video.

    With `strict`, features that cannot be read are an error; else see `MomentSet.damaged`. `make`
    makes the sentence encoder.

    Raises:
        DataError: A sentence is empty.
        ConfigError: The sentence encoder is not available.
    """
    encoder, texts = GIVEN, [one for one in sentences if isinstance(one, str)]
    facts: Mapping[str, Any] = {}
    encoded: Iterator[NDArray[np.float32]] = iter(())
    if texts:
        made = make(data.sentences, dim=sentence_dim)
        encoder, facts, encoded = made.name, made.facts, iter(made.encode(texts))
    damaged = {} if strict else unreadable(source)
    if damaged and damaged.keys() == set(source):
        raise DataError(next(iter(damaged.values())))
    queries = tuple(
        Query(sentence=one, vector=next(encoded))
        if isinstance(one, str)
        else Query(sentence="", vector=one)
        for one in sentences
    )
    videos = tuple(
        MomentVideo(
            name=video,
            queries=queries,
            windows=source.windows(video),
            length=source.length(video),
        )
        for video in source
        if video not in damaged
    )
    return MomentSet(
        path=source.path,
        videos=videos,
        source=source,
        encoder=encoder,
        encoder_facts=facts,
        damaged=damaged,
        notes=source.notes,
    )


def holds_vectors(path: Path) -> bool:
    """Whether a file is a pickle: clip names and vectors, as in the 2019 library."""
    if path.suffix.lower() in (".pkl", ".pickle"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(1) == b"\x80"
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _read_2019(path: Path, dims: int | None) -> list[_RawQuery]:
    content = load_pickle(path)
    form = "a list of [MOVIE_START_END, [vector, ...]]"
    if not isinstance(content, list):
        raise DataError(f"{path}: expected {form}, got {type(content).__name__}")
    raw: list[_RawQuery] = []
    for number, entry in enumerate(cast("list[Any]", content)):
        where = f"{path}: entry {number}"
        if not isinstance(entry, list | tuple) or len(cast("Sequence[Any]", entry)) != 2:
            raise DataError(f"{where}: expected {form}")
        name, vectors = cast("Sequence[Any]", entry)
        clip = parse_clip_name(as_text(name))
        if clip is None:
            raise DataError(f"{where}: {as_text(name)!r:.80} is no name MOVIE_START_END")
        if not isinstance(vectors, list | tuple) and np.ndim(vectors) < 1:
            raise DataError(f"{where}: expected {form}, got a {type(vectors).__name__} of vectors")
        raw += [
            _RawQuery(
                video=clip[0],
                sentence="",
                spans=((clip[1], clip[2]),),
                unit="frames",
                where=where,
                vector=as_vector(vector, path)[:dims],
            )
            for vector in vectors
        ]
    if not raw:
        raise DataError(f"{path}: holds no sentence")
    return raw


def _texts_of(found: TimedSentences) -> list[_RawQuery]:
    """One per sentence, where the file gives several moments of one sentence too."""
    groups: dict[object, list[TimedSentence]] = {}
    for number, one in enumerate(found.sentences):
        groups.setdefault(("line", number) if one.query is None else one.query, []).append(one)
    return [
        _RawQuery(
            video=group[0].video,
            sentence=group[0].sentence,
            spans=tuple((one.start_seconds, one.end_seconds) for one in group if one.has_times),
            unit="seconds",
            where=group[0].where,
            identifier=group[0].query,
            saliency=None if group[0].query is None else found.saliency.get(group[0].query),
            marked=group[0].marked,
        )
        for group in groups.values()
    ]


def _moment_of(
    span: tuple[float, float],
    one: _RawQuery,
    source: WindowSource,
    data: MomentData,
    lengths: Mapping[str, tuple[float, float | None]],
) -> tuple[float, float]:
    """Start and end in the unit of the windows; in seconds, cut to the video."""
    if one.unit != source.unit:
        known = length_of(lengths, one.video)
        rate = (known[1] if known else None) or data.frames_per_second
        if rate is None:
            raise DataError(
                f"{one.where}: times in {one.unit}, windows in {source.unit}; set the frames "
                "per second of the videos: --set data.frames_per_second=29.4"
            )
        factor = rate if source.unit == "frames" else 1 / rate
    else:
        factor = 1.0
    start, end = (time * factor for time in span)
    if source.unit == "seconds" and (length := source.length(one.video)) is not None:
        start, end = max(0.0, start), min(end, max(length, start))
    return start, end


def _fault(
    span: tuple[float, float], one: _RawQuery, moment: tuple[float, float], source: WindowSource
) -> str | None:
    """What is wrong with a moment, given as `span`; None if nothing is."""
    length = source.length(one.video)
    start, end = moment
    if length is not None and start >= length:
        said = span[1] if one.unit == source.unit else end  # before it was cut
        return (
            f"{one.where}: from {start:g} to {said:g} {source.unit} lies outside the video "
            f"{one.video}, which has {length:g} {source.unit}"
        )
    if end <= start:
        return f"{one.where}: ends at {span[1]:g}, not after its start at {span[0]:g}"
    return None


def _vectors_of(
    raw: Sequence[_RawQuery], data: MomentData, dim: int, make: EncoderMaker
) -> tuple[Iterator[NDArray[np.float32]], str, Mapping[str, Any]]:
    """Vectors in the order of `raw`, and the name and the facts of their encoder."""
    given = [one.vector for one in raw if one.vector is not None]
    if given:
        for one in raw:
            assert one.vector is not None
            check_dim(len(one.vector), dim, one.where)
        return iter(given), GIVEN, {}
    encoder = make(data.sentences, dim=dim)
    texts = list(dict.fromkeys(one.sentence for one in raw))
    if not texts:
        return iter(()), encoder.name, encoder.facts
    known = dict(zip(texts, encoder.encode(texts), strict=True))
    return (known[one.sentence] for one in raw), encoder.name, encoder.facts


# --- pairs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """Pairs of a sentence and a window that shows its moment."""

    table: NDArray[np.int64]
    """(P, 3): video, sentence, window."""
    offsets: Table
    """(P, 2): start and end of the moment minus start and end of the window."""


def training_pairs(moments: MomentSet, *, min_tiou: float, max_outside: float) -> Pairs:
    """Pair sentences with windows for training; of several moments of a sentence, with all.

    Args:
        moments: Sentences and windows.
        min_tiou: The tIoU of window and moment must be higher.
        max_outside: The fraction of the window outside the moment must be lower.

    Raises:
        DataError: There is no such pair.

    Reference behaviour: PaddlePaddle/models release/1.8, tall_reader.
    """
    rows: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    offsets: list[Table] = [np.zeros((0, 2))]
    for number, video in enumerate(moments.videos):
        ours = video.windows
        lengths = ours[:, 1] - ours[:, 0]
        for place, query in enumerate(video.queries):
            true = np.array(query.moments, np.float64).reshape(-1, 1, 2)
            if not len(true):
                continue
            shared = np.minimum(true[..., 1], ours[:, 1]) - np.maximum(true[..., 0], ours[:, 0])
            hull = np.maximum(true[..., 1], ours[:, 1]) - np.minimum(true[..., 0], ours[:, 0])
            tious = shared / hull
            best = tious.argmax(0)  # of several moments, each window shows one
            each = np.arange(len(ours))
            fits = (tious[best, each] > min_tiou) & (
                (lengths - shared[best, each]) / lengths < max_outside
            )
            windows = np.flatnonzero(fits)
            sides = np.broadcast_to([number, place], (len(windows), 2))
            rows.append(np.column_stack((sides, windows)))
            offsets.append(true[best, 0][fits] - ours[fits])
    table = np.concatenate(rows).astype(np.int64)
    if not len(table):
        raise DataError(
            f"{moments.path}: no window overlaps a moment by more than data.min_tiou={min_tiou:g} "
            f"with less than data.max_outside={max_outside:g} outside it; other windows may "
            "(data.windows.seconds)"
        )
    return Pairs(table, np.concatenate(offsets))


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairBatch(Batch):
    """Some sentences, each with a window that shows its moment."""

    visual: Tensor
    """float32 (B, visual_dim)."""
    sentences: Tensor
    """float32 (B, sentence_dim)."""
    offsets: Tensor
    """float32 (B, 2): start and end of the moment minus start and end of the window."""
    pairs: Tensor
    """int64 (B,): number of the pair in `Pairs`."""

    on_device: ClassVar = ("visual", "sentences", "offsets")

    def __len__(self) -> int:
        return len(self.visual)


@dataclass(frozen=True)
class _Pair:
    number: int
    visual: NDArray[np.float32]
    vector: NDArray[np.float32]
    offsets: Table


class PairDataset(VideoDataset[_Pair, PairBatch]):
    """Training sentences, each with a window that shows its moment."""

    item = "pair"

    def __init__(self, moments: MomentSet, data: MomentData, *, seed: int = 0) -> None:
        """Find the pairs.

        Args:
            moments: From `load_moments`.
            data: Which windows show a moment.
            seed: Seed of the order.

        Raises:
            DataError: There is no pair.
        """
        self.moments = moments
        self.seed = seed
        self.missing = moments.without_windows
        self.pairs = training_pairs(moments, min_tiou=data.min_tiou, max_outside=data.max_outside)

    def __len__(self) -> int:
        return len(self.pairs.table)

    def read(self, number: int, epoch: int | None) -> _Pair:
        """See `VideoDataset`."""
        place, query, window = self.pairs.table[number].tolist()
        video = self.moments.videos[place]
        return _Pair(
            number,
            self.moments.source.visual(video.name, video.windows[window : window + 1])[0],
            video.queries[query].vector,
            self.pairs.offsets[number],
        )

    def collate(self, items: Sequence[_Pair]) -> PairBatch:
        """See `VideoDataset`."""
        return PairBatch(
            visual=torch.from_numpy(np.stack([pair.visual for pair in items])),
            sentences=torch.from_numpy(np.stack([pair.vector for pair in items])),
            offsets=torch.from_numpy(np.stack([p.offsets for p in items]).astype(np.float32)),
            pairs=torch.tensor([pair.number for pair in items]),
        )


@dataclass(frozen=True)
class SearchBatch(Batch):
    """Some videos, each with its windows and its sentences."""

    visual: tuple[Tensor, ...]
    """float32 (W, visual_dim) each."""
    sentences: tuple[Tensor, ...]
    """float32 (S, sentence_dim) each."""
    videos: Tensor
    """int64 (N,): number of the video among `MomentSet.videos`."""

    on_device: ClassVar = ("visual", "sentences")

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True)
class _SearchItem:
    number: int
    visual: NDArray[np.float32]
    vectors: NDArray[np.float32] = field(repr=False)


class SearchDataset(VideoDataset[_SearchItem, SearchBatch]):
    """Videos with all their windows and sentences."""

    def __init__(self, moments: MomentSet) -> None:
        """Take the videos of `load_moments`, `read_moments` or `ask`."""
        self.moments = moments
        self.missing = moments.without_windows

    def __len__(self) -> int:
        return len(self.moments.videos)

    def read(self, number: int, epoch: int | None) -> _SearchItem:
        """See `VideoDataset`."""
        video = self.moments.videos[number]
        visual = self.moments.source.visual(video.name, video.windows)
        return _SearchItem(number, visual, np.stack([query.vector for query in video.queries]))

    def collate(self, items: Sequence[_SearchItem]) -> SearchBatch:
        """See `VideoDataset`."""
        return SearchBatch(
            visual=tuple(torch.from_numpy(video.visual) for video in items),
            sentences=tuple(torch.from_numpy(video.vectors) for video in items),
            videos=torch.tensor([video.number for video in items]),
        )
