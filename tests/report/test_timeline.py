"""Pictures of what happens when."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from videozoo.report import drawing
from videozoo.report.drawing import ACCENT, GOOD
from videozoo.report.timeline import HeatRow, Span, SpanRow, Timeline, _lanes, timeline_picture

LEFT, PLOT = 190, 700  # where the rows lie


def test_heat_is_brightest_where_the_value_is_largest():
    values = np.zeros(10)
    values[7] = 0.4

    picture = np.asarray(
        timeline_picture(Timeline(title="a", length=10, rows=[HeatRow(name="rgb", values=values)]))
    )

    row = picture[60 + 17, LEFT : LEFT + PLOT].astype(int).sum(axis=1)
    assert set(np.flatnonzero(row == row.max()) // 70) == {7}


def test_a_single_peak_among_many_values_is_not_lost():
    values = np.zeros(5000)
    values[4321] = 1

    picture = np.asarray(
        timeline_picture(Timeline(title="a", length=10, rows=[HeatRow(name="rgb", values=values)]))
    )

    row = picture[60 + 17, LEFT : LEFT + PLOT].astype(int).sum(axis=1)
    assert abs(int(row.argmax()) - 4321 / 5000 * PLOT) <= 1


def test_spans_stand_where_they_are_in_time():
    rows = [
        SpanRow(name="truth", spans=[Span(start=2, end=4)], kind="truth"),
        SpanRow(name="found", spans=[Span(start=5, end=10, score=1.0)]),
    ]

    picture = np.asarray(timeline_picture(Timeline(title="a", length=10, rows=rows)))

    truth = np.flatnonzero((picture[60 + 12, LEFT:] == GOOD).all(axis=1))
    found = np.flatnonzero((picture[60 + 24 + 14 + 12, LEFT:] == ACCENT).all(axis=1))
    assert (truth.min(), truth.max()) == (140, 279)
    assert (found.min(), found.max()) == (350, 699)


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0.01, 50)).map(
            lambda pair: Span(start=pair[0], end=pair[0] + pair[1])
        ),
        max_size=12,
    )
)
def test_spans_of_one_lane_never_overlap(spans: list[Span]):
    lanes = _lanes(SpanRow(name="", spans=spans), 200)

    assert sum(map(len, lanes)) == len(spans)
    for lane in lanes:
        ordered = sorted((one.span for one in lane), key=lambda span: span.start)
        assert all(a.end <= b.start for a, b in pairwise(ordered))


def test_nothing_to_show_is_a_picture_too():
    empty = [SpanRow(name="found", spans=[]), HeatRow(name="rgb", values=np.zeros(0))]

    picture = timeline_picture(Timeline(title="", length=0.5, unit="frames", rows=empty))

    assert picture.height > 100


def test_a_text_wider_than_its_bar_stands_beside_it_and_nothing_covers_it():
    spans = [
        Span(start=1, end=1.4, text="1. Throwing the discus 0.41"),
        Span(start=1.5, end=3, text="2. jump 0.31"),
        Span(start=39, end=39.5, text="3. jump 0.12"),
        Span(start=10, end=39, text="4. jump 0.10"),
    ]

    lanes = _lanes(SpanRow(name="", spans=spans), 40)

    placed = {one.span.text[0]: one for lane in lanes for one in lane}
    assert {key: one.text_at for key, one in placed.items()} == {
        "1": "after",
        "2": "after",
        "3": "before",
        "4": "inside",
    }
    for lane in lanes:
        ordered = sorted(one.taken for one in lane)
        assert all(a[1] <= b[0] for a, b in pairwise(ordered))


def test_a_legend_says_how_to_read_the_rows():
    heat = HeatRow(name="start", values=np.array([0.1, 0.9]))
    found = SpanRow(name="found", spans=[Span(start=5, end=9, score=0.5)])
    truth = SpanRow(name="truth", spans=[Span(start=5, end=9)], kind="truth")

    def legend(*rows: HeatRow | SpanRow) -> set[tuple[int, int, int]]:
        picture = np.asarray(timeline_picture(Timeline(title="a", length=10, rows=rows)))
        strip = picture[-(20 + 14)]  # through the middle of the swatches
        return {(int(r), int(g), int(b)) for r, g, b in strip}

    brightest = (252, 255, 164)
    assert brightest in legend(heat)
    assert not {ACCENT, GOOD} & legend(heat)
    assert {ACCENT, brightest, GOOD} <= legend(heat, found, truth)
    assert {ACCENT, brightest, GOOD} & legend(found) == {ACCENT}


SENTENCE = (
    "A man in a red jacket walks slowly across the muddy field towards the old wooden barn while "
    "two dogs run around him."
)
CHINESE = "\u4e00\u4e2a\u7a7f\u7740\u7ea2\u8272\u5939\u514b\u7684\u7537\u4eba\u6162\u6162\u5730" * 3


@given(
    st.sampled_from([SENTENCE, CHINESE, "x" * 150, "word " * 30, "e\u0301" * 90, "", "a  b"]),
    st.integers(12, 20),
    st.integers(60, 400),
)
def test_a_wrapped_text_is_whole_and_no_line_is_too_wide(text: str, size: int, width: int):
    lines = drawing.wrapped(text, size, width, most=200)

    font = drawing.font_for(drawing.printable(text), size)
    assert all(font.getlength(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    short = drawing.wrapped(text, size, width, most=2)
    assert len(short) <= 2
    assert short[0] == lines[0] or len(lines) == 1


def test_long_sentences_are_written_in_full_beside_their_row_and_above_all():
    def height(title: str, *names: str) -> int:
        rows = [SpanRow(name=name, spans=[Span(start=1, end=3)]) for name in names]
        return timeline_picture(Timeline(title=title, length=10, rows=rows)).height

    one_line = height("a", "a man runs")
    assert height("a", SENTENCE) > one_line + 3 * 14
    assert height("a", CHINESE) > one_line
    assert height(f"{SENTENCE} {SENTENCE}", "a man runs") > one_line + 2 * 17
    rows = [HeatRow(name=SENTENCE, values=np.ones(3))]
    assert timeline_picture(Timeline(title="a", length=10, rows=rows)).height > one_line + 3 * 14
