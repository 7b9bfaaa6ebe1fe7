"""What the scoring functions refuse, told as an error that a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fusionreid.errors import ScoringError

from .functional import ScoringInputError


@contextmanager
def scoring_errors() -> Iterator[None]:
    """Turn a ScoringInputError of the functional core, which knows no users, into a ScoringError.

    Any other error inside is a bug and passes.

    Yields:
        Nothing.

    Raises:
        ScoringError: With the message of what was refused.

    Example:
        >>> with scoring_errors():
        ...     raise ScoringInputError('there are no query features: nothing can be ranked')
        Traceback (most recent call last):
        fusionreid.errors.ScoringError: there are no query features: nothing can be ranked
    """
    try:
        yield
    except ScoringInputError as error:
        raise ScoringError(str(error)) from error
