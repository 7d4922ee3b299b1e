"""Sound in, sound out: files to `Audio` and back, and resampling. soundfile and soxr only, no torch."""

from stlm.audio.place import Place, TarIndex, read_member, tar_index
from stlm.audio.read import audio_of, decode_audio, probe_audio, read_audio
from stlm.audio.resample import resample
from stlm.audio.write import write_audio

__all__ = [
    "Place",
    "TarIndex",
    "audio_of",
    "decode_audio",
    "probe_audio",
    "read_audio",
    "read_member",
    "resample",
    "tar_index",
    "write_audio",
]
