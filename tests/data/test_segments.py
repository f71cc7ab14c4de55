from __future__ import annotations

import importlib
import json
import pickle
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.data.annotations.segments import read_annotations
from videozoo.data.coverage import load_annotations
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.records import FeatureRecord
from videozoo.data.features.transforms import random_crop, random_move, resize_steps
from videozoo.data.features.writer import FeatureFolder
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.data.proposals import (
    ProposalBatch,
    ProposalDataset,
    Proposals,
    load_proposals,
    read_proposals,
    read_table,
    write_proposals,
    write_table,
)
from videozoo.data.segments import (
    SequenceBatch,
    SequenceDataset,
    load_videos,
)
from videozoo.errors import DataError
from videozoo.settings.segments import ProposalData, SequenceAugment, SequenceData
from videozoo.settings.shared import Part
from videozoo.types import SequenceShape, Targets

DATA = Path(__file__).parents[3] / "shared" / "data" / "activitynet" / "mmaction2_tests"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"sample files are not at {DATA}")

SHAPE = SequenceShape(feature_dim=3, num_steps=4)
COUNT = 10
Array = NDArray[Any]


def features_of(number: int, steps: int = 4) -> NDArray[np.float32]:
    return np.random.RandomState(number).rand(steps, 3).astype(np.float32)


def write_annotations(path: Path, count: int = COUNT) -> Path:
    """Videos 0 to count - 1 to learn from, two more to check with."""
    videos = {
        f"v{number:02d}": {
            "duration": 10.0 + number,
            "subset": "training" if number < count else "validation",
            "annotations": [{"segment": [1, 3 + number], "label": "ab"[number % 2]}],
        }
        for number in range(count + 2)
    }
    path.write_text(json.dumps({"database": videos}))
    return path


@pytest.fixture
def data(tmp_path: Path) -> SequenceData:
    folder = tmp_path / "features"
    folder.mkdir()
    for number in range(COUNT + 2):
        np.save(folder / f"v{number:02d}.npy", features_of(number))
    return SequenceData(
        annotations=write_annotations(tmp_path / "a.json"), features=folder, num_workers=0
    )


def changed(data: SequenceData, **fields: Any) -> SequenceData:
    return data.model_copy(update=fields)


def centres(
    segments: NDArray[np.float64], labels: NDArray[np.int64], num_steps: int
) -> Mapping[str, Array]:
    found = np.zeros(num_steps)
    found[: len(segments)] = segments.mean(axis=1)
    return {"centres": found, "count": np.array(len(labels))}


def train_sequences(
    shape: SequenceShape,
    data: SequenceData,
    *,
    seed: int = 0,
    targets: Targets | None = None,
    **options: Any,
) -> TrainLoader[SequenceBatch]:
    dataset = SequenceDataset(load_videos(data, "train"), shape, data, seed=seed, targets=targets)
    return TrainLoader(dataset, data, **options)


def eval_sequences(
    shape: SequenceShape,
    data: SequenceData,
    *,
    part: Part = "val",
    targets: Targets | None = None,
    **options: Any,
) -> EvalLoader[SequenceBatch]:
    dataset = SequenceDataset(load_videos(data, part), shape, data, targets=targets)
    return EvalLoader(dataset, data, **options)


def train_proposals(
    data: ProposalData, *, feature_dim: int, **options: Any
) -> TrainLoader[ProposalBatch]:
    dataset = ProposalDataset(load_proposals(data, "train"), data, feature_dim=feature_dim)
    return TrainLoader(dataset, data, **options)


def eval_proposals(
    data: ProposalData,
    *,
    feature_dim: int,
    matched: bool = False,
    **options: Any,
) -> EvalLoader[ProposalBatch]:
    videos = load_proposals(data, "val")
    dataset = ProposalDataset(videos, data, feature_dim=feature_dim, matched=matched)
    return EvalLoader(dataset, data, **options)


def names_of(batches: Iterable[SequenceBatch]) -> list[str]:
    return [name for batch in batches for name in batch.names]


def same(ours: Sequence[SequenceBatch], theirs: Sequence[SequenceBatch]) -> bool:
    return len(ours) == len(theirs) and all(
        one.names == other.names
        and torch.equal(one.features, other.features)
        and all(map(np.array_equal, one.segments, other.segments))
        and all(torch.equal(one.targets[k], other.targets[k]) for k in one.targets)
        for one, other in zip(ours, theirs, strict=True)
    )


# --- batches ---------------------------------------------------------------------------------


