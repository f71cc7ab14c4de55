"""Windows of long videos: which are learnt from, what counts in them, what is refused."""

from __future__ import annotations

import json
import math
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.coverage import load_annotations
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.data.segment_windows import (
    SequenceWindows,
    WindowDataset,
    annotation_inside,
    find_windows,
)
from videozoo.data.segments import SequenceBatch, load_videos, with_features
from videozoo.errors import ConfigError, DataError
from videozoo.settings.segments import SequenceAugment, SequenceData
from videozoo.types import SequenceShape

SHAPE = SequenceShape(feature_dim=2, num_steps=10)
SECONDS = {"a": 100.0, "b": 60.0, "c": 7.0}
ACTIONS = {"a": [(12.0, 16.0), (48.0, 52.0), (70.0, 92.0)], "b": [(1.0, 9.0)], "c": [(1.0, 3.0)]}


def unannotated(files: FeatureFiles) -> Annotations:
    """All videos with features, as long as the features tell; nan seconds if they do not."""
    videos = tuple(
        Annotation(video=name, duration_seconds=files.durations.get(name, math.nan))
        for name in files
    )
    return Annotations(path=files.path, videos=videos, class_names=())


def rows(seconds: float, rate: float = 2.0) -> NDArray[np.float32]:
    """Each vector holds its number and a one."""
    count = round(seconds * rate)
    return np.stack([np.arange(count), np.ones(count)], axis=1).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path) -> SequenceData:
    """Two vectors per second; windows of 10 seconds, one every 5."""
    (tmp_path / "features").mkdir()
    database: dict[str, Any] = {}
    for name, seconds in SECONDS.items():
        np.save(tmp_path / "features" / f"{name}.npy", rows(seconds))
        annotations = [{"segment": ends, "label": "dig"} for ends in ACTIONS[name]]
        database[name] = {"duration": seconds, "subset": "training", "annotations": annotations}
    (tmp_path / "a.json").write_text(json.dumps({"database": database}))
    return SequenceData(
        annotations=tmp_path / "a.json",
        features=tmp_path / "features",
        num_workers=0,
        window_seconds=10.0,
    )


def changed(data: SequenceData, **fields: Any) -> SequenceData:
    return data.model_copy(update=fields)


def windows_in(data: SequenceData) -> SequenceWindows:
    return find_windows(load_videos(data, "train"), data)


def starts(windows: Any) -> list[tuple[int, float]]:
    """Number of the video and first second."""
    return [(number, window.first / 2) for number, window in windows]


def test_windows_cover_all_videos(data: SequenceData):
    found = windows_in(data)

    assert [len(each) for each in found.of_video] == [19, 11, 1]
    assert len(found) == 31
    assert found.of_video[0][1].first == 10
    assert found.of_video[0][-1].first == 180
    assert found.vectors_per_window == 20


def test_training_takes_windows_that_hold_an_action(data: SequenceData):
    found = windows_in(data)

    # 12 to 16, 48 to 52; 70 to 92 is longer than any window
    assert starts(found.with_actions) == [(0, 10.0), (0, 45.0), (1, 0.0), (2, 0.0)]
    assert found.num_actions == (1, 5)
    background = starts(found.without_actions)
    assert (0, 0.0) in background  # nothing before 12
    assert (0, 65.0) not in background  # 70 to 75 is cut, and neither holds an action nor none
    assert not set(background) & set(starts(found.with_actions))


def test_parts_of_cut_actions_count_as_configured(data: SequenceData):
    half = changed(data, least_inside=0.5)

    counted = [find_windows(load_videos(each, "train"), each) for each in (data, half)]

    assert (1, 5.0) not in starts(counted[0].with_actions)
    assert (1, 5.0) in starts(counted[1].with_actions)  # 5 to 9 of 1 to 9
    item = WindowDataset(counted[1], SHAPE).read(20, None)
    assert item.segments.tolist() == [[0.0, 0.4]]


def test_a_window_holds_its_features_and_its_truth(data: SequenceData):
    dataset = WindowDataset(windows_in(data), SequenceShape(feature_dim=2, num_steps=20))

    item = dataset.read(2, None)

    assert item.window is not None
    assert item.number == 0
    assert item.window.first == 20
    assert item.features[:, 0].tolist() == list(range(20, 40))
    np.testing.assert_allclose(item.segments, [[0.2, 0.6]])  # 12 to 16 in 10 to 20
    assert item.labels.tolist() == [0]


