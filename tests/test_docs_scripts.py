"""The scripts that make tables of the documentation."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fusionreid.cli.benchmarks.reporting.report_file import Report, StepResult
from fusionreid.gallery import Gallery

SCRIPTS = Path(__file__).resolve().parents[1] / 'docs' / 'scripts'


@pytest.fixture
def at_scale(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import gallery_at_scale

    return gallery_at_scale


def test_the_tables_at_scale_are_those_of_the_measurements(at_scale):
    text = at_scale.PAGE.read_text()
    assert at_scale.fill(text) == text


@pytest.mark.parametrize(('width', 'm'), [(64, 16), (200, 8)])
def test_an_index_has_the_bytes_of_the_formula(width, m, at_scale, postgres, table):
    count = 1000
    settings = dict(type='pgvector', url=postgres, table=table, m=m, exact_below=100, ef_search=20)
    gallery = Gallery(engine=settings)
    random = torch.Generator().manual_seed(0)
    gallery.add(features=torch.randn(count, width, generator=random), ids=range(count))
    gallery.save()
    ((size,),) = gallery.engine._postgres.read('SELECT pg_relation_size(%s)', (f'{table}_hnsw',))
    # The server draws levels at random: once an index had two pages of fifty more.
    assert size == pytest.approx(count * at_scale.hnsw_bytes(width, m), rel=0.06)


def test_what_the_benchmark_prints_is_recorded(at_scale, tmp_path, monkeypatch, capsys):
    import record_gallery

    monkeypatch.setattr(record_gallery, 'TABLE', tmp_path / 'gallery.csv')
    monkeypatch.setattr(
        sys, 'argv', ['x', '--command', 'a, b', '--machine', 'here', '--quiet', 'no']
    )
    line = dict(engine='exact', size=20, dim=4, index_bytes=1_500_000, load=dict(writers=3))
    for number in range(2):
        printed = json.dumps(dict(line, size=20 + number))
        monkeypatch.setattr(sys, 'stdin', io.StringIO(f'warning\n{printed}\n'))
        record_gallery.main()
    rows = list(csv.DictReader(io.StringIO((tmp_path / 'gallery.csv').read_text())))
    assert [row['items'] for row in rows] == ['20', '21']
    assert rows[0]['command'] == 'a, b'
    assert (rows[0]['disk_mb'], rows[0]['writers'], rows[0]['ef_search']) == ('1.5', '3', '')


def test_the_latest_quiet_report_of_a_machine_is_shown(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import record_report

    monkeypatch.setattr(record_report, 'TABLE', tmp_path / 'report.csv')
    assert 'No report has been recorded' in record_report.make_tables()['report']

    def record(name: str, commit: str, speed: float, date: str, quiet: str) -> None:
        machine = StepResult('machine', '', ['doctor'], 'done')
        machine.records = [dict(machine=dict(processor='a CPU'))]
        train = StepResult('train_fp32', 'x', ['benchmark train', 'x'], 'done', date=date)
        train.records = [dict(images_per_s=speed, speeds=[speed, speed + 1])]
        exact = StepResult('exact', 'x', ['benchmark exactness', 'x'], 'done', date=date)
        exact.records = [
            dict(what=what, precision='fp32', deviation=value, holds=True)
            for what, value in (('features', 2e-6), ('losses', 3e-5))
        ]
        (tmp_path / name).mkdir()
        steps = [machine, train, exact]
        Report('cpu', '1', commit, '2.14', 'a CPU', 0.0, date, steps).save(tmp_path / name)
        record_report.add_report(tmp_path / name, quiet)

    record('old', 'aaa', 5.0, '2026-01-01 10:00:00', 'yes')
    record('new', 'bbb', 6.0, '2026-01-02 10:00:00', 'yes')
    record('busy', 'ccc', 2.0, '2026-01-03 10:00:00', 'no')
    record_report.add_report(tmp_path / 'new', 'yes')  # once more
    assert len(record_report.read_rows()) == 9
    shown = record_report.make_tables()['report']
    assert 'a CPU, `cpu`, 2026-01-02, PyTorch 2.14, commit bbb' in shown
    assert '| train_fp32 | 6 images/s | 6 to 7 | 2 |' in shown
    assert '| exact, largest deviation in fp32 | 3.0e-05 |' in shown
    assert 'aaa' not in shown


def test_the_table_of_reports_is_that_of_the_rows(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import record_report

    text = record_report.PAGE.read_text()
    assert record_report.fill_page(text, record_report.make_tables()) == text


def test_the_runs_of_an_ablation_are_recorded_and_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import record_ablation

    def record(setting: str) -> list[dict[str, str]]:
        arguments = [str(tmp_path / 'runs.csv'), str(tmp_path / 'out'), '--setting', setting]
        monkeypatch.setattr(sys, 'argv', ['x', *arguments])
        record_ablation.main()
        return list(csv.DictReader(io.StringIO((tmp_path / 'runs.csv').read_text())))

    with pytest.raises(SystemExit):
        record('hard')
    assert 'holds no finished run' in capsys.readouterr().err
    for seed in (0, 1):
        run = tmp_path / 'out' / 'cnn' / f'seed{seed}' / 'result.json'
        run.parent.mkdir(parents=True)
        scores = {name: {'mAP': 50.126 + seed, 'Rank-1': 60.0} for name in ('cnn', 'all')}
        run.write_text(json.dumps(dict(variant='cnn', seed=seed, scores=scores)))
        rows = record('hard, 6 epochs')
    assert len(rows) == 4  # those of seed 0 are not there twice
    assert rows[2] == {
        'setting': 'hard, 6 epochs',
        'model': 'cnn',
        'seed': '1',
        'feature': 'cnn',
        'mAP': '51.13',
        'Rank-1': '60.0',
    }
    assert [row['setting'] for row in record('crowd')] == ['hard, 6 epochs'] * 4 + ['crowd'] * 4
