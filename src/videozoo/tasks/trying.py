"""Try a model from outside once before it is trained: does it return what its task says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from videozoo.config import RunConfig
from videozoo.errors import ConfigError
from videozoo.models import is_from_outside
from videozoo.ops.beam_search import Hypothesis
from videozoo.ops.sentences import START
from videozoo.types import (
    Candidates,
    Captioning,
    Classification,
    Localisation,
    MomentRetrieval,
    ProposalScoring,
    Tagging,
    Task,
    TwoStageLocalisation,
)

_VIDEOS = 2
_FRAMES = 4
_WORDS = 3
_PROPOSALS = 5
_CLIPS = 3
"""Of moment models: other than the sentences, so that exchanged dimensions are seen."""


def try_out(config: RunConfig, device: torch.device) -> None:
    """Run a fresh module of a model from outside on an empty batch, as its training will.

    Args:
        config: Of the run. The models of the package are not tried.
        device: Where the model will be trained.

    Raises:
        ConfigError: The module, or a function of its task, returns something else than the task
            says.
    """
    if not is_from_outside(config.name):
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        module = config.spec.build(config.model).to(device)
        for mode in (False, True):
            _try(_Trial(config, module.train(mode), device), config.spec.task)


def _try(trial: _Trial, task: Task) -> None:
    match task:
        case Classification():
            _try_classifier(trial, task)
        case Tagging():
            _try_tagger(trial, task)
        case TwoStageLocalisation():  # each stage is tried before its own training
            pass
        case Localisation():
            _try_localiser(trial, task)
        case ProposalScoring():
            _try_proposal_scorer(trial, task)
        case Captioning():
            _try_captioner(trial)
        case MomentRetrieval():
            _try_moment_model(trial, task)


class _Trial:
    """One module on one empty batch."""

    def __init__(self, config: RunConfig, module: nn.Module, device: torch.device) -> None:
        self.config, self.module, self.device = config, module, device
        self.name, self.model = config.name, config.model

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, device=self.device)

    def full(self, value: int, *shape: int) -> Tensor:
        return torch.full(shape, value, device=self.device)

    def wrong(self, what: str, found: Any, expected: str) -> ConfigError:
        got = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        return ConfigError(f"{self.name}: {what} {got}, expected {expected}")

    def check(
        self,
        found: Any,
        expected: tuple[int, ...],
        meaning: str,
        what: str = "returned",
        *,
        learns: bool = True,
    ) -> None:
        """Check the shape, the type and, where it is learnt from, the gradient of a tensor."""
        if not isinstance(found, Tensor) or tuple(found.shape) != expected:
            raise self.wrong(what, found, f"{expected or 'one number'} {meaning}".rstrip())
        if not found.is_floating_point():
            raise ConfigError(
                f"{self.name}: {what} {found.dtype}, expected {expected} {meaning} in floating "
                "point"
            )
        if learns and not found.requires_grad:
            noun = meaning.partition(" (")[0]
            raise ConfigError(
                f"{self.name}: {what} {noun} without a gradient, so nothing can be learnt; "
                "expected no detach(), no torch.no_grad() and no argmax on the way"
            )

    def check_losses(self, found: Any) -> None:
        """Check what the function `losses` of the task returned."""
        if not isinstance(found, Mapping) or "loss" not in found:
            got = f"a {type(found).__name__}"
            got = f"{got} without 'loss'" if isinstance(found, Mapping) else got
            raise ConfigError(
                f"{self.name}: losses returned {got}, expected a dict with 'loss' and its parts"
            )
        self.check(found["loss"], (), "loss", "losses gave as 'loss'")
        odd = [key for key, value in found.items() if not _is_number(value)]
        if odd:
            value = found[odd[0]]
            raise self.wrong(f"losses gave as {odd[0]!r}", value, "a tensor of one number")


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0


def _try_classifier(trial: _Trial, task: Classification) -> None:
    side = trial.config.data.crop_size
    shape = task.clip_shape(trial.model)
    clips = trial.zeros(_VIDEOS, shape.num_steps, 3 * shape.frames_per_step, side, side)
    expected = (_VIDEOS, trial.model.num_classes)
    trial.check(trial.module(clips), expected, "logits (N, num_classes)")
    if not task.features or trial.module.training:
        return
    declared: Any = trial.module
    with torch.no_grad():
        found = declared.features(clips)
    expected = (_VIDEOS, declared.feature_dim)
    trial.check(found, expected, "(N, feature_dim)", "features returned", learns=False)


def _try_tagger(trial: _Trial, task: Tagging) -> None:
    shape = task.feature_shape(trial.model)
    frames = shape.num_frames or _FRAMES
    streams = [trial.zeros(_VIDEOS, frames, stream.dim) for stream in shape.streams]
    logits = trial.module(streams, trial.full(frames, _VIDEOS))
    trial.check(logits, (_VIDEOS, trial.model.num_classes), "logits (N, num_classes)")
    if not task.explains or trial.module.training:
        return
    declared: Any = trial.module
    with torch.no_grad():
        weights = declared.frame_weights(streams, trial.full(frames, _VIDEOS))
    if not isinstance(weights, Sequence) or len(weights) != len(streams):
        raise trial.wrong("frame_weights returned", weights, "a list with (N, T) per stream")
    for each in weights:
        trial.check(each, (_VIDEOS, frames), "(N, T)", "frame_weights gave", learns=False)


def _try_localiser(trial: _Trial, task: Localisation) -> None:
    shape = task.sequence_shape(trial.model)
    outputs = trial.module(trial.zeros(_VIDEOS, shape.feature_dim, shape.num_steps))
    if trial.module.training:
        targets = _targets_of(trial, task, shape.num_steps)
        if targets is not None:
            generator = torch.Generator().manual_seed(0)
            trial.check_losses(task.losses(outputs, targets, generator))
        return
    outputs = tree_map_only(Tensor, lambda each: each.detach().float().cpu(), outputs)
    _check_candidates(trial, task.candidates(trial.model, outputs, 0.0))
    curves: Any = task.curves(outputs)
    if not isinstance(curves, Mapping):
        raise trial.wrong("curves returned", curves, "a dict of scores (N, T) by name")
    for key, each in curves.items():
        expected = (_VIDEOS, shape.num_steps)
        trial.check(each, expected, "(N, T)", f"curves gave as {key!r}", learns=False)


def _targets_of(trial: _Trial, task: Localisation, num_steps: int) -> dict[str, Tensor] | None:
    """The targets of a batch of videos with one segment each; None: they teach nothing."""
    found: Any = task.targets(trial.model)(np.array([[0.25, 0.75]]), np.array([0]), num_steps)
    if found is None:
        return None
    if not isinstance(found, Mapping) or not all(hasattr(each, "shape") for each in found.values()):
        raise trial.wrong("targets returned", found, "a dict of arrays, or None")
    arrays = {key: np.stack([each] * _VIDEOS) for key, each in found.items()}
    return {key: torch.from_numpy(each).to(trial.device) for key, each in arrays.items()}


def _check_candidates(trial: _Trial, found: Any) -> None:
    expected = f"a list of {_VIDEOS} Candidates, one per video"
    if not isinstance(found, Sequence) or not all(isinstance(each, Candidates) for each in found):
        raise trial.wrong("candidates returned", found, expected)
    if len(found) != _VIDEOS:
        raise ConfigError(
            f"{trial.name}: candidates returned {len(found)} Candidates, expected {expected}"
        )
    for each in found:
        segments, scores = np.shape(each.segments), np.shape(each.scores)
        labels = None if each.labels is None else np.shape(each.labels)
        if segments != (len(each.segments), 2) or scores != segments[:1]:
            raise ConfigError(
                f"{trial.name}: candidates gave segments {segments} with scores {scores}, expected "
                "(P, 2) and (P,)"
            )
        if labels not in (None, scores):
            raise ConfigError(
                f"{trial.name}: candidates gave labels {labels} for segments {segments}, expected "
                "(P,), or None"
            )


def _try_proposal_scorer(trial: _Trial, task: ProposalScoring) -> None:
    scores = trial.module(trial.zeros(_VIDEOS, _PROPOSALS, trial.model.feature_dim))
    trial.check(scores, (_VIDEOS, _PROPOSALS), "scores (N, K)")
    low, high = (float(each.detach()) for each in scores.aminmax())
    if low < 0 or high > 1:
        raise ConfigError(
            f"{trial.name}: returned scores from {low:g} to {high:g}, expected 0 to 1, as a "
            "sigmoid gives them"
        )
    tious = trial.zeros(_VIDEOS, _PROPOSALS)
    tious[:, 0] = 1
    mask = torch.ones_like(tious, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    trial.check_losses(task.losses(scores, tious, mask, generator))


def _try_captioner(trial: _Trial) -> None:
    features = trial.zeros(_VIDEOS, _FRAMES, trial.model.feature_dim)
    lengths, words = trial.full(_FRAMES, _VIDEOS), trial.full(START, _VIDEOS, _WORDS)
    expected = (_VIDEOS, _WORDS, trial.model.vocabulary_size)
    trial.check(trial.module(features, lengths, words), expected, "logits (N, L, vocabulary_size)")
    if trial.module.training:
        return
    declared: Any = trial.module
    with torch.no_grad():
        found = declared.caption(features, lengths, beam_size=2, max_length=_WORDS)
    if not isinstance(found, Sequence) or len(found) != _VIDEOS:
        raise trial.wrong("caption returned", found, "a list with the best sentences per video")
    for sentences in found:
        is_right = isinstance(sentences, Sequence) and sentences
        if not is_right or not all(isinstance(each, Hypothesis) for each in sentences):
            raise trial.wrong(
                "caption gave for a video", sentences, "a list of Hypothesis, the best first"
            )


def _try_moment_model(trial: _Trial, task: MomentRetrieval) -> None:
    visual_dim, sentence_dim = trial.model.visual_dim, trial.model.sentence_dim
    sentences = trial.zeros(_VIDEOS, sentence_dim)
    outputs = trial.module(trial.zeros(_CLIPS, visual_dim), sentences)
    trial.check(outputs, (3, _VIDEOS, _CLIPS), "numbers (3, sentences, clips)")
    if trial.module.training:
        outputs = trial.module(trial.zeros(_VIDEOS, visual_dim), sentences)
        trial.check_losses(task.losses(outputs, trial.zeros(_VIDEOS, 2)))
