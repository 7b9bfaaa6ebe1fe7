"""Measure how fast a model extracts features.

    fusionreid benchmark extract CONFIG

Prints one JSON line; see docs/speed.md. Weights are random; the features end in the host's memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from fusionreid.evaluation.metrics.feature_collector import FeatureCollector
from fusionreid.models import inference_form

from .instruments import PhaseTimer
from .model_speed import SpeedRun, add_speed_arguments, prepare, print_figures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_speed_arguments(parser)


def build_step(run: SpeedRun, plain: bool) -> Callable[[PhaseTimer], None]:
    """Make a step of extraction, split into its phases.

    Args:
        run: The model and its batches.
        plain: Whether the layers stay as they were trained.
    """
    model = run.model.eval()
    if not plain:
        model = inference_form(model, run.input_size)
    collector = FeatureCollector()

    @torch.no_grad()
    def step(timer: PhaseTimer) -> None:
        with run.autocast():
            with timer.phase('data'):
                data = model.data_preprocessor(run.next_batch(), False)
            with timer.phase('forward'):
                samples = model(**data, mode='predict')
        with timer.phase('collect'):
            collector.add([sample.to_dict() for sample in samples])

    return step


def run(args: argparse.Namespace) -> None:
    """Print the figures."""
    with print_figures() as figures:
        speed = prepare(args, 'test_dataloader')
        figures.update(speed.report(1, lambda plain: build_step(speed, plain)))
