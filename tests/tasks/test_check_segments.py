"""`check-data` of localisers: features, annotations, windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from videozoo import cli


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "features").mkdir()
    database: dict[str, Any] = {}
    for number, subset in enumerate(("training", "training", "validation")):
        np.save(tmp_path / "features" / f"v{number}.npy", np.ones((200, 4), np.float32))
        segments = [{"segment": [10 * i + 1, 10 * i + 2.5], "label": "dig"} for i in range(9)]
        database[f"v{number}"] = {"duration": 100, "subset": subset, "annotations": segments}
    (tmp_path / "a.json").write_text(json.dumps({"database": database}))
    made = {
        "model": {"name": "bsn_tem", "feature_dim": 4, "num_steps": 20},
        "data": {
            "annotations": str(tmp_path / "a.json"),
            "features": str(tmp_path / "features"),
        },
    }
    path = tmp_path / "tem.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def test_lengths_of_steps_and_windows_are_told(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["check-data", "--config", str(config)]

    assert cli.main(line) == 0
    whole = " ".join(capsys.readouterr().out.split())
    assert cli.main([*line, "--set=data.window_seconds=10", f"--json={tmp_path / 'c.json'}"]) == 0
    windows = " ".join(capsys.readouterr().out.split())

    assert "a step of the model is 5 s here, and 100 % of the 18 actions are shorter" in whole
    assert (
        "windows of 10 s, one every 5 s: learns from 34 with an action, of 38 in 2 videos"
        in windows
    )
    parts = json.loads((tmp_path / "c.json").read_text())["parts"]
    assert [(part["name"], part["videos"], part["segments"]) for part in parts] == [
        ("train", 2, 18),
        ("val", 1, 9),
    ]
    assert parts[0]["windows"]["count"] == 38


def test_what_cannot_be_used_is_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    np.save(tmp_path / "features" / "v0.npy", np.ones((200, 5), np.float32))
    (tmp_path / "features" / "v2.npy").unlink()

    assert cli.main(["check-data", "--config", str(config)]) == 1

    shown = capsys.readouterr()
    assert "v0.npy: 5 values per step" in shown.out
    assert "no features of any of the 1 videos" in shown.out
    assert "2 problems in the features and annotations" in shown.err
