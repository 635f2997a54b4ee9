"""Separate training with every generator: it is trained first, then drawn from, and nothing moves it any more."""

import pytest

from genseg_betty.backbones.dimensions import FOR_VOLUMES
from genseg_betty.config import compose, group_members
from genseg_betty.data.loading import load_data
from methods.test_contract import overrides
from methods.tiny import built
from states import different

STEPS = ["trainer.warmup_iterations=1", "trainer.iterations=1"]


@pytest.mark.parametrize("generator", group_members("generator"))
def test_a_generator_is_trained_and_then_frozen(generator):
    volumes = generator.endswith("3d")
    backbone = FOR_VOLUMES[0] if volumes else "unet_classic"
    config = compose([*overrides(generator, backbone, 2, volumes), *STEPS, "method=separate"])
    components, engine = built(config, load_data(config))
    segmenter, before = engine.segmenter, _copy_weights(components.generator)
    engine.advance()
    engine.advance()  # as many updates as the warm-up and the joint steps of GenSeg have
    trained = _copy_weights(components.generator)
    assert different(trained, before)
    assert segmenter.count == 0
    first = _copy_weights(components.segmenter)

    assert engine.advance() is not None
    assert segmenter.count == 1
    assert engine.advance() is None
    assert not different(_copy_weights(components.generator), trained)
    assert different(_copy_weights(components.segmenter), first)
    assert all(level.guard.skipped == 0 for level in engine.levels)
    for half in components.architecture.to_lists().values():
        for cell in half:
            assert cell == pytest.approx([1 / len(cell)] * len(cell))


def _copy_weights(module):
    return {name: value.detach().clone() for name, value in module.named_parameters()}
