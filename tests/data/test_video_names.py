import json
from pathlib import Path

import numpy as np
import pytest

from videozoo.data.annotations.caption_results import read_caption_results
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.captions import with_features as events_with_features
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.segments import with_features
from videozoo.data.video_names import names_apart
from videozoo.errors import DataError
from videozoo.settings.captions import CaptionData


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["v/a.mp4", "v/x/b.mp4", "w/c.mp4"], ["a", "b", "c"]),
        (["v/x/b.mp4", "v/y/b.mp4", "v/y/c.mp4"], ["x__b", "y__b", "c"]),
        (["v/b.mp4", "v/x/b.mp4"], ["b", "x__b"]),
        (["v/train/x/b.mp4", "v/val/x/b.mp4"], ["train__x__b", "val__x__b"]),
        (["v/train/x/b.mp4", "v/train/y/b.mp4", "v/val/c.mp4"], ["x__b", "y__b", "c"]),
        (["v/b.mp4", "v/b.avi"], ["b.mp4", "b.avi"]),
        (["v/x/b.mp4", "v/x/../x/b.mp4"], ["b", "b"]),
        (["v/x/b.mp4", "v/y/b.mp4", "v/x__b.avi"], ["x__b.mp4", "y__b", "x__b.avi"]),
        ([], []),
    ],
)
def test_names_keep_as_much_of_the_path_as_tells_videos_apart(paths: list[str], names: list[str]):
    assert names_apart(list(map(Path, paths))) == names


def test_names_stay_as_they_were():
    paths = [Path("v/x/b.mp4"), Path("v/y/b.mp4")]

    assert names_apart(paths, kept={Path("v/x/b.mp4"): "b"}) == ["b", "y__b"]


def features(folder: Path, *names: str) -> FeatureFiles:
    folder.mkdir()
    for number, name in enumerate(names, 1):
        np.save(folder / f"{name}.npy", np.full((4, 2), number, np.float32))
    return FeatureFiles(folder)


def test_annotations_with_paths_find_features_with_longer_names(tmp_path: Path):
    files = features(tmp_path / "features", "x__b", "y__b", "c")
    path = tmp_path / "own.csv"
    path.write_text("video,start,end,label,duration\nclips/x/b.mp4,0,1,dig,4\nc.mp4,0,1,dig,4\n")

    found = with_features(read_annotations(path), files)

    assert [one.video for one in found.present] == ["x__b", "c"]
    assert not found.missing


def test_annotations_of_two_videos_never_share_the_features_of_one(tmp_path: Path):
    files = features(tmp_path / "features", "b", "c")
    path = tmp_path / "own.csv"
    rows = "x/b.mp4,0,1,dig,4\ny/b.mp4,0,1,dig,4\nc.mp4,0,1,dig,4\n"
    path.write_text(f"video,start,end,label,duration\n{rows}")

    found = with_features(read_annotations(path), files)

    assert found.missing == ("x__b", "y__b")


def test_label_studio_tasks_of_one_name_are_told_apart(tmp_path: Path):
    value = {"ranges": [{"start": 1, "end": 10}], "timelinelabels": ["dig"]}
    tasks = [
        {
            "id": n,
            "data": {"video": f"s3://bucket/{folder}/b.mp4"},
            "annotations": [{"result": [{"value": value}]}],
        }
        for n, folder in enumerate(("x", "y"))
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))

    found = read_annotations(path, durations={"x__b": 4, "y__b": 4}, frames_per_second=10)

    assert [one.video for one in found.videos] == ["x__b", "y__b"]


def test_features_in_folders_are_found_by_names_that_tell_them_apart(tmp_path: Path):
    for number, name in enumerate(("x/b", "y/b", "y/c")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", np.full((4, 2), number, np.float32))

    files = FeatureFiles(tmp_path)

    assert list(files) == ["c", "x__b", "y__b"]
    assert files.read("y__b")[0, 0] == 1
    assert "b" not in files


SENTENCES = {
    "events.json": '{"%s": {"duration": 9, "timestamps": [[1, 2]], "sentences": ["A man."]}}',
    "charades.txt": "%s 1 2##A man.\n",
    "whole.csv": "video,caption\n%s,A man.\n",
    "timed.csv": "video,start,end,caption\n%s,1,2,A man.\n",
    "pairs.txt": "%s\tA man runs.\n",
    "coco.json": '[{"image_id": "%s", "caption": "A man."}]',
    "mapping.json": '{"%s": ["A man."]}',
    "vatex.json": '[{"videoID": "%s", "enCap": ["A man."]}]',
    "query.jsonl": '{"qid": 1, "query": "A man.", "vid": "%s", "relevant_windows": [[1, 2]]}\n',
    "results.json": '{"results": {"%s": [{"sentence": "A man.", "timestamp": [1, 2]}]}}',
}


@pytest.mark.parametrize("form", SENTENCES)
@pytest.mark.parametrize("spelt", ["ab.c.mp4", "AB.MP4", "dir/a.mkv", "dir/why?.mp4", "plain.id"])
def test_sentences_are_of_the_video_of_a_file(tmp_path: Path, form: str, spelt: str):
    path = tmp_path / form
    path.write_text(SENTENCES[form] % spelt)

    if form == "results.json":
        found = read_caption_results(path)
    else:
        found = read_timed_sentences(path, whole_videos=True)

    name = {"dir/a.mkv": "a", "dir/why?.mp4": "why?", "plain.id": "plain.id"}
    assert found.videos == (name.get(spelt, spelt[:-4]),)
    assert set(found.durations) <= {found.videos[0]}


@pytest.mark.parametrize(
    ("spelt", "stored"),
    [
        ("a b.mp4", "a b"),
        ("a b", "a b.MP4"),
        ("s13-d21.avi", "s13-d21.avi"),
        ("v_a.mp4", "a"),
        ("x/a.mp4", "x__a"),
    ],
)
def test_sentences_and_segments_meet_their_features(tmp_path: Path, spelt: str, stored: str):
    files = features(tmp_path / "features", stored, "other")
    sentences = tmp_path / "sentences.csv"
    sentences.write_text(f"video,start,end,caption\n{spelt},0,1,A man.\n")
    segments = tmp_path / "segments.json"
    entry = {"duration": 4, "annotations": [{"segment": [0, 1], "label": "dig"}]}
    segments.write_text(json.dumps({"database": {spelt: entry}}))

    events = events_with_features(
        read_timed_sentences(sentences), files, CaptionData(rate=1), feature_dim=2
    )
    found = with_features(read_annotations(segments), files)

    assert (len(events), events.missing, found.missing) == (1, (), ())
    assert files.read(events.events[0].video)[0, 0] == 1
    assert files.read(found.present[0].video)[0, 0] == 1


def test_sentences_of_two_videos_never_share_a_name(tmp_path: Path):
    path = tmp_path / "sentences.csv"
    rows = ("x/a.mp4,A man.", "y/a.mp4,A cat.", "b.mp4,A dog.")
    path.write_text("\n".join(("video,caption", *rows)) + "\n")

    assert read_timed_sentences(path, whole_videos=True).videos == ("x__a", "y__a", "b")

    path.write_text("video,caption\na.mp4,A man.\na.avi,A cat.\n")
    with pytest.raises(DataError, match=r"a.mp4 and a.avi are both called 'a'"):
        read_timed_sentences(path, whole_videos=True)


def test_a_name_that_two_files_may_have_means_neither(tmp_path: Path):
    files = features(tmp_path / "features", "a.mp4", "a.avi", "b.mp4")

    assert ("a" in files, "b" in files, "a.avi" in files) == (False, True, True)
