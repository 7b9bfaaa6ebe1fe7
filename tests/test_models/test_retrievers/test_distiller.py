"""A student of a frozen teacher: what learns, what is saved, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import get_state_dict
from mmengine.runner.checkpoint import load_state_dict as load_as_mmengine
from small_models import (
    FEATURES,
    SMALL_CNN,
    SMALL_VIT,
    assert_same,
    build_random,
    fusion_model,
)

from fusionreid.config.building import build_errors
from fusionreid.config.trusted_parts import find_trusted
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.models import FusionReID, FusionReIDDistiller, as_student
from fusionreid.models.losses import distance_loss, feature_loss
from fusionreid.models.retrievers.teacher import Teacher
from fusionreid.registry import MODELS
from fusionreid.structures import ReIDDataSample

SIZE = (64, 32)
PREPROCESSOR = dict(type='ReIDDataPreprocessor')
TEACHER = fusion_model(SMALL_CNN, {**SMALL_VIT, 'img_size': SIZE}) | dict(
    data_preprocessor=PREPROCESSOR
)
STUDENT = fusion_model(dict(type='ReIDResNet', depth=18, base_channels=8), None) | dict(
    data_preprocessor=PREPROCESSOR
)
LOSSES: dict[str, Any] = dict(
    relational=dict(type='RelationalLoss'),
    similar=dict(type='SimilarityLoss'),
    feature=dict(type='FeatureLoss', teacher_feature='cnn_fused'),
    logits=dict(type='LogitLoss'),
)


@pytest.fixture(scope='module', autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('fusionreid'):
        yield


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[FusionReID, str]:
    """A teacher and its checkpoint."""
    with DefaultScope.overwrite_default_scope('fusionreid'):
        model = build_random(TEACHER)
    path = tmp_path_factory.mktemp('weights') / 'teacher.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return model, str(path)


def distiller(path: str, student: dict | None = None, **changes: Any) -> dict[str, Any]:
    """Config of a student; changes of the teacher or of ``distill_losses``."""
    losses = changes.pop('distill_losses', LOSSES)
    return {
        **copy.deepcopy(student or STUDENT),
        'type': 'FusionReIDDistiller',
        'teacher': dict(cfg=copy.deepcopy(TEACHER), checkpoint=path) | changes,
        'distill_losses': copy.deepcopy(losses),
    }


def batch(count: int = 4) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=generator)
    samples = [
        ReIDDataSample(metainfo=dict(person_id=row // 2, camera_id=row % 3, img_path=f'{row}.jpg'))
        for row in range(count)
    ]
    return dict(inputs=list(images), data_samples=samples)


def losses_of(model: FusionReIDDistiller, data: dict[str, Any] | None = None) -> dict[str, Any]:
    return model(**model.data_preprocessor(data or batch(), True), mode='loss')


def test_only_the_student_and_its_projections_learn(trained):
    teacher, path = trained
    model = MODELS.build(distiller(path)).train()
    model.init_weights()
    before = copy.deepcopy(model.teacher.load().state_dict())
    assert_same(before, teacher.state_dict())
    names = [name for name, _ in model.named_parameters()]
    assert not any('teacher' in name for name in names)
    assert [name for name in names if name.startswith('distill')] == [
        f'distill_losses.feature.projection.{name}' for name in ('weight', 'bias')
    ]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(2):
        optimizer.zero_grad()
        losses = losses_of(model)
        assert {name for name in losses if name.startswith('distill')} == {
            f'distill.loss_{name}' for name in LOSSES
        }
        sum(losses.values()).backward()
        optimizer.step()
    for name, weight in model.named_parameters():
        assert not weight.requires_grad or weight.grad is not None, name
    # Bit by bit, with the running statistics of its batch norms.
    assert_same(model.teacher.load().state_dict(), before)
    assert not model.teacher.load().training
    assert all(not w.requires_grad and w.grad is None for w in model.teacher.load().parameters())


def test_what_is_saved_is_the_plain_student(trained):
    _, path = trained
    model, plain = MODELS.build(distiller(path)), MODELS.build(STUDENT)
    for state in (model.state_dict(), get_state_dict(model)):
        assert state.keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    data = plain.data_preprocessor(batch(), False)
    same = model.eval()(data['inputs']), plain.eval()(data['inputs'])
    assert_same(*same)
    # The other way, too, and without a word about what it does not have.
    projection = model.distill_losses['feature'].projection.weight.clone()
    assert model.load_state_dict(plain.state_dict()).missing_keys == []
    load_as_mmengine(model, plain.state_dict(), strict=True)
    assert torch.equal(model.distill_losses['feature'].projection.weight, projection)
    assert as_student(distiller(path)) == STUDENT
    assert as_student(STUDENT) is STUDENT


def test_a_student_starts_as_it_does_alone(trained):
    _, path = trained
    starts = []
    for config in (STUDENT, distiller(path)):
        torch.manual_seed(7)
        model = MODELS.build(config)
        model.init_weights()
        starts.append((model.state_dict(), torch.rand(1)))
    assert_same(starts[0][0], starts[1][0])
    assert torch.equal(starts[0][1], starts[1][1])


def test_the_losses_are_those_of_the_teachers_features(trained):
    """Features by name, with the images, cameras and normalization that the teacher knows."""
    teacher, path = trained
    shifted = copy.deepcopy(STUDENT)
    shifted['data_preprocessor'] = dict(PREPROCESSOR, mean=[100.0, 110.0, 120.0], std=[50.0])
    losses = dict(one=dict(type='RelationalLoss', angle_weight=0.0, teacher_feature='transformer'))
    model = MODELS.build(distiller(path, shifted, distill_losses=losses)).eval()
    data = teacher.data_preprocessor(batch(), False)
    with torch.no_grad():
        expected = teacher(**data, mode='tensor')
        found = model.teacher.ask(
            **dict(
                zip(('images', 'samples'), model.data_preprocessor(batch()).values(), strict=True)
            ),
            normalization=model.data_preprocessor,
        )
        own = model(**model.data_preprocessor(batch()), mode='tensor')['cnn']
    assert list(found) == list(FEATURES)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    value = losses_of(model)['distill.loss_one']
    torch.testing.assert_close(
        value, distance_loss(own, expected['transformer']), atol=1e-4, rtol=0
    )


def test_scores_are_compared_without_a_second_look_at_the_batch(trained):
    """The BNNeck's averages, which the logits go through, are those of a training alone."""
    _, path = trained
    models = [MODELS.build(each).train() for each in (distiller(path), STUDENT)]
    models[1].load_state_dict(models[0].state_dict())
    losses = [losses_of(each) for each in models]
    assert_same(models[0].state_dict(), models[1].state_dict())
    for name, value in losses[1].items():
        assert torch.equal(value, losses[0][name])
    # A classifier that knows the teacher's scores by heart has nothing to learn from them.
    margin = copy.deepcopy(TEACHER)
    twin = MODELS.build(distiller(path, margin, distill_losses=dict(l=dict(type='LogitLoss'))))
    twin.load_state_dict(torch.load(path)['state_dict'])
    assert losses_of(twin.eval())['distill.loss_l'].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('autocast', [torch.float16, torch.bfloat16])
