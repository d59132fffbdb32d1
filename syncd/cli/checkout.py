"""Commands that only a checkout has: the packages `syncd.demo` and `syncd.drill` are not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from syncd.errors import SyncdError


class CheckoutRequired(SyncdError):
    """The command is not part of an installed syncd."""


@contextmanager
def checkout_required(command: str) -> Iterator[None]:
    """Turn a failed import of the command's package into an error with the next step. Raises: CheckoutRequired."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != f"syncd.{command}":
            raise
        raise CheckoutRequired(
            f"an installed syncd does not contain `syncd {command}`; run it from a checkout: python3 -m syncd.{command}"
        ) from None
