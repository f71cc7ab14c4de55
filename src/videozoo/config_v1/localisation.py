"""The 2019 YAML files of BMN, BSN's two stages and C-TCN."""

from __future__ import annotations

from typing import Any

from videozoo.config_v1.reader import Reader
from videozoo.errors import ConfigError

_ANCHORS = {"num_anchors": 7, "total_num_anchors": 1785, "img_size": 512}
"""What the anchors of the 2019 library were made for; it ignored the file's values."""
_RESIZES = ["nearest", "linear", "cubic", "area"]


def read(reader: Reader) -> None:
    """Translate a file of one of these models."""
    _training(reader)
    models = {"bmn": _bmn, "bsn_tem": _bsn_tem, "bsn_pem": _bsn_pem, "ctcn": _ctcn}
    models[reader.config.model](reader)


def _training(reader: Reader) -> None:
    """Keys that all four share."""
    for theirs, ours in (
        ("TRAIN.epoch", "train.epochs"),
        ("TRAIN.batch_size", "train.batch_size"),
        ("TRAIN.learning_rate", "train.learning_rate"),
        ("TRAIN.learning_rate_decay", "train.decay_factor"),
        ("TRAIN.l2_weight_decay", "train.weight_decay"),
        ("TRAIN.num_gpus", "train.num_gpus"),
        ("TRAIN.subset", "data.train_subset"),
        ("VALID.subset", "data.val_subset"),
        ("TEST.subset", "data.test_subset"),
        ("TEST.batch_size", "eval.batch_size"),
        ("INFER.filelist", "predict.inputs"),
        ("INFER.batch_size", "predict.batch_size"),
        ("MODEL.anno_file", "data.annotations"),
    ):
        reader.move(theirs, ours)
    reader.put("train.optimizer", "adam", "MODEL.name")
    drop = reader.get("TRAIN.lr_decay_iter")
    if drop is not None:
        reader.put("train.schedule", "steps", "TRAIN.lr_decay_iter")
        reader.put("train.decay_at", [drop], "TRAIN.lr_decay_iter")
        reader.put("train.decay_unit", "steps", "TRAIN.lr_decay_iter")
    reader.put("data.num_workers", reader.workers("TRAIN.num_threads"), "TRAIN.num_threads")
    # flags decide these, or another key says the same
    reader.drop(["TRAIN.use_gpu", "MODEL.name", "INFER.subset"])
    for section in ("VALID", "TEST", "INFER"):
        reader.drop([f"{section}.{key}" for key in ("use_gpu", "num_gpus", "num_threads")])
    if reader.section("VALID").get("batch_size") == reader.section("TRAIN").get("batch_size"):
        reader.drop(["VALID.batch_size"])


def _soft_nms(reader: Reader, alpha: float, low: float, high: float) -> None:
    """Soft-NMS with the constants in the code of the 2019 library, which ignored the file's."""
    for section, ours in (("TEST", "eval"), ("INFER", "predict")):
        options = {"alpha": alpha, "low_threshold": low, "high_threshold": high}
        reader.put(f"{ours}.soft_nms", options | {"as_in_2019": True}, f"{section}.snms_alpha")
        given = [f"snms_{key}" for key in ("alpha", "t1", "t2")]
        found = {
            key: reader.section(section)[key] for key in given if key in reader.section(section)
        }
        reader.drop([f"{section}.{key}" for key in found])
        if found:
            said = ", ".join(f"{key} {value}" for key, value in found.items())
            reader.say(
                f"{section}: {said} have no effect, as in the 2019 library, whose soft-NMS always "
                f"took {alpha:g}, {low:g} and {high:g}; to change them: --set "
                f"{ours}.soft_nms.alpha={alpha:g}"
            )
        reader.put(f"{ours}.result_form", "bmn_2019", "MODEL.name")


def _results(reader: Reader, key: str, name: str) -> None:
    """Where all segments go: RESULT_PATH/NAME_SUBSET.json."""
    for section, ours, default in (("TEST", "eval", "validation"), ("INFER", "predict", "test")):
        subset = reader.section(section).get("subset", default)
        folder = reader.get(f"{section}.{key}")
        if folder is not None:
            reader.put(f"{ours}.result_file", f"{folder}/{name}_{subset}.json", f"{section}.{key}")


def _bmn(reader: Reader) -> None:
    for theirs, ours in (
        ("tscale", "num_steps"),
        ("dscale", "num_durations"),
        ("feat_dim", "feature_dim"),
        ("prop_boundary_ratio", "boundary_ratio"),
        ("num_sample", "num_samples"),
        ("num_sample_perbin", "samples_per_bin"),
    ):
        reader.move(f"MODEL.{theirs}", f"model.{ours}")
    reader.move("MODEL.feat_path", "data.features")
    _soft_nms(reader, 0.4, 0.55, 0.9)
    _results(reader, "result_path", "bmn_results")
    reader.move("TEST.output_path", "eval.score_files")
    reader.move("INFER.output_path", "predict.score_files")


