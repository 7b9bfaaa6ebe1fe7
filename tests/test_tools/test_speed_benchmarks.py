from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_runs import load_tool, render_tiny, write_tiny_config

from fusionreid.analysis.speed import PeakMemory, PhaseTimer, matrix_product_rate
from fusionreid.analysis.speed_runs import median_round

CPU = torch.device('cpu')
COMMON = {'images_per_s', 'share_of_ceiling', 'peak_gib', 'ms_per_step', 'gflop_per_image'}
TINY = ['--device', 'cpu', '--batch-size', '4', '--steps', '2', '--warmup', '1']


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_tiny(tmp_path_factory.mktemp('data'))


@pytest.fixture
def config(tmp_path: Path, data: Path) -> str:
    path = write_tiny_config(tmp_path, data)
    cfg = Config.fromfile(path)
    cfg.input_size = (64, 32)
    cfg.dump(path)
    return str(path)


def run(name: str, capsys: pytest.CaptureFixture, *args: str) -> dict:
    """Run a tool and return what it prints: one line of JSON."""
    load_tool(f'benchmarks/{name}').main(list(args))
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def error(name: str, *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        load_tool(f'benchmarks/{name}').main(list(args))
    return str(caught.value)


def test_training_beside_its_plain_form(config: str, capsys: pytest.CaptureFixture) -> None:
    result = run(
        'train_speed', capsys, config, *TINY, '--plain', '--rounds', '2', '--precision', 'bf16'
    )
    assert COMMON | {'plain_images_per_s', 'plain_peak_gib', 'plain_ms_per_step'} <= result.keys()
    assert list(result['ms_per_step']) == ['data', 'forward', 'backward', 'optimizer']
    assert result['plain_ms_per_step'].keys() == result['ms_per_step'].keys()
    # The phases are parts of a step.
    per_step = 1e3 * 4 / result['images_per_s']
    assert 0 < sum(result['ms_per_step'].values()) <= 1.01 * per_step
    assert result['precision'] == 'bf16' and result['batch_size'] == 4
    assert result['ratio'] > 0
    assert result['share_of_ceiling'] == pytest.approx(
        result['images_per_s'] * result['gflop_per_image'] / 1e3 / result['ceiling_tflops'],
        rel=0.05,
        abs=1e-3,
    )
    assert result['peak_gib'] > 0.05


def test_extraction_of_a_data_set(config: str, capsys: pytest.CaptureFixture) -> None:
    made_up = run('extract_speed', capsys, config, *TINY)
    assert made_up.keys() >= COMMON and 'ratio' not in made_up
    assert list(made_up['ms_per_step']) == ['data', 'forward', 'collect']
    read = run('extract_speed', capsys, config, *TINY, '--data', '--plain')
    assert (made_up['data'], read['data']) == ('made up', 'test_dataloader')
    assert read['ratio'] > 0
    trained = run('train_speed', capsys, config, *TINY, '--data')
    assert trained['data'] == 'train_dataloader'
    # A training step counts as three forward passes.
    assert trained['gflop_per_image'] == pytest.approx(3 * read['gflop_per_image'], rel=0.01)


def test_the_plain_optimizer_updates_each_parameter_alone(config: str) -> None:
    tool = load_tool('benchmarks/train_speed')
    args = tool.parse_args([config, *TINY])
    speed_run = tool.prepare(args, 'train_dataloader')
    tool.set_precision(speed_run.cfg, 'fp32')
    fast, plain = (tool.build_optimizer(speed_run, flag).optimizer for flag in (False, True))
    trainable = [weight for weight in speed_run.model.parameters() if weight.requires_grad]
    assert len(plain.param_groups) == len(trainable) > 10 * len(fast.param_groups)
    assert all(not g['foreach'] and not g['fused'] for g in plain.param_groups)

    def options(optimizer: torch.optim.Optimizer) -> dict:
        return {
            weight: (group['lr'], group['weight_decay'])
            for group in optimizer.param_groups
            for weight in group['params']
            if weight.requires_grad
        }

    assert options(fast) == options(plain)


def test_mistakes_are_told_in_one_line(config: str, tmp_path: Path) -> None:
    assert 'there is no config file' in error('train_speed', str(tmp_path / 'gone.py'))
    assert '--steps must be at least 1, got 0' in error('train_speed', config, '--steps', '0')
    assert '--warmup must be at least 0' in error('extract_speed', config, '--warmup', '-1')
    if not torch.cuda.is_available():
        assert 'there is no GPU here' in error('train_speed', config, '--device', 'cuda')
    assert 'no multiple of the 2 images per identity' in error(
        'train_speed', config, '--data', '--batch-size', '5'
    )
    assert 'no full batch of 4096 images' in error(
        'extract_speed', config, '--data', '--batch-size', '4096'
    )
    message = error('train_speed', config, *TINY, '--cfg-options', 'model.head.num_classes=None')
    assert 'leaves model.head.num_classes to the training set' in message


def test_data_loader_beside_torchvision(
    data: Path, config: str, capsys: pytest.CaptureFixture
) -> None:
    small = ['--batch-size', '4', '--batches', '3', '--rounds', '1']
    result = run('dataloader_speed', capsys, config, *small, '--workers', '0', '--plain')
    assert result['images'] == 'MarketStyleDataset' and result['input_size'] == [64, 32]
    assert result['ratio_per_core'] == pytest.approx(
        result['images_per_s_per_core'] / result['plain_images_per_s_per_core'], rel=0.02
    )
    folder = str(data / 'bounding_box_train')
    cached = run(
        'dataloader_speed',
        capsys,
        *['--images', folder, *small, '--workers', '1'],
        *['--cfg-options', 'train_dataloader.dataset.cache_images=True'],
    )
    assert (cached['images'], cached['cache_images']) == ('folder', True)
    assert cached['input_size'] == [256, 128] and 'ratio' not in cached
    assert cached['images_per_s'] > 0


def test_data_loader_renders_people_where_there_are_none(capsys: pytest.CaptureFixture) -> None:
    result = run(
        *['dataloader_speed', capsys, '--batch-size', '4', '--batches', '2', '--rounds', '1'],
        *['--workers', '0'],
    )
    assert result['images'] == 'rendered 128x64'


def test_data_loader_mistakes(tmp_path: Path) -> None:
    assert 'there is no .jpg, .jpeg, .png below it' in error(
        'dataloader_speed', '--images', str(tmp_path)
    )
    assert 'there is no such folder' in error(
        'dataloader_speed', '--data-root', str(tmp_path / 'gone')
    )


def test_draws_are_shuffled_and_seeded() -> None:
    draws = load_tool('benchmarks/dataloader_speed').SeededDraws(5, 12)
    indices = list(draws)
    assert len(draws) == len(indices) == 12
    assert sorted(map(int, indices[:5])) == sorted(map(int, indices[5:10])) == list(range(5))
    assert len({index.augment_seed for index in indices}) == 12


def test_plain_pipeline_is_the_published_one(data: Path) -> None:
    tool = load_tool('benchmarks/dataloader_speed')
    paths = [str(path) for path in sorted((data / 'query').glob('*.jpg'))]
    image, path = tool.PlainDataset(paths, (64, 32), 5)[0]
    assert image.shape == (3, 64, 32) and image.dtype == torch.float32 and path == paths[0]


def test_phases_add_up() -> None:
    timer = PhaseTimer(CPU)
    for _ in range(2):
        with timer.phase('short'):
            time.sleep(0.01)
        with timer.phase('long'):
            time.sleep(0.03)
    seconds = timer.seconds()
    assert list(seconds) == ['short', 'long']
    assert seconds['short'] >= 0.02 and seconds['long'] >= 0.06


def test_peak_memory_sees_what_is_gone_again() -> None:
    with PeakMemory(CPU) as peak:
        torch.ones(32 << 20, dtype=torch.uint8).sum()
    assert peak.bytes > 30 << 20
    assert peak.peak > peak.bytes


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_matrix_product_rate(dtype: torch.dtype) -> None:
    rate = matrix_product_rate(CPU, dtype, side=64, repeats=2)
    assert math.isfinite(rate) and rate > 1e6


def test_the_median_round_counts() -> None:
    rounds = [dict(images_per_s=speed, peak_gib=peak) for speed, peak in ((5, 1), (9, 2), (7, 3))]
    assert median_round(rounds) == dict(images_per_s=7, peak_gib=1)
    assert median_round(rounds[:2]) == dict(images_per_s=5, peak_gib=1)