def test_the_teacher_keeps_its_precision_in_mixed_precision(trained, autocast):
    _, path = trained
    data = batch()
    values = {}
    for precision in ('fp32', 'bf16'):
        model = MODELS.build(distiller(path, precision=precision)).train()
        prepared = model.data_preprocessor(data, False)
        arguments = (prepared['inputs'], prepared['data_samples'], model.data_preprocessor)
        alone = model.teacher.ask(*arguments)
        with torch.autocast('cpu', autocast):
            values[precision] = model.teacher.ask(*arguments)
            losses = losses_of(model, data)
        assert_same(values[precision], alone)
        assert all(value.dtype == torch.float32 for value in losses.values())
        sum(losses.values()).backward()
        assert all(w.grad is None or w.grad.isfinite().all() for w in model.parameters())
    for name, feature in values['bf16'].items():
        assert feature.dtype == torch.float32
        cosine = torch.cosine_similarity(feature, values['fp32'][name])
        assert not torch.equal(feature, values['fp32'][name])
        assert cosine.min() > 0.99, name


def test_a_copy_shares_the_teacher(trained):
    """As MMEngine's EMA makes one."""
    _, path = trained
    model = MODELS.build(distiller(path))
    twin = copy.deepcopy(model)
    assert twin.teacher is model.teacher
    assert twin.branches['cnn'] is not model.branches['cnn']


def test_kept_features_are_looked_up(trained):
    _, path = trained
    model = MODELS.build(distiller(path, cache='folder')).train()
    data = batch()
    prepared = model.data_preprocessor(data, False)
    with pytest.raises(ConfigError, match="needs the hook that fills it.*'DistillationHook'"):
        losses_of(model, data)
    computed = model.teacher.compute(*prepared.values(), model.data_preprocessor)
    rows = torch.cat(list(computed.values()), 1)
    model.teacher.keep(rows.flip(0), [f'{row}.jpg' for row in (3, 2, 1, 0)])
    found = model.teacher.ask(*prepared.values(), model.data_preprocessor)
    assert_same(found, computed)
    data['data_samples'][1].set_metainfo(dict(img_path='other.jpg'))
    with pytest.raises(ConfigError, match=r'cache=folder has no features of other\.jpg'):
        losses_of(model, data)


def test_a_config_of_a_file_builds_no_teacher():
    """Neither a config that a checkpoint carries nor one of an index is to run another config."""
    assert find_trusted('FusionReIDDistiller', MODELS) is None
    assert find_trusted('FusionReID', MODELS) is FusionReID


