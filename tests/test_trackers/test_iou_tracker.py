"""The simple tracker by overlap."""

from __future__ import annotations

import numpy as np
import pytest

from fusionreid.errors import ConfigError
from fusionreid.trackers import IoUTracker


def walk(frame: int, start: float, speed: float) -> list[float]:
    left = start + speed * frame
    return [left, 50, left + 30, 130]


def test_two_who_cross_at_a_distance_keep_their_numbers():
    tracker = IoUTracker()
    for frame in range(20):
        right, left = walk(frame, 0, 6), walk(frame, 200, -6)
        left = [left[0], left[1] + 90, left[2], left[3] + 90]
        boxes = [right, left] if frame % 2 else [left, right]
        numbers = tracker.update(boxes, frame)
        if not frame % 2:
            numbers = numbers[::-1]
        if not frame:
            first = numbers.tolist()
        assert numbers.tolist() == first


def test_a_gap_is_bridged_at_the_speed_of_the_track():
    tracker = IoUTracker(max_gap=5)
    for frame in range(10):
        tracker.update([walk(frame, 0, 8)], frame)
    for frame in range(10, 15):
        assert tracker.update([], frame).shape == (0,)
    # Without its speed, 48 pixels on, nothing would overlap.
    assert tracker.update([walk(15, 0, 8)], 15).tolist() == [1]
    assert tracker.update([walk(22, 0, 8)], 22).tolist() == [2]


def test_the_nearest_box_wins_and_numbers_are_not_used_twice():
    tracker = IoUTracker()
    assert tracker.update([[0, 0, 10, 10]], 0).tolist() == [1]
    assert tracker.update([[3, 0, 13, 10], [1, 0, 11, 10]], 1).tolist() == [2, 1]
    assert tracker.update(np.array([[500, 0, 510, 10]]), 2).tolist() == [3]


@pytest.mark.parametrize('settings', [dict(min_iou=0), dict(min_iou=1.1), dict(max_gap=-1)])
def test_wrong_settings(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        IoUTracker(**settings)
