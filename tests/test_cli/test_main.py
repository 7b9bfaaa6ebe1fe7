"""The entry point: help, commands, and the one place where mistakes become one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from tiny_runs import ROOT

from fusionreid import __version__
from fusionreid.cli import configs
from fusionreid.cli.commands import COMMANDS, GROUPS
from fusionreid.cli.main import main, run_command
from fusionreid.errors import ConfigError


def test_help_lists_every_command_in_its_group(capsys):
    assert main(['--help']) == 0
    shown = capsys.readouterr().out
    for group, commands in GROUPS.items():
        section = shown.partition(f'\n{group}:\n')[2].partition('\n\n')[0]
        assert [line.split('  ')[1] for line in section.splitlines()] == [
            command.name for command in commands
        ]


def test_help_needs_no_torch():
    code = (
        'import sys\nfrom fusionreid.cli.main import main\n'
        "main(['--help'])\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith('False\n')


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_describes_itself(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), '--help'])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f'usage: fusionreid {name}')
    assert COMMANDS[name].load().__doc__.splitlines()[0] in shown


def test_version_and_nothing(capsys):
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'fusionreid {__version__}\n'
    assert main([]) == 2
    assert 'usage: fusionreid COMMAND' in capsys.readouterr().out


@pytest.mark.parametrize(('typed', 'meant'), [('trian', 'train'), ('quux', None)])
def test_an_unknown_command_is_said(typed, meant, capsys):
    assert main([typed]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: there is no command {typed!r}')
    assert ('did you mean' in error) == (meant is not None)
    assert meant is None or f'did you mean {meant!r}?' in error


def test_what_a_person_can_mend_is_one_line(monkeypatch):
    def run(args):
        raise ConfigError('max_epochs must be at least 1, got 0')

    monkeypatch.setattr(configs, 'run', run)
    with pytest.raises(SystemExit) as stop:
        run_command('configs', [])
    assert stop.value.code == 'error: max_epochs must be at least 1, got 0'


def test_a_mistake_of_the_program_keeps_its_traceback(monkeypatch):
    def run(args):
        raise ZeroDivisionError

    monkeypatch.setattr(configs, 'run', run)
    with pytest.raises(ZeroDivisionError):
        run_command('configs', [])


def test_another_broken_pipe_is_a_mistake(monkeypatch, capfd):
    def run(args):
        raise BrokenPipeError

    monkeypatch.setattr(configs, 'run', run)
    with pytest.raises(BrokenPipeError):
        run_command('configs', [])


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def run(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(configs, 'run', run)
    assert run_command('configs', []) == 130
    assert capsys.readouterr().err == 'interrupted\n'


@pytest.mark.slow
# argparse itself passes over a pipe without a reader.
@pytest.mark.parametrize(
    ('arguments', 'statuses'),
    [(['--help'], {141}), (['configs'], {141}), (['configs', '--help'], {0, 141})],
)
def test_a_reader_that_has_gone_is_no_traceback(arguments, statuses):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, '-m', 'fusionreid.cli', *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert done.returncode in statuses
    assert done.stderr == ''


def test_every_tool_is_a_command():
    # The trackers' script runs in an environment of its own, with their packages.
    other = ROOT / 'tools/trackers/score_trackers.py'
    paths = [path for path in (ROOT / 'tools').rglob('*.py') if path != other]
    assert paths
    for path in paths:
        (name,) = re.findall(r"run_command\('([a-z0-9 -]+)'\)", path.read_text())
        assert name in COMMANDS
        assert len(path.read_text().splitlines()) < 15
