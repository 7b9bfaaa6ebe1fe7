"""The table that a data set shows when it is loaded: its counts beside the official ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionreid.utils.tables import format_table
from fusionreid.utils.terminal import escape_controls

_COLUMNS = ('identities', 'images', 'cameras')


def split_table(metainfo: Mapping[str, Any]) -> str:
    """Lay out a data set's identities, images and cameras per split beside the official counts.

    Args:
        metainfo: A loaded ``ReIDDataset``'s metainfo: ``dataset_name``, ``release``,
            ``train_split``, ``data_root``, ``num_cameras``, ``counts`` and ``official_counts``
            (per role a mapping of ``identities``, ``images``, ``cameras``, as far as they are
            published), ``notes`` and perhaps ``protocol``.

    Returns:
        Several lines, without a trailing newline.
    """
    counts, official = metainfo['counts'], metainfo['official_counts'] or {}
    title = metainfo['dataset_name']
    if metainfo['release']:
        title += f' {metainfo["release"]}'
    if metainfo['train_split']:
        title += f', train split {metainfo["train_split"]}'
    title += f', {metainfo["num_cameras"]} cameras, read from {metainfo["data_root"]}'

    header = ['split', *_COLUMNS]
    if official:
        header += [f'official {column}' for column in _COLUMNS]
    rows = [header]
    notes = [f'protocol: {metainfo["protocol"]}'] if metainfo.get('protocol') else []
    notes += metainfo['notes']
    unofficial = []
    for role, role_counts in counts.items():
        if role_counts is None and official and role not in official:
            continue  # no such role in this data set
        known = official.get(role, {})
        found = ['-' if role_counts is None else str(role_counts[c]) for c in _COLUMNS]
        rows.append([role, *found, *(str(known.get(c, '-')) for c in _COLUMNS if official)])
        if role_counts is None:
            notes.append(f'{role}: none found')
        elif official and any(role_counts[c] != known.get(c, role_counts[c]) for c in _COLUMNS):
            unofficial.append(role)
    if unofficial:
        notes.append(
            f'{", ".join(unofficial)}: not the official counts, so scores are not comparable with '
            f'published ones'
        )
    remarks = [f'* {escape_controls(note)}' for note in notes]
    return '\n'.join([escape_controls(title), format_table(rows), *remarks])
