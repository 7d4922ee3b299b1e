"""The espeak-ng shared library, loaded anew for every utterance and dropped after it; about 0.5 ms.

The library is one global state machine, and speech depends on what was said before: pitch flutter, echo and noise run
on from call to call, and no function of its interface resets them. A fresh copy makes speech a function of its
arguments, also across processes and forks.

espeak-ng is GPL-3.0: a run-time dependency that the user installs (PyPI `espeakng-loader`); nothing of it is here.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import lru_cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np

from stlm.errors import ConfigError, PluginError
from stlm_windtunnel.voices import VOICES, Style, check_voice, data_path, language_files

# constants of speak_lib.h
SYNCHRONOUS, BUFFER_MS = 2, 2000
PHONEME_EVENTS, DO_NOT_EXIT = 0x0001, 0x8000
UTF8, END_PAUSE = 0x0001, 0x1000
LIST_END, WORD, END, PHONEME = 0, 1, 5, 7
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("uid", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Recording:
    """What the library handed to its callback.

    Attributes:
        sample_rate: of the library, in Hz.
        chunks: ``int16[n]`` each.
        events: (type, character counted from 1, sample, phoneme) each.
    """

    def __init__(self) -> None:
        self.sample_rate = 0
        self.chunks: list[np.ndarray] = []
        self.events: list[tuple[int, int, int, str]] = []

    def callback(self) -> Callable[..., int]:
        return _Callback(self._receive)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if count > 0 and samples:
            # numpy.ctypeslib.as_array would make, and keep, a ctypes type for every length that ever occurs
            self.chunks.append(np.frombuffer(ctypes.string_at(samples, 2 * count), np.int16))
        index = 0
        while (event := events[index]).type != LIST_END:
            phoneme = event.id.string.decode("utf-8", "replace") if event.type == PHONEME else ""
            self.events.append((event.type, event.text_position, event.sample, phoneme))
            index += 1
        return 0


def synthesize(text: str, voice: str, style: Style) -> Recording:
    """Speak `text` with a fresh library; raises ConfigError for an unknown voice."""
    check_voice(voice)
    recording = Recording()
    callback = recording.callback()  # kept alive here while the library may call it
    with _library(voice.partition("+")[0]) as (library, recording.sample_rate):
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ConfigError(f"espeak-ng cannot speak with voice {voice!r}: the world's voices are {list(VOICES)}")
        parameters = {RATE: style.rate, VOLUME: style.volume, PITCH: style.pitch, RANGE: style.range}
        for parameter, value in parameters.items():
            library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, UTF8 | END_PAUSE, None, None)
        library.espeak_Synchronize()
    return recording


# one utterance at a time; a fork waits for the one in progress, so that a child never inherits half a library
_lock = threading.Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@contextmanager
def _library(language: str) -> Generator[tuple[ctypes.CDLL, int], None, None]:
    with _lock:
        path, data = _library_path(), _data_view(language)
        if not os.path.isdir(data):  # removed by a parent that ended before this process
            _data_view.cache_clear()
            data = _data_view(language)
        _check_not_resident(path)
        library = ctypes.CDLL(path)
        try:
            flags = PHONEME_EVENTS | DO_NOT_EXIT
            sample_rate = library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, data.encode(), flags)
            if sample_rate <= 0:
                raise PluginError(f"espeak-ng cannot read its data in {data_path()}: reinstall espeakng-loader")
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            yield library, sample_rate
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)


def _check_not_resident(path: str) -> None:
    try:
        resident = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
    except OSError:
        return
    _ctypes.dlclose(resident._handle)
    raise PluginError(
        "espeak-ng is held by other code in this process, so speech would depend on what that code said before: "
        "run the wind tunnel in its own process"
    )


@lru_cache(maxsize=1)
def _library_path() -> str:
    import espeakng_loader

    # espeak-ng pulls libstdc++ in; kept loaded, it is not mapped anew for every utterance (1.0 ms becomes 0.3)
    with suppress(OSError):
        ctypes.CDLL("libstdc++.so.6")
    return espeakng_loader.get_library_path()


@lru_cache(maxsize=8)
def _data_view(language: str) -> str:
    """A folder of links to the library's data in which the language's file carries its plain name.

    The library looks for a file of the voice's name in lower case ("en-us") before it reads the 250 files of all
    voices to find the one that says so ("lang/gmw/en-US"): 3 ms per utterance saved. The path is also short; the
    library cuts long ones.
    """
    data = Path(data_path())
    view = Path(tempfile.mkdtemp(prefix="windtunnel-")) / "espeak-ng-data"
    view.mkdir()
    for entry in data.iterdir():
        if entry.name != "lang":
            (view / entry.name).symlink_to(entry)
    (view / "lang").mkdir()
    (view / "lang" / language).symlink_to(language_files()[language])
    # runs at the end of this process, also of a multiprocessing child, and never in a forked child that inherited it
    Finalize(None, shutil.rmtree, args=(view.parent, True), exitpriority=0)
    return str(view)
