"""What cannot make a step is refused before the first one, and nothing changes by the trial."""

import pytest
import torch

from genseg_betty.config import compose
from genseg_betty.data.loading import load_data
from genseg_betty.errors import UserError
from genseg_betty.generators.objectives import ConditionalGAN
from genseg_betty.training.console import report_networks
from genseg_betty.training.dry_run import check_stage_one
from methods.tiny import TINY, built
from states import joined

SHAPES = (2, 1, 32, 32), (2, 1, 32, 32)


@pytest.fixture(scope="module")
def data():
    return load_data(compose([*TINY, "ood=[]"]))


def engine_of(data, *overrides):
    return built(compose(["dataset=phantom", "trainer=quick", "image_size=32", "ood=[]", *overrides]), data)[1]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["generator=wgan_gp", "generator.discriminator.layers=6"], "discriminator of stage I .*fewer generator"),
        (["generator=soft_intro_vae", "generator.discriminator.layers=6"], r"images of \[1, 32, 32\]"),
        (["generator=soft_intro_vae", "generator.objective.latent_channels=7"], "one latent_channels"),
        (["generator=spade", "generator.discriminator.scales=6"], "fewer generator.discriminator.layers or .scales"),
        (["generator.discriminator.layers=5"], "a discriminator of 5 layers needs 96"),
    ],
)
def test_parts_that_do_not_fit_are_told(data, overrides, expected):
    engine = engine_of(data, *overrides)
    with pytest.raises(UserError, match=expected):
        check_stage_one(engine.levels, *SHAPES)
    with pytest.raises(UserError, match=expected):  # as a training asks
        report_networks(engine, data, 2)


class Looking(ConditionalGAN):
    """Losses that look at values: the dry run without them fails, the step does not."""

    def generator_loss(self, generator, opponent, condition, image):
        loss = super().generator_loss(generator, opponent, condition, image)
        return loss if float(loss.detach()) > 0 else loss.square()


@pytest.mark.parametrize("objective", [ConditionalGAN, Looking])
def test_what_fits_passes_and_stays_as_it_was(data, objective):
    engine = engine_of(data)
    engine.generator.objective = objective()
    states = [level.module.state_dict() for level in engine.levels]
    before = [joined(state.values()) for state in states]
    numbers = torch.get_rng_state()
    check_stage_one(engine.levels, *SHAPES)
    assert torch.equal(numbers, torch.get_rng_state())
    assert all(torch.equal(joined(state.values()), old) for state, old in zip(states, before, strict=True))
    assert all(p.grad is None for level in engine.levels for p in level.module.parameters())
