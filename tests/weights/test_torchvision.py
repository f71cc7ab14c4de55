import numpy as np
import pytest
import torch

from tests.weights.image_nets import ImageResNet
from videozoo.errors import WeightsError
from videozoo.models._resnet import ResNet
from videozoo.weights.torchvision import recognise, to_our_names


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_tensor_of_every_depth_gets_its_name(depth: int):
    state = ImageResNet(depth).state_dict()

    net = recognise(state)
    assert net is not None
    arrays = to_our_names(state, net)

    with torch.device("meta"):
        expected = {key for key in ResNet(depth).state_dict() if "num_batches" not in key}
    assert set(arrays) == expected
    assert (net.depth, net.groups, net.num_classes) == (depth, 1, 10)


def test_the_values_are_those_of_the_layers_meant():
    state = ImageResNet(50).state_dict()
    net = recognise(state)
    assert net is not None

    arrays = to_our_names(state, net)

    for ours, name in [
        ("stages.0.0.branch.2.conv.weight", "layer1.0.conv3.weight"),
        ("stages.0.0.shortcut.conv.weight", "layer1.0.downsample.0.weight"),
        ("stages.2.5.branch.1.bn.running_var", "layer3.5.bn2.running_var"),
        ("stem.bn.bias", "bn1.bias"),
    ]:
        np.testing.assert_array_equal(arrays[ours], state[name])


def test_files_without_counters_classifier_or_full_precision_will_do():
    state = {
        name: tensor.half()
        for name, tensor in ImageResNet(18).state_dict().items()
        if not name.endswith("num_batches_tracked") and not name.startswith("fc.")
    }
    net = recognise(state)
    assert net is not None
    assert net.num_classes is None

    arrays = to_our_names(state, net)

    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_its_kind_is_named():
    wide = ImageResNet(50, width=64).state_dict()
    net = recognise(wide)
    assert net is not None
    assert net.title == "ResNet-50"

    narrow = recognise(ImageResNet(18, width=16).state_dict())
    assert narrow is not None
    assert narrow.title == "ResNet-18, 16 channels in the stem"

    wide["layer1.0.conv2.weight"] = torch.zeros(128, 4, 3, 3)
    grouped = recognise(wide)
    assert grouped is not None
    assert grouped.title == "ResNeXt-50 (32 groups)"


def test_other_networks_are_not_taken_for_one():
    state = ImageResNet(18).state_dict()

    assert recognise({"conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}) is None
    assert recognise({f"backbone.{name}": tensor for name, tensor in state.items()}) is None
    assert recognise({n: t for n, t in state.items() if not n.startswith("layer4.1.")}) is None


def test_what_is_missing_or_too_much_is_named():
    state = ImageResNet(18).state_dict()
    del state["layer2.0.bn1.running_mean"]
    state["layer2.0.se.weight"] = torch.zeros(1)
    net = recognise(state)
    assert net is not None

    with pytest.raises(WeightsError) as caught:
        to_our_names(state, net, source="se.pth")

    assert str(caught.value) == (
        "se.pth: nearly a torchvision ResNet-18, but\n"
        "  missing: layer2.0.bn1.running_mean\n"
        "  not in a ResNet-18: layer2.0.se.weight"
    )
