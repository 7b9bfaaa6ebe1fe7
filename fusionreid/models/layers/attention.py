"""Attention of the fusion neck: self-attention, cross-attention, and few queries at low cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .low_rank import LowRankLinear, projection, weight_factors


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """Give each attention head its share of the width.

    Args:
        tokens: Tokens of shape ``(B, N, d)``.
        num_heads: Heads; they divide d.

    Returns:
        Tokens of shape ``(B, num_heads, N, d / num_heads)``.

    Example:
        >>> heads = split_heads(torch.rand(2, 5, 12), num_heads=3)
        >>> heads.shape, merge_heads(heads).shape
        (torch.Size([2, 3, 5, 4]), torch.Size([2, 5, 12]))
    """
    return tokens.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(tokens: Tensor) -> Tensor:
    """Reshape ``(B, num_heads, N, d / num_heads)`` to ``(B, N, d)``."""
    return tokens.transpose(1, 2).flatten(2)


def attention_weights(
    query: Tensor, key: Tensor, scale: float | None = None, bias: Tensor | None = None
) -> Tensor:
    """Compute what each query gives to each key, ``softmax(Q K^T scale + bias)``.

    Args:
        query: Queries of shape ``(B, heads, M, width)``.
        key: Keys of shape ``(B, heads, N, width)``.
        scale: Factor of the scores; None for ``width ** -0.5``.
        bias: What is added to the scores, of a shape that fits ``(B, heads, M, N)``; None for
            nothing.

    Returns:
        Weights of shape ``(B, heads, M, N)``, which sum to one over N.

    Example:
        >>> query, key = torch.rand(2, 3, 1, 4), torch.rand(2, 3, 5, 4)
        >>> attention_weights(query, key).sum(-1).allclose(torch.ones(2, 3, 1))
        True
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query @ key.transpose(-2, -1) * scale
    return (scores if bias is None else scores + bias).softmax(-1)


def folded_attention(
    queries: Tensor,
    key_tokens: Tensor,
    value_tokens: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    num_heads: int,
    key_factor: Tensor | None = None,
    value_factor: Tensor | None = None,
) -> Tensor:
    """Multi-head attention of few queries, without projecting the tokens to keys and values.

    ``q (W_k x) = (q W_k) x``, and the projection of a weighted sum is the weighted sum of the
    projections. So ``2 M d^2 + 2 heads M N d`` multiply-adds do for ``2 N d^2 + 2 M N d``: one
    query of 12 heads among 210 tokens of width 768 needs a fiftieth. Only the order of the sums
    changes, and with it the rounding.

    Args:
        queries: Projected queries of shape ``(B, M, d)``.
        key_tokens: Tokens from which the keys come, ``(B, N, d)``.
        value_tokens: Tokens from which the values come, ``(B, N, d)``.
        key_weight: Projection to the keys of all heads, ``(d, d)``, as in ``nn.Linear``.
        value_weight: Projection to the values of all heads, ``(d, d)``.
        num_heads: Heads; they divide d.
        key_factor: First factor ``(r, d)`` of a projection of low rank; ``key_weight`` is then
            ``(d, r)`` and follows it. None for a full projection.
        value_factor: The same for the values.

    Returns:
        Attended values of shape ``(B, M, d)``, heads side by side.

    Example:
        >>> queries, tokens, weight = torch.rand(2, 1, 12), torch.rand(2, 5, 12), torch.rand(12, 12)
        >>> folded_attention(queries, tokens, tokens, weight, weight, num_heads=3).shape
        torch.Size([2, 1, 12])
    """
    num_queries = queries.shape[1]
    queries = queries.unflatten(-1, (num_heads, -1))
    queries = queries * queries.shape[-1] ** -0.5
    key_weight, value_weight = (
        weight.unflatten(0, (num_heads, -1)) for weight in (key_weight, value_weight)
    )
    folded = torch.einsum('bmhc,hcd->bhmd', queries, key_weight).flatten(1, 2)
    if key_factor is not None:
        folded = folded @ key_factor
    weights = (folded @ key_tokens.transpose(1, 2)).softmax(-1)
    summed = weights @ value_tokens
    if value_factor is not None:
        summed = F.linear(summed, value_factor)
    summed = summed.unflatten(1, (num_heads, num_queries))
    return torch.einsum('bhmd,hcd->bmhc', summed, value_weight).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention whose query, key and value projections have no bias.

    Args:
        embed_dims: Token width d.
        num_heads: Heads; they divide d.
        rank: Rank of the projections; None (default) for full ones.
    """

    def __init__(self, embed_dims: int, num_heads: int, rank: int | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = projection(embed_dims, 3 * embed_dims, rank, bias=False)
        self.proj = projection(embed_dims, embed_dims, rank)
        self.scaled_dot_product_attention = F.scaled_dot_product_attention

    def forward(self, tokens: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Attend within sequences.

        Args:
            tokens: One or several sequences one after the other, of shape ``(B, N, d)``.
            lengths: Lengths of the sequences, which sum up to N. None for a single one.

        Returns:
            Attended tokens of shape ``(B, N, d)``.
        """
        projected = self.qkv(tokens)
        if lengths is None or len(lengths) == 1:
            attended = self._attend(projected)
        elif len(set(lengths)) == 1:
            # Sequences of one length are as many images.
            count = len(lengths)
            attended = self._attend(projected.unflatten(1, (count, -1)).flatten(0, 1))
            attended = attended.unflatten(0, (-1, count)).flatten(1, 2)
        else:
            parts = projected.split(list(lengths), 1)
            attended = torch.cat([self._attend(part) for part in parts], 1)
        return self.proj(attended)

    def _attend(self, projected: Tensor) -> Tensor:
        query, key, value = (split_heads(part, self.num_heads) for part in projected.chunk(3, -1))
        return merge_heads(self.scaled_dot_product_attention(query, key, value))

    def first_token_weights(self, tokens: Tensor) -> Tensor:
        """Compute what the first token of a sequence gives to each token, itself included.

        :meth:`forward` and :meth:`attend_first` weigh the values by these without making them.

        Args:
            tokens: A single sequence of shape ``(B, N, d)``.

        Returns:
            Weights of shape ``(B, heads, N)``, which sum to one over N.
        """
        query, key, _ = (
            split_heads(part, self.num_heads) for part in self.qkv(tokens).chunk(3, -1)
        )
        return attention_weights(query[:, :, :1], key).squeeze(2)

    def attend_first(self, tokens: Tensor, lengths: Sequence[int]) -> Tensor:
        """Compute :meth:`forward` for the first token of each sequence alone.

        Args:
            tokens: One or several sequences one after the other, of shape ``(B, N, d)``.
            lengths: Lengths of the sequences, which sum up to N.

        Returns:
            Attended first tokens of shape ``(B, len(lengths), d)``.
        """
        weight, factor = weight_factors(self.qkv)
        query_weight, key_weight, value_weight = weight.chunk(3)
        attended = []
        for part in tokens.split(list(lengths), 1):
            first = part[:, :1] if factor is None else F.linear(part[:, :1], factor)
            attended.append(
                folded_attention(
                    F.linear(first, query_weight),
                    part,
                    part,
                    key_weight,
                    value_weight,
                    self.num_heads,
                    factor,
                    factor,
                )
            )
        return self.proj(torch.cat(attended, 1))


