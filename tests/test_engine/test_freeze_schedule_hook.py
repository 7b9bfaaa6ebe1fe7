"""What is frozen does not move, begins to learn when it should, and resumes as if never stopped."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from tiny_runs import render_tiny, write_tiny_config
from torch import nn
from warm_processes import run_ranks

from fusionreid.cli.main import run_command
from fusionreid.engine.hooks import FreezeScheduleHook
from fusionreid.errors import ConfigError

CNN, TRANSFORMER = 'branches.cnn.backbone.', 'branches.transformer.backbone.'
FREEZE = """
custom_hooks += [
    dict(
        type='FreezeScheduleHook',
        frozen_epochs={'branches.cnn.backbone': 1, 'branches.transformer.backbone': 2},
    ),
    dict(type='EMAHook', momentum=0.5),
]
optim_wrapper.update(clip_grad=dict(max_norm=1.0), constructor='DefaultOptimWrapperConstructor')
optim_wrapper.update(paramwise_cfg=dict(norm_decay_mult=0.0))
train_cfg.update(max_epochs=3)
"""


def write_config(folder: Path, extra: str = '') -> Path:
    return write_tiny_config(folder, render_tiny(folder / 'data'), extra=FREEZE + extra)


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> tuple[Path, Path]:
    """A config, and the folder of its three epochs."""
    folder = tmp_path_factory.mktemp('freeze')
    config = write_config(folder)
    options = ['--no-validate', '--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=3']
    run_command('train', [str(config), '--work-dir', str(folder / 'run'), *options])
    return config, folder / 'run'


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def part(checkpoint: dict, start: str) -> dict[str, torch.Tensor]:
    return {name: v for name, v in checkpoint['state_dict'].items() if name.startswith(start)}


def moved(before: dict, after: dict, start: str) -> set[str]:
    old, new = part(before, start), part(after, start)
    assert old.keys() == new.keys()
    assert old
    return {name for name in old if not torch.equal(old[name], new[name])}


@pytest.mark.slow
def test_parameters_and_statistics_do_not_move_until_their_epoch(run):
    first, second, third = (load(run[1] / f'epoch_{n}.pth') for n in (1, 2, 3))
    tracked = [v for name, v in part(first, CNN).items() if name.endswith('num_batches_tracked')]
    assert tracked
    assert all(value == 0 for value in tracked)
    assert moved(first, second, CNN) == set(part(first, CNN))
    assert not moved(first, second, TRANSFORMER)
    assert moved(second, third, TRANSFORMER)
    assert moved(first, second, 'neck.')
    # The average does not move either, and AdamW begins with the first step of each.
    steps = [
        {int(state['step']) for state in each['optimizer']['state'].values()}
        for each in (first, second, third)
    ]
    ends = [each['meta']['iter'] for each in (first, second, third)]
    assert steps == [
        {ends[0]},
        {ends[1], ends[1] - ends[0]},
        {ends[2], ends[2] - ends[0], ends[2] - ends[1]},
    ]


@pytest.mark.slow
def test_a_run_resumed_in_the_middle_ends_with_the_same_bits(run):
    config, folder = run
    expected = load(folder / 'epoch_3.pth')
    options = ['--work-dir', str(folder), '--no-validate', '--resume', str(folder / 'epoch_1.pth')]
    run_command('train', [str(config), *options])
    found = load(folder / 'epoch_3.pth')
    assert not moved(expected, found, '')
    for number, state in expected['optimizer']['state'].items():
        assert torch.equal(state['exp_avg'], found['optimizer']['state'][number]['exp_avg'])


@pytest.mark.slow
def test_two_processes(tmp_path):
    """They wait for no gradient of a frozen part, and learn alike from the first step on."""
    config = write_config(
        tmp_path, 'find_unused_parameters = True\ntrain_cfg.update(max_epochs=2)\n'
    )
    runs = [str(config), '--work-dir', str(tmp_path / 'run'), '--no-validate']
    command = ['tools/train.py', *runs, '--launcher', 'pytorch']
    outputs = [tmp_path / f'rank{rank}' for rank in range(2)]
    assert run_ranks(command, outputs, timeout=240) == [0, 0], outputs[0].read_text()[-3000:]
    first, second = (load(tmp_path / 'run' / f'epoch_{n}.pth') for n in (1, 2))
    assert moved(first, second, CNN) == set(part(first, CNN))
    assert not moved(first, second, TRANSFORMER)
    assert 'frozen' in outputs[0].read_text()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.head = nn.Linear(3, 1)
        self.head.bias.requires_grad_(False)


def fake_runner(model: nn.Module, loop: type = EpochBasedTrainLoop) -> SimpleNamespace:
    return SimpleNamespace(
        model=model, train_loop=object.__new__(loop), epoch=0, logger=logging.getLogger('freeze')
    )


def test_modes_and_gradients_by_epoch(caplog):
    model = Model()
    runner, hook = fake_runner(model), FreezeScheduleHook({'body.1': 3, 'body': 1})
    hook.before_train(runner)
    learning = []
    with caplog.at_level(logging.INFO):
        for runner.epoch in range(4):
            model.train()  # as the loop does
            hook.before_train_iter(runner, 0)
            names = [name for name, value in model.named_parameters() if value.requires_grad]
            modes = [name for name, module in model.named_modules() if module.training]
            learning.append((names, 'body.1' in modes, 'body.2' in modes))
    body = ['body.0.weight', 'body.0.bias']
    assert learning == [
        (['head.weight'], False, False),
        ([*body, 'head.weight'], False, True),
        ([*body, 'head.weight'], False, True),
        ([*body, 'body.1.weight', 'body.1.bias', 'head.weight'], True, True),
    ]
    assert [line.partition(':')[0] for line in caplog.messages] == [
        'from epoch 1 on',
        'from epoch 2 on',
        'from epoch 4 on',
    ]
    assert caplog.messages[0].endswith('body.1, body frozen, 3 of 18 parameters learn')
    hook.after_train(runner)
    assert not model.head.bias.requires_grad


@pytest.mark.parametrize(
    ('frozen', 'loop', 'expected'),
    [
        ({'neck': 1}, EpochBasedTrainLoop, "no part 'neck'; there are body, head"),
        ({'body.7': 1}, EpochBasedTrainLoop, r"no part 'body\.7'; there are 0, 1, 2"),
        ({'': 1}, EpochBasedTrainLoop, "no part ''"),
        ({'body': 1}, IterBasedTrainLoop, 'by_epoch=True'),
    ],
)
def test_schedules_that_do_not_fit(frozen, loop, expected):
    runner, hook = fake_runner(Model(), loop), FreezeScheduleHook(frozen)
    with pytest.raises(ConfigError, match=expected):
        hook.before_train(runner)


def test_something_has_to_learn():
    runner, hook = fake_runner(Model()), FreezeScheduleHook({'body': 1, 'head': 2})
    hook.before_train(runner)
    with pytest.raises(ConfigError, match='nothing learns in epoch 1'):
        hook.before_train_iter(runner, 0)


@pytest.mark.parametrize('value', [0, -1, 1.5, True, '3'])
def test_numbers_of_epochs(value):
    with pytest.raises(ValueError, match=r"frozen_epochs of 'body' must be a whole number"):
        FreezeScheduleHook({'body': value})


@pytest.fixture
def process_group():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [({}, 'find_unused_parameters=True'), (dict(static_graph=True), 'static_graph=False')],
)
def test_distributed_training_must_not_wait_for_frozen_parts(process_group, settings, expected):
    wrapped = MMDistributedDataParallel(Model(), find_unused_parameters=bool(settings), **settings)
    with pytest.raises(ConfigError, match=expected):
        FreezeScheduleHook({'body': 1}).before_train(fake_runner(wrapped))
