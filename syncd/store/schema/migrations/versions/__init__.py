"""Migration steps of the schema, oldest first."""
