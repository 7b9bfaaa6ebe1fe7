from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import write_market
from torch.utils.data import DataLoader

from fusionreid.datasets import Market1501, image_cache
from fusionreid.datasets.image_cache import SharedImageCache
from fusionreid.datasets.samplers import SampleIndex
from fusionreid.errors import ConfigError, ImageDecodeError

RESIZE = {'type': 'AntialiasedResize', 'scale': (16, 32), 'interpolation': 'bicubic'}
PIPELINE = [
    {'type': 'LoadReIDImage'},
    RESIZE,
    {'type': 'RandomHorizontalFlip', 'prob': 0.5},
    {'type': 'RandomPadCrop', 'padding': 4},
    {'type': 'PackReIDInputs'},
]
FILES = [f'{person:04}_c{camera}.jpg' for person in range(1, 5) for camera in (1, 2, 3)]
BYTES_PER_IMAGE = 32 * 16 * 3 + 8


@pytest.fixture
def market(tmp_path: Path) -> str:
    return str(write_market(tmp_path / 'market1501', {'bounding_box_train': FILES}))


def train_set(market: str, **kwargs: object) -> Market1501:
    return Market1501(market, pipeline=PIPELINE, **kwargs)


def two_epochs(dataset: Market1501, workers: int = 0, context: str | None = None) -> list[tuple]:
    """Every image twice, each time with another seed, and all that comes with it."""
    count = len(FILES)
    loader = DataLoader(
        dataset,
        batch_size=6,
        sampler=[SampleIndex(i % count, i) for i in range(2 * count)],
        num_workers=workers,
        multiprocessing_context=context,
        timeout=120 if workers else 0,
        collate_fn=list,
    )
    return [
        (item['inputs'].numpy().tobytes(), item['data_samples'].metainfo)
        for batch in loader
        for item in batch
    ]


@pytest.mark.parametrize(('workers', 'context'), [(0, None), (2, 'fork'), (2, 'spawn')])
@pytest.mark.slow
def test_items_are_those_without_a_cache(market: str, workers: int, context: str | None) -> None:
    dataset = train_set(market, cache_images=True)
    items = two_epochs(dataset, workers, context)
    assert items == two_epochs(train_set(market))
    assert len({content for content, _ in items}) > len(FILES)  # the epochs differ
    # This process sees what the workers wrote.
    assert dataset._image_cache.filled == len(FILES)


def test_files_are_read_once(market: str) -> None:
    dataset = train_set(market, cache_images=True)
    first = two_epochs(dataset)
    for name in FILES:
        (Path(market) / 'bounding_box_train' / name).unlink()
    assert two_epochs(dataset) == first
    assert two_epochs(dataset, 2, 'fork') == first
    with pytest.raises(ImageDecodeError, match='does not exist'):
        dataset.get_subset([3])[0]  # a cache of its own, which is empty


def test_an_image_that_is_changed_later_stays_in_the_cache(market: str) -> None:
    def blacken(results: dict) -> dict:
        results['img'][:] = 0
        return results

    dataset = train_set(market, cache_images=True)
    dataset.pipeline.transforms.insert(2, blacken)
    for _ in range(2):
        assert not any(dataset[i]['inputs'].any() for i in range(3))
    del dataset.pipeline.transforms[2]
    plain = train_set(market)
    for index in (SampleIndex(i, 1) for i in range(3)):
        assert torch.equal(dataset[index]['inputs'], plain[index]['inputs'])


def test_a_broken_image_is_an_error_each_time(market: str) -> None:
    broken = Path(market) / 'bounding_box_train' / FILES[2]
    broken.write_bytes(broken.read_bytes()[:100])
    dataset = train_set(market, cache_images=True)
    for _ in range(2):
        with pytest.raises(ImageDecodeError, match=broken.name):
            dataset[2]
    assert dataset[3]['inputs'].shape == (3, 32, 16)
    assert dataset._image_cache.filled == 1


