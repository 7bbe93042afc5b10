"""Rendering: template engines, template files, and the receiver's language and time zone."""
