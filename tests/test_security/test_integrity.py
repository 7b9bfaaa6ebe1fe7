"""What is stored is what is loaded: every byte of an index, of saved features and of tensors."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_trees import write_image
from manifests import change_manifest, record_again
from safetensors.torch import load_file, save_file
from tiny_runs import refused, render_tiny, write_tiny_config

from fusionreid.apis import Calibration, FeatureSpec
from fusionreid.apis.calibration_file import save_calibration
from fusionreid.checkpoints import find_resumable, read_state_dict, read_weight_file
from fusionreid.checkpoints.checkpoint_loader import load_from_weight_file
from fusionreid.checkpoints.inspection import inspect_weights
from fusionreid.checkpoints.tensor_checksums import add_checksums, compute_checksums
from fusionreid.cli.main import run_command
from fusionreid.errors import GalleryError, ScoringError, UserError, WeightsError
from fusionreid.evaluation import FeatureSet
from fusionreid.gallery import Gallery

COUNT, WIDTH = 300, 8
IVFPQ = dict(type='faiss_ivfpq', exact_below=256, lists=4, code_bytes=2)
ENGINES = [pytest.param(engine, id=str(engine)[:20]) for engine in ('exact', 'faiss_flat', IVFPQ)]
FLIPS = 80
GONE = 'index the images again|copy the index again'


def fill(engine, seed=0):
    generator = torch.Generator().manual_seed(seed)
    gallery = Gallery(engine=engine)
    gallery.add(
        features=torch.randn(COUNT, WIDTH, generator=generator),
        ids=[f'item "{number}"\r\n' for number in range(COUNT)],
        paths=[f'people/\udcff{number}.jpg' for number in range(COUNT)],
        person_ids=[number // 3 for number in range(COUNT)],
    )
    return gallery


def make_features():
    return FeatureSet(
        features=torch.randn(20, 6, generator=torch.Generator().manual_seed(0)),
        widths={'cnn': 4, 'transformer': 2},
        person_ids=torch.arange(20) // 4,
        camera_ids=torch.arange(20) % 4,
        roles=['query', 'gallery'] * 10,
        img_paths=[f'{number}, "a"\udcff.jpg' for number in range(20)],
        protocol=dict(dataset_name='Market-1501', sie=True),
    )


def positions(folder: Path) -> list[tuple[Path, int]]:
    """Some bytes of every file in a folder, and all of those that hold few."""
    generator = random.Random(0)
    places = []
    for path in sorted(folder.rglob('*')):
        if path.is_file() and path.name != '.lock':
            size = path.stat().st_size
            ends = [*range(min(16, size)), size - 1]
            places += [(path, place) for place in {*ends, *generator.choices(range(size), k=FLIPS)}]
    return places


def flip(path: Path, place: int) -> bytes:
    """Flip a bit of a file; returns what it held before."""
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[place] ^= 1 << random.Random(place).randrange(8)
    path.write_bytes(changed)
    return whole


def complaint(kind: type[UserError], load, *arguments, **options) -> str:
    with pytest.raises(kind) as error:
        load(*arguments, **options)
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize('engine', ENGINES)
def test_every_flipped_byte_of_an_index_is_refused(engine, tmp_path):
    index = tmp_path / 'index'
    fill(engine).save(index)
    places = positions(index)
    assert len({path for path, _ in places}) == (5 if engine == IVFPQ else 3)
    for path, place in places:
        whole = flip(path, place)
        reason = complaint(GalleryError, Gallery.load, index)
        assert path.name in reason, (path, place)
        path.write_bytes(whole)
    assert len(Gallery.load(index)) == COUNT


def test_every_flipped_byte_of_features_is_refused(tmp_path):
    make_features().save(tmp_path)
    places = positions(tmp_path)
    assert len({path for path, _ in places}) == 3
    for path, place in places:
        whole = flip(path, place)
        assert path.name in complaint(ScoringError, FeatureSet.load, tmp_path), (path, place)
        path.write_bytes(whole)
    assert torch.equal(FeatureSet.load(tmp_path).features, make_features().features)


@pytest.mark.slow
@pytest.mark.parametrize('engine', ENGINES)
def test_unverified_damage_ends_in_one_line_or_an_answer(engine, tmp_path):
    index = tmp_path / 'index'
    fill(engine).save(index)
    queries, answered, reasons = torch.eye(WIDTH), 0, []
    for path, place in positions(index)[::2]:
        if path.suffix == '.faiss':  # FAISS's reader may end the process
            continue
        whole = flip(path, place)
        try:
            found = Gallery.load(index, verify=False).search(queries, 3)
        except UserError as error:
            reasons.append(str(error))
        else:
            assert found.ids.shape == (WIDTH, 3)
            answered += 1
        path.write_bytes(whole)
    assert answered > 50
    assert len(reasons) > 50
    assert not any('\n' in reason for reason in reasons)


def swap(index: Path, other: Path, name: str) -> None:
    (path,) = index.rglob(name)
    (stranger,) = other.rglob(name)
    shutil.copy(stranger, path)


@pytest.mark.parametrize(
    'name', ['items.csv', 'features.safetensors', 'ivfpq.faiss', 'ivfpq_keys.safetensors']
)
def test_files_of_another_index_are_refused(name, tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    fill(IVFPQ).save(first)
    other = fill(IVFPQ, seed=1)
    other.save(second)  # which trains FAISS
    other.remove([f'item "{number}"\r\n' for number in (3, 4)])
    other.add(features=torch.randn(2, WIDTH), ids=['new', 'newer'])
    other.save(second)
    swap(first, second, name)
    reason = complaint(GalleryError, Gallery.load, first)
    assert name in reason
    assert re.search(GONE, reason)
    if 'ivfpq' in name:  # these two know each other
        assert name in complaint(GalleryError, Gallery.load, first, verify=False)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda keys: keys + 1, 'belongs to other items'),
        (lambda keys: keys.roll(1), 'do not ascend'),
        (lambda keys: keys[:-1], 'a key for each item'),
        (lambda keys: keys.float(), 'a key for each item'),
        (lambda keys: keys - 1, 'do not ascend'),
    ],
)
def test_shifted_keys_are_refused(change, message, tmp_path):
    index = tmp_path / 'index'
    fill(IVFPQ).save(index)
    (path,) = index.rglob('ivfpq_keys.safetensors')
    state = load_file(path)
    save_file({**state, 'keys': change(state['keys']).contiguous()}, path)
    assert path.name in complaint(GalleryError, Gallery.load, index)
    # Whoever writes a manifest that fits.
    record_again(index / 'gallery.json', path.parent)
    assert re.search(message, complaint(GalleryError, Gallery.load, index))


def test_another_kind_of_faiss_index_is_refused(tmp_path):
    faiss = pytest.importorskip('faiss')
    index = tmp_path / 'index'
    fill(IVFPQ).save(index)
    (path,) = index.rglob('ivfpq.faiss')
    flat = faiss.IndexFlatL2(WIDTH)
    flat.add(np.zeros((COUNT, WIDTH), np.float32))
    faiss.write_index(flat, str(path))
    reason = complaint(GalleryError, Gallery.load, index, verify=False)
    assert 'IndexFlat' in reason
    path.write_bytes(path.read_bytes()[:40])
    assert 'is damaged' in complaint(GalleryError, Gallery.load, index, verify=False)


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    'damage',
    [
        Path.unlink,
        put_pipe,
        put_folder,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b'\n'),
        lambda path: path.write_bytes(b''),
        lambda path: (path.parent / 'another.faiss').write_bytes(b'x'),
    ],
    ids=['gone', 'pipe', 'folder', 'short', 'long', 'empty', 'extra'],
)
def test_missing_cut_and_strange_files_are_refused(damage, tmp_path):
    fill('exact').save(tmp_path / 'index')
    make_features().save(tmp_path / 'features')
    (items,) = (tmp_path / 'index').rglob('items.csv')
    (samples,) = (tmp_path / 'features').glob('samples-*.csv')
    damage(items)
    damage(samples)
    reason = complaint(GalleryError, Gallery.load, tmp_path / 'index')
    assert re.search(GONE, reason)
    assert 'items.csv' in reason or 'another.faiss' in reason
    if (samples.parent / 'another.faiss').exists():  # the folder may hold more than features
        assert len(FeatureSet.load(samples.parent)) == 20
        return
    assert samples.name in complaint(ScoringError, FeatureSet.load, samples.parent)
    if items.is_file() and items.read_bytes().endswith(b'"-1"'):  # the last line's end is missing
        assert len(Gallery.load(tmp_path / 'index', verify=False)) == COUNT
        return
    reason = complaint(GalleryError, Gallery.load, tmp_path / 'index', verify=False)
    assert 'items.csv' in reason


def edit_items(change):
    def damage(index: Path) -> None:
        (path,) = index.rglob('items.csv')
        text = path.read_bytes().decode('utf-8', 'surrogateescape')
        path.write_bytes(change(text).encode('utf-8', 'surrogateescape'))

    return damage


def edit_manifest(text: str):
    return lambda index: (index / 'gallery.json').write_text(text)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (edit_items(lambda text: text.replace('"5"', '"five"')), "person_id must be .* 'five'"),
        (edit_items(lambda text: text.replace('"5"', '"1e3"')), "person_id must be .* '1e3'"),
        (edit_items(lambda text: text.replace('"5"', f'"{2**63}"')), 'person_id must be whole'),
        (edit_items(lambda text: text.replace('"5"', f'"{"9" * 5000}"')), 'person_id must be'),
        (edit_items(lambda text: text.replace('item "', 'item ', 1)), 'items.csv is damaged'),
        (edit_items(lambda text: text.replace(',"person_id"', '')), 'person_id missing'),
        (edit_items(lambda text: text.replace('"5"', '"5","6"', 1)), 'row 6: 5 fields'),
        (edit_items(lambda text: text + text[-40:]), 'items.csv'),
        (edit_items(lambda text: ''), 'has the columns'),
        (edit_items(lambda text: text.replace('""1""', '""2""', 1)), 'an item_id twice'),
        (edit_items(lambda text: text[:-1] + ',' + 'x' * 200_000), 'items.csv is damaged'),
        (edit_manifest('[' * 100_000), 'gallery.json is damaged'),
        (edit_manifest('[]'), 'gallery.json is damaged.*holds a list'),
        (edit_manifest('9' * 5000), 'gallery.json is damaged'),
        (edit_manifest('\x00'), 'gallery.json is damaged'),
    ],
)
def test_hand_edited_indexes_are_named_in_one_line(damage, message, tmp_path):
    index = tmp_path / 'index'
    fill('exact').save(index)
    damage(index)
    complaint(GalleryError, Gallery.load, index)
    assert re.search(message, complaint(GalleryError, Gallery.load, index, verify=False))


def test_an_index_may_be_edited_by_those_who_know(tmp_path):
    index = tmp_path / 'index'
    fill('exact').save(index)
    edit_items(lambda text: text.replace('people/', 'moved/'))(index)
    assert 'items.csv' in complaint(GalleryError, Gallery.load, index)
    gallery = Gallery.load(index, verify=False)
    assert gallery.search(torch.eye(WIDTH), 1).paths[0, 0].startswith('moved/')
    gallery.save(index)
    assert len(Gallery.load(index)) == COUNT


def edit_tensor(change):
    def damage(folder: Path) -> None:
        (path,) = folder.glob('*.safetensors')
        save_file({'features': change(load_file(path)['features']).contiguous()}, path)

    return damage


def edit_samples(change):
    def damage(folder: Path) -> None:
        (path,) = folder.glob('*.csv')
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b''.join(change(lines)))

    return damage


def edit_entry(**values):
    return lambda folder: change_manifest(
        folder / 'features.json', lambda content: content.update(values)
    )


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (edit_tensor(lambda rows: rows[:-1]), r'shape \(19, 6\), expected .*\(20, 6\)'),
        (edit_tensor(lambda rows: torch.cat((rows, rows[:1]))), r'shape \(21, 6\), expected'),
        (edit_tensor(lambda rows: rows[:, :5]), r'shape \(20, 5\), expected'),
        (edit_tensor(lambda rows: rows.double()), 'holds torch.float64'),
        (edit_tensor(lambda rows: rows.flatten()), r'shape \(120,\)'),
        (edit_tensor(lambda rows: rows.index_fill(0, torch.tensor(3), torch.nan)), 'row 4 .* NaN'),
        (edit_tensor(lambda rows: rows.index_fill(0, torch.tensor(0), torch.inf)), 'row 1 .* inf'),
        (edit_samples(lambda lines: lines[:-1]), r'expected float32 of shape \(19, 6\)'),
        (edit_samples(lambda lines: [*lines, lines[-1]]), r'expected float32 of shape \(21, 6\)'),
        (edit_samples(lambda lines: [b'"path","role"\n', *lines[1:]]), 'person_id, camera_id miss'),
        (edit_samples(lambda lines: [lines[0], b'"a","1.5","2","query"\n', *lines[2:]]), "'1.5'"),
        (edit_samples(lambda lines: [lines[0], b'"a","1","","query"\n', *lines[2:]]), "got ''"),
        (edit_samples(lambda lines: [lines[0], b'"a","1","2","train"\n', *lines[2:]]), "'train'"),
        (edit_samples(lambda lines: [lines[0], b'"a","1"\n', *lines[2:]]), 'row 1: 2 fields'),
        (edit_entry(widths={'cnn': 7, 'transformer': -1}), "width of 'transformer' .* got -1"),
        (edit_entry(widths={'cnn': 4, 'transformer': 3}), r'expected float32 of shape \(20, 7\)'),
        (edit_entry(widths={'cnn': '4', 'transformer': 2}), "width of 'cnn' .* got '4'"),
        (edit_entry(widths=[6]), 'not written by FeatureSet.save'),
        (edit_entry(widths={}), 'expected float32'),
        (edit_entry(protocol=['SIE']), 'protocol must be an object'),
        (edit_entry(features=7), 'not written by FeatureSet.save'),
    ],
)
def test_hand_edited_features_are_named_in_one_line(damage, message, tmp_path):
    make_features().save(tmp_path)
    before = (tmp_path / 'features.json').read_bytes()
    damage(tmp_path)
    if (tmp_path / 'features.json').read_bytes() == before:
        complaint(ScoringError, FeatureSet.load, tmp_path)
        # Whoever writes a manifest that fits.
        record_again(tmp_path / 'features.json', tmp_path)
    assert re.search(message, complaint(ScoringError, FeatureSet.load, tmp_path))


def checkpoint():
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(30, 40, generator=generator) for name in ('a.weight', 'b.weight')}
    content = dict(
        state_dict={**weights, 'count': torch.tensor(3), 'none': torch.empty(0, 4)},
        ema_state_dict={'steps': torch.tensor(5), 'a.weight': torch.ones(3).bfloat16()},
        optimizer=dict(
            state={0: dict(step=torch.tensor(2.0), momentum_buffer=torch.ones(30, 40).t())},
            param_groups=[dict(lr=0.1, params=[0])],
        ),
        message_hub=dict(runtime_info=dict(epoch=3)),
        meta=dict(epoch=3),
    )
    add_checksums(content)
    return content


def changed_tensors():
    def transposed(content):
        content['state_dict']['a.weight'] = content['state_dict']['a.weight'].t().contiguous()

    def swapped(content):
        state = content['state_dict']
        state['a.weight'], state['b.weight'] = state['b.weight'], state['a.weight']

    def renamed(content):
        content['state_dict']['c.weight'] = content['state_dict'].pop('b.weight')

    def left_out(content):
        del content['state_dict']['b.weight']

    def other_type(content):
        content['state_dict']['a.weight'] = content['state_dict']['a.weight'].view(torch.int32)

    def one_bit(content):
        content['state_dict']['a.weight'].view(torch.int32)[0, 0] ^= 1

    def negative_zero(content):
        content['optimizer']['state'][0]['momentum_buffer'][0, 0] *= -1

    def averaged(content):
        content['ema_state_dict']['a.weight'] += 1

    def no_weights(content):
        content['state_dict'] = {}

    return [pytest.param(f, id=f.__name__) for f in list(locals().values())]


@pytest.mark.parametrize('change', changed_tensors())
@pytest.mark.parametrize('is_zip', [True, False])
def test_changed_tensors_of_a_checkpoint_are_refused(change, is_zip, tmp_path):
    path = tmp_path / 'epoch_3.pth'
    content = checkpoint()
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert read_weight_file(path)['meta'] == content['meta']
    change(content)
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    for load in (read_weight_file, read_state_dict, load_from_weight_file, inspect_weights):
        reason = complaint(WeightsError, load, path)
        assert str(path) in reason
        assert 'their checksum differs: copy the file again' in reason


def test_flipped_bytes_of_tensors_are_refused(tmp_path):
    content = checkpoint()
    data = content['state_dict']['a.weight'].numpy().tobytes()
    generator = random.Random(0)
    for is_zip in (True, False):
        path = tmp_path / 'epoch_3.pth'
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        whole = path.read_bytes()
        start = whole.index(data)
        for place in generator.choices(range(len(data)), k=100):
            flip(path, start + place)
            assert str(path) in complaint(WeightsError, read_weight_file, path)
            path.write_bytes(whole)


@pytest.mark.parametrize('stored', [3, ['x'], {'state_dict': 3}, {'state_dict': 'x', 5: None}])
def test_checksums_that_are_none_end_in_one_line(stored, tmp_path):
    content = checkpoint()
    content['meta']['tensor_sha256'] = stored
    torch.save(content, tmp_path / 'a.pth')
    assert 'a.pth' in complaint(WeightsError, read_weight_file, tmp_path / 'a.pth')


def test_checkpoints_without_checksums_or_optimizer_load_as_before(tmp_path):
    content = checkpoint()
    del content['optimizer']  # as published
    torch.save(content, tmp_path / 'a.pth')
    assert read_weight_file(tmp_path / 'a.pth')['meta']['epoch'] == 3
    del content['meta']['tensor_sha256']
    content['state_dict']['a.weight'] += 1
    torch.save(content, tmp_path / 'epoch_3.pth')
    loaded = read_state_dict(tmp_path / 'epoch_3.pth')
    assert torch.equal(loaded['a.weight'], content['state_dict']['a.weight'])
    assert 'lacks optimizer' in complaint(WeightsError, find_resumable, tmp_path)


def test_checksums_take_no_longer_than_the_file_is_large(tmp_path):
    """Lists that hold each other twice are few objects, and more than anybody can count."""
    value = [torch.ones(2)]
    for _ in range(60):
        value = [value, value]
    content = dict(state_dict=dict(value=value), meta=dict(tensor_sha256=dict(state_dict='x')))
    torch.save(content, tmp_path / 'a.pth')
    assert 'checksum' in complaint(WeightsError, read_weight_file, tmp_path / 'a.pth')


def test_tensors_in_the_meta_of_a_checkpoint_are_covered_too(tmp_path):
    """As in those of interrupted epochs; the checksums themselves stand beside them."""
    content = checkpoint()
    content['meta']['interrupted'] = dict(processes=[dict(torch=torch.arange(4)), {}])
    add_checksums(content)
    torch.save(content, tmp_path / 'a.pth')
    assert read_weight_file(tmp_path / 'a.pth')['meta']['interrupted']['processes'][1] == {}
    content['meta']['interrupted']['processes'][0]['torch'][2] = 7
    torch.save(content, tmp_path / 'a.pth')
    assert "tensors of 'meta'" in complaint(WeightsError, read_weight_file, tmp_path / 'a.pth')


def test_checksums_depend_on_values_and_not_on_memory():
    weight = torch.randn(8, 3, 4, 4)
    last = weight.to(memory_format=torch.channels_last)
    assert last.stride() != weight.stride()
    assert compute_checksums(dict(a=[weight])) == compute_checksums(dict(a=[last]))
    assert compute_checksums(dict(a=[weight])) != compute_checksums(dict(a=[-weight]))


def test_not_finite_weights_are_said(tmp_path, capsys):
    state = {f'layer{number}.weight': torch.ones(4) for number in range(9)}
    torch.save(state, tmp_path / 'a.pth')
    run_command('inspect', [str(tmp_path / 'a.pth')])
    assert 'NaN' not in capsys.readouterr().out
    state['layer2.weight'][1:] = torch.nan
    state['layer5.weight'][0] = -torch.inf
    torch.save(state, tmp_path / 'a.pth')
    run_command('inspect', [str(tmp_path / 'a.pth')])
    assert '2 of 9 tensors: layer2.weight (3 of 4), layer5.weight (1 of 4)\n' in (
        capsys.readouterr().out
    )
    torch.save({name: value * torch.nan for name, value in state.items()}, tmp_path / 'a.pth')
    assert dict(inspect_weights(tmp_path / 'a.pth'))['NaN or infinite'].endswith(', ... (4 more)')


@pytest.mark.slow
def test_a_damaged_checkpoint_of_a_training_is_refused(tmp_path):
    """The weights that are saved are averages, which a hook exchanges in the last moment."""
    average = "custom_hooks.append(dict(type='EMAHook', momentum=0.5, priority=90))\n"
    name = 'r18_synthetic'
    config = write_tiny_config(tmp_path, render_tiny(tmp_path / 'data'), name, average)
    run = tmp_path / 'run'
    train = [str(config), '--work-dir', str(run), '--no-validate']
    run_command('train', [*train, '--cfg-options', 'train_cfg.max_epochs=1'])
    content = torch.load(run / 'epoch_1.pth', weights_only=True)
    entries = {'state_dict', 'ema_state_dict', 'optimizer'}
    assert entries <= content['meta']['tensor_sha256'].keys()
    assert read_weight_file(run / 'epoch_1.pth')['meta'] == content['meta']
    verify(run / 'epoch_1.pth')
    name = next(iter(content['state_dict']))
    content['state_dict'][name] = content['state_dict'][name] + 1
    torch.save(content, run / 'epoch_1.pth')
    for command in (
        ['train', *train, '--resume', str(run / 'epoch_1.pth')],
        ['test', str(config), str(run / 'epoch_1.pth'), '--work-dir', str(tmp_path / 'test')],
        [
            'index',
            str(tmp_path / 'data' / 'query'),
            str(run / 'epoch_1.pth'),
            '-o',
            str(tmp_path / 'index'),
        ],
        ['inspect', str(run / 'epoch_1.pth')],
        ['verify', str(run / 'epoch_1.pth')],
    ):
        reason = refused(command[0], command[1:])
        assert 'epoch_1.pth' in reason
        assert 'their checksum differs' in reason
        assert '\n' not in reason


def verify(path: Path) -> None:
    assert run_command('verify', [str(path)]) == 0


def refuse(path: Path) -> str:
    reason = refused('verify', [str(path)])
    assert '\n' not in reason
    return reason


def test_the_command_verifies_what_is_stored(tmp_path, capsys):
    index, features, weights = (tmp_path / name for name in ('index', 'features', 'a.pth'))
    fill(IVFPQ).save(index)
    make_features().save(features)
    torch.save(checkpoint(), weights)
    verify(index)
    text = capsys.readouterr().out
    assert re.search(r'index .*index, 300 images, engine faiss_ivfpq', text)
    for name in ('gallery.json', 'items.csv', 'features.safetensors', 'ivfpq.faiss'):
        assert name in text
    size = sum(path.stat().st_size for path in index.glob('*/*'))
    assert f'{size:,} besides gallery.json' in text
    verify(features)
    assert 'saved features' in capsys.readouterr().out
    verify(weights)
    assert 'tensors of state_dict, ema_state_dict, optimizer' in capsys.readouterr().out
    for path in (next(index.rglob('ivfpq.faiss')), next(features.glob('*.csv')), weights):
        start = path.read_bytes().find(checkpoint()['state_dict']['a.weight'].numpy().tobytes())
        flip(path, max(start, 50))
        assert path.name in refuse(
            path if path == weights else index if 'ivf' in path.name else features
        )
    assert capsys.readouterr().out == ''


def test_a_calibration_is_verified_by_the_command(tmp_path, capsys):
    people = torch.arange(10).repeat(4)
    spec = FeatureSpec(8, 'cnn', 'before BNNeck')
    torch.manual_seed(0)
    features = torch.randn(10, 8)[people] + 0.3 * torch.randn(40, 8)
    path = tmp_path / 'rates'  # any name
    save_calibration(Calibration.fit(features, people, spec=spec, data='ten people'), path)
    verify(path)
    printed = capsys.readouterr().out
    assert 'ten people: 720 pairs of 10 people' in printed
    assert 'cnn, width 8, before BNNeck' in printed
    assert 'ok' in printed
    for place in random.Random(0).sample(range(1, path.stat().st_size), 8):
        whole = flip(path, place)
        assert 'rates' in refuse(path)
        path.write_bytes(whole)
    path.write_text('{"format": "fusionreid-gallery-3"}')
    assert "has the format 'fusionreid-gallery-3'" in refuse(path)
    assert capsys.readouterr().out == ''


def test_the_command_says_what_it_cannot_verify(tmp_path):
    torch.save(dict(state_dict=dict(a=torch.ones(1))), tmp_path / 'other.pth')
    assert 'carries no checksums' in refuse(tmp_path / 'other.pth')
    assert 'neither an index' in refuse(tmp_path)
    assert 'no such file' in refuse(tmp_path / 'none')
    (tmp_path / 'features.safetensors').touch()
    assert 'older version' in refuse(tmp_path)


def test_progress_is_shown_of_many_bytes_only(tmp_path, monkeypatch, capfd):
    fill('exact').save(tmp_path / 'index')
    torch.save(checkpoint(), tmp_path / 'a.pth')
    Gallery.load(tmp_path / 'index')
    verify(tmp_path / 'a.pth')
    assert capfd.readouterr().err == ''
    monkeypatch.setattr('fusionreid.utils.progress.MANY_BYTES', 1)
    Gallery.load(tmp_path / 'index')
    assert re.fullmatch(
        r'verifying .*index, MiB: 1/1 \(100%\), 00:00 left\n', capfd.readouterr().err
    )
    verify(tmp_path / 'a.pth')
    assert 'MiB: 1/1 (100%)' in capfd.readouterr().err


def test_search_verifies_unless_told_not_to(tmp_path):
    index = tmp_path / 'index'
    fill('exact').save(index)
    edit_items(lambda text: text.replace('people/', 'moved/'))(index)
    reasons = []
    write_image(tmp_path / 'query.jpg', 0)
    for options in ([], ['--no-verify']):
        with pytest.raises(SystemExit) as stop:
            run_command('search', [str(index), str(tmp_path / 'query.jpg'), *options])
        reasons.append(str(stop.value))
    assert 'items.csv is damaged' in reasons[0]
    assert 'the gallery has no model' in reasons[1]
