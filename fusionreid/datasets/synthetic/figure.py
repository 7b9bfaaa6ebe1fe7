"""An articulated figure: from a person and a pose to body parts in space."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .identity import Identity

_GIRTH = 1.12  # the average build of a clothed person

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """How a figure stands.

    Args:
        phase: Phase of the walking cycle in radians.
        stride: Amplitude of the hip swing in radians; near 0 for a standing person.
        arms: swing, phone (one hand at the ear), strap (one hand at the chest) or pockets.
        lean: Forward lean of the trunk in radians.
    """

    phase: float
    stride: float
    arms: str
    lean: float


class Part(NamedTuple):
    """A body part: a tapered elliptical cylinder between two points.

    The frame is the body's: x to the side, y up from the ground, z to the front. Lengths are in
    meters.

    Args:
        cell: Cell of the texture atlas that it shows.
        start: Center of one end.
        end: Center of the other end.
        radii: Half width and half depth of the first end, then
            of the second.
        rows: Rows of the cell that the two ends show, 0 for the top and 1
            for the bottom.
        cap: How far both ends bulge, in radii.
        forward: Distance by which it is drawn before what it covers.
    """

    cell: str
    start: Point
    end: Point
    radii: tuple[float, float, float, float]
    rows: tuple[float, float]
    cap: float
    forward: float


class _Body:
    """Collects parts that are given in units of the body's height."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.girth = identity.width * _GIRTH
        self.parts: list[Part] = []

    def add(
        self,
        cell: str,
        start: Point,
        end: Point,
        radii: tuple[float, float] | tuple[float, float, float, float],
        rows: tuple[float, float] = (0.0, 1.0),
        cap: float = 1.0,
        forward: float = 0.0,
    ) -> None:
        """Add a part; two radii are those of a round part's ends."""
        if len(radii) == 2:
            radii = (radii[0], radii[0], radii[1], radii[1])
        h = self.identity.height
        width, depth, end_width, end_depth = radii
        scaled = (h * width, h * depth, h * end_width, h * end_depth)
        self.parts.append(
            Part(cell, _times(h, start), _times(h, end), scaled, rows, cap, h * forward)
        )


def _times(factor: float, point: Point) -> Point:
    x, y, z = point
    return factor * x, factor * y, factor * z


def _swing(angle: float, length: float) -> tuple[float, float]:
    """Step up (y) and forward (z) along a hanging limb that is swung forward by an angle."""
    return -length * float(np.cos(angle)), length * float(np.sin(angle))


def _add_legs(body: _Body, pose: Pose) -> float:
    """Add both legs and return the height of the hips above the ground."""
    identity, girth = body.identity, body.girth
    loose = {'trousers': 1.12, 'slim': 0.92}.get(identity.lower, 0.95)
    thigh, knee = 0.047 * girth**0.8 * loose, 0.033 * girth**0.5 * loose
    ankle = 0.027 if identity.lower == 'trousers' else 0.019
    if identity.boots:
        ankle = max(ankle, 0.025)
    steps = []
    for side, phase in ((-1.0, pose.phase), (1.0, pose.phase + np.pi)):
        hip_angle = pose.stride * np.cos(phase)
        # the knee bends while the leg swings forward
        shin_angle = hip_angle - pose.stride * (0.35 + 1.7 * max(0.0, -np.sin(phase)))
        steps.append((side, shin_angle, _swing(hip_angle, 0.245), _swing(shin_angle, 0.245)))
    hips = max(-(upper[0] + lower[0]) for *_, upper, lower in steps) + 0.035
    x = 0.044 * girth**0.6
    for side, shin_angle, upper, lower in steps:
        hip = (side * x, hips, 0.0)
        joint = (side * x * 0.95, hips + upper[0], upper[1])
        foot = (side * x * 0.9, joint[1] + lower[0], joint[2] + lower[1])
        body.add('leg', hip, joint, (thigh, knee), (0.06, 0.5))
        body.add('leg', joint, foot, (knee, ankle), (0.5, 0.97), cap=0.6)
        tilt = min(0.0, float(shin_angle)) * 0.9
        heel = (foot[0], foot[1] - 0.008, foot[2] - 0.02)
        toe_y, toe_z = heel[1] + 0.115 * np.sin(tilt), heel[2] + 0.115 * np.cos(tilt)
        body.add('shoe', heel, (foot[0] * 1.15, toe_y, toe_z), (0.027, 0.025, 0.024, 0.02))
    return hips


