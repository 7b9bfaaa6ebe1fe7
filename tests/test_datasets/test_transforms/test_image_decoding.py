"""Most JPEGs are decoded without Pillow; the pixels must be those that Pillow gives."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tiny_runs import render_tiny

from fusionreid.datasets.transforms import LoadReIDImage, loading, read_image
from fusionreid.errors import ImageDecodeError


def picture(height: int = 61, width: int = 30) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def without_pillow(path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Read an image and fail if Pillow has a part in it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError('Pillow was asked')

    with monkeypatch.context() as patch:
        patch.setattr(loading.Image, 'open', refuse)
        return read_image(str(path))


@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('subsampling', [0, 1, 2])
@pytest.mark.parametrize('quality', [30, 75, 100])
def test_jpeg_equals_pillow(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    progressive: bool,
    subsampling: int,
    quality: int,
) -> None:
    path = tmp_path / 'a.jpg'
    picture().save(path, quality=quality, subsampling=subsampling, progressive=progressive)
    image = without_pillow(path, monkeypatch)
    assert np.array_equal(image, np.asarray(Image.open(path)))
    image[:] = 0  # writable


@pytest.mark.slow
def test_rendered_pictures_equal_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted((render_tiny(tmp_path / 'data') / 'query').glob('*.jpg'))
    assert paths
    for path in paths:
        assert np.array_equal(without_pillow(path, monkeypatch), np.asarray(Image.open(path)))


def test_what_may_be_turned_gray_or_huge_is_for_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / 'turned.jpg', exif=exif)
    picture().convert('L').save(tmp_path / 'gray.jpg')
    picture().convert('CMYK').save(tmp_path / 'cmyk.jpg')
    picture().save(tmp_path / 'png.png')
    picture().save(tmp_path / 'huge.jpg')
    for name in ('turned.jpg', 'gray.jpg', 'cmyk.jpg', 'png.png'):
        with pytest.raises(ImageDecodeError, match='Pillow was asked'):
            without_pillow(tmp_path / name, monkeypatch)
    assert read_image(str(tmp_path / 'turned.jpg')).shape == (30, 61, 3)
    monkeypatch.setattr(loading, '_MAX_DIRECT_PIXELS', 61 * 30 - 1)
    with pytest.raises(ImageDecodeError, match='Pillow was asked'):
        without_pillow(tmp_path / 'huge.jpg', monkeypatch)


@pytest.mark.parametrize('marker', [b'\xff\xc0', b'\xff\xda'])
def test_an_orientation_counts_wherever_it_stands(tmp_path: Path, marker: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    payload = b'Exif\0\0' + exif.tobytes().removeprefix(b'Exif\0\0')
    segment = b'\xff\xe1' + (len(payload) + 2).to_bytes(2, 'big') + payload
    path = tmp_path / 'a.jpg'
    picture().save(path)
    content = path.read_bytes()
    start = content.index(marker)  # before the frame header; after it, before the pixels
    path.write_bytes(content[:start] + segment + content[start:])
    image = read_image(str(path))
    assert np.array_equal(image, ImageOps.exif_transpose(Image.open(path)))
    assert image.shape == (30, 61, 3)


@settings(max_examples=150, deadline=None)
@given(
    kept=st.floats(0, 1),
    position=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
)
def test_damaged_files_never_give_other_pixels_than_pillow(
    tmp_path_factory: pytest.TempPathFactory, kept: float, position: float, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / 'damaged.jpg'
    picture().save(path, quality=85)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] = byte
    path.write_bytes(content[: int(kept * len(content)) + 1])
    try:
        with Image.open(path, formats=['JPEG']) as opened:
            expected = np.asarray(opened.convert('RGB'))
    except Exception:
        expected = None
    try:
        image = read_image(str(path))
    except ImageDecodeError:
        assert expected is None
    else:
        # An orientation cannot appear by a single byte.
        assert expected is not None
        assert np.array_equal(image, expected)


@pytest.fixture(params=['gone', 'no library', 'another PyTorch', 'warning as error', 'refuses'])
def no_fast_decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Make torchvision's decoder fail, in each of the ways that it can."""

    def fail(content: torch.Tensor) -> None:
        kinds = {'warning as error': DeprecationWarning, 'refuses': RuntimeError}
        raise kinds[request.param]('decode_jpeg')

    class BrokenModule(types.ModuleType):
        def __getattr__(self, name: str) -> None:
            raise RuntimeError('operator torchvision::nms does not exist')

    if request.param == 'gone':
        monkeypatch.delattr('torchvision.io.decode_jpeg')
    elif request.param == 'no library':
        monkeypatch.setitem(sys.modules, 'torchvision.io', None)
    elif request.param == 'another PyTorch':
        monkeypatch.setitem(sys.modules, 'torchvision.io', BrokenModule('torchvision.io'))
    else:
        monkeypatch.setattr('torchvision.io.decode_jpeg', fail)
    loading.jpeg_decoder.cache_clear()
    yield
    loading.jpeg_decoder.cache_clear()


@pytest.mark.usefixtures('no_fast_decoder')
@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('subsampling', [0, 1, 2])
def test_pillow_decodes_what_torchvision_cannot(
    tmp_path: Path, progressive: bool, subsampling: int
) -> None:
    path = tmp_path / 'a.jpg'
    picture().save(path, subsampling=subsampling, progressive=progressive)
    image = read_image(str(path))
    assert np.array_equal(image, np.asarray(Image.open(path)))
    assert image.dtype == np.uint8
    image[:] = 0  # writable
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageDecodeError, match='a.jpg'):
        read_image(str(path))


def test_an_image_that_is_decoded_already_is_taken_as_it_is() -> None:
    image = np.asarray(picture()).copy()
    results = LoadReIDImage()({'img': image, 'img_path': 'nothing.jpg'})
    assert results['img'] is image
    assert results['ori_shape'] == results['img_shape'] == (61, 30)
