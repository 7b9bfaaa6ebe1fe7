"""The parameters of re-ranking that a metric's config may set, and that its scores state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..functional import ScoringInputError
from ..functional.reranking import DEFAULT_K1, DEFAULT_K2, DEFAULT_LAMBDA_VALUE, check_parameters

# Scores after re-ranking are called `rerank.mAP` and so on.
RERANKED = 'rerank'


@dataclass(frozen=True)
class RerankProtocol:
    """The numbers that a score after k-reciprocal re-ranking depends on (Zhong et al., CVPR 2017).

    Args:
        k1: Neighbors among which reciprocal ones are looked for.
        k2: Neighbors over which the encodings are averaged.
        lambda_value: Weight of the original distance, in [0, 1].

    Raises:
        ScoringInputError: A number is out of its range.
    """

    k1: int = DEFAULT_K1
    k2: int = DEFAULT_K2
    lambda_value: float = DEFAULT_LAMBDA_VALUE

    def __post_init__(self) -> None:
        self._check(None)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RerankProtocol:
        """Read the parameters from a config.

        Args:
            config: ``dict(k1=..., k2=..., lambda_value=...)``; those left out are as published.

        Returns:
            The parameters.

        Raises:
            ScoringInputError: An unknown name, or a number out of its range.

        Example:
            >>> print(RerankProtocol.from_config({'k1': 50}))
            k-reciprocal re-ranking (k1=50, k2=6, lambda=0.3)
        """
        known = cls.__dataclass_fields__
        if not isinstance(config, Mapping) or not set(config) <= set(known):
            raise ScoringInputError(
                f'rerank must be a dict of {", ".join(known)} (or None for none), got {config!r}'
            )
        return cls(**config)

    def check_size(self, images: int) -> None:
        """Check that a data set has enough images.

        Args:
            images: Number of queries and gallery images together.

        Raises:
            ScoringInputError: There are fewer than the neighbors wanted.
        """
        self._check(images)

    def _check(self, images: int | None) -> None:
        try:
            check_parameters(**self.options, images=images)
        except ScoringInputError as error:
            raise ScoringInputError(f'rerank: {error}') from error

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of :func:`k_reciprocal_rerank`."""
        return asdict(self)

    def __str__(self) -> str:
        return f'k-reciprocal re-ranking (k1={self.k1}, k2={self.k2}, lambda={self.lambda_value})'
