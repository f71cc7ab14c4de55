"""Find the weights that the user names, and load them into a model."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo import __version__, safe_sums
from videozoo.commands import quoted
from videozoo.config import RunConfig, from_layers, load_config, override_layers, read_yaml
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import ConfigError, UsageError, WeightsError
from videozoo.models import find_model_file, is_model_file, model_name, same_model
from videozoo.safe_names import shown
from videozoo.tasks.building import default_float32, is_far_larger, outline
from videozoo.tasks.requests import ConfigSource
from videozoo.types import Captioning, PaddleName
from videozoo.weights.cache import cache_folder
from videozoo.weights.exported import exported_kind, read_description, spec_of
from videozoo.weights.files import read_metadata, read_weights, save_weights
from videozoo.weights.fit import fit_paddle, load_state
from videozoo.weights.kinds import find_weights, sniff
from videozoo.weights.paddle import read_paddle
from videozoo.weights.registry import default_for, nearest
from videozoo.weights.sources import fetch_named, fetch_published, is_remote, unpacked
from videozoo.weights.torchvision import recognise

_V1_NAME = re.compile(r"(?P<model>.+?)(_epoch(?P<epoch>\d+))?(\.pdparams)?$")


@dataclass(frozen=True)
class Trained:
    """A configuration and the file with the weights to run it with."""

    config: RunConfig
    path: Path
    class_names: tuple[str, ...] | None = None
    """As stored with the weights."""
    vocabulary: tuple[str, ...] | None = None
    """The words of a captioning model, as stored with the weights."""
    features: Mapping[str, Any] | None = None
    """What made the features that the model learnt from, as stored with the weights."""
    measured: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the training measured besides, as stored with the weights: how long the `clips` of a
    clip model and the `videos` of a localiser were (`measured.Lengths`); `presence`, from which
    score on a sentence is in a video (`moments.presence`)."""


def resolve_weights(text: str) -> Path:
    """Find the file that the user means.

    A run folder means its best weights, or the newest if there was no validation. Names as the 2019
    scripts wrote them (`DIR/STNET`, `DIR/STNET_epoch3`, with or without `.pdparams`) mean the same
    weights of the run in `DIR/STNET`. A name of `videozoo weights list` or of the hub (`hf://`)
    is downloaded once. An archive is unpacked into the cache.

    Raises:
        WeightsError: There are no such weights.
    """
    path = fetch_named(text, say=tell) if is_remote(text) else _on_this_machine(text)
    refuse_damaged(path)
    return unpacked(path)


def refuse_damaged(path: Path) -> None:
    """Refuse a file that is not as the run that wrote it remembers it, by its sha256.

    Files without a kept sum pass: those by themselves, and those of earlier versions.

    Raises:
        WeightsError: It has changed; the message names weights of the run that have not.
    """
    if not path.is_file():
        return
    try:
        fault = safe_sums.fault_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    if fault:
        run = next((each for each in path.parents if (each / "config.yaml").is_file()), path.parent)
        raise WeightsError(f"{path}: {fault}\n{RunFolder(run).what_is_whole('--weights')}")


def default_weights(model: str, kind: Literal["weights", "pretrain"]) -> Path:
    """Return the weights that the 2019 scripts used by default for a model.

    Raises:
        WeightsError: Nothing was published for the model, or the download fails.
    """
    entry = default_for(model, kind)
    if entry is None:
        what = "no weights were" if kind == "weights" else "nothing to start training from was"
        flag = "--weights" if kind == "weights" else "--pretrain"
        raise WeightsError(f"{what} published for {model}; pass {flag}")
    return unpacked(fetch_published(entry, say=tell))


def tell(line: str) -> None:
    """Print on standard error what takes long."""
    print(line, file=sys.stderr, flush=True)


def _on_this_machine(text: str) -> Path:
    path = Path(text)
    if (found := _in_run_folder(path)) is not None:
        return found
    if not path.exists():
        named = _V1_NAME.match(path.name)
        run = path.with_name(named["model"]) if named else path
        epoch = named["epoch"] if named else None
        if epoch is not None:  # the 2019 scripts count epochs from 0
            weights = run / "weights" / f"epoch_{int(epoch) + 1}.safetensors"
            if weights.exists():
                return weights
        elif (found := _in_run_folder(run)) is not None:
            return found
    try:
        return find_weights(path)
    except WeightsError as error:
        with suppress(ConfigError):
            name = model_name(text)
            hint = "; weights are those of a run folder"
            if default_for(name, "weights") is not None:
                hint = f"; its published weights are named by --config {name}"
            raise WeightsError(f"{text}: the name of a model, and no weights{hint}") from None
        near = nearest(text)
        raise WeightsError(f"{error}; did you mean {near}?" if near else str(error)) from None


