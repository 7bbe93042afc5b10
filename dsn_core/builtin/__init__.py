"""The built-in plugin, registered like any other."""
