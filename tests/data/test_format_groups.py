"""Every table of formats belongs to a group, and every row to its test."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import videozoo.data
from tests.data import test_formats as read_tests
from tests.data.test_formats import write
from videozoo.data.format_groups import GROUPS, FormatGroup
from videozoo.data.formats import Format

READ_BY = {
    "clips": read_tests.test_lists_of_videos,
    "segments": read_tests.test_segments,
    "sentences": read_tests.test_sentences,
    "names": read_tests.test_class_names,
    "labels": read_tests.test_classes_of_videos,
    "results": read_tests.test_results,
    "records": read_tests.test_records,
    "features": read_tests.test_layouts_of_features,
    "arrays": read_tests.test_features_of_one_video,
}
"""The test that reads the examples of each group."""


def tables() -> Iterator[tuple[Format[Any, Any], ...]]:
    """Every table of formats in `videozoo.data`."""
    for info in pkgutil.walk_packages(videozoo.data.__path__, "videozoo.data."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, tuple) and value and isinstance(value[0], Format):
                yield value


def test_every_row_is_in_a_group_and_every_group_is_read():
    known = {id(one) for group in GROUPS for one in group.formats}

    assert [one.name for table in tables() for one in table if id(one) not in known] == []
    assert set(READ_BY) == {group.name for group in GROUPS}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_names_differ(group: FormatGroup):
    names = [one.name for one in group.formats]

    assert len(set(names)) == len(names)


def test_every_row_says_what_it_is():
    assert [one.name for group in GROUPS for one in group.formats if not one.about] == []


ROWS = [(group, one) for group in GROUPS for one in group.formats]


@pytest.mark.parametrize(("group", "one"), ROWS, ids=lambda one: one.name)
def test_every_example_has_its_format(tmp_path: Path, group: FormatGroup, one: Format[Any, Any]):
    names = one.example.splitlines() if group.name == "features" else [one.file]
    for name in names:
        if not (tmp_path / name).exists():
            write(tmp_path / name, "" if group.name == "features" else one.example)

    found = group.format_of(tmp_path / Path(names[0]).parts[0])

    assert found is not None
    assert found.name == one.name
