"""Records for administrators: status, history, approvals, tokens and alerts."""
