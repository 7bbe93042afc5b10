"""Intake: writes the events of matched triggers, in the caller's transaction."""
