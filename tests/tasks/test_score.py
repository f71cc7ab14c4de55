"""`videozoo score`: result files of any model against the truth."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from videozoo.cli import main
from videozoo.data.features._example import _entry, _sized, _varint, encode
from videozoo.data.features._tfrecord import write_tfrecord
from videozoo.data.features.record_formats import write_shard
from videozoo.data.features.records import FeatureRecord
from videozoo.errors import DataError, UsageError
from videozoo.tasks.score import ScoreRequest, score

REAL = Path(__file__).parents[3] / "shared/data"
NO_REAL = "the sample files of other projects do not lie beside the repository"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Score files that are given by their content: text, or what JSON describes."""

    def scored(
        results: object,
        truth: object,
        names: tuple[str, str] = ("results.json", "truth.json"),
        **options: Any,
    ) -> dict[str, Any]:
        paths = [tmp_path / "found" / names[0], tmp_path / "true" / names[1]]
        for path, content in zip(paths, (results, truth), strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        request = ScoreRequest(results=paths[0], truth=(paths[1],), **options)
        return score(request, console=Console(quiet=True))

    return scored


def annotated(
    videos: Mapping[str, list[tuple[float, float, str]]],
    *,
    seconds: float | None = 100,
    **more: Any,
) -> dict[str, Any]:
    """Annotations of ActivityNet."""
    length = {} if seconds is None else {"duration": seconds}
    return {
        "database": {
            name: {
                **length,
                **more,
                "annotations": [{"segment": [a, b], "label": label} for a, b, label in segments],
            }
            for name, segments in videos.items()
        }
    }


def found(videos: Mapping[str, list[tuple[Any, ...]]]) -> dict[str, Any]:
    """Results of ActivityNet; each entry is (start, end, score) and perhaps a label."""
    return {
        "results": {
            name: [
                {"segment": [a, b], "score": x, **({"label": label[0]} if label else {})}
                for a, b, x, *label in segments
            ]
            for name, segments in videos.items()
        }
    }


# --- segments --------------------------------------------------------------------------------

TRUTH = {"a": [(0.0, 10.0, "run"), (20.0, 30.0, "run")]}
FOUND = {"a": [(0, 9, 0.9, "run"), (50, 60, 0.8, "run"), (22, 30, 0.7, "run")]}


def test_detections_of_activitynet(run: Run):
    facts = run(found(FOUND), annotated(TRUTH), tious=(0.5,))

    assert facts["kind"] == "detections"
    assert facts["metrics"]["map"] == pytest.approx(5 / 6)  # precision 1 and 2/3
    assert [row["class"] for row in facts["detections"]["classes"]] == ["run"]
    assert facts["metrics"]["ar@100"] == 1.0


def test_proposals_have_no_map(run: Run):
    facts = run(found({"a": [(0, 10, 0.9), (21, 30, 0.8), (50, 60, 0.7)]}), annotated(TRUTH))

    assert facts["kind"] == "proposals"
    assert facts["metrics"]["ar@100"] == pytest.approx(0.95)
    assert facts["metrics"]["ar@1"] == pytest.approx(0.5)
    assert "map" not in facts["metrics"]


def test_names_fit_with_v_in_front_and_with_their_files(run: Run):
    both = TRUTH | {"c": [(0.0, 10.0, "run")]}
    results = found({"v_a": FOUND["a"], "clips/c.mp4": [(0, 10, 0.5, "run")]})

    facts = run(results, annotated(both), tious=(0.5,))

    assert (facts["videos"], facts["videos_outside"], facts["missing"]) == (2, [], [])


def test_videos_and_labels_of_one_side_only_are_named(run: Run):
    results = found({**FOUND, "x": [(0, 5, 0.95, "run"), (0, 5, 0.9, "swim")]})
    truth = annotated({**TRUTH, "b": [(0, 5, "jump")]})

    facts = run(results, truth, tious=(0.5,))

    assert (facts["videos_outside"], facts["missing"]) == (["x"], ["b"])
    text = "\n".join(facts["notes"])
    assert "1 video of the results not in the truth, as wrong as" in text
    assert "1 video of the truth without results: b" in text
    assert "1 label of the results not in the truth, with 1 segment" in text
    assert "1 class of the truth without a segment in the results" in text
    # a wrong detection before all others, and a class that nothing finds
    assert facts["metrics"]["map"] == pytest.approx((1 / 2 + 2 / 4) / 2 / 2)


def test_results_of_other_videos_are_refused(run: Run):
    with pytest.raises(DataError, match=r"none of its 1 video is in .*'x' there, 'a' in the truth"):
        run(found({"x": FOUND["a"]}), annotated(TRUTH))


def test_results_with_other_labels_are_refused(run: Run):
    results = found({"a": [(0, 9, 0.9, "3"), (22, 30, 0.7, "4")]})

    with pytest.raises(DataError, match=r"2 of 2 segments have a label that .* --class-names"):
        run(results, annotated(TRUTH))


def test_numbers_of_classes_are_read_by_their_names(run: Run, tmp_path: Path):
    (tmp_path / "names.txt").write_text("jump\nrun\n")
    results = found({"a": [(0, 10, 0.9, "1"), (20, 30, 0.7, "1")]})

    facts = run(results, annotated(TRUTH), class_names=tmp_path / "names.txt")

    assert facts["metrics"]["map"] == 1.0


def test_a_part_of_the_labels_is_refused(run: Run):
    with pytest.raises(DataError, match="1 of 2 segments have no label, unlike the others"):
        run(found({"a": [(0, 9, 0.9, "run"), (0, 9, 0.8)]}), annotated(TRUTH))


def test_results_in_frames_are_refused(run: Run):
    frames = found({"a": [(30 * a, 30 * b, x, n) for a, b, x, n in FOUND["a"][1:]]})

    with pytest.raises(DataError, match=r"reach beyond their video.*frames\? Times of results"):
        run(frames, annotated(TRUTH))
    with pytest.raises(DataError, match=r"2 of 2 segments end later than 3 times the last"):
        run(frames, annotated(TRUTH, seconds=None))


def test_results_in_shares_are_refused(run: Run):
    shares = found({"a": [(a / 100, b / 100, x, n) for a, b, x, n in FOUND["a"]]})

    with pytest.raises(DataError, match="are they shares of the video"):
        run(shares, annotated(TRUTH))


def test_the_subset_of_the_results_counts_and_is_said(run: Run):
    truth = annotated(TRUTH, subset="validation")
    truth["database"] |= annotated({"b": [(0, 5, "jump")]}, subset="training")["database"]

    facts = run(found(FOUND), truth)

    assert facts["truth_format"] == "ActivityNet, validation (1 video)"
    assert any("all results are of validation, and only it counts" in n for n in facts["notes"])
    assert run(found(FOUND), truth, subset="val")["videos_annotated"] == 1
    both = found({**FOUND, "b": [(0, 5, 0.4, "jump")]})
    with pytest.raises(DataError, match=r"has several subsets: .*--subset NAME"):
        run(both, truth)
    chosen = run(both, truth, subset="training")
    assert (chosen["metrics"]["map"], chosen["videos_outside"]) == (1.0, [])
    assert "results of 1 video of other subsets are left out: a" in chosen["notes"]


def test_a_subset_of_truth_without_subsets_is_refused(run: Run):
    with pytest.raises(UsageError, match="has no subsets"):
        run(found(FOUND), annotated(TRUTH), subset="val")


THUMOS = (
    "video,type,start,end\nvideo_test_0000004,Diving,0.2,1.2\nvideo_test_0000004,LongJump,3,5\n"
)


def test_thumos_text_with_numbers_of_ucf101(run: Run):
    lines = "video_test_0000004 0.2 1.2 26 0.9\nvideo_test_0000004 3.0 4.2 51 0.8\n"

    facts = run(lines, THUMOS, ("found.txt", "test_Annotation.csv"))

    assert facts["tious"] == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7])
    assert facts["metrics"]["map@0.5"] == 1.0
    assert facts["metrics"]["map@0.7"] == 0.5
    text = "\n".join(facts["notes"])
    assert "read as those of THUMOS14" in text
    assert "no length of 1 video" in text


