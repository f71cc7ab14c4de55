"""The demo of the clip models: make videos, train TSM and TSN, evaluate, predict, report.

Two small networks learn the same eight actions. TSM sees which frame comes after which; TSN
averages frames without their order, and so cannot tell an action from its reverse. The gap between
them is what temporal modelling is for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from videozoo.commands import command
from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.clips import load_entries
from videozoo.data.synthetic.clips import (
    CLASS_NAMES,
    SyntheticClips,
    make_clips,
    write_colour_lists,
)
from videozoo.engine.run_folder import RunFolder
from videozoo.report.charts import Confusion
from videozoo.report.html import Headline, Report, write_report
from videozoo.report.tables import percent
from videozoo.tasks import classification
from videozoo.tasks import pages as shared
from videozoo.tasks.classification import pages
from videozoo.tasks.demos.outcome import Outcome
from videozoo.tasks.demos.settings import demo_config
from videozoo.tasks.demos.steps import evaluate, train
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import ConfigSource, Device, PredictRequest

MODELS = ("tsm", "tsn")
NUM_TRAIN, NUM_VAL, NUM_TEST = 800, 80, 240
CHANCE = 1 / len(CLASS_NAMES)
MARGIN = 0.5
"""The top-1 accuracy of TSM must be above chance by at least this much; so must those of the other
nets in the demo of all models, after fewer epochs, by `SHORT_MARGIN`."""
SHORT_MARGIN = 0.3
_SHORT_EPOCHS = {"tsn": 4, "stnet": 6, "nonlocal": 6}
_TITLES = {"tsm": "TSM", "tsn": "TSN", "stnet": "StNet", "nonlocal": "Non-local"}


def run(
    _name: str,
    *,
    folder: Path,
    seed: int = 0,
    device: Device = "auto",
    quick: bool = False,
) -> dict[str, Any]:
    """Run the demo of both clip models in `folder`; a second call continues from its files.

    Args:
        folder: For `clips/`, `tsm/`, `tsn/`, `predictions/` and `report.html`.
        seed: For the videos and the training.
        device: Where to train.
        quick: Without TSN, and without the report that compares both.

    Returns:
        Top-1 accuracy on held-out clips by model, and the path of the report, if one was written.

    Raises:
        VideozooError: The folder cannot be written, or it holds something else.
        RunError: TSM is less than `MARGIN` above chance.
    """
    started = time.monotonic()
    out = Console(stderr=True)
    models = ("tsm",) if quick else MODELS
    steps = len(models) + 2
    out.rule(f"1/{steps}  making videos")
    clips = made_clips(folder / "clips", seed, out)
    evaluated: dict[str, dict[str, Any]] = {}
    is_new = not clips.reused
    for number, model in enumerate(models, start=2):
        out.rule(f"{number}/{steps}  {model.upper()}: learning from {NUM_TRAIN} clips")
        is_new = trained_net(model, folder, seed, device) and is_new
        evaluated[model] = evaluate(folder / model, device)
    out.rule(f"{steps}/{steps}  {len(clips.unseen)} clips that nobody has seen")
    results = _predict(folder, clips, device)
    seconds = time.monotonic() - started
    scores = {model: float(facts["metrics"]["top1"]) for model, facts in evaluated.items()}
    report = None
    if not quick and shared.can_draw():
        report = _report(folder, clips, evaluated, results, seconds=seconds, is_new=is_new)
    elif not quick:
        out.print(shared.CHARTS_HINT, markup=False, soft_wrap=True)
    _say_goodbye(scores, folder, report, clips.unseen[0], seconds=time.monotonic() - started)
    outcome("tsm", evaluated["tsm"], folder / "tsm").check()
    return {**scores, "report": report}


def made_clips(folder: Path, seed: int, out: Console) -> SyntheticClips:
    """Make the clips, or find those of an earlier call."""
    total = NUM_TRAIN + NUM_VAL + NUM_TEST
    columns = (TextColumn("clips"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        bar = progress.add_task("clips", total=total)
        clips = make_clips(
            folder,
            num_train=NUM_TRAIN,
            num_val=NUM_VAL,
            num_test=NUM_TEST,
            seed=seed,
            on_progress=lambda done, _: progress.update(bar, completed=done),
        )
    verb = "found" if clips.reused else "made"
    out.print(f"{verb} {total} clips of {len(CLASS_NAMES)} actions in {folder}")
    return clips


def trained_net(model: str, folder: Path, seed: int, device: Device) -> bool:
    """Train a network, or resume the run of an earlier demo; False if it resumed."""
    config = demo_config(model, folder).replace("--seed", {"train.seed": seed})
    return train(config, folder / model, device, valid_interval=3, log_interval=25)


def short_net(
    model: str, folder: Path, clips: SyntheticClips, seed: int, device: Device
) -> Outcome:
    """Train a net for a few epochs, and score it.

    TSN cannot tell the actions apart: it learns the colours of the shapes that act.

    Args:
        model: `tsn`, `stnet` or `nonlocal`.
        folder: The demo's; the run is `MODEL` in it, that of TSN `tsn_colours`.
        clips: From `made_clips`.
        seed: For the training.
        device: Where to train.
    """
    changes: dict[str, Any] = {"train.seed": seed, "train.epochs": _SHORT_EPOCHS[model]}
    run = folder / model
    if model == "tsn":
        lists, names = write_colour_lists(clips)
        run = folder / "tsn_colours"
        changes |= {f"data.{part}": lists / f"{part}.list" for part in ("train", "val", "test")}
        changes["data.class_names"] = names
    config = demo_config(model, folder).replace("demo all", changes)
    train(config, run, device, valid_interval=_SHORT_EPOCHS[model] // 2, log_interval=25)
    return outcome(model, evaluate(run, device), run)


def outcome(model: str, facts: Mapping[str, Any], run: Path) -> Outcome:
    """The score of a net beside chance.

    Args:
        model: Its name.
        facts: Of its evaluation.
        run: The run folder.
    """
    return Outcome(
        title=_TITLES[model],
        metric="top-1 of colours" if model == "tsn" else "top-1",
        value=float(facts["metrics"]["top1"]),
        baselines={"chance": CHANCE},
        least_margin=MARGIN if model == "tsm" else SHORT_MARGIN,
        tested_on=f"{NUM_TEST} held-out clips",
        run=run,
    )


def _predict(
    folder: Path, clips: SyntheticClips, device: Device
) -> list[classification.VideoResult]:
    weights = str(folder / "tsm")
    request = PredictRequest(
        source=ConfigSource(),
        weights=weights,
        inputs=tuple(str(path) for path in clips.unseen),
        save_dir=folder / "predictions",
        device=device,
    )
    return classification.predict(config_for_weights(ConfigSource(), weights), request)


# --- the page ------------------------------------------------------------------------------------


def _report(
    folder: Path,
    clips: SyntheticClips,
    evaluated: dict[str, dict[str, Any]],
    results: list[classification.VideoResult],
    *,
    seconds: float,
    is_new: bool,
) -> Path:
    tsm, tsn = (float(evaluated[model]["metrics"]["top1"]) for model in ("tsm", "tsn"))
    config = demo_config("tsm", folder)
    truths = dict(zip(map(str, clips.unseen), clips.unseen_labels, strict=True))
    cards = [
        pages.card(
            [ClipEntry(Path(result.path), None, Path(result.path).name)],
            result.top(3),
            [truths[result.path]],
            config,
            config.predict,
            CLASS_NAMES,
        )
        for result in results
    ]
    report = Report(
        title="Which way does it move?",
        summary=(
            f"{NUM_TRAIN} made-up clips of {len(CLASS_NAMES)} actions taught two networks of the "
            f"same size. On {NUM_TEST} held-out clips TSM is right {percent(tsm)} of the time, "
            f"TSN {percent(tsn)}; guessing gives {percent(CHANCE)}."
            + (f" All of it took {seconds / 60:.1f} minutes on this machine." if is_new else "")
        ),
        headlines=[
            Headline(
                label="TSM, top-1",
                value=percent(tsm),
                note="sees the order of the frames",
                share=tsm,
                is_main=True,
            ),
            Headline(
                label="TSN, top-1",
                value=percent(tsn),
                note="averages the frames",
                share=tsn,
            ),
            Headline(label="guessing", value=percent(CHANCE), share=CHANCE),
        ],
        explanation=[
            "Every action has its reverse among the classes: what moves left in one clip moves "
            "right when the clip is played backwards. A single frame looks the same in both, and "
            "so does a set of frames without their order.",
            "TSN scores each frame by itself and averages the scores, so it has nothing to tell "
            "the two apart. TSM is the same network, but in every block an eighth of the channels "
            "comes from the frame before and an eighth from the frame after. That costs no "
            "multiplication, and it is enough to see motion.",
        ],
        panels=pages.curves(
            {model.upper(): RunFolder(folder / model) for model in MODELS}, chance=CHANCE
        ),
        confusions=[
            Confusion(
                title=f"{model.upper()} on held-out clips",
                counts=np.asarray(facts["confusion"], np.int64),
                class_names=CLASS_NAMES,
            )
            for model, facts in evaluated.items()
        ],
        predictions=cards,
        errors=pages.worst_errors(
            evaluated["tsm"]["results"],
            load_entries(config.data, "test"),
            config,
            config.eval,
            CLASS_NAMES,
            most=4,
        ),
        details=[
            ("Configuration of TSM", yaml.safe_dump(config.as_dict(), sort_keys=False)),
            ("Configuration of TSN", demo_config("tsn", folder).to_yaml()),
            ("Versions", shared.versions()),
        ],
        made=f"{time.strftime('%Y-%m-%d %H:%M')}, videozoo demo",
    )
    return write_report(folder / "report.html", report)


def _say_goodbye(
    scores: dict[str, float], folder: Path, report: Path | None, video: Path, *, seconds: float
) -> None:
    about = {"tsm": "sees the order of the frames", "tsn": "averages the frames"}
    lines = [f"{model.upper()} top-1 {top1:.3f}   {about[model]}" for model, top1 in scores.items()]
    lines += [
        f"chance    {CHANCE:.3f}",
        f"TSM's margin {scores['tsm'] - CHANCE:.3f}, expected at least {MARGIN:g}",
        f"on {NUM_TEST} held-out clips, after {seconds / 60:.1f} minutes",
        "",
        f"answers for new clips: {folder / 'predictions'}",
    ]
    if report is not None:
        lines.append(f"report: {report}")
    print("\n" + "\n".join(lines))
    print(
        "\nWhat to try next:\n"
        f"  {command('predict', '--weights', folder / 'tsm', video)}\n"
        f"  {command('train', '--data', 'FOLDER', '--save-dir', 'runs/mine')}\n"
        "    where FOLDER holds one folder of your own videos per class\n"
        f"  {command('models')}"
    )
