"""The figures of a report: which numbers of a step count, and how they vary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .report_file import Report, StepResult

MORE, LESS = 'more', 'less'
# A figure without repeats is taken to vary by so much, and none by less than the other.
UNKNOWN_NOISE, LEAST_NOISE = 0.15, 0.03


@dataclass(frozen=True)
class Kind:
    """A number of a record that counts.

    Args:
        key: Its key.
        unit: Its unit; empty for a ratio.
        better: ``'more'`` or ``'less'``; empty where neither is.
        repeats: Key of its repeats; empty if there are none.
    """

    key: str
    unit: str = ''
    better: str = ''
    repeats: str = ''


_SPEED = Kind('images_per_s', 'images/s', MORE, 'speeds')
_MODEL = (
    _SPEED,
    Kind('ratio', '', MORE, 'ratios'),
    Kind('share_of_ceiling', '', MORE),
    Kind('ceiling_tflops', 'TFLOP/s'),
    Kind('peak_gib', 'GiB', LESS),
    Kind('compile_s', 's', LESS),
    Kind('compile_ratio', '', MORE),
)
_SECONDS = Kind('seconds', 's', LESS, 'runs')
# By the command that measures them.
KINDS: dict[str, tuple[Kind, ...]] = {
    'benchmark train': _MODEL,
    'benchmark extract': _MODEL,
    'benchmark dataloader': (_SPEED, Kind('ratio', '', MORE)),
    'benchmark ranking': (
        _SECONDS,
        Kind('ratio', '', LESS, 'ratios'),
        Kind('peak_memory_mib', 'MiB', LESS),
    ),
    'benchmark reranking': (_SECONDS, Kind('peak_memory_gib', 'GiB', LESS)),
    'benchmark runtimes': (_SPEED, Kind('ratio', '', MORE)),
    'benchmark exactness': (Kind('deviation'),),
}
# What tells the records of one step apart.
LABELS = {
    'benchmark runtimes': ('runtime', 'precision', 'hint', 'batch_size'),
    'benchmark exactness': ('what', 'precision'),
}


@dataclass(frozen=True)
class Figure:
    """A number that was measured.

    Attributes:
        step: Name of the step.
        label: What tells it apart from others of the step.
        kind: What it is.
        value: The number.
        repeats: Numbers of its repeats, if it has any.
        holds: Of a deviation, whether it is allowed; None where nothing is demanded.
    """

    step: str
    label: str
    kind: Kind
    value: float
    repeats: tuple[float, ...] = ()
    holds: bool | None = None

    @property
    def noise(self) -> float:
        """By how much it varies, relative to its value."""
        if len(self.repeats) < 2 or not self.value:
            return UNKNOWN_NOISE
        return max(LEAST_NOISE, (max(self.repeats) - min(self.repeats)) / abs(self.value))

    @property
    def key(self) -> tuple[str, str, str]:
        """What it has in common with the same figure of another report."""
        return self.step, self.label, self.kind.key


def figures_of(report: Report) -> Iterator[Figure]:
    """List the figures of a report, in the order of its steps.

    Args:
        report: The report.

    Yields:
        The figures; a number that is missing, or not finite, is left out.
    """
    for step in report.steps:
        for record in step.records:
            yield from _figures_of_record(step, record)


def _figures_of_record(step: StepResult, record: dict[str, Any]) -> Iterator[Figure]:
    command = step.argv[0]
    label = ' '.join(str(record[key]) for key in LABELS.get(command, ()) if record[key] != '')
    for kind in KINDS.get(command, ()):
        value = record.get(kind.key)
        if value is not None:
            repeats = tuple(record.get(kind.repeats) or ())
            yield Figure(step.name, label, kind, value, repeats, record.get('holds'))


COLUMNS = (
    *('date', 'machine', 'device', 'commit', 'torch', 'step', 'label', 'figure', 'unit'),
    *('value', 'least', 'most', 'repeats', 'command'),
)


def as_rows(report: Report) -> Iterator[tuple[str | float, ...]]:
    """List the figures of a report as rows of a table.

    Args:
        report: The report.

    Yields:
        A row of ``COLUMNS`` for each figure; ``least`` and ``most`` are of its repeats.
    """
    steps = {step.name: step for step in report.steps}
    for figure in figures_of(report):
        step = steps[figure.step]
        repeats = figure.repeats or (figure.value,)
        yield (
            *(step.date, report.computer, report.device, report.commit or report.version),
            *(report.torch, figure.step, figure.label, figure.kind.key, figure.kind.unit),
            *(figure.value, min(repeats), max(repeats), len(repeats), step.command),
        )
