"""Operation of the daemon as data: health, alerts, checks and throttles. Pure."""
