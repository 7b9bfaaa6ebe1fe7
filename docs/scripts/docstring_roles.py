"""Fits docstrings to the site: roles become links, and examples become code.

A role is, for example, ``:class:`Gallery```.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import (
    AliasResolutionError,
    CyclicAliasError,
    Extension,
    GriffeLoader,
    Module,
    NameResolutionError,
    Object,
)

ROLE = re.compile(r':(?:attr|class|data|exc|func|meth|mod):`(?P<short>~?)(?P<name>[\w.]+)`')
# Only the plural is read as a section of doctests.
EXAMPLE = re.compile(r'(?m)^Example:$')


class DocstringRoles(Extension):
    """Rewrites the docstrings of a package once all of it has been read.

    A name that the reference shows becomes a link, any other stays code.
    """

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **kwargs: Any) -> None:
        """Rewrite all docstrings of the package."""
        loader.resolve_aliases(implicit=False, external=False)
        self._package = pkg
        self._visit(pkg)

    def _visit(self, node: Object) -> None:
        if node.docstring:
            text = EXAMPLE.sub('Examples:', node.docstring.value)
            node.docstring.value = ROLE.sub(lambda match: self._link(match, node), text)
        for member in list(node.members.values()):
            if not member.is_alias:
                self._visit(member)

    def _link(self, match: re.Match[str], node: Object) -> str:
        name = match['name']
        shown = name.rpartition('.')[2] if match['short'] else name
        target = self._find(name, node)
        return f'[`{shown}`][{target}]' if target else f'`{shown}`'

    def _find(self, name: str, node: Object) -> str | None:
        """Where the reference shows what a docstring calls ``name``; None if it does not."""
        try:
            first, _, rest = name.partition('.')
            path = name if first == self._package.name else node.resolve(first)
            if rest and path != name:
                path = f'{path}.{rest}'
            found = self._package[path.removeprefix(f'{self._package.name}.')]
            found = found.final_target if found.is_alias else found
        except (AliasResolutionError, CyclicAliasError, KeyError, NameResolutionError):
            return None
        is_property = found.is_attribute and 'property' in found.labels
        shown = found.is_class or found.is_function or is_property
        return found.path if shown and found.docstring and found.is_public else None
