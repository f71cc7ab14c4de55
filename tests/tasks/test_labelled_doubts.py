"""What is doubtful about class folders is told before features are made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from videozoo.data.labelled_doubts import doubts
from videozoo.data.labelled_videos import all_videos, remarks
from videozoo.errors import DataError
from videozoo.settings.tags import FeatureData


def lay_out(*names: str) -> FeatureData:
    """Class folders of files with different contents."""
    for name in names:
        path = Path("set", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode().ljust(64))
    return FeatureData(videos=Path("set"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_is_said_of_sound_folders():
    data = lay_out("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4")
    assert [*doubts(data), *remarks(data)] == []


def test_one_video_in_two_classes_or_twice_in_one_is_told():
    data = lay_out("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4", "c/1.mp4", "c/2.mp4")
    shutil.copy("set/a/1.mp4", "set/b/3.mp4")
    shutil.copy("set/c/1.mp4", "set/c/3.mp4")
    said = list(doubts(data))
    assert len(said) == 2
    assert "different classes" in said[0]
    assert "a/1.mp4 = b/3.mp4" in said[0]
    assert "c/1.mp4 = c/3.mp4" in said[1]


def test_classes_of_one_video_and_one_class():
    assert "'b'" in next(doubts(lay_out("a/1.mp4", "a/2.mp4", "b/1.mp4")))
    shutil.rmtree("set/b")
    with pytest.raises(DataError, match="of one class, 'a'"):
        list(doubts(lay_out("a/1.mp4")))


def test_images_and_loose_videos_are_left_out_and_told():
    data = lay_out("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4", "a/photo.jpg", "loose.mp4")
    said = "\n".join(remarks(data))
    assert "a/photo.jpg" in said
    assert "loose.mp4" in said
    assert [path.name for path in all_videos(data)] == ["1.mp4", "2.mp4"] * 2


def test_an_empty_class_folder_is_refused():
    Path("set/void").mkdir(parents=True)
    with pytest.raises(DataError, match="no videos in class folder 'void'"):
        list(doubts(lay_out("a/1.mp4", "b/1.mp4")))
