from __future__ import annotations

from argparse import ArgumentError, ArgumentParser, Namespace
from typing import Any

from mmengine.config import DictAction


class EngineOptions(DictAction):
    """Settings of an engine on the command line, such as ``probes=64 refine=4``."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for value in values:
            name, equals, _ = value.partition('=')
            if not name or not equals:
                raise ArgumentError(self, f'{value!r} is no setting, expected such as probes=64')
            if name == 'type':
                raise ArgumentError(self, 'the engine itself is chosen by another option')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:
            raise ArgumentError(self, str(error)) from error
