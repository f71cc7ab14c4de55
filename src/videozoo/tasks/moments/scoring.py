"""Run a moment model over videos and sentences, and rank the moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from videozoo.config import RunConfig
from videozoo.data.loader import EvalLoader
from videozoo.data.moments import MomentSet, MomentVideo, Query, SearchBatch, SearchDataset, Unit
from videozoo.encoders.sentences import EncoderMaker, sentence_encoder_maker
from videozoo.errors import ConfigError, DataError
from videozoo.metrics.moments import Search, tiou
from videozoo.ops.moment_windows import refined
from videozoo.settings.moments import MomentData
from videozoo.tasks.common import write_json
from videozoo.tasks.exporting import load_model
from videozoo.tasks.features import check_features, check_rate, refuse_other_features
from videozoo.tasks.inference import InferenceResults, eval_loader, run
from videozoo.tasks.jobs import Job, ResultFile, Shortfall
from videozoo.tasks.loading import Trained
from videozoo.tasks.moments.exported import ExportedPairs
from videozoo.types import MomentRetrieval

MomentModel = Callable[[Tensor, Tensor], Tensor]
"""A network, or an exported graph: C clips and S sentences, (C, Dv) and (S, Dq), to (3, S, C)."""


def sentence_maker(config: RunConfig) -> EncoderMaker:
    """What makes the sentence encoder of a run; who names it decides what it may do."""
    named_by = config.only_named_in("data.sentences.encoder")
    return sentence_encoder_maker(named_by, may_be_code=config.is_of_run)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One predicted moment of a video."""

    start: float
    end: float
    score: float
    """How well the sentence fits; unbounded, higher is better."""


@dataclass(frozen=True, kw_only=True)
class QueryMoments:
    """The moments found for one sentence in one video."""

    video: str
    number: int
    """Number of the sentence among those of the video."""
    query: Query
    search: Search
    """All windows as refined by the model, with scores, and the true moments if they are known.
    Moments in seconds are clipped to the video."""
    unit: Unit
    length: float | None
    """Length of the video in `unit`; None if unknown."""

    @property
    def truths(self) -> tuple[tuple[float, float], ...]:
        """The true moments (start, end); empty if unknown."""
        return self.query.moments

    @property
    def truth(self) -> tuple[float, float] | None:
        """The true moment; of several that which the best moment fits best; None if unknown."""
        best = self.search.ranked()[:1]
        return max(self.truths, key=lambda each: tiou(best, each).max(initial=0), default=None)

    def top(self, k: int, *, limit: float | None = None) -> list[Moment]:
        """The k best moments; `limit` is the highest tIoU allowed with a better moment."""
        best = self.search.best(k, limit=limit)
        return [Moment(start=start, end=end, score=score) for start, end, score in best]


MomentResults = InferenceResults[tuple[QueryMoments, ...], None]
"""Number of the video -> one `QueryMoments` per sentence."""


@dataclass
class MomentInference:
    """A moment model and its videos: every sentence is compared with every window of its video."""

    model: MomentModel
    """From `moment_model`; a network in evaluation mode, on the device of the accelerator."""
    batches: EvalLoader[SearchBatch]
    accelerator: Accelerator
    moments: MomentSet
    """All videos."""
    counter: None = None

    def forward(self, batch: SearchBatch) -> list[Tensor]:
        """Per video: scores and offsets, (3, S, C)."""
        on_device = batch.to(self.accelerator.device)
        pairs = zip(on_device.visual, on_device.sentences, strict=True)
        return [self.model(visual, sentences) for visual, sentences in pairs]

    def results(
        self, batch: SearchBatch, outputs: list[Tensor]
    ) -> Mapping[int, tuple[QueryMoments, ...]]:
        """The moments of each sentence: all windows, refined by the model."""
        moments = self.moments
        return {
            number: _found(moments.videos[number], grid.float().cpu().numpy(), moments.unit)
            for number, grid in zip(batch.videos.tolist(), outputs, strict=True)
        }


def search(
    model: MomentModel,
    data: MomentData,
    moments: MomentSet,
    accelerator: Accelerator,
    *,
    batch_size: int,
    skip_bad: bool = False,
    show: bool = False,
) -> MomentResults:
    """Run a model over videos and sentences; `show`: with a progress bar."""
    batches = eval_loader(
        SearchDataset(moments),
        data,
        accelerator,
        batch_size=batch_size,
        skip_bad=skip_bad,
    )
    return run(
        MomentInference(model, batches, accelerator, moments),
        accelerator,
        progress=(len(moments.videos), "videos") if show else None,
    )


