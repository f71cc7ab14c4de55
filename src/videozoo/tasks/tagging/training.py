"""Train a tagging model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.features.records import MOST_LOADED_BYTES, RecordSet
from videozoo.data.label_index import RatedIndex, label_index
from videozoo.data.labelled_videos import groups_of, is_drawn, labelled_videos
from videozoo.data.record_survey import Survey, survey
from videozoo.data.tag_segments import RatedSegments, check_rate
from videozoo.data.tags import (
    FeatureBatch,
    FeatureDataset,
    has_records,
    load_records,
)
from videozoo.engine.loop import Best
from videozoo.errors import ConfigError, DataError, counted, few
from videozoo.ops.linear_heads import Loss
from videozoo.settings.shared import Part
from videozoo.settings.tags import FeatureData
from videozoo.tasks.balance import balance_notes, class_weights, weights_line
from videozoo.tasks.common import configured_class_names
from videozoo.tasks.features import refuse_other_features
from videozoo.tasks.fitting import TrainingPlan, TrainJob, say_shared
from videozoo.tasks.tagging.labels import check_labels, check_ratings, refuse_other_numbers
from videozoo.tasks.tagging.scoring import (
    feature_shape,
    label_loss,
    model_inputs,
    one_class_each,
    score_records,
    tagging_of,
)
from videozoo.tasks.tagging.segment_scoring import check_segments_fit, score_segments
from videozoo.tasks.tagging.solving import (
    MOTION_ADVICE,
    SCENES_ADVICE,
    certainty,
    figure,
    is_little,
    judge,
    pooled,
    solve,
)
from videozoo.tasks.train import Training


@dataclass(frozen=True)
class _Checked:
    """The records of one part of the data, checked."""

    records: RecordSet
    labels: Survey
    """Of whole videos; with `data.segments` only streams and names matter."""
    index: RatedIndex | None = None
    """With `data.segments`."""

    @property
    def total(self) -> int:
        """Items: videos or segments."""
        return len(self.records if self.index is None else self.index)


def _checked(job: TrainJob, part: Part, names: Sequence[str] | None) -> _Checked:
    """Open one part of the data; note what is odd, refuse what cannot be used."""
    config, data, shape = job.config, job.config.data, feature_shape(job.config)
    classes: int = config.model.num_classes
    records = load_records(data, part, strict=not data.is_raw)
    if not data.segments:
        found = check_labels(
            records,
            f"data.{part}",
            job.say,
            num_classes=classes,
            shape=shape,
            most_frames=data.max_frames,
            one_class=one_class_each(config),
            class_names=names if part == "train" else None,
        )
        return _Checked(records, found)
    check_rate(records)
    index = check_ratings(
        records,
        f"data.{part}",
        job.say,
        num_classes=classes,
        shape=shape,
        data=data,
        class_names=names,
    )
    too_many = len(index.problems) > data.bad_video_share * len(records)
    if too_many and part == "train":
        raise DataError(
            f"{len(index.problems)} of {counted(len(records), 'record')} to learn from cannot be "
            f"used, more than data.bad_video_share={data.bad_video_share:g} allows:\n  "
            + few(index.problems.values(), between="\n  ")
        )
    return _Checked(records, survey(records, shape=shape), index)


def _refuse_for_solved(config: RunConfig) -> None:
    """Refuse what a model that is solved in place of trained cannot do.

    Raises:
        ConfigError: It is asked for.
    """
    asked = {
        "data.segments": config.data.segments,
        "data.balance": config.data.balance,
        "train.class_weights": config.train.class_weights is not None,  # pyright: ignore[reportAttributeAccessIssue]
    }
    for name, is_set in asked.items():
        if is_set and tagging_of(config).is_solved:
            raise ConfigError(
                f"{name}: {config.spec.title} is solved from all videos at once, each with the "
                "same weight and all its classes; this setting is for models that are trained, "
                "such as attention_lstm, attention_cluster and nextvlad"
            )


def _dataset(
    job: TrainJob, learnt: _Checked, names: Sequence[str] | None
) -> FeatureDataset | RatedSegments:
    """What is learnt from, and what is said of balancing it."""
    config, data, shape = job.config, job.config.data, feature_shape(job.config)
    classes: int = config.model.num_classes
    item = "video" if learnt.index is None else "segment"
    own: Sequence[Sequence[int]] | None = None
    if data.balance:
        loaded = sum(file.loaded_bytes for file in learnt.records.files)
        if loaded > MOST_LOADED_BYTES:
            raise DataError(
                "data.balance: draws videos from all files at once, and pickles of "
                f"{loaded / 1e9:.1f} GB can only be read whole; convert them first: videozoo "
                "prepare youtube8m"
            )
        own = label_index(learnt.records).labels if learnt.index is None else learnt.index.rated
        for note in balance_notes(config, own, names, item=item, each=item):
            job.say(f"note: {note}")
    if learnt.index is not None:
        return RatedSegments(
            learnt.records, learnt.index, shape, data, num_classes=classes, seed=config.train.seed
        )
    return FeatureDataset(
        learnt.records, shape, data, seed=config.train.seed, num_classes=classes, classes=own
    )


def _weights(job: TrainJob, learnt: _Checked, names: Sequence[str] | None) -> Tensor | None:
    """Factors on the loss of each class, on the device; None where all are 1."""
    index, classes = learnt.index, job.config.model.num_classes

    def counts() -> list[int]:
        return (label_index(learnt.records) if index is None else index).counts(classes)

    weights = class_weights(job.config, counts, names)
    if weights is None:
        return None
    job.say(f"class weights: {weights_line(weights, names)}")
    return torch.tensor(weights, device=job.accelerator.device)


def _plan(job: TrainJob) -> TrainingPlan:
    config, accelerator, say = job.config, job.accelerator, job.say
    settings, data, shape = config.train, config.data, feature_shape(config)
    classes: int = config.model.num_classes
    _refuse_for_solved(config)
    if data.segments:
        check_segments_fit(config)
    names = configured_class_names(config)
    learnt = _checked(job, "train", names)
    records = learnt.records
    dataset = _dataset(job, learnt, names)
    factors = _weights(job, learnt, names)
    batches = job.loader(dataset)
    validates = job.request.valid_interval > 0 and has_records(data, "val")
    held_out = _checked(job, "val", names) if validates else None
    checked = held_out or learnt
    if held_out is not None:
        refuse_other_features(
            held_out.records.extractor, records.extractor, "data.val", "data.train", say=say
        )
        refuse_other_numbers(held_out.labels, learnt.labels, shape)
        say_shared(held_out.labels.names, learnt.labels.names, data, say)
    over_batch, one_class = tagging_of(config).loss_over_batch, one_class_each(config)

    def loss_of(model: nn.Module, batch: FeatureBatch) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            logits = model(*model_inputs(batch, shape.streams))
        assert batch.labels is not None
        labels = batch.labels
        if settings.label_smoothing:
            spread = settings.label_smoothing / (classes if one_class else 2)
            labels = labels * (1 - settings.label_smoothing) + spread
        loss = label_loss(
            logits.float(),
            labels,
            one_class=one_class,
            rated=batch.rated,
            class_weights=factors,
        ).mean()
        if over_batch == "sum":
            loss = loss * settings.batch_size  # of all devices, whose gradients are averaged
        counts: dict[str, Tensor | float] = {"total": float(len(batch))}
        if batch.rated is None:  # the best class of a segment is hardly ever rated
            hits = batch.labels.gather(1, logits.argmax(1, keepdim=True)).sum()
            counts["top1" if one_class else "hit_at_one"] = hits
        return loss, counts

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        part = held_out.records
        if held_out.index is not None:
            index = held_out.index
            rated = score_segments(module, config, config.eval, part, accelerator, index=index)
            return rated.counter.summary() if rated.counter.segments else {}
        found = score_records(module, config, config.eval, part, accelerator, labelled=True)
        return found.counter.summary() if found.counter.metrics.videos else {}

    def prepare(module: nn.Module) -> None:
        _refuse_single(module, min(job.batch_size, learnt.total))

    judged: dict[str, Any] = {}

    def solved(module: nn.Module) -> Mapping[str, Any]:
        assert isinstance(dataset, FeatureDataset)
        loss: Loss = "softmax" if one_class else "sigmoid"
        found, bad = pooled(
            module,
            dataset,
            shape.streams,
            accelerator.device,
            bad_video_share=data.bad_video_share,
        )
        for line in bad:
            say(f"left out: {line}")
        groups = None if data.groups is None else groups_of(found.names, data.groups)
        verdict = judge(
            module, found, loss, groups=groups, seed=settings.seed, top_k=config.eval.top_k
        )
        solve(module, found, loss, verdict.penalty)
        say(verdict.line("top-1" if one_class else "GAP"))
        if held_out is None and is_little(verdict.value, verdict.interval, verdict.chance):
            say(f"note: {MOTION_ADVICE}")
        judged.update(verdict.facts())
        return {f"cv_{key}": value for key, value in verdict.facts().items()}

    def checked_once(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        part = held_out.records
        found = score_records(module, config, config.eval, part, accelerator, labelled=True)
        metrics = found.counter.summary()
        sure = certainty(metrics, checked.labels.counts)
        if sure:
            text = figure(metrics["top1"], sure["interval"], sure["chance"], sure["videos"])
            say(f"on the {counted(sure['videos'], 'held-out video')}: top-1 {text}")
            interval = judged.get("interval", (0.0, 1.0))
            if is_little(metrics["top1"], sure["interval"], sure["chance"]) or is_little(
                judged.get("value"), interval, judged.get("chance")
            ):
                say(f"note: {MOTION_ADVICE}")
            drawn = data.is_raw and is_drawn(data)
            if drawn and judged.get("by_name") and sure["interval"][0] > interval[1]:
                say(f"note: {SCENES_ADVICE}")
        elif "gap" in metrics:
            say(f"on the held-out videos: GAP {100 * metrics['gap']:.1f} %")
        return metrics

    is_solved = tagging_of(config).is_solved
    decides = "map" if data.segments else "top1" if one_class else "gap"
    return TrainingPlan(
        batches=batches,
        num_train=learnt.total,
        num_held_out=None if held_out is None else held_out.total,
        loss_of=loss_of,
        validate=checked_once if is_solved else validate,
        solve=solved if is_solved else None,
        measured=lambda _validated: {"cross_validation": judged} if judged else {},
        best=Best(name=decides),
        metric_title={"top1": "top-1", "gap": "GAP", "map": "MAP"}[decides],
        class_names=names,
        features=records.extractor,
        prepare=prepare,
        item="segment" if data.segments else "record",
        example=[_example(data, held_out is not None)],
    )


def _example(data: FeatureData, has_held_out: bool) -> Path:
    """Something to predict on."""
    if not data.is_raw:
        path = data.val if has_held_out else data.train
        assert path is not None
        return path
    return labelled_videos(data, "val" if has_held_out else "train")[0].path


train = Training(plan=_plan, learns_from="features: --set data.train=PATH")


def _refuse_single(module: nn.Module, batch_size: int) -> None:
    """Refuse batches of one record where their spread is taken."""
    if batch_size == 1 and any(isinstance(part, nn.BatchNorm1d) for part in module.modules()):
        raise DataError(
            "a batch of one record: this model normalises over the batch and needs two or more; "
            "raise train.batch_size (it is divided among the devices), or add records"
        )
