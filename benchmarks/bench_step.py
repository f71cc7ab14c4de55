"""TSN and TSM ResNet-50, 2 clips of 8 frames of 224x224: forward and training step.

Ours as `videozoo` runs it (channels-last, batch norms folded for evaluation, inference mode, its
own shift), beside the plain NCHW module of `plain.py` with the same weights. Scores, losses and
gradients are compared first. Also bfloat16, where the processor has instructions for it, and ONNX
Runtime beside OpenVINO on the exported forward, where they are installed.
"""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness import (
    Options,
    Outcome,
    Side,
    Target,
    as_figures,
    check_close,
    cpu_flags,
    main,
    measure,
    one_thread,
    peer,
    ratio,
)
from benchmarks.plain import plain_copy
from videozoo.engine.devices import use_channels_last
from videozoo.models import build_model
from videozoo.ops import fold_batch_norms

Precision = Literal["fp32", "bf16"]

TRAIN_LIMITS = {"tsn": 1.4, "tsm": 1.5}
NUM_SEGMENTS = 8


@dataclass(frozen=True)
class Size:
    """Of everything measured."""

    clips: int = 2
    side: int = 224
    width: float = 1.0
    num_classes: int = 400
    forward_rounds: int = 5
    train_rounds: int = 3
    most_difference: float = 1e-5
    """Between scores; small networks with small statistics amplify more."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


SMALL = Size(
    side=64,
    width=0.125,
    num_classes=5,
    forward_rounds=1,
    train_rounds=1,
    most_difference=1e-4,
)


def run(options: Options) -> Outcome:
    one_thread()
    size = SMALL if options.quick else Size()
    if options.full:
        size = Size(forward_rounds=9, train_rounds=7)
    figures: dict[str, Any] = {"device": size.device}
    targets: list[Target] = []
    for name in ("tsn", "tsm"):
        case = _Case(name, size)
        targets += case.forward(figures)
        targets += case.train(figures)
        targets.append(case.exported(figures))
    return Outcome("step", targets, figures, ("torch", "numpy", "onnx", "onnxruntime", "openvino"))


class _Case:
    """One model in both forms, with weights and batch norms that have seen something."""

    def __init__(self, name: str, size: Size) -> None:
        self.name, self.size = name, size
        torch.manual_seed(0)
        settings = {} if name == "tsn" else {"dropout": 0.0}  # draws would differ
        self.module = build_model(
            name,
            num_classes=size.num_classes,
            num_segments=NUM_SEGMENTS,
            width=size.width,
            **settings,
        )
        shape = size.clips, NUM_SEGMENTS, size.side, size.side, 3
        stored = torch.randn(*shape, device=size.device)
        self.clips = stored.permute(0, 1, 4, 2, 3)  # as our loader gives them: channels-last
        self.plain_clips = self.clips.contiguous()
        self.labels = torch.arange(size.clips, device=size.device) % size.num_classes
        self.module.to(size.device)
        _settle_batch_norms(self.module, self.clips)
        segments = None if name == "tsn" else NUM_SEGMENTS
        self.plain = plain_copy(self.module, size.num_classes, segments).to(size.device)

    def forward(self, figures: dict[str, Any]) -> list[Target]:
        ours, plain = copy.deepcopy(self.module).eval(), self.plain.eval()
        fold_batch_norms(ours)
        use_channels_last(ours)

        def fast() -> Tensor:
            with torch.inference_mode():
                return ours(self.clips)

        def slow() -> Tensor:
            with torch.no_grad():
                return plain(self.plain_clips)

        what = f"{self.name} forward"
        difference = check_close(
            what, _scores(fast()), _scores(slow()), most=self.size.most_difference
        )
        sides: dict[str, Side] = {"videozoo": fast, "plain": slow}
        why_not = self._no_bf16()
        if not why_not:
            sides["videozoo bf16"] = lambda: self._in_bf16(fast)
        timings = measure(sides, rounds=self.size.forward_rounds, device=self.size.device)
        figures[what] = {"largest_difference": difference, **as_figures(timings)}
        return [
            Target(
                name=f"{what}: times as fast as plain",
                limit=1.7,
                figure=ratio(timings, "plain", "videozoo"),
            ),
            Target(
                name=f"{what}, bf16: times as fast as plain",
                limit=3.0,
                figure=None if why_not else ratio(timings, "plain", "videozoo bf16"),
                why_not=why_not,
            ),
        ]

    def train(self, figures: dict[str, Any]) -> list[Target]:
        ours, plain = copy.deepcopy(self.module).train(), copy.deepcopy(self.plain).train()
        use_channels_last(ours)
        what = f"{self.name} training step"
        losses = [
            _loss_and_gradient(module, clips, self.labels)
            for module, clips in ((ours, self.clips), (plain, self.plain_clips))
        ]
        difference = check_close(what, losses[0], losses[1], most=1e-3)

        fast = self._step_of(ours, self.clips)
        slow = self._step_of(plain, self.plain_clips)
        sides: dict[str, Side] = {"videozoo": fast, "plain": slow}
        why_not = self._no_bf16()
        if not why_not:
            sides["videozoo bf16"] = self._step_of(ours, self.clips, precision="bf16")
        timings = measure(sides, rounds=self.size.train_rounds, device=self.size.device)
        figures[what] = {"largest_difference": difference, **as_figures(timings)}
        return [
            Target(
                name=f"{what}: times as fast as plain",
                limit=TRAIN_LIMITS[self.name],
                figure=ratio(timings, "plain", "videozoo"),
            ),
            Target(
                name=f"{what}, bf16: times as fast as plain",
                limit=2.5,
                figure=None if why_not else ratio(timings, "plain", "videozoo bf16"),
                why_not=why_not,
            ),
        ]

    def exported(self, figures: dict[str, Any]) -> Target:
        """ONNX Runtime beside OpenVINO, both on one thread of the CPU, float32."""
        what = f"{self.name} exported forward"
        title = f"{what}: ONNX Runtime's time over OpenVINO's"
        onnxruntime, no_runtime = peer("onnxruntime")
        openvino, no_openvino = peer("openvino")
        why_not = no_runtime or no_openvino or peer("onnxscript")[1]
        if why_not:
            return Target(name=title, limit=1.15, is_least=False, why_not=why_not)
        module = copy.deepcopy(self.module).cpu().eval()
        clips = self.clips.cpu().contiguous()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            _export(module, clips, path)
            sides = {
                "onnxruntime": _onnxruntime_side(onnxruntime, path, clips),
                "openvino": _openvino_side(openvino, path, clips),
            }
            with torch.inference_mode():
                expected = _scores(module(clips))
            differences = {
                name: check_close(
                    what,
                    _scores(torch.from_numpy(side())),
                    expected,
                    most=self.size.most_difference,
                )
                for name, side in sides.items()
            }
            timings = measure(sides, rounds=self.size.forward_rounds)
        figures[what] = {"largest_difference": differences, **as_figures(timings)}
        figure = ratio(timings, "onnxruntime", "openvino")
        return Target(name=title, limit=1.15, is_least=False, figure=figure)

    def _step_of(self, module: nn.Module, clips: Tensor, *, precision: Precision = "fp32") -> Side:
        optimizer = torch.optim.SGD(module.parameters(), 1e-4, momentum=0.9, weight_decay=1e-4)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            autocast = torch.autocast(self.size.device, torch.bfloat16)
            with autocast if precision == "bf16" else nullcontext():
                logits = module(clips)
            F.cross_entropy(logits.float(), self.labels).backward()
            optimizer.step()

        return step

    def _in_bf16(self, forward: Callable[[], Tensor]) -> Tensor:
        with torch.autocast(self.size.device, torch.bfloat16):
            return forward()

    def _no_bf16(self) -> str:
        """Why bfloat16 is not worth timing here; empty where it is."""
        if self.size.device == "cuda":
            return "" if torch.cuda.is_bf16_supported() else "this GPU has no bfloat16"
        has_it = cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"}
        return "" if has_it else "this CPU has no bfloat16 instructions"


def _settle_batch_norms(module: nn.Module, clips: Tensor) -> None:
    """Let running statistics be those of the clips, as after training."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain mean over what was seen
    with torch.no_grad():
        module.train()(clips)
    for norm in norms:
        norm.momentum = 0.1


def _loss_and_gradient(module: nn.Module, clips: Tensor, labels: Tensor) -> Any:
    """Loss, and the head's gradient in units of its largest value; nothing is left behind."""
    state = copy.deepcopy(module.state_dict())
    loss = F.cross_entropy(module(clips), labels)
    loss.backward()
    *_, weight, _ = module.parameters()
    assert weight.grad is not None
    gradient = weight.grad.flatten() / weight.grad.abs().max()
    found = torch.cat((loss.detach().view(1), gradient)).cpu().numpy()
    module.zero_grad(set_to_none=True)
    module.load_state_dict(state)
    return found


def _scores(logits: Tensor) -> Any:
    return logits.float().softmax(1).cpu().numpy()


def _export(module: nn.Module, clips: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about itself
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
        torch.onnx.export(module, (clips,), path, dynamo=True, input_names=["clips"], verbose=False)


def _onnxruntime_side(onnxruntime: Any, path: Path, clips: Tensor) -> Side:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"clips": clips.numpy()}
    return lambda: session.run(None, feed)[0]


def _openvino_side(openvino: Any, path: Path, clips: Tensor) -> Side:
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
    array = clips.numpy()
    return lambda: compiled(array)[0]


if __name__ == "__main__":
    main(run)
