"""One file a family: each maker builds one class of object from parts."""
