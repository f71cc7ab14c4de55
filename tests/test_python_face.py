"""What a PyTorch user types works: models, training, answers on files and on arrays."""

import io
import json
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import videozoo
from videozoo.commands import words_for_python
from videozoo.config import from_layers
from videozoo.data.synthetic.clips import CLASS_NAMES, SyntheticClips, make_clips
from videozoo.errors import (
    ConfigError,
    DataError,
    UsageError,
    VideoError,
    VideozooError,
    WeightsError,
)
from videozoo.tasks.loading import save_trained
from videozoo.weights.fit import as_paddle
from videozoo.weights.paddle import write_pdparams

TINY: dict[str, Any] = {"depth": 18, "width": 0.125, "num_segments": 4}


def tiny_config(clips: SyntheticClips) -> dict[str, Any]:
    return {
        "model": {"name": "tsm", "num_classes": 8, **TINY},
        "data": {
            "train": str(clips.train_list),
            "val": str(clips.val_list),
            "class_names": str(clips.class_names),
            "short_side": 40,
            "crop_size": 32,
            "flip": 0,
            "num_workers": 0,
        },
        "train": {"epochs": 2, "batch_size": 4},
    }


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("clips")
    return make_clips(folder, num_train=16, num_val=8, num_test=8, seed=0, size=40)


