"""Measure how fast a model extracts features.

    fusionreid benchmark extract CONFIG

Prints one JSON line; see docs/speed.md. Weights are random; the features end in the host's memory.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from fusionreid.evaluation.metrics.feature_collector import FeatureCollector
from fusionreid.models import inference_form

from .instruments import PhaseTimer, synchronize
from .model_speed import SpeedRun, add_speed_arguments, prepare
from .records import Record, print_records


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_speed_arguments(parser)


def build_step(run: SpeedRun, plain: bool, compiles: bool = True) -> Callable[[PhaseTimer], None]:
    """Make a step of extraction, split into its phases.

    Args:
        run: The model and its batches.
        plain: Whether the layers stay as they were trained.
        compiles: Whether a model that is to be compiled is.
    """
    model = run.model.eval()
    if not plain:
        model = inference_form(model, run.input_size)
        model.compiled = model.compiled and compiles
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


def compare_compiled(run: SpeedRun, compiled: Callable[[PhaseTimer], None]) -> dict[str, Any]:
    """Time what compiling costs, and what it gains.

    Args:
        run: The model and its batches.
        compiled: A step of the compiled model, which was not called yet.

    Returns:
        ``compile_s``, what the first step takes longer than another one; ``eager_images_per_s`` and
        ``compile_ratio``, the same model without compiling, in turns.
    """

    def first_step() -> float:
        start = time.perf_counter()
        compiled(PhaseTimer(run.device))
        synchronize(run.device)
        return time.perf_counter() - start

    compile_s = first_step() - first_step()
    eager = build_step(run, plain=False, compiles=False)
    turns = [
        (run.time(compiled)['images_per_s'], run.time(eager)['images_per_s'])
        for _ in range(run.args.rounds)
    ]
    return dict(
        compile_s=round(compile_s, 1),
        eager_images_per_s=statistics.median(theirs for _, theirs in turns),
        compile_ratio=round(statistics.median(ours / theirs for ours, theirs in turns), 3),
    )


def measure(args: argparse.Namespace) -> Iterator[Record]:
    """Measure as the arguments say.

    Yields:
        The figures.
    """
    speed = prepare(args, 'test_dataloader')
    # A step that is built anew would be compiled anew.
    step = functools.cache(functools.partial(build_step, speed))
    compared = compare_compiled(speed, step(False)) if speed.model.compiled else {}
    yield {**speed.report(1, step), **compared}


def run(args: argparse.Namespace) -> None:
    """Print the figures."""
    print_records(measure(args))