def all_found(searched: MomentResults) -> list[QueryMoments]:
    """The moments of all sentences, video by video."""
    return [one for found in searched.by_number.values() for one in found]


def _found(video: MomentVideo, grid: NDArray[np.float32], unit: Unit) -> tuple[QueryMoments, ...]:
    # the 2019 library did not clip frames
    scores, moments = refined(video.windows, grid, video.length if unit == "seconds" else None)
    return tuple(
        QueryMoments(
            video=video.name,
            number=number,
            query=query,
            search=Search(
                moments[number],
                scores[number],
                np.array(query.moments, np.float64).reshape(-1, 2),
            ),
            unit=unit,
            length=video.length,
        )
        for number, query in enumerate(video.queries)
    )


# ---- what weights remember ----------------------------------------------------------------------


def origin_of(moments: MomentSet, sentence_dim: int) -> dict[str, Any]:
    """What made the features and sentence vectors of the training; stored with the weights."""
    extractor = moments.source.extractor
    return {
        "visual": None if extractor is None else dict(extractor),
        "sentences": {
            "encoder": moments.encoder,
            "dim": sentence_dim,
            **({"facts": dict(moments.encoder_facts)} if moments.encoder_facts else {}),
        },
    }


def check_origin(
    moments: MomentSet, trained: Trained, sentence_dim: int, say: Callable[[str], None]
) -> None:
    """Compare the origin of features and sentence vectors with that in training.

    Raises:
        DataError: The origins differ.
    """
    stored = trained.features or {}
    visual = cast("Mapping[str, Any] | None", stored.get("visual"))
    check_features(moments.source.extractor, replace(trained, features=visual), say)
    check_rate(moments.source.rate, moments.source.extractor, visual, trained)
    ours = origin_of(moments, sentence_dim)["sentences"]
    theirs = cast("Mapping[str, Any] | None", stored.get("sentences"))
    if theirs is None:
        say(
            f"note: the weights do not say what made their sentence vectors; these are by "
            f"{moments.encoder!r}, of {sentence_dim} numbers"
        )
    elif any(theirs.get(key) != ours[key] for key in ("encoder", "dim")):
        facts = cast("Mapping[str, Any]", theirs.get("facts") or {})
        origin = f", which was {facts['reference']}" if "reference" in facts else ""
        raise DataError(
            f"sentence vectors by {ours['encoder']!r} of {ours['dim']} numbers, but {trained.path} "
            f"learnt from those by {theirs.get('encoder')!r} of {theirs.get('dim')}{origin}; use "
            "that encoder (data.sentences.encoder)"
        )


def refuse_other_origin(one: MomentSet, other: MomentSet, say: Callable[[str], None]) -> None:
    """Refuse validation with other features or sentence vectors than in training.

    Raises:
        DataError: The origins differ.
    """
    refuse_other_features(
        one.source.extractor,
        other.source.extractor,
        str(one.source.path),
        str(other.source.path),
        say=say,
    )
    if one.encoder != other.encoder:
        raise DataError(
            f"{one.path}: sentence vectors by {one.encoder!r}, but {other.path} has those by "
            f"{other.encoder!r}; use one encoder"
        )


def shortfall(searched: MomentResults, moments: MomentSet) -> Shortfall:
    """The videos that could not be searched."""
    without = [f"{video}: no features in {moments.source.path}" for video in moments.missing]
    failed = [*without, *moments.damaged.values(), *searched.skipped.values()]
    total = len(searched.by_number) + len(failed)
    return Shortfall(failed=failed, left_out=moments.left_out, total=total)


def results_file(
    job: Job[Any], name: str | None, facts: Callable[[], dict[str, Any]]
) -> ResultFile | None:
    """A JSON file in the format of the 2019 library; None if its name is not set."""
    if name is None:
        return None
    return ResultFile(job.files_folder / name, lambda path: write_json(path, facts()))


def retrieval_of(config: RunConfig) -> MomentRetrieval:
    """How the configured model finds moments."""
    if not isinstance(config.spec.task, MomentRetrieval):
        raise ConfigError(f"model {config.name!r} does not find moments")
    return config.spec.task


def moment_model(
    trained: Trained, config: RunConfig, accelerator: Accelerator, **options: Any
) -> MomentModel:
    """Load a model that compares; `options` are those of `load_model`."""
    return load_model(trained, config, accelerator, ExportedPairs, **options)
