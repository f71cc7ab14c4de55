"""A run is one YAML file: what is accepted, what is refused, and how it says so."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from videozoo.config import RunConfig, describe, describe_file, from_layers, load_config
from videozoo.config_v1 import parse
from videozoo.engine.settings import TwoStageTrainSettings
from videozoo.errors import ConfigError, UsageError
from videozoo.models import list_models, model_spec
from videozoo.types import FeatureShape, Stream

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
SHIPPED = sorted((ROOT / "configs").rglob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_config_loads_and_builds(path: Path):
    config = load_config(path)

    assert config.spec.settings.model_validate(config.model.model_dump()) == config.model


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_a_config_of_its_name(name: str):
    assert load_config(ROOT / "configs" / f"{name}.yaml").name == name


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_what_is_written_down_reads_back_the_same(path: Path, tmp_path: Path):
    config = load_config(path)

    again = load_config(write(tmp_path, config.to_yaml()))

    assert again.as_dict() == config.absolute().as_dict()


def test_every_mistake_is_listed_at_once_with_the_nearest_key(tmp_path: Path):
    path = write(
        tmp_path,
        "model: {name: tsm, num_segment: 8}\ntrain: {epochs: many, learning_rate: 1e-2}\n"
        "dta: {train: x}\n",
    )

    with pytest.raises(ConfigError) as error:
        load_config(path)

    message = str(error.value)
    assert f"{path}: model.num_segment: unknown key; did you mean 'num_segments'?" in message
    assert f"{path}: train.epochs:" in message
    assert "got 'many'" in message
    assert f"{path}: dta: unknown section; did you mean 'data'?" in message


@pytest.mark.parametrize(
    ("model", "mistake", "message"),
    [
        # the key, what was expected, what was got: whatever the type
        ("tsm", {"data": {"train": ["a", "b"]}}, "data.train: expected one path or null, got ['a'"),
        ("tsm", {"data": {"short_side": 1.5}}, "data.short_side: expected a whole number from 1"),
        ("tsm", {"data": {"flip": 2}}, "data.flip: expected a number from 0 to 1, got 2"),
        ("tsm", {"data": {"mean": [1, 2]}}, "data.mean: expected a list of 3 numbers, got [1, 2]"),
        ("tsm", {"data": {"std": [1, "b", 1]}}, "data.std.1: expected a number, got 'b'"),
        ("tsm", {"train": {"nesterov": "x"}}, "train.nesterov: expected true or false, got 'x'"),
        ("tsm", {"train": {"epochs": None}}, "train.epochs: expected a whole number of at least 1"),
        ("tsm", {"train": {"learning_rate": float("inf")}}, "expected a finite number above 0"),
        (
            "tsm",
            {"train": {"decay_at": 3}},
            "a list of numbers, got 3; one value is written as [3]",
        ),
        ("bmn", {"data": {"resize": "z"}}, "'nearest', 'linear', 'cubic', 'area' or 'refuse', got"),
        ("bmn", {"data": {"augment": 3}}, "data.augment: expected keys and values (random_move, "),
        ("bmn", {"data": {"train_subset": 5}}, "data.train_subset: expected text or null, got 5"),
        (
            "ets",
            {"data": {"references": "a"}},
            "data.references: expected a list of paths, got 'a'",
        ),
        # the keys of the section in which the mistake stands
        ("bmn", {"data": {"augment": {"random_mov": 1}}}, "did you mean 'random_move'?"),
        ("bmn", {"eval": {"soft_nms": {"zz": 1}}}, "known in eval.soft_nms: alpha, low_threshold"),
        ("nextvlad", {"model": {"streams": [{"nam": 1}]}}, "streams.0.nam: unknown key; did you"),
        ("nextvlad", {"model": {"streams": []}}, "entries with keys (name, dim, half_step, size)"),
        (
            "bsn",
            {"train": {"second_stage": {"schedule": "steps"}}},
            "train: second_stage: decay_at",
        ),
        # what fits alone, and not with the rest
        ("bmn", {"data": {"streams": ["a", "a"]}}, "data.streams: 'a' stands there twice"),
        ("tsm", {"eval": {"crop_size": 500}}, "eval.crop_size: crop_size 500 does not fit into"),
        ("tsm", {"predict": {"short_side": 9}}, "predict.short_side: crop_size 224 does not fit"),
        ("nonlocal", {"eval": {"num_segments": 5}}, "eval.num_segments: has no effect on nonlocal"),
    ],
)
def test_a_mistake_is_told_in_plain_words(model: str, mistake: dict[str, Any], message: str):
    sections = {**mistake, "model": {"name": model} | mistake.get("model", {})}

    with pytest.raises(ConfigError) as error:
        from_layers([("x.yaml", sections)])

    assert message in str(error.value)
    assert "valid" not in str(error.value)


@pytest.mark.parametrize("model", ["attention_cluster", "attention_lstm", "nextvlad"])
def test_two_streams_of_one_name_are_refused(model: str):
    streams = [{"name": "rgb", "dim": 8}, {"name": "rgb", "dim": 8}]

    with pytest.raises(ConfigError, match=r"model\.streams: two streams have the name 'rgb'"):
        from_layers([("x.yaml", {"model": {"name": model, "streams": streams}})])
    with pytest.raises(ConfigError, match="two streams have the name 'rgb'"):
        FeatureShape(streams=[Stream(name="rgb", dim=8), Stream(name="rgb", dim=4)])


def test_overrides_win_and_are_remembered(tmp_path: Path):
    path = write(tmp_path, "model: {name: tsn, num_classes: 7}\ntrain: {epochs: 3}\n")

    config = load_config(
        path,
        overrides=["train.epochs=5", "data.flip=0", "train.learning_rate=1e-3"],
        flags={"train.batch_size": ("--batch_size", 4), "train.seed": ("--seed", None)},
    )

    assert (config.train.epochs, config.train.batch_size, config.data.flip) == (5, 4, 0.0)
    assert config.train.learning_rate == 1e-3
    assert config.origins["train.epochs"] == "--set train.epochs"
    shown = describe(config)
    assert "batch_size: 4" in shown
    assert "# --batch_size" in shown
    assert f"# {path}" in shown


def test_a_bad_override_names_itself(tmp_path: Path):
    path = write(tmp_path, "model: {name: tsn}\n")

    with pytest.raises(UsageError, match=r"--set epochs: expected section\.key=value"):
        load_config(path, overrides=["epochs"])
    with pytest.raises(ConfigError, match=r"--set train\.epoch: train\.epoch: unknown key"):
        load_config(path, overrides=["train.epoch=3"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected sections"),
        ("- a\n", "expected sections"),
        ("model: [\n", "not a usable YAML file"),
        ("model: {depth: 50}\n", "model.name is missing"),
        ("model: {name: tms}\n", "unknown model 'tms'; did you mean 'ts"),
        ("model: {name: tsm, depth: 51}\n", "model.depth"),
        ("model: {name: tsm}\ntrain: 3\n", "train: expected keys and values"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, message: str):
    path = write(tmp_path, text)

    with pytest.raises(ConfigError) as error:
        load_config(path)

    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_misspelt_file_name_gets_its_neighbour():
    with pytest.raises(ConfigError, match=r"did you mean .*tsm\.yaml"):
        load_config(ROOT / "configs" / "tsmm.yaml")


def v1_of(recorded: str) -> RunConfig:
    """The configuration stored with a recorded set, through the reader of 2019 files."""
    meta = json.loads((GOLDEN / recorded / "meta.json").read_text())
    folder = GOLDEN / recorded
    assert folder.exists()
    from videozoo import config_v1
    from videozoo.config import from_layers

    translated = config_v1.translate(meta["config"], source=recorded)
    return from_layers([(recorded, translated.sections)], origins=translated.origins)


def test_a_2019_tsn_file_keeps_its_meaning():
    config = v1_of("tsn")

    assert config.name == "tsn"
    assert (config.model.depth, config.model.num_segments, config.model.num_classes) == (50, 3, 11)
    assert config.eval.num_segments == 7
    assert config.train.decay_at == (15.0, 30.0)
    assert config.train.videos_per_epoch == 224684
    assert (config.data.resize, config.data.resize_with) == ("fixed_4_3", "pillow")


def test_a_2019_nonlocal_file_keeps_its_meaning():
    config = v1_of("nonlocal_arc2_affine")

    assert config.name == "nonlocal"
    assert config.model.temporal_convs
    assert config.model.use_affine
    assert config.train.nesterov
    assert config.train.weight_decay_norms == 0.0
    assert config.train.decay_at == (150000.0, 300000.0, 400000.0)
    assert (config.eval.num_clips, config.eval.num_crops) == (10, 3)
    assert config.data.mean == pytest.approx((0.45, 0.45, 0.45))


def test_a_2019_bmn_file_keeps_its_meaning_and_the_constants_of_its_code():
    config = v1_of("bmn")

    assert (config.model.feature_dim, config.model.num_steps, config.model.num_durations) == (
        16,
        20,
        20,
    )
    assert config.train.optimizer == "adam"
    assert (config.train.decay_at, config.train.decay_unit) == ((4200.0,), "steps")
    assert config.data.train_subset == "train"
    nms = config.eval.soft_nms  # not those of the file, which nothing read
    assert (nms.alpha, nms.low_threshold, nms.high_threshold) == (0.4, 0.55, 0.9)
    assert nms.as_in_2019
    assert config.eval.result_file == Path("data/evaluate_results/bmn_results_validation.json")
    assert config.predict.result_file == Path("data/predict_results/bmn_results_test.json")


def test_2019_files_of_both_stages_of_bsn_keep_their_meaning():
    first, second = v1_of("bsn_tem"), v1_of("bsn_pem")

    assert (first.model.hidden_size, first.model.region_ratio) == (24, 0.1)
    assert (first.model.proposals.most_in_training, first.model.proposals.most) == (500, 1000)
    assert first.data.test_subset == "train_val"
    assert first.eval.feature_files == Path("data/output/EVAL/PGM_feature")
    assert second.data.proposal_features == first.eval.feature_files
    assert second.predict.proposals == first.predict.proposal_files
    assert (second.data.max_proposals, second.eval.max_proposals) == (50, 100)
    nms = second.eval.soft_nms
    assert (nms.alpha, nms.low_threshold, nms.high_threshold) == (0.75, 0.65, 0.9)
    assert second.train.weight_decay == 1e-5


def test_a_2019_ctcn_file_keeps_its_meaning():
    config = v1_of("ctcn")

    assert (config.model.num_classes, config.model.feature_dim) == (5, 6)
    assert config.data.streams[0].endswith("_train")
    assert config.eval.streams[0].endswith("_val")
    assert config.data.resize == "nearest"
    assert config.data.augment.random_crop
    assert config.eval.class_nms.sigma == 0.9
    assert config.predict.class_nms == config.eval.class_nms
    assert str(config.eval.result_file) == "CTCN_test_res_decode_0.001_0.8_0.9_0.004.json"
    assert config.eval.max_segments is None
    assert config.train.momentum == 0.9


def test_settings_of_soft_nms_that_2019_never_read_are_told(tmp_path: Path):
    path = write(tmp_path, "MODEL: {name: BMN}\nTRAIN: {epoch: 1}\nTEST: {snms_alpha: 0.001}\n")

    (note,) = load_config(path).notes

    assert "snms_alpha 0.001 have no effect, as in the 2019 library" in note


def test_anchors_of_ctcn_were_made_for_one_length(tmp_path: Path):
    path = write(tmp_path, "MODEL: {name: CTCN, img_size: 256}\nTRAIN: {epoch: 1}\n")

    with pytest.raises(ConfigError, match=r"MODEL\.img_size: only 512 ever worked, got 256"):
        load_config(path)


def test_the_second_stage_of_bsn_trains_as_the_first_but_for_what_is_said(tmp_path: Path):
    text = "model: {name: bsn}\ntrain: {seed: 5, epochs: 9, second_stage: {epochs: 4}}\n"

    train = load_config(write(tmp_path, text)).train
    assert isinstance(train, TwoStageTrainSettings)
    first, second = train.stages()

    assert (first.epochs, second.epochs, first.seed, second.seed) == (9, 4, 5, 5)
    bad = text.replace("epochs: 4", "decay_at: [3]")
    with pytest.raises(ConfigError, match="decay_at"):
        load_config(write(tmp_path, bad))


def test_2019_text_values_become_numbers():
    raw = yaml.safe_load("MODEL: {name: ETS}\nTRAIN: {l2_weight_decay: 1e-4, pretrain: 'None'}\n")

    assert parse(raw).sections["TRAIN"] == {"l2_weight_decay": 1e-4, "pretrain": None}


@pytest.mark.parametrize(
    "name",
    [
        "AttentionCluster",
        "AttentionLSTM",
        "NEXTVLAD",
        "NONLOCAL",
        "STNET",
        "TSM",
        "TSN",
        "CTCN",
        "BMN",
        "BSNTEM",
        "BSNPEM",
        "ETS",
        "TALL",
        "BsnTem",
        "BsnPem",
    ],
)
def test_every_2019_model_name_is_known(name: str):
    assert parse({"MODEL": {"name": name}, "TRAIN": {}}).model


def test_2019_mistakes_name_the_files_own_key(tmp_path: Path):
    path = write(
        tmp_path,
        "MODEL: {name: TSN, seg_num: three}\nTRAIN: {epoch: 45, learning_rate: fast}\n",
    )

    with pytest.raises(ConfigError) as error:
        load_config(path)

    assert f"{path}: MODEL.seg_num: model.num_segments" in str(error.value)
    assert f"{path}: TRAIN.learning_rate: train.learning_rate" in str(error.value)


def test_2019_keys_without_effect_are_noted_once(tmp_path: Path):
    path = write(tmp_path, "MODEL: {name: TSN}\nTRAIN: {epoch: 3, colour: red, use_gpu: True}\n")

    assert load_config(path).notes == (f"{path}: TRAIN.colour has no effect",)


def test_a_2019_model_that_is_not_here_yet_says_so(tmp_path: Path):
    missing = {"bmn", "ets"} - set(list_models())
    for name in missing:
        path = write(tmp_path, f"MODEL: {{name: {name.upper()}}}\nTRAIN: {{epoch: 1}}\n")
        with pytest.raises(ConfigError, match="not in this version of videozoo"):
            load_config(path)
        assert "epoch: 1" in describe_file(path)


def test_settings_are_documented_field_by_field():
    for name in list_models():
        fields = model_spec(name).settings.model_fields
        assert all(field.description for field in fields.values()), name


def test_a_batch_changed_on_the_command_line_is_told_about_its_rate(tmp_path: Path):
    path = write(tmp_path, "model: {name: tsm}\ntrain: {batch_size: 128, learning_rate: 0.01}\n")

    def notes(**flags: Any) -> tuple[str, ...]:
        given = {f"train.{key}": (f"--{key}", value) for key, value in flags.items()}
        return load_config(path, flags=given).notes

    assert notes(batch_size=16) == (
        "train.batch_size is 16 in place of 128, and the learning rate stays 0.01; "
        "to scale it with the batch: --set train.learning_rate_batch_size=128",
    )
    assert notes(batch_size=128) == ()
    assert notes(batch_size=16, learning_rate=0.1) == ()
    assert notes(batch_size=16, learning_rate_batch_size=128) == ()
    assert notes(epochs=3) == ()


def test_values_that_do_not_go_together_are_told_by_the_flags_that_say_them(tmp_path: Path):
    path = write(tmp_path, "model: {name: tsn}\n")

    with pytest.raises(ConfigError, match=r"\n  --set data\.short_side: data: crop_size 224"):
        load_config(path, overrides=["data.short_side=64"])
