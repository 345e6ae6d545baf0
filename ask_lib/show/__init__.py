"""Figures, sliders and recorded values: arrays in, pictures out."""