OTHER = fusion_model(SMALL_CNN, None)


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (dict(checkpoint='missing.pth'), WeightsError, r'missing\.pth: there is no such file'),
        (
            dict(cfg=OTHER, distill_losses=dict(a=dict(type='RelationalLoss'))),
            WeightsError,
            r'teacher\.pth: does not fit FusionReID: .* is left over',
        ),
        (dict(cfg='no_such_config'), ConfigError, "no config file 'no_such_config'"),
        (
            dict(cfg='fusionreid_vittiny_r18_custom_csv'),
            ConfigError,
            r'leaves model\.head\.num_classes, model\.branches\..*num_cameras open: name the',
        ),
        (dict(cfg=dict(type='BNNeck', num_features=3)), ConfigError, 'BNNeck is not'),
        (
            dict(cfg=dict(type='BNNeckHead', in_channels=3, num_classes=3)),
            ConfigError,
            'model.teacher is a BNNeckHead, expected a FusionReID',
        ),
        (dict(precision='int8'), ConfigError, r"one of \['fp32', 'bf16'\], got 'int8'"),
        (dict(distill_losses={}), ConfigError, 'distill_losses is empty'),
        (dict(distill_losses=dict(a=None)), ConfigError, 'distill_losses is empty'),
        (
            dict(distill_losses=dict(a=dict(type='IDLoss'))),
            ConfigError,
            r'distill_losses\.a is a IDLoss, .*: give one of FeatureLoss',
        ),
        (
            dict(distill_losses=dict(a=dict(type='RelationalLoss', student_feature='cnn_fused'))),
            ConfigError,
            r"a\.student_feature='cnn_fused': the student gives \['all', 'cnn'\]",
        ),
        (
            dict(distill_losses=dict(a=dict(type='FeatureLoss', teacher_feature='third'))),
            ConfigError,
            r"a\.teacher_feature='third': the teacher gives \['all', 'cnn', 'transformer'",
        ),
        (
            dict(cfg=fusion_model(num_classes=9), distill_losses=dict(a=dict(type='LogitLoss'))),
            ConfigError,
            'the teacher knows 9 identities and the student 5: leave this loss out',
        ),
        (
            dict(cfg=fusion_model(num_classes=None), distill_losses=dict(a=dict(type='LogitLoss'))),
            ConfigError,
            "the teacher has no classifier of 'all': there is one of no feature",
        ),
        (
            dict(distill_losses=dict(a=dict(type='FeatureLoss', distance='l1'))),
            ConfigError,
            "the distance must be 'cosine' or 'mse', got 'l1'",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(trained, changes, error, message):
    _, path = trained
    with pytest.raises(error, match=message) as caught, build_errors():
        MODELS.build(distiller(path, **changes)).init_weights()
    assert '\n' not in str(caught.value)


def test_a_teacher_of_other_images_is_refused(trained, tmp_path):
    path = tmp_path / 'other.pth'
    config = fusion_model(SMALL_CNN, {**SMALL_VIT, 'img_size': (128, 64)})
    torch.save(dict(state_dict=MODELS.build(config).state_dict()), path)
    model = MODELS.build(distiller(str(path), cfg=config))
    with pytest.raises(ConfigError, match=r'images of \(128, 64\) .* trained on \(64, 32\)'):
        losses_of(model)


def test_packaged_configs_are_teachers_by_name():
    config = distiller('missing.pth', cfg='fusionreid_vitb_r50_market1501')
    model = MODELS.build(config | dict(distill_losses=dict(f=dict(type='FeatureLoss'))))
    assert model.distill_losses['f'].projection.out_features == 2048 + 768 + 4 * 768
    # A distilled model can teach, and its own teacher is not looked for.
    second = MODELS.build(
        distiller('missing.pth', cfg=config | dict(teacher=dict(cfg='gone', checkpoint='gone')))
        | dict(distill_losses=dict(f=dict(type='FeatureLoss')))
    )
    assert second.teacher.widths == {'cnn': 64}
    assert Path('missing.pth').exists() is False


def test_a_projection_learns_features_whose_mean_is_gone(trained):
    """Those after the BNNecks; a feature without a head is taken as it is."""
    teacher, path = trained
    losses = dict(feature=dict(type='FeatureLoss', distance='mse', teacher_feature='cnn_fused'))
    model = MODELS.build(distiller(path, distill_losses=losses)).eval()
    data = model.data_preprocessor(batch(), False)
    with torch.no_grad():
        own, other = model(**data, mode='tensor')['cnn'], teacher(**data, mode='tensor')
        normalized = teacher.heads['cnn_fused'](other['cnn_fused'])
        expected = feature_loss(model.distill_losses['feature'].projection(own), normalized, 'mse')
    assert not torch.allclose(normalized, other['cnn_fused'])
    torch.testing.assert_close(losses_of(model)['distill.loss_feature'], expected)
    config = TEACHER | dict(supervision=dict(cnn=None))
    partly = MODELS.build(config)
    weights = {name: teacher.state_dict()[name] for name in partly.state_dict()}
    partly_path = Path(path).with_name('partly.pth')
    torch.save(dict(state_dict=weights), partly_path)
    found = Teacher(config, str(partly_path)).normalize(other)
    assert torch.equal(found['cnn'], other['cnn'])
    assert torch.equal(found['cnn_fused'], normalized)
