"""How a representation is judged: retrieval, localisation, classification."""
