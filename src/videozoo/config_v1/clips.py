"""The 2019 YAML files of TSN, TSM, StNet and Non-local."""

from __future__ import annotations

from videozoo.config_v1.reader import Reader, read_shared_keys
from videozoo.errors import ConfigError


def kinetics(reader: Reader) -> None:
    """TSN, TSM and StNet: the kinetics reader."""
    read_shared_keys(reader)
    reader.move("INFER.kinetics_labels", "data.class_names")
    reader.put("train.schedule", "steps", "MODEL.name")
    model = reader.config.model
    reader.move("MODEL.num_classes", "model.num_classes")
    reader.move("MODEL.num_layers", "model.depth")
    reader.move("MODEL.seglen", "model.frames_per_segment")
    segments = reader.get("MODEL.seg_num")
    in_train = reader.get("TRAIN.seg_num") if model != "tsm" else None
    reader.put(
        "model.num_segments",
        in_train or segments,
        "TRAIN.seg_num" if in_train else "MODEL.seg_num",
    )
    reader.move("MODEL.topk", "predict.top_k")
    reader.move("MODEL.image_mean", "data.mean")
    reader.move("MODEL.image_std", "data.std")
    reader.drop(["MODEL.format"])  # the files tell
    reader.move("TRAIN.short_size", "data.short_side")
    reader.move("TRAIN.target_size", "data.crop_size")
    reader.move("TRAIN.l2_weight_decay", "train.weight_decay")
    reader.move("TRAIN.total_videos", "train.videos_per_epoch")
    if reader.get("TRAIN.fix_random_seed"):
        reader.put("train.seed", 0, "TRAIN.fix_random_seed")
    if model == "tsm":
        reader.move("TRAIN.decay_epochs", "train.decay_at")
    else:
        epochs = reader.number("TRAIN.epoch")
        if epochs is not None:
            reader.put("train.decay_at", [epochs / 3, epochs * 2 / 3], "TRAIN.epoch")
    if model != "tsm":
        for section, ours in (("TEST", "eval"), ("INFER", "predict")):
            reader.move(f"{section}.seg_num", f"{ours}.num_segments")
        if reader.config.sections.get("VALID", {}).get("seg_num") == (in_train or segments):
            reader.drop(["VALID.seg_num"])
    for section, ours in (("TEST", "eval"), ("INFER", "predict")):
        reader.move(f"{section}.short_size", f"{ours}.short_side")
        reader.move(f"{section}.target_size", f"{ours}.crop_size")
    dali = reader.get("TRAIN.use_dali")  # that reader kept the aspect ratio
    reader.put("data.resize", "keep_aspect" if dali else "fixed_4_3", "MODEL.name")
    reader.put("data.resize_with", "pillow", "MODEL.name")
    reader.drop([f"{section}.use_dali" for section in ("VALID", "TEST", "INFER")])
    reader.put("data.crops", "multi_scale" if model == "tsm" else "random", "MODEL.name")
    reader.put("data.flip", 0.5, "MODEL.name")
    reader.drop(["TRAIN.num_trainers", "TRAIN.trainer_id"])


