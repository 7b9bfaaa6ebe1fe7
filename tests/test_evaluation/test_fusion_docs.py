"""What docs/fusion.md shows runs, and it tells all that the tools can do."""

from __future__ import annotations

import re

from tiny_runs import ROOT, parse_command

from fusionreid.cli import ablate

TEXT = (ROOT / 'docs' / 'fusion.md').read_text()
CODE, CONFIG = re.findall(r'```python\n(.*?)```', TEXT, re.S)


def test_documented_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(CODE, 'docs/fusion.md', 'exec'), {})
    assert (tmp_path / 'chart.png').stat().st_size > 1000


def test_documented_config_can_be_ablated_and_rendered(tmp_path, monkeypatch):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.replace('./', f'{ROOT}/configs/'))
    monkeypatch.chdir(tmp_path)
    cfg = ablate.build_config(
        'fusion_l2_unshared', parse_command('ablate', ['--config', str(path)])
    )
    for name in ablate.LOADERS:
        assert cfg[name].dataset.data_root == 'data/synthetic_256x128'
    assert cfg.train_dataloader.dataset.split == 'train'
    commands = []

    class Runner:
        def run(self, title, command, log, progress):
            commands.append(' '.join(map(str, command)))

    ablate.render(cfg, tmp_path, Runner())
    (command,) = commands
    assert command.endswith('synthetic_256x128 --ids-train 1000 --height 256 --width 128')


def test_every_model_and_option_is_described():
    for variant in ablate.VARIANTS:
        assert f'`{variant}`' in TEXT
    for option in vars(parse_command('ablate', [])):
        assert f'--{option.replace("_", "-")}' in TEXT
