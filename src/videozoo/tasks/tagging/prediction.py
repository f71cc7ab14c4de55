"""Tag videos, from their features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videozoo.config import RunConfig
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import RecordSet
from videozoo.data.record_survey import survey
from videozoo.data.tag_parts import is_read_in_parts
from videozoo.errors import DataError
from videozoo.report.answers import VideoAnswer
from videozoo.report.tables import prediction_table
from videozoo.results import Label, VideoLabels
from videozoo.runtime.rows import row_of_tags
from videozoo.tasks.common import names_of_classes
from videozoo.tasks.features import check_features
from videozoo.tasks.jobs import Shortfall
from videozoo.tasks.predict import Pictures, Predicted, Prediction, PredictJob, picture_per_row
from videozoo.tasks.tagging import segments
from videozoo.tasks.tagging.labels import left_out
from videozoo.tasks.tagging.pictures import draw_attention
from videozoo.tasks.tagging.scoring import VideoTags, score_records, tagging_model

_MOST_LOOKED_AT = 200  # records, to note unused content


def _predicted(job: PredictJob) -> Predicted[Any]:
    config, request = job.config, job.request
    records = input_records(request.inputs, config, strict=request.strict)
    check_features(records.extractor, job.trained, job.say)
    if config.data.segments:
        return segments.predicted(job, records)
    looked_at = survey(records, most=_MOST_LOOKED_AT)
    in_parts = is_read_in_parts(records)
    job.note(left_out(looked_at, config.data.max_frames, in_parts=in_parts))
    module = job.model(tagging_model)
    names = names_of_classes(job.trained, config)
    scored = score_records(
        module,
        config,
        config.predict,
        records,
        job.accelerator,
        skip_bad=job.skip_bad,
        attention=request.explain,
        show=True,
    )
    rows = [row_of_tags(labels_of(each, names)) for each in scored.by_number.values()]
    skipped = [*records.damaged, *scored.skipped.values()]

    def draw(folder: Path) -> Pictures:
        pictures = draw_attention(scored.by_number, names, records, config, folder)
        return picture_per_row(rows, pictures, folder, "pictures of attention")

    return Predicted(
        results=list(scored.by_number.values()),
        facts={"predictions": rows, "skipped": skipped},
        shortfall=Shortfall(failed=skipped, total=len(rows) + len(skipped)),
        table=lambda: prediction_table(rows),
        draw=draw if request.explain else None,
        answers=lambda: [
            VideoAnswer(result=labels_of(each, names)) for each in scored.by_number.values()
        ],
    )


predict = Prediction(run=_predicted)


def input_records(inputs: Sequence[str], config: RunConfig, *, strict: bool = True) -> RecordSet:
    """Features to predict on: shards, pickles, packs, folders, patterns and lists.

    Without inputs, `predict.inputs` of the configuration is used.

    Raises:
        DataError: An input does not exist, or holds no features.
    """
    if not inputs:
        listed: Path | None = config.predict.inputs
        if listed is None:
            raise DataError(
                "no videos and no features: name files, folders or lists, or set predict.inputs"
            )
        inputs = (str(listed),)
    data = config.data
    found: list[RecordSet] = []
    damaged: list[str] = []
    for text in inputs:
        path = Path(text)
        try:
            found.append(find_records(path, root=data.root, kind=data.format, strict=strict))
        except DataError as error:
            if strict or len(inputs) == 1 or not path.is_file():
                raise
            damaged.append(str(error))
    if not found:
        raise DataError(f"none of the files can be used:\n  {damaged[0]}")
    damaged += [problem for records in found for problem in records.damaged]
    return RecordSet([file for records in found for file in records.files], damaged)


def labels_of(found: VideoTags, names: Sequence[str]) -> VideoLabels:
    """The tags of a video, the best first."""
    labels = tuple(Label(names[number], score, number) for number, score in found.tags)
    return VideoLabels(video=found.name, labels=labels)
