"""Promises every model keeps. A new file in videozoo/models is covered without a line here.

A model is built at its smallest: whichever of these settings it has are made small.
"""

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from videozoo.models import list_models, model_spec, model_summary
from videozoo.types import ClipShape, ModelSpec, Settings

SMALL: dict[str, Any] = {
    "num_classes": 5,
    "depth": 18,
    "width": 0.125,
    "num_segments": 2,
    "frames_per_segment": 2,
    "num_frames": 4,
}

every_model = pytest.mark.parametrize("name", list_models())


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
    assert spec.clip_shape is not None
    return spec.clip_shape(settings)


@every_model
def test_has_one_line_that_says_what_it_is(name: str):
    summary = model_summary(name)

    assert summary.startswith(f"{model_spec(name).title}: ")
    assert "arXiv:" in summary


@every_model
@pytest.mark.parametrize("depth", [18, 50, 101])
def test_paddle_names_cover_every_tensor_once(name: str, depth: int):
    spec, settings = small(name, depth=depth)

    names = spec.paddle_names(settings)

    # num_batches_tracked is a counter that PaddlePaddle does not keep
    ours = {k for k in spec.build(settings).state_dict() if "num_batches_tracked" not in k}
    assert set(names) == ours
    assert len({place.name for place in names.values()}) == len(names)


@every_model
@pytest.mark.parametrize("training", [True, False])
def test_clips_in_class_logits_out(name: str, training: bool):
    module = build(name).train(training)

    logits = module(clips_for(clip_shape(name)))

    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@every_model
@pytest.mark.parametrize("size", [32, 64, 96, 112])
def test_small_frames_are_welcome(name: str, size: int):
    module = build(name).eval()

    assert module(clips_for(clip_shape(name), size=size)).isfinite().all()


@every_model
def test_frames_need_not_be_square(name: str):
    module = build(name).eval()

    assert module(clips_for(clip_shape(name), size=64)[..., :48]).shape == (2, 5)


@every_model
def test_a_clip_is_scored_the_same_alone_and_in_a_batch(name: str):
    module, clips = build(name).eval(), clips_for(clip_shape(name))

    together = module(clips)
    apart = torch.cat([module(clips[:1]), module(clips[1:])])

    torch.testing.assert_close(together, apart)


@every_model
def test_every_parameter_is_trained(name: str):
    module = build(name, bn_init_gamma=1.0, nonlocal_bn_gamma=1.0, dropout=0.0)

    nn.functional.cross_entropy(
        module(clips_for(clip_shape(name), size=64)), torch.tensor([0, 3])
    ).backward()

    assert [n for n, p in module.named_parameters() if p.grad is None] == []


@every_model
def test_weights_may_be_laid_out_channels_last(name: str):
    module, clips = build(name).eval(), clips_for(clip_shape(name), size=64)
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    other = copy.deepcopy(module)
    for parameter in other.parameters():
        if parameter.dim() in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.dim()])

    torch.testing.assert_close(other(clips), module(clips))


@every_model
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


@every_model
@pytest.mark.parametrize(
    "wrong", [{"depth": 49}, {"num_classes": 0}, {"width": 0}], ids=lambda wrong: next(iter(wrong))
)
def test_impossible_settings_are_refused(name: str, wrong: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        model_spec(name).settings.model_validate(wrong)


@every_model
def test_every_setting_explains_itself(name: str):
    fields = model_spec(name).settings.model_fields

    assert [key for key, field in fields.items() if not field.description] == []


@every_model
def test_rules_are_for_parameters_that_exist(name: str):
    module = build(name)

    assert set(model_spec(name).parameter_rules(module)) <= set(dict(module.named_parameters()))


@every_model
def test_pretrained_arrays_have_the_shapes_of_the_model(name: str):
    spec, settings = small(name, depth=50, width=1.0)
    image_settings = model_spec("tsn").settings.model_validate({"num_classes": 1000})
    image_net = model_spec("tsn").build(image_settings).state_dict()
    arrays = {
        place.name: image_net[key].T.numpy() if place.transpose else image_net[key].numpy()
        for key, place in model_spec("tsn").paddle_names(image_settings).items()
    }

    adapted = spec.adapt_pretrained(settings, arrays)

    shapes = {
        place.name: tuple(reversed(tensor.shape)) if place.transpose else tuple(tensor.shape)
        for key, tensor in spec.build(settings).state_dict().items()
        if (place := spec.paddle_names(settings).get(key))
    }
    assert {n: a.shape for n, a in adapted.items()} == {n: shapes[n] for n in adapted}
    assert len(adapted) == 265  # all of a ResNet-50 but its classifier
    assert all(array.dtype == "float32" for array in adapted.values())
