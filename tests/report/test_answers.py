"""Answers as a page, as subtitles and as a table say what the models said, whatever the names."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from videozoo.data.synthetic.clips import write_video
from videozoo.errors import RunError, UsageError
from videozoo.report.answer_page import answer_page, clock, link_to, ticks_of, write_answer_page
from videozoo.report.answer_table import COLUMNS, csv_text, plain_text, write_csv
from videozoo.report.answers import (
    ModelAnswers,
    Row,
    VideoAnswer,
    answers_of,
    by_video,
    rows_of,
    rows_of_one,
    told_over_time,
)
from videozoo.report.subtitles import MOST_LINES, cues_of, srt, webvtt, write_subtitles
from videozoo.results import (
    Caption,
    Label,
    Moment,
    Segment,
    VideoCaptions,
    VideoLabels,
    VideoMoments,
    VideoSegments,
    WindowScores,
)

NASTY = "</script><script>alert('ü \U0001f600')</script>\" onload=\"x & --> {\\an8} <b>.mp4"


def said_of(
    name: str, path: Path | None = None, seconds: float | None = 20.0
) -> list[ModelAnswers]:
    """One answer of every kind."""
    labels = VideoLabels(video=name, labels=(Label("run", 0.9, 0), Label("=jump", 0.1, 1)))
    segments = VideoSegments(
        video=name,
        duration_seconds=seconds,
        segments=(Segment(3.25, 7.5, 0.9, "run"), Segment(12, 18, 0.3, "jump")),
    )
    others = (Caption(3, 7, "a woman runs", -2.5),)
    captions = VideoCaptions(
        video=name, captions=(Caption(3, 7, f"{name} runs", -1.5, others=others),)
    )
    moments = VideoMoments(
        video=name, sentence="x", moments=(Moment(2, 6, 1.25), Moment(9, 11, -1))
    )
    return [
        ModelAnswers(
            title=title,
            videos=[VideoAnswer(result=result, path=path, duration_seconds=seconds)],
        )
        for title, result in zip(
            ("TSM", "C-TCN", "ETS", "TALL"), (labels, segments, captions, moments), strict=True
        )
    ]


def together(*parts: list[ModelAnswers]) -> list[ModelAnswers]:
    return [
        ModelAnswers(title=models[0].title, videos=[one for each in models for one in each.videos])
        for models in zip(*parts, strict=True)
    ]


def span(start: float, end: float, name: str = "run", score: float = 0.9) -> Row:
    return Row(
        video="v", model="m", kind="segment", name=name, score=score, rank=1, start=start, end=end
    )


# --- the page


class Page(HTMLParser):
    """All elements of a page with their attributes, and its text; refuses what is left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.texts.append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag and all(wanted[key] in (found.get(key) or "") for key in wanted)
        ]


def page_of(models: list[ModelAnswers], folder: Path = Path("/runs/a")) -> Page:
    return Page(answer_page(by_video(models), folder=folder))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "ü 'quoted'; a=b#c?.mp4"
    shades = np.linspace(0, 255, 30).astype(np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (30, 32, 48, 3)).copy()
    write_video(path, frames, frames_per_second=10)
    return path


def test_every_answer_is_on_the_page_with_its_times():
    page = page_of(said_of("v"))

    spans = page.all("button", **{"class": "span"})
    times = {(each["data-start"], each["data-end"]) for each in spans}
    assert times == {
        ("3.250", "7.500"), ("12.000", "18.000"), ("3.000", "7.000"), ("2.000", "6.000"),
        ("9.000", "11.000"),
    }  # fmt: skip
    text = "".join(page.texts)
    for words in ("TSM", "C-TCN", "ETS", "TALL", "=jump", "v runs", "a woman runs", "00:03.2"):
        assert words in text
    (time,) = page.all("div", **{"class": "time"})
    assert time["data-length"] == "20.000"
    placed = next(each["style"] or "" for each in spans if each["data-start"] == "12.000")
    assert "left:60.000%;width:30.000%" in placed


def test_only_what_holds_surely_is_told_while_the_video_plays():
    page = page_of(said_of("v"))

    told = [each["data-told"] for _, each in page.elements if "data-told" in each]

    assert told == [
        "run",
        "v runs",
        "x",
    ]  # not `jump`, which is far less sure; not the worse moment


