"""Train a captioning model."""

from __future__ import annotations

import torch
from accelerate.utils import gather_object
from rich.console import Console
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.captions import (
    CaptionBatch,
    CaptionDataset,
    count_unknown,
    load_events,
)
from videozoo.engine.devices import device_batch_size
from videozoo.engine.loop import Best, TrainResult
from videozoo.errors import DataError, UsageError
from videozoo.ops.sentences import PADDING, caption_loss
from videozoo.tasks.captioning.scoring import sized, vocabulary_to_learn
from videozoo.tasks.common import speaker
from videozoo.tasks.features import refuse_other_features
from videozoo.tasks.fitting import TrainingPlan, open_run, run_training, say_shared, train_loader
from videozoo.tasks.inference import eval_loader
from videozoo.tasks.requests import TrainRequest


def train(
    config: RunConfig, request: TrainRequest, *, console: Console | None = None
) -> TrainResult:
    """Train a model as `config` says, into the folder of `request`.

    Raises:
        VideozooError: The data, the weights, the folder or the machine do not fit.
    """
    if request.data is not None:
        raise UsageError(
            f"--data is for folders of videos; {config.spec.title} learns from events and "
            "features: --set data.train=FILE --set data.features=DIR"
        )
    vocabulary = vocabulary_to_learn(config)
    config = sized(config, vocabulary, str(config.data.vocabulary or config.data.train))
    accelerator, out, say = open_run(config, request, console)
    settings, data = config.train, config.data
    world = accelerator.num_processes
    share = device_batch_size(settings, world)
    feature_dim: int = config.model.feature_dim
    events = load_events(data, "train", feature_dim=feature_dim)
    dims = {"feature_dim": feature_dim}
    dataset = CaptionDataset(events, vocabulary, data, seed=settings.seed, **dims)
    batches = train_loader(dataset, config, accelerator)
    unknown = count_unknown(events.events, vocabulary)
    if unknown.total and unknown.unknown == unknown.total:
        source = data.vocabulary or f"data.min_word_count={data.min_word_count}"
        raise DataError(
            f"{events.path}: none of its {unknown.total:,} words is in the vocabulary ({source}), "
            "so that there is nothing to learn; take another vocabulary, or a smaller "
            "data.min_word_count"
        )
    if unknown.note:
        say(f"note: {unknown.note}")
    validates = request.valid_interval > 0 and data.val is not None
    held_out = load_events(data, "val", feature_dim=feature_dim) if validates else None
    for line in dict.fromkeys((*events.notes, *(held_out.notes if held_out else ()))):
        say(f"note: {line}")
    if events.empty:
        say(f"{len(events.empty)} sentences show nothing of their video and are left out, such as:")
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
        for batch in eval_loader(checked, data, accelerator, batch_size=share, skip_bad=True):
            batch = batch.to(accelerator.device)
            with torch.inference_mode(), accelerator.autocast():
                logits = module(batch.features, batch.lengths, batch.words)
            count = int((batch.targets != PADDING).sum())
            loss += float(caption_loss(logits, batch.targets)) * count
            words += count
        parts: list[tuple[float, int]] = [(loss, words)]
        if world > 1:
            parts = gather_object(parts)
        total = sum(count for _, count in parts)
        return {"loss": sum(value for value, _ in parts) / total} if total else {}

    plan = TrainingPlan(
        batches=batches,
        num_train=len(events),
        num_held_out=None if held_out is None else len(held_out),
        loss_of=loss_of,
        validate=validate,
        best=Best(name="loss", direction="min"),
        metric_title="validation loss",
        vocabulary=vocabulary.words,
        features=events.features.extractor,
        items="sentences",
        example=[events.path if held_out is None else held_out.path],
    )
    speaker(out, accelerator)(f"vocabulary: {len(vocabulary):,} words")
    return run_training(config, request, plan, accelerator=accelerator, console=out)
