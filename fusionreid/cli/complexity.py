"""Count the parameters and the computation of a model for one image.

    fusionreid complexity CONFIG [--input-size H W] [--as-computed]
    fusionreid complexity --paper

``--paper`` counts all published models and prints the paper's figures beside ours. For one model
the last line is JSON: ``params_m``, millions of parameters of layers without classifiers;
``macs_g``, billions of multiply-adds of convolutions and linear layers; ``flops_g``, billions of
floating-point operations with attention, two per multiply-add.

Counted are the layers as they are written down, as in the paper. ``--as-computed`` counts what the
model does, which gives the same with fewer operations; ``macs_g`` then includes attention.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from fusionreid.config import build_errors, config_metadata, merge_options, read_config
from fusionreid.errors import ConfigError
from fusionreid.models import as_student, build_on_meta
from fusionreid.models.complexity import Complexity, measure_complexity
from fusionreid.registry import MODELS
from fusionreid.utils.tables import markdown_table

from .option_actions import OptionAction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('config', nargs='?', help='name or path of a config')
    parser.add_argument(
        '--input-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="height and width of the image in pixels (default: the config's)",
    )
    parser.add_argument(
        '--paper', action='store_true', help='print our figures beside the published ones'
    )
    parser.add_argument(
        '--as-computed',
        action='store_true',
        help='count what the model computes, not the layers as they are written down',
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, help='overrides')


def check_arguments(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together."""
    if (args.config is None) == (not args.paper):
        parser.error('give either a config or --paper')
    if args.paper and (args.input_size or args.cfg_options or args.as_computed):
        parser.error('--input-size, --as-computed and --cfg-options do not go with --paper')
    if args.input_size and min(args.input_size) < 1:
        parser.error(f'--input-size must be positive, got {args.input_size}')


def measure_config(
    cfg: Config, input_size: tuple[int, int] | None = None, as_computed: bool = False
) -> dict[str, Complexity]:
    """Measure a config's model.

    Args:
        cfg: The config.
        input_size: Height and width; the config's where it is None.
        as_computed: As for :func:`measure_complexity`.

    Returns:
        Complexity by part, ``total`` last.

    Raises:
        ConfigError: If the config has no model, or no size.
    """
    if not cfg.get('model', {}).get('branches'):
        raise ConfigError(f'{cfg.filename} has no model with branches')
    init_default_scope(cfg.get('default_scope', 'fusionreid'))
    cfg.model = as_student(cfg.model)
    for branch in cfg.model.branches.values():
        if input_size and branch and 'img_size' in branch.backbone:
            branch.backbone.img_size = input_size
    size = _find_size(cfg, input_size)
    try:
        return measure_complexity(build_on_meta(cfg.model), size, as_computed)
    except RuntimeError:
        # Some networks compute while they are built, e.g. timm's hybrids of CNN and transformer.
        return measure_complexity(MODELS.build(cfg.model), size, as_computed)


def _find_size(cfg: Config, input_size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size that is asked for, else the config's own."""
    if not input_size and not cfg.get('input_size'):
        raise ConfigError(f'{cfg.filename} has no input_size: give --input-size H W')
    return tuple(input_size or cfg.input_size)


def as_figures(complexity: Complexity) -> dict[str, float]:
    """Round a complexity to millions and billions."""
    return dict(
        params_m=round(complexity.params / 1e6, 3),
        macs_g=round(complexity.macs / 1e9, 3),
        flops_g=round(complexity.flops / 1e9, 3),
    )


def published_figures() -> dict[str, dict]:
    """Find the metadata of the models whose sizes the paper gives, by name of the config."""
    return {
        name: model['Metadata']
        for name, model in config_metadata().items()
        if 'Parameters' in model['Metadata']
    }


def _agrees(ours: float, published: float) -> bool:
    """Whether a figure is the published one to half a per cent, or to its one decimal."""
    return abs(ours - published) <= 0.005 * published or round(ours, 1) == published


def compare_with_paper() -> tuple[str, bool]:
    """Measure all published models.

    Returns:
        A table of our figures beside the published ones, and whether all agree but the misprint.
    """
    rows = [['config', 'params (M)', 'paper', 'MACs (G)', 'paper', 'FLOPs (G)', '']]
    all_agree = True
    for name, metadata in published_figures().items():
        ours = as_figures(measure_config(read_config(name))['total'])
        params, macs = metadata['Parameters'] / 1e6, metadata['FLOPs'] / 1e9
        misprint = metadata.get('Misprint') == 'Parameters'
        agreed = _agrees(ours['macs_g'], macs) and (misprint or _agrees(ours['params_m'], params))
        all_agree &= agreed
        rows.append(
            [
                name,
                f'{ours["params_m"]:.3f}',
                f'{params:.1f}',
                f'{ours["macs_g"]:.3f}',
                f'{macs:.1f}',
                f'{ours["flops_g"]:.1f}',
                ('a misprint of the parameters' if misprint else 'agrees') if agreed else 'DIFFERS',
            ]
        )
    return markdown_table(rows), all_agree


def run(args: argparse.Namespace) -> int:
    """Print the figures of one model, or of all published ones."""
    if args.paper:
        table, all_agree = compare_with_paper()
        print(table)
        return 0 if all_agree else 1
    cfg = read_config(args.config)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    with build_errors():
        wanted = tuple(args.input_size) if args.input_size else None
        parts = measure_config(cfg, wanted, args.as_computed)
    figures = {part: as_figures(complexity) for part, complexity in parts.items()}
    rows = [['part', 'params (M)', 'MACs (G)', 'FLOPs (G)']]
    rows += [[part, *(f'{value:.3f}' for value in row.values())] for part, row in figures.items()]
    print(markdown_table(rows))
    total = figures.pop('total')
    size = list(_find_size(cfg, args.input_size))
    name = Path(cfg.filename).stem
    print(json.dumps(dict(config=name, input_size=size, **total, parts=figures)))
    return 0
