from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_runs import parse_command, render_tiny, write_tiny_config

from fusionreid.cli.benchmarks.instruments import PeakMemory, PhaseTimer, matrix_product_rate
from fusionreid.cli.benchmarks.model_speed import median_round, training_precision
from fusionreid.cli.main import run_command
from fusionreid.errors import ConfigError, ScoringError
from fusionreid.utils.device import find_device

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
    run_command(f'benchmark {name}', list(args))
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def error(name: str, *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        run_command(f'benchmark {name}', list(args))
    return str(caught.value)


@pytest.mark.slow
def test_training_beside_its_plain_form(config: str, capsys: pytest.CaptureFixture) -> None:
    result = run('train', capsys, config, *TINY, '--plain', '--rounds', '2', '--precision', 'bf16')
    assert COMMON | {'plain_images_per_s', 'plain_peak_gib', 'plain_ms_per_step'} <= result.keys()
    assert list(result['ms_per_step']) == ['data', 'forward', 'backward', 'optimizer']
    assert result['plain_ms_per_step'].keys() == result['ms_per_step'].keys()
    # The phases are parts of a step.
    per_step = 1e3 * 4 / result['images_per_s']
    assert 0 < sum(result['ms_per_step'].values()) <= 1.01 * per_step
    assert result['precision'] == 'bf16'
    assert result['batch_size'] == 4
    assert result['ratio'] > 0
    assert result['share_of_ceiling'] == pytest.approx(
        result['images_per_s'] * result['gflop_per_image'] / 1e3 / result['ceiling_tflops'],
        rel=0.05,
        abs=1e-3,
    )
    assert result['peak_gib'] > 0.05


@pytest.mark.slow
def test_compiling_is_compared_with_the_eager_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write_tiny_config(
        tmp_path, data, 'r18_synthetic', "model['compile'] = dict(backend='eager')"
    )
    result = run('extract', capsys, str(path), *TINY, '--compile', '--rounds', '2')
    assert result['compile'] is True
    # What is traced takes longer than a step.
    assert result['compile_s'] > 4 / result['images_per_s']
    assert result['compile_ratio'] > 0
    assert result['eager_images_per_s'] > 0


@pytest.mark.slow
def test_extraction_of_a_data_set(config: str, capsys: pytest.CaptureFixture) -> None:
    made_up = run('extract', capsys, config, *TINY)
    assert made_up.keys() >= COMMON
    assert 'ratio' not in made_up
    assert list(made_up['ms_per_step']) == ['data', 'forward', 'collect']
    read = run('extract', capsys, config, *TINY, '--data', '--plain')
    assert (made_up['data'], read['data']) == ('made up', 'test_dataloader')
    assert read['ratio'] > 0
    trained = run('train', capsys, config, *TINY, '--data')
    assert trained['data'] == 'train_dataloader'
    # A training step counts as three forward passes.
    assert trained['gflop_per_image'] == pytest.approx(3 * read['gflop_per_image'], rel=0.01)


def test_the_plain_optimizer_updates_each_parameter_alone(config: str) -> None:
    from fusionreid.cli.benchmarks import train as tool

    args = parse_command('benchmark train', [config, *TINY])
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


@pytest.mark.parametrize(
    ('wrapper', 'options', 'precision'),
    [
        (dict(type='OptimWrapper'), [], 'fp32'),
        (dict(type='ReIDAmpOptimWrapper', dtype='bfloat16'), [], 'bf16'),
        (dict(type='AmpOptimWrapper', dtype='bfloat16'), ['--precision', 'fp32'], 'fp32'),
        (dict(type='OptimWrapper'), ['--precision', 'bf16'], 'bf16'),
    ],
)
def test_training_is_measured_in_its_own_precision(
    config: str, wrapper: dict, options: list[str], precision: str
) -> None:
    cfg = Config.fromfile(config)
    cfg.optim_wrapper.update(wrapper)
    cfg.dump(config)
    from fusionreid.cli.benchmarks import train as tool

    args = parse_command('benchmark train', [config, *TINY, *options])
    assert tool.prepare(args, 'train_dataloader').precision == precision
    extraction = tool.prepare(args, 'test_dataloader')
    assert extraction.precision == (precision if options else 'fp32')


@pytest.mark.parametrize(
    ('dtype', 'precision'), [(None, 'fp16'), ('float16', 'fp16'), (torch.bfloat16, 'bf16')]
)
def test_precision_of_mixed_training(dtype: object, precision: str) -> None:
    wrapper = dict(type='AmpOptimWrapper', dtype=dtype)
    assert training_precision(Config(dict(optim_wrapper=wrapper))) == precision
    with pytest.raises(ConfigError, match='float64 is not measured: give --precision'):
        training_precision(Config(dict(optim_wrapper={**wrapper, 'dtype': 'float64'})))


def test_the_optimizer_steps_when_enough_batches_are_accumulated(config: str) -> None:
    from fusionreid.cli.benchmarks import train as tool

    options = ['--cfg-options', 'optim_wrapper.accumulative_counts=3']
    speed_run = tool.prepare(
        parse_command('benchmark train', [config, *TINY, *options]), 'train_dataloader'
    )
    step = tool.build_step(speed_run, plain=False)
    weight = next(weight for weight in speed_run.model.parameters() if weight.requires_grad)
    changed = []
    for _ in range(6):
        before = weight.detach().clone()
        step(PhaseTimer(CPU))
        changed.append(not torch.equal(before, weight))
    assert changed == [False, False, True] * 2


def test_features_are_collected_as_in_testing(config: str) -> None:
    from fusionreid.cli.benchmarks import extract as tool

    speed_run = tool.prepare(parse_command('benchmark extract', [config, *TINY]), 'test_dataloader')
    collectors = []

    class Collector(tool.FeatureCollector):
        def __init__(self) -> None:
            super().__init__()
            collectors.append(self)

    tool.FeatureCollector = Collector
    tool.build_step(speed_run, plain=False)(PhaseTimer(CPU))
    (collector,) = collectors
    features = collector.gather(4).features
    assert len(features) == 4
    assert features.isfinite().all()
    for weight in speed_run.model.parameters():
        weight.data.fill_(math.nan)
    with pytest.raises(ScoringError, match='holds a NaN or infinite value'):
        tool.build_step(speed_run, plain=False)(PhaseTimer(CPU))


@pytest.mark.slow
def test_mistakes_are_told_in_one_line(config: str, tmp_path: Path) -> None:
    assert 'there is no config file' in error('train', str(tmp_path / 'gone.py'))
    assert '--steps must be at least 1, got 0' in error('train', config, '--steps', '0')
    assert '--warmup must be at least 0' in error('extract', config, '--warmup', '-1')
    if not torch.cuda.is_available():
        assert 'torch sees 0 GPUs here' in error('train', config, '--device', 'cuda')
    for name in ('gpu', 'meta', 'cuda:x'):
        assert f"device '{name}' is unknown: expected cpu, cuda" in error(
            'extract', config, '--device', name
        )
    assert 'no multiple of the 2 images per identity' in error(
        'train', config, '--data', '--batch-size', '5'
    )
    assert 'no full batch of 4096 images' in error(
        'extract', config, '--data', '--batch-size', '4096'
    )
    message = error('train', config, *TINY, '--cfg-options', 'model.head.num_classes=None')
    assert 'leaves model.head.num_classes to the training set' in message


def test_data_loader_beside_torchvision(
    data: Path, config: str, capsys: pytest.CaptureFixture
) -> None:
    small = ['--batch-size', '4', '--batches', '3', '--rounds', '1']
    result = run('dataloader', capsys, config, *small, '--workers', '0', '--torchvision')
    assert result['images'] == 'MarketStyleDataset'
    assert result['input_size'] == [64, 32]
    assert result['ratio_per_core'] == pytest.approx(
        result['images_per_s_per_core'] / result['torchvision_images_per_s_per_core'], rel=0.02
    )
    folder = str(data / 'bounding_box_train')
    cached = run(
        'dataloader',
        capsys,
        *['--images', folder, *small, '--workers', '1'],
        *['--cfg-options', 'train_dataloader.dataset.cache_images=True'],
    )
    assert (cached['images'], cached['cache_images']) == ('folder', True)
    assert cached['input_size'] == [256, 128]
    assert 'ratio' not in cached
    assert cached['images_per_s'] > 0


@pytest.mark.slow
def test_data_loader_renders_people_where_there_are_none(capsys: pytest.CaptureFixture) -> None:
    result = run(
        *['dataloader', capsys, '--batch-size', '4', '--batches', '2', '--rounds', '1'],
        *['--workers', '0'],
    )
    assert result['images'] == 'rendered 128x64'


def test_data_loader_mistakes(tmp_path: Path) -> None:
    assert 'there is no image in' in error('dataloader', '--images', str(tmp_path))
    assert 'there is no such folder' in error('dataloader', '--data-root', str(tmp_path / 'gone'))


def test_devices_beyond_the_last_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert find_device('cuda:1') == torch.device('cuda:1')
    with pytest.raises(ConfigError, match="device 'cuda:2' is not there: torch sees 2 GPUs here"):
        find_device('cuda:2')


@pytest.mark.parametrize(
    ('workers', 'batches', 'untimed', 'timed'), [(0, 3, 1, 3), (1, 3, 1, 3), (2, 3, 2, 4)]
)
def test_the_clock_starts_when_each_worker_has_given_a_batch(
    monkeypatch: pytest.MonkeyPatch, workers: int, batches: int, untimed: int, timed: int
) -> None:
    from fusionreid.cli.benchmarks import dataloader as tool

    seen = []

    def loader(dataset: object, sampler: object, **settings: int) -> Iterator[list]:
        for _ in range(len(sampler) // settings['batch_size']):
            seen.append('batch')
            yield [torch.zeros(settings['batch_size'])]

    def clock() -> float:
        seen.append('clock')
        return float(seen.count('batch'))

    monkeypatch.setattr(tool, 'DataLoader', loader)
    monkeypatch.setattr(tool.time, 'perf_counter', clock)
    usage = tool.Usage()
    tool.run_loader([None] * 5, dict(batch_size=2, num_workers=workers), batches, usage)
    assert seen == ['batch'] * untimed + ['clock'] + ['batch'] * timed + ['clock']
    assert (usage.images, usage.timed_images) == (2 * (untimed + timed), 2 * timed)
    assert usage.wall == timed


def test_draws_are_shuffled_and_seeded() -> None:
    draws = import_module('fusionreid.cli.benchmarks.dataloader').SeededDraws(5, 12)
    indices = list(draws)
    assert len(draws) == len(indices) == 12
    assert sorted(map(int, indices[:5])) == sorted(map(int, indices[5:10])) == list(range(5))
    assert len({index.augment_seed for index in indices}) == 12


def test_plain_pipeline_is_the_published_one(data: Path) -> None:
    from fusionreid.cli.benchmarks import dataloader as tool

    paths = [str(path) for path in sorted((data / 'query').glob('*.jpg'))]
    image, path = tool.TorchvisionDataset(paths, (64, 32), 5)[0]
    assert image.shape == (3, 64, 32)
    assert image.dtype == torch.float32
    assert path == paths[0]


def test_phases_add_up() -> None:
    timer = PhaseTimer(CPU)
    for _ in range(2):
        with timer.phase('short'):
            time.sleep(0.01)
        with timer.phase('long'):
            time.sleep(0.03)
    seconds = timer.seconds()
    assert list(seconds) == ['short', 'long']
    assert seconds['short'] >= 0.02
    assert seconds['long'] >= 0.06


@pytest.mark.slow
def test_peak_memory_sees_what_is_gone_again() -> None:
    with PeakMemory(CPU) as peak:
        # So large that it is never cut from memory that was in use before.
        torch.ones(128 << 20, dtype=torch.uint8).sum()
    assert peak.bytes > 120 << 20
    assert peak.peak > peak.bytes


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_matrix_product_rate(dtype: torch.dtype) -> None:
    rate = matrix_product_rate(CPU, dtype, side=64, repeats=2)
    assert math.isfinite(rate)
    assert rate > 1e6


def test_the_median_round_counts() -> None:
    rounds = [dict(images_per_s=speed, peak_gib=peak) for speed, peak in ((5, 1), (9, 2), (7, 3))]
    assert median_round(rounds) == dict(images_per_s=7, peak_gib=1)
    assert median_round(rounds[:2]) == dict(images_per_s=5, peak_gib=1)


@pytest.mark.slow
def test_ranking_prints_one_line(capsys: pytest.CaptureFixture) -> None:
    record = run('ranking', capsys, '--scale', 'tiny', '--repeats', '1')
    assert record['queries'] == 200
    assert record['gallery'] == 1000
