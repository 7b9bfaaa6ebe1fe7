"""Adds to the site what is not written in docs/: the API reference and the files of the root."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'fusionreid'
# Pages by the file of the root that they show.
ROOT_PAGES = {
    'CONTRIBUTING.md': 'contributing.md',
    'CHANGELOG.md': 'changelog.md',
}
# The command line is described by its own help.
NOT_SHOWN = ('cli',)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages at the end of the navigation."""
    reference = next(entry['Reference'] for entry in config.nav if 'Reference' in entry)
    reference += ROOT_PAGES.values()
    api: list = ['api/index.md']
    api += [{f'fusionreid.{subpackage}': f'api/{subpackage}.md'} for subpackage in subpackages()]
    config.nav.append({'API': api})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {'api/index.md': api_index()}
    pages |= {f'api/{subpackage}.md': subpackage_page(subpackage) for subpackage in subpackages()}
    pages |= {page: read_root_page(name) for name, page in ROOT_PAGES.items()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def read_root_page(name: str) -> str:
    """Read a file of the root, with links as they are from docs/."""
    text = (ROOT / name).read_text(encoding='utf-8')
    for other, page in ROOT_PAGES.items():
        text = text.replace(f']({other}', f']({page}')
    return re.sub(r'\]\(docs/', '](', text)


def subpackages() -> list[str]:
    """Names of the packages and modules right below ``fusionreid``."""
    names = [path.stem for path in PACKAGE.glob('[!_]*.py')]
    names += [path.parent.name for path in PACKAGE.glob('*/__init__.py')]
    return sorted(name for name in names if name not in NOT_SHOWN)


def modules(subpackage: str) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the documented modules of a subpackage; packages come first."""
    paths = [PACKAGE / f'{subpackage}.py'] if (PACKAGE / f'{subpackage}.py').exists() else []
    for path in [*paths, *sorted((PACKAGE / subpackage).rglob('*.py'), key=sort_key)]:
        parts = path.relative_to(ROOT).with_suffix('').parts
        name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
        if documented(path) and not any(part.startswith('_') for part in name.split('.')):
            yield name, path


def sort_key(path: Path) -> tuple:
    """Modules of a package before its packages."""
    parts = path.relative_to(PACKAGE).parts
    return tuple((index < len(parts) - 1, part) for index, part in enumerate(parts))


def documented(path: Path) -> bool:
    """Whether a module has a docstring, or something to show."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    return bool(ast.get_docstring(tree) or members(path))


def members(path: Path) -> list[str]:
    """Public classes and functions that a module defines and documents."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    kinds = (ast.ClassDef, ast.FunctionDef)
    public = [node for node in tree.body if isinstance(node, kinds) and node.name[0] != '_']
    return [node.name for node in public if ast.get_docstring(node)]


def exported(subpackage: str) -> list[str]:
    """Names that a subpackage exports."""
    init = PACKAGE / subpackage / '__init__.py'
    if not init.exists():
        return []
    for node in ast.parse(init.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
            return ast.literal_eval(node.value)
    return []


def subpackage_page(subpackage: str) -> str:
    """Page of a subpackage: what it exports, then its modules."""
    lines = [f'# fusionreid.{subpackage}', '']
    if names := exported(subpackage):
        shown = ', '.join(f'`{name}`' for name in names)
        lines += [f'`from fusionreid.{subpackage} import ...` gives {shown}.', '']
    for name, path in modules(subpackage):
        lines += [f'## `{name}`', '', f'::: {name}', '    options:']
        lines += [f'      members: {members(path) or "false"}', '']
    return '\n'.join(lines)


def api_index() -> str:
    """Page that lists the subpackages with their modules."""
    lines = ['# API', '', 'Made from the docstrings, a page for each subpackage.', '']
    lines += ['| subpackage | modules |', '|---|---|']
    for subpackage in subpackages():
        prefix = f'fusionreid.{subpackage}.'
        names = [
            name.removeprefix(prefix) for name, _ in modules(subpackage) if name.startswith(prefix)
        ]
        shown = ', '.join(f'`{name}`' for name in names)
        lines.append(f'| [`fusionreid.{subpackage}`]({subpackage}.md) | {shown} |')
    return '\n'.join(lines) + '\n'
