"""From the folder of an exported model to what runs it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from fusionreid.config.part_arguments import describe_type, is_instance
from fusionreid.errors import ExportError, UserError
from fusionreid.registry import RUNTIMES

from .base import Runtime
from .export_manifest import MANIFEST, read_export
from .exported_model import ExportedModel

DEFAULTS = dict(
    onnx='onnxruntime',
    tensorrt='onnxruntime',
    openvino='openvino',
    torchscript='torch',
    torch_export='torch',
)


def is_export(path: str | Path | None) -> bool:
    """Whether a path is the folder of an exported model.

    Args:
        path: Any path.

    Returns:
        Whether there is an ``export.json`` in it.
    """
    return path is not None and (Path(path) / MANIFEST).is_file()


def runtime_names() -> list[str]:
    """The names of the runtimes that are registered.

    Example:
        >>> runtime_names()
        ['onnxruntime', 'openvino', 'torch']
    """
    RUNTIMES.import_from_location()
    return sorted(RUNTIMES.module_dict)


def open_export(
    folder: str | Path,
    runtime: str | dict[str, Any] | None = None,
    *,
    verify: bool = True,
    trusts_programs: bool = True,
) -> Runtime:
    """Load an exported model.

    Args:
        folder: Its folder.
        runtime: Name of a runtime, or its settings such as
            ``dict(type='openvino', threads=2, hint='throughput')``. None takes onnxruntime for
            ONNX, openvino for OpenVINO and torch for the rest.
        verify: Whether its files are compared with their checksums first.
        trusts_programs: Whether a file that is a program (TorchScript, torch.export) is loaded;
            False where the folder is named by a file, not by a person.

    Returns:
        The runtime, ready.

    Raises:
        ExportError: If there is no exported model, it is damaged, there is no such runtime, it is
            not installed, has no such setting or cannot run the format.
    """
    manifest = read_export(folder, verify)
    default = DEFAULTS.get(manifest.model_format)
    settings = dict(type=runtime) if runtime is None or isinstance(runtime, str) else dict(runtime)
    name = settings.pop('type', None) or default
    if name not in runtime_names():
        raise ExportError(
            f'runtime {name!r} is unknown, choose one of {", ".join(runtime_names())}'
        )
    kind: type[Runtime] = RUNTIMES.module_dict[name]
    if manifest.model_format not in kind.formats:
        raise ExportError(
            f'{folder} is in the format {manifest.model_format}, which the runtime {name} does not '
            f'run: it runs {", ".join(kind.formats)}'
        )
    if kind.runs_programs and not trusts_programs:
        raise ExportError(
            f'{folder} is a program ({manifest.model_format}), which a file may not choose: name '
            f'it yourself (--checkpoint {folder})'
        )
    hints = inspect.get_annotations(kind.__init__, eval_str=True)
    known = [name for name in hints if name not in ('folder', 'manifest', 'return')]
    for setting, value in settings.items():
        if setting not in known:
            raise ExportError(
                f'the runtime {name} has no setting {setting!r}, it has {", ".join(known)}'
            )
        if not is_instance(value, hints[setting]):
            raise ExportError(
                f'{setting} of the runtime {name} must be {describe_type(hints[setting])}, got '
                f'{value!r:.80}'
            )
    try:
        return kind(Path(folder), manifest, **settings)
    except UserError:
        raise
    except Exception as error:  # of a library that cannot load the file, each has kinds of its own
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ExportError(f'{folder} cannot be loaded by the runtime {name}: {reason}') from error


def open_exported(
    folder: str | Path,
    runtime: str | dict[str, Any] | None = None,
    device: str = 'cpu',
    trusts_programs: bool = True,
) -> ExportedModel:
    """Load an exported model in the form of the model that it was made from.

    Args:
        folder: Its folder.
        runtime: As for :func:`open_export`.
        device: Where it runs, unless the runtime's settings say it.
        trusts_programs: As for :func:`open_export`.

    Returns:
        The model.

    Raises:
        ExportError: As for :func:`open_export`.
    """
    settings = dict(runtime) if isinstance(runtime, dict) else dict(type=runtime)
    settings.setdefault('device', device)
    return ExportedModel(open_export(folder, settings, trusts_programs=trusts_programs))
