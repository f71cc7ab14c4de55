"""Sentences with a start and an end in a video, and what is known of a file while it is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.segment_types import is_address, name_in, names_at
from videozoo.data.text import finite_number
from videozoo.errors import brief

CLIP_SECONDS = 2.0
"""Length of the clips that QVHighlights labels."""
_WORD = re.compile(r"\w")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipLabels:
    """How salient people find clips of `CLIP_SECONDS` of a video for a sentence, from 0 to 4."""

    num_clips: int
    """Clips of the whole video."""
    clips: tuple[int, ...]
    """The labelled clips, from 0."""
    labels: NDArray[np.float64]
    """(N, A): of each labelled clip, by A people."""

    @property
    def table(self) -> NDArray[np.float64]:
        """(num_clips, A): 0 for clips without labels, which lie outside the moments."""
        table = np.zeros((self.num_clips, self.labels.shape[1]))
        table[list(self.clips)] = self.labels
        return table


@dataclass(frozen=True, kw_only=True)
class TimedSentence:
    """A sentence that describes a video from a start to an end."""

    video: str
    start_seconds: float
    end_seconds: float
    """Not checked: may lie beyond the end of the video, or before the start."""
    sentence: str
    """Without blanks around it; empty only if it was read with `need_text=False`."""
    where: str
    """File and place, for messages."""
    tokenised: bool = False
    """The words are separated by blanks and are used as they are."""
    has_times: bool = True
    """If not, start and end mean nothing; only if it was read with `need_times=False`."""
    query: int | str | None = None
    """Identifier of a sentence that may be here several times, once per moment that it means."""
    subset: str | None = None
    """Name of the part of the data set that its video is in, if the file tells."""
    is_whole: bool = False
    """It describes the whole video: from 0 to `math.inf`, as the file does not tell its length."""
    address: str = ""
    """How the file names the video, if that is not `video`: with a folder, or an ending."""
    also: tuple[str, ...] = ()
    """What other people say of the same event; only after `TimedSentences.together`."""

    marked: tuple[tuple[float, float], ...] = ()
    """Start and end in seconds as each of several people marked them, agreed or not (DiDeMo)."""

    @property
    def all_texts(self) -> tuple[str, ...]:
        """Everything that people say of the event."""
        return (self.sentence, *self.also)

    def __str__(self) -> str:
        if self.is_whole:
            return f"{self.where}: {self.video}"
        return f"{self.where}: {self.video} {self.start_seconds:g} to {self.end_seconds:g} s"


@dataclass(frozen=True)
class TimedSentences:
    """All sentences of a file, in its order."""

    path: Path
    sentences: tuple[TimedSentence, ...]
    durations: dict[str, float]
    """Lengths of videos in seconds, as far as the file gives them."""
    notes: tuple[str, ...] = ()
    """What the user should know about how the file was read."""
    saliency: dict[int | str, ClipLabels] = field(
        default_factory=dict[int | str, ClipLabels], compare=False
    )
    """Labels of the clips of the video, for a `query` that has them."""
    form: str = ""
    """Name of the format of the file."""

    def __len__(self) -> int:
        return len(self.sentences)

    def with_names(self) -> TimedSentences:
        """The same with the names of videos, where the file names files: see `names_at`.

        Raises:
            DataError: Two videos would have one name.
        """
        spelt = dict.fromkeys((*self.videos, *self.durations))
        if not any(map(is_address, spelt)):
            return self
        names = names_at(spelt, self.path)
        sentences = tuple(
            one if names[one.video] == one.video else _renamed(one, names[one.video], one.video)
            for one in self.sentences
        )
        durations = {names[video]: seconds for video, seconds in self.durations.items()}
        return replace(self, sentences=sentences, durations=durations)

    def among(self, known: Container[str]) -> TimedSentences:
        """The same with the names that others have for the videos, such as their features."""
        addresses = {one.video: one.address for one in self.sentences if one.address}
        names = {video: name_in(known, video, address) for video, address in addresses.items()}
        if all(video == name for video, name in names.items()):
            return self
        sentences = tuple(
            _renamed(one, names.get(one.video, one.video), one.address) for one in self.sentences
        )
        durations = {names.get(video, video): one for video, one in self.durations.items()}
        return replace(self, sentences=sentences, durations=durations)

    @property
    def videos(self) -> tuple[str, ...]:
        """Names of the videos, in the order of the file."""
        return tuple(dict.fromkeys(one.video for one in self.sentences))

    @property
    def num_whole(self) -> int:
        """Number of sentences that describe a whole video."""
        return sum(one.is_whole for one in self.sentences)

    @property
    def distinct(self) -> tuple[TimedSentence, ...]:
        """Each sentence once: the first of those that stand here once per moment."""
        first = {
            place if one.query is None else (one.query,): one
            for place, one in reversed(list(enumerate(self.sentences)))
        }
        return tuple(reversed(first.values()))

    def together(self) -> TimedSentences:
        """One sentence per video that is described as a whole; the others are in its `also`."""
        first: dict[str, TimedSentence] = {}
        others: dict[str, list[str]] = {}
        kept: list[TimedSentence] = []
        for one in self.sentences:
            if one.is_whole and one.video in first:
                others[one.video].append(one.sentence)
                continue
            if one.is_whole:
                first[one.video], others[one.video] = one, []
            kept.append(one)
        return replace(
            self,
            sentences=tuple(
                replace(one, also=tuple(others[one.video])) if one.is_whole else one for one in kept
            ),
        )

    @property
    def num_several(self) -> int:
        """Number of queries with several moments."""
        counts = Counter(one.query for one in self.sentences if one.query is not None)
        return sum(count > 1 for count in counts.values())


def _renamed(one: TimedSentence, video: str, address: str) -> TimedSentence:
    return replace(one, video=video, address=address)


@dataclass
class ReadState:
    """What is known of a file while it is read."""

    path: Path
    need_text: bool
    need_times: bool
    whole_videos: bool = False
    durations: dict[str, float] = field(default_factory=dict[str, float])
    problems: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    saliency: dict[int | str, ClipLabels] = field(default_factory=dict[int | str, ClipLabels])

    def length(self, value: object, place: str) -> float | None:
        """Length of a video in seconds; if a given one is no number, adds to `problems`."""
        found = finite_number(value)
        if found is None and value is not None:
            self.problems.append(f"{place}: its duration is {brief(value)}, expected seconds")
        return found

    def is_sentence(self, text: object, place: str, *, tokenised: bool = False) -> bool:
        """Whether a text can be used as a sentence; if not, adds to `problems`."""
        wrong: str | None = None
        if not isinstance(text, str):
            wrong = f"expected a sentence, got {text!r}"
        elif any("\ud800" <= letter <= "\udfff" for letter in text):
            wrong = "the sentence is not UTF-8; store the file as UTF-8"
        elif self.need_text and not text.strip():
            wrong = "the sentence is empty; write what happens, or remove it"
        elif self.need_text and not tokenised and not _WORD.search(text):
            wrong = f"the sentence {text.strip()!r} has no word; write what happens, or remove it"
        if wrong is not None:
            self.problems.append(f"{place}: {wrong}")
        return wrong is None
