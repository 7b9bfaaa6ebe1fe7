"""Spans of time in words."""

from __future__ import annotations

import re
from datetime import timedelta

MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = dict(s=1, min=MINUTE, h=HOUR, d=DAY, w=7 * DAY)
_DURATION = re.compile(rf'(\d{{1,9}}(?:\.\d{{1,9}})?) ?({"|".join(UNITS)})')


def read_duration(text: str) -> timedelta:
    """Read a span of time.

    Args:
        text: A number and a unit: s, min, h, d or w.

    Returns:
        The span, longer than 0.

    Raises:
        ValueError: It is none.

    Example:
        >>> str(read_duration('30d')), str(read_duration('90 min'))
        ('30 days, 0:00:00', '1:30:00')
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds < timedelta.max.total_seconds() / 1000:
        raise ValueError(f'expected a span of time such as 30d, 12h, 2w or 90min, got {text!r}')
    return timedelta(seconds=seconds)


def describe_duration(seconds: float) -> str:
    """Say how long something takes, as exactly as it helps.

    Args:
        seconds: Seconds, 0 or more.

    Returns:
        Text such as ``'7 h 20 min'``.

    Example:
        >>> [describe_duration(span) for span in (41.6, 200, 26_400, 200_000)]
        ['42 s', '3 min', '7 h 20 min', '2 d 8 h']
    """
    if round(seconds) < MINUTE:
        return f'{seconds:.0f} s'
    minutes = round(seconds / MINUTE)
    if minutes < HOUR // MINUTE:
        return f'{minutes} min'
    hours, minutes = divmod(minutes, HOUR // MINUTE)
    if hours < DAY // HOUR:
        return f'{hours} h {minutes} min' if minutes else f'{hours} h'
    days, hours = divmod(hours + (minutes >= 30), DAY // HOUR)
    return f'{days} d {hours} h' if hours else f'{days} d'
