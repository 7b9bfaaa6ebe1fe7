"""Child registries of MMEngine's, with scope ``fusionreid``.

Each one imports the package folders named in its ``locations`` the first time something is looked
up in it, so ``custom_imports=dict(imports=['fusionreid'])`` or ``default_scope='fusionreid'`` is
all that a config needs.
"""

from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

SCOPE = 'fusionreid'
# The packages whose configs MMEngine finds by 'PACKAGE::FOLDER/NAME.py'.
MODULE2PACKAGE.setdefault(SCOPE, SCOPE)


class PartRegistry(Registry):
    """A registry that shows its parts before the first lookup, too."""

    @property
    def module_dict(self) -> dict[str, Any]:
        """Parts by name; they are imported."""
        self.import_from_location()
        return super().module_dict

    def __repr__(self) -> str:
        self.import_from_location()
        return super().__repr__()


def _child_of(parent: Registry, *locations: str) -> Registry:
    # Where none is named, MMEngine would import all parts at the first lookup.
    found = list(locations) or [__name__]
    return PartRegistry(parent.name, parent=parent, scope=SCOPE, locations=found)


DATASETS = _child_of(mmengine_registry.DATASETS, 'fusionreid.datasets')
DATA_SAMPLERS = _child_of(mmengine_registry.DATA_SAMPLERS, 'fusionreid.datasets.samplers')
TRANSFORMS = _child_of(mmengine_registry.TRANSFORMS, 'fusionreid.datasets.transforms')
# Whoever uses a model or a hook of ours also loads checkpoints, by the reader that is registered in
# fusionreid.checkpoints.
MODELS = _child_of(mmengine_registry.MODELS, 'fusionreid.models', 'fusionreid.checkpoints')
LOOPS = _child_of(mmengine_registry.LOOPS, 'fusionreid.engine.loops')
LOG_PROCESSORS = _child_of(mmengine_registry.LOG_PROCESSORS, 'fusionreid.engine.log_processors')
METRICS = _child_of(mmengine_registry.METRICS, 'fusionreid.evaluation.metrics')
HOOKS = _child_of(mmengine_registry.HOOKS, 'fusionreid.engine.hooks', 'fusionreid.checkpoints')
OPTIM_WRAPPERS = _child_of(mmengine_registry.OPTIM_WRAPPERS, 'fusionreid.engine.optimizers')
OPTIM_WRAPPER_CONSTRUCTORS = _child_of(
    mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS, 'fusionreid.engine.optimizers'
)
PARAM_SCHEDULERS = _child_of(mmengine_registry.PARAM_SCHEDULERS, 'fusionreid.engine.schedulers')
WEIGHT_INITIALIZERS = _child_of(mmengine_registry.WEIGHT_INITIALIZERS, 'fusionreid.checkpoints')

RUNTIMES = PartRegistry('runtime', scope=SCOPE, locations=['fusionreid.runtimes'])
SEARCH_ENGINES = PartRegistry(
    'search engine', scope=SCOPE, locations=['fusionreid.gallery.engines']
)

# Nothing of ours is in the ones below; without them mmengine warns at every lookup.
EVALUATOR = _child_of(mmengine_registry.EVALUATOR)
FUNCTIONS = _child_of(mmengine_registry.FUNCTIONS)
MODEL_WRAPPERS = _child_of(mmengine_registry.MODEL_WRAPPERS)
OPTIMIZERS = _child_of(mmengine_registry.OPTIMIZERS)
VISBACKENDS = _child_of(mmengine_registry.VISBACKENDS)
VISUALIZERS = _child_of(mmengine_registry.VISUALIZERS)
