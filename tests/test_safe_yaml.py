"""YAML of others gives plain values, or one plain error in no time."""

import time
from pathlib import Path

import pytest
import yaml

from videozoo.cli import main
from videozoo.config import load_config
from videozoo.config_v1 import files, translate
from videozoo.errors import ConfigError, UsageError
from videozoo.safe_yaml import MOST_CHARACTERS, MOST_DEPTH, parse_yaml

ROOT = Path(__file__).parent.parent
LAUGHS = "\n".join(
    [
        "x0: &a0 [x,x,x,x,x,x,x,x,x]",
        *(f"x{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)),
    ]
)
REFUSED = {
    "billion laughs": (f"{LAUGHS}\nmodel: {{name: tsn, num_classes: *a9}}", "more than 10,000"),
    "billion laughs of 2019": (f"{LAUGHS}\nMODEL: {{name: TSN, x: *a9}}", "more than 10,000"),
    "lists in lists": (f"model: {'[' * 20_000}", "line 1: nested too deep"),
    "mappings in mappings": (f"model: {'{a: ' * 5_000}", "line 1: nested too deep"),
    "contains itself": ("model: &m {name: tsn, num_classes: *m}", "line 1: .*contains itself"),
    "contains itself often": ("model: &m [*m, *m, *m, *m]", "line 1: .*contains itself"),
    "merges itself": ("model: &m\n  <<: *m", "line 2: .*contains itself|line 1: .*contains itself"),
    "a huge number": (f"model: {{name: tsn, num_classes: {'9' * 100_000}}}", "line 1: '9999"),
    "a huge hexadecimal": (f"model: {{name: tsn, depth: 0x{'f' * 100_000}}}", "line 1: '0xff"),
    "a key that is a list": ("? [a, b]\n: 1\nmodel: {name: tsn}", "line 1: a key that is a list"),
    "a key that is a number": ("model: {name: tsn, 1: 2}", "line 1: the key '1' is not text"),
    "a key that is nothing": ("model: {name: tsn, ~: 2}", "line 1: the key '~' is not text"),
    "a key twice": (
        "model: {name: tsn}\ntrain: {epochs: 3}\ntrain: {seed: 1}",
        "line 3: the key 'train' is there twice",
    ),
    "bytes": ('model: {name: !!binary "////"}', "line 1: the tag '!!binary'"),
    "a set": ("model: {name: tsn, depth: !!set {a}}", "line 1: the tag '!!set'"),
    "python/name": ("model: !!python/name:os.system", "line 1: the tag '!!python/name:os.system'"),
    "python/object": ('model: !!python/object/apply:os.system ["true"]', "line 1: the tag"),
    "a tab": ("model:\n\t- x", r"line 2: found character '\\t'"),
    "not a number": ("model: {name: tsn, depth: !!int x}", "line 1: 'x' is not a whole number"),
    "a long list": (f"model: [{'x,' * 20_000}]", "more than 10,000 values"),
    "a long text": (f"model: '{'x' * MOST_CHARACTERS}'", "characters, expected at most"),
}


@pytest.mark.parametrize(("text", "problem"), REFUSED.values(), ids=REFUSED)
def test_hostile_yaml_is_one_error_that_names_the_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(ConfigError, match=rf"hostile\.yaml: not a usable YAML file: .*{problem}"):
        load_config(path)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(("text", "problem"), REFUSED.values(), ids=REFUSED)
def test_so_is_a_hostile_value_of_the_command_line(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=r"--set train\.epochs=") as raised:
        load_config(ROOT / "configs/tsn.yaml", overrides=[f"train.epochs={text}"])
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: {name: tsn, num_classes: 2020-13-45}", "model.num_classes: .*'2020-13-45'"),
        ("model: {name: tsn, num_classes: 2020-01-02}", "model.num_classes: .*'2020-01-02'"),
        ("model: {name: tsn, num_classes: 59:59}", "model.num_classes: .*'59:59'"),
        (f"model: {{name: tsn, num_classes: {'59:' * 10_000}59}}", "model.num_classes: .*59"),
        ("model: {name: tsn, num_classes: .inf}", "model.num_classes: .*inf"),
        ("model: {name: tsn}\ntrain: {learning_rate: .inf}", "train.learning_rate: .*inf"),
        ("model: {name: tsn}\ntrain: {learning_rate: .nan}", "train.learning_rate: .*nan"),
        ("model: na", "model: expected keys and values, got 'na'"),
        ("model: [name, tsn]", "model: expected keys and values"),
        ("model: {name: tsn}\ntrain: [1]", r"train: expected keys and values, got \[1\]"),
        ("model: {name: tsn}\ntrain: {batch_size: x}", "train.batch_size: .*'x'"),
        ("model: {name: [tsn]}", "model.name: "),
        ("5", "expected sections"),
    ],
)
@pytest.mark.parametrize("flags", [(), ("--set", "train.batch_size=2")])
def test_values_of_another_kind_are_named_with_their_key(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    problem: str,
    flags: tuple[str, ...],
) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    overrides = flags[1:]
    with pytest.raises(ConfigError, match=problem) as raised:
        load_config(path, overrides=overrides if "batch_size" not in text else ())
    assert len(str(raised.value)) < 1000
    assert main(["config", "show", str(path)]) == 1
    assert "fault of videozoo" not in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_mark_is_read_by_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {name: tsn}", encoding=encoding)

    assert load_config(path).name == "tsn"


