"""What is said about a single image."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_trees import write_image
from PIL import Image

from fusionreid.datasets.checks import ERRORS, NOTES, inspect_image


def kinds(path: Path) -> list[str]:
    return [kind for kind, _ in inspect_image(str(path)).findings]


def test_a_good_image(tmp_path: Path) -> None:
    path = write_image(tmp_path / 'a.jpg', size=(64, 32))
    facts = inspect_image(str(path))
    assert facts.findings == ()
    assert len(facts.content) == len(facts.pixels) == 16


def test_pixels_are_compared_and_not_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    for name in ('a.png', 'a.bmp'):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(pixels.reshape(32, 64, 3)).save(tmp_path / 'reshaped.png')
    png, bmp, reshaped = (
        inspect_image(str(tmp_path / name)) for name in ('a.png', 'a.bmp', 'reshaped.png')
    )
    assert png.pixels == bmp.pixels != reshaped.pixels
    assert png.content != bmp.content


@pytest.mark.parametrize(
    ('mode', 'name', 'kind'),
    [
        ('L', 'a.png', 'grayscale'),
        ('I;16', 'a.png', 'grayscale'),
        ('1', 'a.png', 'grayscale'),
        ('CMYK', 'a.jpg', 'CMYK'),
        ('RGBA', 'a.png', 'transparency'),
        ('P', 'a.png', 'palette'),
    ],
)
def test_modes(tmp_path: Path, mode: str, name: str, kind: str) -> None:
    Image.new(mode, (32, 64)).save(tmp_path / name)
    assert kinds(tmp_path / name) == [kind]
    assert kind in NOTES


def test_odd_images(tmp_path: Path) -> None:
    picture = Image.new('RGB', (32, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / 'turned.jpg', exif=exif)
    assert 'turned by EXIF' in kinds(tmp_path / 'turned.jpg')
    picture.save(
        tmp_path / 'frames.webp', save_all=True, append_images=[Image.new('RGB', (32, 64), 9)]
    )
    assert kinds(tmp_path / 'frames.webp') == ['several frames']
    picture.save(tmp_path / 'a.bin', 'PNG')
    (tmp_path / 'a.bin').rename(tmp_path / 'a.jpg')
    assert kinds(tmp_path / 'a.jpg') == ['name of another format']
    for size, expected in {
        (8, 16): ['tiny'],
        (200, 20): ['extreme shape'],
        (20, 200): ['extreme shape'],
    }.items():
        Image.new('RGB', size).save(tmp_path / 'size.png')
        assert kinds(tmp_path / 'size.png') == expected


def write_bomb(path: Path) -> None:
    """Write a PNG of 60000x60000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0' * 99))
    )


def test_what_cannot_be_decoded_is_an_error(tmp_path: Path) -> None:
    whole = write_image(tmp_path / 'whole.jpg', size=(128, 64)).read_bytes()
    (tmp_path / 'truncated.jpg').write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / 'text.jpg').write_text('no image')
    write_bomb(tmp_path / 'bomb.png')
    for name, detail in {
        'truncated.jpg': 'runcated',
        'text.jpg': 'no image of a kind that is read',
        'bomb.png': 'DecompressionBomb',
    }.items():
        ((kind, said),) = inspect_image(str(tmp_path / name)).findings
        assert kind == 'cannot be decoded'
        assert detail in said
        assert '\n' not in said
    (tmp_path / 'empty.jpg').touch()
    assert kinds(tmp_path / 'empty.jpg') == ['empty file']


def test_only_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'folder.jpg').mkdir()
    (tmp_path / 'link.jpg').symlink_to(tmp_path / 'nowhere')
    assert kinds(tmp_path / 'pipe.jpg') == kinds(tmp_path / 'folder.jpg') == ['not a regular file']
    assert kinds(tmp_path / 'link.jpg') == kinds(tmp_path / 'none.jpg') == ['missing file']
    assert {'not a regular file', 'missing file', 'empty file', 'cannot be decoded'} <= set(ERRORS)
