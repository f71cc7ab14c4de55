"""Every hostile file through everything that reads its kind: one plain error, in little time.

Many files share a child process, whose memory and time are bounded. Pickles and PyTorch files are
read by `tests/test_safe_pickle.py`.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT.parent / "shared" / "cases" / "hostile"
KINDS = ("csv", "h5", "list", "npy", "npz", "onnx", "safetensors", "yaml")
MOST_SECONDS = 10.0
MOST_MB = 500
HARMLESS = {  # what is wrong with them is not wrong here
    "weights show st_cfg_classes_1e6.safetensors",  # only says what it holds
    "class names c_kin_inject.csv",  # any line is a name
    "class names fuzz_e_list_5e8a982b.csv",
    "class names l_bigint.list",
    "config show y_utf16.yaml",  # its mark says that it is UTF-16
}

CHILD = r"""
import contextlib, io, json, resource, sys, time, warnings
from pathlib import Path

resource.setrlimit(resource.RLIMIT_AS, (6_000_000 * 1024,) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
warnings.simplefilter("error")
folder, out, kinds = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]

from tests.peak_memory import peak_bytes

import videozoo
from videozoo.cli import main
from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.videos import read_list
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.video_labels import read_labels
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.record_formats import find_records
from videozoo.data.annotations.sentence_vectors import GivenVectors
from videozoo.errors import VideozooError

def features(path):
    found = FeatureFiles(path)
    for name in found:
        found.read(name)

def records(path):
    found = find_records(path)
    for number in range(len(found)):
        found.read(number)

def command(*words):
    def run(path):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main([word.replace("FILE", str(path)) for word in words])
        if "fault of videozoo" in said.getvalue() or "Traceback" in said.getvalue():
            raise RuntimeError(said.getvalue()[-300:])
        if status:
            raise VideozooError(said.getvalue())
    return run

LISTS = {
    "class names": read_class_names,
    "list": read_list,
    "annotations": read_annotations,
    "sentences with times": read_timed_sentences,
    "labels": read_labels,
    "records": records,
    "check-data": command("check-data", "FILE"),
}
WEIGHTS = {
    "weights show": command("weights", "show", "FILE"),
    "weights convert": command("weights", "convert", "FILE", str(out / "x.safetensors")),
    "convert as tsn": command("weights", "convert", "FILE", str(out / "x.safetensors"),
                              "--model", "tsn"),
    "predict": command("predict", "--weights", "FILE", "FILE"),
    "load": lambda path: videozoo.load(path),
}
READERS = {
    "csv": LISTS | {"features": features},
    "list": LISTS,
    "h5": {"features": features},
    "npy": {"features": features, "records": records},
    "npz": {"features": features, "records": records, "sentences": GivenVectors},
    "onnx": WEIGHTS,
    "safetensors": WEIGHTS,
    "yaml": {
        "config show": command("config", "show", "FILE"),
        "train": command("train", "--config", "FILE", "--save-dir", str(out / "run")),
    },
}

for path in (path for kind in kinds for path in sorted(folder.glob(f"*.{kind}"))):
    kind = path.suffix[1:]
    for name, read in READERS[kind].items():
        start, what, said = time.process_time(), "read", ""
        try:
            read(path)
        except VideozooError as error:
            what, said = "refused", str(error)
        except BaseException as error:
            what, said = f"{type(error).__name__}: {str(error)[-300:]}", ""
        seconds = time.process_time() - start
        print(json.dumps([f"{name} {path.name}", what, len(said), seconds]), flush=True)
print(json.dumps(peak_bytes() / 1e6))
"""


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the folder of hostile files is not here")
def test_every_file_is_one_plain_error(tmp_path: Path) -> None:
    # one process for all: starting takes longer than reading
    missing = {"h5": "h5py", "onnx": "onnxruntime"}
    kinds = [kind for kind in KINDS if kind not in missing or find_spec(missing[kind])]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(FOLDER), str(tmp_path), *kinds],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, peak_mb = map(json.loads, done.stdout.splitlines())
    assert lines
    fell_short = [
        (name, what, f"{seconds:.1f} s, {length} characters")
        for name, what, length, seconds in lines
        if not (what == "refused" or (what == "read" and name in HARMLESS))
        or seconds > MOST_SECONDS
        or length > 7000
    ]
    assert not fell_short
    assert peak_mb < MOST_MB
    assert not list(tmp_path.glob("**/CANARY"))
    assert not list(tmp_path.glob("**/*.safetensors"))
