"""Reading PyTorch files: only tensors and primitive values, and never more bytes than a file has.

PyTorch's own reader allocates whatever sizes a file claims. Here the pickle is first read into
plans, none of which runs or allocates anything; the plans are compared with the bytes that are
there, and only then tensors are made.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# Everything that builds, calls or looks up by other means than `_Reader` is missing here.
_OPCODES = (
    pickle.PROTO + pickle.FRAME + pickle.STOP + pickle.MARK + pickle.POP + pickle.POP_MARK
    + pickle.NONE + pickle.NEWTRUE + pickle.NEWFALSE + pickle.BININT + pickle.BININT1
    + pickle.BININT2 + pickle.LONG1 + pickle.LONG4 + pickle.BINFLOAT + pickle.BINUNICODE
    + pickle.SHORT_BINUNICODE + pickle.BINUNICODE8 + pickle.BINSTRING + pickle.SHORT_BINSTRING
    + pickle.BINBYTES + pickle.SHORT_BINBYTES + pickle.BINBYTES8 + pickle.EMPTY_TUPLE
    + pickle.TUPLE + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3 + pickle.EMPTY_LIST
    + pickle.LIST + pickle.APPEND + pickle.APPENDS + pickle.EMPTY_DICT + pickle.DICT
    + pickle.SETITEM + pickle.SETITEMS + pickle.EMPTY_SET + pickle.ADDITEMS + pickle.FROZENSET
    + pickle.BINPUT + pickle.LONG_BINPUT + pickle.MEMOIZE + pickle.BINGET + pickle.LONG_BINGET
    + pickle.DUP + pickle.BINPERSID + pickle.GLOBAL + pickle.STACK_GLOBAL + pickle.REDUCE
    + pickle.NEWOBJ + pickle.BUILD
)  # fmt: skip
_NUMBER = re.compile(r'[<>=|]?(?:b1|[iu][1248]|f[248]|c(?:8|16))')
_STORAGES = {
    f'torch.{name}': dtype for dtype, name in torch.storage._dtype_to_storage_type_map().items()
}


class RefusedError(Exception):
    """A file holds something else than tensors and primitive values, or lies about its size."""


class SkippedObject:
    """Stands in for an object of a file that is of no interest, such as options of a training."""


@dataclass(frozen=True)
class _Global:
    """Something that a pickle names; it is looked up in tables of this module, never imported."""

    name: str


@dataclass(frozen=True, eq=False)
class _Storage:
    key: str
    dtype: torch.dtype
    num_elements: int


@dataclass(frozen=True, eq=False)
class _TensorPlan:
    storage: _Storage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class _Record:
    """An object that gets its content later: of NumPy, of MMEngine, or one that is skipped."""

    kind: str
    args: tuple[Any, ...] = ()
    state: Any = field(default=None)


def read_torch_file(path: Path, with_tensors: bool = True) -> Any:
    """Read a file that ``torch.save`` wrote, in today's or the legacy format.

    Args:
        path: The file.
        with_tensors: Whether tensors are read. Without them everything else is read and every
            size is checked, and the tensors are on the meta device.

    Returns:
        The content, on the CPU. Parameters are tensors, NumPy's values and MMEngine's log history
        are what they were, options of a training are a :class:`SkippedObject`.

    Raises:
        RefusedError: If the file holds anything else, or not the bytes that it claims.
        Exception: Of any kind, for a damaged file.
    """
    with open(path, 'rb') as file:
        is_zip = file.read(4) == b'PK\x03\x04'
        file.seek(0)
        return (_read_zip if is_zip else _read_legacy)(file, with_tensors)


def _read_zip(file: BinaryIO, with_tensors: bool) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        total = 0
        for entry in archive.infolist():
            # PyTorch never compresses. Entries that overlap add up to more than the file.
            total += max(entry.file_size, entry.compress_size)
            if entry.compress_type != zipfile.ZIP_STORED or total > file.seek(0, 2):
                raise RefusedError('since its entries unpack to more than the file')
        pickles = [name for name in entries if name.endswith('/data.pkl')]
        folder = pickles[0].removesuffix('data.pkl') if pickles else ''
        if len(pickles) != 1 or f'{folder}constants.pkl' in entries:
            raise RefusedError('since it is an archive, but not one of weights')
        if f'{folder}byteorder' in entries and archive.read(f'{folder}byteorder') != b'little':
            raise RefusedError('since its numbers are big-endian')
        data = archive.read(pickles[0])
        content = _Reader(io.BytesIO(data), len(data)).load()

        def length(storage: _Storage) -> int:
            return entries[f'{folder}data/{storage.key}'].file_size

        def load(storage: _Storage) -> Tensor:
            with archive.open(f'{folder}data/{storage.key}') as stream:
                return _read_bytes(stream, length(storage))

        return _Resolver(length, load if with_tensors else None, len(data))(content)


def _read_legacy(file: BinaryIO, with_tensors: bool) -> Any:
    # Nothing behind the end of a map can be asked for.
    with closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as view:
        readers = [_Reader(view, len(view)) for _ in range(5)]
        if readers[0].load() != _MAGIC or readers[1].load() != _PROTOCOL:
            raise ValueError('it does not begin like a PyTorch file')
        readers[2].load()
        content, keys = readers[3].load(), readers[4].load()
        places: dict[str, tuple[int, int]] = {}
        for key in keys:
            storage = readers[3].storages[key]
            count = int.from_bytes(view.read(8), 'little')
            size = count * storage.dtype.itemsize
            if count < storage.num_elements or size > len(view) - view.tell():
                raise RefusedError('since it claims more numbers than it has')
            places[key] = view.tell(), size
            view.seek(size, 1)

        def load(storage: _Storage) -> Tensor:
            start, size = places[storage.key]
            view.seek(start)
            return _read_bytes(view, size)

        def length(storage: _Storage) -> int:
            return places[storage.key][1]

        return _Resolver(length, load if with_tensors else None, len(view))(content)


def _read_bytes(stream: Any, size: int) -> Tensor:
    data = torch.empty(size, dtype=torch.uint8)
    target, done = data.numpy(), 0
    while done < size and (block := stream.read(min(size - done, 1 << 24))):
        target[done : done + len(block)] = np.frombuffer(block, np.uint8)
        done += len(block)
    if done < size:
        raise EOFError('it ends too early')
    return data


@dataclass
class _Budget:
    """Bytes of a pickle: each gives one item or byte, unless something is copied repeatedly."""

    left: int

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise RefusedError('since it unpacks to more than the file')


class _Reader(pickle._Unpickler):  # type: ignore[name-defined, misc, unused-ignore]
    """Python's unpickler, with the few instructions that a file of weights needs.

    In Python, since the one in C sets aside as much memory as a file tells it to.
    """

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[..., None]]]

    def __init__(self, stream: Any, size: int) -> None:
        super().__init__(stream, encoding='utf-8')
        self.budget = _Budget(size)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in NAME_MAPPING:  # names of Python 2, which are the ones written
            module, name = NAME_MAPPING[module, name]
        full = f'{IMPORT_MAPPING.get(module, module)}.{name}'
        dtype = vars(torch).get(name) if module == 'torch' else None
        if isinstance(dtype, torch.dtype):
            return dtype
        if full not in _KNOWN:
            if full.startswith('torch._utils._rebuild_'):
                raise RefusedError(
                    f'since it holds tensors that are no plain numbers ({full.rpartition("_")[0]})'
                )
            raise RefusedError(f'since it holds more than weights: loading it would run {full}')
        return _Global(full)

    def persistent_load(self, saved: Any) -> _Storage:
        kind, storage_class, key, _, count, *view = saved
        if kind != 'storage' or any(item is not None for item in view):
            raise RefusedError('since it holds storages of an unknown kind')
        dtype = _STORAGES.get(storage_class.name, torch.uint8)
        storage = _Storage(str(key), dtype, _natural(count))
        known = self.storages.setdefault(storage.key, storage)
        if (known.dtype, known.num_elements) != (storage.dtype, storage.num_elements):
            raise RefusedError('since its storages contradict each other')
        return known

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        made = _call(self.stack[-1], arguments)
        self.stack[-1] = made
        if isinstance(made, (bytes, dict, set, tuple)):
            self.budget.spend(len(made))

    def load_build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Record):
            self.stack[-1].state = state
        elif not isinstance(self.stack[-1], OrderedDict):  # whose state is the metadata of modules
            raise RefusedError('since it sets attributes of something')

    dispatch = {
        **{code: pickle._Unpickler.dispatch[code] for code in _OPCODES},
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_reduce,
        pickle.BUILD[0]: load_build,
    }


def _call(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Do what a function would do that a pickle calls, or plan it."""
    if not isinstance(function, _Global) or function.name not in _CALLS:
        raise RefusedError(f'since it calls {getattr(function, "name", "something")}')
    return _CALLS[function.name](*arguments)


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise RefusedError(f'since it has the size {value!r}')
    return value


