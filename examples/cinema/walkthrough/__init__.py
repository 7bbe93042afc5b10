"""The parts of ``demo.py``: what it prints, what it expects, a site with a browser, and the logs."""
