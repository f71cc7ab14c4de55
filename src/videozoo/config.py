"""A run is one YAML file; this turns it into checked settings, or explains why not.

A value comes from the first of these that gives one: a flag or `--set`, the file, the default in
the settings class. `RunConfig.origins` remembers which.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from videozoo import config_v1
from videozoo.engine.settings import (
    ClipTrainSettings,
    TaggingTrainSettings,
    TrainSettings,
    TwoStageTrainSettings,
)
from videozoo.errors import ConfigError, UsageError, brief
from videozoo.models import (
    find_model_file,
    is_model_file,
    list_models,
    model_name,
    model_outline,
    model_spec,
    same_model,
)
from videozoo.packaged_configs import find_config
from videozoo.safe_text import read_text
from videozoo.safe_yaml import parse_yaml
from videozoo.settings.captions import CaptionData, CaptionEval, CaptionPredict
from videozoo.settings.clips import ClipData, ClipEval, ClipPredict, ClipViews, frame_of
from videozoo.settings.mistakes import Mistake, mistakes_of, nearest
from videozoo.settings.moments import MomentData, MomentEval, MomentPredict
from videozoo.settings.segments import (
    ProposalData,
    ProposalEval,
    ProposalPredict,
    SequenceData,
    SequenceEval,
    SequencePredict,
)
from videozoo.settings.tags import FeatureData, FeatureEval, FeaturePredict
from videozoo.types import ModelSpec, Settings

SECTIONS: dict[str, dict[str, type[Settings]]] = {
    "classification": {
        "data": ClipData,
        "train": ClipTrainSettings,
        "eval": ClipEval,
        "predict": ClipPredict,
    },
    "captioning": {"data": CaptionData, "eval": CaptionEval, "predict": CaptionPredict},
    "moments": {"data": MomentData, "eval": MomentEval, "predict": MomentPredict},
    "tagging": {
        "data": FeatureData,
        "train": TaggingTrainSettings,
        "eval": FeatureEval,
        "predict": FeaturePredict,
    },
    "localisation": {"data": SequenceData, "eval": SequenceEval, "predict": SequencePredict},
    "proposal_scoring": {"data": ProposalData, "eval": ProposalEval, "predict": ProposalPredict},
    "two_stage_localisation": {
        "data": SequenceData,
        "train": TwoStageTrainSettings,
        "eval": SequenceEval,
        "predict": SequencePredict,
    },
}
"""Task to the settings of those sections that differ from task to task."""

_SECTION_NAMES = ("model", "data", "train", "eval", "predict")
_BATCH_SIZE = "train.batch_size"
_WRITTEN = ("result_file", "score_files", "proposal_files", "feature_files")
"""Paths that a run writes: they stay relative."""


@dataclass(frozen=True)
class RunConfig:
    """All settings of one run, checked."""

    name: str
    """The model, as `videozoo models` lists it."""
    architecture: Settings
    """The `model:` section, checked; see `model`."""
    data: Any
    train: TrainSettings
    eval: Any
    predict: Any
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each value that is not a default came from: `train.epochs` to `stnet.yaml`."""
    notes: tuple[str, ...] = ()
    """Remarks for the user, one line each."""
    relative: Mapping[str, str] = field(default_factory=dict[str, str])
    """Dotted key to the relative path that was written where the run began."""
    exported: ModelSpec | None = None
    """Takes the place of the model's file when an exported graph is run."""
    stored: str = ""
    """The weights or the run that it was stored with; empty if the user wrote it."""
    is_of_run: bool = False
    """Whether they lie in a run folder that the user names: it may name code."""

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the imported settings, since others cannot be found by their name."""
        state = {**vars(self), "architecture": self.model}
        state.pop("spec", None)
        return state

    @cached_property
    def model(self) -> Any:
        """The `model:` section as the model's file defines it: imports that file, and so torch."""
        settings = self.spec.settings
        if isinstance(self.architecture, settings):
            return self.architecture
        return settings.model_validate(self.architecture.model_dump(exclude_unset=True))

    @cached_property
    def spec(self) -> ModelSpec:
        """The model's file, imported; an edit of the file later is not seen."""
        return self.exported or model_spec(self.name)

    def sections(self) -> dict[str, Settings]:
        """The sections of the YAML file by name; nothing here imports torch."""
        return {
            "model": self.architecture,
            "data": self.data,
            "train": self.train,
            "eval": self.eval,
            "predict": self.predict,
        }

    def as_dict(self) -> dict[str, Any]:
        """Every value, defaults too, as plain data that `load_config` reads back."""
        sections = {key: part.model_dump(mode="json") for key, part in self.sections().items()}
        sections["model"] = {"name": self.name} | sections["model"]
        return sections

    def to_yaml(self) -> str:
        """`as_dict` as YAML with absolute paths; a comment tells the relative paths as written."""
        text = yaml.safe_dump(self.absolute().as_dict(), sort_keys=False, allow_unicode=True)
        relative = self.relative_paths()
        if not relative:
            return text
        remarks = "".join(f"#   {key}: {path}\n" for key, path in relative.items())
        return f"# written as relative paths:\n{remarks}{text}"

    def paths(self) -> dict[str, Path]:
        """The files and folders that the run reads, by dotted key."""
        sections = self.sections().items()
        return {key: path for name, part in sections for key, path in _paths(part, name)}

    def relative_paths(self) -> dict[str, str]:
        """The relative paths among `paths`, as they were written where the run began."""
        written = {
            key: self.relative.get(key) if path.is_absolute() else str(path)
            for key, path in self.paths().items()
        }
        return {key: path for key, path in written.items() if path is not None}

    def absolute(self) -> RunConfig:
        """The same run with absolute paths, which hold from any folder."""
        return self.with_paths(self.paths())

    def found_here(self, relative: Mapping[str, str]) -> RunConfig:
        """Look in the current folder for files that are not at their stored, absolute path.

        Args:
            relative: Dotted key to the path as written. Keys that a flag sets are left alone.
        """
        stored = {
            key: path
            for key, path in self.paths().items()
            if key in relative and not self.origin_of(key).startswith("--")
        }
        moved = {
            key: Path(relative[key])
            for key, path in stored.items()
            if not path.exists() and Path(relative[key]).exists()
        }
        kept = {key: relative[key] for key in stored}
        return replace(self, relative=kept).with_paths(moved)

    def with_paths(self, paths: Mapping[str, Path]) -> RunConfig:
        """The same run with other paths, by the keys of `paths`; they are made absolute."""
        absolute = {key: Path(os.path.abspath(path)) for key, path in paths.items()}  # noqa: PTH100
        changed = {
            name: _with_paths(part, name, absolute) for name, part in self.sections().items()
        }
        return replace(self, architecture=changed.pop("model"), **cast(Any, changed))

    def origin_of(self, key: str) -> str:
        """Where a value came from; empty for a default."""
        ends = _prefix_ends(key)
        return next((self.origins[key[:end]] for end in ends if key[:end] in self.origins), "")

    def only_named_in(self, key: str) -> str:
        """The weights or the run that alone give a value; empty if the user does."""
        return self.stored if self.origin_of(key) in ("", self.stored) else ""

    def replace(self, origin: str, values: Mapping[str, Any]) -> RunConfig:
        """Return the same run with dotted keys changed, checked again.

        Raises:
            ConfigError: A key or value does not fit.
        """
        layers = [("", self.as_dict()), (origin, _nested(values))]
        changed = from_layers(layers, exported=self.exported)
        origins = {**self.origins, **dict.fromkeys(values, origin)}
        relative = {key: path for key, path in self.relative.items() if key not in values}
        return replace(
            changed,
            origins=origins,
            notes=self.notes,
            relative=relative,
            stored=self.stored,
            is_of_run=self.is_of_run,
        )