def test_a_batch_holds_features_truth_and_targets(data: SequenceData):
    batch = next(iter(eval_sequences(SHAPE, data, batch_size=4, targets=centres)))

    assert len(batch) == 2
    assert batch.names == ("v10", "v11")
    assert batch.videos.tolist() == [0, 1]
    assert batch.durations.tolist() == [20.0, 21.0]
    assert batch.features.dtype == torch.float32
    np.testing.assert_array_equal(batch.features[1].numpy(), features_of(11).T)
    np.testing.assert_allclose(batch.segments[0], [[1 / 20, 13 / 20]])
    assert [row.tolist() for row in batch.labels] == [[0], [1]]
    assert batch.targets["count"].tolist() == [1, 1]
    assert batch.targets["centres"].dtype == torch.float64
    np.testing.assert_allclose(batch.targets["centres"][0, 0], 14 / 40)


def test_an_epoch_takes_every_video_once_in_an_order_of_its_own(data: SequenceData):
    train = train_sequences(SHAPE, data, batch_size=5, seed=3)

    orders = [names_of(train.epoch(number)) for number in range(3)]

    assert all(sorted(order) == [f"v{n:02d}" for n in range(COUNT)] for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert names_of(train.epoch(1)) == orders[1]
    assert train.batches_per_epoch == len(train.epoch(0)) == 2


def test_an_epoch_goes_on_where_it_was_interrupted(data: SequenceData):
    augment = SequenceAugment(random_move=True, random_crop=True, resize=("nearest", "cubic"))
    data = changed(data, augment=augment)
    train = train_sequences(SHAPE, data, batch_size=2, targets=centres)

    whole = list(train.epoch(4))
    rest = list(
        train_sequences(SHAPE, data, batch_size=2, targets=centres).epoch(4, skip_batches=3)
    )

    assert len(whole) == 5
    assert same(whole[3:], rest)
    assert not same(whole, list(train.epoch(5)))


@pytest.mark.parametrize("world", [1, 2])
def test_workers_and_processes_change_nothing(data: SequenceData, world: int):
    augment = SequenceAugment(random_crop=True)
    alone = changed(data, augment=augment)
    helped = changed(alone, num_workers=2)

    for rank in range(world):
        given: dict[str, Any] = {"batch_size": 2, "rank": rank, "world": world, "targets": centres}
        trains = [train_sequences(SHAPE, one, seed=1, **given) for one in (alone, helped)]
        evals = [eval_sequences(SHAPE, one, part="train", **given) for one in (alone, helped)]
        assert same(*(list(train.epoch(2)) for train in trains))
        assert same(*(list(part) for part in evals))


def test_processes_share_the_videos(data: SequenceData):
    data = changed(data, train_subset=None, num_workers=2)
    given: dict[str, Any] = {"batch_size": 2, "world": 2}

    evals = [eval_sequences(SHAPE, data, part="train", rank=rank, **given) for rank in range(2)]
    trains = [train_sequences(SHAPE, data, rank=rank, **given) for rank in range(2)]

    assert [name for part in evals for name in names_of(part)] == [
        f"v{n:02d}" for n in range(COUNT + 2)
    ]
    epochs = [list(train.epoch(0)) for train in trains]
    assert len(epochs[0]) == len(epochs[1]) == trains[0].batches_per_epoch == 3
    assert set(Counter(name for epoch in epochs for name in names_of(epoch)).values()) == {1}


def test_a_video_with_nothing_to_learn_from_is_replaced(data: SequenceData):
    def picky(segments: NDArray[np.float64], _: NDArray[np.int64], __: int):
        return None if segments[0, 1] < 0.5 else {"end": segments[0, 1]}

    train = train_sequences(SHAPE, data, batch_size=10, targets=picky)

    (batch,) = train.epoch(0)

    assert len(batch) == 10
    assert batch.replaced > 0
    assert (batch.targets["end"] >= 0.5).all()
    assert train.bad_videos == {}

    def never(*_: object):
        return None

    hopeless = train_sequences(SHAPE, data, batch_size=2, targets=never)
    with pytest.raises(DataError, match="nothing to learn from"):
        next(iter(hopeless.epoch(0)))


def test_every_part_may_have_its_own_annotations(data: SequenceData, tmp_path: Path):
    other = {"v03": {"duration": 9, "annotations": [{"segment": [0, 1], "label": "b"}]}}
    (tmp_path / "test.json").write_text(json.dumps(other))

    found = load_annotations(changed(data, test_annotations=tmp_path / "test.json"), "test")

    assert [one.video for one in found.videos] == ["v03"]
    assert found.class_names == ("a", "b")  # those of the training file
    other["v03"]["annotations"] = [{"segment": [0, 1], "label": "c"}]
    (tmp_path / "test.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="unknown class 'c'"):
        load_annotations(changed(data, test_annotations=tmp_path / "test.json"), "test")


def test_subsets_that_no_part_is_made_of_are_said(
    data: SequenceData, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    segment = [{"segment": [0, 1], "label": "a"}]
    videos = {
        f"v{number}": {"duration": 9, "subset": subset, "annotations": segment}
        for number, subset in enumerate(("training", "validation", "train_val", "extra", "extra"))
    }
    videos["v9"] = {"duration": 9, "subset": "testing", "annotations": []}
    (tmp_path / "all.json").write_text(json.dumps(videos))
    parts = {"train_subset": "training", "val_subset": "validation"}

    found = load_annotations(changed(data, annotations=tmp_path / "all.json", **parts), "train")

    assert [one.video for one in found.videos] == ["v0"]
    assert (
        "that no part of this run uses: 1 of subset 'train_val', 2 of subset 'extra'" in caplog.text
    )


# --- bad and missing videos ------------------------------------------------------------------


def feature(data: SequenceData, number: int) -> Path:
    assert data.features is not None
    return data.features / f"v{number:02d}.npy"


def test_missing_features_are_listed(data: SequenceData):
    feature(data, 11).unlink()
    feature(data, 3).unlink()

    evaluate = eval_sequences(SHAPE, data, batch_size=4, skip_bad=True)
    assert names_of(evaluate) == ["v10"]
    assert evaluate.dataset.missing.names == ("v11",)
    assert evaluate.dataset.missing.total == 2
    with pytest.raises(DataError, match="1 of 2 videos have no features here: v11; add them, or"):
        eval_sequences(SHAPE, data, batch_size=4)
    with pytest.raises(DataError, match=r"1 of 10 training videos.*bad_video_share=0.05.*: v03$"):
        train_sequences(SHAPE, data, batch_size=4)
    allowed = train_sequences(SHAPE, changed(data, bad_video_share=0.1), batch_size=9)
    assert "v03" not in names_of(allowed.epoch(0))
    assert allowed.dataset.missing.names == ("v03",)


def test_no_features_at_all_shows_what_is_there(data: SequenceData, tmp_path: Path):
    np.save(tmp_path / "other.npy", features_of(0))

    with pytest.raises(DataError, match="looked for v10, v11; there are features of other"):
        load_videos(changed(data, features=tmp_path), "val")


def test_damaged_videos_are_replaced_up_to_a_share(data: SequenceData):
    feature(data, 3).write_bytes(b"no array")
    allowed = changed(data, bad_video_share=0.1)
    train = train_sequences(SHAPE, allowed, batch_size=10)

    (batch,) = train.epoch(0)

    assert len(batch) == 10
    assert batch.replaced == 1
    assert [message.split(": ")[1] for message in train.bad_videos.values()] == [
        "not a readable .npy file"
    ]
    with pytest.raises(DataError, match="1 of 10 training videos cannot be used, more than"):
        list(train_sequences(SHAPE, data, batch_size=10).epoch(0))


def test_damaged_videos_are_skipped_and_counted_in_evaluation(data: SequenceData):
    feature(data, 4).write_bytes(b"no array")
    evaluate = eval_sequences(SHAPE, data, part="train", batch_size=4, skip_bad=True)

    batches = list(evaluate)

    assert len(names_of(batches)) == COUNT - 1
    assert list(evaluate.skipped) == [4]
    assert [batch.skipped for batch in batches] == [(), (4,), ()]
    with pytest.raises(DataError, match=r"v04\.npy: not a readable"):
        list(eval_sequences(SHAPE, data, part="train", batch_size=4))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 3), np.nan), "nan at step 0, value 0"),
        (np.zeros((0, 3)), "empty: it has no features"),
        (np.zeros((4, 5)), r"5 values per step, expected model\.feature_dim=3; are these"),
        (np.zeros((3, 7)), r"7 values per step, expected model\.feature_dim=3; is it transposed"),
        (np.zeros(4), r"shape \(4,\), expected \(steps, values\)"),
        (np.zeros((4, 3), np.uint8), "stored as bytes"),
        (np.zeros((4, 3), "U3"), "holds <U3, expected numbers"),
    ],
)
def test_unusable_features_name_their_file(data: SequenceData, array: Array, message: str):
    np.save(feature(data, 10), array)

    with pytest.raises(DataError, match=r"v10\.npy: " + message):
        list(eval_sequences(SHAPE, data, batch_size=4))


