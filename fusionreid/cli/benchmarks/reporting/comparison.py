"""Compares the figures of two reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .figures import MORE, Figure, figures_of
from .report_file import Report

SLOWER, BETTER, WRONG = 'worse', 'better', 'no longer exact'


@dataclass(frozen=True)
class Change:
    """A figure in two reports.

    Attributes:
        before: In the first.
        after: In the second.
    """

    before: Figure
    after: Figure

    @property
    def ratio(self) -> float | None:
        """What the second is relative to the first; None where that is 0."""
        return self.after.value / self.before.value if self.before.value else None

    @property
    def noise(self) -> float:
        """By how much the ratio may differ from 1 for no reason."""
        return self.before.noise + self.after.noise

    @property
    def verdict(self) -> str:
        """``'worse'`` or ``'better'`` beyond the noise, ``'no longer exact'``, or nothing."""
        if self.after.holds is False and self.before.holds is not False:
            return WRONG
        better, ratio = self.before.kind.better, self.ratio
        if not better or ratio is None or ratio <= 0:
            return ''
        gain = ratio if better == MORE else 1 / ratio
        if gain > 1 + self.noise:
            return BETTER
        return SLOWER if 1 / gain > 1 + self.noise else ''


def compare_reports(before: Report, after: Report) -> tuple[list[Change], list[str]]:
    """Pair the figures of two reports.

    Args:
        before: The first report.
        after: The second.

    Returns:
        What both have measured by the same command; and what cannot be compared, a line each.
    """
    commands = [{step.name: step for step in report.steps} for report in (before, after)]
    left_out = list(_describe_other_commands(*commands))
    known = {figure.key: figure for figure in figures_of(before)}
    changes, lost = [], dict(known)
    for figure in figures_of(after):
        old = lost.pop(figure.key, None)
        if old and commands[0][figure.step].argv == commands[1][figure.step].argv:
            changes.append(Change(old, figure))
    missing = dict.fromkeys(key[0] for key in lost if key[0] in commands[1])
    left_out += [
        f'{name}: {commands[1][name].status} in the second ({commands[1][name].reason})'
        for name in missing
        if commands[1][name].status != 'done'
    ]
    return changes, left_out


def _describe_other_commands(before: dict, after: dict) -> Iterator[str]:
    for name, step in before.items():
        if name not in after:
            yield f'{name}: is in the first report alone'
        elif after[name].argv != step.argv:
            yield f'{name}: was measured by another command ({after[name].command})'
    for name in after:
        if name not in before:
            yield f'{name}: is in the second report alone'
