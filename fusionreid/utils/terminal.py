"""Text as a terminal may show it: what could steer it, or mislead a reader, is escaped."""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from typing import TextIO

# Control and formatting characters (escape sequences, changes of the writing direction), halves
# of a pair (bytes of a file name that are no UTF-8), and separators of lines.
_CATEGORIES = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
# The password in the URL of a database.
_PASSWORD = re.compile(r'(postgres(?:ql)?://[^\s:@/]*):[^\s/]*@|(?<=password=)[^\s&#]+')
# All ASCII but control characters: most texts.
_PLAIN = re.compile(r'[ -~]*')


def escape_controls(text: str, keep: str = '') -> str:
    r"""Write control and formatting characters as Python writes them in a literal.

    Args:
        text: Any text, such as a message that names a file.
        keep: Characters to leave as they are, such as the line breaks of a table.

    Returns:
        The text, which is as it was if it holds no such character.

    Example:
        >>> print(escape_controls('a\x1b[31m\n.jpg'))
        a\x1b[31m\n.jpg
    """
    if _PLAIN.fullmatch(text):
        return text
    return ''.join(
        character.encode('unicode_escape').decode()
        if unicodedata.category(character) in _CATEGORIES and character not in keep
        else character
        for character in text
    )


def hide_passwords(text: str) -> str:
    """Leave the passwords out of URLs of databases, wherever they stand in a text.

    Args:
        text: Any text, such as a message that names an argument.

    Returns:
        The text with ``***`` for each password.

    Example:
        >>> hide_passwords('there is no folder postgresql://anna:secret@db/team')
        'there is no folder postgresql://anna:***@db/team'
    """
    return _PASSWORD.sub(lambda found: f'{found[1]}:***@' if found[1] else '***', text)


def say(line: object, stream: TextIO | None = None) -> None:
    """Print one line at once, escaped.

    Args:
        line: The line; a line break in it is escaped like every control character.
        stream: Where to; the standard output otherwise.
    """
    print(escape_controls(hide_passwords(str(line))), file=stream or sys.stdout, flush=True)


def say_lines(text: str) -> None:
    """Print several lines at once, escaped but for their ends and tabs."""
    print(escape_controls(text, keep='\n\t'), flush=True)


class EscapedLogRecord(logging.LogRecord):
    """A log record whose message is escaped, for :func:`logging.setLogRecordFactory`.

    Line breaks stay: logs hold tables.
    """

    def getMessage(self) -> str:  # noqa: N802
        """Return the message with its arguments filled in."""
        return escape_controls(super().getMessage(), keep='\n\t')
