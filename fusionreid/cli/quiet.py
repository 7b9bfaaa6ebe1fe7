"""``--quiet``: of the log, warnings and the lines of scores alone reach the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from mmengine.logging import MMLogger

from fusionreid.workarounds.checkpoint_log import loading_is_logged

# What the line of a validation or a test begins with.
SCORES = ('Epoch(val)', 'Iter(val)', 'Epoch(test)', 'Iter(test)')


@contextmanager
def quiet_terminal(enabled: bool) -> Iterator[None]:
    """Keep most of what loggers that are made meanwhile log off the terminal, not out of files.

    Args:
        enabled: Whether anything is kept off.

    Yields:
        None; the Runner is built inside.
    """
    make_logger = MMLogger.__init__

    def make_quiet_logger(self: MMLogger, *args: Any, **kwargs: Any) -> None:
        make_logger(self, *args, **kwargs)
        for handler in self.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_shown)

    if not enabled:
        yield
        return
    with (
        mock.patch.object(MMLogger, '__init__', make_quiet_logger),
        loading_is_logged(),
    ):
        yield


def is_shown(record: logging.LogRecord) -> bool:
    """Whether a record reaches a quiet terminal.

    Args:
        record: The record.

    Example:
        >>> say = lambda text: logging.LogRecord('', logging.INFO, '', 0, text, (), None)
        >>> is_shown(say('Epoch(val) [2][6/6]    reid/mAP: 82.4')), is_shown(say('Saving'))
        (True, False)
    """
    return record.levelno >= logging.WARNING or record.getMessage().startswith(SCORES)
