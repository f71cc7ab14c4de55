"""Read the YAML files of the 2019 PaddlePaddle library as they are.

They have the sections MODEL, TRAIN, VALID, TEST and INFER (Non-local also RESNETS and NONLOCAL).
`parse` checks any of the fourteen that were shipped; `translate` turns one into our sections.
"""

from __future__ import annotations

import warnings
from ast import literal_eval
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, cast

from videozoo.config_v1 import clips, language, localisation, tags
from videozoo.config_v1.reader import Reader, Translation, V1Config
from videozoo.errors import ConfigError, brief
from videozoo.models import list_models

SPELLINGS = {
    "attention_cluster": "AttentionCluster",
    "attention_lstm": "AttentionLSTM",
    "nextvlad": "NEXTVLAD",
    "nonlocal": "NONLOCAL",
    "stnet": "STNET",
    "tsm": "TSM",
    "tsn": "TSN",
    "ctcn": "CTCN",
    "bmn": "BMN",
    "bsn_tem": "BsnTem",
    "bsn_pem": "BsnPem",
    "ets": "ETS",
    "tall": "TALL",
}
"""Our name of a model to its name in the 2019 library, which its files carry."""
MODELS = {spelling.lower(): name for name, spelling in SPELLINGS.items()}
"""Spelling in the 2019 library, without case, `-` and `_`, to our name."""

READERS: dict[str, Callable[[Reader], None]] = {
    "attention_cluster": tags.read,
    "attention_lstm": tags.read,
    "nextvlad": tags.read,
    "nonlocal": clips.nonlocal_net,
    "stnet": clips.kinetics,
    "tsm": clips.kinetics,
    "tsn": clips.kinetics,
    "ctcn": localisation.read,
    "bmn": localisation.read,
    "bsn_tem": localisation.read,
    "bsn_pem": localisation.read,
    "ets": language.ets,
    "tall": language.tall,
}
"""Our name of a model to the function that moves the values of its files."""

_LONGEST_LITERAL = 200  # characters; Python's parser can be brought down by thousands

_WITH_KEYS = ("UNIQUE",)
"""Keys that hold further keys in the 2019 files; this one was never read."""
SECTION_NAMES = ("MODEL", "RESNETS", "NONLOCAL", "TRAIN", "VALID", "TEST", "INFER")


def is_v1(raw: Mapping[str, Any]) -> bool:
    """Tell a 2019 file from one of ours by its MODEL section.

    >>> is_v1({"MODEL": {"name": "TSN"}}), is_v1({"model": {"name": "tsn"}})
    (True, False)
    """
    return "MODEL" in raw


def parse(raw: Mapping[str, Any], *, model: str | None = None, source: str = "config") -> V1Config:
    """Check the sections of a 2019 file, of any model.

    Args:
        raw: The file as YAML gives it.
        model: The model named on the command line; it wins over MODEL.name.
        source: The file's name, for messages.

    Raises:
        ConfigError: No such model, or a section is not a mapping.
    """
    sections: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, values in raw.items():
        if name not in SECTION_NAMES:
            close = get_close_matches(name.upper(), SECTION_NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(SECTION_NAMES)}"
            problems.append(f"{source}: {name}: unknown section; {hint}")
        elif not isinstance(values, Mapping):
            problems.append(f"{source}: {name}: expected keys and values, got {brief(values)}")
        else:
            pairs = cast(Mapping[str, Any], values).items()
            sections[name] = {key: _literal(value) for key, value in pairs}
            problems += [
                f"{source}: {name}.{key}: expected a number, text or a list, got {brief(value)}"
                for key, value in pairs
                if isinstance(value, Mapping) and key not in _WITH_KEYS
            ]
    if problems:
        raise ConfigError("\n  ".join(["this configuration cannot be used:", *problems]))
    label = str(model or sections["MODEL"].get("name", ""))
    plain = label.lower().replace("_", "").replace("-", "")
    if plain not in MODELS:
        close = get_close_matches(plain, MODELS, n=1)
        hint = f"did you mean {MODELS[close[0]]!r}?" if close else f"known: {', '.join(MODELS)}"
        raise ConfigError(f"{source}: MODEL.name: unknown model {brief(label)}; {hint}")
    return V1Config(model=MODELS[plain], sections=sections, source=source)


def translate(
    raw: Mapping[str, Any],
    *,
    model: str | None = None,
    source: str = "config",
    batch_size: int | None = None,
) -> Translation:
    """Translate a 2019 file into our sections.

    Args:
        raw: The file as YAML gives it.
        model: The model named on the command line; it wins over MODEL.name.
        source: The file's name, for messages.
        batch_size: Of training, if the command line sets it; some schedules count videos.

    Raises:
        ConfigError: As `parse`; or this version has no such model yet.
    """
    config = parse(raw, model=model, source=source)
    if config.model not in list_models():
        raise ConfigError(
            f"{source}: model {config.model!r} is not in this version of videozoo; "
            f"it has {', '.join(list_models())}"
        )
    reader = Reader(config, batch_size=batch_size)
    try:
        READERS[config.model](reader)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # values are used as they are: the last one that was read does not fit
        raise ConfigError(
            f"{source}: {reader.asked}: cannot be {brief(reader.get(reader.asked))} "
            f"({error}); compare it with the 2019 file for {config.model}"
        ) from error
    reader.put("model.name", config.model, "MODEL.name")
    return reader.finish()


def _literal(value: Any) -> Any:
    """Read text as a Python value where it is one, as the 2019 library did (`1e-4`, `None`)."""
    if not isinstance(value, str) or len(value) > _LONGEST_LITERAL:
        return value
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python, on text that is none
            found = literal_eval(value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value
    return found if isinstance(found, int | float | str | list | tuple | None) else value
