"""List the configs of the package: ``fusionreid configs [WORD ...]``.

Their names can be given to every command that takes a config, in place of a path.
"""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path

from fusionreid.config import config_folder, packaged_configs
from fusionreid.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'words', nargs='*', metavar='word', help='list those with all of these in their names'
    )


def run(args: argparse.Namespace) -> None:
    """Print the names, those of the published rows first, then folder by folder.

    Raises:
        ConfigError: If no name has all of the words.
    """
    folder = config_folder()
    found = {
        name: path.parent.relative_to(folder)
        for name, path in packaged_configs().items()
        if all(word in name for word in args.words)
    }
    if not found:
        raise ConfigError(f'no config has {" and ".join(args.words)} in its name')
    # Stable: names stay sorted within a folder.
    for group, names in groupby(sorted(found, key=found.__getitem__), key=found.__getitem__):
        indent = ''
        if group != Path():
            print(f'{group.as_posix()}/')
            indent = '  '
        for name in names:
            print(indent + name)
    print(f'in {folder}')
