"""List the configs of the package: ``fusionreid configs [WORD ...]``.

Their names can be given to every command that takes a config, in place of a path.
"""

from __future__ import annotations

import argparse

from fusionreid.config import config_folder, packaged_configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'words', nargs='*', metavar='word', help='list those with all of these in their names'
    )


def run(args: argparse.Namespace) -> None:
    """Print the names, folder by folder, and where they are."""
    folder = config_folder()
    shown = ''
    for name, path in sorted(packaged_configs().items(), key=lambda item: item[1].as_posix()):
        if not all(word in name for word in args.words):
            continue
        group = path.parent.relative_to(folder).as_posix()
        if group != shown:
            print(f'{group}/')
        shown = group
        print(f'  {name}' if group != '.' else name)
    print(f'in {folder}')
