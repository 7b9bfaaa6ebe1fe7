"""Measure how fast a model extracts features: ``python tools/benchmarks/extract_speed.py CONFIG
[options]``.

Prints one JSON line; see docs/speed.md. Weights are random; the features end in the host's memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable

import torch

from fusionreid.analysis.speed import PhaseTimer
from fusionreid.analysis.speed_runs import SpeedRun, add_speed_arguments, prepare
from fusionreid.errors import ScoringError, UserError
from fusionreid.evaluation.metrics.feature_collector import FeatureCollector


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure the speed of feature extraction')
    add_speed_arguments(parser)
    return parser.parse_args(argv)


def build_step(run: SpeedRun) -> Callable[[PhaseTimer], None]:
    """Make a step of extraction, split into its phases."""
    model = run.model.eval()
    collector = FeatureCollector()

    @torch.no_grad()
    def step(timer: PhaseTimer) -> None:
        with run.autocast():
            with timer.phase('data'):
                data = model.data_preprocessor(run.next_batch(), False)
            with timer.phase('forward'):
                samples = model(**data, mode='predict')
        with timer.phase('collect'):
            try:
                collector.add([sample.to_dict() for sample in samples])
            except ValueError as error:
                raise ScoringError(str(error)) from error

    return step


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        # Standard output is for the figures alone.
        with contextlib.redirect_stdout(sys.stderr):
            run = prepare(args, 'test_dataloader')
            result = run.report(1, lambda plain: build_step(run))
    except UserError as error:
        sys.exit(f'error: {error}')
    print(json.dumps(result))


if __name__ == '__main__':
    main()
