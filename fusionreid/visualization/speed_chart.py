"""A chart of where the time of a step goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart, style_axes, title_axes

# Inches.
WIDTH, LEFT, RIGHT = 11.0, 2.6, 2.5
BAR_STEP, PANEL_HEAD, FOOT = 0.42, 0.95, 0.4
# How far the legend reaches into the head.
LEGEND = 0.4
# Share of the axes below which a piece has no room for its number.
LEAST_LABELED = 0.06


@dataclass(frozen=True)
class SpeedBar:
    """A bar of the chart.

    Args:
        name: What was measured.
        milliseconds: Phase to its milliseconds for an image.
        note: What stands behind the bar.
    """

    name: str
    milliseconds: Mapping[str, float]
    note: str = ''


def draw_speed_chart(
    panels: Mapping[str, Sequence[SpeedBar]], title: str, protocol: str = ''
) -> Figure:
    """Draw the time of an image as bars that are split into phases.

    Args:
        panels: Title of each panel to its bars; each panel has a scale of its own. All of them
            together have at most seven phases.
        title: First line.
        protocol: Second line: machine and version.

    Returns:
        The figure, ready for ``savefig``; the more bars, the higher it is.

    Raises:
        ValueError: If there is no bar, or there are too many phases.

    Example:
        >>> bars = [SpeedBar('fp32', dict(forward=120.0, backward=230.0), '2.9 images/s')]
        >>> figure = draw_speed_chart({'Training': bars}, 'R50 + ViT-B')
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['fp32']
    """
    shown = {name: bars for name, bars in panels.items() if bars}
    every = [bar for bars in shown.values() for bar in bars]
    phases = list(dict.fromkeys(phase for bar in every for phase in bar.milliseconds))
    if not phases or len(phases) > len(SERIES_COLORS):
        raise ValueError(f'expected one to {len(SERIES_COLORS)} phases, got {phases}')
    colors = dict(zip(phases, SERIES_COLORS, strict=False))
    heights = {name: BAR_STEP * len(bars) for name, bars in shown.items()}
    body = sum(heights.values()) + PANEL_HEAD * len(shown) + FOOT
    chart = Chart(WIDTH, body, title, protocol, margins=(0.4, 0.4))
    top = body
    for name, bars in shown.items():
        top -= PANEL_HEAD + heights[name]
        _draw_panel(chart, top, heights[name], name, bars, colors)
    chart.figure.legend(
        [Patch(color=color) for color in colors.values()],
        phases,
        loc='upper left',
        bbox_to_anchor=(LEFT / WIDTH, (body + LEGEND) / chart.height),
        borderaxespad=0,
        labelcolor=TEXT_COLOR,
        ncols=len(phases),
        frameon=False,
        fontsize=11,
        handlelength=1.0,
    )
    return chart.figure


def _draw_panel(
    chart: Chart,
    bottom: float,
    height: float,
    title: str,
    bars: Sequence[SpeedBar],
    colors: Mapping[str, str],
) -> None:
    ax = chart.add_axes(LEFT, bottom, WIDTH - LEFT - RIGHT, height)
    style_axes(ax, grid='both')
    ax.grid(axis='y', visible=False)
    title_axes(ax, title, 'milliseconds for an image')
    longest = max(sum(bar.milliseconds.values()) for bar in bars)
    places = range(len(bars) - 1, -1, -1)  # the first on top
    for place, bar in zip(places, bars, strict=True):
        done = 0.0
        for phase, value in bar.milliseconds.items():
            ax.barh(place, value, left=done, height=0.62, color=colors[phase])
            if value > LEAST_LABELED * longest:
                ax.text(
                    done + value / 2,
                    place,
                    f'{value:,.0f}' if value >= 100 else f'{value:.3g}',
                    ha='center',
                    va='center',
                    fontsize=8,
                    color='white',
                )
            done += value
        ax.annotate(
            bar.note,
            (done, place),
            xytext=(6, 0),
            textcoords='offset points',
            va='center',
            fontsize=9,
            color=FAINT_COLOR,
            annotation_clip=False,
            bbox=dict(facecolor='white', edgecolor='none', pad=1),
        )
    ax.set_yticks(list(places), [bar.name for bar in bars], fontsize=10)
    ax.tick_params(axis='y', colors=TEXT_COLOR)
    ax.set_ylim(-0.6, len(bars) - 0.4)
    ax.set_xlim(0, longest)
