"""Early stopping."""

from __future__ import annotations

from videozoo.commands import flag
from videozoo.engine.checkpoint import Position
from videozoo.engine.settings import TrainSettings
from videozoo.errors import RunError, counted


def check_early_stop(settings: TrainSettings, *, validates: bool) -> None:
    """Raise RunError if the run never computes the metric to watch.

    Raises:
        RunError: `early_stop_epochs` is set, and the run does not validate.
    """
    if settings.early_stop_epochs is not None and not validates:
        raise RunError(
            f"train.early_stop_epochs is {settings.early_stop_epochs}, but nothing is validated "
            "from which to tell: name videos to validate with (data.val) and validate "
            f"at least once in the {counted(settings.epochs, 'epoch')} "
            f"({flag('--valid-interval')}), or leave "
            "early_stop_epochs empty"
        )


def has_stalled(position: Position, metric: str, patience: int | None) -> bool:
    """Whether the metric has not improved for `patience` epochs.

    It depends on the position only, so a resumed run stops at the same epoch. Only a validated
    epoch ends a run.

    Args:
        position: After an epoch.
        metric: Name of the metric.
        patience: Epochs; None never stalls.

    >>> line = {"valid_top1": 0.2}
    >>> at = Position(epoch=4, best=0.5, best_epoch=2, history=[{}, line, {}, line])
    >>> has_stalled(at, "top1", 2), has_stalled(at, "top1", 3), has_stalled(at, "top1", None)
    (True, False, False)
    """
    if patience is None or not position.history or f"valid_{metric}" not in position.history[-1]:
        return False
    return position.epoch - (position.best_epoch or 0) >= patience
