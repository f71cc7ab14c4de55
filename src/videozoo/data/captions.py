"""From events of videos and their sentences to batches.

An event is a stretch of a video. Its features are rows of the features of the whole video. Its
words are numbers in a vocabulary that starts with `<s>` and `<e>`, and that holds `<unk>`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from videozoo.data.annotations.sentences import (
    TimedSentence,
    TimedSentences,
    of_part,
    read_timed_sentences,
)
from videozoo.data.annotations.whole_captions import table_columns
from videozoo.data.coverage import check_times_by_features, load_features
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.formats import TextFile
from videozoo.data.loader import Batch, Missing, NothingToLearnError, VideoDataset
from videozoo.data.text import is_text, of_video, text_of
from videozoo.errors import DataError, MisfitError, counted, few
from videozoo.settings.captions import CaptionData
from videozoo.settings.shared import Part

START, END, UNKNOWN = "<s>", "<e>", "<unk>"
"""Start of a sentence, end of a sentence, and any unknown word."""
PADDING = -1
"""Number in place of a word after the end of a sentence."""
RATE_2019 = 5.0  # vectors per second in the 2019 library
_MOST_LOOKED_AT = 200  # videos that are read before a run; all of a large set takes minutes
_WORD = re.compile(r"<\w+>|\w+(?:['.&/-]\w+)*")


# --- words -----------------------------------------------------------------------------------


def words_of(one: TimedSentence) -> list[str]:
    """Words of a sentence: as the file separates them, or in lower case without punctuation.

    >>> words_of(TimedSentence(video="v", start_seconds=0, end_seconds=1, where="",
    ...                        sentence="A man doesn't stop."))
    ['a', 'man', "doesn't", 'stop']
    """
    if one.tokenised:
        return one.sentence.split()
    return _WORD.findall(one.sentence.lower())


class Vocabulary:
    """The words of a model, by number."""

    def __init__(self, words: Sequence[str], *, source: str = "vocabulary") -> None:
        """Make it from all words in order.

        Raises:
            DataError: `<s>` and `<e>` are not first, `<unk>` is missing, or a word is there twice.
        """
        self.words = tuple(words)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if self.words[:2] != (START, END):
            got = " and ".join(map(repr, self.words[:2])) or "nothing"
            raise DataError(f"{source}: the first words are {got}, expected {START!r} and {END!r}")
        if UNKNOWN not in self._numbers:
            raise DataError(f"{source}: no word {UNKNOWN!r}, which stands for words not known")
        if len(self._numbers) < len(self.words):
            twice = next(w for w, n in Counter(self.words).items() if n > 1)
            raise DataError(f"{source}: {twice!r} is there twice; each word has one number")
        self._unknown = self._numbers[UNKNOWN]

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def numbers(self, words: Iterable[str]) -> list[int]:
        """Numbers of words; the number of `<unk>` for unknown words.

        >>> Vocabulary(["<s>", "<e>", "<unk>", "man"]).numbers(["a", "man"])
        [2, 3]
        """
        return [self._numbers.get(word, self._unknown) for word in words]


def read_vocabulary(path: Path) -> Vocabulary:
    """Read one word per line; text after a blank, such as a count, is ignored.

    Raises:
        DataError: The file cannot be read or used.
    """
    lines = text_of(path).splitlines()
    return Vocabulary([line.split()[0] for line in lines if line.strip()], source=str(path))


def build_vocabulary(sentences: Iterable[TimedSentence], *, min_count: int) -> Vocabulary:
    """Collect words, the most frequent first; equally frequent ones in the order of the alphabet.

    >>> said = [TimedSentence(video="v", start_seconds=0, end_seconds=1, sentence=text, where="")
    ...         for text in ("A man runs.", "The man!")]
    >>> build_vocabulary(said, min_count=2).words
    ('<s>', '<e>', '<unk>', 'man')
    """
    counts = Counter(word for one in sentences for word in words_of(one))
    kept = sorted((-n, word) for word, n in counts.items() if n >= min_count)
    special = [START, END, UNKNOWN]
    return Vocabulary([*special, *(word for _, word in kept if word not in special)])


@dataclass(frozen=True)
class UnknownWords:
    """How many words of some sentences are not in a vocabulary."""

    unknown: int
    total: int

    @property
    def note(self) -> str:
        """A sentence about it; empty if all words are known."""
        if not self.unknown:
            return ""
        share = 100 * self.unknown / self.total
        return (
            f"{self.unknown:,} of {counted(self.total, 'word')} ({share:.1f} %) are not in the "
            f"vocabulary and count as {UNKNOWN}"
        )


def count_unknown(sentences: Iterable[TimedSentence], vocabulary: Vocabulary) -> UnknownWords:
    """Count the words that are not in a vocabulary."""
    words = [word for one in sentences for word in words_of(one)]
    return UnknownWords(sum(word not in vocabulary for word in words), len(words))


# --- which events ----------------------------------------------------------------------------


@dataclass(frozen=True)
class CaptionEvents:
    """Events with features, and the features."""

    events: tuple[TimedSentence, ...]
    """Batches number them from 0."""
    features: FeatureFiles
    missing: tuple[str, ...]
    """Videos of the file that have no features; their events are not among `events`."""
    num_missing: int
    """Number of events of the missing videos."""
    path: Path
    rate: float
    """Vectors per second."""
    vectors: Mapping[str, int] = field(default_factory=dict[str, int])
    """Number of vectors of each video that was read before the run."""
    notes: tuple[str, ...] = ()
    """What the user should know about these events."""
    damaged: tuple[str, ...] = ()
    """Why features of videos cannot be read; only if whole videos are described."""

    def __len__(self) -> int:
        return len(self.events)

    def seconds(self, video: str, length: int) -> float:
        """See `whole_seconds`."""
        return whole_seconds(self.features, video, length, self.rate)

    def rows(self, event: TimedSentence, length: int) -> slice:
        """Rows that show an event, in a video of `length` vectors; there may be none.

        Reference behaviour: PaddlePaddle/models release/1.8, ets_reader.
        """
        if event.is_whole:
            return slice(0, length)
        first = max(0, int(event.start_seconds * self.rate))
        return slice(first, min(length, int(event.end_seconds * self.rate + 0.5)))

    @property
    def empty(self) -> tuple[TimedSentence, ...]:
        """Events without any row of features, among the videos that were read before the run."""
        return tuple(
            event
            for event in self.events
            if (length := self.vectors.get(event.video)) is not None
            and (rows := self.rows(event, length)).stop <= rows.start
        )


def whole_seconds(features: FeatureFiles, video: str, length: int, rate: float) -> float:
    """Length of a video of `length` vectors: as stored with its features, else by their rate."""
    stored = of_video(video, features.durations)
    return length / rate if stored is None else stored


def part_path(data: CaptionData, part: Part) -> Path | None:
    """The file of one part of the `data:` section."""
    paths = {"train": data.train, "val": data.val, "test": data.test or data.val}
    return paths[part]


def read_part(data: CaptionData, part: Part) -> TimedSentences:
    """Read the events of one part of the `data:` section.

    Raises:
        DataError: The part is not set or cannot be used.
    """
    path = part_path(data, part)
    if path is None:
        raise DataError(
            f"data.{part} is not set; name a file of events, such as ActivityNet Captions' JSON"
        )
    return of_part(read_timed_sentences(path, whole_videos=True), part, data)


def load_events(
    data: CaptionData, part: Part, *, feature_dim: int, together: bool = False
) -> CaptionEvents:
    """Find the events of one part of the `data:` section.

    With `together` a video that is described as a whole is one event, whatever the number of its
    sentences; see `TimedSentences.together`.

    Raises:
        DataError: The part is not set or cannot be used, no video has features, or times and
            features do not fit together.
    """
    found = read_part(data, part)
    return with_features(
        found.together() if together else found,
        load_features(data),
        data,
        feature_dim=feature_dim,
    )


def with_features(
    found: TimedSentences, features: FeatureFiles, data: CaptionData, *, feature_dim: int
) -> CaptionEvents:
    """Divide events into those with and without features, and check their times.

    If there are many videos, only some of them are checked, evenly spread over the file.

    Raises:
        DataError: No video has features, or times and features do not fit together.
    """
    found = found.among(features)
    missing = tuple(video for video in found.videos if video not in features)
    lost = set(missing)
    events = tuple(one for one in found.sentences if one.video not in lost)
    if not events:
        raise DataError(
            f"{features.path}: no features of any of the {counted(len(missing), 'video')} of "
            f"{found.path}; looked for {few(missing)}; there are features of "
            f"{few(tuple(features), 5)}"
        )
    rate = features.rate(data.rate, RATE_2019)
    present = tuple(dict.fromkeys(one.video for one in events))
    vectors: dict[str, int] = {}
    for place in np.linspace(0, len(present) - 1, min(len(present), _MOST_LOOKED_AT)).round():
        video = present[int(place)]
        try:
            vectors[video] = len(features.read(video, feature_dim=feature_dim))
        except MisfitError:
            raise
        except DataError:  # reported when the event is read
            continue
    notes = check_times_by_features(found, vectors, features, rate=rate, configured=data.rate)
    if found.num_several:
        notes = (
            f"{found.path}: {counted(found.num_several, 'sentence')} with several moments; each "
            "moment counts as an event of its own",
            *notes,
        )
    return CaptionEvents(
        events,
        features,
        missing,
        len(found) - len(events),
        found.path,
        rate,
        vectors,
        (*found.notes, *notes),
    )


def input_events(
    inputs: tuple[str, ...], data: CaptionData, feature_dim: int, *, strict: bool = True
) -> CaptionEvents:
    """Events to describe: from files of events or, as whole videos, from features.

    With `strict`, features that cannot be read are an error; else see `CaptionEvents.damaged`.

    Raises:
        DataError: An input is missing or cannot be used.
    """
    paths = [Path(text) for text in inputs]
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    listed = [path for path in paths if _holds_events(path)]
    if not listed:
        features = FeatureFiles(paths, streams=data.streams)
        rate = features.rate(data.rate, RATE_2019)
        events: list[TimedSentence] = []
        damaged: list[str] = []
        for video in features:
            try:
                length = len(features.read(video, feature_dim=feature_dim))
            except DataError as error:
                if strict or len(tuple(features)) == 1:
                    raise
                damaged.append(str(error))
                continue
            events.append(
                TimedSentence(
                    video=video,
                    start_seconds=0.0,
                    end_seconds=whole_seconds(features, video, length, rate),
                    is_whole=True,
                    sentence="",
                    where=features.where(video),
                )
            )
        if not events:
            raise DataError(f"none of the videos can be used:\n  {damaged[0]}")
        notes = features.rate_notes(data.rate, rate)
        return CaptionEvents(
            tuple(events), features, (), 0, paths[0], rate, damaged=tuple(damaged), notes=notes
        )
    if len(listed) < len(paths):
        other = next(path for path in paths if path not in listed)
        raise DataError(
            f"{other}: features beside files of events; with these, features come from "
            "data.features: --set data.features=PATH"
        )
    files = [read_timed_sentences(path, need_text=False, whole_videos=True) for path in listed]
    joined = TimedSentences(
        files[0].path,
        tuple(event for file in files for event in file.sentences),
        {video: seconds for file in files for video, seconds in file.durations.items()},
        tuple(note for file in files for note in file.notes),
    )
    return with_features(joined.together(), load_features(data), data, feature_dim=feature_dim)


def _holds_events(path: Path) -> bool:
    if path.is_dir() or path.suffix.lower() in (".npy", ".npz", ".h5", ".hdf5", ".pkl"):
        return False
    if path.suffix.lower() == ".csv":  # of captions, or of the features of a video
        return table_columns(TextFile(path).heading) is not None
    with path.open("rb") as file:
        first = file.read(1)
    return is_text(path) and first != b"\x80"


def _shows_nothing(event: TimedSentence, events: CaptionEvents, vectors: int | None = None) -> str:
    seconds = (events.vectors[event.video] if vectors is None else vectors) / events.rate
    return (
        f"{event} shows nothing of its video, which has features of {seconds:g} s; correct the "
        "times, or leave such events out: --set data.outside=skip"
    )


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class CaptionBatch(Batch):
    """Some events."""

    features: Tensor
    """float32 (N, T, feature_dim), padded with zeros at the end."""
    lengths: Tensor
    """int64 (N,): number of vectors of each event, at least 1."""
    words: Tensor
    """int64 (N, L): `<s>`, the sentence, then `PADDING`."""
    targets: Tensor
    """int64 (N, L): the sentence, `<e>`, then `PADDING`."""
    events: Tensor
    """int64 (N,): number of the event among `CaptionEvents.events`."""

    on_device: ClassVar = ("features", "lengths", "words", "targets")

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True)
class _Event:
    number: int
    features: NDArray[np.float32]
    words: list[int]


class CaptionDataset(VideoDataset[_Event, CaptionBatch]):
    """Events with features, and their words."""

    item = "event"

    def __init__(
        self,
        events: CaptionEvents,
        vocabulary: Vocabulary,
        data: CaptionData,
        *,
        feature_dim: int,
        seed: int = 0,
    ) -> None:
        """Set up how events are read.

        Args:
            events: From `load_events` or `input_events`.
            vocabulary: Words of the model.
            data: `data.outside` decides about events without a single vector.
            feature_dim: Length of a vector that the model reads.
            seed: Seed of the order.
        """
        self.events = events
        self.vocabulary = vocabulary
        self.skips = data.outside == "skip"
        self.feature_dim = feature_dim
        self.seed = seed
        videos = {one.video for one in events.events}
        self.missing = Missing(
            events.missing,
            len(videos) + len(events.missing),
            events.features.path,
            num_items=events.num_missing,
        )

    def __len__(self) -> int:
        return len(self.events)

    def check_training(self, bad_video_share: float) -> None:
        """Also raise DataError if an event has no vector and such events are not skipped."""
        empty = self.events.empty
        if empty and (not self.skips or len(empty) == len(self)):
            raise DataError(_shows_nothing(empty[0], self.events))
        super().check_training(bad_video_share)

    def read(self, number: int, epoch: int | None) -> _Event:
        """See `VideoDataset`."""
        event = self.events.events[number]
        features = self.events.features.read(event.video, feature_dim=self.feature_dim)
        chosen = features[self.events.rows(event, len(features))]
        if not len(chosen):
            error = NothingToLearnError if self.skips else DataError
            raise error(_shows_nothing(event, self.events, len(features)))
        return _Event(number, chosen, self.vocabulary.numbers(words_of(event)))

    def collate(self, items: Sequence[_Event]) -> CaptionBatch:
        """See `VideoDataset`."""
        rows = [torch.from_numpy(np.array(one.features)) for one in items]
        words = [torch.tensor([0, *one.words]) for one in items]
        targets = [torch.tensor([*one.words, 1]) for one in items]
        return CaptionBatch(
            features=pad_sequence(rows, batch_first=True),
            lengths=torch.tensor([len(row) for row in rows]),
            words=pad_sequence(words, batch_first=True, padding_value=PADDING),
            targets=pad_sequence(targets, batch_first=True, padding_value=PADDING),
            events=torch.tensor([one.number for one in items]),
        )
