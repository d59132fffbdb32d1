"""Sync runs as data: records, mapping, plan, guard and history."""