def test_another_length_is_refused_on_request(data: SequenceData):
    np.save(feature(data, 11), features_of(11, steps=9))
    refusing = changed(data, resize="refuse")

    with pytest.raises(DataError, match=r"v11\.npy: 9 steps, expected 4; set data\.resize"):
        list(eval_sequences(SHAPE, refusing, batch_size=4))
    (batch,) = eval_sequences(SHAPE, data, batch_size=4)
    np.testing.assert_array_equal(
        batch.features[1].numpy().T, resize_steps(features_of(11, steps=9), 4, "linear")
    )


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"annotations": None}, r"data\.annotations is not set"),
        ({"features": None}, r"data\.features is not set"),
        ({"features": Path("nowhere")}, "nowhere: no such file or folder"),
    ],
)
def test_what_is_not_set_is_told(data: SequenceData, missing: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message):
        load_videos(changed(data, **missing), "val")


# --- feature files ---------------------------------------------------------------------------


@pytest.mark.parametrize("prefixed", [True, False])
def test_names_go_with_and_without_v(tmp_path: Path, prefixed: bool):
    np.save(tmp_path / ("v_a.npy" if prefixed else "a.npy"), features_of(1))
    files = FeatureFiles(tmp_path)

    assert "a" in files
    assert "v_a" in files
    assert "b" not in files
    np.testing.assert_array_equal(files.read("v_a"), features_of(1))
    np.testing.assert_array_equal(files.read("a"), features_of(1))


