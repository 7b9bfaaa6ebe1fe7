"""Named cameras and people in a gallery: searched by, saved, merged and removed."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from manifests import change_manifest

from fusionreid.apis import FeatureSpec
from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery, GalleryFilter
from fusionreid.gallery.names import add_names, number_labels
from fusionreid.utils.names import FIRST_NAMED, number_of

CAMERAS = ['north door', 'Hof – Süd', 3, -1, '\udce9']
PEOPLE = ['Zoë', 7, -1, 'Zoë', "D'Arcy"]
IDS = ['a', 'b', 'c', 'd', 'e']


def named(engine='exact') -> Gallery:
    gallery = Gallery(engine=engine)
    gallery.add(features=torch.eye(5), ids=IDS, person_ids=PEOPLE, camera_ids=CAMERAS)
    return gallery


def found(gallery: Gallery, **filters) -> set[str]:
    return set(gallery.search(torch.ones(5), len(gallery), **filters).ids.ravel()) - {''}


def engine_config(name, folder):
    if name == 'milvus':
        pytest.importorskip('pymilvus')
        pytest.importorskip('milvus_lite')
        return dict(type='milvus', uri=str(folder / 'milvus.db'))
    return name


@pytest.mark.parametrize('engine', ['exact', 'milvus'])
def test_names_are_searched_by_and_come_back(engine, tmp_path):
    gallery = named(engine_config(engine, tmp_path))
    for _ in range(2):
        assert found(gallery, cameras=['north door', 3]) == {'a', 'c'}
        assert found(gallery, cameras='Hof – Süd') == {'b'}
        assert found(gallery, exclude_cameras=['Hof – Su\u0308d', -1]) == {'a', 'c', 'e'}
        assert found(gallery, person_ids=['Zoë', 7]) == {'a', 'b', 'd'}
        assert found(gallery, filters=[GalleryFilter(exclude_person_ids=['Zoë'])]) == set('bce')
        result = gallery.search(torch.eye(5), 1)
        assert result.camera_names.ravel().tolist() == ['north door', 'Hof – Süd', '', '', '\udce9']
        assert result.person_names.ravel().tolist() == ['Zoë', '', '', 'Zoë', "D'Arcy"]
        assert result.camera_ids.ravel().tolist()[2:4] == [3, -1]
        assert sorted(i for items in gallery.item_blocks() for i in items.ids) == IDS
        there = gallery.find(['d', 'nobody', 'b'])
        assert dict(zip(there.ids, there.camera_ids, strict=True)) == {
            'b': number_of('Hof – Süd'),
            'd': -1,
        }
        gallery.save(tmp_path / 'index')
        if engine == 'milvus':
            gallery.engine.close()
        gallery = Gallery.load(tmp_path / 'index')


def test_a_name_that_no_image_has_is_named_with_those_that_there_are():
    gallery = named()
    with pytest.raises(GalleryError, match="has the camera 'yard'; it has Hof – Süd, north door"):
        found(gallery, exclude_cameras=['yard'])
    with pytest.raises(GalleryError, match="the identity 'zoe'; it has D'Arcy, Zoë"):
        found(gallery, filters=[GalleryFilter(person_ids=['zoe'])])
    gallery.remove(['b'])
    with pytest.raises(GalleryError, match="camera 'Hof – Süd'; it has north door"):
        found(gallery, cameras=['Hof – Süd'])


@pytest.mark.parametrize('name', ['', '  ', '1.5', '-2', '12', 'a\0b', '\ud800'])
def test_what_is_no_name(name):
    gallery = Gallery()
    with pytest.raises(GalleryError):
        gallery.add(features=torch.eye(1), ids=['a'], camera_ids=[name])
    assert len(gallery) == 0


def test_numbers_of_names_are_their_own():
    numbers, names = number_labels(['yard', ' yard ', 3, 'Zoe\u0301', 'Zoé'], 'camera_ids')
    assert numbers[0] == numbers[1]
    assert numbers[3] == numbers[4]
    assert names == {numbers[0]: 'yard', numbers[3]: 'Zoé'}
    assert all(FIRST_NAMED <= number < 2 * FIRST_NAMED for number in names)
    with pytest.raises(GalleryError, match='cannot both be names'):
        add_names({5: 'a'}, {5: 'b'})


@pytest.mark.parametrize('engine', ['exact', 'faiss_flat', 'milvus'])
def test_merging_takes_features_as_they_are(engine, tmp_path):
    if engine == 'faiss_flat':
        pytest.importorskip('faiss')
    other = Gallery()
    features = torch.randn(9, 5)
    names = [f'new {number}' for number in range(9)]
    other.add(features=features, ids=names, camera_ids=['yard'] * 8 + ['north door'])
    gallery = named(engine_config(engine, tmp_path))
    assert gallery.merge(other) == 9
    assert len(gallery) == 14
    assert found(gallery, cameras=['north door']) == {'a', 'new 8'}
    ours, theirs = (each.search(features, 1, ids=names) for each in (gallery, other))
    assert ours.ids.tolist() == theirs.ids.tolist()
    if engine == 'exact':
        assert torch.equal(gallery.engine.features[5:], other.engine.features)
    message = "9 of the images are in both galleries, such as 'new 0'"
    with pytest.raises(GalleryError, match=message):
        gallery.merge(other)
    other.add(features=torch.randn(1, 5), ids=['newest'])
    assert gallery.merge(other, keep_first=True) == 1
    assert len(other) == 10
    assert gallery.merge(Gallery()) == 0


def test_galleries_of_different_models_are_not_merged():
    gallery, other = named(), Gallery()
    other.add(features=torch.eye(3), ids=['x', 'y', 'z'])
    with pytest.raises(GalleryError, match='width 5 .* width 3'):
        gallery.merge(other)
    made = Gallery()
    made.add(features=torch.eye(5), ids=list('vwxyz'))
    made.spec = FeatureSpec(5, 'all', 'before BNNeck', 'a.pth', 'f' * 64, 'model = 1\n')
    for first, second in ((gallery, made), (made, gallery)):
        with pytest.raises(GalleryError, match='computed elsewhere'):
            first.merge(second)
    assert len(gallery) == 5


def test_names_of_a_damaged_index_are_refused(tmp_path):
    named().save(tmp_path)
    manifest = json.loads((tmp_path / 'gallery.json').read_text())
    assert manifest['camera_names'] == ['Hof – Süd', 'north door', '\udce9']
    for names in ([7], 5, None):
        change_manifest(tmp_path / 'gallery.json', partial(dict.update, camera_names=names))
        with pytest.raises(GalleryError, match='damaged'):
            Gallery.load(tmp_path)
    change_manifest(tmp_path / 'gallery.json', partial(dict.update, format='fusionreid-gallery-2'))
    with pytest.raises(GalleryError, match="has the format 'fusionreid-gallery-2'"):
        Gallery.load(tmp_path)
