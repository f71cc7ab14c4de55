"""Every way into the library that reads a pickle; run as a program on files that mean harm.

    python -m tests.cases.pickle_entries FOLDER FILE...

prints a line of JSON for each entry and file: what it said, how it ended, how long it took. The
last line is the most memory that the process had.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import videozoo
from tests.peak_memory import peak_bytes
from videozoo import cli
from videozoo.data.annotations.sentence_vectors import GivenVectors
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.record_formats import open_records
from videozoo.data.frames.video import open_video
from videozoo.data.moments import open_windows, read_lengths, read_moments
from videozoo.errors import VideozooError
from videozoo.settings.moments import MomentData
from videozoo.weights.content import check_content

MOST_SECONDS = 10
"""After which the program ends."""
MOST_ADDRESSES = 6 * 2**30
CLIPS = "model: {name: tsm, num_classes: 2, depth: 18, width: 0.125, num_segments: 2}\n"
TAGS = """
model: {name: nextvlad, num_classes: 3, streams: [{name: rgb, dim: 4, half_step: false}],
        cluster_size: 2, groups: 2, expansion: 2, hidden_size: 4, gating_reduction: 2}
"""
DATA = "data: {train: good.list, val: good.list, short_side: 32, crop_size: 28, num_workers: 0}\n"
"""Of clips; `good.list` names one that can be read."""


def prepare() -> None:
    """Write what the entries need beside the hostile file, into this folder."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(stream, "JPEG")
    Path("good.pkl").write_bytes(pickle.dumps((b"good", 0, [stream.getvalue()] * 4), 2))
    Path("good.list").write_text("good.pkl 0\ngood.pkl 1\n")
    Path("clips.yaml").write_text(CLIPS + DATA)
    Path("tags.yaml").write_text(TAGS)
    np.save("windows.npy", np.zeros((20, 4), np.float32))


def command(*words: str) -> Callable[[Path], None]:
    """A command line; FILE stands for the hostile file, CLIPS and TAGS for configurations."""

    def run(path: Path) -> None:
        names = {"FILE": str(path), "CLIPS": "clips.yaml", "TAGS": "tags.yaml"}
        Path("hostile.list").write_text(f"{path} 0\ngood.pkl 1\n")
        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(said):
            status = cli.main([names.get(word, word) for word in words])
        if status:
            raise VideozooError(said.getvalue())

    return run


def renamed(path: Path, name: str) -> Path:
    folder = Path("renamed")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return Path(shutil.copy(path, folder / name))


def moments(path: Path) -> None:
    source = open_windows(Path("windows.npy"), MomentData(), visual_dim=12, clips=False)
    read_moments(path, source, MomentData(), sentence_dim=4)


WEIGHTS: dict[str, Callable[[Path], Any]] = {
    "weights show": command("weights", "show", "FILE"),
    "weights convert": command(
        *("weights", "convert", "FILE", "out.safetensors", "--config", "CLIPS")
    ),
    "predict --weights": command("predict", "--config", "CLIPS", "--weights", "FILE", "good.pkl"),
    "eval --weights": command("eval", "--config", "CLIPS", "--weights", "FILE"),
    "export --weights": command("export", "--config", "CLIPS", "--weights", "FILE"),
    "train --pretrain": command("train", "--overwrite", "--config", "CLIPS", "--pretrain", "FILE"),
    "extract --weights": command(
        *("extract", "--config", "CLIPS", "--weights", "FILE", "--output", "out", "good.pkl")
    ),
    "videozoo.load": lambda path: videozoo.load(path, config="clips.yaml"),
    "downloads": check_content,
}
DATA_FILES: dict[str, Callable[[Path], Any]] = {
    "open_video": open_video,
    "train on clips": command(
        "train", "--overwrite", "--config", "CLIPS", "--set", "data.train=hostile.list"
    ),
    "records": lambda path: open_records(path, "pickle").read(0),
    "check-data of records": command("check-data", "--config", "TAGS", "FILE"),
    "prepare youtube8m": command("prepare", "youtube8m", "FILE", "--output", "out"),
    "sequences": lambda path: FeatureFiles(path).read(path.stem, feature_dim=4),
    "captions": lambda path: FeatureFiles(renamed(path, "v_1").parent).read("v_1", feature_dim=4),
    "sentence vectors": GivenVectors,
    "moments": moments,
    "lengths of movies": read_lengths,
}


def outcome(entry: Callable[[Path], Any], path: Path) -> dict[str, Any]:
    started = time.monotonic()
    signal.alarm(MOST_SECONDS)
    try:
        entry(path)
        end, said = "took it", ""
    except VideozooError as error:
        end, said = "error", str(error)
    except BaseException as error:
        end, said = type(error).__name__, str(error)[:300]
    signal.alarm(0)
    return {"end": end, "said": said, "seconds": time.monotonic() - started}


def main(folder: str, *files: str) -> None:
    """Try all files in all entries that take their kind."""
    os.chdir(folder)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prepare()
    start = peak_bytes()
    for file in map(Path, files):
        entries = WEIGHTS if file.suffix in (".pdparams", ".pth") else DATA_FILES
        for name, entry in entries.items():
            print(json.dumps({"entry": name, "file": file.name}), flush=True)
            print(json.dumps(outcome(entry, file)), flush=True)
    print(json.dumps({"grown_mib": (peak_bytes() - start) / 2**20}))


if __name__ == "__main__":
    main(*sys.argv[1:])
