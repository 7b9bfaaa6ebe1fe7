"""The report of a machine: bounded steps, its files, resuming, and comparing two of them."""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import report_steps
from tiny_runs import parse_command, refused, render_tiny, write_tiny_config
from warm_processes import warm_context

from fusionreid.cli.benchmarks import report as command
from fusionreid.cli.benchmarks.reporting.bounded import run_bounded
from fusionreid.cli.benchmarks.reporting.comparison import compare_reports
from fusionreid.cli.benchmarks.reporting.page import write_page
from fusionreid.cli.benchmarks.reporting.picture import draw_picture
from fusionreid.cli.benchmarks.reporting.report_file import Report, StepResult, load_report
from fusionreid.cli.benchmarks.reporting.steps import Step, plan_steps
from fusionreid.cli.commands import COMMANDS
from fusionreid.cli.main import run_command

TRAIN = 'benchmark train'
# At once, and good enough for what computes nothing.
FORK = multiprocessing.get_context('fork')


def step(name: str, deed: str, *rest: object, seconds: float = 1.0) -> Step:
    return Step(name, f'training, {name}', (TRAIN, deed, *map(str, rest)), seconds)


MACHINE = Step('machine', 'machine and versions', ('doctor',), 1)


@pytest.fixture
def planned(monkeypatch) -> list[Step]:
    """The steps of the next report, to be changed."""
    steps = [MACHINE, step('fp32', 'measure')]
    monkeypatch.setattr(command, 'plan_steps', lambda *_: list(steps))
    monkeypatch.setattr(command, 'measure_command', report_steps.act)
    monkeypatch.setattr(command, 'bounded_context', lambda: FORK)
    monkeypatch.setattr(command, 'describe_commit', lambda: 'abc')
    return steps


def measure(out: Path, *options: str) -> tuple[int, Report]:
    status = run_command('benchmark report', ['--out', str(out), '--minutes', '1', *options])
    return status, load_report(out)


def is_alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


# ---- bounded work


@pytest.mark.parametrize(
    ('deed', 'status', 'reason', 'records'),
    [
        ('measure', 'done', '', 1),
        ('refuse', 'failed', 'this config | trains nothing', 0),
        ('raise', 'failed', 'ZeroDivisionError: a mistake', 0),
        ('exit', 'killed', 'it ended without a result, with the exit status 3', 0),
        ('die', 'killed', 'it was ended by SIGKILL, as the system does when memory runs out', 1),
    ],
)
def test_what_work_comes_to(deed, status, reason, records, tmp_path):
    work = partial(report_steps.act, (TRAIN, deed))
    outcome = run_bounded(FORK, work, tmp_path / 'log', 60)
    assert (outcome.status, outcome.reason) == (status, reason)
    assert len(outcome.records) == records
    log = (tmp_path / 'log').read_text()
    assert f'began {deed}' in log
    assert ('Traceback' in log) == (status == 'failed')


def test_work_that_hangs_ends_in_time_with_all_that_it_has_started(tmp_path):
    work = partial(report_steps.act, (TRAIN, 'hang', tmp_path / 'pid'))
    start = time.monotonic()
    outcome = run_bounded(FORK, work, tmp_path / 'log', 1.5)
    assert time.monotonic() - start < 10
    assert (outcome.status, outcome.reason) == ('timed out', 'it was given 2 s')
    assert outcome.records == [report_steps.trained(7.0)]
    assert 'report_steps.py' in outcome.log.splitlines()[0]  # where it was
    child = int((tmp_path / 'pid').read_text())
    end = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(child)


# ---- a report