@pytest.mark.parametrize('serialize_data', [True, False])
def test_subsets_and_copies(market: str, serialize_data: bool) -> None:
    dataset = train_set(market, cache_images=True, serialize_data=serialize_data)
    whole = [dataset[SampleIndex(i, 7)]['inputs'] for i in range(len(FILES))]
    subset = dataset.get_subset([4, 0])
    assert torch.equal(subset[SampleIndex(0, 7)]['inputs'], whole[4])
    assert torch.equal(subset[SampleIndex(1, 7)]['inputs'], whole[0])
    assert torch.equal(dataset[SampleIndex(0, 7)]['inputs'], whole[0])
    assert copy.deepcopy(dataset)._image_cache is dataset._image_cache
    dataset.get_subset_([5])
    assert torch.equal(dataset[SampleIndex(0, 7)]['inputs'], whole[5])


def test_subsets_share_no_parts(market: str) -> None:
    dataset = train_set(market)
    first, second = dataset.get_subset([0]), dataset.get_subset([1])
    assert len({id(each.pipeline) for each in (dataset, first, second)}) == 3
    first._metainfo['counts']['train'].update(images=0)
    assert second._metainfo['counts']['train']['images'] > 0


def test_size_is_stated_before_anything_is_read(
    market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr(image_cache, 'print_log', lambda text, logger: messages.append(text))
    # As if they were large: 12 x (32 x 16 x 3 + 8) bytes.
    monkeypatch.setattr(image_cache, 'GIB', 1 << 10)
    monkeypatch.setattr(image_cache, 'get_world_size', lambda: 4)
    dataset = train_set(market, cache_images=True, lazy_init=True)
    assert messages == []
    dataset.full_init()
    (message,) = messages
    assert 'Market-1501 train takes 18.1 GiB of shared memory (12 images of 32x16)' in message
    assert 'each of the 4 processes has its own' in message
    assert dataset._image_cache.filled == 0


def test_more_than_the_limit_or_than_is_free_is_refused(
    market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 12 * BYTES_PER_IMAGE / 2**30
    train_set(market, cache_images=True, cache_limit_gib=limit * 1.01)
    with pytest.raises(ConfigError, match=r'12 images of 32x16\), more than cache_limit_gib='):
        train_set(market, cache_images=True, cache_limit_gib=limit * 0.99)
    monkeypatch.setattr(image_cache, 'free_shared_memory', lambda: 12 * BYTES_PER_IMAGE - 1)
    with pytest.raises(ConfigError, match='GiB are free. Set cache_images=False.*--shm-size'):
        train_set(market, cache_images=True)


def test_memory_that_is_gone_meanwhile(market: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError('No space left on device (28)')

    monkeypatch.setattr(torch.Tensor, 'share_memory_', fail)
    with pytest.raises(ConfigError, match='not enough: No space left.*cache_images=False'):
        train_set(market, cache_images=True)


def test_pipelines_without_one_size_are_refused(market: str) -> None:
    for pipeline in ([PIPELINE[0], PIPELINE[4]], [PIPELINE[0]], [PIPELINE[0], PIPELINE[2], RESIZE]):
        with pytest.raises(ConfigError, match='must begin with LoadReIDImage and Antialiased'):
            Market1501(market, pipeline=pipeline, cache_images=True)
    # No pipeline, no images.
    assert Market1501(market, cache_images=True)[0]['person_id'] == 0


def test_largest_sizes_of_files_are_kept() -> None:
    cache = SharedImageCache(3, (2, 2), 'three')
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert cache.get(1) is None
    cache.put(1, image, (65535, 2**31 - 1))
    content, original = cache.get(1)
    assert np.array_equal(content, image)
    assert original == (65535, 2**31 - 1)
    assert cache.get(0) is None
    assert cache.get(2) is None
    assert cache.filled == 1
