"""Encoders of transformers: tiny networks of every family, and files that are not taken."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from videozoo.encoders import open_known
from videozoo.encoders.hugging_face import (
    HuggingFaceEncoder,
    is_hugging_face,
    open_hugging_face,
)
from videozoo.encoders.sentences import TextTower
from videozoo.errors import ConfigError, UsageError, WeightsError
from videozoo.weights import hub

transformers = pytest.importorskip("transformers")
from tests.encoders.tiny_models import PREPROCESSOR, build, change, save  # noqa: E402

COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """Folders of tiny models, each written once, and the models."""
    made: dict[str, tuple[Path, Any]] = {}

    def get(name: str) -> tuple[Path, Any]:
        if name not in made:
            model = build(name)
            made[name] = save(model, tmp_path_factory.mktemp("model")), model
        return made[name]

    return get


@pytest.fixture
def vit(published: Callable[[str], tuple[Path, Any]], tmp_path: Path) -> Path:
    """A ViT to spoil."""
    return shutil.copytree(published("vit")[0], tmp_path / "vit")


def noise(frames: int, height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(frames).integers(0, 256, (frames, height, width, 3), np.uint8)


def windows_of(encoder: HuggingFaceEncoder, count: int = 2) -> Tensor:
    steps = encoder.window.num_steps
    frames = np.ascontiguousarray(encoder.prepare(noise(count * steps)))
    return torch.from_numpy(frames).unflatten(0, (count, steps)).permute(0, 1, 4, 2, 3)


def normalised(windows: Tensor) -> Tensor:
    mean = torch.tensor(PREPROCESSOR["image_mean"]).view(3, 1, 1)
    std = torch.tensor(PREPROCESSOR["image_std"]).view(3, 1, 1)
    return (windows / 255 - mean) / std


def refusal(folder: Path | str, error: type[Exception] = WeightsError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        open_hugging_face(str(folder), **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message


# --- features --------------------------------------------------------------------------------

Call = Callable[[Any, Tensor], Tensor]


def last(model: Any, pixels: Tensor) -> Tensor:
    return model(pixels).last_hidden_state


CLASS: Call = lambda model, pixels: last(model, pixels)[:, 0]  # noqa: E731
MEAN: Call = lambda model, pixels: last(model, pixels).mean(1)  # noqa: E731
PATCHES: Call = lambda model, pixels: last(model, pixels)[:, 1:].mean(1)  # noqa: E731
POOLER: Call = lambda model, pixels: model(pixels).pooler_output.flatten(1)  # noqa: E731

CASES: list[tuple[str, str | None, Call]] = [
    ("vit", None, CLASS),
    ("vit", "mean", PATCHES),
    ("vit", "pooler", POOLER),
    ("vit classifier", None, lambda model, x: CLASS(model.vit, x)),
    ("dinov2", None, POOLER),
    ("dinov2", "mean", PATCHES),
    ("dinov2 registers", None, CLASS),
    ("dinov2 registers", "mean", lambda model, x: last(model, x)[:, 4:].mean(1)),
    ("dinov3 vit", None, POOLER),
    ("dinov3 vit", "mean", lambda model, x: last(model, x)[:, 3:].mean(1)),
    ("dinov3 convnext", None, POOLER),
    ("dinov3 convnext", "mean", PATCHES),
    ("clip", None, lambda model, x: model.visual_projection(POOLER(model.vision_model, x))),
    ("clip", "pooler", lambda model, x: POOLER(model.vision_model, x)),
    ("clip vision", None, POOLER),
    ("clip vision", "mean", PATCHES),
    ("siglip", None, lambda model, x: POOLER(model.vision_model, x)),
    ("siglip headless", None, MEAN),
    ("resnet", None, POOLER),
    ("convnext", None, POOLER),
    ("convnext", "mean", lambda model, x: last(model, x).mean((2, 3))),
    ("convnextv2", None, lambda model, x: POOLER(model.convnextv2, x)),
    ("videomae", None, MEAN),
    ("videomae pretraining", None, lambda model, x: MEAN(model.videomae, x)),
    ("videomae classifier", None, lambda model, x: model.fc_norm(MEAN(model.videomae, x))),
    ("vjepa2", None, lambda model, x: model.get_vision_features(x).mean(1)),
    ("vjepa2 classifier", None, lambda m, x: m.pooler(m.vjepa2.get_vision_features(x))),
    ("timesformer", None, CLASS),
    ("vivit", None, CLASS),
    ("vivit", "pooler", POOLER),
]


@pytest.mark.parametrize(
    ("name", "pooling", "by_hand"), CASES, ids=[f"{name}-{pool}" for name, pool, _ in CASES]
)
def test_features_are_those_of_the_model_called_by_hand(
    published: Callable[[str], tuple[Path, Any]], name: str, pooling: str | None, by_hand: Call
):
    folder, model = published(name)
    encoder = open_hugging_face(str(folder), pooling=pooling)
    windows = windows_of(encoder)

    vectors = encoder.encode(windows)

    pixels = normalised(windows)
    expected = by_hand(model, pixels[:, 0] if encoder.window.num_steps == 1 else pixels)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (2, encoder.dim)
    assert float((vectors[0] - vectors[1]).abs().max()) > 1e-3
    torch.testing.assert_close(vectors, expected, atol=1e-4, rtol=1e-4)
    assert json.loads(json.dumps(encoder.facts)) == encoder.facts


@pytest.mark.parametrize(
    "name",
    ["vit", "dinov3 vit", "videomae", "vjepa2", "timesformer", "convnext", "dinov3 convnext"],
)
def test_a_layer_is_what_its_block_gives(published: Callable[[str], tuple[Path, Any]], name: str):
    folder, model = published(name)
    blocks = next(one for one in model.modules() if isinstance(one, torch.nn.ModuleList))
    encoder = open_hugging_face(str(folder), pooling="mean", layer=1)
    windows = windows_of(encoder)
    seen: list[Tensor] = []

    def look(_module: Any, _inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    hook = blocks[0].register_forward_hook(look)
    pixels = normalised(windows)
    model(pixels[:, 0] if encoder.window.num_steps == 1 else pixels)
    hook.remove()

    extra = {"vit": 1, "dinov3 vit": 3, "timesformer": 1}.get(name, 0)
    state = seen[0]
    mean = state.mean((2, 3)) if state.dim() == 4 else state[:, extra:].mean(1)
    torch.testing.assert_close(encoder.encode(windows), mean, atol=1e-4, rtol=1e-4)
    depth = len(blocks)
    negative = open_hugging_face(str(folder), pooling="mean", layer=-depth)
    assert negative.facts == encoder.facts
    assert f"expected {int(name == 'dinov3 convnext')} (the first) to {depth}" in refusal(
        folder, UsageError, layer=depth + 1
    )


def test_networks_of_videos_see_windows_of_their_own_length(
    published: Callable[[str], tuple[Path, Any]],
):
    seconds = {"vit": None, "videomae": 0.53, "vjepa2": 1.0, "timesformer": 8.53, "vivit": 0.27}

    found = {name: open_hugging_face(str(published(name)[0])).window for name in seconds}

    assert {name: window.seconds for name, window in found.items()} == seconds
    assert {window.num_frames for window in found.values()} == {1, 4}


def test_many_windows_go_through_in_parts(published: Callable[[str], tuple[Path, Any]]):
    encoder = open_hugging_face(str(published("videomae")[0]))
    windows = windows_of(encoder, 35)

    together = encoder.encode(windows)

    assert together.shape == (35, 32)
    torch.testing.assert_close(together[33:], encoder.encode(windows[33:]), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"windows of \(3, 3, 32, 32\), expected \(4, 3, 32, 32\)"):
        encoder.encode(windows[:, :3])


@pytest.mark.parametrize("name", ["vit", "convnext"])
def test_bf16_is_near(published: Callable[[str], tuple[Path, Any]], name: str):
    exact = open_hugging_face(str(published(name)[0]))
    fast = open_hugging_face(str(published(name)[0]), precision="bf16")
    assert (exact.precision, fast.precision) == ("fp32", "bf16")
    assert fast.options == {"precision": "bf16"}
    fast.to(torch.device("cpu"), fast.precision)
    windows = windows_of(exact)

    near, true = fast.encode(windows), exact.encode(windows)

    assert near.dtype == torch.float32
    assert not torch.equal(near, true)
    assert torch.cosine_similarity(near, true).min() > 0.98
    assert exact.facts == fast.facts


# --- facts -----------------------------------------------------------------------------------


def test_facts_tell_every_difference(vit: Path):
    first = open_hugging_face(str(vit))
    again = shutil.copytree(vit, vit.parent / "again")

    assert open_hugging_face(str(again)).facts == first.facts
    assert first.facts["weights_sha256"] != ""
    assert open_hugging_face(str(vit), pooling="mean").facts != first.facts
    assert open_hugging_face(str(vit), layer=1).facts != first.facts
    change(again / "preprocessor_config.json", resample=2)
    assert open_hugging_face(str(again)).facts["preparation"]["interpolation"] == "bilinear"
    change(vit / "config.json", hidden_act="relu")
    assert open_hugging_face(str(vit)).facts["settings"]["hidden_act"] == "relu"
    weights = load_file(vit / "model.safetensors")
    weights["layernorm.bias"][0] += 1
    save_file(weights, vit / "model.safetensors")
    changed = open_hugging_face(str(vit)).facts["weights_sha256"]
    assert changed != first.facts["weights_sha256"]


def test_a_run_keeps_a_folder_and_opens_it_again(vit: Path):
    (vit / "README.md").write_text("not needed")
    first = open_hugging_face(str(vit), pooling="mean", layer=1)
    run = vit.parent / "run"
    run.mkdir()

    name = first.keep(run)

    assert {file.name for file in run.iterdir()} == {
        *("config.json", "preprocessor_config.json", "model.safetensors")
    }
    again = open_known(str(run / str(name)), first.options)
    assert again is not None
    assert again.facts == first.facts
    assert first.options == {"pooling": "mean", "layer": 1}
    assert first.reference == str(vit.resolve())


def test_shards_and_half_precision_are_read(
    published: Callable[[str], tuple[Path, Any]], tmp_path: Path
):
    model = build("vit")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    shutil.copy(published("vit")[0] / "preprocessor_config.json", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    whole, parts = open_hugging_face(str(published("vit")[0])), open_hugging_face(str(tmp_path))
    windows = windows_of(whole)

    assert torch.equal(whole.encode(windows), parts.encode(windows))
    assert whole.facts == parts.facts

    weights = load_file(published("vit")[0] / "model.safetensors")
    for file in tmp_path.glob("model*"):
        file.unlink()
    save_file({name: one.half() for name, one in weights.items()}, tmp_path / "model.safetensors")
    half = open_hugging_face(str(tmp_path)).encode(windows)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half, whole.encode(windows)).min() > 0.999


def test_tables_of_positions_in_older_files_do_no_harm(
    published: Callable[[str], tuple[Path, Any]], tmp_path: Path
):
    folder = shutil.copytree(published("clip")[0], tmp_path / "clip")
    first = open_hugging_face(str(folder))
    weights = load_file(folder / "model.safetensors")
    weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(weights, folder / "model.safetensors")

    assert open_hugging_face(str(folder)).facts == first.facts


def test_opening_draws_no_random_numbers(published: Callable[[str], tuple[Path, Any]]):
    torch.manual_seed(1)
    before = torch.get_rng_state()

    open_hugging_face(str(published("vjepa2 classifier")[0]))

    assert torch.equal(torch.get_rng_state(), before)


# --- the hub ---------------------------------------------------------------------------------


@pytest.fixture
def on_hub(vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """`me/vit`, answered by a stand-in for the hub's client; returns its questions."""
    asked: list[tuple[str, str]] = []
    cache = tmp_path / "hub" / "snapshots" / COMMIT

    def download(
        repository: str, file: str, *, revision: str | None, local_files_only: bool, endpoint: str
    ) -> str:
        assert repository == "me/vit"
        asked.append((file, str(revision)))
        if not (cache / file).exists():
            if local_files_only:
                raise LocalEntryNotFoundError("no such file")
            if not (vit / file).exists():
                raise EntryNotFoundError("no such file")
            cache.mkdir(parents=True, exist_ok=True)
            shutil.copy(vit / file, cache / file)
        return str(cache / file)

    def is_reachable(_address: str) -> bool:
        return True

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "is_reachable", is_reachable)
    return asked


