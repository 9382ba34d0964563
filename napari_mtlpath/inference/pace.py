"""How much at once and how often: batches that keep the view responsive, aggregation that leaves time to encode."""

from collections import deque

from napari_mtlpath.inference.encode import SMALLEST_BATCH

QUICK_SECONDS = 0.04  # a batch while the view moves: unnoticed by whoever waits for the next view
LONGEST_SECONDS = 0.25  # a batch while the view rests: a new view waits no longer than this
FIRST_BATCH = 4
LARGEST_BATCH = {"cpu": 16, "mps": 64, "cuda": 256}
REPORT_SECONDS = 0.1
AGGREGATION_SHARE = 0.25  # of the inference thread's time
SMOOTHING = 0.3  # weight of the latest batch in the running mean
RATE_SECONDS = 3.0


class BatchSizer:
    """How many tiles go through the encoder at once.

    Parameters
    ----------
    device_type
        torch's word, such as ``"cpu"``.
    """

    def __init__(self, device_type: str) -> None:
        self._ceiling = LARGEST_BATCH.get(device_type, 16)
        self._seconds_per_tile = 0.0
        self.size = min(FIRST_BATCH, self._ceiling)

    def moved(self) -> None:
        """Go back to quick batches: a new view is waiting."""
        self.size = min(self.size, self._tiles_in(QUICK_SECONDS, otherwise=FIRST_BATCH))

    def encoded(self, tiles: int, seconds: float, *, resting: bool) -> None:
        """Learn from a batch; grow while the view rests."""
        per_tile = seconds / tiles
        known = self._seconds_per_tile > 0
        self._seconds_per_tile += (SMOOTHING if known else 1.0) * (per_tile - self._seconds_per_tile)
        if not resting:
            self.size = self._tiles_in(QUICK_SECONDS, otherwise=self.size)
        elif tiles >= self.size:
            self.size = min(2 * self.size, self._tiles_in(LONGEST_SECONDS, otherwise=2 * self.size))

    def limit(self, tiles: int) -> None:
        """Never exceed `tiles` from now on: the memory does not hold more."""
        self._ceiling = max(1, tiles)
        self.size = min(self.size, self._ceiling)

    def _tiles_in(self, seconds: float, *, otherwise: int) -> int:
        fitting = int(seconds / self._seconds_per_tile) if self._seconds_per_tile > 0 else otherwise
        return max(1, min(fitting, self._ceiling))


class ScanPace:
    """How many tiles a batch has while a whole slide is encoded and nobody looks at it.

    As many as the device likes; fewer, by halves, where the encoder is so slow that stopping would take long. Of few
    different sizes, because OpenVINO prepares itself for each size anew.

    Parameters
    ----------
    device_type
        torch's word, such as ``"cpu"``.
    batch
        Tiles per batch where the caller knows better, or None.

    Attributes
    ----------
    size
        Tiles of the next batch.
    most
        No batch has more tiles.

    Examples
    --------
    >>> pace = ScanPace("cpu")
    >>> before = pace.size
    >>> pace.encoded(before, seconds=0.8)
    >>> before, pace.size
    (16, 4)
    """

    def __init__(self, device_type: str, *, batch: int | None = None) -> None:
        self._fixed = batch is not None
        self.most = batch or LARGEST_BATCH.get(device_type, LARGEST_BATCH["cpu"])
        self.size = self.most

    def encoded(self, tiles: int, *, seconds: float) -> None:
        """Learn how long a batch took."""
        if self._fixed or seconds <= 0:
            return
        fitting = tiles * LONGEST_SECONDS / seconds
        self.size = self.most
        while self.size > max(fitting, SMALLEST_BATCH):
            self.size = max(SMALLEST_BATCH, self.size // 2)

    def limit(self, tiles: int) -> None:
        """Never exceed `tiles` from now on: the memory does not hold more."""
        self.most = max(1, tiles)
        self.size = min(self.size, self.most)


class Throttle:
    """When the next report and the next aggregation may come."""

    def __init__(self) -> None:
        self._next_report = float("-inf")
        self._next_aggregation = float("-inf")

    def report_in(self, now: float) -> float:
        """Seconds until a report may be sent."""
        return self._next_report - now

    def reported(self, now: float) -> None:
        """Note that a report was sent."""
        self._next_report = now + REPORT_SECONDS

    def aggregation_in(self, now: float) -> float:
        """Seconds until an aggregation may be made."""
        return self._next_aggregation - now

    def aggregated(self, began: float, now: float) -> None:
        """Note an aggregation: the dearer it was, the longer until the next."""
        took = now - began
        self._next_aggregation = max(began + REPORT_SECONDS, now + took * (1 / AGGREGATION_SHARE - 1))


class Throughput:
    """Tiles per second over the last seconds."""

    def __init__(self) -> None:
        self._batches: deque[tuple[float, float, int]] = deque()

    def add(self, tiles: int, *, began: float, now: float) -> None:
        """Count a batch."""
        self._batches.append((began, now, tiles))
        while len(self._batches) > 1 and self._batches[0][1] < now - RATE_SECONDS:
            self._batches.popleft()

    def rate(self, now: float) -> float:
        """Return tiles per second; 0 when nothing was encoded lately."""
        recent = [batch for batch in self._batches if batch[1] >= now - RATE_SECONDS]
        if not recent:
            return 0.0
        span = recent[-1][1] - recent[0][0]
        return sum(tiles for _, _, tiles in recent) / span if span > 0 else 0.0
