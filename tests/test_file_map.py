"""The map of files in CONTRIBUTING.md has every file, and no other."""

from tools.file_map import PAGE, file_map, updated


def test_the_map_is_that_of_the_files():
    page = PAGE.read_text(encoding="utf-8")

    assert updated(page) == page, "run: python tools/file_map.py"


def test_every_file_says_what_it_is():
    lines = [line for line in file_map().splitlines() if ".py" in line.partition(" ")[0]]

    assert lines
    assert [line for line in lines if len(line.split(maxsplit=1)) < 2] == []
