"""What every method in conf/method is given is the same, and what it takes beyond that stands in results.json.

Labelled images, updates, first weights and selection are held by test_protocol.py; here are the images that a step
shows, the recipe, and what is said of both.
"""

import pytest
import torch

from genseg_betty.build import build_augmentation, build_named
from genseg_betty.config import compose, conf_dir
from genseg_betty.training.components import Components
from methods.tiny import TINY, built, choose, find_class, list_level_methods, load

BATCH = 2
SHORT = [*TINY, "ood=[]", "seed=3", "trainer.warmup_iterations=2", "trainer.iterations=5"]
METHODS = list_level_methods()
FREE = [name for name in METHODS if "{augment: " not in (conf_dir() / "method" / f"{name}.yaml").read_text()]
"""Methods that come with no recipe of their own."""
LABELLED = [name for name in METHODS if not find_class(name).uses_unlabelled]


def beyond(*overrides):
    config = compose([*SHORT, *overrides])
    components = Components(config, load(config))
    return build_named(config.method).count_beyond(components), components


@pytest.mark.parametrize("method", LABELLED)
def test_a_step_shows_as_many_images_as_is_said(method):
    """A batch, or what the method says it takes beyond: the images that the segmenter's gradient comes from."""
    config = compose([*SHORT, *choose(method)])
    components, engine = built(config, load(config))
    segmenter = engine.segmenter
    shown = []

    def count_images(module, inputs):
        if module.training and torch.is_grad_enabled():
            shown.append(len(inputs[0]))

    while segmenter.count < 2:
        engine.advance()
    segmenter.module.register_forward_pre_hook(count_images)
    engine.advance()
    assert segmenter.count == 3
    said = build_named(config.method).count_beyond(components)
    assert sum(shown) == said.get("images_per_step", BATCH)


@pytest.mark.parametrize("method", FREE)
def test_the_recipe_is_that_of_the_group(method):
    """All of it, for each method that does not come with one."""
    words = [*SHORT, *choose(method), "augment=strong", "copy_paste=0.5"]
    config = compose(words)
    assert config.recipe == "strong"
    found, expected = built(config, load(config))[1].segmenter.augment, build_augmentation(config, None)
    assert found.geometry == expected.geometry
    assert found.geometry.scale == (0.7, 1.4)
    assert found.elastic == expected.elastic
    assert found.intensity.operations.keys() == expected.intensity.operations.keys()
    assert found.copy_paste == expected.copy_paste
    assert found.copy_paste.probability == 0.5


def test_what_genseg_takes_beyond_supervised_training():
    found, components = beyond("method=genseg")
    of_generator = {"images_per_step": 4, "generator_updates": 7}
    assert found == of_generator | {"validation_images": len(components.data.splits.validation)}
    for at_rest in ("hypergradient=none", "generator.branches=fixed"):
        assert beyond("method=genseg", at_rest)[0] == of_generator, at_rest
    assert beyond("method=separate")[0] == beyond("method=wgan")[0] == of_generator


def test_what_baselines_take_beyond_supervised_training():
    assert beyond("method=real_twice")[0] == {"images_per_step": 4}
    assert beyond("method=real_twice", "trainer.batch_size=3")[0] == {"images_per_step": 6}
    assert beyond("method=vanilla")[0] == beyond("method=supervised")[0] == {}


@pytest.mark.parametrize(
    ("method", "images"),
    [("cross_teaching", 4), ("deep_cotraining", 6), ("mutual_correction", 4), ("unimatch", 6)],
)
def test_what_semi_supervised_methods_take_beyond_supervised_training(method, images):
    """Deep co-training has a labelled batch for each network, UniMatch two unlabelled images for each labelled one."""
    found, components = beyond(*choose(method))
    networks = {} if method == "unimatch" else {"segmenters": 2}
    assert found == {"images_per_step": images, "unlabelled_images": 5} | networks
    batch = build_named(components.config.method).build_level(components).batches(0)
    shown = [*batch.ids, *batch.unlabelled, *(batch.second.ids if batch.second else [])]
    assert len(shown) == images