def write_csv(path: Path, features: Array, heading: str = "") -> None:
    rows = [",".join(map(repr, row)) for row in features.astype(float).tolist()]
    path.write_text("\n".join([*([heading] if heading else []), *rows, ""]))


def test_each_kind_of_file_reads_the_same(tmp_path: Path):
    expected = features_of(5)
    np.save(tmp_path / "npy.npy", expected.astype(np.float64))
    np.savez(tmp_path / "npz.npz", anything=expected)
    write_csv(tmp_path / "csv.csv", expected)
    write_csv(tmp_path / "heading.csv", expected, heading="f0,f1,f2")
    (tmp_path / "pkl.pkl").write_bytes(pickle.dumps({b"scores": expected}, protocol=2))
    (tmp_path / "list.pkl").write_bytes(pickle.dumps({b"scores": expected.tolist()}, protocol=2))
    (tmp_path / "readme.txt").write_text("not features")

    files = FeatureFiles(tmp_path)

    assert list(files) == ["csv", "heading", "list", "npy", "npz", "pkl"]
    assert files.extractor is None
    for name in files:
        read = files.read(name, feature_dim=3)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(FeatureFiles(tmp_path / "csv.csv").read("csv"), expected)


def test_two_pickles_of_ctcn_are_cut_to_the_shorter(tmp_path: Path):
    rgb, flow = features_of(1, steps=5), features_of(2, steps=7)
    for stream, array in (("rgb", rgb), ("flow", flow)):
        (tmp_path / stream).mkdir()
        (tmp_path / stream / "a.pkl").write_bytes(pickle.dumps({b"scores": array}, protocol=2))
    (tmp_path / "rgb" / "only_rgb.pkl").write_bytes(pickle.dumps({b"scores": rgb}, protocol=2))

    files = FeatureFiles(tmp_path)
    turned = FeatureFiles(tmp_path, streams=("flow", "rgb"))

    assert list(files) == ["a"]
    np.testing.assert_array_equal(files.read("a"), np.concatenate([rgb, flow[:5]], axis=1))
    np.testing.assert_array_equal(turned.read("a"), np.concatenate([flow[:5], rgb], axis=1))


def test_pickles_that_run_code_are_refused(tmp_path: Path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({b"scores": print}))

    with pytest.raises(DataError, match="refused: this pickle asks to run"):
        FeatureFiles(tmp_path).read("a")


def test_packs_tell_their_extractor_and_lengths(tmp_path: Path):
    facts = {"model": "tsn", "rate": 5}
    with PackWriter(tmp_path / "pack", extractor=facts) as pack:
        for number in range(3):
            streams = {"rgb": features_of(number, steps=number + 2)}
            pack.write(FeatureRecord(f"v{number}", streams, None, duration_seconds=number + 0.5))

    for path in (tmp_path / "pack", tmp_path):
        files = FeatureFiles(path)
        assert files.extractor == facts
        assert files.fingerprint is not None
        assert files.durations == {"v0": 0.5, "v1": 1.5, "v2": 2.5}
        np.testing.assert_array_equal(files.read("v2"), features_of(2, steps=4))


