"""Search in PostgreSQL with pgvector, by many processes at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.registry import SEARCH_ENGINES
from fusionreid.utils.optional import import_optional

from ..address import DEFAULT_TABLE, DatabaseAddress
from ..filter import GalleryFilter
from ..items import Items
from .base import Hits, SearchEngine
from .pgvector_erasure import erase_removed
from .pgvector_filter import as_condition, is_storable
from .pgvector_names import names_in_table
from .pgvector_schema import MOST_INDEXED, TYPES, Schema
from .pgvector_tuning import LARGEST_EF, Tuning, choose_ef
from .postgres import Postgres

INDEXES = ('hnsw', 'exact')
# What the unique index of the ids holds.
LONGEST_ID = 2600
QUERIES_PER_CALL = 100
BLOCK_ROWS = 4096
# Seconds for which a count of the items, and what others did to the index, is taken for true.
COUNT_AGE = 10.0
COLUMNS = 'item_id, path, person_id, camera_id, person_name, camera_name, metadata'
# What of an item is replaced.
CHANGED = (*COLUMNS.split(', ')[1:], 'feature')
HNSW = '_hnsw'


@SEARCH_ENGINES.register_module('pgvector')
class PgvectorEngine(SearchEngine):
    """Items and features in a table of PostgreSQL, which several processes fill and search at once.

    Everything is kept by the database: items, names, metadata, what the features are, and the
    calibration. Additions are transactions. The index is made, and measured, when a gallery is
    saved that has more than ``exact_below`` items; a search that a filter leaves fewer for is
    exact, and so is one for which the index gives fewer than ``k`` items that pass.

    Args:
        url: Address of the database, such as ``postgresql://user@host/database``. Its password is
            never saved or shown; libpq also takes one from PGPASSWORD, ~/.pgpass or a service file.
        table: Name of the table, which is made if there is none; after its schema and a dot.
        precision: ``'half'`` or ``'single'``, of the features that are kept; None takes that of the
            table, ``'half'`` for a new one.
        index: ``'hnsw'`` or ``'exact'``; None takes that of the table, for a new one ``'hnsw'`` if
            the features fit an index (4,000 wide in half precision, 2,000 in single).
        m: Connections of an item in the index, when it is made.
        ef_construction: Candidates for them.
        build_memory: MiB that the database may use to make the index; None leaves that to it.
        ef_search: Candidates of a search; None takes the fewest that reach ``recall``.
        recall: Share of the ten nearest that a search is to find, measured on the gallery itself.
        exact_below: Galleries and filtered choices up to so many items are searched exactly.

    Raises:
        GalleryError: If there is no connection, a value is out of its range, or psycopg or pgvector
            is not installed.
    """

    name = 'pgvector'

    def __init__(
        self,
        url: str,
        table: str = DEFAULT_TABLE,
        precision: str | None = None,
        index: str | None = None,
        m: int = 16,
        ef_construction: int = 64,
        build_memory: int | None = None,
        ef_search: int | None = None,
        recall: float = 0.95,
        exact_below: int = 10_000,
    ) -> None:
        self.address = DatabaseAddress(url, table)
        self.precision, self.index = precision, index
        self.m, self.ef_construction, self.build_memory = m, ef_construction, build_memory
        self.ef_search, self.recall, self.exact_below = ef_search, recall, exact_below
        for name, value, known in (
            ('precision', precision, tuple(TYPES)),
            ('index', index, INDEXES),
        ):
            if value is not None and value not in known:
                raise GalleryError(f'{name} of pgvector is {" or ".join(known)}, got {value!r}')
        for name, number, low, high in (
            ('m', m, 2, 100),
            ('ef_construction', ef_construction, 4, 1000),
            ('build_memory', build_memory, 1, 1 << 20),
            ('ef_search', ef_search, 1, LARGEST_EF),
            ('recall', recall, 0, 1),
            ('exact_below', exact_below, 0, 1 << 31),
        ):
            if number is not None and not low <= number <= high:
                raise GalleryError(f'{name} of pgvector must be in {low}..{high}, got {number}')
        if ef_construction < 2 * m:
            raise GalleryError(
                f'ef_construction of pgvector must be at least 2 m = {2 * m}, got {ef_construction}'
            )
        self._postgres = Postgres(self.address)
        self._schema = Schema(self._postgres, self.address)
        self._vectors = import_optional(
            'pgvector', 'pgvector', "the engine 'pgvector'", GalleryError
        )
        person, camera = (
            names_in_table(self._postgres, self._schema, kind, lambda: self._state is not None)
            for kind in ('person', 'camera')
        )
        self._names = (person, camera)
        self._state: dict[str, str] | None = None
        # Of a table that is made with the first thing that it keeps.
        self._new: dict[str, str] | None = None
        self._recent = (0, False)
        self._counted = -COUNT_AGE
        self._postgres.read('SELECT 1')

    @property
    def names(self) -> tuple[MutableMapping[int, str], MutableMapping[int, str]]:
        """Names of people and of cameras by number, which are kept with the items."""
        return self._names

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again; without the password."""
        names = (
            *('table', 'precision', 'index', 'm', 'ef_construction', 'build_memory', 'ef_search'),
            *('recall', 'exact_below'),
        )
        given = {name: getattr(self, name if name != 'table' else 'address') for name in names}
        given['table'] = self.address.table
        return dict(type=self.name, url=self.address.safe_url, **given)

    @property
    def place(self) -> DatabaseAddress:
        """The table."""
        return self.address

    @property
    def tuning(self) -> Tuning | None:
        """How the index was measured; None if there is none, or ``ef_search`` was given."""
        record = (self._state or {}).get('tuning')
        return Tuning(**json.loads(record)) if record and self.ef_search is None else None

    def size_in_bytes(self) -> int:
        """Bytes of the table and its indexes on the disk of the database."""
        query = 'SELECT pg_total_relation_size(to_regclass(%s))'
        return self._postgres.read(query, (self._schema.regclass(self._schema.items),))[0][0]

    def drop(self) -> None:
        """Remove the table, with all that it holds."""
        self._postgres.write(
            lambda connection: connection.execute(
                self._schema.statement('DROP TABLE IF EXISTS {items}, {state}')
            ),
            'drop the table',
        )
        self._state = self._new = None

    def close(self) -> None:
        """End the connection."""
        self._postgres.close()

    def __del__(self) -> None:
        if '_postgres' in self.__dict__:
            self.close()

    # ---- the table

    def attach(self) -> int | None:
        """Take over the table, if there is one."""
        state = self._schema.read_state()
        if state is None:
            return None
        self._take(state)
        return int(state['width'])

    def _take(self, state: dict[str, str]) -> None:
        kept = json.loads(state['settings'])
        for name in ('precision', 'index'):
            given = getattr(self, name)
            if given is None:
                setattr(self, name, kept[name])
            elif name == 'precision' and given != kept[name]:
                raise GalleryError(
                    f'{self.address} holds features in {kept[name]} precision, not {given}: choose '
                    f'another table, and copy (fusionreid gallery copy)'
                )
        self._state = state
        self._counted = -COUNT_AGE

    def open(self, width: int, label: str) -> None:
        """Take the table that is there if it fits; another one is made with what it first keeps."""
        precision = self.precision or 'half'
        if (there := self.attach()) is not None:
            assert self._state is not None
            if there != width:
                raise GalleryError(
                    f'{self.address} holds features of width {there}, not {width}: choose another '
                    f'table'
                )
            if self._state['fingerprint'] != label:
                raise GalleryError(
                    f'{self.address} holds other features: {self._state["fingerprint"]}, not '
                    f'{label}'
                )
            return
        fits = width <= MOST_INDEXED[precision]
        if self.index == 'hnsw' and not fits:
            raise GalleryError(
                f'pgvector indexes at most {MOST_INDEXED[precision]:,} dimensions in {precision} '
                f'precision, the features have {width:,}: take one feature of the model '
                f'(--feature), precision=half, or index=exact'
            )
        self.precision = precision
        self.index = self.index or ('hnsw' if fits else 'exact')
        self._new = dict(
            width=str(width),
            precision=precision,
            fingerprint=label,
            settings=json.dumps(dict(precision=precision, index=self.index)),
        )

    def record(self) -> dict[str, Any] | None:
        """What was kept of the gallery."""
        kept: dict[str, Any] = {
            name: json.loads(self._state[name])
            for name in ('features', 'calibration')
            if self._state and name in self._state
        }
        return kept or None

    def keep(self, record: dict[str, Any]) -> None:
        """Keep what the gallery knows besides its items; make the table if there is none."""
        state = {name: json.dumps(value) for name, value in record.items()}

        def work(connection: Any) -> None:
            if self._new is not None:
                self._schema.create(connection, self._new)
            self._schema.set_state(connection, state)

        known = self._state or {}
        if self._new is None and all(known.get(name) == value for name, value in state.items()):
            return
        self._postgres.write(work, 'make the table' if self._new else 'keep what is known')
        if self._new is None:
            self._state = {**known, **state}
            return
        # Another process may have made it first.
        new, self._new = self._new, None
        self.open(int(new['width']), new['fingerprint'])

    def write(self, folder: Path) -> None:
        """Nothing to write: the database keeps everything."""

    def read(self, folder: Path, width: int, label: str) -> None:
        """Find the table again, which must be there."""
        if self.attach() is None:
            raise GalleryError(f'{folder} is in {self.address}, where no such table is')
        self.open(width, label)

    # ---- items

    def __len__(self) -> int:
        if self._state is None:
            return 0
        ((count,),) = self._postgres.read(self._schema.statement('SELECT count(*) FROM {items}'))
        self._recent = (count, self._recent[1])
        return count

    def recent_size(self) -> int:
        """Number of items, some seconds ago; for a gallery of millions, counting takes long."""
        if self._state is None:
            return 0
        if time.monotonic() - self._counted >= COUNT_AGE:
            query = self._schema.statement(
                'SELECT (SELECT count(*) FROM {items}), to_regclass(%s) IS NOT NULL'
            )
            index = self._schema.regclass(self._schema.name(HNSW))
            self._recent = self._postgres.read(query, (index,))[0]
            self._state = self._schema.read_state() or self._state
            self._counted = time.monotonic()
        return self._recent[0]

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are in the table."""
        return set(self.find(ids).ids)

    def find(self, ids: Sequence[str]) -> Items:
        """Those items that have one of the ids."""
        if self._state is None:
            return Items([], [], [], [])
        query = self._schema.statement(
            f'SELECT {COLUMNS} FROM {{items}} WHERE item_id = ANY(%s::text[])'
        )
        return self._as_items(
            self._postgres.read(query, ([item_id for item_id in ids if is_storable(item_id)],))
        )

    def _as_items(self, rows: Sequence[Sequence[Any]]) -> Items:
        """Items of rows that begin with ``COLUMNS``; their names are learned."""
        ids, paths, people, cameras, person_names, camera_names, metadata = (
            [list(column) for column in zip(*(row[:7] for row in rows), strict=True)]
            if rows
            else [[] for _ in range(7)]
        )
        for stored, numbers, names in (
            (self._names[0], people, person_names),
            (self._names[1], cameras, camera_names),
        ):
            stored.seen.update({n: name for n, name in zip(numbers, names, strict=True) if name})
        return Items(ids, paths, people, cameras, metadata)

    def add(self, items: Items, features: Tensor) -> None:
        """Add items, all of them or none."""
        mine: set[str] = set()

        def work(connection: Any) -> None:
            # The connection may have been lost after the database had taken the batch.
            if mine and self._holds(connection, items.ids, mine):
                return
            self._copy(connection, self._schema.items, items, features)
            mine.add(connection.execute('SELECT pg_current_xact_id()::xid::text').fetchone()[0])

        self._change(work, items, 'add')

    def replace(self, items: Items, features: Tensor) -> None:
        """Add items, in place of those that have the same ids; all of them or none."""
        sets = ', '.join(f'{column} = excluded.{column}' for column in CHANGED)
        columns = f'{COLUMNS}, feature'
        new = self._schema.bare_name('_new')

        def work(connection: Any) -> None:
            connection.execute(
                self._schema.statement(
                    f'CREATE TEMPORARY TABLE {{new}} ON COMMIT DROP AS SELECT {columns} '
                    'FROM {items} WITH NO DATA',
                    new=new,
                )
            )
            self._copy(connection, new, items, features)
            # In one order, so that two that replace the same items do not wait for each other.
            connection.execute(
                self._schema.statement(
                    f'INSERT INTO {{items}} ({columns}) SELECT {columns} FROM {{new}} '
                    f'ORDER BY item_id ON CONFLICT (item_id) DO UPDATE SET {sets}',
                    new=new,
                )
            )

        self._change(work, items, 'replace')

    def _change(self, work: Callable[[Any], None], items: Items, what: str) -> None:
        self._check_texts(items)
        if self._state is None:
            self.keep({})
        self._postgres.write(work, f'{what} {len(items)} items')
        self._counted = -COUNT_AGE

    def _check_texts(self, items: Items) -> None:
        for item_id, path in zip(items.ids, items.paths, strict=True):
            for text in (item_id, path):
                if not is_storable(text):
                    raise GalleryError(
                        f'PostgreSQL keeps ids and paths as UTF-8, which {text!r:.120} is not: '
                        f'rename the file, or give another id'
                    )
            if len(item_id.encode()) > LONGEST_ID:
                raise GalleryError(f'pgvector takes no id longer than {LONGEST_ID}: {item_id}')

    def _copy(self, connection: Any, table: Any, items: Items, features: Tensor) -> None:
        """Load rows in PostgreSQL's binary format."""
        people, cameras = self._names
        rows = features.cpu().numpy()
        kind, vector = TYPES[self.precision or 'half'], self._vectors.Vector
        if kind == 'halfvec':
            vector, rows = self._vectors.HalfVector, rows.astype(np.float16)
        query = self._schema.statement(
            f'COPY {{table}} ({COLUMNS}, feature) FROM STDIN (FORMAT BINARY)', table=table
        )
        with connection.cursor().copy(query) as copy:
            copy.set_types(['text', 'text', 'int8', 'int8', 'text', 'text', 'jsonb', kind])
            for item_id, path, person, camera, metadata, row in zip(
                items.ids,
                items.paths,
                items.person_ids,
                items.camera_ids,
                items.metadata,
                rows,
                strict=True,
            ):
                named = people.seen.get(person, ''), cameras.seen.get(camera, '')
                text = json.dumps(metadata, ensure_ascii=False)
                copy.write_row(
                    (item_id, path, int(person), int(camera), *named, self._json(text), vector(row))
                )

    def _json(self, text: str) -> Any:
        return self._postgres.psycopg.types.json.Jsonb(text, dumps=str)

    def _holds(self, connection: Any, ids: Sequence[str], transactions: set[str]) -> bool:
        """Whether one of the transactions added the items."""
        query = self._schema.statement(
            'SELECT count(*) FROM {items} '
            'WHERE item_id = ANY(%s::text[]) AND xmin::text = ANY(%s::text[])'
        )
        values = (list(ids), list(transactions))
        return connection.execute(query, values).fetchone()[0] == len(ids)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items, all of them or none."""
        query = self._schema.statement('DELETE FROM {items} WHERE item_id = ANY(%s::text[])')
        given = sorted(item_id for item_id in ids if is_storable(item_id))
        self._postgres.write(
            lambda connection: connection.execute(query, (given,)), f'remove {len(ids)} items'
        )
        self._counted = -COUNT_AGE

    def purge(self) -> list[str]:
        """Write the table and its indexes anew, and overwrite the server's log."""
        memory = self.build_memory
        return erase_removed(
            self.address, {} if memory is None else dict(maintenance_work_mem=f'{memory}MB')
        )

    def as_stored(self, features: Tensor) -> Tensor:
        """What comes back: rounded to half precision, if the table has that."""
        return features.half().float() if self.precision == 'half' else features

    # ---- search

    def search(self, queries: Tensor, k: int, wanted: GalleryFilter) -> Hits:
        """Find the nearest items, by the index where more than a few may be found."""
        self.recent_size()
        by_index = self._recent[1] and self.index == 'hnsw' and self._recent[0] > self.exact_below
        if by_index and wanted:
            by_index = self._passing(wanted) > self.exact_below
        rows = queries.cpu().float().numpy()
        found = self._find(rows, k, wanted, by_index)
        if by_index:
            short = [place for place, part in enumerate(found) if len(part) < k]
            for place, part in zip(short, self._find(rows[short], k, wanted, False), strict=True):
                found[place] = part
        hits = [hit for part in found for hit in part]
        counts = np.array([len(part) for part in found], dtype=np.int64)
        distances = np.array([hit[7] for hit in hits], dtype=np.float32)
        return Hits(self._as_items(hits), counts, distances)

    def _passing(self, wanted: GalleryFilter) -> int:
        """How many items pass a filter; beyond ``exact_below`` it does not count on."""
        condition, values = as_condition(wanted)
        query = self._schema.statement(
            f'SELECT count(*) FROM (SELECT FROM {{items}} WHERE {condition} LIMIT %s) AS passing'
        )
        return self._postgres.read(query, (*values, self.exact_below + 1))[0][0]

    def _find(
        self, queries: np.ndarray, k: int, wanted: GalleryFilter, by_index: bool
    ) -> list[list[Any]]:
        """Rows found for each query: ``COLUMNS`` and the distance."""
        condition, values = as_condition(wanted)
        kind = TYPES[self.precision or 'half']
        distance = '(feature::vector <-> query.feature)'
        # Not the operator itself, which an index knows; distances are of full precision.
        nearest = f'ORDER BY {distance} + 0, key LIMIT %s'
        settings: dict[str, object] = {}
        if by_index:
            nearest = f'ORDER BY feature <-> query.feature::{kind} LIMIT %s'
            settings = self._index_settings(self._ef(k), wanted)
        query = self._schema.statement(
            # Binary: as text, the numbers of a query take a quarter of its time.
            f'SELECT {COLUMNS}, distance, place FROM unnest(%b::vector[]) WITH ORDINALITY '
            f'AS query(feature, place) CROSS JOIN LATERAL ('
            f'SELECT {COLUMNS}, key, {distance} AS distance FROM {{items}} '
            f'WHERE {condition} {nearest}) AS found ORDER BY place, distance, key'
        )
        found: list[list[Any]] = [[] for _ in queries]
        for start in range(0, len(queries), QUERIES_PER_CALL):
            part = [self._vectors.Vector(row) for row in queries[start : start + QUERIES_PER_CALL]]
            for row in self._postgres.read(query, (part, *values, k), **settings):
                found[start + row[8] - 1].append(row)
        return found

    def _index_settings(self, ef: int, wanted: GalleryFilter) -> dict[str, object]:
        # With a filter the database may know a faster way than the index, which is exact then.
        scan = 'on' if wanted else 'off'
        return dict(hnsw__ef_search=ef, hnsw__iterative_scan='relaxed_order', enable_seqscan=scan)

    def _ef(self, k: int) -> int:
        """Candidates of a search for the k nearest."""
        tuning = self.tuning
        measured = self.ef_search or (tuning.ef_search if tuning else LARGEST_EF // 10)
        return min(LARGEST_EF, max(measured, 2 * k if k > 10 else k))

    def settle(self) -> None:
        """Make the index if it is due, and measure how many candidates it needs."""
        if self.index != 'hnsw' or (size := len(self)) <= self.exact_below:
            return
        index = self._schema.regclass(self._schema.name(HNSW))
        ((is_there,),) = self._postgres.read('SELECT to_regclass(%s) IS NOT NULL', (index,))
        if not is_there:
            self._postgres.write(self._build, 'make the index')
        self._counted = -COUNT_AGE
        tuning = self.tuning
        if self.ef_search is not None or (
            is_there and tuning is not None and tuning.fits(size, self.recall)
        ):
            return
        self._postgres.alone(self._schema.statement('ANALYZE {items}'), 'count values')
        record = json.dumps(choose_ef(self._sample, self._nearest, size, self.recall).as_dict())
        self._postgres.write(
            lambda connection: self._schema.set_state(connection, dict(tuning=record)),
            'keep what was measured',
        )
        self._state = {**(self._state or {}), 'tuning': record}

    def _build(self, connection: Any) -> None:
        self._schema.lock(connection)
        sql = self._postgres.sql
        if self.build_memory is not None:
            connection.execute(
                "SELECT set_config('maintenance_work_mem', %s, true)", (f'{self.build_memory}MB',)
            )
        connection.execute(
            self._schema.statement(
                'CREATE INDEX IF NOT EXISTS {index} ON {items} USING hnsw (feature {operators}) '
                'WITH (m = {m}, ef_construction = {ef})',
                index=self._schema.bare_name(HNSW),
                operators=sql.SQL(f'{TYPES[self.precision or "half"]}_l2_ops'),
                m=sql.Literal(self.m),
                ef=sql.Literal(self.ef_construction),
            )
        )

    def _sample(self, count: int, seed: int) -> np.ndarray:
        """Features (count, D) of items, of which some may be the same."""
        ((low, high),) = self._postgres.read(
            self._schema.statement('SELECT min(key), max(key) FROM {items}')
        )
        keys = np.random.default_rng(seed).integers(low, high + 1, count).tolist()
        query = self._schema.statement(
            'SELECT feature::vector FROM unnest(%s::bigint[]) AS wanted(key) CROSS JOIN LATERAL '
            '(SELECT feature FROM {items} WHERE key >= wanted.key ORDER BY key LIMIT 1) AS found'
        )
        return np.stack([row.to_numpy() for (row,) in self._postgres.read(query, (keys,))])

    def _nearest(self, queries: np.ndarray, k: int, ef: int | None) -> np.ndarray:
        """Distances (Q, k) of the nearest by the index with ``ef`` candidates, exact for None."""
        kind = TYPES[self.precision or 'half']
        order = 'feature::vector <-> %s::vector) + 0' if ef is None else f'feature <-> %s::{kind})'
        query = self._schema.statement(
            'SELECT feature::vector <-> %s::vector FROM (SELECT feature FROM {items} '
            f'ORDER BY ({order} LIMIT %s) AS found ORDER BY 1'
        )
        settings: dict[str, object] = {}
        if ef is not None:
            settings = self._index_settings(ef, GalleryFilter())
        found = np.full((len(queries), k), np.inf)
        for place, row in enumerate(map(self._vectors.Vector, queries)):
            near = self._postgres.read(query, (row, row, k), **settings)
            found[place, : len(near)] = [distance for (distance,) in near]
        return found

    # ---- all items

    def blocks(self) -> Iterator[tuple[Items, Tensor]]:
        """All items with their features, in the order of their arrival.

        Each block is what the table held at one moment; others may change it between two.
        """
        for rows in self._all(f'{COLUMNS}, feature'):
            yield self._as_items(rows), _as_tensor([row[7] for row in rows])

    def feature_blocks(self) -> Iterator[Tensor]:
        """All features, (rows, D) at a time, in the order of their arrival."""
        for rows in self._all('feature'):
            yield _as_tensor([row[0] for row in rows])

    def item_blocks(self) -> Iterator[Items]:
        """All items, in the order of their arrival."""
        yield from map(self._as_items, self._all(COLUMNS))

    def _all(self, columns: str) -> Iterator[list[Any]]:
        query = self._schema.statement(
            f'SELECT {columns}, key FROM {{items}} WHERE key > %s ORDER BY key LIMIT %s'
        )
        last, is_more = 0, self._state is not None
        while is_more:
            rows = self._postgres.read(query, (last, BLOCK_ROWS))
            if rows:
                yield rows
                last = rows[-1][-1]
            is_more = len(rows) == BLOCK_ROWS

    def features_of(self, ids: Sequence[str]) -> Tensor:
        """Features of some items."""
        query = self._schema.statement(
            'SELECT item_id, feature FROM {items} WHERE item_id = ANY(%s::text[])'
        )
        found = dict(self._postgres.read(query, (list(ids),)))
        return _as_tensor([found[item_id] for item_id in ids])


def _as_tensor(vectors: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.stack([vector.to_numpy() for vector in vectors]).astype(np.float32))