def test_a_damaged_line_is_named(run: Run):
    with pytest.raises(DataError, match=r"found\.txt:2: 'a 1 2', expected 'VIDEO START END CLASS"):
        run("a 1 2 run 0.9\na 1 2\n", THUMOS, ("found.txt", "test.csv"))


def test_a_table_of_segments_with_scores(run: Run):
    table = "video,start,end,label,score\na,0,9,run,.9\na,50,60,run,.8\na,22,30,run,.7\n"

    facts = run(table, annotated(TRUTH), ("found.csv", "truth.json"), tious=(0.5,))

    assert facts["metrics"]["map"] == pytest.approx(5 / 6)


def test_segments_of_our_own_predictions(run: Run):
    rows = [{"start_seconds": a, "end_seconds": b, "score": x} for a, b, x, _ in FOUND["a"]]
    shares = {"predictions": [{"video": "a", "segments": [{"start": 0, "end": 1, "score": 1}]}]}

    facts = run({"predictions": [{"video": "a", "segments": rows}]}, annotated(TRUTH))

    assert facts["kind"] == "proposals"
    with pytest.raises(DataError, match="times are shares of the video"):
        run(shares, annotated(TRUTH))


@pytest.mark.skipif(not REAL.is_dir(), reason=NO_REAL)
def test_the_numbers_of_another_project():
    """mAP that MMAction2's own test expects of its small files."""
    folder = REAL / "activitynet/mmaction2_tests/eval_localization"
    request = ScoreRequest(results=folder / "result.json", truth=(folder / "gt.json",))

    facts = score(request, console=Console(quiet=True))

    expected = [0.71428571] * 3 + [0.6875] * 2 + [0.59722222] + [0.52083333] * 3 + [0.5]
    got = [facts["metrics"][f"map@{tiou:g}"] for tiou in facts["tious"]]
    assert got == pytest.approx(expected)
    assert facts["metrics"]["map"] == pytest.approx(0.6177579365079365)


