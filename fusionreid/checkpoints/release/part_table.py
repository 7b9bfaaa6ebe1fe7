"""Which parts a model of ours has, what the release calls them, and the table of their sizes."""

from __future__ import annotations

from torch import Tensor

from fusionreid.utils.tables import format_table

# Parts of our models, and what they are in the authors' released code; lighter ones are not there.
RELEASED_PARTS = {
    'branches.cnn': 'resnet',
    'branches.transformer': 'transformer',
    'neck.lru': 'res_LRU, former_LRU',
    'neck.pooling': 'gap_r, gap_f',
    'neck.narrow': '',
    'neck.latents': '',
    'neck.encoder': '',
    'neck.layers': 'HTM',
    'neck.widen': '',
    'heads': 'bottleneck*, classifier*',
}
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def count_values(state: dict[str, Tensor]) -> int:
    """Number of values in a state dict, the statistics of batch norms aside."""
    return sum(value.numel() for name, value in state.items() if not name.endswith(STATISTICS))


def part_table(state: dict[str, Tensor]) -> str:
    """Count tensors and parameters of each part of a model of ours, with a total.

    Args:
        state: State dict of :class:`~fusionreid.models.FusionReID`.

    Returns:
        A table of several lines.

    Example:
        >>> import torch
        >>> print(part_table({'heads.cnn.classifier.weight': torch.zeros(751, 2048)}))
        part   in the release            tensors  parameters
        heads  bottleneck*, classifier*        1   1,538,048
        total                                  1   1,538,048
    """
    rows = [('part', 'in the release', 'tensors', 'parameters')]
    for part, released in RELEASED_PARTS.items():
        inside = {name: value for name, value in state.items() if name.startswith(f'{part}.')}
        if inside:
            rows.append((part, released, f'{len(inside)}', f'{count_values(inside):,}'))
    rows.append(('total', '', f'{len(state)}', f'{count_values(state):,}'))
    return format_table(rows)
