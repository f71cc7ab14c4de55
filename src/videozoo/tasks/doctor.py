"""Look at the machine and the installation: what works, what is missing, what to do about it.

Everything that could crash is tried in a process of its own: a broken package is only a line of
the result. For this reason no package is imported at the top of this file.

`--json` prints the same as one object: `videozoo`, `kind` ("doctor"), `format` (1), and `findings`,
each with `group`, `name`, `mark` ("ok", "note" or "problem"), `value` and `advice`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal, cast

from videozoo import __version__
from videozoo.data.frames.pool import Outcome, run_apart
from videozoo.errors import DataError, RunError, VideozooError, counted
from videozoo.safe_names import shown
from videozoo.safe_sums import is_kept
from videozoo.weights.cache import cache_folder

Mark = Literal["ok", "note", "problem"]

_PURPOSES = {
    "report": "charts in report.html",
    "tensorboard": "train --tensorboard",
    "export": "ONNX files: export, and predict with them",
    "lite0": "the built-in encoder efficientnet_lite0",
    "encoders": "encoders of Hugging Face",
    "dev": "tests and checks of videozoo itself",
}
_TESTED_TORCH = (2, 13)
_CODECS = ("h264", "hevc", "vp9", "av1", "vp8", "mpeg4", "mpeg2video", "mjpeg", "h263")
_MODULES = {"pillow": "PIL", "pyyaml": "yaml", "import-linter": "importlinter"}
"""Package -> its module, if the names differ."""
_LIMIT_SECONDS = 300.0  # the first import of torch from a slow disk is slow
_UNSUMMED = "no checksum is kept (an earlier version, or a file alone)"
_SMALL_SHM_BYTES = 1 << 30
_SMALL_DISK_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was examined."""

    group: Literal["packages", "machine", "video", "extras", "weights"]
    name: str
    mark: Mark
    value: str
    advice: str = ""
    """What to do; empty if nothing needs to be done."""


def run(*, weights: str | None = None, as_json: bool = False) -> list[Finding]:
    """Examine the machine and the installation, and print the findings.

    Args:
        weights: A run folder or weights file to try as well.
        as_json: Print JSON in place of the table.

    Raises:
        RunError: Something that videozoo needs does not work.
    """
    findings = examine(weights)
    if as_json:
        print(json.dumps(_as_json(findings), indent=1))
    else:
        _show(findings)
    problems = [finding for finding in findings if finding.mark == "problem"]
    if problems:
        lines = [f"{finding.name}: {finding.advice or finding.value}" for finding in problems]
        count = "1 thing that is needed does" if len(problems) == 1 else f"{len(problems)} do"
        raise RunError("\n  ".join([f"{count} not work:", *lines]))
    return findings


def _as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "videozoo": __version__,
        "kind": "doctor",
        "format": 1,
        "findings": [asdict(finding) for finding in findings],
    }


def _show(findings: Sequence[Finding]) -> None:
    try:
        from rich.console import Console

        from videozoo.report.tables import doctor_table

        Console().print(doctor_table([asdict(finding) for finding in findings]))
    except Exception:  # rich may be what is broken
        for finding in findings:
            print(f"{finding.mark:<8} {finding.name:<18} {finding.value}")
    advice = list(dict.fromkeys(finding.advice for finding in findings if finding.advice))
    if not advice:
        print("nothing to do")
        return
    print("What to do")
    for line in advice:
        print(f"  {shown(line)}")


def examine(weights: str | None = None) -> list[Finding]:
    """Examine everything; raises nothing, whatever is broken."""
    requirements = read_requirements()
    answers = _try_all(requirements)
    findings = [
        Finding(
            group="packages",
            name="videozoo",
            mark="ok",
            value=f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        ),
        *_stale(),
        *_needed(requirements, answers),
        *_torch(answers.get("torch facts", Outcome())),
        *_machine(),
        *_video(answers.get("codecs", Outcome())),
        *_extras(requirements, answers),
    ]
    if weights is not None:
        findings.append(_weights(weights))
    return findings


# --- packages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Requirement:
    """One package that videozoo requires: a line `Requires-Dist` of its metadata."""

    package: str
    least: str
    """The lowest version; "" for any."""
    extra: str
    """The extra that needs it; "" if it is always needed."""


