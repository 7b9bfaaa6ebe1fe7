"""Search in an inverted file of compressed features, by FAISS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.registry import SEARCH_ENGINES
from fusionreid.utils.files import save_tensors, sync, write_durably
from fusionreid.utils.optional import import_optional

from .exact import exact_nearest
from .feature_rows import BLOCK_ROWS
from .local import LocalEngine
from .refine import refine_rows

INDEX_FILE = 'ivfpq.faiss'
KEYS_FILE = 'ivfpq_keys.safetensors'
TRAINING_ROWS_PER_LIST = 40
# The values of a byte: FAISS needs a training row for each.
LEAST_TRAINING_ROWS = 256
# The index is trained anew when the gallery has grown by this factor since.
RETRAIN_GROWTH = 4


@SEARCH_ENGINES.register_module('faiss_ivfpq')
class FaissIVFPQEngine(LocalEngine):
    """Looks only into the nearest of many lists, at compressed features (Jegou et al., TPAMI 2011).

    FAISS's inverted file with product quantisation proposes candidates; their exact distances,
    from the features themselves, choose and order the answers. A small gallery, or the few items
    that a filter leaves, are searched exactly, as is a query for which the lists hold fewer than
    ``k`` items that pass.

    Args:
        lists: Inverted lists; None takes about twice the square root of the number of items.
        probes: Lists that are looked into for a query.
        code_bytes: Bytes of a compressed feature.
        refine: Candidates for each of the k answers.
        exact_below: Galleries and filtered choices up to so many items are searched exactly; at
            least 256, which training needs.

    Raises:
        GalleryError: If a value is too small, or FAISS is not installed.
    """

    name = 'faiss_ivfpq'

    def __init__(
        self,
        lists: int | None = None,
        probes: int = 32,
        code_bytes: int = 64,
        refine: int = 10,
        exact_below: int = 20_000,
    ) -> None:
        super().__init__()
        self.lists, self.probes, self.code_bytes = lists, probes, code_bytes
        self.refine, self.exact_below = refine, exact_below
        for name, value in self.settings.items():
            least = LEAST_TRAINING_ROWS if name == 'exact_below' else 1
            if name != 'type' and value is not None and value < least:
                raise GalleryError(f'{name} of {self.name} must be at least {least}, got {value}')
        self._faiss = import_optional(
            'faiss', 'faiss-cpu', f'the engine {self.name!r}', GalleryError
        )
        self._reset()

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again."""
        names = ('lists', 'probes', 'code_bytes', 'refine', 'exact_below')
        return dict(type=self.name, **{name: getattr(self, name) for name in names})

    def _reset(self) -> None:
        self._index: Any = None
        self._trained_on = 0
        # FAISS knows the first rows, under keys that ascend and are never used twice.
        self._keys = np.empty(0, dtype=np.int64)
        self._next_key = 0

    def open(self, width: int, label: str) -> None:
        """Begin an empty storage, without a trained index."""
        super().open(width, label)
        self._reset()

    def _keep(self, keep: np.ndarray) -> None:
        super()._keep(keep)
        known = keep[: len(self._keys)]
        if not known.all():
            self._index.remove_ids(self._keys[~known])
            self._keys = self._keys[known]

    def _nearest(self, queries: Tensor, k: int, mask: np.ndarray | None) -> tuple[Tensor, Tensor]:
        allowed = len(self) if mask is None else int(mask.sum())
        if allowed <= self.exact_below:
            return exact_nearest(self._rows.keys(len(self)), queries, k, mask)
        self._update_index()
        count = min(allowed, k * self.refine)
        selector = None
        if mask is not None:
            bits = np.zeros(self._next_key, dtype=bool)
            bits[self._keys[mask]] = True
            bits = np.packbits(bits, bitorder='little')
            selector = self._faiss.IDSelectorBitmap(bits)
        probes = min(self.probes, self._index.nlist)
        settings = self._faiss.SearchParametersIVF(nprobe=probes, sel=selector)
        _, keys = self._index.search(self._padded(queries), count, params=settings)
        candidates = np.where(keys < 0, -1, np.searchsorted(self._keys, keys))
        rows, distances = refine_rows(self.features, queries, torch.from_numpy(candidates), k)
        short = (rows[:, -1] < 0).nonzero().flatten()
        if len(short):
            gallery = self._rows.keys(len(self))
            rows[short], distances[short] = exact_nearest(gallery, queries[short], k, mask)
        return rows, distances

    def purge(self) -> list[str]:
        """Forget what was trained: a list may have a removed item for its center."""
        self._reset()
        return []

    def _padded(self, features: Tensor) -> np.ndarray:
        """Zeros at the end, so that the bytes of a code share the width evenly."""
        rest = -features.shape[1] % self._code_size
        return np.ascontiguousarray(torch.nn.functional.pad(features, (0, rest)).numpy())

    @property
    def _code_size(self) -> int:
        return min(self.code_bytes, self.width)

    def _update_index(self) -> None:
        """Bring FAISS up to date: train if need be, and add the rows that it does not know."""
        if len(self) >= RETRAIN_GROWTH * self._trained_on:
            self._train()
        for start in range(len(self._keys), len(self), BLOCK_ROWS):
            rows = self.features[start : start + BLOCK_ROWS]
            keys = np.arange(self._next_key, self._next_key + len(rows))
            self._index.add_with_ids(self._padded(rows), keys)
            self._keys = np.concatenate((self._keys, keys))
            self._next_key += len(rows)

    def _train(self) -> None:
        self._reset()
        faiss, count = self._faiss, len(self)
        lists = self.lists or 2 ** round(math.log2(2 * math.sqrt(count)))
        lists = min(lists, count)
        size = min(count, TRAINING_ROWS_PER_LIST * max(lists, LEAST_TRAINING_ROWS))
        rows = np.sort(np.random.default_rng(0).choice(count, size, replace=False))
        sample = self._padded(self.features[torch.from_numpy(rows)])
        width = sample.shape[1]
        index = faiss.IndexIVFPQ(faiss.IndexFlatL2(width), width, lists, self._code_size, 8)
        # Few rows make a poor index, not an error; FAISS would print a warning for each codebook.
        index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
        index.train(sample)
        self._index, self._trained_on = index, count

    def write(self, folder: Path) -> None:
        """Write FAISS's index and its keys beside features and items."""
        super().write(folder)
        if len(self) <= self.exact_below:
            return
        self._update_index()
        state = dict(keys=torch.from_numpy(self._keys), trained_on=torch.tensor([self._trained_on]))
        save_tensors(folder / KEYS_FILE, state)
        sync(folder / KEYS_FILE)
        # Not FAISS's own writing, which takes a file that the disk refused for a whole one.
        write_durably(folder / INDEX_FILE, self._faiss.serialize_index(self._index).data)

    def read(self, folder: Path, width: int, label: str) -> None:
        """Read FAISS's index too, where there is one."""
        super().read(folder, width, label)
        if not (folder / INDEX_FILE).exists():
            return
        try:
            index = self._faiss.read_index(str(folder / INDEX_FILE))
            state = load_file(folder / KEYS_FILE)
        except (RuntimeError, MemoryError, SafetensorError) as error:
            reason = ' '.join(str(error).split())
            raise GalleryError(f'{folder / INDEX_FILE} is damaged: {reason}') from error
        keys, trained_on = state.get('keys'), state.get('trained_on')
        if keys is None or keys.dtype != torch.int64 or keys.shape != (len(self),):
            raise GalleryError(f'{folder / KEYS_FILE} does not hold a key for each item')
        if trained_on is None or trained_on.shape != (1,) or trained_on.is_floating_point():
            raise GalleryError(f'{folder / KEYS_FILE} does not hold what FAISS was trained on')
        self._check_index(index, keys.numpy(), folder)
        self._index, self._keys = index, keys.numpy()
        self._next_key = int(keys[-1]) + 1
        self._trained_on = int(trained_on)

    def _check_index(self, index: Any, keys: np.ndarray, folder: Path) -> None:
        """Check that FAISS's index is one of these features, under exactly these keys."""
        path = folder / INDEX_FILE
        if not isinstance(index, self._faiss.IndexIVFPQ):
            raise GalleryError(f'{path} holds a {type(index).__name__}, expected an IndexIVFPQ')
        width = self._padded(self.features[:1]).shape[1]
        if index.d != width or index.ntotal != len(keys):
            raise GalleryError(
                f'{path} holds {index.ntotal} codes of width {index.d}, expected {len(keys)} of '
                f'width {width}'
            )
        if len(keys) == 0 or keys[0] < 0 or (np.diff(keys) <= 0).any():
            raise GalleryError(f'{folder / KEYS_FILE} holds keys that do not ascend')
        lists = index.invlists
        parts = [
            self._faiss.rev_swig_ptr(lists.get_ids(number), size)
            for number in range(index.nlist)
            if (size := lists.list_size(number))
        ]
        known = np.concatenate(parts) if parts else np.empty(0, np.int64)
        if not np.array_equal(np.sort(known), keys):
            raise GalleryError(
                f'{path} belongs to other items: its keys are not those of {KEYS_FILE}'
            )
