"""What a resumed run says that it keeps of its checkpoint, and what it then does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import refused, render_tiny, write_tiny_config

from fusionreid.cli.main import run_command
from fusionreid.engine.resuming import (
    CHANGES,
    KEPT,
    compare_configs,
    kinds_of,
    refuse_other_optimizer,
)
from fusionreid.errors import ConfigError

OPTIMIZER = 'optim_wrapper.optimizer'


@pytest.fixture(scope='module')
def first(tmp_path_factory) -> tuple[Path, Path]:
    """The config of a training of two epochs, and the checkpoint of its first."""
    folder = tmp_path_factory.mktemp('resuming')
    config = write_tiny_config(folder, render_tiny(folder / 'data'), 'r18_synthetic')
    run_command('train', [str(config), '--work-dir', str(folder / 'run')])
    return config, folder / 'run' / 'epoch_1.pth'


def resume(first: tuple[Path, Path], work_dir: Path, *arguments: str) -> tuple[dict, dict]:
    """Resume the second epoch.

    Returns:
        The rows of the table by setting, and the checkpoint of the second epoch.
    """
    config, checkpoint = first
    work_dir.mkdir()
    shutil.copy(checkpoint, work_dir)
    run_command('train', [str(config), '--work-dir', str(work_dir), '--resume', *arguments])
    (log,) = (path.read_text() for path in work_dir.glob('*/*.log'))
    _, _, table = log.partition('was written with other settings:\n')
    rows = {}
    for line in table.splitlines()[1:]:
        cells = re.split(r' {2,}', line)
        if len(cells) != 4:
            break
        rows[cells[0]] = cells[1:]
    return rows, torch.load(work_dir / 'epoch_2.pth', weights_only=True)


@pytest.mark.slow
def test_what_the_table_says_is_what_happens(first, tmp_path):
    unchanged, plain = resume(first, tmp_path / 'plain', '--no-validate')
    # Not scoring is a difference, and the only one.
    assert {name.partition('.')[0] for name in unchanged} <= {'val_evaluator', 'default_hooks'}
    rows, changed = resume(
        first,
        tmp_path / 'changed',
        *('--no-validate', '--amp', 'bf16', '--cfg-options'),
        *(f'{OPTIMIZER}.lr=0.1', f'{OPTIMIZER}.weight_decay=0.3', f'{OPTIMIZER}.betas=[0.8,0.9]'),
        *('train_dataloader.batch_size=4', 'train_dataloader.sampler.ids_per_batch=2'),
        *('randomness.seed=5', 'param_scheduler.warmup_epochs=0', 'train_cfg.max_epochs=3'),
    )
    assert rows[f'{OPTIMIZER}.lr'] == ['0.001', '0.1', KEPT]
    assert rows[f'{OPTIMIZER}.weight_decay'][1:] == ['0.3', KEPT]
    assert rows[f'{OPTIMIZER}.betas'][1:] == ['(0.8, 0.9)', KEPT]
    assert rows['param_scheduler.warmup_epochs'] == ['1', '0', KEPT]
    assert rows['param_scheduler.end'] == ['2', '3', KEPT]
    assert rows['randomness.seed'] == ['1111', '5', KEPT]
    assert rows['train_dataloader.batch_size'] == ['8', '4', CHANGES]
    assert rows['train_cfg.max_epochs'] == ['2', '3', CHANGES]
    assert rows['optim_wrapper.dtype'] == ['not set', 'bfloat16', CHANGES]
    assert (tmp_path / 'changed' / 'epoch_3.pth').is_file()
    assert changed['meta']['seed'] == plain['meta']['seed'] == 1111
    groups = [content['optimizer']['param_groups'] for content in (plain, changed)]
    for one, other in zip(*groups, strict=True):
        assert one == other
    ends = [content['param_schedulers'][0]['end'] for content in (plain, changed)]
    assert ends == [2, 2]
    # The sampler of twice as many batches an epoch.
    assert changed['meta']['iter'] > plain['meta']['iter']


@pytest.mark.slow
def test_the_seed_of_the_checkpoint_draws_the_batches(first, tmp_path):
    _, plain = resume(first, tmp_path / 'plain')
    rows, other = resume(first, tmp_path / 'other', '--cfg-options', 'randomness.seed=5')
    assert rows == {'randomness.seed': ['1111', '5', KEPT]}
    for name, value in plain['state_dict'].items():
        assert torch.equal(other['state_dict'][name], value), name


@pytest.mark.slow
def test_without_differences_there_is_no_table(first, tmp_path):
    assert resume(first, tmp_path / 'run', '--cfg-options', 'val_dataloader.num_workers=0')[0] == {}


@pytest.mark.slow
def test_another_best_score_begins_anew(first, tmp_path):
    name = 'default_hooks.checkpoint.save_best'
    rows, content = resume(first, tmp_path / 'run', '--cfg-options', f'{name}=reid/rank1')
    assert rows[name][:2] == ['reid/mAP', 'reid/rank1']
    assert rows[name][2].startswith(CHANGES)
    assert content['message_hub']['runtime_info']['best_ckpt'].startswith('best_reid_rank1_')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            "optim_wrapper['optimizer'] = dict(type='SGD', lr=0.1, momentum=0.9)",
            'the state of AdamW, which SGD cannot go on with: set .*type=AdamW, or start a new',
        ),
        (
            "optim_wrapper['optimizer'] = dict(type='Adam', lr=0.1)",
            'the state of AdamW, which Adam cannot go on with',
        ),
        (
            "optim_wrapper['paramwise_cfg'] = dict(norm_decay_mult=0.0)",
            r'groups the parameters of its optimizer as 1 group\(s\)',
        ),
        (
            "optim_wrapper['constructor'] = 'DefaultOptimWrapperConstructor'\n"
            "optim_wrapper['paramwise_cfg'] = dict(norm_decay_mult=0.0)",
            r'as 1 group\(s\) of \d+, this config as \d+ group',
        ),
        (
            "param_scheduler = dict(type='ExponentialLR', gamma=0.5)",
            'schedule is WarmupCosineLR, which ExponentialLR cannot go on with',
        ),
        (
            "param_scheduler = [param_scheduler, dict(type='ExponentialLR', gamma=0.5)]",
            'schedule is WarmupCosineLR, which WarmupCosineLR, ExponentialLR cannot go on with',
        ),
    ],
)
def test_what_cannot_be_combined_is_refused_in_one_line(lines, message, first, tmp_path):
    config, checkpoint = first
    other = tmp_path / 'other.py'
    other.write_text(f'{config.read_text()}\n{lines}\n')
    run = ['--work-dir', str(tmp_path / 'run'), '--resume', str(checkpoint)]
    line = refused('train', [str(other), *run])
    assert re.search(message, line), line
    assert 'load_from=' in line
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda content: content.update(optimizer=[1]), 'optimizer is not of the form'),
        (lambda content: content['optimizer'].update(param_groups=3), 'no state of an optimizer'),
        (lambda content: content['meta'].update(epoch='1'), 'does not say after which epoch'),
        (
            lambda content: content['meta'].update(seed='open("x")'),
            'meta.seed must be a whole number',
        ),
        (
            lambda content: content['meta'].update(param_groups=[['a', 'b']]),
            'grouped in another way',
        ),
        (lambda content: content['optimizer']['param_groups'][0].pop('betas'), 'it lacks betas'),
        (lambda content: content.update(param_schedulers=[]), r'schedule is'),
        (lambda content: content['optimizer'].update(state=[1]), 'no state of an optimizer'),
        (lambda content: content['optimizer']['state'].update({0: 3}), 'no state of an optimizer'),
        (lambda content: content['optimizer']['state'][0].update(step='x'), "holds 'x' as step"),
        (lambda content: content['optimizer']['param_groups'][0].update(lr='x'), "holds 'x' as lr"),
        (lambda content: content['optimizer']['param_groups'][0].update(betas=3), '3 as betas'),
        (lambda content: content['param_schedulers'][0].update(step='x'), "holds 'x' as step of"),
        (lambda content: content['param_schedulers'][0].update(last_step=0.5), '0.5 as last_step'),
        (
            lambda content: content['optimizer']['state'][0].update(exp_avg=torch.zeros(2, 3)),
            r'exp_avg of shape \[2, 3\]',
        ),
    ],
)
def test_a_damaged_state_is_refused_in_one_line(change, message, first, tmp_path):
    config, checkpoint = first
    content = torch.load(checkpoint, weights_only=True)
    del content['meta']['tensor_sha256']  # or any change is refused as damage
    change(content)
    torch.save(content, tmp_path / 'changed.pth')
    run = ['--work-dir', str(tmp_path / 'run'), '--resume', str(tmp_path / 'changed.pth')]
    assert re.search(message, refused('train', [str(config), *run]))


@pytest.mark.slow
def test_a_config_in_a_checkpoint_is_not_run(first, tmp_path):
    config, checkpoint = first
    content = torch.load(checkpoint, weights_only=True)
    flag = tmp_path / 'ran'
    content['meta']['cfg'] = f"optim_wrapper = open({str(flag)!r}, 'w')\n"
    torch.save(content, tmp_path / 'epoch_1.pth')
    run_command('train', [str(config), '--work-dir', str(tmp_path), '--resume'])
    (log,) = (path.read_text() for path in tmp_path.glob('*/*.log'))
    assert 'the settings of the two configs are not compared' in log
    assert not flag.exists()


def test_settings_of_speed_and_of_the_optimizer_are_left_out():
    saved = dict(
        train_dataloader=dict(num_workers=4, dataset=dict(pipeline=[dict(size=1), dict(p=0.5)])),
        optim_wrapper=dict(optimizer=dict(lr=0.1), clip_grad=None),
        model=dict(neck=None),
    )
    current = dict(
        train_dataloader=dict(num_workers=0, dataset=dict(pipeline=[dict(size=2), dict(p=0.5)])),
        optim_wrapper=dict(optimizer=dict(lr=0.2)),
        model=dict(neck=dict(type='HTM')),
    )
    found = compare_configs(saved, current)
    assert [each.setting for each in found] == [
        'train_dataloader.dataset.pipeline.0.size',
        'model.neck',
    ]
    assert {each.effect for each in found} == {CHANGES}


def test_adamw_does_not_go_on_with_the_state_of_an_unknown_optimizer():
    weight = torch.zeros(2, requires_grad=True)
    state = torch.optim.SGD([weight], lr=0.1, momentum=0.9).state_dict()
    with pytest.raises(ValueError, match='another optimizer than AdamW, it lacks betas, eps'):
        refuse_other_optimizer(torch.optim.AdamW([weight]), state, None, True, 'start anew')


def stepped(kind: type, **options: Any) -> torch.optim.Optimizer:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = kind([weight], lr=0.1, **options)
    weight.sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ('kind', 'options'), [(torch.optim.SGD, dict(momentum=0.9)), (torch.optim.AdamW, {})]
)
@pytest.mark.parametrize('empty', [{}, {0: {}}, {7: {'exp_avg': torch.ones(2)}}])
def test_moments_that_are_gone_are_no_fresh_start(kind, options, empty):
    optimizer = stepped(kind, **options)
    state = optimizer.state_dict()
    refuse_other_optimizer(optimizer, state, None, True, 'start anew')
    state['state'] = empty
    with pytest.raises(ConfigError, match='holds no moments of any parameter: .* start anew'):
        refuse_other_optimizer(optimizer, state, None, True, 'start anew')
    refuse_other_optimizer(optimizer, state, None, False, 'start anew')


def test_an_optimizer_without_moments_has_none():
    optimizer = stepped(torch.optim.SGD)
    refuse_other_optimizer(optimizer, dict(optimizer.state_dict(), state={}), None, True, '')


@pytest.mark.parametrize('options', [dict(betas=(2, 3)), dict(lr=-1.0), dict(weight_decay=-1)])
def test_options_that_cannot_be_are_refused(options):
    optimizer = stepped(torch.optim.AdamW)
    state = optimizer.state_dict()
    state['param_groups'][0].update(options)
    with pytest.raises(ConfigError, match=r'options .* cannot be \(.*\): start anew'):
        refuse_other_optimizer(optimizer, state, None, True, 'start anew')


def test_an_option_is_one_number():
    optimizer = stepped(torch.optim.AdamW)
    state = optimizer.state_dict()
    state['param_groups'][0]['eps'] = torch.ones(2)
    with pytest.raises(ConfigError, match='as eps of its optimizer, where this run has 1e-08'):
        refuse_other_optimizer(optimizer, state, None, True, 'start anew')


@pytest.mark.slow
def test_a_checkpoint_whose_moments_are_gone_is_refused_in_a_line(first, tmp_path):
    config, checkpoint = first
    content = torch.load(checkpoint, weights_only=True)
    content['optimizer']['state'] = {}
    del content['meta']['tensor_sha256']
    torch.save(content, tmp_path / 'epoch_1.pth')
    line = refused('train', [str(config), '--work-dir', str(tmp_path), '--resume'])
    assert 'holds no moments of any parameter' in line


def test_a_config_of_another_form_in_a_checkpoint_names_no_schedule():
    assert kinds_of(3) == kinds_of([3]) == kinds_of('a') == []
