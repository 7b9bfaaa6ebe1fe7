"""Which OpenMMLab packages are installed: upstream's, or the maintained forks ``onedl-*``.

Both install the same import names, so pip copies the files of one over those of the other without a
word, and uninstalling either removes files of both.
"""

from __future__ import annotations

import sys
import warnings
from importlib import metadata
from pathlib import Path

# Import name to the distributions that install it, by stack.
STACKS: dict[str, dict[str, tuple[str, ...]]] = {
    'upstream': {
        'mmengine': ('mmengine', 'mmengine-lite'),
        'mmcv': ('mmcv-lite', 'mmcv'),
        'mmpretrain': ('mmpretrain',),
    },
    'onedl': {
        'mmengine': ('onedl-mmengine',),
        'mmcv': ('onedl-mmcv',),
        'mmpretrain': ('onedl-mmpretrain',),
    },
}


def find_distributions(package: str, folders: list[str] | None = None) -> list[str]:
    """Name the distributions whose files are in the folder that a package is imported from.

    Args:
        package: Import name, one of those of ``STACKS``.
        folders: Folders to look in, in the order of imports; those of Python otherwise.

    Returns:
        ``name version`` each. More than one is a mixture: they own the same files.

    Example:
        >>> len(find_distributions('mmengine'))
        1
    """
    owners = [each for each in _candidates(package, folders) if _owns(each, package)]
    return sorted(f'{each.metadata["Name"]} {each.version}' for each in owners)


def _candidates(package: str, folders: list[str] | None) -> list[metadata.Distribution]:
    names = [name for packages in STACKS.values() for name in packages[package]]
    for folder in sys.path if folders is None else folders:
        # What comes later is not imported, such as the machine's packages below an environment.
        if (Path(folder) / package / '__init__.py').is_file():
            return [
                each for name in names for each in metadata.distributions(name=name, path=[folder])
            ]
    return []


def _owns(distribution: metadata.Distribution, package: str) -> bool:
    """Whether its files are here: what is installed as editable has its record alone here."""
    return f'{package}/__init__.py,' in (distribution.read_text('RECORD') or '')


def find_stack() -> str:
    """Name the stack that is installed: ``'upstream'``, ``'onedl'`` or ``'mixed'``.

    Without records, such as of source trees, it is ``'unknown'``.
    """
    found = set()
    for package in STACKS['upstream']:
        for distribution in find_distributions(package):
            found.add('onedl' if distribution.startswith('onedl-') else 'upstream')
    return 'mixed' if len(found) > 1 else next(iter(found), 'unknown')


def describe_mixture(folders: list[str] | None = None) -> str | None:
    """Say which distributions have overwritten each other's files, and what to do.

    Args:
        folders: As for :func:`find_distributions`.

    Returns:
        One line; None if there is no mixture.
    """
    mixtures = [
        ' and '.join(found)
        for package in STACKS['upstream']
        # Few files are read where there is nothing to find: this runs at every import.
        if len(_candidates(package, folders)) > 1
        and len(found := find_distributions(package, folders)) > 1
    ]
    if not mixtures:
        return None
    return (
        f'{"; ".join(mixtures)} are installed over each other and share files: make a new '
        'environment with requirements/runtime.txt or requirements/onedl.txt, never both'
    )


def warn_of_mixture() -> None:
    """Warn in one line of distributions that have overwritten each other's files."""
    if line := describe_mixture():
        # At a line of no file, since Python would show the source line too.
        warnings.warn_explicit(line, UserWarning, filename='fusionreid', lineno=1)
