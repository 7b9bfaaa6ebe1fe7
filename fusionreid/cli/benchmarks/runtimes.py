"""Measure how fast runtimes compute the features of a model, against eager PyTorch.

    fusionreid benchmark runtimes CONFIG
    fusionreid benchmark runtimes CONFIG CHECKPOINT --csv speeds.csv

Without a checkpoint the weights are random, which computes as fast. The model is exported once and
compared with PyTorch. Each runtime in each precision then computes in turns with eager PyTorch, in
one process, so that what else the machine does touches both alike, and leaves the memory before the
next is loaded; ratios are medians over the rounds. Ranges for int8 come from rendered people, and
the loss by int8 is not measured here: ``fusionreid export`` does that.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from mmengine.config import Config
from mmengine.registry import DefaultScope

from fusionreid.apis import FeatureExtractor
from fusionreid.config import merge_options, open_counts, read_config
from fusionreid.export import ExportSettings, PersonImages, export_model
from fusionreid.export.formats import EXPORTERS
from fusionreid.export.quantization import INT8, calibration_inputs, quantize, read_model
from fusionreid.registry import MODELS, RUNTIMES, SCOPE
from fusionreid.runtimes import ExportedModel, ExportManifest
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.machine import processor_name
from fusionreid.utils.progress import Progress
from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import say, say_lines

from ..arguments import positive
from ..export import render_people
from ..option_actions import OptionAction
from ..output_file import check_output_file
from .instruments import PeakMemory
from .records import Record

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
# Runtimes that can be compiled for one batch size.
FIXED_BATCH = ('openvino',)
# Calls in a row of the smallest batches, for percentiles.
SMALL_BATCH_CALLS = 5
RUN_COLUMNS = ('date', 'machine', 'threads', 'config')
SPEED_COLUMNS = (
    'runtime',
    'precision',
    'hint',
    'batch_size',
    'median_ms',
    'p95_ms',
    'images_per_s',
    'ratio',
    'size_mb',
    'memory_mib',
)


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
        hint: What OpenVINO is told to be good at, and whether it knows the batch size; empty for
            the others.
        compute: Computes the features of a batch that :func:`make_batch` made.
        size: Bytes of its files.
        memory: Bytes that loading it and one batch of the largest size took.
        batch_size: The only one that it computes; None computes any.
        seconds: Seconds of each call, by batch size.
    """

    runtime: str
    precision: str
    hint: str
    compute: Callable[[dict[str, Any]], object]
    size: int
    memory: int = 0
    batch_size: int | None = None
    seconds: dict[int, list[float]] = field(default_factory=dict)


def measure(args: argparse.Namespace) -> Iterator[Record]:
    """Export the model, and measure as the arguments say.

    Yields:
        For each variant and batch size the columns of the table.
    """
    threads = args.threads or cpu_count()
    torch.set_num_threads(threads)
    cfg = read_model_config(args)
    known: Record = dict(
        date=datetime.date.today().isoformat(),
        machine=processor_name(),
        threads=threads,
        config=Path(cfg.filename).stem,
    )
    with tempfile.TemporaryDirectory() as folder:
        extractor = build_extractor(cfg, args.checkpoint, Path(folder))
        batches = {size: make_batch(extractor, size) for size in sorted(set(args.batch_sizes))}
        loaded = load_eager(extractor, 'fp32', batches)
        first = True
        for variants in load_variants(extractor, args, threads, Path(folder), batches):
            eager = replace(loaded, seconds={})
            take_turns([eager, *variants], batches, args.rounds)
            # PyTorch's own figures are those of its first turns.
            for record in summarize([eager, *variants] if first else variants, eager):
                yield known | record
            first = False
            variants.clear()
            gc.collect()


