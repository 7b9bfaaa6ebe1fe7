"""The entry point ``fusionreid``: finds the command, reads its arguments, and tells mistakes."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from fusionreid.errors import TrainingInterrupted, UserError
from fusionreid.utils.terminal import EscapedLogRecord, escape_controls, hide_passwords
from fusionreid.version import __version__

from .commands import COMMANDS, GROUPS
from .environment_errors import describe_environment_error, no_hidden_environment_errors

INTERRUPTED, BROKEN_PIPE = 130, 141
# Set to anything, it keeps the traceback of every error.
TRACEBACK_VARIABLE = 'FUSIONREID_TRACEBACK'


def main(argv: list[str] | None = None) -> int:
    """Run ``fusionreid COMMAND [arguments]``.

    Args:
        argv: Command and arguments; those of the process otherwise.

    Returns:
        Exit status.

    Raises:
        SystemExit: If arguments are wrong (2), or something that a person can mend is (1).

    Example:
        >>> main(['--version'])  # doctest: +ELLIPSIS
        fusionreid ...
        0
    """
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ('-h', '--help', 'help'):
        with _reader_may_leave():
            print(help_text())
        return 0 if arguments else 2
    if arguments[0] in ('-V', '--version'):
        print(f'fusionreid {__version__}')
        return 0
    # A command is one word or two, such as `benchmark train`.
    for words in (2, 1):
        name = ' '.join(arguments[:words])
        if name in COMMANDS:
            return run_command(name, arguments[words:], f'fusionreid {name}')
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f', did you mean {close[0]!r}?' if close else '.'
    print(f'error: there is no command {name!r}{hint} fusionreid --help lists all', file=sys.stderr)
    return 2


def run_command(name: str, argv: list[str] | None = None, prog: str | None = None) -> int:
    """Run one command.

    The only place where a :class:`~fusionreid.errors.UserError` is caught: its message becomes one
    line, with control characters escaped, as they are in logs. So does what the machine refuses,
    such as space or memory. Every other exception is a mistake of the program and keeps its
    traceback. With the environment variable ``FUSIONREID_TRACEBACK`` all of them keep it.

    Args:
        name: Name of the command.
        argv: Its arguments; those of the process otherwise.
        prog: What the help calls it; the script's name otherwise.

    Returns:
        Exit status.

    Raises:
        SystemExit: As for :func:`main`.

    Example:
        >>> run_command('render', ['people', '--cameras', '9'])
        Traceback (most recent call last):
        SystemExit: error: cameras must be from 2 to 6 (the market1501 layout has no more), got 9
    """
    logging.setLogRecordFactory(EscapedLogRecord)
    try:
        with no_hidden_environment_errors(), _reader_may_leave():
            module = COMMANDS[name].load()
            parser = _Parser(
                prog=prog,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(parser)
            args = parser.parse_args(argv)
            if hasattr(module, 'check_arguments'):
                module.check_arguments(args, parser)
            return module.run(args) or 0
    except TrainingInterrupted as stop:
        print(escape_controls(str(stop)), file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        line = str(error) if isinstance(error, UserError) else describe_environment_error(error)
        if line is None or os.environ.get(TRACEBACK_VARIABLE):
            raise
        raise SystemExit(f'error: {escape_controls(hide_passwords(line))}') from error


class _Parser(argparse.ArgumentParser):
    """A parser whose messages show control characters in arguments escaped."""

    def error(self, message: str) -> NoReturn:
        super().error(escape_controls(hide_passwords(message)))


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """End quietly when what reads the output has ended, as ``head`` does.

    Raises:
        SystemExit: With the status that a shell gives to it.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if sys.platform == 'win32':  # cannot ask
            raise
        output = sys.stdout.fileno()
        poll = select.poll()
        poll.register(output, 0)
        if not poll.poll(0):  # some other pipe is broken
            raise
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        raise SystemExit(BROKEN_PIPE) from None


def help_text() -> str:
    """The commands in their groups."""
    width = max(map(len, COMMANDS))
    lines = ['usage: fusionreid COMMAND [arguments]', '', 'Person re-identification.']
    for title, commands in GROUPS.items():
        lines += ['', f'{title}:']
        lines += [f'  {command.name:<{width}}  {command.summary}' for command in commands]
    lines += ['', 'fusionreid COMMAND --help describes a command.']
    return '\n'.join(lines)
