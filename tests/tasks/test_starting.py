"""Image networks as the start of video networks: the numbers that come out stay the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.weights.image_nets import ImageResNet, trained_image_net
from tests.weights.test_archive import pack
from tests.weights.test_paddle import record
from videozoo import resnet_names
from videozoo.config import RunConfig, from_layers
from videozoo.errors import WeightsError
from videozoo.models import model_spec
from videozoo.tasks.loading import Trained, build_trained, paddle_names, save_trained
from videozoo.tasks.starting import initialise
from videozoo.weights.fit import as_paddle
from videozoo.weights.paddle import write_pdparams
from videozoo.weights.torchvision import recognise, to_our_names


def config_of(model: str, **settings: Any) -> RunConfig:
    values = {"name": model, "num_classes": 4, "depth": 18, "width": 0.125, **settings}
    return from_layers([("test", {"model": values})])


def module_of(config: RunConfig) -> nn.Module:
    torch.manual_seed(1)
    return config.spec.build(config.model).eval()


def started(config: RunConfig, path: Path) -> nn.Module:
    module = module_of(config)
    initialise(module, config, str(path))
    return module.eval()


def image_file(path: Path, depth: int = 18) -> tuple[Path, ImageResNet]:
    net = trained_image_net(depth)
    if path.suffix == ".pth":
        torch.save(net.state_dict(), path)
    else:
        save_file(net.state_dict(), path)
    return path, net


@torch.no_grad()
def features(module: Any, clips: Tensor) -> Tensor:
    """Features of each frame of clips (N, T, C, H, W): (N, T, features)."""
    return module.backbone(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


def still(image: Tensor, num_frames: int) -> Tensor:
    """(N, 3, H, W) -> (N, num_frames, 3, H, W)."""
    return image[:, None].expand(-1, num_frames, -1, -1, -1).contiguous()


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_frames_have_the_features_that_the_image_network_gave_them(
    tmp_path: Path, depth: int, name: str
):
    path, net = image_file(tmp_path / name, depth)
    clips = torch.randn(2, 3, 3, 64, 64)

    module = started(config_of("tsn", depth=depth), path)

    with torch.no_grad():
        expected = net.features(clips.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(features(module, clips), expected, rtol=1e-5, atol=1e-6)


def test_stacked_frames_of_a_still_clip_have_the_features_of_the_frame(tmp_path: Path):
    path, net = image_file(tmp_path / "net.pth")
    image = torch.randn(2, 3, 64, 64)
    stacked = image.repeat(1, 5, 1, 1)[:, None]  # (N, 1, 15, H, W)

    module = started(config_of("tsn", frames_per_segment=5), path)

    with torch.no_grad():
        expected = net.features(image)[:, None]
    torch.testing.assert_close(features(module, stacked), expected, rtol=1e-5, atol=1e-6)


def test_tsm_without_shift_has_the_features_of_the_image_network(tmp_path: Path):
    path, net = image_file(tmp_path / "net.pth", 50)
    clips = torch.randn(1, 4, 3, 64, 64)

    # a fold of no channel: the shift moves nothing
    module = started(config_of("tsm", depth=50, num_segments=4, shift_div=10_000), path)

    with torch.no_grad():
        expected = net.features(clips.flatten(0, 1))[None]
    torch.testing.assert_close(features(module, clips), expected, rtol=1e-5, atol=1e-6)


def test_stnet_sees_a_grey_still_clip_as_the_image_network_does(tmp_path: Path):
    """Its first convolution is averaged over the colours, so the colours must be one."""
    path, net = image_file(tmp_path / "net.pth")
    grey = torch.randn(2, 1, 64, 64).expand(-1, 3, -1, -1)
    stacked = grey.repeat(1, 5, 1, 1)[:, None]

    module = started(config_of("stnet", frames_per_segment=5), path)

    with torch.no_grad():
        expected = net.features(grey)[:, None]
    torch.testing.assert_close(features(module, stacked), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def maps_of(module: Any, clips: Tensor) -> Tensor:
    """Non-local's last features, positions averaged: (N, T/2, features)."""
    return module._features(clips.transpose(1, 2)).mean(dim=(3, 4)).transpose(1, 2)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_still_clip_has_the_features_of_its_frame_in_non_local(tmp_path: Path, depth: int):
    """At every step without convolutions along time; its first pool has no border, unlike 2D."""
    path, net = image_file(tmp_path / "net.pth", depth)
    image = torch.randn(1, 3, 64, 64)

    module = started(config_of("nonlocal", depth=depth, num_frames=4, width=0.125), path)

    with torch.no_grad():
        expected = net.features(image, pool_padding=0)[:, None].expand(-1, 2, -1)
    torch.testing.assert_close(maps_of(module, still(image, 4)), expected, rtol=1e-4, atol=1e-5)


