"""Counts of what was asked and answered, in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

# Upper ends of the buckets in seconds.
BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests by route and status, and how long they took by route.

    Routes are those of the application, such as ``/api/items/{number}/image``, so that there are
    few. Used by the thread of the server alone.

    Example:
        >>> metrics = Metrics()
        >>> metrics.count('/health', 200, 0.01)
        >>> print(metrics.text(waiting=0).splitlines()[2])
        fusionreid_requests_total{route="/health",status="200"} 1
    """

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, float] = {}
        self._buckets: dict[str, list[int]] = {}
        self.images = 0

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: Its route.
            status: HTTP status of the answer.
            seconds: From its head to the end of its answer.
        """
        self._requests[route, status] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds
        buckets = self._buckets.setdefault(route, [0] * (len(BUCKETS) + 1))
        buckets[bisect_left(BUCKETS, seconds)] += 1

    def text(self, waiting: int) -> str:
        """Write all counts.

        Args:
            waiting: Requests that wait or are computed now.

        Returns:
            Lines in the text format, version 0.0.4.
        """
        lines = _head('requests_total', 'counter', 'Requests by route and status.')
        for (route, status), count in sorted(self._requests.items()):
            lines.append(f'fusionreid_requests_total{{route="{route}",status="{status}"}} {count}')
        lines += _head('request_seconds', 'histogram', 'Seconds that requests took.')
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for end, count in zip([*BUCKETS, '+Inf'], buckets, strict=True):
                total += count
                lines.append(
                    f'fusionreid_request_seconds_bucket{{route="{route}",le="{end}"}} {total}'
                )
            own = f'{{route="{route}"}}'
            lines.append(f'fusionreid_request_seconds_sum{own} {self._seconds[route]:.6f}')
            lines.append(f'fusionreid_request_seconds_count{own} {total}')
        lines += _head('images_total', 'counter', 'Images that were searched for.')
        lines.append(f'fusionreid_images_total {self.images}')
        lines += _head('waiting', 'gauge', 'Requests that wait or are computed.')
        lines.append(f'fusionreid_waiting {waiting}')
        return '\n'.join(lines) + '\n'


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f'# HELP fusionreid_{name} {text}', f'# TYPE fusionreid_{name} {kind}']
