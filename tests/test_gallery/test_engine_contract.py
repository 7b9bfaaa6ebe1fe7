"""What every engine does alike, whatever it keeps its items in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fusionreid.apis import FeatureSpec
from fusionreid.errors import GalleryError
from fusionreid.gallery import Between, Gallery, Rescoring, read_where

WIDTH, COUNT = 16, 600
MILVUS = pytest.param('milvus', marks=pytest.mark.slow)
ENGINES = ('compressed', 'exact', 'faiss_flat', 'faiss_ivfpq', MILVUS, 'pgvector')
# Share of the ten nearest of an exact search that an engine must find at the least.
FLOORS = dict(compressed=1, exact=1, faiss_flat=1, faiss_ivfpq=0.9, milvus=1, pgvector=0.9)
ODD = [
    'with "quotes"',
    'back\\slash',
    'line\nbreak',
    "apost'rophe",
    'é ü 人 🙂',
    ' ',
    '%s {x} $1 ?',
]
MORNING = datetime(2024, 5, 1, 8, tzinfo=timezone.utc)


@dataclass
class Engine:
    """An engine to try, and where its galleries are saved."""

    name: str
    settings: dict[str, Any]
    place: str

    def build(self) -> Gallery:
        """A gallery, empty the first time."""
        return Gallery(engine=dict(type=self.name, **self.settings))

    def again(self, gallery: Gallery) -> Gallery:
        """Save a gallery and load it."""
        gallery.save(self.place)
        return Gallery.load(self.place)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    settings: dict[str, Any] = {}
    place = str(tmp_path / 'index')
    name = request.param
    if name == 'faiss_ivfpq':
        settings = dict(exact_below=256, lists=16, probes=8, code_bytes=8)
    if name == 'milvus':
        pytest.importorskip('pymilvus')
        uri = os.environ.get('FUSIONREID_TEST_MILVUS_URI')
        if uri is None:
            pytest.importorskip('milvus_lite')
        collection = f'contract_{abs(hash(request.node.name))}'
        settings = dict(uri=uri or str(tmp_path / 'milvus.db'), collection=collection)
    if name == 'pgvector':
        url, table = request.getfixturevalue('postgres'), request.getfixturevalue('table')
        settings = dict(url=url, table=table, exact_below=256)
        place = f'{url}#{table}'
    return Engine(name, settings, place)


def features(count: int = COUNT, seed: int = 0, width: int = WIDTH) -> torch.Tensor:
    """Some twenty of each kind."""
    centers = torch.randn(30, width, generator=torch.Generator().manual_seed(99))
    random = torch.Generator().manual_seed(seed)
    kinds = torch.randint(len(centers), (count,), generator=random)
    return centers[kinds] + 0.4 * torch.randn(count, width, generator=random)


def fill(gallery: Gallery) -> dict[str, Any]:
    data: dict[str, Any] = dict(
        features=features(),
        ids=ODD + [f'item {number}' for number in range(len(ODD), COUNT)],
        paths=[f'ordner {number}/ü.jpg' for number in range(COUNT)],
        person_ids=[('anna', 'bö', 7, -1)[number % 4] for number in range(COUNT)],
        camera_ids=[('Nordtür', 2, -1)[number % 3] for number in range(COUNT)],
        metadata=[
            dict(
                site='Köln "west"' if number % 2 else 'Ulm',
                floor=number % 5,
                time=MORNING + timedelta(minutes=number),
                sure=number % 7 == 0,
            )
            if number % 10
            else None
            for number in range(COUNT)
        ],
    )
    assert gallery.add(**data).added == COUNT
    return data


def nearest(
    data: dict[str, Any], queries: torch.Tensor, k: int, passes: Callable[[int], bool]
) -> list[list[str]]:
    """Ids by a full sort of float64 distances."""
    rows = [row for row in range(COUNT) if passes(row)]
    known = F.normalize(data['features'].double())[rows]
    distances = torch.cdist(
        F.normalize(queries.double()), known, compute_mode='donot_use_mm_for_euclid_dist'
    )
    order = distances.argsort(dim=1)[:, :k]
    return [[data['ids'][rows[place]] for place in row] for row in order.tolist()]


def agreement(found: np.ndarray, expected: list[list[str]]) -> float:
    """Share of the expected ids that were found."""
    pairs = zip(found.tolist(), expected, strict=True)
    return sum(len({*ours} & {*best}) for ours, best in pairs) / sum(map(len, expected))


def test_a_gallery_lives(engine):
    """Empty, filled, searched with every filter, saved, loaded, thinned out and filled again."""
    gallery = engine.build()
    assert len(gallery) == 0
    assert gallery.known(['a']) == set()
    assert list(gallery.item_blocks()) == []
    with pytest.raises(GalleryError, match='the gallery is empty'):
        gallery.search(torch.randn(WIDTH), 1)
    with pytest.raises(GalleryError, match='the gallery is empty'):
        gallery.save(engine.place)
    data = fill(gallery)
    for gallery in (gallery, engine.again(gallery)):  # noqa: B020, PLR1704
        check_filled(engine, gallery, data)

    gone = [*ODD[:3], *(f'item {number}' for number in range(50, 250))]
    with pytest.raises(GalleryError, match=r"no item 'nobody' .* nothing was removed"):
        gallery.remove([*gone, 'nobody'])
    assert len(gallery) == COUNT
    gallery.remove(gone)
    for gallery in (gallery, engine.again(gallery)):  # noqa: B020, PLR1704
        assert len(gallery) == COUNT - len(gone)
        assert gallery.known(data['ids']) == {*data['ids']} - {*gone}
        found = gallery.search(data['features'], 10)
        assert not {*found.ids.flatten()} & {*gone}
        assert (found.counts == 10).all()
    gallery.add(features=data['features'][:1], ids=ODD[:1])
    found = gallery.search(data['features'][0], 1)
    assert (found.ids[0, 0], found.paths[0, 0], found.metadata[0, 0]) == (ODD[0], '', {})
    assert found.person_ids[0, 0] == found.camera_ids[0, 0] == -1


def check_filled(engine: Engine, gallery: Gallery, data: dict[str, Any]) -> None:
    assert len(gallery) == COUNT
    assert gallery.known([*data['ids'], 'nobody']) == {*data['ids']}
    assert {*gallery.person_names.values()} == {'anna', 'bö'}
    assert {*gallery.camera_names.values()} == {'Nordtür'}
    queries = features(40, seed=5)
    floor = FLOORS[engine.name]
    everything: list[tuple[dict[str, Any], Callable[[int], bool]]] = [
        ({}, lambda row: True),
        (dict(cameras=['Nordtür']), lambda row: row % 3 == 0),
        (dict(exclude_cameras=['Nordtür', -1]), lambda row: row % 3 == 1),
        (dict(person_ids=['anna', 7]), lambda row: row % 4 in (0, 2)),
        (dict(exclude_person_ids=['bö']), lambda row: row % 4 != 1),
        (dict(ids=[*ODD, 'nobody', 'item 44']), lambda row: row < len(ODD) or row == 44),
        (dict(exclude_ids=ODD), lambda row: row >= len(ODD)),
        (dict(metadata={'site': 'Köln "west"'}), lambda row: row % 2 == 1 and row % 10),
        (
            dict(metadata={'floor': [1, 3.0], 'sure': False}, cameras=[2]),
            lambda row: row % 10 and row % 5 in (1, 3) and row % 7 and row % 3 == 1,
        ),
        (
            dict(metadata={'time': Between(MORNING + timedelta(minutes=100), None)}),
            lambda row: row % 10 and row >= 100,
        ),
        (
            dict(metadata={'floor': Between(2, 3), 'site': Between('U', 'V')}),
            lambda row: row % 2 == 0 and row % 10 and row % 5 in (2, 3),
        ),
        (
            dict(metadata=read_where(['floor>=2', 'floor<=3', 'site=Köln "west"', 'site=x'])),
            lambda row: row % 2 == 1 and row % 10 and row % 5 in (2, 3),
        ),
        (dict(metadata={'site': 5}), lambda row: False),
        (dict(metadata={'no such': Between(None, 'x')}), lambda row: False),
        (dict(cameras=[]), lambda row: False),
    ]
    for filters, passes in everything:
        found = gallery.search(queries, 10, **filters)
        expected = nearest(data, queries, 10, passes)
        assert found.counts.tolist() == [len(row) for row in expected], filters
        if len(expected[0]):
            assert agreement(found.ids, expected) >= floor - 0.005, filters
        for row, count in enumerate(found.counts):
            assert (np.diff(found.distances[row, :count]) >= 0).all()
            assert (found.ids[row, count:] == '').all()
            assert len({*found.ids[row, :count]}) == count
    found = gallery.search(data['features'][:60], 1)
    for row, name in enumerate(found.ids[:, 0]):
        place = data['ids'].index(name)
        given = data['metadata'][place] or {}
        moment = {'time': given['time'].isoformat(timespec='microseconds')} if given else {}
        assert found.paths[row, 0] == data['paths'][place]
        assert found.metadata[row, 0] == {**given, **moment}
        person, camera = data['person_ids'][place], data['camera_ids'][place]
        assert person in (found.person_names[row, 0], found.person_ids[row, 0])
        assert camera in (found.camera_names[row, 0], found.camera_ids[row, 0])
    assert (found.ids[:, 0] == data['ids'][:60]).mean() >= floor - 0.1
    assert gallery.search(queries, COUNT).counts.tolist() == [COUNT] * 40
    with pytest.raises(GalleryError, match=f'k={COUNT + 1} is outside 1..{COUNT}'):
        gallery.search(queries, COUNT + 1)
    with pytest.raises(GalleryError, match="no image of the index has the camera 'attic'"):
        gallery.search(queries, 1, cameras=['attic'])
    assert gallery.measure_recall(10, sample=100) >= floor - 0.02
    # In one order: items, labels and features.
    blocks = [*gallery.engine.blocks()]
    listed = [item_id for items, _ in blocks for item_id in items.ids]
    assert sorted(listed) == sorted(data['ids'])
    assert listed == [item_id for items in gallery.item_blocks() for item_id in items.ids]
    people, cameras = gallery.engine.labels()
    assert people.tolist() == [person for items, _ in blocks for person in items.person_ids]
    assert cameras.tolist() == [camera for items, _ in blocks for camera in items.camera_ids]
    rows = [data['ids'].index(item_id) for item_id in listed]
    kept = torch.cat([rows for _, rows in blocks])
    torch.testing.assert_close(kept, F.normalize(data['features'])[rows], atol=1e-3, rtol=0)
    torch.testing.assert_close(kept, torch.cat([*gallery.engine.feature_blocks()]))
    some = ['item 300', ODD[4], 'item 20']
    ours = gallery.engine.features_of(some)
    torch.testing.assert_close(ours, kept[[listed.index(item_id) for item_id in some]])
    assert torch.equal(gallery.engine.as_stored(kept), kept)


def test_ties_stand_in_the_order_of_their_arrival(engine):
    gallery = engine.build()
    gallery.add(features=torch.ones(5, WIDTH), ids=list('edcba'))
    gallery.add(features=-torch.ones(1, WIDTH), ids=['far'])
    for gallery in (gallery, engine.again(gallery)):  # noqa: B020, PLR1704
        found = gallery.search(torch.ones(WIDTH), 6)
        assert found.ids.tolist() == [[*'edcba', 'far']]
        assert found.distances[0, 5] == pytest.approx(2, abs=1e-3)
        assert found.distances[0, :5].max() < 2e-3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(ids=['a', 'b']), "the id 'b' is in the gallery already"),
        (dict(ids=['a', 'a']), "the id 'a' is given twice"),
        (dict(ids=['a']), 'got 1 ids for 2 items'),
        (dict(ids=['a', 'c'], features=torch.full((2, WIDTH), torch.nan)), 'NaN'),
        (dict(ids=['a', 'c'], features=torch.zeros(2, WIDTH)), 'zero'),
        (dict(ids=['a', 'c'], features=torch.ones(2, 5)), 'width 5'),
        (dict(ids=['a', 'c'], metadata=[{}]), 'got 1 metadata for 2 items'),
        (dict(ids=['a', 'c'], metadata=[{'x': [1]}, {}]), "column 'x' must hold a text"),
        (dict(ids=['a', 'c'], metadata=[{'x': float('inf')}, {}]), 'a finite number'),
        (dict(ids=['a', 'c'], metadata=[{'x': '\udc00'}, {}]), 'must be Unicode'),
        (dict(ids=['a', 'c'], metadata=[{'x': datetime(2024, 1, 1)}, {}]), 'say its time zone'),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_added(arguments, message):
    gallery = Gallery()
    gallery.add(features=torch.eye(2, WIDTH), ids=['b', 'd'])
    with pytest.raises(GalleryError, match=message):
        gallery.add(**{'features': torch.eye(2, WIDTH), **arguments})
    assert len(gallery) == 2


def test_items_are_refused_once_and_replaced_where_that_is_said(engine):
    gallery = engine.build()
    gallery.add(features=torch.eye(3, WIDTH), ids=['a', 'b', 'c'], camera_ids=['door', 'door', 1])
    with pytest.raises(GalleryError, match="the id 'b' is in the gallery already"):
        gallery.add(features=torch.eye(2, WIDTH), ids=['d', 'b'])
    with pytest.raises(GalleryError, match='NaN'):
        gallery.add(features=torch.full((1, WIDTH), torch.nan), ids=['d'])
    assert gallery.known('abcd') == {*'abc'}
    gallery.add(
        features=torch.eye(5, WIDTH)[3:],
        ids=['b', 'd'],
        camera_ids=['yard', 'yard'],
        metadata=[{'site': 'Ulm'}, None],
        replace=True,
    )
    for gallery in (gallery, engine.again(gallery)):  # noqa: B020, PLR1704
        assert len(gallery) == 4
        found = gallery.search(torch.eye(5, WIDTH), 1)
        assert found.ids[[0, 2, 3, 4], 0].tolist() == ['a', 'c', 'b', 'd']
        assert found.distances[1, 0] > 1
        assert found.metadata[3, 0] == {'site': 'Ulm'}
        assert gallery.search(torch.eye(5, WIDTH), 4, cameras=['yard']).counts.tolist() == [2] * 5


def test_distances_are_calibrated_and_ordered_again(engine):
    gallery = engine.build()
    people = [number // 4 for number in range(120)]
    means = torch.randn(30, WIDTH, generator=torch.Generator().manual_seed(1))[people]
    noise = torch.randn(120, WIDTH, generator=torch.Generator().manual_seed(2))
    rows, cameras = means + 0.3 * noise, [number % 4 for number in range(120)]
    gallery.add(features=rows, ids=range(120), person_ids=people, camera_ids=cameras)
    exact = Gallery()
    exact.merge(gallery)
    ours, best = gallery.calibrate(), exact.calibrate()
    assert ours.distance_at(0.1) == pytest.approx(best.distance_at(0.1), abs=1e-6)
    again = engine.again(gallery)
    assert again.calibration.distance_at(0.1) == pytest.approx(best.distance_at(0.1), abs=1e-6)
    options = dict(rescoring=Rescoring(center_cameras=True, candidates=120), query_camera_ids=[1])
    found = [each.search(rows[5], 8, **options) for each in (again, exact)]
    assert found[0].ids.tolist() == found[1].ids.tolist()
    np.testing.assert_allclose(found[0].distances, found[1].distances, atol=1e-5)


def test_features_of_another_model_are_refused(engine):
    gallery = engine.build()
    own = FeatureSpec(width=WIDTH, feature='all', checkpoint='a.pth', sha256='a' * 64)
    gallery._open(own)
    gallery.engine.add(*next(iter(filled_blocks())))
    gallery.save(engine.place)
    assert Gallery.load(engine.place).spec == own
    other = FeatureSpec(width=WIDTH, feature='all', checkpoint='b.pth', sha256='b' * 64)
    model = type('Model', (), dict(spec=other))()
    with pytest.raises(GalleryError, match='of another model or protocol: .*a{12}.*b{12}'):
        Gallery.load(engine.place, model)
    with pytest.raises(GalleryError, match='have width 5, the gallery has features of width 16'):
        Gallery.load(engine.place).search(torch.randn(5), 1)


def filled_blocks() -> Iterator[Any]:
    gallery = Gallery()
    gallery.add(features=torch.eye(2, WIDTH), ids=['a', 'b'])
    return gallery.engine.blocks()
