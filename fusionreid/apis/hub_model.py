"""A trained model on the Hugging Face hub, or in a folder as the hub has it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import (
    EvalResult,
    ModelCard,
    ModelCardData,
    PyTorchModelHubMixin,
    hf_hub_download,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors.torch import save as dump_safetensors
from torch import Tensor, nn

from fusionreid.checkpoints.weight_file import read_weight_file
from fusionreid.config import build_errors, build_untrusted, clean_config
from fusionreid.errors import ConfigError, WeightsError
from fusionreid.evaluation.feature_set import FeatureSet
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.evaluation.metrics.score_table import describe_protocol
from fusionreid.models import FusionReID
from fusionreid.registry import MODELS, TRANSFORMS
from fusionreid.utils.files import file_sha256, open_atomic

from .feature_extractor import FeatureExtractor, load_weights
from .hub_folder import CONFIG, FORMAT, WEIGHTS, check_hub_file, parse_hub_config, read_hub_config

CARD = 'README.md'
# Says which weights a card is of, so that one of others is replaced and a hand-made one is kept.
_CARD_OF = re.compile(r'<!-- card of the weights with sha256 ([0-9a-f]{64}) -->')
# What may stand in a model card: it is shown as a page.
_LINE, _NAME = re.compile(r'[^\n\r<>|`]+'), re.compile(r'[\w.\- ]+')
TEMPLATE = """---
{{ card_data }}
---

# {{ title }}

