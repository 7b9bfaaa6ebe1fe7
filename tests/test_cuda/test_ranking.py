"""Ranking on a device, and where the device has no memory for it."""

from __future__ import annotations

import pytest
import torch
from gpus import DEVICES
from scarce_memory import no_memory_for_more_than

from fusionreid.cli.benchmarks.ranking import make_features
from fusionreid.evaluation.functional import (
    RankingResult,
    evaluate_distances,
    evaluate_ranking,
    reranked_blocks,
    top_k,
)
from fusionreid.evaluation.functional.memory import RowPlan
from fusionreid.evaluation.functional.shrinking import in_blocks

FEATURES = ('query_features', 'gallery_features')


@pytest.fixture(scope='module', params=DEVICES)
def data(request) -> dict[str, torch.Tensor]:
    """Arguments of a ranking of 200 queries, on the device."""
    made = make_features('tiny', dim=32, seed=0)
    return {name: value.to(request.param) for name, value in made.items()}


@pytest.fixture
def exact() -> RankingResult:
    made = make_features('tiny', dim=32, seed=0)
    return evaluate_ranking(
        **{name: value.double() if name in FEATURES else value for name, value in made.items()}
    )


def assert_same(found: RankingResult, expected: RankingResult) -> None:
    assert found.mAP == pytest.approx(expected.mAP, abs=1e-6)
    assert found.mINP == pytest.approx(expected.mINP, abs=1e-6)
    torch.testing.assert_close(found.cmc.cpu(), expected.cmc, rtol=0, atol=1e-6)


def test_scores_are_those_of_float64_on_the_cpu(data, exact):
    assert_same(evaluate_ranking(**data), exact)


def test_ranking_goes_on_with_smaller_blocks(data, exact):
    with (
        pytest.warns(RuntimeWarning, match='going on with 50 rows'),
        no_memory_for_more_than(60) as refused,
    ):
        found = evaluate_ranking(**data)
    assert refused == [200, 100]
    assert_same(found, exact)


def test_search_goes_on_with_smaller_blocks(data):
    pair = [data[name] for name in FEATURES]
    expected = top_k(*pair, 7)
    with pytest.warns(RuntimeWarning), no_memory_for_more_than(30) as refused:
        found = top_k(*pair, 7)
    assert refused == [200, 100, 50]
    assert torch.equal(found.indices, expected.indices)


def test_given_distances_are_scored_in_smaller_groups(data):
    labels = [data[name] for name in data if name not in FEATURES]
    blocks = list(reranked_blocks(*(data[name] for name in FEATURES)))
    expected = evaluate_distances(iter(blocks), *labels)
    with pytest.warns(RuntimeWarning), no_memory_for_more_than(10) as refused:
        found = evaluate_distances(iter(blocks), *labels)
    assert refused
    assert min(refused) > 10
    # What was learned from the first block holds for the others.
    assert len(refused) < 10
    assert_same(found, expected)


def test_one_row_that_is_too_much_is_an_error(data):
    scarce = no_memory_for_more_than(0)
    with (
        pytest.warns(RuntimeWarning),
        scarce as refused,
        pytest.raises(torch.cuda.OutOfMemoryError),
    ):
        evaluate_ranking(**data)
    assert refused[-1] == 1


def test_every_row_is_worked_on_whatever_fails():
    done: list[int] = []

    def work(rows: slice, plan: RowPlan) -> None:
        assert rows.stop - rows.start <= plan.block
        if rows.stop - rows.start > 4 and rows.start >= 10:
            raise torch.cuda.OutOfMemoryError
        done.extend(range(rows.start, rows.stop))

    plan = RowPlan(block=10, group=8, workers=1, spare=100)
    with pytest.warns(RuntimeWarning):
        last = in_blocks(23, plan, work)
    assert done == list(range(23))
    assert (last.block, last.group, last.spare) == (2, 2, 25)
