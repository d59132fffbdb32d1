"""`syncd demo`: the daemon on private servers with sample data."""

import sys

import click

from syncd.cli.checkout import checkout_required


@click.command()
@click.option("--port", type=int, default=0, help="Port of the HTTP endpoint; default: a free one.")
def demo(port: int) -> None:
    """Run syncd on private servers (in a checkout only)."""
    with checkout_required("demo"):
        from syncd.demo import tour  # noqa: PLC0415 - an installed syncd does not contain it

    sys.exit(tour.run_demo(port))
