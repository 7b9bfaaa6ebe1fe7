"""A chart of the scores of each pair of cameras."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fusionreid.evaluation.functional import CameraPairResult

from .style import FAINT_COLOR, TEXT_COLOR, Chart, camera_name, title_axes

# Inches.
CELL_WIDTH, CELL_HEIGHT = 0.74, 0.5
MIN_MAP_WIDTH = 4.0
LEFT, GAP, RIGHT = 1.0, 1.0, 0.45
FOOT = 0.7
# Light for low, dark for high; reads in gray and for color-blind readers too.
COLORS = colormaps['YlGnBu']
# The lightest and the darkest tones hide the text.
TONES = (0.04, 0.9)


def draw_camera_pairs(result: CameraPairResult, title: str, protocol: str = '') -> Figure:
    """Draw Rank-1 and mAP of each query camera in each gallery camera as two maps.

    Below each score, in percent, stands the number of queries that it is the mean of; pairs without
    one are hatched. Cameras are numbered from 1, as in the data sets' file names. The colors span
    the scores of a map, so that the weakest pairs catch the eye.

    Args:
        result: What was measured.
        title: First line.
        protocol: Second line: data set, features, what was left out.

    Returns:
        The figure, ready for ``savefig``; the more cameras, the larger it is.

    Example:
        >>> import torch
        >>> from fusionreid.evaluation.functional import evaluate_camera_pairs
        >>> query, gallery = torch.tensor([[1.0]]), torch.tensor([[1.1], [1.2], [1.3]])
        >>> result = evaluate_camera_pairs(query, gallery, [7], [7, 3, 7], [0], [1, 2, 2])
        >>> figure = draw_camera_pairs(result, 'FusionReID', 'MSMT17')
        >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
        ['2', '3']
    """
    rows, columns = result.mAP.shape
    cell = max(CELL_WIDTH, MIN_MAP_WIDTH / columns)
    map_width, map_height = columns * cell, rows * CELL_HEIGHT
    width = LEFT + 2 * map_width + GAP + RIGHT
    chart = Chart(width, map_height + FOOT, title, protocol, margins=(LEFT, RIGHT))
    maps = (('Rank-1', result.cmc[..., 0]), ('mAP', result.mAP))
    for number, (name, scores) in enumerate(maps):
        ax = chart.add_axes(LEFT + number * (map_width + GAP), FOOT, map_width, map_height)
        _draw_map(ax, result, name, 100 * scores.numpy())
    return chart.figure


def _draw_map(ax: Axes, result: CameraPairResult, name: str, scores: np.ndarray) -> None:
    counts = result.num_valid_queries.numpy()
    found = scores[counts > 0]
    low, span = found.min(), max(found.max() - found.min(), 1e-9)
    rows, columns = scores.shape
    for row in range(rows):
        for column in range(columns):
            if not counts[row, column]:
                ax.add_patch(
                    Rectangle(
                        (column, row),
                        1,
                        1,
                        facecolor='#F4F4F4',
                        edgecolor='#CFCFCF',
                        hatch='///',
                        linewidth=0,
                    )
                )
                continue
            part = (scores[row, column] - low) / span
            tone = TONES[0] + part * (TONES[1] - TONES[0])
            ax.add_patch(Rectangle((column, row), 1, 1, facecolor=COLORS(tone), linewidth=0))
            color = 'white' if tone > 0.55 else TEXT_COLOR
            center = (column + 0.5, row + 0.41)
            ax.text(
                *center,
                f'{scores[row, column]:.1f}',
                color=color,
                fontsize=10.5,
                ha='center',
                va='center',
            )
            ax.text(
                column + 0.5,
                row + 0.77,
                f'n={counts[row, column]}',
                color=color,
                alpha=0.8,
                fontsize=6.5,
                ha='center',
                va='center',
            )
    ax.set_xlim(0, columns)
    ax.set_ylim(rows, 0)
    for place in range(1, columns):
        ax.axvline(place, color='white', linewidth=1.5)
    for place in range(1, rows):
        ax.axhline(place, color='white', linewidth=1.5)
    ax.set_xticks(
        np.arange(columns) + 0.5, [camera_name(c) for c in result.gallery_cameras.tolist()]
    )
    ax.set_yticks(np.arange(rows) + 0.5, [camera_name(c) for c in result.query_cameras.tolist()])
    ax.tick_params(colors=TEXT_COLOR, length=0, labelsize=9.5)
    ax.set_xlabel('gallery camera', fontsize=10, color=FAINT_COLOR)
    ax.set_ylabel('query camera', fontsize=10, color=FAINT_COLOR)
    for spine in ax.spines.values():
        spine.set_visible(False)
    title_axes(ax, name, f'in percent, {found.min():.1f} to {found.max():.1f}')
