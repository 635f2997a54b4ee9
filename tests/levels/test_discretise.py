"""The end of the search: what is kept, what it is compared with, and what stays as it was."""

import copy

import pytest
import torch
from torch.optim import SGD

from genseg_betty.build import build_optimizer
from genseg_betty.config import compose
from genseg_betty.data.batches import StepSampler
from genseg_betty.data.loading import load_data
from genseg_betty.generators.cells import SearchableCell
from genseg_betty.generators.encoding import encode_mask
from genseg_betty.levels.discretise import COMPARED_BATCHES, discretise
from genseg_betty.randomness import derived_seed
from levels.toy import advance
from methods.tiny import TINY, built
from states import different

# BatchNorm, so that the generator has buffers, and evaluation differs from training by more than dropout.
OVERRIDES = [*TINY, "generator.norm=batch", "trainer.warmup_iterations=1", "trainer.iterations=3"]


@pytest.fixture(scope="module")
def data():
    return load_data(compose(OVERRIDES))


def searched(data, steps=3, overrides=()):
    """Components and their engine, `steps` into a search whose α differ from cell to cell."""
    config = compose([*OVERRIDES, *overrides])
    components, engine = built(config, data)
    with torch.no_grad():
        source = torch.Generator().manual_seed(4)
        for logits in components.architecture.parameters():
            logits.add_(torch.randn(logits.shape, generator=source))
    return components, advance(engine, steps)


def strongest(components, engine, steps, optimizer=None):
    """`discretise` with the optimizers of the config, or with others."""
    sections = components.config.trainer.optimizers
    make = optimizer or (lambda part, network: build_optimizer(sections[part], network))
    return discretise(components.generator, components.architecture, engine, steps, make)


def modes(engine):
    return {f"{level.name}.{k}": m.training for level in engine.levels for k, m in level.module.named_modules()}


def reconstruction(generator, alpha, data, batch_size, seed):
    """Mean L1 distance over the first batches of stage I, computed apart: nothing of the levels is used."""
    generator = copy.deepcopy(generator).eval()
    sampler = StepSampler(len(data.train), batch_size, derived_seed(seed, "batches", "gan"))
    total = 0.0
    with torch.no_grad():
        for count in range(COMPARED_BATCHES):
            chosen = sampler.indices(count)
            images = generator(encode_mask(data.train.masks[chosen], data.num_classes), alpha)
            total += float((images - data.train.images[chosen]).abs().double().mean())
    return total / COMPARED_BATCHES


def test_the_searched_engine_and_generator_stay_to_the_bit(data):
    components, engine = searched(data)
    state, mode = copy.deepcopy(engine.state_dict()), modes(engine)
    generator, alpha = copy.deepcopy(components.generator.state_dict()), components.architecture.to_lists()
    random = torch.get_rng_state()
    strongest(components, engine, steps=3)
    assert any("running_mean" in place for place in generator)
    assert not different(engine.state_dict(), state)
    assert not different(components.generator.state_dict(), generator)
    assert components.architecture.to_lists() == alpha
    assert modes(engine) == mode
    assert torch.equal(torch.get_rng_state(), random)


def test_a_search_goes_on_as_if_nothing_had_been_kept(data):
    _, plain = searched(data, steps=2)
    components, kept = searched(data, steps=2)
    strongest(components, kept, steps=2)
    for engine in (plain, kept):
        while engine.advance() is not None:
            pass
    assert kept.global_step == 4
    assert not different(kept.state_dict(), plain.state_dict())


def test_distances_are_those_of_the_first_training_batches(data):
    components, engine = searched(data)
    config, alpha = components.config, components.architecture()
    plain = components.generator.keep_strongest(alpha)
    size, seed = config.trainer.batch_size, config.seed
    kept, losses = strongest(components, engine, steps=2)
    assert losses["searched"] == pytest.approx(reconstruction(components.generator, alpha, data, size, seed), rel=1e-6)
    assert losses["before"] == pytest.approx(reconstruction(plain, None, data, size, seed), rel=1e-6)
    assert losses["after"] == pytest.approx(reconstruction(kept, None, data, size, seed), rel=1e-6)
    assert losses["iterations"] == 2
    assert len({losses[name] for name in ("searched", "before", "after")}) == 3


