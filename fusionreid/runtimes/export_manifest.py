"""What ``export.json`` says about an exported model, and whether its files are still the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fusionreid.errors import ExportError
from fusionreid.utils.files import write_durably
from fusionreid.utils.manifest import (
    FILES,
    read_manifest,
    record_files,
    recorded_size,
    seal,
    verify_files,
)
from fusionreid.utils.progress import report_bytes

MANIFEST = 'export.json'
FORMAT = 'fusionreid-export-1'
ADVICE = 'copy the exported model again from where it is whole, or export it again'
RAW_INPUTS = ('uint8', 'float')
LAYOUTS = ('fusionreid', 'boxmot')


@dataclass(frozen=True)
class ExportManifest:
    """What an exported model is, takes and gives.

    Attributes:
        model_format: ``'onnx'``, ``'openvino'``, ``'torchscript'``, ``'torch_export'`` or
            ``'tensorrt'``.
        model_file: Name of the file that a runtime opens.
        precision: ``'fp32'``, ``'fp16'``, ``'bf16'`` or ``'int8'``.
        layout: ``'fusionreid'``, or ``'boxmot'`` for the variant that boxmot loads.
        raw_input: ``'uint8'`` for pixels, ``'float'`` for images that are already normalized.
        input_size: Height and width of the images, in pixels.
        color_order: Order of the channels, ``'rgb'``.
        mean: What the graph, or for ``'float'`` the caller, subtracts per channel, in [0, 255].
        std: What it divides by.
        resize: ``interpolation`` and ``antialias`` of the test pipeline; None where it does not
            resize.
        pipeline: Configs of the transforms that the features were scored with.
        features: Widths of the features by name, in the order of the embedding.
        outputs: Names of the outputs: the embedding, then the features that have their own.
        cameras: Cameras of the input ``cameras``; 0 if there is no such input.
        spec: Fields of the :class:`~fusionreid.apis.FeatureSpec` of the embedding.
        versions: Versions of the packages that took part, and of the operator set.
        parity: How far the outputs are from those of PyTorch, see
            :class:`~fusionreid.export.parity.ParityReport`.
    """

    model_format: str
    model_file: str
    precision: str
    layout: str
    raw_input: str
    input_size: tuple[int, int]
    color_order: str
    mean: list[float]
    std: list[float]
    resize: dict[str, Any] | None
    pipeline: list[dict[str, Any]]
    features: dict[str, int]
    outputs: list[str]
    cameras: int
    spec: dict[str, Any]
    versions: dict[str, str]
    parity: dict[str, Any]

    @property
    def width(self) -> int:
        """Width D of the embedding."""
        return sum(self.features.values())

    @property
    def content(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return dict(format=FORMAT, **asdict(self))

    def write(self, folder: Path) -> None:
        """Write it beside the files of the model, with their checksums and its own.

        Args:
            folder: Where the files are, which all belong to the model.
        """
        (folder / MANIFEST).unlink(missing_ok=True)
        files = record_files(folder)
        write_durably(folder / MANIFEST, seal({**self.content, FILES: files}))


def read_export(folder: str | Path, verify: bool = True) -> ExportManifest:
    """Read what an exported model is.

    Args:
        folder: Its folder.
        verify: Whether every byte of its files is compared with their checksums, which comes
            before anything else reads them.

    Returns:
        What it is.

    Raises:
        ExportError: If there is no exported model, or it is damaged or was changed.
    """
    content = verify_export(Path(folder), verify)
    path = Path(folder) / MANIFEST
    try:
        given = {field.name: content[field.name] for field in fields(ExportManifest)}
    except KeyError as error:
        raise ExportError(f'{path} is damaged, it has no {error}: {ADVICE}') from error
    _check_types(given, path)
    given['input_size'] = tuple(given['input_size'])
    if given['model_file'] not in content[FILES]:
        raise ExportError(
            f'{path} is damaged, it names the model {given["model_file"]!r:.80}, which is none of '
            f'its files: {ADVICE}'
        )
    return ExportManifest(**given)


def verify_export(folder: Path, verify: bool = True) -> dict[str, Any]:
    """Compare an exported model with its checksums.

    Args:
        folder: Its folder.
        verify: Whether the files are compared.

    Returns:
        What ``export.json`` holds.

    Raises:
        ExportError: If there is no exported model, or it is damaged or was changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ExportError(f'{folder} is no exported model: {path} does not exist')
    try:
        manifest = read_manifest(path, FORMAT, ExportError, ADVICE, verify)
        total = recorded_size(manifest, path, ExportError)
        if verify:
            report = report_bytes(f'verifying {folder}', total)
            verify_files(folder, manifest, ExportError, ADVICE, report)
    except OSError as error:
        raise ExportError(f'{folder} cannot be read: {error}') from error
    return manifest


def _check_types(given: dict[str, Any], path: Path) -> None:
    """Refuse values that nothing but a change by hand can have made."""

    def is_whole(value: Any) -> bool:
        return type(value) is int and value >= 0

    def are(kind: type | tuple[type, ...], values: Any) -> bool:
        return isinstance(values, list) and all(isinstance(value, kind) for value in values)

    texts = ('model_format', 'model_file', 'precision', 'color_order')
    size, widths, resize = given['input_size'], given['features'], given['resize']
    fits = {
        **{name: isinstance(given[name], str) for name in texts},
        'layout': given['layout'] in LAYOUTS,
        'raw_input': given['raw_input'] in RAW_INPUTS,
        'input_size': are(int, size) and len(size) == 2 and min(size) > 0,
        'mean': are((int, float), given['mean']),
        'std': are((int, float), given['std']),
        'resize': resize is None or isinstance(resize, dict),
        'pipeline': are(dict, given['pipeline']),
        'features': isinstance(widths, dict)
        and len(widths) > 0
        and all(is_whole(width) for width in widths.values()),
        'outputs': are(str, given['outputs']) and len(given['outputs']) > 0,
        'cameras': is_whole(given['cameras']),
        'spec': isinstance(given['spec'], dict),
        'versions': isinstance(given['versions'], dict),
        'parity': isinstance(given['parity'], dict),
    }
    for name, is_right in fits.items():
        if not is_right:
            raise ExportError(f'{path} is damaged, {name} is {given[name]!r:.80}: {ADVICE}')