@pytest.mark.parametrize("kind", ["pack", "npz", "npy", "csv"])
def test_what_extract_writes_is_read(tmp_path: Path, kind: Any):
    folder = FeatureFolder(tmp_path / "out", kind, {"model": "tsn"})
    folder.prepare(made_with="test")
    writer = folder.writer(0)
    for name, number in (("a", 1), ("b", 2)):
        streams = {"rgb": features_of(number)}
        writer.add(FeatureRecord(name, streams, (1,), duration_seconds=4.0 * number))
    folder.merge()

    files = FeatureFiles(tmp_path / "out")

    assert files.extractor == {"model": "tsn"}
    assert files.durations == {"a": 4.0, "b": 8.0}
    np.testing.assert_array_equal(files.read("b"), features_of(2))


def test_lengths_may_come_from_the_features(tmp_path: Path):
    with PackWriter(tmp_path / "pack") as pack:
        pack.write(FeatureRecord("a", {"rgb": features_of(0)}, duration_seconds=8.0))
    (tmp_path / "a.csv").write_text("video,type,start,end\na,run,2,4\n")
    data = SequenceData(annotations=tmp_path / "a.csv", features=tmp_path / "pack", num_workers=0)

    (batch,) = eval_sequences(SHAPE, data, batch_size=1)

    assert batch.segments[0].tolist() == [[0.25, 0.5]]


def test_several_arrays_need_a_choice(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=features_of(1), y=features_of(2))

    with pytest.raises(DataError, match=r"a\.npz: holds several arrays \(x, y\); choose data\.str"):
        FeatureFiles(tmp_path).read("a")
    with pytest.raises(DataError, match=r"has no array 'z' \(data\.streams\); it has: x, y"):
        FeatureFiles(tmp_path, streams=("z",)).read("a")
    both = FeatureFiles(tmp_path, streams=("y", "x")).read("a")
    np.testing.assert_array_equal(both, np.hstack([features_of(2), features_of(1)]))


def test_a_video_that_is_there_twice_is_told(tmp_path: Path):
    np.save(tmp_path / "a.npy", features_of(1))
    write_csv(tmp_path / "a.csv", features_of(1))

    with pytest.raises(DataError, match=r"'a' are there twice: .*a\.csv and .*a\.npy"):
        FeatureFiles(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"f0,f1\n1,2\n3\n", "not a table of numbers"),
        ("a.csv", b"f0,f1\n", "empty: it has no features"),
        ("a.csv", b"f0,f1\n1,x\n", "not a table of numbers"),
        ("a.pkl", pickle.dumps([{"no": "array"}]), "expected a dict with an array"),
        ("a.npz", b"PK\x03\x04", "not a readable .npz file"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=f"{name}: {message}"):
        FeatureFiles(tmp_path).read("a")


def test_a_folder_without_features_says_what_it_expects(tmp_path: Path):
    with pytest.raises(DataError, match="no features of videos here; not one of: feature packs"):
        FeatureFiles(tmp_path)
    (tmp_path / "features-000.tfrecord").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds TFRecords, .* extract the features again with"):
        FeatureFiles(tmp_path)


def test_hdf5_needs_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.h5").write_bytes(b"")

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(DataError, match=r"pip install .videozoo\[h5\]"):
        FeatureFiles(tmp_path).read("a")
    with pytest.raises(DataError, match=r"pip install .videozoo\[h5\]"):
        FeatureFiles(tmp_path / "a.h5")


def test_hdf5_files_of_one_and_of_many_videos(tmp_path: Path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["v_a/c3d_features"] = features_of(1)
        file["v_b"] = features_of(2)
    one = tmp_path / "one"
    one.mkdir()
    with h5py.File(one / "a.h5", "w") as file:
        file["features"] = features_of(1)

    many = FeatureFiles(tmp_path / "all.h5")

    assert list(many) == ["v_a", "v_b"]
    np.testing.assert_array_equal(many.read("a"), features_of(1))
    np.testing.assert_array_equal(many.read("b"), features_of(2))
    np.testing.assert_array_equal(FeatureFiles(one).read("a"), features_of(1))


@needs_data
def test_sample_features_of_activitynet_become_batches():
    data = SequenceData(
        annotations=DATA / "annotations" / "action_test_anno.json",
        features=DATA / "activitynet_features",
        num_workers=0,
    )

    (batch,) = eval_sequences(SequenceShape(feature_dim=400, num_steps=100), data, batch_size=2)

    assert batch.features.shape == (2, 400, 100)
    assert batch.names == ("v_test1", "v_test2")
    np.testing.assert_allclose(batch.segments[0], [[0.3, 0.6]])
    files = FeatureFiles(DATA / "activitynet_features")
    first = files.read("test1", feature_dim=400)
    assert first.shape == (5, 400)
    np.testing.assert_allclose(first[0, :2], [-2.52400826749, 0.0481050342173], rtol=1e-6)


# --- other lengths ---------------------------------------------------------------------------

STEPS = np.array([[0, 1], [2, 0], [-1, 4], [3, 3], [8, -2]], np.float32)
OPENCV = {  # first column, as OpenCV 5.0 gives it
    ("nearest", 3): [0, 2, 3],
    ("linear", 3): [0.66667, -1, 6.33333],
    ("cubic", 3): [0.7963, -1, 6.64814],
    ("area", 3): [0.8, 0.4, 6],
    ("nearest", 8): [0, 0, 2, 2, -1, 3, 3, 8],
    ("linear", 8): [0, 0.875, 1.8125, -0.0625, 0.25, 2.75, 5.8125, 8],
    ("cubic", 8): [-0.18567, 1.10187, 1.92236, -0.46533, -0.41467, 2.58704, 6.17395, 8.46417],
    ("area", 8): [0, 0.8, 2, -0.4, -0.2, 3, 6, 8],
}


@pytest.mark.parametrize(("method", "num_steps"), OPENCV)
def test_resize_equals_opencv(method: Any, num_steps: int):
    resized = resize_steps(STEPS, num_steps, method)

    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized[:, 0], OPENCV[method, num_steps], atol=1e-5)