def _add_arms(body: _Body, pose: Pose, shoulder_y: float, shoulder_z: float) -> None:
    identity, girth = body.identity, body.girth
    thick = {'coat': 1.25, 'jacket': 1.2, 'hoodie': 1.2}.get(identity.upper, 1.0) * girth**0.6
    shoulder, elbow, wrist = 0.031 * thick, 0.026 * thick, 0.020 * thick
    x = 0.105 * girth**0.7
    for side, phase in ((-1.0, pose.phase), (1.0, pose.phase + np.pi)):
        # arms swing against the legs
        swing, bend = -0.8 * pose.stride * np.cos(phase), 0.25 + 0.3 * pose.stride
        spread, inward = 0.10 + 0.05 * girth, 0.0
        if pose.arms == 'pockets':
            swing, bend, spread, inward = -0.25, 0.7, 0.3, 0.25
        elif pose.arms == 'phone' and side > 0:
            swing, bend, spread, inward = 0.5, 2.2, 0.3, 0.15
        elif pose.arms == 'strap' and side > 0:
            swing, bend, spread, inward = 0.15, 1.7, 0.2, 0.6
        y, z = _swing(swing, 0.165)
        top = (side * x, shoulder_y - 0.9 * shoulder, shoulder_z)
        joint = (side * (x + 0.165 * spread), top[1] + y, top[2] + z)
        y, z = _swing(swing + bend, 0.15)
        end = (joint[0] + side * 0.15 * (0.1 - inward), joint[1] + y, joint[2] + z)
        fingers = tuple(b + 0.3 * (b - a) for a, b in zip(joint, end, strict=True))
        body.add('arm', top, joint, (shoulder, elbow), (0.04, 0.5))
        body.add('arm', joint, end, (elbow, wrist), (0.5, 0.98), cap=0.7)
        body.add('skin', end, fingers, (0.019, 0.019, 0.019, 0.015), cap=0.8)
        if identity.bag == 'handbag' and side < 0:
            grip = (fingers[0], fingers[1] - 0.02, fingers[2])
            bottom = (fingers[0], fingers[1] - 0.16, fingers[2])
            body.add('bag', grip, bottom, (0.035, 0.075, 0.05, 0.095), (0.1, 0.95), cap=0.2)


def _add_head(body: _Body, y: float, z: float) -> None:
    """Add neck, head, hair and hat around the middle of the head."""
    a, b = 0.046, 0.054
    body.add('skin', (0, y - 0.05, z - 0.01), (0, y - 0.09, z - 0.015), (0.028, 0.032), cap=0.3)
    body.add(
        'head', (0, y + 0.022, z), (0, y - 0.026, z), (a, b, a * 0.92, b * 0.95), (0.33, 0.70), 0.95
    )
    _add_hair(body, y, z)
    hat = body.identity.hat
    if hat == 'none':
        return
    rise = 0.068 if hat == 'beanie' else 0.058
    crown = (a * 0.92, b * 0.95, a * 1.10, b * 1.08)
    body.add(
        'hat', (0, y + rise, z - 0.006), (0, y + 0.034, z - 0.006), crown, (0.2, 0.8), cap=0.34
    )
    if hat == 'cap':
        peak = (0.040, 0.010, 0.036, 0.006)
        body.add(
            'hat', (0, y + 0.024, z + 0.035), (0, y + 0.014, z + 0.085), peak, (0.7, 0.8), cap=0.3
        )
    elif hat == 'brim':
        disc = (0.082, 0.086, 0.088, 0.092)
        body.add('hat', (0, y + 0.026, z), (0, y + 0.018, z), disc, (0.1, 0.4), cap=0.05)


