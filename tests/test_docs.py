"""What the documents show is true: code runs, commands and links exist, outputs are printed."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import io
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from documents import (
    PAGES,
    Block,
    anchors,
    blocks,
    command_lines,
    inline_code,
    links,
    options,
    read_command,
)
from exported_models import tiny_model, traced_once
from gallery_commands import write_checkpoint
from image_trees import write_image
from mmengine.config import Config
from mmengine.registry import init_default_scope
from postgres_server import database
from small_models import build_random, fusion_model
from tiny_runs import NUM_IDS, ROOT, parse_command, render_tiny, write_tiny_config

from fusionreid.checkpoints.release import export_original_state
from fusionreid.checkpoints.weight_file import WRAPPERS
from fusionreid.cli import ablate
from fusionreid.cli.commands import COMMANDS
from fusionreid.config import find_config, merge_options, packaged_configs, read_config
from fusionreid.datasets import MSMT17, DukeMTMCReID, Market1501
from fusionreid.datasets.synthetic import ClipConfig, render_clips
from fusionreid.models import build_on_meta
from fusionreid.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    WEIGHT_INITIALIZERS,
)

DOCS = ROOT / 'docs'
LANGUAGES = {'bash', 'bibtex', 'csv', 'python', 'text'}
# Words that stand for something of the reader's, as CONFIG.
PLACEHOLDER = re.compile(r'[A-Z][A-Z_]+')
# Programs in shell blocks that are not ours; those blocks run without them.
OTHER_PROGRAMS = frozenset(
    ('bash', 'check-wheel-contents', 'createdb', 'curl', 'git', 'ln', 'mkdir', 'pip', 'pre-commit')
    + ('psql', 'python', 'source', 'tensorboard', 'twine')
)
# Options in inline code that are another program's.
OTHER_OPTIONS = {'--build-arg', '--fast', '--ipc', '--no-deps', '--shm-size'}
# Makes a training of the docs one of seconds.
SHORT_TRAINING = {
    'train_cfg.max_epochs': 1,
    'param_scheduler.warmup_epochs': 0,
    'model.head.num_classes': NUM_IDS,
    'train_dataloader.batch_size': 8,
    'train_dataloader.sampler.ids_per_batch': 4,
    'train_dataloader.sampler.instances_per_id': 2,
}
REGISTRIES = (DATASETS, DATA_SAMPLERS, HOOKS, MODELS)
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
CHECKPOINT = Path('work_dirs/quickstart/fusionreid/epoch_6.pth')
SAVED_FEATURES = Path('work_dirs/quickstart/fusionreid/test')
CONFIG_NAME = re.compile(
    r'(?:fusionreid_)?[a-z0-9]+(?:_[a-z0-9]+)?_(?:market1501|msmt17|dukemtmc|custom_\w+|synthetic)'
    r'(?:_[\w-]+)?'
)
OWN_FILE = re.compile(r'(?:configs|docs|requirements|tests|tools)/[\w./-]+\.(?:md|py|sh|txt|yml)')


def page_id(page: Path) -> str:
    return page.stem if page.parent in (ROOT, DOCS) else f'{page.parent.name}-{page.stem}'


each_page = pytest.mark.parametrize('page', PAGES, ids=page_id)


# ---- code blocks


@pytest.fixture(scope='module')
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the quickstart leaves it, with few people and a small untrained model."""
    folder = tmp_path_factory.mktemp('workshop')
    data = render_tiny(folder / 'data' / 'synthetic')
    query = min((data / 'query').glob('*.jpg'))
    named = {
        name
        for page in PAGES
        for name in re.findall(r'(?:query|test)/(0\d+_c\w+\.jpg)', page.read_text())
    }
    for name in named:
        for split in ('query', 'bounding_box_test'):
            if not (data / split / name).exists():
                shutil.copy(query, data / split / name)
    config = write_tiny_config(folder, data)
    cfg = Config.fromfile(config)
    init_default_scope('fusionreid')
    model = MODELS.build(cfg.model)
    checkpoint = dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict())
    (folder / CHECKPOINT).parent.mkdir(parents=True)
    torch.save(checkpoint, folder / CHECKPOINT)
    with contextlib.chdir(folder):
        run('test', [str(config), str(CHECKPOINT), '--out', str(SAVED_FEATURES)])
    return folder


