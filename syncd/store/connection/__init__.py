"""Connections to PostgreSQL: engine, pool and transactions."""