def _plan_tensor(
    storage: _Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool = False,
    hooks: Any = None,
    metadata: Any = None,
    *,
    dtype: torch.dtype | None = None,
) -> _TensorPlan:
    dtype = dtype or storage.dtype
    # Of an untyped storage these are bytes.
    available = storage.num_elements * storage.dtype.itemsize // dtype.itemsize
    size, stride = tuple(map(_natural, size)), tuple(map(_natural, stride))
    count = math.prod(size)
    steps = zip(size, stride, strict=True)
    last = _natural(offset) + sum((length - 1) * step for length, step in steps)
    # The second: a stride of 0 makes a tensor of any size of a single number.
    if count and (last >= available or count > available):
        raise RefusedError(f'since a tensor of {list(size)} claims more numbers than it has')
    return _TensorPlan(storage, dtype, offset, size, stride)


def _plan_tensor_of_new_type(
    storage: _Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: Any,
    dtype: torch.dtype,
    metadata: Any = None,
) -> _TensorPlan:
    return _plan_tensor(storage, offset, size, stride, dtype=dtype)


def _encode(text: str, encoding: str) -> bytes:
    if encoding.replace('_', '-') not in ('latin1', 'latin-1'):
        raise RefusedError(f'since it encodes a text as {encoding!r}')
    return text.encode('latin-1')


