"""Folders as ``fusionreid ablate`` writes them, without the training."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_runs import parse_command

from fusionreid.cli import ablate


def score(variant: str, seed: int, width: int) -> float:
    """An mAP that tells where it comes from."""
    return 10 * list(ablate.VARIANTS).index(variant) + seed + width / 100


def write_runs(folder: Path, variants: list[str], seeds: list[int], options: list[str]) -> Path:
    """The files of ``fusionreid ablate``, as it writes them, without the training."""
    arguments = ['--variants', *variants, '--out', str(folder), '--epochs', '3']
    args = parse_command(
        'ablate', [*arguments, '--cfg-options', *options] if options else arguments
    )
    configs = {variant: ablate.build_config(variant, args) for variant in variants}
    ablate.write_configs(configs, folder)
    for variant, cfg in configs.items():
        width = (cfg.model.neck or {}).get('embed_dims', 0)
        for seed in seeds:
            names = [variant] if cfg.model.neck is None else ['cnn_fused', 'all']
            scores = {
                name: {'mAP': score(variant, seed, width) + (name == 'cnn_fused'), 'Rank-1': 90.0}
                for name in names
            }
            file = ablate.result_file(folder, variant, seed)
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(dict(variant=variant, seed=seed, scores=scores)))
    return folder
