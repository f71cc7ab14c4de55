"""Mistakes in model files from outside are errors that name the file and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

import videozoo
from videozoo import cli
from videozoo.config import from_layers
from videozoo.data.synthetic.clips import make_clips
from videozoo.errors import ConfigError
from videozoo.tasks.trying import try_out
from videozoo.types import ClipShape

MODELS = Path(__file__).parents[1] / "outside"
TRAIN = ("train", "--config", "run.yaml", "--device", "cpu", "--save-dir", "run")
RUN = """
model: {name: mean_frames.py, num_classes: 8}
data: {train: clips/train.list, num_workers: 0, short_side: 40, crop_size: 32, first_label: 0}
train: {batch_size: 4, epochs: 1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN)
    return tmp_path


def written(folder: Path, *changes: tuple[str, str], source: str = "mean_frames.py") -> None:
    text = (MODELS / source).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / source).write_text(text)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command says that fails on the user's file."""
    capsys.readouterr()
    assert cli.main(list(words)) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "fault of videozoo" not in error
    return error


TASK = "task=Classification(clip_shape=clip_shape, exports=True)"
SHAPE = 'return ClipShape(sampling="segments", num_steps=settings.num_frames)'
PARTS: dict[str, tuple[str, str, str]] = {
    "a task by name": (TASK, 'task="classification"', "task is 'classification', expected a task"),
    "a task class": (TASK, "task=Classification", "expected a task such as Classification("),
    "no module": ("build=MeanFrames", "build=lambda s: None", "build returned None, expected a"),
    "no function": ("build=MeanFrames", "build=3", "build is 3, expected a function"),
    "no shape function": (
        "clip_shape=clip_shape",
        "clip_shape=4",
        "task.clip_shape is 4, expected",
    ),
    "no settings": ("settings=MeanFramesSettings,", "settings=dict,", "settings is <class 'dict'>"),
    "no title": ('title="Mean of frames"', "title=3", "title is 3, expected a text"),
    "a dict": (SHAPE, "return {'num_steps': 4}", "clip_shape returned {'num_steps': 4}, expected"),
    "no steps": ("num_steps=settings.num_frames", "num_steps=0", "num_steps is 0, expected a num"),
    "a sampling": ('sampling="segments"', 'sampling="x"', "sampling is 'x', expected 'segments'"),
    "no parameters": ("build=MeanFrames", "build=lambda s: nn.ReLU()", "ReLU has no parameters"),
}


@pytest.mark.parametrize(("old", "new", "message"), PARTS.values(), ids=PARTS)
def test_a_part_of_another_kind_is_one_error(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
):
    written(folder, (old, new))

    said = told(capsys, "models", "mean_frames.py")

    assert f"mean_frames.py: {message}" in said or ("mean_frames.py: " in said and message in said)


def test_a_feature_shape_of_another_kind_is_one_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    shape = "__import__('videozoo').types.ClipShape(sampling='dense', num_steps=1)"
    old = "FeatureShape(streams=settings.streams)"
    written(folder, (old, shape), source="mean_tags.py")

    said = told(capsys, "models", "mean_tags.py")

    assert "mean_tags.py: feature_shape returned ClipShape(" in said
    assert "expected a FeatureShape" in said


@pytest.mark.parametrize(
    ("old", "function"),
    [
        ("self.conv = nn", "__init__"),
        ("return self.head", "forward"),
        ("return Clip", "clip_shape"),
    ],
)
@pytest.mark.parametrize("error", ["ValueError", "RuntimeError", "KeyError"])
def test_what_fails_in_a_model_file_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, function: str, error: str
):
    make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    written(folder, (old, f"raise {error}('boom'); {old}"))
    text = (folder / "mean_frames.py").read_text()
    line = text[: text.index("boom")].count("\n") + 1

    for words in (TRAIN, ("models", "mean_frames.py")):
        said = told(capsys, *words)
        assert f"mean_frames.py, line {line}, in {function}: {error}: " in said


def test_a_model_that_reads_values_while_it_is_built_is_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    line = "self.rates = [r.item() for r in torch.linspace(0, 0.1, 3)]"
    more = "self.array = torch.ones(2).numpy()"
    written(folder, ("self.conv = nn", f"{line}; {more}; self.conv = nn"))

    assert cli.main(["models", "mean_frames.py"]) == 0
    assert cli.main(list(TRAIN)) == 0
    assert cli.main(["predict", "--weights", "run", "clips/test.list"]) == 0
    state = torch.get_rng_state()
    with torch.device("meta"):  # as for a check of its size
        assert videozoo.create_model("mean_frames.py").get_parameter("head.bias").is_meta
    assert torch.equal(state, torch.get_rng_state())


def test_a_lazy_layer_is_one_error(folder: Path, capsys: pytest.CaptureFixture[str]):
    written(folder, ("nn.Linear(16, ", "nn.LazyLinear("))

    said = told(capsys, "models", "mean_frames.py")

    assert "mean_frames.py: head.weight has no shape until the first batch" in said