def _in_run_folder(path: Path) -> Path | None:
    if not (path / "config.yaml").is_file():
        return None
    best = path / "best.safetensors"
    if best.exists():
        return best
    epochs = [
        (int(file.stem.removeprefix("epoch_")), file)
        for file in (path / "weights").glob("epoch_*.safetensors")
    ]
    if not epochs:
        raise WeightsError(f"{path}: a run that has not finished an epoch yet; it has no weights")
    return max(epochs)[1]


def config_for_weights(source: ConfigSource, weights: str | None) -> Trained:
    """Read the description of weights, and their configuration: the given one, else the stored one.

    Args:
        source: Where a configuration may come from.
        weights: As the user named them; None: the weights published for the configured model.

    Raises:
        WeightsError: There are no such weights, or they belong to another model.
        ConfigError: No configuration is given, and none is stored.
        UsageError: Neither weights nor a configuration is given.
    """
    if weights is None:
        return _published(source)
    path = resolve_weights(weights)
    if exported_kind(path) is not None:
        return _exported(source, path)
    metadata = read_metadata(path)
    if source.path is None:
        config = _stored_config(metadata, source, path, is_local=not is_remote(weights))
    else:
        config = load_config(
            source.path, model=source.model, overrides=source.overrides, flags=source.flags
        )
        made_for = metadata.get("model")
        if made_for is not None and not same_model(made_for, config.name):
            raise WeightsError(
                f"{path}: made for model {made_for!r}, but {source.path} describes "
                f"{config.name!r}; pass the configuration they were trained with, or none"
            )
    config = _with_stored_loss(config, metadata.get("config"), path)
    found = _trained(config, path, stored_names(metadata, config), metadata.get("features"))
    return replace(found, measured=_mapping(metadata.get("measured")))


def _published(source: ConfigSource) -> Trained:
    if source.path is None:
        raise UsageError(
            "no weights: pass --weights RUN|FILE|NAME, or --config NAME for the published weights "
            "of its model (`videozoo weights list`)"
        )
    config = source.load()
    return Trained(config=config, path=default_weights(config.name, "weights"))


def holds_configuration(weights: str) -> bool:
    """Whether the weights that the user names hold the settings of their model."""
    try:
        path = resolve_weights(weights)
        return exported_kind(path) is not None or isinstance(
            read_metadata(path).get("config"), dict
        )
    except WeightsError:
        return False


def _stored_config(
    metadata: Mapping[str, Any], source: ConfigSource, path: Path, *, is_local: bool
) -> RunConfig:
    stored = metadata.get("config")
    if not isinstance(stored, dict):
        raise ConfigError(
            f"{path}: holds no configuration; pass --config FILE|NAME, e.g. --config tsm"
        )
    stored = _with_trusted_model(cast(dict[str, Any], stored), source, path, is_local=is_local)
    layers, origins = override_layers(source.overrides, source.flags)
    config = from_layers([(str(path), stored), *layers], origins=origins)
    if source.model is not None and not same_model(model_name(source.model), config.name):
        raise WeightsError(f"{path}: made for model {config.name!r}, not for {source.model!r}")
    origins = {**dict.fromkeys(config.paths(), str(path)), **origins}
    relative: Any = metadata.get("relative_paths")
    written = cast(dict[Any, Any], relative) if isinstance(relative, dict) else {}
    known = {str(key): str(value) for key, value in written.items()}
    is_of_run = _may_name_code(path, is_local=is_local)
    return replace(config, origins=origins, stored=str(path), is_of_run=is_of_run).found_here(known)


def _with_trusted_model(
    stored: dict[str, Any], source: ConfigSource, path: Path, *, is_local: bool
) -> dict[str, Any]:
    """The stored sections of weights, with a model file only if the user or the run names it.

    Importing a model file runs its code, and weights may come from anyone.

    Raises:
        WeightsError: Only the weights name the model file.
    """
    model = stored.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    if not isinstance(name, str) or not is_model_file(name):
        return stored
    named = source.model
    if named is None and _may_name_code(path, is_local=is_local):
        named = _model_of_run(path)
    if named is None:
        raise WeightsError(
            f"{path}: made with the model file {shown(name)}; a file that only weights name is not "
            f"run. Name it yourself: --model {shown(Path(name).name)}"
        )
    return {**stored, "model": {**cast(dict[str, Any], model), "name": model_name(named)}}