@pytest.fixture(scope="session")
def run(clips: SyntheticClips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a tiny TSM."""
    folder = tmp_path_factory.mktemp("run") / "tsm"
    result = videozoo.train(tiny_config(clips), save_dir=folder, settings={"train.epochs": 1})
    assert (result.path, result.weights) == (folder, folder / "best.safetensors")
    assert result.best is not None
    assert [line["epoch"] for line in result.history] == [1]
    return folder


def test_importing_videozoo_imports_nothing_heavy():
    heavy = "{'torch', 'av', 'numpy', 'pydantic'} & set(sys.modules)"
    code = f"import sys, videozoo; videozoo.list_models(); assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert set(videozoo.__all__) <= set(dir(videozoo)) | set(videozoo._HOMES)


# --- models --------------------------------------------------------------------------------------


def test_models_are_listed_by_task():
    assert videozoo.list_models(task="localisation") == ["bmn", "bsn", "bsn_pem", "bsn_tem", "ctcn"]
    tasks = ["classification", "tagging", "localisation", "captioning", "moments"]
    listed = [name for task in tasks for name in videozoo.list_models(task=task)]
    assert sorted(listed) == videozoo.list_models()
    with pytest.raises(ConfigError, match=r"unknown task 'x' \(known: captioning, class"):
        videozoo.list_models(task="x")


def test_a_fresh_model_has_the_classes_asked_for():
    model = videozoo.create_model("TSM", num_classes=5, **TINY)

    assert model.training
    assert model(torch.zeros(1, 4, 3, 32, 32)).shape == (1, 5)
    assert isinstance(videozoo.create_model("tall"), torch.nn.Module)
    with pytest.raises(ConfigError, match=r"model\.num_clases: unknown key; did you mean"):
        videozoo.create_model("tsm", num_clases=5)
    with pytest.raises(ConfigError, match="unknown model 'tsmm'; did you mean 'tsm'"):
        videozoo.create_model("tsmm")


def test_a_model_starts_from_a_resnet(tmp_path: Path):
    state = _torchvision_resnet18()
    torch.save(state, tmp_path / "resnet18.pth")

    model = videozoo.create_model("tsm", num_classes=5, weights=tmp_path / "resnet18.pth", depth=18)

    ours = model.state_dict()
    assert torch.equal(ours["backbone.stem.conv.weight"], state["conv1.weight"])
    assert ours["head.weight"].shape == (5, 512)
    with pytest.raises(WeightsError, match=r"of depth 18, and this run's model\.depth is 50"):
        videozoo.create_model("tsm", num_classes=5, weights=tmp_path / "resnet18.pth")


def test_a_run_tells_its_classes_and_settings(run: Path):
    model = videozoo.create_model("tsm", weights=run)

    assert model.eval()(torch.zeros(1, 4, 3, 32, 32)).shape == (1, 8)
    again = videozoo.create_model("tsm", num_classes=8, weights=run / "best.safetensors")
    assert _same(model, again)
    with pytest.raises(WeightsError, match="trained on 8 classes, but num_classes is 5; leave"):
        videozoo.create_model("tsm", num_classes=5, weights=run)
    with pytest.raises(WeightsError, match="made for model 'tsm', not for 'tsn'"):
        videozoo.create_model("tsn", weights=run)


def test_weights_without_a_description_tell_their_classes(tmp_path: Path):
    model = videozoo.create_model("tsm", num_classes=7, **TINY)
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    spec = videozoo.models.model_spec("tsm")
    names = spec.paddle.names(spec.settings(num_classes=7, **TINY))
    write_pdparams(tmp_path / "tsm.pdparams", as_paddle(model.state_dict(), names))

    for path in (tmp_path / "plain.pth", tmp_path / "tsm.pdparams"):
        again = videozoo.create_model("tsm", weights=path, **TINY)
        assert _same(model, again)
        with pytest.raises(WeightsError, match="trained on 7 classes, but num_classes is 5"):
            videozoo.create_model("tsm", num_classes=5, weights=path, **TINY)


def test_a_model_without_classes_takes_plain_weights(tmp_path: Path):
    model = videozoo.create_model("tall", visual_dim=24, sentence_dim=16)
    torch.save(model.state_dict(), tmp_path / "tall.pth")

    again = videozoo.create_model(
        "tall", weights=tmp_path / "tall.pth", visual_dim=24, sentence_dim=16
    )

    assert _same(model, again)


def test_parameters_of_an_image_network_are_no_classes(tmp_path: Path):
    """PaddlePaddle calls the classifiers of a ResNet and of a TSM by the same name."""
    image = videozoo.create_model("tsm", num_classes=1000, **TINY)
    spec = videozoo.models.model_spec("tsm")
    names = spec.paddle.names(spec.settings(num_classes=1000, **TINY))
    path = tmp_path / "resnet.pdparams"
    write_pdparams(path, as_paddle(image.state_dict(), names))

    model = videozoo.create_model(
        "tsm", num_classes=3, weights=tmp_path / "resnet.pdparams", **TINY
    )

    ours, theirs = model.state_dict(), image.state_dict()
    assert torch.equal(ours["backbone.stem.conv.weight"], theirs["backbone.stem.conv.weight"])
    assert ours["head.weight"].shape[0] == 3


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def _torchvision_resnet18() -> dict[str, Tensor]:
    """Random arrays with the names and shapes of torchvision's ResNet-18."""
    state = {"fc.weight": torch.randn(1000, 512), "fc.bias": torch.randn(1000)}

    def unit(name: str, norm: str, out: int, into: int, size: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, into, size, size)
        for key in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{key}"] = torch.rand(out)

    unit("conv1", "bn1", 64, 3, 7)
    into = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            at = f"layer{stage}.{block}"
            unit(f"{at}.conv1", f"{at}.bn1", width, into, 3)
            unit(f"{at}.conv2", f"{at}.bn2", width, width, 3)
            if block == 0 and stage > 1:
                unit(f"{at}.downsample.0", f"{at}.downsample.1", width, into, 1)
            into = width
    return state


# --- training ------------------------------------------------------------------------------------


def test_training_takes_a_name_a_file_a_dict_or_a_config(clips: SyntheticClips, tmp_path: Path):
    changes = {
        **{f"model.{key}": value for key, value in TINY.items()},
        "data.short_side": 40,
        "data.crop_size": 32,
        "data.num_workers": 0,
        "data.val": str(clips.val_list),
        "data.train": str(clips.train_list),
        "data.class_names": str(clips.class_names),
        "model.num_classes": 8,
        "train.epochs": 1,
        "train.batch_size": 8,
    }
    named = videozoo.train("tsm", save_dir=tmp_path / "named", settings=changes)
    assert named.history[0]["epoch"] == 1
    config = videozoo.load_config(named.path / "config.yaml")
    assert config.train.epochs == 1

    more = videozoo.train(
        config, save_dir=tmp_path / "more", weights=named.path, settings={"train.batch_size": 4}
    )
    assert more.weights is not None
    assert videozoo.load(more.weights).config.train.batch_size == 4
    longer = videozoo.train(save_dir=named.path, resume=True, settings={"train.epochs": 2})
    assert [line["epoch"] for line in longer.history] == [1, 2]


def test_training_says_what_is_wrong(clips: SyntheticClips, tmp_path: Path):
    with pytest.raises(UsageError, match="no configuration; pass a packaged name"):
        videozoo.train()
    with pytest.raises(ConfigError, match=r"train\.epoch: unknown key; did you mean 'epochs'"):
        videozoo.train(tiny_config(clips), save_dir=tmp_path, settings={"train.epoch": 2})
    with pytest.raises(ConfigError, match=r"config: data\.trian: unknown key"):
        videozoo.train({"model": {"name": "tsm"}, "data": {"trian": "x"}})


def test_errors_name_arguments_and_no_flags(
    clips: SyntheticClips, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    torch.save(videozoo.create_model("tsm", **TINY).state_dict(), "bare.pth")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: videozoo.load("bare.pth"), "holds no configuration; pass config=FILE|NAME"),
        (lambda: videozoo.load(run, device="cuda"), "pass device='cpu' to run"),
        (lambda: videozoo.train(tiny_config(clips), save_dir=run), "overwrite=True"),
        (lambda: videozoo.train(tiny_config(clips), save_dir=run), "save_dir=ANOTHER_FOLDER"),
        (lambda: videozoo.train("bmn", save_dir="x"), 'settings={"data.features": PATH}'),
        (lambda: videozoo.train("bmn", data=run, save_dir="x"), "data is for folders of"),
        (lambda: videozoo.load(run).export("a.pt2", video="no.mp4"), "no.mp4"),
    ]
    for call, words in calls:
        with pytest.raises(VideozooError) as error:
            call()
        assert words in str(error.value)
        assert " --" not in str(error.value)
    with pytest.raises(UsageError, match="--drop is a flag of the `videozoo` command"):
        raise_in_python("pass --drop head")


