import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from videozoo.config import from_layers
from videozoo.config_v1 import translate
from videozoo.errors import WeightsError
from videozoo.tasks.loading import paddle_names
from videozoo.types import PaddleName
from videozoo.weights.fit import as_paddle, classifier_of_others, fit_paddle, load_state

GOLDEN = Path(__file__).parents[1] / "golden"

NAMES = {
    "stem.weight": PaddleName("conv1_weights"),
    "bn.weight": PaddleName("bn_scale"),
    "bn.bias": PaddleName("bn_offset"),
    "bn.running_mean": PaddleName("bn_mean"),
    "bn.running_var": PaddleName("bn_variance"),
    "head.weight": PaddleName("fc_0.w_0", transpose=True),
    "head.bias": PaddleName("fc_0.b_0"),
}


class Net(nn.Module):
    def __init__(self, classes: int = 5):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)


def paddle_arrays(classes: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "conv1_weights": (4, 3, 3, 3),
        "bn_scale": (4,),
        "bn_offset": (4,),
        "bn_mean": (4,),
        "bn_variance": (4,),
        "fc_0.w_0": (4, classes),
        "fc_0.b_0": (classes,),
    }
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def test_paddle_parameters_reach_their_places():
    net, arrays = Net(), paddle_arrays()

    report = load_state(net, fit_paddle(arrays, NAMES, net.state_dict()))

    assert len(report.loaded) == 7
    assert report.describe() == "7 tensors loaded"
    np.testing.assert_array_equal(net.head.weight.detach(), arrays["fc_0.w_0"].T)
    np.testing.assert_array_equal(net.bn.running_mean, arrays["bn_mean"])


def test_what_an_optimiser_left_is_ignored():
    net, arrays = Net(), paddle_arrays()
    arrays["fc_0.w_0_velocity_0"] = arrays["fc_0.w_0"]
    arrays["bn_scale_moment1_0"] = arrays["bn_scale"]
    arrays["bn_scale_beta1_pow_acc_0"] = np.ones(1, np.float32)
    arrays["@LR_DECAY_COUNTER@"] = np.ones(1, np.int64)
    arrays["learning_rate_0"] = np.ones(1, np.float32)

    load_state(net, fit_paddle(arrays, NAMES, net.state_dict()))


def test_double_precision_files_are_narrowed():
    net = Net()
    arrays = {name: array.astype(np.float64) for name, array in paddle_arrays().items()}

    state = fit_paddle(arrays, NAMES, net.state_dict())

    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("stored", "turned"),
    [((6, 3), True), ((3, 6), False), ((3, 6, 1, 1, 1), False), ((3, 6, 1, 1), False)],
)
def test_last_layer_is_taken_as_matrix_or_as_convolution(stored: tuple[int, ...], turned: bool):
    array = np.arange(18, dtype=np.float32).reshape(stored)

    state = fit_paddle(
        {"pred_w": array}, {"w": PaddleName("pred_w", transpose=True)}, {"w": torch.zeros(3, 6)}
    )

    expected = array.T if turned else array.reshape(3, 6)
    np.testing.assert_array_equal(state["w"], expected)


@pytest.mark.parametrize("stored", [(6, 6), (6, 6, 1, 1, 1)])
def test_square_last_layer_is_told_apart_by_its_dimensions(stored: tuple[int, ...]):
    array = np.arange(36, dtype=np.float32).reshape(stored)

    state = fit_paddle(
        {"pred_w": array}, {"w": PaddleName("pred_w", transpose=True)}, {"w": torch.zeros(6, 6)}
    )

    square = array.reshape(6, 6)
    np.testing.assert_array_equal(state["w"], square.T if len(stored) == 2 else square)


def test_last_layer_fits_a_convolution_of_ours():
    array = np.arange(18, dtype=np.float32).reshape(6, 3)

    state = fit_paddle(
        {"pred_w": array},
        {"w": PaddleName("pred_w", transpose=True)},
        {"w": torch.zeros(3, 6, 1, 1, 1)},
    )

    np.testing.assert_array_equal(state["w"], array.T[..., None, None, None])


def test_same_elements_in_another_shape_need_permission():
    array = np.arange(4, dtype=np.float32).reshape(2, 2)

    free = fit_paddle({"w": array}, {"w": PaddleName("w", reshape=True)}, {"w": torch.zeros(4)})
    held = fit_paddle({"w": array}, {"w": PaddleName("w")}, {"w": torch.zeros(4)})

    assert free["w"].tolist() == [0, 1, 2, 3]
    assert held["w"].shape == (2, 2)


