"""Synthetic rooms and objects with depth, masks and labels, drawn by ray casting; no model and no method in here.

- ``rooms`` and ``objects``: a data set each. A key (version, seed, split, index) gives a scene, ``render_room`` and
  ``render_object`` draw it; the objects stand in rooms and use their renderer. Both are frozen: a change bumps
  ``VERSION`` and gives a reason.
- ``drawing``, ``shards``, ``workers``: a split drawn shard by shard, in several processes, and kept on disk.
- ``commands``, ``sheet``: ``python -m ask_scenes.rooms --help`` and ``python -m ask_scenes.objects --help``.

As data sets for PyTorch they are ``ask_lib.data.rooms.Rooms`` and ``ask_lib.data.objects.Objects``. Importing the
packages does not load torch; drawing does.
"""