def _paths(settings: Settings, at: str) -> Iterator[tuple[str, Path]]:
    for name, value in settings:
        key = f"{at}.{name}"
        if isinstance(value, Settings):
            yield from _paths(value, key)
        elif isinstance(value, Path) and name not in _WRITTEN:
            yield key, value
        elif isinstance(value, tuple):
            for number, item in enumerate(cast(tuple[Any, ...], value)):
                if isinstance(item, Path):
                    yield f"{key}.{number}", item


def _with_paths(settings: Settings, at: str, paths: Mapping[str, Path]) -> Settings:
    changes: dict[str, Any] = {}
    for name, value in settings:
        key = f"{at}.{name}"
        if isinstance(value, Settings):
            changes[name] = _with_paths(value, key, paths)
        elif key in paths:
            changes[name] = paths[key]
        elif isinstance(value, tuple):
            items = enumerate(cast(tuple[Any, ...], value))
            changes[name] = tuple(paths.get(f"{key}.{number}", item) for number, item in items)
    return settings.model_copy(update=changes)


def load_config(
    path: Path,
    *,
    model: str | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, tuple[str, Any]] | None = None,
) -> RunConfig:
    """Read and check one YAML file, ours or one of the 2019 library.

    Args:
        path: The YAML file, or the name of a packaged one: `tsm`.
        model: The model named on the command line; it must agree with the file, unless both are
            model files: then it tells where the file lies now.
        overrides: `section.key=value`, the value in YAML.
        flags: Dotted key to (how the user spelt the flag, value); None values do not count.

    Raises:
        ConfigError: One line per problem, each with the key as written in the file.
        UsageError: An override is not of the form `section.key=value`.
    """
    path = find_config(path)
    raw = read_yaml(path)
    notes: tuple[str, ...] = ()
    named = model_name(model) if model else None
    if config_v1.is_v1(raw):
        translated = config_v1.translate(
            raw, model=named, source=str(path), batch_size=_batch_size(overrides, flags or {})
        )
        layer, origins, notes = translated.sections, translated.origins, translated.notes
    else:
        layer = raw
        origins = {key: str(path) for key, _ in leaves(raw) if "." in key}
        written = str(_section(raw, "model").get("name") or "")
        if is_model_file(written) and not (named and is_model_file(named)):
            layer = _with_model_file(raw, written, path)
        if named and written and not _same_model(written, named):
            raise ConfigError(
                f"{path}: describes model {written!r}, but the command line says {model!r}; "
                f"pass the config of {named} or drop the model name"
            )
    layers = [(str(path), layer)]
    if named:
        layers.append(("the command line", {"model": {"name": named}}))
    more, given = override_layers(overrides, flags or {})
    layers += more
    origins |= given
    config = replace(from_layers(layers, origins=origins), origins=origins)
    return replace(config, notes=(*notes, *_rate_notes(config, layer)))


