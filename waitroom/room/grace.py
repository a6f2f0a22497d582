"""For how long after the store's return numbers go only to those who were held while it was away."""

LONGEST_AWAY_POLL = 6
"""Within this many seconds of its return everybody who was held meanwhile has looked again."""
REST_SECONDS = 60
"""How long everybody may come from the end of one grace on, unless the store was away for as long as one lasts. A store
that hangs for a moment again and again would else have newcomers held for good, by one grace after the other."""


class Grace:
    """One store's, as one process sees it; all times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.is_owed: bool = False
        """Somebody without a number was held since the last grace began."""
        self._lost_at = 0.0
        self._ends = float("-inf")

    def lost(self, at: float) -> None:
        """Note since when the store is away."""
        self._lost_at = at

    def returned(self, at: float) -> None:
        """Begin where it is owed to somebody, and where it does not hold everybody else up too often."""
        was_long = at - self._lost_at >= LONGEST_AWAY_POLL
        if self.is_owed and (was_long or at >= self._ends + REST_SECONDS):
            self._ends = at + LONGEST_AWAY_POLL
        self.is_owed = False

    def is_on(self, at: float) -> bool:
        """Tell whether it lasts; what the store does meanwhile makes it no longer."""
        return at < self._ends