def nonlocal_net(reader: Reader) -> None:
    """Non-local: dense clips, Caffe2's pixel scale, Nesterov momentum."""
    read_shared_keys(reader)
    reader.move("INFER.kinetics_labels", "data.class_names")
    reader.put("train.schedule", "steps", "MODEL.name")
    for theirs, ours in (
        ("MODEL.num_classes", "num_classes"),
        ("MODEL.fc_init_std", "fc_init_std"),
        ("MODEL.bn_epsilon", "bn_epsilon"),
        ("MODEL.bn_momentum", "bn_momentum"),
        ("MODEL.bn_init_gamma", "bn_init_gamma"),
        ("MODEL.use_affine", "use_affine"),
        ("RESNETS.num_groups", "num_groups"),
        ("RESNETS.width_per_group", "width_per_group"),
        ("NONLOCAL.layer_mod", "nonlocal_mod"),
        ("NONLOCAL.conv3_nonlocal", "nonlocal_res3"),
        ("NONLOCAL.conv4_nonlocal", "nonlocal_res4"),
        ("NONLOCAL.conv_init_std", "nonlocal_init_std"),
        ("NONLOCAL.use_maxpool", "nonlocal_maxpool"),
        ("NONLOCAL.use_scale", "nonlocal_scale"),
        ("NONLOCAL.use_bn", "nonlocal_bn"),
        ("NONLOCAL.use_affine", "nonlocal_affine"),
        ("NONLOCAL.bn_epsilon", "nonlocal_bn_epsilon"),
        ("NONLOCAL.bn_momentum", "nonlocal_bn_momentum"),
        ("NONLOCAL.bn_init_gamma", "nonlocal_bn_gamma"),
        ("NONLOCAL.use_zero_init_conv", "nonlocal_zero_init"),
        ("TRAIN.video_length", "num_frames"),
        ("TRAIN.dropout_rate", "dropout"),
    ):
        reader.move(theirs, f"model.{ours}")
    without_bias = reader.get("NONLOCAL.no_bias")
    if without_bias is not None:
        reader.put("model.nonlocal_bias", not without_bias, "NONLOCAL.no_bias")
    arc = reader.get("MODEL.video_arc_choice")
    if arc is not None:
        if arc not in (1, 2, 3, 4):
            raise ConfigError(
                f"{reader.config.source}: MODEL.video_arc_choice: expected 1 C2D-50, 2 I3D-50, "
                f"3 C2D-101 or 4 I3D-101, got {arc!r}"
            )
        depth = 50 if arc in (1, 2) else 101
        stated = reader.get("MODEL.depth", depth)
        if stated != depth:
            raise ConfigError(
                f"{reader.config.source}: MODEL.depth is {stated}, but MODEL.video_arc_choice "
                f"{arc} is a network of depth {depth}; change one of them"
            )
        reader.put("model.depth", depth, "MODEL.video_arc_choice")
        reader.put("model.temporal_convs", arc in (2, 4), "MODEL.video_arc_choice")
    else:
        reader.move("MODEL.depth", "model.depth")
    if reader.get("NONLOCAL.use_softmax", True) is not True:
        raise ConfigError(
            f"{reader.config.source}: NONLOCAL.use_softmax: only True ever worked; remove the key"
        )
    for theirs, ours in (("MODEL.image_mean", "data.mean"), ("MODEL.image_std", "data.std")):
        value = reader.number(theirs)
        if value is not None:
            reader.put(ours, [value / 255.0] * 3, theirs)
    reader.move("TRAIN.crop_size", "data.crop_size")
    reader.move("TRAIN.sample_rate", "data.frame_stride")
    jitter = reader.numbers("TRAIN.jitter_scales")
    if jitter is not None:
        if len(jitter) != 2:
            raise reader.misfit("TRAIN.jitter_scales", "the smallest and the largest short side")
        low, high = jitter
        reader.put("data.short_side", low, "TRAIN.jitter_scales")
        reader.put("data.short_side_jitter", [low, high], "TRAIN.jitter_scales")
    reader.put("data.resize", "keep_aspect", "MODEL.name")
    reader.put("data.resize_with", "plain", "MODEL.name")
    reader.put("data.flip", 0.5, "MODEL.name")
    reader.put("train.nesterov", reader.get("TRAIN.nesterov", True), "TRAIN.nesterov")
    reader.move("TRAIN.weight_decay", "train.weight_decay")
    reader.move("TRAIN.weight_decay_bn", "train.weight_decay_norms")
    sizes = reader.numbers("TRAIN.step_sizes")
    if sizes is not None:
        bounds = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        reader.put("train.decay_at", bounds, "TRAIN.step_sizes")
        reader.put("train.decay_unit", "steps", "TRAIN.step_sizes")
    for section, ours in (("TEST", "eval"), ("INFER", "predict")):
        crops = {0: 1, 1: 3, 2: 6}.get(reader.number(f"{section}.use_multi_crop", 0), 1)
        views = reader.number(f"{section}.num_test_clips")
        reader.put(f"{ours}.num_crops", crops, f"{section}.use_multi_crop")
        if views is not None:
            reader.put(f"{ours}.num_clips", views // crops, f"{section}.num_test_clips")
        reader.move(f"{section}.crop_size", f"{ours}.crop_size")
        scales = reader.numbers(f"{section}.jitter_scales")
        if scales is not None:
            reader.put(f"{ours}.short_side", scales[0], f"{section}.jitter_scales")
    train = reader.config.sections.get("TRAIN", {})
    for section in ("VALID", "TEST", "INFER"):
        for key in ("sample_rate", "video_length"):
            if reader.config.sections.get(section, {}).get(key) == train.get(key):
                reader.drop([f"{section}.{key}"])
    # The 2019 test list repeats every video 30 times, without its class. The list with the classes
    # is filename_gt; the views come from the settings above.
    if reader.get("TEST.filename_gt"):
        reader.move("TEST.filename_gt", "data.test")
    reader.drop(["TEST.dataset_size", "TEST.checkpoint_dir", "INFER.checkpoint_dir"])
    reader.drop(["TRAIN.max_iter", "TRAIN.scale_momentum", "RESNETS.trans_func"])
