"""Names in any script: which font draws them, and what is said where none has the letters."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from image_trees import write_image
from matplotlib.figure import Figure
from PIL import Image

from fusionreid.visualization import fonts
from fusionreid.visualization.contact_sheet import draw_contact_sheet
from fusionreid.visualization.saving import figure_pixels, save_picture
from fusionreid.visualization.search_results import QueryAnswers, draw_search_results

GATE = '\u5317\u9580'  # north gate, in Chinese


def write_font(path: Path, letters: str) -> Path:
    """A font whose letters are all one black square, as wide as they are high."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, names = pen.glyph(), [f'u{ord(letter):04X}' for letter in letters]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(['.notdef', *names])
    builder.setupCharacterMap(dict(zip(map(ord, letters), names, strict=True)))
    builder.setupGlyf({'.notdef': TTGlyphPen(None).glyph(), **dict.fromkeys(names, square)})
    builder.setupHorizontalMetrics(dict.fromkeys(['.notdef', *names], (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable(dict(familyName=path.stem, styleName='Regular'))
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs fonts for the test alone; those of the machine are not there."""
    there: list[str] = []
    fonts._best_font.cache_clear()
    monkeypatch.setattr(fonts.font_manager, 'findSystemFonts', lambda: there)
    monkeypatch.setattr(fonts, '_missing', set())

    def install(name: str, letters: str) -> Path:
        path = write_font(tmp_path / name, letters)
        there.append(str(path))
        fonts._best_font.cache_clear()
        return path

    yield install
    fonts._best_font.cache_clear()


def test_the_font_with_most_letters_is_taken_where_the_usual_one_lacks_some(installed, tmp_path):
    for text in ('north door', 'Hof – Süd', 'Двор', 'πύλη', 'عربى', ''):
        assert Path(fonts.find_font(text)).name == 'DejaVuSans.ttf'
    assert 'Bold' in fonts.find_font('north door', bold=True)
    installed('Half.ttf', GATE[0])
    (tmp_path / 'damaged.ttf').write_bytes(b'no font')
    fonts.font_manager.findSystemFonts().append(str(tmp_path / 'damaged.ttf'))
    whole = installed('Whole.ttf', GATE)
    assert fonts.find_font(GATE) == str(whole)
    installed('WholeSerif.ttf', GATE)
    bold = installed('Whole-Bold.ttf', GATE)
    assert fonts.find_font(GATE) == str(whole)
    assert fonts.find_font(GATE, bold=True) == str(bold)
    # Most of it is Latin, which these lack.
    assert 'DejaVu' in fonts.find_font(f'{GATE} of the yard')


def test_what_no_font_has_is_said_once_and_drawn_all_the_same(installed, tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(fonts, 'print_log', lambda text, **_: said.append(text))
    images = [str(write_image(tmp_path / f'{number}.jpg', number)) for number in range(2)]
    answers = QueryAnswers(
        images[0], GATE, GATE, images[1:], ['\ud55c'], ['\u0e1b'], [0.5], rates=[], nearest=0.5
    )
    save_picture(draw_search_results([answers], title=GATE, subtitle=''), tmp_path / 'a.png')
    draw_contact_sheet([(images[0], 1, GATE)], title=GATE)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        figure = Figure()
        figure.suptitle(GATE)
        figure_pixels(figure)
    assert len(said) == 3
    assert 'no font of this machine has \u5317 (U+5317, CJK), so pictures show a box' in said[0]
    assert 'fonts-noto-cjk' in said[0]
    assert {'THAI', 'HANGUL'} == {line.split('), so')[0].split()[-1] for line in said[1:]}


def test_names_are_drawn_by_the_font_that_has_them(installed, tmp_path):
    image = str(write_image(tmp_path / '0.jpg'))
    sheets = []
    for name in ('', GATE):
        if name:
            installed('Gate.ttf', GATE)
        answers = QueryAnswers(image, 1, GATE, [image], [1], [0], [0.5], rates=[], nearest=0.5)
        sheets.append(np.asarray(draw_search_results([answers], title='', subtitle='')))
    # The letters are black squares, which the caption of the query alone shows.
    boxes, squares = ((sheet.sum(axis=2) < 200).sum() for sheet in sheets)
    assert squares > boxes + 200
    charts = []
    for name in (GATE, 'Gate'):
        figure = Figure(figsize=(2, 1), dpi=100)
        figure.text(0.1, 0.5, name, fontsize=20)
        charts.append((figure_pixels(figure).sum(axis=2) < 200).sum())
    assert charts[0] > 2 * charts[1]
    with Image.open(image) as picture:
        assert picture.width
