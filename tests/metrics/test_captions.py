import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoo.errors import RunError
from videozoo.metrics import captions
from videozoo.metrics.captions import (
    WITHOUT_JAVA,
    Meteor,
    TimedCaption,
    caption_scores,
    dense_caption_scores,
    ptb_tokens,
    simple_tokens,
    tokenized,
)

pytest.importorskip("pycocoevalcap", reason="pip install 'videozoo[captions]'")

GOLDEN = Path(__file__).parents[1] / "golden/caption_metrics"
PUBLISHED = Path(__file__).parents[3] / "shared/data/captions/nlg_eval"

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java")

RECORDED_NAMES = {
    "bleu_1": "Bleu_1",
    "bleu_2": "Bleu_2",
    "bleu_3": "Bleu_3",
    "bleu_4": "Bleu_4",
    "rouge_l": "ROUGE_L",
    "cider": "CIDEr",
    "meteor": "METEOR",
    "precision": "Precision",
    "recall": "Recall",
}


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        return None

    monkeypatch.setattr(captions.shutil, "which", nothing)


def recorded(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / name).read_text("utf-8"))


def texts(which: str) -> tuple[list[list[str]], list[str]]:
    """References and captions: `` as written, `tok_` cut into words."""
    data = recorded("caption.json")
    keys = list(data["references"])
    return (
        [data[f"{which}references"][key] for key in keys],
        [data[f"{which}hypotheses"][key][0] for key in keys],
    )


def test_recorded_scores_of_words_come_out():
    expected = recorded("caption.json")["scores"]

    found = caption_scores(*texts("tok_"))

    assert tuple(found.corpus) == WITHOUT_JAVA
    for name, value in found.corpus.items():
        theirs = expected[RECORDED_NAMES[name]]
        assert value == pytest.approx(theirs["corpus"], abs=1e-12)
        np.testing.assert_allclose(found.each[name], theirs["each"], rtol=0, atol=1e-12)


def test_the_simple_tokenizer_cuts_recorded_sentences_as_ptb_does():
    for plain, cut in zip(texts(""), texts("tok_"), strict=True):
        flat = [t for some in plain for t in ([some] if isinstance(some, str) else some)]
        words = [t for some in cut for t in ([some] if isinstance(some, str) else some)]
        assert [simple_tokens(text) for text in flat] == words


@needs_java
def test_ptb_cuts_sentences_as_recorded_and_line_by_line():
    (_, plain), (_, words) = texts(""), texts("tok_")

    assert ptb_tokens([*plain, "", "two\nlines.", "A (big) dog's"]) == [
        *words,
        "",
        "two lines",
        "a -lrb- big -rrb- dog 's",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S. team isn't well-known.", "the u.s. team is n't well-known"),
        ("I'm sure they've done it, o'clock!", "i 'm sure they 've done it o'clock"),
        ('He says "go" -- and they cannot...', "he says go and they can not"),
        ("1,000 men (or so) at 3:30; 50 %", "1,000 men -lrb- or so -rrb- at 3:30 50 %"),
        ("<unk> sits", "<unk> sits"),
        ("  ", ""),
    ],
)
def test_simple_words(text: str, words: str):
    assert simple_tokens(text) == words


@given(st.text(max_size=40))
def test_any_text_can_be_cut_and_words_are_cut_no_further(text: str):
    words = simple_tokens(text)

    assert words == " ".join(words.split())
    assert not {".", ",", "!", "?"} & set(words.split())


@pytest.mark.usefixtures("no_java")
def test_without_java_words_are_still_cut_and_a_note_says_how():
    words, note = tokenized(["A dog's life."])

    assert words == ["a dog 's life"]
    assert "without Java" in note


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize(
    ("start", "what"), [(Meteor, "METEOR"), (lambda: ptb_tokens([]), "PTB tokenizer")]
)
def test_without_java_the_error_says_how_to_install_it(start: Any, what: str):
    with pytest.raises(RunError, match=rf"{what} needs Java.*apt-get install default-jre"):
        start()


def test_a_caption_like_its_reference_scores_highest():
    found = caption_scores([["a man runs fast"], ["two dogs play ball"]], ["a man runs fast"] * 2)

    for name in WITHOUT_JAVA:
        assert found.each[name][0] > found.each[name][1]
    assert found.each["cider"][0] == pytest.approx(10)
    assert found.each["rouge_l"][0] == pytest.approx(1)


def test_empty_captions_and_references_score_nothing():
    found = caption_scores([["a man"], [""]], ["", "a man"])

    assert all(np.isfinite(values).all() for values in found.each.values())
    assert found.corpus["cider"] == 0
    assert caption_scores([[""]], [""]).corpus["cider"] == 0


def test_numbers_of_texts_must_fit():
    with pytest.raises(ValueError, match="1 sets of references for 2 captions"):
        caption_scores([["a"]], ["a", "b"])
    with pytest.raises(ValueError, match="no set empty"):
        caption_scores([[]], ["a"])
    with pytest.raises(ValueError, match="at least one"):
        caption_scores([], [])


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]):
    caption_scores(*texts("tok_"))

    assert capfd.readouterr() == ("", "")


