"""An image's augmentation follows from (seed, epoch, index), whoever prepares it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import write_market
from torch.utils.data import DataLoader

from fusionreid.datasets import Market1501
from fusionreid.datasets.samplers import PKSampler, pk_sampler
from fusionreid.datasets.seeded_augmentation import seeded_augmentation
from fusionreid.models import ReIDDataPreprocessor

FILES = [f'{person:04}_c{camera}_{n}.jpg' for person in range(8) for camera in (1, 2) for n in 'ab']
PIPELINE = [
    {'type': 'LoadReIDImage'},
    {'type': 'AntialiasedResize', 'scale': (16, 32), 'interpolation': 'bicubic'},
    {'type': 'RandomHorizontalFlip', 'prob': 0.5},
    {'type': 'RandomPadCrop', 'padding': 4},
    {'type': 'PackReIDInputs'},
]


@pytest.fixture
def dataset(tmp_path: Path) -> Market1501:
    root = write_market(tmp_path / 'market1501', {'bounding_box_train': FILES})
    return Market1501(str(root), pipeline=PIPELINE)


def epoch_of(
    dataset: Market1501,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
    seed: int = 3,
    processes: int = 1,
    workers: int = 0,
) -> dict[int, bytes]:
    """Flipped, cropped, normalized and erased images of an epoch of all processes, by index."""
    erase = ReIDDataPreprocessor(random_erasing=dict(probability=0.9))
    images: dict[int, bytes] = {}
    for rank in range(processes):
        monkeypatch.setattr(pk_sampler, 'get_dist_info', lambda rank=rank: (rank, processes))
        # All eight people in every step, so that each number of processes draws all images.
        sampler = PKSampler(dataset, 8 // processes, 4, seed=seed)
        sampler.set_epoch(epoch)
        np.random.seed(1000 * rank + workers)  # what a process has drawn before does not matter
        loader = DataLoader(
            dataset, batch_size=8, sampler=sampler, num_workers=workers, collate_fn=list
        )
        for batch in loader:
            data = dict(
                inputs=[item['inputs'] for item in batch],
                data_samples=[item['data_samples'] for item in batch],
            )
            prepared = erase(data, training=True)['inputs']
            for item, image in zip(batch, prepared, strict=True):
                images[item['data_samples'].sample_idx] = image.numpy().tobytes()
    assert len(images) == len(FILES)
    return images


@pytest.mark.slow
def test_workers_and_processes_change_nothing(
    dataset: Market1501, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = epoch_of(dataset, monkeypatch, epoch=1)
    assert epoch_of(dataset, monkeypatch, epoch=1, workers=2) == alone
    assert epoch_of(dataset, monkeypatch, epoch=1, processes=2) == alone
    assert epoch_of(dataset, monkeypatch, epoch=1, processes=4, workers=2) == alone


def test_seed_epoch_and_index_each_matter(
    dataset: Market1501, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = epoch_of(dataset, monkeypatch, epoch=0)
    for other in (
        epoch_of(dataset, monkeypatch, epoch=1),
        epoch_of(dataset, monkeypatch, epoch=0, seed=4),
    ):
        # Few draws coincide by chance: not erased, and flipped and shifted alike.
        assert sum(other[index] == image for index, image in first.items()) <= 2
    dataset_of_one = [first[index] for index in range(len(FILES))]
    assert len(set(dataset_of_one)) >= len(FILES) - 2


@pytest.mark.parametrize('in_worker', [False, True])
def test_the_seed_gives_the_numbers_of_numpys_own_seeding(
    monkeypatch: pytest.MonkeyPatch, in_worker: bool
) -> None:
    monkeypatch.setattr(
        'fusionreid.datasets.seeded_augmentation.get_worker_info',
        lambda: object() if in_worker else None,
    )
    np.random.seed([12345 & 0xFFFFFFFF, 7])
    expected = np.random.rand(8).tolist()
    np.random.seed(0)
    with seeded_augmentation(7 << 32 | 12345):
        assert np.random.rand(5).tolist() == expected[:5]
        with seeded_augmentation(1):
            np.random.rand(3)
        assert np.random.rand(3).tolist() == expected[5:]
    after = np.random.rand(5).tolist()
    np.random.seed(0)
    assert after == np.random.rand(5).tolist()


@pytest.mark.parametrize('in_worker', [False, True])
def test_blocks_inside_a_block_leave_its_numbers_alone(
    monkeypatch: pytest.MonkeyPatch, in_worker: bool
) -> None:
    monkeypatch.setattr(
        'fusionreid.datasets.seeded_augmentation.get_worker_info',
        lambda: object() if in_worker else None,
    )

    def draw(depth: int) -> list[float]:
        numbers = [random.random(), np.random.rand(), np.random.randn()]
        if depth:
            with seeded_augmentation(9 - depth):
                assert draw(depth - 1)[:3] == alone[9 - depth][:3]
        return [*numbers, random.random(), np.random.randn(), np.random.rand()]

    alone = {}
    for seed in range(5, 10):
        with seeded_augmentation(seed):
            alone[seed] = draw(0)
    with seeded_augmentation(5):
        assert draw(3) == alone[5]


def test_a_normal_deviate_drawn_ahead_is_not_lost() -> None:
    np.random.seed(0)
    expected = np.random.randn(4).tolist()
    np.random.seed(0)
    first = np.random.randn(1).tolist()  # NumPy draws them in pairs
    with seeded_augmentation(5):
        np.random.randn(1)
    assert first + np.random.randn(3).tolist() == expected


def test_torch_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with seeded_augmentation(5):
        assert torch.equal(torch.rand(3), expected)
