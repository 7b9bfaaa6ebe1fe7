"""The fusion neck: how the LRUs and the stack of HTMs are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.registry import MODELS

from ..layers.activation_checkpointing import run_checkpointed
from ..layers.attention import init_transformer_weights
from .branch_units import EncodingUnits
from .gem import GeMPooling
from .htm import HeterogenousTransmissionModule
from .latent_tokens import LatentTokens
from .lighter_options import check_lighter_options
from .lru import LocalRefinementUnit
from .seu import SharedEncodingUnit


@MODELS.register_module()
class DualAttentionMutualFusion(BaseModule):
    """The fusion neck of FusionReID: an LRU per branch, then a stack of HTMs (arXiv 2412.17239).

    Every HTM receives the refined patch tokens again; only the summary tokens are carried from
    layer to layer. The first summary of a branch is its GeM-pooled refined map.

    The last seven options make the HTMs lighter and combine with each other; none is part of the
    published model. What they save is in ``docs/lighter.md``.

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
        patch_pooling: Side of the squares of the refined maps, in patches, whose mean is one patch
            token for the HTMs; squares at the right and lower edge may be smaller. Defaults to 1.
        encode_once: Whether one SEU before the layers encodes the patch tokens for all of them; a
            layer is an MFU alone then. Defaults to False.
        patch_mlp: Whether the SEU's MLP changes patch tokens too, and not the summary token alone.
            Defaults to True.
        share_layers: Whether all layers have the same weights. Defaults to False.
        num_latents: Number of learned tokens per branch that read its patch tokens and take their
            place in the HTMs; 0 (default) for none.
        rank: Rank of all linear layers of the HTMs; None (default) for full ones.
        inner_dims: Width of the tokens within the HTMs, less than d; linear layers lead there and
            back. The refined features keep the width d. None (default) for d.

    Raises:
        ValueError: If the branches, units, widths or lighter options do not fit together.

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
        patch_pooling: int = 1,
        encode_once: bool = False,
        patch_mlp: bool = True,
        share_layers: bool = False,
        num_latents: int = 0,
        rank: int | None = None,
        inner_dims: int | None = None,
    ) -> None:
        super().__init__()
        if num_layers < 0:
            raise ValueError(f'num_layers must be 0 or more, got {num_layers}')
        check_lighter_options(
            embed_dims,
            num_heads,
            units,
            patch_pooling=patch_pooling,
            encode_once=encode_once,
            patch_mlp=patch_mlp,
            num_latents=num_latents,
            rank=rank,
            inner_dims=inner_dims,
        )
        self.num_layers = num_layers
        self.with_cp = with_cp
        self.patch_pooling = patch_pooling
        branches = list(in_channels)
        self.lru = nn.ModuleDict(
            {
                name: LocalRefinementUnit(channels, embed_dims, depthwise)
                for name, channels in in_channels.items()
            }
        )
        self.pooling = nn.ModuleDict({name: GeMPooling() for name in branches})
        width = inner_dims or embed_dims
        sizes = (width, num_heads, mlp_ratio, rank)
        used = branches if num_layers else []
        self.narrow, self.widen, self.latents = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for name in used:
            if inner_dims:
                self.narrow[name] = nn.Linear(embed_dims, inner_dims)
                self.widen[name] = nn.Linear(inner_dims, embed_dims)
            if num_latents:
                self.latents[name] = LatentTokens(num_latents, *sizes)
        self.encoder: EncodingUnits | None = None
        if used and encode_once:
            build = partial(SharedEncodingUnit, *sizes, patch_mlp)
            self.encoder = EncodingUnits(build, branches, 'seu' in shared)
        self.apply(init_transformer_weights)
        self.layers = nn.ModuleList(
            HeterogenousTransmissionModule(
                branches,
                width,
                num_heads,
                mlp_ratio,
                ('mfu',) if encode_once else units,
                shared,
                patch_mlp,
                rank,
            )
            for _ in range(min(num_layers, 1) if share_layers else num_layers)
        )
        # What leaves no other trace in a state dict, so that weights of one are refused by another.
        traces = {
            f'patch_pooling_{patch_pooling}': patch_pooling > 1,
            'patch_mlp_false': not patch_mlp,
            f'share_layers_{num_layers}': share_layers,
        }
        for trace in (name for name, is_used in traces.items() if is_used and num_layers):
            self.register_buffer(trace, torch.tensor(True))
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
        summaries, patches = self._tokens(refined, pooled)
        if self.encoder is not None:
            summaries, patches = self._run(self.encoder, summaries, patches)
        for layer in self.steps:
            summaries = self._run(layer, summaries, patches)
        for name, token in summaries.items():
            fused = token.squeeze(1)
            features[f'{name}_fused'] = self.widen[name](fused) if self.widen else fused
        return features

    @property
    def steps(self) -> list[nn.Module]:
        """The layers in the order in which they run; one that is shared is repeated."""
        layers = list(self.layers)
        return layers * self.num_layers if len(layers) == 1 else layers

    def _tokens(
        self, refined: dict[str, Tensor], pooled: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The first summary token and the patch tokens of each branch."""
        summaries, patches = {}, {}
        for name, feature_map in refined.items():
            if self.patch_pooling > 1:
                feature_map = F.avg_pool2d(feature_map, self.patch_pooling, ceil_mode=True)
            summary, tokens = pooled[name].unsqueeze(1), feature_map.flatten(2).transpose(1, 2)
            if self.narrow:
                summary, tokens = self.narrow[name](summary), self.narrow[name](tokens)
            if self.latents:
                tokens = self._run(self.latents[name], tokens)
            summaries[name], patches[name] = summary, tokens
        return summaries, patches

    def _run(self, module: nn.Module, *inputs: Any) -> Any:
        if self.with_cp and self.training:
            return run_checkpointed(module, *inputs)
        return module(*inputs)
