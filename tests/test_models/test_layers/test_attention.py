"""Both attentions against loops over heads and queries."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from fusionreid.models.layers.attention import CrossAttention, SelfAttention


def naive_attention(query, key, value, heads):
    """One head and one query at a time."""
    out = torch.zeros_like(query)
    width = query.shape[-1] // heads
    for b in range(query.shape[0]):
        for h in range(heads):
            columns = slice(h * width, (h + 1) * width)
            for i in range(query.shape[1]):
                scores = key[b, :, columns] @ query[b, i, columns] / width**0.5
                out[b, i, columns] = scores.softmax(0) @ value[b, :, columns]
    return out


def test_self_attention_against_a_loop():
    attention = SelfAttention(12, 3)
    tokens = torch.randn(2, 5, 12)
    query, key, value = F.linear(tokens, attention.qkv.weight).split(12, -1)
    expected = attention.proj(naive_attention(query, key, value, 3))
    torch.testing.assert_close(attention(tokens), expected, atol=1e-5, rtol=1e-4)


def test_cross_attention_against_a_loop():
    attention = CrossAttention(12, 3)
    queries, tokens = torch.randn(2, 1, 12), torch.randn(2, 5, 12)
    key = attention.k(attention.norm(tokens))  # keys from normalized tokens ...
    value = attention.v(tokens)  # ... values from the tokens as they are
    expected = attention.proj(naive_attention(attention.q(queries), key, value, 3))
    torch.testing.assert_close(attention(queries, tokens), expected, atol=1e-5, rtol=1e-4)
