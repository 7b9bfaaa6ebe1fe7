"""Print what completes commands and options in a shell: ``fusionreid completion bash``.

fusionreid completion bash > ~/.local/share/bash-completion/completions/fusionreid
fusionreid completion zsh > ~/.zfunc/_fusionreid

The script names commands, options, choices and configs as they are now, and starts no Python when
it completes. For zsh, the folder must be in fpath before compinit is called.
"""

from __future__ import annotations

import argparse

from fusionreid.config import packaged_configs
from fusionreid.errors import CommandError
from fusionreid.utils.optional import import_optional

# Completes names of the packaged configs, and files.
PREAMBLE = {
    'bash': """_fusionreid_config_file() {{
  compgen -W '{names}' -- "$1"
  compgen -f -- "$1"
}}""",
    'zsh': """_fusionreid_config_file() {{
  compadd -- {names}
  _files
}}""",
}
CONFIG_FILE = dict.fromkeys(PREAMBLE, '_fusionreid_config_file')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('shell', choices=sorted(PREAMBLE), help='the shell')


def run(args: argparse.Namespace) -> None:
    """Print the script.

    Raises:
        CommandError: If shtab is not installed.
    """
    shtab = import_optional('shtab', 'shtab', 'fusionreid completion', CommandError)
    preamble = PREAMBLE[args.shell].format(names=' '.join(packaged_configs()))
    print(shtab.complete(build_parser(shtab.FILE), args.shell, preamble={args.shell: preamble}))


def build_parser(file: dict[str, str]) -> argparse.ArgumentParser:
    """Build one parser of all commands, which is for completion alone.

    Args:
        file: What completes a file, by shell.

    Returns:
        The parser. Commands of two words are subcommands of their first word.
    """
    # Imported here: this module is one of the commands.
    from .commands import COMMANDS, GROUPS

    parser = argparse.ArgumentParser(prog='fusionreid')
    parser.add_argument('-V', '--version', action='store_true', help='show the version')
    parsers = parser.add_subparsers()
    groups: dict[str, argparse._SubParsersAction] = {}
    firsts = {name.partition(' ')[0] for name in COMMANDS if ' ' in name}
    for first in sorted(firsts):
        summary = COMMANDS[first].summary if first in COMMANDS else _title(first, GROUPS)
        groups[first] = parsers.add_parser(first, help=summary).add_subparsers()
        if first in COMMANDS:  # takes files too
            vars(groups[first])['complete'] = file
    for name, command in COMMANDS.items():
        first, _, second = name.partition(' ')
        if name in groups:
            leaf = parsers.choices[name]
        elif second:
            leaf = groups[first].add_parser(second, help=command.summary)
        else:
            leaf = parsers.add_parser(name, help=command.summary)
        command.load().add_arguments(leaf)
        for action in leaf._actions:
            if action.nargs != 0 and action.choices is None:
                vars(action)['complete'] = CONFIG_FILE if action.dest == 'config' else file
    return parser


def _title(first: str, groups: dict[str, tuple]) -> str:
    """The title of the group whose commands begin with a word."""
    return next(
        title.lower()
        for title, commands in groups.items()
        if any(command.name.startswith(f'{first} ') for command in commands)
    )
