"""Fonts for any script: that of matplotlib, or one of this machine that has the letters."""

from __future__ import annotations

import logging
import unicodedata
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from mmengine.logging import print_log
from PIL import ImageFont

FAMILY = 'DejaVu Sans'
# Control characters, spaces and marks that change the letter before them have no shape to miss.
_SHAPELESS = ('C', 'Z', 'M')
# Fonts whose size can be chosen; pictures of letters have fixed ones.
_SCALABLE = ('.ttf', '.otf', '.ttc')


def text_font(size: int, bold: bool = False, text: str = '') -> ImageFont.FreeTypeFont:
    """Load the font of pictures that are made of pixels.

    Args:
        size: Size in pixels.
        bold: Whether the letters are bold.
        text: What is written: where the usual font lacks a letter, another one is taken.

    Returns:
        The font.
    """
    return _load(find_font(text, bold), size)


def baseline(size: int, bold: bool = False) -> int:
    """Tell how far the line that letters stand on is below the top of a text.

    Letters of another font stand on the line of the usual one with the anchor ``'ls'`` of Pillow.

    Args:
        size: Size in pixels.
        bold: Whether the letters are bold.

    Returns:
        Pixels, of the usual font.
    """
    return text_font(size, bold).getmetrics()[0]


@cache
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def find_font(text: str, bold: bool = False) -> str:
    """Find a font that has the letters of a text; says so, once a script, where none has.

    Args:
        text: What is to be written.
        bold: Whether the letters should be bold.

    Returns:
        File of the font that matplotlib brings along, so that pictures look the same on every
        machine; where it lacks a letter, of the font of this machine that has most of them.

    Example:
        >>> Path(find_font('Hof – Süd')).name, Path(find_font('Двор', bold=True)).name
        ('DejaVuSans.ttf', 'DejaVuSans-Bold.ttf')
    """
    own = _own_font(bold)
    wanted = frozenset(c for c in text if unicodedata.category(c)[0] not in _SHAPELESS)
    if wanted <= _letters(own):
        return own
    chosen = _best_font(wanted, bold)
    for letter in sorted(wanted - _letters(chosen)):
        name = unicodedata.name(letter, 'unknown')
        _say_missing(name.split()[0] if letter.isalpha() else 'symbol', letter)
    return chosen


def set_fonts(figure: Figure) -> None:
    """Give the texts of a chart further fonts, where the usual one lacks a letter.

    Args:
        figure: The chart, which is changed.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        chosen = find_font(text.get_text())
        if chosen != _own_font(False):
            text.set_fontfamily([FAMILY, _register(chosen)])


@cache
def _own_font(bold: bool) -> str:
    weight = 'bold' if bold else 'normal'
    properties = font_manager.FontProperties(family=FAMILY, weight=weight)
    return str(font_manager.findfont(properties))


@cache
def _letters(path: str) -> frozenset[str]:
    """The characters of a font; none of a file that is no font."""
    try:
        # A font that only shows pictures of letters cannot be loaded in the size of a text.
        ImageFont.truetype(path, 16)
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


@cache
def _best_font(wanted: frozenset[str], bold: bool) -> str:
    """The font that has most of the characters; of several, one that looks like the usual one."""
    own = _own_font(bold)
    # The list that matplotlib keeps is older than fonts that were installed since.
    there = {
        path for path in font_manager.findSystemFonts() if Path(path).suffix.lower() in _SCALABLE
    }

    def fitness(path: str) -> tuple[int, bool, bool, bool, str]:
        name = Path(path).stem.lower()
        unlike = 'mono' in name or 'serif' in name.replace('sansserif', '')
        return (
            len(wanted & _letters(path)),
            path == own,
            not unlike,
            ('bold' in name) == bold,
            # So that the choice does not depend on the order of the files.
            path,
        )

    return max([own, *there], key=fitness)


@cache
def _register(path: str) -> str:
    """Make a font known to matplotlib; returns its family."""
    font_manager.fontManager.addfont(path)
    return FT2Font(path).family_name


# A command shows the names of many people and cameras, but what is to be done is the same.
_missing: set[str] = set()


def _say_missing(script: str, letter: str) -> None:
    """Say once what a picture cannot show."""
    if script in _missing:
        return
    _missing.add(script)
    is_asian = script in ('CJK', 'HANGUL', 'HIRAGANA', 'KATAKANA')
    print_log(
        f'no font of this machine has {letter} (U+{ord(letter):04X}, {script}), so pictures show a '
        f'box in its place: install one, such as Noto Sans (on Debian and Ubuntu '
        f'{"fonts-noto-cjk" if is_asian else "fonts-noto-core"})',
        logger='current',
        level=logging.WARNING,
    )
