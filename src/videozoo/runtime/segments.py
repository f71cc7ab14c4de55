"""Localisers of bundles: features of a video in, segments out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videozoo.candidates import Candidates
from videozoo.data.features.transforms import resize_steps
from videozoo.errors import DataError, MisfitError, WeightsError, counted
from videozoo.ops.proposal_generation import described_proposals
from videozoo.ops.segment_candidates import CURVES, Arrays, candidates_of
from videozoo.ops.soft_nms import soft_nms, suppress_by_class
from videozoo.ops.windows import Window, inside_window, merged_candidates, windows_of_seconds
from videozoo.results import Segment, VideoSegments
from videozoo.runtime.answer import Answer
from videozoo.runtime.bundle import Bundle
from videozoo.runtime.description import Section
from videozoo.runtime.features import VideoEncoder
from videozoo.runtime.numbers import softmax
from videozoo.runtime.rows import row_of_segments
from videozoo.weights.onnx_graphs import OnnxGraph, ports_in_words
from videozoo.weights.port_names import FEATURES, PROPOSALS, SCORES


class SoftNms(Protocol):
    """Options of `ops.soft_nms.soft_nms`."""

    @property
    def alpha(self) -> float:
        """See there."""
        ...

    @property
    def low_threshold(self) -> float:
        """See there."""
        ...

    @property
    def high_threshold(self) -> float:
        """See there."""
        ...

    @property
    def as_in_2019(self) -> bool:
        """See there."""
        ...


class ClassNms(Protocol):
    """Options of `ops.soft_nms.suppress_by_class`."""

    @property
    def score_threshold(self) -> float:
        """Candidates that do not score more are left out first."""
        ...

    @property
    def nms_threshold(self) -> float:
        """See there."""
        ...

    @property
    def sigma(self) -> float:
        """See there."""
        ...

    @property
    def least_score(self) -> float:
        """See there."""
        ...


class Suppression(Protocol):
    """How duplicates are removed; see `settings.segments.SequenceViews`."""

    @property
    def max_segments(self) -> int | None:
        """Segments per video; None: all."""
        ...

    @property
    def soft_nms(self) -> SoftNms:
        """For segments without classes."""
        ...

    @property
    def class_nms(self) -> ClassNms:
        """For segments with classes."""
        ...

    @property
    def result_form(self) -> str:
        """`ctcn_2019`: segments with classes stay in the order of the network."""
        ...


def without_duplicates(candidates: Candidates, views: Suppression) -> Candidates:
    """Lower or drop segments that overlap a better one, as `views` say; best first."""
    if candidates.labels is None:
        count = len(candidates.scores)
        return soft_nms(
            candidates,
            alpha=views.soft_nms.alpha,
            low_threshold=views.soft_nms.low_threshold,
            high_threshold=views.soft_nms.high_threshold,
            max_out=count if views.max_segments is None else views.max_segments,
            as_in_2019=views.soft_nms.as_in_2019,
        )
    options = views.class_nms
    found = suppress_by_class(
        picked(candidates, np.flatnonzero(candidates.scores > options.score_threshold)),
        nms_threshold=options.nms_threshold,
        sigma=options.sigma,
        least_score=options.least_score,
    )
    if views.result_form == "ctcn_2019":  # class by class, in the order of the network
        return picked(found, np.arange(len(found.scores))[: views.max_segments])
    return picked(found, np.argsort(-found.scores, kind="stable")[: views.max_segments])


def picked(candidates: Candidates, places: NDArray[np.int64]) -> Candidates:
    """The chosen ones, in this order."""
    labels = None if candidates.labels is None else candidates.labels[places]
    return Candidates(candidates.segments[places], candidates.scores[places], labels)


def segments_of(
    video: str, found: Candidates, duration_seconds: float, names: Sequence[str]
) -> VideoSegments:
    """The segments found, in seconds and with class names.

    Args:
        video: Its name.
        found: As shares of the video, the best first.
        duration_seconds: Of the video; nan if unknown: then times stay shares.
        names: Of the classes, for candidates with labels.
    """
    known = duration_seconds > 0
    times = (np.clip(found.segments, 0.0, 1.0) * (duration_seconds if known else 1.0)).tolist()
    labels: list[str | None] = [None] * len(times)
    if found.labels is not None:
        labels = [str(names[number]) for number in found.labels.tolist()]
    rows = zip(times, found.scores.tolist(), labels, strict=True)
    segments = tuple(Segment(start, end, score, label) for (start, end), score, label in rows)
    return VideoSegments(
        video=video, duration_seconds=duration_seconds if known else None, segments=segments
    )


# --- a bundle --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SoftNms:
    alpha: float
    low_threshold: float
    high_threshold: float
    as_in_2019: bool


@dataclass(frozen=True)
class _ClassNms:
    score_threshold: float
    nms_threshold: float
    sigma: float
    least_score: float


@dataclass(frozen=True)
class _Rules:
    max_segments: int | None
    soft_nms: _SoftNms
    class_nms: _ClassNms
    result_form: str


@dataclass(frozen=True)
class _Proposals:
    threshold: float
    most: int
    num_action: int
    num_start: int
    num_end: int
    samples_per_bin: int
    boundary_ratio: float

    @property
    def feature_dim(self) -> int:
        return self.num_action + self.num_start + self.num_end


@dataclass(frozen=True)
class _Decoding:
    form: str
    num_steps: int
    strides: tuple[int, ...]
    proposals: _Proposals


class Localiser:
    """A localiser of a bundle, of one stage or two."""

    def __init__(
        self, bundle: Bundle, about: Section, encoder: VideoEncoder, names: Sequence[str]
    ) -> None:
        """Open the graphs.

        Args:
            bundle: Holds them.
            about: The section `segments`.
            encoder: Makes the features.
            names: Of the classes; empty where segments have none.

        Raises:
            WeightsError: A graph is damaged, or other than described.
        """
        self._encoder, self._names = encoder, names
        self._decoding = _decoding(about)
        self._rules = _rules(about)
        self._outputs = about.texts("outputs")
        self._resize = about.choice("resize", "linear", "nearest", "cubic", "area", "refuse")
        seconds = ("window_seconds", "stride_seconds")
        self._window, self._stride = (
            about.number(key, 1e-6, 1e9) if about.has(key) else None for key in seconds
        )
        self._first = bundle.graph(about.text("file"))
        self._second = bundle.graph(about.text("second")) if about.has("second") else None
        if (self._decoding.form == "scored_proposals") != (self._second is not None):
            raise WeightsError(f"{about}: two stages are two files; export it again")
        self._check(self._first, FEATURES, (encoder.dim, self._decoding.num_steps))
        given = [port.name for port in self._first.outputs]
        if given != list(self._outputs):
            raise WeightsError(
                f"{self._first.path}: gives {given}, but its description says "
                f"{list(self._outputs)}; export it again"
            )
        if self._second is not None:
            self._check(self._second, PROPOSALS, (None, self._decoding.proposals.feature_dim))

    def _check(self, graph: OnnxGraph, name: str, expected: tuple[int | None, ...]) -> None:
        if [(port.name, port.shape[1:]) for port in graph.inputs] != [(name, expected)]:
            raise WeightsError(
                f"{graph.path}: takes {ports_in_words(graph.inputs)}, but its "
                f"description says {name} (?, {', '.join(str(each or '?') for each in expected)})"
            )

    def __call__(self, path: Path, name: str) -> Answer:
        """Find segments in a video.

        Raises:
            VideoError: It cannot be read.
            DataError: Its features do not fit.
        """
        features = self._encoder(path)
        rows, seconds = features.rows, features.duration_seconds
        if self._window is None:
            found = self._candidates(rows, path)
        else:
            found = merged_candidates(self._of_windows(rows, seconds, path))
        kept = without_duplicates(found, self._rules)
        result = segments_of(name, kept, seconds, self._names)
        return Answer([result], [row_of_segments(result)], features.damage)

    def _of_windows(
        self, rows: NDArray[np.float32], seconds: float, path: Path
    ) -> list[tuple[Window, Candidates]]:
        assert self._window is not None
        if not seconds > 0 or self._window * len(rows) / seconds < 1:
            raise DataError(
                f"{path}: {seconds:g} s with {counted(len(rows), 'vector')} do not fit windows of "
                f"{self._window:g} s"
            )
        windows = windows_of_seconds(
            *(len(rows), seconds), window_seconds=self._window, stride_seconds=self._stride
        )
        return [(one, self._candidates(inside_window(rows, one), path)) for one in windows]

    def _candidates(self, rows: NDArray[np.float32], path: Path) -> Candidates:
        """Candidates of a video, or of a window of one: (T, dim) -> shares of it."""
        num_steps = self._decoding.num_steps
        if self._resize != "refuse":
            rows = resize_steps(rows, num_steps, self._resize)
        elif len(rows) != num_steps:
            raise MisfitError(
                f"{path}: {counted(len(rows), 'vector')}, and this model reads {num_steps}, which "
                "are not resized (data.resize is refuse)"
            )
        found = self._first.run_arrays({FEATURES: rows.T[None]}, self._outputs)
        outputs: dict[str, NDArray[Any]] = dict(zip(self._outputs, found, strict=True))
        try:
            if self._second is not None:
                outputs |= self._scored(outputs, self._second)
            if "logits" in outputs:
                outputs["probabilities"] = softmax(outputs["logits"])
            threshold = self._rules.class_nms.score_threshold
            [candidates] = candidates_of(outputs, self._decoding, threshold)
        except (KeyError, ValueError, IndexError) as error:
            raise WeightsError(
                f"{self._first.path}: gives no {self._decoding.form} ({error}); export it again"
            ) from None
        if candidates.labels is not None and candidates.labels.max(initial=-1) >= len(self._names):
            raise WeightsError(
                f"{self._first.path}: gives more classes than there are names, "
                f"{len(self._names)}; export it again"
            )
        return candidates

    def _scored(self, outputs: Arrays, second: OnnxGraph) -> dict[str, NDArray[Any]]:
        """The step between the stages, and the second: of one video; see `propose_and_score`."""
        options = self._decoding.proposals
        curves = [outputs[name][0] for name in CURVES]
        proposals, numbers = described_proposals(*curves, options=options, most=options.most)
        given = {PROPOSALS: numbers[None].astype(np.float32)}
        [scores] = second.run_arrays(given, [SCORES])
        return {
            "segments": proposals.segments[None],
            "boundary_scores": proposals.scores[None],
            "scores": scores,
            "mask": np.ones((1, len(numbers)), np.bool_),
        }


def _rules(about: Section) -> _Rules:
    soft, by_class = about.section("soft_nms"), about.section("class_nms")
    return _Rules(
        max_segments=about.whole("max_segments", 0) if about.has("max_segments") else None,
        soft_nms=_SoftNms(
            alpha=soft.number("alpha", 1e-9),
            low_threshold=soft.number("low_threshold"),
            high_threshold=soft.number("high_threshold"),
            as_in_2019=soft.flag("as_in_2019"),
        ),
        class_nms=_ClassNms(
            score_threshold=by_class.number("score_threshold"),
            nms_threshold=by_class.number("nms_threshold"),
            sigma=by_class.number("sigma", 1e-9),
            least_score=by_class.number("least_score"),
        ),
        result_form=about.text("result_form"),
    )


def _decoding(about: Section) -> _Decoding:
    pairs = about.section("proposals")
    return _Decoding(
        form=about.choice("form", "boundary_maps", "boundary_pairs", "scored_proposals", "anchors"),
        num_steps=about.whole("num_steps", 1, 1 << 16),
        strides=tuple(about.wholes("strides", None, 1, 1 << 16)),
        proposals=_Proposals(
            threshold=pairs.number("threshold", 0, 1),
            most=pairs.whole("most", 1),
            num_action=pairs.whole("num_action", 2, 10_000),
            num_start=pairs.whole("num_start", 2, 10_000),
            num_end=pairs.whole("num_end", 2, 10_000),
            samples_per_bin=pairs.whole("samples_per_bin", 1, 1000),
            boundary_ratio=pairs.number("boundary_ratio", 0, 1000),
        ),
    )
