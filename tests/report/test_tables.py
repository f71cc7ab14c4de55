from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from videozoo.metrics.accuracy import AccuracyCounter, ClassAccuracy
from videozoo.report.tables import class_table, prediction_table, summary_table


def printed(table: Table, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_single_views_are_shown_beside_videos_only_when_they_differ():
    metrics = {"top1": 0.75, "loss": 0.5, "view_top1": 0.5}

    assert "50.00 %" in printed(summary_table(metrics))
    assert "0.5000" in printed(summary_table(metrics))
    assert "single view" not in printed(summary_table({"top1": 0.75, "view_top1": 0.75}))


def test_no_videos_at_all_still_give_a_table():
    counter = AccuracyCounter(3)

    assert "-" in printed(summary_table(counter.summary()))
    assert "3 of 3 classes have no videos" in printed(class_table(counter.per_class(), list("abc")))


def test_few_classes_keep_their_order_and_many_show_the_worst_first():
    rows = [ClassAccuracy(i, i, 30) for i in range(30)]
    names = [f"class {i}" for i in range(30)]

    few, many = printed(class_table(rows[:5], names)), printed(class_table(rows[::-1], names))

    assert [line.split("│")[1].strip() for line in few.splitlines()[4:-1]] == names[:5]
    assert "The 20 worst of 30 classes" in many
    assert [line.split("│")[1].strip() for line in many.splitlines()[4:-1]] == names[:20]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int):
    long = "a very long name of a class that never ends " * 5
    top = [{"class": long, "score": 0.5}] * 3

    for table in (
        class_table([ClassAccuracy(0, 1, 2)], [long]),
        prediction_table([{"video": long, "label": long, "top": top}]),
    ):
        assert max(map(len, printed(table, width).splitlines())) <= width


def test_names_cannot_speak_to_the_terminal_or_to_rich():
    names = ["[bold]red[/bold]\x1b[31m\n"]

    text = printed(class_table([ClassAccuracy(0, 1, 1)], names))

    assert "[bold]red[/bold]?[31m?" in text


def test_right_and_wrong_differ_by_more_than_colour():
    def row(label: str | None) -> dict[str, object]:
        return {"video": "v", "label": label, "top": [{"class": "jumps", "score": 0.9}]}

    text = printed(prediction_table([row("jumps"), row("falls"), row(None)]))

    assert "✓ jumps" in text
    assert "✕ falls" in text
    assert "unknown" in text


def test_truth_has_no_column_where_it_is_not_known():
    found = [{"video": "v", "label": None, "top": [{"class": "jumps", "score": 0.9}]}]

    assert "truth" not in printed(prediction_table(found))
    assert "0.900" in printed(prediction_table(found))


def test_of_very_many_predictions_a_table_shows_the_first():
    one = {"video": "v", "label": None, "top": [{"class": "jumps", "score": 0.9}]}

    text = " ".join(printed(prediction_table([one] * 1001)).split())

    assert "Predictions: the first 1,000 of 1,001; the file named below has all" in text
    assert text.count("jumps") == 1000
    assert "the first" not in printed(prediction_table([one] * 1000))
