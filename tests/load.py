"""Clients that send requests all the time while a test acts on the daemon; the outcomes are counted."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.waiting import wait_until

MIN_ANSWERS = 5


@contextmanager
def keep_requesting(*clients: Callable[[], httpx.Response]) -> Iterator[Counter[str]]:
    """Call each client repeatedly in a thread of its own; yield the number of answers by status or error.

    At least MIN_ANSWERS requests are answered before the block, and as many after it.
    """
    outcomes: Counter[str] = Counter()
    stopped = threading.Event()

    def send_requests(client: Callable[[], httpx.Response]) -> None:
        while not stopped.is_set():
            try:
                outcomes[str(client().status_code)] += 1
            except httpx.HTTPError as error:
                outcomes[repr(error)] += 1

    threads = [threading.Thread(target=send_requests, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        wait_for_answers(outcomes, MIN_ANSWERS)
        yield outcomes
        wait_for_answers(outcomes, MIN_ANSWERS)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def wait_for_answers(outcomes: Counter[str], number: int) -> None:
    """Return when more than `number` further requests were answered with 200."""
    before = outcomes["200"]
    wait_until(lambda: outcomes["200"] > before + number)
