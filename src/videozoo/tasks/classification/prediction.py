"""Say what happens in videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from torch import nn

from videozoo.config import RunConfig
from videozoo.data.annotations.videos import (
    ClipEntry,
    find_videos,
    is_list_name,
    matching_paths,
    read_list,
)
from videozoo.data.frames.video import count_frames
from videozoo.errors import DataError, WeightsError
from videozoo.report.tables import prediction_table
from videozoo.tasks.classification.common import names_of_classes
from videozoo.tasks.classification.pictures import check_outputs, draw_predictions
from videozoo.tasks.classification.scoring import (
    VideoResult,
    run_views,
)
from videozoo.tasks.common import speaker, without_absent_names
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.requests import PredictRequest
from videozoo.tasks.results import ResultFolder, conclude
from videozoo.weights.exported import exported_kind


def predict(
    trained: Trained, request: PredictRequest, *, console: Console | None = None
) -> list[VideoResult]:
    """Say what happens in videos; print a table, write `predictions.json`.

    Returns:
        One result a video, in the order of the inputs.

    Raises:
        VideozooError: A video, the weights or the machine do not fit.
    """
    out = console or Console()
    config = without_absent_names(trained.config)
    accelerator = accelerator_for(trained, request.device)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    folder = ResultFolder.choose(trained, request, accelerator, say)
    request = replace(request, save_dir=folder.path)
    entries = input_entries(request.inputs, config, trained.class_names)
    if request.annotate or request.explain:
        check_outputs(entries, request)
    if request.explain and exported_kind(trained.path) is not None:
        raise WeightsError(
            f"{trained.path}: an exported graph gives no gradients to explain it by; "
            "pass the weights it was made from (a run folder or a .safetensors file)"
        )
    scored, config = run_views(trained, config, config.predict, entries, request, accelerator)
    names = names_of_classes(trained, config)
    found = {
        place: _prediction(result, names, config.predict.top_k)
        for place, result in scored.by_number.items()
    }
    failed, damaged = list(scored.skipped.values()), list(scored.damaged.values())
    if accelerator.is_main_process:
        folder.make_room(say)
        folder.write(_answers(found, failed, damaged))
    accelerator.wait_for_everyone()
    files: list[Path] = []
    if request.annotate or request.explain:
        module = _module_to_explain(trained, config, request, accelerator)
        drawn = draw_predictions(
            entries,
            scored.by_number,
            config,
            request,
            accelerator,
            class_names=names,
            module=module,
        )
        for place, (facts, paths, problem) in drawn.items():
            found[place] |= facts
            files += paths
            failed += [] if problem is None else [problem]
    if accelerator.is_main_process:
        written = folder.write(_answers(found, failed, damaged), files)
        out.print(prediction_table(list(found.values())))
        if files:
            say(_what_was_drawn(request, len(found)))
        say(f"written: {written}")
    conclude(accelerator, request, failed, say, total=len(found) + len(scored.skipped))
    return list(scored.by_number.values())


def _answers(
    found: Mapping[int, dict[str, Any]], failed: Sequence[str], damaged: Sequence[str]
) -> dict[str, Any]:
    return {"predictions": list(found.values()), "skipped": failed, "damaged": damaged}


def _module_to_explain(
    trained: Trained, config: RunConfig, request: PredictRequest, accelerator: Accelerator
) -> nn.Module | None:
    if not request.explain:
        return None
    return build_trained(trained, config, drop=request.drop).to(accelerator.device).eval()


def _what_was_drawn(request: PredictRequest, count: int) -> str:
    kinds: list[str] = []
    if request.annotate:
        kinds.append("NAME_annotated.mp4 (without sound) and NAME.png")
    if request.explain:
        kinds.append("NAME_explained.png")
    return f"written: {', '.join(kinds)} for {count} videos in {request.save_dir}"


def input_entries(
    inputs: Sequence[str], config: RunConfig, class_names: Sequence[str] | None = None
) -> list[ClipEntry]:
    """Videos to predict on: files, folders, patterns (`clips/*.mp4`) and lists, in any mixture.

    Without inputs, those of `predict.inputs` in the configuration. Lists that give classes by name
    are read with `class_names`, those of the model.

    Raises:
        DataError: Something named is not there, or holds no video.
    """
    if not inputs:
        listed: Path | None = config.predict.inputs
        if listed is None:
            raise DataError("no videos: name files, folders or lists, or set predict.inputs")
        inputs = (str(listed),)
    entries: list[ClipEntry] = []
    for path in (path for text in inputs for path in matching_paths(text)):
        if is_list_name(path):
            entries += read_list(
                path,
                count_frames=count_frames,
                root=config.data.root,
                labels="optional",
                num_classes=config.model.num_classes,
                class_names=class_names,
                first_label=config.data.first_label or 0,
            )
        else:
            entries += find_videos(path)
    return entries


def _prediction(result: VideoResult, names: Sequence[str], k: int) -> dict[str, Any]:
    return {
        "video": result.name,
        "path": result.path,
        "label": None if result.label is None else names[result.label],
        "top": [
            {"class": names[number], "label": number, "score": round(score, 6)}
            for number, score in result.top(k)
        ],
    }
