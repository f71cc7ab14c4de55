"""Check the labels of records before training or evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from videozoo.data.features.records import RecordSet
from videozoo.data.label_index import RatedIndex, rated_index
from videozoo.data.record_survey import SEGMENTS_IGNORED, Survey, survey
from videozoo.data.tag_parts import is_read_in_parts
from videozoo.data.tag_segments import frame_limit
from videozoo.errors import DataError, counted, few
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape


def check_labels(
    records: RecordSet,
    part: str,
    say: Callable[[str], None],
    *,
    num_classes: int,
    shape: FeatureShape,
    most_frames: int | None,
    class_names: Sequence[str] | None = None,
    one_class: bool = False,
) -> Survey:
    """Check the labels of records; note what is odd, refuse what cannot be used.

    Args:
        records: One part of the data.
        part: Its key: `data.train`, `data.val` or `data.test`.
        say: Prints notes for the user.
        num_classes: Classes of the model.
        shape: Features that the model reads.
        most_frames: Frames of a record that are used; later frames are ignored.
        class_names: Class names.
        one_class: Each record must have one class.

    Raises:
        DataError: No record can be used, no record has a label, a label is out of range, or there
            are several where one is expected.
    """
    found = survey(records, num_classes=num_classes, shape=shape)
    if not found.looked_at:
        raise DataError(
            f"{part}: none of the {counted(len(found.problems), 'record')} that were looked at "
            "can be used:"
            "\n  " + few(found.problems.values(), between="\n  ")
        )
    looked_at = "" if found.is_whole else f" ({found.looked_at:,} of {found.total:,} looked at)"
    in_parts = part != "data.train" and is_read_in_parts(records)
    for line in left_out(found, most_frames, in_parts=in_parts):
        say(f"note: {part}: {line}{looked_at}")
    if found.too_large is not None:
        where, label = found.too_large
        largest = max(found.counts)
        raise DataError(
            f"{where}: label {label}, expected 0 to {num_classes - 1}; labels run from "
            f"{min(found.counts)} to {largest}: set model.num_classes={largest + 1}, or leave them "
            f"out: videozoo prepare youtube8m --num-classes {num_classes}"
        )
    if not found.labelled:
        raise DataError(
            f"{part}: none of the {counted(found.looked_at, 'record')} of {_source(records)} that "
            f"were looked at has a label{_of_videos(found)}; "
            f"{_ADVICE.get(part, _ADVICE['data.test'])}"
        )
    if one_class and (found.counts.total() != found.labelled or found.labelled < found.looked_at):
        raise DataError(
            f"{part}: {counted(found.counts.total(), 'label')} of "
            f"{counted(found.looked_at, 'record')} that were looked at, but with "
            "train.loss=softmax each has one class; set train.loss=sigmoid"
        )
    if unlabelled := found.looked_at - found.labelled:
        say(f"note: {part}: {unlabelled:,} of {counted(found.looked_at, 'record')} have no label")
    if part == "data.train":
        for line in _of_classes(found, num_classes, class_names):
            say(f"note: {part}: {line}{looked_at}")
    return found


def check_ratings(
    records: RecordSet,
    part: str,
    say: Callable[[str], None],
    *,
    num_classes: int,
    shape: FeatureShape,
    data: FeatureData,
    class_names: Sequence[str] | None = None,
    skip_bad: bool = True,
) -> RatedIndex:
    """Find the rated segments of records, and check them; note what is odd.

    Args:
        records: One part of the data.
        part: Its key: `data.train`, `data.val` or `data.test`.
        say: Prints notes for the user.
        num_classes: Classes of the model.
        shape: Features that the model reads.
        data: Which frames are used.
        class_names: Class names.
        skip_bad: Go on without records that cannot be used.

    Raises:
        DataError: No segment is rated, no class is there in any, a class is out of range, or a
            record cannot be used.
    """
    index = rated_index(
        records, segment_frames=data.segment_frames, most_frames=frame_limit(records, data)
    )
    if index.problems and not skip_bad:
        raise DataError(next(iter(index.problems.values())))
    if not len(index):
        raise DataError(
            f"{part}: none of the {counted(len(records), 'record')} of {_source(records)} has "
            "segments that people rated, in frames that are used; the validation part of "
            "YouTube-8M 2019 has them, as TFRecords; for labels of whole videos set "
            "data.segments=false"
        )
    survey(records, shape=shape)  # a record that does not fit the model at all
    present = index.counts(num_classes)
    absent = index.counts(num_classes, present=False)
    videos = len(set(index.records.tolist()))
    say(
        f"{part}: {counted(len(index), 'segment')} of {counted(videos, 'video')}, "
        f"{counted(index.ratings, 'rating')}: {sum(present):,} present, {sum(absent):,} absent"
    )
    if not sum(present):
        raise DataError(f"{part}: no class is rated present in any segment; nothing can be found")
    if index.outside:
        say(
            f"note: {part}: {counted(len(index.outside), 'rated segment')} left out, for they "
            f"start after the last frame that is used: {few(index.outside)}"
        )
    if index.cut:
        say(
            f"note: {part}: {counted(len(index.cut), 'rated segment')} cut, because frames that "
            f"they name are not there or not used: {few(index.cut)}"
        )
    if index.problems:
        say(
            f"note: {part}: {counted(len(index.problems), 'record')} cannot be used: "
            f"{few(index.problems.values())}"
        )
    if part == "data.train":
        never = [label for label in range(num_classes) if not present[label]]
        if never:
            shown = few(class_names[label] if class_names else label for label in never)
            say(
                f"note: {part}: {len(never):,} of {counted(num_classes, 'class')} never rated "
                f"present, so that nothing is learnt of how they look: {shown}"
            )
    return index


def left_out(found: Survey, most_frames: int | None, *, in_parts: bool = False) -> Iterator[str]:
    """Notes about content of records that no model reads, or not at once.

    Args:
        found: What the records hold.
        most_frames: Frames of a record that are used.
        in_parts: Those after them are used too; see `data.tag_parts`.
    """
    if found.segment_rated:
        yield SEGMENTS_IGNORED
    if most_frames is None or found.longest <= most_frames:
        return
    if in_parts:
        yield (
            f"up to {counted(found.longest, 'frame')} per video: long ones are read in parts of at "
            f"most data.max_frames={most_frames}, as in training, and what is said of the parts is "
            "averaged"
        )
    else:
        yield (
            f"records have up to {counted(found.longest, 'frame')}; those beyond data.max_frames="
            f"{most_frames} are not used (null uses all)"
        )


def refuse_other_numbers(one: Survey, other: Survey, shape: FeatureShape) -> None:
    """Refuse training on floating-point features with validation on bytes, or the reverse.

    Raises:
        DataError: A stream of the model holds bytes in one part only.
    """
    for stream in shape.streams:
        ours, theirs = (
            {held.dtype for held in part.streams if held.name == stream.name}
            for part in (one, other)
        )
        if ours and theirs and ("uint8" in ours) != ("uint8" in theirs):
            raise DataError(
                f"{stream.name} holds {' and '.join(sorted(ours))} in data.val, but "
                f"{' and '.join(sorted(theirs))} in data.train; take features of one kind"
            )


_ADVICE = {
    "data.train": "there is nothing to learn from: `videozoo extract --labels FILE` adds labels",
    "data.val": "nothing tells which epoch is best; name others, or train without: --set "
    "data.val=null",
    "data.test": "there is nothing to compare with; `videozoo predict` does without labels",
}


def _source(records: RecordSet) -> str:
    more = len(records.files) - 1
    return str(records.files[0].path) + (f" and {more} more files" if more else "")


def _of_videos(found: Survey) -> str:
    return " of the whole video" if found.segment_rated else ""


def _of_classes(found: Survey, num_classes: int, names: Sequence[str] | None) -> list[str]:
    """Notes about classes that are on every record, or on none."""

    def named(classes: Sequence[int]) -> str:
        return few(names[c] if names else c for c in classes)

    lines: list[str] = []
    if len(found.counts) == 1 and num_classes > 1:
        (label,) = found.counts
        lines.append(
            f"all labels are of one class, {named([label])}: a model that always says it is right"
        )
    never = [c for c in range(num_classes) if not found.counts[c]]
    if never and (found.is_whole or len(never) < num_classes // 2):
        verb = "is" if len(never) == 1 else "are"
        lines.append(
            f"{len(never):,} of {counted(num_classes, 'class')} {verb} on no record, so that "
            f"nothing is learnt of them: {named(never)}"
        )
    return lines
