"""Names that are kept with the items of a database, looked up where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping

from fusionreid.utils.names import FIRST_NAMED, number_of


class StoredNames(MutableMapping[int, str]):
    """Names by number; a name belongs to its number for ever, so what was read once stays true.

    Whether an item has it is asked each time, since others add and remove.

    Args:
        find: Gives the name of a number, None if no item has it.
        find_all: Gives all names.
    """

    def __init__(
        self, find: Callable[[int], str | None], find_all: Callable[[], list[str]]
    ) -> None:
        self._find, self._find_all = find, find_all
        self.seen: dict[int, str] = {}

    def __getitem__(self, number: int) -> str:
        if number < FIRST_NAMED:
            raise KeyError(number)
        name = self.seen.get(number) or self._find(number)
        if name is None:
            raise KeyError(number)
        return self.seen.setdefault(number, name)

    def __contains__(self, number: object) -> bool:
        named = isinstance(number, int) and number >= FIRST_NAMED
        return named and self._find(number) is not None  # type: ignore[arg-type]

    def __setitem__(self, number: int, name: str) -> None:
        self.seen[number] = name

    def __delitem__(self, number: int) -> None:
        self.seen.pop(number, None)

    def __iter__(self) -> Iterator[int]:
        for name in self._find_all():
            self.seen[number_of(name)] = name
            yield number_of(name)

    def __len__(self) -> int:
        return len(self._find_all())