def _bsn_tem(reader: Reader) -> None:
    for theirs, ours in (
        ("tscale", "num_steps"),
        ("feat_dim", "feature_dim"),
        ("hidden_dim", "hidden_size"),
        ("gt_boundary_ratio", "region_ratio"),
    ):
        reader.move(f"MODEL.{theirs}", f"model.{ours}")
    options: dict[str, Any] = {}
    for theirs, ours in (
        ("pgm_threshold", "threshold"),
        ("pgm_top_K", "most"),
        ("pgm_top_K_train", "most_in_training"),
        ("bsp_boundary_ratio", "boundary_ratio"),
        ("num_sample_start", "num_start"),
        ("num_sample_end", "num_end"),
        ("num_sample_action", "num_action"),
        ("num_sample_perbin", "samples_per_bin"),
    ):
        value = reader.get(f"MODEL.{theirs}")
        if value is not None:
            options[ours] = value
    reader.put("model.proposals", options or None, "MODEL.pgm_top_K")
    reader.move("MODEL.feat_path", "data.features")
    reader.drop(["MODEL.pgm_thread"])
    for section, ours in (("TEST", "eval"), ("INFER", "predict")):
        reader.move(f"{section}.output_path_tem", f"{ours}.score_files")
        reader.move(f"{section}.output_path_pgm_proposal", f"{ours}.proposal_files")
        reader.move(f"{section}.output_path_pgm_feature", f"{ours}.feature_files")


def _bsn_pem(reader: Reader) -> None:
    reader.move("MODEL.feat_dim", "model.feature_dim")
    reader.move("MODEL.hidden_dim", "model.hidden_size")
    reader.move("MODEL.feat_path", "data.proposal_features")
    reader.move("MODEL.prop_path", "data.proposals")
    reader.move("INFER.feat_path", "predict.proposal_features")
    reader.move("INFER.prop_path", "predict.proposals")
    most = reader.get("TRAIN.top_K", reader.get("MODEL.top_K"))
    reader.put("data.max_proposals", most, "TRAIN.top_K")
    reader.move("TEST.top_K", "eval.max_proposals")
    reader.move("INFER.top_K", "predict.max_proposals")
    reader.drop(["MODEL.top_K", "MODEL.tscale"])
    if reader.section("VALID").get("top_K") == most:
        reader.drop(["VALID.top_K"])
    _soft_nms(reader, 0.75, 0.65, 0.9)
    _results(reader, "result_path_pem", "bsn_results")
    reader.move("TEST.output_path_pem", "eval.score_files")
    reader.move("INFER.output_path_pem", "predict.score_files")


def _ctcn(reader: Reader) -> None:
    for key, value in _ANCHORS.items():
        given = reader.get(f"MODEL.{key}", value)
        if given != value:
            raise ConfigError(
                f"{reader.config.source}: MODEL.{key}: only {value} ever worked, got {given!r}"
            )
    reader.put("model.num_steps", _ANCHORS["img_size"], "MODEL.img_size")
    reader.move("MODEL.num_classes", "model.num_classes")
    reader.move("MODEL.concept_size", "model.feature_dim")
    reader.move("MODEL.snippet_length", "data.snippet_length")
    reader.move("MODEL.root", "data.features")
    reader.put("train.optimizer", "sgd", "MODEL.name")
    reader.move("TRAIN.momentum", "train.momentum")
    reader.move("TRAIN.filelist", "data.annotations")
    reader.move("VALID.filelist", "data.val_annotations")
    reader.move("TEST.filelist", "data.test_annotations")
    reader.move("TEST.class_label_file", "data.class_names")
    reader.move("TEST.video_duration_file", "data.durations")
    reader.put("data.resize", "nearest", "MODEL.name")
    changes = {"random_move": True, "random_crop": True, "resize": _RESIZES}
    reader.put("data.augment", changes, "MODEL.name")
    pairs: dict[str, list[Any]] = {}
    for section, ours in (("TRAIN", "data"), ("TEST", "eval"), ("INFER", "predict")):
        pair = [reader.get(f"{section}.{stream}") for stream in ("rgb", "flow")]
        if None not in pair:
            pairs[section] = pair
            reader.put(f"{ours}.streams", pair, f"{section}.rgb")
    valid = [reader.section("VALID").get(stream) for stream in ("rgb", "flow")]
    if valid == pairs.get("TEST"):
        reader.drop(["VALID.rgb", "VALID.flow"])
    thresholds = {
        "score_thresh": ("score_threshold", 0.001),
        "nms_thresh": ("nms_threshold", 0.8),
        "sigma_thresh": ("sigma", 0.9),
        "soft_thresh": ("least_score", 0.004),
    }
    given = {key: reader.get(f"TEST.{key}", default) for key, (_, default) in thresholds.items()}
    options = {ours: given[key] for key, (ours, _) in thresholds.items()}
    values = "_".join(str(value) for value in given.values())
    # prediction used those of TEST, too
    for ours, mode in (("eval", "test"), ("predict", "infer")):
        name = f"CTCN_{mode}_res_decode_{values}.json"
        reader.put(f"{ours}.class_nms", options, "TEST.nms_thresh")
        reader.put(f"{ours}.result_file", name, "MODEL.name")
        reader.put(f"{ours}.result_form", "ctcn_2019", "MODEL.name")
        reader.translation.sections[ours]["max_segments"] = None  # all of them
