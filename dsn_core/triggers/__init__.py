"""From a sent signal to the triggers that match it."""
