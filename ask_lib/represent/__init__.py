"""From images to vectors: representations read a network's maps, ``extract`` makes the vectors of many images.

>>> from ask_lib.methods.scda import scda, selection_mask
>>> rows = {"SCDA": Pooled(scda, "pool5", mask=selection_mask), "SCDA+": SCDAPlus("pool5", "relu5_2")}
>>> rows["SCDA_flip+"] = WithMirror(rows["SCDA+"])
>>> rows["SCDA_flip+"].layers
('pool5', 'relu5_2', 'flip:pool5', 'flip:relu5_2')
"""

from ask_lib.represent.cross_layer import CrossLayer, extract_to_file
from ask_lib.represent.extraction import extract
from ask_lib.represent.representation import Coded, Maps, Pooled, Representation, SCDAPlus, WithMirror, as_it_is

__all__ = [
    "Coded", "CrossLayer", "Maps", "Pooled", "Representation", "SCDAPlus", "WithMirror", "as_it_is", "extract",
    "extract_to_file",
]  # fmt: skip