def test_the_files_of_a_report(planned, tmp_path, capsys):
    planned += [step('broken', 'raise'), step('long', 'measure', seconds=1000)]
    status, report = measure(tmp_path / 'out')
    assert status == 1
    states = {each.name: each.status for each in report.steps}
    assert states == dict(machine='done', fp32='done', broken='failed', long='not run')
    printed = capsys.readouterr().out
    assert '[2/4] training, fp32: about 1 s; 4' in printed
    assert 'not run, it needs about 1000 s' in printed
    page = (tmp_path / 'out' / 'report.md').read_text()
    assert page.startswith('# FusionReID on 2 cores of a CPU | x\n')
    assert '**2 of 4 steps were measured, 1 failed**' in page
    assert '10 images/s' in page
    assert '1.25 x' in page
    assert 'ZeroDivisionError: a mistake. Alone: `fusionreid benchmark train raise`' in page
    assert '    ZeroDivisionError: a mistake' in page
    assert '`fusionreid benchmark train measure`' in page.partition('## What was not run')[2]
    assert (tmp_path / 'out' / 'speed.png').stat().st_size > 10_000
    assert '![' in page
    assert len(list((tmp_path / 'out').iterdir())) <= 6
    with (tmp_path / 'out' / 'report.csv').open(newline='') as file:
        rows = {row['figure']: row for row in csv.DictReader(file)}
    speed = rows['images_per_s']
    assert (speed['value'], speed['unit'], speed['repeats']) == ('10.0', 'images/s', '3')
    assert (speed['machine'], speed['commit']) == ('2 cores of a CPU | x', 'abc')
    assert float(speed['least']) == pytest.approx(9.8)
    assert speed['command'] == 'fusionreid benchmark train measure'


def test_a_report_goes_on_with_what_is_missing(planned, tmp_path, capsys):
    planned += [step('broken', 'raise')]
    out = tmp_path / 'out'
    first = measure(out)[1]
    assert [each.status for each in first.steps] == ['done', 'done', 'failed']
    capsys.readouterr()
    second = measure(out)[1]
    printed = capsys.readouterr().out
    assert '[1/1] training, broken' in printed
    log = (out / 'steps.log').read_text()
    assert log.count('== broken: failed\nbegan raise\nTraceback') == 2
    assert log.count('== fp32: done') == 1
    assert second.steps[:2] == first.steps[:2]
    # As if it had been mended, which another commit would do.
    second.steps[2].status = 'done'
    second.save(out)
    assert measure(out)[0] == 0
    assert f'{out} is complete' in capsys.readouterr().out


def test_what_was_measured_before_a_step_is_on_the_disk_when_it_begins(
    planned, tmp_path, monkeypatch
):
    run_logged = command.run_logged

    def interrupt(context, name, *rest):
        if name == 'fp32':
            os.kill(os.getpid(), signal.SIGTERM)
        return run_logged(context, name, *rest)

    monkeypatch.setattr(command, 'run_logged', interrupt)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        measure(tmp_path / 'out')
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    report = load_report(tmp_path / 'out')
    assert [each.status for each in report.steps] == ['done', 'not run']
    assert (tmp_path / 'out' / 'report.md').is_file()


def test_foreign_folders_are_left_alone(planned, tmp_path, monkeypatch):
    arguments = ['--minutes', '1', '--out']
    foreign = tmp_path / 'foreign'
    foreign.mkdir()
    (foreign / 'thesis.md').write_text('mine')
    line = refused('benchmark report', [*arguments, str(foreign)])
    assert 'holds thesis.md and no report: choose another --out' in line
    assert os.listdir(foreign) == ['thesis.md']
    out = tmp_path / 'out'
    measure(out)
    before = (out / 'report.json').read_bytes()
    monkeypatch.setattr(command, 'describe_commit', lambda: 'def')
    line = refused('benchmark report', [*arguments, str(out)])
    assert "holds a report of commit 'abc', this one is of 'def'" in line
    monkeypatch.setattr(command, 'describe_commit', lambda: 'abc')
    planned.append(step('more', 'measure'))
    assert 'other steps, model or batch size' in refused('benchmark report', [*arguments, str(out)])
    assert (out / 'report.json').read_bytes() == before
    (out / 'report.json').write_bytes(before.replace(b'images_per_s', b'images_per_d'))
    assert 'is damaged' in refused('benchmark report', [*arguments, str(out)])


