"""The documents: their code blocks, inline code, links and headings, and commands in them."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from tiny_runs import ROOT

from fusionreid.cli.commands import COMMANDS

ROOT_PAGES = ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')
PAGES = [
    *(ROOT / name for name in ROOT_PAGES),
    *sorted((ROOT / 'docs').glob('*.md')),
    *sorted((ROOT / 'configs').rglob('README.md')),
]
# A comment right before a block says what it is:
#   not run: WHY     commands or code that are checked, but not run
#   file: PATH       a file of that name
#   onto: CONFIG     a part of a config that is merged onto that one
#   output           lines that a block of the page prints
MARK = re.compile(r'<!--\s*(?P<kind>not run|file|onto|output)(?::\s*(?P<value>.*?))?\s*-->', re.S)
RUN_COMMAND = re.compile(r"run_command\('([\w -]+)'\)")
# Scripts whose arguments go on to a command, after so many of their own.
LAUNCHERS = {
    'tools/dist_train.sh': ('train', 2),
    'tools/dist_test.sh': ('test', 2),
    'tools/slurm_train.sh': ('train', 3),
    'tools/quickstart.sh': ('quickstart', 0),
}
ASSIGNMENT = re.compile(r'[A-Z_]+=\S*')


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        language: As the block says.
        text: Its content.
        line: Line of the page, from 1, at which the content begins.
        kind: What a comment before it says it is; ``''`` without one.
        value: What the comment adds.
    """

    language: str
    text: str
    line: int
    kind: str = ''
    value: str = ''


def parse(page: Path) -> list[Token]:
    """Read a page as CommonMark with tables."""
    return MarkdownIt('commonmark').enable('table').parse(page.read_text(encoding='utf-8'))


def blocks(page: Path) -> list[Block]:
    """All code blocks of a page."""
    found, mark = [], None
    for token in parse(page):
        if token.type == 'fence':
            language = token.info.split(' ')[0]
            kind, value = (mark['kind'], mark['value'] or '') if mark else ('', '')
            found.append(Block(language, token.content, token.map[0] + 2, kind, value))
        mark = MARK.fullmatch(token.content.strip()) if token.type == 'html_block' else None
    return found


def inline(page: Path) -> Iterator[Token]:
    """All inline parts: text, code, links, images."""
    for token in parse(page):
        yield from token.children or ()


def inline_code(page: Path) -> list[str]:
    """The inline code of a page."""
    return [token.content for token in inline(page) if token.type == 'code_inline']


def links(page: Path) -> list[str]:
    """Targets of all links and images."""
    return [
        token.attrs[key] for token in inline(page) for key in ('href', 'src') if key in token.attrs
    ]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as forges make them."""
    tokens = parse(page)
    titles = [
        tokens[index + 1].children
        for index, token in enumerate(tokens)
        if token.type == 'heading_open'
    ]
    texts = (''.join(part.content for part in children) for children in titles)
    return {re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-') for text in texts}


def command_lines(text: str) -> list[list[str]]:
    """The words of every command line of a shell block, without comments."""
    lines = text.replace('\\\n', ' ').splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def read_command(words: list[str]) -> tuple[str, list[str]] | None:
    """Find which command of ours a command line calls.

    Args:
        words: The words of the line.

    Returns:
        Name of the command and its arguments; None for a command that is not ours.
    """
    while words and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    if Path(words[0]).name == 'fusionreid':
        for length in (2, 1):
            name = ' '.join(words[1 : 1 + length])
            if name in COMMANDS:
                return name, words[1 + length :]
        raise ValueError(f'there is no command {" ".join(words)}')
    if words[0] == 'python' and len(words) > 1 and words[1].endswith('.py'):
        called = RUN_COMMAND.search((ROOT / words[1]).read_text())
        return (called[1], words[2:]) if called else None
    if words[0] == 'bash' and len(words) > 1 and words[1] in LAUNCHERS:
        name, own = LAUNCHERS[words[1]]
        # Of the own arguments the config stands last, or before the number of processes.
        config = [words[2 + own - 1]] if own == 3 else words[2:3] if own else []
        return name, [*config, *words[2 + own :]]
    return None


def make_parser(name: str) -> argparse.ArgumentParser:
    """The argument parser of a command."""
    parser = argparse.ArgumentParser(prog=name, exit_on_error=False)
    COMMANDS[name].load().add_arguments(parser)
    return parser


def options(name: str) -> set[str]:
    """All options of a command, such as ``--out``."""
    actions = make_parser(name)._actions
    return {option for action in actions for option in action.option_strings}