# --- classes of videos -----------------------------------------------------------------------

EVENTS = {
    "a": {"duration": 20, "timestamps": [[0, 5], [6, 9]], "sentences": ["A man runs.", "He sits."]}
}
SCORES = "video,jump,run,swim\na.mp4,0.7,0.2,0.1\nb.mp4,0.1,0.3,0.6\nc.mp4,0.2,0.7,0.1\n"


def test_a_table_of_scores_against_a_list_of_names(run: Run):
    facts = run(SCORES, "x/a.mp4 jump\nx/b.mp4 run\nx/c.mp4 run\n", ("s.csv", "list.txt"))

    assert facts["metrics"] == {"top1": pytest.approx(2 / 3), "mean_class": 0.75}
    assert facts["classes"][1] == {"class": "run", "videos": 2, "right": 1}
    assert "1 class of the results not in the truth: 'swim'" in facts["notes"]


def test_tables_with_decimal_commas_are_scored(run: Run):
    names = ("scores.csv", "truth.csv")
    facts = run(
        "video;run;jump\na.mp4;0,9;0,1\nc.mp4;0,2;0,8\n",
        "video;label\na.mp4;run\nc.mp4;run\n",
        names,
    )
    assert facts["metrics"]["top1"] == 0.5
    facts = run(
        "Video;Start;End;Label;Score\na.mp4;0,1;0,4;run;0,9\n",
        "video,start,end,label\na.mp4,0.1,0.4,run\n",
        names,
    )
    assert facts["metrics"]["map"] == 1


def test_scores_in_order_need_the_names_of_a_truth_with_names(run: Run, tmp_path: Path):
    (tmp_path / "names.txt").write_text("jump\nrun\n")
    scores, truth = {"a": [0.9, 0.1], "b": [0.2, 0.8]}, "a.mp4 jump\nb.mp4 jump\n"

    with pytest.raises(DataError, match="results have numbers and the truth has names"):
        run(scores, truth, ("s.json", "list.txt"))
    facts = run(scores, truth, ("s.json", "list.txt"), class_names=tmp_path / "names.txt")

    assert facts["metrics"]["top1"] == 0.5