def read_requirements(lines: Iterable[str] | None = None) -> list[Requirement]:
    """The packages that videozoo needs, from its installed metadata or from `lines`.

    >>> read_requirements(["av>=17.1", "onnx >=1.17 ; extra == 'export'"])[1]
    Requirement(package='onnx', least='1.17', extra='export')
    """
    if lines is None:
        try:
            lines = metadata.requires("videozoo") or ()
        except metadata.PackageNotFoundError:  # run from a folder, never installed
            lines = ()
    found: list[Requirement] = []
    for line in lines:
        text, _, marker = line.partition(";")
        name = re.match(r"\s*([A-Za-z0-9._-]+)", text)
        least = re.search(r">=\s*([0-9][0-9a-z.]*)", text)
        extra = re.search(r"extra\s*==\s*['\"](.+?)['\"]", marker)
        if name:
            found.append(
                Requirement(name[1].lower(), least[1] if least else "", extra[1] if extra else "")
            )
    return found


def _try_all(requirements: Sequence[Requirement]) -> dict[str, Outcome]:
    """Import every package, and ask torch and PyAV what they can do."""
    packages = [each.package for each in requirements if each.extra != "dev"]
    jobs = ["torch facts", "codecs", *packages]
    try:
        return dict(run_apart(_answer, jobs, workers=1, limit_seconds=lambda _: _LIMIT_SECONDS))
    except DataError as error:
        return dict.fromkeys(jobs, Outcome(failure="crashed", reason=str(error)))


def _answer(job: str) -> dict[str, Any]:
    """Examine one thing; runs in a process of its own."""
    if job == "torch facts":
        return _torch_facts()
    if job == "codecs":
        return _codec_facts()
    return _import_facts(job)


def _import_facts(package: str) -> dict[str, Any]:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return {"missing": True}
    module = _MODULES.get(package, package.replace("-", "_"))
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            return {"missing": True}
        return {"version": version, "error": f"{error}"}
    except BaseException as error:  # a broken package may raise anything, SystemExit too
        first = (str(error).strip().splitlines() or [""])[0]
        return {"version": version, "error": f"{type(error).__name__}: {first}"[:300]}
    return {"version": version}


def _needed(
    requirements: Sequence[Requirement], answers: Mapping[str, Outcome]
) -> Iterator[Finding]:
    needed = [each for each in requirements if not each.extra]
    if not needed:
        yield Finding(
            group="packages",
            name="videozoo",
            mark="note",
            value="not installed, only found in this folder",
            advice="pip install -e . in its folder, so that what it needs is installed too",
        )
    for each in needed:
        state, version = _state(each, answers.get(each.package, Outcome()))
        line = _pip(f"{each.package}>={each.least}" if each.least else each.package)
        yield Finding(
            group="packages",
            name=each.package,
            mark="problem" if state else "ok",
            value=f"{version} {state}".strip(),
            advice=line if state else "",
        )


