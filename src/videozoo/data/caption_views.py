"""How a trained model describes events: the `eval:` and `predict:` sections of captioning."""

from pathlib import Path

from pydantic import Field

from videozoo.types import Settings


class CaptionViews(Settings):
    """From a network to sentences."""

    batch_size: int = Field(default=16, ge=1)
    """Events described at once."""
    beam_size: int = Field(default=3, ge=1)
    """Sentences that are followed for each event at a time; 1 takes the likeliest next word."""
    max_length: int = Field(default=80, ge=1)
    """Words of a sentence at most, its end among them."""
    drop_last_word_as_in_2019: bool = False
    """Take the last word off sentences that were cut at `max_length`, as 2019 did."""
    results_name: str = "captions.json"
    """Name of the file with sentences in the form of ActivityNet Captions."""


class CaptionEval(CaptionViews):
    """Settings of evaluation."""

    meteor: bool = True
    """METEOR too, where Java is installed; it takes ten seconds to start."""


class CaptionPredict(CaptionViews):
    """Settings of prediction."""

    top_k: int = Field(default=1, ge=1)
    """Sentences listed for each event, no more than `beam_size`."""
    inputs: Path | None = None
    """Events or features to use when the command line names none."""