# ---- dense captioning ---------------------------------------------------------------------------


def submitted() -> dict[str, list[TimedCaption]]:
    return {
        video: [TimedCaption(e["timestamp"][0], e["timestamp"][1], e["sentence"]) for e in entries]
        for video, entries in recorded("submission.json")["results"].items()
    }


def truths() -> list[dict[str, list[TimedCaption]]]:
    return [
        {
            video: [
                TimedCaption(start, end, sentence)
                for (start, end), sentence in zip(e["timestamps"], e["sentences"], strict=True)
            ]
            for video, e in recorded(name).items()
        }
        for name in ("val_1.json", "val_2.json")
    ]


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize("seed", [0, 1])
def test_recorded_scores_of_events_come_out_without_java(seed: int):
    expected = recorded("densevid_scores.json")

    found = dense_caption_scores(
        submitted(), truths(), meteor=False, tious=expected["tious"], seed=seed
    )

    assert "without Java" in found.note
    for name, values in found.by_tiou.items():
        theirs = RECORDED_NAMES[name]
        np.testing.assert_allclose(values, expected["scores"][theirs], rtol=0, atol=1e-12)
        assert found.average[name] == pytest.approx(expected["average"][theirs], abs=1e-12)


@pytest.mark.usefixtures("no_java")
def test_only_the_first_predictions_count_and_unknown_videos_do_not():
    truth = {"a": [TimedCaption(0, 10, "a dog runs far")]}
    wrong, right = TimedCaption(50, 60, "a cat"), TimedCaption(0, 10, "a dog runs far")

    def scored(*entries: TimedCaption, most: int = 1000) -> dict[str, float]:
        predictions = {"a": entries, "b": [right]}
        return dense_caption_scores(
            predictions, [truth], meteor=False, tious=(0.5,), most=most
        ).average

    assert scored(wrong, right)["recall"] == 1
    assert scored(wrong, right)["precision"] == 0.5
    assert scored(wrong, right, most=1)["recall"] == 0
    assert scored(right)["rouge_l"] == pytest.approx(1)
    assert set(scored().values()) == {0.0}


@pytest.mark.usefixtures("no_java")
def test_a_video_counts_by_the_person_who_agrees_best():
    first = {"a": [TimedCaption(0, 10, "x"), TimedCaption(20, 30, "x")]}
    second = {"a": [TimedCaption(0, 10, "x")]}
    ours = {"a": [TimedCaption(0, 10, "x")]}

    found = dense_caption_scores(ours, [first, second], meteor=False, tious=(0.5,))

    assert found.by_tiou["recall"] == (1.0,)
    assert dense_caption_scores(ours, [first], meteor=False, tious=(0.5,)).by_tiou["recall"] == (
        0.5,
    )


def test_somebody_must_have_described_something():
    with pytest.raises(ValueError, match="no video has a true caption"):
        dense_caption_scores({}, [{}], meteor=False)


# ---- METEOR, which takes long to start ----------------------------------------------------------


@pytest.mark.slow
@needs_java
def test_meteor_gives_recorded_scores_and_stands_odd_texts():
    expected = recorded("caption.json")["scores"]["METEOR"]
    references, hypotheses = texts("tok_")

    with Meteor() as meteor:
        corpus, each = meteor.scores(references, hypotheses)
        assert meteor.scores([["a dog"], ["a ||| cat"], ["ä"], [""]], ["", "a cat", "ä", "a"])[
            1
        ].tolist() == [0.0, 1.0, 1.0, 0.0]
        dense = dense_caption_scores(submitted(), truths(), meteor=True, tious=(0.5,))

    assert corpus == pytest.approx(expected["corpus"], abs=1e-12)
    np.testing.assert_allclose(each, expected["each"], rtol=0, atol=1e-12)
    scores = recorded("densevid_scores.json")
    at = scores["tious"].index(0.5)
    assert dense.average["meteor"] == pytest.approx(scores["scores"]["METEOR"][at], abs=1e-12)


def _published() -> tuple[list[list[str]], list[str]]:
    if not PUBLISHED.exists():
        pytest.skip("the published example is not here")
    files = [
        (PUBLISHED / name).read_text("utf-8").splitlines()
        for name in ("hyp.txt", "ref1.txt", "ref2.txt")
    ]
    return [list(pair) for pair in zip(files[1], files[2], strict=True)], files[0]


def test_published_scores_come_out():
    """Those of nlg-eval's own example."""
    found = caption_scores(*_published()).corpus

    expected = {
        "bleu_1": 0.55,
        "bleu_2": 0.428174,
        "bleu_3": 0.284043,
        "bleu_4": 0.201143,
        "rouge_l": 0.522104,
        "cider": 1.242192,
    }
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@needs_java
def test_published_meteor_comes_out():
    references, hypotheses = _published()

    with Meteor() as meteor:
        assert meteor.scores(references, hypotheses)[0] == pytest.approx(0.295797, abs=1e-6)
