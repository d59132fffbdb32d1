"""What can go wrong with a read: one exception that carries what the evidence has to say about it."""

from syncd.core.record import Shortfall


class Fault(Exception):
    """The end of a read, or of one way to open it. Never leaves the package: a Fault becomes a Shortfall.

    `code` is stable, `what` says what happened, `step` what an operator does next, `elsewhere` whether another server
    may do better.
    """

    def __init__(self, code: str, what: str, step: str, *, elsewhere: bool = False) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.step = step
        self.elsewhere = elsewhere

    def shortfall(self, where: str) -> Shortfall:
        """The same for the evidence; `where` is the server and how far the read had come."""
        return Shortfall(self.code, f"{where}: {self.what}; {self.step}")