def test_a_still_clip_has_them_far_from_its_ends_where_time_is_convolved(tmp_path: Path):
    path, net = image_file(tmp_path / "net.pth")
    image = torch.randn(1, 3, 32, 32)

    module = started(config_of("nonlocal", num_frames=40, temporal_convs=True, width=0.125), path)

    with torch.no_grad():
        expected = net.features(image, pool_padding=0)
    found = maps_of(module, still(image, 40))
    torch.testing.assert_close(found[:, 10], expected, rtol=1e-4, atol=1e-5)
    assert (found[:, 0] - expected).abs().max() > 1e-3  # the border is padded with zeros


def test_a_trained_clip_model_is_started_from_too(tmp_path: Path):
    """Of the same model, all but the classifier is taken: StNet's own blocks as well."""
    config = config_of("stnet", num_segments=2, frames_per_segment=2)
    old = module_of(config)
    names = paddle_names(config, "test")
    write_pdparams(tmp_path / "STNET.pdparams", as_paddle(old.state_dict(), names))
    other = config_of("stnet", num_segments=2, frames_per_segment=2, num_classes=7)

    for new in (started(config, tmp_path / "STNET"), started(other, tmp_path / "STNET")):
        for name, tensor in new.state_dict().items():
            if not name.startswith("head."):
                assert torch.equal(tensor, old.state_dict()[name]), name


@pytest.mark.parametrize("model", ["tsn", "tsm", "stnet", "nonlocal"])
def test_an_archive_with_one_file_a_parameter_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
):
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    state = trained_image_net(18).state_dict()
    net = recognise(state)
    assert net is not None
    save_file(state, tmp_path / "net.safetensors")
    arrays = as_paddle(
        {key: torch.from_numpy(array) for key, array in to_our_names(state, net).items()},
        resnet_names.paddle_names(18),
    ) | {"fc_0.w_0": np.zeros((64, 10), np.float32), "fc_0.b_0": np.zeros(10, np.float32)}
    files = {f"ResNet18/{name}": record(array) for name, array in arrays.items()}
    archive = pack(tmp_path / "ResNet18.tar.gz", files)
    config = config_of(model)

    module = module_of(config)
    line = initialise(module, config, str(archive))

    expected = started(config, tmp_path / "net.safetensors").state_dict()
    for name, tensor in module.state_dict().items():
        if not name.startswith(("head", "temporal", "nonlocal")):
            assert torch.equal(tensor, expected[name]), name
    assert str(tmp_path / "cache") in line


def test_another_depth_is_one_clear_error(tmp_path: Path):
    path, _ = image_file(tmp_path / "net.pth", 34)
    config = config_of("tsm")

    with pytest.raises(WeightsError) as caught:
        initialise(module_of(config), config, str(path))

    assert str(caught.value) == (
        f"{path}: a torchvision ResNet-34, 8 channels in the stem, of depth 34, and this run's "
        "model.depth is 18; pass a ResNet-18, or --set model.depth=34"
    )


def test_another_width_names_the_tensors(tmp_path: Path):
    path, _ = image_file(tmp_path / "net.pth")
    config = config_of("tsn", width=0.25)

    with pytest.raises(WeightsError, match=r"conv1\.weight: file \(8, 3, 7, 7\), model \(16,"):
        initialise(module_of(config), config, str(path))


def test_an_image_network_is_not_evaluated_as_a_clip_model(tmp_path: Path):
    path, _ = image_file(tmp_path / "net.pth")

    with pytest.raises(WeightsError, match=r"knows images and not the classes.*--pretrain"):
        build_trained(Trained(config=config_of("tsn"), path=path))


@pytest.fixture
def learnt(tmp_path: Path) -> tuple[Path, nn.Module]:
    config = config_of("tsm", num_segments=2)
    module = module_of(config)
    save_trained(tmp_path / "best.safetensors", module, config, None, {})
    return tmp_path / "best.safetensors", module


def test_other_classes_leave_the_classifier_fresh_and_say_so(learnt: tuple[Path, nn.Module]):
    path, old = learnt
    config = config_of("tsm", num_segments=2, num_classes=9)
    module = module_of(config)
    fresh = module.state_dict()["head.weight"].clone()

    line = initialise(module, config, str(path))

    assert "its 4 classes are not this run's 9, so head starts fresh" in line
    assert torch.equal(module.state_dict()["head.weight"], fresh)
    assert torch.equal(
        module.state_dict()["backbone.stem.conv.weight"],
        old.state_dict()["backbone.stem.conv.weight"],
    )


