"""The configs of mmpretrain models train on rendered people; our parts speak its contracts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.datasets import CustomDataset
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from tiny_runs import NUM_IDS, ROOT, TINY_VIT, render_tiny

from fusionreid.datasets.samplers import PKSampler
from fusionreid.errors import ConfigError, ScoringError
from fusionreid.evaluation.metrics import PrototypeReIDMetric, ReIDMetric
from fusionreid.models import BNNeckHead, FeatureHeads

FOLDER = ROOT / 'configs' / 'reuse'
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
TINY_RESNET = dict(depth=18, base_channels=8, stem_channels=8)


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_tiny(tmp_path_factory.mktemp('data') / 'market1501')


def shrink_loader(loader: dict, data: Path) -> None:
    loader.num_workers = 0
    loader.dataset.data_root = str(data)
    for step in loader.dataset.pipeline:
        step.update({key: (32, 64) for key in ('scale', 'crop_size') if key in step})


def read_tiny(name: str, data: Path) -> Config:
    """Read a config, with small networks and images."""
    cfg = Config.fromfile(FOLDER / f'mmpretrain_{name}_market1501.py')
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    for loader in LOADERS:
        shrink_loader(cfg[loader], data)
    cfg.train_dataloader.batch_size = 8
    cfg.train_dataloader.sampler.update(ids_per_batch=4, instances_per_id=2)
    return cfg


def train(cfg: Config, work_dir: Path) -> tuple[Runner, dict[str, float]]:
    """Train as a process of an mmpretrain project does."""
    cfg.work_dir = str(work_dir)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        runner = Runner.from_cfg(cfg)
        before = {name: value.clone() for name, value in runner.model.state_dict().items()}
        runner.train()
        after = runner.model.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in before)
        return runner, runner.test()


@pytest.mark.slow
def test_the_classifier_trains_with_our_head_sampler_losses_and_metric(data, tmp_path):
    cfg = read_tiny('classifier_resnet50', data)
    cfg.model.backbone.update(TINY_RESNET)
    cfg.model.head.update(in_channels=64, num_classes=NUM_IDS)
    runner, scores = train(cfg, tmp_path)
    assert isinstance(runner.model, ImageClassifier)
    assert isinstance(runner.model.head, BNNeckHead)
    assert 0 < scores['reid/mAP'] <= 100
    assert list(tmp_path.glob('best_reid_mAP_epoch_1.pth'))


@pytest.mark.slow
def test_the_neck_fuses_two_backbones_of_the_classifier(data, tmp_path):
    cfg = read_tiny('classifier_two_backbones', data)
    cnn, transformer = cfg.model.backbone.backbones.values()
    cnn.update(TINY_RESNET)
    transformer.update(arch=TINY_VIT, img_size=(64, 32))
    cfg.model.neck.update(in_channels=dict(cnn=64, transformer=24), embed_dims=24, num_heads=3)
    cfg.model.head.update(in_channels=dict.fromkeys(cfg.model.head.in_channels, 24))
    cfg.model.head.head.num_classes = NUM_IDS
    runner, scores = train(cfg, tmp_path)
    assert isinstance(runner.model.head, FeatureHeads)
    # The names that the head states are those that the neck gives.
    assert runner.model.head.in_channels == runner.model.neck.out_channels
    assert {f'reid/{name}.mAP' for name in runner.model.neck.out_channels} < set(scores)


@pytest.mark.slow
def test_the_retriever_is_scored_by_its_similarities(data, tmp_path):
    cfg = read_tiny('retriever_resnet50', data)
    cfg.model.image_encoder.backbone.update(TINY_RESNET)
    cfg.model.head.update(in_channels=64, num_classes=NUM_IDS)
    shrink_loader(cfg.model.prototype, data)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.gallery.data_root = str(data)
    runner, scores = train(cfg, tmp_path)
    # The same model as one that gives features, with the other metric.
    head = runner.model.head
    model = runner.model.image_encoder.eval()
    metric = ReIDMetric()
    loaders = {'query': cfg.test_dataloader, 'gallery': cfg.model.prototype}
    for role, loader in loaders.items():
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            batches = Runner.build_dataloader(loader)
        for batch in batches:
            batch = runner.model.data_preprocessor(batch)
            with torch.no_grad():
                samples = head.predict(model(batch['inputs']), batch['data_samples'])
            metric.update(
                torch.stack([sample.features['feature'] for sample in samples]),
                [sample.person_id for sample in samples],
                [sample.camera_id for sample in samples],
                role,
            )
    assert metric.compute() == pytest.approx(scores, abs=1e-3)


def test_the_head_takes_tuples_and_labels_of_mmpretrain():
    head = BNNeckHead(in_channels=8, num_classes=3).eval()
    features, ids = torch.rand(4, 8), [0, 0, 2, 2]
    samples = [DataSample().set_gt_label(person) for person in ids]
    expected = head.loss(features, torch.tensor(ids))
    for given in ((features,), [torch.zeros(4, 5), features], features):
        found = head.loss(given, samples)
        for name, loss in expected.items():
            torch.testing.assert_close(found[name], loss)
        assert torch.equal(head(given), head(features))
        assert torch.equal(head.pre_logits(given), head(features))
    predicted = head.predict((features,), samples)
    assert predicted is samples
    assert torch.equal(samples[1].features['feature'], features[1])
    assert samples[1].pred_label.item() == int(head.classifier(head(features))[1].argmax())
    torch.testing.assert_close(samples[1].pred_score.sum(), torch.tensor(1.0))
    assert len(head.predict(features)) == 4


@pytest.mark.parametrize(
    ('sample', 'message'),
    [
        (DataSample().set_gt_label(3), r'identity 3 .* outside \[0, 3\)'),
        (DataSample().set_gt_label([0, 2]), 'single identity'),
        (DataSample().set_gt_score(torch.tensor([0.5, 0.5, 0.0])), 'Mixup'),
        (DataSample(), 'identity -1'),
    ],
)
def test_labels_that_are_no_identity_are_named(sample, message):
    head = BNNeckHead(in_channels=8, num_classes=3)
    with pytest.raises(ValueError, match=message):
        head.loss((torch.rand(2, 8),), [DataSample().set_gt_label(0), sample])
    with pytest.raises(ValueError, match='needs data samples'):
        head.loss((torch.rand(2, 8),), [])


@pytest.fixture
def folders(tmp_path: Path) -> CustomDataset:
    """A data set of mmpretrain: a folder for each class."""
    for name, count in (('ann', 3), ('bob', 2), ('cid', 4)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f'{number}.jpg').touch()
    return CustomDataset(data_root=str(tmp_path))


def test_batches_of_any_data_set_hold_whole_identities(folders):
    concatenated = ConcatDataset([folders, folders])
    for dataset in (folders, concatenated, RepeatDataset(folders, 2)):
        sampler = PKSampler(dataset, 2, 2, seed=0, id_key='gt_label')
        labels = [dataset.get_data_info(index)['gt_label'] for index in sampler]
        assert labels
        for start in range(0, len(labels), 4):
            first, second, third, fourth = labels[start : start + 4]
            assert first == second != third == fourth
    with pytest.raises(ConfigError, match="no 'person_id'.*gt_label"):
        PKSampler(folders, 2, 2)


def foreign_samples(count: int = 4) -> list[dict]:
    features = torch.nn.functional.one_hot(torch.arange(count) // 2).float() + 0.1
    return [
        dict(
            path=f'{row}.jpg',
            gt_label=torch.tensor([row // 2]),
            part='query' if row % 2 else 'gallery',
            sample_idx=row,
            feats=features[row],
        )
        for row in range(count)
    ]


KEYS = dict(img_path='path', person_id='gt_label', camera_id=None, role='part', features='feats')


def test_keys_of_the_metric_are_mapped():
    metric = ReIDMetric(keys=KEYS, topk=[1])
    metric.process(None, foreign_samples())
    assert metric.evaluate(4) == {'reid/mAP': 100, 'reid/rank1': 100, 'reid/mINP': 100}
    with pytest.raises(ScoringError, match="0.jpg: the sample has no 'who' for person_id"):
        ReIDMetric(keys={**KEYS, 'person_id': 'who'}).process(None, foreign_samples())
    for keys in (dict(person='gt_label'), dict(role=None), dict(role=3)):
        with pytest.raises(ValueError, match='keys'):
            ReIDMetric(keys=keys)


def test_prototypes_of_another_gallery_are_named(data):
    gallery = dict(type='Market1501', data_root=str(data), split='gallery')
    metric = PrototypeReIDMetric(gallery)
    metric.process(None, [dict(person_id=1, camera_id=0, pred_score=torch.rand(5))])
    with pytest.raises(ScoringError, match='5 prototypes, but the gallery of the metric has 22'):
        metric.evaluate(1)
    with pytest.raises(ScoringError, match='pred_score'):
        metric.process(None, [dict(person_id=1, camera_id=0)])
    with pytest.raises(ScoringError, match='person_id and camera_id'):
        metric.process(None, [dict(gt_label=1)])