def test_lists_that_count_from_one_are_told(run: Run):
    scores = {"a": [0.9, 0.1], "b": [0.2, 0.8]}

    with pytest.raises(DataError, match=r"1 class that .* does not have: '2'.*--first-label 1"):
        run(scores, "a.mp4 1\nb.mp4 2\n", ("s.json", "list.txt"))
    right = run(scores, "a.mp4 1\nb.mp4 2\n", ("s.json", "list.txt"), first_label=1)
    assert right["metrics"]["top1"] == 1.0
    doubtful = run(scores, "a.mp4 1\nb.mp4 1\n", ("s.json", "list.txt"))
    assert any("no video of the truth has class 0" in note for note in doubtful["notes"])


def test_short_lists_of_our_own_predictions_give_no_top_5(run: Run):
    def row(video: str, name: str, label: int) -> dict[str, Any]:
        return {"video": video, "top": [{"class": name, "label": label, "score": 0.9}]}

    names = ["a", "b", "c", "d", "e", "f"]
    rows = [row(f"{name}.mp4", name, number) for number, name in enumerate(names)]
    truth = "".join(f"{name}.mp4 {number}\n" for number, name in enumerate(names))

    facts = run({"predictions": rows}, truth, ("predictions.json", "list.txt"))

    assert (facts["metrics"]["top1"], "top5" in facts["metrics"]) == (1.0, False)
    assert "no top-5: the results list only 1 class of some videos" in facts["notes"]


@pytest.mark.parametrize(
    ("truth", "name", "message"),
    [
        ("a 1.0 2.5##A man runs.\n", "test.txt", "Charades-STA, which has no classes of videos"),
        (EVENTS, "val.json", "expected the classes of the video: names or numbers"),
    ],
)
def test_scores_of_classes_do_not_fit_sentences(run: Run, truth: object, name: str, message: str):
    with pytest.raises(DataError, match=message):
        run(SCORES, truth, ("s.csv", name))


YT8M = "VideoId,LabelConfidencePairs\naa,1 0.9 3 0.4\nbb,2 0.8 1 0.5\n"


def test_tags_of_youtube_8m(run: Run):
    facts = run(YT8M, "VideoId,Labels\naa,1\nbb,1 3\n", ("p.csv", "truth.csv"))

    # in one list: 1 right, 2 wrong, 1 right, 3 wrong; three tags in all
    assert facts["metrics"]["gap"] == pytest.approx((1 + 2 / 3) / 3)
    assert facts["metrics"]["hit_at_one"] == 0.5
    assert facts["metrics"]["perr"] == pytest.approx((1 + 1 / 2) / 2)


def test_tags_against_records_of_features(run: Run, tmp_path: Path):
    frames = np.zeros((2, 3), np.uint8)
    records = [
        FeatureRecord("aa", {"rgb": frames}, (1,)),
        FeatureRecord("bb", {"rgb": frames}, (2,)),
    ]
    write_shard(tmp_path / "val.tfrecord", records)
    (tmp_path / "p.csv").write_text(YT8M)

    request = ScoreRequest(results=tmp_path / "p.csv", truth=(tmp_path / "val.tfrecord",))
    facts = score(request, console=Console(quiet=True))

    assert (facts["metrics"]["hit_at_one"], facts["metrics"]["perr"]) == (1.0, 1.0)
    assert facts["truth_format"] == "records of features (2 videos)"


RATINGS = "a:0,3,1\na:5,3,0\nb:0,3,1\nb:5,3,1\na:0,7,1\n"


def test_rankings_of_segments_of_youtube_8m(run: Run):
    ranking = "Class,Segments\n3,a:5 z:0 a:0 b:0\n9,a:0\n"

    facts = run(ranking, RATINGS, ("submission.csv", "ratings.csv"))

    # class 3: wrong, not rated, right, right, and one is not found; class 7 has no ranking
    assert facts["metrics"]["map"] == pytest.approx((1 / 2 + 2 / 3) / 3 / 2)
    assert facts["missing"] == [7]
    text = "\n".join(facts["notes"])
    assert "1 class of the truth without a ranking, counted as 0: 7" in text
    assert "3 of 5 segments are rated for their class" in text


