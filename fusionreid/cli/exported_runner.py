"""A Runner that scores an exported model."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from fusionreid.runtimes import ExportedModel


def build_exported_runner(cfg: Config, model: ExportedModel) -> Runner:
    """Build a Runner whose model is an exported one.

    Args:
        cfg: The config, whose ``model`` is not built.
        model: The exported model.

    Returns:
        The Runner.
    """

    class ExportedRunner(Runner):
        def build_model(self, _: Any) -> ExportedModel:
            return model

        def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
            # It stays where its runtime has it, and has no gradients to exchange.
            return model

    return ExportedRunner.from_cfg(cfg)
