from __future__ import annotations

import base64
import io
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videozoo.errors import RunError
from videozoo.report.charts import Confusion, Curve, Panel, confusion_svg, curve_svg, worst_pairs
from videozoo.report.html import Headline, PredictionCard, Report, render, write_report

NASTY = "\"><script>alert('&')</script>-->$x^2$ #010203 id=\"url(#"


class Page(HTMLParser):
    """All elements of a page with their attributes, all its text, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [value for _, found in self.elements if (value := found.get(name)) is not None]


def frames(count: int = 8, height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3)).astype(np.uint8)


def card(
    name: str = "clip.mp4", *, truth: str | None = "jumps", best: str = "jumps"
) -> PredictionCard:
    return PredictionCard(
        name=name, frames=frames(), top=[(best, 0.75), ("falls", 0.2)], truth=truth
    )


def panel(name: str = "TSM", y: Sequence[float] = (0.2, 0.5, 0.9)) -> Panel:
    return Panel(title="Accuracy", curves=[Curve(name=name, x=range(1, len(y) + 1), y=y)])


def confusion(names: Sequence[str]) -> Confusion:
    size = len(names)
    counts = np.random.default_rng(0).integers(0, 9, (size, size))
    return Confusion(title="Which for which", counts=counts, class_names=names)


def full(text: str = "jumps") -> Report:
    return Report(
        title=text,
        summary=text,
        headlines=[Headline(label=text, value=text, note=text, share=0.5, is_main=True)],
        explanation=[text],
        panels=[panel(text)],
        confusions=[confusion([text, "b", "c"])],
        predictions=[card(text, truth=text, best=text), card(text, truth=None)],
        errors=[card(text, truth=text)],
        details=[(text, text)],
        made=text,
    )


# --- the page


def test_texts_of_users_are_shown_and_never_run():
    page = Page(render(full(NASTY)))

    assert page.open == []
    assert not any(tag == "script" for tag, _ in page.elements)
    assert not any(name.startswith("on") for _, found in page.elements for name in found)
    # title, heading, summary, card (3), explanation, details (2), footer; in charts it is shortened
    assert page.text.count(NASTY) >= 10


def test_the_page_asks_for_nothing_from_anywhere():
    text = render(full())

    page = Page(text)
    addresses = page.attributes("src") + page.attributes("href") + page.attributes("xlink:href")
    addresses += re.findall(r"url\(([^)]*)\)", text)

    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "@import" not in text
    assert not {"link", "script", "iframe", "object"} & {tag for tag, _ in page.elements}
    policy = next(v for v in page.attributes("content") if "default-src" in v)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_no_two_elements_share_an_id_and_references_find_theirs():
    report = Report(
        title="t", summary="s", panels=[panel(), panel("TSN")], confusions=[confusion("ab")]
    )
    text = render(report)

    ids = Page(text).attributes("id")

    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", text)) <= set(ids)


def test_the_same_results_make_the_same_page():
    assert render(full()) == render(full())


def test_pictures_can_be_heard():
    page = Page(render(full()))

    heard = [found.get("aria-label") for _, found in page.elements if found.get("role") == "img"]

    assert "8 frames of jumps, in order from left to right" in heard
    assert any(label and "goes from 0.2 to 0.9" in label for label in heard)
    assert any(label and "Commonest errors:" in label for label in heard)
    assert all(heard)


def test_right_and_wrong_differ_by_words():
    right, wrong, unknown = (
        Page(render(Report(title="t", summary="s", predictions=[each]))).text
        for each in (card(), card(truth="falls"), card(truth=None))
    )

    assert "✓ right" in right
    assert "✕ truth: falls" in wrong
    assert "right" not in unknown
    assert "truth" not in unknown


def test_what_is_empty_is_left_out():
    text = render(Report(title="Nothing", summary="Yet."))

    assert "<h2>" not in text
    assert Page(text).open == []


def test_frames_stand_side_by_side_in_order():
    levels = np.linspace(0, 250, 5).astype(np.uint8)
    shades = np.broadcast_to(levels[:, None, None, None], (5, 20, 30, 3)).copy()
    shown = PredictionCard(name="v", frames=shades, top=[("a", 1.0)])

    text = render(Report(title="t", summary="s", predictions=[shown]))

    found = re.search(r"data:image/jpeg;base64,([^)]*)\)", text)
    assert found is not None
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))
    assert strip.shape == (20, 150, 3)
    assert np.abs(strip[10, 15::30, 0].astype(int) - levels).max() < 8
    assert "--count:5;--aspect:1.5000" in text


def test_long_and_large_videos_are_cut_down_to_a_few_small_frames():
    shown = PredictionCard(name="v", frames=frames(64, 224, 320), top=[("a", 1.0)])

    text = render(Report(title="t", summary="s", predictions=[shown]))

    assert "--count:16" in text
    assert len(text) < 400_000


@pytest.mark.parametrize("score", [-0.5, 1.5, float("nan")])
def test_a_score_out_of_range_does_not_leave_its_bar(score: float):
    text = render(
        Report(title="t", summary="s", headlines=[Headline(label="x", value="y", share=score)])
    )

    width = re.search(r"width:([\d.]+)%\"", text)
    assert width is not None
    assert 0 <= float(width[1]) <= 100


@pytest.mark.parametrize("bad", [frames()[0], frames().astype(np.float32), frames()[:0]])
def test_frames_of_another_kind_are_refused_with_the_name_of_the_video(bad: np.ndarray):
    with pytest.raises(ValueError, match=r"'clip\.mp4': frames of shape"):
        render(
            Report(
                title="t",
                summary="s",
                errors=[PredictionCard(name="clip.mp4", frames=bad, top=[("a", 1)])],
            )
        )


def test_the_file_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "new folder" / "report.html"

    assert write_report(path, full()) == path
    before = path.read_text("utf-8")
    with pytest.raises(ValueError, match="3 x for 2 y"):
        write_report(
            path,
            Report(
                title="t",
                summary="s",
                panels=[Panel(title="", curves=[Curve(name="c", x=[1, 2, 3], y=[1, 2])])],
            ),
        )

    assert path.read_text("utf-8") == before
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(RunError, match=r"file/report\.html: cannot be written"):
        write_report(tmp_path / "file" / "report.html", Report(title="t", summary="s"))


# --- the charts


def test_charts_take_their_colours_from_the_page():
    for svg in (curve_svg(panel()), confusion_svg(confusion(["a", "b"]))):
        ElementTree.fromstring(svg)
        assert "var(--ink)" in svg or "var(--line0)" in svg
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", svg)) <= {"#ffffff"}
        assert "<style" not in svg


def test_curves_of_one_run_share_a_colour_and_differ_in_dashes():
    curves = [
        Curve(name=f"{run} {part}", x=[1, 2], y=[0, 1], group=run)
        for run in ("TSM", "TSN")
        for part in ("training", "held out")
    ]

    svg = curve_svg(Panel(title="t", curves=curves))

    lines = re.findall(r'style="fill: none;([^"]*)stroke: var\(--line(\d)\)([^"]*)"', svg)
    drawn = {(colour, before + after) for before, colour, after in lines}
    assert {colour for colour, _ in drawn} == {"0", "1"}
    assert len(drawn) == 4


@pytest.mark.parametrize("y", [[0.5], [float("nan")] * 3, [0.1, float("inf"), 0.3], [], [0.0, 0.0]])
def test_curves_with_little_or_odd_content_are_drawn(y: list[float]):
    ElementTree.fromstring(curve_svg(panel(y=y)))


@pytest.mark.parametrize("classes", [1, 2, 32, 33, 400])
def test_tables_of_any_size_are_drawn_and_only_small_ones_labelled(classes: int):
    names = [f"class number {i}" for i in range(classes)]

    svg = confusion_svg(confusion(names))

    ElementTree.fromstring(svg)
    assert (f">class number {classes - 1}<" in svg) == (classes <= 32)
    assert len(svg) < 600_000


def test_a_class_without_videos_is_an_empty_row():
    table = Confusion(title="t", counts=np.zeros((3, 3), np.int64), class_names=list("abc"))

    assert "0 of 0 right. No errors." in confusion_svg(table)


def test_the_commonest_errors_come_first_and_right_answers_are_none():
    counts = np.array([[9, 1, 0], [0, 9, 4], [2, 0, 9]])

    pairs = worst_pairs(Confusion(title="", counts=counts, class_names=list("abc")), 2)

    assert pairs == [("b", "c", 4), ("c", "a", 2)]


def test_a_table_that_does_not_fit_its_names_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\) for 3 class names"):
        confusion_svg(
            Confusion(title="", counts=np.eye(2, dtype=np.int64), class_names=list("abc"))
        )


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(RunError, match=r"pip install 'videozoo\[report\]'"):
        curve_svg(panel())
    assert "<h1>" in render(Report(title="t", summary="s", predictions=[card()]))


def test_drawing_leaves_the_users_own_settings_alone():
    import matplotlib

    with matplotlib.rc_context({"text.color": "red", "font.size": 31}):
        before = dict(matplotlib.rcParams)
        svg = curve_svg(panel())

        assert dict(matplotlib.rcParams) == before
    assert svg == curve_svg(panel())