def test_nearest_rounds_as_opencv_does():
    steps = np.arange(14, dtype=np.float32)[:, None]

    assert resize_steps(steps, 100, "nearest")[50] == 6  # 50 / (100 / 14) is a hair below 7


methods = st.sampled_from(["nearest", "linear", "cubic", "area"])


@given(method=methods, steps=st.integers(1, 40), wanted=st.integers(1, 40), value=st.floats(-9, 9))
def test_constants_stay_constant(method: Any, steps: int, wanted: int, value: float):
    resized = resize_steps(np.full((steps, 2), value, np.float32), wanted, method)

    assert resized.shape == (wanted, 2)
    np.testing.assert_allclose(resized, np.float32(value), rtol=1e-5, atol=1e-6)


@given(method=methods, steps=st.integers(1, 40), wanted=st.integers(1, 40))
def test_resize_commutes_with_reversal_of_channels(method: Any, steps: int, wanted: int):
    features = features_of(steps, steps)

    np.testing.assert_array_equal(
        resize_steps(features, wanted, method)[:, ::-1],
        resize_steps(np.ascontiguousarray(features[:, ::-1]), wanted, method),
    )


# --- augmentation ----------------------------------------------------------------------------

segments = st.lists(
    st.tuples(st.floats(0, 60), st.floats(0.1, 30)).map(lambda s: (s[0], min(s[0] + s[1], 60.0))),
    max_size=4,
).map(lambda made: np.array(made, np.float64).reshape(-1, 2))


@settings(max_examples=25)
@given(truth=segments, seed=st.integers(0, 999))
def test_moved_actions_keep_their_features(truth: NDArray[np.float64], seed: int):
    features = np.arange(60, dtype=np.float32)[:, None]
    labels = np.arange(len(truth))

    moved, where, order = random_move(features, truth, labels, random.Random(seed))

    assert sorted(order.tolist()) == labels.tolist()
    for (start, end), label in zip(where, order, strict=True):
        first, last = int(truth[label, 0]), min(int(truth[label, 1]), 60)
        np.testing.assert_allclose(end - start, truth[label, 1] - truth[label, 0], atol=1e-9)
        begin = int(start)
        np.testing.assert_array_equal(
            moved[begin : begin + last - first, 0], np.arange(first, last)
        )
    assert set(moved[:, 0].tolist()) == set(range(60))


@settings(max_examples=25, deadline=None)
@given(truth=segments, seed=st.integers(0, 999))
def test_a_crop_keeps_what_has_its_middle_inside(truth: NDArray[np.float64], seed: int):
    features = np.arange(60, dtype=np.float32)[:, None]
    labels = np.arange(len(truth))

    kept, where, which = random_crop(features, truth, labels, random.Random(seed), min_scale=0.5)

    start, size = int(kept[0, 0]), len(kept)
    np.testing.assert_array_equal(kept[:, 0], np.arange(start, start + size))
    assert size >= 30
    middles = truth.mean(axis=1) if len(truth) else np.zeros(0)
    inside = (middles >= start) & (middles <= start + size)
    assert which.tolist() == labels[inside].tolist()
    np.testing.assert_allclose(where, np.clip(truth[inside] - start, 0, size))


