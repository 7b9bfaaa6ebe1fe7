"""The people of a gallery, grouped once in the background when somebody first asks."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np

from fusionreid.errors import UserError
from fusionreid.gallery.people import People, find_people

from .finder import Finder
from .refusals import RefusedError

# Photos that a list of people shows of each.
SHOWN = 12


class Groups:
    """Groups the items of a gallery into people, as ``fusionreid group`` does.

    The grouping runs on a thread of its own, so that searches go on meanwhile.

    Args:
        finder: Of the gallery.
    """

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._people: People | None = None
        self._members: list[np.ndarray] = []
        self._error: str | None = None

    def start(self) -> None:
        """Begin to group, unless that was done before."""
        with self._lock:
            if self._thread is None:
                # Ends with the process: nothing is lost.
                self._thread = threading.Thread(target=self._find, name='groups', daemon=True)
                self._thread.start()

    def _find(self) -> None:
        try:
            people = find_people(self._finder.gallery)
            self._members = list(people.members())
            self._people = people
        except UserError as error:
            self._error = str(error)
        except Exception:
            logging.getLogger(__name__).exception('the grouping failed')
            self._error = 'the grouping has failed; the log of the server says why'

    def page(self, first: int, count: int) -> dict[str, Any]:
        """List people, those with the most photos first.

        Args:
            first: Position of the first one.
            count: How many.

        Returns:
            The people with some of their photos, or that they are still looked for.

        Raises:
            RefusedError: The gallery cannot be grouped (422).
        """
        if self._error is not None:
            raise RefusedError(422, self._error)
        people = self._people
        if people is None:
            return dict(ready=False)
        limit = people.grouping.max_distance
        return dict(
            ready=True,
            total=len(self._members),
            photos=len(people.items),
            unsure=int((people.grouping.people < 0).sum()),
            max_distance=round(limit, 6) if np.isfinite(limit) else None,
            people=[
                self.person(number, SHOWN)
                for number in range(first, min(first + count, len(self._members)))
            ],
        )

    def person(self, number: int, count: int) -> dict[str, Any]:
        """Describe one of the people.

        Args:
            number: Position in the list.
            count: Photos that are named, the most typical ones first.

        Returns:
            The person.

        Raises:
            RefusedError: There is none (404), or not yet.
        """
        people = self._people
        if people is None or not 0 <= number < len(self._members):
            raise RefusedError(404, f'there is no person {number + 1}')
        rows = self._members[number]
        distances = people.grouping.distances
        nearest = rows[np.argsort(distances[rows], kind='stable')].tolist()
        names = [people.items.ids[row] for row in nearest]
        items = [self._finder.item(self._finder.number_of(name)) for name in names]
        return dict(
            person=number + 1,
            photos=len(rows),
            cameras=sorted({item['camera'] for item in items} - {'0'}),
            mean_distance=round(float(distances[rows].mean()), 6),
            items=items[:count],
        )
