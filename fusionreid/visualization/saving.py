"""Saves pictures and charts, or turns them into pixels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from fusionreid.errors import UserError

from .fonts import set_fonts


def save_picture(picture: Image.Image | Figure, path: str | Path) -> None:
    """Save a picture or a chart; its format follows from the name of the file.

    Args:
        picture: What to save.
        path: The file; missing folders are made.

    Raises:
        UserError: If the file cannot be written, or its ending is no picture format.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, Figure):
            with _any_script(picture):
                picture.savefig(path)
        else:
            picture.save(path)
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be drawn: {error}') from error


def figure_pixels(figure: Figure) -> np.ndarray:
    """Render a chart.

    Args:
        figure: The chart.

    Returns:
        uint8 of shape (H, W, 3), RGB.

    Example:
        >>> figure_pixels(Figure(figsize=(2, 1), dpi=100)).shape
        (100, 200, 3)
    """
    canvas = FigureCanvasAgg(figure)
    with _any_script(figure):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@contextmanager
def _any_script(figure: Figure) -> Iterator[None]:
    """Draw letters that the usual font lacks by others; what no font has is said once."""
    set_fonts(figure)
    # It says for each text that the other font is not as bold.
    finder = logging.getLogger('matplotlib.font_manager')
    level = finder.level
    finder.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Glyph .* missing from font')
            yield
    finally:
        finder.setLevel(level)
