"""MMEngine without what takes most of the time of tiny trainings and is of no use to tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from mmengine.config import config
from mmengine.runner import runner


def make_quick() -> None:
    """Leave the texts of configs as they are, and describe the machine once.

    A training writes its config a dozen times, and laying the text out takes 0.3 seconds each. The
    description of the machine asks compilers.
    """
    if not hasattr(config.FormatCode, '__wrapped__'):
        config.FormatCode = _plain(config.FormatCode)
        runner.collect_env = cache(runner.collect_env)


def _plain(format_code: Callable[..., tuple[str, bool]]) -> Callable[..., tuple[str, bool]]:
    @wraps(format_code)
    def plain(text: str, **_: Any) -> tuple[str, bool]:
        return text, False

    return plain