def test_behind_a_short_video_there_is_nothing(data: SequenceData):
    dataset = WindowDataset(windows_in(data), SequenceShape(feature_dim=2, num_steps=20))

    item = dataset.read(len(dataset) - 1, None)

    assert item.features[:, 1].tolist() == [1.0] * 14 + [0.0] * 6
    np.testing.assert_allclose(item.segments, [[0.1, 0.3]])  # 1 to 3 in 0 to 10


def test_background_windows_are_drawn_anew_each_epoch(data: SequenceData):
    windows = windows_in(changed(data, background_windows=0.5))
    dataset = WindowDataset(windows, SHAPE, training=True)
    shown = [
        {(item.number, item.window) for item in (dataset.read(n, epoch) for n in range(8))}
        for epoch in (0, 0, 1)
    ]

    assert (len(dataset), dataset.num_background) == (8, 4)
    assert shown[0] == shown[1] != shown[2]
    kept = set(windows.with_actions)
    assert all(kept <= each for each in shown)
    assert all(each - kept <= set(windows.without_actions) for each in shown)


def test_features_of_a_video_are_read_once_in_a_pass(
    data: SequenceData, monkeypatch: pytest.MonkeyPatch
):
    read: list[str] = []
    whole = FeatureFiles._read

    def counted(self: FeatureFiles, video: str, feature_dim: int | None) -> NDArray[np.float32]:
        read.append(video)
        return whole(self, video, feature_dim)

    monkeypatch.setattr(FeatureFiles, "_read", counted)
    windows = windows_in(data)
    batches = list(EvalLoader(WindowDataset(windows, SHAPE), batch_size=4))

    assert read == ["a", "b", "c"]
    assert len(windows.videos.files._kept) == 1  # no more than one video is in memory
    assert [len(batch) for batch in batches] == [4] * 7 + [3]
    numbers = [number for batch in batches for number in batch.videos.tolist()]
    assert numbers == [0] * 19 + [1] * 11 + [2]
    assert [each.place for batch in batches for each in batch.windows][:20] == [*range(19), 0]
    read.clear()
    loader = TrainLoader(WindowDataset(windows_in(data), SHAPE, training=True), batch_size=2)
    for epoch in (0, 1):
        list(loader.epoch(epoch))
    assert sorted(read) == ["a", "b", "c"]  # all of them fit into memory


