"""What benchmarks have measured, as lines of JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]


def print_records(records: Iterable[Record]) -> None:
    """Print each record as one line when it is there; all else goes to standard error.

    Args:
        records: Are measured while they are iterated over.

    Example:
        >>> print_records([{'images_per_s': 4.2}])
        {"images_per_s": 4.2}
    """
    remaining = iter(records)
    while True:
        with contextlib.redirect_stdout(sys.stderr):
            record = next(remaining, None)
        if record is None:
            return
        print(json.dumps(record), flush=True)
