"""Search in a Milvus server."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.registry import SEARCH_ENGINES
from fusionreid.utils.optional import import_optional

from ..filter import GalleryFilter
from ..items import Items
from ..metadata import NOTHING, Value
from .base import Hits, SearchEngine

# Limits of Milvus: answers a query, and the length of names in bytes.
MOST_ANSWERS = 16_384
LONGEST_ID, LONGEST_PATH = 4096, 8192
# A message may have 64 MiB.
MESSAGE_BYTES = 16 << 20
QUERIES_PER_CALL = 100
NAMES_PER_CALL = 1000
BLOCK_ROWS = 1000
TOKEN_VARIABLE = 'MILVUS_TOKEN'
FIELDS = ['item_id', 'path', 'person_id', 'camera_id']
# Collections that were made before there was metadata lack it.
METADATA = 'metadata'


@SEARCH_ENGINES.register_module('milvus')
class MilvusEngine(SearchEngine):
    """Items and features in a Milvus server, for galleries that one machine does not hold.

    A path that ends in ``.db`` is the embedded Milvus Lite. Everything that is added or removed is
    kept by Milvus at once; what a gallery saves is only how to get there. A token is taken from the
    environment variable ``MILVUS_TOKEN`` and never saved.

    Args:
        uri: Address, such as ``http://localhost:19530``, or a path such as ``gallery.db``.
        collection: Name of the collection, which is made if there is none.
        index_type: Milvus's index over the features; ``'FLAT'`` finds exactly.
        index_params: Its settings when it is built, such as ``dict(nlist=1024)``.
        search_params: Its settings for searching, such as ``dict(nprobe=16)``.

    Raises:
        GalleryError: If there is no connection, or pymilvus is not installed.
    """

    name = 'milvus'

    def __init__(
        self,
        uri: str,
        collection: str = 'fusionreid',
        index_type: str = 'FLAT',
        index_params: dict[str, Any] | None = None,
        search_params: dict[str, Any] | None = None,
    ) -> None:
        pymilvus = import_optional(
            'pymilvus', 'pymilvus milvus-lite', f'the engine {self.name!r}', GalleryError
        )
        # Errors are raised as well; as a log they come with a traceback each, and so does every
        # call that the embedded Milvus does not know and pymilvus can do without.
        for logger in ('pymilvus', 'grpc._server'):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        self.uri = uri if '://' in uri else str(Path(uri).absolute())
        self.collection, self.index_type = collection, index_type
        self.index_params, self.search_params = index_params or {}, search_params or {}
        self._types = pymilvus.DataType
        self._error = pymilvus.MilvusException
        self._width = 0
        self._fields = FIELDS
        try:
            self._client = pymilvus.MilvusClient(self.uri, token=os.getenv(TOKEN_VARIABLE, ''))
        except (self._error, OSError, ValueError, ImportError) as error:
            raise GalleryError(
                f'no connection to Milvus at {self.uri}: {" ".join(str(error).split())}'
            ) from error

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again."""
        names = ('uri', 'collection', 'index_type', 'index_params', 'search_params')
        return dict(type=self.name, **{name: getattr(self, name) for name in names})

    def close(self) -> None:
        """End the connection; an embedded Milvus frees its file."""
        self._client.close()

    def _call(self, method: str, *args: Any, **settings: Any) -> Any:
        try:
            return getattr(self._client, method)(*args, **settings)
        except self._error as error:
            reason = ' '.join(str(error).split())
            raise GalleryError(f'Milvus at {self.uri} refused {method}: {reason}') from error

    def open(self, width: int, label: str) -> None:
        """Make the collection, or take the one that is there if it fits."""
        if self._exists():
            self._attach(width, label)
            return
        # A key of Milvus's own: pymilvus's iterator breaks on a key of text with a quote in it.
        schema = self._client.create_schema(auto_id=True, description=label)
        schema.add_field('key', self._types.INT64, is_primary=True)
        text = self._types.VARCHAR
        schema.add_field('item_id', text, max_length=LONGEST_ID)
        schema.add_field('path', text, max_length=LONGEST_PATH)
        schema.add_field('person_id', self._types.INT64)
        schema.add_field('camera_id', self._types.INT64)
        schema.add_field(METADATA, self._types.JSON)
        schema.add_field('feature', self._types.FLOAT_VECTOR, dim=width)
        index = self._client.prepare_index_params()
        index.add_index(
            'feature', index_type=self.index_type, metric_type='L2', params=self.index_params
        )
        index.add_index('item_id', index_type='INVERTED')
        self._call(
            'create_collection',
            self.collection,
            schema=schema,
            index_params=index,
            consistency_level='Strong',
        )
        self._width, self._fields = width, [*FIELDS, METADATA]

    @property
    def _where(self) -> str:
        return f'the Milvus collection {self.collection!r} at {self.uri}'

    def attach(self) -> int | None:
        """Take over the collection, if there is one."""
        if not self._exists():
            return None
        self._width, _ = self._describe()
        self._call('load_collection', self.collection)
        return self._width

    def _describe(self) -> tuple[int, str]:
        """Width of the features in the collection, and the label that it was made with."""
        known = self._call('describe_collection', self.collection)
        fields = {field['name']: field for field in known['fields']}
        if not {*FIELDS, 'feature'} <= fields.keys():
            raise GalleryError(
                f'{self._where} is no gallery: it has the fields {", ".join(fields)}'
            )
        self._fields = [*FIELDS, METADATA] if METADATA in fields else FIELDS
        return int(fields['feature']['params']['dim']), known['description']

    def _attach(self, width: int, label: str) -> None:
        there, made_of = self._describe()
        if there != width:
            raise GalleryError(
                f'{self._where} holds features of width {there}, not {width}: choose another '
                f'collection'
            )
        if made_of not in ('', label):
            raise GalleryError(f'{self._where} holds other features: {made_of}, not {label}')
        self._call('load_collection', self.collection)
        self._width = width

    def __len__(self) -> int:
        if not self._width:
            return 0
        (row,) = self._query('', ['count(*)'])
        return int(row['count(*)'])

    def _query(self, expression: str, output: list[str]) -> Sequence[dict[str, Any]]:
        return self._call('query', self.collection, filter=expression, output_fields=output)

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are in the collection."""
        found: set[str] = set()
        for start in range(0, len(ids), NAMES_PER_CALL):
            wanted = _one_of('item_id', ids[start : start + NAMES_PER_CALL])
            found |= {row['item_id'] for row in self._query(wanted, ['item_id'])}
        return found

    def find(self, ids: Sequence[str]) -> Items:
        """Those items that have one of the ids."""
        rows: list[dict[str, Any]] = []
        for start in range(0, len(ids), NAMES_PER_CALL):
            rows += self._query(
                _one_of('item_id', ids[start : start + NAMES_PER_CALL]), self._fields
            )
        return _as_items(rows)

    def add(self, items: Items, features: Tensor) -> None:
        """Insert items, as many at a time as a message of Milvus holds."""
        for name, column, longest in (
            ('id', items.ids, LONGEST_ID),
            ('path', items.paths, LONGEST_PATH),
        ):
            for value in column:
                if len(value.encode('utf-8', 'surrogateescape')) > longest:
                    raise GalleryError(f'Milvus takes no {name} longer than {longest}: {value}')
        if METADATA not in self._fields and any(items.metadata):
            raise GalleryError(
                f'{self._where} was made before there was metadata: choose another collection, and '
                f'copy (fusionreid gallery copy)'
            )
        columns = (items.ids, items.paths, items.person_ids, items.camera_ids, items.metadata)
        rows = [
            dict(
                item_id=item_id,
                path=path,
                person_id=int(person),
                camera_id=int(camera),
                feature=feature,
                **({METADATA: metadata} if METADATA in self._fields else {}),
            )
            for item_id, path, person, camera, metadata, feature in zip(
                *columns, features.cpu().numpy(), strict=True
            )
        ]
        step = max(1, MESSAGE_BYTES // (4 * self._width + LONGEST_ID))
        for start in range(0, len(rows), step):
            self._call('insert', self.collection, rows[start : start + step])

    def remove(self, ids: Sequence[str]) -> None:
        """Delete items from the collection."""
        for start in range(0, len(ids), NAMES_PER_CALL):
            wanted = _one_of('item_id', ids[start : start + NAMES_PER_CALL])
            self._call('delete', self.collection, filter=wanted)

    def purge(self) -> list[str]:
        """Write the embedded Milvus's files anew, which else keep removed items.

        A server removes them from its files when it compacts and collects its garbage.
        """
        if '://' in self.uri:
            self._call('compact', self.collection)
            return []
        kept = copy.copy(self)
        kept.collection = self._kept
        if self._call('has_collection', self._kept):  # an interrupted copy
            self._call('drop_collection', self._kept)
        kept.open(*self._describe())
        for items, features in self.blocks():
            kept.add(items, features)
        self._call('flush', self._kept)
        if len(kept) != len(self):
            raise GalleryError(
                f'{self._where} holds {len(self)} items, {len(kept)} of which were copied: nothing '
                f'was changed, so try again'
            )
        self._call('drop_collection', self.collection)
        self._finish_purge()
        self._call('load_collection', self.collection)
        return []

    @property
    def _kept(self) -> str:
        """Name of the collection that takes the place of this one."""
        return f'{self.collection}_kept'

    def _finish_purge(self) -> None:
        """Give the copy that :meth:`purge` made the name of the collection."""
        self._call('rename_collection', self._kept, self.collection)

    def _exists(self) -> bool:
        """Whether there is a collection; one that was purged and not renamed is renamed."""
        if self._call('has_collection', self.collection):
            return True
        if '://' in self.uri or not self._call('has_collection', self._kept):
            return False
        self._finish_purge()
        return True

    def search(self, queries: Tensor, k: int, wanted: GalleryFilter) -> Hits:
        """Find the nearest items by the index of the collection."""
        if k > MOST_ANSWERS:
            raise GalleryError(f'Milvus gives at most {MOST_ANSWERS} answers, got k={k}')
        found: list[list[dict[str, Any]]] = []
        for part in queries.cpu().split(QUERIES_PER_CALL):
            found += self._call(
                'search',
                self.collection,
                data=list(part.numpy()),
                anns_field='feature',
                limit=k,
                filter=as_expression(wanted),
                search_params=dict(metric_type='L2', params=self.search_params),
                output_fields=self._fields,
            )
        hits = [hit for answers in found for hit in answers]
        rows = [hit['entity'] for hit in hits]
        # Milvus gives squared distances.
        squares = np.array([hit['distance'] for hit in hits], dtype=np.float64)
        counts = np.array([len(answers) for answers in found], dtype=np.int64)
        return Hits(_as_items(rows), counts, np.sqrt(squares.clip(0)).astype(np.float32))

    def feature_blocks(self) -> Iterator[Tensor]:
        """All features, (rows, D) at a time, in the order of the keys."""
        for block in self._blocks(['feature']):
            yield _as_tensor(block)

    def item_blocks(self) -> Iterator[Items]:
        """All items, in the order of the keys."""
        yield from map(_as_items, self._blocks(self._fields))

    def blocks(self) -> Iterator[tuple[Items, Tensor]]:
        """All items with their features, in the order of the keys."""
        for rows in self._blocks([*self._fields, 'feature']):
            yield _as_items(rows), _as_tensor(rows)

    def features_of(self, ids: Sequence[str]) -> Tensor:
        """Features of some items."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), NAMES_PER_CALL):
            wanted = _one_of('item_id', ids[start : start + NAMES_PER_CALL])
            rows = self._query(wanted, ['item_id', 'feature'])
            found |= {row['item_id']: row for row in rows}
        return _as_tensor([found[item_id] for item_id in ids])

    def _blocks(self, output: list[str]) -> Iterator[list[dict[str, Any]]]:
        rows = self._call(
            'query_iterator', self.collection, batch_size=BLOCK_ROWS, output_fields=output
        )
        try:
            while block := rows.next():
                yield block
        finally:
            rows.close()

    def write(self, folder: Path) -> None:
        """Nothing to write: Milvus keeps everything."""
        self._call('flush', self.collection)

    def read(self, folder: Path, width: int, label: str) -> None:
        """Find the collection again, which must be there."""
        if not self._exists():
            raise GalleryError(f'there is no Milvus collection {self.collection!r} at {self.uri}')
        self._attach(width, label)