@words_for_python()
def raise_in_python(text: str) -> None:
    raise UsageError(text)


# --- answers -------------------------------------------------------------------------------------


def test_a_model_of_another_task_is_refused(run: Path):
    assert videozoo.load(run, task="classification").class_names == list(CLASS_NAMES)
    with pytest.raises(WeightsError, match="TSM is a model for classification, not for tagging"):
        videozoo.load(run, task="tagging")


def test_a_classifier_takes_paths_open_videos_and_arrays(clips: SyntheticClips, run: Path):
    classifier = videozoo.load(run, task="classification")
    path = clips.unseen[0]
    with videozoo.open_video(path) as video:
        frames = video.read(range(video.num_frames))
        results = classifier.predict(
            path, video, [frames, torch.from_numpy(frames)], str(clips.unseen[1])
        )
        assert video.read([0]).shape == (1, 40, 40, 3)  # still open

    names = [str(path), str(path), "video 2", "video 3", str(clips.unseen[1])]
    assert [result.video for result in results] == names
    for result in results[1:4]:
        assert result.scores == pytest.approx(results[0].scores, abs=1e-6)
    first = results[0]
    assert len(first.labels) == 8
    assert sum(label.score for label in first.labels) == pytest.approx(1, abs=1e-5)
    assert first.labels[0].name == CLASS_NAMES[first.labels[0].number]
    assert first.top(1) == [(first.labels[0].number, first.labels[0].score)]
    assert repr(first).endswith(
        f"8 labels, best {first.labels[0].name!r} {first.top(1)[0][1]:.3f})"
    )
    plain = json.loads(json.dumps(first.to_dict()))
    assert plain["video"] == str(path)
    assert plain["labels"][0].keys() == {"name", "score", "number"}
    assert repr(classifier).startswith("Classifier(TSM, 8 classes, from '")


def test_views_of_arrays_are_those_of_files(clips: SyntheticClips, run: Path, tmp_path: Path):
    config = videozoo.load_config(run / "config.yaml")
    views = {"predict.num_clips": 3, "predict.num_crops": 3, "predict.batch_size": 4}
    path = tmp_path / "views.yaml"
    path.write_text(config.replace("", views).to_yaml())
    classifier = videozoo.load(run, config=path, task="classification")
    with videozoo.open_video(clips.unseen[0]) as video:
        frames = video.read(range(video.num_frames))

    by_file, by_array = classifier.predict(clips.unseen[0], frames)

    assert by_array.scores == pytest.approx(by_file.scores, abs=1e-6)


