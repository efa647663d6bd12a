"""The interpreter of small boards, which stopped at TensorFlow 2.14 and NumPy 1: do our files still load there?"""

from __future__ import annotations

from edgepress.environments import IsolatedEnvironment

ENVIRONMENT = IsolatedEnvironment(
    name="tflite_runtime",
    requirements=("tflite-runtime==2.14.0", "numpy<2"),
    cost="about 100 MB on disk, a minute to download; for Python up to 3.11",
)