def test_one_plain_convolution_a_cell_is_kept(data):
    components, engine = searched(data)
    kept, _ = strongest(components, engine, steps=1)
    assert any(isinstance(module, SearchableCell) for module in components.generator.modules())
    assert not any(isinstance(module, SearchableCell) for module in kept.modules())
    assert kept.cells == {"down": 0, "up": 0}
    sizes = [level.convolution.kernel_size[0] for half in (kept.down, kept.up) for level in half]
    assert sizes == [int(name.split("_")[1][0]) for name in components.architecture.kept()]
    assert len(set(sizes)) > 1
    mask = encode_mask(data.train.masks[:2], data.num_classes)
    assert kept(mask).shape == data.train.images[:2].shape


def test_without_steps_nothing_changes(data):
    components, engine = searched(data)
    plain = components.generator.keep_strongest(components.architecture()).state_dict()
    kept, losses = strongest(components, engine, steps=0)
    assert losses["after"] == losses["before"]
    assert losses["iterations"] == 0
    assert not different(kept.state_dict(), plain)
    kept, losses = strongest(components, engine, steps=3)
    assert losses["after"] != losses["before"]
    assert {*different(kept.state_dict(), plain)} >= {f"/{name}" for name, _ in kept.named_parameters()}


@pytest.fixture
def broken(data):
    """Data on which every step of stage I is unsound."""
    broken = copy.copy(data)
    broken.train = copy.copy(data.train)
    broken.train.images = torch.full_like(data.train.images, float("nan"))
    return broken


def test_fine_tuning_that_diverges_costs_nothing(broken):
    """More unsound steps in a row than any training may have, by the config or by default."""
    components, engine = searched(broken, steps=0, overrides=["trainer.max_nonfinite=2"])
    plain = dict(components.generator.keep_strongest(components.architecture()).named_parameters())
    kept, losses = strongest(components, engine, steps=22)
    assert not different(dict(kept.named_parameters()), plain)
    assert all(torch.isfinite(value).all() for value in kept.state_dict().values())
    assert losses["iterations"] == 22
    assert losses["after"] != losses["after"]  # NaN, as the images are


def test_an_unsound_step_leaves_the_statistics_of_the_kept_generator(broken):
    """Also those of the generator, which the discriminator's step renders with."""
    components, engine = searched(broken, steps=0)
    plain = components.generator.keep_strongest(components.architecture()).state_dict()
    kept, _ = strongest(components, engine, steps=1)
    assert not different(kept.state_dict(), plain)


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_the_optimizer_asked_for_makes_the_steps(data, part):
    """One step of SGD with weight decay and one without differ by lr · decay · weights, and by nothing else."""
    rate, decay = 0.05, 0.3
    before, after = {}, []
    for used in (0.0, decay):
        made = {}

        def make(name, network, used=used, made=made):
            made[name] = network
            before[name] = {k: p.detach().clone() for k, p in network.named_parameters()}
            return SGD(network.parameters(), lr=rate, weight_decay=used if name == part else 0.0)

        components, engine = searched(data)
        kept, _ = strongest(components, engine, 1, make)
        assert made.keys() == {"generator", "discriminator"}
        assert made["generator"] is kept
        assert made["discriminator"] is not components.discriminator
        after.append({k: p.detach().clone() for k, p in made[part].named_parameters()})
    for name, weight in before[part].items():
        assert torch.allclose(after[0][name] - after[1][name], rate * decay * weight, atol=1e-6), name
        assert not torch.equal(after[0][name], weight), name


def test_the_discriminator_starts_where_the_search_left_it(data):
    seen = {}

    def make(name, network):
        seen[name] = copy.deepcopy(network.state_dict())
        return SGD(network.parameters(), lr=0.1)

    components, engine = searched(data)
    strongest(components, engine, 1, make)
    assert not different(seen["discriminator"], engine.discriminator.module.state_dict())
    assert not different(seen["generator"], components.generator.keep_strongest(components.architecture()).state_dict())