def test_rankings_against_records_with_labels_of_segments(run: Run, tmp_path: Path):
    write_tfrecord(tmp_path / "val.tfrecord", [rated("a", [(0, 3, 1.0), (5, 3, 0.0)])])
    write_tfrecord(tmp_path / "odd.tfrecord", [rated("a", [(0, 3, 1.0)], more_starts=[5])])
    write_shard(tmp_path / "none.tfrecord", [FeatureRecord("a", {"rgb": np.zeros((9, 2), "u1")})])
    (tmp_path / "s.csv").write_text("3,a:0 a:5\n")

    def scored(name: str) -> dict[str, Any]:
        request = ScoreRequest(results=tmp_path / "s.csv", truth=(tmp_path / name,))
        return score(request, console=Console(quiet=True))

    assert scored("val.tfrecord")["metrics"]["map"] == 1.0
    with pytest.raises(DataError, match="segment_scores do not fit one another"):
        scored("odd.tfrecord")
    with pytest.raises(DataError, match="no labels of segments in 1 record"):
        scored("none.tfrecord")


def rated(
    video: str, ratings: list[tuple[int, int, float]], *, more_starts: Sequence[int] = ()
) -> bytes:
    """A record of YouTube-8M 2019: (start, class, score) per rating."""
    starts = [start for start, _, _ in ratings] + list(more_starts)
    context = numbers("segment_start_times", starts)
    context += numbers("segment_labels", [label for _, label, _ in ratings])
    scores = np.array([score for _, _, score in ratings], "<f4").tobytes()
    context += _entry("segment_scores", _sized(2, _sized(1, scores)))
    message = encode(video, None, {"rgb": np.zeros((12, 2), np.uint8)})
    return message + b"\n" + _varint(len(context)) + context


def numbers(key: str, values: Iterable[int]) -> bytes:
    return _entry(key, _sized(3, _sized(1, b"".join(map(_varint, values)))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3,a:0\n3,a:5\n", "class 3 is there twice"),
        ("3,a:0 a:0\n", "class 3 names a segment twice"),
        ("3,a:0\nx,a:5\n", r"s\.csv:2: 'x,a:5', expected CLASS,VIDEO:START"),
        ("3,c:0\n", r"none of its 1 segment is rated for its class in .*'c:0' there"),
    ],
)
def test_bad_rankings_are_told(run: Run, text: str, message: str):
    with pytest.raises(DataError, match=message):
        run(text, RATINGS, ("s.csv", "ratings.csv"))


def test_classes_of_annotated_segments_as_activitynet_scores_them(run: Run):
    results = {"results": {"a": [{"label": "run", "score": 1.0}]}}
    truth = annotated({**TRUTH, "b": [(0, 5, "jump")]})

    facts = run(results, truth)

    assert facts["metrics"] == {"map": 0.5, "hit_at_one": 0.5}
    assert facts["missing"] == ["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("VideoId,LabelConfidencePairs\naa,1 0.9 3\n", r"p\.csv:2: .*expected VIDEO,LABEL SCORE"),
        ("VideoId,LabelConfidencePairs\naa,1 0.9 1 0.8\n", "aa has a class twice"),
        ("VideoId,LabelConfidencePairs\naa,1 0.9\naa,2 0.8\n", "aa is there twice"),
    ],
)
def test_bad_rows_of_tags_are_named(run: Run, text: str, message: str):
    with pytest.raises(DataError, match=message):
        run(text, "VideoId,Labels\naa,1\n", ("p.csv", "truth.csv"))


@pytest.mark.skipif(not REAL.is_dir(), reason=NO_REAL)
def test_the_samples_of_activitynet_have_the_numbers_of_its_own_code(tmp_path: Path):
    """Recorded from eval_detection.py and eval_classification.py of the challenge.

    The true annotations have no licence to lie here, so the truth is made of the samples, and equal
    scores, whose order decides there, are told apart.
    """
    truth: dict[str, list[tuple[float, float, str]]] = {}
    for kind in ("detection", "classification"):
        sample = REAL / f"activitynet/official_samples/sample_{kind}_prediction.json"
        results = json.loads(sample.read_text())
        if kind == "detection":
            for place, (name, segments) in enumerate(sorted(results["results"].items())):
                best = max(segments, key=lambda one: one["score"])
                start, end = best["segment"]
                shift = (end - start) * (place % 3) / 10
                if start < end and place % 5 != 4:
                    truth[name] = [(start + shift, end + shift, best["label"])]
        ordered = (one for _, found in sorted(results["results"].items()) for one in found)
        for place, one in enumerate(ordered):
            one["score"] -= place * 7919 % 100003 * 1e-7
        (tmp_path / f"{kind}.json").write_text(json.dumps(results))
    (tmp_path / "truth.json").write_text(json.dumps(annotated(truth, seconds=1000)))

    def metrics(kind: str) -> dict[str, float]:
        results, true = tmp_path / f"{kind}.json", (tmp_path / "truth.json",)
        request = ScoreRequest(results=results, truth=true)
        return score(request, console=Console(quiet=True))["metrics"]

    found = metrics("detection")
    assert found["map"] == pytest.approx(0.38506042368433235, rel=1e-12)
    assert found["map@0.65"] == pytest.approx(0.6417473, abs=1e-7)
    assert metrics("classification") == {
        "map": pytest.approx(0.8627676673282307, rel=1e-12),
        "hit_at_one": 1.0,
    }