def test_the_truth_stays_with_the_features_however_a_video_is_changed(data: SequenceData):
    for number in range(COUNT):  # of 10 + number seconds, an action from 1 to 3 + number
        seconds = (np.arange(200) + 0.5) / 200 * (10 + number)
        is_action = (seconds > 1) & (seconds < 3 + number)
        np.save(feature(data, number), np.repeat(is_action[:, None], 3, axis=1).astype(np.float32))
    augment = SequenceAugment(random_move=True, random_crop=True)
    data = changed(data, augment=augment, resize="nearest")
    shape = SequenceShape(feature_dim=3, num_steps=100)

    epochs = [
        batch
        for number in range(2)
        for batch in train_sequences(shape, data, batch_size=COUNT).epoch(number)
    ]

    for batch in epochs:
        for features, truth in zip(batch.features, batch.segments, strict=True):
            centres = (np.arange(100) + 0.5) / 100
            inside = np.zeros(100, np.bool_)
            for start, end in truth:
                inside |= (centres > start) & (centres < end)
            if len(truth):  # else the crop cut most of it off
                assert (inside != (features[0].numpy() > 0)).mean() < 0.06
    first, second = (dict(zip(batch.names, batch.features, strict=True)) for batch in epochs)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_lists_of_2019_are_placed_by_counting_features(tmp_path: Path):
    (tmp_path / "train.list").write_text("a 100 1 1 20 40\n")
    (tmp_path / "dur.list").write_text("a 25 4.0\n")
    np.save(tmp_path / "a.npy", features_of(0, steps=16))
    data = SequenceData(
        annotations=tmp_path / "train.list",
        durations=tmp_path / "dur.list",
        features=tmp_path,
        snippet_length=5,
        num_workers=0,
    )

    (batch,) = eval_sequences(SHAPE, data, batch_size=1)

    assert batch.segments[0].tolist() == [[4 / 16, 8 / 16]]
    assert batch.durations.tolist() == [4.0]


# --- tables and proposals --------------------------------------------------------------------


def test_tables_print_numbers_as_in_2019(tmp_path: Path):
    write_table(
        tmp_path / "t.csv",
        {
            "start": np.array([0.23441438, 0.021938508, 1e-5, 1.0], np.float32),
            "score": np.array([0.39366847287917195, 1.2832470929424744e-05, 0.0, 0.55]),
        },
    )

    assert (tmp_path / "t.csv").read_text() == (
        "start,score\n0.23441438,0.39366847287917195\n"
        "0.021938508,1.2832470929424744e-05\n1e-05,0.0\n1.0,0.55\n"
    )


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), max_size=5))
def test_tables_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, values: list[float]):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    given = {"a": np.array(values), "b": np.array(values, np.float32)}
    write_table(path, given)

    back = read_table(path, ("b", "a"))

    assert back["a"].tolist() == values
    assert back["b"].astype(np.float32).tolist() == given["b"].tolist()


def test_a_table_without_a_column_is_told(tmp_path: Path):
    (tmp_path / "t.csv").write_text("tmin,tmax\n0,1\n")

    assert read_table(tmp_path / "t.csv", ("xmin", "xmax"))["xmax"].tolist() == [1.0]
    with pytest.raises(DataError, match="has no column score; its columns are: xmin, xmax"):
        read_table(tmp_path / "t.csv", ("xmin", "score"))
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(DataError, match="has no column xmin; its columns are: none"):
        read_table(tmp_path / "t.csv", ("xmin",))


def some_proposals(count: int) -> Proposals:
    rng = np.random.RandomState(count)
    ends = np.sort(rng.rand(count, 2), axis=1)
    return Proposals(ends, rng.rand(count), rng.rand(count), rng.rand(count), rng.rand(count))


@pytest.fixture
def staged(tmp_path: Path) -> ProposalData:
    folders = [tmp_path / name for name in ("props", "bsp")]
    for folder in folders:
        folder.mkdir()
    for number in range(COUNT + 2):
        count = number % 3 + 2
        write_proposals(folders[0] / f"v{number:02d}.csv", some_proposals(count))
        np.save(folders[1] / f"v{number:02d}.npy", np.full((count, 5), float(number)))
    return ProposalData(
        annotations=write_annotations(tmp_path / "a.json"),
        proposals=folders[0],
        proposal_features=folders[1],
        num_workers=0,
    )


def test_proposals_are_padded(staged: ProposalData):
    (batch,) = eval_proposals(staged, feature_dim=5, batch_size=4, matched=True)

    assert batch.names == ("v10", "v11")
    assert batch.features.shape == (2, 4, 5)
    assert batch.mask.tolist() == [[True] * 3 + [False], [True] * 4]
    assert batch.features[0, :3].unique().tolist() == [10.0]
    assert not batch.features[0, 3].any()
    expected = some_proposals(3)
    np.testing.assert_array_equal(batch.proposals[0].segments, expected.segments)
    np.testing.assert_array_equal(batch.proposals[0].end_scores, expected.end_scores)
    np.testing.assert_allclose(batch.tious[0, :3], expected.tious, rtol=1e-6)
    assert batch.tious[0, 3] == 0


