"""CSV files that a spreadsheet program opens without running what is in them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

# What a spreadsheet program takes for a formula, ASCII or full-width, after any apostrophes.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


def escape_formula(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet program would run.

    These are texts that begin with ``=``, ``+``, ``-``, ``@``, a tab or a line break, and those of
    them that begin with apostrophes already, so that :func:`unescape_formula` gives every text
    back.

    Args:
        text: Any text.

    Returns:
        Text for a cell.

    Example:
        >>> escape_formula('=1+1'), escape_formula("'=1+1"), escape_formula("it's 1.jpg")
        ("'=1+1", "''=1+1", "it's 1.jpg")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Take away the apostrophe that :func:`escape_formula` has put before a text.

    Args:
        cell: Content of a cell.

    Returns:
        The text.

    Example:
        >>> unescape_formula("'=1+1"), unescape_formula('=1+1'), unescape_formula("'a'.jpg")
        ('=1+1', '=1+1', "'a'.jpg")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Write a table that :func:`read_csv` gives back exactly.

    Everything is quoted, since a file's name may hold anything but a zero byte. Texts are escaped
    by :func:`escape_formula`; numbers are left as they are.

    Args:
        rows: Cells by row, the names of the columns first.

    Returns:
        Content of the file: UTF-8, with the original bytes of names that are none.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator='\n')
    writer.writerows(
        [escape_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return text.getvalue().encode('utf-8', 'surrogateescape')


def read_csv(content: bytes) -> Iterator[list[str]]:
    """Read what :func:`write_csv` wrote.

    Args:
        content: Content of the file.

    Yields:
        The texts of a row; numbers as texts.

    Raises:
        csv.Error: Quotes that do not match.
    """
    text = io.StringIO(content.decode('utf-8', 'surrogateescape'), newline='')
    for row in csv.reader(text, strict=True):
        yield [unescape_formula(cell) for cell in row]
