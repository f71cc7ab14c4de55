import json
from pathlib import Path

import pytest

from videozoo.data.frames.video import open_video
from videozoo.data.synthetic.clips import CLASS_NAMES
from videozoo.data.synthetic.world import TAGS, World, make_world
from videozoo.errors import DataError

COUNTS = {"num_train": 2, "num_val": 1, "num_test": 1}


def make(folder: Path, seed: int = 0, **more: float) -> World:
    sizes = {"size": 32, "frames_per_second": 6, "min_seconds": 9.0, "max_seconds": 16.0}
    return make_world(folder, **COUNTS, seed=seed, **{**sizes, **more})  # type: ignore[arg-type]


def test_events_lie_in_their_video_and_do_not_overlap(tmp_path: Path):
    for video in make(tmp_path).videos:
        with open_video(video.path) as reader:
            assert reader.num_frames == round(video.duration_seconds * 6)
        ends = [0.0, *(event.end_seconds for event in video.events)]
        for event, end_before in zip(video.events, ends, strict=False):
            assert end_before < event.start_seconds < event.end_seconds < video.duration_seconds
        assert video.events


def test_every_annotation_says_the_same(tmp_path: Path):
    world = make(tmp_path)
    database = json.loads((tmp_path / "annotations.json").read_text())["database"]
    assert database.keys() == {video.name for video in world.videos}
    for split in ("train", "val", "test"):
        captions = json.loads((tmp_path / f"captions_{split}.json").read_text())
        tags = json.loads((tmp_path / f"tags_{split}.json").read_text())
        queries = (tmp_path / f"queries_{split}.txt").read_text().splitlines()
        assert len(queries) == sum(len(video.events) for video in world.split(split))
        for video in world.split(split):
            said = captions[video.name]
            segments = [entry["segment"] for entry in database[video.name]["annotations"]]
            assert said["timestamps"] == segments
            for event, sentence in zip(video.events, said["sentences"], strict=True):
                assert sentence.endswith(f"{CLASS_NAMES[event.label]}.")
                assert TAGS.index(CLASS_NAMES[event.label]) in tags[f"videos/{video.name}.mp4"]


def test_the_same_seed_makes_the_same_world_and_finds_it_again(tmp_path: Path):
    one, other, different = make(tmp_path / "a"), make(tmp_path / "b"), make(tmp_path / "c", seed=1)

    assert [video.events for video in one.videos] == [video.events for video in other.videos]
    assert one.videos[0].path.read_bytes() == other.videos[0].path.read_bytes()
    assert [video.events for video in one.videos] != [video.events for video in different.videos]
    assert not one.reused
    assert make(tmp_path / "a").reused


def test_wrong_sizes_and_foreign_files_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="expected an even number"):
        make(tmp_path, size=33)
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(DataError, match="already holds annotations"):
        make(tmp_path)
