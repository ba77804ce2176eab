"""A miniature RAVDESS, rendered from one public-domain portrait: to see everything run with no network.

It is synthetic: figures reached on it say that the code works, and nothing about faces.

- `takes`: which takes there are.
- `expressions`: which movement of the face shows which emotion, and when.
- `looks`: how the actors differ.
- `render`: a take's pictures and sound.
- `build`: encoded, in archives, with an index.
"""

from emotion_ray.sample.build import SampleIndex, build_sample
from emotion_ray.sample.render import render_take
from emotion_ray.sample.takes import SIZES, planned_takes

__all__ = ["SIZES", "SampleIndex", "build_sample", "planned_takes", "render_take"]
