"""What a weight file can claim."""

from __future__ import annotations

import io
import pickle
import random
import resource
import struct
import zipfile
from collections import Counter, OrderedDict

import pytest
import torch
from mmengine.logging import HistoryBuffer

from fusionreid.checkpoints import find_resumable, read_state_dict, read_weight_file
from fusionreid.errors import WeightsError

WEIGHTS = {'conv1.weight': torch.arange(24.0).reshape(4, 6)}
LIMIT = 200 << 20  # bytes of memory that reading a small file may take


@pytest.fixture(autouse=True)
def _bounded():
    """Refuse memory beyond what is in use, and a little more."""
    with open('/proc/self/statm') as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def refused(path, match):
    for read in (read_state_dict, lambda path: read_weight_file(path, with_tensors=False)):
        with pytest.raises(WeightsError, match=match) as error:
            read(path)
        assert '\n' not in str(error.value)
        assert not isinstance(error.value.__cause__, MemoryError)
        assert 'allocate' not in str(error.value)


def rewrite(source, target, change, compression=zipfile.ZIP_STORED):
    """Write an archive again, with other contents."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w', compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


def with_pickle(folder, text):
    """Make a PyTorch file with another pickle."""
    torch.save(WEIGHTS, folder / 'good.pth')
    path = folder / 'bad.pth'
    rewrite(folder / 'good.pth', path, lambda name, old: text if name.endswith('data.pkl') else old)
    return path


def tensor(size, stride, offset=0, count=24, key='0'):
    """Pickle of a state dict whose tensor makes these claims."""

    class Claim:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (
                storage, offset, size, stride, False, OrderedDict(),
            )  # fmt: skip

    storage = object()

    class Writer(pickle._Pickler):
        def persistent_id(self, value):
            if value is storage:
                return ('storage', torch.FloatStorage, key, 'cpu', count)
            return None

    stream = io.BytesIO()
    Writer(stream, protocol=2).dump({'conv1.weight': Claim()})
    return stream.getvalue()


@pytest.mark.parametrize(
    'claim',
    [
        tensor((10**14,), (1,)),
        tensor((10**14,), (0,)),
        tensor((10**7, 10**7), (0, 0)),
        tensor((25,), (1,)),
        tensor((24,), (2,)),
        tensor((24,), (1,), offset=1),
        tensor((24,), (1,), offset=-1),
        tensor((-1,), (1,)),
        tensor((2,), (-1,), offset=1),
        tensor((2.0,), (1,)),
        tensor((True,), (1,)),
        tensor((2, 2), (1,)),
        tensor((10**9,), (1,), count=10**9),
        tensor((25,), (1,), count=25),
        tensor((1,), (1,), count=-1),
        tensor((1,), (1,), key='7'),
        tensor((1,), (1,), key='../data.pkl'),
    ],
)
def test_sizes_are_compared_with_the_file(claim, tmp_path):
    refused(with_pickle(tmp_path, claim), 'refused, since|damaged')
    good = with_pickle(tmp_path, tensor((4, 6), (6, 1)))
    assert torch.equal(read_state_dict(good)['conv1.weight'], WEIGHTS['conv1.weight'])


@pytest.mark.parametrize(
    'value',
    [
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.empty(10**14, device='meta'),
        torch.zeros(1).expand(10**14),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    ],
    ids=['quantized', 'sparse', 'csr', 'meta', 'stride-0', 'nested'],
)
@pytest.mark.parametrize('is_zip', [True, False])
def test_tensors_that_are_no_plain_numbers_are_refused(value, is_zip, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'a': value}}, path, _use_new_zipfile_serialization=is_zip)
    refused(path, 'refused, since')


def test_archives_that_unpack_to_more_than_they_are(tmp_path):
    zeros = {'a': torch.zeros(1 << 20)}
    torch.save(zeros, tmp_path / 'good.pth')
    assert read_state_dict(tmp_path / 'good.pth')['a'].shape == (1 << 20,)
    rewrite(tmp_path / 'good.pth', tmp_path / 'bomb.pth', lambda _, old: old, zipfile.ZIP_DEFLATED)
    assert (tmp_path / 'bomb.pth').stat().st_size < 1 << 16
    refused(tmp_path / 'bomb.pth', 'unpack to more than the file')
    with zipfile.ZipFile(tmp_path / 'good.pth') as old:
        entries = [(entry, old.read(entry)) for entry in old.infolist()]
    # Entries that share their bytes.
    with zipfile.ZipFile(tmp_path / 'shared.pth', 'w') as new:
        for entry, content in entries:
            new.writestr(entry.filename, content)
        data = next(info for info in new.filelist if info.filename.endswith('data/0'))
        new.filelist += [data] * 1000
    refused(tmp_path / 'shared.pth', 'unpack to more than the file')


def legacy(count, content):
    """A file of the format before archives, whose storage makes a claim."""
    parts = [0x1950A86A20F9469CFC6C, 1001, dict(little_endian=True)]
    stream = b''.join(pickle.dumps(part, 2) for part in parts)
    return stream + content + pickle.dumps(['0'], 2) + struct.pack('<q', count) + bytes(96)


@pytest.mark.parametrize('count', [-1, 0, 23, 25, 10**9, 2**62])
def test_sizes_of_legacy_files_are_compared_with_the_file(count, tmp_path):
    claim = tensor((24,), (1,), count=24)
    (tmp_path / 'good.pth').write_bytes(legacy(24, claim))
    assert read_state_dict(tmp_path / 'good.pth')['conv1.weight'].tolist() == [0.0] * 24
    (tmp_path / 'bad.pth').write_bytes(legacy(count, claim))
    refused(tmp_path / 'bad.pth', 'refused, since|damaged')
    huge = tensor((10**12,), (1,), count=10**12)
    (tmp_path / 'huge.pth').write_bytes(legacy(24, huge))
    refused(tmp_path / 'huge.pth', 'refused, since|damaged')


def pickled(*instructions):
    return b'\x80\x02' + b''.join(instructions) + b'.'


LONG_TEXT = b'X' + struct.pack('<I', 1 << 20) + b'a' * (1 << 20)


@pytest.mark.parametrize(
    'text',
    [
        pickled(b'cbuiltins\nbytearray\n', b'\x8a\x05' + (10**11).to_bytes(5, 'little'), b'\x85R'),
        pickled(b'N', b'r' + struct.pack('<I', 2**31)),  # a place far away in the memo
        pickled(b'\x8e' + struct.pack('<Q', 2**40)),
        pickled(b'\x96' + struct.pack('<Q', 2**40)),
        pickled(b'\x8b' + struct.pack('<I', 2**31 - 1)),
        pickled(b'\x95' + struct.pack('<Q', 2**40), b'N'),
        pickled(
            b'(',
            LONG_TEXT,
            b'q\x000',
            *[b'c_codecs\nencode\nh\x00X\x06\0\0\0latin1\x86R'] * 2000,
            b't',
        ),
        pickled(b']q\x00', b'h\x00a' * 10),  # a list within itself
        pickled(b']', *[b'q\x01(h\x01' + b'h\x01' * 9 + b'l'] * 50),  # 10 to the power of 50
        pickled(b']' * 5000, b'a' * 4999),
        pickled(b'ctorch._utils\n_rebuild_tensor_v2\n)R'),
        pickled(b'ctorch._utils\n_rebuild_tensor_v2\n}b'),
        pickled(b'ctorch\nload\nX\x01\0\0\0a\x85R'),
        pickled(b'cos\nsystem\nX\x02\0\0\0id\x85R'),
        pickled(b'ctorch\nFloatStorage\n)R'),
        pickled(b'ctorch\nfloat32\n)R'),
        pickled(b'cnumpy\nndarray\n(J\0\0\0\x70tR'),
        pickled(b'(ios\nsystem\n'),
        pickled(b'(cos\nsystem\nX\x02\0\0\0ido'),
        pickled(b'NQ'),
        pickled(b'I1\n'),
        pickled(b'0'),
        b'',
        b'.',
    ],
)
def test_no_pickle_runs_or_grows(text, tmp_path):
    for path in (with_pickle(tmp_path, text), tmp_path / 'raw.pth'):
        if path.name == 'raw.pth':
            path.write_bytes(text)
        with pytest.raises(
            WeightsError, match='refused, since|damaged|holds a|holds no|entry'
        ) as error:
            read_state_dict(path)
        assert '\n' not in str(error.value)
        assert not isinstance(error.value.__cause__, MemoryError)


def test_random_damage_ends_in_one_line(tmp_path):
    content = dict(
        state_dict=WEIGHTS,
        hub=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1])),
        meta=dict(epoch=3),
    )
    generator = random.Random(0)
    for is_zip in (True, False):
        torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=is_zip)
        whole = (tmp_path / 'a.pth').read_bytes()
        complaints = []
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(generator.choice((1, 1, 8))):
                damaged[generator.randrange(len(whole))] = generator.randrange(256)
            (tmp_path / 'b.pth').write_bytes(damaged)
            try:
                read_state_dict(tmp_path / 'b.pth')
            except WeightsError as error:
                complaints.append(str(error))
        assert len(complaints) > 50
        assert not any('\n' in complaint for complaint in complaints)


CONTENT = dict(
    state=WEIGHTS,
    view=WEIGHTS['conv1.weight'][1:3, ::2],
    transposed=WEIGHTS['conv1.weight'].t(),
    half=torch.arange(3).half(),
    brain=torch.arange(3).bfloat16(),
    flags=torch.tensor([True, False]),
    complex=torch.tensor([1 + 2j]),
    none=torch.empty(0, 3),
    number=torch.tensor(3.5),
    parameter=torch.nn.Parameter(torch.ones(2)),
    positions=torch.arange(5).expand(1, -1),
    others=(torch.float16, torch.Size([2, 3]), OrderedDict(a=1), Counter([1, 1]), {1, 2}, b'\xff'),
    primitives=[None, True, -5, 2**80, 1.5, 1 + 2j, 'ä', torch.device('cpu')],
)


def same(first, second):
    if isinstance(first, torch.Tensor):
        return (
            first.dtype == second.dtype
            and first.stride() == second.stride()
            and torch.equal(first, second)
        )
    if isinstance(first, dict):
        return type(first) is type(second) and all(
            key == other and same(first[key], second[other])
            for key, other in zip(first, second, strict=True)
        )
    if isinstance(first, (list, tuple)):
        return type(first) is type(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('is_zip', [True, False])
def test_honest_files_are_read_as_pytorch_reads_them(is_zip, protocol, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(CONTENT, path, _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
    found, expected = read_weight_file(path), torch.load(path, weights_only=False)
    assert found.keys() == expected.keys()
    for name in CONTENT:
        assert same(expected[name], found[name]), name
    # What shares its memory still does.
    found['view'][0, 0] = -1
    assert found['state']['conv1.weight'][1, 0] == -1


def test_numbers_of_8_bits_are_read(tmp_path):
    values = torch.tensor([1.0, 2.0])
    state = {'a': values.to(torch.float8_e4m3fn), 'b': values.to(torch.uint16)}
    torch.save(state, tmp_path / 'a.pth')
    found = read_state_dict(tmp_path / 'a.pth')
    assert found['a'].float().tolist() == found['b'].float().tolist() == [1, 2]
    state['a'] = torch.tensor([float('nan')]).to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='a holds a NaN'):
        read_state_dict(tmp_path / 'a.pth')


def test_the_newest_checkpoint_is_checked_with_its_tensors(tmp_path):
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    rest = dict(meta=dict(epoch=1, iter=5), message_hub=hub, optimizer={}, param_schedulers=[])
    torch.save(dict(rest, state_dict=WEIGHTS), tmp_path / 'epoch_1.pth')
    rewrite(tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth', lambda name, old: old[:-1])
    assert find_resumable(tmp_path).name == 'epoch_1.pth'
    tensors = read_weight_file(tmp_path / 'epoch_1.pth', with_tensors=False)
    assert tensors['state_dict']['conv1.weight'].is_meta
