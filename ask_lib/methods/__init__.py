"""The five papers' methods, a file each: tensors in, tensors out."""
