"""Models in folders as the Hugging Face hub has them; no network is used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gallery_commands import write_checkpoint
from huggingface_hub import ModelCard, hub_mixin
from tiny_runs import put_transformer_first, refused, render_tiny, write_tiny_config

from fusionreid import HubModel, ReIDInferencer
from fusionreid.apis import FeatureExtractor
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.evaluation.feature_set import FeatureSet
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.utils.files import file_sha256

FILES = {'README.md', 'config.json', 'model.safetensors'}


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A checkpoint, features that its model could have made, and the folder that both become."""
    folder = tmp_path_factory.mktemp('published')
    data = render_tiny(folder / 'data')
    config = put_transformer_first(write_tiny_config(folder, data))
    checkpoint = folder / 'checkpoint.pth'
    write_checkpoint(config, checkpoint)
    extractor = FeatureExtractor(checkpoint, config)
    widths = dict(extractor.model.feature_widths)
    assert list(widths)[0] == 'transformer'
    features = FeatureSet(
        features=torch.rand(8, sum(widths.values())),
        widths=widths,
        person_ids=torch.arange(8) // 2,
        camera_ids=torch.arange(8) % 2,
        roles=['query', 'gallery'] * 4,
        img_paths=[f'{row}.jpg' for row in range(8)],
        protocol=dict(dataset_name='Tiny', split='test', feature_protocol=extractor.model.protocol),
    )
    saved = features.save(folder / 'features')
    HubModel.from_checkpoint(checkpoint, config, saved).save_pretrained(
        folder / 'hub', model_card_kwargs=dict(title='Tiny model', license='apache-2.0')
    )
    photos = sorted((data / 'query').glob('0*.jpg'))[:2]
    return SimpleNamespace(
        hub=folder / 'hub',
        checkpoint=checkpoint,
        config=config,
        features=features,
        photos=photos,
    )


@pytest.fixture
def hub(published: SimpleNamespace, tmp_path: Path) -> Path:
    """A copy that can be changed."""
    return Path(shutil.copytree(published.hub, tmp_path / 'hub'))


def change(hub: Path, **values) -> None:
    content = json.loads((hub / 'config.json').read_text())
    (hub / 'config.json').write_text(json.dumps({**content, **values}))


def test_what_is_read_is_what_was_saved(published):
    assert {path.name for path in published.hub.iterdir()} == FILES
    read = HubModel.from_pretrained(published.hub)
    assert not read.training
    original = FeatureExtractor(published.checkpoint, published.config, fold=False).model
    state = original.state_dict()
    assert list(read.model.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in read.model.state_dict().items())
    images = torch.randint(0, 256, (2, 3, 64, 32), dtype=torch.uint8)
    with torch.no_grad():
        found = read(images)
        normalized = original.data_preprocessor(dict(inputs=list(images)))['inputs']
        expected = original.scored_features(normalized)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_folder_is_a_checkpoint_of_inferencer_and_commands(published, tmp_path):
    photos = [str(photo) for photo in published.photos]
    expected = ReIDInferencer(published.config, published.checkpoint, device='cpu')(photos)
    for pretrained in (published.hub, published.hub / 'model.safetensors'):
        inferencer = ReIDInferencer(pretrained=pretrained, device='cpu')
        for found, wanted in zip(inferencer(photos), expected, strict=True):
            np.testing.assert_array_equal(found.embedding, wanted.embedding)


def test_the_card_states_scores_with_their_protocol(published):
    text = (published.hub / 'README.md').read_text()
    card = ModelCard(text)
    card.validate = None
    assert card.data.to_dict()['library_name'] == 'fusionreid'
    assert card.data.license == 'apache-2.0'
    scores = ReIDMetric().compute_metrics(published.features)
    results = {result.metric_type: result for result in card.data.eval_results}
    assert results['mAP'].metric_value == round(scores['mAP'], 2)
    assert results['mAP'].dataset_name == 'Tiny'
    assert 'same-camera matches removed' in results['mAP'].metric_config
    assert published.features.protocol['feature_protocol'] in results['mAP'].metric_config
    row = next(line for line in text.splitlines() if line.startswith('| cnn_fused |'))
    assert f'| {scores["cnn_fused.mAP"]:.2f} |' in row
    assert file_sha256(published.hub / 'model.safetensors') in text
    assert '# Tiny model' in text


def test_a_card_is_replaced_with_its_weights_and_kept_when_it_is_the_users(hub):
    model = HubModel.from_pretrained(hub)
    before = (hub / 'README.md').read_text()
    model.save_pretrained(hub)
    assert (hub / 'README.md').read_text() == before
    next(model.parameters()).data += 1
    model.save_pretrained(hub)
    assert file_sha256(hub / 'model.safetensors') in (hub / 'README.md').read_text()
    HubModel.from_pretrained(hub)
    (hub / 'README.md').write_text('# My own\n')
    next(model.parameters()).data += 1
    model.save_pretrained(hub)
    assert (hub / 'README.md').read_text() == '# My own\n'


def test_the_folder_is_what_is_uploaded(published, tmp_path, monkeypatch):
    class Api:
        def __init__(self, **_):
            pass

        def create_repo(self, repo_id, **_):
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id, folder_path, **_):
            return shutil.copytree(folder_path, tmp_path / repo_id)

    monkeypatch.setattr(hub_mixin, 'HfApi', Api)
    HubModel.from_pretrained(published.hub).push_to_hub('me/tiny')
    uploaded = tmp_path / 'me' / 'tiny'
    assert {path.name for path in uploaded.iterdir()} == FILES
    for name in ('config.json', 'model.safetensors'):
        assert (uploaded / name).read_bytes() == (published.hub / name).read_bytes()