A person re-identification model of [FusionReID](https://arxiv.org/abs/2412.17239): photos of people
in, features out, whose distance says how alike two people are.

{{ introduction | default('', true) }}

```python
from huggingface_hub import snapshot_download
from fusionreid import ReIDInferencer

folder = snapshot_download({{ repo }})
inferencer = ReIDInferencer(pretrained=folder)
first, second = inferencer(['a.jpg', 'b.jpg'])
```

| | |
|---|---|
| features | {{ features }} |
| protocol | {{ protocol }} |
| parameters | {{ parameters }} |
| sha256 of `model.safetensors` | `{{ sha256 }}` |

## Scores

{{ scores }}

<!-- card of the weights with sha256 {{ sha256 }} -->
"""


@dataclass(frozen=True)
class Scores:
    """Scores of a model, with what a reader must know to compare them.

    Attributes:
        data_set: Name of the data set.
        protocol: What was scored and how, in one line.
        percent: mAP, CMC and mINP in percent, by feature and name.
    """

    data_set: str
    protocol: str
    percent: dict[str, dict[str, float]]

    def __post_init__(self) -> None:
        for text in (self.data_set, self.protocol):
            if not isinstance(text, str) or not _LINE.fullmatch(text):
                raise ConfigError(f'scores must name data set and protocol, got {text!r:.80}')
        if not isinstance(self.percent, dict) or not self.percent:
            raise ConfigError(f'scores must be given by feature, got {self.percent!r:.80}')
        for name, row in self.percent.items():
            if not isinstance(row, dict) or not row or not _NAME.fullmatch(name):
                raise ConfigError(f'scores of {name!r:.80} must be given by name, got {row!r:.80}')
            for key, value in row.items():
                if not _NAME.fullmatch(key) or type(value) not in (int, float) or value != value:
                    raise ConfigError(f'score {key!r:.80} of {name} must be a number: {value!r}')

    @classmethod
    def of(cls, feature_set: FeatureSet) -> Scores:
        """Score saved features, by the protocol of ``fusionreid test``.

        Args:
            feature_set: Features of a test set.

        Returns:
            The scores of all features together and of each one.
        """
        metric = ReIDMetric(prefix='reid')
        scores = metric.compute_metrics(feature_set)
        names = [*feature_set.names, *(['all'] if len(feature_set.names) > 1 else [])]
        headline = names[-1]
        percent: dict[str, dict[str, float]] = {name: {} for name in reversed(names)}
        for key, value in scores.items():
            feature, _, number = key.rpartition('.')
            percent[feature or headline][number] = round(value, 2)
        return cls(
            data_set=str(feature_set.protocol.get('dataset_name') or 'unnamed data set'),
            protocol=describe_protocol(feature_set, metric.remove_same_camera),
            percent=percent,
        )

    def table(self) -> str:
        """The scores as a table in Markdown, below their protocol."""
        columns = list(next(iter(self.percent.values())))
        lines = [f'| feature | {" | ".join(columns)} |', f'|---{"|---" * len(columns)}|']
        for name, row in self.percent.items():
            cells = (f'{row[column]:.2f}' if column in row else '' for column in columns)
            lines.append(f'| {name} | {" | ".join(cells)} |')
        return '\n'.join([f'In percent. {self.protocol}.', '', *lines])


class HubModel(
    nn.Module,
    PyTorchModelHubMixin,
    model_card_template=TEMPLATE,
    library_name='fusionreid',
    pipeline_tag='image-feature-extraction',
    tags=['person-re-identification'],
    paper_url='https://arxiv.org/abs/2412.17239',
):
    """A trained model with all that its use needs: config, test pipeline and scores.

    ``save_pretrained(folder)`` writes ``config.json``, ``model.safetensors`` and a model card,
    ``push_to_hub(repo_id)`` uploads them, :meth:`from_pretrained` reads them. The folder is also a
    ``pretrained`` of :class:`~fusionreid.apis.ReIDInferencer` and a checkpoint of all commands.

    Nothing in such a folder is trusted: of the config only registered models and transforms are
    built (:func:`~fusionreid.config.build_untrusted`), weights are read from safetensors alone, and
    no code is run.

    Args:
        model: Config of the model.
        test_pipeline: Configs of the transforms that make its input of a photo.
        scores: Fields of :class:`Scores`, if the model was scored.

    Raises:
        ConfigError: If the config names something else than registered parts, or the scores are
            none.
    """

    def __init__(
        self,
        model: dict[str, Any],
        test_pipeline: list[dict[str, Any]],
        scores: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        source = 'the config of the model'
        self.config = clean_config(model, MODELS, source)
        self.test_pipeline = [clean_config(step, TRANSFORMS, source) for step in test_pipeline]
        with build_errors():
            self.model = build_untrusted(self.config, MODELS, source)
        if not isinstance(self.model, FusionReID):
            raise ConfigError(f'{source} is of a {type(self.model).__name__}, not of a FusionReID')
        self.scores = None if scores is None else _read_scores(scores)
        self._sha256 = 'not saved'

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path,
        config: str | Path | None = None,
        features: str | Path | None = None,
    ) -> HubModel:
        """Take a model from a checkpoint of this project.

        Args:
            checkpoint: The checkpoint.
            config: Its config, which is run; None takes the one in the checkpoint.
            features: Folder of saved features of a test set (``fusionreid test --out``), made by
                this model; their scores go into the model card.

        Returns:
            The model, in evaluation mode.

        Raises:
            ConfigError: If there is no config, or the features are not those of this model.
            WeightsError: If the weights do not fit.
            ScoringError: If the features are damaged.
        """
        extractor = FeatureExtractor(checkpoint, config, fold=False)
        settings = extractor.settings
        scores = None
        if features is not None:
            feature_set = FeatureSet.load(features)
            made = (feature_set.protocol.get('feature_protocol'), dict(feature_set.widths))
            own = (extractor.model.protocol, dict(extractor.model.feature_widths))
            if made[0] != own[0] or not made[1].items() <= own[1].items():
                raise ConfigError(
                    f'{features} holds {made[1]} ({made[0]}), but the model of {checkpoint} gives '
                    f'{own[1]} ({own[0]}): extract them again (fusionreid test --out)'
                )
            scores = vars(Scores.of(feature_set))
        hub_model = cls(settings['model'], settings['test_pipeline'], scores)
        hub_model.model.load_state_dict(extractor.model.state_dict())
        return hub_model.eval()

    def forward(self, images: Tensor, camera_ids: Tensor | None = None) -> dict[str, Tensor]:
        """Compute features.

        Args:
            images: Images of shape ``(B, 3, H, W)`` as the test pipeline makes them; uint8 ones are
                normalized, others are taken as normalized.
            camera_ids: Cameras of shape ``(B,)``, -1 for unknown; None means all unknown.

        Returns:
            Features of shape ``(B, D)``, float32, by name.
        """
        if images.dtype == torch.uint8:
            images = self.model.data_preprocessor(dict(inputs=list(images)))['inputs']
        return self.model.scored_features(images, camera_ids)

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write weights and config; called by ``save_pretrained``, which adds the card."""
        state = {
            name: value.detach().to('cpu', copy=True).contiguous()
            for name, value in self.model.state_dict().items()
        }
        with open_atomic(save_directory / WEIGHTS) as file:
            file.write(dump_safetensors(state, metadata=dict(format='pt')))
        self._sha256 = file_sha256(save_directory / WEIGHTS)
        content = dict(
            format=FORMAT,
            model=self.config,
            test_pipeline=self.test_pipeline,
            sha256=self._sha256,
            **({} if self.scores is None else dict(scores=vars(self.scores))),
        )
        # Here, since the hub's own writer sorts the branches, whose order is that of the features.
        with open_atomic(save_directory / CONFIG) as file:
            file.write(json.dumps(content, indent=2).encode())
        card = save_directory / CARD
        found = _CARD_OF.search(card.read_text(encoding='utf-8')) if card.is_file() else None
        if found and found[1] != self._sha256:
            card.unlink()

    def generate_model_card(
        self,
        title: str = 'FusionReID',
        introduction: str = '',
        repo_id: str | None = None,
        license: str | None = None,
    ) -> ModelCard:
        """Make the model card; the arguments are the ``model_card_kwargs`` of ``save_pretrained``.

        Args:
            title: Heading.
            introduction: Text below it: what the model was trained on, and what it is not for.
            repo_id: Name on the hub, for the example.
            license: License of the weights, as the hub calls it.

        Returns:
            The card, with scores and their protocol.
        """
        info: dict[str, Any] = self._hub_mixin_info.model_card_data.to_dict()
        results = None if self.scores is None else self._results(self.scores)
        info.update(license=license)
        if results:
            info.update(model_name=title, eval_results=results)
        data = ModelCardData(**info)
        widths = ', '.join(f'`{name}` ({n})' for name, n in self.model.feature_widths.items())
        return ModelCard.from_template(
            data,
            template_str=TEMPLATE,
            title=title,
            introduction=introduction,
            repo=repr(repo_id or 'OWNER/NAME'),
            features=widths,
            protocol=self.model.protocol,
            parameters=f'{sum(value.numel() for value in self.model.parameters()):,}',
            sha256=self._sha256,
            scores=self.scores.table() if self.scores else 'This model has not been scored.',
        )

    @staticmethod
    def _results(scores: Scores) -> list[EvalResult]:
        headline, row = next(iter(scores.percent.items()))
        return [
            EvalResult(
                task_type='image-feature-extraction',
                task_name='Person re-identification',
                dataset_type=re.sub(r'\W+', '-', scores.data_set.lower()),
                dataset_name=scores.data_set,
                metric_type=name,
                metric_name=f'{name} of {headline}',
                metric_value=value,
                metric_config=scores.protocol,
            )
            for name, value in row.items()
        ]

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> HubModel:
        """Read a model from a folder, or download it from the hub.

        Args:
            pretrained_model_name_or_path: A folder, or ``owner/name`` on the hub.
            force_download: Download again.
            token: Token of the hub.
            cache_dir: Where downloads are kept.
            local_files_only: Take only what was downloaded before.
            revision: Branch, tag or commit on the hub. A commit is the only one that stays.

        Returns:
            The model, in evaluation mode.

        Raises:
            ConfigError: If the config is none, or names something else than registered parts.
            WeightsError: If the weights are not those of the config, do not fit, or cannot be
                downloaded.
        """
        source = str(pretrained_model_name_or_path)
        folder = Path(source)
        if not folder.is_dir():
            options: dict[str, Any] = dict(
                force_download=force_download,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                revision=revision,
            )
            for name in (CONFIG, WEIGHTS):
                folder = _download(source, name, options).parent
        config, weights = folder / CONFIG, folder / WEIGHTS
        check_hub_file(config)
        check_hub_file(weights)
        content = read_hub_config(weights) or parse_hub_config(config)
        hub_model = cls(content['model'], content['test_pipeline'], content.get('scores'))
        load_weights(hub_model.model, read_weight_file(weights), weights)
        return hub_model.eval()


def _download(repo_id: str, name: str, options: Mapping[str, Any]) -> Path:
    try:
        return Path(hf_hub_download(repo_id, name, **options))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = ' '.join(str(error).split()).partition('. ')[0]
        raise WeightsError(
            f'{repo_id}: there is no such folder, and {name} cannot be downloaded from the hub '
            f'({reason:.200}): give a folder with {CONFIG} and {WEIGHTS}'
        ) from error


def _read_scores(scores: Any) -> Scores:
    names = ('data_set', 'protocol', 'percent')
    if not isinstance(scores, dict) or set(scores) != set(names):
        raise ConfigError(f'scores must have {", ".join(names)}, got {scores!r:.80}')
    return Scores(**scores)
