"""Finding the folder of a data set, and what is said when it is missing or laid out otherwise."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError


def candidate_roots(data_root: str, folder_names: Sequence[str]) -> list[str]:
    """List the existing folders that ``data_root`` may mean.

    Args:
        data_root: The data set's folder, or a folder that contains it under one of
            ``folder_names``. When it does not exist but its last part is one of these names, the
            other names are looked for beside it: ``data/market1501`` then finds
            ``data/Market-1501-v15.09.15``.
        folder_names: Official and short names of the data set's folder.

    Returns:
        Existing folders, ``data_root`` itself first; each once, even if links give it
        several names.
    """
    data_root = os.path.normpath(data_root)
    if os.path.isdir(data_root):
        paths = [data_root, *(os.path.join(data_root, name) for name in folder_names)]
    elif os.path.basename(data_root) in folder_names:
        parent = os.path.dirname(data_root)
        paths = [os.path.join(parent, name) for name in folder_names]
    else:
        paths = []
    roots: list[str] = []
    for path in paths:
        if os.path.isdir(path) and not any(os.path.samefile(path, root) for root in roots):
            roots.append(path)
    return roots


def locate_root(
    dataset_name: str,
    data_root: str,
    folder_names: Sequence[str],
    entries: Sequence[str],
    layout: str = '',
) -> str:
    """Find the one folder that ``data_root`` means.

    Args:
        dataset_name: Such as ``'Market-1501'``.
        data_root: See :func:`candidate_roots`.
        folder_names: See :func:`candidate_roots`.
        entries: Files and folders, one of which the folder must contain.
        layout: What is said to be expected; ``entries`` by default.

    Returns:
        The folder.

    Raises:
        DatasetNotFoundError: If there is none.
        DatasetFormatError: If several would do.
    """
    roots = [
        root
        for root in candidate_roots(data_root, folder_names)
        if any(os.path.exists(os.path.join(root, entry)) for entry in entries)
    ]
    if not roots:
        layout = layout or f'the folders {", ".join(entries)}'
        raise layout_error(dataset_name, data_root, folder_names, layout)
    # What lies in the folder itself comes before what it holds as a parent.
    if len(roots) > 1 and roots[0] != os.path.normpath(data_root):
        raise DatasetFormatError(
            f"{dataset_name}: data_root '{data_root}' may mean {' or '.join(roots)}; "
            f'set data_root to one of them.'
        )
    return roots[0]


def layout_error(
    dataset_name: str, data_root: str, folder_names: Sequence[str], layout: str
) -> DatasetNotFoundError:
    """Build the error for a root that is missing or holds something else.

    Args:
        dataset_name: Such as ``'Market-1501'``.
        data_root: As given by the user.
        folder_names: Names under which a parent folder may hold the data set.
        layout: What the data set's folder must contain.

    Returns:
        The error; it names the path, what was expected, what is there and what to do.

    Example:
        >>> print(layout_error('MSMT17', 'data/nowhere', (), 'lists'))  # doctest: +ELLIPSIS
        MSMT17: data_root 'data/nowhere' (...nowhere) does not exist. Expected a folder with ...
    """
    where = os.path.abspath(data_root)
    if not os.path.exists(data_root):
        problem = f"{dataset_name}: data_root '{data_root}' ({where}) does not exist."
    elif not os.path.isdir(data_root):
        problem = f"{dataset_name}: data_root '{data_root}' ({where}) is a file, not a folder."
    else:
        entries = sorted(os.listdir(data_root))
        found = ', '.join(entries[:8]) + (' ...' if len(entries) > 8 else '')
        problem = (
            f"{dataset_name}: data_root '{data_root}' ({where}) is not laid out as expected; "
            f'it contains: {found or "nothing"}.'
        )
    expected = f'Expected a folder with {layout}'
    if folder_names:
        expected += f', or its parent (folder name one of {", ".join(folder_names)})'
    return DatasetNotFoundError(
        f'{problem} {expected}. Put or link the data there, or set data_root of the data sets in '
        f'the config to where they are.'
    )
