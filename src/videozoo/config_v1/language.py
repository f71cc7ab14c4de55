"""The 2019 YAML files of ETS and TALL."""

from __future__ import annotations

from videozoo.config_v1.reader import Reader, read_shared_keys
from videozoo.errors import ConfigError

_SECTIONS = ("TRAIN", "VALID", "TEST", "INFER")


def ets(reader: Reader) -> None:
    """Captions: Adam with the Noam schedule, beam search, lists of events."""
    read_shared_keys(reader)
    for theirs, ours in (
        ("MODEL.feat_size", "model.feature_dim"),
        ("MODEL.fc_dim", "model.embedding_size"),
        ("MODEL.gru_hidden_dim", "model.gru_size"),
        ("MODEL.decoder_size", "model.decoder_size"),
        ("MODEL.word_emb_dim", "model.word_size"),
        ("MODEL.feat_path", "data.features"),
        ("MODEL.dict_file", "data.vocabulary"),
        ("TRAIN.l2_weight_decay", "train.weight_decay"),
        ("TRAIN.clip_norm", "train.clip_gradient_norm"),
    ):
        reader.move(theirs, ours)
    for key, word in (("START", "<s>"), ("END", "<e>"), ("UNK", "<unk>")):
        if reader.get(f"MODEL.{key}", word) != word:
            raise ConfigError(
                f"{reader.config.source}: MODEL.{key} is {reader.get(f'MODEL.{key}')!r}; only "
                f"{word!r} ever worked, whose number is fixed in decoding"
            )
    reader.put("train.optimizer", "adam", "MODEL.name")
    reader.put("train.schedule", "noam", "MODEL.name")
    reader.put("train.noam_size", reader.get("MODEL.gru_hidden_dim"), "MODEL.gru_hidden_dim")
    reader.put("data.rate", 5.0, "MODEL.name")
    reader.put("data.outside", "skip", "MODEL.name")
    beam, longest = reader.get("MODEL.beam_size"), reader.get("MODEL.max_length")
    for section, name in (("eval", "ETS_test_res_.json"), ("predict", "ETS_infer_res_.json")):
        reader.put(f"{section}.beam_size", beam, "MODEL.beam_size")
        reader.put(f"{section}.max_length", longest, "MODEL.max_length")
        reader.put(f"{section}.drop_last_word_as_in_2019", True, "MODEL.name")
        reader.put(f"{section}.results_name", name, "MODEL.name")
    threads = reader.number("TRAIN.num_threads")
    if threads is not None:
        reader.put("data.num_workers", min(int(threads), 4), "TRAIN.num_threads")
    reader.drop(
        f"{section}.{key}" for section in _SECTIONS for key in ("num_threads", "buffer_size")
    )
    reader.drop(["VALID.batch_size"])  # that of evaluation is used


def tall(reader: Reader) -> None:
    """Moments: clips of TACoS with one feature file per clip, sentences as vectors."""
    read_shared_keys(reader)
    source = reader.config.source
    for theirs, ours in (
        ("MODEL.visual_feature_dim", "model.visual_dim"),
        ("MODEL.sentence_embedding_size", "model.sentence_dim"),
        ("MODEL.semantic_size", "model.semantic_size"),
        ("MODEL.hidden_size", "model.hidden_size"),
        ("TRAIN.clip_norm", "train.clip_gradient_norm"),
        ("TRAIN.clip_sentvec", "data.train"),
        ("TRAIN.sliding_clip_path", "data.clips"),
        ("TRAIN.movie_length_info", "data.lengths"),
        ("TRAIN.context_num", "data.context_clips"),
        ("TRAIN.context_size", "data.context_frames"),
        ("TEST.clip_sentvec", "data.test"),
        ("TEST.sliding_clip_path", "data.test_clips"),
        ("INFER.clip_sentvec", "predict.inputs"),
        ("INFER.sliding_clip_path", "predict.clips"),
    ):
        reader.move(theirs, ours)
    if reader.get("MODEL.output_size", 3) != 3:
        raise ConfigError(
            f"{source}: MODEL.output_size is {reader.get('MODEL.output_size')}; only 3 ever "
            "worked: a score and two offsets"
        )
    dims = {reader.number(f"{section}.sent_vec_dim") for section in _SECTIONS} - {None}
    if len(dims) > 1:
        raise ConfigError(f"{source}: sent_vec_dim differs from section to section: {dims}")
    given = {"encoder": "given", "dims": dims.pop() if dims else None}
    reader.put("data.sentences", given, "MODEL.name")
    clip = reader.number("TRAIN.feats_dimen")
    visual = reader.number("MODEL.visual_feature_dim")
    if clip is not None and visual is not None and visual != 3 * clip:
        raise ConfigError(
            f"{source}: MODEL.visual_feature_dim is {visual}, expected three times "
            f"TRAIN.feats_dimen={clip}"
        )
    reader.put("data.outside", "skip", "MODEL.name")
    reader.put("train.optimizer", "adam", "MODEL.name")
    reader.put("train.weight_decay", 0.0, "MODEL.name")
    # the 2019 library took one clip with one sentence per batch; here it is a whole video
    reader.put("eval.batch_size", 1, "TEST.batch_size")
    reader.put("predict.batch_size", 1, "INFER.batch_size")
    reader.put("eval.results_name", "TALL_test_res_.json", "MODEL.name")
    reader.put("predict.results_name", "TALL_infer_res_.json", "MODEL.name")
    # the 2019 library never validated: its reader returned nothing for VALID
    reader.drop(
        f"VALID.{key}"
        for key in ("clip_norm", "clip_sentvec", "learning_rate", "movie_length_info", "batch_size")
    )
    keys = ("context_num", "context_size", "feats_dimen", "off_size", "semantic_size")
    reader.drop(
        f"{section}.{key}"
        for section in _SECTIONS
        for key in (*keys, "sent_vec_dim", "sliding_clip_path", "filelist")
    )
