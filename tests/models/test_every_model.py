"""Promises every model keeps. A new file in videozoo/models is covered without a line here.

A model is built at its smallest: whichever of these settings it has are made small. What it takes,
and what more it can do, follows from its SPEC.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from videozoo import resnet_names
from videozoo.models import list_models, model_spec, model_summary
from videozoo.models._resnet import ResNet
from videozoo.ops.frames import multi_label_loss
from videozoo.types import (
    Captioning,
    Classification,
    ClipShape,
    FeatureShape,
    Localisation,
    ModelSpec,
    MomentRetrieval,
    Settings,
    Tagging,
)

SMALL: dict[str, Any] = {
    "num_classes": 5,
    "depth": 18,
    "width": 0.125,
    "num_segments": 2,
    "frames_per_segment": 2,
    "num_frames": 4,
    "streams": ({"name": "rgb", "dim": 6}, {"name": "audio", "dim": 4}),
    "embedding_size": 3,
    "lstm_size": 5,
    "hidden_sizes": (7, 6),
    "cluster_size": 3,
    "groups": 2,
    "hidden_size": 8,
    "vocabulary_size": 9,
    "feature_dim": 8,
    "gru_size": 4,
    "decoder_size": 5,
    "word_size": 3,
    "visual_dim": 9,
    "sentence_dim": 7,
    "semantic_size": 4,
}

IMPOSSIBLE: dict[str, Any] = {
    "num_classes": 0,
    "depth": 49,
    "width": 0,
    "streams": (),
    "dropout": 1.0,
    "lstm_size": 0,
    "cluster_size": 0,
    "groups": 0,
    "vocabulary_size": 2,
    "sentence_dim": 0,
}

Inputs = tuple[Any, ...]

OUTSIDE = sorted(map(str, (Path(__file__).parents[1] / "outside").glob("[!_]*.py")))
"""A small model per task, as a user would write it."""
SPECS = {name: model_spec(name) for name in [*list_models(), *OUTSIDE]}


def models(has: Callable[[ModelSpec], Any]) -> pytest.MarkDecorator:
    """The models that can do something, as they declare it."""
    names = [name for name, spec in SPECS.items() if has(spec)]
    return pytest.mark.parametrize("name", names, ids=[Path(name).stem for name in names])


every_model = models(lambda _spec: True)
every_clip_model = models(lambda spec: isinstance(spec.task, Classification))
every_feature_model = models(lambda spec: isinstance(spec.task, Tagging))
every_classifier = models(lambda spec: isinstance(spec.task, Classification | Tagging))
every_sentence_model = models(lambda spec: isinstance(spec.task, Captioning | MomentRetrieval))
every_localiser = models(lambda spec: isinstance(spec.task, Localisation))
every_model_of_2019 = models(lambda spec: spec.paddle)


def small(name: str, **changes: Any) -> tuple[ModelSpec, Settings]:
    spec = model_spec(name)
    wanted = SMALL | changes
    return spec, spec.settings(
        **{k: v for k, v in wanted.items() if k in spec.settings.model_fields}
    )


def build(name: str, **changes: Any) -> nn.Module:
    spec, settings = small(name, **changes)
    torch.manual_seed(0)
    return spec.build(settings)


def clips_for(shape: ClipShape, *, size: int = 32, num_clips: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    frames = shape.num_steps, 3 * shape.frames_per_step, size, size
    return torch.randn(num_clips, *frames, generator=generator)


def clip_shape(name: str, **changes: Any) -> ClipShape:
    spec, settings = small(name, **changes)
    assert isinstance(spec.task, Classification)
    return spec.task.clip_shape(settings)


def feature_shape(name: str, **changes: Any) -> FeatureShape:
    spec, settings = small(name, **changes)
    assert isinstance(spec.task, Tagging)
    return spec.task.feature_shape(settings)


def features_for(shape: FeatureShape, *, lengths: tuple[int, ...] = (4, 3)) -> Inputs:
    """Streams, and lengths of which not all are the longest."""
    generator = torch.Generator().manual_seed(1)
    streams = [
        torch.randn(len(lengths), max(lengths), stream.dim, generator=generator)
        for stream in shape.streams
    ]
    return streams, torch.tensor(lengths)


def inputs_for(name: str, *, size: int = 32) -> Inputs:
    """What the model is called with for two videos."""
    if isinstance(SPECS[name].task, Tagging):
        return features_for(feature_shape(name))
    return (clips_for(clip_shape(name), size=size),)


def video(number: int, inputs: Inputs) -> Inputs:
    """One video's part of the inputs."""
    part = slice(number, number + 1)
    if len(inputs) == 1:
        return (inputs[0][part],)
    streams, lengths = inputs
    return [stream[part] for stream in streams], lengths[part]


