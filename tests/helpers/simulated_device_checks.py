"""Checks on the simulated device, for ``test_simulated_device.py``, which runs this as a script.

A registered device stays registered, so these run in a process of their own. Writes one JSON object
into the file that is named: for each check nothing, or what went wrong.
"""

from __future__ import annotations

import copy
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from scarce_memory import no_memory_for_more_than
from simulated_device import DEVICE, MixedDevicesError, SimulatedDevice, SimulatedTensor
from small_models import fusion_model
from torch import Tensor

import fusionreid.evaluation.functional as scoring
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

Move = Callable[[Tensor], Tensor]
CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


def made_up_test_set(width: int = 16) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Queries, gallery, and ids and cameras of both; the first two columns have many ties."""
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 12, (300,), generator=random)
    cameras = torch.randint(0, 4, (300,), generator=random)
    people = torch.randn(12, width, generator=random)
    features = people[ids] + 1.3 * torch.randn(300, width, generator=random)
    features[:, :2] = features[:, :2].round()
    return features[:60], features[60:], [ids[:60], ids[60:], cameras[:60], cameras[60:]]


def same_on_both(compute: Callable[[Move], Any], tolerance: float = 1e-6) -> None:
    """Compute on the CPU and on the device, and compare every tensor and number of the result."""
    expected = list(_values(compute(lambda tensor: tensor)))
    with SimulatedDevice():
        found = list(_values(compute(lambda tensor: tensor.to(DEVICE))))
    assert len(expected) == len(found) > 0
    for left, right in zip(expected, found, strict=True):
        torch.testing.assert_close(right, left, rtol=tolerance, atol=tolerance, equal_nan=True)


def _values(result: Any) -> Any:
    """Tensors, on the CPU, and numbers of a result, however it is nested."""
    if isinstance(result, SimulatedTensor):
        yield result.values.detach()
    elif isinstance(result, Tensor):
        yield result.detach()
    elif isinstance(result, (float, int)):
        yield result
    elif isinstance(result, dict):
        yield from _values(list(result.values()))
    elif isinstance(result, (list, tuple)):
        for part in result:
            yield from _values(part)
    elif hasattr(result, '__dict__'):
        yield from _values(vars(result))


@check
def the_device_complains() -> None:
    with SimulatedDevice():
        there, here = torch.ones(3, device=DEVICE), torch.ones(3)
        assert isinstance(there + 1, SimulatedTensor)
        for mix in (lambda: there + here, lambda: there.numpy(), lambda: here[there.long()]):
            try:
                mix()
            except (MixedDevicesError, TypeError):
                continue
            raise AssertionError('a mixture was let through')


@check
def ranking() -> None:
    query, gallery, labels = made_up_test_set()
    for dtype in (torch.float32, torch.float16, torch.float64):
        same_on_both(
            lambda move, dtype=dtype: scoring.evaluate_ranking(
                move(query.to(dtype)), move(gallery.to(dtype)), *labels
            )
        )


@check
def ranking_with_ties_and_labels_on_the_device() -> None:
    query, gallery, labels = made_up_test_set()
    # None is zero, which cannot be ranked.
    query, gallery = query[:, :2] + 9, gallery[:, :2] + 9
    for ties in ('order', 'expected'):
        same_on_both(
            lambda move, ties=ties: scoring.evaluate_ranking(
                move(query), move(gallery), *map(move, labels), ties=ties
            )
        )


@check
def ranking_without_memory_for_all_rows() -> None:
    query, gallery, labels = made_up_test_set()
    whole = scoring.evaluate_ranking(query, gallery, *labels)
    with SimulatedDevice(), no_memory_for_more_than(20) as refused:
        ours = scoring.evaluate_ranking(query.to(DEVICE), gallery.to(DEVICE), *labels)
    assert refused == [60, 30]
    assert ours.mAP == whole.mAP


@check
def given_distances() -> None:
    query, gallery, labels = made_up_test_set()
    distances = torch.cdist(query, gallery)
    same_on_both(lambda move: scoring.evaluate_distances(move(distances), *labels))
    same_on_both(lambda move: scoring.evaluate_distances(map(move, distances.split(25)), *labels))


@check
def reranking() -> None:
    query, gallery, _ = made_up_test_set()
    same_on_both(lambda move: scoring.k_reciprocal_rerank(move(query), move(gallery)))
    same_on_both(lambda move: list(scoring.reranked_blocks(move(query), move(gallery), k2=1)))


@check
def query_expansion_and_search() -> None:
    query, gallery, (ids, gallery_ids, cameras, gallery_cameras) = made_up_test_set()
    same_on_both(
        lambda move: scoring.average_query_expansion(move(query), move(gallery), alpha=3.0)
    )
    same_on_both(
        lambda move: scoring.top_k(
            move(query),
            move(gallery),
            10,
            query_ids=ids,
            gallery_ids=gallery_ids,
            query_cameras=cameras,
            gallery_cameras=gallery_cameras,
        )
    )


@check
def verification_and_camera_pairs() -> None:
    query, gallery, labels = made_up_test_set()
    same_on_both(lambda move: scoring.evaluate_verification(move(query), move(gallery), *labels))
    same_on_both(lambda move: scoring.evaluate_camera_pairs(move(query), move(gallery), *labels))


@check
def spread_of_scores() -> None:
    query, gallery, labels = made_up_test_set()

    def spread(move: Move) -> Any:
        result = scoring.evaluate_ranking(move(query), move(gallery), *labels)
        return (
            scoring.bootstrap_scores(result, groups=move(labels[0]), num_samples=20),
            scoring.subset_scores(result, 20, num_subsets=5),
        )

    same_on_both(spread)


@check
def metric_that_leaves_features_on_the_device() -> None:
    query, gallery, (ids, gallery_ids, cameras, gallery_cameras) = made_up_test_set()
    features = torch.cat([query, gallery])
    labels = zip(
        torch.cat([ids, gallery_ids]).tolist(),
        torch.cat([cameras, gallery_cameras]).tolist(),
        ['query'] * len(ids) + ['gallery'] * len(gallery_ids),
        strict=True,
    )
    samples = [
        dict(img_path=f'{i}.jpg', sample_idx=i, person_id=person, camera_id=camera, role=role)
        for i, (person, camera, role) in enumerate(labels)
    ]

    def score(move: Move) -> dict[str, float]:
        metric = ReIDMetric(collect_device='gpu', rerank=dict())
        moved = move(features)
        for start in range(0, len(samples), 64):
            metric.process(
                None,
                [
                    dict(sample, features=dict(a=row[:8], b=row[8:]))
                    for sample, row in zip(samples[start : start + 64], moved[start:], strict=False)
                ],
            )
        return metric.evaluate(len(samples))

    same_on_both(score)


def made_up_batch() -> dict:
    random = torch.Generator().manual_seed(1)
    return dict(
        inputs=[
            torch.randint(0, 256, (3, 256, 128), dtype=torch.uint8, generator=random)
            for _ in range(4)
        ],
        data_samples=[
            ReIDDataSample(
                metainfo=dict(person_id=i // 2, camera_id=i % 3, img_path=f'{i}', augment_seed=i)
            )
            for i in range(4)
        ],
    )


def extract_and_train(optim_wrapper: dict, **options: Any) -> Callable[[Move], Any]:
    """Features of a new model, and its losses in two steps of training."""

    def run(move: Move) -> Any:
        torch.manual_seed(0)
        model = MODELS.build(
            dict(
                fusion_model(),
                data_preprocessor=dict(
                    type='ReIDDataPreprocessor', random_erasing=dict(probability=0.9)
                ),
                **copy.deepcopy(options),
            )
        )
        model.to(move(torch.empty(0)).device)
        optimizer = build_optim_wrapper(model, copy.deepcopy(optim_wrapper))
        with torch.no_grad():
            samples = model.eval().test_step(made_up_batch())
        # The second step has the weights of the first.
        losses = [model.train().train_step(made_up_batch(), optimizer) for _ in range(2)]
        return losses, [sample.features for sample in samples]

    return run


@check
def features_and_training() -> None:
    sgd = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
    wrapper = dict(type='OptimWrapper', constructor='MergedParamGroups', optimizer=sgd)
    same_on_both(extract_and_train(wrapper), tolerance=1e-3)


@check
def mirrored_test_images_and_channels_last() -> None:
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
    options = dict(flip_test=True, channels_last=True)
    same_on_both(extract_and_train(wrapper, **options), tolerance=1e-3)


def main() -> None:
    torch.set_num_threads(1)
    # Module.to replaces parameters; writing into their data takes tensors of the same kind.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    outcome = {}
    with DefaultScope.overwrite_default_scope('fusionreid'):
        for name, function in CHECKS.items():
            try:
                function()
                outcome[name] = ''
            except Exception:
                outcome[name] = traceback.format_exc()
    Path(sys.argv[1]).write_text(json.dumps(outcome))


if __name__ == '__main__':
    main()
