"""A grid of photos and of maps laid over them, with one color scale for all."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .color_scale import DEFAULT_COLORMAP, ColorScale
from .style import FAINT_COLOR, TEXT_COLOR, Chart

# Inches.
PHOTO_HEIGHT = 1.9
LEAST_COLUMN = 1.02
COLUMN_GAP, ROW_GAP, SECTION_GAP = 0.1, 0.12, 0.22
CAPTION_LINE = 0.14
LABEL_WIDTH = 1.2
MARGIN, FOOT, BAR_ROOM, BAR_WIDTH, LONGEST_BAR = 0.45, 0.4, 0.95, 0.16, 4.0
LEAST_WIDTH = 6.5
# What the head keeps for titles of columns, and needs not where there are none.
TITLES = 0.42
# A label holds the end of a name that is too long, where the names of files differ.
LABEL_LETTERS, LABEL_LINES = 15, 5


@dataclass(frozen=True)
class MapPanel:
    """A photo, or a map laid over it.

    Attributes:
        photo: uint8 of shape (H, W, 3), RGB.
        map: (h, w), not negative, of the whole photo; None shows the photo alone.
        caption: What is written below it; lines are kept.
    """

    photo: np.ndarray
    map: np.ndarray | None = None
    caption: str = ''


@dataclass(frozen=True)
class MapRow:
    """A row of a grid.

    Attributes:
        label: What is written on its left.
        panels: Its panels; None leaves a place free.
        opens_section: Whether there is more room above it.
    """

    label: str
    panels: Sequence[MapPanel | None]
    opens_section: bool = False

    @property
    def caption_lines(self) -> int:
        """Lines of the longest caption."""
        return max((len(panel.caption.splitlines()) for panel in self.panels if panel), default=0)


def draw_map_grid(
    rows: Sequence[MapRow],
    title: str,
    protocol: str = '',
    *,
    unit: str,
    column_titles: Sequence[str] = (),
    colormap: str = DEFAULT_COLORMAP,
) -> Figure:
    """Draw rows of photos and maps. All maps share one color scale, whose bar is on the right.

    Args:
        rows: The rows, from the top.
        title: First line.
        protocol: Second line: how the maps were made.
        unit: What the values of the maps are.
        column_titles: What is written above the columns.
        colormap: Name of a colormap of matplotlib.

    Returns:
        The figure, ready for ``savefig``; the more panels, the larger it is.

    Raises:
        UserError: If there is no such colormap.
        ValueError: If there is no panel.

    Example:
        >>> photo = np.zeros((8, 4, 3), np.uint8)
        >>> row = MapRow('a.jpg', [MapPanel(photo), MapPanel(photo, np.ones((2, 1)))])
        >>> figure = draw_map_grid([row], 'Relevance', unit='relevance', column_titles=['', 'cnn'])
        >>> [text.get_text() for text in figure.texts]
        ['Relevance', 'cnn', 'a.jpg']
    """
    panels = [panel for row in rows for panel in row.panels if panel]
    if not panels:
        raise ValueError('there is no panel to draw')
    maps = [panel.map for panel in panels if panel.map is not None]
    scale = ColorScale.for_maps(maps, colormap)
    widest = max(panel.photo.shape[1] / panel.photo.shape[0] for panel in panels)
    column = max(LEAST_COLUMN, PHOTO_HEIGHT * widest)
    step = column + COLUMN_GAP
    columns = max(len(row.panels) for row in rows)
    heights = [
        PHOTO_HEIGHT
        + CAPTION_LINE * row.caption_lines
        + ROW_GAP
        + (SECTION_GAP if row.opens_section and number else 0)
        for number, row in enumerate(rows)
    ]
    body = FOOT + sum(heights)
    right = MARGIN + LABEL_WIDTH + columns * step
    width = max(LEAST_WIDTH, right + BAR_ROOM)
    chart = Chart(
        width,
        body,
        title,
        protocol,
        margins=(MARGIN, MARGIN),
        extra_head=0.0 if column_titles else -TITLES,
    )

    def write(x: float, y: float, text: str, **options: Any) -> None:
        if text:
            chart.figure.text(x / chart.width, y / chart.height, text, **options)

    for number, text in enumerate(column_titles):
        center = MARGIN + LABEL_WIDTH + number * step + column / 2
        lines = text.replace('_', '\n')
        write(center, body + 0.07, lines, ha='center', va='bottom', fontsize=10, color=TEXT_COLOR)
    bottom = body
    for row, height in zip(rows, heights, strict=True):
        bottom -= height
        top = bottom + ROW_GAP + CAPTION_LINE * row.caption_lines + PHOTO_HEIGHT
        middle = top - PHOTO_HEIGHT / 2
        write(MARGIN, middle, wrap_label(row.label), va='center', fontsize=9, color=TEXT_COLOR)
        for number, panel in enumerate(row.panels):
            if panel is None:
                continue
            left = MARGIN + LABEL_WIDTH + number * step
            ax = chart.add_axes(left, top - PHOTO_HEIGHT, column, PHOTO_HEIGHT)
            ax.axis('off')
            pixels = panel.photo
            if panel.map is not None:
                pixels = scale.lay_over(pixels, panel.map)
            ax.imshow(pixels, interpolation='lanczos')
            write(
                left + column / 2,
                top - PHOTO_HEIGHT - 0.04,
                panel.caption,
                ha='center',
                va='top',
                fontsize=8,
                color=FAINT_COLOR,
                linespacing=1.1,
            )
    if maps:
        length = min(LONGEST_BAR, heights[0] if len(rows) == 1 else sum(heights))
        length = min(length, body - FOOT) - ROW_GAP
        _draw_bar(chart, scale, unit, right + 0.08, body - length, length)
    return chart.figure


def wrap_label(text: str) -> str:
    """Break a label, such as the name of a file, into lines that fit beside a row.

    Args:
        text: The label; its own line breaks are kept.

    Returns:
        At most five lines of 15 letters; what is left out is marked.

    Example:
        >>> print(wrap_label('0304_c4s4_030018_00.jpg'))
        0304_c4s4_
        030018_00.jpg
    """
    # Names of files have no spaces: they may break after each underscore.
    lines = [
        part.replace('_ ', '_')
        for line in text.splitlines()
        for part in textwrap.wrap(line.replace('_', '_ '), LABEL_LETTERS)
    ]
    if len(lines) > LABEL_LINES:
        lines = [*lines[: LABEL_LINES - 1], f'…{lines[-1][1 - LABEL_LETTERS :]}']
    return '\n'.join(lines)


def _draw_bar(
    chart: Chart, scale: ColorScale, unit: str, left: float, bottom: float, length: float
) -> None:
    """Draw what the colors mean."""
    ax = chart.add_axes(left, bottom, BAR_WIDTH, length)
    colors = ScalarMappable(Normalize(0, scale.top), scale.colormap)
    bar = chart.figure.colorbar(
        colors, cax=ax, extend='max' if scale.clipped else 'neither', extendfrac=0.04
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, colors=FAINT_COLOR, length=0)
    bar.set_label(unit, fontsize=9, color=FAINT_COLOR)
