"""A take's pictures and sound, from its code and a seed."""

import cv2
import numpy as np

from emotion_ray.data.ravdess import Code
from emotion_ray.sample.expressions import flush_in_time, movements_in_time, speech_in_time
from emotion_ray.sample.looks import FACE, HEIGHT, LEFT, SCALE, TOP, WIDTH, Look, look_of

VERSION = 4  # raise it with any change of a pixel or a sound
SAMPLE_RATE = 44100
MIN_FRAMES, MAX_FRAMES = 66, 75
_GRAIN_PLAY, _GRAIN_MEAN = 64, 8
_CENTRE = ((FACE[0] - LEFT) * SCALE, (FACE[1] - TOP) * SCALE)


def render_take(code: Code, seed: int = 0) -> np.ndarray:
    """The pictures of a take. The same code and seed give the same pixels; the modality makes no difference.

    Returns:
        uint8 [T, 360, 480, 3] RGB with T from 66 to 75, at 29.97 a second.
    """
    random = _generator(code, seed)
    frames = int(random.integers(MIN_FRAMES, MAX_FRAMES + 1))
    look = look_of(code.actor, seed)
    speech = speech_in_time(code, frames, random)
    weights = np.column_stack([movements_in_time(code, frames, random), speech])
    flush = flush_in_time(code, frames, seed)
    heads = _head_in_time(frames, random)
    light = random.uniform(0.92, 1.08) + 0.03 * _drift(frames, random)
    grain = _grain(random)

    pictures = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    for index in range(frames):
        skin = cv2.addWeighted(look.picture, 1, look.flushes[code.emotion], flush[index], 0, dtype=cv2.CV_8U)
        moved = cv2.remap(skin, _origins(look, weights[index]), None, cv2.INTER_LINEAR)
        placed = cv2.warpAffine(moved, heads[index], (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        top, left = random.integers(0, _GRAIN_PLAY, 2)
        noise = grain[top : top + HEIGHT, left : left + WIDTH]
        cv2.addWeighted(placed, light[index], noise, 1, -_GRAIN_MEAN, dst=pictures[index])
    return np.ascontiguousarray(pictures[:, :, ::-1]) if look.mirrored else pictures


def render_voice(code: Code, seed: int = 0) -> np.ndarray:
    """The sound of a take: a hum that swells with each syllable, float32 [N] in -1..1, at 44100 Hz."""
    random = _generator(code, seed)
    frames = int(random.integers(MIN_FRAMES, MAX_FRAMES + 1))
    open_mouth = speech_in_time(code, frames, random)
    seconds = np.arange(frames * SAMPLE_RATE * 1001 // 30000) / SAMPLE_RATE
    loudness = np.interp(seconds * 30000 / 1001, np.arange(frames), open_mouth)
    pitch = (120, 210)[code.actor % 2 == 0]  # Hz; even actors are women
    hum = sum(np.sin(2 * np.pi * pitch * harmonic * seconds) / harmonic for harmonic in (1, 2, 3))
    return (0.2 * loudness * hum).astype(np.float32)


def _generator(code: Code, seed: int) -> np.random.Generator:
    what = (code.emotion, code.intensity, code.statement, code.repetition)
    return np.random.default_rng([seed, code.actor, *what])


def _grain(random: np.random.Generator) -> np.ndarray:
    """uint8 [424, 544, 3]: the camera's noise about a mean of 8, larger than a picture, to be cut from anywhere."""
    noise = random.normal(_GRAIN_MEAN, 1.5, (HEIGHT + _GRAIN_PLAY, WIDTH + _GRAIN_PLAY))
    return np.repeat(np.clip(np.rint(noise), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _origins(look: Look, weights: np.ndarray) -> np.ndarray:
    """float32 [360, 480, 2]: where in the picture at rest each px comes from, all movements together."""
    origins = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).astype(np.float32)
    for field, weight in zip(look.fields, weights, strict=True):
        cv2.scaleAdd(field, -float(weight), origins, dst=origins)  # four times as fast as a product in numpy
    return origins


def _head_in_time(frames: int, random: np.random.Generator) -> np.ndarray:
    """float64 [frames, 2, 3]: how the head is placed in each frame, about its place at rest."""
    angle = random.uniform(-2, 2) + _drift(frames, random)  # degrees
    size = random.uniform(0.95, 1.08) + 0.015 * _drift(frames, random)
    right = random.normal(0, 8) + 4 * _drift(frames, random)
    down = random.normal(0, 5) + 3 * _drift(frames, random)
    heads = np.stack([cv2.getRotationMatrix2D(_CENTRE, a, s) for a, s in zip(angle, size, strict=True)])
    heads[:, :, 2] += np.stack([right, down], axis=-1)
    return heads


def _drift(frames: int, random: np.random.Generator) -> np.ndarray:
    """float64 [frames], about -1..1: a slow smooth wandering."""
    turn = np.arange(frames) / MAX_FRAMES * 2 * np.pi
    phases, parts = random.uniform(0, 2 * np.pi, 3), random.normal(0, 0.5, 3)
    return sum(part * np.sin(k * turn + phase) for k, part, phase in zip((0.7, 1.6, 2.7), parts, phases, strict=True))
