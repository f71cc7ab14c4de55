"""Compare targets, proposals, anchors, suppression and result files of localisation with 2019's.

Not here: the networks' losses and BMN's sampling mask, C-TCN's reader and augmentation.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.parity import golden
from tools.parity.rows import Row
from videozoo.metrics.proposals import ProposalCounter
from videozoo.ops.anchors import AnchorCoder
from videozoo.ops.boundary_targets import boundary_targets, window_overlaps
from videozoo.ops.proposal_generation import (
    best_overlaps,
    boundary_mask,
    decode_boundary_maps,
    generate_proposals,
    proposal_features,
    result_entries,
)
from videozoo.ops.soft_nms import lowering_nms, nms, soft_nms, suppress_by_class
from videozoo.types import Candidates

EXACT = 0.0
SUMS = 1e-12
"""Absolute; float64, operations perhaps in another order."""
STORED = 1e-6
"""Absolute; recorded as float32."""
METRIC = 1e-9
SETS = ("bsn_post", "bmn_post", "ctcn_post", "anet_eval")

FloatArray = NDArray[np.float64]
Videos = Mapping[str, Mapping[str, Any]]


def covers(name: str) -> bool:
    """Whether a recorded set of this name is of localisation."""
    return name.startswith(SETS)


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    checks: dict[str, Callable[[Path], Iterator[Row]]] = {
        "bsn_post": _bsn,
        "bmn_post": _bmn,
        "ctcn_post": _ctcn,
        "anet_eval": _activitynet,
    }
    for name, checker in checks.items():
        if folder.name.startswith(name):
            yield from checker(folder)


def _bsn(folder: Path) -> Iterator[Row]:
    meta, data = golden.meta(folder), golden.arrays(folder, "data")
    videos = _annotations(folder)
    config = meta["pgm_config"]
    steps, worst = config["tscale"], _Worst()
    rng = random.Random(_seed(meta["random_seed"]))
    for name in meta["order"]:
        scores = _table(folder / "tem_csv" / f"{name}.csv")
        texts = np.stack([scores[column] for column in ("start", "end", "action")])
        worst.add("scores as in tem_csv", texts.astype(np.float32), data[f"tem/{name}"], EXACT)
        if f"label/{name}/start" in data:
            targets = boundary_targets(
                _shares(videos[name]),
                steps,
                width_steps=1,
                width_share=meta["gt_boundary_ratio"],
            )
            for kind, ours in zip(("start", "end", "action"), targets, strict=True):
                worst.add(f"targets: {kind}", ours, data[f"label/{name}/{kind}"], SUMS)
        for kind, edge in (("start", 0), ("end", -1)):
            mask = boundary_mask(scores[kind], config["pgm_threshold"])
            mask[edge] = True
            worst.add(f"mask of {kind}s", mask, data[f"mask_{kind}/{name}"], EXACT)
        is_training = videos[name]["subset"] == "training"
        top_k = config["pgm_top_K_train" if is_training else "pgm_top_K"]
        proposals = generate_proposals(
            scores["start"],
            scores["end"],
            threshold=config["pgm_threshold"],
            top_k=top_k,
            rng=rng,
        )
        columns = {
            "xmin": proposals.segments[:, 0],
            "xmax": proposals.segments[:, 1],
            "xmin_score": proposals.start_scores,
            "xmax_score": proposals.end_scores,
            "score": proposals.scores,
        }
        overlaps = best_overlaps(proposals.segments, _shares(videos[name]))
        columns |= dict(zip(("match_iou", "match_ioa"), overlaps, strict=True))
        recorded = data[f"prop/{name}"]
        for place, column in enumerate(meta["prop_columns"][: recorded.shape[1]]):
            worst.add(f"proposals: {column}", columns[column], recorded[:, place], SUMS)
        features = proposal_features(
            scores["action"],
            recorded[:, :2],
            num_action=config["num_sample_action"],
            num_start=config["num_sample_start"],
            num_end=config["num_sample_end"],
            samples_per_bin=config["num_sample_perbin"],
            boundary_ratio=config["bsp_boundary_ratio"],
        )
        worst.add("features of proposals", features, data[f"bsp/{name}"], STORED)
    yield from worst.rows()
    for key in sorted(key.split("/")[0] for key in data if re.fullmatch(r"snms\d+/in", key)):
        yield _soft_nms(key, data[f"{key}/in"], data)
    yield from _bsn_results(folder, videos)


def _bsn_results(folder: Path, videos: Videos) -> Iterator[Row]:
    ours: dict[str, Any] = {}
    for path in sorted((folder / "pem_csv").glob("*.csv")):
        table = _table(path)
        candidates = Candidates(
            np.stack((table["xmin"], table["xmax"]), axis=1),
            table["xmin_score"] * table["xmax_score"] * table["iou_score"],
        )
        kept = soft_nms(
            candidates, alpha=0.75, low_threshold=0.65, high_threshold=0.9, as_in_2019=True
        )
        duration = videos[path.stem]["duration_second"]
        ours[path.stem[2:]] = result_entries(kept, duration)
    yield from _results(ours, next(folder.glob("bsn_results_*.json")))


def _bmn(folder: Path) -> Iterator[Row]:
    meta, data = golden.meta(folder), golden.arrays(folder, "data")
    videos, worst, ours = _annotations(folder), _Worst(), dict[str, Any]()
    steps, durations = meta["tscale"], meta["dscale"]
    for place, name in enumerate(meta["videos"]):
        segments = _shares(videos[name])
        start, end, _ = boundary_targets(segments, steps, width_steps=3)
        worst.add("targets: start", start, data[f"label/{name}/start"], SUMS)
        worst.add("targets: end", end, data[f"label/{name}/end"], SUMS)
        overlaps = window_overlaps(segments, durations, steps)
        worst.add("targets: overlaps", overlaps, data[f"label/{name}/iou_map"], STORED)

        predicted = [data[f"pred/{name}/{kind}"] for kind in ("bm", "start", "end")]
        found = decode_boundary_maps(*predicted)
        table = _table(folder / "props_csv" / f"{name}.csv")
        recorded = np.stack((table["xmin"], table["xmax"]), axis=1)
        worst.add("proposals: segments", found.segments, recorded, SUMS)
        worst.add("proposals: scores", found.scores, table["score"], SUMS)
        kept = soft_nms(found, alpha=0.4, low_threshold=0.55, high_threshold=0.9, as_in_2019=True)
        ours[name[2:]] = result_entries(kept, videos[name]["duration_second"])
        if f"snms{place}/alpha_t1_t2" in data:
            rows = np.column_stack((found.segments, found.scores))
            worst.keep(_soft_nms(f"snms{place}", rows, data))
    yield from worst.rows()
    yield from _results(ours, next(folder.glob("bmn_results_*.json")))


def _ctcn(folder: Path) -> Iterator[Row]:
    meta, data = golden.meta(folder), golden.arrays(folder, "data")
    coder, worst = AnchorCoder(), _Worst()
    worst.add("anchors", coder.anchors, data["default_boxes"], EXACT)
    quirks = golden.arrays(folder, "encode_lone_anchor_quirk")
    for kind, arrays in (("enc", data), ("q", quirks)):
        for key in _numbered(kind, "boxes", arrays):
            offsets, labels = coder.encode(arrays[f"{key}/boxes"], arrays[f"{key}/labels"])
            what = "targets" if kind == "enc" else "targets, a lone anchor"
            worst.add(f"{what}: labels", labels, arrays[f"{key}/cls_targets"], EXACT)
            worst.add(f"{what}: offsets", offsets, arrays[f"{key}/loc_targets"], SUMS)

    nms_threshold, sigma, most, least = _nms_options(meta["arrays"]["nmsK"])
    for key in _numbered("nms", "boxes", data):
        boxes, scores = data[f"{key}/boxes"], data[f"{key}/scores"]
        kept = nms(boxes, scores, threshold=nms_threshold)
        worst.add("nms: kept", kept, data[f"{key}/keep_union"], EXACT)
        weights: tuple[Callable[[FloatArray], FloatArray], ...] = (
            lambda overlaps: np.where(overlaps > most, 0.0, 1.0),
            lambda overlaps: np.where(overlaps > most, 1 - overlaps, 1.0),
            lambda overlaps: np.exp(-np.square(overlaps) / sigma),
        )
        for method, weight_of in enumerate(weights):
            order, lowered = lowering_nms(boxes, scores, weight_of=weight_of, least_score=least)
            rows = np.column_stack((boxes[order], lowered))
            worst.add(f"soft-NMS, method {method}", rows, data[f"{key}/soft_method{method}"], SUMS)

    limits = meta["thresholds"]
    names = (folder / "labels.txt").read_text("utf-8").splitlines()
    lines = (folder / "dur.list").read_text("utf-8").splitlines()
    seconds = {line.split()[0]: float(line.split()[-1]) for line in lines}
    results: dict[str, Any] = {}
    for place, key in enumerate(_numbered("dec", "boxes", data)):
        found = suppress_by_class(
            coder.decode(
                data[f"{key}/loc_preds"],
                data[f"{key}/cls_preds"],
                score_threshold=limits["score_thresh"],
            ),
            nms_threshold=limits["nms_thresh"],
            sigma=limits["sigma_thresh"],
            least_score=limits["soft_thresh"],
        )
        boxes = found.segments * coder.num_steps
        worst.add("decoded: segments", boxes, data[f"{key}/boxes"], SUMS * coder.num_steps)
        worst.add("decoded: labels", found.labels, data[f"{key}/labels"], EXACT)
        worst.add("decoded: scores", found.scores, data[f"{key}/scores"], SUMS)
        video = meta["names"][place]
        results[video] = result_entries(found, seconds[video], classes=[n.strip() for n in names])
    yield from worst.rows()
    for path in sorted(folder.glob("result_*.json")):
        recorded = json.loads(path.read_text("utf-8"))["results"]
        known = {video: results[video] for video in recorded if video in results}
        yield from _results(known, path)


def _nms_options(description: str) -> tuple[float, ...]:
    """The threshold of NMS; sigma, Nt and the least score of soft-NMS."""
    number = r"(\d*\.?\d+)"
    words = ("keep indices at", "sigma", "Nt", "threshold")
    found = [re.search(rf"{word} {number}", description) for word in words]
    assert all(found), description
    return tuple(float(each[1]) for each in found if each)


def _activitynet(folder: Path) -> Iterator[Row]:
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    videos = json.loads((folder / "gt.json").read_text("utf-8"))["database"]
    results = json.loads((folder / "proposals.json").read_text("utf-8"))["results"]
    for subset, recorded in expected.items():
        truth = {
            name: [each["segment"] for each in video["annotations"]]
            for name, video in videos.items()
            if subset in video["subset"]
        }
        counter = ProposalCounter(truth)
        for name, entries in results.items():
            segments = [entry["segment"] for entry in entries]
            counter.update(name, segments, [entry["score"] for entry in entries])
        result = counter.result()
        yield Row(f"{subset}: videos", abs(result.videos - recorded["num_gt_videos"]), EXACT)
        proposals = abs(result.proposals - recorded["num_proposals"])
        yield Row(f"{subset}: proposals", proposals, EXACT)
        for count in sorted(int(key[2:]) for key in recorded if re.fullmatch(r"AR\d+", key)):
            error = abs(100 * result.average_recall_at(count) - recorded[f"AR{count}"])
            yield Row(f"{subset}: AR@{count}", error, METRIC, "percent")
        error = abs(100 * result.auc - recorded["AUC_percent"])
        yield Row(f"{subset}: AUC", error, METRIC, "percent")
        arrays = golden.arrays(folder, f"expected_{subset}")
        ours = {
            "recall": result.recall,
            "avg_recall": result.average_recall,
            "proposals_per_video": result.proposals_per_video,
        }
        for name, values in ours.items():
            yield Row(f"{subset}: {name}", _difference(values, arrays[name]), METRIC)


class _Worst:
    """One row for each quantity of many videos: the largest error of all."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def add(self, quantity: str, ours: Any, theirs: Any, tolerance: float) -> None:
        self.keep(Row(quantity, _difference(ours, theirs), tolerance))

    def keep(self, row: Row) -> None:
        known = self._rows.get(row.quantity)
        if known is None or not row.error <= known.error:
            self._rows[row.quantity] = row

    def rows(self) -> Iterator[Row]:
        yield from self._rows.values()