def test_a_classifier_turns_a_video_into_a_vector(clips: SyntheticClips, run: Path):
    classifier = videozoo.load(run, task="classification")
    with videozoo.open_video(clips.unseen[0]) as video:
        frames = video.read(range(video.num_frames))

    vector = classifier.embed(clips.unseen[0])

    assert vector.shape == (64,)
    assert classifier.embed(frames) == pytest.approx(vector, abs=1e-6)
    module: Any = classifier.module
    logits = module.head(module.dropout(torch.from_numpy(vector)))
    scores = torch.softmax(logits, 0).detach().numpy()
    assert classifier.predict(frames)[0].scores == pytest.approx(scores, abs=1e-5)


def test_what_is_no_video_is_refused_in_a_sentence(run: Path):
    classifier: Any = videozoo.load(run)
    frames = np.zeros((4, 40, 40, 3), np.uint8)
    for wrong, message in (
        (
            frames.astype(np.float32),
            r"video 0: .*type float32, expected frames as they are",
        ),
        (torch.zeros(4, 40, 40, 3, requires_grad=True), "video 0: .*type float32, expected"),
        (frames.transpose(0, 3, 1, 2), r"channels come last: frames\.permute\(0, 2, 3, 1\)"),
        (frames[0], r"video 0: an array of shape \(40, 40, 3\)"),
        (frames[:0], "video 0: an array of shape .0, 40"),
        (5, "video 0: a int, expected a path, a video from open_video"),
        ([frames, {"a": frames}], "video 1: a dict, expected a path"),
    ):
        with pytest.raises(DataError, match=message):
            classifier.predict(wrong)
    with pytest.raises(VideoError, match="no such file"):
        classifier.embed("nowhere.mp4")


def test_weights_keep_their_type_whatever_the_default_is(clips: SyntheticClips, run: Path):
    expected = videozoo.load(run, task="classification").predict(clips.unseen[0])[0].scores
    torch.set_default_dtype(torch.float64)
    try:
        classifier = videozoo.load(run, task="classification")
        found = classifier.predict(clips.unseen[0])[0].scores
        model = videozoo.create_model("tsm", weights=run)
    finally:
        torch.set_default_dtype(torch.float32)

    for module in (classifier.module, model):
        assert {value.dtype for value in module.parameters()} == {torch.float32}
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_model_file_may_be_a_path_and_is_read_anew_when_it_changes(tmp_path: Path):
    file = tmp_path / "edit.py"
    text = (Path(__file__).parent / "outside" / "mean_frames.py").read_text()
    file.write_text(text)
    first = videozoo.create_model(file, num_classes=3)
    file.write_text(text + "\n\ndef again() -> int:\n    return 1\n")
    second = videozoo.create_model(file, num_classes=3)

    assert type(first) is not type(second)
    assert type(second) is type(videozoo.create_model(str(file), num_classes=3))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mean", [123.675, 116.28, 103.53], r"write \[0\.485, 0\.456, 0\.406\]"),
        ("std", [58.395, 57.12, 57.375], r"write \[0\.229, 0\.224, 0\.225\]"),
    ],
)
def test_colours_of_0_to_255_are_refused_with_those_to_write(
    key: str, value: list[float], said: str
):
    with pytest.raises(ConfigError, match=said):
        from_layers([("test", {"model": {"name": "tsm"}, "data": {key: value}})])
    from_layers([("test", {"model": {"name": "tsm"}, "data": {key: [1, 1, 0.5]}})])


