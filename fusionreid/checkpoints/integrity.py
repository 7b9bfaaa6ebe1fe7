"""Whether a checkpoint still holds the tensors that were saved."""

from __future__ import annotations

from pathlib import Path

from fusionreid.errors import WeightsError
from fusionreid.utils.progress import report_bytes

from .backbone_inspection import Facts
from .tensor_checksums import count_bytes, stored_checksums, verify_tensors
from .weight_file import locate_weight_file, read_unverified


def verify_checkpoint(source: str | Path) -> Facts:
    """Compare the tensors of a checkpoint with the checksums that it carries.

    Of a large one a line on stderr shows the time left.

    Args:
        source: Path or ``http(s)://`` address.

    Returns:
        Facts as pairs of a title and a text: what was compared, and how many bytes.

    Raises:
        WeightsError: If the file cannot be read, carries no checksums, or holds other tensors.
    """
    path = locate_weight_file(source)
    content = read_unverified(path)
    try:
        stored = stored_checksums(content)
        compared = {name: content[name] for name in stored if name in content}
        if not compared:
            raise WeightsError(
                'it can be read, but carries no checksums of its tensors, so nothing can be '
                'verified: fusionreid train saves them, other programs do not'
            )
        size = count_bytes(compared)
        verify_tensors(content, report_bytes(f'verifying {path}', size))
    except WeightsError as error:
        raise WeightsError(f'{path}: {error}') from error
    return [
        ('what', f'checkpoint {path}'),
        ('compared', f'tensors of {", ".join(compared)}'),
        ('bytes', f'{size:,}'),
        ('checksums', 'ok'),
    ]