def test_wrong_arguments(capsys):
    for arguments, message in (
        (['--minutes', '0'], '--minutes must be from 0.5 to 1440, got 0'),
        (['--minutes', 'nan'], 'got nan'),
        (['--batch-size', '0'], '--batch-size must be at least 1, got 0'),
    ):
        with pytest.raises(SystemExit):
            run_command('benchmark report', arguments)
        assert message in capsys.readouterr().err
    assert 'is unknown' in refused('benchmark report', ['--device', 'tpu'])


@pytest.mark.parametrize('device', ['cpu', 'cuda', 'cuda:1'])
def test_every_step_is_a_command_that_can_be_run_alone(device):
    steps = plan_steps(device, 'r18_synthetic', batch_size=16)
    assert len({each.name for each in steps}) == len(steps) > 15
    for each in steps:
        args = parse_command(each.argv[0], each.argv[1:])
        assert callable(COMMANDS[each.argv[0]].load().measure)
        assert getattr(args, 'device', device) == device or each.name in ('dataloader', 'runtimes')
        if each.argv[0] == TRAIN:
            assert (args.config, args.batch_size) == ('r18_synthetic', 16)


@pytest.mark.slow
def test_steps_of_a_tiny_model(tmp_path, monkeypatch):
    config = str(write_tiny_config(tmp_path, render_tiny(tmp_path / 'data')))
    options = ('--device', 'cpu', '--batch-size', '4', '--steps', '1', '--rounds', '2')
    steps = [
        MACHINE,
        Step('training', 'exactness', ('benchmark exactness', 'training'), 1),
        Step('train', 'training, fp32', ('benchmark train', config, *options, '--plain'), 1),
        Step('extract', 'extraction, fp32', ('benchmark extract', config, *options), 1),
        Step('ranking', 'ranking', ('benchmark ranking', '--scale', 'tiny'), 1),
        Step('reranking', 're-ranking', ('benchmark reranking', '--scale', 'tiny'), 1),
    ]
    monkeypatch.setattr(command, 'plan_steps', lambda *_: steps)
    monkeypatch.setattr(command, 'bounded_context', warm_context)
    status, report = measure(tmp_path / 'out', '--minutes', '5')
    assert status == 0, [each.reason for each in report.steps]
    page = (tmp_path / 'out' / 'report.md').read_text()
    assert 'All 2 values that were compared are what they should be' in page
    for title in ('Exactness', 'Training and extraction', 'Ranking and re-ranking', 'The machine'):
        assert f'## {title}' in page
    assert 'What failed' not in page
    assert report.computer in page
    changes, left_out = compare_reports(report, report)
    assert {change.verdict for change in changes} == {''}
    assert len(changes) > 15
    assert left_out == []


def test_without_speeds_there_is_no_picture(tmp_path):
    report = load_report(of_speeds(tmp_path / 'out', exactness(0, True)))
    assert draw_picture(report, tmp_path / 'speed.png') == []
    assert not (tmp_path / 'speed.png').exists()


def test_a_busy_machine_is_told(tmp_path):
    quiet, busy = (
        write_page(load_report(of_speeds(tmp_path / str(load), load=load)), tmp_path)
        for load in (0.1, 0.8)
    )
    assert 'Other work' not in quiet
    assert 'Other work kept each core 80% busy' in busy


# ---- comparing


def of_speeds(
    folder: Path, *steps: StepResult, processor: str = 'a CPU', load: float = 0.0
) -> Path:
    folder.mkdir(parents=True)
    machine = StepResult('machine', '', ['doctor'], 'done')
    machine.records = [dict(machine=dict(processor=processor))]
    Report('cpu', '1', 'abc', '2', processor, load, 'today', [machine, *steps]).save(folder)
    return folder


