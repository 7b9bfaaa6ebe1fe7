"""``fusionreid benchmark exactness`` on each device."""

from __future__ import annotations

import json

import pytest
from gpus import DEVICES, needs_gpu

from fusionreid.cli.benchmarks import exactness
from fusionreid.cli.benchmarks.golden_variants import VARIANTS
from fusionreid.cli.main import run_command

GOLDEN = [pytest.param('cpu', 'r50_only')] + [
    pytest.param('cuda', variant, marks=needs_gpu) for variant in VARIANTS
]


def measure(capsys, *arguments: str) -> tuple[int, list[dict]]:
    status = run_command('benchmark exactness', list(arguments))
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(('device', 'variant'), GOLDEN)
def test_the_golden_values(device, variant, capsys):
    status, records = measure(capsys, variant, '--device', device)
    assert status == 0, records
    demanded = {record['what'] for record in records if record['holds']}
    expected = {'features', 'features after the BNNecks', 'id losses', 'triplet losses'}
    assert demanded == {*expected, 'norms of gradients'}
    mixed = [record for record in records if record['precision'] != 'fp32']
    assert mixed
    # It is another precision, and the same model.
    assert all(1e-5 < record['deviation'] < 0.1 for record in mixed)


@pytest.mark.slow
@pytest.mark.parametrize('device', DEVICES)
def test_ranking_and_a_step_of_training(device, capsys):
    status, records = measure(capsys, 'ranking', 'training', '--device', device)
    assert status == 0, records
    assert {record['check'] for record in records} == {'ranking', 'training'}
    assert sum(record['holds'] is True for record in records) == 10


def test_a_deviation_that_is_not_allowed_ends_with_status_1(capsys, monkeypatch):
    def check(device):
        yield exactness.compared('features', 2e-4, 1e-4)
        yield exactness.compared('losses', float('nan'))

    monkeypatch.setattr(exactness, 'CHECKS', dict(ranking=check))
    status, records = measure(capsys, 'ranking')
    assert status == 1
    assert [record['holds'] for record in records] == [False, False]
    assert records[1]['deviation'] is None
