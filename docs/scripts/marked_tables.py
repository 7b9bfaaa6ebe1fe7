"""Tables of a page that stand between comments of their names, and are written anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


def make_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Lay out rows as Markdown."""
    lines = [head, ('---',) * len(head), *rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def fill_page(page: str, tables: Mapping[str, str]) -> str:
    """Put tables into the text of a page.

    Args:
        page: The text, with ``<!-- table: NAME -->`` and ``<!-- end -->`` for each table.
        tables: Tables by name.

    Returns:
        The text.
    """
    for name, table in tables.items():
        between = re.compile(rf'(<!-- table: {name} -->\n).*?(<!-- end -->)', re.DOTALL)
        page, count = between.subn(
            lambda found, table=table: f'{found[1]}\n{table}\n\n{found[2]}', page
        )
        if count != 1:
            raise SystemExit(f'the page has {count} places for the table {name}')
    return page
