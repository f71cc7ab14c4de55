"""Train a model that finds segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Generator, Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.coverage import has_one_annotations_file
from videozoo.data.segment_windows import WindowDataset, find_windows
from videozoo.data.segments import SequenceBatch, SequenceDataset, SequenceVideos
from videozoo.tasks.common import without_absent_names
from videozoo.tasks.fitting import TrainingPlan, TrainJob
from videozoo.tasks.localisation.fitting import (
    FEATURES,
    check_held_out,
    refuse_settings,
    refuse_unannotated,
    say_missing,
    training_plan,
)
from videozoo.tasks.localisation.lengths import (
    check_windows_to_learn,
    lengths_learnt,
    step_notes,
    window_notes,
)
from videozoo.tasks.localisation.sources import (
    FeatureSource,
    agreed_classes,
    find_videos,
    localiser_of,
    num_classes,
    sequence_shape,
    targets_of,
    with_class_numbers,
)
from videozoo.tasks.requests import TrainRequest
from videozoo.tasks.train import Training
from videozoo.types import SequenceShape


def _configured(config: RunConfig, _request: TrainRequest) -> RunConfig:
    refuse_settings(config)
    return without_absent_names(config)


def _plan(job: TrainJob) -> TrainingPlan:
    config = job.config
    localiser, shape = localiser_of(config), sequence_shape(config)
    learnt = find_videos(config, "train")
    refuse_unannotated(learnt, "to learn from")
    names = agreed_classes(config, learnt.annotations.class_names)
    dataset = _dataset(config, learnt, shape)
    batches = job.loader(dataset)
    say_missing(job.say, "training", learnt)
    windows = dataset.windows if isinstance(dataset, WindowDataset) else None
    if isinstance(dataset, WindowDataset):
        _note(job, window_notes(dataset, shape.num_steps))
    _note(job, step_notes(learnt, shape.num_steps, windows))
    held_out = held_out_videos(config, job.request, learnt, job.say)
    source = None
    if held_out is not None:
        if num_classes(config) is not None:
            annotations = with_class_numbers(held_out.annotations, names)
            held_out = SequenceVideos(
                annotations, held_out.files, held_out.present, held_out.missing
            )
        source = FeatureSource(config, config.eval, held_out, with_loss=localiser.decides == "loss")

    def loss_of(
        model: nn.Module, batch: SequenceBatch, generator: Generator
    ) -> Mapping[str, Tensor]:
        with job.accelerator.autocast():
            outputs = model(batch.features)
        return localiser.losses(outputs, batch.targets, generator)

    def measured(_validated: bool) -> Mapping[str, Any]:
        return lengths_learnt(learnt)

    return training_plan(
        job,
        batches,
        source,
        num_train=len(dataset),
        item=dataset.item,
        loss_of=loss_of,
        decides=localiser.decides,
        class_names=names if num_classes(config) is not None else None,
        features=learnt.files.extractor,
        measured=measured,
        example=[learnt.files.path],
    )


def _note(job: TrainJob, lines: Iterable[str]) -> None:
    for line in lines:
        job.say(f"note: {line}")


def _dataset(config: RunConfig, learnt: SequenceVideos, shape: SequenceShape) -> SequenceDataset:
    """The whole videos, or their windows."""
    seed, targets = config.train.seed, targets_of(config)
    if config.data.window_seconds is None:
        return SequenceDataset(learnt, shape, config.data, seed=seed, targets=targets)
    windows = find_windows(learnt, config.data)
    check_windows_to_learn(windows)
    return WindowDataset(windows, shape, seed=seed, targets=targets, training=True)


train = Training(
    plan=_plan,
    configured=_configured,
    learns_from="annotated videos: --videos DIR --annotations FILE --encoder NAME; or from "
    + FEATURES,
)


def held_out_videos(
    config: RunConfig,
    request: TrainRequest,
    learnt: SequenceVideos,
    say: Callable[[str], None],
) -> SequenceVideos | None:
    """Find the videos to check with; None where there are none apart from those to learn from."""
    if request.valid_interval <= 0:
        return None
    data = config.data
    if data.val_annotations is None and all(v.subset is None for v in learnt.annotations.videos):
        say(
            f"note: {learnt.annotations.path} names no subsets, so there is no validation; name "
            "other annotations in data.val_annotations"
        )
        return None
    found = find_videos(config, "val", quiet=has_one_annotations_file(data))
    check_held_out(found, learnt, say)
    return found
