"""Measure how fast runtimes compute the features of a model, against eager PyTorch.

    fusionreid benchmark runtimes CONFIG
    fusionreid benchmark runtimes CONFIG CHECKPOINT --csv speeds.csv

Without a checkpoint the weights are random, which computes as fast. The model is exported once and
compared with PyTorch. All variants then compute in turns, in one process, so that what else the
machine does touches all alike; ratios are medians over the rounds. Ranges for int8 come from
rendered people, and the loss by int8 is not measured here: ``fusionreid export`` does that.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from mmengine.config import Config
from mmengine.registry import DefaultScope

from fusionreid.apis import FeatureExtractor
from fusionreid.config import merge_options, open_counts, read_config
from fusionreid.evaluation.functional.progress import Progress
from fusionreid.export import ExportSettings, PersonImages, export_model
from fusionreid.export.formats import EXPORTERS
from fusionreid.export.quantization import INT8, calibration_inputs, quantize
from fusionreid.registry import MODELS, RUNTIMES, SCOPE
from fusionreid.runtimes import ExportedModel, ExportManifest
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say, say_lines

from ..arguments import positive
from ..export import render_people
from ..option_actions import OptionAction
from ..output_file import check_output_file
from .instruments import PeakMemory

EAGER = 'pytorch'
# Format and precisions of each runtime; PyTorch computes the model itself.
RUNTIME_FORMATS = {EAGER: '', 'onnxruntime': 'onnx', 'openvino': 'openvino'}
RUNTIME_PRECISIONS = {
    EAGER: ('fp32', 'bf16'),
    'onnxruntime': ('fp32', INT8),
    'openvino': ('fp32', 'bf16', INT8),
}
PRECISIONS = ('fp32', 'bf16', INT8)
HINTS = {'openvino': ('latency', 'throughput')}
# Calls in a row of the smallest batches, for percentiles.
SMALL_BATCH_CALLS = 5
COLUMNS = (
    'date machine threads config runtime precision hint batch_size median_ms p95_ms images_per_s '
    'ratio size_mb memory_mib'
).split()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', help='name or path of a config')
    parser.add_argument('checkpoint', nargs='?', help='trained model (default: random weights)')
    parser.add_argument(
        '--batch-sizes', type=positive, nargs='+', default=[1, 8, 32], help='images per call'
    )
    parser.add_argument(
        '--runtimes', nargs='+', choices=RUNTIME_FORMATS, default=[*RUNTIME_FORMATS]
    )
    parser.add_argument('--precisions', nargs='+', choices=PRECISIONS, default=[*PRECISIONS])
    parser.add_argument('--rounds', type=positive, default=10, help='turns of every variant')
    parser.add_argument(
        '--calibration-images', type=positive, default=32, help='rendered people, for int8'
    )
    parser.add_argument(
        '--threads', type=positive, help='of the computation (default: all that may be used)'
    )
    parser.add_argument('--csv', type=Path, metavar='FILE', help='also write the figures there')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        help='overrides of the config, e.g. model.head.num_classes=100',
    )


@dataclass
class Variant:
    """A runtime in one precision, ready to compute.

    Args:
        runtime: Its name.
        precision: ``'fp32'``, ``'bf16'`` or ``'int8'``.
        hint: What OpenVINO is told to be good at; empty for the others.
        compute: Computes the features of a batch, as :meth:`~fusionreid.models.FusionReID.test_step`
            takes it.
        size: Bytes of its files.
        memory: Bytes that loading it and one batch of the largest size took.
        seconds: Seconds of each call, by batch size.
    """

    runtime: str
    precision: str
    hint: str
    compute: Callable[[dict[str, Any]], object]
    size: int
    memory: int = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """All that tells it from the others."""
        return ' '.join(filter(None, (self.runtime, self.precision, self.hint)))


def run(args: argparse.Namespace) -> None:
    """Export, measure, and print the figures."""
    if args.csv is not None:
        check_output_file(args.csv)
    threads = args.threads or cpu_count()
    torch.set_num_threads(threads)
    cfg = read_model_config(args)
    with tempfile.TemporaryDirectory() as folder:
        extractor = build_extractor(cfg, args.checkpoint, Path(folder))
        variants = list(load_variants(extractor, args, threads, Path(folder)))
        measure(variants, make_batches(extractor, cfg, args.batch_sizes), args.rounds)
    records = [
        dict(
            date=datetime.date.today().isoformat(),
            machine=machine_name(),
            threads=threads,
            config=Path(cfg.filename).stem,
            **record,
        )
        for record in summarize(variants)
    ]
    say_lines(as_table(records))
    if args.csv is not None:
        with args.csv.open('w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(records)


def read_model_config(args: argparse.Namespace) -> Config:
    """Read the config; counts that it leaves to the training set are 1, which costs no time."""
    cfg = read_config(args.config)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    if args.checkpoint is None:
        cfg.merge_from_dict(dict.fromkeys(open_counts(cfg.model), 1))
    return cfg


def build_extractor(cfg: Config, checkpoint: str | None, folder: Path) -> FeatureExtractor:
    """Load the model, or build it with random weights.

    Args:
        cfg: Its config.
        checkpoint: Its weights; None for random ones.
        folder: Where random weights go.

    Returns:
        The model with its pipeline.
    """
    if checkpoint is None:
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(SCOPE):
            state = MODELS.build(cfg.model).state_dict()
        checkpoint = str(folder / 'random.pth')
        torch.save(dict(state_dict=state), checkpoint)
    return FeatureExtractor(checkpoint, cfg)


def load_variants(
    extractor: FeatureExtractor, args: argparse.Namespace, threads: int, folder: Path
) -> Iterator[Variant]:
    """Export the model and load it into each runtime, in each precision.

    Args:
        extractor: The model.
        args: The arguments.
        threads: Threads of the computation.
        folder: Where exported models go.

    Yields:
        The variants, eager PyTorch in fp32 first.
    """
    batch = next(make_batches(extractor, None, [max(args.batch_sizes)]))[1]
    weights = Path(extractor.spec.checkpoint or '').stat().st_size
    for precision in RUNTIME_PRECISIONS[EAGER]:
        # Eager fp32 is what the others are compared with.
        if precision == 'fp32' or (EAGER in args.runtimes and precision in args.precisions):
            step = eager_step(extractor, precision)
            yield _first_call(lambda step=step: step, batch, EAGER, precision, '', weights)
    chosen = [
        (runtime, precision)
        for runtime in RUNTIME_FORMATS
        if runtime in args.runtimes and runtime != EAGER
        for precision in RUNTIME_PRECISIONS[runtime]
        if precision in args.precisions
    ]
    if not chosen:
        return
    (folder / 'people').mkdir()
    paths = render_people(folder / 'people')
    say('exporting, and comparing with PyTorch', sys.stderr)
    manifest, _ = export_model(extractor, folder / 'onnx', ExportSettings(), paths[:4])
    people = PersonImages('rendered people', paths, [-1] * len(paths))
    inputs = calibration_inputs(extractor, manifest, people.spread(args.calibration_images))
    for runtime, precision in chosen:
        say(f'making {runtime} {precision}', sys.stderr)
        target = folder / f'{runtime}_{precision}'
        own = convert(folder / 'onnx', manifest, target, RUNTIME_FORMATS[runtime], precision, inputs)
        size = sum(path.stat().st_size for path in target.iterdir())
        for hint in HINTS.get(runtime, ('',)):
            settings = dict(hint=hint) if hint else {}

            def load(
                kind: Any = RUNTIMES.get(runtime),
                target: Path = target,
                own: ExportManifest = own,
                settings: dict[str, str] = settings,
            ) -> Callable[[dict[str, Any]], object]:
                return ExportedModel(kind(target, own, threads=threads, **settings)).test_step

            yield _first_call(load, batch, runtime, precision, hint, size)


def convert(
    source: Path,
    manifest: ExportManifest,
    target: Path,
    model_format: str,
    precision: str,
    inputs: list[dict[str, Any]],
) -> ExportManifest:
    """Make a model of another format or precision of an ONNX model in fp32.

    Args:
        source: Its folder.
        manifest: What it is.
        target: Folder of the new one, which is made.
        model_format: ``'onnx'`` or ``'openvino'``.
        precision: ``'fp32'``, ``'bf16'`` or ``'int8'``.
        inputs: Arrays by name, for int8.

    Returns:
        What the new one is.
    """
    target.mkdir()
    exporter: Any = EXPORTERS[model_format](precision)
    if model_format == 'onnx':
        import onnx

        exporter.model = onnx.load(source / manifest.model_file)
    else:
        import openvino

        exporter.model = openvino.Core().read_model(source / manifest.model_file)
    if precision == INT8:
        exporter.model = quantize(exporter.model, inputs)
    exporter.save(target, {})
    return replace(
        manifest, model_format=model_format, model_file=exporter.file, precision=precision
    )


def eager_step(
    extractor: FeatureExtractor, precision: str
) -> Callable[[dict[str, Any]], object]:
    """Make a step of PyTorch, as extraction does it."""
    dtype = dict(fp32=torch.float32, bf16=torch.bfloat16)[precision]

    @torch.no_grad()
    def step(data: dict[str, Any]) -> object:
        with torch.autocast('cpu', dtype, enabled=precision != 'fp32'):
            return extractor.model.test_step(data)

    return step


def make_batches(
    extractor: FeatureExtractor, cfg: Config | None, sizes: list[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Make batches of pixels, of the size that the pipeline gives."""


def _first_call(
    load: Callable[[], Callable[[dict[str, Any]], object]],
    batch: dict[str, Any],
    runtime: str,
    precision: str,
    hint: str,
    size: int,
) -> Variant:
    """Load a variant and call it once, which also allocates its memory."""
    with PeakMemory(torch.device('cpu')) as peak:
        compute = load()
        compute(batch)
    return Variant(runtime, precision, hint, compute, size, peak.bytes)
