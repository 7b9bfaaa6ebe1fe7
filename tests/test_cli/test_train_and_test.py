"""Training and scoring from the command line's entry points, in one process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import weakref
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_runs import ROOT, parse_command, refused, render_tiny, write_tiny_config
from warm_processes import run

from fusionreid.cli import test, train
from fusionreid.cli.main import run_command

pytestmark = pytest.mark.slow  # trains


@pytest.fixture(scope='module')
def straight(data, tmp_path_factory) -> tuple[Path, Path]:
    """A run of two epochs: its config and its work dir."""
    folder = tmp_path_factory.mktemp('straight')
    config = write_tiny_config(folder, data)
    run_command('train', [str(config), '--work-dir', str(folder / 'run')])
    return config, folder / 'run'


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)['state_dict']


def assert_same_weights(first: Path, second: Path) -> None:
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def scalars(work_dir: Path) -> list[dict]:
    lines = [
        line for file in sorted(work_dir.glob('*/vis_data/scalars.json')) for line in file.open()
    ]
    return [json.loads(line) for line in lines]


def test_training_logs_every_loss_and_scores(straight):
    _, work_dir = straight
    logged = scalars(work_dir)
    losses = {key for row in logged for key in row if '.loss_' in key}
    assert len(losses) == 12
    assert 'cnn_fused.loss_triplet' in losses
    assert [row['reid/mAP'] for row in logged if 'reid/mAP' in row][-1] > 0
    assert list(work_dir.glob('*/vis_data/events.out.tfevents.*'))  # TensorBoard
    etas = re.findall(r'eta: (\S+)', next(work_dir.glob('*/*.log')).read_text())
    assert etas[-1] == '0:00:00'
    assert not any('-' in eta for eta in etas)
    assert (work_dir / 'epoch_2.pth').exists()
    assert list(work_dir.glob('best_reid_mAP_epoch_*.pth'))


def test_checkpoints_are_plain_data(straight):
    _, work_dir = straight
    for checkpoint in work_dir.glob('*.pth'):
        assert not torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint)


def test_scoring_a_checkpoint_gives_the_scores_of_training(straight, tmp_path):
    config, work_dir = straight
    run_command(
        'test',
        [
            str(config),
            str(work_dir / 'epoch_2.pth'),
            '--work-dir',
            str(tmp_path),
            '--out',
            str(tmp_path / 'out'),
        ],
    )
    metrics = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    logged = [row for row in scalars(work_dir) if 'reid/mAP' in row][-1]
    for name in ('reid/mAP', 'reid/rank1', 'reid/mINP'):
        assert metrics[name] == pytest.approx(logged[name], abs=1e-4)


def test_chosen_features(straight, tmp_path, capfd):
    config, work_dir = straight
    run_command(
        'test',
        [
            str(config),
            str(work_dir / 'epoch_2.pth'),
            '--work-dir',
            str(tmp_path),
            '--out',
            str(tmp_path / 'out'),
            '--features',
            'cnn_fused',
        ],
    )
    metrics = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert not any('transformer' in name for name in metrics)


def test_resuming_gives_the_weights_of_the_uninterrupted_run(straight, tmp_path):
    config, work_dir = straight
    arguments = [str(config), '--work-dir', str(tmp_path)]

    class StopError(Exception):
        pass

    from mmengine.hooks import Hook

    from fusionreid.registry import HOOKS

    @HOOKS.register_module(force=True)
    class StopAfterOneEpoch(Hook):
        priority = 'LOWEST'

        def before_train_epoch(self, runner):
            if runner.epoch == 1:
                raise StopError

    text = config.read_text().replace(
        "dict(type='SafeCheckpointHook'),",
        "dict(type='SafeCheckpointHook'), dict(type='StopAfterOneEpoch'),",
    )
    assert 'StopAfterOneEpoch' in text
    stopping = tmp_path / 'stopping.py'
    stopping.write_text(text)
    with pytest.raises(StopError):
        run_command('train', [str(stopping), *arguments[1:]])
    assert not (tmp_path / 'epoch_2.pth').exists()
    run_command('train', [*arguments, '--resume'])
    assert_same_weights(tmp_path / 'epoch_2.pth', work_dir / 'epoch_2.pth')


KILLER = """
import os
import signal

replace = os.replace
calls = 0


def killed(source, target):
    global calls
    calls += str(target).endswith('.pth')
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)


