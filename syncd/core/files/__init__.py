"""File formats of contacts (CSV, vCard), and the plan of an import."""