def _byte_array(data: bytes | str = b'', encoding: str = 'latin-1') -> bytes:
    # A number would be a length.
    return _encode(data, encoding) if isinstance(data, str) else bytes(memoryview(data))


def _count(counts: dict[Any, int] | None = None) -> Counter[Any]:
    return Counter(dict(counts or {}))


def _skip(*arguments: Any) -> _Record:
    return _Record('skipped')


def _same(tensor: _TensorPlan, *arguments: Any) -> _TensorPlan:
    return tensor


def _call_rebuild(
    function: _Global, kind: Any, arguments: tuple[Any, ...], state: Any
) -> _TensorPlan:
    if not isinstance(plan := _call(function, arguments), _TensorPlan):
        raise RefusedError('since it holds tensors of an unknown kind')
    return plan


_HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
_CALLS: dict[str, Callable[..., Any]] = {
    '_codecs.encode': _encode,
    'argparse.Namespace': _skip,
    'builtins.bytearray': _byte_array,
    'builtins.complex': complex,
    'builtins.getattr': _skip,  # of MMEngine's log history: its methods
    'builtins.set': set,
    'collections.Counter': _count,
    'collections.OrderedDict': OrderedDict,
    'copyreg._reconstructor': lambda kind, *_: _call(kind, ()),
    'torch.Size': lambda size=(): torch.Size(map(_natural, size)),
    'torch.device': torch.device,
    'torch._tensor._rebuild_from_type_v2': _call_rebuild,
    'torch._utils._rebuild_parameter': _same,
    'torch._utils._rebuild_parameter_with_state': _same,
    'torch._utils._rebuild_tensor': _plan_tensor,
    'torch._utils._rebuild_tensor_v2': _plan_tensor,
    'torch._utils._rebuild_tensor_v3': _plan_tensor_of_new_type,
    _HISTORY: lambda *arguments: _Record('history', arguments),
    'numpy.dtype': lambda *arguments: _Record('dtype', arguments),
    **{
        f'{package}.multiarray.{name}': partial(lambda kind, *args: _Record(kind, args), kind)
        for package in ('numpy.core', 'numpy._core')
        for name, kind in (('_reconstruct', 'array'), ('scalar', 'scalar'))
    },
}
# Named beside what is called, as types.
_TYPES = (
    'builtins.object',
    'numpy.ndarray',
    'torch.Tensor',
    'torch.nn.parameter.Parameter',
    'torch.storage.UntypedStorage',
)
_KNOWN = {*_CALLS, *_STORAGES, *_TYPES}