@pytest.fixture
def folder(
    page: Path,
    workshop: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Path]:
    """A copy of the workshop, with what a page needs beside it."""
    shutil.copytree(workshop, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / 'my'))
    if prepare := PREPARED.get(page.stem):
        prepare(tmp_path)
    if page.stem == 'export':
        shutil.copy(tiny_model(tmp_path_factory).checkpoint, CHECKPOINT)
    with contextlib.ExitStack() as stack:
        stack.enter_context(traced_once(tmp_path_factory))
        if page.stem == 'team_gallery':
            server = request.getfixturevalue('postgres')
            for name, value in stack.enter_context(database(server, 'team')).items():
                monkeypatch.setenv(name, value)
        yield tmp_path


def prepare_weights(folder: Path) -> None:
    """Weights of the authors' code, and a run of ours."""
    model = fusion_model()
    original = export_original_state(build_random(model).state_dict())
    torch.save(original, folder / 'FusionReID_180.pth')
    run = folder / 'work_dirs' / 'my_run' / 'epoch_180.pth'
    run.parent.mkdir(parents=True)
    state = build_random(model).state_dict()
    torch.save(dict(state_dict=state, meta=dict(cfg=f'model = {model!r}')), run)


def prepare_explain(folder: Path) -> None:
    """The branches alone, as the quickstart trains them."""
    for name, config in (('cnn_only', 'r18_synthetic'), ('transformer_only', 'vittiny_synthetic')):
        tiny = write_tiny_config(folder, folder / 'data' / 'synthetic', config)
        write_checkpoint(tiny, folder / CHECKPOINT.parents[1] / name / CHECKPOINT.name)