def test_names_may_be_anything_and_nothing_is_loaded_from_elsewhere(tmp_path: Path):
    path = tmp_path / "videos" / NASTY.replace("/", "|")
    path.parent.mkdir()
    path.write_bytes(b"video")
    text = answer_page(by_video(together(said_of(NASTY, path), said_of("v"))), folder=tmp_path)
    page = Page(text)

    assert len(page.all("script")) == 1
    assert not [key for _, found in page.elements for key in found if key.startswith("on")]
    assert f"{NASTY} runs" in page.texts
    links = [
        found[key] or "" for _, found in page.elements for key in ("src", "href") if key in found
    ]
    own = {each for each in links if not each.startswith("#")}
    assert {(tmp_path / unquote(each)).resolve() for each in own} == {path.resolve()}
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_lets_no_script_run_but_its_own():
    (policy,) = page_of(said_of("v")).all("meta", **{"http-equiv": "Content-Security-Policy"})

    rules = dict(rule.split(maxsplit=1) for rule in (policy["content"] or "").split(";"))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["script-src"])


def test_a_page_links_its_videos_and_they_are_where_it_says(film: Path):
    folder = film.parent / "runs" / "x"
    video = page_of(said_of("v", film), folder).all("video")[0]

    assert (folder / unquote(video["src"] or "")).resolve() == film.resolve()
    assert link_to(Path("/data/a b.mp4"), Path("/runs/x")) == "file:///data/a%20b.mp4"
    assert link_to(Path("/a:b/c:d.mp4"), Path("/a:b")) == "c%3Ad.mp4"


def test_a_film_strip_needs_no_other_file(film: Path, tmp_path: Path):
    models = said_of("v", film, None)
    path = write_answer_page(tmp_path / "page.html", models, media="frames")
    page = Page(path.read_text("utf-8"))

    images = page.all("img")
    assert len(images) == 24
    assert all((each["src"] or "").startswith("data:image/jpeg;base64,") for each in images)
    assert not page.all("video")
    seconds = [float(each["data-seek"] or "") for each in page.all("button", **{"class": "frame"})]
    assert seconds == sorted(seconds)
    assert 0 <= seconds[0] < 0.2
    assert 2.8 < seconds[-1] < 3
    assert path.stat().st_size < 200_000


def test_several_videos_have_an_index_and_ranks_that_lead_to_the_second():
    models = together(said_of("a"), said_of("b"))
    best = VideoMoments(video="b", sentence="x", moments=(Moment(5, 6, 7.0),))
    models[3] = ModelAnswers(title="TALL", videos=[models[3].videos[0], VideoAnswer(result=best)])

    page = page_of(models)

    assert [each["id"] for each in page.all("section", **{"class": "video"})] == [
        "video0",
        "video1",
    ]
    links = [each for each in page.all("a") if (each["href"] or "").startswith("#")]
    assert {each["href"] for each in links} == {"#video0", "#video1"}
    of_moments = [each for each in links if each.get("data-seek") in ("5.000", "2.000", "9.000")]
    assert [each["href"] for each in of_moments] == ["#video1", "#video0", "#video0"]


def test_moments_that_are_probably_not_there_are_marked_and_not_told():
    doubted = VideoMoments(video="v", sentence="x", moments=(Moment(2, 6, 0.5),), least_score=0.8)
    page = page_of([ModelAnswers(title="TALL", videos=[VideoAnswer(result=doubted)])])

    assert "probably not there" in page.texts
    assert not [each for _, each in page.elements if "data-told" in each]
    assert not cues_of(rows_of([ModelAnswers(title="TALL", videos=[VideoAnswer(result=doubted)])]))


def test_all_true_moments_of_a_sentence_are_drawn_below_those_that_were_found():
    found = VideoMoments(video="v", sentence="x", moments=(Moment(2, 6, 0.5), Moment(7, 9, 0.1)))
    answer = VideoAnswer(result=found, duration_seconds=10.0, truths=[(1.0, 5.0), (8.0, 10.0)])

    text = answer_page(
        by_video([ModelAnswers(title="TALL", videos=[answer])]), folder=Path("/runs/a")
    )

    assert text.count('class="span true"') == 2
    assert 'style="left:80.000%;width:20.000%" title="true: 00:08.0 to 00:10.0"' in text


