"""Slow work of MMEngine that gives the same for the same input, done once in a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mmengine.config import config
from mmengine.runner import runner


def remember() -> None:
    """Keep the results of the two slowest functions.

    A training writes its config a dozen times and formats it anew each time: tiny models spend
    most of their time there. The description of the machine asks compilers.
    """
    config.FormatCode = _once(config.FormatCode)
    runner.collect_env = _once(runner.collect_env)


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(function, '__wrapped__'):  # is remembered already
        return function
    results: dict[str, Any] = {}

    @wraps(function)
    def remembering(*args: Any, **kwargs: Any) -> Any:
        key = repr((args, kwargs))
        if key not in results:
            results[key] = function(*args, **kwargs)
        return results[key]

    return remembering