def _same_model(written: str, named: str) -> bool:
    """Whether a YAML file may mean the model that the command line names."""
    return same_model(written if is_model_file(written) else model_name(written), named)


def _with_model_file(raw: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    """The sections of a YAML file, the path of its model file beside it or from here made whole."""
    try:
        found = find_model_file(name, path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: model.name: {error}") from None
    return {**raw, "model": {**_section(raw, "model"), "name": found}}


def _rate_notes(config: RunConfig, file: Mapping[str, Any]) -> Iterator[str]:
    """Warn that a changed batch size does not change the learning rate."""
    train = config.train
    written = str(_section(file, "train").get("batch_size"))
    batch = int(written) if written.isdecimal() else TrainSettings().batch_size
    on_command_line = {key for key, origin in config.origins.items() if origin.startswith("--")}
    if (
        "train.batch_size" in on_command_line
        and "train.learning_rate" not in on_command_line
        and train.learning_rate_batch_size is None
        and train.batch_size != batch
    ):
        yield (
            f"train.batch_size is {train.batch_size} in place of {batch}, and the learning rate "
            f"stays {train.learning_rate:g}; to scale it with the batch: "
            f"--set train.learning_rate_batch_size={batch}"
        )


def _batch_size(overrides: Sequence[str], flags: Mapping[str, tuple[str, Any]]) -> int | None:
    """The training batch, where the command line sets it."""
    given = [value for _, (key, value) in _flag_layers(overrides, flags) if key == _BATCH_SIZE]
    return given[-1] if given and isinstance(given[-1], int) and given[-1] > 0 else None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        ConfigError: The file is missing, not YAML, or not a mapping of sections.
    """
    if path.suffix == ".py":
        raise ConfigError(
            f"{path}: a Python file, expected YAML; a model file is named with --model {path}, or "
            "in a YAML file under model: as name"
        )
    try:
        loaded = parse_yaml(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text, expected YAML in UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not a usable YAML file: {error}") from None
    if not isinstance(loaded, dict) or not loaded:
        raise ConfigError(
            f"{path}: expected sections such as `model:` and `data:`, got {brief(loaded)}"
        )
    return cast(dict[str, Any], loaded)


def from_layers(
    layers: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    origins: Mapping[str, str] | None = None,
    exported: ModelSpec | None = None,
) -> RunConfig:
    """Merge plain mappings, later ones winning key by key, and check the result.

    Args:
        layers: (where it comes from, sections) pairs.
        origins: Names for error messages: dotted key to the place the user wrote it.
        exported: Takes the place of the model's file, which is then not imported.

    Raises:
        ConfigError: One line per problem.
    """
    source = layers[0][0] or "configuration"
    merged: dict[str, Any] = {}
    for place, layer in layers:
        for section in _SECTION_NAMES:
            values = layer.get(section) or {}
            if not isinstance(values, Mapping):  # before a later layer hides it
                raise ConfigError(
                    f"{place or source}: {section}: expected keys and values, got {brief(values)}"
                )
        _merge(merged, layer)
    sections = dict(merged)
    model = dict(cast(Mapping[str, Any], sections.pop("model", None) or {}))
    if "name" not in model:
        near = get_close_matches("model", [] if model else map(str, sections), n=1, cutoff=0.7)
        hint = f"; is {near[0]!r} meant to be 'model'?" if near else ""
        raise ConfigError(f"{source}: model.name is missing{hint or '; see `videozoo models`'}")
    name = str(model.pop("name"))
    try:
        name = name if exported else model_name(name)
    except ConfigError as error:
        raise ConfigError(f"{source}: model.name: {error}") from None
    if exported is None:
        of_model = model_outline(name)
        settings, task = of_model.settings, of_model.task
    else:
        settings, task = exported.settings, exported.task.name

    shapes = {"model": settings, "train": TrainSettings, **SECTIONS[task]}
    places = origins or {}
    problems = [
        f"{places.get(key, source)}: {key}: unknown section; {nearest(str(key), shapes)}"
        for key in sections
        if key not in shapes
    ]
    parts: dict[str, Any] = {}
    for section, settings in shapes.items():
        values = model if section == "model" else sections.get(section)
        try:
            parts[section] = settings.model_validate(values or {})
        except ValidationError as error:
            found = mistakes_of(settings, error, section)
            problems += [_problem(mistake, places, source) for mistake in found]
    if not problems:
        found = _apart(parts, name)
        problems = [_problem(mistake, places, source) for mistake in found]
    if problems:
        raise ConfigError("\n  ".join(["this configuration cannot be used:", *problems]))
    return RunConfig(name=name, architecture=parts.pop("model"), exported=exported, **parts)


def override_layers(
    overrides: Sequence[str], flags: Mapping[str, tuple[str, Any]]
) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, str]]:
    """Turn values of the command line into layers for `from_layers`.

    Args:
        overrides: `section.key=value`, the value in YAML.
        flags: Dotted key to (how the user spelt the flag, value); None values do not count.

    Returns:
        The layers, and dotted key to how the user spelt it.

    Raises:
        UsageError: An override is not of the form `section.key=value`.
    """
    given = list(_flag_layers(overrides, flags))
    layers = [(spelling, _nested({key: value})) for spelling, (key, value) in given]
    return layers, {key: spelling for spelling, (key, _) in given}


def _apart(parts: Mapping[str, Any], name: str) -> Iterator[Mistake]:
    """Values that are right alone and do not fit another section."""
    for section in ("eval", "predict"):
        views = parts[section]
        if not isinstance(views, ClipViews):
            continue
        try:
            frame_of(parts["data"], views)
        except ValueError as error:
            yield Mistake(
                f"{section}.{'crop_size' if views.crop_size else 'short_side'}", str(error)
            )
        model = parts["model"]
        # of an exported file the keys of the model are what was exported, not fields
        known = {*type(model).model_fields, *(model.model_extra or {})}
        if views.num_segments and "num_segments" not in known:
            yield Mistake(f"{section}.num_segments", f"has no effect on {name}; leave it out")


def _problem(mistake: Mistake, places: Mapping[str, str], source: str) -> str:
    key = mistake.key
    place = next((places[key[:end]] for end in _prefix_ends(key) if key[:end] in places), None)
    if place is None:  # values that do not go together: those count that were said last
        words = set(re.findall(r"\w+", mistake.text))
        said = [one for name, one in places.items() if name.rpartition(".")[2] in words]
        said = [one for one in said if one != source]
        place = " and ".join(dict.fromkeys(said)) or source
    return f"{place}: {key}: {mistake.text}"


def _prefix_ends(key: str) -> Iterator[int]:
    """Lengths of the dotted prefixes of `key`, longest first."""
    end = len(key)
    while end > 0:
        yield end
        end = key.rfind(".", 0, end)


def _flag_layers(
    overrides: Sequence[str], flags: Mapping[str, tuple[str, Any]]
) -> Iterator[tuple[str, tuple[str, Any]]]:
    for key, (spelling, value) in flags.items():
        if value is not None:
            yield spelling, (key, value)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise UsageError(f"--set {text}: expected section.key=value, e.g. train.epochs=3")
        try:
            yield f"--set {key}", (key.strip(), parse_yaml(value))
        except ValueError as error:
            raise UsageError(f"--set {key}={brief(value)}: not a YAML value: {error}") from None


def _section(layer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section, or an empty one where the file has another kind of value."""
    section = layer.get(name)
    return cast(Mapping[str, Any], section) if isinstance(section, Mapping) else {}


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys to nested mappings.

    >>> _nested({"train.epochs": 3, "data.train": "x"})
    {'train': {'epochs': 3}, 'data': {'train': 'x'}}
    """
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = os.fspath(value) if isinstance(value, Path) else value
    return nested


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        below = into.get(key)
        if isinstance(value, Mapping) and isinstance(below, dict):
            _merge(cast(dict[str, Any], below), cast(Mapping[str, Any], value))
        else:
            into[key] = (
                dict(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
            )


def leaves(values: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings.

    >>> list(leaves({"train": {"epochs": 3}, "notes": "x"}))
    [('train.epochs', 3), ('notes', 'x')]
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(cast(Mapping[str, Any], value), f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def describe_file(path: Path, *, model: str | None = None, overrides: Sequence[str] = ()) -> str:
    """What a run would use. For a 2019 file of a model that is missing here: its own values.

    Raises:
        ConfigError: The file cannot be used.
    """
    path = find_config(path)
    raw = read_yaml(path)
    if config_v1.is_v1(raw):
        parsed = config_v1.parse(raw, model=model, source=str(path))
        if parsed.model not in list_models():
            said = yaml.safe_dump(dict(parsed.sections), sort_keys=False, allow_unicode=True)
            note = f"a 2019 file of {parsed.model!r}, which this version of videozoo does not have"
            return f"# {path}: {note}\n{said}".rstrip()
    return describe(load_config(path, model=model, overrides=overrides))


def describe(config: RunConfig) -> str:
    """Every value of a run as YAML, with where it came from beside it.

    Values without a comment are defaults.
    """
    lines: list[str] = []
    for section, values in config.as_dict().items():
        lines.append(f"{section}:")
        for key, value in cast(dict[str, Any], values).items():
            shown = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
            text = f"  {key}: {shown.removesuffix('...').strip()}"
            origin = config.origin_of(f"{section}.{key}")
            lines.append(f"{text:<44}  # {origin}" if origin else text)
    lines += [f"# {note}" for note in config.notes]
    return "\n".join(lines)
