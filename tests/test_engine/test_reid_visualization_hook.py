"""Rank lists and maps that are given to the visualizer during validation."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_trees import write_image
from mmengine.config import Config
from PIL import Image
from small_models import build_random, fusion_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import render_tiny, write_tiny_config
from torch import nn

from fusionreid.cli.main import run_command
from fusionreid.engine.hooks import ReIDVisualizationHook, reid_visualization_hook
from fusionreid.engine.photo_maps import compute_photo_maps
from fusionreid.errors import ConfigError, ImageDecodeError, ScoringError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.registry import HOOKS
from fusionreid.structures import ReIDDataSample
from fusionreid.visualization.style import QUERY_COLOR, RIGHT_COLOR


class Visualizer:
    def __init__(self):
        self.images = []

    def add_image(self, name, image, step):
        self.images.append((name, image, step))


@pytest.fixture
def feature_set(tmp_path) -> FeatureSet:
    """Six queries with two right images each in other cameras, but the last one without any."""
    random = torch.Generator().manual_seed(0)
    people = torch.tensor([*range(6), *range(5), *range(5)])
    cameras = torch.tensor([0] * 6 + [1] * 5 + [2] * 5)
    looks = torch.randn(6, 8, generator=random)[people]
    paths = [write_image(tmp_path / f'{row}.png', row, (64, 32)) for row in range(16)]
    return FeatureSet(
        features=looks + 0.1 * torch.randn(16, 8, generator=random),
        widths={'cnn': 5, 'transformer': 3},
        person_ids=people,
        camera_ids=cameras,
        roles=['query'] * 6 + ['gallery'] * 10,
        img_paths=[str(path) for path in paths],
        protocol={'dataset_name': 'Yard'},
    )


@pytest.fixture
def runner() -> SimpleNamespace:
    evaluator = SimpleNamespace(metrics=[ReIDMetric(), object()])
    return SimpleNamespace(
        val_loop=SimpleNamespace(evaluator=evaluator),
        visualizer=Visualizer(),
        cfg=Config(dict(train_cfg=dict(by_epoch=True))),
        epoch=3,
        iter=30,
    )


def validate(hook, runner, feature_set) -> None:
    hook.before_val_epoch(runner)
    runner.val_loop.evaluator.metrics[0].compute_metrics(feature_set)
    hook.after_val_epoch(runner, {})


def frames(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    """Frames of a color, of which each has some 4,800 pixels."""
    return round((picture == color).all(axis=2).sum() / 4800)


def test_rank_lists_reach_the_visualizer(runner, feature_set):
    hook = HOOKS.build(dict(type='ReIDVisualizationHook', num_queries=3, topk=2))
    validate(hook, runner, feature_set)
    ((name, picture, step),) = runner.visualizer.images
    assert (name, step) == ('rank_lists', 3)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    # Every query finds both of its right images; the one without any is not drawn.
    assert frames(picture, QUERY_COLOR) == 3
    assert frames(picture, RIGHT_COLOR) == 6
    runner.cfg.train_cfg.by_epoch = False
    validate(hook, runner, feature_set)
    assert runner.visualizer.images[1][2] == 30


def test_every_nth_validation_is_drawn(runner, feature_set):
    hook = ReIDVisualizationHook(interval=2)
    drawn = []
    for _ in range(5):
        validate(hook, runner, feature_set)
        drawn.append(len(runner.visualizer.images))
    assert drawn == [0, 1, 1, 2, 2]
    # The metric keeps nothing of the hook between two validations that are drawn.
    assert not runner.val_loop.evaluator.metrics[0].observers


def test_the_same_queries_are_drawn_whatever_the_model_finds(runner, feature_set, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        reid_visualization_hook,
        'draw_rank_lists',
        lambda **lists: drawn.append(lists) or np.zeros((4, 4, 3), np.uint8),
    )
    hook = ReIDVisualizationHook(num_queries=2, topk=50, feature='cnn')
    validate(hook, runner, feature_set)
    feature_set.features = feature_set.features.roll(1, 0)
    validate(hook, runner, feature_set)
    assert drawn[0]['query_paths'] == drawn[1]['query_paths']
    assert [path.rsplit('/')[-1] for path in drawn[0]['query_paths']] == ['0.png', '4.png']
    assert drawn[0]['gallery_ids'] == [*range(5), *range(5)]
    assert (drawn[0]['distances'] != drawn[1]['distances']).any()
    assert 'Yard; feature cnn' in drawn[0]['protocol']
    assert drawn[0]['title'] == 'Rank lists at epoch 3, iteration 30'


def test_nothing_of_the_gallery_is_kept(runner, feature_set):
    hook = ReIDVisualizationHook(num_queries=2, topk=1)
    hook.before_val_epoch(runner)
    runner.val_loop.evaluator.metrics[0].compute_metrics(feature_set)
    lists, _ = hook._found
    assert len(lists.gallery_paths) == 2
    hook.after_val_epoch(runner, {})
    assert hook._found is None


def test_an_image_that_cannot_be_read_ends_nothing(runner, feature_set, tmp_path):
    (tmp_path / '0.png').unlink()
    (tmp_path / '6.png').write_bytes(b'no image')
    validate(ReIDVisualizationHook(num_queries=5, topk=2), runner, feature_set)
    ((_, picture, _),) = runner.visualizer.images
    assert frames(picture, QUERY_COLOR) == 4
    assert frames(picture, RIGHT_COLOR) == 9


def test_other_processes_search_and_draw_nothing(runner, feature_set, monkeypatch):
    monkeypatch.setattr(reid_visualization_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(reid_visualization_hook, 'find_rank_lists', None)
    validate(ReIDVisualizationHook(), runner, feature_set)
    assert not runner.visualizer.images
    # All of them refuse what one refuses, so that none waits for another.
    with pytest.raises(ScoringError, match="'cnn_fused' is not scored, but cnn, transformer, all"):
        validate(ReIDVisualizationHook(feature='cnn_fused'), runner, feature_set)


@pytest.mark.parametrize('name', ['interval', 'num_queries', 'topk'])
def test_bad_numbers_are_refused(name):
    with pytest.raises(ValueError, match=f'{name} must be at least 1, got 0'):
        ReIDVisualizationHook(**{name: 0})


def train(folder: Path, data: Path, *extra: str) -> Path:
    """Train a tiny model for two epochs, with a moving average of the weights."""
    folder.mkdir()
    average = "custom_hooks.append(dict(type='EMAHook', momentum=0.5))"
    config = write_tiny_config(folder, data, extra='\n'.join([average, *extra]))
    run_command('train', [str(config), '--work-dir', str(folder / 'run'), '--amp', 'bf16'])
    return folder / 'run'


@pytest.mark.slow
def test_maps_reach_the_backends_and_leave_the_training_as_it_is(tmp_path, monkeypatch):
    data = render_tiny(tmp_path / 'synthetic')
    explained = []

    def keep_weights(model, *arguments):
        explained.append({name: value.clone() for name, value in model.state_dict().items()})
        return compute_photo_maps(model, *arguments)

    monkeypatch.setattr(reid_visualization_hook, 'compute_photo_maps', keep_weights)
    hook = dict(type='ReIDVisualizationHook', num_queries=1, topk=2, map_features=['cnn_fused'])
    run = train(
        tmp_path / 'maps',
        data,
        f'custom_hooks.append({hook | dict(maps=["cam", "attention"])})',
    )
    names = ['attention_1', 'rank_lists', 'relevance']
    pictures = {path.stem: path for path in run.rglob('vis_image/*.png')}
    assert sorted(pictures) == [f'{name}_{epoch}' for name in names for epoch in (1, 2)]
    events = EventAccumulator(str(run / next(run.glob('2*')).name / 'vis_data'))
    assert sorted(events.Reload().Tags()['images']) == names
    with Image.open(pictures['relevance_2']) as one, Image.open(pictures['relevance_1']) as other:
        assert one.tobytes() != other.tobytes()
    # What is explained is what is scored: the average, which the checkpoint holds as its weights.
    for epoch, weights in enumerate(explained, 1):
        saved = torch.load(run / f'epoch_{epoch}.pth', weights_only=True)['state_dict']
        assert all(torch.equal(value, saved[name]) for name, value in weights.items())
    plain = train(tmp_path / 'plain', data)
    states = [torch.load(each / 'epoch_2.pth', weights_only=True) for each in (plain, run)]
    for part in ('state_dict', 'ema_state_dict'):
        one, other = (state[part] for state in states)
        assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def photos(runner, feature_set) -> list[dict]:
    """The validation set of a CNN alone, of which the runner has both."""
    model = dict(
        fusion_model(transformer=None), data_preprocessor=dict(type='ReIDDataPreprocessor')
    )
    runner.model = build_random(model)
    runner.logger = logging.getLogger('photos')
    items = [
        dict(
            inputs=torch.randint(256, (3, 64, 32), dtype=torch.uint8),
            data_samples=ReIDDataSample(metainfo=dict(img_path=path, camera_id=0)),
        )
        for path in feature_set.img_paths
    ]
    runner.val_dataloader = SimpleNamespace(dataset=items)
    return items


@pytest.mark.slow
def test_maps_that_a_model_cannot_give_are_named_once(runner, feature_set, photos, caplog):
    hook = ReIDVisualizationHook(num_queries=3, topk=1, maps=['cam', 'attention'])
    hook.before_run(runner)
    before = torch.get_rng_state()
    for _ in range(2):
        validate(hook, runner, feature_set)
    assert [name for name, *_ in runner.visualizer.images] == ['rank_lists', 'relevance'] * 2
    (message,) = caplog.messages
    assert message.startswith("a map cannot be drawn: no branch of ['cnn'] has the blocks of a")
    assert message.endswith(
        "with the features ['cnn'] has no HTM, so there is no attention between"
        ' its branches to show'
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(value.grad is None for value in runner.model.parameters())


def test_a_photo_that_cannot_be_read_takes_the_maps_alone(runner, feature_set, photos, caplog):
    class Damaged(list):
        def __getitem__(self, row):
            raise ImageDecodeError(f'photo {row} cannot be decoded')

    runner.val_dataloader.dataset = Damaged(photos)
    validate(ReIDVisualizationHook(num_queries=2, maps='cam'), runner, feature_set)
    assert [name for name, *_ in runner.visualizer.images] == ['rank_lists']
    assert caplog.messages == ['no maps are drawn: photo 0 cannot be decoded']


def test_the_first_process_alone_computes_maps(runner, feature_set, photos, monkeypatch):
    monkeypatch.setattr(reid_visualization_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(reid_visualization_hook, 'compute_photo_maps', None)
    validate(ReIDVisualizationHook(maps=['cam']), runner, feature_set)
    assert not runner.visualizer.images


def test_what_cannot_be_explained_is_refused_before_the_first_step(runner, photos):
    hook = ReIDVisualizationHook(maps='cam', map_features='cnn_fused')
    with pytest.raises(ConfigError, match="map_features='cnn_fused' is none of the features cnn"):
        hook.before_run(runner)
    runner.model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match='of a FusionReID model, not of a Linear'):
        hook.before_run(runner)
    ReIDVisualizationHook().before_run(runner)
    with pytest.raises(ValueError, match=r"must be of \['cam', 'attention'\], got \['pair'\]"):
        ReIDVisualizationHook(maps=['cam', 'pair'])
    with pytest.raises(ValueError, match='num_queries must be at most 8 with maps, got 9'):
        ReIDVisualizationHook(maps=['cam'], num_queries=9)
