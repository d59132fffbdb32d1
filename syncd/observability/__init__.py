"""Log events, systemd journal and metrics."""
