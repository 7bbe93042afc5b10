"""The app that plays: a messenger whose provider is a file, and what else the faults need."""
