"""Trainings with a teacher, by the commands: what they save, resume and keep."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import assert_same
from tiny_runs import NUM_IDS, ROOT, refused, render_tiny, write_tiny_config
from warm_processes import run_ranks

from fusionreid.apis import FeatureExtractor, get_model
from fusionreid.cli.main import run_command

TEACHER = 'fusionreid_vittiny_r18_synthetic'


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    """A folder with people, an untrained teacher, and the configs of both models."""
    folder = tmp_path_factory.mktemp('distillation')
    data = render_tiny(folder / 'data')
    config = write_tiny_config(folder, data, TEACHER)
    torch.manual_seed(0)
    torch.save(dict(state_dict=get_model(config).state_dict()), folder / 'teacher.pth')
    teacher = dict(cfg=str(config), checkpoint=str(folder / 'teacher.pth'))
    losses = dict(
        relational=dict(type='RelationalLoss'),
        feature=dict(type='FeatureLoss'),
        logits=dict(type='LogitLoss'),
    )
    extra = (
        f"model.update(type='FusionReIDDistiller', teacher={teacher}, distill_losses={losses})\n"
    )
    plain = write_tiny_config(folder, data, 'r18_synthetic')
    (folder / 'student.py').write_text(plain.read_text() + extra)
    return folder


def train(place: Path, work_dir: Path, *arguments: str, config: str = 'student.py') -> Path:
    assert run_command('train', [str(place / config), '--work-dir', str(work_dir), *arguments]) == 0
    return work_dir


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope='module')
def run(place, tmp_path_factory) -> Path:
    """The work dir of two epochs."""
    return train(place, tmp_path_factory.mktemp('run') / 'w')


def test_a_checkpoint_is_that_of_the_plain_student(place, run, tmp_path):
    content, plain = read(run / 'epoch_2.pth'), place / 'tiny_r18_synthetic.py'
    expected = get_model(plain).state_dict()
    assert content['state_dict'].keys() == expected.keys()
    projection = [f'feature.projection.{name}' for name in ('weight', 'bias')]
    assert list(content['distillation']) == projection
    out = tmp_path / 'scored'
    arguments = [str(plain), str(run / 'epoch_2.pth'), '--work-dir', str(tmp_path / 'w')]
    assert run_command('test', [*arguments, '--out', str(out)]) == 0
    # What was scored during the training is the student, too.
    (logged,) = (
        row['reid/mAP']
        for file in run.glob('*/vis_data/scalars.json')
        for row in map(json.loads, file.read_text().splitlines())
        if 'reid/mAP' in row and row['step'] == 2
    )
    assert json.loads((out / 'metrics.json').read_text())['reid/mAP'] == pytest.approx(logged)


def test_nothing_asks_for_the_teacher_afterwards(place, run, tmp_path):
    """Neither the config that a checkpoint carries nor that of the distillation."""
    config = tmp_path / 'student.py'
    text = (place / 'student.py').read_text()
    config.write_text(text.replace(str(place / 'teacher.pth'), 'gone').replace(TEACHER, 'gone'))
    checkpoint = run / 'epoch_2.pth'
    alone, named = FeatureExtractor(checkpoint), FeatureExtractor(checkpoint, config)
    assert_same(alone.model.state_dict(), named.model.state_dict())
    assert 'Distiller' not in alone.spec.config + named.spec.config
    images = sorted(map(str, (place / 'data' / 'query').iterdir()))[:3]
    assert torch.equal(alone.extract(images), named.extract(images))
    assert run_command('test', [str(config), str(checkpoint), '--work-dir', str(tmp_path)]) == 0


@pytest.mark.slow
def test_a_resumed_training_is_the_unbroken_one(place, run, tmp_path):
    resumed = train(place, tmp_path / 'w', '--resume', str(run / 'epoch_1.pth'))
    unbroken, continued = (read(each / 'epoch_2.pth') for each in (run, resumed))
    for part in ('state_dict', 'distillation'):
        assert_same(unbroken[part], continued[part])
    states = [content['optimizer']['state'] for content in (unbroken, continued)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[0].items():
        assert_same(dict(state), dict(states[1][number]))
    first = read(run / 'epoch_1.pth')['distillation']['feature.projection.weight']
    assert not torch.equal(first, unbroken['distillation']['feature.projection.weight'])


@pytest.mark.slow
def test_weights_of_a_student_start_a_distillation_and_are_not_resumed(place, run, tmp_path):
    """One without a teacher, or with another feature, has no projection to go on with."""
    alone = train(place, tmp_path / 'alone', '--no-validate', config='tiny_r18_synthetic.py')
    checkpoint = str(alone / 'epoch_1.pth')
    arguments = [str(place / 'student.py'), '--work-dir', str(tmp_path / 'w'), '--no-validate']
    narrow = '--cfg-options', 'model.distill_losses.feature.teacher_feature=cnn'
    for option, problem in (
        ([checkpoint], 'feature.projection.weight is missing'),
        ([str(run / 'epoch_1.pth'), *narrow], 'feature.projection.weight has shape'),
    ):
        line = refused('train', [*arguments, '--resume', *option])
        assert f'epoch_1.pth cannot be resumed with these distill_losses ({problem}' in line
    train(
        *(place, tmp_path / 'started', '--no-validate', '--cfg-options'),
        *(f'load_from={checkpoint}', 'train_cfg.max_epochs=1'),
    )


def cached(place: Path, work_dir: Path, cache: Path, *options: str) -> list[str]:
    """Arguments of a training of an epoch with a cache."""
    options = (f'model.teacher.cache={cache}', 'train_cfg.max_epochs=1', *options)
    config = ['--work-dir', str(work_dir), '--no-validate', '--cfg-options', *options]
    return [str(place / 'student.py'), *config]


@pytest.fixture(scope='module')
def cache(place, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('cache')
    assert run_command('train', cached(place, folder / 'w', folder / 'features')) == 0
    return folder / 'features'


def test_cached_features_are_those_of_the_clean_images(place, cache, tmp_path, monkeypatch):
    """They are computed once, to 1e-6, and a second training learns the same from them."""
    (file,) = cache.glob('*.safetensors')
    features = load_file(file)['features']
    teacher = FeatureExtractor(place / 'teacher.pth', place / f'tiny_{TEACHER}.py', fold=False)
    with next(cache.glob('*.csv')).open(newline='') as table:
        rows = list(csv.DictReader(table))
    paths, cameras = [row['path'] for row in rows], [int(row['camera_id']) for row in rows]
    assert len(paths) == len(set(paths)) == len(features) > NUM_IDS
    (batch,) = teacher.prepare(paths, cameras, batch_size=len(paths))
    for row, sample in enumerate(teacher.predict(batch, paths)):
        expected = torch.cat(list(sample.features.values()))
        torch.testing.assert_close(features[row], expected, atol=1e-6, rtol=1e-6)
    monkeypatch.setattr('fusionreid.models.retrievers.teacher.Teacher.compute', None)
    assert run_command('train', cached(place, tmp_path / 'w', cache)) == 0
    first, second = (read(each / 'epoch_1.pth') for each in (cache.parent / 'w', tmp_path / 'w'))
    assert_same(first['state_dict'], second['state_dict'])


@pytest.mark.parametrize(
    ('option', 'what'),
    [
        ('model.teacher.checkpoint={place}/other.pth', 'another checkpoint of the teacher'),
        ('{data}.data_root={place}/others', 'other images'),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ('model.teacher.precision=bf16', 'another precision of the teacher'),
                (
                    'test_dataloader.dataset.pipeline.1.interpolation=bicubic',
                    'another test pipeline',
                ),
                ('model.data_preprocessor.std=[100.0]', 'another normalization of the images'),
            )
        ),
    ],
)
def test_a_cache_of_something_else_is_refused(place, cache, tmp_path, option, what):
    state = read(place / 'teacher.pth')['state_dict']
    torch.save(
        dict(state_dict={name: value + 1 for name, value in state.items()}), place / 'other.pth'
    )
    render_tiny(place / 'others')
    option = option.format(place=place, data='train_dataloader.dataset')
    line = refused('train', cached(place, tmp_path / 'w', cache, option))
    assert f'holds features of {what}: remove the folder, or name another one' in line


@pytest.mark.slow
def test_a_damaged_cache_and_an_impossible_place_are_refused(place, cache, tmp_path):
    for number, suffix in enumerate(('safetensors', 'csv', 'json')):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in cache.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        (path,) = folder.glob(f'*.{suffix}')
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        line = refused('train', cached(place, tmp_path / f'w{number}', folder))
        assert str(folder) in line
    (tmp_path / 'file').touch()
    line = refused('train', cached(place, tmp_path / 'w', tmp_path / 'file' / 'cache'))
    assert f'model.teacher.cache={tmp_path}/file/cache cannot be made: Not a directory' in line
    # Of the right form, but not what was saved.
    (path,) = (tmp_path / '0').glob('*.safetensors')
    save_file({'features': torch.zeros_like(load_file(path)['features'])}, path)
    assert str(tmp_path / '0') in refused('train', cached(place, tmp_path / 'w', tmp_path / '0'))


def test_a_teacher_of_other_cameras_is_refused(place, tmp_path):
    config = place / 'cameras.py'
    text = (place / f'tiny_{TEACHER}.py').read_text()
    config.write_text(f"{text}\nmodel['branches']['transformer']['backbone']['num_cameras'] = 9\n")
    torch.save(dict(state_dict=get_model(config).state_dict()), place / 'nine.pth')
    options = [f'model.teacher.cfg={config}', f'model.teacher.checkpoint={place / "nine.pth"}']
    arguments = [str(place / 'student.py'), '--work-dir', str(tmp_path / 'w'), '--cfg-options']
    line = refused('train', [*arguments, *options])
    assert 'the teacher knows 9 cameras, the training set has 6' in line


def test_the_hook_wants_a_student(place, tmp_path):
    arguments = [str(place / 'tiny_r18_synthetic.py'), '--work-dir', str(tmp_path / 'w')]
    hooks = '--cfg-options', 'default_hooks.distillation.type=DistillationHook'
    line = refused('train', [*arguments, *hooks])
    assert 'DistillationHook needs a model of the type FusionReIDDistiller, got FusionReID' in line


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(place, tmp_path):
    """The first fills the cache; the others wait for it, and share the projection's gradient."""
    teacher = dict(cfg=str(place / f'tiny_{TEACHER}.py'), checkpoint=str(place / 'teacher.pth'))
    # All that is a mean over images, so that halves of a batch add up to it.
    change = dict(
        type='FusionReIDDistiller',
        teacher=teacher,
        distill_losses=dict(feature=dict(type='FeatureLoss')),
        head=dict(
            type='BNNeckHead',
            num_classes=NUM_IDS,
            loss_id=False,
            loss_triplet=False,
            metric_losses=dict(loss_center=dict(type='CenterLoss')),
        ),
    )
    config = write_tiny_config(
        tmp_path,
        place / 'data',
        'vittiny_synthetic',
        extra=f'model.update({change})\n'
        "model['branches']['transformer']['backbone']['drop_path_rate'] = 0.0\n"
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))\n",
    )
    contents = []
    for processes in (1, 2):
        work_dir = tmp_path / f'run{processes}'
        options = [f'train_dataloader.sampler.ids_per_batch={4 // processes}']
        options += [f'train_dataloader.batch_size={8 // processes}']
        options += [f'model.teacher.cache={tmp_path}/cache{processes}', 'train_cfg.max_epochs=1']
        command = [ROOT / 'tools' / 'train.py', config, '--work-dir', work_dir, '--no-validate']
        command += ['--launcher', 'pytorch' if processes > 1 else 'none', '--cfg-options', *options]
        outputs = [tmp_path / f'printed{processes}{rank}.txt' for rank in range(processes)]
        codes = run_ranks([str(part) for part in command], outputs, timeout=300, OMP_NUM_THREADS=1)
        assert codes == [0] * processes, outputs[-1].read_text()[-3000:]
        contents.append(read(work_dir / 'epoch_1.pth'))
    one, two = contents
    learned = [name for name in one['state_dict'] if not name.startswith('heads.')]
    for part, names in (('state_dict', learned), ('distillation', one['distillation'])):
        for name in names:
            torch.testing.assert_close(
                two[part][name], one[part][name], atol=2e-5, rtol=1e-3, msg=name
            )


@pytest.mark.slow
def test_a_student_is_exported(place, run, tmp_path):
    """By the config in its checkpoint, which is that of the distillation; proven by the command."""
    arguments = ['-', str(run / 'epoch_2.pth'), '-o', str(tmp_path / 'out')]
    assert run_command('export', [*arguments, '--format', 'torchscript']) == 0
    images = sorted(map(str, (place / 'data' / 'query').iterdir()))[:3]
    exported = FeatureExtractor(tmp_path / 'out').extract(images)
    expected = FeatureExtractor(run / 'epoch_2.pth').extract(images)
    torch.testing.assert_close(exported, expected, atol=1e-4, rtol=1e-4)
