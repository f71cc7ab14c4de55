"""Weights of classes in the loss: from a file, or from how often each class occurs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from videozoo.data.text import finite_number, integer, json_of, raise_all, text_of
from videozoo.errors import DataError, brief, counted, few

_EXPECTED = "expected 'CLASS WEIGHT' per line, or a JSON object from class to weight"


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weights that make all classes count alike: labels / (classes x labels of the class).

    `labels` are all labels of all videos, `classes` those that occur; one that does not occur gets
    1. For videos of one class each this is `class_weight="balanced"` of scikit-learn.

    Args:
        counts: Labels of each class.

    >>> balanced_weights([6, 2, 0])
    [0.6666666666666666, 2.0, 1.0]
    """
    labels, classes = sum(counts), sum(count > 0 for count in counts)
    return [labels / (classes * count) if count else 1.0 for count in counts]


def read_class_weights(
    path: Path, num_classes: int, class_names: Sequence[str] | None
) -> list[float]:
    """Read one weight per class, in the order of the classes.

    Text has `CLASS WEIGHT` per line, with blanks, a tab, a comma or a semicolon between, and may
    have a heading; JSON is one object `{CLASS: WEIGHT}`. A class is its name or its number from 0.

    Args:
        path: The file.
        num_classes: How many classes there are.
        class_names: Their names; None: only numbers are known.

    Raises:
        DataError: The file is damaged, a class is unknown or missing, or a weight is below 0.
    """
    numbers = {str(number): number for number in range(num_classes)}
    numbers |= {name: number for number, name in enumerate(class_names or ())}
    weights: dict[int, float] = {}
    problems: list[str] = []
    for where, name, text in _pairs(path):
        number, weight = numbers.get(name), finite_number(text)
        if number is None:
            known = few(map(repr, class_names or list(numbers)))
            problems.append(f"{where}: {name!r} is not one of the classes ({known})")
        elif weight is None or weight < 0:
            problems.append(f"{where}: weight {brief(text)}, expected a number of 0 or more")
        elif number in weights:
            problems.append(f"{where}: {name!r} has a weight already")
        else:
            weights[number] = weight
    raise_all(path, problems)
    absent = [
        class_names[number] if class_names else str(number)
        for number in range(num_classes)
        if number not in weights
    ]
    if absent:
        raise DataError(
            f"{path}: no weight for {len(absent):,} of {counted(num_classes, 'class')}: "
            f"{few(map(repr, absent))}; every class needs one"
        )
    if math.isclose(sum(weights.values()), 0.0):
        raise DataError(f"{path}: all weights are 0: nothing would be learnt")
    return [weights[number] for number in range(num_classes)]


def _pairs(path: Path) -> Iterator[tuple[str, str, object]]:
    """Place, class and weight, as the file writes them."""
    text = text_of(path)
    if text.lstrip()[:1] in ("{", "["):
        content = json_of(path, text)
        if not isinstance(content, dict):
            raise DataError(f"{path}: a JSON list; {_EXPECTED}")
        for name, weight in cast("dict[str, object]", content).items():
            yield str(path), name, weight
        return
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: empty; {_EXPECTED}")
    for place, (number, line) in enumerate(lines):
        name, weight = _cut(line)
        is_heading = finite_number(weight) is None and integer(name) is None
        if place == 0 and is_heading and len(lines) > 1 and line.lower().startswith("class"):
            continue
        if not name or not weight:
            raise DataError(f"{path}:{number}: {_EXPECTED}, got {brief(line)}")
        yield f"{path}:{number}", name, weight


def _cut(line: str) -> tuple[str, str]:
    """Class and weight: cut at the last sign between columns, since names may have blanks."""
    for sign in ("\t", ",", ";", "|", " "):
        if sign in line:
            name, _, weight = line.rpartition(sign)
            return name.strip().strip('"').strip(), weight.strip()
    return line, ""