def test_a_model_of_the_hub_is_fetched_once_at_one_commit(
    on_hub: list[tuple[str, str]], vit: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("VIDEOZOO_OFFLINE")

    encoder = open_hugging_face("hf://me/vit@v2")

    assert encoder.reference == f"hf://me/vit@{COMMIT}"
    assert encoder.files == ()
    assert encoder.facts == open_hugging_face(str(vit)).facts
    assert on_hub[0] == ("config.json", "v2")
    assert {revision for _, revision in on_hub[1:]} == {COMMIT}
    monkeypatch.setenv("VIDEOZOO_OFFLINE", "1")
    assert open_hugging_face(encoder.reference).facts == encoder.facts


def test_a_model_that_is_not_in_the_cache_is_named(on_hub: list[tuple[str, str]]):
    message = refusal("hf://me/vit")

    assert "not in the cache, and downloads are switched off" in message
    assert on_hub == [("config.json", "None")]


def test_names_of_models_are_told_from_files_and_folders(vit: Path):
    assert is_hugging_face("hf://me/vit")
    assert is_hugging_face("hf://me/vit@refs/pr/1")
    assert is_hugging_face(str(vit))
    assert not is_hugging_face("hf://me/nets/best.safetensors")
    assert not is_hugging_face(str(vit.parent))
    assert "there is no such folder" in refusal(str(vit / "nothing"))
    assert "holds no config.json" in refusal(str(vit.parent))
    assert "expected hf://OWNER/NAME" in refusal("hf://me/vit/x/y")


# --- what is not taken -----------------------------------------------------------------------


def test_pickles_are_not_read(vit: Path):
    (vit / "model.safetensors").rename(vit / "pytorch_model.bin")

    message = refusal(vit)

    assert "holds no model.safetensors, but pytorch_model.bin" in message
    assert "can run code" in message
    assert "save_pretrained" in message


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"auto_map": {"AutoModel": "net.Net"}}, "needs code from its repository"),
        ({"model_type": "my_net"}, "a model of type 'my_net'; expected one of clip, "),
        ({"model_type": 3}, "a model of type 3"),
        ({"quantization_config": {"bits": 4}}, "its weights are quantised"),
        ({"hidden_size": 1 << 40}, "hidden_size=1099511627776; expected at most"),
        ({"hidden_size": 1 << 14}, "network of"),
        ({"intermediate_size": 1 << 24}, "describes a network of 8.7 GB, but its files hold"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers=1000000; expected at most 512"),
        ({"num_hidden_layers": 3}, "do not fit ViTModel: without"),
        ({"hidden_size": 30}, "has another shape"),
        ({"hidden_size": "wide"}, ""),
        ({"hidden_size": float("nan")}, "hidden_size=nan"),
        ({"hidden_size": {"a": 1}}, "expected a number, a word"),
        ({"patch_size": -8}, "a size of -8"),
        ({"num_attention_heads": 0}, "describes no network"),
        ({"hidden_act": "os.system"}, "describes no network"),
        ({"patch_size": 0}, ""),
        ({"num_channels": 4}, "reads frames of 4 channels"),
        ({"image_size": 64}, "makes frames of 32x32, but its network sees 64x64"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(vit: Path, values: dict[str, Any], says: str):
    change(vit / "config.json", **values)

    assert says in refusal(vit)


def test_switches_that_would_load_more_are_ignored(vit: Path):
    first = open_hugging_face(str(vit))
    change(
        vit / "config.json",
        _attn_implementation="someone/kernels",
        transformers_weights="pytorch_model.bin",
        fusion_config={"a": 1},
        dtype="float16",
    )

    assert open_hugging_face(str(vit)).facts == first.facts


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("config.json", "[1]", "config.json holds [1], expected keys and values"),
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", "[" * 100_000, "nested too deep"),
        ("preprocessor_config.json", "{'a': 1}", "preprocessor_config.json is not JSON"),
        ("model.safetensors", "cut", "not a whole safetensors file"),
        ("adapter_config.json", "{}", "holds an adapter"),
    ],
)
def test_damaged_and_foreign_files_are_refused(vit: Path, file: str, text: str, says: str):
    (vit / file).write_text(text)

    assert says in refusal(vit)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"a": "../../other.safetensors"}, "names of safetensors files in the same folder"),
        ({"a": "net.bin"}, "names of safetensors files in the same folder"),
        ({"a": "part-1.safetensors"}, "part-1.safetensors is missing, which"),
        ({}, "has no weight_map"),
    ],
)
def test_an_index_of_shards_stays_in_its_folder(vit: Path, table: dict[str, str], says: str):
    (vit / "model.safetensors").unlink()
    (vit / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))

    assert says in refusal(vit)


