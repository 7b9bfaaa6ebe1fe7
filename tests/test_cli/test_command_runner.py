import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fusionreid.cli import command_runner
from fusionreid.cli.command_runner import CommandRunner, TrainingProgress
from fusionreid.errors import CommandError


@pytest.fixture(autouse=True)
def _scripts(monkeypatch) -> None:
    """Run scripts of the tests in the place of commands."""
    monkeypatch.setattr(command_runner, 'PROGRAM', ())


def write_script(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_output_is_kept_and_progress_is_shown(tmp_path, capfd):
    script = write_script(
        tmp_path / 'script.py',
        "import os, sys\nprint('step', sys.argv[1])\nprint('other', file=sys.stderr)\n"
        "print(os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])\n",
    )
    log = tmp_path / 'logs' / 'script.log'
    runner = CommandRunner(jobs=2)
    runner.run('title', [script, 7], log, lambda line: re.findall('^step.*', line))
    assert capfd.readouterr().out == '  title: step 7\n'
    threads = min(4, max(1, len(os.sched_getaffinity(0)) // 2))
    assert log.read_text().splitlines() == ['step 7', 'other', f'{threads} passive']


def test_without_progress_nothing_is_shown(tmp_path, capfd):
    CommandRunner().run('title', [write_script(tmp_path / 's.py', 'print(1)')], tmp_path / 'log')
    assert capfd.readouterr().out == ''
    assert (tmp_path / 'log').read_text() == '1\n'


def test_a_failure_shows_the_last_lines_and_names_the_log(tmp_path, capfd):
    script = write_script(
        tmp_path / 's.py', "print(*range(99), sep='\\n')\nraise SystemExit('error: no data')\n"
    )
    with pytest.raises(CommandError, match=rf'train failed, .* {re.escape(str(tmp_path))}/log'):
        CommandRunner().run('train', [script], tmp_path / 'log')
    shown = capfd.readouterr().out.splitlines()
    assert len(shown) == 15
    assert shown[-1] == 'error: no data'


def test_jobs_run_side_by_side_and_all_are_run(tmp_path):
    runner, meeting = CommandRunner(jobs=2), threading.Barrier(2, timeout=60)
    done = []

    def task(number):
        if number < 2:
            meeting.wait()  # breaks unless the other one runs too
        done.append(number)

    runner.run_all([lambda number=number: task(number) for number in range(5)])
    assert sorted(done) == list(range(5))


def test_the_first_failure_ends_the_others_and_starts_no_more(tmp_path, capfd):
    started = tmp_path / 'started'
    waits = write_script(
        tmp_path / 'waits.py',
        f'import pathlib, time\npathlib.Path({str(started)!r}).touch()\nprint("waiting")\n'
        f'time.sleep(300)\npathlib.Path({str(tmp_path / "ended")!r}).touch()\n',
    )
    fails = write_script(
        tmp_path / 'fails.py',
        f'import pathlib, time\nwhile not pathlib.Path({str(started)!r}).exists():\n'
        '    time.sleep(0.01)\nraise SystemExit("broken")\n',
    )
    runner, later = CommandRunner(jobs=2), []
    with pytest.raises(CommandError, match='second failed'):
        runner.run_all(
            [
                lambda: runner.run('first', [waits], tmp_path / 'first.log'),
                lambda: runner.run('second', [fails], tmp_path / 'second.log'),
                lambda: later.append('third'),
            ]
        )
    assert not (tmp_path / 'ended').exists()
    assert not later
    assert capfd.readouterr().out == 'broken\n'  # nothing of those that were ended


def test_an_interrupt_ends_the_scripts(tmp_path):
    started = tmp_path / 'started'
    waits = write_script(
        tmp_path / 'waits.py',
        f'import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(300)\n',
    )
    tool = write_script(
        tmp_path / 'tool.py',
        'import signal\n'
        'from pathlib import Path\n'
        'from fusionreid.cli import command_runner\n'
        'from fusionreid.cli.command_runner import CommandRunner\n'
        'command_runner.PROGRAM = ()\n'
        # A shell that runs the tests in the background has it ignored, and children inherit that.
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'runner = CommandRunner()\n'
        f'log = Path({str(tmp_path)!r}, "log")\n'
        f'runner.run_all([lambda: runner.run("waits", [{str(waits)!r}], log)])\n',
    )
    # The signal reaches the tool alone, as from `kill`; it would wait for its script's end.
    process = subprocess.Popen([sys.executable, tool], stderr=subprocess.PIPE, text=True)
    try:
        while not started.exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode
    assert 'KeyboardInterrupt' in error


def test_jobs_are_checked():
    with pytest.raises(ValueError, match='jobs must be at least 1, got 0'):
        CommandRunner(jobs=0)


def test_commands_are_those_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.undo()
    CommandRunner().run('version', ['--version'], tmp_path / 'log')
    assert re.fullmatch(r'fusionreid \d+\.\d+\.\d+\n', (tmp_path / 'log').read_text())


def write_log(file: Path, *records: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a') as log:
        log.writelines(f'{json.dumps(record)}\n' for record in records)


def test_training_progress(tmp_path, monkeypatch):
    """Steps, scores and the time left, as far as they have been written."""
    now = 100.0
    monkeypatch.setattr(command_runner.time, 'monotonic', lambda: now)
    write_log(tmp_path / '1' / 'vis_data' / 'scalars.json', dict(loss=99.0, epoch=1, step=5))
    progress = TrainingProgress(tmp_path, 4)
    assert progress('a line of the log') == []
    log = tmp_path / '2' / 'vis_data' / 'scalars.json'
    write_log(log, dict(loss=12.5, epoch=1, step=5))
    with log.open('a') as file:
        file.write('{"loss": 11.0, "epo')
    assert progress() == ['epoch 1 of 4, loss 12.500']
    assert progress() == []
    with log.open('a') as file:
        file.write('ch": 1, "step": 10}\n')
    write_log(log, {'reid/mAP': 45.67, 'reid/rank1': 67.89, 'time': 0.1, 'step': 1})
    assert progress() == ['epoch 1 of 4, loss 11.000', 'after epoch 1: mAP 45.7, Rank-1 67.9']
    now = 136.0
    # An epoch has 12 steps, the last two of which are not logged: 1.5 epochs took 36 s.
    write_log(log, dict(loss=9.0, epoch=2, step=17), dict(loss=8.0, epoch=2, step=18))
    assert progress()[-1] == 'epoch 2 of 4, loss 8.000, 01:00 left'
    write_log(log, {'reid/cnn.mAP': 1.0, 'step': 2})
    assert progress() == ['after epoch 2: scored']


def test_progress_of_a_resumed_run(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(command_runner.time, 'monotonic', lambda: now)
    progress = TrainingProgress(tmp_path, 6)
    log = tmp_path / '1' / 'vis_data' / 'scalars.json'
    write_log(log, dict(loss=3.0, epoch=4, step=41))
    assert progress() == ['epoch 4 of 6, loss 3.000']
    now = 20.0
    # 12 steps an epoch: the half of the fifth one, 1.5 epochs after the start.
    write_log(log, dict(loss=2.0, epoch=5, step=53), dict(loss=2.0, epoch=5, step=54))
    assert progress()[-1] == 'epoch 5 of 6, loss 2.000, 00:20 left'