def _may_name_code(path: Path, *, is_local: bool) -> bool:
    """Whether weights lie in a run folder that the user names, and trusts by that."""
    is_fetched = not is_local or path.is_relative_to(cache_folder())
    return not is_fetched and _run_of(path) is not None


def _run_of(path: Path) -> Path | None:
    folders = (path.parent, path.parent.parent)
    return next((each for each in folders if (each / "config.yaml").is_file()), None)


def _model_of_run(path: Path) -> str | None:
    """The model that the run folder of a weights file names in its `config.yaml`."""
    folder = _run_of(path)
    section = None if folder is None else read_yaml(folder / "config.yaml").get("model")
    name = section.get("name") if isinstance(section, dict) else None
    if folder is None or not isinstance(name, str) or not is_model_file(name):
        return None
    return find_model_file(name, folder)


def _exported(source: ConfigSource, path: Path) -> Trained:
    """As `config_for_weights`, but without the model file: the graph holds all it needs."""
    about = read_description(path)
    if about.part == "step":
        raise WeightsError(
            f"{path}: the step from one word to the next, one half of an exported {about.title}; "
            "name the other file, without `.step`"
        )
    if about.part == "second":
        stage = about.segments.second if about.segments else "the second stage"
        raise WeightsError(
            f"{path}: the second stage, one half of an exported {about.title}; name the other "
            f"file, without `.{stage}`"
        )
    exported = spec_of(about)
    stored, notes = (str(path), about.config), tuple[str, ...]()
    if source.path is None:
        layers, origins = override_layers(source.overrides, source.flags)
        named = model_name(source.model) if source.model else about.model
    else:
        given = load_config(
            source.path, model=source.model, overrides=source.overrides, flags=source.flags
        )
        sections = given.as_dict()
        if "model.vocabulary_size" not in given.origins:  # it follows from the words
            sections["model"].pop("vocabulary_size", None)
        layers, origins = [(str(source.path), sections)], dict(given.origins)
        named, notes = given.name, given.notes
    if not same_model(named, about.model):
        raise WeightsError(f"{path}: made for model {about.model!r}, not for {named!r}")
    config = from_layers([stored, *layers], origins=origins, exported=exported)
    config = _with_stored_loss(config, about.config, path)
    _refuse_changes(from_layers([stored], exported=exported), config, path)
    alone = "" if source.path is not None else str(path)
    config = replace(config, origins=origins, notes=notes, stored=alone)
    found = _trained(config, path, stored_names(about.model_dump(), config), about.features)
    return replace(found, measured=about.measured)


def names_key(config: RunConfig) -> Literal["class_names", "vocabulary"]:
    """What the outputs of a model are: classes, or words; the key of their names in files."""
    return "vocabulary" if isinstance(config.spec.task, Captioning) else "class_names"


def stored_names(stored: Mapping[str, Any], config: RunConfig) -> list[str] | None:
    """Names of the outputs, in order; earlier versions stored words as `class_names`, too."""
    return stored.get(names_key(config)) or stored.get("class_names") or None


def _trained(
    config: RunConfig, path: Path, names: Sequence[str] | None, features: Mapping[str, Any] | None
) -> Trained:
    named: Any = {names_key(config): tuple(names)} if names else {}
    return Trained(config=config, path=path, features=features, **named)


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _with_stored_loss(config: RunConfig, stored: Any, path: Path) -> RunConfig:
    """Take the scores of a model to be what it was trained for: softmax, or a sigmoid per class.

    Raises:
        ConfigError: The configuration says something else than the weights.
    """
    train = _mapping(_mapping(stored).get("train"))
    learnt, asked = train.get("loss"), getattr(config.train, "loss", None)
    if asked is None or learnt not in ("softmax", "sigmoid") or learnt == asked:
        return config
    if asked == "auto":
        changed = config.replace(str(path), {"train.loss": learnt})
        return replace(changed, origins=config.origins)
    means = {"softmax": "one class per video", "sigmoid": "several classes per video"}
    raise ConfigError(
        f"{path}: trained with train.loss={learnt} ({means[learnt]}), and train.loss is {asked} "
        f"({means[asked]}) here; leave it out"
    )


