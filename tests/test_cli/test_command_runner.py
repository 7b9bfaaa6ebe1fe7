import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fusionreid.cli.command_runner import ScriptError, ScriptRunner, training_progress


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
    runner = ScriptRunner(jobs=2)
    runner.run('title', [script, 7], log, lambda line: re.sub('^(?!step).*', '', line).strip())
    assert capfd.readouterr().out == '  title: step 7\n'
    threads = min(4, max(1, len(os.sched_getaffinity(0)) // 2))
    assert log.read_text().splitlines() == ['step 7', 'other', f'{threads} passive']


def test_without_progress_nothing_is_shown(tmp_path, capfd):
    ScriptRunner().run('title', [write_script(tmp_path / 's.py', 'print(1)')], tmp_path / 'log')
    assert capfd.readouterr().out == '' and (tmp_path / 'log').read_text() == '1\n'


def test_a_failure_shows_the_last_lines_and_names_the_log(tmp_path, capfd):
    script = write_script(
        tmp_path / 's.py', "print(*range(99), sep='\\n')\nraise SystemExit('error: no data')\n"
    )
    with pytest.raises(ScriptError, match=rf'train failed, .* {re.escape(str(tmp_path))}/log'):
        ScriptRunner().run('train', [script], tmp_path / 'log')
    shown = capfd.readouterr().out.splitlines()
    assert len(shown) == 15 and shown[-1] == 'error: no data'


def test_jobs_run_side_by_side_and_all_are_run(tmp_path):
    runner, meeting = ScriptRunner(jobs=2), threading.Barrier(2, timeout=60)
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
    runner, later = ScriptRunner(jobs=2), []
    with pytest.raises(ScriptError, match='second failed'):
        runner.run_all(
            [
                lambda: runner.run('first', [waits], tmp_path / 'first.log'),
                lambda: runner.run('second', [fails], tmp_path / 'second.log'),
                lambda: later.append('third'),
            ]
        )
    assert not (tmp_path / 'ended').exists() and not later
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
        'from fusionreid.cli.command_runner import ScriptRunner\n'
        # A shell that runs the tests in the background has it ignored, and children inherit that.
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'runner = ScriptRunner()\n'
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
    assert process.returncode and 'KeyboardInterrupt' in error


def test_jobs_are_checked():
    with pytest.raises(ValueError, match='jobs must be at least 1, got 0'):
        ScriptRunner(jobs=0)


@pytest.mark.parametrize(
    ('line', 'shown'),
    [
        (
            '01/01 10:00:00 - mmengine - INFO - Epoch(train)   [3][ 50/120]  base_lr: 1.0e-03 '
            'lr: 1.0e-03  eta: 0:01:02  time: 0.1  data_time: 0.0  loss: 12.5000  cnn.loss_id: 5.0',
            'epoch 3, batch 50/120, loss 12.5000, 0:01:02 left',
        ),
        (
            'INFO - Epoch(val) [2][6/6]    reid/mAP: 45.6789  reid/rank1: 67.8901  reid/mINP: 1.0',
            'after epoch 2: mAP 45.7, Rank-1 67.9',
        ),
        ('INFO - Saving checkpoint at 3 epochs', None),
    ],
)
def test_training_progress(line, shown):
    assert training_progress(line) == shown
