"""Reads the results that ``fusionreid ablate`` has written, also while it is going on."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from fusionreid.errors import UserError

METRICS = ('mAP', 'Rank-1')
# Scores by name, one for each seed.
Scores = dict[str, list[float]]


def read_runs(folder: Path, feature: str) -> tuple[dict[Path, Scores], set[int]]:
    """Read the results of all models of an ablation.

    Args:
        folder: Folder of the ablation.
        feature: Feature whose scores are read.

    Returns:
        Scores by the folder of each model, which holds its ``config.py``; and all seeds.

    Raises:
        UserError: The folder holds no results, or one is damaged or lacks the feature.
    """
    files = sorted(folder.glob('*/seed*/result.json'))
    if not files:
        raise UserError(f'{folder} holds no results of fusionreid ablate: no */seed*/result.json')
    by_model: dict[Path, Scores] = defaultdict(lambda: {name: [] for name in METRICS})
    seeds: set[int] = set()
    for file in files:
        seed, own = _read_result(file, feature)
        seeds.add(seed)
        for name in METRICS:
            by_model[file.parents[1]][name].append(own[name])
    return dict(by_model), seeds


def _read_result(file: Path, feature: str) -> tuple[int, dict[str, float]]:
    """Seed and scores of one run."""
    try:
        record = json.loads(file.read_text())
        scores, seed = record['scores'], int(record['seed'])
        # A branch alone has one feature, which stands for all.
        own = scores.get(feature) or (next(iter(scores.values())) if len(scores) == 1 else None)
        if own is None:
            raise UserError(f'{file} has no feature {feature!r}; it has {", ".join(scores)}')
        return seed, {name: float(own[name]) for name in METRICS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{file} is no result of fusionreid ablate: {error!r}') from error
