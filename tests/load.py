"""Clients that ask all the time while a test does something to the daemon: what became of every request, counted."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.scripted_ldap import wait_until

ENOUGH = 5


@contextmanager
def load(*clients: Callable[[], httpx.Response]) -> Iterator[Counter[str]]:
    """While this lasts, each client asks in a thread of its own; some are answered before it, and some after it."""
    outcomes: Counter[str] = Counter()
    ended = threading.Event()

    def ask(client: Callable[[], httpx.Response]) -> None:
        while not ended.is_set():
            try:
                outcomes[str(client().status_code)] += 1
            except httpx.HTTPError as error:
                outcomes[repr(error)] += 1

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        await_answers(outcomes, ENOUGH)
        yield outcomes
        await_answers(outcomes, ENOUGH)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def await_answers(outcomes: Counter[str], number: int) -> None:
    """Return when so many more requests are answered with 200."""
    seen = outcomes["200"]
    wait_until(lambda: outcomes["200"] > seen + number)
