"""Submissions of QVHighlights: read, written, and scored against a file of sentences."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videozoo.data.annotations.moment_results import (
    MomentAnswer,
    read_submission,
    write_submission,
)
from videozoo.errors import DataError
from videozoo.tasks.moments.submissions import score_submission

PUBLISHED = Path(
    os.environ.get("QVHIGHLIGHTS", Path(__file__).parents[3] / "shared" / "data" / "qvhighlights")
)
"""A folder with `sample_val_preds.jsonl` and `highlight_val_release.jsonl` of moment_detr."""

TRUTH = [
    {
        "qid": 1,
        "query": "A man runs.",
        "vid": "a",
        "duration": 10,
        "relevant_windows": [[0, 4], [6, 10]],
        "relevant_clip_ids": [0, 1, 3, 4],
        "saliency_scores": [[4, 4, 4], [2, 2, 2], [2, 2, 2], [2, 2, 2]],
    },
    {"qid": 2, "query": "He sits.", "vid": "b", "duration": 10, "relevant_windows": [[0, 4]]},
]
ANSWERS = [
    {
        "qid": 1,
        "query": "A man runs.",
        "vid": "a",
        "pred_relevant_windows": [[6, 10, 0.9], [0, 4, 0.8]],
        "pred_saliency_scores": [0.9, 0.1, 0.0, 0.2, 0.3],
    },
    {"qid": 2, "query": "He sits.", "vid": "b", "pred_relevant_windows": [[5, 9, 0.5]]},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_a_submission_is_scored_by_any_of_several_true_moments(tmp_path: Path):
    truth = write(tmp_path / "val.jsonl", TRUTH)

    found = score_submission(write(tmp_path / "ours.jsonl", ANSWERS), truth)

    assert found.notes == ()
    assert found.scores.recall_1[0] == 0.5
    assert found.scores.mean_ap == 0.5
    assert found.scores.highlights["very_good"] == (1.0, 1.0)


def test_what_a_submission_lacks_is_said_and_counts_as_missed(tmp_path: Path):
    lost = {**TRUTH[1], "qid": 3, "relevant_windows": []}
    truth = write(tmp_path / "val.jsonl", [*TRUTH, lost])
    extra = {**ANSWERS[0], "qid": 9}
    unordered = {**ANSWERS[0], "pred_relevant_windows": [[6, 10, 0.1], [0, 4, 0.8]]}
    long = {**unordered, "pred_saliency_scores": [0.5] * 50}

    found = score_submission(write(tmp_path / "ours.jsonl", [long, extra]), truth)

    assert (found.scores.sentences, found.scores.unanswered) == (2, 1)
    assert found.scores.recall_1[0] == 0.5
    for note, said in zip(
        found.notes,
        [
            "2 of 3 sentences without an answer: counted as misses",
            "1 answer to sentences that the truth does not have",
            "1 of 3 sentences without a true moment: left out",
            "1 answer with a moment before one of a higher score",
            "1 answer with a number of scores of clips",
        ],
        strict=True,
    ):
        assert note.startswith(said)


def test_sentences_without_identifiers_are_told_by_video_and_words(tmp_path: Path):
    truth = tmp_path / "charades.txt"
    truth.write_text("a 6 10##a man runs\nb 0 4##He sits.\n")

    found = score_submission(write(tmp_path / "ours.jsonl", ANSWERS), truth)

    assert found.scores.recall_1[0] == 0.5
    assert found.scores.highlights == {}


def test_only_the_subset_that_is_answered_counts(tmp_path: Path):
    truth = tmp_path / "truth.csv"
    truth.write_text(
        "video,start,end,caption,split\nx,0,9,He eats.,train\na,6,10,A man runs.,val\n"
        "b,5,9,He sits.,val\n"
    )

    found = score_submission(write(tmp_path / "ours.jsonl", ANSWERS), truth)

    assert (found.scores.sentences, found.scores.recall_1[0]) == (2, 1.0)
    assert "'val' is scored, of its subsets 'train', 'val'" in found.notes[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"qid": 1, "vid": "a"}], "line 1: pred_relevant_windows: expected .* got None"),
        ([{**ANSWERS[0], "pred_relevant_windows": [[0, 4]]}], r"got \[\[0, 4\]\]"),
        ([{**ANSWERS[0], "pred_saliency_scores": ["x"]}], "line 1: pred_saliency_scores: exp"),
        ([ANSWERS[0], ANSWERS[0]], "qid 1 is there twice: .*line 1 and .*line 2"),
        ([{**ANSWERS[0], "qid": None}], "line 1: expected `qid` and `vid`"),
        (TRUTH, "line 1: pred_relevant_windows: expected"),
        ([{**ANSWERS[0], "vid": "c"}], "line 1: qid 1 is about c, but about a in"),
        ([{**ANSWERS[0], "qid": 5}], r"answers none of the 2 sentences .* by `qid`; it has 5 \(a"),
    ],
)
def test_a_submission_that_cannot_be_scored_is_one_error(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
):
    truth = write(tmp_path / "val.jsonl", TRUTH)

    with pytest.raises(DataError, match=message):
        score_submission(write(tmp_path / "ours.jsonl", rows), truth)


@pytest.mark.parametrize("text", ["", "a 1 2##A man runs.\n", "[]", "{}"])
def test_a_file_of_something_else_is_told_the_form(tmp_path: Path, text: str):
    (tmp_path / "a.txt").write_text(text)

    with pytest.raises(DataError, match=r"a\.txt: .*expected a submission of QVHighlights"):
        read_submission(tmp_path / "a.txt")


def test_what_is_written_is_read_again(tmp_path: Path):
    moments = np.array([[0.25, 4.5], [6.0, 10.0]])
    ours = [
        MomentAnswer(
            query=query, video="a", sentence="é", moments=moments, scores=np.array([2.0, -1.5])
        )
        for query in (1, "x")
    ]
    silent = MomentAnswer(
        query=3, video="b", sentence="", moments=np.zeros((0, 2)), scores=np.zeros(0)
    )

    write_submission(tmp_path / "a.jsonl", [*ours, silent])
    found = read_submission(tmp_path / "a.jsonl")

    assert [one.query for one in found] == [1, "x", 3]
    assert found[0].sentence == "é"
    np.testing.assert_array_equal(found[1].moments, moments)
    np.testing.assert_array_equal(found[1].scores, [2.0, -1.5])
    assert found[2].moments.shape == (0, 2)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"no predictions of moment_detr at {PUBLISHED}")
def test_published_scores_of_moment_detr_come_out():
    """Its `sample_val_preds_metrics_raw.json`, rounded to two digits there."""
    found = score_submission(
        PUBLISHED / "sample_val_preds.jsonl", PUBLISHED / "highlight_val_release.jsonl"
    )

    assert found.notes == ()
    assert found.scores.sentences == 1550
    assert found.scores.published == pytest.approx(
        {
            "MR-full-R1@0.5": 53.94,
            "MR-full-R1@0.7": 34.84,
            "MR-full-mAP": 32.2,
            "MR-full-mAP@0.5": 54.96,
            "MR-full-mAP@0.75": 31.01,
            "MR-short-mAP": 3.28,
            "MR-middle-mAP": 32.3,
            "MR-long-mAP": 41.11,
            "HL-min-Fair-mAP": 67.77,
            "HL-min-Fair-Hit1": 66.45,
            "HL-min-Good-mAP": 58.09,
            "HL-min-Good-Hit1": 64.45,
            "HL-min-VeryGood-mAP": 35.65,
            "HL-min-VeryGood-Hit1": 55.55,
        },
        abs=0.00501,
    )