def test_a_classifier_may_be_sent_to_another_process(clips: SyntheticClips, run: Path):
    model, video = videozoo.load(run, device="cpu", task="classification"), clips.unseen[0]
    (run.parent / "sent.pkl").write_bytes(pickle.dumps(model))
    code = f"""
import pathlib, pickle
model = pickle.loads(pathlib.Path({str(run.parent / "sent.pkl")!r}).read_bytes())
print(*model.predict({str(video)!r})[0].scores)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    expected = model.predict(video)[0].scores
    assert [float(score) for score in done.stdout.split()] == pytest.approx(expected, abs=1e-5)
    again = pickle.loads(pickle.dumps(model))
    assert again.config.as_dict() == model.config.as_dict()


def test_a_classifier_is_exported_and_read_again(clips: SyntheticClips, run: Path, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    classifier = videozoo.load(run, task="classification")

    path = classifier.export(tmp_path / "tsm.pt2")

    assert path == tmp_path / "tsm.pt2"
    exported = pickle.loads(pickle.dumps(videozoo.load(path, task="classification")))
    expected = classifier.predict(clips.unseen[0])[0]
    assert exported.predict(clips.unseen[0])[0].scores == pytest.approx(expected.scores, abs=1e-4)
    with pytest.raises(ConfigError, match="gives scores only here"):
        exported.embed(clips.unseen[0])
    with pytest.raises(AttributeError, match="has no module"):
        _ = exported.module


# --- models of features --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Weights of a tiny model that reads features, of random numbers."""
    folder = tmp_path_factory.mktemp("weights")

    def made(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            config = from_layers([("test", {"model": {"name": name, **SETTINGS[name]}})])
            origin = {"rate": 2.0}
            if name == "tall":
                encoder = {"encoder": "hashed-1", "dim": config.model.sentence_dim}
                origin = {"visual": origin, "sentences": encoder}
            module = config.spec.build(config.model)
            save_trained(path, module, config, NAMES.get(name), {}, origin)
        return path

    return made


SETTINGS: dict[str, dict[str, Any]] = {
    "bmn": {"feature_dim": 8, "num_steps": 16, "num_durations": 16},
    "bsn": {"tem": {"feature_dim": 8, "num_steps": 20}},
    "bsn_pem": {},
    "attention_cluster": {
        "num_classes": 7,
        "streams": [
            {"name": "rgb", "dim": 6, "clusters": 2},
            {"name": "audio", "dim": 4, "clusters": 2},
        ],
    },
    "ets": {"feature_dim": 8, "vocabulary_size": 6},
    "tall": {"visual_dim": 24, "sentence_dim": 16},
}
NAMES = {
    "attention_cluster": [f"class {number}" for number in range(7)],
    "ets": ["<s>", "<e>", "<unk>", "man", "runs", "dog"],
}


def features(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_segments_are_found_in_arrays(weights: Callable[[str], Path], tmp_path: Path):
    model = videozoo.load(weights("bmn"), task="localisation")
    one, other = features(16, 8), features(16, 8, seed=1)
    (tmp_path / "f").mkdir()
    for name, array in (("a", one), ("b", other)):
        np.save(tmp_path / "f" / f"{name}.npy", array)

    by_file = model.predict(tmp_path / "f")
    by_array = model.predict({"b": torch.from_numpy(other), "a": one})

    assert [found.video for found in by_file] == ["a", "b"]
    assert [found.video for found in by_array] == ["b", "a"]
    assert by_array[0].duration_seconds == 8.0  # 16 vectors, two per second
    assert by_file[1].duration_seconds is None
    best, share = by_array[0].segments[0], by_file[1].segments[0]
    assert (best.start, best.end) == pytest.approx((8 * share.start, 8 * share.end), abs=1e-5)
    assert best.score == pytest.approx(share.score, abs=1e-5)
    many = model.predict([features(16, 8, seed=n) for n in range(12)])
    assert [found.video for found in many] == [f"video {n}" for n in range(12)]
    assert json.loads(json.dumps(many[0].to_dict()))["segments"][0].keys() == {
        *("start", "end", "score", "name")
    }
    split = model.predict({"rgb": one[:, :4], "flow": one[:, 4:]})
    assert split[0].segments == model.predict(one)[0].segments
    with pytest.raises(DataError, match=r"video 0: an array of shape \(8,\)"):
        model.predict(one[0])
    with pytest.raises(DataError, match=r"5 values per step, expected model\.feature_dim=8"):
        model.predict(one[:, :5])
    with pytest.raises(ConfigError, match="BMN reads features and makes no vector"):
        model.embed(tmp_path)
    with pytest.raises(UsageError, match="BMN is exported as onnx only"):
        model.export(format="torch-export")


def test_both_stages_of_bsn_take_arrays_and_the_second_alone_takes_files(
    weights: Callable[[str], Path],
):
    (found,) = videozoo.load(weights("bsn"), task="localisation").predict(features(20, 8))
    assert found.duration_seconds == 10.0
    assert all(0 <= each.start <= each.end <= 10 for each in found.segments)
    scoring = videozoo.load(weights("bsn_pem"), task="localisation")
    with pytest.raises(UsageError, match="BSN-PEM scores proposals, which are read from files"):
        scoring.predict(features(20, 32))


def test_tags_are_told_of_arrays(weights: Callable[[str], Path], tmp_path: Path):
    model = videozoo.load(weights("attention_cluster"), task="tagging")
    rgb, audio = features(9, 6), features(9, 4, seed=1)
    (tmp_path / "f").mkdir()
    np.savez(tmp_path / "f" / "a.npz", rgb=rgb, audio=audio)

    by_file = model.predict(tmp_path / "f")[0]
    by_array = model.predict({"rgb": rgb, "audio": torch.from_numpy(audio).double()})[0]
    named = model.predict({"x": {"rgb": rgb, "audio": audio}}, tmp_path / "f")

    assert (by_file.video, by_array.video) == ("a", "video 0")
    assert [result.video for result in named] == ["x", "a"]
    assert len(by_file.labels) == 7  # of at most predict.top_k = 20
    for result in (by_array, *named):
        assert result.top(7) == [(n, pytest.approx(s, abs=1e-6)) for n, s in by_file.top(7)]
    assert by_file.labels[0].name == model.class_names[by_file.labels[0].number]
    assert "7 labels, best 'class" in repr(by_file)
    with pytest.raises(DataError, match="no stream 'rgb', which the model reads; it has: one"):
        model.predict(rgb)
    with pytest.raises(DataError, match="video 0: rgb: an array of shape"):
        model.predict({"rgb": rgb[0], "audio": audio})


def test_events_of_arrays_are_described(weights: Callable[[str], Path], tmp_path: Path):
    model = videozoo.load(weights("ets"), task="captioning")
    one, other = features(10, 8), features(6, 8, seed=1)
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", one)

    (whole,) = model.predict(one)
    many = model.predict({"b": other, "a": one}, events={"a": [(0, 2), (1, 4)], "b": [(0, 3)]})
    by_file = model.predict(tmp_path / "f", events=[(0, 1)])

    assert whole.video == "video 0"
    assert [(each.start, each.end) for each in whole.captions] == [(0.0, 5.0)]  # two per second
    assert [(result.video, len(result.captions)) for result in many] == [("b", 1), ("a", 2)]
    assert [(each.start, each.end) for each in many[1].captions] == [(0.0, 2.0), (1.0, 4.0)]
    assert by_file[0].captions[0].end == 1.0
    best = whole.captions[0]
    assert best.attention is not None
    assert best.attention.shape == (len(best.words), 10)
    assert best.score >= best.others[0].score
    plain = json.loads(json.dumps(whole.to_dict()))
    assert plain["captions"][0].keys() == {"start", "end", "text", "score", "others"}
    assert repr(whole).startswith("VideoCaptions('video 0': 1 caption, first 0.0 to 5.0 s '")
    assert repr(model) == f"Captioner(ETS, from '{weights('ets')}')"
    with pytest.raises(DataError, match="video 0: event 1 from 3 to 2 s"):
        model.predict(one, events=[(0, 1), (3, 2)])


@pytest.mark.parametrize(
    "events",
    [np.array([[0, 2], [1, 3]]), torch.tensor([[0.0, 2.0], [1.0, 3.0]]), [[0, 2], [1, 3]]],
)
def test_events_are_pairs_arrays_or_tensors(weights: Callable[[str], Path], events: Any):
    model = videozoo.load(weights("ets"), task="captioning")

    (found,) = model.predict(features(10, 8), events=events)

    assert [(each.start, each.end) for each in found.captions] == [(0.0, 2.0), (1.0, 3.0)]
    (one,) = model.predict(features(10, 8), events=(0, 2))
    assert [(each.start, each.end) for each in one.captions] == [(0.0, 2.0)]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ({"A": [(0, 1)], "b": [(0, 2)]}, "events: no video is called A; there are a, b"),
        ({"b": [(0, 2)]}, "events: none for a; name the events of every video"),
        ({"a": [], "b": [(0, 2)]}, "events of a: empty; name an event"),
        ({}, "events: none for a, b"),
        ([], "events: empty; name an event, or leave `events` out"),
        ([(1, 2, 3)], r"events: \[\(1, 2, 3\)\], expected pairs \(start, end\) in seconds"),
        (["a"], "events: .'a'., expected pairs"),
        ([[(0, 1)], [(0, 2), (1, 2)]], "events: .*, expected pairs"),
        ([[[0, 1]]], "events: .*, expected pairs"),
        (5, "events: 5, expected pairs"),
        ([(0, float("nan"))], "a: event 0 from 0 to nan s"),
        ([(0, float("inf"))], "a: event 0 from 0 to inf s"),
    ],
)
def test_events_that_cannot_be_used_are_refused(
    weights: Callable[[str], Path], events: Any, message: str
):
    model = videozoo.load(weights("ets"), task="captioning")
    with pytest.raises(DataError, match=message):
        model.predict({"a": features(10, 8), "b": features(10, 8)}, events=events)


