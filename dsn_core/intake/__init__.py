"""Intake: from a match to the rows of its events, in the caller's transaction."""
