"""Lays out tables of text: aligned for the terminal and the log, in Markdown for files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .terminal import escape_controls

# Cells of a column of numbers: a number, or that there is none.
NUMBER = re.compile(r'[-+]?[\d,]*\.?\d+%?|-|')


def format_table(rows: Sequence[Sequence[str]], rule: bool = False) -> str:
    """Align rows of text: columns of numbers to the right, all others to the left.

    A cell of a column of numbers may be empty or ``-``. Control characters in cells are escaped.

    Args:
        rows: Cells by row, the head first; all rows have the same number of cells.
        rule: Whether to draw a line below the head.

    Returns:
        The rows as lines.

    Raises:
        ValueError: If rows differ in length.

    Example:
        >>> print(format_table([('feature', 'mAP'), ('cnn', '9.5'), ('all', '82.4')], rule=True))
        feature   mAP
        -------------
        cnn       9.5
        all      82.4
    """
    rows = [[escape_controls(cell) for cell in row] for row in rows]
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(NUMBER.fullmatch(cell) for cell in column[1:]) for column in columns]
    lines = [
        '  '.join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]
    if rule:
        lines.insert(1, '-' * max(map(len, lines)))
    return '\n'.join(lines)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows as a Markdown table that can also be read as it is.

    Control characters in cells are escaped.

    Args:
        rows: Cells by row, the head first; all rows have the same number of cells.

    Returns:
        The table, a line for each row and one below the head.

    Raises:
        ValueError: If rows differ in length.

    Example:
        >>> print(markdown_table([('feature', 'mAP'), ('all', '82.4')]))
        | feature | mAP  |
        |---------|------|
        | all     | 82.4 |
    """
    rows = [[escape_controls(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + ' |'
        for row in rows
    ]
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return '\n'.join([lines[0], rule, *lines[1:]])
