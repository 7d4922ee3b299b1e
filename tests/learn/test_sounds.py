"""What recipes hear of a corpus before they learn from it."""

from __future__ import annotations

import logging

import pytest

from stlm.learn.sounds import warn_of_one_speaker
from stlm.types import Utterance


def test_one_known_speaker_of_several_recordings_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    def spoken(*speakers: str | None) -> list[Utterance]:
        return [Utterance(id=str(index), text="a", speaker=speaker) for index, speaker in enumerate(speakers)]

    with caplog.at_level(logging.WARNING):
        for quiet in (spoken("anna"), spoken("anna", "ben"), spoken(None, None), spoken("anna", None), []):
            warn_of_one_speaker(quiet, "test")
        assert not caplog.records
        warn_of_one_speaker(spoken("anna", "anna"), "test")
    assert [record.getMessage() for record in caplog.records] == [
        "test: all 2 recordings are of one speaker, anna: what it learns will suit no other voice"
    ]
