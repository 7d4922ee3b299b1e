"""Built-in interleaving policies. No torch."""

from stlm.interleave.parallel import Parallel
from stlm.interleave.sentence import Sentence
from stlm.interleave.unimodal import Unimodal
from stlm.interleave.word_spans import WordSpans
from stlm.interleave.word_transcript import WordTranscript

__all__ = ["Parallel", "Sentence", "Unimodal", "WordSpans", "WordTranscript"]
