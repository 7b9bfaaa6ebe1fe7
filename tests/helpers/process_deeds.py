"""What one process of a training does wrong, or slowly; a config imports this module.

The variable ``DEED`` of the environment names the deed, ``PAUSE`` the seconds of a slow one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from mmengine.hooks import IterTimerHook, ParamSchedulerHook

from fusionreid.datasets import ReIDDataset
from fusionreid.engine.rank_watch import long_work
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.models import FusionReID

RANK, DEED = int(os.environ['RANK']), os.environ['DEED']


def before(owner: type, method: str, act: Callable[[], None], calls: int = 0) -> None:
    """Let a method of a class do something first, after some calls without it."""
    done = getattr(owner, method)
    left = calls

    def acting(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            act()
        return done(*args, **kwargs)

    setattr(owner, method, acting)


def hang() -> None:
    while True:
        time.sleep(1)


def pause() -> None:
    time.sleep(float(os.environ['PAUSE']))


def declared_pause() -> None:
    with long_work('uploading'):
        pause()


if RANK == 1 and DEED == 'dies at once':
    os._exit(3)
elif RANK == 1 and DEED == 'hangs in its data loader':
    before(ReIDDataset, '__getitem__', hang, calls=20)
elif RANK == 1 and DEED == 'hangs in its forward':
    before(FusionReID, 'forward', hang, calls=2)
elif RANK == 1 and DEED == 'hangs in a hook':
    before(IterTimerHook, '_after_iter', hang, calls=2)
elif RANK == 1 and DEED == 'hangs in scoring':
    before(ReIDMetric, 'compute_metrics', hang)
elif RANK == 0 and DEED == 'is slow where that is declared':
    before(ReIDMetric, 'compute_metrics', pause)
    before(ParamSchedulerHook, 'after_train_epoch', declared_pause)
    import torch

    save = torch.save

    def slow_save(*args: Any, **kwargs: Any) -> None:
        pause()
        save(*args, **kwargs)

    torch.save = slow_save
