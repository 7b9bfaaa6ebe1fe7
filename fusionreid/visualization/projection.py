"""Features as points in a plane: reduced to two dimensions, and drawn by identity or camera."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from fusionreid.errors import UserError

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart
from .tiles import try_picture

METHODS = {'tsne': 't-SNE', 'umap': 'UMAP', 'pca': 'PCA'}
# Module and distribution of each method that needs one.
PACKAGES = {'tsne': ('sklearn', 'scikit-learn'), 'umap': ('umap', 'umap-learn')}
PERPLEXITY, NUM_NEIGHBORS = 30, 15
# Groups beyond the colors change the marker. Black is left to the text.
COLORS, MARKERS = SERIES_COLORS[:-1], 'os^DvPX'
# Inches.
SIDE, LEFT, RIGHT, FOOT, LEGEND_WIDTH, LEGEND_ROW = 7.0, 0.8, 0.3, 0.6, 0.85, 0.25
# Nothing is written above the axes.
LESS_HEAD = -0.5
THUMBNAIL_HEIGHT, THUMBNAIL_EDGE = 0.58, 0.04
DPI = 150


def available(method: str) -> bool:
    """Tell whether the package that a method needs is installed.

    Args:
        method: A key of ``METHODS``.

    Returns:
        Whether the method can be used.

    Example:
        >>> available('pca')
        True
    """
    return method not in PACKAGES or importlib.util.find_spec(PACKAGES[method][0]) is not None


def project_features(
    features: np.ndarray, method: str, seed: int = 0
) -> tuple[np.ndarray, tuple[str, str]]:
    """Reduce features to two dimensions.

    Args:
        features: (N, D) float, at least three rows; L2-normalized, for distances as in scoring.
        method: ``'tsne'`` (van der Maaten and Hinton, 2008; perplexity 30, or a third of fewer
            points), ``'umap'`` (McInnes et al., 2018; 15 neighbors) or ``'pca'``.
        seed: Of t-SNE and UMAP.

    Returns:
        Points, (N, 2) float64; and what the two axes are, empty where they have no meaning.

    Raises:
        UserError: The method's package is not installed, or there are fewer than three features.

    Example:
        >>> points, axes = project_features(np.eye(3, 5), 'pca')
        >>> points.shape, axes
        ((3, 2), ('first component, 50% of the variance', 'second component, 50% of the variance'))
    """
    count = len(features)
    if count < 3:
        raise UserError(f'{METHODS[method]} needs at least 3 images, got {count}')
    if not available(method):
        raise UserError(
            f'{METHODS[method]} needs {PACKAGES[method][1]}: pip install {PACKAGES[method][1]}, or '
            'take --method pca'
        )
    features = np.asarray(features, dtype=np.float64)
    if method == 'tsne':
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (count - 1) / 3)
        reducer = TSNE(perplexity=perplexity, init='pca', random_state=seed)
        return reducer.fit_transform(features).astype(np.float64), ('', '')
    if method == 'umap':
        from umap import UMAP

        # One job, which a seed asks for. Few points are placed at random: the spectral start fails.
        start = 'spectral' if count > NUM_NEIGHBORS else 'random'
        neighbors = min(NUM_NEIGHBORS, count - 1)
        reducer = UMAP(n_neighbors=neighbors, init=start, random_state=seed, n_jobs=1)
        return reducer.fit_transform(features).astype(np.float64), ('', '')
    return _principal_components(features)


def _principal_components(features: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """The two directions of the largest variance, each with its largest entry positive."""
    centered = features - features.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centered, full_matrices=False)
    found = min(2, len(directions))
    first = np.zeros((2, features.shape[1]))
    first[:found] = directions[:found]
    first[np.take_along_axis(first, np.abs(first).argmax(1)[:, None], 1)[:, 0] < 0] *= -1
    variance = lengths**2
    shares = np.zeros(2)
    shares[:found] = 100 * variance[:found] / max(variance.sum(), 1e-300)
    first_name, second_name = (
        f'{name} component, {share:.0f}% of the variance'
        for name, share in zip(('first', 'second'), shares, strict=True)
    )
    return centered @ first.T, (first_name, second_name)


def draw_projection(
    points: np.ndarray,
    groups: Sequence[str],
    title: str,
    protocol: str = '',
    *,
    axes: tuple[str, str] = ('', ''),
    legend: str = '',
    thumbnails: Sequence[str | Path | None] = (),
) -> Figure:
    """Draw points of the plane, each group with a color and a marker of its own.

    Six colors, which color-blind readers can tell apart, come with seven markers; 42 groups can be
    told apart. A thumbnail stands beside its point, with a line to it, and covers no other
    thumbnail; there are fewer where the room does not suffice. One that cannot be read is logged.

    Args:
        points: (N, 2).
        groups: Group of each point, as it is named in the legend, which is in their order.
        title: First line.
        protocol: Second line: data set, features, what was left out.
        axes: What the two axes are; without names they have no numbers either.
        legend: Title of the legend.
        thumbnails: Image file of each point whose thumbnail is shown, None for the others; empty
            for no thumbnail.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        ValueError: If lengths differ, or there is no point.

    Example:
        >>> figure = draw_projection(np.eye(3, 2), ['id 1', 'id 2', 'id 1'], 't-SNE')
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['id 1', 'id 2']
    """
    points = np.asarray(points)
    if not len(points) or len(points) != len(groups) or len(thumbnails) not in (0, len(points)):
        raise ValueError(
            f'{len(points)} points need as many groups and thumbnails, got {len(groups)} and '
            f'{len(thumbnails)}'
        )
    names = list(dict.fromkeys(groups))
    columns = -(-len(names) // int((SIDE - 0.3) / LEGEND_ROW))
    width = LEFT + SIDE + columns * LEGEND_WIDTH + RIGHT
    chart = Chart(width, FOOT + SIDE, title, protocol, margins=(LEFT, RIGHT), extra_head=LESS_HEAD)
    ax = chart.add_axes(LEFT, FOOT, SIDE, SIDE)
    styles = {name: _style(place) for place, name in enumerate(names)}
    members = np.array(groups)
    for name, style in styles.items():
        ax.plot(*points[members == name].T, **style)
    _frame(ax, points, axes)
    if any(thumbnails):
        _draw_thumbnails(ax, points, [str(styles[name]['color']) for name in groups], thumbnails)
    chart.figure.legend(
        [Line2D([], [], **style) for style in styles.values()],
        names,
        title=legend or None,
        loc='upper left',
        bbox_to_anchor=((LEFT + SIDE + 0.05) / width, (FOOT + SIDE) / chart.height),
        ncols=columns,
        frameon=False,
        fontsize=10,
        labelcolor=TEXT_COLOR,
        alignment='left',
        handletextpad=0.2,
    )
    return chart.figure


def spread_out(points: np.ndarray, count: int) -> list[int]:
    """Choose points that lie far apart: each is the farthest one from those before.

    Args:
        points: (N, 2).
        count: Points wanted; all, if there are fewer.

    Returns:
        Their numbers; the first one is nearest to the mean of all.

    Example:
        >>> spread_out(np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]]), 2)
        [1, 2]
    """
    if count < 1:
        return []
    nearest = np.linalg.norm(points - points.mean(axis=0), axis=1)
    chosen = [int(nearest.argmin())]
    distances = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
        distances[chosen] = -1
    return chosen


def _style(place: int) -> dict[str, Any]:
    return {
        'color': COLORS[place % len(COLORS)],
        'marker': MARKERS[place // len(COLORS) % len(MARKERS)],
        'linestyle': '',
        'markersize': 6.5,
        'markeredgecolor': 'white',
        'markeredgewidth': 0.4,
        'alpha': 0.9,
    }


def _frame(ax: Axes, points: np.ndarray, names: tuple[str, str]) -> None:
    """Show all points in a square of equal scales, away from its edges."""
    low, high = points.min(axis=0), points.max(axis=0)
    reach = max(float((high - low).max()), 1e-9) * 0.56
    across, up = (low + high) / 2
    ax.set_xlim(across - reach, across + reach)
    ax.set_ylim(up - reach, up + reach)
    for spine in ax.spines.values():
        spine.set_color('#D0D0D0')
    ax.tick_params(labelsize=9, colors=FAINT_COLOR, length=0)
    if not any(names):
        ax.set_xticks([])
        ax.set_yticks([])
    ax.set_xlabel(names[0], fontsize=10, color=FAINT_COLOR)
    ax.set_ylabel(names[1], fontsize=10, color=FAINT_COLOR)


def _draw_thumbnails(
    ax: Axes, points: np.ndarray, colors: Sequence[str], paths: Sequence[str | Path | None]
) -> None:
    """Put thumbnails where they hide few points and no other thumbnail."""
    wanted = [place for place, path in enumerate(paths) if path is not None]
    to_inches = ax.transData + ax.figure.dpi_scale_trans.inverted()
    dots = to_inches.transform(points)
    frame = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    taken: list[np.ndarray] = []
    for place in wanted:
        picture = try_picture(paths[place] or '', round(THUMBNAIL_HEIGHT * DPI), DPI)
        if picture is None:
            continue
        half = np.array([picture.width, picture.height]) / DPI / 2 + THUMBNAIL_EDGE
        middle = _find_room(dots[place], half, dots, taken, frame.get_points())
        if middle is None:
            continue
        taken.append(np.stack([middle - half, middle + half]))
        across, up = to_inches.inverted().transform(middle)
        shown = OffsetImage(np.asarray(picture), zoom=72 / DPI, interpolation='lanczos')
        box = AnnotationBbox(
            shown,
            points[place],
            xybox=(across, up),
            boxcoords='data',
            pad=0.1,
            zorder=3,
            arrowprops=dict(arrowstyle='-', color=colors[place], linewidth=1, shrinkA=0, shrinkB=2),
        )
        box.patch.set(edgecolor=colors[place], linewidth=1.6)
        ax.add_artist(box)


def _find_room(
    dot: np.ndarray,
    half: np.ndarray,
    dots: np.ndarray,
    taken: Sequence[np.ndarray],
    frame: np.ndarray,
) -> np.ndarray | None:
    """The middle of the place near a point that hides the fewest points, in inches."""
    best, least = None, np.inf
    for distance in (0.55, 0.8, 1.1):
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False):
            middle = dot + distance * np.array([np.cos(angle), np.sin(angle)])
            low, high = middle - half, middle + half
            if (low < frame[0]).any() or (high > frame[1]).any():
                continue
            if any((low < other[1]).all() and (high > other[0]).all() for other in taken):
                continue
            cost = ((dots > low - 0.04) & (dots < high + 0.04)).all(axis=1).sum() + distance
            if cost < least:
                best, least = middle, cost
    return best
