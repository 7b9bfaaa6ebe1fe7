"""What a distance means: how often photos of different people are as near as that."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusionreid.evaluation.functional import VerificationResult


@dataclass(frozen=True)
class Calibration:
    """False match rates by distance, measured on labeled pairs.

    Args:
        distances: (P,) float64, ascending.
        false_match_rates: Share of the pairs of different people that are nearer, (P,) float64.
        num_different: Number of these pairs, below whose inverse no rate can be told.

    Example:
        >>> rates, distances = torch.tensor([[0.0, 0.01, 1.0], [0.1, 0.2, 1.4]]).double()
        >>> calibration = Calibration(distances, rates, num_different=1000)
        >>> round(calibration.false_match_rate(0.15), 6), calibration.false_match_rate(0.05)
        (0.01, 0.001)
    """

    distances: Tensor
    false_match_rates: Tensor
    num_different: int

    @classmethod
    def from_verification(cls, result: VerificationResult) -> Calibration:
        """Take the rates of a verification.

        Args:
            result: From :func:`~fusionreid.evaluation.functional.evaluate_verification`.

        Returns:
            The calibration, as fine as the edges between which the result counts.
        """
        rates, _, distances = result.roc()
        return cls(distances, rates, result.num_different)

    def false_match_rate(self, distance: float) -> float:
        """Tell how often two different people are as near.

        Args:
            distance: Of two features of length 1, in [0, 2].

        Returns:
            Upper bound of the rate among the pairs that were measured, in [1 / num_different, 1].
        """
        place = int(torch.searchsorted(self.distances, torch.tensor(distance).double()))
        rate = 1.0 if place == len(self.distances) else float(self.false_match_rates[place])
        return max(rate, 1 / self.num_different)
