"""What a training run logged, read from its work directory."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from fusionreid.errors import UserError


@dataclass(frozen=True)
class TrainingHistory:
    """What a run logged, by epoch.

    Attributes:
        train: Epoch (from 1) to the mean of every scalar logged while training in it.
        val: Epoch (0 is before training) to the metrics found after it.
    """

    train: dict[int, dict[str, float]]
    val: dict[int, dict[str, float]]


def read_training_history(work_dir: str | Path) -> TrainingHistory:
    """Read what mmengine's ``LocalVisBackend`` wrote into a work directory.

    Every start of a run has its own ``<timestamp>/vis_data/scalars.json``. A resumed run repeats
    the epoch in which it was stopped: from its first epoch on, the later start counts.

    Args:
        work_dir: The ``work_dir`` of an epoch-based run.

    Returns:
        The history of all starts together.

    Raises:
        UserError: If there is no scalars file, a line cannot be parsed or no epoch of training was
            logged.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise UserError(
            f'{work_dir} holds no <timestamp>/vis_data/scalars.json; '
            'give the work_dir of a training run that used LocalVisBackend'
        )
    train: dict[int, dict[str, float]] = {}
    val: dict[int, dict[str, float]] = {}
    for file in files:
        started = _read_start(file)
        if not started.train:  # a validation alone
            val = started.val | val
            continue
        first = min(started.train)
        train = {epoch: row for epoch, row in train.items() if epoch < first} | started.train
        val = {epoch: row for epoch, row in val.items() if epoch < first} | started.val
    if not train:
        raise UserError(f'{work_dir}: no epoch of training was logged yet')
    return TrainingHistory(train, val)


def _read_start(file: Path) -> TrainingHistory:
    """Read one scalars file: training records name their epoch, metrics have it as their step."""
    collected: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    val: dict[int, dict[str, float]] = {}
    lines = file.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break  # a run that was killed may leave half a line at the end
            raise UserError(f'{file}, line {number} is not JSON: {error}') from error
        scalars = {key: float(value) for key, value in record.items() if _is_number(value)}
        if 'epoch' in scalars:
            for key, value in scalars.items():
                collected[int(scalars['epoch'])][key].append(value)
        elif 'step' in scalars:
            val.setdefault(int(scalars['step']), {}).update(scalars)
    train = {
        epoch: {key: sum(values) / len(values) for key, values in columns.items()}
        for epoch, columns in collected.items()
    }
    return TrainingHistory(train, val)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
