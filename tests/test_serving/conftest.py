"""A small index of rendered people, searched by their colors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from gallery_commands import HISTOGRAM
from served import CRUEL, HOME
from tiny_runs import render_tiny

from fusionreid import ReIDInferencer
from fusionreid.gallery import Gallery
from fusionreid.gallery.image_folder import read_name
from fusionreid.serving.access import Access
from fusionreid.serving.app import build_app
from fusionreid.serving.finder import Finder
from fusionreid.serving.limits import Limits


@pytest.fixture(scope='session')
def photos(tmp_path_factory) -> list[str]:
    folder = render_tiny(tmp_path_factory.mktemp('photos') / 'synthetic') / 'bounding_box_test'
    shutil.copy(min(folder.glob('0*.jpg')), folder / CRUEL)
    return sorted(map(str, folder.glob('*.jpg')))


@pytest.fixture(scope='session')
def index(photos, tmp_path_factory) -> Path:
    """An index whose cameras are named, one of them cruelly, with a calibration."""
    gallery = Gallery(ReIDInferencer(HISTOGRAM, device='cpu'))
    labels = [read_name(path) for path in photos]
    names = {0: 'yard', 1: '<b>door</b>'}
    gallery.add(
        photos,
        person_ids=[person for person, _ in labels],
        camera_ids=[names.get(camera, camera) for _, camera in labels],
        metadata=[dict(floor=row % 4) for row in range(len(photos))],
    )
    gallery.calibrate('rendered people')
    folder = tmp_path_factory.mktemp('index') / 'people'
    gallery.save(folder)
    return folder


@pytest.fixture(scope='session')
def finder(index) -> Finder:
    return Finder(Gallery.load(index), 'people', Limits())


@pytest.fixture
def serve(finder) -> Iterator[Callable[..., TestClient]]:
    """Starts a server with limits and access of a test, in its own process."""
    with ExitStack() as stack:

        def start(access: Access | None = None, **limits: float) -> TestClient:
            own = Finder(finder.gallery, 'people', Limits(**limits)) if limits else finder
            app = build_app(own, access or Access())
            client = TestClient(app, base_url=HOME, raise_server_exceptions=False)
            return stack.enter_context(client)

        yield start


@pytest.fixture
def client(serve) -> TestClient:
    return serve()
