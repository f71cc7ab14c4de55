"""Scores of captions against those of people: BLEU, ROUGE-L, CIDEr and METEOR.

The scorers are those of pycocoevalcap (`pip install 'videozoo[captions]'`). Two parts need Java:
METEOR, and the tokenizer of the Penn Treebank (PTB), which published scores use. Without Java the
rest works: `tokenized` then uses a simple tokenizer and says so.

All scores are in [0, 1], except CIDEr, in [0, 10].
"""

from __future__ import annotations

import importlib
import random
import re
import shutil
import string
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import RunError

BLEU = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
WITHOUT_JAVA = (*BLEU, "rouge_l", "cider")

# ---- words --------------------------------------------------------------------------------------

_REMOVED = {"''", "'", '"', "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}
"""Tokens that are ignored. Brackets count, as -lrb- and -rrb-: coco-caption tries to remove them,
but looks for capitals in lower-case text."""
_TOKEN = re.compile(
    r"""
    <\w+>                                   # <unk>
    | (?:[a-z]\.){2,}                       # u.s.
    | \w+(?:(?:[-'./&:](?=\w)|,(?=\d))\w+)* # well-known, o'clock, 5.5, 3:30
    | '(?:s|m|d|re|ve|ll)\b                 # a clitic by itself
    | \.\.\. | -- | [^\w\s]
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))$")
_SPLIT = {"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na"}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}


def tokenized(texts: Sequence[str]) -> tuple[list[str], str]:
    """Split sentences into words for comparison: lower case, without punctuation.

    Returns:
        One text per sentence, its words separated by blanks; and a note to show beside the scores,
        or "".

    Raises:
        RunError: pycocoevalcap is not installed, or Java fails.
    """
    if has_java():
        return ptb_tokens(texts), ""
    note = "without Java words are cut by simple rules; scores differ a little from published ones"
    return [simple_tokens(text) for text in texts], note


def simple_tokens(text: str) -> str:
    """Split a sentence into words nearly as PTB does, without Java.

    >>> simple_tokens("The camera's operator doesn't stop, at 5.5 m.")
    "the camera 's operator does n't stop at 5.5 m"
    """
    words: list[str] = []
    for token in _TOKEN.findall(text.lower()):
        token = str(_SPLIT.get(token, _BRACKETS.get(token, token)))
        words += _CLITIC.sub(r" \1", token).split()
    return " ".join(word for word in words if word not in _REMOVED)


def ptb_tokens(texts: Sequence[str]) -> list[str]:
    """Split sentences into words with Stanford's PTB tokenizer.

    Raises:
        RunError: Java or pycocoevalcap is missing, or Java fails.
    """
    jar = _folder("tokenizer") / "stanford-corenlp-3.4.1.jar"
    command = [_java("the PTB tokenizer"), "-Dfile.encoding=UTF-8", "-cp", str(jar)]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    lines = "".join(f"{' '.join(text.split())}\n" for text in texts)
    done = subprocess.run(
        command, input=lines, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    found = done.stdout.split("\n")[: len(texts)]
    if done.returncode or len(found) < len(texts):
        raise RunError(f"the PTB tokenizer failed: {_last_line(done.stderr)}")
    return [" ".join(word for word in line.split() if word not in _REMOVED) for line in found]


def require_scorers() -> None:
    """Check that captions can be scored, before a training starts.

    Raises:
        RunError: pycocoevalcap is not installed.
    """
    _module("cider.cider")


def has_java() -> bool:
    """Whether METEOR and the PTB tokenizer can run."""
    return shutil.which("java") is not None


def _java(what: str) -> str:
    found = shutil.which("java")
    if found is None:
        raise RunError(
            f"{what} needs Java, and there is no `java` on the PATH; install it (Debian, Ubuntu: "
            "apt-get install default-jre-headless; macOS: brew install openjdk) or do without"
        )
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"pycocoevalcap.{name}")
    except ModuleNotFoundError as error:
        raise RunError(
            f"scores of captions need {error.name}, which is not installed; "
            "pip install 'videozoo[captions]'"
        ) from None


def _folder(name: str) -> Path:
    """Folder of a Java tool of pycocoevalcap."""
    module = _module("tokenizer.ptbtokenizer" if name == "tokenizer" else f"{name}.{name}")
    return Path(module.__file__).parent


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


# ---- scores of sentences ------------------------------------------------------------------------


@dataclass(frozen=True)
class CaptionScores:
    """Scores by name: `bleu_1` to `bleu_4`, `rouge_l`, `cider`, and `meteor` if requested."""

    corpus: Mapping[str, float]
    """Scores over all captions; for BLEU and METEOR not the mean."""
    each: Mapping[str, NDArray[np.float64]]
    """(N,), per caption."""


def caption_scores(
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    *,
    meteor: Meteor | None = None,
) -> CaptionScores:
    """Score captions against references.

    CIDEr weighs words by the number of reference sets that hold them, so a caption's score depends
    on the others, and is 0 if N is 1.

    Args:
        references: N lists of one or more texts, from `tokenized`.
        hypotheses: N texts, from `tokenized`.
        meteor: Adds METEOR.

    Raises:
        ValueError: The numbers of texts differ, or there are none.
        RunError: pycocoevalcap is not installed.
    """
    if len(references) != len(hypotheses) or not hypotheses or not all(references):
        raise ValueError(
            f"caption_scores: {len(references)} sets of references for {len(hypotheses)} captions, "
            "expected as many, at least one, and no set empty"
        )
    truths = {number: list(texts) for number, texts in enumerate(references)}
    ours = {number: [text] for number, text in enumerate(hypotheses)}
    bleu, bleu_each = _module("bleu.bleu").Bleu(4).compute_score(truths, ours, verbose=0)
    found: dict[str, tuple[float, Any]] = {
        name: (score, each) for name, score, each in zip(BLEU, bleu, bleu_each, strict=True)
    }
    found["rouge_l"] = _module("rouge.rouge").Rouge().compute_score(truths, ours)
    found["cider"] = 0.0, np.zeros(len(ours))
    if any(text for texts in references for text in texts):
        found["cider"] = _module("cider.cider").Cider().compute_score(truths, ours)
    if meteor is not None:
        found["meteor"] = meteor.scores(references, hypotheses)
    return CaptionScores(
        {name: float(score) for name, (score, _) in found.items()},
        {name: np.asarray(each, np.float64) for name, (_, each) in found.items()},
    )


@dataclass(frozen=True, kw_only=True)
class EventScores:
    """Scores of captions that are compared with what people say of the same event or video."""

    scores: CaptionScores
    note: str
    """On the tokenizer; empty if it is PTB's."""


def event_scores(
    predictions: Sequence[str], references: Sequence[Sequence[str]], *, meteor: Meteor | None = None
) -> EventScores:
    """Score captions against one or several sentences of people each, as nlg-eval does.

    All sentences are cut into words first. Several references count as is usual: BLEU takes the
    highest count of each n-gram and the reference of the nearest length, ROUGE-L the best precision
    and the best recall, CIDEr the mean over references, METEOR the best reference.

    How to call it: for captions of whole videos, one prediction per video (an empty one for a
    video without) and all sentences of that video. For result files,
    `tasks.captioning.submissions.score_captions` does it all.

    Args:
        predictions: N sentences.
        references: N lists of at least one sentence.
        meteor: Adds METEOR.

    Raises:
        ValueError: As `caption_scores`.
        RunError: pycocoevalcap is not installed, or Java fails.
    """
    words, note = tokenized([*predictions, *(text for texts in references for text in texts)])
    rest = iter(words[len(predictions) :])
    truths = [[next(rest) for _ in texts] for texts in references]
    return EventScores(
        scores=caption_scores(truths, words[: len(predictions)], meteor=meteor), note=note
    )


class Meteor:
    """METEOR 1.5 in a Java process; takes ten seconds to start and 2 GB of memory.

    Use it in a `with` statement. Results of equal pairs are cached.

    Source: Denkowski and Lavie, "Meteor Universal", WMT 2014; English, normalised.
    """

    def __init__(self) -> None:
        jar = _folder("meteor") / "meteor-1.5.jar"
        command = [_java("METEOR"), "-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", str(jar)]
        command += ["-", "-", "-stdio", "-l", "en", "-norm"]
        self._seen: dict[str, str] = {}
        self._messages = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()  # closes its pipes
        self._messages.close()

    def scores(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[str]
    ) -> tuple[float, NDArray[np.float64]]:
        """Score captions as in `caption_scores`: over all, and (N,) per caption.

        Raises:
            RunError: Java failed.
        """
        pairs = zip(references, hypotheses, strict=True)
        counts = [self._counts(texts, hypothesis) for texts, hypothesis in pairs]
        self._say(" ||| ".join(("EVAL", *counts)))
        each = [float(self._answer()) for _ in counts]
        return float(self._answer()), np.array(each)

    def _counts(self, references: Sequence[str], hypothesis: str) -> str:
        """METEOR's counts for a caption, from which it computes scores."""
        texts = [" ".join(text.replace("|||", " ").split()) for text in (*references, hypothesis)]
        line = " ||| ".join(("SCORE", *texts))
        if line not in self._seen:
            self._say(line)
            self._seen[line] = self._answer()
        return self._seen[line]

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except OSError:
            self._fail()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            self._fail()
        return line

    def _fail(self) -> None:
        self._messages.seek(0)
        raise RunError(f"METEOR failed: {_last_line(self._messages.read())}")


# ---- dense captioning ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TimedCaption:
    """A caption with its start and end in a video."""

    start_seconds: float
    end_seconds: float
    sentence: str


Captions = Mapping[str, Sequence[TimedCaption]]
"""By video."""


@dataclass(frozen=True, kw_only=True)
class DenseScores:
    """Scores of captions with times; at each tIoU, the mean over videos."""

    tious: tuple[float, ...]
    by_tiou: Mapping[str, tuple[float, ...]]
    """As in `CaptionScores`, and `precision` and `recall` of the times."""
    note: str
    """On the tokenizer; empty if it is PTB's."""

    @property
    def average(self) -> dict[str, float]:
        """Means over the tIoU thresholds, as published."""
        return {name: float(np.mean(values)) for name, values in self.by_tiou.items()}


def dense_caption_scores(
    predictions: Captions,
    truths: Sequence[Captions],
    *,
    meteor: bool,
    tious: Sequence[float] = (0.3, 0.5, 0.7, 0.9),
    most: int = 1000,
    seed: int = 0,
) -> DenseScores:
    """Score captions with times against those of one or more people, as ActivityNet does.

    At a tIoU threshold, a prediction is compared with every true caption of its video that overlaps
    it by that much, or with a word of random letters if there is none. The score of a video is over
    all its comparisons, or 0. Every video with a true caption counts.

    Args:
        predictions: Predictions of videos without true captions are ignored.
        truths: One per person.
        meteor: METEOR too, which needs Java.
        tious: In [0, 1].
        most: Most predictions per video; later ones are ignored.
        seed: Of the random letters.

    Raises:
        ValueError: No video has a true caption.
        RunError: As `tokenized`; or `meteor` without Java.

    Source: ranjaykrishna/densevid_eval.
    """
    videos = sorted({video for truth in truths for video in truth})
    if not videos:
        raise ValueError("dense_caption_scores: no video has a true caption")
    letters = random.Random(seed)
    ours = {video: list(predictions.get(video, ()))[:most] for video in videos}
    words, note = _words(caption for some in (ours, *truths) for caption in _all(some, videos))
    names = [*WITHOUT_JAVA, *(("meteor",) if meteor else ())]
    by_tiou: dict[str, list[float]] = {name: [] for name in (*names, "precision", "recall")}
    with ExitStack() as stack:
        scorer = stack.enter_context(Meteor()) if meteor else None
        for limit in tious:
            sums = dict.fromkeys(names, 0.0)
            for video in videos:
                pairs = _compared(ours[video], truths, video, limit, words, letters)
                if pairs:
                    hypotheses, references = zip(*pairs, strict=True)
                    found = caption_scores([[r] for r in references], hypotheses, meteor=scorer)
                    sums = {name: sums[name] + found.corpus[name] for name in names}
            for name in names:
                by_tiou[name].append(sums[name] / len(videos))
            shares = np.mean([_covered(ours[video], truths, video, limit) for video in videos], 0)
            by_tiou["precision"].append(float(shares[0]))
            by_tiou["recall"].append(float(shares[1]))
    return DenseScores(
        tious=tuple(tious), by_tiou={k: tuple(v) for k, v in by_tiou.items()}, note=note
    )


def _all(captions: Captions, videos: Sequence[str]) -> Iterable[TimedCaption]:
    return (caption for video in videos for caption in captions.get(video, ()))


def _words(captions: Iterable[TimedCaption]) -> tuple[dict[str, str], str]:
    """All sentences tokenized in one call, and the note."""
    sentences = list(dict.fromkeys(caption.sentence for caption in captions))
    plain = [re.sub(r"[^\x00-\x7f]", " ", sentence) for sentence in sentences]  # as in the protocol
    words, note = tokenized(plain)
    return dict(zip(sentences, words, strict=True)), note


def _compared(
    ours: Sequence[TimedCaption],
    truths: Sequence[Captions],
    video: str,
    limit: float,
    words: Mapping[str, str],
    letters: random.Random,
) -> list[tuple[str, str]]:
    """Pairs of a video's predictions with the true captions that overlap them enough."""
    every = [caption for truth in truths for caption in truth.get(video, ())]
    enough = _overlaps(ours, every) >= limit
    pairs: list[tuple[str, str]] = []
    for caption, row in zip(ours, enough, strict=True):
        matches = [words[every[number].sentence] for number in np.flatnonzero(row)]
        if not matches:
            length = letters.randint(10, 20)
            matches = ["".join(letters.choices(string.ascii_lowercase, k=length))]
        pairs += [(words[caption.sentence], match) for match in matches]
    return pairs


def _covered(
    ours: Sequence[TimedCaption], truths: Sequence[Captions], video: str, limit: float
) -> tuple[float, float]:
    """Precision and recall of a video's times, each against the person with the best value."""
    found = [(0.0, 0.0)]
    for truth in truths:
        if truth.get(video):
            hits = _overlaps(ours, truth[video]) > limit
            precision = float(hits.any(1).mean()) if ours else 0.0
            found.append((precision, float(hits.any(0).mean())))
    return max(p for p, _ in found), max(r for _, r in found)


def _overlaps(ours: Sequence[TimedCaption], theirs: Sequence[TimedCaption]) -> NDArray[np.float64]:
    """tIoU (P, Q) by the protocol: the union is at most the sum of the lengths."""
    a, b = (
        np.array([(c.start_seconds, c.end_seconds) for c in some], np.float64).reshape(-1, 2)
        for some in (ours, theirs)
    )
    a, b = a[:, None], b[None]
    shared = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    hull = np.maximum(a[..., 1], b[..., 1]) - np.minimum(a[..., 0], b[..., 0])
    lengths = np.diff(a)[..., 0] + np.diff(b)[..., 0]
    return np.maximum(shared, 0) / (np.minimum(hull, lengths) + 1e-8)
