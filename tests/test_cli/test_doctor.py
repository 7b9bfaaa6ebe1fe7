"""What an installation is described as, and what completes the commands in a shell."""

from __future__ import annotations

import json
import logging
import re
from importlib import metadata

import torch
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader
from tiny_runs import ROOT

from fusionreid.cli import doctor
from fusionreid.cli.main import run_command
from fusionreid.cli.quiet import quiet_terminal


def test_a_whole_installation_has_no_problem(capsys):
    assert run_command('doctor', []) == 0
    shown = capsys.readouterr().out
    version = re.escape(metadata.version('torch'))
    own = re.search(rf'^torch +{version}$', shown, re.MULTILINE)
    assert bool(own) != ('fusionreid was not installed by pip' in shown)
    assert re.search('OpenMMLab packages +(upstream|onedl)', shown)
    assert shown.endswith('no problem found\n')


def test_what_is_missing_or_too_old_is_a_line_and_status_1(monkeypatch, capsys):
    wanted = ['torch>=99', 'no-such-package>=1', 'numpy>=1.26', 'other; extra == "tests"']
    monkeypatch.setattr(metadata, 'requires', lambda name: wanted)
    monkeypatch.setattr(doctor, 'LOADED', ('no_such_module', 'json'))
    assert run_command('doctor', ['--json']) == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found['required']) == ['torch', 'no-such-package', 'numpy']
    old, missing, broken = found['problems']
    assert old.startswith('torch ')
    assert old.endswith('pip install "torch>=99"')
    assert missing.startswith('no-such-package>=1 is not installed')
    assert broken.startswith('no_such_module cannot be imported (ModuleNotFoundError')


def test_every_optional_package_is_described():
    described = {name for part in doctor.OPTIONAL_PARTS for name in part.packages}
    lines = (ROOT / 'requirements' / 'optional.txt').read_text().splitlines()
    names = {match[0] for line in lines if (match := re.match(r'[a-z][\w-]*', line))}
    assert names
    assert names <= described


def test_a_quiet_terminal_shows_scores_and_warnings(tmp_path, capsys):
    torch.save({'state_dict': {}}, tmp_path / 'a.pth')
    with quiet_terminal(True):
        logger = MMLogger.get_instance(
            f'quiet {tmp_path}', log_file=str(tmp_path / 'quiet.log'), log_level='INFO'
        )
        # As the Runner calls it, to which it prints.
        CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'), 'cpu', None)
    logger.info('Saving checkpoint')
    logger.info('Epoch(val) [2][6/6]    reid/mAP: 82.4')
    logger.warning('a warning')
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(' - ')[2] for line in lines] == [
        'Epoch(val) [2][6/6]    reid/mAP: 82.4',
        'a warning',
    ]
    assert len((tmp_path / 'quiet.log').read_text().splitlines()) == 4
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