def prepare_extending(folder: Path) -> None:
    """The rendered people in the layout of the data set that the page reads."""
    sources = {'train': 'bounding_box_train', 'query': 'query', 'gallery': 'bounding_box_test'}
    for role, source in sources.items():
        for path in (folder / 'data' / 'synthetic' / source).glob('0*_c*.jpg'):
            person, camera = path.name.split('_')[:2]
            target = (
                folder / 'data' / 'people' / role / person / f'{int(camera[1]) - 1}_{path.name}'
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def prepare_video(folder: Path) -> None:
    """Small videos in the place of those that the page renders."""
    render_clips(folder / 'data' / 'street', ClipConfig(people=2, frames=40, height=180))


PREPARED: dict[str, Callable[[Path], None]] = {
    'explain': prepare_explain,
    'extending': prepare_extending,
    'video': prepare_video,
    'weights': prepare_weights,
}
# What the blocks of a page make.
PRODUCED = {
    'datasets': ['problems.csv'],
    'analysis': [
        'verification.png',
        'camera_pairs.png',
        f'{SAVED_FEATURES}/analysis.json',
        'tsne.png',
    ],
    'explain': ['maps/relevance.png', 'maps/pairs.png', 'why.png'],
    'export': ['exported/onnx/export.json', 'exported/boxmot/model.onnx'],
    'fusion': ['chart.png', f'{SAVED_FEATURES}/feature_scores.md'],
    'gallery': [
        'index/gallery.json',
        'work_dirs/people/gallery.json',
        'work_dirs/lately/gallery.json',
        'result.png',
    ],
    'grouping': ['work_dirs/groups/photos.csv', 'work_dirs/query_groups/people.json'],
    'models': ['model.svg'],
    'model_zoo': ['my_model/model.safetensors', 'my_model/config.json', 'my_model/README.md'],
    'nobody': ['who.png', 'answers.json', 'cohort.safetensors'],
    'own_photos': ['problems.csv', 'result.png', 'result.json', 'work_dirs/index/gallery.json'],
    'quickstart': ['cnn_fused.png'],
    'reranking': ['k1.png'],
    'reuse': ['work_dirs/mmpretrain/epoch_1.pth'],
    'serve': ['work_dirs/people/gallery.json'],
    'smaller_features': ['narrow.safetensors', 'work_dirs/codes/gallery.json'],
    'synthetic': ['contact_sheet.png'],
    'team_gallery': ['result.png', 'people.calibration.json', 'work_dirs/copied/gallery.json'],
    'video': ['street.png', 'street.json', 'work_dirs/street-tracklets/camera_1/0001.jpg'],
    'weights': ['weights/msmt17.pth', 'weights/msmt17.py'],
}


@pytest.mark.slow
@each_page
def test_code(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {'__name__': 'docs'}
    printed = ''
    registered = {registry: dict(registry.module_dict) for registry in (DATASETS, METRICS, MODELS)}
    try:
        for block in blocks(page):
            try:
                printed += check_block(block, names)
            except (Exception, SystemExit) as error:
                error.add_note(f'{page.relative_to(ROOT)}, block at line {block.line}')
                raise
        for block in blocks(page):
            if block.kind == 'output':
                assert block.text.strip() in printed, f'{block.text} is not printed'
        for name in PRODUCED.get(page.stem, ()):
            assert (folder / name).stat().st_size > 0
    finally:
        for registry, modules in registered.items():
            registry.module_dict.clear()
            registry.module_dict.update(modules)
        for module in {path.stem for path in folder.glob('my/*.py')}:
            sys.modules.pop(module, None)


def check_block(block: Block, names: dict[str, Any]) -> str:
    """Run or check a block.

    Args:
        block: The block.
        names: Names that the Python blocks of the page have in common.

    Returns:
        What it prints.
    """
    assert block.language in LANGUAGES
    if block.kind == 'file':
        write_file(Path(block.value), block.text)
    elif block.language == 'bash':
        return check_commands(block)
    elif block.language == 'python':
        code = compile('\n' * (block.line - 1) + block.text, 'docs', 'exec')
        if block.kind == 'onto' or '_base_ =' in block.text:
            check_config(block)
        elif block.kind != 'not run':
            return run_python(code, block, names)
    else:
        assert block.kind in ('', 'output'), f'a block of {block.language!r} is not {block.kind!r}'
    return ''


def write_file(path: Path, text: str) -> None:
    """Write a file that a page shows, and the images that it lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(resolve_base(text))
    if path.suffix == '.csv':
        for seed, row in enumerate(text.splitlines()[1:]):
            write_image(path.parent / row.split(',')[0], seed)
    elif '_base_ =' in text:
        base = re.search(r"_base_ = '(.*)'", text)[1]
        assert (ROOT / path.parent / base).resolve() == find_config(Path(base).stem).resolve()
        build_config(Config.fromfile(path))


def resolve_base(text: str) -> str:
    """Let a config that is shown inherit from the packaged one, wherever it lies."""
    return re.sub(
        r"(?m)^(_base_ = )'[\w./:]*?([\w-]+)\.py'$",
        lambda match: f'{match[1]}{str(find_config(match[2]))!r}',
        text,
    )


def check_config(block: Block) -> None:
    """Parse a config and build its model; a part of one is merged onto its base."""
    path = Path('shown_config.py')
    base = f'_base_ = {str(find_config(block.value))!r}\n' if block.kind == 'onto' else ''
    path.write_text(base + resolve_base(block.text))
    build_config(Config.fromfile(path))


def build_config(cfg: Config) -> None:
    """Build the model of a config without memory for its weights."""
    init_default_scope(cfg.default_scope)
    counts = {'num_classes': 3, 'num_cameras': 2}  # counted from the training set
    model = copy.deepcopy(cfg.model)
    for part in (model.head, *(branch.backbone for branch in model.branches.values() if branch)):
        part.update({name: n for name, n in counts.items() if part.get(name, n) is None})
    assert build_on_meta(model).feature_widths


def run_python(code: Any, block: Block, names: dict[str, Any]) -> str:
    """Run code; what a comment after a ``print`` says is what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    printed = out.getvalue()
    expected = re.findall(r'(?m)^ *print\(.*\)  # (.*)$', block.text)
    rest = printed
    for line in expected:
        assert line in rest.splitlines(), f'{line!r} is not in what is printed: {printed!r}'
        rest = rest.split(f'{line}\n', 1)[1]
    return printed


def check_commands(block: Block) -> str:
    """Parse all command lines, and run those of ours unless the block says why not."""
    subprocess.run(['bash', '-n'], input=block.text, text=True, check=True)
    printed = ''
    for words in command_lines(block.text):
        command = read_command(list(words))
        if command is None:
            check_other_program(words)
            continue
        name, arguments = command
        args = parse_command(name, arguments)
        check_config_options(args)
        if block.kind == 'not run':
            assert block.value, 'a block that is not run says why'
        else:
            printed += run(name, arguments)
    return printed


def check_other_program(words: list[str]) -> None:
    """Check a command line that is none of ours: the program is known, a script of ours exists."""
    words = [word for word in words if not re.fullmatch(r'[A-Z_]+=.*', word)]
    assert Path(words[0]).name in OTHER_PROGRAMS
    scripts = [word for word in words if OWN_FILE.fullmatch(word)]
    assert all((ROOT / script).is_file() for script in scripts)
    if words[0] == 'bash':
        assert scripts


def check_config_options(args: Namespace) -> None:
    """Find the config that a command names, and merge its ``--cfg-options``."""
    name = getattr(args, 'config', None)
    if name in (None, '-'):  # the one in the checkpoint
        return
    if PLACEHOLDER.fullmatch(name):
        name = 'fusionreid_vitb_r50_msmt17'
    elif not Path(name).exists() and Path(name).parts[0] in ('work_dirs', 'weights'):
        return  # made by a command before
    cfg = read_config(name)
    changes = getattr(args, 'cfg_options', None) or {}
    for key in changes:
        check_key(cfg, key)
    merge_options(cfg, changes)


def check_key(cfg: Config, key: str) -> None:
    """Check that a dotted key is one of the config, or an argument of the class that it is for."""
    part: Any = cfg
    for name in key.split('.'):
        if part is not cfg and name not in part:
            assert 'type' in part, key
            kind = next(found for each in REGISTRIES if (found := each.get(part['type'])))
            makers = [base.__init__ for base in kind.__mro__]
            assert any(name in inspect.signature(maker).parameters for maker in makers), key
        part = part.get(name)
        if part is None:
            return


def run(name: str, arguments: list[str]) -> str:
    """Run a command of ours in this process; a training is made a short one."""
    args = parse_command(name, arguments)
    if name in ('train', 'test') and args.config:
        args.cfg_options = dict(args.cfg_options or {}, **quick_options(name, args.config))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert not COMMANDS[name].load().run(args)
    if name == 'train' and args.work_dir:  # the page goes on with the last checkpoint
        work_dir, epochs = Path(args.work_dir), read_config(args.config).train_cfg.max_epochs
        shutil.copy(work_dir / 'epoch_1.pth', work_dir / f'epoch_{epochs}.pth')
    return out.getvalue()


def quick_options(name: str, config: str) -> dict[str, Any]:
    """Options for a quick run in one process."""
    cfg = read_config(config)
    quick = dict(SHORT_TRAINING) if name == 'train' else {}
    if cfg.get('model') and cfg.model.get('head') and cfg.model.head.get('num_classes', 0) is None:
        quick.pop('model.head.num_classes', None)  # counted from the training set
    for loader in LOADERS:
        if cfg.get(loader):
            quick |= {f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False}
    return quick


# ---- what pages name


@each_page
def test_links(page: Path) -> None:
    for link in links(page):
        if re.match(r'https?:', link):
            continue
        target, _, anchor = link.partition('#')
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f'{page.name}: {link}'
        # A page of docs/ is a page of the site, which has nothing else.
        assert page.parent != DOCS or path.is_relative_to(DOCS), f'{page.name}: {link}'
        if anchor:
            assert anchor in anchors(path), f'{page.name}: {link}'


@each_page
def test_files_exist(page: Path) -> None:
    if page.name == 'CHANGELOG.md':  # names what has gone
        return
    missing = [name for name in OWN_FILE.findall(page.read_text()) if not (ROOT / name).exists()]
    assert missing == []


@each_page
def test_inline_commands(page: Path) -> None:
    known = {option for name in COMMANDS for option in options(name)} | OTHER_OPTIONS
    for code in inline_code(page):
        if re.match(r'fusionreid [a-z]', code):
            # Choices are written as a|b or {a,b}, what can be left out as [...].
            words = re.sub(r'[\[\]{}]', '', code).split()
            name, arguments = read_command(words)
            asked = {word.partition('=')[0] for word in arguments if word.startswith('--')}
            assert asked <= options(name), code
        elif re.match(r'--[a-z]', code):
            assert re.match(r'--[\w-]+', code)[0] in known, code


@each_page
def test_inline_names(page: Path) -> None:
    """Dotted names of the package can be imported, names of configs are known."""
    codes = inline_code(page)
    if page.name == 'CHANGELOG.md':
        # The new names, not those that have gone.
        rows = re.findall(r'(?m)^\|.*\| (.+) \|$', page.read_text())
        codes = [code for row in rows for code in re.findall('`(.+?)`', row)]
    for code in codes:
        if re.fullmatch(r'fusionreid(\.\w+)+', code):
            assert find_object(code) is not None, code
        if CONFIG_NAME.fullmatch(code):
            assert code in packaged_configs(), code


def find_object(dotted: str) -> Any:
    """Import a dotted name: a module, or something in one."""
    parts = dotted.split('.')
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    return None


def test_every_page_is_in_the_navigation() -> None:
    text = (DOCS / 'scripts' / 'mkdocs.yml').read_text()
    listed = re.findall(r'([\w-]+\.md)', text.partition('\nnav:')[2])
    pages = sorted(page.name for page in DOCS.glob('*.md'))
    assert sorted(listed) == pages
    index = set(re.findall(r'\]\(([\w-]+\.md)', text_of('index')))
    assert index == {*pages} - {'index.md'}


@pytest.mark.parametrize(
    ('argument', 'status', 'shown'), [('--help', 0, 'site/'), ('no', 2, "'no'")]
)
def test_the_script_that_builds_the_site_reads_its_argument(argument, status, shown) -> None:
    script = ROOT / 'tools' / 'build_docs.sh'
    finished = subprocess.run(['bash', script, argument], capture_output=True, text=True)
    assert finished.returncode == status
    assert shown in finished.stdout + finished.stderr


# ---- facts that are written down


def text_of(name: str) -> str:
    return (DOCS / f'{name}.md').read_text()


def test_the_readme_stays_a_landing_page() -> None:
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150
    assert (DOCS / 'images' / 'three_rank_lists.jpg').stat().st_size < 150_000


def test_weights_names_all_wrappers() -> None:
    for wrapper in WRAPPERS:
        assert f'`{wrapper}`' in text_of('weights')
    assert 'Pretrained' in text_of('weights')
    assert WEIGHT_INITIALIZERS.get('Pretrained').__module__.startswith('fusionreid.')


@pytest.mark.parametrize('dataset', [Market1501, DukeMTMCReID, MSMT17])
def test_datasets_names_all_folders(dataset: type) -> None:
    assert ', '.join(f'`{name}`' for name in dataset.FOLDER_NAMES) in text_of('datasets')


def test_models_names_all_ablations() -> None:
    table = text_of('models').partition('## Ablations')[2].partition('They are')[0]
    suffixes = re.findall(r'`([a-z][\w-]*)`', table.partition('|---')[2])
    assert len(suffixes) == 16
    assert {f'fusionreid_vitb_r50_msmt17_{suffix}' for suffix in suffixes} <= set(
        packaged_configs()
    )


def test_the_adapted_backbone_of_models_reads_its_sizes(tmp_path) -> None:
    (block,) = (each for each in blocks(DOCS / 'models.md') if '_base_ =' in each.text)
    path = tmp_path / 'config.py'
    path.write_text(resolve_base(block.text))
    init_default_scope('fusionreid')
    model = build_on_meta(Config.fromfile(path).model)
    assert model.branches['transformer'].backbone.grid == (16, 8)
    assert model.feature_widths['transformer'] == 384


def test_fusion_describes_every_model_and_option() -> None:
    for variant in ablate.VARIANTS:
        page = 'fusion' if variant in ablate.DEFAULT_VARIANTS else 'lighter'
        assert f'`{variant}`' in text_of(page)
    for option in vars(parse_command('ablate', [])):
        assert f'--{option.replace("_", "-")}' in text_of('fusion')


def test_the_config_of_fusion_can_be_ablated_and_rendered(tmp_path, monkeypatch) -> None:
    (block,) = (each for each in blocks(DOCS / 'fusion.md') if '_base_ =' in each.text)
    path = tmp_path / 'config.py'
    path.write_text(resolve_base(block.text))
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


def test_the_glossary_has_every_abbreviation_once() -> None:
    terms = re.findall(r'(?m)^## (.+)$', text_of('glossary'))
    assert len(terms) == len(set(terms))
    assert terms == sorted(terms, key=str.lower)
    for term in ('BNNeck', 'CMC', 'GeM', 'HTM', 'LRU', 'mAP', 'MFU', 'mINP', 'SEU', 'SIE'):
        assert any(term in each for each in terms)
