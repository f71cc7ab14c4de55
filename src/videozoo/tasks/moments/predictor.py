"""A trained model of moment retrieval for Python programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from videozoo.data.moments import MomentSet, ask, open_windows
from videozoo.errors import UsageError
from videozoo.results import RankedMoments, VideoMoments, ranked_moments
from videozoo.settings.moments import GIVEN
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.loading import Trained
from videozoo.tasks.moments.prediction import moments_of, result_of
from videozoo.tasks.moments.presence import least_score_of
from videozoo.tasks.moments.scoring import (
    all_found,
    check_origin,
    moment_model,
    search,
    sentence_maker,
    shortfall,
)
from videozoo.tasks.predictors import (
    Features,
    Predictor,
    answers,
    are_paths,
    as_records,
    flat,
    names_of,
    without_workers,
)
from videozoo.tasks.requests import Device
from videozoo.tasks.results import warn_of

Sentence = str | NDArray[Any] | Tensor
"""Text, or a vector (sentence_dim,)."""


class MomentRetriever(Predictor):
    """A trained moment model: finds the moment a sentence describes. Made by `videozoo.load`."""

    def __init__(self, trained: Trained, *, device: Device = "auto") -> None:
        self.config = trained.config
        self._accelerator = accelerator_for(trained, device)
        super().__init__(
            trained, moment_model(trained, self.config, self._accelerator, device=device)
        )

    def predict(
        self,
        videos: Features | Sequence[Features],
        *sentences: Sentence | Sequence[Sentence],
        strict: bool = True,
    ) -> list[VideoMoments]:
        """Find moments.

        Args:
            videos: A path of features or of a folder of clips; features (T, dim) as an array or
                tensor, called `video 0`; a dict of videos by name; or a list of arrays. Arrays are
                taken to be by the extractor that the model learnt from, whose rate tells their
                times. Without sentences: the path of a file of them, whose videos are in `data`.
            sentences: Each of them is searched for in every video: text, or lists of it. For a
                model that learnt from given vectors also vectors (sentence_dim,).
            strict: Raise if any video cannot be used. Otherwise the video has no result, and a
                warning names it.

        Returns:
            One result per video and sentence, video by video.

        Raises:
            DataError: An input does not exist or does not fit the model.
            UsageError: A sentence is neither text nor a vector that the model reads.
        """
        wanted = self._sentences(sentences)
        least = least_score_of(self.config.predict.least_score, self._trained.measured)

        def answer(group: list[Any], place: int) -> tuple[list[VideoMoments], list[str]]:
            config = self.config
            if are_paths(group):
                asked = moments_of(group, wanted, config, strict=strict)
            else:
                config = without_workers(config)
                asked = self._asked(group, place, wanted)
            check_origin(asked, self._trained, config.model.sentence_dim, lambda _line: None)
            searched = search(
                self._network,
                config.data,
                asked,
                self._accelerator,
                batch_size=config.predict.batch_size,
                skip_bad=not strict,
            )
            found = [result_of(one, config, least) for one in all_found(searched)]
            return found, [*shortfall(searched, asked).failed]

        streams = self.config.data.streams
        inputs, unread = self.with_features([videos], self._accelerator, strict=strict)
        results, failed = answers(inputs, answer, strict=strict, streams=streams)
        warn_of([*unread, *failed])
        return results

    def rank(
        self,
        videos: Features | Sequence[Features],
        *sentences: Sentence | Sequence[Sentence],
        strict: bool = True,
    ) -> list[RankedMoments]:
        """In which of many videos, and when: one list per sentence, over all videos.

        Scores of one sentence are compared between videos. `is_likely` of a moment tells whether it
        scores as sentences do that are in their video, where the training could learn that.

        Args:
            videos: See `predict`.
            sentences: At least one.
            strict: See `predict`.

        Raises:
            DataError: An input does not exist or does not fit the model.
            UsageError: There is no sentence, or one that the model does not read.
        """
        if not sentences:
            raise UsageError("no sentence: rank(features, 'a man runs'), once or more")
        return ranked_moments(self.predict(videos, *sentences, strict=strict))

    def _sentences(self, sentences: Sequence[Any]) -> list[str | NDArray[np.float32]]:
        """Texts and vectors, without the lists around them."""
        dim = self.config.model.sentence_dim
        learnt = ((self._trained.features or {}).get("sentences") or {}).get("encoder", GIVEN)
        expected = "expected text" + f", or a vector of {dim} numbers" * (learnt == GIVEN)
        found: list[str | NDArray[np.float32]] = []
        for number, one in enumerate(flat(sentences)):
            if isinstance(one, str):
                found.append(one)
                continue
            got = f"a {type(one).__name__}"
            if isinstance(one, np.ndarray | Tensor):
                array: NDArray[Any] = np.asarray(
                    one.detach().cpu().float() if isinstance(one, Tensor) else one
                )
                got = f"an array of shape {array.shape} and type {array.dtype}"
                fits = array.shape == (dim,) and array.dtype.kind in "fiu"
                if learnt == GIVEN and fits and np.isfinite(array).all():
                    found.append(array.astype(np.float32))
                    continue
                if learnt != GIVEN:
                    got += f", but the model learnt from vectors by {learnt!r}, made of text"
            raise UsageError(f"sentence {number}: {got}; {expected}")
        if sentences and not found:
            raise UsageError("no sentence: an empty list")
        return found

    def _asked(
        self,
        features: Sequence[Any],
        first: int,
        sentences: Sequence[str | NDArray[np.float32]],
    ) -> MomentSet:
        """Sentences to look for in features that are in memory."""
        if not sentences:
            raise UsageError("no sentence: predict(features, 'a man runs'), once or more")
        data, model = self.config.data, self.config.model
        extractor = (self._trained.features or {}).get("visual")
        records = as_records(features, streams=data.streams, first=first, extractor=extractor)
        source = open_windows(records, data, visual_dim=model.visual_dim, clips=False)
        asked = ask(
            sentences,
            source,
            data,
            sentence_dim=model.sentence_dim,
            make=sentence_maker(self.config),
        )
        order = names_of(records)
        videos = sorted(asked.videos, key=lambda video: order.index(video.name))
        return replace(asked, videos=tuple(videos))


def load(trained: Trained, *, device: Device = "auto") -> MomentRetriever:
    """Make the Python object for `videozoo.load`."""
    return MomentRetriever(trained, device=device)
