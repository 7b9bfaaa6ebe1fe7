"""Data sets in a CSV table, see ``people_table.py`` for its reader."""

from __future__ import annotations

from typing import Any

from fusionreid.registry import DATASETS

from .annotation import ROLES, ReIDAnnotation, ReIDRecord
from .base_reid_dataset import ReIDDataset
from .people_table import read_people_table


@DATASETS.register_module()
class CsvDataset(ReIDDataset):
    """Images listed in a CSV file with the columns ``path,person_id,camera_id,role``.

    - ``path``: the image, relative to ``data_root`` or absolute; each image once.
    - ``person_id``: whole numbers of 0 or more, or any names. ``2``, ``02`` and ``2.0``, as
      spreadsheets write it, are the same number. If one of the ids is no whole number, all are
      names; they are numbered in sorted order, and metainfo ``person_names`` maps back. Then two
      spellings of one number, or of one text (as Unicode normalizes it), are an error.
    - ``camera_id``: 0-based integer, or any name; -1 for an unknown camera. Either all cameras
      have numbers, or all have names, which are numbered in sorted order; metainfo
      ``camera_names`` maps back.
    - ``role``: ``train``, ``query`` or ``gallery``.

    Further columns are ignored; no two columns have the same name. Of a path or a name that begins
    with an apostrophe and then ``=``, ``+``, ``-`` or ``@``, the apostrophe is dropped, see
    :func:`fusionreid.utils.csv_table.escape_formula`.

    Args:
        data_root: Folder that the paths are relative to.
        ann_file: The CSV file, in UTF-8; relative to ``data_root`` unless absolute.
        split: See :class:`ReIDDataset`.
        **kwargs: As in :class:`ReIDDataset`. ``dataset_name`` defaults to the file's name.
    """

    FIRST_CAMERA = 0
    UNKNOWN_CAMERA_ALLOWED = True

    def __init__(self, data_root: str, ann_file: str, split: str = 'train', **kwargs: Any) -> None:
        super().__init__(data_root, split, ann_file=ann_file, **kwargs)

    def read_annotation(self) -> ReIDAnnotation:
        """Read the table; see :meth:`ReIDDataset.read_annotation`."""
        table = read_people_table(self.ann_file, self.data_root)
        records: dict[str, list[ReIDRecord]] = {}
        for row in table.rows:
            person, camera = table.person_numbers[row.person], table.camera_numbers[row.camera]
            records.setdefault(row.role, []).append(ReIDRecord(row.img_path, person, camera))
        names = dict(person_names=table.person_names, camera_names=table.camera_names)
        return ReIDAnnotation(
            root=self.data_root,
            records={role: sorted(records[role]) for role in ROLES if role in records},
            sources={role: f"rows of role '{role}' in {self.ann_file}" for role in ROLES},
            metainfo={name: value for name, value in names.items() if value},
            listed={self.ann_file: [row.img_path for row in table.rows]},
        )