def test_results_are_compared_and_hashed(weights: Callable[[str], Path]):
    model = videozoo.load(weights("ets"), task="captioning")

    (one,), (other,) = model.predict(features(10, 8)), model.predict(features(10, 8))

    assert one == other
    assert len({one, other}) == 1


def test_moments_are_found_in_arrays(weights: Callable[[str], Path], tmp_path: Path):
    model = videozoo.load(weights("tall"), task="moments")
    one, other = features(40, 8), features(30, 8, seed=1)
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", one)

    found = model.predict([one, torch.from_numpy(other)], "a man runs", "a dog")

    assert [(each.video, each.sentence) for each in found] == [
        *(("video 0", "a man runs"), ("video 0", "a dog")),
        *(("video 1", "a man runs"), ("video 1", "a dog")),
    ]
    assert all(0 <= each.start <= each.end <= 20 for each in found[0].moments)  # two per second
    assert found[0].unit == "seconds"
    scores = [each.score for each in found[0].moments]
    assert scores == sorted(scores, reverse=True)
    assert repr(found[0]).startswith("VideoMoments('video 0', 'a man runs': ")
    assert json.loads(json.dumps(found[0].to_dict()))["moments"][0].keys() == {
        *("start", "end", "score")
    }
    with pytest.raises(UsageError, match="no sentence: predict"):
        model.predict(one)