def _soft_nms(key: str, table: FloatArray, data: golden.Arrays) -> Row:
    alpha, low, high = data[f"{key}/alpha_t1_t2"].tolist()
    kept = soft_nms(
        Candidates(table[:, :2], table[:, 2]),
        alpha=alpha,
        low_threshold=low,
        high_threshold=high,
        max_out=len(table),
        as_in_2019=True,
    )
    rows = np.column_stack((kept.scores, kept.segments))
    return Row(key, _difference(rows, data[f"{key}/out_score_xmin_xmax"]), SUMS)


def _results(ours: Mapping[str, Any], path: Path) -> Iterator[Row]:
    recorded = json.loads(path.read_text("utf-8"))["results"]
    yield Row(f"{path.name}: videos", float(len(set(ours) ^ set(recorded))), EXACT)
    worst, labels = 0.0, 0
    for name in set(ours) & set(recorded):
        numbers = [
            [(each["score"], *each["segment"]) for each in entries]
            for entries in (ours[name], recorded[name])
        ]
        worst = max(worst, _difference(*numbers))
        named = (
            [each.get("label") for each in entries] for entries in (ours[name], recorded[name])
        )
        labels += sum(a != b for a, b in zip(*named, strict=False))
    yield Row(f"{path.name}: scores and segments", worst, 1e-9, "seconds")
    yield Row(f"{path.name}: labels", float(labels), EXACT)


def _difference(ours: Any, theirs: Any) -> float:
    """Largest absolute difference; nan where shapes differ."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if a.shape != b.shape:
        return float("nan")
    return float(np.abs(a - b).max(initial=0.0))


def _annotations(folder: Path) -> Videos:
    return json.loads((folder / "anno.json").read_text("utf-8"))


def _shares(video: Mapping[str, Any]) -> FloatArray:
    segments = [each["segment"] for each in video.get("annotations", ())]
    return np.array(segments, np.float64).reshape(-1, 2) / video["duration_second"]


def _table(path: Path) -> dict[str, FloatArray]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    values = np.array(rows, np.float64).reshape(-1, len(header))
    return {column: values[:, place] for place, column in enumerate(header)}


def _seed(description: str) -> int:
    found = re.search(r"random\.seed\((\d+)\)", description)
    assert found is not None, description
    return int(found[1])


def _numbered(kind: str, name: str, arrays: golden.Arrays) -> Sequence[str]:
    """`dec0`, `dec1` and so on, those of which there is `dec0/name`, by number."""
    found = [re.fullmatch(rf"{kind}(\d+)/{name}", key) for key in arrays]
    return [f"{kind}{number}" for number in sorted(int(each[1]) for each in found if each)]
