"""Check features of videos by name: a folder, packs, HDF5 files, the file of one video."""

from __future__ import annotations

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.features.by_name import FeatureFiles
from videozoo.tasks.check_data.beside import look_beside
from videozoo.tasks.check_data.feature_survey import feature_findings, survey_features
from videozoo.tasks.check_data.findings import missing_notes, refuse_write_good, report
from videozoo.tasks.check_data.parts import CheckRequest


def run_features(request: CheckRequest, config: RunConfig | None, out: Console) -> None:
    """Check the features at the path of the request.

    Raises:
        DataError: Something cannot be used.
        VideozooError: There is nothing to check, or the result cannot be written.
    """
    refuse_write_good(request)
    assert request.path is not None
    files = FeatureFiles(request.path)
    survey = survey_features(files)
    beside = look_beside(request, videos=request.videos, features=None)
    seconds = {} if beside.videos is None else beside.videos.seconds
    found = feature_findings(survey, seconds)
    if beside.videos is not None:
        place = beside.videos.path
        found.notes += missing_notes(
            list(files), list(beside.videos.reports), what="video", of=str(files.path), place=place
        )
        report([found, beside.videos.findings], request, out, kind="features", what="the features")
        return
    report([found], request, out, kind="features", what="the features")
