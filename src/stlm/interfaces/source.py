"""Where utterances come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from stlm.types import Rejected, StreamSpec, Utterance


class Source(ABC):
    """A corpus as a sequence of utterances, divisible among workers.

    **Contract.** ``utterances(i, n)`` for i in 0..n-1 together give every utterance once, whatever n is; equal
    arguments give equal results. An input that cannot be used is yielded as `Rejected`, never raised, so that the run
    goes on. Opening audio may be left to the reader (`AudioRef`).

    **Implement** ``utterances``, ``fingerprint`` where the content can change while the options stay the same, and
    ``streams`` where utterances come with units.

    **For free**: preparation in parallel, shards, quarantine, contract tests.

    **Example**

    >>> from stlm.testing.fakes import ListSource
    >>> from stlm.types import Utterance
    >>> [u.id for u in ListSource([Utterance(id="a"), Utterance(id="b")]).utterances(1, 2)]
    ['b']
    """

    @abstractmethod
    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        """The `shard`-th of `num_shards` parts."""

    def streams(self) -> Mapping[str, StreamSpec]:
        """Streams that the utterances bring with them; no encoder makes them."""
        return {}

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of what the part is made from, beyond the options (files that come, go or change).

        A prepared shard is reused while it stays the same. Cheap: names, sizes and times, not the samples.
        """
        return ""

    def __len__(self) -> int:
        """Number of utterances where it is known, else 0; used by progress bars only."""
        return 0
