import json
from pathlib import Path

import numpy as np
import pytest

from videozoo.data.annotations.segments import read_annotations
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.segments import with_features
from videozoo.data.video_names import names_apart


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
