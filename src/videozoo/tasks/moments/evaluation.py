"""Score a trained model of moment retrieval on sentences with known moments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from videozoo.data.moments import SearchDataset, load_moments, load_readable_moments
from videozoo.errors import UsageError
from videozoo.metrics.moments import Search, mean_tiou, recall, recall_2019
from videozoo.report.tables import percent, recall_table
from videozoo.settings.moments import MomentEval
from videozoo.tasks.common import (
    say_if_learnt_from,
    speaker,
    with_test_data,
    write_json,
)
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.inference import eval_loader, run
from videozoo.tasks.loading import Trained
from videozoo.tasks.moments.scoring import (
    MomentInference,
    all_found,
    check_origin,
    failures,
    moment_model,
)
from videozoo.tasks.requests import EvalRequest
from videozoo.tasks.results import ResultFolder, conclude


def evaluate(
    trained: Trained, request: EvalRequest, *, console: Console | None = None
) -> dict[str, Any]:
    """Look for every sentence, compare with the true moments; print tables, write `eval.json`.

    Returns:
        What the JSON file holds.

    Raises:
        VideozooError: The data, the weights or the machine do not fit.
    """
    if request.report:
        raise UsageError("--report is for models that classify clips; eval.json has the numbers")
    out = console or Console()
    config = trained.config
    config = with_test_data(config, request.data)
    accelerator = accelerator_for(trained, request.device)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    say_if_learnt_from(say, config.data, "test")
    folder = ResultFolder.choose(trained, request, accelerator, say)
    sentence_dim = config.model.sentence_dim
    load = load_moments if request.strict else load_readable_moments
    moments = load(
        config.data,
        "test",
        visual_dim=config.model.visual_dim,
        sentence_dim=sentence_dim,
    )
    for note in moments.notes:
        say(f"note: {note}")
    batches = eval_loader(
        SearchDataset(moments),
        config.data,
        accelerator,
        batch_size=config.eval.batch_size,
        skip_bad=not request.strict,
    )
    check_origin(moments, trained, sentence_dim, say)
    model = moment_model(trained, config, accelerator, drop=request.drop, device=request.device)
    say(f"{config.spec.title}: {len(moments)} sentences in {len(moments.videos)} videos")
    started = time.monotonic()
    searched = run(
        MomentInference(model, batches, accelerator, moments),
        accelerator,
        progress=(len(moments.videos), "videos"),
    )
    failed = failures(searched, moments)
    facts: dict[str, Any] = {}
    if accelerator.is_main_process:
        searches = [one.search for one in all_found(searched)]
        protocols = recalls_of(searches, config.eval)
        facts = {
            **folder.facts,
            "videos": len(searched.by_number),
            "sentences": len(searches),
            "seconds": round(time.monotonic() - started, 3),
            "mean_tiou": mean_tiou(searches),
            "recall": protocols["recall"],
            "recall_2019": protocols["recall_2019"],
            "skipped": [*moments.left_out, *failed],
            "config": config.as_dict(),
        }
        files: list[Path] = []
        name = config.eval.results_name
        path = None if name is None else (request.files_dir or folder.path) / name
        folder.make_room(say, path)
        if path is not None:
            files.append(write_json(path, _results_2019(searches)))
        written = folder.write(facts, files)
        out.print(recall_table(protocols["recall"], title="R@n at tIoU"))
        out.print(recall_table(protocols["recall_2019"], title="The same as 2019 counted"))
        total = len(searched.by_number) + len(failed)
        part = f", on {len(searched.by_number)} of {total} videos" if failed else ""
        out.print(f"mean tIoU of the best moment: {percent(facts['mean_tiou'])}{part}")
        for line in moments.left_out:
            say(f"left out: {line}")
        say(f"written: {', '.join(map(str, [written, *files]))}")
    conclude(accelerator, request, failed, say, total=len(searched.by_number) + len(failed))
    return facts


def recalls_of(
    searches: Sequence[Search], settings: MomentEval
) -> dict[str, list[dict[str, float]]]:
    """R@n at every tIoU, by the usual protocol and by that of 2019."""
    found: dict[str, list[dict[str, float]]] = {"recall": [], "recall_2019": []}
    for tiou in settings.tious:
        for n in settings.recall_at:
            usual = recall(searches, n=n, threshold=tiou, limit=settings.nms_limit)
            old = recall_2019(searches, n=n, threshold=tiou)
            found["recall"].append({"n": n, "tiou": tiou, "share": usual})
            found["recall_2019"].append({"n": n, "tiou": tiou, "share": old})
    return found


def _results_2019(searches: Sequence[Search]) -> dict[str, Any]:
    best = {f"best_R{n}_IOU5": recall_2019(searches, n=n, threshold=0.5) for n in (1, 5)}
    return {"version": "VERSION 1.0", "results": best, "external_data": {}}
