"""Measure how far the values of a device are from what they should be.

    fusionreid benchmark exactness --device cuda
    fusionreid benchmark exactness ranking training --device cpu

Prints one JSON line for each comparison, and ends with status 1 if one deviates by more than it
may. The models are compared with values that were measured on the authors' released code, which
needs a clone of the repository; ranking and re-ranking with such values and with float64 on the
CPU; losses and a step of the optimizer with float64 on the CPU. fp32 is computed without TF32.
Mixed precision is measured and may deviate.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import Tensor

from fusionreid.config import read_config
from fusionreid.evaluation.functional import (
    evaluate_distances,
    evaluate_ranking,
    k_reciprocal_rerank,
    top_k,
)
from fusionreid.registry import MODELS, SCOPE
from fusionreid.structures import ReIDDataSample
from fusionreid.utils.device import find_device

from .golden_values import GoldenModel, read_golden, reference_images, relative_error
from .golden_variants import VARIANTS
from .model_speed import DTYPES
from .ranking import make_features
from .records import Record, print_records

CPU = torch.device('cpu')
STEP_CONFIG = 'fusionreid_vittiny_r18_synthetic'
STEP_BATCH = 32
# What fp32 may deviate by. The original's re-ranking keeps its weights in float16.
FEATURES, LOSSES, GRADIENTS = 1e-4, 1e-3, 1e-3
SCORES, DISTANCES, GOLDEN_DISTANCES = 1e-6, 1e-5, 5e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'checks',
        nargs='*',
        choices=list(CHECKS),
        metavar='CHECK',
        help=f'what to compare, of {", ".join(CHECKS)} (default: all)',
    )
    parser.add_argument('--device', default='cpu', help='cuda, cuda:1, cpu')


def measure(args: argparse.Namespace) -> Iterator[Record]:
    """Compare as the arguments say.

    Yields:
        ``check``, ``what``, ``precision``, ``deviation``; ``allowed`` and ``holds``, which are
        None where nothing is demanded.
    """
    device = find_device(args.device)
    for check in args.checks or CHECKS:
        with exact_products():
            for record in CHECKS[check](device):
                yield dict(check=check, device=device.type, **record)


def run(args: argparse.Namespace) -> int:
    """Print the comparisons; 1 if one deviates by more than it may, else 0."""
    wrong = 0

    def counted() -> Iterator[Record]:
        nonlocal wrong
        for record in measure(args):
            wrong += record['holds'] is False
            yield record

    print_records(counted())
    return 1 if wrong else 0


@contextmanager
def exact_products() -> Iterator[None]:
    """Compute products of float32 in float32, as a GPU may not do by itself (TF32).

    Yields:
        None; the computation belongs inside.
    """
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def mixed_precisions(device: torch.device) -> tuple[str, ...]:
    """Names of the mixed precisions that a device computes models in."""
    return ('bf16', 'fp16') if device.type == 'cuda' else ('bf16',)


def compared(
    what: str, deviation: float, allowed: float | None = None, precision: str = 'fp32'
) -> Record:
    """Describe a comparison.

    Args:
        what: What was compared.
        deviation: How far it is from what it should be.
        allowed: How far it may be; None where nothing is demanded.
        precision: In which it was computed.

    Returns:
        The record; a deviation that is not finite is None and does not hold.

    Example:
        >>> compared('features', 0.5, 1e-4)['holds'], compared('features', 0.5)['holds']
        (False, None)
    """
    finite = math.isfinite(deviation)
    return dict(
        what=what,
        precision=precision,
        deviation=deviation if finite else None,
        allowed=allowed,
        holds=None if allowed is None and finite else finite and deviation <= (allowed or 0),
    )


# ---- the models


def compare_golden_model(variant: str, device: torch.device) -> Iterator[Record]:
    """Compare a model with the values that were measured on the authors' code.

    Args:
        variant: One of ``VARIANTS``.
        device: Where it computes.

    Yields:
        The comparisons.
    """
    golden = GoldenModel(variant, device)
    before, after = golden.features()
    yield compared('features', relative_error(before, golden.golden['feat_before']), FEATURES)
    yield compared(
        'features after the BNNecks', relative_error(after, golden.golden['feat_after']), FEATURES
    )
    for precision in mixed_precisions(device):
        with torch.autocast(device.type, DTYPES[precision]):
            mixed = golden.features()[0]
        error = relative_error(mixed, golden.golden['feat_before'])
        yield compared('features', error, None, precision)
    losses, norms = golden.losses_and_gradients()
    for kind, values in losses.items():
        expected = golden.golden[f'train_{kind}_loss']
        error = max(
            abs(value / float(true) - 1) for value, true in zip(values, expected, strict=True)
        )
        yield compared(f'{kind} losses', error, LOSSES)
    yield compared('norms of gradients', max(norms.errors().values()), GRADIENTS)


# ---- ranking


def compare_ranking(device: torch.device) -> Iterator[Record]:
    """Compare ranking, search and re-ranking with golden values, and with float64 on the CPU.

    Args:
        device: Where they compute.

    Yields:
        The comparisons.
    """
    yield from _compare_golden_ranking(device)
    made = make_features('small', dim=256, seed=0)
    wide = {name: value.double() if 'features' in name else value for name, value in made.items()}
    here = {name: value.to(device) for name, value in made.items()}
    expected, found = (evaluate_ranking(*data.values()) for data in (wide, here))
    yield compared('mAP', abs(found.mAP - expected.mAP), SCORES)
    yield compared('CMC', (found.cmc.cpu() - expected.cmc).abs().max().item(), SCORES)
    yield compared('mINP', abs(found.mINP - expected.mINP), SCORES)
    lists, exact = _search_and_rerank(wide)
    own_lists, distances = _search_and_rerank(here)
    other = (own_lists != lists).double().mean().item()
    yield compared('share of other answers among ten', other, 0.0)
    yield compared('re-ranked distances', (distances - exact).abs().max().item(), DISTANCES)
    labels = tuple(made.values())[2:]
    before, after = (evaluate_distances(each, *labels).mAP for each in (exact, distances))
    yield compared('mAP after re-ranking', abs(after - before), DISTANCES)


def _compare_golden_ranking(device: torch.device) -> Iterator[Record]:
    golden = read_golden('ranking')
    features = torch.from_numpy(golden['features']).to(device)
    count = int(golden['num_query'])
    pair = features[:count], features[count:]
    people, cameras = (torch.from_numpy(golden[name]) for name in ('pid', 'cam'))
    labels = people[:count], people[count:], cameras[:count], cameras[count:]
    scores = evaluate_ranking(*pair, *labels)
    curve = torch.from_numpy(golden['cmc'])
    error = max(
        abs(scores.mAP - float(golden['mAP'])), (scores.cmc.cpu() - curve).abs().max().item()
    )
    yield compared('golden mAP and CMC', error, SCORES)
    distances = k_reciprocal_rerank(*pair, k1=20, k2=6).cpu()
    error = (distances - torch.from_numpy(golden['rerank_20_6_dist'])).abs().mean().item()
    yield compared('golden re-ranked distances', error, GOLDEN_DISTANCES)


def _search_and_rerank(data: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The ten nearest of each query, and re-ranked distances, on the CPU."""
    query, gallery = data['query_features'], data['gallery_features']
    return top_k(query, gallery, 10).indices.cpu(), k_reciprocal_rerank(query, gallery).cpu()


