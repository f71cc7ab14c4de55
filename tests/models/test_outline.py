"""The settings of a model are read without torch, and equal those that the import gives."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from videozoo.config import load_config
from videozoo.models import _file_of, list_models, model_outline, model_spec
from videozoo.models._outline import read_outline
from videozoo.types import Settings

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.fixture(params=list_models())
def both(request: pytest.FixtureRequest) -> tuple[type[Settings], type[Settings]]:
    """The settings of a model from its syntax tree, and by import."""
    return read_outline(_file_of(request.param)).settings, model_spec(request.param).settings


@pytest.mark.parametrize("name", list_models())
def test_the_task_is_that_of_the_import(name: str):
    assert read_outline(_file_of(name)).task == model_spec(name).task.name


def test_fields_defaults_limits_and_validators_are_those_of_the_import(
    both: tuple[type[Settings], type[Settings]],
):
    read, imported = both

    assert read is not imported
    assert schema(read) == schema(imported)
    assert read().model_dump() == imported().model_dump()
    assert validators(read) == validators(imported)
    assert read.__qualname__ == imported.__qualname__
    assert read.__module__ == imported.__module__


def schema(settings: type[Settings]) -> Any:
    """Fields, defaults and limits; without texts, which newer Pythons find on import only."""

    def without_texts(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: without_texts(part)
                for key, part in value.items()
                if not (key == "description" and isinstance(part, str))
            }
        return [without_texts(part) for part in value] if isinstance(value, list) else value

    return without_texts(settings.model_json_schema())


def validators(settings: type[Settings]) -> list[set[str]]:
    found = settings.__pydantic_decorators__
    return [set(found.model_validators), set(found.field_validators)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tsm", {"depth": 51}),
        ("bmn", {"num_steps": 9_000}),
        ("bsn", {"pem": {"feature_dim": 3}}),
        ("nextvlad", {"groups": 7}),
        ("nonlocal", {"width": 0.3, "num_groups": 4}),
        ("nonlocal", {"depth": 18, "num_groups": 2}),
        ("nonlocal", {"use_affine": True, "num_frames": 6}),
    ],
)
def test_a_mistake_gets_the_same_words(name: str, values: dict[str, Any]):
    said = [
        mistakes(settings, values)
        for settings in (read_outline(_file_of(name)).settings, model_spec(name).settings)
    ]

    assert said[0]
    assert said[0] == said[1]


def mistakes(settings: type[Settings], values: dict[str, Any]) -> list[tuple[Any, str]]:
    try:
        settings.model_validate(values)
    except ValidationError as error:
        return [(detail["loc"], detail["msg"]) for detail in error.errors()]
    return []


def test_a_file_that_is_written_in_another_way_is_imported(monkeypatch: pytest.MonkeyPatch):
    def another_way(_file: Path) -> None:
        raise KeyError("settings")

    monkeypatch.setattr("videozoo.models._outline.read_outline", another_way)
    monkeypatch.delitem(sys.modules, "videozoo.models.tsn", raising=False)

    outline = model_outline("tsn")

    assert outline.settings is model_spec("tsn").settings


def test_a_run_has_the_settings_of_the_imported_model():
    config = load_config(ROOT / "configs" / "bsn.yaml")

    assert type(config.model) is model_spec("bsn").settings
    assert config.model is config.model
    assert config.model.model_dump() == config.architecture.model_dump()


def test_configurations_are_shown_and_mistakes_told_without_torch(tmp_path: Path):
    path = tmp_path / "bad.yaml"
    path.write_text("model: {name: tsm, depth: 51}\ntrain: {epochs: many}\n")
    program = f"""
import sys
from videozoo.cli import main
for path in {[str(path) for path in CONFIGS]}:
    assert main(["config", "show", path]) == 0, path
for words in (
    ["config", "show"], ["config", "new"], ["train", "--config"], ["eval", "--config"],
    ["predict", "a.mp4", "--config"], ["extract", "a.mp4", "--output", "x", "--config"],
    ["export", "--config"], ["check-data", "--config"], ["models", "tsm", "--config"],
):
    assert main([*words, {str(path)!r}]) == 1, words
loaded = {{"torch", "av", "accelerate"}} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("model.depth: expected 18, 34, 50, 101 or 152, got 51") == 9
    assert done.stderr.count("train.epochs: expected a whole number") == 9