def test_the_same_classes_keep_the_classifier(learnt: tuple[Path, nn.Module]):
    path, old = learnt
    config = config_of("tsm", num_segments=2)
    module = module_of(config)

    line = initialise(module, config, str(path))

    assert "fresh" not in line
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, old.state_dict()[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0.25, "num_classes": 9},  # the trunk differs as well
        {"width": 0.25},
        {"frames_per_segment": 2, "num_classes": 9},
    ],
)
def test_any_other_misfit_is_still_an_error(
    learnt: tuple[Path, nn.Module], changes: dict[str, Any]
):
    path, _ = learnt
    config = config_of("tsm", num_segments=2, **changes)

    with pytest.raises(WeightsError, match="does not fit the model"):
        initialise(module_of(config), config, str(path))


def test_weights_of_another_model_are_refused(learnt: tuple[Path, nn.Module]):
    path, _ = learnt
    config = config_of("tsn")

    with pytest.raises(WeightsError, match="made for model 'tsm', this is 'tsn'"):
        initialise(module_of(config), config, str(path))


@pytest.mark.parametrize(
    ("model", "settings", "extra"),
    [
        ("ctcn", {"width": 0.05, "feature_dim": 8}, ()),
        ("ets", {"feature_dim": 8}, ("<s>", "<e>", "<unk>")),
    ],
)
def test_rows_of_classes_and_words_go_by_name(
    tmp_path: Path, model: str, settings: dict[str, Any], extra: tuple[str, ...]
):
    """Where a class has a row for each anchor, after one for the background; where a word has two
    tables."""
    field = "vocabulary_size" if extra else "num_classes"
    theirs, ours = (*extra, "jump", "run"), (*extra, "run", "sit", "jump")
    background = not extra

    def config_for(names: tuple[str, ...]) -> RunConfig:
        count = len(names) + background
        return from_layers([("", {"model": {"name": model, field: count, **settings}})])

    old, new = module_of(config_for(theirs)), module_of(config_for(ours))
    save_trained(tmp_path / "old.safetensors", old, config_for(theirs), theirs, {})
    fresh = {name: tensor.clone() for name, tensor in new.state_dict().items()}

    line = initialise(new, config_for(ours), str(tmp_path / "old.safetensors"), names=ours)

    assert f"{len(ours) - 1} of {len(ours)} taken; fresh: sit" in line
    changed = [name for name, value in old.state_dict().items() if value.shape != fresh[name].shape]
    assert len(changed) == (3 if extra else 2)
    for name in changed:
        tables = (old.state_dict()[name], new.state_dict()[name], fresh[name])
        blocks = 1 if extra else 7
        there, here, before = (table.unflatten(0, (blocks, -1)) for table in tables)
        for place, word in enumerate(ours):
            row = here[:, place + background]
            known = there[:, theirs.index(word) + background] if word in theirs else None
            assert torch.equal(row, before[:, place + background] if known is None else known)
        assert torch.equal(here[:, :background], there[:, :background])


@pytest.mark.parametrize(
    ("model", "key", "fresh"),
    [
        ("attention_cluster", "num_classes", ["head.weight", "head.bias"]),
        ("attention_lstm", "num_classes", ["head.weight", "head.bias"]),
        ("nextvlad", "num_classes", ["head.weight", "head.bias"]),
        ("ctcn", "num_classes", ["classes.conv2.weight", "classes.conv2.bias"]),
        ("ets", "vocabulary_size", ["words.weight", "head.weight", "head.bias"]),
        ("tall", "visual_dim", ["clips.weight"]),
        ("tall", "sentence_dim", ["sentences.weight"]),
    ],
)
def test_what_other_sizes_ask_for_starts_fresh_from_weights_of_2019(
    tmp_path: Path, model: str, key: str, fresh: list[str]
):
    sizes: dict[str, Any] = {
        "num_classes": 5,
        "vocabulary_size": 9,
        "visual_dim": 8,
        "sentence_dim": 7,
    }
    sizes |= {"width": 0.05, "feature_dim": 8, "hidden_size": 16, "hidden_sizes": (8, 8)}
    known = model_spec(model).settings.model_fields
    settings = {name: size for name, size in sizes.items() if name in known}
    config = from_layers([("", {"model": {"name": model, **settings}})])
    other = from_layers([("", {"model": {"name": model, **settings, key: settings[key] + 2}})])
    old = module_of(config)
    arrays = as_paddle(old.state_dict(), paddle_names(config, "test"))
    write_pdparams(tmp_path / "old.pdparams", arrays)

    same, new = (started(each, tmp_path / "old.pdparams") for each in (config, other))

    for name, tensor in old.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(same.state_dict()[name], tensor), name
            taken = tensor.shape == new.state_dict()[name].shape
            assert taken == (name not in fresh), name
            assert not taken or torch.equal(new.state_dict()[name], tensor), name