def test_features_of_another_model_are_no_scores_of_this_one(published, tmp_path):
    published.features.protocol['feature_protocol'], own = (
        'features after BNNeck, no SIE',
        published.features.protocol['feature_protocol'],
    )
    try:
        other = published.features.save(tmp_path / 'features')
    finally:
        published.features.protocol['feature_protocol'] = own
    with pytest.raises(ConfigError, match='after BNNeck.*extract them again'):
        HubModel.from_checkpoint(published.checkpoint, published.config, other)


# ---- nothing in the folder is trusted


def write_code(folder: Path) -> Path:
    """A module that leaves a trace when it is imported or run."""
    trace = folder / 'ran'
    (folder / 'evil.py').write_text(f'open({str(trace)!r}, "w").close()\nclass Evil: pass\n')
    return trace


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(model=dict(type='evil.Evil')), "names the type 'evil.Evil'"),
        (
            dict(model=dict(type='mmengine.remove', filepath='x')),
            "names the type 'mmengine.remove'",
        ),
        (dict(model=dict(type='BNNeck', num_features=3)), "names the type 'BNNeck'"),
        (dict(model=dict(type='GeMPooling')), 'is of a GeMPooling'),
        (dict(model=dict(type='FusionReID', branches={})), 'at least one branch'),
        (dict(model=dict(type='FusionReID', branches=dict(a=dict(x='/etc/passwd')))), 'a path'),
        (dict(model=[]), 'model must be a dict'),
        (dict(test_pipeline=[dict(type='LoadImageFromFile')]), 'LoadImageFromFile'),
        (dict(test_pipeline=[dict(type='LoadReIDImage', _scope_='evil')]), "scope 'evil'"),
        (dict(format='other'), 'was not written by save_pretrained'),
        (dict(sha256='0' * 64), 'has the sha256'),
        (dict(scores=dict(data_set='x')), 'scores must have'),
        (dict(scores=dict(data_set='<script>', protocol='y', percent={})), 'scores must name'),
        (dict(scores=dict(data_set='x', protocol='y', percent=dict(all=dict(mAP='1')))), 'number'),
    ],
)
def test_a_crafted_config_is_refused_in_one_line(hub, monkeypatch, changes, message):
    trace = write_code(hub)
    monkeypatch.chdir(hub)
    monkeypatch.syspath_prepend(str(hub))
    change(hub, **changes)
    with pytest.raises((ConfigError, WeightsError), match=message) as error:
        HubModel.from_pretrained(hub)
    assert '\n' not in str(error.value)
    assert not trace.exists()


def test_no_other_file_is_read(hub, tmp_path):
    """Neither a pickle, nor what the config names as weights, nor the target of a link."""
    other = tmp_path / 'other.pth'
    content = json.loads((hub / 'config.json').read_text())
    content['model']['init_cfg'] = dict(type='Pretrained', checkpoint=str(other))
    content['model']['branches']['cnn']['backbone']['init_cfg'] = dict(
        type='Pretrained', checkpoint='missing.pth'
    )
    change(hub, model=content['model'])
    assert 'init_cfg' not in str(HubModel.from_pretrained(hub).config)

    weights = hub / 'model.safetensors'
    weights.rename(tmp_path / 'elsewhere.safetensors')
    (hub / 'pytorch_model.bin').write_bytes(b'\x80\x04')
    with pytest.raises(ConfigError, match=r'model.safetensors: there is no such file'):
        HubModel.from_pretrained(hub)
    weights.symlink_to(tmp_path / 'elsewhere.safetensors')
    with pytest.raises(ConfigError, match='a link to .*outside of its folder'):
        HubModel.from_pretrained(hub)
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(ConfigError, match=r'there is no such file'):
        HubModel.from_pretrained(hub)


def test_links_of_the_hubs_cache_are_followed(hub, tmp_path):
    snapshot = tmp_path / 'models--me--tiny' / 'snapshots' / 'abc'
    snapshot.mkdir(parents=True)
    blobs = snapshot.parents[1] / 'blobs'
    blobs.mkdir()
    for name in FILES:
        shutil.copy(hub / name, blobs / f'blob-{name}')
        (snapshot / name).symlink_to(Path('../../blobs') / f'blob-{name}')
    assert HubModel.from_pretrained(snapshot).scores is not None


@pytest.mark.parametrize('text', ['{', '[' * 100_000, '[]', '"a"', '\udcff', ' ' * (2 << 20)])
def test_what_is_no_config_ends_in_one_line(hub, text):
    (hub / 'config.json').write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(ConfigError, match=r'config\.json'):
        HubModel.from_pretrained(hub)
    assert 'config.json' in refused('extract', [str(hub), str(hub), '-o', str(hub / 'out')])


def test_a_folder_without_model_and_a_hub_that_cannot_be_reached(tmp_path):
    with pytest.raises(ConfigError, match=r'config.json: there is no such file'):
        HubModel.from_pretrained(tmp_path)
    with pytest.raises(WeightsError, match='nobody/nothing: there is no such folder.*hub'):
        HubModel.from_pretrained('nobody/nothing', local_files_only=True, cache_dir=tmp_path)
    with pytest.raises(WeightsError, match='a/b/c: there is no such folder'):
        HubModel.from_pretrained('a/b/c')
