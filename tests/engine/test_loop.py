import io
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.engine.toy import NUM_EXAMPLES, ToyBatches, toy_loss, toy_module, train_toy
from videozoo.commands import command
from videozoo.engine.devices import make_accelerator
from videozoo.engine.interrupts import RunInterrupted
from videozoo.engine.loop import Best, FitOptions
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.settings import TrainSettings
from videozoo.errors import RunError

SETTINGS = TrainSettings(
    epochs=3, batch_size=4, learning_rate=0.1, schedule="steps", decay_at=(1, 1.5)
)
STEPS = NUM_EXAMPLES // 4
OFTEN = FitOptions(log_interval=1, save_every_steps=1)


def tenths(epoch: int) -> dict[str, float]:
    """A validation."""
    return {"top1": epoch / 10}


class _Killed(BaseException):
    """Stands for a process that is gone."""


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0, check_stride=False, msg=name)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run, without times."""
    timed = ("_seconds", "_per_second")
    return [
        {name: value for name, value in line.items() if not name.endswith(timed)}
        for line in RunFolder(folder).read_metrics()
    ]


def stop_at(step: int, kind: str = "log") -> Any:
    """Kill the run when it reports `step`; what it logs next is lost."""

    def on_event(name: str, facts: Mapping[str, Any]) -> None:
        if name == kind and facts["step"] == step:
            raise _Killed

    return on_event


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Path, Any]:
    """A run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    module, result = train_toy(path, SETTINGS, options=OFTEN, validate=tenths)
    return weights_of(module), path, result


@pytest.mark.parametrize("step", [4, STEPS, STEPS + 1, 3 * STEPS])
def test_killed_run_goes_on_bit_for_bit(tmp_path: Path, step: int, whole: Any):
    weights, path, result = whole
    options = FitOptions(log_interval=1, save_every_steps=3)
    run = dict[str, Any](validate=tenths, options=options)
    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", SETTINGS, on_event=stop_at(step), **run)

    module, resumed = train_toy(tmp_path / "run", SETTINGS, resume=True, **run)

    assert_same(weights_of(module), weights)
    assert resumed.history == result.history
    assert lines(tmp_path / "run") == lines(path)
    for file in (path / "weights").iterdir():
        assert_same(load_file(tmp_path / "run" / "weights" / file.name), load_file(file))


def test_run_killed_while_it_validates_goes_on_bit_for_bit(tmp_path: Path, whole: Any):
    weights, path, result = whole

    def killed(epoch: int) -> dict[str, float]:
        raise _Killed

    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", SETTINGS, validate=killed, options=FitOptions(log_interval=1))
    module, resumed = train_toy(
        tmp_path / "run",
        SETTINGS,
        resume=True,
        validate=tenths,
        options=FitOptions(log_interval=1),
    )

    assert_same(weights_of(module), weights)
    assert resumed.history == result.history
    assert lines(tmp_path / "run") == lines(path)


STOPPING = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