def along(count: int, *segments: Segment) -> list[ModelAnswers]:
    """What a clip model says along a video of `count` seconds: `hop` grows, `run` falls to 0."""
    edges = np.arange(count + 1, dtype=np.float64)
    rising = np.linspace(0, 0.4, count)
    scores = np.stack([0.1 - rising / 4, rising, 1 - rising, *np.full((3, count), 0.001)], axis=1)
    windows = WindowScores(
        np.stack([edges[:-1], edges[1:]], axis=1), scores[:, :5], ("run", "hop", "sit", "a", "b")
    )
    result = VideoSegments(
        video="v", duration_seconds=float(count), segments=segments, windows=windows
    )
    return [ModelAnswers(title="TSM", videos=[VideoAnswer(result=result)])]


def test_scores_along_a_video_are_drawn_below_the_segments_of_their_class():
    page = page_of(along(8, Segment(5, 8, 0.4, "hop"), Segment(0, 1, 0.03, "run")))

    # a class with segments first, the highest of them before; `run` is too weak for a segment here
    curves = [str(each["aria-label"]) for each in page.all("svg", **{"class": "curve"})]
    assert [name.split()[2] for name in curves] == ["hop", "run", "sit", "a"]
    assert "up to 0.40" in curves[0]
    assert "1 segment below 0.04 only in the table" in page.texts
    assert len(page.all("button", **{"class": "span"})) == 1
    assert len(str(page.all("polygon")[0]["points"]).split()) == 2 + 2 * 8

    silent = page_of(along(8))
    said = "Note: TSM found nothing in it that it is sure of; its scores are drawn below."
    assert said in silent.texts
    assert len(silent.all("polygon")) == 4

    (curve, *_) = by_video(along(7200, Segment(5, 8, 0.4, "hop")))[0].curves
    assert len(curve.scores) == 600
    assert (curve.ends[-1], curve.scores.max()) == (7200.0, pytest.approx(0.4))


def test_classes_of_a_video_that_hardly_score_are_in_the_table_only():
    labels = (Label("yellow", 0.93, 0), Label("red", 0.2, 1), Label("green", 0.001, 2))
    answer = VideoAnswer(result=VideoLabels(video="v", labels=labels), duration_seconds=4.0)
    page = page_of([ModelAnswers(title="TSN", videos=[answer])])

    assert [each["title"] for each in page.all("span", **{"class": "whole"})] == ["yellow", "red"]
    assert "green" in page.texts


def test_times_that_are_no_seconds_get_an_axis_of_their_own():
    shares = VideoSegments(
        video="v", duration_seconds=None, segments=(Segment(0.5, 1, 0.9, "run"),)
    )
    frames = VideoMoments(video="v", sentence="x", moments=(Moment(64, 128, 1),), unit="frames")
    page = page_of(
        [
            ModelAnswers(title="BMN", videos=[VideoAnswer(result=shares)]),
            ModelAnswers(title="TALL", videos=[VideoAnswer(result=frames)]),
        ]
    )

    text = "".join(page.texts)
    assert "shares of a video of unknown length" in text
    assert "numbers of frames" in text
    assert "50.0 %" in text
    assert not page.all("div", **{"class": "playhead"})
    assert not [each for _, each in page.elements if "data-seek" in each]


def test_lengths_and_times_that_do_not_agree_are_said():
    late = VideoSegments(video="v", duration_seconds=10.0, segments=(Segment(15, 16, 0.5, "run"),))
    text = "".join(
        page_of(
            [ModelAnswers(title="BMN", videos=[VideoAnswer(result=late, duration_seconds=40.0)])]
        ).texts
    )
    assert "lengths of the video do not agree: 10.0 s and 40.0 s; 40.0 s is taken" in text
    text = "".join(page_of([ModelAnswers(title="BMN", videos=[VideoAnswer(result=late)])]).texts)
    assert "times lie after the end of the video: 16.0 s, and it lasts 10.0 s" in text
    none = VideoSegments(video="v", duration_seconds=10.0, segments=())
    text = "".join(page_of([ModelAnswers(title="BMN", videos=[VideoAnswer(result=none)])]).texts)
    assert "BMN found nothing in it" in text


def test_a_long_video_has_hours_on_its_axis_and_few_ticks():
    assert len(ticks_of(7 * 86400)) <= 9
    page = page_of(said_of("v", None, 7300.0))

    shown = [each for each in page.texts if re.fullmatch(r"\d:\d\d:\d\d", each)]
    assert shown[:3] == ["2:01:40", "0:00:00", "0:30:00"]
    assert clock(7300) == "2:01:40"