def _as_items(rows: Sequence[dict[str, Any]]) -> Items:
    # The embedded Milvus gives JSON back as text.
    records = [row.get(METADATA) or NOTHING for row in rows]
    parsed = [json.loads(each) if isinstance(each, (str, bytes)) else each for each in records]
    ids, paths, people, cameras = ([row[name] for row in rows] for name in FIELDS)
    return Items(ids, paths, people, cameras, parsed)


def _as_tensor(rows: Sequence[dict[str, Any]]) -> Tensor:
    return torch.tensor(np.array([row['feature'] for row in rows], dtype=np.float32))


def as_expression(wanted: GalleryFilter) -> str:
    """Write a filter in Milvus's language."""
    parts = []
    for field, only, never in (
        ('camera_id', wanted.cameras, wanted.exclude_cameras),
        ('person_id', wanted.person_ids, wanted.exclude_person_ids),
        ('item_id', wanted.ids, wanted.exclude_ids),
    ):
        if only is not None:
            parts.append(_one_of(field, only))
        if never:
            parts.append(f'not ({_one_of(field, never)})')
    for condition in wanted.conditions:
        name = f'{METADATA}[{json.dumps(condition.column, ensure_ascii=False)}]'
        if condition.values is not None:
            equal = [f'{name} == {_literal(value)}' for value in condition.values]
            parts.append(f'({" or ".join(equal)})' if equal else '(person_id < -1)')
        for sign, end in (('>=', condition.low), ('<=', condition.high)):
            if end is not None:
                parts.append(f'{name} {sign} {_literal(end)}')
    return ' and '.join(parts)


def _literal(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_of(field: str, values: Iterable[Any]) -> str:
    return f'{field} in {json.dumps(list(values), ensure_ascii=False)}'
