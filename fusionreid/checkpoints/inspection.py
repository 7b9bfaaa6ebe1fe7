"""What a weight file is, as far as its names and shapes tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from fusionreid.errors import WeightsError

from .backbone_inspection import Facts, describe_backbones
from .release.inspection import describe_model
from .release.part_table import count_values
from .tensor_checksums import stored_checksums
from .torch_file import SkippedObject
from .weight_file import count_not_finite, find_state_dict, read_weight_file

LISTED = 5


def inspect_weights(path: str | Path) -> Facts:
    """Say what a weight file is, as far as its names and shapes tell.

    Args:
        path: A PyTorch or ``.safetensors`` file.

    Returns:
        Facts as pairs of a title and a text: what kind of file it is, and for every backbone its
        architecture, patch grid, cameras and classes.

    Raises:
        WeightsError: If the file cannot be read or holds no weights.
    """
    content = read_weight_file(path)
    try:
        state, wrapper = find_state_dict(content)
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error
    facts = [('file', f'{path}'), ('state dict', f'under {wrapper!r}' if wrapper else 'top level')]
    if wrapper:
        others = [_entry(name, value) for name, value in content.items() if name != wrapper]
        facts.append(('beside it', ', '.join(others) or 'nothing'))
    types = sorted({str(value.dtype).removeprefix('torch.') for value in state.values()})
    facts.append(('tensors', f'{len(state)} of {", ".join(types)}'))
    facts.append(('parameters', f'{count_values(state):,}'))
    if verified := stored_checksums(content):
        facts.append(('checksums', f'those of {", ".join(verified)} are right'))
    bad = [f'{name} ({count} of {state[name].numel()})' for name, count in count_not_finite(state)]
    if bad:
        more = f', ... ({len(bad) - LISTED} more)' if len(bad) > LISTED else ''
        facts.append(
            (
                'NaN or infinite',
                f'{len(bad)} of {len(state)} tensors: {", ".join(bad[:LISTED])}{more}',
            )
        )
    return facts + describe_state(state)


def _entry(name: Any, value: Any) -> str:
    return f'{name} (skipped)' if isinstance(value, SkippedObject) else str(name)


def describe_state(state: dict[str, Tensor]) -> Facts:
    """Describe a state dict.

    Args:
        state: State dict of a whole model or of a backbone, under any known names.

    Returns:
        Facts as pairs of a title and a text; see :func:`inspect_weights`.

    Example:
        >>> import torch
        >>> describe_state({'rpn.weight': torch.ones(2)})
        [('model', 'unknown; names: rpn.weight')]
    """
    facts = describe_model(state) or describe_backbones(state)
    if not facts:
        first = ', '.join(list(state)[:4])
        facts = [('model', f'unknown; names: {first}{", ..." * (len(state) > 4)}')]
    return facts
