"""What the scoring functions refuse; of these errors, and of no others, the caller is the cause."""


class ScoringInputError(ValueError):
    """Features, labels or numbers that cannot be scored; the message names the first of them.

    Any other ValueError is a bug of the scoring functions.

    Example:
        >>> import torch
        >>> from fusionreid.evaluation.functional import top_k
        >>> top_k(torch.ones(1, 2), torch.ones(3, 2), k=4)
        Traceback (most recent call last):
        fusionreid.evaluation.functional.errors.ScoringInputError: k=4 is outside 1..3, the size \
of the gallery
    """


class MemoryLimitError(ScoringInputError):
    """A memory limit that not even the least step of the work fits into."""