def _state(each: Requirement, outcome: Outcome) -> tuple[str, str]:
    """Return what is wrong with a package ("" if nothing), and its version."""
    facts: dict[str, Any] = outcome.value or {}
    version = str(facts.get("version", ""))
    if outcome.failure:
        return f"cannot be imported: {outcome.reason}", version
    if facts.get("missing"):
        return "missing", ""
    if "error" in facts:
        return f"cannot be imported: {facts['error']}", version
    if each.least and _numbers(version) < _numbers(each.least):
        return f"is too old, {each.least} or newer is needed", version
    return "", version


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version.

    >>> _numbers("2.13.0+cpu") < _numbers("2.13.1")
    True
    """
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _pip(what: str, *, checkout: Path | None = None) -> str:
    """The command that installs `what` into the running Python."""
    folder = checkout or _checkout()
    constraints = folder / "constraints.txt" if folder else None
    beside = shutil.which("pip")
    is_ours = beside is not None and Path(beside).parent == Path(sys.executable).parent
    words = ["pip"] if is_ours else [sys.executable, "-m", "pip"]
    words.append("install")
    if constraints is not None and constraints.exists():
        words += ["-c", _near(constraints)]
    return f"{shlex.join(words)} {shlex.quote(what)}"


def _near(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _checkout() -> Path | None:
    """The folder with pyproject.toml, if videozoo runs from its source."""
    folder = Path(__file__).parents[3]
    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
        return folder if tomllib.loads(text)["project"]["name"] == "videozoo" else None
    except (OSError, ValueError, KeyError):
        return None


def _stale() -> Iterator[Finding]:
    """Whether the installed description is older than the source it points to."""
    folder = _checkout()
    if folder is None:
        return
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines: list[str] = list(project["dependencies"])
    for extra, packages in cast(dict[str, list[str]], project["optional-dependencies"]).items():
        lines += [f"{package}; extra == '{extra}'" for package in packages]
    if set(read_requirements(lines)) == set(read_requirements()):
        return
    line = _pip("-e").removesuffix(" -e")
    yield Finding(
        group="packages",
        name="videozoo",
        mark="note",
        value="its source asks for other packages than when it was installed",
        advice=f"{line} -e {shlex.quote(_near(folder))}",
    )


def _extras(
    requirements: Sequence[Requirement], answers: Mapping[str, Outcome]
) -> Iterator[Finding]:
    for extra in dict.fromkeys(each.extra for each in requirements if each.extra):
        if extra == "dev":
            continue
        wanted = [each for each in requirements if each.extra == extra]
        states = [
            (each.package, *_state(each, answers.get(each.package, Outcome()))) for each in wanted
        ]
        shown = ", ".join(
            f"{package} {version} {state}".replace("  ", " ").strip()
            for package, state, version in states
        )
        bad = any(state for _, state, _ in states)
        purpose = _PURPOSES.get(extra, "")
        advice = f"for {purpose or extra}: {_pip(f'videozoo[{extra}]')}" if bad else ""
        yield Finding(
            group="extras",
            name=f"[{extra}]",
            mark="note" if bad else "ok",
            value=f"{shown} ({purpose})" if purpose else shown,
            advice=advice,
        )


# --- torch and the machine -----------------------------------------------------------------------


def _torch_facts() -> dict[str, Any]:
    """The devices that PyTorch sees; a small convolution shows that it computes."""
    import torch

    facts: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": getattr(torch.version, "hip", None),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cpu_bf16": bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()),
        "mps": torch.backends.mps.is_available(),
        "gpus": [],
    }
    torch.nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 16, 16)).sum().item()
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            torch.ones(8, 8, device=f"cuda:{number}").sum().item()
            facts["gpus"].append(
                {
                    "name": properties.name,
                    "bytes": properties.total_memory,
                    "capability": f"{properties.major}.{properties.minor}",
                }
            )
        facts["bf16"] = torch.cuda.is_bf16_supported()
    return facts


def _torch(outcome: Outcome) -> Iterator[Finding]:
    if outcome.failure:
        yield Finding(
            group="machine", name="torch", mark="problem", value=f"does not run: {outcome.reason}"
        )
        return
    facts: dict[str, Any] = outcome.value
    numbers = _numbers(facts["version"])[:2]
    if numbers != _TESTED_TORCH:
        tested = ".".join(map(str, _TESTED_TORCH))
        yield Finding(
            group="packages",
            name="torch",
            mark="note",
            value=f"{facts['version']}; videozoo is tested with {tested}",
        )
    yield _gpu(facts)
    yield Finding(
        group="machine",
        name="threads",
        mark="ok",
        value=f"{facts['threads']} for a network on the CPU ({facts['cpu']}, "
        f"{'with' if facts['cpu_bf16'] else 'without'} bf16 instructions)",
    )


def _gpu(facts: Mapping[str, Any]) -> Finding:
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else facts["hip"] and f"ROCm {facts['hip']}"
    driver = _nvidia_driver()
    advice, mark = "", cast(Mark, "ok")
    if facts["gpus"]:
        names = ", ".join(
            f"{gpu['name']} ({gpu['bytes'] / 2**30:.0f} GiB, {gpu['capability']})"
            for gpu in facts["gpus"]
        )
        bf16 = "with" if facts.get("bf16") else "without"
        value = f"{names}, {bf16} bf16, {built}" + (f", driver {driver}" if driver else "")
    elif facts["mps"]:
        value = "Apple GPU (mps)"
    elif built:
        mark = "note"
        value = f"none, though torch is built for {built}"
        value += f" and there is a driver ({driver})" if driver else ""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            value += f"; CUDA_VISIBLE_DEVICES={visible!r}"
        elif driver:
            advice = "the driver may be too old for this torch, or in use: see `nvidia-smi`"
    elif driver:
        mark = "note"
        value = f"unused: driver {driver}, but torch is built for CPUs only"
        advice = "install a CUDA build of torch: https://pytorch.org/get-started/locally"
    else:
        value = "none; torch is built for CPUs"
    return Finding(group="machine", name="GPU", mark=mark, value=value, advice=advice)


def _nvidia_driver() -> str:
    """Version of the driver, where there is a GPU of NVIDIA's."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        done = subprocess.run(
            [tool, "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""


def _machine() -> Iterator[Finding]:
    yield Finding(group="machine", name="CPU cores", mark="ok", value=_cores())
    yield Finding(group="machine", name="memory", mark="ok", value=_memory())
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    omp = f"OMP_WAIT_POLICY {policy}, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'unset')}"
    is_spinning = policy.upper() == "ACTIVE"
    yield Finding(
        group="machine",
        name="idle threads",
        mark="note" if is_spinning else "ok",
        value=omp,
        advice="unset OMP_WAIT_POLICY: spinning threads take the cores from those that decode"
        if is_spinning
        else "",
    )
    method = multiprocessing.get_start_method(allow_none=True)
    default = method or multiprocessing.get_all_start_methods()[0]
    yield Finding(group="machine", name="workers", mark="ok", value=f"started by {default}")
    yield from _shared_memory(Path("/dev/shm"))
    yield _disk("disk here", Path.cwd())
    yield _disk("disk of the cache", cache_folder())


def _shared_memory(folder: Path) -> Iterator[Finding]:
    """Shared memory, through which workers pass their batches."""
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    small = free < _SMALL_SHM_BYTES
    yield Finding(
        group="machine",
        name=str(folder),
        mark="note" if small else "ok",
        value=f"{_gib(free)} free",
        advice="workers may run out of shared memory: docker run --shm-size=8g, or "
        "--set data.num_workers=0"
        if small
        else "",
    )


def _disk(name: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    can_write = os.access(there, os.W_OK)
    value = f"{_gib(free)} free in {folder}" + ("" if can_write else ", cannot be written")
    small = free < _SMALL_DISK_BYTES
    advice = "" if can_write or name == "disk here" else "set VIDEOZOO_CACHE to a folder of yours"
    mark: Mark = "note" if small or not can_write else "ok"
    return Finding(group="machine", name=name, mark=mark, value=value, advice=advice)


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"


def _cores() -> str:
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    text = f"{usable} usable" + (f" of {count}" if usable != count else "")
    quota = cgroup_limit("cpu.max", "cpu/cpu.cfs_quota_us")
    if quota is None:
        return text
    words = quota.split()
    period = words[1] if len(words) > 1 else cgroup_limit("", "cpu/cpu.cfs_period_us") or "100000"
    if words[0] in ("max", "-1"):
        return text
    return f"{text}; this container may use {int(words[0]) / int(period):g}"


def _memory() -> str:
    try:
        total = _gib(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        total = "unknown"
    limit = cgroup_limit("memory.max", "memory/memory.limit_in_bytes")
    if limit is None or not limit.isdigit() or int(limit) > 1 << 50:
        return total
    return f"{total}; this container may use {_gib(int(limit))}"


def cgroup_limit(
    name: str, name_v1: str, *, root: Path = Path("/sys/fs/cgroup"), own: Path | None = None
) -> str | None:
    """A limit of a container, as Linux writes it; None if there is none.

    Args:
        name: File name in version 2 of control groups.
        name_v1: Controller and file name in version 1.
        root: Where control groups are mounted.
        own: The file that names the group of this process.
    """
    places = [root / name_v1]
    try:
        groups = (own or Path("/proc/self/cgroup")).read_text().splitlines()
    except OSError:
        groups = []
    for line in groups:
        number, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if number == "0" and name:
            places[:0] = [root / below / name, root / name]
        elif name_v1.partition("/")[0] in controllers.split(","):
            places.insert(0, root / name_v1.partition("/")[0] / below / Path(name_v1).name)
    for place in places:
        try:
            return place.read_text().strip()
        except OSError:
            continue
    return None


# --- video ---------------------------------------------------------------------------------------


def _codec_facts() -> dict[str, Any]:
    """Which decoders exist, and whether a clip can be written and read again."""
    import av
    import numpy as np
    from av.codec import Codec

    from videozoo.data.frames.video import open_video
    from videozoo.data.synthetic.clips import write_video

    decoders: list[str] = []
    for name in _CODECS:
        try:
            Codec(name, "r")
            decoders.append(name)
        except Exception:  # PyAV has had several names for it
            continue
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (8, 4, 4, 3), np.uint8)
    frames = coarse.repeat(16, axis=1).repeat(16, axis=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames)
        with open_video(path) as reader:
            found = reader.read(range(reader.num_frames))
            codec = reader.info.codec
    error = float(np.abs(found.astype(float) - frames).mean()) if len(found) == 8 else 255.0
    versions = {name: ".".join(map(str, v)) for name, v in av.library_versions.items()}
    return {
        "decoders": decoders,
        "codec": codec,
        "num_frames": len(found),
        "error": error,
        "ffmpeg": getattr(av, "ffmpeg_version_info", ""),
        "libraries": versions,
    }


def _video(outcome: Outcome) -> Iterator[Finding]:
    if outcome.failure:
        yield Finding(
            group="video",
            name="decoding",
            mark="problem",
            value=f"no video can be read: {outcome.reason}",
            advice=_pip("av").replace("install", "install --upgrade", 1),
        )
        return
    facts: dict[str, Any] = outcome.value
    libraries = facts["libraries"]
    shown = ", ".join(f"{name} {libraries[name]}" for name in ("libavcodec",) if name in libraries)
    yield Finding(
        group="video", name="FFmpeg", mark="ok", value=f"{facts['ffmpeg']} ({shown})".strip()
    )
    absent = [name for name in _CODECS if name not in facts["decoders"]]
    yield Finding(
        group="video",
        name="decoders",
        mark="note" if absent else "ok",
        value=" ".join(facts["decoders"]) + (f"; not {' '.join(absent)}" if absent else ""),
        advice="the PyAV of pip brings FFmpeg with all decoders: "
        + _pip("av").replace("install", "install --force-reinstall", 1)
        if absent
        else "",
    )
    works = facts["num_frames"] == 8 and facts["error"] < 25
    yield Finding(
        group="video",
        name="a clip",
        mark="ok" if works else "problem",
        value=f"written and read again ({facts['codec']})"
        if works
        else f"comes back wrong: {facts['num_frames']} of 8 frames, off by {facts['error']:.0f}",
    )


# --- weights -------------------------------------------------------------------------------------


def _weights(text: str) -> Finding:
    """Load weights as `eval` and `predict` do at their start."""
    try:
        value = _describe_weights(text)
    except VideozooError as error:
        value = str(error).removeprefix(f"{text}: ")
        return Finding(group="weights", name=text, mark="problem", value=value)
    except Exception as error:  # torch or a damaged file may raise anything
        value = f"{type(error).__name__}: {error}"
        return Finding(group="weights", name=text, mark="problem", value=value)
    return Finding(group="weights", name=text, mark="ok", value=value)


def _describe_weights(text: str) -> str:
    from videozoo.tasks.loading import build_trained, config_for_weights
    from videozoo.tasks.requests import ConfigSource

    trained = config_for_weights(ConfigSource(), text)
    module = build_trained(trained)
    count = sum(parameter.numel() for parameter in module.parameters())
    classes = getattr(trained.config.model, "num_classes", None)
    told = "" if classes is None else f" {counted(classes, 'class')},"
    summed = "as they were written, by their checksum" if is_kept(trained.path) else _UNSUMMED
    return f"{trained.config.name},{told} {count / 1e6:.1f} M parameters; they fit; {summed}"
