from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from fusionreid.datasets.samplers import PKSampler, SampleIndex, plan_pk_batches
from fusionreid.datasets.samplers import pk_sampler as module
from fusionreid.errors import ConfigError


class ListDataset:
    """Anything with a length and ``get_data_info``."""

    def __init__(self, persons, key='person_id'):
        self.persons, self.key = persons, key

    def __len__(self):
        return len(self.persons)

    def get_data_info(self, index):
        return {self.key: self.persons[index]}


PERSONS = [p for p, count in enumerate([9, 4, 3, 8, 5, 12, 4, 1, 6, 4]) for _ in range(count)]


def as_processes(monkeypatch, world, **kwargs) -> list[PKSampler]:
    """One sampler per process, as each of them would build it."""
    samplers = []
    for rank in range(world):
        monkeypatch.setattr(module, 'get_dist_info', lambda rank=rank: (rank, world))
        samplers.append(PKSampler(ListDataset(PERSONS), **kwargs))
    return samplers


@pytest.mark.parametrize('world', [1, 2, 3])
@pytest.mark.parametrize(('p', 'k'), [(2, 4), (3, 2), (2, 3)])
def test_every_batch_of_every_process_is_p_times_k(monkeypatch, world, p, k):
    samplers = as_processes(monkeypatch, world, ids_per_batch=p, instances_per_id=k, seed=5)
    batches = [np.array([int(i) for i in sampler]).reshape(-1, p, k) for sampler in samplers]
    assert len({len(of_rank) for of_rank in batches}) == 1
    assert len(batches[0]) > 0
    persons = np.array(PERSONS)
    for step in range(len(batches[0])):
        ids = [set(persons[group]) for of_rank in batches for group in of_rank[step]]
        assert all(len(group) == 1 for group in ids)
        assert len(set.union(*ids)) == p * world  # no identity twice in a step, over all processes
    for sampler, of_rank in zip(samplers, batches, strict=True):
        assert len(sampler) == of_rank.size


def test_no_image_twice_in_an_epoch_unless_its_identity_is_small(monkeypatch):
    samplers = as_processes(monkeypatch, 2, ids_per_batch=2, instances_per_id=4, seed=1)
    counts = Counter(int(i) for sampler in samplers for i in sampler)
    sizes = Counter(PERSONS)
    assert all(count == 1 for index, count in counts.items() if sizes[PERSONS[index]] >= 4)
    assert any(count > 1 for count in counts.values())  # the identity with one image


def test_epochs_differ_and_repeat(monkeypatch):
    (sampler,) = as_processes(monkeypatch, 1, ids_per_batch=2, instances_per_id=2, seed=1)
    first = [(int(i), i.augment_seed) for i in sampler]
    sampler.set_epoch(1)
    second = [(int(i), i.augment_seed) for i in sampler]
    sampler.set_epoch(0)
    assert first == [(int(i), i.augment_seed) for i in sampler]
    assert first != second
    assert len({seed for _, seed in first + second}) == len(first + second)


def test_goes_on_while_enough_identities_have_groups_left():
    groups = {0: range(8), 1: range(8, 12), 2: range(12, 16)}
    batches = plan_pk_batches(groups, 2, 4, np.random.default_rng(0))
    # Four groups of which two are of identity 0: between one batch (1 and 2 first) and two.
    assert batches.shape[1:] == (2, 4)
    assert 1 <= len(batches) <= 2
    many = [len(plan_pk_batches(groups, 2, 4, np.random.default_rng(seed))) for seed in range(50)]
    assert set(many) == {1, 2}


def test_too_many_processes_are_refused_with_the_numbers(monkeypatch):
    with pytest.raises(
        ValueError, match=r'4 identities per batch x 3 process.* need 12 identities.* has 10'
    ):
        as_processes(monkeypatch, 3, ids_per_batch=4, instances_per_id=2)


@pytest.mark.parametrize(('p', 'k'), [(0, 4), (2, 0), (1, 4), (4, 1)])
def test_p_and_k_must_be_positive(p, k):
    with pytest.raises(ValueError, match='must be at least 2'):
        PKSampler(ListDataset(PERSONS), ids_per_batch=p, instances_per_id=k)


def test_other_projects_name_their_identity_key():
    sampler = PKSampler(ListDataset(PERSONS, 'gt_label'), 2, 2, seed=0, id_key='gt_label')
    assert sampler.batch_size == 4
    assert len(sampler) % 4 == 0


def test_sample_index_is_an_int_that_survives_pickling():
    index = pickle.loads(pickle.dumps(SampleIndex(7, 123)))
    assert index == 7
    assert isinstance(index, int)
    assert index.augment_seed == 123
    assert [10, 20][SampleIndex(1)] == 20


@pytest.mark.parametrize(
    'ids', [[5, 5, 5, 2, 2, 7, 7, 7], torch.tensor([5, 5, 5, 2, 2, 7, 7, 7]), list('aaabbccc')]
)
def test_identities_are_given_for_a_data_set_that_does_not_tell(ids):
    sampler = PKSampler(range(8), 2, 2, seed=3, ids=ids)
    drawn = [ids[index] for index in sampler]
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
    told = PKSampler(dataset_of([dict(pid=each) for each in ids]), 2, 2, seed=3, id_key='pid')
    assert list(told) == list(sampler)


def dataset_of(items):
    class Items(list):
        def get_data_info(self, index):
            return self[index]

    return Items(items)


def test_items_without_one_identity_are_named():
    with pytest.raises(ConfigError, match='8 ids for a data set of 7 images'):
        PKSampler(range(7), 2, 2, ids=[0, 1] * 4)
    with pytest.raises(ConfigError, match=r'range has no get_data_info.*ids=\[...\]'):
        PKSampler(range(7), 2, 2)
    for label in ([0, 1], 0.5, None):
        with pytest.raises(ConfigError, match='gt_label must be one identity for each image'):
            PKSampler(dataset_of([dict(gt_label=label)] * 8), 2, 2, id_key='gt_label')
    with pytest.raises(ConfigError, match="have no 'who': set id_key of the sampler to one of pid"):
        PKSampler(dataset_of([dict(pid=0)]), 2, 2, id_key='who')