os.replace = killed
"""


# The best of epoch 1 and what is written after it; epoch 2 is there from the fifth on.
@pytest.mark.parametrize('call', [2, 3, 4, 5])
def test_a_run_killed_while_it_saves_resumes_from_the_checkpoint_before(call, straight, tmp_path):
    config, work_dir = straight
    (tmp_path / 'killer.py').write_text(KILLER.format(call=call))
    killing = tmp_path / 'killing.py'
    killing.write_text(config.read_text() + "\ncustom_imports['imports'].append('killer')\n")
    arguments = [str(killing), '--work-dir', str(tmp_path / 'run')]
    # Sums depend on the number of threads, so both processes must have the same.
    threads = str(torch.get_num_threads())
    status = run(
        ['tools/train.py', *arguments],
        tmp_path / 'printed.txt',
        PYTHONPATH=f'{tmp_path}:{ROOT}',
        OMP_NUM_THREADS=threads,
    )
    assert status == -signal.SIGKILL, (tmp_path / 'printed.txt').read_text()[-3000:]
    assert (tmp_path / 'run' / 'epoch_2.pth').exists() == (call == 5)
    run_command('train', [str(config), *arguments[1:], '--resume'])
    assert_same_weights(tmp_path / 'run' / 'epoch_2.pth', work_dir / 'epoch_2.pth')


def test_a_truncated_checkpoint_is_passed_over(straight, tmp_path):
    config, work_dir = straight
    content = (work_dir / 'epoch_1.pth').read_bytes()
    (tmp_path / 'epoch_1.pth').write_bytes(content)
    (tmp_path / 'epoch_2.pth').write_bytes(content[: len(content) // 3])
    run_command('train', [str(config), '--work-dir', str(tmp_path), '--resume'])
    assert_same_weights(tmp_path / 'epoch_2.pth', work_dir / 'epoch_2.pth')


def started_config(arguments: list[str]) -> Config:
    """The config of a training that is about to start."""
    args = parse_command('train', arguments)
    cfg = train.build_config(args)
    with ExitStack() as folder:
        train.choose_start(cfg, args, folder)
    return cfg


def test_resume_in_an_empty_folder_starts_at_the_beginning(straight, tmp_path, capsys):
    config, work_dir = straight
    arguments = [str(config), '--work-dir', str(tmp_path)]
    cfg = started_config([*arguments, '--resume'])
    assert not cfg.resume
    assert cfg.load_from is None
    assert 'no readable checkpoint' in capsys.readouterr().out
    start = str(work_dir / 'epoch_1.pth')
    arguments += ['--cfg-options', f'load_from={start}']
    cfg = started_config([*arguments, '--resume'])
    assert not cfg.resume
    assert cfg.load_from == start
    assert {'type': 'fusionreid.WeightCoverageHook'} in cfg.custom_hooks
    assert f'at epoch 1 from the weights of {start}' in capsys.readouterr().out
    # As the runs of others are resumed, too.
    shutil.copy(work_dir / 'epoch_2.pth', tmp_path)
    for options in (['--resume'], ['--cfg-options', 'resume=True']):
        cfg = started_config([*arguments[:3], *options])
        assert cfg.resume
        assert cfg.load_from == str(tmp_path / 'epoch_2.pth')
        assert {'type': 'fusionreid.StrictLoadHook'} in cfg.custom_hooks
    cfg = started_config([*arguments, '--resume'])
    assert cfg.resume
    assert cfg.load_from == str(tmp_path / 'epoch_2.pth')


def test_mixed_precision_ema_and_no_validation(data, tmp_path):
    config = write_tiny_config(
        tmp_path, data, extra="custom_hooks.append(dict(type='EMAHook', momentum=0.01))\n"
    )
    run_command(
        'train',
        [str(config), '--work-dir', str(tmp_path / 'run'), '--amp', 'bf16', '--no-validate'],
    )
    state = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)
    assert any(
        not torch.equal(state['state_dict'][key], state['ema_state_dict'][f'module.{key}'])
        for key in state['state_dict']
        if f'module.{key}' in state['ema_state_dict']
    )
    assert not any('reid/mAP' in row for row in scalars(tmp_path / 'run'))


@pytest.mark.parametrize('name', ['r18_synthetic', 'vittiny_synthetic'])
def test_single_branches_train(name, data, tmp_path):
    config = write_tiny_config(tmp_path, data, name)
    run_command(
        'train',
        [
            str(config),
            '--work-dir',
            str(tmp_path / 'run'),
            '--cfg-options',
            'train_cfg.max_epochs=1',
        ],
    )
    assert (tmp_path / 'run' / 'epoch_1.pth').exists()


def test_color_histogram_needs_no_checkpoint(data, tmp_path, capsys):
    config = write_tiny_config(tmp_path, data, 'color_histogram_synthetic')
    run_command('test', [str(config), '--work-dir', str(tmp_path), '--out', str(tmp_path / 'out')])
    assert 'untrained' in capsys.readouterr().out
    assert json.loads((tmp_path / 'out' / 'metrics.json').read_text())['reid/mAP'] > 5


def test_without_data_there_is_one_readable_line(tmp_path):
    with pytest.raises(SystemExit) as stop:
        run_command(
            'train',
            [
                'configs/fusionreid_vitb_r50_msmt17.py',
                '--work-dir',
                str(tmp_path),
                '--cfg-options',
                'model.branches.cnn=None',
                'model.branches.transformer.backbone.arch=deit-tiny',
                'model.neck=None',
                '--no-amp',
            ],
        )
    message = str(stop.value)
    assert message.startswith('error: ')
    assert 'data/msmt17' in message


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'model.head.num_classes=9',
            'classify 9 identities, the training set has 8: set model.head.num_classes=8',
        ),
        (
            'train_dataloader.batch_size=6',
            r'batch_size=6 is not .* 4 x 2: set train_dataloader.batch_size=8',
        ),
        ('model.branches.transformer.backbone.num_cameras=5', r'has 5 cameras, the data set has 6'),
        (
            'train_dataloader.sampler.ids_per_batch=16',
            r'need 16 identities, the training set has 8',
        ),
    ],
)
def test_contradictions_are_named_before_the_first_step(option, message, data, tmp_path):
    config = write_tiny_config(tmp_path, data)
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        run_command(
            'train', [str(config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', option]
        )


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--amp'], ('ReIDAmpOptimWrapper', 'float16')),
        (['--amp', 'bf16'], ('ReIDAmpOptimWrapper', 'bfloat16')),
        (['--no-amp'], ('OptimWrapper', None)),
        ([], ('ReIDAmpOptimWrapper', 'float16')),
    ],
)
def test_precision_switch(arguments, expected):
    cfg = train.build_config(
        parse_command('train', ['configs/fusionreid_vitb_r50_market1501.py', *arguments])
    )
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.get('dtype')) == expected
    assert cfg.work_dir == os.path.join('work_dirs', 'fusionreid_vitb_r50_market1501')


def test_data_root_is_set_for_all_splits():
    config = 'configs/fusionreid_vitb_r50_market1501.py'
    cfg = train.build_config(parse_command('train', [config, '--data-root', '/somewhere']))
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    assert [loader.dataset.data_root for loader in loaders] == ['/somewhere'] * 3


def test_the_msmt17_config_trains_and_scores_in_its_recipe(tmp_path):
    data = render_tiny(tmp_path / 'MSMT17_V1', 'msmt17')
    config = write_tiny_config(tmp_path, data, 'fusionreid_vitb_r50_msmt17')
    run_command('train', [str(config), '--work-dir', str(tmp_path / 'run')])
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'MSMT17 V1' in log
    assert 'train+val' in log
    rates = [row['lr'] for row in scalars(tmp_path / 'run') if 'lr' in row]
    # Two epochs: the base rate, then half-way to the floor of 0.2%.
    assert rates[0] == pytest.approx(0.005)
    assert rates[-1] == pytest.approx(0.005 * (1 + 0.002) / 2)
    assert [row['reid/mAP'] for row in scalars(tmp_path / 'run') if 'reid/mAP' in row]


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.branches.transformer.backbone.num_cameras=0', 'sie.weight is left over'),
        ('model.neck.num_layers=1', 'neck.layers.1.* is left over'),
        ('model.head.num_classes=9', r'has shape \(8, '),
    ],
)
def test_a_checkpoint_of_another_model_is_not_scored(option, message, straight, tmp_path):
    config, work_dir = straight
    arguments = [str(config), str(work_dir / 'epoch_2.pth'), '--work-dir', str(tmp_path)]
    with pytest.raises(SystemExit, match=message):
        run_command('test', [*arguments, '--cfg-options', option])


def test_weights_that_cannot_be_read_end_in_one_line(data, tmp_path):
    config = write_tiny_config(tmp_path, data)
    (tmp_path / 'weights.pth').write_bytes(b'not weights')
    init = 'model.branches.transformer.backbone.init_cfg'
    with pytest.raises(SystemExit, match='error: .*weights.pth'):
        run_command(
            'train',
            [str(config), '--work-dir', str(tmp_path / 'run'), '--cfg-options']
            + [f'{init}.type=Pretrained', f'{init}.checkpoint={tmp_path / "weights.pth"}'],
        )


def test_counts_left_open_come_from_the_training_set(data, tmp_path):
    config = write_tiny_config(
        tmp_path,
        data,
        extra="model['head']['num_classes'] = None\n"
        "model['branches']['transformer']['backbone']['num_cameras'] = None\n",
    )
    cfg = train.build_config(parse_command('train', [str(config), '--work-dir', str(tmp_path)]))
    assert cfg.model.head.num_classes == 8
    assert cfg.model.branches.transformer.backbone.num_cameras == 6


def test_cameras_that_were_not_trained_with(straight, tmp_path):
    config, work_dir = straight
    arguments = [str(config), str(work_dir / 'epoch_2.pth'), '--work-dir', str(tmp_path)]
    options = ['--cfg-options', 'test_dataloader.dataset.num_cameras=7']
    with pytest.raises(SystemExit, match='has 6 cameras, the data set has 7: .*use_cameras=False'):
        run_command('test', [*arguments, *options])
    out = ['--out', str(tmp_path / 'out')]
    run_command('test', [*arguments, *out, *options, 'model.use_cameras=False'])
    assert json.loads((tmp_path / 'out' / 'metrics.json').read_text())['reid/mAP'] > 0


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('train', ['configs/missing.py'], "no config file 'configs/missing.py'"),
        ('train', ['color_histogram_synthetic'], 'trains nothing'),
        ('train', ['r50_market1501', '--resume', 'x.pth'], "no checkpoint file 'x.pth'"),
        ('train', ['r50_market1501', '--launcher', 'pytorch'], 'started by torchrun'),
        ('test', ['r50_market1501', 'x.pth'], "no checkpoint file 'x.pth'"),
    ],
)
def test_mistakes_on_the_command_line_end_in_one_line(
    tool, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        run_command(tool, [*arguments, '--work-dir', str(tmp_path)])


@pytest.mark.parametrize(
    ('command', 'part', 'options'),
    [
        ('train', 'model', []),
        ('train', 'train_dataloader', []),
        ('train', 'optim_wrapper', ['--amp']),
        ('test', 'model', []),
        ('test', 'test_dataloader', []),
        ('test', 'test_evaluator', []),
    ],
)
def test_what_a_config_lacks_is_named(command, part, options, data, tmp_path):
    config = write_tiny_config(tmp_path, data, extra=f'{part} = None\n')
    line = refused(command, [str(config), '--work-dir', str(tmp_path / 'run'), *options])
    assert f'has no {part}: ' in line or f'{part} must be a dict' in line


def test_optional_parts_may_be_missing(data, tmp_path):
    config = write_tiny_config(tmp_path, data, extra='default_hooks = custom_hooks = None\n')
    cfg = train.build_config(parse_command('train', [str(config), '--no-validate']))
    assert cfg.val_cfg is None
    names = [f'fusionreid.{name}' for name in train.NEEDED_HOOKS]
    assert [hook['type'] for hook in cfg.custom_hooks] == names


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('modle.head.num_classes=3', "nothing is called 'modle', did you mean 'model'"),
        ('model.head.num_clases=8', "unexpected keyword argument 'num_clases'"),
        ('model.neck.type=Foo', "type='Foo': Foo is not in the .*registry"),
        ('model.neck.num_heads=5', 'embed_dims=24 is not divisible by num_heads=5'),
        ('train_cfg.max_epoch=2', "unexpected keyword argument 'max_epoch'"),
        ('optim_wrapper.optimizer.type=SGDD', "type='SGDD': there is no such optimizer"),
        ('param_scheduler.warmup_epochs=3', r'not in \[0, 2\].* set param_scheduler.warmup_epochs'),
        ('model.head.num_classes.a=3', 'do not fit the config'),
        ('default_hooks.checkpoint.save_best=reid/mapp', 'no such score, choose one of reid/mAP'),
        ('default_hooks.checkpoint.save_best=mAP', 'there is no such score'),
        ('default_hooks.checkpoint.save_best=reid/nosuch.mAP', 'there is no such score'),
        ('val_evaluator.features=[cnn,nope]', "feature 'nope' is to be scored"),
        ('val_evaluator.remove_same_camera=no', "must be True or False, got 'no'"),
        ('val_evaluator.memory_limit=abc', "memory_limit must be a whole number, got 'abc'"),
        ('train_cfg.max_epochs=1.5', 'max_epochs must be a whole number from 1 on, got 1.5'),
        ('model.branches.transformer.backbone.patch_stride=0', 'must be at least 1, got 16 and 0'),
        ('model.branches.transformer.backbone.patch_stride=abc', "a whole number, got 'abc'"),
        ('model.branches.cnn.pooling=None', 'cannot encode an image of 64x32 pixels: .*GeMPooling'),
        ('optim_wrapper.clip_grad.max_norm=abc', "a finite number above 0, got 'abc'"),
        ('train_dataloader.sampler.type=Foo', "type='Foo': .*Foo is not in the"),
        ('train_dataloader.dataset.type=Foo', "type='Foo': .*Foo is not in the"),
        ('val_evaluator.type=Foo', "type='Foo': .*Foo is not in the"),
        ('default_hooks.timer.type=Foo', "type='Foo': .*Foo is not in the"),
        ('param_scheduler.type=Foo', "type='Foo': .*Foo is not in the"),
        ('visualizer.vis_backends.0.type=Foo', "type='Foo': .*Foo is not in the"),
        ('visualizer.vis_backends.0.type=NeptuneVisBackend', "the module 'neptune' is missing"),
        ('visualizer.vis_backends.0.type=ClearMLVisBackend', "the module 'clearml' is missing"),
        ('train_dataloader.dataset.pipeline.1.type=Foo', "type='Foo': .*Foo is not in the"),
    ],
)
def test_mistyped_settings_end_in_one_line(option, message, data, tmp_path):
    # MMEngine keeps the visualizer of a run by its name, which has but the second in it.
    config = write_tiny_config(tmp_path, data, extra=f'experiment_name = {tmp_path.name!r}\n')
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        run_command(
            'train', [str(config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', option]
        )
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_options_are_of_the_form_key_value(capsys):
    with pytest.raises(SystemExit):
        parse_command('train', ['r50_market1501', '--cfg-options', 'foo'])
    assert "'foo' is not of the form KEY=VALUE" in capsys.readouterr().err


def test_bad_configs_and_work_dirs_end_in_one_line(data, tmp_path):
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    (tmp_path / 'orphan.py').write_text("_base_ = './nobody.py'\n")
    (tmp_path / 'raising.py').write_text('model = dict(size=1 / 0)\n')
    for name in ('broken', 'orphan', 'raising'):
        with pytest.raises(SystemExit, match=f'error: .*{name}.py is no valid config'):
            run_command('train', [str(tmp_path / f'{name}.py')])
    config = write_tiny_config(tmp_path, data)
    with pytest.raises(SystemExit, match='error: --work-dir .*broken.py.* cannot be made'):
        run_command('train', [str(config), '--work-dir', str(tmp_path / 'broken.py')])


def test_damaged_checkpoints_end_in_one_line(straight, tmp_path):
    config, work_dir = straight
    (tmp_path / 'torn.pth').write_bytes((work_dir / 'epoch_2.pth').read_bytes()[:50_000])
    (tmp_path / 'empty.pth').touch()
    torch.save([1, 2], tmp_path / 'list.pth')
    for name in ('torn', 'empty', 'list'):
        file = str(tmp_path / f'{name}.pth')
        rest = ['--work-dir', str(tmp_path / 'run')]
        for command, arguments in (
            ('test', [file, *rest]),
            ('train', [*rest, '--resume', file]),
            ('train', [*rest, '--cfg-options', f'load_from={file}']),
        ):
            assert f'{name}.pth' in refused(command, [str(config), *arguments])


def test_weights_alone_are_not_resumed(straight, tmp_path):
    config, work_dir = straight
    torch.save(weights(work_dir / 'epoch_1.pth'), tmp_path / 'plain.pth')
    best = next(work_dir.glob('best_*.pth'))
    for file, lacks in ((best, 'optimizer'), (tmp_path / 'plain.pth', 'meta')):
        with pytest.raises(SystemExit, match=f'cannot be resumed, it lacks .*{lacks}.*load_from='):
            run_command('train', [str(config), '--work-dir', str(tmp_path), '--resume', str(file)])


def test_training_starts_from_weights_that_are_the_models(straight, tmp_path):
    config, work_dir = straight
    options = ['--no-validate', '--cfg-options', 'train_cfg.max_epochs=1']
    options += ['param_scheduler.warmup_epochs=0']
    arguments = [str(config), '--work-dir', str(tmp_path / 'run'), *options]
    torch.save({'conv1.weight': torch.zeros(8, 3, 7, 7)}, tmp_path / 'other.pth')
    with pytest.raises(SystemExit, match='other.pth holds 0% of the model, at least 90%'):
        run_command('train', [*arguments, f'load_from={tmp_path / "other.pth"}'])
    # Without its heads, as for other people.
    state = weights(work_dir / 'epoch_2.pth')
    state = {name: value for name, value in state.items() if not name.startswith('heads.')}
    torch.save(state, tmp_path / 'trunk.pth')
    run_command('train', [*arguments, f'load_from={tmp_path / "trunk.pth"}'])
    assert (tmp_path / 'run' / 'epoch_1.pth').exists()


def test_a_longer_schedule_is_not_resumed_silently(straight, tmp_path):
    config, work_dir = straight
    checkpoint = str(work_dir / 'epoch_2.pth')
    run_command(
        'train',
        [str(config), '--work-dir', str(tmp_path), '--resume', checkpoint, '--no-validate']
        + ['--cfg-options', 'train_cfg.max_epochs=3'],
    )
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert re.search(r"param_scheduler.end +2 +3 +the checkpoint's is kept", log)


def test_no_query_with_a_match_is_found_before_training(data, tmp_path):
    listing = ['path,person_id,camera_id,role']
    for role, folder in (('train', 'bounding_box_train'), ('query', 'query')):
        for path in sorted((data / folder).glob('*.jpg')):
            listing.append(f'{path},{path.name[:4]},0,{role}')
    for path in sorted((data / 'bounding_box_test').glob('0*.jpg')):
        listing.append(f'{path},{path.name[:4]},0,gallery')
    csv = str(tmp_path / 'people.csv')
    Path(csv).write_text('\n'.join(listing))
    config = write_tiny_config(
        tmp_path,
        data,
        extra="model['branches']['transformer']['backbone']['num_cameras'] = 1\n"
        'for loader in (train_dataloader, val_dataloader):\n'
        f"    loader['dataset'].update(type='CsvDataset', ann_file={csv!r}, num_cameras=1)\n",
    )
    with pytest.raises(SystemExit, match='has a match .*val_evaluator.remove_same_camera=False'):
        run_command('train', [str(config), '--work-dir', str(tmp_path / 'run')])
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_workers_name_a_broken_image_in_one_line(data, tmp_path):
    broken = tmp_path / 'broken'
    shutil.copytree(data, broken)
    image = sorted((broken / 'bounding_box_train').glob('*.jpg'))[0]
    image.write_bytes(b'no image')
    config = write_tiny_config(tmp_path, broken)
    with pytest.raises(SystemExit) as stop:
        run_command(
            'train',
            [str(config), '--work-dir', str(tmp_path / 'run'), '--cfg-options']
            + ['train_dataloader.num_workers=1'],
        )
    message = str(stop.value)
    assert message.startswith(f"error: image '{image}' cannot be decoded: it is no image")
    assert '\n' not in message


def test_loaders_without_workers(straight, tmp_path):
    config = 'fusionreid_vittiny_r18_synthetic'
    options = ['test_dataloader.num_workers=0', 'test_dataloader.prefetch_factor=2']
    cfg = test.build_config(
        parse_command('test', [config, '--cfg-options', *options, '--work-dir', str(tmp_path)])
    )
    assert not cfg.test_dataloader.persistent_workers
    assert 'prefetch_factor' not in cfg.test_dataloader


def test_a_mistyped_feature_is_found_before_the_images_are_read(straight, tmp_path):
    config, work_dir = straight
    arguments = [str(config), str(work_dir / 'epoch_2.pth'), '--work-dir', str(tmp_path)]
    with pytest.raises(SystemExit, match="feature 'cnn_fusion' is to be scored"):
        run_command('test', [*arguments, '--features', 'cnn_fusion'])


def test_a_runner_in_a_cycle_ends_with_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Part:
        """Refers to itself, as a runner does by its hooks."""

        def __init__(self) -> None:
            self.whole = self

    left = []
    monkeypatch.setattr(train, 'train', lambda args: left.append(weakref.ref(Part())))
    train.run(Namespace())
    assert left[0]() is None