@pytest.mark.parametrize("content", [b"\xff\xfem", b"model: {name: \xff}"])
def test_text_that_is_not_utf8_is_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"hostile\.yaml: not UTF-8 text"):
        load_config(path)


def test_good_files_read_as_ever() -> None:
    files = [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("tests/**/*.yaml")]
    assert len(files) > 20
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert parse_yaml(text) == yaml.safe_load(text), path


def test_what_a_configuration_may_use() -> None:
    text = """
    base: &base {a: 1, b: [1_000, -0x1F, 010, 0b11, 1.5e-4, .5, +.inf, true, no, ~, 'x']}
    more: {<<: *base, a: 2}
    list: {<<: [{a: 1}, {a: 2, c: 3}]}
    text: [1e-4, 12.5.1, 2020-01-02, 12:30, "1", !!str 5]
    """
    found = parse_yaml(text)
    assert found["base"]["b"] == [
        1000,
        -31,
        8,
        3,
        0.00015,
        0.5,
        float("inf"),
        True,
        False,
        None,
        "x",
    ]
    assert found["more"] == {"a": 2, "b": found["base"]["b"]}
    assert found["list"] == {"a": 1, "c": 3}
    assert found["text"] == ["1e-4", "12.5.1", "2020-01-02", "12:30", "1", "5"]
    deep = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert parse_yaml(deep) == yaml.safe_load(deep)
    assert parse_yaml("") is None


V1 = {
    "text where a number is": ("TSN", "TRAIN: {epoch: many}", "TRAIN.epoch: expected a number"),
    "a mapping": ("TALL", "TEST: {sent_vec_dim: {}}", "TEST.sent_vec_dim: expected a number, text"),
    "a list": (
        "NONLOCAL",
        "TRAIN: {step_sizes: 3}",
        "TRAIN.step_sizes: expected a list",
    ),
    "one of two": ("NONLOCAL", "TRAIN: {jitter_scales: [256]}", "TRAIN.jitter_scales: expected"),
    "not finite": ("TSN", "TRAIN: {epoch: .inf}", "TRAIN.epoch: expected a number"),
    "a batch of none": (
        "AttentionLSTM",
        "TRAIN: {batch_size: 0}",
        "TRAIN.batch_size: expected a number from 1 on",
    ),
    "many drops": (
        "NEXTVLAD",
        "TRAIN: {batch_size: 1, lr_boundary_examples: 1, max_iter: 999999999999}",
        "TRAIN.max_iter: expected at most",
    ),
    "parentheses": ("TSN", f'TRAIN: {{l2_weight_decay: "{"(" * 2000}"}}', "l2_weight_decay: "),
    "dashes": ("TSN", f'TRAIN: {{l2_weight_decay: "{"-" * 30_000}1"}}', "weight_decay: "),
    "a product": ("TSN", 'TRAIN: {l2_weight_decay: "9**9**9"}', r"weight_decay: .*9\*\*9\*\*9"),
    "no key": ("TSN", 'TRAIN: {l2_weight_decay: "{[]: 1}"}', "weight_decay: "),
    "a complex number": ("TSN", 'TRAIN: {l2_weight_decay: "1j"}', "weight_decay: .*'1j'"),
}


@pytest.mark.parametrize(("model", "text", "problem"), V1.values(), ids=V1)
def test_values_of_2019_of_another_kind_are_named_with_their_key(
    tmp_path: Path, model: str, text: str, problem: str
) -> None:
    name = {"AttentionLSTM": "attention_lstm"}.get(model, model.lower())
    path = tmp_path / "hostile.yaml"
    more = "" if name != "attention_lstm" else ", feature_names: [rgb], feature_dims: [8]"
    path.write_text(f"MODEL: {{name: {model}, num_classes: 2{more}}}\n{text}\n")
    with pytest.raises(ConfigError, match=problem) as raised:
        load_config(path)
    assert "hostile.yaml" in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_value_that_nobody_thought_of_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(reader: object) -> None:
        reader.get("TRAIN.epoch").append(1)  # pyright: ignore

    monkeypatch.setitem(files.READERS, "tsn", read)
    raw = {"MODEL": {"name": "TSN"}, "TRAIN": {"epoch": 3}}
    with pytest.raises(ConfigError, match=r"x\.yaml: TRAIN\.epoch: cannot be 3"):
        translate(raw, source="x.yaml")
