"""What a state dict of a whole FusionReID model tells, under the authors' names or ours."""

from __future__ import annotations

from torch import Tensor

from ..backbone_architecture import select
from ..backbone_inspection import Facts, describe_backbones, describe_or_complain
from ..public_keys import Rules, rename, reverse
from .architecture import CLASSIFIER, infer_neck
from .key_renaming import normalize_original_names, unused_original_weights
from .released_keys import fusion_rules


def describe_model(state: dict[str, Tensor]) -> Facts:
    """Describe a FusionReID model or a single branch of one.

    Args:
        state: State dict under the released names or ours.

    Returns:
        Facts as pairs of a title and a text: whose names they are, backbones, neck and identities;
        empty if less than half of the names are those of such a model.
    """
    is_t2t = any('tokens_to_token.' in name for name in state)
    rules = fusion_rules(is_t2t)
    released = normalize_original_names(state)
    unused = unused_original_weights(released)
    if _share(released, rules, unused) > 0.5:
        return [('model', "FusionReID, the authors' released names"), *_describe_parts(released)]
    if _share(state, reverse(rules), {}) > 0.5:
        renamed = {rename(name, reverse(rules)): value for name, value in state.items()}
        own = {
            name: value.unsqueeze(1) if name.endswith('.sie_embed') else value
            for name, value in renamed.items()
            if name is not None
        }
        return [('model', 'FusionReID, our names'), *_describe_parts(own)]
    return []


def _share(state: dict[str, Tensor], rules: Rules, aside: dict[str, Tensor]) -> float:
    known = sum(name in aside or rename(name, rules) is not None for name in state)
    return known / len(state)


def _describe_parts(state: dict[str, Tensor]) -> Facts:
    facts: Facts = []
    for title, prefix in (('CNN', 'resnet.base.'), ('transformer', 'transformer.base.')):
        inside = select(state, prefix)
        if inside:
            # Whose names they are was said of the whole model.
            texts = (text.partition(': ')[2] for _, text in describe_backbones(inside))
            facts.append((title, '; '.join(texts) or 'unknown'))
    if any(name.startswith('res_LRU.') for name in state):
        facts.append(('neck', describe_or_complain(_neck_text, state)))
    classifier = next((name for name in state if CLASSIFIER.fullmatch(name)), None)
    facts.append(('identities', str(len(state[classifier])) if classifier else 'no classifiers'))
    return facts


def _neck_text(state: dict[str, Tensor]) -> str:
    neck = infer_neck(state, any_heads=True)
    shared = ' and '.join(neck['shared']) or 'nothing'
    return (
        f'd = {neck["embed_dims"]}, L = {neck["num_layers"]}, units {" ".join(neck["units"])}, '
        f'{shared} shared' + ('' if neck['depthwise'] else ', LRU without depth-wise half')
    )
