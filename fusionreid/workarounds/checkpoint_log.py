"""MMEngine's line about a checkpoint that it loads, in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from mmengine.runner import CheckpointLoader


@contextmanager
def loading_is_logged() -> Iterator[None]:
    """Let the Runner log which checkpoint it loads, where it would print it.

    Reason: ``Runner.load_checkpoint`` names no logger, in MMEngine 0.10.7 and onedl-mmengine
    0.10.12, so that the line is printed past all filters. It ends with an MMEngine that logs it.

    Yields:
        None; the Runner runs inside.
    """
    load = CheckpointLoader.load_checkpoint

    def load_and_log(filename: str, map_location: Any = None, logger: Any = None) -> Any:
        return load(filename, map_location, logger or 'current')

    with mock.patch.object(CheckpointLoader, 'load_checkpoint', load_and_log):
        yield