# --- sentences -------------------------------------------------------------------------------

needs_scorers = pytest.mark.skipif(
    importlib.util.find_spec("pycocoevalcap") is None, reason="pip install 'videozoo[captions]'"
)


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videozoo.metrics.captions.has_java", lambda: False)
    monkeypatch.setattr("videozoo.tasks.captioning.submissions.has_java", lambda: False)


@needs_scorers
@pytest.mark.usefixtures("no_java")
def test_results_of_activitynet_captions(run: Run):
    said = [
        {"timestamp": [0, 5], "sentence": "a man runs"},
        {"timestamp": [6, 9], "sentence": "he sits"},
    ]

    facts = run({"results": {"v_a": said}}, EVENTS)

    assert (facts["kind"], facts["compared"]) == ("captions", 2)
    assert facts["metrics"]["bleu_1"] == pytest.approx(1)
    assert facts["dense"]["precision"] == 1.0
    rows = [{"video": "a", "start_seconds": 0, "end_seconds": 5, "sentence": "a man runs"}]
    own = run({"predictions": rows}, EVENTS, ("predictions.json", "val.json"))
    assert own["dense"]["recall"] == 0.5


@needs_scorers
@pytest.mark.usefixtures("no_java")
def test_captions_of_whole_videos(run: Run):
    truth = {"a": ["A man runs.", "Somebody runs."], "b": ["A dog sits there."]}
    said = [{"image_id": "a", "caption": "a man runs"}, {"image_id": "b", "caption": "a cat"}]

    facts = run(said, truth)

    assert (facts["compared"], facts["references"], facts["dense"]) == (2, 3, {})
    assert 0 < facts["metrics"]["bleu_1"] < 1


@needs_scorers
@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize("said", ["a b.mp4", "a b.MP4", "clips/a b.mp4", "v_a b", "a b"])
def test_captions_meet_the_truth_as_files_or_as_names(run: Run, said: str):
    truth = [{"video": name, "caption": "a man runs"} for name in ("a b", "c")]
    found = [{"video": name, "caption": "a man runs"} for name in (said, "c.mp4")]
    event = {"sentence": "a man runs", "timestamp": [0, 1]}
    timed = {"a b": {"duration": 2, "timestamps": [[0, 1]], "sentences": ["a man runs"]}}

    whole, dense = run(found, truth), run({"results": {said: [event]}}, timed)

    assert whole["metrics"]["bleu_3"] == pytest.approx(1)
    assert dense["compared"] == 1


@pytest.mark.parametrize("ids", [(), (7, 8)])
def test_sentences_of_the_same_words_are_counted_and_told(run: Run, ids: Sequence[int]):
    truth = "a 1 2##A man runs.\na 5 8##a man  runs\nb 1 2##A cat.\n"
    if ids:
        rows = [
            {
                "qid": qid,
                "query": "A man runs.",
                "vid": "a",
                "relevant_windows": [[start, start + 2]],
            }
            for qid, start in zip(ids, (1, 5), strict=True)
        ]
        truth = "\n".join(map(json.dumps, rows)) + "\n"
    top = [{"start": 1, "end": 2, "score": 1}]
    found = {"video": "a", "sentence": "A man runs.", "unit": "seconds", "top": top}

    facts = run({"predictions": [found]}, truth, ("predictions.json", "true.txt"))

    total = len(ids) or 3
    told = f"{total} sentences, 1 of them with the words of another of its video"
    assert any(told in note for note in facts["notes"])
    assert facts["sentences"] == total - 1
    assert facts["mean_tiou"] > 0


