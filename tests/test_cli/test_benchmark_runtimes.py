"""``fusionreid benchmark runtimes`` on a tiny model."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from exported_models import tiny_model, traced_once
from gallery_commands import call

from fusionreid.cli.benchmarks.runtimes import RUN_COLUMNS, SPEED_COLUMNS, Variant, summarize


@pytest.mark.slow
def test_variants_are_measured_in_turns(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tiny_model(tmp_path_factory).config
    table = tmp_path / 'speeds.csv'
    # The random weights that it takes are those of the tiny model.
    with traced_once(tmp_path_factory):
        call(
            'benchmark runtimes',
            config,
            *('--runtimes', 'pytorch', 'openvino', '--precisions', 'fp32', 'int8'),
            *('--batch-sizes', '1', '3', '--rounds', '2', '--calibration-images', '16'),
            *('--threads', '1', '--csv', table),
        )
    with table.open(newline='') as file:
        records = list(csv.DictReader(file))
    assert list(records[0]) == [*RUN_COLUMNS, *SPEED_COLUMNS]
    variants = [('pytorch', 'fp32', '')] + [
        ('openvino', precision, hint)
        for precision in ('fp32', 'int8')
        for hint in ('latency', 'throughput', 'latency, fixed batch')
    ]
    assert [
        (record['runtime'], record['precision'], record['hint'], record['batch_size'])
        for record in records
    ] == [(*variant, size) for variant in variants for size in ('1', '3')]
    for record in records:
        assert 0 < float(record['median_ms']) <= float(record['p95_ms'])
        assert float(record['ratio']) > 0
        assert float(record['size_mb']) > 0
    assert float(records[0]['ratio']) == 1
    printed = capsys.readouterr().out
    assert 'images_per_s' in printed
    assert 'ratio: to the images/s of pytorch fp32' in printed


def test_ratios_are_taken_turn_by_turn() -> None:
    def variant(name: str, seconds: list[float]) -> Variant:
        return Variant(name, 'fp32', '', lambda data: None, 2_000_000, seconds={4: seconds})

    # The machine is three times slower in the second turn.
    first, second = variant('a', [4.0, 12.0, 4.0]), variant('b', [2.0, 6.0, 1.0])
    eager, other = summarize([first, second], first)
    assert eager['ratio'] == 1
    assert other['ratio'] == 2
    assert other['images_per_s'] == 2
    assert other['median_ms'] == 2000
    assert other['p95_ms'] == pytest.approx(5600)
    assert other['size_mb'] == 2
