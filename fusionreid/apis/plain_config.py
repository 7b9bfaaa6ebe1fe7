"""Reading the config that travels with weights, without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from fusionreid.checkpoints.config_text import plain_value

from .errors import GalleryError

# MMEngine imports whatever a dotted type names; only these packages may be meant.
_TYPE = re.compile(r'(?:(?:fusionreid|mmpretrain|mmcv|mmengine)\.)?\w+')


def parse_plain_config(text: str, names: tuple[str, ...], source: str) -> dict[str, Any]:
    """Read top-level settings of a config as MMEngine writes it: plain values, nothing to run.

    Args:
        text: Config text, such as ``meta['cfg']`` of a checkpoint.
        names: Settings to read; the others may be anything.
        source: Where the text is from, for errors.

    Returns:
        The settings that are there.

    Raises:
        GalleryError: If a setting is more than plain values, or names a type outside of the
            OpenMMLab packages.
    """
    try:
        body = ast.parse(text).body
        settings = {
            node.targets[0].id: plain_value(node.value)
            for node in body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in names
        }
    except (SyntaxError, TypeError, ValueError, RecursionError) as error:
        raise GalleryError(
            f'the config in {source} is not made of plain values ({error}): give the config file '
            f'itself'
        ) from error
    for kind in _types(settings):
        if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
            raise GalleryError(
                f'the config in {source} names the type {kind!r}, which is none of a model: if you '
                f'trust it, give the config file itself'
            )
    return settings


def _types(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if 'type' in value:
            yield value['type']
        for item in value.values():
            yield from _types(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _types(item)