def _refuse_changes(stored: RunConfig, config: RunConfig, path: Path) -> None:
    """Raise ConfigError if a changed value is fixed in an exported graph."""
    before, after = stored.as_dict(), config.as_dict()
    for section, keys in (("model", after["model"]), ("data", ("mean", "std"))):
        for key in keys:
            was, now = before[section].get(key), after[section].get(key)
            if was != now:
                raise ConfigError(
                    f"{path}: {section}.{key} is {was!r} in this exported graph and cannot be "
                    f"{now!r}; leave it out, or export again with --set {section}.{key}={now}"
                )


def build_trained(
    trained: Trained, config: RunConfig | None = None, *, drop: Sequence[str] = ()
) -> nn.Module:
    """Build the model and load its weights, from any of the formats.

    Args:
        trained: From `config_for_weights`.
        config: Used in place of the configuration in `trained`.
        drop: Beginnings of parameter names; these parameters keep their fresh values.

    Raises:
        WeightsError: The weights do not fit; every mismatch is listed.
    """
    config = config or trained.config
    sketch, names = outline(config), None
    if sniff(trained.path).startswith("paddle"):
        places = paddle_names(config, trained.path)
        names = {ours: place.name for ours, place in places.items()}
        state = fit_paddle(paddle_arrays(trained.path, config), places, sketch.state_dict())
    else:
        state, _ = read_weights(trained.path)
        _refuse_image_net(state, trained.path, config)
    if is_far_larger(sketch, state):  # says what does not fit, before there is memory for it
        load_state(sketch, state, drop=drop, source=trained.path, names=names)
    with default_float32():
        module = config.spec.build(config.model)
    load_state(module, state, drop=drop, source=trained.path, names=names)
    return module


def paddle_arrays(path: Path, config: RunConfig) -> dict[str, NDArray[Any]]:
    """Read the PaddlePaddle parameters of a configured model, without tensors computed here.

    Raises:
        WeightsError: The file is damaged, of another kind, or has another number of parameters.
    """
    ignored = config.spec.paddle.ignored if config.spec.paddle else ()
    wanted = {place.name for place in paddle_names(config, path).values()}
    arrays = read_paddle(path, wanted | set(ignored))
    return {name: array for name, array in arrays.items() if name not in ignored}


def paddle_names(config: RunConfig, source: object) -> Mapping[str, PaddleName]:
    """Our tensor names -> places in weights of the 2019 library, for a configured model.

    Args:
        config: The configuration of the run.
        source: The name of the weights in messages.

    Raises:
        WeightsError: The 2019 library had no such model.
    """
    if config.spec.paddle is None:
        raise WeightsError(
            f"{source}: PaddlePaddle parameters, of which {config.spec.title} has none (its model "
            "file names no tensors of the 2019 library)"
        )
    return config.spec.paddle.names(config.model)


def _refuse_image_net(state: Mapping[str, Tensor], path: Path, config: RunConfig) -> None:
    net = recognise(state)
    if net is not None:
        raise WeightsError(
            f"{path}: a torchvision {net.title}, which knows images and not the classes of "
            f"{config.spec.title}; train from it (--pretrain {quoted(path)})"
        )


def save_trained(
    path: Path,
    module: nn.Module,
    config: RunConfig,
    names: Sequence[str] | None,
    facts: Mapping[str, Any],
    features: Mapping[str, Any] | None = None,
    *,
    measured: Mapping[str, Any] | None = None,
) -> None:
    """Write the weights with everything needed to use them.

    Args:
        path: The `.safetensors` file.
        module: Not wrapped.
        config: Stored whole: model, preprocessing, views.
        names: Names of the classes, or the words of a captioning model, in order.
        facts: Epoch, step, metrics.
        features: What made the training features, if known.
        measured: See `Trained.measured`.
    """
    save_weights(
        path,
        module.state_dict(),
        {
            "videozoo": __version__,
            "model": config.name,
            "config": config.absolute().as_dict(),
            "relative_paths": config.relative_paths(),
            names_key(config): list(names) if names else None,
            "facts": dict(facts),
            **({} if features is None else {"features": dict(features)}),
            **({"measured": dict(measured)} if measured else {}),
        },
    )
