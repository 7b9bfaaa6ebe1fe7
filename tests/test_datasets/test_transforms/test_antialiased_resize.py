from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_runs import ROOT, render_tiny

from fusionreid.datasets.transforms import (
    AntialiasedResize,
    antialiased_resize,
    read_image,
    resize_image,
)
from fusionreid.registry import TRANSFORMS

FILTERS = ['bicubic', 'bilinear']
SIDES = st.integers(1, 400)


def pillow(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    method = Image.Resampling[interpolation.upper()]
    return np.asarray(Image.fromarray(image).resize(size[::-1], method))


def assert_equals_pillow(image: np.ndarray, size: tuple[int, int], interpolation: str) -> None:
    # The published pipeline is Pillow's; one gray level off would be tolerable, there is none.
    assert np.array_equal(
        resize_image(image, size, interpolation), pillow(image, size, interpolation)
    )


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """The worst case: every weight counts, and sums leave the range."""
    generator = np.random.default_rng(seed)
    values = [np.array([0, 255]), np.array([0, 1, 127, 254, 255]), np.arange(256)][seed % 3]
    return generator.choice(values, (height, width, 3)).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(FILTERS), st.integers(0, 2**32 - 1))
def test_noise_of_any_size_to_any_size(
    height: int, width: int, new_height: int, new_width: int, interpolation: str, seed: int
) -> None:
    assert_equals_pillow(noise(height, width, seed), (new_height, new_width), interpolation)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 140), st.integers(1, 140), st.sampled_from(FILTERS), st.integers(0, 2**32 - 1)
)
def test_noise_of_any_size_doubled(height: int, width: int, interpolation: str, seed: int) -> None:
    assert_equals_pillow(noise(height, width, seed), (2 * height, 2 * width), interpolation)


@pytest.mark.parametrize('interpolation', FILTERS)
def test_pictures_enlarged_and_shrunk(tmp_path: Path, interpolation: str) -> None:
    paths = sorted((render_tiny(tmp_path / 'data') / 'bounding_box_train').glob('*.jpg'))[:20]
    pictures = [read_image(str(path)) for path in paths]
    assert pictures[0].shape == (64, 32, 3)
    pictures += [pillow(image, (500, 190), 'bicubic') for image in pictures[:5]]
    for size in [(256, 128), (384, 128), (128, 64), (64, 32), (63, 31), (32, 16), (20, 50)]:
        for image in pictures:
            assert_equals_pillow(image, size, interpolation)


def test_doubling_does_not_leave_all_work_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []

    def watch(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
        sizes.append(size)
        return pillow(image, size, interpolation)

    monkeypatch.setattr(antialiased_resize, '_resize_by_pillow', watch)
    resize_image(noise(128, 64, 0), (256, 128), 'bilinear')
    assert sizes == []
    resize_image(noise(128, 64, 0), (256, 128), 'bicubic')
    assert sizes == [(12, 128), (256, 12)]
    resize_image(noise(5, 64, 0), (10, 128), 'bicubic')  # too small to have an inside
    assert sizes[2:] == [(10, 128)]


@pytest.mark.slow
def test_without_vector_instructions(tmp_path: Path) -> None:
    # PyTorch chooses its kernels once per process.
    program = (
        'import sys\n'
        f'sys.path.insert(0, {str(Path(__file__).parent)!r})\n'
        f'sys.path.insert(0, {str(ROOT / "tests" / "helpers")!r})\n'
        'import numpy as np, torch\n'
        'from test_antialiased_resize import FILTERS, assert_equals_pillow, noise\n'
        'assert torch.backends.cpu.get_cpu_capability() == "DEFAULT"\n'
        'for seed in range(30):\n'
        '    for kind in FILTERS:\n'
        '        assert_equals_pillow(noise(20 + seed, 64, seed), (40 + 2 * seed, 128), kind)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        env={**os.environ, 'ATEN_CPU_CAPABILITY': 'default', 'OMP_NUM_THREADS': '1'},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_reversed_and_cut_out_views_are_resized_as_they_look() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 12, 3), dtype=np.uint8)
    for view in (image[:, ::-1], image[3:15, 2:9], image[..., ::-1]):
        expected = resize_image(view.copy(), (16, 8), 'bicubic')
        assert np.array_equal(resize_image(view, (16, 8), 'bicubic'), expected)


def test_transform_sets_shape_and_keeps_the_rest() -> None:
    image = np.zeros((20, 12, 3), np.uint8)
    resize = TRANSFORMS.build(dict(type='AntialiasedResize', scale=(8, 16)))
    results = resize(dict(img=image, ori_shape=(20, 12), img_shape=(20, 12)))
    assert results['img'].shape == (16, 8, 3)
    assert results['img'].flags.c_contiguous
    assert results['img_shape'] == (16, 8)
    assert results['ori_shape'] == (20, 12)
    assert "scale=(8, 16), interpolation='bilinear'" in repr(resize)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match='positive width and height.*0'):
        AntialiasedResize((0, 4))
    with pytest.raises(ValueError, match="bicubic, bilinear.*'lanczos'"):
        AntialiasedResize((4, 4), 'lanczos')
    for bad in (np.zeros((4, 2), np.uint8), np.zeros((4, 2, 3), np.float32)):
        with pytest.raises(ValueError, match='uint8 image of shape'):
            AntialiasedResize((4, 4))(dict(img=bad))
