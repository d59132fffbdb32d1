"""Administration: status, history, holds and approvals, explanations, tokens and sent alerts."""
