"""Who speaks and how: the world's speakers and styles, and the check that the library knows a voice.

espeak-ng accepts an unknown variant ("en-us+f33") without a word and speaks with the plain voice, so every name is
checked against the files that the library ships. All speakers share one accent: a phone is the same phone in every
voice, and a small model has fewer things to learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stlm.errors import ConfigError, PluginError, did_you_mean

VOICES: tuple[str, ...] = ("en-us", "en-us+m3", "en-us+m7", "en-us+f1", "en-us+f2", "en-us+f4")


def _variants_of(names: str) -> tuple[str, ...]:
    return ("en-us", *(f"en-us+{name}" for name in names.split()))


CASTS: dict[str, tuple[str, ...]] = {
    "world": VOICES,
    "training": _variants_of(
        "m1 m2 m3 m4 m6 m7 f1 f2 f4 f5 linda Alex Alicia Andrea Annie Denis Gene Henrique Jacky Lee Mario Michael Mike "
        "adam anika antonio benjamin boris edward ian iven klatt2 marcelo max michel pablo paul pedro robert sandro "
        "shelby victor"
    ),
    "unheard": tuple(f"en-us+{name}" for name in ("m5", "m8", "f3", "Andy", "steph")),
}
"""Named sets of speakers: the world's, many to train tokenizers on, and some that none of them may have heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A prosody profile, in espeak-ng's own scales.

    Args:
        rate: words per minute, 80 to 450.
        pitch: 0 to 99, 50 is the voice's own.
        range: 0 (monotone) to 99.
        volume: 0 to 200; 100 leaves headroom, far above it the synthesizer's gain control distorts.
    """

    rate: int = 195
    pitch: int = 50
    range: int = 50
    volume: int = 100


STYLES: dict[str, Style] = {
    "neutral": Style(),
    "happy": Style(rate=215, pitch=75, range=95),
    "sad": Style(rate=155, pitch=30, range=15, volume=80),
    "angry": Style(rate=230, pitch=58, range=80, volume=120),
}


def style_named(name: str) -> Style:
    """The style of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in STYLES:
        raise ConfigError(f"no style {name!r}{did_you_mean(name, STYLES)}; choose one of {list(STYLES)}")
    return STYLES[name]


def one_of(field: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of the choices, else raise a ConfigError that names `field`."""
    if value not in choices:
        raise ConfigError(f"{field} {value!r} is unknown{did_you_mean(value, choices)}; choose one of {list(choices)}")
    return value


def cast(names: tuple[str, ...]) -> tuple[str, ...]:
    """Voices by their names and the names of casts, without repetitions; the world's where none is named.

    Raises:
        ConfigError: the library has no such voice.
    """
    found = [voice for name in names or ("world",) for voice in CASTS.get(name) or (check_voice(name),)]
    return tuple(dict.fromkeys(found))


def check_voice(name: str) -> str:
    """Return `name` if the library has its language and its variant ("en-us", "en-us+f3").

    Raises:
        ConfigError: it has not.
    """
    language, plus, variant = name.partition("+")
    for kind, part, known in (("language", language, language_files()), ("variant", variant, _variants())):
        if (kind == "language" or plus) and part not in known:
            raise ConfigError(
                f"no voice {name!r}: espeak-ng has no {kind} {part!r}{did_you_mean(part, known)}; "
                f"the world's voices are {list(VOICES)}, and there are the casts {', '.join(CASTS)}"
            )
    return name


@lru_cache(maxsize=1)
def data_path() -> str:
    """Folder of the installed library's data.

    Raises:
        PluginError: espeakng-loader is not installed.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise PluginError("the wind tunnel speaks with espeak-ng: pip install espeakng-loader") from error
    return espeakng_loader.get_data_path()


@lru_cache(maxsize=1)
def language_files() -> dict[str, str]:
    """Language code -> file, for all that the library ships; a few ms, once per process."""
    files = sorted(path for path in (Path(data_path()) / "lang").rglob("*") if path.is_file())
    return {code: str(path) for path in files if (code := _main_code(path))}


@lru_cache(maxsize=1)
def _variants() -> frozenset[str]:
    return frozenset(path.name for path in (Path(data_path()) / "voices" / "!v").iterdir())


def _main_code(path: Path) -> str | None:
    # a file may list further, more general codes after its own ("en-us", then "en")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split()[1] for line in lines if line.startswith("language ")), None)
