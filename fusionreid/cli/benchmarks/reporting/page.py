"""Writes a report as a page: what it comes to, its tables, what failed and what was not run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fusionreid.utils.durations import describe_duration
from fusionreid.utils.tables import markdown_table

from ..records import Record
from .report_file import NOT_RUN, Report, StepResult

PICTURE, LOG = 'speed.png', 'steps.log'
# Load of a core from which on speeds are not to be trusted.
BUSY = 0.3
Row = tuple[str, ...]


def write_page(report: Report, folder: Path) -> str:
    """Write a report as Markdown.

    Args:
        report: The report.
        folder: Where its picture is.

    Returns:
        The page.
    """
    parts = [
        f'# FusionReID on {report.computer}',
        _first_lines(report),
        _bullets(_summary(report)),
    ]
    if (folder / PICTURE).is_file():
        parts.append(f'![images a second, and where the time goes]({PICTURE})')
    for title, text in (
        ('Exactness', _exactness(report)),
        ('Training and extraction', _models(report)),
        ('Data loading', _loading(report)),
        ('Ranking and re-ranking', _ranking(report)),
        ('Runtimes of exported models', _runtimes(report)),
        ('What failed', _failures(report)),
        ('What was not run', _not_run(report)),
        ('The machine', _machine(report)),
    ):
        if text:
            parts += [f'## {title}', text]
    return '\n\n'.join(parts) + '\n'


def _first_lines(report: Report) -> str:
    done = sum(step.status == 'done' for step in report.steps)
    failed = sum(step.failed for step in report.steps)
    seconds = sum(step.seconds for step in report.steps)
    commit = f'commit {report.commit}' if report.commit else f'version {report.version}'
    return (
        f'{report.date}, {commit}, PyTorch {report.torch}, device `{report.device}`. '
        f'**{done} of {len(report.steps)} steps were measured'
        f'{f", {failed} failed" if failed else ""}**, in {describe_duration(seconds)}.'
    )


def _records(report: Report, *commands: str) -> Iterator[tuple[StepResult, Record]]:
    """Records of the steps that some commands measure."""
    for step in report.steps:
        if step.argv[0] in commands:
            for record in step.records:
                yield step, record


# ---- in short


def _summary(report: Report) -> Iterator[str]:
    if report.load > BUSY:
        yield (
            f'**Other work kept each core {min(report.load, 1):.0%} busy when it was begun: these '
            'are not the speeds of the machine.**'
        )
    checks = [record['holds'] for _, record in _records(report, 'benchmark exactness')]
    demanded, wrong = sum(holds is not None for holds in checks), checks.count(False)
    if wrong:
        yield f'**{wrong} of {demanded} values are not what they should be**, see below.'
    elif demanded:
        yield f'All {demanded} values that were compared are what they should be.'
    trained = _fastest(report, 'benchmark train')
    for command, work in (('benchmark train', 'trains'), ('benchmark extract', 'extracts')):
        best = _fastest(report, command)
        if best:
            step, record = best
            yield (
                f'It {work} **{_number(record["images_per_s"])} images/s** ({step.title}; '
                f'{record["config"]}), {record["share_of_ceiling"]:.0%} of the speed of a bare '
                'matrix product.'
            )
        for step, record in _records(report, command):
            if 'ratio' in record:
                yield (
                    f'{_capital(step.title)}: {record["ratio"]:.2f} times the speed of the plain '
                    'form.'
                )
    for _, record in _records(report, 'benchmark dataloader'):
        text = f'{record["workers"]} workers read {_number(record["images_per_s"])} images/s'
        if trained:
            times = record['images_per_s'] / trained[1]['images_per_s']
            text += f', {times:.1f} times what training takes'
        yield f'{text}.'
    for step, record in _records(report, 'benchmark ranking', 'benchmark reranking'):
        yield f'{_capital(step.title)}: {_number(record["seconds"])} s.'


def _fastest(report: Report, command: str) -> tuple[StepResult, Record] | None:
    found = list(_records(report, command))
    return max(found, key=lambda pair: pair[1]['images_per_s'], default=None)


# ---- tables


def _exactness(report: Report) -> str:
    rows: list[Row] = [('model or function', 'what', 'precision', 'deviation', 'allowed', 'holds')]
    verdicts = {True: 'yes', False: '**no**', None: 'not demanded'}
    for _, record in _records(report, 'benchmark exactness'):
        allowed = record['allowed']
        rows.append(
            (
                record['check'],
                record['what'],
                record['precision'],
                _power(record['deviation']),
                '' if allowed is None else _power(allowed),
                verdicts[record['holds']],
            )
        )
    return _table(
        rows,
        "Models are compared with values that were measured on the authors' code, by the norm of "
        'the difference; ranking and training with float64 on the CPU. fp32 is without TF32.',
    )


def _models(report: Report) -> str:
    head = ('', 'batch', 'images/s', 'spread', 'of the ceiling', 'against plain', 'peak, GiB')
    phases = ('data', 'forward', 'backward', 'optimizer', 'collect')
    rows: list[Row] = [(*head, *phases)]
    for step, record in _records(report, 'benchmark train', 'benchmark extract'):
        times = record['ms_per_step']
        rows.append(
            (
                step.title,
                str(record['batch_size']),
                _number(record['images_per_s']),
                _spread(record['speeds'], record['images_per_s']),
                f'{record["share_of_ceiling"]:.0%} of {_number(record["ceiling_tflops"])} TFLOP/s',
                f'{record["ratio"]:.2f} x' if 'ratio' in record else '',
                _number(record['peak_gib']),
                *(_number(times[phase]) if phase in times else '' for phase in phases),
            )
        )
    return _table(
        rows,
        'The ceiling is a product of large square matrices in the same precision, measured in the '
        'same process. Plain is the same model without its fast paths, in turns. The last columns '
        'are the milliseconds of a step.',
    )


def _loading(report: Report) -> str:
    rows: list[Row] = [('workers', 'images', 'images/s', 'spread', "against torchvision's")]
    for _, record in _records(report, 'benchmark dataloader'):
        rows.append(
            (
                str(record['workers']),
                record['images'],
                _number(record['images_per_s']),
                _spread(record['speeds'], record['images_per_s']),
                f'{record["ratio"]:.2f} x',
            )
        )
    return _table(rows, 'From JPEG files to batches, augmented.')


def _ranking(report: Report) -> str:
    rows: list[Row] = [('', 'queries x gallery', 'seconds', 'spread', 'of the product', 'memory')]
    for step, record in _records(report, 'benchmark ranking', 'benchmark reranking'):
        name, factor = ('peak_memory_mib', 1) if 'ratio' in record else ('peak_memory_gib', 1024)
        rows.append(
            (
                step.title,
                f'{record["queries"]:,} x {record["gallery"]:,}, {record["dim"]}-d',
                _number(record['seconds']),
                _spread(record['runs'], record['seconds']),
                f'{record["ratio"]:.2f} x' if 'ratio' in record else '',
                f'{factor * record[name]:,.0f} MiB',
            )
        )
    return _table(rows, 'With all scores (mAP, CMC, mINP). The memory is on top of the features.')


def _runtimes(report: Report) -> str:
    head = ('runtime', 'precision', 'set for', 'batch', 'median, ms', 'images/s', 'against eager')
    rows: list[Row] = [head]
    for _, record in _records(report, 'benchmark runtimes'):
        rows.append(
            (
                record['runtime'],
                record['precision'],
                record['hint'],
                str(record['batch_size']),
                _number(record['median_ms']),
                _number(record['images_per_s']),
                f'{record["ratio"]:.2f} x',
            )
        )
    configs = {record['config'] for _, record in _records(report, 'benchmark runtimes')}
    return _table(rows, f'{", ".join(sorted(configs))}, on the CPU; all take turns.')


def _failures(report: Report) -> str:
    parts = []
    for step in report.steps:
        if step.failed:
            parts.append(
                f'**{step.title}** {step.status} after {step.seconds:.0f} s: {step.reason}. '
                f'Alone: `{step.command}`'
            )
            parts.append('\n'.join(f'    {line}' for line in step.log.splitlines()))
    if parts:
        parts.append(f'All that the steps have printed is in [{LOG}]({LOG}).')
    return '\n\n'.join(part for part in parts if part)


def _not_run(report: Report) -> str:
    rows: list[Row] = [('', 'why', 'alone')]
    rows += [
        (step.title, step.reason, f'`{step.command}`')
        for step in report.steps
        if step.status == NOT_RUN
    ]
    return _table(rows, 'The same command with more `--minutes` goes on with these.')


def _machine(report: Report) -> str:
    table = _table([('', ''), *report.machine.items()], '')
    return '\n\n'.join([table, *(f'Problem: {problem}' for problem in report.problems)])


# ---- cells


def _table(rows: Sequence[Row], note: str) -> str:
    """A table with a note above it; nothing if it has a head alone."""
    if len(rows) < 2:
        return ''
    table = markdown_table([[cell.replace('|', r'\|') for cell in row] for row in rows])
    return f'{note}\n\n{table}' if note else table


def _bullets(lines: Iterable[str]) -> str:
    return '\n'.join(f'- {line}' for line in lines)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _number(value: float) -> str:
    """Three digits that count, and no exponent."""
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'


def _power(value: float | None) -> str:
    if value is None:
        return 'not finite'
    return f'{value:.1e}' if value else '0'


def _spread(repeats: Sequence[float], value: float) -> str:
    """How far repeats are apart, relative to the value."""
    if len(repeats) < 2 or not value:
        return ''
    return f'{(max(repeats) - min(repeats)) / value:.0%}'