def _add_hair(body: _Body, y: float, z: float) -> None:
    """Add the hair that does not lie flat on the head."""
    style, back = body.identity.hair_style, z - 0.022
    if style == 'afro':
        volume = (0.068, 0.062, 0.070, 0.052)
        body.add('hair', (0, y + 0.035, z - 0.015), (0, y + 0.005, z - 0.025), volume, cap=0.9)
    elif style == 'bob':
        volume = (0.050, 0.042, 0.056, 0.040)
        body.add('hair', (0, y + 0.02, back), (0, y - 0.055, back), volume, cap=0.4)
    elif style == 'long':
        volume = (0.049, 0.040, 0.062, 0.028)
        body.add(
            'hair',
            (0, y + 0.01, back),
            (0, y - 0.15, back - 0.058 - 0.05 * max(0.0, body.girth - 1.12)),
            volume,
            cap=0.4,
        )
    elif style == 'ponytail':
        volume = (0.024, 0.022, 0.014, 0.014)
        body.add('hair', (0, y + 0.035, back - 0.035), (0, y - 0.10, back - 0.065), volume, cap=0.8)
    elif style == 'bun':
        body.add('hair', (0, y + 0.058, back - 0.026), (0, y + 0.072, back - 0.034), (0.036, 0.034))


def place_parts(identity: Identity, pose: Pose) -> list[Part]:
    """Place a person's body parts and belongings.

    Args:
        identity: The person.
        pose: The pose.

    Returns:
        Parts in the body's frame; the ground is at y = 0, the hips above the origin.
    """
    body = _Body(identity)
    girth, upper, lower = body.girth, identity.upper, identity.lower
    hips = _add_legs(body, pose)

    def spine(y: float, z: float = 0.0) -> Point:
        return 0.0, hips + y, z + y * float(np.sin(pose.lean))

    bulk = {'coat': 1.10, 'jacket': 1.08, 'hoodie': 1.08}.get(upper, 1.0)
    deep = 0.62 if girth < 1.23 else 0.72
    chest, waist, seat = 0.100 * girth**0.75 * bulk, 0.078 * girth * bulk, 0.092 * girth**0.85
    if upper in ('coat', 'hoodie', 'jacket'):
        waist = 0.5 * (waist + chest)
    neck, shoulders, middle = 0.328, 0.292, 0.130
    hem = -0.065 if upper in ('hoodie', 'jacket') else -0.035

    radii = (0.045, 0.035, chest, chest * deep * 0.8)
    body.add('torso', spine(neck), spine(shoulders), radii, (0.0, 0.07), cap=0.2)
    radii = (chest * 1.02, chest * deep * 0.85, waist, waist * deep)
    body.add('torso', spine(shoulders), spine(middle), radii, (0.06, 0.58), cap=0.05)
    # what hangs over the hips stays in front of the thighs
    radii = (waist, waist * deep, seat, seat * 0.80)
    body.add('torso', spine(middle), spine(hem), radii, (0.58, 1.0), cap=0.05, forward=0.017)
    radii = (seat * 0.95, seat * 0.70, seat * 0.9, seat * 0.70)
    body.add('leg', spine(0.0), spine(-0.055), radii, (0.02, 0.08), cap=0.35)
    hang = {'coat': 0.24, 'dress': 0.235}.get(upper, {'skirt': 0.20, 'long_skirt': 0.40}.get(lower))
    if hang:
        flare = 1.12 if upper == 'coat' or lower == 'long_skirt' else 1.28
        reach = float(np.sin(pose.stride)) * hang * 0.8 + 0.02
        radii = (seat * 1.03, seat * 0.80, seat * flare, seat * 0.8 + reach)
        body.add('skirt', spine(0.01), (0, hips - hang, 0), radii, cap=0.03, forward=0.017)
    _add_arms(body, pose, *spine(shoulders - 0.004)[1:])
    _add_head(body, *spine(neck + 0.097, 0.012)[1:])

    if upper == 'hoodie':
        start, end = spine(neck + 0.012, -0.035), spine(neck - 0.038, -0.055)
        body.add('torso', start, end, (0.052, 0.045, 0.06, 0.035), (0.1, 0.2), cap=0.6)
    if identity.bag == 'backpack':
        behind = -chest * deep - 0.045
        start, end = spine(shoulders + 0.003, behind), spine(0.07, behind - 0.012)
        body.add('bag', start, end, (0.070, 0.05, 0.085, 0.065), (0.05, 0.95), cap=0.35)
    elif identity.bag == 'shoulder':
        x, (_, y, z) = -seat - 0.02, spine(0.0, -0.01)
        radii = (0.035, 0.075, 0.04, 0.08)
        body.add('bag', (x, y + 0.05, z), (x, y - 0.055, z), radii, (0.1, 0.95), cap=0.2)
    return body.parts
