from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_runs import parse_command, refused, render_tiny, write_tiny_config
from warm_processes import WARM_SUBPROCESS

from fusionreid.cli import distill as tool
from fusionreid.cli.main import run_command
from fusionreid.config import read_config

# As if a teacher had 80%, a student alone 60%, and with the teacher 70%.
SCORES = {'teacher': 80.0, 'alone': 60.0, 'first': 70.0}


@pytest.fixture(scope='module')
def student(tmp_path_factory) -> Path:
    """The config of a student, beside that of its teacher."""
    folder = tmp_path_factory.mktemp('distill')
    data = render_tiny(folder / 'data')
    teacher = write_tiny_config(folder, data)
    config = write_tiny_config(folder, data, 'r18_synthetic')
    extra = (
        "model.update(type='FusionReIDDistiller', "
        f"teacher=dict(cfg='{teacher}', checkpoint='gone.pth'), "
        "distill_losses=dict(relational=dict(type='RelationalLoss')))\n"
        'train_cfg.update(max_epochs=3)\n'
    )
    (folder / 'first.py').write_text(config.read_text() + extra)
    return folder / 'first.py'


@pytest.fixture
def runs(monkeypatch) -> list[tuple]:
    """The runs that were to be done; they leave scores that depend on the seed."""
    seen: list[tuple] = []

    def do(name, seed, epochs, out, runner, overrides=()):
        seen.append((name, seed, epochs, list(overrides)))
        score = SCORES[name.rpartition('_')[2]] + seed
        file = tool.result_file(out, name, seed)
        file.parent.mkdir()
        file.write_text(json.dumps(dict(scores=dict(all={'mAP': score, 'Rank-1': score / 2}))))

    monkeypatch.setattr(tool, 'train_and_score', do)
    return seen


def test_teachers_come_first_and_what_is_done_is_not_repeated(student, runs, tmp_path, capsys):
    arguments = ['--students', str(student), '--out', str(tmp_path), '--jobs', '1']
    assert run_command('distill', [*arguments, '--seeds', '0', '2']) == 0
    assert [run[:3] for run in runs] == [
        ('teacher', 0, 2),
        ('teacher', 2, 2),
        *(('first_alone', 0, 3), ('first', 0, 3), ('first_alone', 2, 3), ('first', 2, 3)),
    ]
    # Each learns from the teacher of its seed, which is described beside it.
    for name, seed, _, overrides in runs:
        if name == 'first':
            assert overrides == [
                f'model.teacher.cfg={tmp_path}/teacher/config.py',
                f'model.teacher.checkpoint={tmp_path}/teacher/seed{seed}/epoch_2.pth',
            ]
        else:
            assert overrides == []
    types = {
        name: read_config(tmp_path / name / 'config.py').model.type
        for name in SCORES
        if name != 'alone'
    }
    assert types == dict(teacher='FusionReID', first='FusionReIDDistiller')
    alone = read_config(tmp_path / 'first_alone' / 'config.py').model
    assert alone.type == 'FusionReID'
    assert 'teacher' not in alone
    text = (tmp_path / 'distillation.md').read_text()
    assert text in capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in text.splitlines()
        if line.startswith('|')
    ]
    shown = [[*row[:2], *row[4:]] for row in (rows[0], *rows[2:])]
    assert shown == [
        ['student', 'learns', 'mAP', 'Rank-1', "of the teacher's mAP"],
        ['teacher', '', '81.0 ± 1.4', '40.5 ± 0.7', '100.0%'],
        ['first', 'alone', '61.0 ± 1.4', '30.5 ± 0.7', '75.3%'],
        ['first', 'with the teacher', '71.0 ± 1.4', '35.5 ± 0.7', '87.7%'],
    ]
    # The teacher, which has both branches, is the larger model.
    sizes = [[float(cell) for cell in row[2:4]] for row in rows[2:]]
    assert sizes[1] == sizes[2] < sizes[0]
    runs.clear()
    assert run_command('distill', [*arguments, '--seeds', '0', '1', '2']) == 0
    assert [run[:2] for run in runs] == [('teacher', 1), ('first_alone', 1), ('first', 1)]


def test_settings_reach_the_models_that_they_are_for(student):
    weight = 'model.distill_losses.relational.loss_weight=7'
    options = ['--students', str(student), '--epochs', '9', '--data-root', 'elsewhere']
    args = parse_command('distill', [*options, '--cfg-options', weight])
    configs = tool.build_configs(args)
    assert list(configs) == ['teacher', 'first_alone', 'first']
    for cfg in configs.values():
        assert cfg.train_cfg.max_epochs == 9
        assert cfg.train_dataloader.dataset.data_root == 'elsewhere'
    assert configs['first'].model.distill_losses.relational.loss_weight == 7
    # What is packaged fits together.
    packaged = tool.build_configs(parse_command('distill', []))
    assert list(packaged)[1:] == [
        name for student in tool.STUDENTS for name in (f'{student}_alone', student)
    ]


def test_other_settings_are_not_mixed_into_a_folder(student, runs, tmp_path):
    arguments = ['--students', str(student), '--out', str(tmp_path), '--seeds', '0']
    assert run_command('distill', arguments) == 0
    runs.clear()
    assert 'other settings' in refused('distill', [*arguments, '--epochs', '9'])
    assert not runs


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ("model.update(type='FusionReID')", 'is no student: its model must be a'),
        ("model['teacher'].update(cfg='r18_synthetic')", "has the teacher 'r18_synthetic', exp"),
        ("model['teacher'].update(cfg=dict(type='FusionReID'))", 'expected the name of the config'),
        ('train_cfg = dict(by_epoch=False, max_iters=5)', 'must have train_cfg.max_epochs'),
    ],
)
def test_unsuitable_configs_end_in_one_line(student, runs, tmp_path, changed, message):
    other = tmp_path / 'other.py'
    other.write_text(f'{student.read_text()}\n{changed}\n')
    line = refused('distill', ['--students', str(student), str(other), '--out', str(tmp_path)])
    assert message in line
    assert not runs


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--seeds', '1', '1'], '--seeds must differ, got 1 1'),
        (['--students', 'a/b.py', 'b'], '--students must differ, got b b'),
        (['--jobs', '0'], 'at least 1'),
    ],
)
def test_bad_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse_command('distill', arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_run(student, tmp_path, monkeypatch):
    monkeypatch.setattr('fusionreid.cli.command_runner.subprocess', WARM_SUBPROCESS)
    arguments = ['--students', str(student), '--seeds', '0', '--epochs', '1']
    assert run_command('distill', [*arguments, '--out', str(tmp_path)]) == 0
    log = (tmp_path / 'first' / 'seed0' / 'train.log').read_text()
    assert f'FusionReID is that of {tmp_path}/teacher/seed0/epoch_1.pth' in log
    assert 'distill.loss_relational' in log
    alone = (tmp_path / 'first_alone' / 'seed0' / 'train.log').read_text()
    assert 'cnn.loss_id' in alone
    assert 'distill.loss' not in alone
