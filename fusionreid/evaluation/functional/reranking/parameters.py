"""The published parameters of k-reciprocal re-ranking, and the memory that it may use."""

from __future__ import annotations

# Zhong et al. (CVPR 2017) use these for Market-1501 and DukeMTMC-reID; see k_reciprocal_rerank.
DEFAULT_K1 = 20
DEFAULT_K2 = 6
DEFAULT_LAMBDA_VALUE = 0.3
# What re-ranking may use on top of features and result unless told otherwise, in bytes: 4 GiB.
DEFAULT_RERANKING_MEMORY_LIMIT = 4 << 30
