"""Train a model that finds segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from torch import Generator, Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.coverage import are_of_one_file
from videozoo.data.segments import SequenceBatch, SequenceDataset, SequenceVideos
from videozoo.engine.loop import TrainResult
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import UsageError
from videozoo.tasks.common import without_absent_names
from videozoo.tasks.fitting import TrainingPlan, open_run, run_training, train_loader
from videozoo.tasks.localisation.fitting import (
    DECIDES,
    loss_function,
    refuse_settings,
    refuse_unannotated,
    say_missing,
    say_seen,
    seen_in_training,
    validation,
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


def train(
    config: RunConfig,
    request: TrainRequest,
    *,
    console: Console | None = None,
    outer: RunFolder | None = None,
) -> TrainResult:
    """Train a model as `config` says, into the folder of `request`.

    Args:
        config: The run.
        request: What was asked for.
        console: Where it speaks; standard error when None.
        outer: The folder of the run that this one is a part of.

    Raises:
        VideozooError: The data, the weights, the folder or the machine do not fit.
    """
    refuse_data(config, request)
    refuse_settings(config)
    config = without_absent_names(config)
    accelerator, out, say = open_run(config, request, console)
    localiser, shape = localiser_of(config), sequence_shape(config)
    learnt = find_videos(config, "train")
    refuse_unannotated(learnt.annotations, learnt.present, "to learn from")
    names = agreed_classes(config, learnt.annotations.class_names)
    dataset = SequenceDataset(
        learnt, shape, config.data, seed=config.train.seed, targets=targets_of(config)
    )
    batches = train_loader(dataset, config, accelerator)
    say_missing(say, "training", len(learnt.present), learnt.missing)
    held_out = held_out_videos(config, request, learnt, say)
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
        with accelerator.autocast():
            outputs = model(batch.features)
        return localiser.losses(outputs, batch.targets, generator)

    best, title = DECIDES[localiser.decides]
    plan = TrainingPlan(
        batches=batches,
        num_train=len(learnt.present),
        num_held_out=None if source is None else len(source.present),
        loss_of=loss_function(config, loss_of, accelerator),
        validate=validation(source, accelerator, localiser.decides),
        best=best,
        metric_title=title,
        class_names=names if num_classes(config) is not None else None,
        features=learnt.files.extractor,
        example=[learnt.files.path],
    )
    return run_training(config, request, plan, accelerator=accelerator, console=out, outer=outer)


def refuse_data(config: RunConfig, request: TrainRequest) -> None:
    """Raise UsageError for `--data`, which is for videos."""
    if request.data is not None:
        raise UsageError(
            f"--data is for folders of videos; {config.spec.title} learns from features: --set "
            "data.features=DIR --set data.annotations=FILE"
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
    found = find_videos(config, "val", quiet=are_of_one_file(data))
    say_missing(say, "validation", len(found.present), found.missing)
    refuse_unannotated(found.annotations, found.present, "to check with")
    num_seen = seen_in_training(found.present, (one.video for one in learnt.annotations.videos))
    say_seen(say, "validation", num_seen, len(found.present), "val_subset")
    return found
