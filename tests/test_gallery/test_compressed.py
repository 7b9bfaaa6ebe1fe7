"""A gallery whose features are kept as codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.engines.compressed import CODES, PRECISE

COUNT, WIDTH = 400, 48
KEPT = [(codes, rescore) for codes in CODES for rescore in PRECISE]


def features(count: int = COUNT, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)))


def fill(engine: str | dict, count: int = COUNT) -> Gallery:
    gallery = Gallery(engine=engine)
    rows = features(count)
    ids = [f'item {number}' for number in range(count)]
    half = count // 2
    cameras = [number % 4 for number in range(count)]
    gallery.add(features=rows[:half], ids=ids[:half], camera_ids=cameras[:half])
    gallery.add(features=rows[half:], ids=ids[half:], camera_ids=cameras[half:])
    return gallery


@pytest.mark.parametrize(('codes', 'rescore'), KEPT)
def test_what_is_found_before_and_after_saving(codes, rescore, tmp_path):
    gallery = fill(dict(type='compressed', codes=codes, rescore=rescore, refine=20))
    exact = fill('exact')
    queries = features(9, seed=1)
    found, expected = gallery.search(queries, 5), exact.search(queries, 5)
    # Signs alone keep half of them; all else finds nearly the same.
    least = 0.8 if codes == 'binary' else 0.95
    pairs = zip(found.ids, expected.ids, strict=True)
    shared = sum(len({*ours} & {*theirs}) for ours, theirs in pairs) / 45
    assert shared >= (0.3 if (codes, rescore) == ('binary', 'none') else least)
    if rescore == 'float32' and codes != 'binary':
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.distances, expected.distances, atol=1e-6)
    gallery.save(tmp_path / 'index')
    loaded = Gallery.load(tmp_path / 'index')
    assert loaded.engine.settings == gallery.engine.settings
    again = loaded.search(queries, 5)
    np.testing.assert_array_equal(again.ids, found.ids)
    np.testing.assert_array_equal(again.distances, found.distances)
    assert loaded.measure_recall(5, 50) >= least


@pytest.mark.parametrize(('codes', 'rescore'), KEPT)
def test_items_are_filtered_removed_and_added(codes, rescore, tmp_path):
    gallery = fill(dict(type='compressed', codes=codes, rescore=rescore))
    gallery.remove([f'item {number}' for number in range(0, COUNT, 3)])
    gallery.save(tmp_path / 'index')
    gallery = Gallery.load(tmp_path / 'index')
    gallery.add(features=features()[:1], ids=['again'], camera_ids=[9])
    found = gallery.search(features()[:1], 2, cameras=[9, 0])
    assert found.ids[0, 0] == 'again'
    assert set(found.camera_ids[0].tolist()) <= {0, 9}
    assert len(gallery) == COUNT - 134 + 1
    rows = [number for number in range(COUNT) if number % 3]
    kept = gallery.engine.features_of([f'item {number}' for number in rows])
    cosines = (kept * features()[rows]).sum(1)
    assert cosines.min() > (0.5 if (codes, rescore) == ('binary', 'none') else 0.999)
    torch.testing.assert_close(torch.cat(list(gallery.engine.feature_blocks()))[:-1], kept)
    # Of the same unit vectors: the last bit of a norm may depend on how many rows are normalized.
    units = fill('exact').engine.features[rows]
    torch.testing.assert_close(gallery.engine.as_stored(units), kept)


def test_equal_features_stand_in_the_order_of_their_arrival():
    gallery = Gallery(engine=dict(type='compressed', codes='binary', refine=2))
    gallery.add(features=features()[:1].repeat(50, 1), ids=[str(number) for number in range(50)])
    assert gallery.search(features()[:1], 4).ids[0].tolist() == ['0', '1', '2', '3']


def test_bytes_on_the_disk(tmp_path):
    sizes = {}
    for codes, rescore in [('float16', 'none'), ('int8', 'none'), ('binary', 'float16')]:
        folder = tmp_path / f'{codes} {rescore}'
        fill(dict(type='compressed', codes=codes, rescore=rescore)).save(folder)
        sizes[codes] = sum(path.stat().st_size for path in folder.glob('*/*.safetensors'))
    header = 300  # of two files
    assert 0 <= sizes['float16'] - 2 * WIDTH * COUNT < header
    assert 0 <= sizes['int8'] - WIDTH * COUNT < header
    assert 0 <= sizes['binary'] - (2 * WIDTH + 8) * COUNT < header


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(codes='int4'),
            "codes of compressed must be one of float16, int8, binary, got 'int4'",
        ),
        (dict(rescore='int8'), "rescore of compressed must be one of .*, got 'int8'"),
        (dict(refine=0), 'refine of compressed must be at least 1, got 0'),
        (dict(refine='many'), 'refine of compressed must be of type int'),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(GalleryError, match=message):
        Gallery(engine=dict(type='compressed', **settings))


def test_codes_that_do_not_fit_are_refused(tmp_path):
    gallery = fill(dict(type='compressed'))
    gallery.save(tmp_path / 'index')
    (path,) = (tmp_path / 'index').glob('*/codes.safetensors')
    save_file(dict(features=torch.zeros(COUNT, WIDTH)), path)
    with pytest.raises(GalleryError, match='damaged'):
        Gallery.load(tmp_path / 'index')
    with pytest.raises(GalleryError, match=r'holds torch.float32 of .*, expected int8 of shape'):
        Gallery.load(tmp_path / 'index', verify=False)
