"""Sending: filter, address, render, hand over, settle, pace, report."""
