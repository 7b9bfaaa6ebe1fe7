"""The quickstart from end to end, with few people and one epoch."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from warm_processes import WARM_SUBPROCESS

from fusionreid.cli import quickstart
from fusionreid.cli.main import run_command

pytestmark = pytest.mark.slow  # trains


def test_a_short_run_leaves_numbers_and_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quickstart, 'OUT', tmp_path / 'work_dirs' / 'quickstart')
    monkeypatch.setattr(quickstart, 'DATA', tmp_path / 'data' / 'synthetic')
    monkeypatch.setattr('fusionreid.cli.command_runner.subprocess', WARM_SUBPROCESS)
    run_command('quickstart', ['--ids', '12', '--ids-test', '6', '--epochs', '1'])
    out = tmp_path / 'work_dirs' / 'quickstart'
    report = json.loads((out / 'metrics.json').read_text())
    for name in quickstart.MODELS:
        assert set(report[name]) == set(quickstart.METRICS)
        assert 0 < report[name]['mAP'] <= 100
    assert report['seconds']['total'] >= report['seconds']['train_fusionreid'] > 0
    for name in ('rank_lists', 'training_curves', 'contact_sheet', 'maps/relevance'):
        with Image.open(out / f'{name}.png') as picture:
            assert min(picture.size) > 200
    assert not (tmp_path / 'work_dirs' / 'quickstart.unfinished').exists()
    shown = capsys.readouterr().out
    assert 'train fusionreid: epoch 1' in shown or 'train fusionreid: after epoch 1' in shown
    assert 'quickstart: trained and scored in' in shown


def test_a_failure_keeps_the_earlier_results(tmp_path, monkeypatch):
    out = tmp_path / 'quickstart'
    out.mkdir()
    (out / 'metrics.json').write_text('{}')
    monkeypatch.setattr(quickstart, 'OUT', out)
    monkeypatch.setattr(quickstart, 'DATA', tmp_path / 'data')
    (tmp_path / 'data_4_2').write_text('in the way')
    with pytest.raises(SystemExit, match='error: render failed'):
        run_command('quickstart', ['--ids', '4', '--ids-test', '2'])
    assert (out / 'metrics.json').read_text() == '{}'
