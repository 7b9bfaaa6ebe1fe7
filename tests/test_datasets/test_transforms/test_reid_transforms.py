from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_trees import write_image
from PIL import Image

from fusionreid.datasets.transforms import LoadReIDImage, PackReIDInputs, RandomPadCrop, read_image
from fusionreid.errors import ImageDecodeError
from fusionreid.registry import TRANSFORMS

RED = (255, 0, 0)


@pytest.mark.parametrize(
    ('mode', 'name', 'expected'),
    [
        ('RGB', 'a.png', RED),
        ('RGBA', 'a.png', RED),
        ('P', 'a.png', RED),
        ('L', 'a.png', (76, 76, 76)),
        ('1', 'a.png', (255, 255, 255)),
        ('RGB', 'a.bmp', RED),
        ('RGB', 'a.jpg', RED),
        ('CMYK', 'a.jpg', RED),
        ('CMYK', 'a.tif', RED),
        ('RGB', 'a.webp', RED),
    ],
)
def test_every_kind_of_image_becomes_rgb(
    tmp_path: Path, mode: str, name: str, expected: tuple[int, int, int]
) -> None:
    image = Image.new('RGB', (8, 16), RED)
    if mode == '1':
        image = Image.new('RGB', (8, 16), 'white')
    image.convert(mode).save(tmp_path / name)
    array = read_image(str(tmp_path / name))
    assert array.shape == (16, 8, 3)
    assert array.dtype == np.uint8
    assert np.abs(array.astype(int) - expected).max() <= 6  # lossy formats
    array[:] = 0  # writable


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new('RGB', (4, 4), RED).convert('P')
    image.save(tmp_path / 'a.png', transparency=bytes([255, 128, 0]))
    assert read_image(str(tmp_path / 'a.png')).shape == (4, 4, 3)


def test_16_bit_gray_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / 'a.png')
    assert read_image(str(tmp_path / 'a.png'))[0, :, 0].tolist() == [0, 100, 255]
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / 'a.tif')
    with pytest.raises(ImageDecodeError, match='a.tif.*mode F'):
        read_image(str(tmp_path / 'a.tif'))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((4, 2, 3), np.uint8)
    pixels[0, 0] = 255  # the corner tells how the image was turned
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / 'a.png', exif=exif)
    undo: dict[int, Callable] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    assert np.array_equal(read_image(str(tmp_path / 'a.png')), undo[orientation](pixels))


def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / 'a.jpg'
    Image.new('RGB', (4, 4), RED).save(path, exif=b'Exif\x00\x00garbage that is no TIFF header')
    assert read_image(str(path)).shape == (4, 4, 3)


@pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
@pytest.mark.parametrize('kept', [0.0, 0.05, 0.3, 0.6, 0.9, 0.97])
def test_truncated_files(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    assert read_image(str(path)).shape == (128, 64, 3)
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ImageDecodeError, match=f"image '.*{name}' cannot be decoded"):
        read_image(str(path))


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageDecodeError, match='gone.jpg.*does not exist'):
        read_image(str(tmp_path / 'gone.jpg'))
    path = tmp_path / 'text.jpg'
    path.write_text('%!PS-Adobe-3.0 EPSF-3.0')
    with pytest.raises(ImageDecodeError, match='text.jpg.*Replace the file'):
        read_image(str(path))


def test_loading_sets_shapes(tmp_path: Path) -> None:
    path = str(write_image(tmp_path / 'a.jpg', size=(24, 12)))
    results = LoadReIDImage()({'img_path': path})
    assert results['ori_shape'] == results['img_shape'] == (24, 12)
    assert np.array_equal(results['img'], np.asarray(Image.open(path)))


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('size', [(300, 150), (128, 64), (60, 31)])
def test_resize_equals_pillow(size: tuple[int, int], interpolation: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    resize = TRANSFORMS.build(
        {
            'type': 'Resize',
            'scale': (128, 256),
            'backend': 'pillow',
            'interpolation': interpolation,
        }
    )
    expected = Image.fromarray(image).resize((128, 256), Image.Resampling[interpolation.upper()])
    difference = resize({'img': image})['img'].astype(int) - np.asarray(expected).astype(int)
    assert np.abs(difference).max() <= 1


@settings(max_examples=30, deadline=None)
@given(padding=st.integers(0, 6), height=st.integers(1, 9), width=st.integers(1, 9))
def test_pad_crop_is_a_shift_with_zeros(padding: int, height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)
    cropped = RandomPadCrop(padding)({'img': image})['img']
    assert cropped.shape == image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    windows = [
        padded[top : top + height, left : left + width]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    assert any(np.array_equal(cropped, window) for window in windows)


def test_pad_crop_reaches_every_offset() -> None:
    np.random.seed(0)
    image = np.arange(1, 10, dtype=np.uint8).reshape(3, 3, 1)
    crop = RandomPadCrop(1)
    assert len({crop({'img': image})['img'].tobytes() for _ in range(300)}) == 9
    assert 'padding=1' in repr(crop)
    with pytest.raises(ValueError, match='at least 0, but is -1'):
        RandomPadCrop(-1)


def test_pack() -> None:
    image = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
    results = {
        'img': image[:, ::-1],
        'img_path': 'a.jpg',
        'person_id': 5,
        'camera_id': 2,
        'role': 'train',
        'sample_idx': 9,
        'ori_shape': (8, 4),
        'augment_seed': 77,
        'flip': True,
    }
    packed = PackReIDInputs()(results)
    assert packed['inputs'].is_contiguous()
    assert packed['inputs'].dtype == torch.uint8
    assert np.array_equal(packed['inputs'].permute(1, 2, 0).numpy(), image[:, ::-1])
    assert packed['data_samples'].metainfo == {
        'img_path': 'a.jpg',
        'person_id': 5,
        'camera_id': 2,
        'role': 'train',
        'sample_idx': 9,
        'ori_shape': (8, 4),
        'img_shape': (4, 2),
        'augment_seed': 77,
    }


def test_pack_without_ids_and_with_bad_images() -> None:
    sample = PackReIDInputs()({'img': np.zeros((4, 2, 3), np.uint8)})['data_samples']
    assert (sample.person_id, sample.camera_id) == (-1, -1)
    assert 'augment_seed' not in sample
    for bad in (np.zeros((4, 2), np.uint8), np.zeros((4, 2, 3), np.float32)):
        with pytest.raises(ValueError, match='uint8 image of shape'):
            PackReIDInputs()({'img': bad})
