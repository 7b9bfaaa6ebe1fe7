"""Spans of time in words."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86_400


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
