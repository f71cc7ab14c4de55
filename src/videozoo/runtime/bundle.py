"""Open a bundle: a folder with graphs, a description and the sums of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from videozoo import safe_sums
from videozoo.errors import WeightsError
from videozoo.runtime.description import FORMAT, MOST_BYTES, NAME, VERSION, Section
from videozoo.safe_json import parse_json
from videozoo.weights.onnx_graphs import OnnxGraph, open_onnx


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, whose files are as they were written."""

    folder: Path
    about: Section

    def file(self, name: str) -> Path:
        """A file of the bundle.

        Raises:
            WeightsError: It lies outside, is not there, or has no sum.
        """
        path = self.folder / name
        home = self.folder.resolve()
        if Path(name).is_absolute() or not path.resolve().is_relative_to(home):
            raise WeightsError(f"{self.folder / NAME}: names a file outside its folder: {name}")
        if not path.is_file():
            raise WeightsError(f"{path}: not there; a bundle is one folder, copy all of it")
        if name not in safe_sums.read_sums(self.folder):
            raise WeightsError(
                f"{path}: {safe_sums.NAME} has no sum of it, so that nothing tells whether it is "
                "whole; export the bundle again"
            )
        return path

    def graph(self, name: str) -> OnnxGraph:
        """Open a graph of the bundle in onnxruntime.

        Raises:
            WeightsError: See `file`; or it is damaged, or holds what is never run.
        """
        return open_onnx(self.file(name))


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle; every file with a kept sum is compared with it.

    Raises:
        WeightsError: It is none, is damaged, or of a later version.
    """
    path = folder / NAME
    if not path.is_file():
        raise WeightsError(
            f"{folder}: no bundle: there is no {NAME} in it; `videozoo export --bundle` writes one"
        )
    bundle = Bundle(folder, Section({}, str(path)))
    bundle.file(NAME)
    try:
        for name in safe_sums.read_sums(folder):
            bundle.file(name)
        faults = safe_sums.faults_in(folder)
        if faults:
            raise WeightsError(f"{faults[0]}; copy the bundle again, or export it again")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be read: {error.strerror}") from None
    if len(text) > MOST_BYTES:
        raise WeightsError(f"{path}: larger than {MOST_BYTES >> 20} MiB, which no description is")
    try:
        content = parse_json(text)
    except ValueError as error:
        raise WeightsError(f"{path}: is no JSON: {error}") from None
    about = Section(content, str(path))
    if about.choice("format", FORMAT) and about.whole("version", 1) > VERSION:
        by = about.text("videozoo")
        raise WeightsError(f"{path}: written by videozoo {by}, which is newer; update videozoo")
    return Bundle(folder, about)
