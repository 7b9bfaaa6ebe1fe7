from __future__ import annotations

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows as a Markdown table that can also be read as it is.

    Args:
        rows: Cells by row, the head first; all rows have the same number of cells.

    Returns:
        The table, a line for each row and one below the head.

    Raises:
        ValueError: If rows differ in length.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + ' |'
        for row in rows
    ]
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return '\n'.join([lines[0], rule, *lines[1:]])
