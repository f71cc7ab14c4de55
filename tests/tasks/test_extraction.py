"""From videos to features: what a vector is, and folders of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.weights.image_nets import trained_image_net
from videozoo.config import from_layers
from videozoo.data.annotations.video_labels import read_labels
from videozoo.data.features.record_formats import find_records
from videozoo.data.frames.video import open_video
from videozoo.data.frames.views import eval_plan, eval_views
from videozoo.data.frames.windows import FrameTimes, clip_windows, window_frames
from videozoo.data.synthetic.world import World, make_world
from videozoo.errors import (
    ConfigError,
    DataError,
    IncompleteError,
    UsageError,
    VideoError,
    WeightsError,
)
from videozoo.ops.pixels import normalize
from videozoo.tasks.clip_encoder import ClipEncoder
from videozoo.tasks.clip_views import clip_shape
from videozoo.tasks.extraction import extract_all, find_inputs
from videozoo.tasks.extractor import Extraction, Extractor, identity
from videozoo.tasks.loading import Trained, build_trained, config_for_weights, save_trained
from videozoo.tasks.requests import ConfigSource, ExtractRequest

MODELS: dict[str, dict[str, Any]] = {
    "tsn": {"num_segments": 2},
    "tsm": {"num_segments": 4},
    "stnet": {"num_segments": 2, "frames_per_segment": 3},
    "nonlocal": {"num_frames": 4, "bn_init_gamma": 1.0},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    sizes: dict[str, Any] = {"size": 36, "frames_per_second": 8}
    counts = {"num_train": 3, "num_val": 1, "num_test": 0}
    return make_world(folder, **counts, seed=0, min_seconds=8, max_seconds=9, **sizes)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "tsm.safetensors", "tsm")


def save(path: Path, model: str, *, seed: int = 0, **more: Any) -> Path:
    settings = {"name": model, "num_classes": 3, "depth": 18, "width": 0.125, **MODELS[model]}
    data = {"short_side": 34, "crop_size": 32, "frame_stride": 2}
    config = from_layers([("", {"model": settings | more, "data": data})])
    torch.manual_seed(seed)
    save_trained(path, config.spec.build(config.model), config, None, {})
    return path


def trained_at(path: Path) -> Trained:
    return config_for_weights(ConfigSource(), str(path))


def extractor_of(trained: Trained, *, layer: Any = "features", **more: Any) -> Extractor:
    return Extractor([ClipEncoder(trained, layer=layer)], device="cpu", **more)


def extract(weights: Path, inputs: Sequence[Path], output: Path, **more: Any) -> Extraction:
    request = ExtractRequest(
        source=ConfigSource(),
        weights=str(weights),
        inputs=tuple(map(str, inputs)),
        output=output,
        **more,
    )
    return extract_all(request, console=Console(quiet=True))


def names_in(folder: Path) -> list[str]:
    records = find_records(folder)
    return sorted(records.read(number).name for number in range(len(records)))


# --- one video -----------------------------------------------------------------------------------


class _Chosen:
    """A video of some frames of another one, for the functions that evaluation cuts clips with."""

    def __init__(self, reader: Any, numbers: Sequence[int]) -> None:
        self._reader, self._numbers = reader, numbers
        self.num_frames = len(numbers)

    def read(self, indices: Sequence[int]) -> Any:
        return self._reader.read([self._numbers[index] for index in indices])


@pytest.mark.parametrize("model", MODELS)
def test_a_vector_is_what_the_model_sees_of_those_frames_in_evaluation(
    model: str, world: World, tmp_path: Path
):
    trained = trained_at(save(tmp_path / "x.safetensors", model))
    extractor = extractor_of(trained, rate=3)
    config, path = trained.config, world.videos[0].path

    record = extractor.extract(path)

    features = record.streams["rgb"]
    dense = model == "nonlocal"
    view = eval_plan(clip_shape(config), config.data)
    plan = clip_windows(view, rate=3, window_seconds=None if dense else 1 / 3)
    module: Any = build_trained(trained).eval()
    with open_video(path) as reader, torch.inference_mode():
        numbers = window_frames(FrameTimes.of(reader, ""), plan)
        assert features.shape == (len(numbers), module.feature_dim)
        for window in (0, 7, len(numbers) - 1):
            chosen: Any = _Chosen(reader, numbers[window].tolist())
            stride = replace(view, frame_stride=1)  # `chosen` holds these frames and no others
            whole = replace(stride, num_steps=view.num_steps)
            clip = torch.from_numpy(eval_views(chosen, whole, centre="run")[0])
            pixels = normalize(clip.permute(0, 3, 1, 2)[None], config.data.mean, config.data.std)
            expected = module.features(pixels)[0].numpy()
            np.testing.assert_allclose(features[window], expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(features, axis=0).max() > 1e-3  # windows differ


def test_the_batch_size_does_not_change_the_vectors(weights: Path, world: World):
    found = [
        extractor_of(
            config_for_weights(
                ConfigSource(overrides=(f"predict.batch_size={size}",)), str(weights)
            ),
        ).extract(world.videos[0].path)
        for size in (1, 5, 64)
    ]

    for other in found[1:]:
        np.testing.assert_allclose(
            other.streams["rgb"], found[0].streams["rgb"], rtol=1e-4, atol=1e-6
        )


def test_scores_are_what_the_classifier_says_of_the_features(weights: Path, world: World):
    trained, path = trained_at(weights), world.videos[0].path
    features = extractor_of(trained).extract(path).streams["rgb"]
    extractor = extractor_of(trained, layer="scores")

    scores = extractor.extract(path).streams["rgb"]

    head = build_trained(trained).get_submodule("head")
    with torch.inference_mode():  # TSM drops half of the features, in evaluation all of them half
        expected = head(torch.from_numpy(features) * 0.5).softmax(dim=1)
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-4, atol=1e-6)
    assert (extractor.dim, extractor.facts["layer"]) == (3, "class scores")
    assert extractor.fingerprint != extractor_of(trained).fingerprint


def test_other_classifiers_give_other_scores_and_so_another_fingerprint(
    weights: Path, tmp_path: Path
):
    trained = trained_at(weights)
    other = build_trained(trained)
    torch.nn.init.normal_(other.get_submodule("head").get_parameter("weight"))
    path = tmp_path / "other.safetensors"
    save_trained(path, other, trained.config, None, {})

    def mark(of: Trained, layer: Any) -> str:
        return extractor_of(of, layer=layer).fingerprint

    assert mark(trained, "features") == mark(trained_at(path), "features")
    assert mark(trained, "scores") != mark(trained_at(path), "scores")


def test_a_record_says_which_video_and_how_long(weights: Path, world: World):
    video = world.videos[0]
    seen: list[tuple[int, int]] = []

    record = extractor_of(trained_at(weights)).extract(
        video.path, on_windows=lambda done, total: seen.append((done, total))
    )

    assert record.name == video.name
    assert record.duration_seconds == pytest.approx(video.duration_seconds)
    assert record.facts == {"path": str(video.path), **identity(video.path)}
    assert seen[-1] == (len(record.streams["rgb"]),) * 2


def test_the_fingerprint_is_of_what_the_features_depend_on(weights: Path, tmp_path: Path):
    def of(path: Path, *overrides: str, **more: Any) -> str:
        trained = config_for_weights(ConfigSource(overrides=overrides), str(path))
        return extractor_of(trained, **more).fingerprint

    mine = of(weights)
    same = [
        of(Path(shutil.copy(weights, tmp_path / "copy.safetensors"))),
        of(weights, "predict.batch_size=3", "data.num_workers=0"),
        of(weights, window_seconds=0.5),
    ]
    others = [
        of(save(tmp_path / "other.safetensors", "tsm", seed=1)),
        of(save(tmp_path / "tsn.safetensors", "tsn")),
        of(weights, rate=4),
        of(weights, window_seconds=1),
        of(weights, "data.crop_size=28"),
        of(weights, "data.resize=fixed_4_3"),
        of(weights, "data.mean=[0.5,0.5,0.5]"),
        of(weights, "model.shift_div=4"),
    ]

    assert set(same) == {mine}
    assert len({mine, *others}) == 1 + len(others)


def test_a_classifier_of_other_classes_leaves_the_fingerprint(tmp_path: Path):
    one = trained_at(save(tmp_path / "one.safetensors", "tsn"))
    module = build_trained(one)
    with torch.no_grad():
        module.get_parameter("head.weight").add_(1)
    save_trained(tmp_path / "two.safetensors", module, one.config, None, {})

    first = extractor_of(one)
    second = extractor_of(trained_at(tmp_path / "two.safetensors"))

    assert first.facts == second.facts


def test_an_image_network_will_do_for_tsn_and_for_no_other(tmp_path: Path, world: World):
    path = tmp_path / "resnet.pth"
    torch.save(trained_image_net(18).state_dict(), path)
    found: list[str] = []
    for seed in (0, 1):
        torch.manual_seed(seed)  # a fresh classifier, which features do without
        found.append(extractor_of(with_config(path, "tsn", tmp_path)).fingerprint)

    assert found[0] == found[1]
    with pytest.raises(WeightsError, match=r"knows nothing of what TSM does along time"):
        extractor_of(with_config(path, "tsm", tmp_path))


def with_config(weights: Path, model: str, folder: Path) -> Trained:
    file = folder / f"{model}.yaml"
    data = "data: {short_side: 34, crop_size: 32}"
    file.write_text(f"model: {{name: {model}, depth: 18, width: 0.125, num_segments: 2}}\n{data}\n")
    return config_for_weights(ConfigSource(path=file), str(weights))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 0}, r"--rate 0: expected vectors per second"),
        ({"rate": float("nan")}, r"--rate nan"),
        ({"rate": 1e9}, r"--rate 1e\+09"),
        ({"window_seconds": -1}, r"--window-seconds -1: expected more than 0"),
    ],
)
def test_rates_that_make_no_sense(options: dict[str, Any], said: str, weights: Path):
    with pytest.raises(UsageError, match=said):
        extractor_of(trained_at(weights), **options)


def test_an_exported_graph_gives_no_features(weights: Path):
    trained = replace(trained_at(weights), path=Path("graph.onnx"))
    with pytest.raises(WeightsError, match=r"graph.onnx: an exported graph gives scores and no"):
        extractor_of(trained)


def test_models_that_see_no_video_do_not_extract(tmp_path: Path):
    config = from_layers(
        [("", {"model": {"name": "attention_lstm", "streams": [{"name": "rgb", "dim": 4}]}})]
    )
    with pytest.raises(ConfigError, match=r"reads features itself"):
        extractor_of(Trained(config, tmp_path / "x.safetensors"))


# --- many videos ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pack", "tfrecord", "npz"])
def test_tags_of_a_world_arrive_in_the_records(
    kind: str, weights: Path, world: World, tmp_path: Path
):
    labels = world.folder / "tags_train.json"

    result = extract(
        weights, [world.folder / "train.list"], tmp_path / "out", labels=labels, format=kind
    )

    assert (result.videos, result.kept, result.skipped) == (3, 0, [])
    records = find_records(tmp_path / "out")
    for record in map(records.read, range(len(records))):
        video = next(video for video in world.videos if video.name == record.name)
        assert list(record.labels or ()) == video.tags()
        assert len(record.streams["rgb"]) == pytest.approx(2 * video.duration_seconds, abs=1)
        if kind == "pack":
            assert record.duration_seconds == pytest.approx(video.duration_seconds)
            assert record.facts["path"] == str(video.path)


def test_a_second_call_goes_on_where_the_first_stopped(
    weights: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, videos = tmp_path / "out", [video.path for video in world.videos]
    done: list[str] = []
    one = Extractor.extract

    def stopped(self: Extractor, path: Path, **more: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(path.stem)
        return one(self, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "extract", stopped)
        with pytest.raises(KeyboardInterrupt):
            extract(weights, videos, out)
    assert names_in(out) == sorted(done)
    before = {path: path.stat().st_mtime_ns for path in out.glob("part-*/rgb.npy")}

    result = extract(weights, videos, out)

    assert (result.videos, result.kept) == (2, 2)
    assert names_in(out) == sorted(video.name for video in world.videos)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_folder_of_another_extractor_is_refused_and_can_be_replaced(
    weights: Path, world: World, tmp_path: Path
):
    videos, out = [world.videos[0].path], tmp_path / "out"
    extract(weights, videos, out)
    with pytest.raises(DataError, match=r"fingerprint \w{16}, these would have \w{16}"):
        extract(weights, videos, out, rate=5.0)

    extract(weights, videos, out, rate=5.0, overwrite=True)

    records = find_records(out)
    assert records.extractor is not None
    assert records.extractor["rate"] == 5
    assert len(records) == 1


def test_another_video_of_the_same_name_is_not_taken_for_done(
    weights: Path, world: World, tmp_path: Path
):
    out, other = tmp_path / "out", tmp_path / world.videos[0].path.name
    extract(weights, [world.videos[0].path], out)
    shutil.copy(world.videos[1].path, other)

    with pytest.raises(DataError, match=r"already holds features of another train_00000"):
        extract(weights, [other], out)

    shutil.copy(world.videos[0].path, other)  # only moved
    assert extract(weights, [other], out).kept == 1


def test_a_damaged_video_is_named_at_the_end_or_stops(weights: Path, world: World, tmp_path: Path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for video in world.videos[:2]:
        shutil.copy(video.path, folder)
    (folder / "train_00000b.mp4").write_bytes(b"this is not a video")

    with pytest.raises(VideoError, match=r"train_00000b.mp4: "):
        extract(weights, [folder], tmp_path / "out", strict=True)
    assert names_in(tmp_path / "out") == ["train_00000"]  # what came before it is kept

    with pytest.raises(IncompleteError, match=r"1 of 3 videos .*\n  .*train_00000b.mp4: "):
        extract(weights, [folder], tmp_path / "out")
    assert names_in(tmp_path / "out") == ["train_00000", "train_00001"]

    result = extract(weights, [folder], tmp_path / "out", skip_bad=True)
    assert (result.videos, result.kept, len(result.skipped)) == (0, 2, 1)
    assert "train_00000b.mp4" in result.skipped[0]


def test_a_video_cut_short_is_named(weights: Path, world: World, tmp_path: Path):
    whole = world.videos[0].path.read_bytes()
    short = tmp_path / "short.mp4"
    short.write_bytes(whole.replace(b"moov", b"m00v"))

    with pytest.raises(VideoError, match=r"short.mp4"):
        extract(weights, [short], tmp_path / "out")


def test_nothing_readable_leaves_a_folder_that_can_be_gone_on_with(weights: Path, tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"x")

    result = extract(weights, [bad], tmp_path / "out", skip_bad=True)

    assert (result.videos, len(result.skipped)) == (0, 1)
    assert (tmp_path / "out" / "extractor.json").exists()


# --- inputs and labels ---------------------------------------------------------------------------


def test_inputs_are_files_folders_patterns_and_lists_each_once(world: World):
    videos = [video.path for video in world.videos]
    texts = [world.folder / "train.list", world.folder / "videos" / "val*", world.folder]

    found = find_inputs([str(text) for text in texts])

    assert sorted(entry.path for entry in found.entries) == sorted(videos)


def test_videos_of_one_name_are_told_apart_by_their_folders(
    world: World, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    places = ("a/x.mp4", "b/x.mp4", "b/y.mp4", "c/x.mp4")
    for video, place in zip(world.videos, places, strict=False):
        (tmp_path / "tree" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video.path, tmp_path / "tree" / place)
    out, tree = tmp_path / "out", tmp_path / "tree"

    assert extract(weights, [tree / "a"], out).videos == 1
    result = extract(weights, [tree], out)

    assert (result.videos, result.kept) == (3, 1)
    assert names_in(out) == ["b__x", "c__x", "x", "y"]
    assert "3 videos share their names" not in capsys.readouterr().err
    assert extract(weights, [tree], tmp_path / "whole").videos == 4
    assert names_in(tmp_path / "whole") == ["a__x", "b__x", "c__x", "y"]
    assert "3 videos share their names with others" in capsys.readouterr().err
    assert extract(weights, [tree], tmp_path / "whole").kept == 4


def test_inputs_that_are_not_there(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for text, said in (("no/*.mp4", "nothing matches"), ("no.mp4", "no such file")):
        with pytest.raises(DataError, match=said):
            find_inputs([text])
    with pytest.raises(DataError, match="no videos in this folder"):
        find_inputs([str(tmp_path / "empty")])


def test_labels_are_found_by_path_and_then_by_name(tmp_path: Path):
    text, tags = tmp_path / "labels.txt", tmp_path / "tags.json"
    text.write_text("a/x.mp4 1\nb/x.mp4 2,0\nmy video.mp4 3\n\nid_1 4\n")
    tags.write_text(json.dumps({"a/x.mp4": [1], "b/x.mp4": [2, 0], "my video.mp4": 3, "id_1": [4]}))

    for labels in (read_labels(text), read_labels(tags)):
        assert labels.of(tmp_path / "b" / "x.mp4") == (2, 0)
        assert labels.of(Path("elsewhere/my video.mp4")) == (3,)
        assert labels.of(Path("elsewhere/id_1.mkv")) == (4,)
        assert labels.of(Path("unknown.mp4")) is None
        assert labels.num_classes == 5
        with pytest.raises(DataError, match="several videos are called x"):
            labels.of(Path("c/x.mp4"))


@pytest.mark.parametrize(
    "text",
    [
        "my clip.mp4,0,3\nb.mp4,1\n",
        "path,label\nmy clip.mp4,0,3\nb.mp4,1\n",
        "# tags\nmy clip.mp4\t0, 3\nb.mp4\t1\n",
        "my clip.mp4;0,3\nb.mp4;1\n",
    ],
)
def test_labels_may_be_parted_otherwise(text: str, tmp_path: Path):
    (tmp_path / "labels.txt").write_text(text)

    labels = read_labels(tmp_path / "labels.txt")

    assert labels.of(tmp_path / "my clip.mp4") == (0, 3)
    assert labels.of(tmp_path / "b.mp4") == (1,)


def test_classes_that_a_list_names_are_numbered_and_this_is_said(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    listed = tmp_path / "videos.csv"
    first, second = (video.path for video in world.videos[:2])
    listed.write_text(f"path,label\n{first},walk\n{second},jump\n")

    assert [entry.label for entry in find_inputs([str(listed)]).entries] == [1, 0]
    assert "numbered in the order of their names, from 0 'jump' to 1 'walk'" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("l.txt", "a.mp4 1\na.mp4 dog\n", r"l.txt:2: expected 'PATH LABEL\[,LABEL...\]', got"),
        ("l.txt", "a.mp4 -1\n", r"l.txt:1: expected"),
        ("l.txt", "\n", r"l.txt: empty"),
        ("l.txt", "a.mp4 60 0 1\n", r"l.txt:1: expected 'PATH LABEL"),
        ("l.txt", "a.mp4 1\na.mp4 2\n", r"l.txt:2: 'a.mp4' has other labels in line 1"),
        ("l.json", "{", r"l.json: not valid JSON"),
        ("l.json", "[1]", r"l.json: no classes of videos: JSON, 1"),
        ("l.json", '{"a.mp4": true}', r"l.json: 'a.mp4': expected class numbers"),
        ("l.json", '{"a.mp4": ["dog"]}', r"l.json: 'a.mp4': expected class numbers"),
    ],
)
def test_labels_that_cannot_be_read(name: str, content: str, said: str, tmp_path: Path):
    (tmp_path / name).write_text(content)

    with pytest.raises(DataError, match=said):
        read_labels(tmp_path / name)


def test_labels_of_other_videos_are_refused(weights: Path, world: World, tmp_path: Path):
    labels = tmp_path / "labels.txt"
    labels.write_text("other.mp4 1\n")

    with pytest.raises(DataError, match=r"mentions none of the 1 video,"):
        extract(weights, [world.videos[0].path], tmp_path / "out", labels=labels)
    assert not (tmp_path / "out").exists()
