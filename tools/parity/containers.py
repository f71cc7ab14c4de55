"""Compare the three containers of PaddlePaddle parameters with one another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.parity.golden import meta
from tools.parity.rows import Row
from videozoo.weights.kinds import sniff
from videozoo.weights.paddle import Arrays, read_paddle


def covers(name: str) -> bool:
    """Tell whether the recorded set holds containers."""
    return name.startswith("param_formats")


def check(folder: Path) -> Iterator[Row]:
    """Read each container: names and shapes as described, values the same bit for bit."""
    shapes = {name: tuple(shape) for name, shape in meta(folder)["params"].items()}
    read: dict[str, Arrays] = {}
    for path in sorted(_containers(folder, set(shapes))):
        arrays = read_paddle(path, names=shapes)
        label = f"{path.relative_to(folder)} ({sniff(path)})"
        wrong = sum(
            name not in arrays or name not in shapes or arrays[name].shape != shapes[name]
            for name in arrays.keys() | shapes.keys()
        )
        yield Row(f"{label}: names and shapes that differ", wrong, 0)
        read[label] = arrays
    if not read:
        yield Row("no container found", float("nan"), 0)
        return
    first, *others = read
    for other in others:
        differing = sum(not _same(read[first], read[other], name) for name in shapes)
        yield Row(f"{other}: values that differ from {first}", differing, 0)


def _containers(folder: Path, names: set[str]) -> Iterator[Path]:
    yield from folder.glob("*.pdparams")
    for inner in (p for p in folder.iterdir() if p.is_dir()):
        files = [p for p in inner.iterdir() if p.is_file()]
        if {p.name for p in files} & names:
            yield inner
        else:
            yield from files


def _same(one: Arrays, other: Arrays, name: str) -> bool:
    if name not in one or name not in other:
        return False
    a, b = one[name], other[name]
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()
