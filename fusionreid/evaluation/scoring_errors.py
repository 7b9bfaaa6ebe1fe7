"""What is wrong with features, told as an error that a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fusionreid.errors import ScoringError, UserError


@contextmanager
def scoring_errors() -> Iterator[None]:
    """Turn what the scoring functions refuse, a ValueError, into a ScoringError.

    Yields:
        Nothing.

    Raises:
        ScoringError: With the message of the ValueError.

    Example:
        >>> with scoring_errors():
        ...     raise ValueError('there are no query features: nothing can be ranked')
        Traceback (most recent call last):
        fusionreid.errors.ScoringError: there are no query features: nothing can be ranked
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise ScoringError(str(error)) from error
