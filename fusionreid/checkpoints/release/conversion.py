"""From a released state dict to a checkpoint and a config of ours, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from fusionreid.config import read_literals
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.models import build_on_meta
from fusionreid.registry import SCOPE

from ..public_keys import rename, reverse
from .architecture import CLASSIFIER, NECK_HEADS, infer_model
from .key_renaming import convert_original_state, normalize_original_names, unused_original_weights
from .released_keys import MFU_OWNERS, SEU_OWNERS, fusion_rules

# Settings that names and shapes of weights do not show: the part of the model, the setting, its
# value where the config is silent, and its value in the released code.
RELEASED_SETTINGS = (
    ('cnn', 'stem', 'standard', 'release'),
    ('cnn', 'strides', (1, 2, 2, 1), (1, 2, 2, 1)),
    ('transformer', 'sie_coefficient', 3.0, 3.0),
    ('transformer', 'keep_ratio', 1.0, 1.0),
    ('neck', 'num_heads', NECK_HEADS, NECK_HEADS),
    ('neck', 'mlp_ratio', 4.0, 4.0),
)
PUBLISHED_SIZE = (256, 128)
_BNNECK = re.compile(r'(?:(?:resnet|transformer)\.bottleneck|bottleneck_[1-4])\.\w+')


@dataclass(frozen=True)
class Conversion:
    """A released model as one of ours.

    Attributes:
        model: Config of the model.
        state_dict: Its weights; they fit the config exactly.
        input_size: Height and width of its images.
        unused: Weights that the model has no place for, under the release's names: the ImageNet
            classifier, the BNNecks of a state dict whose classifiers were removed, and units that
            are said not to be used.
    """

    model: dict[str, Any]
    state_dict: dict[str, Tensor]
    input_size: tuple[int, int]
    unused: dict[str, Tensor]

    @property
    def config_text(self) -> str:
        """A complete config file of the model."""
        settings = dict(default_scope='fusionreid', input_size=self.input_size, model=self.model)
        return Config(settings).pretty_text

    @property
    def checkpoint(self) -> dict[str, Any]:
        """The content of a checkpoint file: tensors and primitive values."""
        return dict(
            meta=dict(cfg=self.config_text),
            state_dict=self.state_dict,
            unused_original=self.unused,
        )


def convert_original(
    state: dict[str, Tensor],
    size: tuple[int, int] | None = None,
    stride: int | None = None,
    units: tuple[str, ...] | None = None,
    num_cameras: int | None = None,
) -> Conversion:
    """Convert a released state dict and infer the model that it belongs to.

    Args:
        state: State dict of the authors' released code, with or without ``module.``.
        size: Image height and width; None takes the published size that fits.
        stride: Patch stride of the ViT; None takes the stride that fits.
        units: Units that an HTM uses, in their order; None takes those present, SEU first. Weights
            of others are set aside.
        num_cameras: Cameras that the model should have; None takes what is there.

    Returns:
        The converted model.

    Raises:
        WeightsError: If names are unknown, or weights and options do not fit together.
    """
    converted = convert_original_state(state)  # refuses what is not the release's
    original = normalize_original_names(state)
    unused = unused_original_weights(original)
    if not any(CLASSIFIER.fullmatch(name) for name in original):
        unused.update({name: value for name, value in original.items() if _BNNECK.fullmatch(name)})
        converted = {
            name: value for name, value in converted.items() if not name.startswith('heads.')
        }
    model = infer_model(original, size, stride, units)
    for unit, owners in (('seu', SEU_OWNERS), ('mfu', MFU_OWNERS)):
        if units and unit not in units:
            idle = re.compile(rf'HTM\.blocks\.\d+\.({"|".join(owners)})\.')
            unused.update({name: value for name, value in original.items() if idle.match(name)})
            ours = re.compile(rf'neck\.layers\.\d+\.{unit}\.')
            converted = {name: value for name, value in converted.items() if not ours.match(name)}
    check_strict(model, converted)
    check_cameras(model, num_cameras)
    transformer = model['branches'].get('transformer')
    # Nothing in a CNN shows the size of its images.
    input_size = transformer['backbone']['img_size'] if transformer else size or PUBLISHED_SIZE
    return Conversion(model, converted, tuple(input_size), unused)


def check_strict(model: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Check that a model of the config has exactly the weights of a state dict of ours.

    Args:
        model: Config of the model.
        state: State dict under our names.

    Raises:
        WeightsError: Naming the first weights that are missing, left over or of another shape,
            under the release's names.
    """
    with DefaultScope.overwrite_default_scope(SCOPE):
        wanted = build_on_meta(model).state_dict()
    is_t2t = any('.tokens_to_token.' in name for name in wanted | state)
    rules = reverse(fusion_rules(is_t2t))
    complaints = []
    for what, names in (
        ('missing', [name for name in wanted if name not in state]),
        ('left over', [name for name in state if name not in wanted]),
    ):
        if names:
            complaints.append(
                f'{len(names)} {what}: {_first(rename(n, rules) or n for n in names)}'
            )
    shapes = [
        f'{rename(name, rules) or name} is {list(state[name].shape)} instead of '
        f'{list(wanted[name].shape)}'
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    if shapes:
        complaints.append(f'{len(shapes)} of another shape: {_first(shapes)}')
    if complaints:
        raise WeightsError(f'the weights are no complete model; {"; ".join(complaints)}')


def _first(items: Iterable[str], count: int = 3) -> str:
    items = list(items)
    return ', '.join(items[:count]) + ', ...' * (len(items) > count)


def check_cameras(model: dict[str, Any], num_cameras: int | None) -> None:
    """Check the number of cameras of a model's config against the one that is expected.

    Args:
        model: Config of the model.
        num_cameras: Cameras that are expected; None accepts any number.

    Raises:
        WeightsError: Naming both numbers.
    """
    transformer = model['branches'].get('transformer')
    found = transformer['backbone']['num_cameras'] if transformer else 0
    if num_cameras is not None and found != num_cameras:
        raise WeightsError(
            f'the weights have a side information embedding of {found} cameras, --num-cameras says '
            f'{num_cameras}'
        )


def read_model_config(text: str) -> dict[str, Any] | None:
    """Read ``model`` from the text of a config without executing it.

    Args:
        text: A resolved config, as mmengine stores it in checkpoints.

    Returns:
        The config of the model; None if it is not made of literals.

    Example:
        >>> read_model_config('model = dict(branches=dict(cnn=dict(backbone=dict(depth=50))))')
        {'branches': {'cnn': {'backbone': {'depth': 50}}}}
        >>> read_model_config('model = open("x")') is None
        True
    """
    try:
        model = read_literals(text, ('model',), 'the checkpoint').get('model')
        if model is None:
            return None
        # Not more than what the checks below look at.
        backbones = [cfg['backbone'] for cfg in model['branches'].values() if cfg]
        parts = [*backbones, model.get('neck') or {}]
        return model if all(isinstance(part, dict) for part in parts) else None
    except (ConfigError, TypeError, KeyError, AttributeError):
        return None


def check_exportable(model: dict[str, Any]) -> None:
    """Check that the authors' code computes with exported weights what the model computes.

    The names and shapes of weights do not show it: the same weights with another stem or another
    number of heads are another model.

    Args:
        model: Config of :class:`~fusionreid.models.FusionReID`.

    Raises:
        WeightsError: Naming the settings that the released code does not have.
    """
    branches = {name: cfg for name, cfg in model['branches'].items() if cfg}
    parts = {name: cfg['backbone'] for name, cfg in branches.items()}
    if model.get('neck'):
        parts['neck'] = model['neck']
    wrong = [
        f'{part}: {setting} is {found!r}, there {there!r}'
        for part, setting, ours, there in RELEASED_SETTINGS
        if part in parts
        and (found := parts[part].get(setting, ours))
        not in (there, list(there) if isinstance(there, tuple) else there)
    ]
    if wrong:
        raise WeightsError(f"the authors' code would compute something else: {'; '.join(wrong)}")