def run(args: argparse.Namespace) -> None:
    """Measure, and print the figures as a table."""
    if args.csv is not None:
        check_output_file(args.csv)
    records = list(measure(args))
    say_lines(as_table(records))
    if args.csv is not None:
        columns = [*RUN_COLUMNS, *SPEED_COLUMNS]
        with args.csv.open('w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, columns, extrasaction='ignore')
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
        if not state:
            return FeatureExtractor(config=cfg)
        checkpoint = str(folder / 'random.pth')
        torch.save(dict(state_dict=state), checkpoint)
    return FeatureExtractor(checkpoint, cfg)


def load_eager(
    extractor: FeatureExtractor, precision: str, batches: dict[int, dict[str, Any]]
) -> Variant:
    """Let PyTorch compute the model itself.

    Args:
        extractor: The model.
        precision: ``'fp32'`` or ``'bf16'``.
        batches: Batches by size.

    Returns:
        The variant.
    """
    file = extractor.spec.checkpoint
    weights = 0 if file is None else Path(file).stat().st_size
    load = partial(eager_step, extractor, precision)
    variant = _first_call(load, batches[max(batches)], EAGER, precision, '', weights)
    # Its weights were there before.
    variant.memory += weights
    return variant


def load_variants(
    extractor: FeatureExtractor,
    args: argparse.Namespace,
    threads: int,
    folder: Path,
    batches: dict[int, dict[str, Any]],
) -> Iterator[list[Variant]]:
    """Export the model and load it into each runtime, in each precision.

    Args:
        extractor: The model.
        args: The arguments.
        threads: Threads of the computation.
        folder: Where exported models go.
        batches: Batches by size.

    Yields:
        What is measured together: PyTorch in other precisions than fp32, which may be nothing,
        then each runtime in each precision.
    """
    chosen = [
        (runtime, precision)
        for runtime in RUNTIME_FORMATS
        if runtime in args.runtimes and runtime != EAGER
        for precision in RUNTIME_PRECISIONS[runtime]
        if precision in args.precisions
    ]
    others = [
        load_eager(extractor, precision, batches)
        for precision in RUNTIME_PRECISIONS[EAGER]
        if precision != 'fp32' and EAGER in args.runtimes and precision in args.precisions
    ]
    if others or not chosen:
        yield others
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
        own = convert(
            folder / 'onnx', manifest, target, RUNTIME_FORMATS[runtime], precision, inputs
        )
        size = sum(path.stat().st_size for path in target.iterdir())
        settings: list[tuple[str, dict[str, Any]]] = [
            (hint, dict(threads=threads, **(dict(hint=hint) if hint else {})))
            for hint in HINTS.get(runtime, ('',))
        ]
        if runtime in FIXED_BATCH:
            settings += [
                ('latency, fixed batch', dict(threads=threads, batch_size=batch_size))
                for batch_size in batches
            ]
        variants = []
        for hint, setting in settings:
            load = partial(exported_step, runtime, target, own, setting)
            only = setting.get('batch_size')
            batch = batches[only or max(batches)]
            variants.append(_first_call(load, batch, runtime, precision, hint, size))
            variants[-1].batch_size = only
        yield variants


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
    exporter.model = read_model(source / manifest.model_file, model_format)
    if precision == INT8:
        exporter.model = quantize(exporter.model, inputs)
    exporter.save(target, {})
    return replace(
        manifest, model_format=model_format, model_file=exporter.file, precision=precision
    )


def eager_step(extractor: FeatureExtractor, precision: str) -> Callable[[dict[str, Any]], object]:
    """Make a step of PyTorch, as extraction does it.

    Args:
        extractor: The model.
        precision: ``'fp32'``, or ``'bf16'`` for automatic mixed precision.

    Returns:
        Computes the features of a batch.
    """
    dtype = dict(fp32=torch.float32, bf16=torch.bfloat16)[precision]

    @torch.no_grad()
    def step(data: dict[str, Any]) -> object:
        with torch.autocast('cpu', dtype, enabled=precision != 'fp32'):
            return extractor.model.test_step(data)

    return step


def exported_step(
    runtime: str, folder: Path, manifest: ExportManifest, settings: dict[str, Any]
) -> Callable[[dict[str, Any]], object]:
    """Load an exported model into a runtime and make a step of it.

    Args:
        runtime: Name of the runtime.
        folder: Folder of the model.
        manifest: What it is.
        settings: Settings of the runtime.

    Returns:
        Computes the features of a batch.
    """
    return ExportedModel(RUNTIMES.get(runtime)(folder, manifest, **settings)).test_step


def make_batch(extractor: FeatureExtractor, size: int) -> dict[str, Any]:
    """Make a batch of pixels, as testing gives them to a model.

    Args:
        extractor: The model, whose pipeline says how large images are.
        size: Images.

    Returns:
        ``inputs`` and ``data_samples``.
    """
    (batch,) = extractor.prepare([np.zeros((64, 32, 3), np.uint8)])
    shape = (size, *batch.samples[0]['inputs'].shape)
    generator = torch.Generator().manual_seed(size)
    return dict(
        inputs=list(torch.randint(256, shape, generator=generator, dtype=torch.uint8)),
        data_samples=[ReIDDataSample(metainfo=dict(camera_id=-1)) for _ in range(size)],
    )


def take_turns(variants: list[Variant], batches: dict[int, dict[str, Any]], rounds: int) -> None:
    """Let all variants compute in turns.

    Args:
        variants: The variants, whose ``seconds`` are filled.
        batches: Batches by size.
        rounds: Turns.
    """
    calls = {size: SMALL_BATCH_CALLS if size == min(batches) else 1 for size in batches}
    turns = [
        (size, variant)
        for size in batches
        for variant in variants
        if variant.batch_size in (None, size)
    ]
    images = sum(size * calls[size] for size, _ in turns)
    label = f'{variants[-1].runtime} {variants[-1].precision}, images'
    progress = Progress(label, images * rounds)
    done = 0
    for _ in range(rounds):
        for size, variant in turns:
            for _ in range(calls[size]):
                start = time.perf_counter()
                variant.compute(batches[size])
                variant.seconds.setdefault(size, []).append(time.perf_counter() - start)
                done += size
                progress.update(done)


def summarize(variants: list[Variant], eager: Variant) -> Iterator[dict[str, Any]]:
    """Condense the seconds of variants.

    Args:
        variants: The variants.
        eager: PyTorch in fp32, in turns with them.

    Yields:
        For each variant and batch size the columns of the table, and the images/s of each call.
    """
    for variant in variants:
        for size, seconds in variant.seconds.items():
            median = statistics.median(seconds)
            # Turn by turn, since the speed of a shared machine drifts.
            ratio = statistics.median(
                theirs / own for theirs, own in zip(eager.seconds[size], seconds, strict=True)
            )
            yield dict(
                runtime=variant.runtime,
                precision=variant.precision,
                hint=variant.hint,
                batch_size=size,
                median_ms=round(1e3 * median, 2),
                p95_ms=round(1e3 * float(np.quantile(seconds, 0.95)), 2),
                images_per_s=round(size / median, 2),
                ratio=round(ratio, 2),
                speeds=[round(size / each, 2) for each in seconds],
                size_mb=round(variant.size / 1e6, 1),
                memory_mib=round(variant.memory / 2**20),
            )


def as_table(records: list[dict[str, Any]]) -> str:
    """Lay out the figures for a terminal."""
    first = records[0]
    rows = [[str(record[name]) for name in SPEED_COLUMNS] for record in records]
    table = format_table([SPEED_COLUMNS, *rows], rule=True)
    return (
        f'{table}\n'
        f'{first["config"]}, {first["threads"]} threads, {first["machine"]}, {first["date"]}; '
        f'ratio: to the images/s of {EAGER} fp32'
    )


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
