"""The sample people in a real directory server."""

import subprocess
from pathlib import Path

from syncd.demo.people import BASE, ldif, people
from syncd.demo.servers import Slapd


def test_a_real_server_takes_everyone(server_folder: Path) -> None:
    """slapadd refuses what is no LDIF or breaks a syntax; ldapsearch then counts them."""
    server = Slapd(server_folder / "people")
    server.create(ldif())
    server.start()
    try:
        command = ["ldapsearch", "-x", "-LLL", "-H", server.url, "-D", server.root_dn, "-w", server.password,
                   "-b", BASE, "(objectClass=inetOrgPerson)", "uid"]  # fmt: skip
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        server.stop()

    assert answer.count("\nuid: ") == len(people()) >= 300
