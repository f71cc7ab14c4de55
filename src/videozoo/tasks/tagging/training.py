"""Train a tagging model."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from videozoo.data.labelled_videos import labelled_videos
from videozoo.data.tags import (
    FeatureBatch,
    FeatureDataset,
    has_records,
    load_records,
)
from videozoo.engine.loop import Best
from videozoo.errors import DataError
from videozoo.ops.frames import multi_label_loss
from videozoo.settings.tags import FeatureData
from videozoo.tasks.common import configured_class_names
from videozoo.tasks.features import refuse_other_features
from videozoo.tasks.fitting import TrainingPlan, TrainJob, say_shared
from videozoo.tasks.tagging.labels import check_labels, refuse_other_numbers
from videozoo.tasks.tagging.scoring import feature_shape, model_inputs, score_records, tagging_of
from videozoo.tasks.train import Training


def _plan(job: TrainJob) -> TrainingPlan:
    config, accelerator, say = job.config, job.accelerator, job.say
    settings, data, shape = config.train, config.data, feature_shape(config)
    classes: int = config.model.num_classes
    records = load_records(data, "train", strict=not data.is_raw)
    dataset = FeatureDataset(records, shape, data, seed=settings.seed, num_classes=classes)
    batches = job.loader(dataset)
    validates = job.request.valid_interval > 0 and has_records(data, "val")
    held_out = load_records(data, "val", strict=not data.is_raw) if validates else None
    names = configured_class_names(config)
    learnt = check_labels(
        records,
        "data.train",
        say,
        num_classes=classes,
        shape=shape,
        most_frames=data.max_frames,
        class_names=names,
    )
    if held_out is not None:
        refuse_other_features(
            held_out.extractor, records.extractor, "data.val", "data.train", say=say
        )
        checked = check_labels(
            held_out,
            "data.val",
            say,
            num_classes=classes,
            shape=shape,
            most_frames=data.max_frames,
        )
        refuse_other_numbers(checked, learnt, shape)
        say_shared(checked.names, learnt.names, data, say)
    over_batch = tagging_of(config).loss_over_batch

    def loss_of(model: nn.Module, batch: FeatureBatch) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            logits = model(*model_inputs(batch, shape.streams))
        assert batch.labels is not None
        labels = batch.labels
        if settings.label_smoothing:
            labels = labels * (1 - settings.label_smoothing) + settings.label_smoothing / 2
        loss = multi_label_loss(logits.float(), labels).mean()
        if over_batch == "sum":
            loss = loss * settings.batch_size  # of all devices, whose gradients are averaged
        hits = batch.labels.gather(1, logits.argmax(1, keepdim=True)).sum()
        return loss, {"total": float(len(batch)), "hit_at_one": hits}

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        found = score_records(module, config, config.eval, held_out, accelerator, labelled=True)
        return found.counter.summary() if found.counter.metrics.videos else {}

    def prepare(module: nn.Module) -> None:
        _refuse_single(module, min(job.batch_size, len(records)))

    return TrainingPlan(
        batches=batches,
        num_train=len(records),
        num_held_out=None if held_out is None else len(held_out),
        loss_of=loss_of,
        validate=validate,
        best=Best(name="gap"),
        metric_title="GAP",
        class_names=names,
        features=records.extractor,
        prepare=prepare,
        item="record",
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