@every_model
def test_has_one_line_that_says_what_it_is(name: str):
    summary = model_summary(name)

    assert summary.startswith(f"{model_spec(name).title}: ")
    assert "arXiv:" in summary or name in OUTSIDE


@every_model_of_2019
@pytest.mark.parametrize("depth", [18, 50, 101])
def test_paddle_names_cover_every_tensor_once(name: str, depth: int):
    spec, settings = small(name, depth=depth)
    assert spec.paddle is not None

    names = spec.paddle.names(settings)

    # num_batches_tracked is a counter that PaddlePaddle does not keep
    ours = {k for k in spec.build(settings).state_dict() if "num_batches_tracked" not in k}
    assert set(names) == ours
    assert len({place.name for place in names.values()}) == len(names)


@every_classifier
@pytest.mark.parametrize("training", [True, False])
def test_videos_in_class_logits_out(name: str, training: bool):
    module = build(name).train(training)

    logits = module(*inputs_for(name))

    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@every_clip_model
@pytest.mark.parametrize("size", [32, 64, 96, 112])
def test_small_frames_are_welcome(name: str, size: int):
    module = build(name).eval()

    assert module(clips_for(clip_shape(name), size=size)).isfinite().all()


@every_clip_model
def test_frames_need_not_be_square(name: str):
    module = build(name).eval()

    assert module(clips_for(clip_shape(name), size=64)[..., :48]).shape == (2, 5)


@every_classifier
def test_a_video_is_scored_the_same_alone_and_in_a_batch(name: str):
    module, inputs = build(name).eval(), inputs_for(name)

    together = module(*inputs)
    apart = torch.cat([module(*video(number, inputs)) for number in range(2)])

    torch.testing.assert_close(together, apart)


@every_classifier
def test_every_parameter_is_trained(name: str):
    module = build(name, bn_init_gamma=1.0, nonlocal_bn_gamma=1.0, dropout=0.0)

    labels = nn.functional.one_hot(torch.tensor([0, 3]), 5).float()
    multi_label_loss(module(*inputs_for(name, size=64)), labels).sum().backward()

    assert [n for n, p in module.named_parameters() if p.grad is None] == []


@every_sentence_model
def test_every_parameter_is_trained_with_sentences(name: str):
    module, settings = build(name), small(name)[1]
    sizes: dict[str, int] = settings.model_dump()
    if isinstance(SPECS[name].task, Captioning):
        words = torch.tensor([[0, 4, 3, 2], [0, 3, -1, -1]])
        inputs = torch.randn(2, 4, sizes["feature_dim"]), torch.tensor([4, 3]), words
    else:
        inputs = torch.randn(2, sizes["visual_dim"]), torch.randn(2, sizes["sentence_dim"])

    outputs = module(*inputs)
    outputs.square().sum().backward()

    assert outputs.isfinite().all()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []


@every_localiser
def test_localisers_learn_from_their_targets_and_answer_for_each_video(name: str):
    spec, settings = small(name, feature_dim=4)
    localiser, module = spec.task, build(name, feature_dim=4)
    assert isinstance(localiser, Localisation)
    shape = localiser.sequence_shape(settings)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, shape.feature_dim, shape.num_steps, generator=generator)
    segments, labels = np.array([[0.1, 0.31], [0.4, 0.83]]), np.array([0, 2])
    one = localiser.targets(settings)(segments, labels, shape.num_steps)
    assert one is not None
    targets = {key: torch.from_numpy(np.stack([each, each])) for key, each in one.items()}

    losses = localiser.losses(module(features), targets, generator)
    losses["loss"].backward()

    assert all(value.isfinite() for value in losses.values())
    with torch.no_grad():
        outputs = module.eval()(features)
        alone = module(features[1:])
    curves = localiser.curves(outputs)
    assert all(curve.shape == (2, shape.num_steps) for curve in curves.values())
    found = localiser.candidates(settings, outputs, 0.0)
    assert len(found) == 2
    assert all(each.segments.shape == (len(each.scores), 2) for each in found)
    assert all((each.labels is None) == (localiser.decides != "map") for each in found)
    (again,) = localiser.candidates(settings, alone, 0.0)
    best = again.scores.max()
    assert best == pytest.approx(found[1].scores.max(), abs=1e-4)


@every_clip_model
def test_weights_may_be_laid_out_channels_last(name: str):
    module, clips = build(name).eval(), clips_for(clip_shape(name), size=64)
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    other = copy.deepcopy(module)
    for parameter in other.parameters():
        if parameter.dim() in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.dim()])

    # another layout is computed by other kernels, which round otherwise
    torch.testing.assert_close(other(clips), module(clips), rtol=1e-5, atol=1e-5)


@models(lambda spec: isinstance(spec.task, Classification) and spec.task.exports)
def test_can_be_exported(name: str):
    module, clips = build(name).eval(), clips_for(clip_shape(name))

    program = torch.export.export(module, (clips,)).module()

    torch.testing.assert_close(program(clips), module(clips))


