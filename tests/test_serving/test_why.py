"""Which pixels make a photo and an answer alike, as a server says it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from gallery_commands import write_checkpoint
from PIL import Image
from served import HOME
from tiny_runs import render_tiny, write_tiny_config

from fusionreid import ReIDInferencer
from fusionreid.gallery import Gallery
from fusionreid.serving.access import Access
from fusionreid.serving.app import build_app
from fusionreid.serving.finder import Finder
from fusionreid.serving.limits import Limits


def pixels_of(data: str) -> np.ndarray:
    kind, _, content = data.partition(',')
    assert kind == 'data:image/jpeg;base64'
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)


@pytest.mark.slow
def test_maps_of_a_photo_and_an_item(tmp_path):
    data = render_tiny(tmp_path / 'synthetic')
    checkpoint = write_checkpoint(write_tiny_config(tmp_path, data), tmp_path / 'run/epoch_1.pth')
    photos = sorted(map(str, (data / 'query').glob('*.jpg')))[:3]
    gallery = Gallery(ReIDInferencer(pretrained=checkpoint, device='cpu'))
    gallery.add(photos, camera_ids=[0, 1, 0])
    app = build_app(Finder(gallery, 'people', Limits()), Access())
    with TestClient(app, base_url=HOME) as client:
        file = dict(images=Path(photos[0]).read_bytes())
        camera = dict(query_camera='1')
        (query,) = client.post('/api/search', files=file, data=camera).json()['queries']
        distances = {one['item']: one['distance'] for one in query['answers']}
        assert distances[0] < 1e-3
        for number in (0, 1):
            reason = client.post(f'/api/why/{number}', files=file, data=camera).json()
            assert reason['distance'] == pytest.approx(distances[number], abs=1e-3)
            photo, answer = pixels_of(reason['query']), pixels_of(reason['answer'])
            # A photo and itself have the same map, two photos have not.
            assert (np.abs(photo - answer).mean() < 2) == (number == 0)
        assert client.post('/api/why/99', files=file).status_code == 404
        many = [('images', file['images'])] * 2
        assert client.post('/api/why/0', files=many).status_code == 422
