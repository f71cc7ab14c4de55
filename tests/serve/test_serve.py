"""The server keeps its promises: nothing lost, nothing swapped, nothing let in."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.running import MP4, running, within
from videozoo import cli
from videozoo.errors import WeightsError
from videozoo.serve import supervisor
from videozoo.serve.store import JobStore
from videozoo.serve.uploads import display_name

# --- from upload to answer -----------------------------------------------------------------------


def test_a_video_goes_in_and_answers_come_out(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            sent = await server.upload("my film.mp4", sentence="a b")
            assert sent.status_code == 202
            job = sent.json()["id"]

            ended = await server.over(job)

            assert (ended["state"], ended["video"]) == ("done", "my film.mp4")
            assert ended["progress"]["done"] == ended["progress"]["of"] == 2
            result = (await server.client.get(f"/v1/jobs/{job}/result")).json()
            expected = {"video": "my film.mp4", "size": len(MP4), "sentences": ["a b"]}
            assert result == expected
            part = await server.client.get(f"/jobs/{job}/video", headers={"range": "bytes=4-7"})
            assert (part.status_code, part.content) == (206, b"ftyp")
            page = await server.client.get(f"/jobs/{job}/")
            assert "<title>11</title>" in page.text
            table = await server.client.get(f"/jobs/{job}/answers.csv")
            assert "my%20film.csv" in table.headers["content-disposition"]
            assert (await server.client.get(f"/jobs/{job}/answers.vtt")).status_code == 404
            assert [each["id"] for each in (await server.client.get("/v1/jobs")).json()] == [job]

            assert (await server.client.delete(f"/v1/jobs/{job}")).status_code == 204

            assert server.folders() == []
            assert (await server.client.get(f"/v1/jobs/{job}")).status_code == 404

    within(scenario)


def test_a_form_and_a_library_do_as_a_plain_body(tmp_path: Path):
    library = tmp_path / "library"
    (library / "in").mkdir(parents=True)
    (library / "in" / "ü.mp4").write_bytes(MP4)
    (library / "notes.txt").write_text("x")
    (library / "out.mp4").symlink_to(Path(__file__))

    async def scenario() -> None:
        async with running(tmp_path / "jobs", library=library) as server:
            names = (await server.client.get("/v1/library")).json()
            assert names == ["in/ü.mp4"]
            form = await server.client.post(
                "/v1/jobs",
                files={"file": ("C:\\films\\a.MKV", MP4)},
                data={"sentence": ["one", "two"], "annotate": "true"},
            )
            known = await server.client.post("/v1/jobs", json={"library": "in/ü.mp4"})
            jobs = [each.json() for each in (form, known)]
            assert [each["video"] for each in jobs] == ["a.MKV", "in/ü.mp4"]
            assert jobs[0]["sentences"] == ["one", "two"]
            for each in jobs:
                assert (await server.over(each["id"]))["state"] == "done"
            assert (server.folder / "jobs" / jobs[0]["id"] / "video.mkv").is_file()

            await server.client.delete(f"/v1/jobs/{jobs[1]['id']}")

            assert (library / "in" / "ü.mp4").is_file()
            for name in (
                "../jobs/jobs.sqlite",
                "out.mp4",
                "/etc/passwd",
                "notes.txt",
                "in/../in/ü.mp4",
            ):
                answer = await server.client.post("/v1/jobs", json={"library": name})
                assert answer.status_code == 404, name

    within(scenario)


def test_a_search_asks_again_and_keeps_what_was_found(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            job = (await server.upload("a.mp4", sentence="one")).json()["id"]
            await server.over(job)

            found = await server.client.post(f"/v1/jobs/{job}/search", json={"sentence": " two  x"})

            assert found.status_code == 202
            await server.over(job)
            result = (await server.client.get(f"/v1/jobs/{job}/result")).json()
            assert result["sentences"] == ["one", "two x"]
            for wrong, status in (
                ({"sentence": " "}, 400),
                ({}, 422),
                ({"sentence": "x" * 999}, 400),
            ):
                answer = await server.client.post(f"/v1/jobs/{job}/search", json=wrong)
                assert answer.status_code == status
                assert answer.json()["error"]

    within(scenario)


def test_progress_is_told_until_the_end(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            job = (await server.upload("slow.mp4")).json()["id"]

            events = await server.client.get(f"/v1/jobs/{job}/events")

            lines = [line[6:] for line in events.text.split("\n") if line.startswith("data: ")]
            states = [json.loads(line)["state"] for line in lines]
            assert states[-1] == "done"
            assert "running" in states
            assert (await server.client.get("/v1/jobs/0/events")).status_code == 404

    within(scenario)


# --- what is refused -----------------------------------------------------------------------------


def test_what_is_no_video_is_refused_and_leaves_nothing(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path, upload_mb=0.01, sentence_length=5) as server:
            text = b"this is a text, whatever its name says\n" * 200
            refused = [
                (await server.upload("a.mp4", b""), 400, "empty"),
                (await server.upload("a.mp4", text[:20]), 415, "not a video"),
                (await server.upload("a.mp4", text), 415, "not a video"),
                (await server.upload("a.mp4", MP4 + bytes(99_999)), 413, "larger than 0.01 MB"),
                (await server.upload("a.mp4", sentence="too long"), 400, "up to 50, of 5"),
                (await server.upload("a.mp4", every_seconds="often"), 400, "every_seconds"),
                (await server.upload("a.mp4", path="/etc"), 400, "path: unknown"),
                (
                    await server.upload("a.mp4", annotate="perhaps"),
                    400,
                    "annotate: expected true or false, got 'perhaps'",
                ),
                (
                    await server.upload("a.mp4", every_seconds=0),
                    400,
                    "every_seconds: expected a number from 0.1 to 3600",
                ),
                (await server.upload("a.mp4", every_seconds=[1, 2]), 400, "given 2 times"),
                (
                    await server.client.post(
                        "/v1/jobs", content=b"[1", headers={"content-type": "Application/JSON"}
                    ),
                    400,
                    "the body is no JSON",
                ),
                (await server.client.post("/v1/jobs", json=[]), 400, "a JSON object with sent"),
                (await server.client.post("/v1/jobs", json={"path": "a"}), 400, "library"),
                (await server.client.post("/v1/jobs", data={"file": "a"}), 415, "not a video"),
                (
                    await server.client.post(
                        "/v1/jobs", content=b"--x", headers={"content-type": "multipart/form-data"}
                    ),
                    400,
                    "form",
                ),
                (
                    await server.client.post(
                        "/v1/jobs", files=[("file", ("a.mp4", MP4)), ("file", ("b.mp4", MP4))]
                    ),
                    400,
                    "several files",
                ),
            ]
            for answer, status, said in refused:
                assert answer.status_code == status, answer.text
                assert said in answer.json()["error"]
            assert server.folders() == []
            assert (await server.client.get("/v1/jobs")).json() == []

    within(scenario)


def test_an_upload_is_measured_while_it_arrives(tmp_path: Path):
    async def endless() -> AsyncIterator[bytes]:
        yield MP4
        for number in range(10_000):
            assert number < 50, "the server reads on"
            yield bytes(1000)

    async def pausing() -> AsyncIterator[bytes]:
        yield MP4
        await asyncio.sleep(30)

    async def scenario() -> None:
        async with running(tmp_path, upload_mb=0.02, idle_seconds=0.1) as server:
            large = await server.client.post("/v1/jobs", content=endless())
            slow = await server.client.post("/v1/jobs", content=pausing())

            assert (large.status_code, slow.status_code) == (413, 408)
            assert "no bytes for 0.1 s" in slow.json()["error"]
            assert server.folders() == []

    within(scenario)


def test_a_full_queue_and_a_full_disk_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        async with running(tmp_path, waiting_jobs=2) as server:
            first = (await server.upload("hang.mp4")).json()["id"]
            while (await server.client.get(f"/v1/jobs/{first}")).json()["state"] != "running":
                await asyncio.sleep(0.01)
            assert [(await server.upload("a.mp4")).status_code for _ in range(3)] == [202, 202, 429]
            assert (await server.upload("a.mp4")).headers["retry-after"]

            await server.client.delete(f"/v1/jobs/{first}")
            await asyncio.gather(
                *(server.over(each["id"]) for each in (await server.client.get("/v1/jobs")).json())
            )
            usage = shutil.disk_usage(tmp_path)._replace(free=1000)

            def full(_path: Path) -> Any:
                return usage

            monkeypatch.setattr(shutil, "disk_usage", full)
            assert (await server.upload("a.mp4")).status_code == 507

    within(scenario)


def test_long_names_keep_their_end():
    name = display_name(f"{'a' * 300} part 7.mp4")

    assert len(name) == 200
    assert name.endswith("aaa part 7.mp4")
    assert "\N{HORIZONTAL ELLIPSIS}" in name


def test_what_is_not_there_is_said_as_a_page_to_people_and_as_json_to_programs(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            job = (await server.upload("a.mp4")).json()["id"]
            await server.over(job)
            people = {"accept": "text/html"}
            for path, said in (
                ("/nowhere", "no such page"),
                (f"/jobs/{job}/answers.vtt", "there are no subtitles"),
                (f"/jobs/{'0' * 32}/", "no such video"),
            ):
                page = await server.client.get(path, headers=people)
                assert (page.status_code, "<h1>" in page.text) == (404, True)
                assert said in page.text
                assert said in (await server.client.get(path)).json()["error"]
            wrong = await server.client.put("/v1/jobs", headers=people)
            assert (wrong.status_code, "PUT is not for" in wrong.json()["error"]) == (405, True)
            text = await server.client.post(f"/v1/jobs/{job}/search", content=b"a dog")
            assert "expected a body in JSON" in text.json()["error"]

    within(scenario)


# --- hostile files, dead processes, restarts -----------------------------------------------------


def test_a_file_that_breaks_the_worker_costs_only_its_job(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path, job_seconds=1.0) as server:
            names = ("crash.mp4", "a.mp4", "hang.mp4", "bad.mp4", "b.mp4")
            sent = [(await server.upload(name)).json()["id"] for name in names]

            ended = [await server.over(job) for job in sent]

            assert [each["state"] for each in ended] == [
                "failed", "done", "failed", "failed", "done"
            ]  # fmt: skip
            assert "SIGABRT" in ended[0]["error"]
            assert "longer than 1 s" in ended[2]["error"]
            assert ended[3]["error"] == "cannot be read"
            asked = await server.client.get(f"/v1/jobs/{sent[0]}/result")
            assert asked.status_code == 409
            figures = (await server.client.get("/metrics")).text
            assert 'videozoo_jobs_total{outcome="failed"} 3.0' in figures
            assert 'videozoo_jobs_now{state="done"} 2.0' in figures

    within(scenario)


def test_a_worker_that_ends_does_not_take_the_next_job_with_it(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            names = ("large.mp4", "a.mp4", "leave.mp4", "b.mp4", "die at once.mp4", "c.mp4")
            sent = [(await server.upload(name)).json()["id"] for name in names]

            ended = [await server.over(job) for job in sent]

            assert [each["state"] for each in ended] == [
                "failed", "done", "done", "done", "failed", "done"
            ]  # fmt: skip
            assert ended[0]["error"] == "needs more memory"
            assert "SIGABRT" in ended[4]["error"]  # it was tried twice

    within(scenario)


def test_a_server_whose_models_are_gone_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(supervisor, "_PAUSE_SECONDS", 0.05)
    models = tmp_path / "models"
    models.write_text("")

    async def scenario() -> None:
        async with running(tmp_path / "jobs", weights=(f"if {models}",)) as server:

            async def becomes(status: int) -> None:
                while (await server.client.get("/healthz")).status_code != status:
                    await asyncio.sleep(0.02)

            await becomes(200)
            models.unlink()
            crashed = (await server.upload("crash.mp4")).json()["id"]
            await server.over(crashed)
            waiting = (await server.upload("a.mp4")).json()["id"]
            await becomes(503)
            assert str(models) not in (await server.client.get("/healthz")).text
            models.write_text("")
            await becomes(200)
            assert (await server.over(waiting))["state"] == "done"

    within(scenario)
    assert f"{models}: no weights" in capsys.readouterr().err


def test_a_job_that_is_removed_while_it_runs_is_gone(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            job = (await server.upload("hang.mp4")).json()["id"]
            while (await server.client.get(f"/v1/jobs/{job}")).json()["state"] != "running":
                await asyncio.sleep(0.01)

            await server.client.delete(f"/v1/jobs/{job}")
            after = (await server.upload("a.mp4")).json()["id"]

            assert (await server.over(after))["state"] == "done"
            assert server.folders() == [after]

    within(scenario)


def test_jobs_survive_a_restart(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            running_one = (await server.upload("hang.mp4")).json()["id"]
            while (await server.client.get(f"/v1/jobs/{running_one}")).json()["state"] != "running":
                await asyncio.sleep(0.01)
            waiting = (await server.upload("a.mp4")).json()["id"]
        (tmp_path / "jobs" / ("0" * 32)).mkdir()  # of an upload that was cut off
        store = JobStore(tmp_path)
        store.change(running_one, name="now it works.mp4")
        store.close()

        async with running(tmp_path) as server:
            assert (await server.over(running_one))["state"] == "done"
            assert (await server.over(waiting))["state"] == "done"
            assert server.folders() == sorted([running_one, waiting])
            server.store.change(running_one, state="running", starts=2)

        async with running(tmp_path) as server:
            ended = await server.over(running_one)
            assert (ended["state"], "ended twice" in ended["error"]) == ("failed", True)

    within(scenario)


def test_old_jobs_go(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path, keep_hours=1e-9) as server:
            job = (await server.upload("a.mp4")).json()["id"]
            await server.over(job)
        async with running(tmp_path, keep_hours=1e-9) as server:
            await asyncio.sleep(0.05)
            assert server.folders() == []

    within(scenario)


def test_many_uploads_get_their_own_answers(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path, waiting_jobs=1000, uploads=100, workers=2) as server:
            sizes = {f"{number}.mp4": len(MP4) + number for number in range(40)}
            sent = await asyncio.gather(
                *(server.upload(name, MP4 + bytes(size - len(MP4))) for name, size in sizes.items())
            )
            jobs = [each.json()["id"] for each in sent]

            await asyncio.gather(*map(server.over, jobs))

            answers = [(await server.client.get(f"/v1/jobs/{job}/result")).json() for job in jobs]
            assert {each["video"]: each["size"] for each in answers} == sizes

    within(scenario)


# --- who may ask ---------------------------------------------------------------------------------


def test_other_sites_and_strangers_are_refused(tmp_path: Path):
    token = "x" * 20

    async def scenario() -> None:
        async with running(tmp_path / "local") as server:
            get, post = server.client.get, server.client.post
            assert (await get("/", headers={"host": "evil.example"})).status_code == 421
            for headers in (
                {"origin": "http://evil.example"},
                {"origin": "null"},
                {"sec-fetch-site": "cross-site"},
            ):
                assert (await post("/v1/jobs", content=MP4, headers=headers)).status_code == 403
        async with running(tmp_path / "open", token=token, host="0.0.0.0") as server:
            get, post = server.client.get, server.client.post
            assert (await get("/v1/jobs")).status_code == 401
            assert (await get("/metrics")).status_code == 401
            assert (await get("/healthz")).status_code == 200
            page = await get("/", headers={"accept": "text/html"})
            assert (page.status_code, page.headers["location"]) == (303, "/login")
            assert (await get("/v1/jobs", headers={"authorization": "Bearer y"})).status_code == 401
            bearer = {"authorization": f"Bearer {token}"}
            assert (await get("/v1/jobs", headers=bearer)).status_code == 200
            assert (await post("/v1/session")).status_code == 401
            entered = await post("/v1/session", headers=bearer)
            assert "HttpOnly" in entered.headers["set-cookie"]
            assert (await get("/v1/jobs")).status_code == 200  # the cookie

    within(scenario)


def test_every_answer_carries_the_policy_and_names_are_escaped(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            name = "<script>alert(1)</script>.mp4"
            job = (await server.upload(name)).json()["id"]
            waiting = await server.client.get(f"/jobs/{job}/")
            await server.over(job)
            for path in ("/", "/docs", "/login", "/static/serve.js", "/nowhere", f"/jobs/{job}/",
                         f"/jobs/{job}/video", "/v1/jobs"):  # fmt: skip
                answer = await server.client.get(path)
                policy = answer.headers["content-security-policy"]
                script = policy.partition("script-src")[2].partition(";")[0]
                assert "unsafe" not in script, path
                assert "http" not in script, path
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "<script>alert" not in answer.text
            assert "<script>alert" not in waiting.text

    within(scenario)


def test_the_api_describes_itself(tmp_path: Path):
    async def scenario() -> None:
        async with running(tmp_path) as server:
            described: dict[str, Any] = (await server.client.get("/openapi.json")).json()
            paths = {
                f"{method.upper()} {path}"
                for path, methods in described["paths"].items()
                for method in methods
            }
            assert paths >= {
                "POST /v1/jobs", "GET /v1/jobs/{job}", "GET /v1/jobs/{job}/result",
                "GET /v1/jobs/{job}/events", "DELETE /v1/jobs/{job}", "GET /healthz",
                "GET /metrics", "POST /v1/jobs/{job}/search",
            }  # fmt: skip
            page = (await server.client.get("/docs")).text
            assert "POST /v1/jobs/{job}/search" in page
            assert "//" not in page.replace("https://", "//").partition("<main>")[0]

    within(scenario)


# --- the command ---------------------------------------------------------------------------------


def test_weights_that_cannot_be_loaded_end_the_server(tmp_path: Path):
    async def scenario() -> None:
        with pytest.raises(WeightsError, match="broken: no weights"):
            async with running(tmp_path, weights=("broken",)):
                pass

    within(scenario)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "--weights"),
        (["--weights", "a", "--upload-mb", "0"], 2, "--upload-mb 0: expected more than 0"),
        (["--weights", "a", "--workers", "0"], 2, "--workers 0"),
        (["--weights", "a", "--library", "nowhere"], 2, "--library nowhere: no such folder"),
        (["--weights", "a", "--port", "99999"], 2, "--port 99999: expected 0 to 65535"),
        (["--weights", "a", "--token-file", "short"], 2, "too easy to guess"),
    ],
)
def test_a_wrong_flag_is_said(
    words: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
):
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("secret")

    assert cli.main(["serve", "--jobs", "jobs", *words]) == status

    assert said in capsys.readouterr().err


def test_two_servers_do_not_share_a_folder(tmp_path: Path, capsys: Any):
    from videozoo.safe_lock import try_hold

    lock = try_hold(tmp_path / "server.lock")
    assert lock is not None
    with lock:
        code = "import sys; from videozoo import cli; sys.exit(cli.main(sys.argv[1:]))"
        words = ["serve", "--weights", "a", "--jobs", str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 1
    assert "another server uses this folder" in done.stderr


def test_the_server_itself_holds_no_model():
    code = (
        "import sys, videozoo.serve.start; print([m for m in ('torch', 'av') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
