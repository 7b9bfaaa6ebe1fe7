"""An accelerator that is not there: tensors say that they are on it, and complain of mixtures.

CPU tensors are wrapped as tensors of a device ``simulated``, whose operations compute on the CPU.
As on a GPU, an operation on tensors of both devices fails, NumPy cannot look into them, and code
that asks ``device.type == 'cpu'`` takes its other path. So code that would stop on a GPU stops
here. It says nothing about CUDA's kernels, streams or speed.

Importing this registers the device for the rest of the process.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, library
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = 'simulated'
COPIES = ('aten::copy_', 'aten::_to_copy')
# On a GPU as well, indices may come from the CPU.
INDEXING = ('aten::index', 'aten::index_put', 'aten::index_put_', 'aten::_index_put_impl_')


class _Backend(backend_registration._DummyBackendModule):
    """What PyTorch asks of a device's module."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
DEVICE = torch.device(NAME, 0)
# ``torch.tensor`` with a device goes past every mode and asks for these two.
_LIBRARY = library.Library('aten', 'IMPL')


def _empty_strided(size: list[int], stride: list[int], *, dtype: Any = None, **_: Any) -> Tensor:
    return SimulatedTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    target.values.copy_(_unwrap(source))
    return target


_LIBRARY.impl('empty_strided', _empty_strided, 'PrivateUse1')
_LIBRARY.impl('copy_', _copy, 'PrivateUse1')


class MixedDevicesError(RuntimeError):
    """An operation got tensors of both devices."""


class SimulatedTensor(Tensor):
    """A tensor on the simulated device; ``values`` holds its content on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> SimulatedTensor:
        return Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return dispatch(operation, args, kwargs or {})

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f'a tensor on {self.device} cannot be read by NumPy: copy it to the CPU')

    def tolist(self) -> list:
        return self.values.tolist()


class SimulatedDevice(TorchDispatchMode):
    """Context in which tensors can be made on the device and copied to it."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return dispatch(operation, args, kwargs or {})


def dispatch(operation: Any, args: tuple, kwargs: dict) -> Any:
    """Do an operation on the CPU; its results are on the device if its arguments are.

    Raises:
        MixedDevicesError: If some of them, numbers excepted, are not.
    """
    name = operation._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = any(isinstance(tensor, SimulatedTensor) for tensor in tensors)
    here = [t for t in tensors if not isinstance(t, SimulatedTensor) and t.dim() > 0]
    indexing = name in INDEXING and isinstance(args[0], SimulatedTensor)
    if there and here and name not in COPIES and not indexing:
        kinds = [f'{tuple(tensor.shape)} on {tensor.device}' for tensor in tensors]
        raise MixedDevicesError(f'{name} of tensors {", ".join(kinds)}')
    if name == 'aten::copy_':
        there = isinstance(args[0], SimulatedTensor)
    if kwargs.get('device') is not None:
        there = torch.device(kwargs['device']).type == NAME
        kwargs = {**kwargs, 'device': torch.device('cpu')}
    result = operation(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
    if operation._schema.is_mutable:
        return _written(operation, args, kwargs, result)
    return tree_map(_wrap, result) if there else result


def _written(operation: Any, args: tuple, kwargs: dict, result: Any) -> Any:
    """What an operation that writes into its arguments returns: these arguments."""
    if operation._schema.name.endswith('_'):
        return args[0]
    outputs = [kwargs[argument.name] for argument in operation._schema.arguments if argument.is_out]
    if outputs:
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
    wrap = any(isinstance(leaf, SimulatedTensor) for leaf in tree_leaves((args, kwargs)))
    return tree_map(_wrap, result) if wrap else result


def _wrap(value: Any) -> Any:
    plain = isinstance(value, Tensor) and not isinstance(value, SimulatedTensor)
    return SimulatedTensor(value) if plain else value


def _unwrap(value: Any) -> Any:
    return value.values if isinstance(value, SimulatedTensor) else value
