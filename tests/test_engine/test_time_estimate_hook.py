"""The line about how long a training takes."""

from __future__ import annotations

import logging
import re
import time
from types import SimpleNamespace

import pytest
import torch

from fusionreid.engine.hooks import TimeEstimateHook
from fusionreid.utils.durations import describe_duration


def train(steps: int, seconds: float, caplog) -> list[str]:
    """Lines of a training whose first step is slow."""
    logger = logging.getLogger('estimate')
    loop = SimpleNamespace(max_iters=steps, iter=0)
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1), train_loop=loop, logger=logger)
    hook = TimeEstimateHook(steps=3)
    caplog.clear()
    with caplog.at_level(logging.INFO, 'estimate'):
        hook.before_train(runner)
        for step in range(steps):
            time.sleep(10 * seconds if step == 0 else seconds)
            hook.after_train_iter(runner, step)
            loop.iter += 1
    return caplog.messages


def test_the_first_step_does_not_count(caplog):
    (line,) = train(40, 0.02, caplog)
    assert '36 steps are left' in line
    assert 0.02 <= float(re.search(r'each ([\d.]+) s', line)[1]) < 0.1


def test_a_short_training_says_nothing(caplog):
    assert train(3, 0, caplog) == []


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0, '0 s'),
        (59.7, '1 min'),
        (3599, '1 h'),
        (86_399, '1 d'),
        (90_000, '1 d 1 h'),
        (26_400, '7 h 20 min'),
    ],
)
def test_spans_in_words(seconds, text):
    assert describe_duration(seconds) == text
