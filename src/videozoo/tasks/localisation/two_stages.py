"""Train, evaluate and predict with networks of two stages (BSN), without files in between.

A run folder holds one run per stage::

    RUN/config.yaml        the configuration of both
    RUN/first/             the network that scores steps; a run of its own, as of `bsn_tem`
    RUN/second/            the network that scores proposals; a run of its own, as of `bsn_pem`
    RUN/best.safetensors   the weights of both, after training
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.loader import EvalLoader, Reading
from videozoo.data.proposals import MemoryProposals, ProposalBatch, ProposedVideo
from videozoo.data.segment_windows import annotation_inside
from videozoo.data.segments import SequenceBatch, SequenceVideos
from videozoo.engine.loop import TrainResult
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.settings import TwoStageTrainSettings
from videozoo.errors import ConfigError, RunError, UsageError
from videozoo.ops.windows import Window
from videozoo.settings.segments import ProposalData, SequenceViews
from videozoo.tasks import localisation
from videozoo.tasks.building import build
from videozoo.tasks.fitting import TrainJob, run_training
from videozoo.tasks.inference import eval_loader, run
from videozoo.tasks.loading import resolve_weights, save_trained
from videozoo.tasks.localisation import SegmentPredictor, evaluate, export, load, predict
from videozoo.tasks.localisation.fitting import refuse_settings
from videozoo.tasks.localisation.proposal_scoring import scored, scoring_of, scoring_plan
from videozoo.tasks.localisation.score_files import proposals_of
from videozoo.tasks.localisation.scoring import NetworkOutput, VideoSource
from videozoo.tasks.localisation.sources import FeatureSource, find_videos, generation_of
from videozoo.tasks.localisation.training import held_out_videos
from videozoo.tasks.next_steps import after_training
from videozoo.tasks.requests import TrainRequest
from videozoo.tasks.starting import FRESH
from videozoo.types import ProposalGeneration, TwoStageLocalisation
from videozoo.weights.files import read_weights
from videozoo.weights.fit import load_state

__all__ = ["SegmentPredictor", "evaluate", "export", "load", "predict", "train"]

FIRST, SECOND = "first", "second"
_MOST_WINDOWS = 10**9  # more than any video has: makes one number of a video and a window


def train(
    config: RunConfig, request: TrainRequest, *, console: Console | None = None
) -> TrainResult:
    """Train both stages as `config` says, one after the other, into the folder of `request`.

    Raises:
        VideozooError: The data, the weights, the folder or the machine do not fit.
    """
    localisation.train.refuse_data(config, request)
    refuse_settings(config)
    task = _task_of(config)
    if request.pretrain not in (None, FRESH) and not request.pretrain_or_fresh:
        raise UsageError(
            f"--pretrain: {config.spec.title} trains two networks; to start from weights, train "
            f"{task.first.model} and {task.second.model} by themselves"
        )
    first, second = _stages(config)
    job = TrainJob.open(replace(config, notes=()), request, console)
    accelerator, say = job.accelerator, job.say
    path = request.save_dir
    if request.resume and not (path / "config.yaml").is_file():
        raise RunError(f"{path}: holds no run; start a new run there without --resume")
    folder = RunFolder.create(
        path,
        resume=request.resume,
        overwrite=request.overwrite,
        accelerator=accelerator,
        config=config.to_yaml(),
        is_whole=False,
    )

    say(f"stage 1 of 2: {first.spec.title}")
    localisation.train(
        replace(first, notes=config.notes),
        _request_of(request, FIRST),
        console=console,
        outer=folder,
    )
    say(f"stage 2 of 2: {second.spec.title}")
    result = _train_second(first, second, _request_of(request, SECOND), console, folder)
    learnt = read_weights(resolve_weights(str(path / FIRST)))[1]
    extractor = learnt.get("features")
    if accelerator.is_main_process:
        module = build(config)
        for stage, name in ((FIRST, task.first.part), (SECOND, task.second.part)):
            weights = resolve_weights(str(path / stage))
            load_state(module.get_submodule(name), read_weights(weights)[0], source=weights)
        facts = {"auc": result.best, "epoch": result.best_epoch}

        def save(aside: Path) -> None:
            measured = learnt.get("measured") or {}
            save_trained(aside, module, config, None, facts, extractor, measured=measured)

        folder.save_best(save)
    accelerator.wait_for_everyone()
    say(f"both stages: {path / 'best.safetensors'}")
    for line in after_training(
        config, path, example=[config.data.features], with_eval=True, features=extractor
    ):
        say(line)
    return replace(result, path=path, weights=path / "best.safetensors")


def _stages(config: RunConfig) -> tuple[RunConfig, RunConfig]:
    """The run of each stage by itself."""
    assert isinstance(config.train, TwoStageTrainSettings)  # as config.SECTIONS has it
    settings = config.train.stages()
    shared = {
        key: value
        for key, value in config.data.model_dump().items()
        if key in ProposalData.model_fields
    }
    task = _task_of(config)
    models = [(each.model, getattr(config.model, each.part)) for each in (task.first, task.second)]
    first = RunConfig(*models[0], config.data, settings[0], config.eval, config.predict)
    data = ProposalData(**shared, max_proposals=generation_of(first).most)
    return first, RunConfig(*models[1], data, settings[1], config.eval, config.predict)


def _task_of(config: RunConfig) -> TwoStageLocalisation:
    if not isinstance(config.spec.task, TwoStageLocalisation):
        raise ConfigError(f"model {config.name!r} is not one of two stages")
    return config.spec.task


def _request_of(request: TrainRequest, stage: str) -> TrainRequest:
    """The same request for one stage; a stage that has not begun begins, also with --resume."""
    path = request.save_dir / stage
    request = replace(request, is_stage=True, pretrain=None)
    if not request.resume:
        return replace(request, save_dir=path, overwrite=False)
    begun = RunFolder(path).last() is not None
    held = path.exists()
    return replace(request, save_dir=path, resume=begun, overwrite=held and not begun)


# --- the second stage, in memory -------------------------------------------------------------


def _train_second(
    first: RunConfig,
    second: RunConfig,
    request: TrainRequest,
    console: Console | None,
    outer: RunFolder,
) -> TrainResult:
    job = TrainJob.open(second, request, console)
    accelerator, options = job.accelerator, generation_of(first)
    weights = resolve_weights(str(request.save_dir.parent / FIRST))
    module = build(first)
    load_state(module, read_weights(weights)[0], source=weights)
    module.to(accelerator.device).eval()
    learnt = find_videos(first, "train", quiet=True)  # the first stage warned already
    held_out = held_out_videos(first, request, learnt, lambda _text: None)
    job.say(f"proposals of {len(learnt.present)} videos, from {weights}")
    found = _first_stage_proposals(module, first, learnt, options, accelerator, training=True)
    batches = job.loader(MemoryProposals(found, seed=second.train.seed), Reading())
    source = None
    if held_out is not None:
        checked = _first_stage_proposals(
            module, first, held_out, options, accelerator, training=False
        )
        source = MemoryProposalSource(
            second, second.eval, held_out.annotations, checked, present=held_out.present
        )
    plan = scoring_plan(
        job,
        batches,
        source,
        num_train=len(found),
        features=learnt.files.extractor,
        item="video" if found[0].window is None else "window",
    )
    return run_training(job, plan, outer=outer)


def _first_stage_proposals(
    module: nn.Module,
    config: RunConfig,
    videos: SequenceVideos,
    options: ProposalGeneration,
    accelerator: Accelerator,
    *,
    training: bool,
) -> list[ProposedVideo]:
    """The proposals of the first stage for some videos; all processes share work and result.

    Of windows, they are those of the windows to learn from in training, else of all windows.
    """
    source = FeatureSource(config, config.eval, videos)
    if training:
        options = options.model_copy(update={"most": options.most_in_training})
        if source.windows is not None:
            source.read_only(source.windows.with_actions)
    batches = source.batches(accelerator, skip_bad=True)
    stage = _FirstStage(module, source, batches, accelerator, options)
    return list(run(stage, accelerator).by_number.values())


@dataclass
class _FirstStage:
    """The first stage over videos: its curves become proposals for the second."""

    module: nn.Module
    source: VideoSource
    batches: EvalLoader[SequenceBatch]
    accelerator: Accelerator
    options: ProposalGeneration
    counter: None = None

    def forward(self, batch: SequenceBatch) -> tuple[SequenceBatch, Any]:
        """Return the batch on the device, and the outputs of the network."""
        on_device = batch.to(self.accelerator.device)
        return on_device, self.module(on_device.features)

    def results(
        self, batch: SequenceBatch, outputs: tuple[SequenceBatch, Any]
    ) -> Mapping[int, ProposedVideo]:
        """The proposals of each video, or of each window."""
        found: dict[int, ProposedVideo] = {}
        curves = self.source.decode(*outputs).curves
        windows: Sequence[Window | None] = batch.windows or [None] * len(batch)
        for number, window, each in zip(batch.videos.tolist(), windows, curves, strict=True):
            annotation = self.source.present[number]
            inside = annotation if window is None else annotation_inside(annotation, window)
            proposals, numbers = proposals_of(inside, each, self.options)
            key = number if window is None else number * _MOST_WINDOWS + window.place
            found[key] = ProposedVideo(
                number, inside, proposals, numbers.astype(np.float32), window=window
            )
        return found


class MemoryProposalSource(VideoSource):
    """Videos, or windows of videos, whose proposals are already in memory."""

    def __init__(
        self,
        config: RunConfig,
        views: SequenceViews,
        annotations: Annotations,
        videos: Sequence[ProposedVideo],
        *,
        present: Sequence[Annotation],
    ) -> None:
        """Take the proposals of some videos, or of all windows of some videos.

        Args:
            config: The configuration of the second stage.
            views: Its `eval` section.
            annotations: Those of all videos of the part.
            videos: The proposals.
            present: The videos by the numbers that windows have.
        """
        self.config, self.views, self.annotations = config, views, annotations
        are_windows = any(each.window is not None for each in videos)
        self.present = tuple(present) if are_windows else tuple(each.annotation for each in videos)
        self.missing = ()
        self._videos = videos

    def batches(self, accelerator: Accelerator, *, skip_bad: bool) -> Any:
        """The batches of this process."""
        dataset, batch_size = MemoryProposals(self._videos), self.views.batch_size
        return eval_loader(dataset, Reading(), accelerator, batch_size=batch_size)

    def decode(self, batch: ProposalBatch, outputs: Tensor) -> NetworkOutput:
        """Turn the outputs of the network for a batch into scored segments."""
        return scored(batch, outputs, scoring_of(self.config).losses)
