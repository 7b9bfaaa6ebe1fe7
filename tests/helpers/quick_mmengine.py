"""MMEngine for tiny trainings: without what takes most of their time, and many in a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from mmengine.config import config
from mmengine.runner import runner
from yapf.yapflib import yapf_api

STAMP = '%Y%m%d_%H%M%S'  # of the folder of a run
# The module whose FormatCode lays out configs: the forks' config module imports it for each text.
LAYOUT = config if hasattr(config, 'FormatCode') else yapf_api


def make_quick() -> None:
    """Leave the texts of configs as they are, and describe the machine once.

    A training writes its config a dozen times, and laying the text out takes 0.3 seconds each. The
    description of the machine asks compilers.
    """
    if not hasattr(LAYOUT.FormatCode, '__wrapped__'):
        LAYOUT.FormatCode = _plain(LAYOUT.FormatCode)
        runner.collect_env = cache(runner.collect_env)
        runner.Runner.setup_env = _with_a_second_of_its_own(runner.Runner.setup_env)


def _plain(format_code: Callable[..., tuple[str, bool]]) -> Callable[..., tuple[str, bool]]:
    @wraps(format_code)
    def plain(text: str, **_: Any) -> tuple[str, bool]:
        return text, False

    return plain


def _with_a_second_of_its_own(setup_env: Callable[..., None]) -> Callable[..., None]:
    """Runs of a process that begin in the same second would share a logger, and so a log file."""
    latest = 0.0

    @wraps(setup_env)
    def setup(self: runner.Runner, env_cfg: dict) -> None:
        nonlocal latest
        setup_env(self, env_cfg)
        began = time.mktime(time.strptime(self._timestamp, STAMP))
        latest = max(began, latest + 1)
        self._timestamp = time.strftime(STAMP, time.localtime(latest))

    return setup
