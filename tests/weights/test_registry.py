from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from videozoo.config_v1 import MODELS
from videozoo.errors import WeightsError
from videozoo.models import list_models, model_spec
from videozoo.weights import registry, sources
from videozoo.weights.cache import cache_folder, weights_folder


def test_every_model_of_2019_has_its_published_weights():
    trained = {e.models[0]: e for e in registry.PUBLISHED if e.kind == "weights"}

    assert set(trained) == set(MODELS.values())
    assert all(entry.score for entry in trained.values())


def test_names_and_addresses_are_each_given_once():
    names = [entry.name for entry in registry.PUBLISHED]

    assert len(set(names)) == len(names)
    assert len({entry.url for entry in registry.PUBLISHED}) == len(names)
    assert len({entry.file_name for entry in registry.PUBLISHED}) == len(names)


def test_addresses_are_those_of_2019(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VIDEOZOO_WEIGHTS_URL", raising=False)
    base = "https://paddlemodels.bj.bcebos.com/"

    assert registry.find("tsm-kinetics400-2019").url == f"{base}video_classification/TSM.pdparams"
    assert registry.find("bsn-pem-activitynet-2019").url == f"{base}video_detection/BsnPem.pdparams"


def test_a_mirror_may_stand_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIDEOZOO_WEIGHTS_URL", "http://mirror.example/videozoo/")

    url = registry.find("tall-tacos-2019").url

    assert url == "http://mirror.example/videozoo/video_grounding/TALL.pdparams"


OF_2019 = {name for name in list_models() if model_spec(name).paddle}


@pytest.mark.parametrize("model", sorted(OF_2019 - {"bsn"}))  # its stages were published
def test_clip_models_have_something_to_start_from(model: str):
    weights = registry.default_for(model, "weights")

    assert weights is not None
    if model in ("tsn", "tsm", "stnet", "nonlocal"):
        start = registry.default_for(model, "pretrain")
        assert start is not None
        assert start.file_name.endswith("ResNet50_pretrained.tar.gz")


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(WeightsError, match=r"did you mean tsm-kinetics400-2019\?"):
        registry.find("tsm-kinetcs400-2019")
    with pytest.raises(WeightsError, match="see `videozoo weights list`"):
        registry.find("quite something else")


def test_models_are_found_by_any_spelling():
    assert [e.name for e in registry.published_for("BsnTem")] == ["bsn-tem-activitynet-2019"]
    with pytest.raises(WeightsError, match="nothing was published for a model 'tsmm'"):
        registry.published_for("tsmm")


def test_what_the_2019_library_downloaded_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    trained = registry.find("tsm-kinetics400-2019")
    start = registry.find("resnet50-imagenet-2019")
    assert registry.find_published(trained) is None

    old = tmp_path / ".paddle" / "weights"
    (old / "ResNet50_pretrained").mkdir(parents=True)
    assert registry.find_published(start) is None  # an empty folder: 2019 was stopped
    (old / "ResNet50_pretrained" / "conv1_weights").touch()
    (old / "TSM.pdparams").touch()

    assert registry.find_published(trained) == old / "TSM.pdparams"
    assert registry.find_published(start) == old / "ResNet50_pretrained"


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "elsewhere"))
    assert weights_folder() == tmp_path / "elsewhere" / "weights"

    monkeypatch.delenv("VIDEOZOO_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "videozoo"


def test_the_table_of_sums_can_be_filled_and_is_read(tmp_path: Path):
    table = tmp_path / "published.csv"
    digest = "0123456789abcdef" * 4
    lines = ["name,url,size,sha256", f"tsm-kinetics400-2019,https://x.org/a.pdparams,99,{digest}"]
    table.write_text("\n".join([*lines, "tsn-kinetics400-2019,,,"]) + "\n")

    found = {entry.name: entry for entry in registry.with_sums(registry.PUBLISHED, table)}

    tsm, tsn = found["tsm-kinetics400-2019"], found["tsn-kinetics400-2019"]
    assert (tsm.size, tsm.sha256, tsm.url) == (99, digest, "https://x.org/a.pdparams")
    assert (tsn.size, tsn.sha256) == (None, None)
    assert tsn.url.startswith(registry.BASE_URL)
    assert len(found) == len(registry.PUBLISHED)


def test_the_table_that_comes_with_videozoo_has_a_row_per_file():
    path = Path(registry.__file__).with_name("published.csv")
    names = [line.partition(",")[0] for line in path.read_text().splitlines()[1:]]

    assert sorted(names) == sorted(entry.name for entry in registry.PUBLISHED)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("tsm,,,", "line 2: no published weights are called 'tsm'"),
        ("tsm-kinetics400-2019,,1 MB,", "size is '1 MB', expected bytes"),
        ("tsm-kinetics400-2019,,,abc", "sha256 is 'abc', expected 64"),
        ("tsm-kinetics400-2019,file:///a,,", "url is 'file:///a', expected http or https"),
    ],
)
def test_a_wrong_row_of_the_table_is_named(tmp_path: Path, row: str, says: str):
    table = tmp_path / "published.csv"
    table.write_text(f"name,url,size,sha256\n{row}\n")

    with pytest.raises(WeightsError, match=says):
        registry.with_sums(registry.PUBLISHED, table)


def test_a_file_of_the_2019_library_that_is_not_the_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".paddle" / "weights" / "TSM.pdparams"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other")
    entry = registry.find("tsm-kinetics400-2019")

    assert sources.fetch_published(entry) == path
    known = replace(entry, sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"TSM\.pdparams: not the published file: sha256"):
        sources.fetch_published(known)
    known = replace(entry, sha256=sha256(b"other").hexdigest())
    assert sources.fetch_published(known) == path
