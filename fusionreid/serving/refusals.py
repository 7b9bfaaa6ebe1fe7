"""What a server answers to a request that it does not carry out."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is not carried out.

    Args:
        status: HTTP status of the answer.
        reason: One line for whoever asked.
        retry_after: Seconds after which it may be asked again; None for never.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.retry_after is None else {'Retry-After': str(self.retry_after)}