def test_every_problem_is_listed_at_once_and_nothing_is_loaded():
    net, arrays = Net(), paddle_arrays()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    del arrays["bn_mean"]
    arrays["conv1_weights"] = np.zeros((4, 15, 3, 3), np.float32)
    arrays["bn_scale"][1] = np.nan
    arrays["gru_0.w_0"] = np.zeros(3, np.float32)

    with pytest.raises(WeightsError) as caught:
        load_state(
            net,
            fit_paddle(arrays, NAMES, net.state_dict()),
            source="TSN.pdparams",
            names={ours: place.name for ours, place in NAMES.items()},
        )

    assert str(caught.value) == (
        "TSN.pdparams: does not fit the model\n"
        "  stem.weight <- conv1_weights: file (4, 15, 3, 3), model (4, 3, 3, 3)\n"
        "  bn.weight <- bn_scale: holds values that are not finite\n"
        "  missing: bn.running_mean <- bn_mean\n"
        "  not in the model: gru_0.w_0"
    )
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_other_classes_get_the_advice_to_drop_the_head():
    net = Net(classes=101)

    with pytest.raises(WeightsError, match=r"on other classes\? pass --drop head$") as caught:
        load_state(
            net,
            fit_paddle(paddle_arrays(), NAMES, net.state_dict()),
            names={ours: place.name for ours, place in NAMES.items()},
        )

    assert "head.weight <- fc_0.w_0: file (5, 4), model (101, 4)" in str(caught.value)


def test_other_first_layer_gets_no_such_advice():
    net, arrays = Net(), paddle_arrays()
    arrays["conv1_weights"] = np.zeros((4, 15, 3, 3), np.float32)

    with pytest.raises(WeightsError, match="other settings of the model") as caught:
        load_state(net, fit_paddle(arrays, NAMES, net.state_dict()))

    assert "--drop" not in str(caught.value)


def test_dropped_part_keeps_its_fresh_values():
    net = Net(classes=101)
    fresh = net.head.weight.detach().clone()

    report = load_state(
        net,
        fit_paddle(paddle_arrays(), NAMES, net.state_dict()),
        drop=["head"],
        names={ours: place.name for ours, place in NAMES.items()},
    )

    torch.testing.assert_close(net.head.weight.detach(), fresh, rtol=0, atol=0)
    assert report.dropped == ("head.weight", "head.bias")
    assert report.describe() == "5 tensors loaded, 2 kept fresh (head.weight, head.bias)"


@pytest.mark.parametrize(
    ("drop", "says"),
    [("haed", "did you mean 'head'"), ("hea", "did you mean 'head'"), ("xyz", "stem, bn, head")],
)
def test_dropping_nothing_is_an_error_with_the_nearest(drop: str, says: str):
    net = Net()

    with pytest.raises(WeightsError, match=says):
        load_state(net, net.state_dict(), drop=[drop])


def test_batch_counters_may_be_missing_or_there():
    net = Net()
    state = net.state_dict()
    without = {k: v for k, v in state.items() if "num_batches" not in k}

    load_state(net, state)
    load_state(net, without)
    load_state(nn.Linear(4, 5), {**net.head.state_dict(), "bn.num_batches_tracked": Tensor([1])})


def test_lenient_loading_reports_instead():
    net, arrays = Net(), paddle_arrays()
    del arrays["fc_0.w_0"]
    arrays["other"] = np.zeros(1, np.float32)

    report = load_state(net, fit_paddle(arrays, NAMES, net.state_dict()), strict=False)

    assert (report.missing, report.extra) == (("head.weight",), ("other",))
    assert report.describe() == (
        "6 tensors loaded, 1 kept fresh (head.weight), 1 of the file not used (other)"
    )


def test_lenient_loading_still_refuses_weights_of_another_model():
    with pytest.raises(WeightsError, match=r"missing: stem\.weight"):
        load_state(Net(), {"other": torch.zeros(1)}, strict=False)


def test_long_lists_are_cut():
    with pytest.raises(WeightsError, match="and 8 more"):
        load_state(nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(20)), {})


def test_to_paddle_and_back_is_the_identity():
    net, arrays = Net(), paddle_arrays()
    load_state(net, fit_paddle(arrays, NAMES, net.state_dict()))

    back = as_paddle(net.state_dict(), NAMES)

    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(
    "name", ["tsn", "tsm", "stnet", "nonlocal_arc1", "nonlocal_arc2_affine", "nonlocal_arc3"]
)
def test_paddle_gets_the_names_and_shapes_that_it_recorded(name: str):
    recorded = json.loads((GOLDEN / name / "meta.json").read_text())
    config = from_layers([("", translate(recorded["config"], source=name).sections)])
    with torch.device("meta"):  # only the shapes matter
        module = config.spec.build(config.model)
    state = {key: torch.zeros(value.shape) for key, value in module.state_dict().items()}

    arrays = as_paddle(state, paddle_names(config, "test"))

    shapes = {key: tuple(facts["shape"]) for key, facts in recorded["params"].items()}
    assert {key: array.shape for key, array in arrays.items()} == shapes


def test_tensors_that_paddle_has_no_name_for_are_named():
    state = Net().state_dict()
    del state["bn.bias"]
    state["extra"] = torch.zeros(1)

    with pytest.raises(WeightsError, match=r"(?s)missing: bn\.bias.*stands for extra"):
        as_paddle(state, NAMES)


def test_only_a_classifier_of_other_classes_counts_as_such():
    ours = Net(classes=101).state_dict()

    assert classifier_of_others(ours, Net(classes=5).state_dict()) == "head"
    assert classifier_of_others(ours, ours) is None
    other_trunk = Net().state_dict() | {"stem.weight": torch.zeros(4, 15, 3, 3)}
    assert classifier_of_others(ours, other_trunk) is None
    other_inputs = Net().state_dict() | {"head.weight": torch.zeros(5, 7)}
    assert classifier_of_others(ours, other_inputs) is None
