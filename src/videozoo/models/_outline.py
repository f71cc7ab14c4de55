"""The task and the settings class of a model file, read without running the rest of it.

A model file imports torch, which takes seconds; the check of a YAML file needs only the settings.
So the statements that the settings class uses are looked up by name in the file's syntax tree
(imports, constants, functions, other classes), and only these are run. The class made here equals
the one that the import gives, but is another object: use it to check values, not to build models.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.types import Settings

_SIBLINGS = "videozoo.models."


@dataclass(frozen=True)
class Outline:
    """What a check of a configuration must know of a model."""

    task: str
    settings: type[Settings]


def read_outline(file: Path) -> Outline:
    """Read the outline of a model file: `SPEC = ModelSpec(task=Tagging(...), settings=XSettings)`.

    Raises:
        Exception: SPEC is written in another way, or a statement fails; import the file instead.
    """
    spec = next(node for node in _statements(file) if "SPEC" in _bound(node))
    match spec:
        case ast.Assign(value=ast.Call(keywords=keywords)):
            given = {keyword.arg: keyword.value for keyword in keywords}
        case _:
            raise ValueError(f"{file}: SPEC: expected a call")
    match given["task"], given["settings"]:
        case ast.Call(func=ast.Name(id=task)), ast.Name(id=settings):
            found = _run(file, [task, settings])
            return Outline(found[task].name, found[settings])
        case _:
            raise ValueError(f"{file}: SPEC: expected names of a task and of settings")


def _run(file: Path, names: Iterable[str]) -> dict[str, Any]:
    """Top-level names of a file: only the statements that they need are run."""
    statements = list(_statements(file))
    makers = {name: statement for statement in statements for name in _bound(statement)}
    needed: set[ast.stmt] = set()
    wanted = list(names)
    while wanted:
        maker = makers.get(wanted.pop())
        if maker is not None and maker not in needed:
            needed.add(maker)
            wanted += [node.id for node in ast.walk(maker) if isinstance(node, ast.Name)]
    found: dict[str, Any] = {"__name__": f"{_SIBLINGS}{file.stem}"}
    for statement in filter(needed.__contains__, statements):
        match statement:
            case ast.ImportFrom(module=str(module), names=[name]) if module.startswith(_SIBLINGS):
                sibling = Path(__file__).with_name(f"{module.removeprefix(_SIBLINGS)}.py")
                found[name.asname or name.name] = _run(sibling, [name.name])[name.name]
            case _:
                code = compile(
                    ast.Module([statement], type_ignores=[]), str(file), "exec", dont_inherit=True
                )
                exec(code, found)
    return found


def _statements(file: Path) -> Iterator[ast.stmt]:
    """Top-level statements, each import bringing one name, and functions without annotations.

    Nothing evaluates the annotations of functions, whose names would be needed otherwise.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for name in statement.names:
                alone = ast.Import([name])
                if isinstance(statement, ast.ImportFrom):
                    alone = ast.ImportFrom(statement.module, [name], statement.level)
                yield ast.copy_location(alone, statement)
        else:
            yield statement


def _bound(statement: ast.stmt) -> list[str]:
    """Names that a statement defines."""
    match statement:
        case ast.FunctionDef() | ast.ClassDef():
            return [statement.name]
        case ast.Import() | ast.ImportFrom():
            return [name.asname or name.name.partition(".")[0] for name in statement.names]
        case ast.Assign() | ast.AnnAssign():
            nodes = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            return [node.id for node in nodes if isinstance(node.ctx, ast.Store)]
        case _:
            return []