def measured(name: str, record: dict, kind: str = TRAIN, **other: object) -> StepResult:
    return StepResult(name, name, [kind, name], 'done', records=[record], **other)


def exactness(deviation: float, holds: bool) -> StepResult:
    record = dict(what='features', precision='fp32', deviation=deviation, holds=holds)
    return measured('golden', record, 'benchmark exactness')


def test_what_became_slower_than_its_noise_is_flagged(tmp_path, capsys):
    # The repeats differ by 4% in each.
    before = of_speeds(
        tmp_path / 'before',
        *(measured(name, report_steps.trained(10.0)) for name in ('same', 'noisy', 'slow', 'fast')),
        measured('memory', report_steps.trained(10.0)),
        exactness(1e-6, True),
        measured('gone', report_steps.trained(10.0)),
    )
    after = of_speeds(
        tmp_path / 'after',
        measured('same', report_steps.trained(10.0)),
        measured('noisy', report_steps.trained(9.5)),
        measured('slow', report_steps.trained(8.0)),
        measured('fast', report_steps.trained(12.0)),
        measured('memory', {**report_steps.trained(10.0), 'peak_gib': 3.0}),
        exactness(1e-2, False),
        StepResult('gone', 'gone', [TRAIN, 'gone'], 'failed', reason='no memory'),
    )
    changes, left_out = compare_reports(load_report(before), load_report(after))
    verdicts = {
        (change.after.step, change.after.kind.key): change.verdict
        for change in changes
        if change.verdict
    }
    assert verdicts == {
        ('slow', 'images_per_s'): 'worse',
        ('fast', 'images_per_s'): 'better',
        ('memory', 'peak_gib'): 'worse',
        ('golden', 'deviation'): 'no longer exact',
    }
    assert left_out == ['gone: failed in the second (no memory)']
    assert run_command('benchmark compare-reports', [str(before), str(after)]) == 1
    shown = capsys.readouterr().out
    assert 'images_per_s' in shown
    assert '0.80' in shown
    assert '3 of them are worse' in shown
    assert 'two machines' not in shown
    assert 'noisy' not in shown
    assert run_command('benchmark compare-reports', [str(before), str(before), '--all']) == 0
    assert 'noisy' in capsys.readouterr().out


def test_other_commands_and_machines_are_told(tmp_path, capsys):
    before = of_speeds(tmp_path / 'before', measured('a', report_steps.trained()))
    other = measured('a', report_steps.trained(1.0))
    other.argv = [TRAIN, 'a', '--batch-size', '8']
    after = of_speeds(tmp_path / 'after', other, exactness(0, True), processor='another')
    assert run_command('benchmark compare-reports', [str(before), str(after)]) == 0
    shown = capsys.readouterr().out
    assert (
        'a: was measured by another command (fusionreid benchmark train a --batch-size 8)' in shown
    )
    assert 'golden: is in the second report alone' in shown
    assert 'two machines' in shown
    assert 'holds no report.json' in refused(
        'benchmark compare-reports', [str(tmp_path), str(before)]
    )


def test_what_is_not_finite_is_nothing_in_the_file(tmp_path):
    step = exactness(math.nan, False)
    of_speeds(tmp_path / 'out', step)
    text = (tmp_path / 'out' / 'report.json').read_text()
    assert (
        json.loads(text, parse_constant=pytest.fail)['steps'][1]['records'][0]['deviation'] is None
    )
    report = load_report(tmp_path / 'out')
    report.steps[1].records[0] |= dict(check='golden', allowed=1e-4)
    page = write_page(report, tmp_path)
    assert 'not finite' in page
    assert '**1 of 1 values are not what they should be**' in page


def test_a_folder_is_named_by_date_device_and_commit(planned, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run_command('benchmark report', ['--minutes', '1']) == 0
    (found,) = Path('work_dirs/reports').iterdir()
    assert found.name.endswith('_cpu_abc')
    assert os.listdir(found)
