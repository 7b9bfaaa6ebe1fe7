"""A picture of the distances between a few photos: a thumbnail at each row and column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import FAINT_COLOR, TEXT_COLOR, Chart

# Inches.
CELL = 0.62
THUMB_WIDTH, THUMB_HEIGHT = 0.56, 1.12
LEFT, RIGHT, FOOT, GAP, BAR = 0.45, 1.05, 0.45, 0.08, 0.16
LEAST_WIDTH = 6.5
# Dark for near, light for far; reads in gray and for color-blind readers too.
COLORS = colormaps['viridis']


def draw_distance_matrix(
    photos: Sequence[np.ndarray], distances: np.ndarray, title: str, protocol: str = ''
) -> Figure:
    """Draw the distance of every two photos, with the photos at rows and columns.

    Args:
        photos: N images, uint8 of shape (H, W, 3), RGB, of any size.
        distances: (N, N).
        title: First line.
        protocol: Second line: model and feature.

    Returns:
        The figure, ready for ``savefig``; the more photos, the larger it is.

    Example:
        >>> photos = [np.zeros((8, 4, 3), np.uint8)] * 2
        >>> figure = draw_distance_matrix(photos, np.array([[0, 0.7], [0.7, 0]]), 'Distances')
        >>> [text.get_text() for text in figure.axes[-2].texts]
        ['0.00', '0.70', '0.70', '0.00']
    """
    count = len(photos)
    side = count * max(CELL, THUMB_WIDTH + GAP)
    height = count * (THUMB_HEIGHT + GAP)
    body = FOOT + height + GAP + THUMB_HEIGHT
    width = max(LEFT + THUMB_WIDTH + GAP + side + RIGHT, LEAST_WIDTH)
    # No titles of panels stand below the head.
    chart = Chart(width, body, title, protocol, margins=(LEFT, LEFT), extra_head=-0.42)
    across, down = side / count, height / count
    left = LEFT + THUMB_WIDTH + GAP
    for number, photo in enumerate(photos):
        bottom = FOOT + height - (number + 1) * down + GAP / 2
        _show(chart.add_axes(LEFT, bottom, THUMB_WIDTH, THUMB_HEIGHT), photo)
        start = left + number * across + (across - THUMB_WIDTH) / 2
        _show(chart.add_axes(start, FOOT + height + GAP, THUMB_WIDTH, THUMB_HEIGHT), photo)
    ax = chart.add_axes(left, FOOT, side, height)
    farthest = max(float(distances.max(initial=0)), 1e-12)
    shades = distances / farthest
    picture = ax.imshow(distances, cmap=COLORS, vmin=0, vmax=farthest, aspect='auto')
    ax.axis('off')
    for (row, column), distance in np.ndenumerate(distances):
        tone = 'white' if shades[row, column] < 0.6 else TEXT_COLOR
        ax.text(column, row, f'{distance:.2f}', ha='center', va='center', color=tone, fontsize=9)
    scale = chart.add_axes(left + side + 2 * GAP, FOOT, BAR, min(height, 4.0))
    bar = chart.figure.colorbar(picture, cax=scale)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, colors=FAINT_COLOR, length=0)
    bar.set_label('distance', fontsize=9, color=FAINT_COLOR)
    return chart.figure


def _show(ax: Axes, photo: np.ndarray) -> None:
    """Show a photo at its own aspect ratio in the middle of its place."""
    ax.imshow(photo, interpolation='lanczos')
    ax.set_anchor('C')
    ax.axis('off')
