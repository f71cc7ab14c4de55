"""Score the proposals of another network: BSN's second stage on the files of its first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from torch import Generator, Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotations
from videozoo.data.coverage import has_one_annotations_file
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.data.proposals import (
    ProposalBatch,
    ProposalDataset,
    Proposals,
    ProposalVideos,
    load_proposals,
)
from videozoo.data.text import spelt_in
from videozoo.errors import ConfigError, DataError
from videozoo.settings.segments import ProposalData, SequenceViews
from videozoo.tasks.evaluate import Evaluation
from videozoo.tasks.fitting import TrainingPlan, TrainJob
from videozoo.tasks.inference import eval_loader
from videozoo.tasks.loading import Trained
from videozoo.tasks.localisation.evaluation import evaluated
from videozoo.tasks.localisation.export import export_scorer
from videozoo.tasks.localisation.fitting import (
    FEATURES,
    check_held_out,
    refuse_settings,
    refuse_unannotated,
    say_missing,
    training_plan,
)
from videozoo.tasks.localisation.prediction import predicted
from videozoo.tasks.localisation.predictor import SegmentPredictor
from videozoo.tasks.localisation.scoring import NetworkOutput, VideoSource, generator_of
from videozoo.tasks.localisation.sources import (
    Known,
    known_durations,
    listed_videos,
    named_losses,
    of_known_length,
)
from videozoo.tasks.predict import Prediction
from videozoo.tasks.requests import Device, TrainRequest
from videozoo.tasks.train import Training
from videozoo.types import Candidates, ProposalScoring


def _configured(config: RunConfig, _request: TrainRequest) -> RunConfig:
    refuse_settings(config)
    return config


def _plan(job: TrainJob) -> TrainingPlan:
    config, data = job.config, job.config.data
    learnt = load_proposals(data, "train")
    refuse_unannotated(learnt, "to learn from")
    dataset = ProposalDataset(
        learnt, data, feature_dim=proposal_dim(config), seed=config.train.seed
    )
    batches = job.loader(dataset)
    say_missing(job.say, "training", learnt)
    source = None
    if job.request.valid_interval > 0:
        held_out = load_proposals(data, "val", quiet=has_one_annotations_file(data))
        source = ProposalSource(config, config.eval, held_out, with_loss=True)
        check_held_out(held_out, learnt, job.say)
    return scoring_plan(job, batches, source, num_train=len(learnt.present))


train = Training(plan=_plan, configured=_configured, learns_from=FEATURES)


def scoring_plan(
    job: TrainJob,
    batches: TrainLoader[ProposalBatch],
    source: VideoSource | None,
    *,
    num_train: int,
    **more: Any,
) -> TrainingPlan:
    """Say what a network that scores proposals learns; see `training_plan`."""
    losses = scoring_of(job.config).losses

    def loss_of(
        model: nn.Module, batch: ProposalBatch, generator: Generator
    ) -> Mapping[str, Tensor]:
        with job.accelerator.autocast():
            scores = model(batch.features)
        return losses(scores, batch.tious, batch.mask, generator)

    return training_plan(
        job, batches, source, num_train=num_train, loss_of=loss_of, decides="auc", **more
    )


def _test_videos(config: RunConfig, _trained: Trained) -> VideoSource:
    data = _data_of(config.data, config.eval.max_proposals)
    videos = load_proposals(data, "test")
    return ProposalSource(config, config.eval, videos, data=data)


evaluate = Evaluation(run=partial(evaluated, source_of=_test_videos), has_page=True)


def load(trained: Trained, *, device: Device = "auto") -> SegmentPredictor:
    """Make the Python object for `videozoo.load`."""
    return SegmentPredictor(trained, device=device, sources_of=input_proposals)


class ProposalSource(VideoSource):
    """Videos that each have a table of proposals and a file of their features."""

    def __init__(
        self,
        config: RunConfig,
        views: SequenceViews,
        videos: ProposalVideos,
        *,
        data: ProposalData | None = None,
        with_loss: bool = False,
    ) -> None:
        """Make the source of some videos.

        Args:
            config: The configuration of the run.
            views: Its `eval` or `predict` section.
            videos: The videos.
            data: Used in place of the `data:` section of `config`.
            with_loss: Also compute the loss.
        """
        self.config, self.views, self.videos = config, views, videos
        self.annotations, self.present = videos.annotations, videos.present
        self.missing = videos.missing
        self._data: ProposalData = config.data if data is None else data
        self._with_loss = with_loss

    def batches(self, accelerator: Accelerator, *, skip_bad: bool) -> EvalLoader[ProposalBatch]:
        """The batches of this process."""
        dataset = ProposalDataset(
            self.videos,
            self._data,
            feature_dim=proposal_dim(self.config),
            matched=self._with_loss,
        )
        batch_size = self.views.batch_size
        return eval_loader(
            dataset, self._data, accelerator, batch_size=batch_size, skip_bad=skip_bad
        )

    def decode(self, batch: ProposalBatch, outputs: Tensor) -> NetworkOutput:
        """Turn the outputs of the network for a batch into scored segments."""
        return scored(batch, outputs, scoring_of(self.config).losses if self._with_loss else None)


def scored(
    batch: ProposalBatch,
    scores: Tensor,
    losses: Callable[[Tensor, Tensor, Tensor, Generator], Mapping[str, Tensor]] | None,
) -> NetworkOutput:
    """Read the outputs of the second stage; a score is the product of the scores of both stages.

    Args:
        batch: The proposals.
        scores: (N, K), from the network.
        losses: See `ProposalScoring`; None: compute no losses.
    """
    found: Mapping[str, Tensor] = {}
    if losses is not None:
        generator = generator_of(int(batch.videos[0]))
        found = losses(scores, batch.tious, batch.mask, generator)
    rows = scores.float().cpu().numpy()
    own = [row[: len(each)] for row, each in zip(rows, batch.proposals, strict=True)]
    return NetworkOutput(
        candidates=[
            Candidates(
                each.segments, each.start_scores * each.end_scores * values.astype(np.float64)
            )
            for each, values in zip(batch.proposals, own, strict=True)
        ],
        curves=[{} for _ in own],
        tables=[_table(each, values) for each, values in zip(batch.proposals, own, strict=True)],
        losses=named_losses(found),
    )


def _table(proposals: Proposals, scores: Any) -> dict[str, Any]:
    """The columns of PEM_results of the 2019 library, in its precision."""
    columns = {
        "xmin": proposals.segments[:, 0],
        "xmax": proposals.segments[:, 1],
        "xmin_score": proposals.start_scores,
        "xmax_score": proposals.end_scores,
        "iou_score": scores,
    }
    return {name: column.astype(np.float32) for name, column in columns.items()}


def proposal_dim(config: RunConfig) -> int:
    """Length of the features per proposal that the configured model reads."""
    scoring_of(config)
    return config.model.feature_dim


def scoring_of(config: RunConfig) -> ProposalScoring:
    """The description of how the configured model scores proposals."""
    if not isinstance(config.spec.task, ProposalScoring):
        raise ConfigError(f"model {config.name!r} does not score proposals")
    return config.spec.task


def _data_of(data: ProposalData, most: int | None) -> ProposalData:
    return data if most is None else data.model_copy(update={"max_proposals": most})


def input_proposals(inputs: Sequence[str], config: RunConfig) -> list[VideoSource]:
    """Find proposals to score.

    Args:
        inputs: Lists of names of videos, or two folders: of proposals and of their features. None
            given: the videos in the lists of `predict.inputs`, else all of the configured folders.
        config: The configuration of the run.

    Raises:
        DataError: An input does not exist.
    """
    views, data = config.predict, config.data
    tables: Path | None = views.proposals or data.proposals
    numbers: Path | None = views.proposal_features or data.proposal_features
    given = [Path(text) for text in inputs]
    folders = [path for path in given if path.is_dir()]
    lists = [path for path in given if not path.is_dir()]
    if len(folders) == 2:
        tables, numbers = folders
    elif folders:
        raise DataError(
            f"{folders[0]}: expected two folders, one of proposals and one of their features, or "
            "lists of names of videos"
        )
    if not given and views.inputs is not None:
        lists = [views.inputs]
    wanted: list[str] = []
    lengths: dict[str, tuple[float, Path]] = {}
    for path in lists:
        names, told = listed_videos(path)
        wanted += names
        lengths |= told
    changed = data.model_copy(update={"proposals": tables, "proposal_features": numbers})
    changed = _data_of(changed, views.max_proposals)
    videos = _videos(changed, wanted or None, lists, lengths)
    return [ProposalSource(config, views, videos, data=changed)]


def _videos(
    data: ProposalData, wanted: Sequence[str] | None, lists: Sequence[Path], lengths: Known
) -> ProposalVideos:
    """Find videos without reading their annotations."""
    files: list[dict[str, Path]] = []
    for key, suffix in (("proposals", ".csv"), ("proposal_features", ".npy")):
        folder: Path | None = getattr(data, key)
        if folder is None or not folder.is_dir():
            got = "is not set" if folder is None else f"is {folder}, which is no folder"
            raise DataError(f"data.{key} {got}; name the folder that BSN's first stage wrote")
        files.append({path.stem: path for path in sorted(folder.glob(f"*{suffix}"))})
    tables, features = files
    assert data.proposals is not None
    names = sorted(tables.keys() & features.keys()) if wanted is None else list(wanted)
    found: dict[str, tuple[Path, Path]] = {}
    missing: list[str] = []
    for name in dict.fromkeys(names):
        own = spelt_in(name, tables.keys() & features.keys())
        if own is None:
            missing.append(name)
            continue
        found[name] = tables[own], features[own]
    if missing and not found:
        raise DataError(
            f"{lists[0]}: no proposals with features of {', '.join(missing[:3])} in "
            f"{data.proposals} and {data.proposal_features}"
        )
    present = of_known_length(found, {**known_durations(data), **lengths}, lists=lists)
    if not present:
        raise DataError(f"{data.proposals}: no proposals with features here")
    annotations = Annotations(path=data.proposals, videos=tuple(present), class_names=())
    return replace(
        ProposalVideos(annotations, tuple(present), tuple(missing), {}, {}, data.proposals),
        tables={name: table for name, (table, _) in found.items()},
        features={name: array for name, (_, array) in found.items()},
    )


predict = Prediction(run=partial(predicted, sources_of=input_proposals))
export = partial(export_scorer, sources_of=input_proposals)