@pytest.mark.parametrize("said", ["a b.mp4", "clips/a b.MP4", "v_a b", "a b"])
def test_moments_meet_the_truth_as_files_or_as_names(run: Run, said: str):
    truth = {"a b": {"duration": 9, "timestamps": [[0, 4]], "sentences": ["a man runs"]}}
    top = [{"start": 0, "end": 4, "score": 1}]
    found = {"video": said, "sentence": "a man runs", "unit": "seconds", "top": top}

    assert run({"predictions": [found]}, truth)["mean_tiou"] == 1


def test_texts_of_different_lengths_are_refused(run: Run):
    with pytest.raises(DataError, match=r"ref\.txt: 1 line, but .*hyp\.txt has 2 lines"):
        run("a man runs\na dog sits\n", "A man runs.\n", ("hyp.txt", "ref.txt"))


@pytest.mark.slow  # METEOR starts Java; the other numbers: test_caption_submissions.py
@needs_scorers
@pytest.mark.skipif(not REAL.is_dir(), reason=NO_REAL)
@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java")
def test_the_published_numbers_of_nlg_eval():
    folder = REAL / "captions/nlg_eval"
    truths = (folder / "ref1.txt", folder / "ref2.txt")

    request = ScoreRequest(results=folder / "hyp.txt", truth=truths)
    facts = score(request, console=Console(quiet=True))

    assert {name: round(value, 6) for name, value in facts["metrics"].items()} == {
        "bleu_1": 0.55,
        "bleu_2": 0.428174,
        "bleu_3": 0.284043,
        "bleu_4": 0.201143,
        "rouge_l": 0.522104,
        "cider": 1.242192,
        "meteor": 0.295797,
    }


# --- moments ---------------------------------------------------------------------------------

QUERIES = (
    '{"qid": 1, "query": "A man runs.", "vid": "a", "duration": 60, '
    '"relevant_windows": [[0, 10], [20, 30]]}\n'
    '{"qid": 2, "query": "A dog sits.", "vid": "b", "duration": 60, "relevant_windows": [[4, 8]]}\n'
)


def test_submissions_of_qvhighlights(run: Run):
    answers = (
        '{"qid": 1, "query": "A man runs.", "vid": "a", '
        '"pred_relevant_windows": [[20, 30, 0.9], [0, 10, 0.8]]}\n'
        '{"qid": 2, "query": "A dog sits.", "vid": "b", '
        '"pred_relevant_windows": [[30, 40, 0.9], [4, 8, 0.8]]}\n'
    )

    facts = run(answers, QUERIES, ("found.jsonl", "val.jsonl"))

    assert (facts["kind"], facts["sentences"]) == ("moments", 2)
    assert facts["metrics"]["MR-full-R1@0.5"] == 0.5
    assert facts["metrics"]["MR-full-mAP"] == pytest.approx(0.75)
    recalls = {(one["n"], one["tiou"]): one["share"] for one in facts["recall"]}
    assert (recalls[1, 0.7], recalls[5, 0.7]) == (0.5, 1.0)


def test_moments_of_our_own_predictions_fit_by_their_sentences(run: Run):
    top = [{"start": 4, "end": 8, "score": 0.9}]
    row = {"video": "b", "sentence": "A dog sits.", "unit": "seconds", "top": top}

    facts = run({"predictions": [row]}, QUERIES, ("predictions.json", "val.jsonl"))

    assert facts["metrics"]["MR-full-R1@0.7"] == 0.5
    assert any("1 of 2 sentences without an answer" in note for note in facts["notes"])
    with pytest.raises(DataError, match="moments in vectors, and truth is in seconds"):
        run({"predictions": [row | {"unit": "vectors"}]}, QUERIES, ("p.json", "val.jsonl"))


