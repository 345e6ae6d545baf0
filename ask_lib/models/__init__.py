"""Networks: taps on their layers, backbones by name, and their weights."""