# ---- a step of training


def compare_training(device: torch.device) -> Iterator[Record]:
    """Compare the losses of a small model and a step of its optimizer with float64 on the CPU.

    Args:
        device: Where it trains.

    Yields:
        The comparisons.
    """
    cfg = read_config(STEP_CONFIG)
    cfg.model.branches.transformer.backbone.drop_path_rate = 0.0  # draws other numbers elsewhere
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = MODELS.build(cfg.model)
        exact, step = train_once(copy.deepcopy(model).double(), cfg.input_size, 'fp32')
        for precision in ('fp32', *mixed_precisions(device)):
            losses, found = train_once(copy.deepcopy(model).to(device), cfg.input_size, precision)
            demanded = precision == 'fp32'
            error = ((losses.cpu().double() - exact).abs() / exact.abs()).max().item()
            yield compared('losses of a step', error, LOSSES if demanded else None, precision)
            error = ((found.cpu().double() - step).norm() / step.norm()).item()
            yield compared('the step itself', error, GRADIENTS if demanded else None, precision)


def train_once(model: Any, input_size: tuple[int, int], precision: str) -> tuple[Tensor, Tensor]:
    """Do one step of SGD.

    Args:
        model: The model, on its device.
        input_size: Height and width of the images.
        precision: A key of ``DTYPES``.

    Returns:
        The losses, and by how much all weights have changed, one after the other.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    wrapper: dict[str, Any] = dict(
        constructor='MergedParamGroups', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)
    )
    if precision == 'fp32':
        wrapper['type'] = 'OptimWrapper'
    else:
        # A dynamic scale would skip its first steps.
        dtype = str(DTYPES[precision]).removeprefix('torch.')
        wrapper.update(type='ReIDAmpOptimWrapper', dtype=dtype, loss_scale=128.0)
    optimizer = build_optim_wrapper(model, wrapper)
    images = reference_images(8, STEP_BATCH, *input_size).to(weights[0])
    samples = [
        ReIDDataSample(metainfo=dict(camera_id=row % 2, person_id=row // 2))
        for row in range(STEP_BATCH)
    ]
    with optimizer.optim_context(model):
        losses = model.train()(images, samples, mode='loss')
    optimizer.update_params(sum(losses.values()))
    changes = [
        (weight.detach() - old).flatten() for weight, old in zip(weights, before, strict=True)
    ]
    return torch.stack([loss.detach() for loss in losses.values()]), torch.cat(changes)


CHECKS: dict[str, Callable[[torch.device], Iterator[Record]]] = {
    **{variant: partial(compare_golden_model, variant) for variant in VARIANTS},
    'ranking': compare_ranking,
    'training': compare_training,
}
