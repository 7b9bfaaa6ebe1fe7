"""The look that all pictures share: colors, and the layout of charts."""

from __future__ import annotations

import textwrap
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

TEXT_COLOR = '#222222'
FAINT_COLOR = '#6E6E6E'
GRID_COLOR = '#E3E3E3'
# Okabe-Ito colors, distinct for color-blind readers too.
SERIES_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')

Color = tuple[int, int, int]
# Frames of queries and answers, in pictures made of pixels; every answer also carries a symbol.
QUERY_COLOR: Color = (0, 114, 178)
RIGHT_COLOR: Color = (0, 158, 115)
WRONG_COLOR: Color = (213, 62, 30)
UNKNOWN_COLOR: Color = (150, 150, 150)

# Inches; those of the head are measured from the top edge.
HEAD_HEIGHT = 1.45
TITLE_BASE = 0.45
PROTOCOL_TOP = 0.6
LINE_HEIGHT = 0.2
LETTERS_PER_INCH = 13


def camera_name(camera: int | str) -> str:
    """Name a camera as people do.

    Args:
        camera: 0-based camera, negative where unknown, or its name.

    Returns:
        Its name, or its number from 1, or ``'?'``.

    Example:
        >>> camera_name(0), camera_name(-1), camera_name('yard')
        ('1', '?', 'yard')
    """
    if isinstance(camera, str):
        return camera
    return '?' if camera < 0 else str(camera + 1)


def camera_order(camera: int | str) -> tuple[bool, int, str]:
    """Order cameras: numbers first, then names.

    Args:
        camera: 0-based camera, or its name.

    Returns:
        What sorts them.

    Example:
        >>> sorted(['yard', 10, 'Hof', 2], key=camera_order)
        [2, 10, 'Hof', 'yard']
    """
    return (True, 0, camera) if isinstance(camera, str) else (False, camera, '')


class Chart:
    """A figure with title and protocol above its body; everything is measured in inches.

    Args:
        width: Width of the figure.
        body: Height of everything below the head.
        title: First line.
        protocol: What stands below it, wrapped; the head grows with its lines.
        margins: Left and right of the text.
        extra_head: Height that the head gets on top.

    Example:
        >>> chart = Chart(8, 4, 'Scores', 'Market-1501', margins=(0.5, 0.5))
        >>> chart.figure.get_size_inches().tolist()
        [8.0, 5.45]
    """

    def __init__(
        self,
        width: float,
        body: float,
        title: str,
        protocol: str = '',
        *,
        margins: tuple[float, float],
        extra_head: float = 0.0,
    ) -> None:
        lines = textwrap.wrap(protocol, int((width - sum(margins)) * LETTERS_PER_INCH))
        head = HEAD_HEIGHT + LINE_HEIGHT * max(0, len(lines) - 1) + extra_head
        self.width, self.height = width, head + body
        self.figure = Figure(figsize=(self.width, self.height), dpi=150, facecolor='white')
        FigureCanvasAgg(self.figure)
        left = margins[0] / width
        self.figure.text(
            left,
            1 - TITLE_BASE / self.height,
            title,
            fontsize=17,
            fontweight='bold',
            color=TEXT_COLOR,
        )
        if lines:
            self.figure.text(
                left,
                1 - PROTOCOL_TOP / self.height,
                '\n'.join(lines),
                fontsize=10,
                color=FAINT_COLOR,
                va='top',
            )

    def add_axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Add axes to the body.

        Args:
            left: Distance from the left edge.
            bottom: Distance from the lower edge.
            width: Width.
            height: Height.

        Returns:
            The axes.
        """
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )


def style_axes(ax: Axes, grid: Literal['both', 'y']) -> None:
    """Give axes a light grid, faint numbers, and a line at the bottom only.

    Args:
        ax: The axes.
        grid: Axis whose grid is drawn.
    """
    ax.tick_params(labelsize=10, colors=FAINT_COLOR, length=0)
    ax.grid(axis=grid, color=GRID_COLOR, linewidth=0.8)
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side == 'bottom')
        spine.set_color(FAINT_COLOR)


def title_axes(ax: Axes, title: str, unit: str) -> None:
    """Write a title and, below it, the unit above axes.

    Args:
        ax: The axes.
        title: What is shown.
        unit: In what it is measured.
    """
    ax.set_title(title, loc='left', fontsize=13, fontweight='bold', color=TEXT_COLOR, pad=22)
    ax.annotate(
        unit,
        (0, 1),
        xytext=(0, 7),
        xycoords='axes fraction',
        textcoords='offset points',
        fontsize=10,
        color=FAINT_COLOR,
    )
