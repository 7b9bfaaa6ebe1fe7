from __future__ import annotations

from argparse import ArgumentError, ArgumentParser, Namespace
from typing import Any

from fusionreid.engine.config_errors import OptionAction


class EngineOptions(OptionAction):
    """Settings of an engine on the command line, such as ``probes=64 refine=4``."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if any(value.partition('=')[0] == 'type' for value in values):
            raise ArgumentError(self, 'the engine itself is chosen by another option')
        super().__call__(parser, namespace, values, option_string)
