"""List the packaged configurations, and write a new file to start from."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator
from itertools import takewhile
from pathlib import Path

import yaml

from videozoo.config import load_config
from videozoo.packaged_configs import config_folder, config_names, find_config
from videozoo.types import Settings

_WIDTH = 100
_CLAUSE_END = re.compile(r"[:.](?:\s|$)")


def listing() -> str:
    """The packaged configurations, one per line: the name and the purpose."""
    names = config_names()
    width = max(map(len, names))
    about = {name: " ".join(_head(_text(config_folder() / f"{name}.yaml"))) for name in names}
    return "\n".join(f"{name:<{width}}  {_CLAUSE_END.split(about[name])[0]}" for name in names)


def new_file(given: Path) -> str:
    """Text of a YAML file that gives the same run as `given`, with the meaning of every key.

    Keys that `given` does not set have their default values and are commented out.

    Args:
        given: A YAML file (ours or of the 2019 library), or the name of a packaged configuration.

    Raises:
        ConfigError: `given` cannot be used.
    """
    path = find_config(given)
    config = load_config(path)
    lines = [f"# {line}".rstrip() for line in _head(_text(path))]
    if lines:
        lines.append("#")
    lines.append(f"# Made by `videozoo config new {given}`.")
    lines.append("# Keys that are commented out have their default values.")
    sections = config.sections() | {"model": config.model}  # each class explains its keys
    for section, settings in sections.items():
        lines.append(f"\n{section}:")
        if section == "model":
            lines += ["  # As `videozoo models` calls it.", f"  name: {config.name}"]
        lines += _commented(settings, f"{section}.", config.origins, "  ")
    return "\n".join(lines)


def _commented(
    settings: Settings, at: str, origins: Collection[str], indent: str, *, whole: bool = False
) -> Iterator[str]:
    """Lines of one section; `at` is its dotted name with a dot at the end."""
    plain = settings.model_dump(mode="json")
    for key, field in type(settings).model_fields.items():
        yield from _meaning(field.description, indent)
        value = getattr(settings, key)
        if isinstance(value, Settings):
            yield f"{indent}{key}:"
            yield from _commented(value, f"{at}{key}.", origins, indent + "  ", whole=True)
        else:
            off = "" if whole or _is_set(f"{at}{key}", origins) else "#"
            shown = yaml.safe_dump(
                plain[key], default_flow_style=True, width=10_000, allow_unicode=True
            )
            yield f"{indent}{off}{key}: {shown.strip().removesuffix('...').strip()}"


def _is_set(key: str, origins: Collection[str]) -> bool:
    """Whether the file sets the key, a key below it, or a section above it."""
    return any(f"{key}.".startswith(f"{o}.") or o.startswith(f"{key}.") for o in origins)


def _meaning(description: str | None, indent: str) -> list[str]:
    mark = f"{indent}# "
    text = " ".join((description or "").split())
    return textwrap.wrap(
        text, _WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _head(text: str) -> list[str]:
    """The comment at the top of a file."""
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return [line.removeprefix("#").strip() for line in lines]