@pytest.mark.parametrize("number", STOPPING)
def test_ctrl_c_saves_and_ends_in_one_line(tmp_path: Path, number: signal.Signals, whole: Any):
    weights, _, _ = whole
    if signal.getsignal(number) is signal.SIG_IGN:  # the tests may run under nohup
        signal.signal(number, signal.SIG_DFL)
    before = signal.getsignal(number)

    def on_event(name: str, facts: Mapping[str, Any]) -> None:
        if name == "log" and facts["step"] == 4:
            os.kill(os.getpid(), number)

    with pytest.raises(RunInterrupted) as caught:
        train_toy(tmp_path / "run", SETTINGS, on_event=on_event, options=FitOptions(log_interval=1))

    by = "Ctrl-C" if number == signal.SIGINT else number.name
    assert str(caught.value) == (
        f"stopped by {by} in epoch 1 after step 4; {tmp_path / 'run'} is saved; go on: "
        + command("train", "--resume", tmp_path / "run")
    )
    assert caught.value.exit_status == 130
    assert signal.getsignal(number) is before
    module, _ = train_toy(tmp_path / "run", SETTINGS, resume=True)
    assert_same(weights_of(module), weights)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_run_that_nohup_started_outlives_its_terminal(tmp_path: Path, whole: Any):
    weights, _, _ = whole
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def on_event(name: str, facts: Mapping[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    try:
        module, _ = train_toy(tmp_path / "run", SETTINGS, on_event=on_event)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert_same(weights_of(module), weights)


@pytest.mark.parametrize("lines_before", [0, 3])
def test_a_run_whose_output_breaks_saves_and_says_so(tmp_path: Path, whole: Any, lines_before: int):
    weights, _, _ = whole
    error = OSError(28, "No space left on device")

    class Full(io.StringIO):
        written = 0

        def write(self, text: str, /) -> int:
            self.written += "\n" in text
            if self.written > lines_before:
                raise error
            return len(text)

    with pytest.raises(RunError) as caught:
        train_toy(
            tmp_path / "run",
            SETTINGS,
            console=Console(file=Full()),
            options=FitOptions(log_interval=1),
        )

    assert str(caught.value) == (
        f"what a run shows cannot be written ({error}), so this one stopped in epoch 1 after step "
        f"{lines_before + 1}; {tmp_path / 'run'} is saved; go on: "
        + command("train", "--resume", tmp_path / "run")
    )
    module, _ = train_toy(tmp_path / "run", SETTINGS, resume=True)
    assert_same(weights_of(module), weights)


def test_ctrl_c_ends_validation_at_once_and_costs_no_training(tmp_path: Path, whole: Any):
    weights, _, _ = whole

    def validate(epoch: int) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    with pytest.raises(RunInterrupted, match="in epoch 1 after step 6"):
        train_toy(tmp_path / "run", SETTINGS, validate=validate)

    module, _ = train_toy(tmp_path / "run", SETTINGS, resume=True)
    assert_same(weights_of(module), weights)


def test_second_ctrl_c_does_not_wait(tmp_path: Path):
    def loss_of(module: nn.Module, batch: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path / "run", SETTINGS, loss_of=loss_of)


def test_loader_that_dies_of_ctrl_c_is_not_an_error(tmp_path: Path):
    class Dying(ToyBatches):
        def __iter__(self) -> Any:
            for index, batch in enumerate(super().__iter__()):
                if index == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                    raise RuntimeError("DataLoader worker exited unexpectedly")
                yield batch

    accelerator = make_accelerator(device="cpu")
    with pytest.raises(RunInterrupted, match="after step 2"):
        train_toy(
            tmp_path / "run",
            SETTINGS,
            accelerator=accelerator,
            batches=lambda epoch, skip: Dying(SETTINGS, accelerator, epoch, skip),
        )


def test_finished_run_has_nothing_left_to_do(tmp_path: Path):
    module, result = train_toy(tmp_path / "run", SETTINGS)
    weights = weights_of(module)
    before = (tmp_path / "run" / "metrics.jsonl").read_text()

    again, same = train_toy(tmp_path / "run", SETTINGS, resume=True)

    assert_same(weights_of(again), weights)
    assert same == result
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_finished_run_can_be_made_longer(tmp_path: Path, whole: Any):
    weights, _, _ = whole
    shorter = SETTINGS.model_copy(update={"epochs": 2})
    train_toy(tmp_path / "run", shorter)

    module, result = train_toy(tmp_path / "run", SETTINGS, resume=True)

    assert len(result.history) == 3
    assert_same(weights_of(module), weights)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_other_optimisers_go_on_bit_for_bit(tmp_path: Path, optimizer: str):
    settings = SETTINGS.model_copy(update={"optimizer": optimizer, "learning_rate": 0.01})
    module, _ = train_toy(tmp_path / "whole", settings)
    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", settings, on_event=stop_at(8), options=OFTEN)

    resumed, _ = train_toy(tmp_path / "run", settings, resume=True)

    assert_same(weights_of(resumed), weights_of(module))


def test_ordinary_loader_that_shuffles_goes_on_bit_for_bit(tmp_path: Path):
    """Its order comes from the global generators, which the epoch seeds."""
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(
        torch.rand(24, 2, 5, 5, generator=generator),
        torch.randint(3, (24,), generator=generator),
    )
    firsts: list[Tensor] = []

    def batches(epoch: int, skip: int) -> list[Any]:
        shuffled = list(DataLoader(data, batch_size=4, shuffle=True))
        firsts.append(shuffled[0][1])
        return shuffled[skip:]

    module, _ = train_toy(tmp_path / "whole", SETTINGS, batches=batches)
    assert not torch.equal(firsts[0], firsts[1])
    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", SETTINGS, batches=batches, on_event=stop_at(9), options=OFTEN)

    resumed, _ = train_toy(tmp_path / "run", SETTINGS, batches=batches, resume=True)

    assert_same(weights_of(resumed), weights_of(module))


def test_seed_decides_the_weights(tmp_path: Path):
    one, _ = train_toy(tmp_path / "a", SETTINGS)
    same, _ = train_toy(tmp_path / "b", SETTINGS)
    other, _ = train_toy(tmp_path / "c", SETTINGS.model_copy(update={"seed": 1}))

    assert_same(weights_of(one), weights_of(same))
    assert not torch.equal(one.state_dict()["0.weight"], other.state_dict()["0.weight"])


def test_validating_and_logging_do_not_change_the_training(tmp_path: Path):
    plain, _ = train_toy(tmp_path / "a", SETTINGS)

    def validate(epoch: int) -> dict[str, float]:
        torch.rand(3)
        return {"top1": 0.5}

    watched, _ = train_toy(tmp_path / "b", SETTINGS, validate=validate, options=OFTEN)

    assert_same(weights_of(plain), weights_of(watched))


def test_validation_sees_the_module_in_evaluation_mode_without_gradients(tmp_path: Path):
    module = toy_module()
    seen: list[Any] = []

    def validate(epoch: int) -> dict[str, float]:
        seen.append((epoch, module.training, torch.is_grad_enabled()))
        return {"top1": 0.0}

    def loss_of(model: nn.Module, batch: Any) -> Any:
        assert model.training
        return toy_loss(model, batch)

    options = FitOptions(valid_interval=2)
    train_toy(
        tmp_path / "a",
        SETTINGS.model_copy(update={"epochs": 4}),
        module=module,
        validate=validate,
        loss_of=loss_of,
        options=options,
    )

    assert seen == [(1, False, False), (3, False, False)]


def test_zero_means_never_validate(tmp_path: Path):
    def validate(epoch: int) -> dict[str, float]:
        raise AssertionError

    options = FitOptions(valid_interval=0)
    _, result = train_toy(tmp_path / "a", SETTINGS, validate=validate, options=options)

    assert result.weights == tmp_path / "a" / "weights" / "epoch_3.safetensors"
    assert result.best is None


@pytest.mark.parametrize(("direction", "epoch"), [("max", 2), ("min", 3)])
def test_best_weights_are_those_of_the_best_epoch(tmp_path: Path, direction: Any, epoch: int):
    metric = [0.2, 0.8, 0.1]
    _, result = train_toy(
        tmp_path / "a",
        SETTINGS,
        validate=lambda e: {"metric": metric[e]},
        best=Best(name="metric", direction=direction),
    )

    assert (result.best, result.best_epoch) == (metric[epoch - 1], epoch)
    assert result.weights == tmp_path / "a" / "best.safetensors"
    assert result.weights is not None
    assert_same(
        load_file(result.weights), load_file(tmp_path / f"a/weights/epoch_{epoch}.safetensors")
    )


def test_nan_is_never_best(tmp_path: Path):
    metric = [0.2, float("nan"), 0.1]
    _, result = train_toy(
        tmp_path / "a", SETTINGS, validate=lambda e: {"m": metric[e]}, best=Best(name="m")
    )

    assert (result.best, result.best_epoch) == (0.2, 1)


def test_best_is_remembered_over_a_stop(tmp_path: Path):
    def validate(epoch: int) -> dict[str, float]:
        return {"m": [0.9, 0.2, 0.3][epoch]}

    run = dict[str, Any](validate=validate, best=Best(name="m"), options=OFTEN)
    with pytest.raises(_Killed):
        train_toy(tmp_path / "a", SETTINGS, on_event=stop_at(8), **run)

    _, result = train_toy(tmp_path / "a", SETTINGS, resume=True, **run)

    assert (result.best, result.best_epoch) == (0.9, 1)


def test_metric_that_validation_does_not_give_is_a_bug(tmp_path: Path):
    with pytest.raises(ValueError, match=r"validate gave \['top1'\], without 'top5'"):
        train_toy(
            tmp_path / "a", SETTINGS, validate=lambda e: {"top1": 1.0}, best=Best(name="top5")
        )


def test_lines_tell_loss_shares_rate_and_times(tmp_path: Path):
    _, result = train_toy(tmp_path / "a", SETTINGS, options=FitOptions(log_interval=3))

    read = RunFolder(tmp_path / "a").read_metrics()
    assert [(line["kind"], line["epoch"], line["step"]) for line in read[:3]] == [
        ("train", 1, 3),
        ("train", 1, 6),
        ("epoch", 1, 6),
    ]
    assert [line["learning_rate"] for line in read if line["kind"] == "train"] == pytest.approx(
        [0.1, 0.1, 0.01, 0.001, 0.001, 0.001]
    )
    assert read[2]["total"] == NUM_EXAMPLES
    assert read[2]["loss"] == pytest.approx((read[0]["loss"] + read[1]["loss"]) / 2)
    assert read[2]["top1"] == pytest.approx((read[0]["top1"] + read[1]["top1"]) / 2)
    assert read[0]["data_seconds"] > 0
    assert read[0]["compute_seconds"] > 0
    assert result.history == [line for line in read if line["kind"] == "epoch"]


def test_averages_count_examples_not_batches(tmp_path: Path):
    """Batches of 4 and 2: the mean over 6 examples is not the mean of two means."""

    def batches(epoch: int, skip: int) -> list[Any]:
        return [(torch.zeros(4), 1.0), (torch.zeros(2), 4.0)][skip:]

    def loss_of(module: nn.Module, batch: Any) -> Any:
        loss = 0 * module(torch.zeros(2, 2, 5, 5)).sum() + batch[1]
        return loss, {"total": len(batch[0]), "hits": 2 if batch[1] == 4.0 else 0}

    settings = TrainSettings(epochs=1, batch_size=4)
    _, result = train_toy(tmp_path / "a", settings, batches=batches, loss_of=loss_of)

    assert result.history[0]["loss"] == pytest.approx(2.0)
    assert result.history[0]["hits"] == pytest.approx(2 / 6)


@pytest.mark.parametrize("parts", [2, 4])
def test_batch_in_parts_moves_the_weights_as_the_whole(tmp_path: Path, parts: int):
    settings = TrainSettings(epochs=2, batch_size=8, learning_rate=0.1)
    module = toy_module(dropout=0)
    start = weights_of(module)
    whole, _ = train_toy(tmp_path / "a", settings, module=module)
    whole_weights = weights_of(whole)
    module.load_state_dict(start)

    cut, result = train_toy(
        tmp_path / "b",
        settings.model_copy(update={"gradient_accumulation": parts}),
        module=module,
    )

    assert result.history[-1]["step"] == 6
    for name, value in weights_of(cut).items():
        torch.testing.assert_close(value, whole_weights[name], rtol=1e-4, atol=1e-6)


def test_batch_in_parts_goes_on_bit_for_bit(tmp_path: Path):
    settings = SETTINGS.model_copy(update={"gradient_accumulation": 2})
    module, _ = train_toy(tmp_path / "whole", settings)
    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", settings, on_event=stop_at(8), options=OFTEN)

    resumed, _ = train_toy(tmp_path / "run", settings, resume=True)

    assert_same(weights_of(resumed), weights_of(module))


def test_gradients_are_clipped_to_their_norm(tmp_path: Path):
    settings = TrainSettings(
        epochs=1, batch_size=24, learning_rate=1.0, clip_gradient_norm=1e-3, weight_decay=0
    )
    module = toy_module(dropout=0)
    start = weights_of(module)

    trained, _ = train_toy(tmp_path / "a", settings, module=module)

    moved = [weights_of(trained)[name] - value for name, value in start.items()]
    norm = torch.cat([m.flatten() for m in moved]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_ends_the_run_and_spoils_nothing(tmp_path: Path, value: float):
    calls = 0

    def loss_of(module: nn.Module, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        loss, counts = toy_loss(module, batch)
        return (loss * value if calls == STEPS + 3 else loss), counts

    path = tmp_path / "a"
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step 9 \(epoch 2\); try a lower"):
        train_toy(path, SETTINGS, loss_of=loss_of, options=OFTEN)

    last = RunFolder(path).last()
    assert last is not None
    for file in (last / "module.safetensors", path / "weights" / "epoch_1.safetensors"):
        assert all(t.isfinite().all() for t in load_file(file).values() if t.is_floating_point())
    assert json.loads((last / "state.json").read_text())["position"]["step"] == STEPS + 2


def not_finite(module: nn.Module, batch: Any) -> Any:
    loss, counts = toy_loss(module, batch)
    return loss * float("nan"), counts


def no_batches(epoch: int, skip: int) -> list[Any]:
    return []


@pytest.mark.parametrize("broken", [{"loss_of": not_finite}, {"batches": no_batches}])
def test_a_start_that_fails_leaves_no_folder(tmp_path: Path, broken: dict[str, Any]):
    options = FitOptions(log_interval=1, save_every_steps=1)
    with pytest.raises(RunError):
        train_toy(tmp_path / "run", SETTINGS, options=options, **broken)
    assert not (tmp_path / "run").exists()

    train_toy(tmp_path / "run", SETTINGS)


def test_a_start_that_fails_sets_no_earlier_run_aside(tmp_path: Path):
    train_toy(tmp_path / "run", SETTINGS)
    before = (tmp_path / "run" / "metrics.jsonl").read_text()

    with pytest.raises(RunError):
        train_toy(tmp_path / "run", SETTINGS, loss_of=not_finite, overwrite=True)

    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def rates(folder: Path) -> list[float]:
    return [
        line["learning_rate"]
        for line in RunFolder(folder).read_metrics()
        if line["kind"] == "train"
    ]


@pytest.mark.parametrize("stop", [6, 9])
def test_another_batch_size_keeps_the_place_in_the_schedule(tmp_path: Path, stop: int):
    """At the end of an epoch, and within one."""
    shared: dict[str, Any] = {
        "epochs": 3,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
    }
    large, small = (TrainSettings(batch_size=size, **shared) for size in (4, 2))

    def kill(name: str, facts: Mapping[str, Any]) -> None:
        if name == "log" and facts["step"] == stop + 1:
            raise _Killed

    with pytest.raises(_Killed):
        train_toy(tmp_path / "run", large, options=OFTEN, on_event=kill)
    said = io.StringIO()
    console = Console(file=said, width=200)
    _, result = train_toy(tmp_path / "run", small, options=OFTEN, resume=True, console=console)

    train_toy(tmp_path / "small", small, options=OFTEN)
    train_toy(tmp_path / "large", large, options=OFTEN)
    expected = rates(tmp_path / "large")[:stop] + rates(tmp_path / "small")[2 * stop :]
    assert rates(tmp_path / "run") == expected
    assert [line["total"] for line in result.history] == [NUM_EXAMPLES] * 3
    assert (
        "an epoch has 12 steps, not 6 as before: the schedule of the learning rate goes on at the "
        "same share of the epochs"
    ) in said.getvalue()


def test_a_schedule_in_steps_keeps_its_step_with_another_batch_size(tmp_path: Path):
    shared: dict[str, Any] = {"schedule": "noam", "noam_size": 4, "noam_warmup_steps": 4}
    train_toy(tmp_path / "run", TrainSettings(epochs=1, batch_size=4, **shared), options=OFTEN)
    longer = TrainSettings(epochs=2, batch_size=2, **shared)

    train_toy(tmp_path / "run", longer, options=OFTEN, resume=True)

    train_toy(tmp_path / "whole", longer, options=OFTEN)
    assert rates(tmp_path / "run") == rates(tmp_path / "whole")[: STEPS + 12]


def test_a_run_saved_by_an_earlier_version_goes_on(tmp_path: Path):
    train_toy(tmp_path / "run", SETTINGS.model_copy(update={"epochs": 1}), options=OFTEN)
    state = tmp_path / "run" / "last" / "state.json"
    saved = json.loads(state.read_text())
    for key in ("schedule_step", "steps_in_epoch", "batch_size"):
        del saved["position"][key]
    state.write_text(json.dumps(saved))
    (tmp_path / "run" / "last" / "SHA256SUMS").unlink()
    shutil.copytree(tmp_path / "run", tmp_path / "other")

    train_toy(tmp_path / "run", SETTINGS, options=OFTEN, resume=True)
    small = SETTINGS.model_copy(update={"batch_size": 2})
    train_toy(tmp_path / "other", small, options=OFTEN, resume=True)

    train_toy(tmp_path / "whole", SETTINGS, options=OFTEN)
    train_toy(tmp_path / "small", small, options=OFTEN)
    assert rates(tmp_path / "run") == rates(tmp_path / "whole")
    assert rates(tmp_path / "other")[STEPS:] == rates(tmp_path / "small")[2 * STEPS :]


@pytest.mark.parametrize("options", [FitOptions(), OFTEN])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, options: FitOptions):
    """The loss of the last step is fine; its gradient is not."""

    def loss_of(module: nn.Module, batch: Any) -> Any:
        loss, counts = toy_loss(module, batch)
        parameter = next(module.parameters())
        return loss + (parameter - parameter.detach()).sum().sqrt(), counts

    with pytest.raises(RunError, match=r"0\.weight holds values that are not finite after step 1"):
        train_toy(tmp_path / "a", TrainSettings(batch_size=24), loss_of=loss_of, options=options)

    assert RunFolder(tmp_path / "a").last() is None
    assert not (tmp_path / "a" / "weights").exists()


def test_data_without_a_batch_is_an_error(tmp_path: Path):
    with pytest.raises(RunError, match="the training data gave no batch"):
        train_toy(tmp_path / "a", SETTINGS, batches=lambda epoch, skip: [])


def test_bf16_trains_and_keeps_weights_in_fp32(tmp_path: Path):
    settings = SETTINGS.model_copy(update={"precision": "bf16"})
    accelerator = make_accelerator(device="cpu", precision="bf16")

    module, result = train_toy(tmp_path / "a", settings, accelerator=accelerator)

    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert result.history[-1]["loss"] < 2


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path):
    out = io.StringIO()

    train_toy(
        tmp_path / "a",
        SETTINGS,
        console=Console(file=out, width=80),
        validate=lambda e: {"top1": 0.25},
        best=Best(name="top1"),
    )

    text = out.getvalue().splitlines()
    assert text[0].startswith("epoch 1/3 step 2/6: loss ")
    assert re.search(r"data \d+ ms \(\d+ %\) compute \d+ ms", text[0])
    for word in ("top1", "lr 0.1", "data", "compute", "clips/s", "ETA 0:00:0"):
        assert word in text[0]
    assert text[3].startswith("epoch 1/3 done: loss ")
    assert text[3].endswith("valid_top1 25.00 % (best so far)")


@pytest.mark.parametrize(("waits", "says"), [(2.0, 1), (0.2, 0)])
def test_training_that_waits_for_its_data_is_told_once(
    tmp_path: Path, waits: float, says: int, monkeypatch: pytest.MonkeyPatch
):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class Slow(ToyBatches):
        def __iter__(self) -> Any:
            clock[0] += 100  # workers start; that tells nothing about later batches
            for batch in super().__iter__():
                clock[0] += waits
                yield batch

    def loss_of(module: nn.Module, batch: Any) -> Any:
        clock[0] += 2
        return toy_loss(module, batch)

    out, accelerator = io.StringIO(), make_accelerator(device="cpu")
    train_toy(
        tmp_path / "a",
        SETTINGS.model_copy(update={"epochs": 12}),
        accelerator=accelerator,
        batches=lambda epoch, skip: Slow(SETTINGS, accelerator, epoch, skip),
        loss_of=loss_of,
        console=Console(file=out, width=200),
        options=FitOptions(slow_data_advice="buy a disk"),
    )

    hints = [line for line in out.getvalue().splitlines() if "waits for its data" in line]
    assert hints == ["training waits for its data 50 % of the time; buy a disk"] * says


def test_zero_means_no_lines_within_epochs(tmp_path: Path):
    train_toy(tmp_path / "a", SETTINGS, options=FitOptions(log_interval=0))

    assert [line["kind"] for line in lines(tmp_path / "a")] == ["epoch"] * 3


def test_live_bar_in_a_terminal(tmp_path: Path):
    out = io.StringIO()

    train_toy(tmp_path / "a", SETTINGS, console=Console(file=out, force_terminal=True, width=120))

    assert "epoch 1/3" in out.getvalue()
    assert "epoch 3/3 done" in out.getvalue()


def test_the_bar_says_when_an_epoch_is_checked(tmp_path: Path):
    out, during = io.StringIO(), list[bool]()

    def validate(epoch: int) -> dict[str, float]:
        during.append("checking" in out.getvalue())
        out.truncate(0)
        return {"top1": 0.5}

    console = Console(file=out, force_terminal=True, width=120)
    train_toy(tmp_path / "a", SETTINGS, validate=validate, console=console)

    assert during == [True] * 3
    assert "valid_top1 50.00 %" in out.getvalue()


def test_events_tell_what_happens(tmp_path: Path):
    seen: list[str] = []
    settings = TrainSettings(epochs=1, batch_size=12)

    train_toy(tmp_path / "a", settings, on_event=lambda name, facts: seen.append(name))
    train_toy(tmp_path / "a", settings, resume=True, on_event=lambda name, facts: seen.append(name))

    assert seen == ["log", "epoch", "saved", "resumed"]


def test_weights_are_saved_with_the_facts_of_their_epoch(tmp_path: Path):
    seen: list[Any] = []

    def save_weights(to: Path, facts: Any) -> None:
        to.touch()
        seen.append(facts)

    train_toy(
        tmp_path / "a", SETTINGS, save_weights=save_weights, validate=lambda e: {"top1": e / 2}
    )

    assert seen[0] == {"epoch": 1, "step": 6, "top1": 0.0}
    assert [facts["epoch"] for facts in seen] == [1, 2, 3]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_the_same_numbers(tmp_path: Path):
    pytest.importorskip("tensorboard")

    train_toy(tmp_path / "a", SETTINGS, options=FitOptions(log_interval=3, tensorboard=True))

    assert list((tmp_path / "a" / "tensorboard").glob("events.*"))


def test_tensorboard_that_is_not_there_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)

    with pytest.raises(RunError, match=r"pip install 'videozoo\[tensorboard\]'"):
        train_toy(tmp_path / "a", SETTINGS, options=FitOptions(tensorboard=True))


def test_resume_without_a_state_is_an_error(tmp_path: Path):
    with pytest.raises(RunError, match="holds no run"):
        train_toy(tmp_path / "a", SETTINGS, resume=True)
