"""Side-by-side timings, printed as ratios.

``python -m benchmarks`` runs them all in a minute or two, ``python -m benchmarks --list`` names them;
``python -m benchmarks.scda --help``, ``.hha``, ``.dlfs``, ``.feature_tap``, ``.cross_layer_pooling`` and
``.interactive`` have more sizes of these. Each line reads ``name: ours / theirs = ratio``: below 1 ours is quicker. The
two take turns in one process, so that a machine's noise is shared; the ratio is what to compare between machines, never
the milliseconds. Nothing fails because a machine was slow: a benchmark is no test.
"""