@every_model
def test_the_same_seed_gives_the_same_weights(name: str):
    first, second = build(name).state_dict(), build(name).state_dict()

    assert all(torch.equal(first[key], second[key]) for key in first)


@every_model
def test_unknown_settings_are_refused(name: str):
    with pytest.raises(ValidationError, match="num_segment_s"):
        model_spec(name).settings.model_validate({"num_segment_s": 3})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (name, key, value)
        for name in list_models()
        for key, value in IMPOSSIBLE.items()
        if key in model_spec(name).settings.model_fields
    ],
)
def test_impossible_settings_are_refused(name: str, key: str, value: Any):
    with pytest.raises(ValidationError, match=key):
        model_spec(name).settings.model_validate({key: value})


@every_model
def test_every_setting_explains_itself(name: str):
    fields = model_spec(name).settings.model_fields

    assert [key for key, field in fields.items() if not field.description] == []


@every_model
def test_rules_are_for_parameters_that_exist(name: str):
    module = build(name)

    assert set(model_spec(name).parameter_rules(module)) <= set(dict(module.named_parameters()))


@models(lambda spec: spec.resnet)
def test_a_start_from_an_image_network_has_the_shapes_of_the_model(name: str):
    spec, settings = small(name, depth=50, width=1.0)
    assert spec.resnet is not None
    prefix = f"{spec.resnet.part}." if spec.resnet.part else ""
    image_net = ResNet(spec.resnet.depth(settings)).state_dict()
    arrays = {
        prefix + key: image_net[key].numpy()
        for key in resnet_names.torchvision_names(spec.resnet.depth(settings))
    }

    adapted = spec.resnet.adapt(settings, arrays)

    shapes = {key: tuple(tensor.shape) for key, tensor in spec.build(settings).state_dict().items()}
    assert adapted.keys() == arrays.keys()
    for key, array in adapted.items():
        assert array.shape == shapes[key], key
    assert all(array.dtype == "float32" for array in adapted.values())


@every_feature_model
@pytest.mark.parametrize("filler", [1e4, -1e4])
def test_padding_never_changes_an_answer(name: str, filler: float):
    module = build(name).eval()
    streams, lengths = features_for(feature_shape(name), lengths=(4, 1, 6))
    padding = torch.arange(6 + 3) >= lengths[:, None]
    padded = [
        nn.functional.pad(stream, (0, 0, 0, 3)).masked_fill(padding[:, :, None], filler)
        for stream in streams
    ]

    torch.testing.assert_close(module(padded, lengths), module(streams, lengths))


@every_feature_model
def test_padding_never_changes_what_is_learnt(name: str):
    # in double precision: norms of three videos enlarge rounding
    plain, filled = (build(name, dropout=0.0).double() for _ in range(2))
    streams, lengths = features_for(feature_shape(name), lengths=(4, 1, 6))
    streams = [stream.double() for stream in streams]
    padding = torch.arange(6) >= lengths[:, None]
    noisy = [stream.masked_fill(padding[:, :, None], 1e3) for stream in streams]

    for module, given in ((plain, streams), (filled, noisy)):
        module(given, lengths).square().sum().backward()

    ours, theirs = dict(plain.named_parameters()), dict(filled.named_parameters())
    for key in ours:
        torch.testing.assert_close(ours[key].grad, theirs[key].grad, msg=key)
    torch.testing.assert_close(plain.state_dict(), filled.state_dict())  # norms' statistics too


@every_feature_model
@pytest.mark.parametrize("dims", [(6,), (6, 4), (3, 6, 2)])
def test_any_number_of_streams_will_do(name: str, dims: tuple[int, ...]):
    streams = [{"name": f"stream_{i}", "dim": dim} for i, dim in enumerate(dims)]
    spec, settings = small(name, streams=streams)
    module = build(name, streams=streams).eval()

    assert module(*features_for(feature_shape(name, streams=streams))).shape == (2, 5)
    if spec.paddle is None:
        return
    names = spec.paddle.names(settings)
    tensors = {key for key in module.state_dict() if "num_batches_tracked" not in key}
    assert set(names) == tensors
    assert len({place.name for place in names.values()}) == len(names)


@models(lambda spec: isinstance(spec.task, Tagging) and spec.task.explains)
def test_frame_weights_sum_to_1_and_padding_has_none(name: str):
    module: Any = build(name).eval()
    streams, lengths = features_for(feature_shape(name), lengths=(4, 1, 6))

    weights = module.frame_weights(streams, lengths)

    assert len(weights) == len(streams)
    padding = torch.arange(6) >= lengths[:, None]
    for rows in weights:
        torch.testing.assert_close(rows.sum(1), torch.ones(3))
        assert not rows[padding].any()
        assert (rows >= 0).all()
