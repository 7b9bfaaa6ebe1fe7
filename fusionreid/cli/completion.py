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

# A function that completes some words, and files.
WORD_OR_FILE = {
    'bash': """_fusionreid_{name}_file() {{
  compgen -W '{words}' -- "$1"
  compgen -f -- "$1"
}}""",
    'zsh': """_fusionreid_{name}_file() {{
  compadd -- {words}
  _files
}}""",
}

# In zsh a command that takes files and has subcommands hands its subcommands' words to them here.
ZSH_COMMAND_WITH_SUBCOMMANDS = """functions[_fusionreid_{name}]=$functions[_shtab_fusionreid_{name}]
_shtab_fusionreid_{name}() {{
  if (( CURRENT > 2 )) && [[ $words[2] == ({pattern}) ]]; then
    local specs=_shtab_fusionreid_{name}_$words[2]_options
    shift words
    (( CURRENT -= 1 ))
    _arguments -C -s ${{(P)specs}}
  else
    _fusionreid_{name}
  fi
}}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('shell', choices=sorted(WORD_OR_FILE), help='the shell')


def run(args: argparse.Namespace) -> None:
    """Print the script.

    Raises:
        CommandError: If shtab is not installed.
    """
    shtab = import_optional('shtab', 'shtab', 'fusionreid completion', CommandError)
    words = {'config': list(packaged_configs()), **subcommands()}
    preamble = [
        WORD_OR_FILE[args.shell].format(name=name, words=' '.join(each))
        for name, each in words.items()
    ]
    if args.shell == 'zsh':
        preamble += [
            ZSH_COMMAND_WITH_SUBCOMMANDS.format(name=name, pattern='|'.join(words[name]))
            for name in commands_with_subcommands()
        ]
    script = shtab.complete(
        build_parser(shtab.FILE), args.shell, preamble={args.shell: '\n'.join(preamble)}
    )
    print(script)


def subcommands() -> dict[str, list[str]]:
    """Second words of the commands of two words, by the first."""
    # Imported here: this module is one of the commands.
    from .commands import COMMANDS

    found: dict[str, list[str]] = {}
    for name in COMMANDS:
        first, _, second = name.partition(' ')
        if second:
            found.setdefault(first, []).append(second)
    return found


def commands_with_subcommands() -> list[str]:
    """Commands of one word that are the first of others too."""
    from .commands import COMMANDS

    return [first for first in subcommands() if first in COMMANDS]


def _word_or_file(name: str) -> dict[str, str]:
    return dict.fromkeys(WORD_OR_FILE, f'_fusionreid_{name}_file')


def build_parser(file: dict[str, str]) -> argparse.ArgumentParser:
    """Build one parser of all commands, which is for completion alone.

    Args:
        file: What completes a file, by shell.

    Returns:
        The parser. Commands of two words are subcommands of their first word.
    """
    from .commands import COMMANDS, GROUPS

    parser = argparse.ArgumentParser(prog='fusionreid')
    parser.add_argument('-V', '--version', action='store_true', help='show the version')
    parsers = parser.add_subparsers()
    groups: dict[str, argparse._SubParsersAction] = {}
    for first in subcommands():
        summary = COMMANDS[first].summary if first in COMMANDS else _title(first, GROUPS)
        groups[first] = parsers.add_parser(first, help=summary).add_subparsers()
        if first in COMMANDS:  # takes files too
            vars(groups[first])['complete'] = _word_or_file(first)
    for name, command in COMMANDS.items():
        first, _, second = name.partition(' ')
        if name in groups:
            leaf = parsers.choices[name]
        elif second:
            leaf = groups[first].add_parser(second, help=command.summary)
        else:
            leaf = parsers.add_parser(name, help=command.summary)
        command.load().add_arguments(leaf)
        first_word = name if name in groups else ''
        for action in leaf._actions:
            if action.nargs != 0 and action.choices is None:
                words = 'config' if action.dest == 'config' else ''
                if not action.option_strings:
                    words, first_word = words or first_word, ''
                vars(action)['complete'] = _word_or_file(words) if words else file
    return parser


def _title(first: str, groups: dict[str, tuple]) -> str:
    """The title of the group whose commands begin with a word."""
    return next(
        title.lower()
        for title, commands in groups.items()
        if any(command.name.startswith(f'{first} ') for command in commands)
    )