def test_weights_of_no_number_are_refused(vit: Path):
    # older safetensors give views of the file, which is written anew below
    weights = {name: one.clone() for name, one in load_file(vit / "model.safetensors").items()}
    weights["layernorm.bias"][0] = float("nan")
    save_file(weights, vit / "model.safetensors")
    assert "layernorm.bias holds values that are not finite" in refusal(vit)

    save_file(
        {**weights, "layernorm.bias": torch.ones(32, dtype=torch.int8)}, vit / "model.safetensors"
    )
    assert "is the model quantised?" in refusal(vit)


def test_another_precision_is_refused(vit: Path):
    assert "expected fp32 or bf16 or fp16" in refusal(vit, UsageError, precision="int8")


def test_a_pooling_that_is_not_there_is_refused(published: Callable[[str], tuple[Path, Any]]):
    folder = published("vit classifier")[0]

    assert "pooling pooler: expected class or mean" in refusal(folder, UsageError, pooling="pooler")
    message = refusal(published("vit")[0], UsageError, pooling="pooler", layer=1)
    assert "expected class or mean of a hidden state" in message


def test_without_the_package_one_line_says_what_to_install_and_nothing_is_fetched(
    vit: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]

    for name in (str(vit), "hf://nobody/nothing"):
        with pytest.raises(ConfigError, match=r"pip install 'videozoo\[encoders\]'"):
            open_hugging_face(name)
        with pytest.raises(ConfigError, match=r"pip install 'videozoo\[encoders\]'"):
            TextTower(name)


