"""Response cache and conditional requests."""
