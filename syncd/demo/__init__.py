"""The demonstration: private servers, a sample directory, and a tour of the running daemon."""
