"""Scores of models against their costs, with the models that no other one beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart, style_axes, title_axes

# Inches.
LEFT, PANEL_WIDTH, GAP, NAMES, RIGHT = 0.66, 4.6, 0.7, 3.4, 0.3
FOOT, PANEL_HEIGHT, NAME_ROW = 0.62, 3.6, 0.24


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Find the models that no other one beats: none is as cheap and scores more, or vice versa.

    Args:
        costs: Cost of each model.
        scores: Score of each model.

    Returns:
        Their places, from the cheapest on.

    Example:
        >>> pareto_front([1.0, 2.0, 3.0, 2.0], [50.0, 70.0, 60.0, 65.0])
        [0, 1]
    """
    front: list[int] = []
    for place in sorted(range(len(costs)), key=lambda place: (costs[place], -scores[place])):
        if not front or scores[place] > scores[front[-1]]:
            front.append(place)
    return front


def draw_pareto(
    scores: Mapping[str, Sequence[float]],
    costs: Mapping[str, Mapping[str, float]],
    title: str,
    protocol: str = '',
    metric: str = 'mAP',
) -> Figure:
    """Draw the score of each model against its cost, a panel for each kind of cost.

    A dot is the mean over the seeds, its bar one sample standard deviation, where there are two
    seeds or more. A line joins the models that no other one beats in both, which are colored.

    Args:
        scores: Scores in percent of each model, one for each seed, by its name.
        costs: Costs of each model by its name, by what they are and their unit.
        title: First line.
        protocol: Second line: data set, features, seeds.
        metric: What the scores are.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        ValueError: If there is no model, or no cost.

    Example:
        >>> scores = {'published': [80.0, 82.0], 'light': [81.0, 80.0]}
        >>> figure = draw_pareto(scores, {'GMACs': {'published': 28.1, 'light': 23.3}}, 'mAP')
        >>> figure.axes[0].get_xlabel()
        'GMACs'
    """
    if not scores or not costs:
        raise ValueError(f'got {len(scores)} models and {len(costs)} costs, both must be there')
    names = list(scores)
    means = [float(np.mean(scores[name])) for name in names]
    several = any(len(each) > 1 for each in scores.values())
    width = LEFT + len(costs) * (PANEL_WIDTH + GAP) + NAMES + RIGHT
    body = FOOT + max(PANEL_HEIGHT, NAME_ROW * len(names))
    chart = Chart(width, body, title, protocol, margins=(LEFT, RIGHT))
    for panel, (kind, by_name) in enumerate(costs.items()):
        left = LEFT + panel * (PANEL_WIDTH + GAP)
        ax = chart.add_axes(left, FOOT, PANEL_WIDTH, body - FOOT)
        style_axes(ax, grid='both')
        title_axes(ax, metric, 'percent; mean and standard deviation' if several else 'percent')
        own = [by_name[name] for name in names]
        front = pareto_front(own, means)
        ax.plot(
            [own[place] for place in front],
            [means[place] for place in front],
            color=SERIES_COLORS[0],
            linewidth=1.4,
            zorder=1,
        )
        for place, name in enumerate(names):
            color = SERIES_COLORS[0] if place in front else FAINT_COLOR
            deviation = np.std(scores[name], ddof=1) if len(scores[name]) > 1 else None
            ax.errorbar(
                own[place], means[place], deviation, fmt='o', color=color, markersize=6, capsize=3
            )
            ax.annotate(
                str(place + 1),
                (own[place], means[place]),
                xytext=(6, 5),
                textcoords='offset points',
                fontsize=9.5,
                color=color,
            )
        ax.margins(x=0.1, y=0.12)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
        ax.set_xlabel(kind, fontsize=11, color=TEXT_COLOR)
    for place, name in enumerate(names):
        chart.figure.text(
            1 - (NAMES + RIGHT - 0.1) / width,
            (body - NAME_ROW * (place + 0.5)) / chart.height,
            f'{place + 1}  {name}',
            fontsize=10.5,
            color=TEXT_COLOR,
            va='center',
        )
    return chart.figure