def test_only_the_first_proposals_are_used(staged: ProposalData):
    few = staged.model_copy(update={"max_proposals": 2})

    (batch,) = eval_proposals(few, feature_dim=5, batch_size=4)

    assert batch.features.shape == (2, 2, 5)
    assert [len(one) for one in batch.proposals] == [2, 2]


def test_proposals_train_as_sequences_do(staged: ProposalData):
    helped = staged.model_copy(update={"num_workers": 2})
    parts = [
        train_proposals(helped, feature_dim=5, batch_size=2, rank=rank, world=2)
        for rank in range(2)
    ]
    alone = train_proposals(staged, feature_dim=5, batch_size=2, rank=1, world=2)

    epochs = [list(part.epoch(1)) for part in parts]

    names = [name for epoch in epochs for batch in epoch for name in batch.names]
    assert len(epochs[0]) == len(epochs[1]) == 2
    assert len(set(names)) == 8
    assert [b.names for b in alone.epoch(1, skip_batches=1)] == [epochs[1][1].names]


def test_bad_proposals_are_told(staged: ProposalData, tmp_path: Path):
    given: dict[str, Any] = {"feature_dim": 5, "batch_size": 4}
    with pytest.raises(DataError, match=r"5 values per proposal, expected 6; are the numbers"):
        list(eval_proposals(staged, feature_dim=6, batch_size=4))
    np.save(tmp_path / "bsp" / "v10.npy", np.zeros((7, 5)))
    with pytest.raises(DataError, match=r"features of 7 proposals, but .*v10\.csv has 3"):
        list(eval_proposals(staged, **given))
    (tmp_path / "bsp" / "v10.npy").unlink()
    with pytest.raises(DataError, match="1 of 2 videos have no features here: v10"):
        eval_proposals(staged, **given)
    skipping = eval_proposals(staged, **given, skip_bad=True)
    assert skipping.dataset.missing.names == ("v10",)
    assert [batch.names for batch in skipping] == [("v11",)]
    unset = staged.model_copy(update={"proposals": None})
    with pytest.raises(DataError, match=r"data\.proposals is not set"):
        eval_proposals(unset, **given)


@needs_data
def test_sample_proposals():
    found = read_proposals(DATA / "proposals" / "v_test1.csv", matched=True)
    scores = read_table(DATA / "tem_results" / "v_test1.csv", ("start", "end", "action"))

    assert len(found) == 9
    assert found.segments[0].tolist() == [0.1, 0.2]
    assert found.tious[0] == 0.85
    assert scores["start"][0] == 0.5839086771011353
    assert read_annotations(DATA / "annotations" / "action_test_anno.json").class_names == (
        "Drinking beer",
        "Rock climbing",
    )


# --- rates -------------------------------------------------------------------------------------


def at_rate(data: SequenceData, rate: float, **others: int) -> None:
    """Store as many vectors as a rate gives for the annotated seconds; `others` by number."""
    for number in range(COUNT + 2):
        steps = others.get(f"v{number:02d}", round(rate * (10 + number)))
        np.save(feature(data, number), features_of(number, steps))


def test_a_configured_rate_is_compared_with_the_annotated_lengths(
    data: SequenceData, caplog: pytest.LogCaptureFixture
):
    at_rate(data, 4.0, v03=400)

    load_videos(changed(data, rate=4.0), "train")
    assert "1 of 10 videos are longer or shorter there than by their features" in caplog.text
    assert "worst is v03: 13 s annotated, 100 s by its features" in caplog.text
    with pytest.raises(
        DataError, match=r"data.rate is 40 vectors .* it is about 4: --set data.rate"
    ):
        load_videos(changed(data, rate=40.0), "train")


@pytest.mark.parametrize(
    ("others", "says"),
    [({"v03": 400}, "v03: 400 vectors in 13 s, 30.8 per second"), ({}, "")],
)
def test_without_a_rate_videos_of_another_rate_than_most_are_named(
    data: SequenceData, caplog: pytest.LogCaptureFixture, others: dict[str, int], says: str
):
    at_rate(data, 4.0, **others)

    load_videos(data, "train")

    assert says in caplog.text
    assert bool(says) == ("another number of vectors per second than most (4)" in caplog.text)


def test_resized_features_have_no_rate_to_compare(
    data: SequenceData, caplog: pytest.LogCaptureFixture
):
    load_videos(data, "train")  # four vectors each

    assert not caplog.text
