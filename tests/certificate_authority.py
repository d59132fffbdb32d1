"""A certificate authority for the tests, made with the `openssl` program."""

import subprocess
from pathlib import Path

from syncd.demo.servers import chown_to_server_user


class CertificateAuthority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "ca.pem"
        folder.mkdir()
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "60", "-subj", "/CN=Test CA", "-addext",
                      "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip

    def issue(self, name: str, subject: str, alternative: str, *, days: int = 1) -> tuple[Path, Path]:
        """Issue a certificate with the key identifiers that Python 3.13 requires; return its file and its key's."""
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", f"{name}.key",
                      "-out", f"{name}.csr")  # fmt: skip
        (self.folder / "extensions").write_text(
            f"subjectAltName={alternative}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
        )
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", str(days), "-extfile", "extensions", "-out", f"{name}.pem")  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def make_readable(self) -> None:
        """Let the user that the servers run as read the folder."""
        self.folder.chmod(0o755)
        for path in self.folder.iterdir():
            chown_to_server_user(path)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