def test_the_same_film_of_two_models_is_one_video_and_two_films_of_one_name_are_two(tmp_path: Path):
    one, other = tmp_path / "x" / "a.mp4", tmp_path / "y" / "a.mp4"
    models = together(said_of("x/a.mp4", one), said_of("a", other))

    videos = by_video(models)

    assert [each.name for each in videos] == ["x/a.mp4", "y/a.mp4"]
    assert {row.model for row in videos[0].rows} == {"TSM", "C-TCN", "ETS", "TALL"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    within, rows = tmp_path / "file" / "x", rows_of(said_of("v"))
    with pytest.raises(RunError, match=r"x: cannot be written"):
        write_answer_page(within, said_of("v"))
    with pytest.raises(RunError, match=r"x: cannot be written"):
        write_csv(within, rows)
    with pytest.raises(RunError, match=r"x\.vtt: cannot be written"):
        write_subtitles(within.parent, "x", rows)


# --- subtitles


def read_back(text: str) -> list[tuple[float, float, list[str]]]:
    """Cues of a file, read as players do: blocks between empty lines, times, lines."""
    cues: list[tuple[float, float, list[str]]] = []
    for block in re.split(r"\n\n+", text.strip("\n")):
        lines = block.split("\n")
        place = next((number for number, line in enumerate(lines) if "-->" in line), None)
        if place is None:
            continue
        times = [
            sum(
                float(part) * unit
                for part, unit in zip(each.split(":"), (3600, 60, 1), strict=True)
            )
            for each in lines[place].replace(",", ".").split(" --> ")
        ]
        cues.append((times[0], times[1], lines[place + 1 :]))
    return cues


def test_subtitles_say_each_sentence_at_its_time_and_both_formats_agree():
    rows = rows_of(said_of("v"))

    cues = cues_of(rows)

    parsed = read_back(webvtt(cues))
    assert parsed == read_back(srt(cues))
    assert [(start, end) for start, end, _ in parsed] == [
        (2.0, 3.0), (3.0, 3.25), (3.25, 6.0), (6.0, 7.0), (7.0, 7.5),
    ]  # fmt: skip
    assert [lines for _, _, lines in parsed] == [
        ["x"], ["v runs", "x"], ["run", "v runs", "x"], ["run", "v runs"], ["run"],
    ]  # fmt: skip
    assert srt(cues).startswith("1\n00:00:02,000 --> 00:00:03,000\nx\n\n2\n")


@pytest.mark.parametrize("name", [NASTY, "a --> b", "<b>bold</b> & more", "two\nlines\n\nand", "1"])
def test_no_name_breaks_a_subtitle_file(name: str):
    cues = cues_of([span(0.5, 2, name), span(4, 5, "after")])
    shown = " ".join(name.split())

    for text in (webvtt(cues), srt(cues)):
        parsed = read_back(text)
        assert [(start, end) for start, end, _ in parsed] == [(0.5, 2.0), (4.0, 5.0)]
        assert text.count("-->") == 2
        assert parsed[1][2] == ["after"]
    (_, _, (vtt_line,)), (_, _, (srt_line,)) = read_back(webvtt(cues))[0], read_back(srt(cues))[0]
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", vtt_line)
    assert vtt_line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == shown
    assert srt_line.replace("\u200b", "") == shown
    assert not re.search(r"<\w|</|\{\\", srt_line)


def test_cues_never_overlap_nor_grow_over_the_picture():
    rng = np.random.default_rng(0)
    rows = [
        span(start, start + length, f"name {number}")
        for number, (start, length) in enumerate(rng.uniform(0, 10, (40, 2)).tolist())
    ]

    cues = cues_of(rows)

    assert all(cue.end > cue.start and 1 <= len(cue.lines) <= MOST_LINES for cue in cues)
    assert all(one.end <= other.start for one, other in pairwise(cues))


def test_unsure_unnamed_and_untimed_answers_are_no_subtitles(tmp_path: Path):
    untimed = Row(video="v", model="m", kind="label", name="run", score=1.0, rank=1)
    unnamed = span(0, 1, "")
    assert cues_of([untimed, unnamed]) == []
    assert write_subtitles(tmp_path, "v", [untimed, unnamed]) == []
    assert not list(tmp_path.iterdir())
    assert len(told_over_time([span(0, 1), span(0.5, 2, score=0.8), span(2, 3, score=0.4)])) == 1
    (cue,) = cues_of([span(5, 5)])  # no time at all: shown as shortly as possible
    assert (cue.start, cue.end) == (5000, 5001)


# --- the table


def test_the_table_reads_back_what_was_said():
    text = csv_text(rows_of(said_of(NASTY)))

    assert text.count("\r\n") == text.count("\n") == 9
    lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert lines[0] == list(COLUMNS)
    assert lines[1] == [NASTY, "TSM", "", "", "run", "0.9", "1"]
    assert lines[2][4:] == ["'=jump", "0.1", "2"]
    assert lines[3] == [NASTY, "C-TCN", "3.25", "7.5", "run", "0.9", "1"]
    assert [line[4:] for line in lines[5:7]] == [
        [f"{NASTY} runs", "-1.5", "1"],
        ["a woman runs", "-2.5", "2"],
    ]


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "'=x",
        "''@",
        "it's",
        "'",
        "",
        "\t=x",
        "a\r\nb",
        'say "x", y',
        "ü\U0001f600",
    ],
)
def test_no_spreadsheet_computes_a_name_and_the_name_comes_back(name: str):
    (_, line) = csv.reader(io.StringIO(csv_text([span(0, 1, name)]), newline=""), strict=True)

    assert not line[4].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert plain_text(line[4]) == name