def test_sentences_are_texts_or_lists_of_them(weights: Callable[[str], Path]):
    model: Any = videozoo.load(weights("tall"), task="moments")
    one = features(40, 8)

    found = model.predict(one, ["a man runs", "a dog"])

    assert found == model.predict(one, "a man runs", "a dog")
    for wrong, message in (
        (None, "sentence 0: a NoneType; expected text"),
        (5, "sentence 0: a int; expected text"),
        (b"a dog", "sentence 0: a bytes; expected text"),
        (["a dog", 5], "sentence 1: a int; expected text"),
        (np.zeros(16), "sentence 0: an array of shape .*, but the model learnt from .*'hashed-1'"),
        ([], "no sentence: an empty list"),
    ):
        with pytest.raises(UsageError, match=message):
            model.predict(one, wrong)


def test_a_model_of_given_vectors_takes_vectors(tmp_path: Path):
    config = from_layers([("test", {"model": {"name": "tall", **SETTINGS["tall"]}})])
    module, path = config.spec.build(config.model), tmp_path / "given.safetensors"
    origin = {"visual": {"rate": 2.0}, "sentences": {"encoder": "given", "dim": 16}}
    save_trained(path, module, config, None, {}, origin)
    model: Any = videozoo.load(path, task="moments")

    found = model.predict(features(40, 8), np.ones(16), torch.ones(16))

    assert [each.sentence for each in found] == ["", ""]
    assert found[0] == found[1]
    with pytest.raises(UsageError, match=r"of shape \(15,\) .*; expected text, or a vector of 16"):
        model.predict(features(40, 8), np.ones(15))


def test_messages_name_features_in_memory_as_the_user_does(weights: Callable[[str], Path]):
    model: Any = videozoo.load(weights("bmn"))
    with pytest.raises(DataError, match=r"^bad: 5 values per step"):
        model.predict({"good": features(16, 8), "bad": features(16, 5)})
    with pytest.raises(DataError, match=r"^a: an empty dict, expected features"):
        model.predict({"a": {}})