def test_didemo_is_scored_against_each_person_in_cells(run: Run):
    truth = [
        {"annotation_id": 7, "video": "a.mov", "description": "A man runs.", "num_segments": 6,
         "times": [[1, 2], [1, 2], [0, 0], [1, 2]]},
        {"annotation_id": 8, "video": "b.mov", "description": "A dog sits.", "num_segments": 6,
         "times": [[5, 5], [5, 5], [4, 5], [0, 0]]},
    ]  # fmt: skip
    answers = (
        '{"qid": 7, "query": "A man runs.", "vid": "a.mov", '
        '"pred_relevant_windows": [[5, 15.3, 0.9], [0, 5, 0.8]]}\n'
        '{"qid": 8, "query": "A dog sits.", "vid": "b", '
        '"pred_relevant_windows": [[25, 28, 0.9], [24.8, 29, 0.8], [20, 30, 0.7]]}\n'
    )

    facts = run(answers, truth, ("found.jsonl", "val_data.json"))

    metrics = facts["metrics"]
    assert (metrics["DiDeMo-rank@1"], metrics["DiDeMo-rank@5"]) == (0.5, 1.0)
    assert metrics["DiDeMo-mIoU"] == pytest.approx((1 + (1 + 1 + 0.5) / 3) / 2)


# --- what the user says of the truth -----------------------------------------------------------

EPIC_TRUTH = (
    "video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"
    "a,00:00:00.00,00:00:10.00,run,7,track,8\na,00:00:20.00,00:00:30.00,run,7,track,8\n"
)
SPOT_TRUTH = [
    {"video": "a", "num_frames": 2500, "num_events": 2, "fps": 25,
     "events": [{"frame": frame, "label": "run"} for frame in (125, 625)]},
]  # fmt: skip
IN_FRAMES = "video,start_frame,end_frame,label\na,1,250,run\na,501,750,run\n"


@pytest.mark.parametrize(
    ("truth", "name", "flags", "asked"),
    [
        (EPIC_TRUTH, "epic.csv", {"label_from": "verb"}, "--label-from verb_class"),
        (SPOT_TRUTH, "spot.json", {"spot_seconds": 10.0}, "--spot-seconds 2"),
        (IN_FRAMES, "own.csv", {"frames_per_second": 25.0}, "--frames-per-second 25"),
    ],
)
def test_truth_that_leaves_something_open_is_asked_for_by_flags(
    run: Run, truth: object, name: str, flags: dict[str, Any], asked: str
):
    names = ("results.json", name)

    facts = run(found(FOUND), truth, names, tious=(0.5,), **flags)

    assert facts["metrics"]["map"] == pytest.approx(5 / 6)
    with pytest.raises(DataError, match=f"{asked}(?!.*data\\.)"):
        run(found(FOUND), truth, names)


def test_flags_of_annotations_are_refused_where_there_are_none(run: Run):
    lines = ("a man runs\n", "a man runs\n")

    with pytest.raises(
        UsageError, match=r"--label-from is for annotations of segments, and .*r\.t"
    ):
        run(*lines, ("h.txt", "r.txt"), label_from="verb")


# --- the command -----------------------------------------------------------------------------


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "r.json").write_text(json.dumps(found(FOUND)))
    (tmp_path / "t.json").write_text(json.dumps(annotated(TRUTH)))
    out = tmp_path / "out.json"

    paths = [str(tmp_path / "r.json"), "--truth", str(tmp_path / "t.json")]
    status = main(["score", *paths, "--tious", "0.5", "--json", str(out)])

    assert status == 0
    assert "mAP@0.5" in capsys.readouterr().out
    assert json.loads(out.read_text())["metrics"]["map@0.5"] == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--tious", "1.5"], "--tious 1.5: expected numbers above 0, at most 1"),
        (["--json", "no/such/folder.json"], "expected a file in a folder that exists"),
    ],
)
def test_bad_flags_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], text: str
):
    (tmp_path / "r.json").write_text(json.dumps(found(FOUND)))
    (tmp_path / "t.json").write_text(json.dumps(annotated(TRUTH)))

    paths = [str(tmp_path / "r.json"), "--truth", str(tmp_path / "t.json")]
    assert main(["score", *paths, *flags]) in (1, 2)
    assert text in capsys.readouterr().err


def test_annotations_in_place_of_results_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "t.json").write_text(json.dumps(annotated(TRUTH)))

    assert main(["score", str(tmp_path / "t.json"), "--truth", str(tmp_path / "t.json")]) == 1
    assert "These are annotations" in capsys.readouterr().err
