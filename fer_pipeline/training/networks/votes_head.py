"""Second output of a network, for the FER+ votes of an image."""

from __future__ import annotations

import keras

from fer_pipeline.errors import ParamsError
from fer_pipeline.labels import FERPLUS_EMOTIONS
from fer_pipeline.training.batches import VOTES


def with_votes_head(network: keras.Model) -> keras.Model:
    """Add a second output (N, 8): logits of the emotions in FER+ votes.

    Raises `ParamsError` where the network does not end in a dense layer.
    """
    last = network.layers[-1]
    if not isinstance(last, keras.layers.Dense):
        raise ParamsError(
            f"train.vote_loss_weight needs a network that ends in a dense layer, {network.name} has none: set it to 0"
        )
    votes = keras.layers.Dense(len(FERPLUS_EMOTIONS), dtype="float32", name=VOTES)(last.input)
    return keras.Model(network.input, (network.output, votes))
