"""Galleries of ready features: what is found, kept and refused, with every engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import change_manifest
from torch.nn import functional as F

from fusionreid.apis import FeatureSpec
from fusionreid.errors import ConfigError, GalleryError, InferenceError
from fusionreid.gallery import Gallery, GalleryFilter
from fusionreid.gallery.engines import FaissIVFPQEngine, build_engine
from fusionreid.gallery.engines.exact import ExactEngine
from fusionreid.utils.manifest import seal

WIDTH = 16
ODD_IDS = ['with "quotes"', 'back\\slash', 'line\nbreak', 'comma,', "apostrophe's", 'é ü 人', ' ']
# Names that files may have, and a server may not.
ODD_FILES = [*ODD_IDS, 'a\rb', '\r', 'c\r\nd', '\udce9.jpg', '\u2028', '"', '-1', '=1+1']
IVFPQ = dict(type='faiss_ivfpq', exact_below=256, lists=32, probes=8, code_bytes=8)


def engine_config(name: str, folder: Path) -> dict:
    if name == 'milvus':
        pytest.importorskip('pymilvus')
        pytest.importorskip('milvus_lite')
        return dict(type='milvus', uri=str(folder / 'milvus.db'))
    return IVFPQ if name == 'faiss_ivfpq' else dict(type=name)


def clustered(count: int, seed: int = 0, width: int = WIDTH) -> torch.Tensor:
    """Some twenty of each kind."""
    random = torch.Generator().manual_seed(seed)
    centers = torch.randn(max(1, count // 20), width, generator=torch.Generator().manual_seed(99))
    kinds = torch.randint(len(centers), (count,), generator=random)
    return centers[kinds] + 0.5 * torch.randn(count, width, generator=random)


def fill(gallery: Gallery, count: int = 300) -> dict:
    data = dict(
        features=clustered(count),
        ids=ODD_IDS + [f'item {number}' for number in range(len(ODD_IDS), count)],
        person_ids=[number % 7 - 1 for number in range(count)],
        camera_ids=[number % 4 - 1 for number in range(count)],
        paths=[f'folder {number}/ü.jpg' for number in range(count)],
    )
    assert gallery.add(**data).added == count
    return data


def naive(queries: torch.Tensor, data: dict, k: int, allowed: list[int]) -> list[list[str]]:
    """The k nearest by a full sort of float64 distances, ties in the order of arrival."""
    features = F.normalize(data['features'].double())[allowed]
    distances = torch.cdist(
        F.normalize(queries.double()), features, compute_mode='donot_use_mm_for_euclid_dist'
    )
    order = distances.round(decimals=6).argsort(dim=1, stable=True)[:, :k]
    return [[data['ids'][allowed[place]] for place in row] for row in order.tolist()]


FILTERS = ('cameras', 'exclude_cameras', 'person_ids', 'exclude_person_ids', 'ids', 'exclude_ids')


def draw_filter(name: str, random: np.random.Generator, count: int) -> list:
    """Values that usually leave some items, and sometimes none."""
    if name.endswith('ids') and 'person' not in name:
        return [str(number) for number in random.permutation(count + 3)[: count // 2 + 1]]
    return (random.permutation(5)[: 2 if 'exclude' in name else 4] - 1).tolist()


@settings(deadline=None, max_examples=80)
@given(
    engine=st.sampled_from(['exact', 'faiss_flat', 'faiss_ivfpq']),
    count=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    names=st.lists(st.sampled_from(FILTERS), max_size=3, unique=True),
    data=st.data(),
)
def test_finds_what_a_naive_search_finds(engine, count, seed, names, data):
    random = np.random.default_rng(seed)
    filters = {name: draw_filter(name, random, count) for name in names}
    k = data.draw(st.integers(1, count))
    # Small integers, so that there are equal features and ties; exact whatever the engine.
    features = torch.from_numpy(random.integers(-2, 3, (count, 4))).float()
    features[:, 0] += 5
    people, cameras = random.integers(-1, 4, (2, count)).tolist()
    ids = [str(number) for number in range(count)]
    gallery = Gallery(engine=engine)
    gallery.add(features=features, ids=ids, person_ids=people, camera_ids=cameras)
    queries = torch.from_numpy(random.normal(size=(3, 4))).float()
    found = gallery.search(queries, k, **filters)
    checks = [
        ('cameras', cameras, True),
        ('exclude_cameras', cameras, False),
        ('person_ids', people, True),
        ('exclude_person_ids', people, False),
        ('ids', ids, True),
        ('exclude_ids', ids, False),
    ]
    allowed = [
        row
        for row in range(count)
        if all(
            (column[row] in filters[name]) == wanted
            for name, column, wanted in checks
            if name in filters
        )
    ]
    left = min(k, len(allowed))
    assert found.counts.tolist() == [left] * 3
    assert found.ids.shape == (3, k)
    assert (found.ids[:, left:] == '').all()
    assert np.isinf(found.distances[:, left:]).all()
    assert (found.person_ids[:, left:] == -1).all()
    assert (found.camera_ids[:, left:] == -1).all()
    exact = torch.cdist(F.normalize(queries.double()), F.normalize(features.double()))
    for row in range(3):
        best = exact[row, allowed].sort().values[:left]
        np.testing.assert_allclose(found.distances[row, :left], best, atol=2e-6)
        names = found.ids[row, :left].tolist()
        assert len(set(names)) == left
        for name, distance in zip(names, found.distances[row, :left], strict=True):
            assert int(name) in allowed
            assert exact[row, int(name)] == pytest.approx(distance, abs=2e-6)
        assert found.camera_ids[row, :left].tolist() == [cameras[int(name)] for name in names]
        assert found.person_ids[row, :left].tolist() == [people[int(name)] for name in names]


@pytest.mark.parametrize('engine', ['exact', 'faiss_flat', 'faiss_ivfpq'])
@pytest.mark.parametrize('share', [0.05, 0.5, 0.95])
def test_filters_that_leave_few_or_many(engine, share):
    gallery = Gallery(engine=engine)
    data = fill(gallery)
    allowed = sorted(np.random.default_rng(0).permutation(300)[: int(300 * share)].tolist())
    queries = clustered(30, seed=9)
    found = gallery.search(queries, 12, ids=[data['ids'][row] for row in allowed])
    assert found.ids.tolist() == naive(queries, data, 12, allowed)
    gone = [data['ids'][row] for row in range(300) if row not in allowed]
    again = gallery.search(queries, 12, exclude_ids=gone, exclude_cameras=np.array([9]))
    assert again.ids.tolist() == found.ids.tolist()


ENGINES = ('exact', 'faiss_flat', 'faiss_ivfpq', 'milvus')


@pytest.mark.parametrize('name', ENGINES)
def test_a_filter_for_each_query_finds_what_single_searches_find(name, tmp_path, monkeypatch):
    gallery = Gallery(engine=engine_config(name, tmp_path))
    data = fill(gallery)
    queries = clustered(12, seed=5)
    kinds = [
        {},
        dict(exclude_cameras=[0]),
        dict(cameras=[1, 2], exclude_person_ids=[3]),
        dict(ids=[*data['ids'][:30], 'nobody']),
        dict(exclude_ids=data['ids'][1:]),
        dict(cameras=[]),
    ]
    chosen = [kinds[number % 6] for number in range(12)]
    calls = []
    search = gallery.engine.search

    def counted(queries: torch.Tensor, k: int, wanted: GalleryFilter) -> object:
        calls.append(len(queries))
        return search(queries, k, wanted)

    monkeypatch.setattr(gallery.engine, 'search', counted)
    found = gallery.search(queries, 9, filters=[GalleryFilter(**kind) for kind in chosen])
    assert calls == [2] * 6
    counts = set()
    for row, kind in enumerate(chosen):
        single = gallery.search(queries[row], 9, **kind)
        counts |= set(single.counts.tolist())
        for column in ('ids', 'paths', 'person_ids', 'camera_ids', 'counts'):
            np.testing.assert_array_equal(getattr(found, column)[row], getattr(single, column)[0])
        np.testing.assert_allclose(found.distances[row], single.distances[0], atol=1e-6)
    assert counts == {0, 1, 9}
    # Together with a filter for all.
    shared = dict(cameras=[0, 1, 9], exclude_ids=data['ids'][5:25])
    found = gallery.search(queries, 9, filters=[GalleryFilter(**kind) for kind in chosen], **shared)
    for row, kind in enumerate(chosen):
        both = GalleryFilter(**kind) & GalleryFilter(**shared)
        single = gallery.search(queries[row], 9, filters=[both])
        assert found.ids[row].tolist() == single.ids[0].tolist()
        assert set(found.camera_ids[row]) <= {0, 1, -1}
        assert not set(found.ids[row]) & set(data['ids'][5:25])


@given(
    st.lists(st.sampled_from(FILTERS), unique=True), st.lists(st.sampled_from(FILTERS), unique=True)
)
def test_filters_together_pass_what_both_pass(first, second):
    random = np.random.default_rng(len(first) + 7 * len(second))
    gallery = Gallery()
    data = fill(gallery, 40)
    one, two = (
        GalleryFilter(
            **{
                name: random.permutation(data['ids'])[:30].tolist()
                if name in ('ids', 'exclude_ids')
                else draw_filter(name, random, 40)
                for name in names
            }
        )
        for names in (first, second)
    )
    masks = [gallery.engine.table.mask(wanted) for wanted in (one, two, one & two)]
    parts = [np.ones(40, bool) if mask is None else mask for mask in masks]
    np.testing.assert_array_equal(parts[2], parts[0] & parts[1])
    assert one & two == two & one
    assert (one & one) == one
    assert (one & GalleryFilter()) == one


def test_filters_that_become_equal_together_are_searched_together(monkeypatch):
    gallery = Gallery()
    fill(gallery, 60)
    calls = []
    search = gallery.engine.search

    def counted(queries: torch.Tensor, k: int, wanted: GalleryFilter) -> object:
        calls.append((len(queries), wanted.cameras))
        return search(queries, k, wanted)

    monkeypatch.setattr(gallery.engine, 'search', counted)
    queries = clustered(5, seed=2)
    own = [GalleryFilter(cameras=[1, camera]) for camera in (0, 2, -1, 0, 2)]
    found = gallery.search(queries, 4, filters=own, exclude_cameras=[0, 2, -1], cameras=[1, 2])
    assert calls == [(3, (1,)), (2, (1, 2))]
    calls.clear()
    same = gallery.search(queries, 4, filters=own, cameras=[1])
    assert calls == [(5, (1,))]
    assert (
        same.ids.tolist()
        == found.ids.tolist()
        == gallery.search(queries, 4, cameras=1).ids.tolist()
    )


def test_filters_that_mean_the_same_are_equal():
    assert GalleryFilter(cameras=[2, 1, 2]) == GalleryFilter(cameras=np.array([1, 2]))
    assert GalleryFilter(cameras=[-1]) == GalleryFilter(cameras=-5)
    assert GalleryFilter(exclude_cameras=[]) == GalleryFilter()
    assert GalleryFilter(cameras=[]) != GalleryFilter()
    assert GalleryFilter(ids=[7]) == GalleryFilter(ids='7')
    assert bool(GalleryFilter(cameras=[]))
    assert not GalleryFilter(exclude_ids=[])


@pytest.mark.parametrize(
    ('filters', 'message'),
    [
        ([GalleryFilter()], 'got 1 filters for 2 queries'),
        ([], 'got 0 filters for 2 queries'),
        (GalleryFilter(), 'must be a sequence of GalleryFilter, one for each query'),
        ([GalleryFilter(), dict(cameras=[1])], 'must be a sequence of GalleryFilter'),
        (7, 'must be a sequence of GalleryFilter'),
    ],
)
def test_filters_that_do_not_fit_the_queries_are_named(filters, message):
    gallery = Gallery()
    fill(gallery)
    with pytest.raises(GalleryError, match=message):
        gallery.search(torch.randn(2, WIDTH), 3, filters=filters)


def test_equal_features_are_found_in_the_order_of_their_arrival():
    for engine in ('exact', 'faiss_flat'):
        gallery = Gallery(engine=engine)
        gallery.add(features=torch.ones(5, 3), ids=list('edcba'))
        assert gallery.search(torch.ones(3), 5).ids.tolist() == [list('edcba')]


@pytest.mark.parametrize('name', ENGINES)
def test_add_remove_save_and_load(name, tmp_path):
    gallery = Gallery(engine=engine_config(name, tmp_path))
    data = fill(gallery)
    queries = clustered(5, seed=1)
    before = gallery.search(queries, 10)
    assert before.paths[0, 0] == data['paths'][data['ids'].index(before.ids[0, 0])]
    gone = {*ODD_IDS[::2], *(f'item {number}' for number in range(50, 60)), before.ids[0, 0]}
    gallery.remove(gone)
    assert len(gallery) == 300 - len(gone)
    assert 'item 55' not in gallery
    assert 'item 20' in gallery
    left = [row for row, item_id in enumerate(data['ids']) if item_id not in gone]
    expected = naive(queries, data, 10, left)
    after = gallery.search(queries, 10)
    if name == 'faiss_ivfpq':
        right = sum(len({*a} & {*b}) for a, b in zip(after.ids, expected, strict=True))
        assert right >= 40
    else:
        assert after.ids.tolist() == expected
    with pytest.raises(GalleryError, match='no item'):
        gallery.remove(['item 20', 'item 55'])
    assert 'item 20' in gallery

    gallery.save(tmp_path / 'index')
    again = Gallery.load(tmp_path / 'index')
    assert len(again) == len(gallery)
    found = again.search(queries, 10)
    for column in ('ids', 'paths', 'person_ids', 'camera_ids', 'distances', 'counts'):
        np.testing.assert_array_equal(getattr(found, column), getattr(after, column))

    # What comes back is found again, and a gallery that was loaded can grow.
    back = sorted(gone)
    rows = [data['ids'].index(item_id) for item_id in back]
    again.add(features=data['features'][rows], ids=back)
    assert len(again) == 300
    if name != 'faiss_ivfpq':
        np.testing.assert_allclose(again.search(queries, 10).distances, before.distances, atol=1e-6)
    again.save(tmp_path / 'index')
    assert len(Gallery.load(tmp_path / 'index')) == 300
    assert len(list((tmp_path / 'index').glob('generation-*'))) == 1


def test_milvus_finds_what_the_exact_engine_finds(tmp_path):
    exact = Gallery()
    milvus = Gallery(engine=engine_config('milvus', tmp_path))
    data = fill(exact, 700)
    fill(milvus, 700)
    queries = clustered(120, seed=3)
    for filters in (
        {},
        dict(exclude_cameras=[0, -1]),
        dict(cameras=2, person_ids=[1, 2, 3], exclude_ids=data['ids'][:50]),
        dict(ids=[*ODD_IDS, 'nobody']),
        dict(cameras=[77]),
    ):
        ours, theirs = (gallery.search(queries, 9, **filters) for gallery in (exact, milvus))
        assert theirs.ids.tolist() == ours.ids.tolist(), filters
        assert theirs.camera_ids.tolist() == ours.camera_ids.tolist()
        assert theirs.counts.tolist() == ours.counts.tolist()
        np.testing.assert_allclose(theirs.distances, ours.distances, atol=1e-5)
    assert milvus.measure_recall(5, sample=50) == 1


def test_milvus_refuses_what_does_not_fit(tmp_path, monkeypatch):
    config = engine_config('milvus', tmp_path)
    gallery = Gallery(engine=config)
    fill(gallery)
    with pytest.raises(GalleryError, match='width 5, the gallery has features of width 16'):
        Gallery(engine=config).add(features=torch.randn(2, 5), ids=['a', 'b'])
    with pytest.raises(GalleryError, match="'fusionreid' at .* width 16, not 5"):
        gallery.engine.open(5, 'other')
    # A server tells the description that a collection was made with, the embedded Milvus does not.
    other = FeatureSpec(width=WIDTH, feature='all', checkpoint='b.pth', sha256='b' * 64)
    moved = FeatureSpec(width=WIDTH, feature='all', checkpoint='moved.pth', sha256='b' * 64)
    assert moved.fingerprint == other.fingerprint
    assert moved.label != other.label
    client, describe = gallery.engine._client, gallery.engine._client.describe_collection
    monkeypatch.setattr(
        client,
        'describe_collection',
        lambda name: {**describe(name), 'description': other.fingerprint},
    )
    with pytest.raises(
        GalleryError, match='holds other features: all, width 16, .* sha256 b{12}, not'
    ):
        gallery.engine.open(WIDTH, gallery.spec.label)
    with pytest.raises(GalleryError, match='longer than 4096'):
        gallery.add(features=torch.randn(1, WIDTH), ids=['x' * 5000])
    with pytest.raises(GalleryError, match='no connection to Milvus') as error:
        build_engine(dict(type='milvus', uri='http://127.0.0.1:9'))
    assert '\n' not in str(error.value)


def test_what_milvus_holds_is_there_at_once_and_not_added_again(tmp_path):
    config = engine_config('milvus', tmp_path)
    early = Gallery(engine=config)
    gallery = Gallery(engine=config)
    data = fill(gallery, 20)
    again = Gallery(engine=config)
    assert len(again) == 20
    assert 'item 9' in again
    assert again.search(data['features'][9], 1).ids.tolist() == [['item 9']]
    for late in (again, early):  # ``early`` was made before there was a collection
        with pytest.raises(GalleryError, match='is in the gallery already'):
            late.add(features=data['features'], ids=data['ids'])
        assert len(late) == len(gallery) == 20


@pytest.mark.slow
def test_ivfpq_recall_filters_and_growth():
    settings = dict(type='faiss_ivfpq', exact_below=500, probes=16, code_bytes=8)
    gallery, exact = Gallery(engine=settings), Gallery()
    for start in range(0, 4000, 1000):
        part = clustered(1000, seed=start + 5)
        ids, cameras = range(start, start + 1000), [start % 3] * 1000
        for target in (gallery, exact):
            target.add(features=part, ids=ids, camera_ids=cameras)
        gallery.search(part[:1], 1)
    assert gallery.engine._trained_on == 4000  # anew, when four times as many had come
    assert gallery.measure_recall(10, sample=200) > 0.9
    queries = clustered(50, seed=77)
    for filters in ({}, dict(exclude_cameras=[0]), dict(ids=range(900, 2500))):
        ours = gallery.search(queries, 10, **filters)
        best = exact.search(queries, 10, **filters)
        right = ours.distances <= best.distances[:, -1:] + 1e-6
        assert right.mean() > 0.9, filters
        assert (ours.counts == 10).all()
        names = set(best.ids.flatten()) | set(ours.ids.flatten())
        if 'exclude_cameras' in filters:
            assert not names & set(map(str, range(1000)))
    # Few probes and a filter that leaves little: an exact search fills up what is missing.
    narrow = FaissIVFPQEngine(lists=64, probes=1, code_bytes=8, exact_below=256)
    few = Gallery()
    few.engine = narrow
    few.add(features=clustered(1000, seed=6), ids=range(1000))
    found = few.search(queries, 40, ids=range(0, 1000, 3))
    assert (found.counts == 40).all()
    assert np.isfinite(found.distances).all()


def test_measured_recall_is_that_of_the_answers(monkeypatch):
    gallery = Gallery()
    fill(gallery)
    assert gallery.measure_recall(10) == 1
    honest = ExactEngine._nearest

    def every_second(self, queries, k, mask):
        rows, distances = honest(self, queries, 2 * k, mask)
        return rows[:, ::2], distances[:, ::2]

    monkeypatch.setattr(ExactEngine, '_nearest', every_second)
    assert gallery.measure_recall(10) == pytest.approx(0.5)


def test_many_features_at_once_are_those_added_one_by_one(monkeypatch):
    monkeypatch.setattr('fusionreid.gallery.gallery.ADDED_ROWS', 7)
    parts, whole = Gallery(), Gallery()
    data = fill(parts)
    monkeypatch.undo()
    fill(whole)
    assert torch.equal(parts.engine.features, whole.engine.features)
    torch.testing.assert_close(whole.engine.features, F.normalize(data['features']))
    found = parts.search(data['features'].half().numpy(), 1)
    assert found.ids[:, 0].tolist() == data['ids']


def test_flat_recall_is_one():
    gallery = Gallery(engine='faiss_flat')
    gallery.add(features=clustered(2000, width=64), ids=range(2000))
    assert gallery.measure_recall(10, sample=100) == 1


def test_an_index_holds_no_pickle_and_may_be_moved(tmp_path):
    gallery = Gallery()
    fill(gallery)
    gallery.save(tmp_path / 'index')
    (tmp_path / 'index').rename(tmp_path / 'moved')
    files = {path.suffix for path in (tmp_path / 'moved').rglob('*') if path.is_file()}
    assert files == {'.json', '.csv', '.safetensors', ''}
    again = Gallery.load(tmp_path / 'moved')
    assert set(ODD_IDS) <= set(again.search(clustered(1), 300).ids.flatten())


@pytest.mark.parametrize('name', ['exact', 'faiss_flat', 'faiss_ivfpq'])
def test_odd_names_come_back_from_an_index(name, tmp_path):
    gallery = Gallery(engine=name)
    features = torch.randn(len(ODD_FILES), WIDTH)
    gallery.add(features=features, ids=ODD_FILES, paths=ODD_FILES[::-1])
    gallery.save(tmp_path / 'index')
    found = Gallery.load(tmp_path / 'index').search(features, 1)
    assert found.ids[:, 0].tolist() == ODD_FILES
    assert found.paths[:, 0].tolist() == ODD_FILES[::-1]


@pytest.mark.parametrize('name', ['\ud800', '\udcc3\udca9', 'a\0b', 'x' * 200_000])
def test_names_that_would_not_come_back_are_refused(name):
    for columns in (dict(ids=[name]), dict(ids=['a'], paths=[name])):
        with pytest.raises(GalleryError, match='cannot be saved') as error:
            Gallery().add(features=torch.randn(1, 4), **columns)
        assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    'rows',
    [
        torch.tensor([[1e30, 1e30], [1e-30, 0]]),
        torch.tensor([[1e-13, -1e-13], [3.4e38, 3.4e38]]),
        torch.tensor([[1e100, 0], [1e-200, 1e-200]], dtype=torch.float64),
        torch.tensor([[1e300, 1e300], [5e-324, 0]], dtype=torch.float64),
        torch.tensor([[6e4, 6e4], [6e-8, 0]], dtype=torch.float16),
    ],
)
def test_large_and_small_features_have_length_one(rows):
    gallery = Gallery()
    gallery.add(features=rows, ids=['a', 'b'])
    lengths = gallery.engine.features.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2))
    assert gallery.search(rows, 1).ids.tolist() == [['a'], ['b']]
    signs = gallery.engine.features.sign()
    assert torch.equal(signs, rows.sign().float())


def test_every_negative_number_is_unknown():
    gallery = Gallery()
    gallery.add(
        features=torch.eye(3), ids=list('abc'), camera_ids=[-7, 0, -1], person_ids=[-3, -1, 5]
    )
    found = gallery.search(torch.ones(3), 3)
    assert found.camera_ids.tolist() == [[-1, 0, -1]]
    assert found.person_ids.tolist() == [[-1, -1, 5]]
    assert gallery.search(torch.ones(3), 3, cameras=[-1]).counts.tolist() == [2]
    assert gallery.search(torch.ones(3), 3, exclude_cameras=-9).counts.tolist() == [1]
    one = torch.tensor(-1)  # a number without dimensions
    assert gallery.search(torch.ones(3), 3, cameras=one).counts.tolist() == [2]
    assert gallery.search(torch.ones(3), 3, cameras=one.numpy()).counts.tolist() == [2]
    assert gallery.search(torch.ones(3), 3, person_ids=torch.tensor([-2])).counts.tolist() == [2]


def test_an_index_of_others_is_not_replaced(tmp_path):
    index = tmp_path / 'index'
    gallery = Gallery()
    data = fill(gallery)
    gallery.save(index)
    first, second = Gallery.load(index), Gallery.load(index)
    first.add(features=data['features'][:1], ids=['first'])
    second.add(features=data['features'][:1], ids=['second'])
    for _ in range(2):
        first.save(index)  # it has all that it saved itself
    stranger = Gallery()
    fill(stranger, 20)
    for late in (second, stranger, gallery):
        with pytest.raises(GalleryError, match='saved again meanwhile: .*run again') as error:
            late.save(index)
        assert '\n' not in str(error.value)
    assert 'first' in Gallery.load(index)
    assert len(Gallery.load(index)) == 301
    again = Gallery.load(index)
    again.add(features=data['features'][:1], ids=['second'])
    again.save(index)
    assert {'first', 'second'} <= Gallery.load(index).known(['first', 'second'])
    stranger.save(index, overwrite=True)
    stranger.save(index)
    assert len(Gallery.load(index)) == 20


def test_what_is_no_image_is_named():
    gallery = Gallery()
    fill(gallery)
    with pytest.raises(InferenceError, match='image 0 is int of shape'):
        gallery.add(images=7)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(features=torch.randn(2, 5), ids=['a', 'b']), r'width 5, the gallery .* width 16'),
        (dict(features=torch.randn(2, WIDTH), ids=['a']), 'got 1 ids for 2 items'),
        (dict(features=torch.randn(2, WIDTH), ids='ab'), 'ids must be a sequence, got str'),
        (dict(features=torch.randn(2, WIDTH)), 'item 0 has neither an id nor a path'),
        (dict(features=torch.randn(2, WIDTH), ids=['a', 'a']), "'a' is given twice"),
        (dict(features=torch.randn(2, WIDTH), ids=['a', ' ']), "' ' is in the gallery already"),
        (
            dict(features=torch.randn(2, WIDTH), ids=['a', 'b'], camera_ids=[0]),
            'got 1 camera_ids for 2 items',
        ),
        (dict(features=torch.full((1, WIDTH), torch.nan), ids=['a']), 'row 0 .* NaN'),
        (dict(features=torch.zeros(1, WIDTH), ids=['a']), 'row 0 of the features is zero'),
        (dict(features=torch.ones(1, WIDTH).int(), ids=['a']), 'must be floats of shape'),
        (dict(), 'give either images or features'),
        (dict(images=['a.jpg']), 'the gallery has no model'),
        (dict(features=['a.jpg'], ids=['a']), 'features must be floats of shape'),
        *(
            (dict(features=torch.randn(1, WIDTH), ids=['a'], camera_ids=values), message)
            for values, message in [
                ([None], 'camera_ids must be whole, of 64 bits, got None'),
                (['3'], "camera_ids must be whole, of 64 bits, got '3'"),
                ([1.5], 'got 1.5'),
                (torch.tensor([1.5]), 'got 1.5'),
                ([2**63], 'of 64 bits'),
            ]
        ),
        (dict(features=torch.randn(1, WIDTH), ids=['a'], person_ids=[True]), 'person_ids .* True'),
        (dict(features=torch.randn(1, WIDTH), ids=['a'], paths=[7]), 'paths must be .* got 7'),
        (dict(features=torch.randn(1, WIDTH), ids=7), 'ids must be a sequence, got int'),
    ],
)
def test_bad_items_are_named_and_nothing_is_added(arguments, message):
    gallery = Gallery()
    fill(gallery)
    with pytest.raises(GalleryError, match=message) as error:
        gallery.add(**arguments)
    assert '\n' not in str(error.value)
    assert len(gallery) == 300


@pytest.mark.parametrize(
    ('queries', 'k', 'message'),
    [
        (torch.randn(1, WIDTH), 301, 'k=301 is outside 1..300, the size of the gallery'),
        (torch.randn(1, WIDTH), 0, 'k=0 is outside 1..300'),
        (torch.randn(1, 9), 3, 'queries have width 9, the gallery has features of width 16'),
        (torch.randn(0, WIDTH), 3, 'must be floats of shape'),
        (np.full((1, WIDTH), np.inf), 3, 'infinite'),
        ('photo.jpg', 3, 'the gallery has no model'),
        (torch.randn(1, WIDTH), 2.5, 'k must be whole, of 64 bits, got 2.5'),
        (torch.randn(1, WIDTH), True, 'k must be whole, of 64 bits, got True'),
        (torch.randn(1, WIDTH), '3', "k must be whole, of 64 bits, got '3'"),
    ],
)
def test_bad_queries_are_named(queries, k, message):
    gallery = Gallery()
    fill(gallery)
    with pytest.raises(GalleryError, match=message) as error:
        gallery.search(queries, k)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('filters', 'message'),
    [
        (dict(cameras=[None]), 'cameras must be whole, of 64 bits, got None'),
        (dict(cameras='front'), "no image .* has the camera 'front'; it has no names"),
        (dict(exclude_cameras=1.5), 'exclude_cameras must be whole, of 64 bits, got 1.5'),
        (dict(person_ids=['7']), "person_ids must be whole, of 64 bits, got '7'"),
    ],
)
def test_bad_filters_are_named(filters, message):
    gallery = Gallery()
    fill(gallery)
    with pytest.raises(GalleryError, match=message):
        gallery.search(torch.randn(1, WIDTH), 3, **filters)


def test_recall_of_nothing_is_refused():
    gallery = Gallery()
    fill(gallery)
    for arguments, message in (
        (dict(sample=0), 'sample must be at least 1, got 0'),
        (dict(sample=1.5), 'sample must be whole'),
        (dict(k=2.5), 'k must be whole'),
        (dict(k=300), 'k=300 is outside 1..299'),
    ):
        with pytest.raises(GalleryError, match=message):
            gallery.measure_recall(**arguments)


def test_an_empty_gallery_says_so(tmp_path):
    gallery = Gallery()
    assert len(gallery) == 0
    assert 'a' not in gallery
    with pytest.raises(GalleryError, match='the gallery is empty'):
        gallery.search(torch.randn(1, 4))
    with pytest.raises(GalleryError, match='the gallery is empty'):
        gallery.save(tmp_path / 'index')
    gallery.add(features=torch.randn(1, 4), ids=[7])
    gallery.remove(7)
    with pytest.raises(GalleryError, match='the gallery is empty'):
        gallery.search(torch.randn(1, 4))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (
            'faiss_hnsw',
            "engine 'faiss_hnsw' is unknown, choose one of compressed, exact, faiss_flat",
        ),
        (dict(type='exact', probes=3), "engine 'exact': got an unexpected keyword .*'probes'"),
        (dict(type='faiss_ivfpq', exact_below=9), 'exact_below .* at least 256, got 9'),
        (dict(type='faiss_ivfpq', probes=0), 'probes of faiss_ivfpq must be at least 1, got 0'),
        (dict(type='faiss_ivfpq', probes='abc'), "probes .* must be of type int, got 'abc'"),
        (dict(type='faiss_ivfpq', lists=2.5), r'lists .* must be of type int \| None, got 2.5'),
        (dict(type='faiss_ivfpq', refine=True), 'refine .* must be of type int, got True'),
        (dict(type='milvus', uri=5), 'uri of milvus must be of type str, got 5'),
        (dict(type='milvus', uri='a.db', index_params=[1]), 'index_params of milvus must be'),
        (dict(type=['exact']), 'engine .*exact.* is unknown'),
        (7, 'an engine is a name or a dict with a type, got 7'),
    ],
)
def test_bad_engines_are_named(config, message):
    with pytest.raises(GalleryError, match=message):
        Gallery(engine=config)


@pytest.mark.parametrize(
    ('device', 'message'),
    [('gpu', "device 'gpu' is unknown"), ('cuda:99', "'cuda:99' is not there")],
)
def test_bad_devices_are_named(device, message):
    with pytest.raises(ConfigError, match=message):
        Gallery(engine=dict(type='exact', device=device))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'faiss', None)
    with pytest.raises(GalleryError, match='pip install faiss-cpu'):
        Gallery(engine='faiss_flat')


def test_damaged_indexes_are_named(tmp_path):
    gallery = Gallery()
    fill(gallery)
    index = tmp_path / 'index'

    def check(message: str) -> None:
        with pytest.raises(GalleryError, match=message) as error:
            Gallery.load(index)
        assert '\n' not in str(error.value)

    check('is no index')
    gallery.save(index)
    (generation,) = index.glob('generation-*')
    items = generation / 'items.csv'
    text = items.read_text()
    items.write_text(text.replace('item 60', 'item 61'))
    check('items.csv is damaged, or was changed after it was saved: its checksum')
    items.write_text(text)
    features = generation / 'features.safetensors'
    features.write_bytes(features.read_bytes()[:1000])
    check('features.safetensors is damaged')
    features.unlink()
    check('features.safetensors is gone')
    manifest = index / 'gallery.json'
    gallery.save(index, overwrite=True)
    known = manifest.read_bytes()

    def change(**values: object) -> None:
        manifest.write_bytes(known)
        change_manifest(manifest, lambda content: content.update(values))

    change(generation='../../elsewhere')
    check('gallery.json is damaged, .*it names')
    change(format='something')
    check("has the format 'something'")
    change(format='fusionreid-gallery-1')
    check("has the format 'fusionreid-gallery-1', .*index the images again")
    manifest.write_bytes(seal({'format': json.loads(known)['format']}))
    check('gallery.json is damaged, .*it names None')
    for features in ({'size': 3}, {'width': '16'}, {'width': 0}, {'width': 16, 'feature': 7}, None):
        change(features=features)
        check('is damaged: its manifest')
    for broken in ('x', None, 7):
        change(engine=broken)
        check('is damaged: its manifest')
    for files in (None, [], {'../a': {'size': 1}}, {'items.csv': 3}, {'\0': {'size': 1}}):
        change(files=files)
        check('gallery.json is damaged: it (names no files|records)')
    manifest.write_bytes(known[:50])
    check('gallery.json is damaged')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'thesis.txt').touch()
    with pytest.raises(GalleryError, match='thesis.txt'):
        gallery.save(tmp_path / 'full')