@pytest.mark.parametrize("wrong", [None, 0, io.BytesIO()])
def test_what_is_no_path_is_not_opened(wrong: Any):
    with pytest.raises(VideoError, match=r"open_video: a .*, expected the path of a video file"):
        videozoo.open_video(wrong)


def test_what_cannot_be_loaded_or_trained_is_said_in_python_words(run: Path, tmp_path: Path):
    python: Any = videozoo
    with pytest.raises(UsageError, match="load: no weights; pass a run folder"):
        python.load()
    with pytest.raises(ConfigError, match=r"unknown task 'clasification' \(known: captioning"):
        python.load(run, task="clasification")
    with pytest.raises(UsageError, match=r"train: settings is a list, expected values by dotted"):
        python.train("tsm", settings=["train.epochs=2"])
    with pytest.raises(ConfigError, match=r"is 'modle' meant to be 'model'?"):
        python.train({"modle": {"name": "tsm"}})
    with pytest.raises(UsageError, match=r"export: .*x.foo: the name tells no format; it ends in"):
        python.load(run).export(tmp_path / "x.foo")


def test_what_cannot_be_used_is_skipped_with_a_warning(weights: Callable[[str], Path]):
    good, wide, flat = features(16, 8), features(16, 5), features(16)
    broken = good.copy()
    broken[3, 2] = np.nan
    asked: dict[str, tuple[str, ...]] = {"bmn": (), "ets": (), "tall": ("a dog",)}
    for name, more in asked.items():
        model: Any = videozoo.load(weights(name))
        inputs = {"a": good, "w": wide, "f": flat, "n": broken, "b": good}
        with pytest.warns(UserWarning, match=r"(?s)3 could not be used.*w: 5 .*f: an.*n: nan"):
            found = model.predict(inputs, *more, strict=False)
        assert [each.video for each in found] == ["a", "b"]
        with pytest.warns(UserWarning, match="video 1: 5 values"):
            found = model.predict([good, wide, good], *more, strict=False)
        assert [each.video for each in found] == ["video 0", "video 2"]
        with pytest.raises(DataError, match="video 0: 5 values"):
            model.predict(wide, *more, strict=False)
        with pytest.raises(DataError, match="f: an array of shape"):
            model.predict(inputs, *more)
    model = videozoo.load(weights("ets"))
    with pytest.warns(UserWarning, match="f: an array"):
        (one,) = model.predict({"a": good, "f": flat}, events=(0, 1), strict=False)
    assert one.video == "a"


def test_tags_of_good_features_are_told_beside_bad_ones(weights: Callable[[str], Path]):
    model: Any = videozoo.load(weights("attention_cluster"))
    good = {"rgb": features(9, 6), "audio": features(9, 4)}
    with pytest.warns(UserWarning, match=r"(?s)2 could not.*  a: has no stream 'rgb'.*video 1"):
        found = model.predict({"a": features(9, 6), "b": good}, 5, good, strict=False)
    assert [each.video for each in found] == ["b", "video 2"]


def test_bad_videos_among_good_ones_are_skipped(run: Path, clips: SyntheticClips, tmp_path: Path):
    model: Any = videozoo.load(run)
    frames, bad = np.zeros((4, 40, 40, 3), np.uint8), tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    inputs = [bad, frames, frames[0], clips.unseen[0], "nowhere.mp4", frames]

    with pytest.warns(UserWarning, match=r"(?s)3 could not.*bad\.mp4.*video 2: .*nowhere\.mp4"):
        found = model.predict(*inputs, strict=False)

    assert [each.video for each in found] == ["video 1", str(clips.unseen[0]), "video 5"]
    with pytest.raises(DataError, match=r"bad\.mp4"):
        model.predict(bad, strict=False)
    with pytest.raises(DataError, match=r"bad\.mp4"):
        model.predict(bad, frames)


# --- the example ---------------------------------------------------------------------------------


def test_training_by_hand_runs_as_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = Path(__file__).parents[1] / "examples" / "train_by_hand.py"
    example = runpy.run_path(str(path))

    example["main"](tmp_path, num_videos=16, epochs=2)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "the first of them"]
    assert lines[2].partition(": ")[2] in CLASS_NAMES
    assert len(path.read_text().splitlines()) < 90
