"""Train a model of moment retrieval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from videozoo.data.moments import (
    MomentSet,
    PairBatch,
    PairDataset,
    has_part,
    load_moments,
)
from videozoo.engine.loop import Best
from videozoo.errors import counted
from videozoo.metrics.moments import mean_tiou, recall
from videozoo.tasks.common import say_not_checked
from videozoo.tasks.fitting import TrainingPlan, TrainJob, say_shared
from videozoo.tasks.moments.presence import (
    PRESENCE,
    Presence,
    learn_presence,
    parted,
    with_others,
)
from videozoo.tasks.moments.scoring import (
    origin_of,
    refuse_other_origin,
    retrieval_of,
    search,
    sentence_maker,
)
from videozoo.tasks.train import Training


def _plan(job: TrainJob) -> TrainingPlan:
    config, accelerator, say = job.config, job.accelerator, job.say
    losses, data = retrieval_of(config).losses, config.data
    visual_dim: int = config.model.visual_dim
    sentence_dim: int = config.model.sentence_dim
    make = sentence_maker(config)
    moments = load_moments(
        data, "train", visual_dim=visual_dim, sentence_dim=sentence_dim, make=make
    )
    dataset = PairDataset(moments, data, seed=config.train.seed)
    batches = job.loader(dataset)
    used = len({(video, query) for video, query, _ in dataset.pairs.table.tolist()})
    say(
        f"{counted(len(moments), 'sentence')} in {counted(len(moments.videos), 'video')}; {used} "
        f"of them have windows to learn from, {counted(len(dataset.pairs.table), 'pair')}"
    )
    for reason in moments.left_out:
        say(f"left out: {reason}")
    validates = job.request.valid_interval > 0 and has_part(data, "val")
    held_out = (
        load_moments(
            data,
            "val",
            visual_dim=visual_dim,
            sentence_dim=sentence_dim,
            make=make,
        )
        if validates
        else None
    )
    if held_out is not None:
        say_shared(
            (video.name for video in held_out.videos),
            (video.name for video in moments.videos),
            data,
            say,
        )
        refuse_other_origin(held_out, moments, say)
    for line in dict.fromkeys((*moments.notes, *(held_out.notes if held_out else ()))):
        say(f"note: {line}")

    asked = None if held_out is None else with_others(held_out)
    learnt: list[Presence] = []  # the one of the newest validation

    def loss_of(model: nn.Module, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            outputs = model(batch.visual, batch.sentences)
        parts = dict(losses(outputs, batch.offsets))
        loss, size = parts.pop("loss"), float(len(batch))
        return loss, {"total": size, **{name: each.detach() * size for name, each in parts.items()}}

    def validate(module: nn.Module) -> dict[str, float]:
        assert held_out is not None
        assert asked is not None
        size = config.eval.batch_size
        searched = search(module, data, asked, accelerator, batch_size=size, skip_bad=True)
        say_not_checked(say, searched.skipped.values())
        own, others = parted(searched, held_out)
        searches = [one.search for one in own]
        presence = learn_presence(own, others)
        learnt[:] = [] if presence is None else [presence]
        limit = config.eval.nms_limit
        recalls = {f"recall_{n}": recall(searches, n=n, threshold=0.5, limit=limit) for n in (1, 5)}
        told = {} if presence is None else {"presence": presence.balanced_accuracy}
        return {**recalls, "mean_tiou": mean_tiou(searches), **told}

    def measured(validated: bool) -> dict[str, Any]:
        return {PRESENCE: learnt[0].facts} if validated and learnt else {}

    return TrainingPlan(
        batches=batches,
        num_train=used,
        num_held_out=None if held_out is None else len(held_out),
        loss_of=loss_of,
        validate=validate,
        best=Best(name="mean_tiou"),
        metric_title="mean tIoU",
        features=origin_of(moments, sentence_dim),
        measured=measured,
        item="sentence",
        example=_example(moments if held_out is None else held_out),
    )


def _example(moments: MomentSet) -> list[str | Path]:
    """A sentence and where to look for it; where there are only its numbers, all of the file."""
    sentence = next((one.sentence for one in moments.videos[0].queries), "")
    if not sentence:
        return [moments.path]
    return ["--sentence", sentence, moments.source.path]


train = Training(
    plan=_plan,
    learns_from="annotated videos: --videos DIR --annotations FILE --encoder NAME; or from "
    "sentences and features: --set data.train=FILE --set data.features=DIR",
)
