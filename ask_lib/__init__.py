"""The library behind the ASK book: five ways to choose local features, one method a file.

Importing it loads torch and numpy only, and changes nothing: no seed, no backend switch, no download.
"""

__version__ = "0.1.0"
