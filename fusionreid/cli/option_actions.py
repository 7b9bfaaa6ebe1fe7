"""Arguments of the form ``KEY=VALUE``."""

from __future__ import annotations

import argparse
from typing import Any

from mmengine.config import DictAction


class OptionAction(DictAction):
    """mmengine's ``KEY=VALUE ...``, which names what is not of that form."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read the options; the arguments are argparse's."""
        for text in values:
            if not all(text.partition('=')[:2]):
                raise argparse.ArgumentError(self, f'{text!r} is not of the form KEY=VALUE')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:  # brackets that do not match
            raise argparse.ArgumentError(self, str(error)) from error


class EngineOptions(OptionAction):
    """Settings of an engine of the gallery, such as ``probes=64 refine=4``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read the settings; the arguments are argparse's."""
        if any(value.partition('=')[0] == 'type' for value in values):
            raise argparse.ArgumentError(self, 'the engine itself is chosen by another option')
        super().__call__(parser, namespace, values, option_string)
