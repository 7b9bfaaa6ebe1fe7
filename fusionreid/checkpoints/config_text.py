"""Values in the text of a config, read without running anything."""

from __future__ import annotations

import ast
from typing import Any


def plain_value(node: ast.expr) -> Any:
    """Read a literal, in which ``dict(name=value)`` may stand for ``{'name': value}``.

    Args:
        node: What stands to the right of an assignment.

    Raises:
        TypeError, ValueError: If it is more than plain values.
    """
    if isinstance(node, ast.Call):
        plain = isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args
        if not plain or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError(f'line {node.lineno} calls something')
        return {keyword.arg: plain_value(keyword.value) for keyword in node.keywords}
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [plain_value(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Dict):
        items = zip(node.keys, node.values, strict=True)
        return {ast.literal_eval(key): plain_value(value) for key, value in items}
    return ast.literal_eval(node)
