"""Sound in, sound out: files to `Audio` and back, and resampling. soundfile and soxr only, no torch."""

from stlm.audio.read import audio_of, probe_audio, read_audio
from stlm.audio.resample import resample
from stlm.audio.write import write_audio

__all__ = ["audio_of", "probe_audio", "read_audio", "resample", "write_audio"]
