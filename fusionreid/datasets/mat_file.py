"""Variables of a MATLAB file, read as numbers and text; nothing in it is executed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from fusionreid.errors import DatasetError, DatasetFormatError, DatasetNotFoundError
from fusionreid.utils.optional import import_optional

from .image_listing import why_not_regular


def read_mat(path: str, names: Sequence[str]) -> list[np.ndarray]:
    """Read variables of a MATLAB file of version 5 to 7.2, by SciPy.

    Args:
        path: The file.
        names: The variables.

    Returns:
        Their values, as :func:`scipy.io.loadmat` gives them.

    Raises:
        DatasetNotFoundError: If there is no such file.
        DatasetFormatError: If it is no such file, is damaged, or lacks a variable.
    """
    if problem := why_not_regular(path):
        raise DatasetNotFoundError(f"'{path}' ({os.path.abspath(path)}) is {problem}")
    scipy_io = import_optional('scipy.io', 'scipy', f"reading '{path}'", DatasetError)
    try:
        content = scipy_io.loadmat(path, variable_names=[*names])
    # SciPy lets through whatever it meets in a damaged file.
    except Exception as error:
        raise DatasetFormatError(
            f"'{path}' is no MATLAB file of version 5 to 7.2, or damaged ({error}): download it "
            'again'
        ) from error
    missing = [name for name in names if name not in content]
    if missing:
        raise DatasetFormatError(
            f"'{path}' lacks the variables {', '.join(missing)}: it is another file, or damaged"
        )
    return [content[name] for name in names]


def read_mat_integers(path: str, *names: str) -> list[np.ndarray]:
    """Read variables that hold whole numbers.

    Args:
        path: The file.
        *names: The variables.

    Returns:
        Their values, int64.

    Raises:
        DatasetNotFoundError: If there is no such file.
        DatasetFormatError: If it cannot be read, or holds something else.
    """
    values = []
    for name, value in zip(names, read_mat(path, names), strict=True):
        if value.dtype.kind not in 'iuf' or not np.array_equal(value, np.floor(value)):
            raise DatasetFormatError(f"'{path}': {name} must hold whole numbers")
        values.append(value.astype(np.int64))
    return values