class CrossAttention(nn.Module):
    """Multi-head attention of summary tokens to another branch's tokens.

    Keys come from layer-normalized tokens, values from the tokens as they are; the projections have
    no bias.

    Args:
        embed_dims: Token width d.
        num_heads: Heads; they divide d.
        rank: Rank of the projections; None (default) for full ones.
    """

    def __init__(self, embed_dims: int, num_heads: int, rank: int | None = None) -> None:
        super().__init__()
        self.plain = False
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dims)
        self.q = projection(embed_dims, embed_dims, rank, bias=False)
        self.k = projection(embed_dims, embed_dims, rank, bias=False)
        self.v = projection(embed_dims, embed_dims, rank, bias=False)
        self.proj = projection(embed_dims, embed_dims, rank)
        self.scaled_dot_product_attention = F.scaled_dot_product_attention

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Attend from few tokens to many.

        Args:
            queries: Summary tokens of shape ``(B, M, d)``.
            tokens: Tokens of another branch, of shape ``(B, N, d)``.

        Returns:
            Attended summary tokens of shape ``(B, M, d)``.
        """
        if self.plain:
            attended = self.scaled_dot_product_attention(
                split_heads(self.q(queries), self.num_heads),
                split_heads(self.k(self.norm(tokens)), self.num_heads),
                split_heads(self.v(tokens), self.num_heads),
            )
            return self.proj(merge_heads(attended))
        key_weight, key_factor = weight_factors(self.k)
        value_weight, value_factor = weight_factors(self.v)
        attended = folded_attention(
            self.q(queries),
            self.norm(tokens),
            tokens,
            key_weight,
            value_weight,
            self.num_heads,
            key_factor,
            value_factor,
        )
        return self.proj(attended)

    def query_weights(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Compute what each query gives to each token; :meth:`forward` does without these.

        Args:
            queries: Summary tokens of shape ``(B, M, d)``.
            tokens: Tokens of another branch, of shape ``(B, N, d)``.

        Returns:
            Weights of shape ``(B, heads, M, N)``, which sum to one over N.
        """
        return attention_weights(
            split_heads(self.q(queries), self.num_heads),
            split_heads(self.k(self.norm(tokens)), self.num_heads),
        )


class MLP(nn.Sequential):
    """Two-layer perceptron with GELU.

    Args:
        embed_dims: Token width d.
        ratio: Width of the hidden layer over d.
        rank: Rank of the layers' weights; None (default) for full ones.
    """

    def __init__(self, embed_dims: int, ratio: float, rank: int | None = None) -> None:
        hidden = int(embed_dims * ratio)
        super().__init__(
            projection(embed_dims, hidden, rank), nn.GELU(), projection(hidden, embed_dims, rank)
        )


def init_transformer_weights(module: nn.Module) -> None:
    """Initialize a linear layer as transformers usually are; other modules stay as they are.

    Weights are drawn from N(0, 0.02^2), those of a low-rank layer so that the entries of the
    product have this deviation; biases are 0.

    Args:
        module: Any module, as ``nn.Module.apply`` passes them, children first.
    """
    if isinstance(module, nn.Linear):
        torch.nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)
    elif isinstance(module, LowRankLinear):
        # An entry of the product is a sum of r products.
        for weight in module.parameters():
            if weight.ndim == 2:
                torch.nn.init.trunc_normal_(weight, std=(0.02 / module.rank**0.5) ** 0.5)
