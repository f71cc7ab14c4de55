"""Write the lowest versions that pyproject.toml allows, for pip: `python tools/minimum.py`.

`bash run.sh test --minimum` installs them. pyproject.toml is the one source: what is required to
run (all extras too) gets exactly its lower bound. The tools of the tests get the versions of
constraints.txt. `--python` prints the oldest Python, `--table` the versions in docs/reliability.md.
This needs only the standard library, since it runs before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
TESTED_PYTHON = "3.11"
"""The newest Python with which the whole suite ran."""
CHECKERS = {"import-linter", "pyright", "ruff", "types-pyyaml"}
"""Tools of `bash run.sh check`: no test needs them, and they need newer packages than we do."""

_BOUND = re.compile(r"([a-z0-9-]+)>=([0-9]+(?:\.[0-9]+)*)(?:,<[0-9]+(?:\.[0-9]+)*)?")
_PIN = re.compile(r"([A-Za-z0-9_.-]+)==(\S+)")


def lower_bounds(project: dict[str, Any]) -> dict[str, str]:
    """Lowest version of every package that videozoo or one of its extras requires, by name.

    Args:
        project: The table `project` of pyproject.toml.

    Raises:
        ValueError: A requirement has another form than `name>=version` or
            `name>=version,<version`, or two differ.
    """
    groups = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    bounds: dict[str, str] = {}
    for group, requirements in groups.items():
        if group == "dev":
            continue
        for requirement in requirements:
            match = _BOUND.fullmatch(requirement)
            if match is None:
                raise ValueError(f"{group}: {requirement!r}; expected name>=version")
            name, version = match.groups()
            if bounds.setdefault(name, version) != version:
                raise ValueError(f"{name}: two lower bounds, {bounds[name]} and {version}")
    return bounds


def lowest_python(project: dict[str, Any]) -> str:
    """The oldest Python, such as `3.11`."""
    return project["requires-python"].removeprefix(">=")


def pins(constraints: str | None = None) -> dict[str, str]:
    """Versions that the tests run with, by name; of constraints.txt by default."""
    text = CONSTRAINTS.read_text(encoding="utf-8") if constraints is None else constraints
    return {_plain(match[1]): match[2] for line in text.splitlines() if (match := _PIN.match(line))}


def requirements(project: dict[str, Any], constraints: str | None = None) -> str:
    """A requirements file for pip: lower bounds, then the tools of the tests."""
    bounds, pinned = lower_bounds(project), pins(constraints)
    named = [re.split(r"[\[<>=]", line)[0] for line in project["optional-dependencies"]["dev"]]
    tools = {_plain(name) for name in named} - set(bounds) - CHECKERS
    lines = [f"{name}=={version}" for name, version in sorted(bounds.items())]
    return "\n".join([*lines, *(f"{name}=={pinned[name]}" for name in sorted(tools))]) + "\n"


def table(project: dict[str, Any]) -> str:
    """The table of versions in docs/reliability.md."""
    newest = pins()
    rows = [f"| Python | {lowest_python(project)} | {TESTED_PYTHON} |"]
    for name, version in sorted(lower_bounds(project).items()):
        rows.append(f"| {name} | {version} | {newest.get(name, 'not tested')} |")
    return "\n".join(["| package | oldest | newest tested |", "|---|---|---|", *rows]) + "\n"


def read_project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    found = read_project()
    words = {"--python": lambda: f"{lowest_python(found)}\n", "--table": lambda: table(found)}
    print(words.get(" ".join(sys.argv[1:]), lambda: requirements(found))(), end="")
