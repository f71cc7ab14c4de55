"""Sentences with times, vocabularies, and batches of events."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videozoo.data.annotations.sentences import TimedSentence, read_timed_sentences
from videozoo.data.captions import (
    PADDING,
    CaptionDataset,
    Vocabulary,
    build_vocabulary,
    count_unknown,
    input_events,
    load_events,
    read_part,
    read_vocabulary,
)
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.errors import DataError
from videozoo.models import ets
from videozoo.settings.captions import CaptionData

LANGUAGE = Path(__file__).parents[3] / "shared" / "data" / "language" / "vslnet"
needs_data = pytest.mark.skipif(not LANGUAGE.is_dir(), reason=f"no files at {LANGUAGE}")
WORDS = Vocabulary(["<s>", "<e>", "<unk>", "a", "man", "runs"])
DIM = 3


class Attack:
    """A pickle of it would run code."""

    def __reduce__(self):
        return print, ("it ran",)


def features_of(number: int, rows: int = 20) -> np.ndarray:
    return np.random.RandomState(number).rand(rows, DIM).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path) -> CaptionData:
    """Three videos of four seconds as 2019 kept them, and five events."""
    folder = tmp_path / "features"
    folder.mkdir()
    for number in range(3):
        (folder / f"v_{number}").write_bytes(pickle.dumps(features_of(number), protocol=2))
    lines = [
        "v_0\t0.3\t2.43\ta man runs",
        "v_1\t0\t4\ta dog runs away",
        "v_2\t1.2\t1.9\truns",
        "",
        "v_0\t2\t3\ta man",
        "v_1\t3.9\t9\ta a a",
    ]
    (tmp_path / "events.list").write_text("\n".join(lines))
    return CaptionData(
        train=tmp_path / "events.list",
        val=tmp_path / "events.list",
        features=folder,
        num_workers=0,
    )


@needs_data
@pytest.mark.parametrize(
    ("file", "videos", "sentences"),
    [
        ("charades/charades_sta_train.txt", None, 12_408),
        ("charades/charades_sta_test.txt", None, 3_720),
        ("tacos/train.json", 75, 9_790),
        ("tacos/val.json", 27, 4_436),
        ("tacos/test.json", 25, 4_001),
        ("activitynet/train.json", 10_009, None),
        ("activitynet/val_1.json", 4_917, None),
        ("activitynet/val_2.json", 4_885, None),
    ],
)
def test_public_annotations_parse_completely(file: str, videos: int | None, sentences: int | None):
    found = read_timed_sentences(LANGUAGE / file)

    assert sentences in (None, len(found))
    assert videos in (None, len(found.videos))
    assert all(one.sentence for one in found.sentences)


def test_forms_of_file_say_the_same(tmp_path: Path):
    entry = {"duration": 9.0, "timestamps": [[1, 2.5]], "sentences": [" A man  runs. "]}
    frames = {"fps": 10, "num_frames": 90, "timestamps": [[10, 25]], "sentences": ["A man runs."]}
    files = {
        "anet.json": json.dumps({"v": entry}),
        "tacos.json": json.dumps({"v": frames}),
        "charades.txt": "v 1.0 2.5##A man runs.\n",
        "ets.list": "v\t1\t2.5\tA man runs.\n",
    }
    found = list[tuple[str, float, float, str]]()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (one,) = read_timed_sentences(tmp_path / name).sentences
        found.append((one.video, one.start_seconds, one.end_seconds, one.sentence))

    assert set(found) == {("v", 1.0, 2.5, "A man runs.")}
    assert read_timed_sentences(tmp_path / "tacos.json").durations == {"v": 9.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 1 2##  ", "line 1: the sentence is empty"),
        ("v 1 two##a man", "line 1: expected seconds, got '1' and 'two'"),
        ('{"v": {"timestamps": [[1, 2]], "sentences": []}}', "v: 1 timestamp for 0 sentences"),
        ('{"v": {"timestamps": [[1]], "sentences": ["a"]}}', r"expected \[start, end\], got \[1\]"),
        ('{"v": {"timestamps": [[1, 2]], "sentences": [""]}}', "sentence 0: the sentence is empty"),
        ("{", "not valid JSON"),
        ("\nv 1 2##a man\nv one man", "line 3: expected `VIDEO START END##sentence`, got"),
        ("v\t1\t2\t3\t4", "line 1: expected video, start, end and sentence with tabs"),
        ('{"query": "a", "vid": "v"}\n{"a": 2}', "line 2: expected an object with `vid`, .* got a"),
        ("v 1 2##...", "line 1: the sentence '...' has no word"),
        ('{"v": {"timestamps": [[1, 2]], "sentences": [7]}}', "v: sentence 0: expected a sentence"),
        ('{"v": {"timestamps": 7, "sentences": []}}', "v: `timestamps` and `sentences` are not"),
        ('{"v": {"timestamps": []}, "v": {"timestamps": []}}', "'v' is there twice"),
        ('{"query": "a", "vid": "v", "relevant_windows": [[1]]}', r"line 1: v: .*got \[\[1\]\]"),
        ('{"query": "a", "vid": "v"}\n{"query"', "line 2: not valid JSON"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str, message: str):
    (tmp_path / "a.txt").write_text(text)

    with pytest.raises(DataError, match=message) as error:
        read_timed_sentences(tmp_path / "a.txt")

    assert "\n" not in str(error.value)


def said(*texts: str) -> list[TimedSentence]:
    return [
        TimedSentence(video="v", start_seconds=0, end_seconds=1, sentence=text, where="")
        for text in texts
    ]


@given(st.lists(st.text(alphabet="abc ABC.,!", min_size=1), min_size=1), st.integers(1, 3))
def test_words_of_a_vocabulary_are_known_and_the_others_counted(texts: list[str], least: int):
    sentences = said(*texts)

    vocabulary = build_vocabulary(sentences, min_count=least)
    found = count_unknown(sentences, vocabulary)

    assert vocabulary.words[:3] == ("<s>", "<e>", "<unk>")
    assert found.unknown <= found.total
    assert (least > 1) or not found.unknown
    assert ("not in the vocabulary" in found.note) == (found.unknown > 0)


def test_a_vocabulary_has_one_word_per_line(tmp_path: Path):
    (tmp_path / "dict.txt").write_text("".join(f"{word}\n" for word in WORDS.words))
    (tmp_path / "2019.txt").write_text("<s> -1\n<e> -1\n<unk> -1\na 9\nman 7\nruns 5\n")

    assert read_vocabulary(tmp_path / "dict.txt").words == WORDS.words
    assert read_vocabulary(tmp_path / "2019.txt").words == WORDS.words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a <e> <unk>", "first words are 'a' and '<e>', expected '<s>' and '<e>'"),
        ("<s> <e> a", "no word '<unk>'"),
        ("<s> <e> <unk> a a", "'a' is there twice"),
    ],
)
def test_a_vocabulary_that_cannot_work_is_refused(tmp_path: Path, words: str, message: str):
    (tmp_path / "dict.txt").write_text("\n".join(words.split()))

    with pytest.raises(DataError, match=message):
        read_vocabulary(tmp_path / "dict.txt")


def test_events_become_rows_and_numbers_of_words(data: CaptionData):
    events = load_events(data, "val", feature_dim=DIM)

    dataset = CaptionDataset(events, WORDS, data, feature_dim=DIM)
    batches = list(EvalLoader(dataset, data, batch_size=2))

    assert [len(batch) for batch in batches] == [2, 2, 1]
    first = batches[0]
    assert first.lengths.tolist() == [11, 20]  # int(0.3 * 5) to int(2.43 * 5 + 0.5)
    assert np.array_equal(first.features[0, :11].numpy(), features_of(0)[1:12])
    assert not first.features[0, 11:].any()
    assert first.words.tolist() == [[0, 3, 4, 5, PADDING], [0, 3, 2, 5, 2]]
    assert first.targets.tolist() == [[3, 4, 5, 1, PADDING], [3, 2, 5, 2, 1]]
    assert (PADDING, WORDS.words[ets.START], WORDS.words[ets.END]) == (ets.PADDING, "<s>", "<e>")
    assert batches[2].lengths.tolist() == [1]  # the end of the event is beyond the video


def test_an_event_outside_its_video_is_refused_or_skipped(data: CaptionData):
    assert data.train is not None
    data.train.write_text("v_0\t0\t1\ta man\nv_0\t7\t8\truns\n")

    def read(data: CaptionData) -> list[int]:
        events = load_events(data, "val", feature_dim=DIM)
        batches = EvalLoader(
            CaptionDataset(events, WORDS, data, feature_dim=DIM), data, batch_size=2
        )
        return [number for batch in batches for number in batch.events.tolist()]

    with pytest.raises(DataError, match=r"line 2: v_0 7 to 8 s shows nothing of its video") as e:
        read(data)
    assert "features of 4 s" in str(e.value)
    assert read(data.model_copy(update={"outside": "skip"})) == [0]


def test_an_interrupted_epoch_goes_on_where_it_stopped(data: CaptionData):
    events = load_events(data, "train", feature_dim=DIM)
    batches = TrainLoader(
        CaptionDataset(events, WORDS, data, feature_dim=DIM, seed=3), data, batch_size=2
    )

    whole = list(batches.epoch(1))
    rest = list(batches.epoch(1, skip_batches=1))

    assert len(whole) == 2
    assert torch.equal(whole[1].features, rest[0].features)
    assert torch.equal(whole[1].words, rest[0].words)


def test_features_may_be_npy_or_a_pack_that_tells_its_rate(data: CaptionData, tmp_path: Path):
    (tmp_path / "npy").mkdir()
    extractor = {"model": "tsn", "rate": 2.5}
    with PackWriter(tmp_path / "pack", extractor=extractor) as pack:
        for number in range(3):
            np.save(tmp_path / "npy" / f"v_{number}.npy", features_of(number))
            pack.write(FeatureRecord(f"v_{number}", {"rgb": features_of(number)}, None))
    lengths = list[list[int]]()
    for name in ("npy", "pack"):
        chosen = data.model_copy(update={"features": tmp_path / name})
        events = load_events(chosen, "val", feature_dim=DIM)
        batches = EvalLoader(
            CaptionDataset(events, WORDS, chosen, feature_dim=DIM), chosen, batch_size=9
        )
        lengths.append(next(iter(batches)).lengths.tolist())

    assert lengths == [[11, 20, 4, 5, 1], [6, 10, 2, 3, 11]]
    whole = input_events((str(tmp_path / "pack"),), data, DIM)
    assert [one.end_seconds for one in whole.events] == [8.0] * 3
    assert whole.features.extractor == extractor


def test_features_that_do_not_fit_are_named(data: CaptionData):
    assert data.features is not None

    def read(dim: int = DIM) -> None:
        events = load_events(data, "val", feature_dim=dim)
        dataset = CaptionDataset(events, WORDS, data, feature_dim=dim)
        list(EvalLoader(dataset, data, batch_size=2))

    with pytest.raises(DataError, match=r"v_0: 3 values per step, expected model.feature_dim=4"):
        read(4)
    (data.features / "v_1").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(DataError, match="v_1: refused: this pickle asks to run"):
        read()
    (data.features / "v_1").unlink()
    with pytest.raises(DataError, match="1 of 3 videos have no features here: v_1"):
        read()


def test_qvhighlights_is_read_and_its_moments_are_counted(tmp_path: Path):
    common = {"vid": "a", "duration": 9.0}
    rows = [
        {"qid": 0, "query": "A man runs.", **common, "relevant_windows": [[1, 2]]},
        {"qid": 1, "query": "He sits.", **common, "relevant_windows": [[0, 1], [4, 6]]},
    ]
    lines = "\n".join(map(json.dumps, rows))
    for name, text in (("a.jsonl", f"{lines}\n"), ("a.json", json.dumps(rows))):
        (tmp_path / name).write_text(text)

        found = read_timed_sentences(tmp_path / name)

        assert [(one.video, one.sentence) for one in found.sentences] == [
            ("a", "A man runs."),
            ("a", "He sits."),
            ("a", "He sits."),
        ]
        assert [(one.start_seconds, one.end_seconds) for one in found.sentences] == [
            (1, 2),
            (0, 1),
            (4, 6),
        ]
        assert found.durations == {"a": 9.0}
        assert found.num_several == 1


def labelled(**changed: Any) -> str:
    row = {
        "qid": 7,
        "query": "A man runs.",
        "vid": "a",
        "duration": 9,
        "relevant_windows": [[0, 2], [6, 9]],
        "relevant_clip_ids": [0, 3, 4],
        "saliency_scores": [[4, 1, 3], [2, 2, 2], [0, 0, 1]],
    }
    return json.dumps({**row, **changed})


def test_saliency_labels_are_laid_over_the_clips_of_the_video(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(labelled())

    (labels,) = read_timed_sentences(tmp_path / "a.jsonl").saliency.values()

    assert labels.table.tolist() == [
        [4, 1, 3],
        [0, 0, 0],
        [0, 0, 0],
        [2, 2, 2],
    ]  # 9 s are 4 whole clips


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"relevant_clip_ids": [0, 3]}, "line 1: a: expected `relevant_clip_ids`"),
        ({"saliency_scores": [[4], [1, 2], [3]]}, "labels of the same people"),
        ({"saliency_scores": [["x"], [1], [3]]}, "labels of the same people"),
        ({"relevant_clip_ids": [0, 3, 5]}, "clip 5 of 2 s begins after the end .* at 9 s"),
        ({"relevant_clip_ids": [0, 3, -1]}, "numbers of clips from 0 .* got -1"),
        ({"duration": 1e300}, "of a video of 1e.300 s, expected at most a day"),
        ({"duration": None}, "`saliency_scores` without `duration`"),
        ({"qid": [1]}, "expected a number as `qid`, got"),
    ],
)
def test_mistakes_in_labels_of_clips_are_named(
    tmp_path: Path, changed: dict[str, Any], message: str
):
    (tmp_path / "a.jsonl").write_text(labelled(**changed))

    with pytest.raises(DataError, match=message):
        read_timed_sentences(tmp_path / "a.jsonl")


def test_an_identifier_belongs_to_one_query(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(f"{labelled()}\n{labelled(vid='b')}\n")

    with pytest.raises(DataError, match="line 2: b: qid 7 is already that of line 1"):
        read_timed_sentences(tmp_path / "a.jsonl")


def test_sentences_without_times_are_for_prediction_only(tmp_path: Path):
    (tmp_path / "test.jsonl").write_text('{"qid": 0, "query": "A man runs.", "vid": "a"}\n')

    with pytest.raises(DataError, match="line 1: a: no `relevant_windows`"):
        read_timed_sentences(tmp_path / "test.jsonl")
    (one,) = read_timed_sentences(tmp_path / "test.jsonl", need_times=False).sentences
    assert not one.has_times


# --- captions of whole videos ----------------------------------------------------------------


MSRVTT = {
    "videos": [
        {"video_id": "v_0", "split": "train", "start time": 3.0, "end time": 7.0},
        {"video_id": "v_1", "split": "validate"},
        {"video_id": "v_2", "split": "test"},
    ],
    "sentences": [
        {"sen_id": 0, "video_id": "v_1", "caption": "a dog runs"},
        {"sen_id": 1, "video_id": "v_0", "caption": "a man"},
        {"sen_id": 2, "video_id": "v_1", "caption": "The dog!"},
        {"sen_id": 3, "video_id": "v_2", "caption": "runs away"},
    ],
}


def test_captions_of_whole_videos_name_their_subset_and_come_together(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(MSRVTT))

    found = read_timed_sentences(tmp_path / "a.json", whole_videos=True)

    assert found.durations == {"v_0": 4.0}
    assert found.num_whole == len(found) == 4
    assert [one.subset for one in found.sentences] == ["validate", "train", "validate", "test"]
    assert [one.all_texts for one in found.together().sentences] == [
        ("a dog runs", "The dog!"),
        ("a man",),
        ("runs away",),
    ]


@pytest.mark.parametrize(
    ("files", "part", "videos"),
    [
        ({"train": "a", "val": "a"}, "train", ["v_0"]),
        ({"train": "a", "val": "a"}, "val", ["v_1"]),
        ({"train": "a", "val": "a"}, "test", ["v_1"]),
        ({"train": "a", "test": "b"}, "test", ["v_2"]),
        ({"train": "a", "val": "a", "test_subset": "test"}, "test", ["v_2"]),
        ({"train": "a", "train_subset": "train_val"}, "train", ["v_0", "v_1"]),
    ],
)
def test_each_part_takes_its_subset_and_says_so(
    tmp_path: Path, files: dict[str, str], part: Any, videos: list[str]
):
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(json.dumps(MSRVTT))
    paths = {k: v if k.endswith("subset") else tmp_path / f"{v}.json" for k, v in files.items()}

    found = read_part(CaptionData.model_validate(paths), part)

    assert sorted(found.videos) == videos
    assert f"for data.{part}" in found.notes[-1]


def test_a_subset_that_is_not_there_is_an_error_with_those_that_are(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(MSRVTT))

    with pytest.raises(DataError, match=r"no sentence is of the subset 'x'; it has .*'validate'"):
        read_part(CaptionData(val=tmp_path / "a.json", val_subset="x"), "val")

    (tmp_path / "b.csv").write_text("video,caption\nv_0,A man.\n")
    with pytest.raises(DataError, match=r"names no subset, but data\.val_subset is 'x'"):
        read_part(CaptionData(val=tmp_path / "b.csv", val_subset="x"), "val")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '[{"videoID": "a_1_2", "enCap": ["A.", "B."], "chCap": ["x"]}]', 2),
        ("a.json", '{"a": "One.", "b": ["Two.", "Three."], "c": []}', 3),
        ("a.json", '[{"video": "a.mp4", "caption": ["One.", "Two."]}]', 2),
        ("a.tsv", "video\tcaption\na\tOne, two.\n", 1),
        ("a.txt", "# by people\n\nmv89psg6zh4_33_46 a bird\nmv89psg6zh4_33_46 the bird\n", 2),
        ("a.csv", 'split, Video ,Caption\ntrain,a,"One, two"\nval,b,Three\n', 2),
        (
            "a.csv",
            "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
            "a,1,2,0,clean,5,English,One.\na,1,2,0,clean,5,German,Eins.\na,1,2,0,x,5,English,\n",
            1,
        ),
    ],
)
def test_forms_of_whole_video_captions(tmp_path: Path, name: str, text: str, expected: int):
    (tmp_path / name).write_text(text)

    found = read_timed_sentences(tmp_path / name, whole_videos=True)

    assert len(found) == found.num_whole == expected


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_csv_with_times_holds_events(tmp_path: Path, mark: str):
    text = "video,start,end,sentence\na,0:01,2.5,A man runs.\n".replace(",", mark)
    (tmp_path / "a.csv").write_text(text)

    (one,) = read_timed_sentences(tmp_path / "a.csv").sentences

    assert (one.start_seconds, one.end_seconds, one.is_whole) == (1.0, 2.5, False)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "video,start,caption\na,1,b\n", "a column 'start' alone"),
        ("a.csv", "video,caption\na,One, two\n", "line 2: more fields than columns"),
        ("a.csv", "video,caption\n,One\n", "line 2: no name of a video"),
        ("a.csv", "video,caption\na,\n", "line 2: the sentence is empty"),
        (
            "a.csv",
            "video,start,end,caption\na,1,x,b\n",
            "line 2: expected seconds or mm:ss, got '1'",
        ),
        ("a.txt", "a\tOne.\nb Two.\n", "line 2: expected a video and its caption with a tab"),
        ("a.json", '{"videos": [], "sentences": [{"video_id": "a"}]}', "'a' is not among `videos`"),
        (
            "a.json",
            '{"images": [], "annotations": [{"image_id": 1, "caption": "a"}]}',
            "image_id 1 is not among `images`",
        ),
        ("a.json", '[{"image_id": 1, "caption": "a"}, {"caption": "b"}]', "entry 1: expected `im"),
        ("a.json", '[{"image_id": 1, "caption": 7}]', "entry 0: 1: expected a sentence, got 7"),
        ("a.json", '{"database": {"a": {"annotations": [{"sentence": "x"}]}}}', "`segment`"),
    ],
)
def test_mistakes_in_whole_video_captions_are_named(
    tmp_path: Path, name: str, text: str, message: str
):
    (tmp_path / name).write_text(text)

    with pytest.raises(DataError, match=message):
        read_timed_sentences(tmp_path / name, whole_videos=True)


def test_a_whole_video_is_all_rows_of_its_features(data: CaptionData, tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(MSRVTT))
    changed = data.model_copy(
        update={"train": tmp_path / "a.json", "val": None, "train_subset": "train"}
    )

    events = load_events(changed, "train", feature_dim=DIM)

    (event,) = events.events
    assert events.rows(event, 17) == slice(0, 17)
    assert events.empty == ()


def test_youcook2_is_read_with_its_subsets(tmp_path: Path):
    segment = {"id": 0, "segment": [1, 2.5], "sentence": "cut the bread"}
    content = {
        "a": {"duration": 9.5, "subset": "training", "annotations": [segment]},
        "b": {"duration": 8, "subset": "validation", "annotations": [segment, segment]},
        "c": {"duration": 7, "subset": "testing"},
    }
    (tmp_path / "a.json").write_text(json.dumps({"database": content}))

    found = read_timed_sentences(tmp_path / "a.json")

    assert found.durations == {"a": 9.5, "b": 8.0, "c": 7.0}
    assert [(one.video, one.subset) for one in found.sentences] == [
        ("a", "training"),
        ("b", "validation"),
        ("b", "validation"),
    ]
    assert found.notes == (f"{tmp_path / 'a.json'}: 1 video without annotations",)


@pytest.mark.parametrize("known", ["videos", "images"])
def test_a_few_sentences_of_unknown_videos_are_left_out_and_many_refused(
    tmp_path: Path, known: str
):
    key, listed = ("video_id", "sentences") if known == "videos" else ("image_id", "annotations")
    entry = {"video_id": "a"} if known == "videos" else {"id": "a"}

    def stored(*videos: str) -> Path:
        said = [{key: video, "caption": "A man runs."} for video in videos]
        path = tmp_path / "a.json"
        path.write_text(json.dumps({known: [entry], listed: said}))
        return path

    found = read_timed_sentences(stored("a", "a", "zz"), whole_videos=True)
    assert len(found) == 2
    assert f"not among `{known}`; 1 of 3 sentences are of such videos; left out" in found.notes[0]
    with pytest.raises(DataError, match=f"not among `{known}`; 2 of 3 sentences are of such"):
        read_timed_sentences(stored("a", "zz", "y"), whole_videos=True)


@pytest.mark.parametrize("duration", ["NaN", '"long"', "Infinity"])
def test_a_length_that_is_no_number_is_told(tmp_path: Path, duration: str):
    path = tmp_path / "events.json"
    entry = f'{{"duration": {duration}, "timestamps": [[1, 2]], "sentences": ["A man."]}}'
    path.write_text(f'{{"a": {entry}}}')

    with pytest.raises(DataError, match=r"a: its duration is .*, expected seconds"):
        read_timed_sentences(path)