def test_a_broken_installation_is_told_from_a_missing_one(
    vit: Path, monkeypatch: pytest.MonkeyPatch
):
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> Any:
        if name == "transformers":
            raise ImportError("cannot import name 'x' from 'tokenizers'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)

    message = refusal(vit, ConfigError)
    assert "cannot be imported (\"cannot import name 'x' from 'tokenizers'\")" in message


# --- preprocessors ---------------------------------------------------------------------------


def changed(vit: Path, **values: Any) -> Any:
    """What a ViT does to frames once these keys of its preprocessor are others."""
    change(vit / "preprocessor_config.json", **values)
    return open_hugging_face(str(vit)).facts["preparation"]


def test_old_and_new_names_of_preprocessors_are_read(vit: Path):
    (vit / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "feature_extractor_type": "ViTFeatureExtractor",
                "do_resize": True,
                "size": 32,
                "resample": 2,
                "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": 0.5,
                "do_pad": False,
            }
        )
    )
    found = open_hugging_face(str(vit)).facts["preparation"]
    assert (found["size"], found["short_side"], found["crop"]) == ([32, 32], None, None)
    assert (found["interpolation"], found["std"]) == ("bilinear", [0.5, 0.5, 0.5])

    found = changed(vit, feature_extractor_type="CLIPFeatureExtractor", crop_size=32)
    assert (found["size"], found["short_side"], found["crop"]) == (None, 32, [32, 32])
    assert found["pixel_scale"] == 1 / 255
    found = changed(vit, do_rescale=False, do_normalize=False)
    assert (found["pixel_scale"], found["mean"], found["std"]) == (1.0, [0] * 3, [1] * 3)


