"""A short video with a sound, in any container and sound codec."""

import io
from fractions import Fraction

import av
import numpy as np

RATE = Fraction(25)


def sounding_video(
    container: str = "mp4",
    codec: str = "aac",
    frames: int = 25,
    height: int = 48,
    width: int = 64,
    hz: int = 48000,
    channels: int = 1,
    late_s: float = 0.0,
) -> bytes:
    """Grey pictures that become brighter, and a tone of 440 Hz as long.

    Args:
        late_s: by how much the pictures begin after the sound, in seconds.
    """
    file = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(file, "w", format={"mkv": "matroska"}.get(container, container)) as target:
        pictures = target.add_stream("mpeg4" if container == "avi" else "libx264", rate=RATE)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        sound = target.add_stream(codec, rate=hz)
        sound.layout = layout
        for index in range(frames):
            grey = np.full((height, width, 3), 40 + 4 * index, np.uint8)
            picture = av.VideoFrame.from_ndarray(grey, format="rgb24")
            picture.pts, picture.time_base = index + round(late_s * RATE), 1 / RATE
            target.mux(pictures.encode(picture))
        target.mux(pictures.encode())
        wave = np.sin(np.arange(int(hz * frames / RATE)) * 440 * 2 * np.pi / hz).astype(np.float32) / 2
        tone = av.AudioFrame.from_ndarray(np.tile(wave, (channels, 1)), format="fltp", layout=layout)
        tone.sample_rate, tone.pts, tone.time_base = hz, 0, Fraction(1, hz)
        resampler = av.AudioResampler(sound.format.name, layout, hz, frame_size=sound.codec_context.frame_size or 1024)
        for part in [*resampler.resample(tone), *resampler.resample(None)]:
            target.mux(sound.encode(part))
        target.mux(sound.encode())
    return file.getvalue()
