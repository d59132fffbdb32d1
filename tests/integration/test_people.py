"""The sample people of the demonstration in a real LDAP server."""

import subprocess
from pathlib import Path

from syncd.demo.people import BASE, ldif, people
from syncd.demo.servers import Slapd


def test_slapd_loads_all_people(server_folder: Path) -> None:
    """slapadd rejects invalid LDIF and invalid attribute values; ldapsearch counts the loaded entries."""
    server = Slapd(server_folder / "people")
    server.create(ldif())
    server.start()
    try:
        command = [
            "ldapsearch", "-x", "-LLL", "-H", server.url, "-D", server.root_dn, "-w", server.password,
            "-b", BASE, "(objectClass=inetOrgPerson)", "uid",
        ]  # fmt: skip
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        server.stop()

    assert output.count("\nuid: ") == len(people()) >= 300
