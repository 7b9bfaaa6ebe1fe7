"""The processes that other tests start are like those of a shell."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from warm_processes import WarmCommand, WarmProcess, run, run_ranks

pytestmark = pytest.mark.slow  # imports everything once

TELL = """
import json, multiprocessing, os, signal, sys
from pathlib import Path
print(json.dumps(dict(
    name=__name__,
    arguments=sys.argv[1:],
    cwd=os.getcwd(),
    variable=os.environ.get('ANY'),
    first=sys.path[0],
    leads=os.getpid() == os.getpgid(0) == os.getsid(0),
    ctrl_c=signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    threads=len(list(Path(f'/proc/{os.getppid()}/task').iterdir())),
    start_method=multiprocessing.get_start_method(),
    imported='mmpretrain.models' in sys.modules,
    of_the_tests='test_warm_processes' in sys.modules,
)))
"""


@pytest.mark.parametrize('way', ['-c', '-m', 'script'])
def test_it_is_as_if_it_were_started_anew(way, tmp_path):
    script = tmp_path / 'scripts' / 'tell.py'
    script.parent.mkdir()
    script.write_text(TELL)
    folder = dict(PYTHONPATH=script.parent) if way == '-m' else {}
    what = {'-c': ['-c', TELL], '-m': ['-m', 'tell'], 'script': [script]}[way]
    output = tmp_path / 'output'
    assert run([*what, 'a b', 3], output, tmp_path, ANY='thing', **folder) == 0, output.read_text()
    first = tmp_path if way != 'script' else script.parent
    assert json.loads(output.read_text()) == dict(
        name='__main__',
        arguments=['a b', '3'],
        cwd=str(tmp_path),
        variable='thing',
        first=str(first),
        leads=True,
        ctrl_c=True,
        threads=1,  # what it is forked from has not computed anything
        start_method=multiprocessing.get_start_method(),
        imported=True,
        of_the_tests=False,
    )


@pytest.mark.parametrize(
    ('code', 'status', 'printed'),
    [
        ('import sys; sys.exit(7)', 7, ''),
        ("raise SystemExit('error: no')", 1, 'error: no\n'),
        ('1 / 0', 1, 'ZeroDivisionError'),
        ("import atexit; atexit.register(print, 'bye')", 0, 'bye\n'),
        ('import os, signal; os.kill(os.getpid(), signal.SIGKILL)', -signal.SIGKILL, ''),
    ],
)
def test_its_end_is_told(code, status, printed, tmp_path):
    assert run(['-c', code], tmp_path / 'output') == status
    assert printed in (tmp_path / 'output').read_text()


def test_it_is_killed_with_its_children(tmp_path):
    code = 'import os, time; child = os.fork(); print(os.getpid(), flush=True); time.sleep(100)'
    with WarmProcess(['-c', code], tmp_path / 'output') as process:
        process.wait_for(r'\d+\n\d+\n')
        pids = set(map(int, process.text().split()))
    assert process.returncode == -signal.SIGKILL
    assert process.pid in pids
    (child,) = pids - {process.pid}
    deadline = time.monotonic() + 20
    while runs(child):  # a signal takes effect when the process is next scheduled
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in 'ZX'


def test_ranks_know_their_places(tmp_path):
    code = "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'])"
    outputs = [tmp_path / str(rank) for rank in range(2)]
    assert run_ranks(['-c', code], outputs) == [0, 0]
    assert [output.read_text() for output in outputs] == ['0 2\n', '1 2\n']


def test_lines_are_read_as_they_come(tmp_path):
    code = "import time; print('first', flush=True); time.sleep(0.2); print('last', end='')"
    command = WarmCommand([sys.executable, '-u', '-c', code], env=dict(os.environ))
    with command as process:
        lines = process.stdout
        assert next(lines) == 'first\n'
        assert process.poll() is None
        assert list(lines) == ['last']
    assert process.returncode == 0
