"""From mp4 to tags: which actions does a long video show?

The features describe each moment of the video; a tagging model learns from them which actions the
whole video shows. The baseline knows only how frequent each action is.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import RecordSet
from videozoo.data.synthetic.clips import CLASS_NAMES
from videozoo.errors import RunError
from videozoo.metrics.tagging import TaggingCounter
from videozoo.tasks import tagging
from videozoo.tasks.demos import long_videos
from videozoo.tasks.demos.long_videos import LongVideos
from videozoo.tasks.demos.settings import demo_config
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import (
    ConfigSource,
    Device,
    PredictRequest,
)

MARGIN = 0.2
"""GAP must be above the baseline by at least this much; `configs/demo/` says the same."""
NUM_EXPLAINED = 3


def run(name: str, *, folder: Path, seed: int = 0, device: Device = "auto") -> dict[str, Any]:
    """Run the demo of a tagging model; see `demos.run`."""
    started = time.monotonic()
    out = Console(stderr=True)
    made = long_videos.prepare(folder, seed=seed, device=device, out=out)
    records = _write_records(folder / "records", made)
    config = demo_config(name, folder).replace("--seed", {"train.seed": seed})
    out.rule(f"4/4  {config.spec.title} learns which actions a video shows")
    save_dir = folder / name
    tagging.train(config, long_videos.training(config, save_dir, device), console=out)
    facts = tagging.evaluate(*long_videos.evaluation(save_dir, device), console=out)
    shown = _explain(records["test"], folder, name, device, out)
    gap = float(facts["metrics"]["gap"])
    baseline = prior_gap(records["train"], records["test"])
    seconds = time.monotonic() - started
    print(
        f"\n{config.spec.title} GAP {gap:.3f}\n"
        f"prior only GAP {baseline:.3f}   every video gets the tags that are common in training\n"
        f"margin {gap - baseline:.3f}, expected at least {MARGIN:g}\n"
        f"on {len(records['test'])} held-out videos, after {seconds / 60:.1f} minutes\n\n"
        f"when it looks where: {shown}\n\n"
        "What to try next:\n" + long_videos.what_to_try(save_dir, made.world.split("test")[0].path)
    )
    if gap - baseline < MARGIN:
        raise RunError(
            f"{config.spec.title}: GAP {gap:.3f} is less than {MARGIN:g} above the prior's "
            f"{baseline:.3f}; please report it with {save_dir}"
        )
    return {"gap": gap, "baseline": baseline, "pictures": shown}


def _write_records(folder: Path, made: LongVideos) -> dict[str, RecordSet]:
    """The features of each video, with its actions as labels."""
    source = find_records(made.features)
    found = {record.name: record for record in map(source.read, range(len(source)))}
    records: dict[str, RecordSet] = {}
    for split in long_videos.SPLITS:
        labelled = (
            replace(found[v.name], labels=tuple(sorted({event.label for event in v.events})))
            for v in made.world.split(split)
        )
        records[split] = find_records(
            long_videos.write_pack(labelled, source.extractor, folder / split)
        )
    (folder / "class_names.json").write_text(json.dumps(CLASS_NAMES), encoding="utf-8")
    return records


def prior_gap(train: RecordSet, test: RecordSet) -> float:
    """GAP of the baseline: the scores of every video are the frequencies of the training tags."""
    counter = TaggingCounter(len(CLASS_NAMES))
    frequencies = _labels(train).mean(axis=0)
    truth = _labels(test)
    counter.update(np.tile(frequencies, (len(truth), 1)), truth)
    return counter.gap


def _labels(records: RecordSet) -> np.ndarray[Any, np.dtype[np.float64]]:
    table = np.zeros((len(records), len(CLASS_NAMES)))
    for number in range(len(records)):
        table[number, list(records.read(number).labels or ())] = 1
    return table


def _explain(records: RecordSet, folder: Path, name: str, device: Device, out: Console) -> Path:
    """Predict on a few held-out videos and draw the attention over time."""
    few = (records.read(number) for number in range(min(NUM_EXPLAINED, len(records))))
    some = long_videos.write_pack(few, records.extractor, folder / name / "some_videos")
    predictions = folder / name / "predictions"
    request = PredictRequest(
        source=ConfigSource(),
        weights=str(folder / name),
        inputs=(str(some),),
        save_dir=predictions,
        device=device,
        explain=True,
    )
    tagging.predict(config_for_weights(ConfigSource(), str(folder / name)), request, console=out)
    return predictions
