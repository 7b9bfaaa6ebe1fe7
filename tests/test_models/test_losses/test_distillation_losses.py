"""Losses between a student and its teacher, against loops, and what they do not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.models.losses import (
    FeatureLoss,
    LogitLoss,
    RelationalLoss,
    SimilarityLoss,
    angle_loss,
    distance_loss,
    feature_loss,
    logit_loss,
    similarity_loss,
)


def huber(difference: float) -> float:
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def unit_rows(features: Tensor) -> list[list[float]]:
    return [[x / math.hypot(*row) for x in row] for row in features.tolist()]


def naive_distance(student: Tensor, teacher: Tensor) -> float:
    pairs = [(i, k) for i in range(len(student)) for k in range(len(student)) if i != k]
    distances = []
    for rows in (unit_rows(student), unit_rows(teacher)):
        each = [math.dist(rows[i], rows[k]) for i, k in pairs]
        distances.append([d / (sum(each) / len(each)) for d in each])
    return sum(huber(a - b) for a, b in zip(*distances, strict=True)) / len(pairs)


def naive_angle(student: Tensor, teacher: Tensor) -> float:
    numbers, losses = range(len(student)), []

    def cosine(rows: list[list[float]], i: int, j: int, k: int) -> float:
        first = [a - b for a, b in zip(rows[i], rows[j], strict=True)]
        second = [a - b for a, b in zip(rows[k], rows[j], strict=True)]
        product = sum(a * b for a, b in zip(first, second, strict=True))
        return product / (math.hypot(*first) * math.hypot(*second))

    for i in numbers:
        for j in numbers:
            for k in numbers:
                if len({i, j, k}) == 3:
                    own, other = (cosine(unit_rows(each), i, j, k) for each in (student, teacher))
                    losses.append(huber(own - other))
    return sum(losses) / len(losses)


def naive_similarity(student: Tensor, teacher: Tensor) -> float:
    products = []
    for features in (student.tolist(), teacher.tolist()):
        table = [
            [sum(x * y for x, y in zip(a, b, strict=True)) for b in features] for a in features
        ]
        products.append([x / math.hypot(*row) for row in table for x in row])
    return sum((a - b) ** 2 for a, b in zip(*products, strict=True)) / len(products[0])


def naive_logit(student: Tensor, teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for own, other in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = ([math.exp(x / temperature) for x in row] for row in (other, own))
        p, q = ([x / sum(row) for x in row] for row in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_against_loops(dtype):
    student, teacher = torch.randn(6, 5).to(dtype), torch.randn(6, 9)
    for loss, naive in (
        (distance_loss, naive_distance),
        (angle_loss, naive_angle),
        (similarity_loss, naive_similarity),
    ):
        value = loss(student, teacher.to(torch.promote_types(dtype, torch.float32)))
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        assert value.item() == pytest.approx(naive(student, teacher), rel=1e-4)
    scores = torch.randn(6, 9).to(dtype)
    assert logit_loss(scores, teacher, 3.0).item() == pytest.approx(
        naive_logit(scores, teacher, 3.0), rel=1e-4
    )
    cosines = [
        sum(a * b for a, b in zip(*rows, strict=True))
        for rows in zip(unit_rows(scores), unit_rows(teacher), strict=True)
    ]
    assert feature_loss(scores, teacher).item() == pytest.approx(1 - sum(cosines) / 6, rel=1e-4)
    squares = [(a - b) ** 2 for a, b in zip(scores.flatten(), teacher.flatten(), strict=True)]
    assert feature_loss(scores, teacher, 'mse').item() == pytest.approx(
        float(sum(squares)) / len(squares), rel=1e-4
    )


@pytest.mark.parametrize('loss', [distance_loss, angle_loss, similarity_loss])
def test_relations_do_not_depend_on_the_coordinates(loss):
    """Rotated, mirrored and padded features have the same relations."""
    student, teacher = torch.randn(7, 5).double(), torch.randn(7, 9).double()
    rotation, _ = torch.linalg.qr(torch.randn(5, 5).double())
    expected = loss(student, teacher)
    assert expected > 1e-3
    torch.testing.assert_close(loss(student @ rotation, teacher), expected)
    torch.testing.assert_close(loss(F.pad(student, (0, 3)), 5 * teacher), expected)
    order = torch.randperm(7)
    torch.testing.assert_close(loss(student[order], teacher[order]), expected)
    assert loss(teacher @ torch.linalg.qr(torch.randn(9, 9).double())[0], teacher) < 1e-12


@pytest.mark.parametrize(
    ('build', 'width'),
    [
        (RelationalLoss, 5),
        (SimilarityLoss, 5),
        (lambda: FeatureLoss(5, 9), 5),
        (lambda: FeatureLoss(5, 9, 'mse'), 5),
        (LogitLoss, 9),
    ],
)
def test_following_the_gradient_brings_the_student_to_the_teacher(build, width):
    torch.manual_seed(0)
    loss, teacher = build(), torch.randn(8, 9)
    student = nn.Parameter(torch.randn(8, width))
    first = loss(student, teacher).item()
    optimizer = torch.optim.Adam([student, *loss.parameters()], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert loss(student, teacher).item() < first / 2


@pytest.mark.parametrize('loss', [distance_loss, angle_loss, similarity_loss])
@pytest.mark.parametrize('count', [1, 2, 3])
def test_small_batches_and_equal_images_have_finite_gradients(loss, count):
    student = torch.ones(count, 5, requires_grad=True)  # all the same point
    value = loss(student, torch.ones(count, 9))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(student.grad).all()
    # One image twice, as a sampler draws them for a person who has few.
    student = torch.randn(3, 5)[[0, 0, 1]].requires_grad_()
    loss(student, torch.randn(3, 9)[[0, 0, 1]]).backward()
    assert torch.isfinite(student.grad).all()


def test_weights_of_the_parts_and_of_the_whole():
    student, teacher = torch.randn(6, 5), torch.randn(6, 9)
    both = RelationalLoss(distance_weight=3.0, angle_weight=0.5, loss_weight=2.0)(student, teacher)
    expected = 2 * (3 * distance_loss(student, teacher) + 0.5 * angle_loss(student, teacher))
    torch.testing.assert_close(both, expected)
    torch.testing.assert_close(
        LogitLoss(loss_weight=0.5)(teacher, -teacher), logit_loss(teacher, -teacher) / 2
    )


def test_impossible_settings():
    with pytest.raises(ValueError, match="'cosine' or 'mse', got 'l1'"):
        FeatureLoss(5, 9, 'l1')
    with pytest.raises(ValueError, match='above 0, got 0'):
        LogitLoss(temperature=0)
