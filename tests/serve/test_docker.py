"""The files for Docker, which are not built here: known words, pinned versions, few rights."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from videozoo.cli import serve
from videozoo.cli.parser import Parser

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))
SERVICE: dict[str, Any] = COMPOSE["services"]["videozoo"]


def given(instruction: str) -> list[str]:
    """What stands after an instruction, each time."""
    return re.findall(rf"^{instruction} (.+)$", DOCKERFILE, re.MULTILINE)


def test_their_words_are_those_of_the_command():
    parser = Parser()
    serve.add(parser.add_subparsers())
    (entry,), (usual,) = given("ENTRYPOINT"), given("CMD")

    for words in (json.loads(usual), SERVICE["command"]):
        program, *rest = json.loads(entry)
        parsed = parser.parse_args([*rest, *words])
        assert program == "videozoo"
        assert (parsed.weights, parsed.host) == (["/models/run"], "0.0.0.0")
    (extras,) = re.findall(r'"\.\[([\w,-]+)\]"', DOCKERFILE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "serve" in extras.split(",")


def test_the_container_has_few_rights_and_bounds():
    assert all(
        re.fullmatch(r"python:3\.11\.\d+-slim-\w+( AS \w+)?", each) for each in given("FROM")
    )
    assert all(int(each) > 1000 for each in given("USER"))
    assert "/healthz" in DOCKERFILE
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert all(each.startswith("127.0.0.1:") for each in SERVICE["ports"])
    assert SERVICE["volumes"][0].endswith(":ro")
    assert SERVICE["secrets"] == list(COMPOSE["secrets"]) == ["token"]
    assert "environment" not in SERVICE  # a token in it would be shown by `docker inspect`


def test_the_memory_of_the_container_holds_what_the_workers_may_take():
    words = dict(word.removeprefix("--").split("=") for word in SERVICE["command"])
    each = float(words["memory-mb"]) / 1000 + 2.5  # and its models
    others = sum(float(re.findall(r"\d+(?=g)", text)[0]) for text in
                 (SERVICE["tmpfs"][0], SERVICE["shm_size"]))  # fmt: skip

    most = float(SERVICE["mem_limit"].removesuffix("g"))

    assert most >= 0.2 + int(words["workers"]) * each + others
    assert SERVICE["memswap_limit"] == SERVICE["mem_limit"]