RETURN = "return self.head(x.mean(dim=(2, 3)))"
LOGITS = RETURN.removeprefix("return ")
OUTPUTS: dict[str, tuple[str, str]] = {
    "other classes": (f"return {LOGITS}.repeat(1, 2)", "returned (2, 16), expected (2, 8) logits"),
    "a tuple": (f"return {LOGITS}, 1", "returned a tuple, expected (2, 8) logits"),
    "in training": (
        f"y = {LOGITS}; return (y, y) if self.training else y",
        "returned a tuple, expected (2, 8) logits",
    ),
    "no batch": (f"return {LOGITS}[0]", "returned (8,), expected (2, 8) logits"),
    "one more": (f"return {LOGITS}[:, None]", "returned (2, 1, 8), expected (2, 8) logits"),
    "detached": (f"return {LOGITS}.detach()", "returned logits without a gradient"),
    "classes": (f"return {LOGITS}.round().long()", "returned torch.int64, expected (2, 8) logits"),
}


@pytest.mark.parametrize(("new", "message"), OUTPUTS.values(), ids=OUTPUTS)
def test_what_is_no_logits_is_refused_before_the_first_step(
    folder: Path, capsys: pytest.CaptureFixture[str], new: str, message: str
):
    make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    written(folder, (RETURN, new))

    assert f"mean_frames.py: {message}" in told(capsys, *TRAIN)
    assert not (folder / "run").exists()


FEATURES = "def features(self, clips): return self.conv(clips.mean(1)).mean((2, 3))"
ABILITIES: dict[str, tuple[str, str, str]] = {
    "no features": ("features=True", "", "declares features=True, and MeanFrames has no features"),
    "no length": ("features=True", FEATURES, "MeanFrames has no feature_dim"),
    "another length": (
        "features=True",
        f"feature_dim = 32\n\n    {FEATURES}",
        "features returned (2, 16), expected (2, 32) (N, feature_dim)",
    ),
}


@pytest.mark.parametrize(("declared", "more", "message"), ABILITIES.values(), ids=ABILITIES)
def test_an_ability_that_is_not_there_is_refused_before_the_first_step(
    folder: Path, capsys: pytest.CaptureFixture[str], declared: str, more: str, message: str
):
    make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    written(
        folder,
        ("exports=True", declared),
        ("    def forward", f"    {more}\n\n    def forward"),
    )

    said = told(capsys, *TRAIN)
    assert "mean_frames.py: " in said
    assert message in said


def test_a_model_without_a_map_cannot_show_where_it_looked(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    written(
        folder,
        ("exports=True", "explains=True"),
        ("nn.Conv2d(3, 16, 7, stride=4)", "nn.Linear(16, 16)"),
    )

    said = told(capsys, "models", "mean_frames.py")

    assert "mean_frames.py: declares explains=True, and MeanFrames has no 2D or 3D conv" in said


def test_a_file_that_ends_the_program_is_one_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "mean_frames.py").write_text("import sys\nsys.exit(3)\n")

    said = told(capsys, "models", "mean_frames.py")

    assert "mean_frames.py: ends the program while it is imported (exit(3))" in said


@pytest.mark.parametrize("words", [("train", "--config"), ("config", "new")])
def test_a_model_file_in_place_of_a_configuration_is_pointed_out(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
):
    written(folder)

    said = told(capsys, *words, "mean_frames.py")

    assert "mean_frames.py: a Python file, expected YAML" in said
    assert "--model mean_frames.py" in said


def test_a_file_with_nul_bytes_is_one_error(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "mean_frames.py").write_bytes(b"x = 1\0\n")

    assert "mean_frames.py: not Python: " in told(capsys, "models", "mean_frames.py")


def test_a_model_file_stands_alone(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "my_layers.py").write_text("")
    (folder / "mean_frames.py").write_text("from my_layers import Layer\n")

    said = told(capsys, "models", "mean_frames.py")

    assert "No module named 'my_layers'; my_layers lies beside it, but a model file stands" in said


def test_a_folder_of_videos_and_a_model_file_need_a_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    written(folder)
    capsys.readouterr()

    assert cli.main(["train", "--data", ".", "--model", "mean_frames.py"]) == 2

    said = capsys.readouterr().err
    assert "for mean_frames.py also pass --config FILE" in said
    assert "folder.yaml" not in said


def test_a_model_that_cannot_be_traced_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    make_clips(folder / "clips", num_train=8, num_val=4, num_test=4, seed=0, size=40)
    written(folder, (RETURN, f"clips = clips * 2 if clips.sum().item() > 9 else clips; {RETURN}"))
    assert cli.main(list(TRAIN)) == 0

    said = told(capsys, "export", "--weights", "run", "--output", "toy.onnx")

    assert "mean_frames.py, line 26, in forward: " in said
    assert "torch.export cannot trace this model" in said
    assert "torch.ops" not in said


