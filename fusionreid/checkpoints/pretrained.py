"""Starting weights of other projects: how they are fitted to a module, and which are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import update_init_info
from torch import Tensor, nn

from fusionreid.errors import WeightsError
from fusionreid.models.layers.position_embedding import fit_position_embedding, guess_grid
from fusionreid.registry import WEIGHT_INITIALIZERS
from fusionreid.utils.tables import format_table

from .mismatch import describe_mismatch
from .public_keys import SWIN_RULES, T2T_RULES, VIT_RULES, rename, reverse
from .swin_weights import (
    fold_semantic_weight,
    has_semantic_layers,
    is_patch_merging,
    order_by_channel,
)
from .weight_file import check_finite, find_state_dict, read_weight_file

# Made for one data set, so they never come from another.
ALWAYS_FRESH = re.compile(r'(?:.*\.)?sie\.weight|(?:.*\.)?heads\..*')
LEAST_SHARE = 0.9  # of a module's parameters that a file must have
# What every project adds in its own way, and what is computed rather than learned.
_CLASSIFIER = re.compile(r'(?:.*\.)?(?:head|heads|fc|classifier)\.\w.*')
# Layers of other networks with the same blocks: CLIP's and DINOv2's.
_FOREIGN = re.compile(r'norm_pre\..*|reg_token|register_tokens')
# MoCo's slow copy of its encoder.
_MOMENTUM_COPY = re.compile(r'(?:.*\.)?encoder_k\..*')
_COMPUTED = ('num_batches_tracked', 'relative_position_index', 'attn_mask')


@dataclass
class WeightMatch:
    """How the weights of a file fit a module.

    Attributes:
        loaded: Tensors by the module's names, as they are in the file.
        resized: Position embeddings (and Swin's relative position biases) fitted to the module's
            grid, by the module's names.
        grids: From which grid to which, of everything in ``resized``, as text.
        fresh: Names of the module's weights that keep their random initialization.
        missing: Those of ``fresh`` that the file should have had, under the file's naming.
        ignored: Names of the file that the module has no use for.
        misfits: What shows that the file belongs to another architecture, as text.
        share: Parameters found, over all that the file should have.
    """

    loaded: dict[str, Tensor] = field(default_factory=dict)
    resized: dict[str, Tensor] = field(default_factory=dict)
    grids: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    share: float = 0.0

    def table(self, module: nn.Module) -> str:
        """Show what was loaded, resized, left fresh and ignored.

        Args:
            module: The module that the weights were fitted to.

        Returns:
            A table of several lines.
        """
        sizes = {name: value.numel() for name, value in module.state_dict().items()}
        rows = [
            ('loaded', self.loaded, ''),
            ('resized', self.resized, _some(self.grids.values())),
            ('fresh', self.fresh, _some(self.fresh)),
            ('ignored', self.ignored, _some(self.ignored)),
        ]
        cells = [('', 'tensors', 'values', '')]
        for title, names, remark in rows:
            # What is ignored is in the file, so the module does not know its size.
            values = '' if title == 'ignored' else f'{sum(sizes[name] for name in names):,}'
            cells.append((title, str(len(names)), values, remark))
        return format_table(cells)


def _some(names: Iterable[str], count: int = 4) -> str:
    names = list(names)
    return ', '.join(names[:count]) + ', ...' * (len(names) > count)


def match_weights(
    module: nn.Module, state: dict[str, Tensor], prefix: str | None = None
) -> WeightMatch:
    """Fit a state dict of any known naming to a module; nothing is changed yet.

    The names may be those of torchvision (ResNet), timm (ViT, DeiT), the T2T-ViT and Swin projects,
    DINO and what derives from it, mmpretrain, or the module's own, below any prefix: the naming and
    prefix that find most are taken, MoCo's encoder before its slow copy. A distillation token is
    dropped, a class position that is kept apart (PASS) is put in front. Position embeddings are
    resized bilinearly to the module's grid.

    Args:
        module: The module to be initialized: a backbone, or a whole model.
        state: The file's state dict.
        prefix: Only entries below this prefix, e.g. ``'teacher.backbone.'``; None finds it.

    Returns:
        The match. Camera embeddings and heads stay fresh in any case.

    Raises:
        WeightsError: If a position embedding has no grid, or several parts of the file fit equally
            well.

    Example:
        >>> module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> file = {f'teacher.{name}': value for name, value in module.state_dict().items()}
        >>> match = match_weights(module, {**file, 'teacher.head.bias': torch.zeros(5)})
        >>> sorted(match.loaded), match.ignored, match.share
        (['0.bias', '0.weight', '1.bias', '1.weight'], ['teacher.head.bias'], 1.0)
    """
    wanted = {
        name: value for name, value in module.state_dict().items() if not name.endswith(_COMPUTED)
    }
    if prefix and not prefix.endswith('.'):
        prefix += '.'
    namings = _namings([name for name in wanted if not ALWAYS_FRESH.fullmatch(name)])
    candidates: dict[tuple[str, frozenset[str]], tuple[float, dict[str, str], str]] = {}
    for naming in namings:
        for start in _prefixes(naming, state) if prefix is None else [prefix]:
            names = {start + theirs: ours for theirs, ours in naming.items()}
            found = frozenset(
                theirs
                for theirs, ours in names.items()
                if theirs in state and _fits(ours, state[theirs], wanted[ours])
            )
            score = sum(state[theirs].numel() for theirs in found)
            candidates.setdefault((start, found), (score, names, start))
    if not candidates:
        return WeightMatch(fresh=list(wanted), missing=list(namings[0]), ignored=list(state))
    ranked = sorted(
        candidates.values(),
        key=lambda candidate: (-candidate[0], _MOMENTUM_COPY.fullmatch(candidate[2]) is not None),
    )
    best, names, start = ranked[0]
    rivals = {
        other
        for score, _, other in ranked
        if score == best and (other == start or not _MOMENTUM_COPY.fullmatch(other))
    }
    if best and len(rivals) > 1:
        raise WeightsError(
            f'several parts of the file fit equally well: {_some(sorted(map(repr, rivals)))}; '
            f'choose one by prefix=...'
        )
    return _apply(module, wanted, state, names, start)


def _namings(names: list[str]) -> list[dict[str, str]]:
    """All names that other projects may give to weights: theirs to ours."""
    # An adapter holds the network of another project in an attribute: `model.blocks...`.
    shared = os.path.commonprefix([name.split('.')[:-1] for name in names])
    start = ''.join(f'{part}.' for part in shared)
    bare = {name.removeprefix(start): name for name in names}
    namings = [bare]
    for rules in map(reverse, (VIT_RULES, T2T_RULES, SWIN_RULES)):
        renamed = {rename(inner, rules): name for inner, name in bare.items()}
        namings.append({theirs: name for theirs, name in renamed.items() if theirs is not None})
    return namings


def _is_position(name: str) -> bool:
    return name.split('.')[-1] == 'pos_embed'


def _fits(name: str, theirs: Tensor, ours: Tensor) -> bool:
    if _is_position(name):
        return theirs.dim() == 3 and theirs.shape[2] == ours.shape[2]
    return theirs.shape == ours.shape


def _prefixes(naming: dict[str, str], state: dict[str, Tensor]) -> set[str]:
    # A few names suffice as anchors: a file that lacks them all is not this architecture.
    anchors = list(naming)[:: max(1, len(naming) // 8)]
    return {
        name.removesuffix(anchor)
        for anchor in anchors
        for name in state
        if name == anchor or name.endswith(f'.{anchor}')
    }


def _apply(
    module: nn.Module,
    wanted: dict[str, Tensor],
    state: dict[str, Tensor],
    names: dict[str, str],
    prefix: str,
) -> WeightMatch:
    match = WeightMatch()
    used = set()
    for theirs, ours in names.items():
        if theirs not in state:
            match.missing.append(theirs)
            continue
        used.add(theirs)
        owner = module.get_submodule(ours.rpartition('.')[0])
        value = state[theirs]
        if _is_position(ours):
            value = _arrange_position(value, state, theirs, owner)
        elif is_patch_merging(theirs) and not is_patch_merging(ours):
            value = order_by_channel(value)
        if value.shape == wanted[ours].shape:
            match.loaded[ours] = value
            continue
        resized = _resize(value, wanted[ours], owner, theirs)
        if resized is None:
            match.misfits.append(
                f'{theirs} is {list(state[theirs].shape)} instead of {list(wanted[ours].shape)}'
            )
        else:
            match.resized[ours], match.grids[ours] = resized
    match.fresh = [
        name for name in wanted if name not in match.loaded and name not in match.resized
    ]
    match.ignored = [name for name in state if name not in used and not name.endswith(_COMPUTED)]
    # More blocks, or other weights inside of one, are another network with the same names.
    inner = {theirs.split('.')[0] for theirs in _below(names, prefix) if theirs.count('.') > 1}
    match.misfits += [
        f'{name} has no place'
        for name in _below(match.ignored, prefix)
        if _FOREIGN.fullmatch(name)
        or (
            name.split('.')[0] in inner
            and not _CLASSIFIER.fullmatch(name)
            and not ALWAYS_FRESH.fullmatch(name)
        )
    ]
    # Without them a batch norm is none; they are no parameters, which are counted below.
    statistics = ('running_mean', 'running_var')
    match.misfits += [f'{name} is missing' for name in match.missing if name.endswith(statistics)]
    parameters = {name: value.numel() for name, value in module.named_parameters()}
    needed = {name: size for name, size in parameters.items() if not ALWAYS_FRESH.fullmatch(name)}
    found = sum(
        size for name, size in needed.items() if name in match.loaded or name in match.resized
    )
    match.share = found / max(1, sum(needed.values()))
    return match


def _below(names: Iterable[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _arrange_position(
    embedding: Tensor, state: dict[str, Tensor], name: str, owner: nn.Module
) -> Tensor:
    """Give a position embedding the class token in front and no other extra token."""
    parent = name.removesuffix('pos_embed')
    if f'{parent}dist_token' in state and not hasattr(owner, 'dist_token'):
        return torch.cat((embedding[:, :1], embedding[:, 2:]), 1)
    if f'{parent}cls_pos' in state:
        return torch.cat((state[f'{parent}cls_pos'], embedding), 1)
    return embedding


def _resize(
    value: Tensor, wanted: Tensor, owner: nn.Module, name: str
) -> tuple[Tensor, str] | None:
    """Resize what depends on the size of the images; returns it with a note, None for the rest."""
    if value.shape[value.dim() - 1 :] != wanted.shape[wanted.dim() - 1 :]:
        return None
    if name.endswith('relative_position_bias_table') and hasattr(owner, 'window_size'):
        from timm.layers import resize_rel_pos_bias_table

        window: Any = owner.window_size
        table = resize_rel_pos_bias_table(value, window, wanted.shape)
        return table, f'{name} {len(value)} -> {len(table)}'
    # mmpretrain's and timm's names for it
    patches = getattr(owner, 'patch_embed', None)
    grid = getattr(owner, 'patch_resolution', None) or getattr(patches, 'grid_size', None)
    if not _is_position(name) or grid is None or value.dim() != 3:
        return None
    source = guess_grid(value.shape[1] - 1, tuple(grid))
    if min(source) <= 1:
        raise WeightsError(
            f'{name} has {value.shape[1]} positions: expected a class token and a grid'
        )
    resized = fit_position_embedding(value, tuple(grid), tuple(grid))
    return resized, f'{name} {source[0]}x{source[1]} -> {grid[0]}x{grid[1]}'


def _finish_random_initialization(module: nn.Module) -> None:
    """Let nothing initialize a module anew after its weights are loaded.

    MMEngine, and the networks of mmpretrain, know ``'Pretrained'`` alone as weights of a file. What
    ``'fusionreid.Pretrained'`` loads would be overwritten without a word: MMEngine calls it before
    the parts of the module draw their random weights, and some networks draw their own at last.
    """
    if not hasattr(module, '_params_init_info'):  # no init_weights() is under way
        return
    for part in module.children():
        initialize: Any = getattr(part, 'init_weights', None)
        if initialize is not None and not getattr(part, 'is_init', False):
            initialize()
    settings = getattr(module, 'init_cfg', None)
    for own in settings if isinstance(settings, list) else [settings]:
        if isinstance(own, dict) and own.get('type') in ('fusionreid.Pretrained', Pretrained):
            own['type'] = 'Pretrained'


@WEIGHT_INITIALIZERS.register_module()
class Pretrained:
    """Initializes a backbone, or a whole model, from a file of weights of almost any project.

    ``init_cfg=dict(type='Pretrained', checkpoint='...')`` of any module uses it, in place of
    mmengine's initializer of that name, wherever ``default_scope`` is ``'fusionreid'``; in other
    projects ``type='fusionreid.Pretrained'`` does. Files are
    read without running what is in them, names are translated (:func:`match_weights`), one table
    says what came of each weight, and a file that does not fit ends in an error instead of a
    training from noise.

    Args:
        checkpoint: Path of a PyTorch or ``.safetensors`` file, an ``http(s)://`` address, or a name
            of a model zoo such as ``torchvision://resnet50``.
        prefix: Take only what is below this prefix of the file's names. None finds it.
        exact: Take a trained model as it is, heads and camera embeddings too: every weight must be
            in the file. Heads that the module does not have are left out.
        semantic_weight: Of a file of SOLIDER, the weight in [0, 1] that its stages are conditioned
            on, see :func:`~fusionreid.checkpoints.swin_weights.fold_semantic_weight`.

    Raises:
        ValueError: If ``exact`` and ``semantic_weight`` are both given.
        WeightsError: If the file cannot be read, belongs to another architecture, or has less than
            90% of the parameters; the message names the first mismatches.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        prefix: str | None = None,
        exact: bool = False,
        semantic_weight: float | None = None,
    ) -> None:
        if exact and semantic_weight is not None:
            raise ValueError('exact=True takes no semantic_weight: a trained model needs none')
        self.checkpoint = str(checkpoint)
        self.prefix = prefix
        self.exact = exact
        self.semantic_weight = semantic_weight

    def __call__(self, module: nn.Module) -> None:
        """Load the weights into a module.

        Args:
            module: A backbone or a whole model; changed in place.

        Raises:
            WeightsError: If the file does not fit it.
        """
        _finish_random_initialization(module)
        kind = type(module).__name__
        try:
            state, wrapper = find_state_dict(read_weight_file(self.checkpoint))
            check_finite(state)
            if self.exact:
                self._load_exactly(module, state)
                return
            match = match_weights(module, self._fold_conditions(state), self.prefix)
        except WeightsError as error:
            text = str(error)
            if self.checkpoint not in text:
                text = f'{self.checkpoint}: {text}'
            raise WeightsError(text) from error
        if match.share < LEAST_SHARE or match.misfits:
            raise WeightsError(self._complain(kind, match, state))
        module.load_state_dict({**match.loaded, **match.resized}, strict=False)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'Pretrained: loaded from {self.checkpoint}')
        where = f' ({wrapper})' if wrapper else ''
        print_log(
            f'{kind} starts from {self.checkpoint}{where}, {match.share:.1%} of its parameters '
            f'found\n{match.table(module)}',
            'current',
        )

    def _fold_conditions(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Make the Swin of SOLIDER a usual one."""
        if has_semantic_layers(state):
            if self.semantic_weight is None:
                raise WeightsError(
                    "has SOLIDER's semantic layers: add semantic_weight=0.2, which SOLIDER takes "
                    'for ReID, to init_cfg'
                )
            return fold_semantic_weight(state, self.semantic_weight)
        if self.semantic_weight is not None:
            raise WeightsError(
                "semantic_weight is given, but the file has none of SOLIDER's semantic layers"
            )
        return state

    def _load_exactly(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        wanted = module.state_dict()
        start = self.prefix or 'module.'
        state = {name.removeprefix(start): value for name, value in state.items()}
        if not any(name.startswith('heads.') for name in wanted):
            state = {name: value for name, value in state.items() if not name.startswith('heads.')}
        if misfit := describe_mismatch(wanted, state):
            raise WeightsError(f'does not fit {type(module).__name__}: {misfit}')
        module.load_state_dict(state)
        print_log(f'{type(module).__name__} is that of {self.checkpoint}', 'current')

    def _complain(self, kind: str, match: WeightMatch, state: dict[str, Tensor]) -> str:
        if match.share >= LEAST_SHARE:
            return f'{self.checkpoint}: holds another network than {kind}: {_some(match.misfits)}'
        details = [
            f'{title}: {_some(names)}'
            for title, names in (
                ('missing', match.missing),
                ('differing', match.misfits),
                ('the file has', list(state)),
            )
            if names
        ]
        return (
            f'{self.checkpoint}: only {match.share:.1%} of the parameters of {kind} were found, at '
            f'least {LEAST_SHARE:.0%} are needed; {"; ".join(details)}'
        )
