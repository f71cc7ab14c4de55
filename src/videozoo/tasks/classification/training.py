"""Train a clip model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.annotations.class_folders import folder_class_names
from videozoo.data.annotations.videos import ClipEntry, Several
from videozoo.data.clips import (
    ClipBatch,
    ClipDataset,
    has_entries,
    lists_several,
    load_entries,
    settled_first_label,
)
from videozoo.engine.loop import Best
from videozoo.errors import DataError, counted
from videozoo.ops.mixup import (
    mixed_binary_cross_entropy,
    mixed_cross_entropy,
    mixed_hits,
    mixup,
)
from videozoo.ops.pixels import normalize
from videozoo.settings.clips import ClipViews
from videozoo.tasks.balance import balance_notes, class_weights, weights_line
from videozoo.tasks.classification.labels import check_learnable, one_class_note, remarks
from videozoo.tasks.classification.lengths import CLIPS, clip_lengths
from videozoo.tasks.classification.scoring import ClipInference, ModuleScorer
from videozoo.tasks.clip_views import clip_shape, has_several_classes
from videozoo.tasks.common import configured_class_names, without_absent_names
from videozoo.tasks.fitting import TrainingPlan, TrainJob
from videozoo.tasks.inference import run
from videozoo.tasks.requests import TrainRequest
from videozoo.tasks.train import Training

_ENOUGH_CLIPS = 3000
"""From so many clips on, a network may be trained from fresh weights."""


def _configured(config: RunConfig, request: TrainRequest) -> RunConfig:
    config = for_folder(config, request.data) if request.data else config
    return _with_first_label(_with_loss(without_absent_names(config)))


def _plan(job: TrainJob) -> TrainingPlan:
    config, accelerator = job.config, job.accelerator
    settings, data = config.train, config.data
    names = configured_class_names(config)
    several = has_several_classes(config)
    kept: Several = "all" if several else "refused"
    entries = load_entries(data, "train", num_classes=config.model.num_classes, several=kept)
    check_learnable(entries, data.train)
    held_out = _validation_entries(job, kept)
    for note in one_class_note(entries, data.train) if several else ():
        job.say(f"note: {note}")
    for remark in remarks(entries, held_out or (), data.train, config.model.num_classes, names):
        job.say(f"note: {remark}")
    is_fresh = job.request.pretrain in (None, "none") and not job.request.resume
    if is_fresh and len(entries) < _ENOUGH_CLIPS:
        job.say(
            f"note: a network from fresh weights on {counted(len(entries), 'clip')}: real videos "
            "need thousands, or expect little; start from weights (--pretrain), or from features: "
            "--config probe --data FOLDER"
        )
    dataset = ClipDataset(
        entries,
        clip_shape(config),
        data,
        seed=settings.seed,
        num_classes=config.model.num_classes,
        several=several,
    )
    weights = class_weights(config, lambda: _counts(entries, config.model.num_classes), names)
    if weights is not None:
        job.say(f"class weights: {weights_line(weights, names)}")
    if data.balance:
        classes = [entry.classes or () for entry in entries]
        for note in balance_notes(config, classes, names, item="clip", each="video"):
            job.say(f"note: {note}")
    factors = None if weights is None else torch.tensor(weights, device=accelerator.device)
    mixed_loss = mixed_binary_cross_entropy if several else mixed_cross_entropy

    def loss_of(model: nn.Module, batch: ClipBatch) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
        clips = normalize(batch.clips, data.mean, data.std)
        clips, labels = mixup(clips, batch.labels, settings.mixup_alpha)
        with accelerator.autocast():
            logits = model(clips)
        # cross-entropy in fp32: in bf16 its small differences drown
        loss = mixed_loss(
            logits.float(),
            labels,
            label_smoothing=settings.label_smoothing,
            class_weights=factors,
        )
        hits = mixed_hits(logits, labels)
        return loss, {"total": float(len(batch)), "hit_at_one" if several else "top1": hits}

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        inference = ClipInference(
            ModuleScorer(module, data, accelerator, several),
            config,
            held_out,
            accelerator,
            views=ClipViews(batch_size=job.batch_size),
        )
        counter = run(inference, accelerator, keep=False).counter
        return counter.summary() if counter.total else {}

    lengths = clip_lengths(entries)
    return TrainingPlan(
        batches=job.loader(dataset),
        num_train=len(entries),
        num_held_out=None if held_out is None else len(held_out),
        loss_of=loss_of,
        validate=validate,
        best=Best(name="map" if several else "top1"),
        metric_title="MAP" if several else "top-1",
        class_names=names,
        measured=lambda _validated: {} if lengths is None else {CLIPS: lengths.facts},
        example=[(held_out or entries)[0].path],
    )


train = Training(plan=_plan, configured=_configured)


def for_folder(config: RunConfig, folder: Path) -> RunConfig:
    """Point a configuration at a folder with one folder of videos per class.

    The number of classes becomes that of the folder, unless the command line sets it.
    """
    names = folder_class_names(folder)
    changes: dict[str, Any] = {
        "data.format": "folder",
        "data.train": folder,
        "data.val": None,
        "data.test": None,
        "data.class_names": None,
    }
    origin = config.origins.get("model.num_classes", "")
    if not origin.startswith("--"):
        changes["model.num_classes"] = len(names)
    return config.replace("--data", changes)


def _with_loss(config: RunConfig) -> RunConfig:
    """Settle whether a video may have several classes, and keep it with the run."""
    if config.train.loss != "auto":  # pyright: ignore[reportAttributeAccessIssue]
        return config
    line = lists_several(config.data, config.model.num_classes)
    changed = config.replace("", {"train.loss": "sigmoid" if line else "softmax"})
    note = f"{line}: a score per class (train.loss is sigmoid)"
    return replace(changed, notes=(*config.notes, *([note] if line else ())))


def _with_first_label(config: RunConfig) -> RunConfig:
    """Keep the number of the first class with the run, so that its other lists are read alike."""
    first, remark = settled_first_label(
        config.data, config.model.num_classes, has_several=has_several_classes(config)
    )
    if first == config.data.first_label:
        return config
    changed = config.replace("", {"data.first_label": first})
    return replace(changed, notes=(*config.notes, *([remark] if remark else ())))


def _counts(entries: Sequence[ClipEntry], num_classes: int) -> list[int]:
    """Videos of each class.

    Raises:
        DataError: Some class is not known before its video is opened.
    """
    unknown = next((entry for entry in entries if entry.classes is None), None)
    if unknown is not None:
        raise DataError(
            f"{unknown.name}: its class is not in the list but in the file, so that classes cannot "
            "be counted before; name the weights in a file (train.class_weights=FILE)"
        )
    counts = Counter(label for entry in entries for label in entry.classes or ())
    return [counts[label] for label in range(num_classes)]


def _validation_entries(job: TrainJob, several: Several) -> list[ClipEntry] | None:
    data = job.config.data
    if job.request.valid_interval == 0 or not has_entries(data, "val"):
        return None
    return load_entries(data, "val", num_classes=job.config.model.num_classes, several=several)
