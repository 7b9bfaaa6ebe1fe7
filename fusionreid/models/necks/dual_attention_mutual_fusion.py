"""The fusion neck: how the LRUs and the stack of HTMs are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from fusionreid.registry import MODELS

from ..layers.activation_checkpointing import run_checkpointed
from .gem import GeMPooling
from .htm import HeterogenousTransmissionModule
from .lru import LocalRefinementUnit


@MODELS.register_module()
class DualAttentionMutualFusion(BaseModule):
    """The fusion neck of FusionReID: an LRU per branch, then a stack of HTMs (arXiv 2412.17239).

    Every HTM receives the refined patch tokens again; only the summary tokens are carried from
    layer to layer. The first summary of a branch is its GeM-pooled refined map.

    Args:
        in_channels: Channels of each branch's map, by branch name, in the order in which features
            are reported.
        embed_dims: The mixing width d. Defaults to 768.
        num_layers: Number L of HTMs; 0 leaves the refined features alone. Defaults to 2.
        num_heads: Attention heads. Defaults to 12.
        mlp_ratio: Hidden width of the MLPs over d. Defaults to 4.
        units: Units of each HTM, in order. Defaults to ``('seu', 'mfu')``.
        shared: Units with one set of weights for all branches. Defaults to ``('seu',)``, the
            published model; the authors' released code shares none, ``()``.
        depthwise: Whether the LRUs have their depth-wise half. Defaults to True.
        with_cp: Whether training recomputes the HTMs' activations instead of keeping them. Defaults
            to False.

    Raises:
        ValueError: If the branches, units or widths do not fit together.

    Example:
        >>> import torch
        >>> neck = DualAttentionMutualFusion(dict(cnn=8, transformer=6), embed_dims=12, num_heads=3)
        >>> features = neck(dict(cnn=torch.rand(2, 8, 4, 2), transformer=torch.rand(2, 6, 5, 3)))
        >>> list(features)
        ['cnn_refined', 'transformer_refined', 'cnn_fused', 'transformer_fused']
        >>> features['cnn_fused'].shape
        torch.Size([2, 12])
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        embed_dims: int = 768,
        num_layers: int = 2,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        units: Sequence[str] = ('seu', 'mfu'),
        shared: Sequence[str] = ('seu',),
        depthwise: bool = True,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        if num_layers < 0:
            raise ValueError(f'num_layers must be 0 or more, got {num_layers}')
        self.with_cp = with_cp
        branches = list(in_channels)
        self.lru = nn.ModuleDict(
            {
                name: LocalRefinementUnit(channels, embed_dims, depthwise)
                for name, channels in in_channels.items()
            }
        )
        self.pooling = nn.ModuleDict({name: GeMPooling() for name in branches})
        self.layers = nn.ModuleList(
            HeterogenousTransmissionModule(
                branches, embed_dims, num_heads, mlp_ratio, units, shared
            )
            for _ in range(num_layers)
        )
        stages = ['refined', 'fused'] if num_layers else ['refined']
        self.out_channels: dict[str, int] = {
            f'{branch}_{stage}': embed_dims for stage in stages for branch in branches
        }

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Refine and fuse the branches' maps.

        Args:
            maps: Per branch, a map of shape ``(B, C_branch, H_branch, W_branch)``; grids may
                differ.

        Returns:
            Features of shape ``(B, d)``: first ``<branch>_refined`` of every branch, then
            ``<branch>_fused``.

        Raises:
            KeyError: If the maps are not those of the branches the neck was built for.
        """
        # Names alone: maps in a list instead of a dict would be printed as numbers.
        given = list(maps) if isinstance(maps, Mapping) else f'a {type(maps).__name__}'
        if not isinstance(given, list) or set(given) != set(self.lru):
            raise KeyError(f'the neck was built for branches {list(self.lru)}, got maps of {given}')
        refined = {name: lru(maps[name]) for name, lru in self.lru.items()}
        pooled = {name: self.pooling[name](refined[name]) for name in refined}
        features = {f'{name}_refined': feature for name, feature in pooled.items()}
        if not self.layers:
            return features
        patches = {name: map_.flatten(2).transpose(1, 2) for name, map_ in refined.items()}
        summaries = {name: feature.unsqueeze(1) for name, feature in pooled.items()}
        for layer in self.layers:
            summaries = (
                run_checkpointed(layer, summaries, patches)
                if self.with_cp and self.training
                else layer(summaries, patches)
            )
        features.update({f'{name}_fused': token.squeeze(1) for name, token in summaries.items()})
        return features
