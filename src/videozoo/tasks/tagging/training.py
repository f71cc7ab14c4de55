"""Train a tagging model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from videozoo.data.labelled_videos import groups_of, is_drawn, labelled_videos
from videozoo.data.tags import (
    FeatureBatch,
    FeatureDataset,
    has_records,
    load_records,
)
from videozoo.engine.loop import Best
from videozoo.errors import DataError, counted
from videozoo.ops.linear_heads import Loss
from videozoo.settings.tags import FeatureData
from videozoo.tasks.common import configured_class_names
from videozoo.tasks.features import refuse_other_features
from videozoo.tasks.fitting import TrainingPlan, TrainJob, say_shared
from videozoo.tasks.tagging.labels import check_labels, refuse_other_numbers
from videozoo.tasks.tagging.scoring import (
    feature_shape,
    label_loss,
    model_inputs,
    one_class_each,
    score_records,
    tagging_of,
)
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
        one_class=one_class_each(config),
        class_names=names,
    )
    checked = learnt
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
            one_class=one_class_each(config),
        )
        refuse_other_numbers(checked, learnt, shape)
        say_shared(checked.names, learnt.names, data, say)
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
        loss = label_loss(logits.float(), labels, one_class=one_class).mean()
        if over_batch == "sum":
            loss = loss * settings.batch_size  # of all devices, whose gradients are averaged
        hits = batch.labels.gather(1, logits.argmax(1, keepdim=True)).sum()
        return loss, {"total": float(len(batch)), "top1" if one_class else "hit_at_one": hits}

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        found = score_records(module, config, config.eval, held_out, accelerator, labelled=True)
        return found.counter.summary() if found.counter.metrics.videos else {}

    def prepare(module: nn.Module) -> None:
        _refuse_single(module, min(job.batch_size, len(records)))

    judged: dict[str, Any] = {}

    def solved(module: nn.Module) -> Mapping[str, Any]:
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
        found = score_records(module, config, config.eval, held_out, accelerator, labelled=True)
        metrics = found.counter.summary()
        sure = certainty(metrics, checked.counts)
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
    return TrainingPlan(
        batches=batches,
        num_train=len(records),
        num_held_out=None if held_out is None else len(held_out),
        loss_of=loss_of,
        validate=checked_once if is_solved else validate,
        solve=solved if is_solved else None,
        measured=lambda _validated: {"cross_validation": judged} if judged else {},
        best=Best(name="top1" if one_class else "gap"),
        metric_title="top-1" if one_class else "GAP",
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
