"""A log-mel spectrogram under its units, as inline SVG.

Only the sound is pixels: an indexed PNG of "ink" whose opacity is the log-mel energy. Plain NumPy, milliseconds each.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from stlm.audio import resample
from stlm.evals.report.drawing import svg, ticks_between
from stlm.types import Audio, Units

PICTURE_RATE = 16_000
MEL_BANDS, FFT, WINDOW, HOP = 80, 512, 400, 160
RANGE_DB = 65.0
INK_LEVELS = 48
PIXELS_PER_SECOND = 170
PIXELS_PER_DIGIT = 6
STRIP, SOUND = 20, 132


def spectrogram_with_units(audio: Audio, units: Units | None = None) -> str:
    """A log-mel spectrogram under a strip of deduplicated units (first codebook); equal codes share a colour.

    The units are taken to start where the audio starts. A number is left out where it does not fit its run.
    """
    strip = _unit_strip(units, audio.seconds) if units is not None and len(units) else []
    top = STRIP + 4 if strip else 0
    bottom = top + SOUND
    parts = [
        f'<image class="mel" x="0" y="{top}" width="100%" height="{SOUND}" preserveAspectRatio="none" '
        f'href="{_png_uri(_ink(_log_mel(audio)))}"/>',
        *strip,
    ]
    for second in ticks_between(0, audio.seconds * 0.97, count=max(4, round(audio.seconds * 2))):
        x = 100 * second / audio.seconds
        parts.append(f'<text class="tick" x="{x:.2f}%" dx="2" y="{bottom + 14}">{second:g} s</text>')
    parts.append(f'<line class="playhead" x1="0" x2="0" y1="0" y2="{bottom}"/>')
    width = max(320, round(audio.seconds * PIXELS_PER_SECOND))
    return svg("spectrogram", bottom + 18, parts, "Log-mel spectrogram with speech units", f"min-width:{width}px")


def _unit_strip(units: Units, seconds: float) -> list[str]:
    spec = units.spec
    codes = units.codes[:, 0]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes.astype(int))) + 1])
    ends = np.append(starts[1:], len(codes))
    frame = spec.hop / spec.sample_rate
    parts = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        code = int(codes[start])
        left, share = 100 * start * frame / seconds, 100 * (end - start) * frame / seconds
        hue = round(code * 137.508) % 360
        parts.append(
            f'<rect class="unit" x="{left:.3f}%" width="{share:.3f}%" y="0" height="{STRIP}" style="--hue:{hue}">'
            f"<title>unit {code}, {end - start} frames from {start * frame:.2f} s</title></rect>"
            f'<line class="boundary" x1="{left:.3f}%" x2="{left:.3f}%" y1="0" y2="{STRIP + 4 + SOUND}"/>'
        )
        if (end - start) * frame * PIXELS_PER_SECOND >= len(str(code)) * PIXELS_PER_DIGIT + 2:
            parts.append(f'<text class="code" x="{left + share / 2:.3f}%" y="{STRIP - 6}">{code}</text>')
    return parts


def _log_mel(audio: Audio) -> np.ndarray:
    """``float[MEL_BANDS, T]`` in dB below the loudest point, high bands first, a column every 10 ms."""
    samples = np.nan_to_num(resample(audio, PICTURE_RATE).samples).astype(np.float64)
    padded = np.pad(samples, (WINDOW // 2, WINDOW // 2 + 1))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2
    decibel = 10 * np.log10(power @ _mel_filters() + 1e-10)
    return (decibel - decibel.max()).T[::-1]


def _mel_filters() -> np.ndarray:
    """``float[FFT // 2 + 1, MEL_BANDS]`` triangles, evenly spaced in mel up to 8 kHz."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), MEL_BANDS + 2) / 2595) - 1)
    hertz = np.linspace(0, PICTURE_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def _ink(decibel: np.ndarray) -> np.ndarray:
    return np.clip((decibel / RANGE_DB + 1) * (INK_LEVELS - 1), 0, INK_LEVELS - 1).astype(np.uint8)


def _png_uri(levels: np.ndarray) -> str:
    """An indexed PNG: the quiet is transparent, the loud is dark ink (the page inverts it for the dark)."""
    height, width = levels.shape
    share = np.linspace(0, 1, INK_LEVELS)[:, None]
    palette = (1 - share) * np.array([60, 190, 180]) + share * np.array([6, 24, 54])
    opacity = np.clip(share[:, 0] * 1.6, 0, 1) * 255
    rows = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1).tobytes()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (b"tRNS", opacity.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()
