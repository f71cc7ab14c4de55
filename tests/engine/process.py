"""One process of a toy run, started by torchrun: FOLDER DROPOUT STOP_AT resume|new."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tests.engine.toy import toy_module, train_toy
from videozoo.engine.devices import finish, make_accelerator
from videozoo.engine.loop import FitOptions
from videozoo.engine.settings import TrainSettings

SETTINGS = TrainSettings(epochs=2, batch_size=8, learning_rate=0.1)
OPTIONS = FitOptions(log_interval=1, save_every_steps=1)


def main(path: str, dropout: str, stop_at: str, how: str) -> None:
    accelerator = make_accelerator(device="cpu")

    def on_event(name: str, facts: Mapping[str, Any]) -> None:
        if name == "log" and facts["step"] == int(stop_at):
            raise SystemExit(3)

    def validate(epoch: int) -> dict[str, float]:
        ones = torch.ones(1)
        total = accelerator.reduce(ones, "sum")
        assert isinstance(total, torch.Tensor)
        return {"processes": total.item()}

    torch.manual_seed(0)
    train_toy(
        Path(path),
        SETTINGS,
        module=toy_module(float(dropout)),
        accelerator=accelerator,
        resume=how == "resume",
        validate=validate,
        on_event=on_event,
        options=OPTIONS,
    )
    finish(accelerator)


if __name__ == "__main__":
    main(*sys.argv[1:])
