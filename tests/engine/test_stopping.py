import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.engine.test_loop import OFTEN, SETTINGS, _Killed, lines, stop_at
from tests.engine.toy import train_toy
from videozoo.engine.loop import Best, FitOptions
from videozoo.engine.settings import TrainSettings
from videozoo.errors import RunError

LONG = TrainSettings(epochs=20, batch_size=12, learning_rate=0.1, early_stop_epochs=2)
CURVE = [0.1, 0.4, 0.3, 0.5, 0.5, 0.2, 0.9]


def watch(epoch: int) -> dict[str, float]:
    return {"top1": CURVE[epoch]}


def flat(epoch: int) -> dict[str, float]:
    return {"top1": 0.4}


def falling(epoch: int) -> dict[str, float]:
    return {"top1": -float(epoch)}


def never_a_number(epoch: int) -> dict[str, float]:
    return {"top1": float("nan")}


def run(path: Path, settings: TrainSettings = LONG, **more: Any) -> Any:
    arguments = dict[str, Any](validate=watch, best=Best(name="top1"), options=OFTEN) | more
    return train_toy(path, settings, **arguments)[1]


def test_a_run_stops_when_it_gets_no_better(tmp_path: Path):
    out = io.StringIO()

    result = run(tmp_path / "run", console=Console(file=out, width=200))

    assert [line["epoch"] for line in result.history] == [1, 2, 3, 4, 5, 6]
    assert (result.best, result.best_epoch) == (0.5, 4)
    assert (
        "stopping early: top1 has not improved on 50.00 % for 2 epochs (early_stop_epochs: 2)"
        in out.getvalue()
    )


@pytest.mark.parametrize("step", [3, 8, 12])
def test_a_run_that_goes_on_stops_where_it_would_have(tmp_path: Path, step: int):
    whole = run(tmp_path / "whole")
    with pytest.raises(_Killed):
        run(tmp_path / "run", on_event=stop_at(step))

    resumed = run(tmp_path / "run", resume=True)

    assert resumed.history == whole.history
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")


def test_a_stopped_run_has_nothing_left_to_do_until_it_is_given_more_patience(tmp_path: Path):
    whole = run(tmp_path / "run")
    out = io.StringIO()

    same = run(tmp_path / "run", resume=True, console=Console(file=out, width=200))
    longer = run(
        tmp_path / "run",
        LONG.model_copy(update={"early_stop_epochs": 3, "epochs": 7}),
        resume=True,
    )

    assert same == whole
    assert out.getvalue().startswith("nothing left to do: 6 of 20 epochs are done, and top1 has")
    assert (longer.best, longer.best_epoch) == (0.9, 7)


def test_only_epochs_that_are_validated_end_a_run(tmp_path: Path):
    result = run(tmp_path / "run", options=FitOptions(valid_interval=2), validate=flat)

    assert len(result.history) == 4  # the best after 2 of them


def test_a_metric_that_is_never_a_number_ends_a_run(tmp_path: Path):
    result = run(tmp_path / "run", validate=never_a_number)

    assert len(result.history) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"validate": None},
        {"options": FitOptions(valid_interval=0)},
        {"options": FitOptions(valid_interval=21)},
    ],
)
def test_a_run_that_does_not_validate_cannot_stop_early(tmp_path: Path, change: Any):
    with pytest.raises(RunError, match=r"early_stop_epochs is 2, but nothing is validated"):
        run(tmp_path / "run", **change)


def test_patience_is_off_by_default(tmp_path: Path):
    result = run(tmp_path / "run", SETTINGS, validate=falling)

    assert len(result.history) == 3