class _Resolver:
    """Makes of plans what they stand for.

    Args:
        length: Number of bytes that a file has of a storage.
        load: Reads them; None makes tensors on the meta device.
        size: Number of bytes of the pickle.
    """

    def __init__(
        self,
        length: Callable[[_Storage], int],
        load: Callable[[_Storage], Tensor] | None,
        size: int,
    ) -> None:
        self.length = length
        self.load = load
        self.budget = _Budget(size)
        self.storages: dict[str, torch.UntypedStorage] = {}
        # By identity, so that what is shared stays shared; with the original, which keeps its id.
        self.done: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, (str, bytes, int, float, complex, torch.dtype, torch.Size)):
            return value
        if id(value) not in self.done:
            self.done[id(value)] = value, None
            self.done[id(value)] = value, self._resolve(value)
        return self.done[id(value)][1]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, _TensorPlan):
            return self._tensor(value)
        if isinstance(value, _Record):
            return self._record(value)
        if isinstance(value, dict):
            pairs = ((self(key), self(item)) for key, item in value.items())
            return Counter(dict(pairs)) if isinstance(value, Counter) else type(value)(pairs)
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(map(self, value))
        if isinstance(value, (_Global, _Storage)):
            raise RefusedError(f'since it holds {getattr(value, "name", "a storage")} as a value')
        return value

    def _tensor(self, plan: _TensorPlan) -> Tensor:
        storage = plan.storage
        if self.length(storage) < storage.num_elements * storage.dtype.itemsize:
            raise RefusedError('since it claims more numbers than it has')
        if self.load is None:
            return torch.empty(plan.size, dtype=plan.dtype, device='meta')
        if storage.key not in self.storages:
            self.storages[storage.key] = self.load(storage).untyped_storage()
        tensor = torch.empty(0, dtype=plan.dtype)
        return tensor.set_(self.storages[storage.key], plan.offset, plan.size, plan.stride)

    def _record(self, record: _Record) -> Any:
        if record.kind == 'history' and isinstance(record.state, dict):
            names = ('_log_history', '_count_history', 'max_length')
            if all(name in record.state for name in names):
                log, counts, length = (self(record.state[name]) for name in names)
                self.budget.spend(len(log) + len(counts))
                return HistoryBuffer(log, counts, length)
        if record.kind == 'dtype':
            return self._dtype(record)
        if record.kind == 'scalar' and len(record.args) == 2:
            dtype, data = map(self, record.args)
            if isinstance(dtype, np.dtype):
                return np.frombuffer(data, dtype, count=1)[0]
        if record.kind == 'array' and isinstance(record.state, tuple):
            _, shape, dtype, is_fortran, data = map(self, record.state)
            if isinstance(dtype, np.dtype):
                order: Any = 'F' if is_fortran else 'C'
                return np.frombuffer(data, dtype).reshape(tuple(shape), order=order)
        return SkippedObject()

    @staticmethod
    def _dtype(record: _Record) -> Any:
        code = record.args[0] if record.args else None
        if not isinstance(code, str) or not _NUMBER.fullmatch(code):
            return SkippedObject()
        is_big = isinstance(record.state, tuple) and record.state[1] == '>'
        return np.dtype(code).newbyteorder('>' if is_big else '<')
