"""Backbones of mmpretrain that can be switched as other modules."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar('T', bound='TrainReturnsSelf')


class TrainReturnsSelf:
    """Lets ``train`` and ``eval`` return the module; the first base of an mmpretrain backbone.

    Reason: ``BaseBackbone.train`` returns nothing, in mmpretrain 1.2.0 and onedl-mmpretrain 1.3.6,
    and torch's ``eval`` returns what it returns. It ends with an mmpretrain that returns self.
    """

    def train(self: T, mode: bool = True) -> T:
        """Switch the mode.

        Args:
            mode: Whether to train.
        """
        super().train(mode)  # type: ignore[misc] # of the module that it is mixed into
        return self
