"""What an objective of a user's own may call the discriminator, and what its constructor tells of a generator."""

from inspect import signature

import pytest
import torch

from genseg_betty.generators.objectives import ConditionalGAN, DrawnObjective, Objective
from genseg_betty.generators.pix2pix import Pix2Pix


class OfOpponent(DrawnObjective):
    """Written with the older names."""

    has_opponent = False

    def loss_of_opponent(self, synthetic, opponent, condition, image):
        return "own"


class CallsItsBase(ConditionalGAN):
    def loss_of_opponent(self, synthetic, opponent, condition, image):
        return 2 * super().loss_of_opponent(synthetic, opponent, condition, image)


class OnInstance(Objective):
    def __init__(self):
        self.has_opponent = False
        self.opponent_loss = lambda *_: "own"


def test_the_older_names_of_a_class_are_read() -> None:
    objective = OfOpponent()
    assert objective.has_discriminator is False
    assert objective.loss_of_discriminator(None, None, None, None) == "own"
    assert objective.discriminator_loss(lambda condition: condition, None, None, None) == "own"
    assert Objective.has_discriminator


def test_a_base_is_called_by_the_older_names() -> None:
    image = torch.randn(1, 3, 4, 4)
    families = (CallsItsBase, ConditionalGAN)
    losses = [family().discriminator_loss(lambda mask: mask, torch.add, image, image) for family in families]
    assert losses[0] == 2 * losses[1]


def test_the_older_names_of_an_instance_are_read() -> None:
    objective = OnInstance()
    assert objective.has_discriminator is False
    assert objective.discriminator_loss(None, None, None, None) == "own"


def test_our_objectives_have_the_older_names() -> None:
    assert ConditionalGAN.opponent_loss is ConditionalGAN.discriminator_loss
    assert ConditionalGAN.loss_of_opponent is ConditionalGAN.loss_of_discriminator
    assert ConditionalGAN().has_opponent is True


def test_a_generator_takes_its_shapes_one_by_one() -> None:
    parameters = signature(Pix2Pix).parameters
    assert list(parameters) == ["in_channels", "out_channels", "image_size", "space", "dropout", "norm"]
    assert parameters["dropout"].default == 0.5
    with pytest.raises(TypeError, match=r"Pix2Pix.__init__\(\) got an unexpected keyword argument 'widths'"):
        Pix2Pix(1, 3, 32, widths=4)
