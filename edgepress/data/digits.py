"""`digits`: 1,797 real handwritten digits of 8 x 8 pixels in 16 greys, which come with scikit-learn.

From the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak, 1998). Divided by a
seeded permutation.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgepress import plugins
from edgepress.data import Data, DataOptions
from edgepress.data._indexed import divided
from edgepress.data._pictures import PictureData
from edgepress.errors import BadInput

CLASS_NAMES = tuple("0123456789")


def open_source(location: str, options: DataOptions) -> Data:
    """The digits as 8-bit pictures, stretched by the network's preprocessing to its size.

    Raises BackendMissing without scikit-learn, BadInput when something follows `digits:`.
    """
    if location:
        raise BadInput(
            "The data 'digits' takes no location.", where=f"--data digits:{location}", hint="--data digits"
        )
    plugins.require("sklearn", extra="digits")
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pictures = np.round(loaded.images * (255 / 16)).astype(np.uint8)
    return PictureData(
        "digits",
        lambda index: Image.fromarray(pictures[index]),
        divided(len(pictures), options),
        loaded.target.astype(np.int64),
        CLASS_NAMES,
    )
