"""``fusionreid benchmark gallery``: its figures, its arguments and its vectors."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import torch

from fusionreid.cli.benchmarks import gallery as benchmark
from fusionreid.cli.benchmarks import gallery_load
from fusionreid.cli.main import run_command


def test_benchmark_prints_one_json_line_for_each_engine_and_size(monkeypatch, capsys):
    # In this process: to start others takes seconds.
    monkeypatch.setattr(
        benchmark, 'ProcessPoolExecutor', lambda workers, mp_context: ThreadPoolExecutor(workers)
    )
    arguments = ['--dim', '32', '--queries', '20', '--single', '2', '--recall-queries', '30']
    run_command(
        'benchmark gallery',
        [*arguments, '--sizes', '300', '600', '--engines', 'exact', 'faiss_flat'],
    )
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    measured = [(record['size'], record['engine']) for record in records]
    assert measured == [(size, engine) for size in (300, 600) for engine in ('exact', 'faiss_flat')]
    for record in records:
        assert record['recall_at_10'] == 1
        assert record['dim'] == 32
        assert record['queries_per_second'] > 0
        assert record['index_bytes'] > 1000


def test_a_database_is_measured_while_others_add(monkeypatch, capsys, postgres):
    for module in (benchmark, gallery_load):
        monkeypatch.setattr(
            module, 'ProcessPoolExecutor', lambda workers, mp_context: ThreadPoolExecutor(workers)
        )
    monkeypatch.setattr(gallery_load, 'START', 0.1)
    arguments = ['--dim', '32', '--queries', '20', '--single', '2', '--recall-queries', '30']
    arguments += ['--load-seconds', '1', '--writers', '2', '--readers', '1', '--url', postgres]
    options = ['--engine-options', 'exact_below=100']
    run_command(
        'benchmark gallery', [*arguments, '--sizes', '400', '--engines', 'pgvector', *options]
    )
    record = json.loads(capsys.readouterr().out)
    assert record['recall_at_10_of_queries'] > 0.9
    assert record['tuning']['size'] == 400
    assert record['index_bytes'] > 10_000
    load = record['load']
    assert load['items_missing'] == 0
    assert load['items_added_per_second'] > 0
    assert load['search_ms']['p50'] <= load['search_ms']['p99']
    with psycopg.connect(postgres) as connection:
        left = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'benchmark_400_%'"
        assert connection.execute(left).fetchone() == (0,)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--single', '0'], 'must be at least 1, got 0'),
        (['--queries', '-3'], 'must be at least 1, got -3'),
        (['--recall-queries', '0'], 'must be at least 1, got 0'),
        (['--sizes', '10'], '--sizes must be more than 10'),
        (['--engine-options', 'probes'], 'is not of the form'),
        (['--engines', 'pgvector'], 'pgvector needs --url'),
    ],
)
def test_benchmark_checks_its_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run_command('benchmark gallery', arguments)
    assert message in capsys.readouterr().err


def test_benchmark_vectors_are_clustered_and_seeded():
    part = benchmark.make_part(0, 1000, 48, seed=0, noise_seed=1)
    again = benchmark.make_part(0, 1000, 48, seed=0, noise_seed=1)
    assert torch.equal(part, again)
    people = part.view(2, 500, 48)
    same = (people[0] - people[1]).norm(dim=1).mean()
    others = (people[0] - people[1].roll(1, 0)).norm(dim=1).mean()
    assert same < 0.7 * others
    parts = list(benchmark.make_gallery_parts(12_000, 8, seed=0))
    assert [len(part) for part in parts] == [10_000, 2_000]
    assert not torch.equal(parts[0][:2000], parts[1])
