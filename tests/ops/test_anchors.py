import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videozoo.ops.anchors import AnchorCoder
from videozoo.ops.tiou import tiou

CODER = AnchorCoder(64, (4, 8, 16, 32, 64))
WINDOWS = CODER.segments(np.zeros((len(CODER.anchors), 2)))


def test_there_are_seven_anchors_at_every_position_of_every_level():
    assert CODER.anchors.shape == (7 * (16 + 8 + 4 + 2 + 1), 2)
    assert CODER.anchors[:7, 1] == pytest.approx([4, 3.6, 4.4, 3.2, 4.8, 2.8, 5.2])
    assert CODER.anchors[-7:, 1] / 64 == pytest.approx([1, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65])
    assert set(CODER.anchors[-7:, 0]) == {32.0}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 14)), min_size=1, max_size=4))
def test_decoding_gives_back_what_was_encoded(pairs: list[tuple[int, int]]):
    segments = np.array([(start, start + length) for start, length in pairs], np.float64)
    numbers = np.arange(1, len(segments) + 1)

    offsets, labels = CODER.encode(segments, numbers)

    taught = np.flatnonzero(labels)
    np.testing.assert_allclose(
        CODER.segments(offsets)[taught], segments[labels[taught] - 1], atol=1e-9
    )
    overlaps = tiou(WINDOWS, segments)
    for anchor in taught.tolist():  # by its own overlap, or as the best anchor of a segment
        assert overlaps[anchor].max() >= 0.5 or (labels == labels[anchor]).sum() == 1
    distinct = len(np.unique(segments, axis=0))
    assert len(np.unique(labels[taught])) >= distinct


def test_the_segment_that_fits_best_chooses_first():
    anchor = WINDOWS[0]
    near = anchor + 0.1

    _, labels = CODER.encode([near, anchor], [1, 2])

    assert labels[0] == 2
    assert 1 in labels


def test_a_lone_further_anchor_stays_background():
    coder = AnchorCoder(64, (4,))
    segment = [[28.0, 30.15]]  # just two anchors overlap it by half
    overlaps = tiou(coder.segments(np.zeros((len(coder.anchors), 2))), segment)[:, 0]
    assert (overlaps >= 0.5).sum() == 2

    _, labels = coder.encode(segment, [1])

    assert labels.nonzero()[0].tolist() == [overlaps.argmax()]


def test_without_segments_all_is_background():
    offsets, labels = CODER.encode([], [])

    assert not offsets.any()
    assert not labels.any()


def test_candidates_are_shares_of_the_sequence_with_classes_from_0():
    scores = np.zeros((len(CODER.anchors), 3), np.float32)
    scores[:, 0] = 1.0
    scores[5, 2], scores[9, 1], scores[2, 1] = 0.9, 0.8, 0.01

    found = CODER.decode(np.zeros((len(scores), 2), np.float32), scores, score_threshold=0.1)

    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]
    np.testing.assert_allclose(found.segments, WINDOWS[[9, 5]] / 64)
    np.testing.assert_allclose(found.scores, [0.8, 0.9], rtol=1e-6)


def test_nothing_above_the_threshold_gives_nothing():
    scores = np.zeros((len(CODER.anchors), 3))

    found = CODER.decode(np.zeros((len(scores), 2)), scores, score_threshold=0.1)

    assert found.segments.shape == (0, 2)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="a stride of 5 does not divide 64"):
        AnchorCoder(64, (4, 5))
    with pytest.raises(ValueError, match="2 segments and 1 labels"):
        CODER.encode([[0, 1], [2, 3]], [1])
    with pytest.raises(ValueError, match=r"expected \(217, 2\)"):
        CODER.decode(np.zeros((3, 2)), np.zeros((3, 4)), score_threshold=0.1)
