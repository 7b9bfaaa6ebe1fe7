"""Which values of a setting a search tries, as a person writes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmengine.config import DictAction

FORMS = 'log:LOW:HIGH, float:LOW:HIGH, int:LOW:HIGH[:STEP] or choice:A,B,...'


@dataclass(frozen=True)
class SearchRange:
    """Values of one setting.

    Args:
        kind: ``'log'``, ``'float'``, ``'int'`` or ``'choice'``.
        low: Least number.
        high: Greatest number.
        step: Distance of whole numbers.
        choices: The values, where they are listed.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    step: int = 1
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Any, key: str) -> Any:
        """Let a trial choose a value.

        Args:
            trial: Trial of Optuna.
            key: Dotted name of the setting.

        Returns:
            The value.
        """
        if self.kind == 'choice':
            # The storage of studies takes texts, not lists or dicts.
            texts = [str(value) for value in self.choices]
            return self.choices[texts.index(trial.suggest_categorical(key, texts))]
        if self.kind == 'int':
            return trial.suggest_int(key, int(self.low), int(self.high), step=self.step)
        return trial.suggest_float(key, self.low, self.high, log=self.kind == 'log')


def read_search_range(text: str) -> tuple[str, SearchRange]:
    """Read one setting of a search.

    Args:
        text: ``KEY=`` and one of ``log:LOW:HIGH`` (numbers above 0, evenly by their logarithm),
            ``float:LOW:HIGH``, ``int:LOW:HIGH`` or ``int:LOW:HIGH:STEP``, and ``choice:A,B,...``
            with values as ``--cfg-options`` takes them.

    Returns:
        The dotted name of the setting, and its values.

    Raises:
        ValueError: If the text is of another form, or the range is empty.

    Example:
        >>> read_search_range('optim_wrapper.optimizer.lr=log:1e-5:1e-3')
        ('optim_wrapper.optimizer.lr', SearchRange(kind='log', low=1e-05, high=0.001, step=1, \
choices=()))
        >>> read_search_range('model.neck.units=choice:[seu],[seu,mfu]')[1].choices
        (['seu'], ['seu', 'mfu'])
    """
    key, _, rest = text.partition('=')
    kind, _, values = rest.partition(':')
    if not key or not values:
        raise ValueError(f'{text!r} is not of the form KEY=RANGE, where RANGE is {FORMS}')
    if kind == 'choice':
        return key, _read_choices(text, values)
    parts = values.split(':')
    if kind not in ('log', 'float', 'int') or len(parts) not in ((2, 3) if kind == 'int' else (2,)):
        raise ValueError(f'{text!r}: {rest!r} is none of {FORMS}')
    try:
        numbers = [int(part) if kind == 'int' else float(part) for part in parts]
    except ValueError:
        expected = 'whole numbers' if kind == 'int' else 'numbers'
        raise ValueError(f'{text!r}: expected {expected}, got {values!r}') from None
    low, high, step = (*numbers, 1)[:3]
    if not all(map(math.isfinite, numbers)) or low >= high:
        raise ValueError(f'{text!r}: the first number must be less than the second')
    if kind == 'log' and low <= 0:
        raise ValueError(f'{text!r}: a logarithmic range starts above 0')
    if step < 1 or (high - low) % step and kind == 'int':
        raise ValueError(f'{text!r}: the step must divide {high - low}')
    return key, SearchRange(kind, low, high, int(step))


def _read_choices(text: str, values: str) -> SearchRange:
    try:
        choices = DictAction._parse_iterable(f'[{values}]')
    except (AssertionError, ValueError):  # brackets that do not match
        raise ValueError(f'{text!r}: the brackets of {values!r} do not match') from None
    if len({str(value) for value in choices}) != len(choices) or len(choices) < 2:
        raise ValueError(f'{text!r}: name two or more values that differ')
    return SearchRange('choice', choices=tuple(choices))
