"""Turns Sphinx roles in docstrings, such as ``:class:`Gallery```, into links of the site."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, GriffeLoader, Module, NameResolutionError, Object

ROLE = re.compile(r':(?:attr|class|data|func|meth|mod):`(?P<short>~?)(?P<name>[\w.]+)`')


class DocstringRoles(Extension):
    """Rewrites the docstrings of a package once all of it has been read."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Rewrite all docstrings of the package."""
        self._visit(pkg)

    def _visit(self, node: Object) -> None:
        if node.docstring:
            text = node.docstring.value
            node.docstring.value = ROLE.sub(lambda match: self._link(match, node), text)
        for member in node.members.values():
            if not member.is_alias:
                self._visit(member)

    @staticmethod
    def _link(match: re.Match[str], node: Object) -> str:
        name = match['name']
        shown = name.rpartition('.')[2] if match['short'] else name
        first, _, rest = name.partition('.')
        try:
            target = name if first == 'fusionreid' else node.resolve(first)
        except NameResolutionError:
            return f'`{shown}`'
        if first != 'fusionreid' and rest:
            target = f'{target}.{rest}'
        return f'[`{shown}`][{target}]' if target.startswith('fusionreid.') else f'`{shown}`'