def test_times_that_are_no_seconds_are_left_out_of_the_table():
    shares = VideoSegments(
        video="v", duration_seconds=None, segments=(Segment(0.5, 1, 0.9, "run"),)
    )
    rows = rows_of([ModelAnswers(title="BMN", videos=[VideoAnswer(result=shares)])])

    assert csv_text(rows).splitlines()[1] == "v,BMN,,,run,0.9,1"


# --- results of Python programs


def test_results_find_their_files_by_name(film: Path):
    result = VideoLabels(video=str(film), labels=(Label("run", 0.9, 0),))
    (model,) = answers_of([result])
    assert model.videos[0].path == film
    assert model.videos[0].duration_seconds == pytest.approx(3.0)
    other = VideoLabels(video="x", labels=(Label("run", 0.9, 0),))
    models = answers_of({"TSM": [other], "TSN": [result]}, videos={"x": film})
    assert [each.title for each in models] == ["TSM", "TSN"]
    assert models[0].videos[0].path == film
    listed = VideoLabels(video=film.stem, labels=(Label("run", 0.9, 0),))
    both = answers_of({"TSM": [result], "NeXtVLAD": [listed]}, videos=[film])
    assert [len(each.rows) for each in by_video(both)] == [2]  # one video
    apart = [replace(listed, video=name) for name in ("x__a", "y__a")]
    found = answers_of(apart, videos=["x/a.mp4", "y/a.mp4"])[0].videos
    assert [each.path for each in found] == [Path("x/a.mp4"), Path("y/a.mp4")]
    with pytest.raises(UsageError, match="are both called 'a'"):
        answers_of([replace(listed, video="a")], videos=["x/a.mp4", "y/a.mp4"])
    with pytest.raises(UsageError, match="there are none"):
        answers_of([])
    with pytest.raises(UsageError, match=r"a dict, expected what \.predict returned"):
        answers_of([{"video": "x"}])  # pyright: ignore[reportArgumentType]


def test_of_several_classes_all_that_score_enough_are_told():
    labels = tuple(Label(name, score, n) for n, (name, score) in enumerate(SEVERAL))
    result = VideoLabels(video="v", labels=labels, least_score=0.5)

    rows = list(rows_of_one(VideoAnswer(result=result, part_seconds=(1.0, 3.0))))

    assert [(row.rank, row.is_likely) for row in rows] == [(1, True), (2, True), (3, False)]
    assert [row.name for row in told_over_time(rows)] == ["run", "jump"]
    alone = replace(result, least_score=None)
    rows = list(rows_of_one(VideoAnswer(result=alone, part_seconds=(1.0, 3.0))))
    assert [row.name for row in told_over_time(rows)] == ["run"]
    assert [label.name for label in result.there] == ["run", "jump"]
    assert [label.name for label in alone.there] == ["run"]


SEVERAL = [("run", 0.9), ("jump", 0.6), ("swim", 0.2)]
