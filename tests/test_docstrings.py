"""Docstrings name the parameters that the code has, all of them and in their order.

The functions that every command has are described once, by the class ``Command``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any

import docstring_parser
import pytest

import fusionreid
from fusionreid.cli.commands import COMMANDS, Command

MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(fusionreid.__path__, 'fusionreid.')
    if not name.endswith('.__main__')  # runs when it is imported
)
# From how many parameters on a docstring must describe each of them.
LEAST = 2
# Functions of a command and their parameters, as the list in the docstring of its class has them.
CONTRACT = {
    name: parameters.split(', ')
    for name, parameters in re.findall(r'^ *- ``(\w+)\((.*?)\)``', Command.__doc__, re.MULTILINE)
}
COMMAND_MODULES = {command.load().__name__ for command in COMMANDS.values()}
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def documented(text: str | None) -> list[str]:
    """Names in the sections Args and Attributes of a docstring, in their order."""
    parsed = docstring_parser.parse(text or '', docstring_parser.DocstringStyle.GOOGLE)
    return [parameter.arg_name.lstrip('*\\') for parameter in parsed.params]


def problem(text: str | None, signature: inspect.Signature, least: int = LEAST) -> str | None:
    """Say how a docstring differs from a signature; ``*args`` and ``**kwargs`` may be left out."""
    parameters = signature.parameters.values()
    every = [parameter.name for parameter in parameters]
    optional = {parameter.name for parameter in parameters if parameter.kind in VARIADIC}
    named = documented(text)
    wanted = [name for name in every if name in named or name not in optional]
    if not named and len(wanted) < least:
        return None
    return None if named == wanted else f'documents {named}, has {wanted}'


def without_first(function: Callable[..., Any]) -> inspect.Signature:
    """Signature of a method without ``self`` or ``cls``."""
    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def inherits_documentation(cls: type, name: str) -> bool:
    """Whether a base class describes the parameters of a method that a class overrides."""
    return any(
        documented(getattr(vars(base).get(name), '__doc__', None)) for base in cls.__mro__[1:]
    )


def class_problem(cls: type) -> str | None:
    """Say how the docstring of a class differs from its constructor, its own or a generated one."""
    if is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, '_fields')):
        # One value is described as well by the sentence about the class.
        return problem(cls.__doc__, inspect.signature(cls))
    for name in ('__init__', '__new__'):
        if name in vars(cls):
            return problem(cls.__doc__, without_first(vars(cls)[name]), least=1)
    # The constructor of a base class, some of whose arguments may be described again.
    return None


def method_problems(cls: type) -> Iterator[tuple[str, str | None]]:
    """Yield the public methods that a class itself defines."""
    for name, member in vars(cls).items():
        if name.startswith('_') and name != '__call__':
            continue
        function = getattr(member, '__func__', member)  # of a class or static method
        if not inspect.isfunction(function):
            continue
        is_static = isinstance(member, staticmethod)
        signature = inspect.signature(function) if is_static else without_first(function)
        least = len(signature.parameters) + 1 if inherits_documentation(cls, name) else LEAST
        yield f'{cls.__qualname__}.{name}', problem(function.__doc__, signature, least)


def contract_problem(name: str, signature: inspect.Signature) -> str | None:
    """Say how a function of a command differs from what the class of commands describes."""
    has = list(signature.parameters)
    return None if has == CONTRACT[name] else f'has {has}, a command {CONTRACT[name]}'


def problems(module: ModuleType) -> dict[str, str]:
    """Problems of everything public that a module itself defines, by name."""
    found: dict[str, str | None] = {}
    for name, thing in vars(module).items():
        if name.startswith('_') or getattr(thing, '__module__', None) != module.__name__:
            continue
        if inspect.isclass(thing):
            found[name] = class_problem(thing)
            found.update(method_problems(thing))
        elif inspect.isfunction(inspect.unwrap(thing)):
            signature = inspect.signature(thing)
            if module.__name__ in COMMAND_MODULES and name in CONTRACT:
                found[name] = contract_problem(name, signature)
            else:
                found[name] = problem(thing.__doc__, signature)
    return {name: text for name, text in found.items() if text}


@pytest.mark.parametrize('name', MODULES)
def test_docstrings_name_the_parameters(name):
    assert problems(importlib.import_module(name)) == {}


def test_the_class_of_commands_describes_their_functions():
    assert set(CONTRACT) == {'add_arguments', 'check_arguments', 'run'}
    for command in COMMANDS.values():
        module = command.load()
        assert module.__doc__
        for name in CONTRACT:
            # Checks are optional.
            assert getattr(module, name, None) or name == 'check_arguments', command


def test_a_function_of_a_command_has_the_described_parameters():
    def run(args, parser): ...

    def check_arguments(args, parser): ...

    assert contract_problem('check_arguments', inspect.signature(check_arguments)) is None
    assert (
        contract_problem('run', inspect.signature(run))
        == "has ['args', 'parser'], a command ['args']"
    )


def one(first: int) -> None:
    """Do without a section: the sentence describes the only parameter."""


def two(first: int, second: int) -> None:
    """Do without a section, which two parameters need."""


def swapped(first: int, second: int) -> None:
    """Do something.

    Args:
        second: One that comes later.
        first: One that comes first.
    """


def stale(first: int, *others: int, **options: int) -> None:
    """Do something.

    Args:
        first: One that is there, with a note: and a colon.
        second: One that was there once.
        **options: Two kinds of further arguments, of which one is left out.

    Returns:
        first: Nothing.
    """


def whole(first: int, *others: int, **options: int) -> None:
    """Do something.

    Args:
        first: One that is there.
        **options: Further ones.

    Example:
        >>> whole(1)
    """


@pytest.mark.parametrize(
    ('function', 'text'),
    [
        (one, None),
        (two, "documents [], has ['first', 'second']"),
        (swapped, "documents ['second', 'first'], has ['first', 'second']"),
        (stale, "documents ['first', 'second', 'options'], has ['first', 'options']"),
        (whole, None),
    ],
)
def test_what_counts_as_a_problem(function, text):
    assert problem(function.__doc__, inspect.signature(function)) == text
