import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmarks import __main__ as front
from benchmarks import (
    bench_bmn,
    bench_caption,
    bench_decode,
    bench_export,
    bench_extract,
    bench_loader,
    bench_localisation_metrics,
    bench_soft_nms,
    bench_startup,
    bench_step,
    bench_tagging,
    bench_tagging_metrics,
    bench_tagging_records,
    bench_transforms,
    harness,
)
from benchmarks.harness import Options, Outcome, Target, UnequalError

BENCHMARKS = [
    pytest.param(bench_bmn, marks=pytest.mark.slow),
    pytest.param(bench_caption, marks=pytest.mark.slow),
    pytest.param(bench_decode, marks=pytest.mark.slow),
    pytest.param(bench_export, marks=pytest.mark.slow),
    pytest.param(bench_extract, marks=pytest.mark.slow),
    pytest.param(bench_loader, marks=pytest.mark.slow),
    pytest.param(bench_localisation_metrics, marks=pytest.mark.slow),
    pytest.param(bench_soft_nms, marks=pytest.mark.slow),
    pytest.param(bench_startup, marks=pytest.mark.slow),
    pytest.param(bench_step, marks=pytest.mark.slow),
    pytest.param(bench_tagging, marks=pytest.mark.slow),
    pytest.param(bench_tagging_metrics, marks=pytest.mark.slow),
    bench_tagging_records,
    bench_transforms,
]


@pytest.mark.parametrize("module", BENCHMARKS, ids=lambda module: module.__name__[17:])
def test_runs_and_leaves_a_line_that_the_table_can_show(module: ModuleType, tmp_path: Path):
    outcome: Outcome = module.run(Options(quick=True))

    path = harness.append(outcome.line(Options(quick=True)), tmp_path)
    line = json.loads(path.read_text().splitlines()[-1])
    assert (line["benchmark"], line["size"]) == (module.__name__[17:], "quick")
    assert line["machine"]["cores"] >= 1
    shown = harness.table([front._target(values).row() for values in line["targets"]])
    for target in outcome.targets:
        assert target.name in shown
        assert (target.figure is None) == bool(target.why_not)


def test_every_benchmark_is_listed_and_tested():
    modules: list[Any] = [getattr(each, "values", (each,))[0] for each in BENCHMARKS]
    tested = {module.__name__.removeprefix("benchmarks.bench_") for module in modules}
    assert tested == set(front.NAMES)


@pytest.mark.parametrize(
    ("figure", "is_least", "holds"),
    [(2.0, True, True), (1.0, True, False), (1.0, False, True), (2.0, False, False)],
)
def test_a_target_holds_on_the_right_side_of_its_limit(figure: float, is_least: bool, holds: bool):
    assert Target(name="a", limit=1.5, figure=figure, is_least=is_least).holds is holds


def test_what_was_not_measured_says_why_and_holds_nothing():
    target = Target(name="a", limit=1.5, why_not="decord is not installed")

    assert target.holds is None
    assert target.row() == ("a", "-", ">= 1.5 x", "not measured: decord is not installed")


def test_results_are_appended_never_replaced(tmp_path: Path):
    harness.append({"benchmark": "toy", "number": 0}, tmp_path)
    path = harness.append({"benchmark": "toy", "number": 1}, tmp_path)

    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [0, 1]


def test_unequal_sides_are_refused():
    assert harness.check_close("toy", [1.0, 2.0], [1.0, 2.5], most=0.5) == 0.5
    for theirs in ([1.0, 2.6], [1.0], [1.0, float("nan")]):
        with pytest.raises(UnequalError, match="toy"):
            harness.check_close("toy", [1.0, 2.0], theirs, most=0.5)


def test_sides_take_turns_and_nobody_is_always_first():
    order: list[str] = []

    harness.measure({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2)

    assert "".join(order) == "ababba"  # the first two are not timed


def test_a_benchmark_that_fails_is_named_and_the_rest_still_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def run(name: str, **_: bool):
        good = Outcome("startup", [Target(name="a figure", figure=2.0)])
        return None if name == "decode" else json.loads(json.dumps(good.line(Options())))

    monkeypatch.setattr(front, "_run", run)

    assert front.main(["decode", "startup", "--no-save"]) == 1
    printed = capsys.readouterr()
    assert "a figure     2 x" in printed.out
    assert "failed: decode" in printed.err


def test_an_unknown_name_is_a_mistake_on_the_command_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_status:
        front.main(["decoding"])

    assert exit_status.value.code == 2
    assert "no benchmark 'decoding'" in capsys.readouterr().err
