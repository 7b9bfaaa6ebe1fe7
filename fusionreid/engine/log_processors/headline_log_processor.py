"""Which scores stand in the line of a validation or a test."""

from __future__ import annotations

from typing import Any

from mmengine.runner import LogProcessor, Runner

from fusionreid.evaluation.metrics.score_names import is_headline
from fusionreid.registry import LOG_PROCESSORS


@LOG_PROCESSORS.register_module()
class HeadlineLogProcessor(LogProcessor):
    """MMEngine's log processor, with the headline scores alone in the line of an epoch.

    The headline scores are those of the feature that stands for the model. Those of each feature
    are in the table before the line. All of them go to the visualizer and its files.
    """

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Format the scores of a validation or a test.

        Args:
            runner: The runner.
            batch_idx: Number of batches.
            mode: ``'val'`` or ``'test'``.
            with_non_scalar: Whether the dict has values that are no numbers.

        Returns:
            All scores by name, and the line.
        """
        scores, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        # Of a metric without headline scores all are shown.
        shortened = {name.rpartition('/')[0] for name in scores if is_headline(name)} - {''}
        omitted = tuple(
            f'{name}: '
            for name in scores
            if name.rpartition('/')[0] in shortened and not is_headline(name)
        )
        items = line.split('  ')  # as MMEngine joins them
        return scores, '  '.join(item for item in items if not item.startswith(omitted))
