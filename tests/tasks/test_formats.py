"""`videozoo formats` shows every format with its example."""

import json

import pytest

from videozoo.cli import main
from videozoo.data.format_groups import GROUPS
from videozoo.tasks.formats import markdown


def test_all_formats_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["formats"]) == 0

    out, err = capsys.readouterr()
    for group in GROUPS:
        assert f"{group.name}: {group.title}\n" in out
        for one in group.formats:
            assert f"\n  {one.name} " in out
    assert "videozoo formats GROUP" in err


@pytest.mark.parametrize("word", ["captions", "moments", "Sentences"])
def test_a_group_is_shown_with_its_examples(word: str, capsys: pytest.CaptureFixture[str]):
    assert main(["formats", word]) == 0

    out = capsys.readouterr().out
    assert out.startswith("sentences: Captions and moments\n")
    assert "\nCharades-STA\n" in out
    assert "\n  charades_sta_train.txt\n    a 1.0 2.5##A man runs.\n" in out


def test_one_word_may_name_two_tables(capsys: pytest.CaptureFixture[str]):
    assert main(["formats", "features"]) == 0

    out = capsys.readouterr().out
    assert "\nfeature packs\n" in out
    assert "\narrays: " in out


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["formats", "clips", "--json"]) == 0

    rows = json.loads(capsys.readouterr().out)
    assert {row["group"] for row in rows} == {"clips"}
    assert any(row["example"].startswith("label,youtube_id,") for row in rows)


def test_an_unknown_group_is_told_the_known_ones(capsys: pytest.CaptureFixture[str]):
    assert main(["formats", "videosegments"]) == 2

    assert "expected one of: clips, lists, videos, multi-label, segments" in capsys.readouterr().err


def test_the_page_has_every_format():
    page = markdown()

    for group in GROUPS:
        assert f"## {group.title}\n" in page
        for one in group.formats:
            assert f"### {one.name}\n" in page
            assert f"```\n{one.example.rstrip()}\n```\n" in page
