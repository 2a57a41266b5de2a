"""Journals of each release, kept for ever: what was begun with an old toolkit is finished by every later one.

``python -m scripts.golden`` writes those of the present version into a folder named after it.
"""