def test_in_training_only_videos_that_fit_into_memory_are_mixed(
    data: SequenceData, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("videozoo.data.segment_windows._TOGETHER_BYTES", 1700)
    dataset = WindowDataset(windows_in(data), SHAPE, training=True)
    numbers = [[dataset.read(n, 0).number for n in dataset.order(epoch)] for epoch in range(8)]

    # a takes 1600 bytes, b 960, c 112
    assert all(sorted(each) == [0, 0, 1, 2] for each in numbers)
    assert len({tuple(each) for each in numbers}) > 1
    for each in numbers:
        beside_a = each[each.index(0) + 1]
        assert beside_a in (0, 2)  # never b between the two of a


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(data: SequenceData, workers: int):
    def batches(num_workers: int) -> list[SequenceBatch]:
        made = changed(data, background_windows=0.5, num_workers=num_workers)
        dataset = WindowDataset(windows_in(made), SHAPE, training=True, seed=3)
        loader = TrainLoader(dataset, made, batch_size=3)
        return [batch for epoch in (0, 1) for batch in loader.epoch(epoch)]

    one, other = batches(0), batches(workers)

    assert all(torch.equal(a.features, b.features) for a, b in zip(one, other, strict=True))
    assert [batch.windows for batch in one] == [batch.windows for batch in other]


def test_processes_share_whole_videos(data: SequenceData):
    dataset = WindowDataset(windows_in(data), SHAPE)

    shares = [dataset.share(rank, 2).tolist() for rank in (0, 1)]

    assert shares == [list(range(19)), list(range(19, 31))]


def test_a_damaged_video_is_told_once_and_the_others_are_read(data: SequenceData):
    assert data.features is not None
    (data.features / "b.npy").write_bytes(b"no array")
    windows = windows_in(data)
    loader = EvalLoader(WindowDataset(windows, SHAPE), batch_size=4, skip_bad=True)

    numbers = {number for batch in loader for number in batch.videos.tolist()}

    assert numbers == {0, 2}
    assert list(loader.skipped) == [1]
    assert "b.npy" in loader.skipped[1]
    assert (1, windows.of_video[1][0]) in windows.with_actions  # training counts it as bad, too


def test_windows_can_be_sent_to_other_processes(data: SequenceData):
    dataset = WindowDataset(windows_in(data), SHAPE, training=True)

    sent = pickle.loads(pickle.dumps(dataset))

    assert sent.order(0).tolist() == dataset.order(0).tolist()


def test_the_annotation_of_a_window_is_that_of_a_short_video(data: SequenceData):
    windows = windows_in(data)
    annotation, window = windows.videos.present[0], windows.of_video[0][15]  # 75 to 85

    inside = annotation_inside(annotation, window)

    assert inside.duration_seconds == pytest.approx(10)
    ends = [(one.start_seconds, one.end_seconds) for one in inside.instances]
    np.testing.assert_allclose(ends, [(-5.0, 17.0)])  # not cut
    assert annotation_inside(annotation, windows.of_video[0][0]).instances == ()


def test_the_rate_of_the_features_tells_where_no_length_is_known(tmp_path: Path):
    with PackWriter(tmp_path / "pack", extractor={"rate": 2.0}) as pack:
        pack.write(FeatureRecord("a", {"rgb": rows(30)}))
    data = SequenceData(features=tmp_path / "pack", window_seconds=10.0)
    files = FeatureFiles(tmp_path / "pack")

    found = find_windows(with_features(unannotated(files), files), data)

    assert found.videos.present[0].duration_seconds == 15.0 * 2
    assert len(found) == 5


def test_without_a_length_there_are_no_windows(data: SequenceData):
    assert data.features is not None
    files = FeatureFiles(data.features)

    with pytest.raises(DataError, match=r"3 of 3 videos is not known, .*data.durations=FILE"):
        find_windows(with_features(unannotated(files), files), data)

    rated = changed(data, rate=4.0)
    found = find_windows(with_features(unannotated(files), files), rated)
    assert [one.duration_seconds for one in found.videos.present] == [50.0, 30.0, 3.5]


def test_annotations_in_frames_are_refused(tmp_path: Path, data: SequenceData):
    listed = tmp_path / "c-tcn.list"
    listed.write_text("a 200 1 1 10 25\n")
    made = changed(data, annotations=listed)
    files = FeatureFiles(data.features or Path())
    found = load_annotations(made, "train", durations={"a": 200.0})

    with pytest.raises(DataError, match=r"counts in frames \(a\)"):
        find_windows(with_features(found, files), made)


def test_a_window_shorter_than_a_step_of_the_features_is_refused(data: SequenceData):
    with pytest.raises(
        DataError, match=r"0\.2, shorter than one step of the features of a, 0\.5 s"
    ):
        windows_in(changed(data, window_seconds=0.2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stride_seconds": 5.0}, "there are no windows; set window_seconds too"),
        ({"window_seconds": 4.0, "stride_seconds": 5.0}, "longer than window_seconds 4"),
    ],
)
def test_settings_that_leave_gaps_are_refused(fields: dict[str, Any], message: str):
    with pytest.raises((ConfigError, ValueError), match=message):
        SequenceData(**fields)


def test_the_length_of_features_is_known_without_reading_them(
    data: SequenceData, monkeypatch: pytest.MonkeyPatch
):
    assert data.features is not None
    np.savez(data.features / "d.npz", rgb=rows(3))
    files = FeatureFiles(data.features)

    assert files.length("d") == 6
    monkeypatch.delattr(FeatureFiles, "_read")
    assert files.length("a") == 200
    assert files.length("v_a") == 200


def test_augmentation_stays_inside_a_window(data: SequenceData):
    made = changed(data, augment=SequenceAugment(random_move=True, random_crop=True))
    dataset = WindowDataset(windows_in(made), SHAPE, training=True)

    for epoch in range(5):
        item = dataset.read(random.Random(epoch).randrange(4), epoch)
        assert (item.segments >= 0).all()
        assert (item.segments <= 1).all()
        assert item.features.shape == (10, 2)
