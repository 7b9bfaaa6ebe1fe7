"""The one reader of configs in files that are not trusted: literal values, and nothing is run."""

from __future__ import annotations

import ast
from typing import Any

from fusionreid.errors import ConfigError


def read_literals(text: str, names: tuple[str, ...], source: str) -> dict[str, Any]:
    r"""Read top-level settings of a config as MMEngine writes it, without running it.

    What is read is built by :func:`~fusionreid.config.build_untrusted` only, since MMEngine's
    registry imports what a ``type`` names.

    Args:
        text: Config text, such as ``meta['cfg']`` of a checkpoint.
        names: Settings to read; the others may be anything.
        source: Where the text is from, for errors.

    Returns:
        The settings that are there. ``dict(name=value)`` is read like ``{'name': value}``.

    Raises:
        ConfigError: If a setting is more than literal values.

    Example:
        >>> read_literals('a = dict(b=[1, 2.5])\nc = open("x")', ('a',), 'an example')
        {'a': {'b': [1, 2.5]}}
    """
    try:
        body = ast.parse(text).body
        settings = {
            node.targets[0].id: _literal(node.value)
            for node in body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in names
        }
    # Python's parser reports nesting that is too deep for it as a MemoryError.
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(
            f'the config in {source} is not made of literal values ({error}): give the config file '
            f'itself'
        ) from error
    return settings


def _literal(node: ast.expr) -> Any:
    """Read what stands to the right of an assignment; raises for more than literals."""
    if isinstance(node, ast.Call):
        is_dict = isinstance(node.func, ast.Name) and node.func.id == 'dict'
        if not is_dict or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError(f'line {node.lineno} calls something')
        keywords = {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
        # MMEngine writes dict({...}) where a key is no identifier.
        match node.args:
            case []:
                return keywords
            case [ast.Dict() as first]:
                return {**_literal(first), **keywords}
        raise ValueError(f'line {node.lineno} calls something')
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_literal(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if key is not None]
        if len(keys) < len(node.keys):
            raise ValueError(f'line {node.lineno} unpacks a dict')
        items = zip(keys, node.values, strict=True)
        return {ast.literal_eval(key): _literal(value) for key, value in items}
    return ast.literal_eval(node)
