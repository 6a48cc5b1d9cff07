"""Run steps side by side, as many as there are processors, and print each in one piece."""

import time
from collections.abc import Iterable, Iterator

from scripts.suite.steps import Ended, Running, Step

__all__ = ["run"]


def run(steps: Iterable[Step], lanes: int) -> Iterator[Ended]:
    """Start the steps in this order, each when there is room, and yield them as they end."""
    waiting, running = list(steps), list[Running]()
    try:
        while waiting or running:
            while waiting and (
                not running or sum(each.step.lanes for each in running) + waiting[0].lanes <= lanes
            ):
                running.append(Running(waiting.pop(0)))
            for each in [each for each in running if each.has_ended()]:
                running.remove(each)
                yield each.end()
            time.sleep(0.05)
    finally:
        for each in running:
            each.end()