def test_nested_and_video_preprocessors_come_first(
    published: Callable[[str], tuple[Path, Any]], tmp_path: Path
):
    folder = shutil.copytree(published("videomae")[0], tmp_path / "videomae")
    (folder / "video_preprocessor_config.json").write_text(
        json.dumps(
            {**PREPROCESSOR, "resample": 2, "video_processor_type": "VideoMAEVideoProcessor"}
        )
    )
    found = open_hugging_face(str(folder)).facts["preparation"]
    assert found["interpolation"] == "bilinear"

    nested = {"video_processor": {**PREPROCESSOR, "resample": 1}, "processor_class": "X"}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    found = open_hugging_face(str(folder)).facts["preparation"]
    assert found["interpolation"] == "lanczos"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"do_thumbnail": True}, "do_thumbnail=True may change pixels"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"do_pad": True}, "do_pad"),
        ({"crop_pct": 0.9}, "crop_pct=0.9 may change pixels"),
        ({"offset": True}, "offset"),
        ({"auto_map": {"AutoProcessor": "a.B"}}, "needs code from its repository"),
        ({"image_processor_type": "MyImageProcessor"}, "a preprocessor of type My; known are Bit"),
        ({"size": {"longest_edge": 32}}, "size={'longest_edge': 32}; expected"),
        ({"size": {"shortest_edge": 10**9}}, "expected a side of 1 to 2048 pixels"),
        ({"size": {"shortest_edge": 16}}, "a crop of 32x32 out of frames that may have 16x16"),
        ({"do_center_crop": False}, "neither crops frames nor scales them to one size"),
        ({"do_resize": "yes"}, "do_resize='yes'; expected true or false"),
        ({"resample": 9}, "resample=9; expected a filter of Pillow"),
        ({"image_mean": [0.5]}, "three numbers"),
        ({"image_std": [0.0, 1.0, 1.0]}, "more than 0"),
    ],
)
def test_what_changes_pixels_and_is_not_known_is_named(
    vit: Path, values: dict[str, Any], says: str
):
    change(vit / "preprocessor_config.json", **values)

    message = refusal(vit)

    assert says in message
    assert "preprocessor_config.json" in message


