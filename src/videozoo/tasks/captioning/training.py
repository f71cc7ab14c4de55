"""Train a captioning model."""

from __future__ import annotations

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from videozoo.data.captions import (
    CaptionBatch,
    CaptionDataset,
    count_unknown,
    load_events,
)
from videozoo.engine.loop import Best
from videozoo.errors import DataError, counted
from videozoo.ops.sentences import PADDING, caption_loss
from videozoo.tasks.captioning.scoring import sized, vocabulary_to_learn
from videozoo.tasks.common import say_not_checked
from videozoo.tasks.features import refuse_other_features
from videozoo.tasks.fitting import TrainingPlan, TrainJob, say_shared
from videozoo.tasks.inference import eval_loader
from videozoo.tasks.train import Training


def _plan(job: TrainJob) -> TrainingPlan:
    data, accelerator, say = job.config.data, job.accelerator, job.say
    vocabulary = vocabulary_to_learn(job.config)
    config = sized(job.config, vocabulary, str(data.vocabulary or data.train))
    feature_dim: int = config.model.feature_dim
    events = load_events(data, "train", feature_dim=feature_dim)
    dims = {"feature_dim": feature_dim}
    dataset = CaptionDataset(events, vocabulary, data, seed=config.train.seed, **dims)
    batches = job.loader(dataset)
    unknown = count_unknown(events.events, vocabulary)
    if unknown.total and unknown.unknown == unknown.total:
        source = data.vocabulary or f"data.min_word_count={data.min_word_count}"
        raise DataError(
            f"{events.path}: none of its {counted(unknown.total, 'word')} is in the vocabulary "
            f"({source}), so that there is nothing to learn; take another vocabulary, or a smaller "
            "data.min_word_count"
        )
    if unknown.note:
        say(f"note: {unknown.note}")
    validates = job.request.valid_interval > 0 and data.val is not None
    held_out = load_events(data, "val", feature_dim=feature_dim) if validates else None
    for line in dict.fromkeys((*events.notes, *(held_out.notes if held_out else ()))):
        say(f"note: {line}")
    if events.empty:
        count = counted(len(events.empty), "sentence")
        say(f"left out: {count} without a part of the video, such as:")
        say(f"  {events.empty[0]}")
    if held_out is not None:
        say_shared(
            (one.video for one in held_out.events),
            (one.video for one in events.events),
            data,
            say,
        )
        refuse_other_features(
            held_out.features.extractor,
            events.features.extractor,
            "data.val",
            "data.train",
            say=say,
        )

    def loss_of(model: nn.Module, batch: CaptionBatch) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            logits = model(batch.features, batch.lengths, batch.words)
        known = batch.targets != PADDING
        hits = (logits.argmax(2).eq(batch.targets) & known).sum()
        return caption_loss(logits, batch.targets), {
            "total": float(known.sum()),
            "next_word": hits,
        }

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        loss, words = 0.0, 0
        checked = CaptionDataset(held_out, vocabulary, data, **dims)
        loader = eval_loader(checked, data, accelerator, batch_size=job.batch_size, skip_bad=True)
        for batch in loader:
            batch = batch.to(accelerator.device)
            with torch.inference_mode(), accelerator.autocast():
                logits = module(batch.features, batch.lengths, batch.words)
            count = int((batch.targets != PADDING).sum())
            loss += float(caption_loss(logits, batch.targets)) * count
            words += count
        parts: list[tuple[float, int, dict[int, str]]] = [(loss, words, loader.skipped)]
        if accelerator.num_processes > 1:
            parts = gather_object(parts)
        say_not_checked(say, {n: why for part in parts for n, why in part[2].items()}.values())
        total = sum(count for _, count, _ in parts)
        return {"loss": sum(value for value, _, _ in parts) / total} if total else {}

    say(f"vocabulary: {counted(len(vocabulary), 'word')}")
    return TrainingPlan(
        config=config,
        batches=batches,
        num_train=len(events),
        num_held_out=None if held_out is None else len(held_out),
        loss_of=loss_of,
        validate=validate,
        best=Best(name="loss", direction="min"),
        metric_title="validation loss",
        vocabulary=vocabulary.words,
        features=events.features.extractor,
        item="sentence",
        example=[events.path if held_out is None else held_out.path],
    )


train = Training(
    plan=_plan,
    learns_from="annotated videos: --videos DIR --annotations FILE --encoder NAME; or from "
    "events and features: --set data.train=FILE --set data.features=DIR",
)
