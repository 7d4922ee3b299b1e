"""Steps between a source and the encoders: marks out of transcripts, word times by an aligner, and a check that word
times can be believed.

```
stlm prepare source=folder source.path=DIR out=OUT \\
    'stages=[{name: align, aligner: {name: pocketsphinx}}, {name: check_words, worst: 5}]'
```
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from stlm.audio import audio_of
from stlm.errors import ConfigError, StlmError
from stlm.interfaces import Aligner
from stlm.interfaces.stage import Stage
from stlm.plugin import default_registry
from stlm.prepare.recorded import WITHOUT_WORDS
from stlm.types import Rejected, Utterance


@dataclass(frozen=True, kw_only=True)
class EditTextConfig:
    """Options of `EditTextStage`.

    Args:
        patterns: regular expressions, one after the other; for Fisher's marks ``['\\(\\((.*?)\\)\\)', '\\[[^]]*\\]']``.
        instead: what stands in the place of each; "\\1" is its first group, for Fisher ``['\\1', '']``. Empty: nothing.
        lower: write all in lower case.
    """

    patterns: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    lower: bool = False


class EditTextStage(Stage):
    """Changes texts before they are aligned: takes marks of noise or doubt out, writes abbreviations in full. Spaces
    left over are joined. Word times lose their places in a text that changes, so they are taken away and noted.

    Raises:
        ConfigError: a pattern is no regular expression, or not each has its text.
    """

    def __init__(self, config: EditTextConfig) -> None:
        try:
            texts = config.instead or [""] * len(config.patterns)
            self.rules = [(re.compile(pattern), text) for pattern, text in zip(config.patterns, texts, strict=True)]
            _ = [pattern.sub(text, "") for pattern, text in self.rules]  # a group that is not there is told now
        except (ValueError, re.error) as error:
            raise ConfigError(
                f"stage edit_text: patterns {list(config.patterns)} with {list(config.instead)} instead ({error}), "
                "expected regular expressions, and none or as many texts: patterns=['\\[[^]]*\\]']"
            ) from error
        self.lower = config.lower

    def apply(self, utterances: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
        for item in utterances:
            if isinstance(item, Rejected) or item.text is None or (text := self._edited(item.text)) == item.text:
                yield item
                continue
            if item.words:
                yield _noted(item, "its text was edited after it had word times: put edit_text before align")
            yield replace(item, text=text or None, words=(), text_units=None)

    def _edited(self, text: str) -> str:
        for pattern, instead in self.rules:
            text = pattern.sub(instead, text)
        text = " ".join(text.split()) if self.rules else text
        return text.lower() if self.lower else text


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """Options of `AlignStage`.

    Args:
        aligner: component with its options.
        again: align utterances that have word times already, too.
    """

    aligner: dict[str, Any] = field(default_factory=dict[str, Any])
    again: bool = False


class AlignStage(Stage):
    """Gives word times to utterances with speech and text; one that cannot be aligned is noted and goes on without."""

    def __init__(self, aligner: Aligner, *, again: bool = False) -> None:
        self.aligner, self.again = aligner, again

    def apply(self, utterances: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
        for item in utterances:
            if isinstance(item, Rejected) or item.audio is None or not item.text or (item.words and not self.again):
                yield item
                continue
            try:
                yield replace(item, words=self.aligner.align(audio_of(item), item.text))
            except StlmError as error:
                yield _noted(item, str(error))
                yield replace(item, words=())


@dataclass(frozen=True, kw_only=True)
class CheckWordsConfig:
    """Options of `CheckWordsStage`; order, overlap and times beyond the audio are errors always.

    Args:
        shortest, longest: seconds that a word may last.
        coverage: least share of the text's letters that words with times hold.
        most_letters: a second of a word; faster speech is a wrong alignment.
        least_score: of the worst word, where the aligner gives scores; 0 lets all pass.
        worst: per cent of a shard's utterances that lose their word times, those with the lowest mean score of their
            words, where the aligner gives scores; rounded down. Only with this option a shard's utterances are held
            in memory at once (without samples that lie in files).
    """

    shortest: float = 0.02
    longest: float = 3.0
    coverage: float = 0.8
    most_letters: float = 50.0
    least_score: float = 0.0
    worst: float = 0.0

    def __post_init__(self) -> None:
        sound = 0 <= self.shortest < self.longest and 0 <= self.coverage <= 1 and 0 <= self.worst <= 100
        if not sound or self.most_letters <= 0:
            raise ConfigError(
                "stage check_words needs 0 <= shortest < longest, coverage in 0..1, worst in 0..100 and most_letters "
                f"above 0, got {self}"
            )


class CheckWordsStage(Stage):
    """Takes the word times from utterances where they cannot be right, and says why."""

    def __init__(self, config: CheckWordsConfig) -> None:
        self.config = config

    def apply(self, utterances: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
        checked = self._without(utterances, self.doubt)
        return self._without_worst(checked) if self.config.worst else checked

    def _without(
        self, items: Iterable[Utterance | Rejected], doubt: Callable[[Utterance], str | None]
    ) -> Iterator[Utterance | Rejected]:
        for item in items:
            reason = doubt(item) if isinstance(item, Utterance) and item.words else None
            if reason is None or isinstance(item, Rejected):
                yield item
            else:
                yield _noted(item, reason)
                yield replace(item, words=())

    def _without_worst(self, items: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
        held = list(items)
        means = {id(item): mean for item in held if isinstance(item, Utterance) and (mean := _score(item)) is not None}
        ranked = sorted(means, key=lambda key: means[key])
        worst = set(ranked[: int(len(ranked) * self.config.worst / 100)])

        def among_worst(item: Utterance) -> str | None:
            if id(item) not in worst:
                return None
            return (
                f"its words have mean score {means[id(item)]:.3g}, among the worst {self.config.worst:g} % of "
                f"{len(ranked)} utterances of its shard"
            )

        yield from self._without(held, among_worst)

    def doubt(self, item: Utterance) -> str | None:
        """Why the words' times cannot be right; None where they can."""
        config = self.config
        rate = item.audio.sample_rate if item.audio else 1
        for word in item.words:
            seconds, letters = (word.end - word.start) / rate, _letters(word.text)
            at = f"word {word.text!r} at {word.start / rate:.2f} s"
            if not config.shortest <= seconds <= config.longest:
                return f"{at} lasts {seconds:.3f} s, expected {config.shortest:g} to {config.longest:g}"
            if letters > config.most_letters * seconds:
                most = f"{config.most_letters:g} a second"
                return f"{at} has {letters} letters in {seconds:.3f} s, expected at most {most}"
            if word.score is not None and word.score < config.least_score:
                return f"{at} has score {word.score:.3g}, expected at least {config.least_score:g}"
        share = sum(_letters(word.text) for word in item.words) / max(1, _letters(item.text or ""))
        if share < config.coverage:
            return f"{share:.0%} of the text's letters have times, expected at least {config.coverage:.0%}"
        return None


def build_edit_text(config: EditTextConfig) -> EditTextStage:
    return EditTextStage(config)


def build_align(config: AlignConfig) -> AlignStage:
    if "name" not in config.aligner:
        raise ConfigError(f"stage align: aligner is {config.aligner}, expected a component: aligner={{name: ctc, …}}")
    options = dict(config.aligner)
    return AlignStage(default_registry().build("aligner", options.pop("name"), options), again=config.again)


def build_check_words(config: CheckWordsConfig) -> CheckWordsStage:
    return CheckWordsStage(config)


def _noted(item: Utterance, reason: str) -> Rejected:
    reason = reason if reason.startswith(item.id) else f"{item.id}: {reason}"
    return Rejected(id=item.id, uri=getattr(item.audio, "uri", None), reason=reason, kept_as=WITHOUT_WORDS)


def _score(item: Utterance) -> float | None:
    """Mean over the words that have a score; None where none has."""
    scores = [word.score for word in item.words if word.score is not None]
    return sum(scores) / len(scores) if scores else None


def _letters(text: str) -> int:
    return sum(letter.isalnum() for letter in text)