def test_a_tagger_that_returns_no_logits_is_refused(folder: Path):
    model = {"name": "mean_tags.py", "num_classes": 3, "streams": [{"name": "rgb", "dim": 4}]}
    written(folder, source="mean_tags.py")
    try_out(from_layers([("", {"model": model})]), torch.device("cpu"))

    text = (folder / "mean_tags.py").read_text()
    (folder / "other.py").write_text(text.replace("settings.num_classes)", "7)"))
    config = from_layers([("", {"model": {**model, "name": "other.py"}})])

    with pytest.raises(
        ConfigError, match=r"other\.py: returned \(2, 7\), expected \(2, 3\) logits"
    ):
        try_out(config, torch.device("cpu"))


MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "loss alone": (
        "step_curves.py",
        'return {"loss": F.binary_cross_entropy(outputs, (targets["curves"] > 0.5).float())}',
        'return F.binary_cross_entropy(outputs, (targets["curves"] > 0.5).float())',
        "losses returned a Tensor, expected a dict with 'loss' and its parts",
    ),
    "loss per step": (
        "step_curves.py",
        '(targets["curves"] > 0.5).float())',
        "(targets[\"curves\"] > 0.5).float(), reduction='none')",
        "losses gave as 'loss' (2, 3, 20), expected one number loss",
    ),
    "no segments": (
        "step_curves.py",
        "return [Candidates(each.segments, each.scores) for each in found]",
        "return found",
        "candidates returned a list, expected a list of 2 Candidates",
    ),
    "one video": (
        "step_curves.py",
        "return [Candidates(each.segments, each.scores) for each in found]",
        "return [Candidates(each.segments, each.scores) for each in found[:1]]",
        "candidates returned 1 Candidates, expected a list of 2",
    ),
    "scores of others": (
        "step_curves.py",
        "Candidates(each.segments, each.scores)",
        "Candidates(np.zeros((2, 2)), np.zeros(3))",
        "candidates gave segments (2, 2) with scores (3,), expected (P, 2) and (P,)",
    ),
    "curves of pairs": (
        "step_curves.py",
        "torch.unbind(outputs, 1)",
        "torch.unbind(outputs, 1)[0][None].expand(3, 2, 20)[:, :, :7]",
        "curves gave as 'start' (2, 7), expected (2, 20) (N, T)",
    ),
    "targets of text": (
        "step_curves.py",
        'return {"curves": np.stack(curves).astype(np.float32)}',
        "return [1]",
        "targets returned a list, expected a dict of arrays, or None",
    ),
    "scores beyond 1": (
        "linear_scores.py",
        ".squeeze(2).sigmoid()",
        ".squeeze(2).sigmoid() + 3",
        "expected 0 to 1, as a sigmoid gives them",
    ),
    "scores per value": (
        "linear_scores.py",
        ".squeeze(2).sigmoid()",
        ".sigmoid()",
        "returned (2, 5, 1), expected (2, 5) scores (N, K)",
    ),
    "last word only": (
        "mean_captions.py",
        "return torch.stack(logits, dim=1)",
        "return logits[-1]",
        "returned (2, 100), expected (2, 3, 100) logits (N, L, vocabulary_size)",
    ),
    "no sentences": (
        "mean_captions.py",
        "return beam_search(",
        "return [[]] * 2 or beam_search(",
        "caption gave for a video a list, expected a list of Hypothesis, the best first",
    ),
    "no search": (
        "mean_captions.py",
        "def caption(",
        "def describe(",
        "MeanCaptions has no caption",
    ),
    "clips first": (
        "product_moments.py",
        "permute(2, 0, 1)",
        "permute(2, 1, 0)",
        "returned (3, 3, 2), expected (3, 2, 3) numbers (3, sentences, clips)",
    ),
    "a part of the loss": (
        "product_moments.py",
        '"regression_loss": distance',
        '"regression_loss": distance.item()',
        "losses gave as 'regression_loss' a float, expected a tensor of one number",
    ),
    "nothing to learn": (
        "product_moments.py",
        "own + distance,",
        "(own + distance).detach(),",
        "losses gave as 'loss' loss without a gradient",
    ),
}


@pytest.mark.parametrize(("source", "old", "new", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_a_task_cannot_use_is_refused_before_the_first_step(
    folder: Path, source: str, old: str, new: str, message: str
):
    written(folder, source=source)
    try_out(from_layers([("", {"model": {"name": source}})]), torch.device("cpu"))
    text = (folder / source).read_text()
    assert old in text
    text = text.replace(old, new)
    (folder / "other.py").write_text(text)

    with pytest.raises(ConfigError) as error:
        try_out(from_layers([("", {"model": {"name": "other.py"}})]), torch.device("cpu"))

    assert "other.py: " in str(error.value)
    assert message in str(error.value)


def test_a_misspelt_sampling_is_refused_where_the_shape_is_made():
    with pytest.raises(ConfigError, match="sampling is 'segment', expected 'segments' or 'dense'"):
        ClipShape(sampling=cast(Any, "segment"), num_steps=2)
