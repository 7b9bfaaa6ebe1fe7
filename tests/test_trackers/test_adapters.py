"""Adapters against what trackers ask of them; the trackers themselves are not needed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from fusionreid.apis import ReIDInferencer
from fusionreid.errors import InferenceError
from fusionreid.trackers import BoxMotEncoder, DeepSortEmbedder, FrameEncoder

HEIGHT, WIDTH = 90, 160


@pytest.fixture(scope='module')
def inferencer() -> ReIDInferencer:
    return ReIDInferencer('color_histogram_synthetic', device='cpu')


@pytest.fixture
def frame() -> np.ndarray:
    """BGR: no two places alike."""
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_frames_are_encoded_as_the_inferencer_does(inferencer, frame):
    boxes = [[10, 5, 40, 80], [-20.4, 30, 25.2, 500]]
    (expected,) = inferencer((frame, boxes), channel_order='bgr')
    rows = BoxMotEncoder(inferencer).get_features(torch.tensor(boxes), frame)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected.embedding, atol=1e-6)
    turned = FrameEncoder(inferencer).encode_frames([frame[..., ::-1]], [boxes], 'rgb')[0]
    np.testing.assert_allclose(turned, rows, atol=1e-6)


def test_a_tracker_never_stops(inferencer, frame):
    encoder = BoxMotEncoder(inferencer)
    width = encoder.embedding_dim
    for none in ([], np.empty((0, 4)), np.empty(0), torch.empty(0, 4)):
        assert encoder.get_features(none, frame).shape == (0, width)
    odd = [
        [-50, -50, -10, -10],
        [WIDTH, 10, WIDTH + 9, 30],
        [40, 40, 40, 80],
        [50, 60, 20, 10],
        [1e9, 1e9, 2e9, 2e9],
        [5.2, 5.2, 5.3, 5.3],
    ]
    rows = encoder.get_features(odd, frame)
    assert rows.shape == (len(odd), width)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    corner = encoder.get_features([[0, 0, 1, 1], [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT]], frame)
    np.testing.assert_allclose(rows[[0, 4]], corner, atol=1e-6)
    with pytest.raises(InferenceError, match='box 0 of image 0'):
        encoder.get_features([[0, 0, np.nan, 5]], frame)
    with pytest.raises(InferenceError, match='a frame must be'):
        encoder.get_features([[0, 0, 5, 5]], None)


def test_one_forward_pass_for_all_frames(inferencer, frame, monkeypatch):
    sizes = []
    step = inferencer.model.test_step

    def count(data):
        sizes.append(len(data['inputs']))
        return step(data)

    monkeypatch.setattr(inferencer.model, 'test_step', count)
    boxes = [[[x, 0, x + 8, 30] for x in range(0, 70)], [], [[3, 3, 9, 9]]]
    parts = FrameEncoder(inferencer).encode_frames([frame] * 3, boxes)
    assert [len(part) for part in parts] == [70, 0, 1]
    assert sizes == [71]
    assert FrameEncoder(inferencer).encode_frames([], []) == []
    with pytest.raises(InferenceError, match='1 frames but boxes of 2'):
        FrameEncoder(inferencer).encode_frames([frame], [[], []])


def test_appearance_encoder_of_boxmot(inferencer, frame, monkeypatch):
    encoder = BoxMotEncoder(inferencer)
    rgb = torch.from_numpy(frame[..., ::-1].transpose(2, 0, 1).copy())
    boxes = torch.tensor([[10.0, 5, 40, 80]])
    found = SimpleNamespace(geometry=SimpleNamespace(values=boxes))
    nobody = SimpleNamespace(geometry=SimpleNamespace(values=torch.empty(0, 4)))
    first, second = encoder.encode([SimpleNamespace(image=rgb)] * 2, [found, nobody])
    assert first.dtype == torch.float32
    assert second.shape == (0, encoder.embedding_dim)
    np.testing.assert_allclose(first.numpy(), encoder.get_features(boxes, frame), atol=1e-6)
    protocols = ModuleType('boxmot.reid.protocols')
    protocols.EncoderRequirements = SimpleNamespace
    monkeypatch.setitem(sys.modules, 'boxmot.reid.protocols', None)
    with pytest.raises(InferenceError, match='pip install boxmot'):
        _ = encoder.requirements
    monkeypatch.setitem(sys.modules, 'boxmot', ModuleType('boxmot'))
    monkeypatch.setitem(sys.modules, 'boxmot.reid', ModuleType('boxmot.reid'))
    monkeypatch.setitem(sys.modules, 'boxmot.reid.protocols', protocols)
    assert encoder.requirements.masks is False


def test_deep_sort_cuts_out_itself(inferencer, frame):
    embedder = DeepSortEmbedder(inferencer)
    crops = [frame[5:80, 10:40], frame[5:5, 10:40]]
    first, second = embedder.predict(crops)
    expected = FrameEncoder(inferencer).encode_frames([frame], [[[10, 5, 40, 80]]])[0][0]
    np.testing.assert_allclose(first, expected, atol=1e-6)
    assert np.linalg.norm(second) == pytest.approx(1, abs=1e-5)
    assert embedder([]) == []
