from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import write_market, write_msmt17
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from fusionreid.datasets import MSMT17, Market1501, base_reid_dataset, split_table
from fusionreid.datasets.samplers import SampleIndex
from fusionreid.datasets.seeded_augmentation import seeded_augmentation
from fusionreid.errors import ImageDecodeError

TRAIN_PIPELINE = [
    {'type': 'LoadReIDImage'},
    {'type': 'Resize', 'scale': (16, 32), 'backend': 'pillow', 'interpolation': 'bicubic'},
    {'type': 'RandomFlip', 'prob': 0.5},
    {'type': 'RandomPadCrop', 'padding': 4},
    {'type': 'PackReIDInputs'},
]


@pytest.fixture
def market(tmp_path: Path) -> str:
    return str(write_market(tmp_path / 'market1501'))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the logged tables, as if none had been shown in this process."""
    messages: list[str] = []
    monkeypatch.setattr(base_reid_dataset, '_shown_tables', set())
    monkeypatch.setattr(base_reid_dataset, 'print_log', lambda text, logger: messages.append(text))
    return messages


def test_table_beside_official_counts_once_per_run(market: str, logged: list[str]) -> None:
    train = Market1501(market)
    Market1501(market, split='test')
    assert len(logged) == 1
    assert logged[0] == split_table(train.metainfo)
    lines = logged[0].splitlines()
    assert lines[0] == f'Market-1501, 6 cameras, read from {market}'
    assert lines[2].split() == ['train', '3', '4', '4', '751', '12936', '6']
    assert lines[3].split() == ['query', '2', '2', '2', '750', '3368', '6']
    assert lines[4].split() == ['gallery', '2', '3', '3', '750', '15913', '6']
    assert 'train, query, gallery: not the official counts' in logged[0]


def test_table_of_official_counts_has_no_warning(market: str, logged: list[str]) -> None:
    metainfo = Market1501(market).metainfo
    metainfo['counts'] = metainfo['official_counts']
    assert 'not the official' not in split_table(metainfo)
    metainfo['counts'] = {**metainfo['counts'], 'gallery': None}
    assert split_table(metainfo).endswith('* gallery: none found')


def test_table_states_release_and_split(tmp_path: Path, logged: list[str]) -> None:
    root = str(write_msmt17(tmp_path / 'msmt17', 'V2'))
    MSMT17(root)
    MSMT17(root, train_split='train')
    assert [text.splitlines()[0].split(', ')[:2] for text in logged] == [
        ['MSMT17 V2', 'train split train+val'],
        ['MSMT17 V2', 'train split train'],
    ]


def test_table_on_the_main_process_only(
    market: str, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_reid_dataset, 'is_main_process', lambda: False)
    Market1501(market)
    assert logged == []


def test_table_goes_through_mmengine_logger(market: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_reid_dataset, '_shown_tables', set())
    logger = MMLogger.get_instance('table-test')
    lines: list[str] = []
    monkeypatch.setattr(logger, 'handle', lambda record: lines.append(record.getMessage()))
    Market1501(market)
    assert any('Market-1501' in line for line in lines)


def test_lazy_init_reads_nothing_until_asked(tmp_path: Path) -> None:
    dataset = Market1501(str(tmp_path / 'later'), lazy_init=True)
    assert dataset.metainfo['num_cameras'] == 6
    write_market(tmp_path / 'later')
    assert dataset.num_ids == 3
    assert len(dataset) == 4


@pytest.mark.parametrize('serialize_data', [True, False])
def test_subset_keeps_labels(market: str, serialize_data: bool) -> None:
    dataset = Market1501(market, indices=[0, 3], serialize_data=serialize_data)
    assert dataset.person_ids.tolist() == [0, 2]
    assert dataset.num_ids == 3
    assert dataset.get_subset([1]).person_ids.tolist() == [2]


def test_pipeline_without_seed_uses_the_global_generators(market: str) -> None:
    dataset = Market1501(market, pipeline=TRAIN_PIPELINE)
    np.random.seed(3)
    first = [dataset[0]['inputs'] for _ in range(3)]
    np.random.seed(3)
    again = [dataset[0]['inputs'] for _ in range(3)]
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], first[1])
    assert 'augment_seed' not in dataset[0]['data_samples']


def test_seeded_item_depends_on_its_seed_alone(market: str) -> None:
    dataset = Market1501(market, pipeline=TRAIN_PIPELINE)
    np.random.seed(0)
    random.seed(0)
    numpy_state, python_state = np.random.get_state()[1].tolist(), random.getstate()
    first = dataset[SampleIndex(1, 2**40 + 5)]
    assert np.random.get_state()[1].tolist() == numpy_state
    assert random.getstate() == python_state
    np.random.seed(99)
    assert torch.equal(first['inputs'], dataset[SampleIndex(1, 2**40 + 5)]['inputs'])
    others = [dataset[SampleIndex(1, seed)]['inputs'] for seed in range(5)]
    assert not all(torch.equal(first['inputs'], other) for other in others)
    sample = first['data_samples']
    assert sample.augment_seed == 2**40 + 5
    assert type(sample.sample_idx) is int
    assert sample.sample_idx == 1


def test_generators_are_restored_after_an_error() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()

    def draw_and_fail() -> None:
        random.random(), np.random.rand()
        raise KeyError

    with pytest.raises(KeyError), seeded_augmentation(1):
        draw_and_fail()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_workers_do_not_change_the_images(market: str) -> None:
    dataset = Market1501(market, pipeline=TRAIN_PIPELINE)
    batches = [[SampleIndex(i % 4, 10 * b + i) for i in range(4)] for b in range(3)]

    def images(num_workers: int) -> torch.Tensor:
        loader = Runner.build_dataloader(
            {
                'dataset': dataset,
                'num_workers': num_workers,
                'batch_size': 4,
                'collate_fn': {'type': 'default_collate'},
                'sampler': [index for batch in batches for index in batch],
            }
        )
        return torch.cat([batch['inputs'] for batch in loader])

    alone = images(0)
    assert alone.shape == (12, 3, 32, 16)
    assert alone.dtype == torch.uint8
    assert torch.equal(alone, images(2))


def test_unreadable_image_is_an_error_and_not_replaced(tmp_path: Path) -> None:
    root = write_market(tmp_path / 'market1501')
    broken = root / 'bounding_box_train' / '0002_c6s1_000451_03.jpg'
    broken.write_bytes(broken.read_bytes()[:200])
    dataset = Market1501(str(root), pipeline=TRAIN_PIPELINE)
    assert dataset[1]['inputs'].shape == (3, 32, 16)
    with pytest.raises(ImageDecodeError, match=broken.name):
        dataset[0]
    batches = iter(DataLoader(dataset, num_workers=1, collate_fn=list, timeout=60))
    with pytest.raises(ImageDecodeError, match=broken.name):
        next(batches)
    assert len(list(batches)) == 3  # the others, once each


def test_pipeline_that_returns_none(market: str) -> None:
    with pytest.raises(RuntimeError, match='0002_c6s1_000451_03.jpg'):
        Market1501(market, pipeline=[lambda results: None])[0]
