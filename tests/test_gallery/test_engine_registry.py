"""Engines are found by their registered names, and by nothing else."""

from __future__ import annotations

import sys
from typing import Any, Literal, Optional

import pytest
import torch
from manifests import change_manifest

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.engines import ExactEngine, build_engine, engine_names
from fusionreid.registry import SEARCH_ENGINES


@pytest.fixture
def farthest():
    """An engine of a user's own, which finds the farthest items; it is forgotten afterwards."""

    @SEARCH_ENGINES.register_module('farthest')
    class FarthestEngine(ExactEngine):
        name = 'farthest'

        def __init__(
            self,
            skip: int = 0,
            is_loud: bool = False,
            mode: Literal['a', 'b'] = 'a',
            limit: Optional[int] = None,  # noqa: UP045
            extra: Any = None,
            free=None,
        ) -> None:
            super().__init__()
            self.skip = skip

        @property
        def settings(self):
            return dict(type=self.name, skip=self.skip)

        def _nearest(self, queries, k, mask):
            rows, distances = super()._nearest(queries, len(self), mask)
            return tuple(
                column.flip(1)[:, self.skip : self.skip + k] for column in (rows, distances)
            )

    yield FarthestEngine
    del SEARCH_ENGINES.module_dict['farthest']


def filled(engine: str | dict[str, Any]) -> Gallery:
    gallery = Gallery(engine=engine)
    gallery.add(features=torch.tensor([[1.0, 0], [1, 1], [0, 1]]), ids=['a', 'b', 'c'])
    return gallery


def test_an_engine_of_ones_own_is_used_by_its_name(farthest, tmp_path):
    assert 'farthest' in engine_names()
    assert type(build_engine('farthest')) is farthest
    query = torch.tensor([1.0, 0.1])
    assert filled('exact').search(query, 2).ids.tolist() == [['a', 'b']]
    assert filled('farthest').search(query, 2).ids.tolist() == [['c', 'b']]
    gallery = filled(dict(type='farthest', skip=1))
    assert gallery.search(query, 2).ids.tolist() == [['b', 'a']]
    gallery.save(tmp_path / 'index')
    again = Gallery.load(tmp_path / 'index')
    assert type(again.engine) is farthest
    assert again.search(query, 2).ids.tolist() == [['b', 'a']]


@pytest.mark.parametrize(
    'settings',
    [
        dict(is_loud=True),
        dict(mode='b'),
        dict(limit=3),
        dict(limit=None),
        dict(extra=[1]),
        dict(free='text'),
    ],
)
def test_settings_of_every_annotation_are_taken(settings, farthest):
    assert type(build_engine(dict(type='farthest', **settings))) is farthest


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(skip='1'), "skip of farthest must be of type int, got '1'"),
        (dict(skip=True), 'skip of farthest must be of type int, got True'),
        (dict(is_loud=1), 'is_loud of farthest must be of type bool, got 1'),
        (dict(limit=2.5), r'limit of farthest must be of type .*int.*, got 2.5'),
    ],
)
def test_settings_of_another_type_are_refused(settings, message, farthest):
    with pytest.raises(GalleryError, match=message):
        build_engine(dict(type='farthest', **settings))


@pytest.mark.parametrize('name', ['farthest', 'mmengine.load', 'this', 'fusionreid.exact', ''])
def test_other_names_are_refused_and_import_nothing(name, tmp_path):
    filled('exact').save(tmp_path / 'index')
    manifest = tmp_path / 'index' / 'gallery.json'
    change_manifest(manifest, lambda content: content.update(engine={'type': name}))
    engine_names()  # imports our own
    before = set(sys.modules)
    for attempt in (
        lambda: Gallery(engine=name),
        lambda: Gallery(engine=dict(type=name)),
        lambda: Gallery.load(tmp_path / 'index'),
    ):
        with pytest.raises(
            GalleryError, match=f"engine '{name}' is unknown, choose one of compressed"
        ):
            attempt()
    assert set(sys.modules) == before
    assert 'this' not in sys.modules