def test_a_model_without_preprocessor_is_refused(vit: Path):
    (vit / "preprocessor_config.json").unlink()

    assert "holds no preprocessor_config.json, so it does not tell" in refusal(vit)


PROCESSORS: list[tuple[str, dict[str, Any]]] = [
    ("ViTImageProcessorPil", {}),
    ("ViTImageProcessorPil", {"size": {"height": 40, "width": 24}, "resample": 3}),
    ("BitImageProcessorPil", {}),
    ("CLIPImageProcessorPil", {}),
    ("CLIPImageProcessorPil", {"size": {"shortest_edge": 51}, "crop_size": 48, "resample": 1}),
    ("SiglipImageProcessorPil", {}),
    ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 48}, "crop_pct": 0.9}),
    ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 400}}),
    ("VideoMAEImageProcessorPil", {}),
    ("VivitImageProcessor", {}),
    ("VivitImageProcessor", {"offset": False, "rescale_factor": 1 / 255}),
]


@pytest.mark.parametrize(("name", "options"), PROCESSORS)
def test_pixels_are_those_of_transformers(tmp_path: Path, name: str, options: dict[str, Any]):
    from videozoo.encoders._processors import read_preparation
    from videozoo.weights.model_folder import ModelFolder

    theirs: Any = getattr(importlib.import_module("transformers"), name, None)
    if theirs is None:
        pytest.skip("not in this version")
    theirs = theirs(**options)
    (tmp_path / "config.json").write_text("{}")
    theirs.save_pretrained(tmp_path)
    frames = noise(2, 61, 90)
    is_video = name.startswith(("VideoMAE", "Vivit"))
    given = [list(frames)] if is_video else list(frames)
    expected = theirs(given, return_tensors="pt")["pixel_values"]

    family = "ViT"  # the file names its class
    preparation = read_preparation(ModelFolder(str(tmp_path)), family=family, is_video=is_video)
    ours = preparation.apply(frames)

    pixels = torch.from_numpy(np.ascontiguousarray(ours)).permute(0, 3, 1, 2)
    expected = expected.reshape(2, *expected.shape[-3:]).float()
    torch.testing.assert_close(preparation.normalize(pixels), expected, atol=2e-6, rtol=1e-6)
