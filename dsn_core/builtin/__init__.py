"""The plugin that comes with the core, registered like any other."""
