"""Completion of commands and options in the shells, by the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fusionreid.cli import completion
from fusionreid.cli.commands import COMMANDS
from fusionreid.cli.main import run_command
from fusionreid.errors import CommandError

ROOT = Path(__file__).resolve().parents[2]
# An interactive zsh in a terminal of its own: a word and a tab are typed, its screen is printed.
TYPE_IN_ZSH = """zmodload zsh/zpty
wait_for() {
  local part seen= end=$(( SECONDS + 20 ))
  while (( SECONDS < end )) && [[ $seen != *$1* ]]; do
    zpty -rt shell part && seen+=$part || sleep 0.05
  done
  print -r -- $seen
}
zpty shell zsh -f -i
zpty -w shell "autoload -Uz compinit; compinit -u -D; source $1"
zpty -w shell 'compdef _shtab_fusionreid fusionreid'
zpty -w shell 'print REA''DY'
wait_for READY > /dev/null
zpty -w -n shell "fusionreid $2"$'\t'
wait_for "$3"
zpty -d shell
"""


@pytest.fixture(scope='module')
def bash_script(tmp_path_factory):
    """What completes in bash, without the commands that take seconds to import."""
    path = tmp_path_factory.mktemp('completion') / 'fusionreid.bash'
    with pytest.MonkeyPatch.context() as patch, path.open('w') as file:
        for name in [name for name in COMMANDS if name.startswith('benchmark ')]:
            patch.delitem(COMMANDS, name)
        patch.setattr('sys.stdout', file)
        run_command('completion', ['bash'])
    return path


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        ('tra', ['train']),
        ('train --no-v', ['--no-validate']),
        ('train color_hist', ['color_histogram_synthetic']),
        ('index ad', ['add']),
        ('index photos READ', ['README.md']),
        ('index add --ro', ['--role']),
        ('completion z', ['zsh']),
    ],
)
def test_bash_completes(bash_script, words, expected):
    typed = words.split(' ')
    code = (
        f'source {bash_script}; COMP_WORDS=(fusionreid {words}); COMP_CWORD={len(typed)}; '
        '_shtab_fusionreid 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ['bash', '-c', code], capture_output=True, text=True, timeout=20, cwd=ROOT
    )
    assert done.stdout.split() == expected


def test_completion_needs_shtab(monkeypatch):
    monkeypatch.setitem(sys.modules, 'shtab', None)
    with pytest.raises(CommandError, match='pip install shtab'):
        completion.run(type('Args', (), {'shell': 'bash'}))


@pytest.fixture(scope='module')
def zsh_script(tmp_path_factory):
    """The script for zsh."""
    path = tmp_path_factory.mktemp('completion') / 'fusionreid.zsh'
    with pytest.MonkeyPatch.context() as patch, path.open('w') as file:
        patch.setattr('sys.stdout', file)
        run_command('completion', ['zsh'])
    return path


@pytest.mark.skipif(shutil.which('zsh') is None, reason='zsh is not installed')
@pytest.mark.parametrize(
    ('typed', 'completed'),
    [
        ('index ad', 'index add'),
        ('index add --ro', 'index add --role'),
        ('index READ', 'index README.md'),
        ('gallery cop', 'gallery copy'),
    ],
)
def test_zsh_completes(zsh_script, typed, completed):
    arguments = ['zsh', '-f', '-c', TYPE_IN_ZSH, 'zsh', str(zsh_script), typed, completed]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert f'fusionreid {completed}' in done.stdout
