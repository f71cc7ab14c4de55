"""When the frames of videos are shown, for annotations that count frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from videozoo.data.annotations.segment_types import FrameTimes
from videozoo.data.files import videos_under
from videozoo.data.frames.video import open_video
from videozoo.data.text import of_video
from videozoo.data.video_names import names_apart, video_name
from videozoo.errors import DataError, VideoError, few

_UNEVEN = 0.5  # frames by which a frame may be early or late at an even rate


class VideoTimes:
    """Frame rates, frames and lengths of video files, by name; each file is opened once."""

    def __init__(
        self, files: Mapping[str, Path], *, num_bytes: Mapping[Path, int | None] | None = None
    ) -> None:
        """Take files by name; see `under` for all of a folder.

        Args:
            files: Names of videos -> their files.
            num_bytes: Sizes that files must have; one of another size is another video.
        """
        self._files = dict(files)
        self._num_bytes = dict(num_bytes or {})
        self._twice: dict[str, list[Path]] = {}
        self._known: dict[Path, FrameTimes | None] = {}
        self.unreadable: list[str] = []
        """Files that could not be read, and why."""

    @classmethod
    def under(cls, folder: Path) -> VideoTimes:
        """The videos below a folder, by their names (see `video_names`) and by their paths there.

        Raises:
            DataError: It is no folder, or holds no videos.
        """
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder of videos")
        paths = videos_under(folder)
        if not paths:
            raise DataError(f"{folder}: holds no videos")
        found = cls({})
        by_name: dict[str, list[Path]] = {}
        for path, apart in zip(paths, names_apart(paths, root=folder), strict=True):
            inside, name = path.relative_to(folder), video_name(path)
            for each in {apart, name, inside.as_posix(), (inside.parent / name).as_posix()}:
                by_name.setdefault(each, []).append(path)
        found._files = {name: held[0] for name, held in by_name.items() if len(held) == 1}
        found._twice = {name: held for name, held in by_name.items() if len(held) > 1}
        return found

    def path(self, name: str) -> Path | None:
        """The file of a video; None if there is none.

        Raises:
            DataError: Several files have this name.
        """
        twice = of_video(name, self._twice)
        if twice is not None:
            raise DataError(f"{name}: several videos have this name: {few(map(str, twice))}")
        return of_video(name, self._files)

    def __call__(self, name: str) -> FrameTimes | None:
        """When the frames of a video are shown; None if it is not at hand or does not tell."""
        path = self.path(name)
        if path is None:
            return None
        if path not in self._known:
            try:
                self._known[path] = frame_times(path) if self._is_same(path) else None
            except (VideoError, OSError) as error:
                self.unreadable.append(str(error))
                self._known[path] = None
        return self._known[path]

    def _is_same(self, path: Path) -> bool:
        wanted = self._num_bytes.get(path)
        if wanted is None or path.stat().st_size == wanted:
            return True
        self.unreadable.append(f"{path}: is of another size than when its features were made")
        return False


def frame_times(path: Path) -> FrameTimes | None:
    """When the frames of a video file are shown; None if it does not tell, as folders of images.

    Raises:
        VideoError: It cannot be read.
    """
    with open_video(path) as reader:
        starts, count, rate = reader.frame_seconds, reader.num_frames, reader.info.frames_per_second
    if rate is None and starts and starts[-1] > 0:
        rate = (count - 1) / starts[-1]
    if not rate:
        return None
    is_even = starts is None or all(
        abs(seconds * rate - number) <= _UNEVEN for number, seconds in enumerate(starts)
    )
    return FrameTimes(rate, count, None if is_even else starts)
