"""What a table says of an image is added to its features, and what is unknown has a place of its own."""

import numpy as np
import torch

from rsna.config.model import ModelSettings
from rsna.dataset.examples import ExampleSpec
from rsna.dataset.table_inputs import TableInput
from rsna.model.network import build_model
from rsna.model.table_embedding import TableEmbedding

AGE, MACHINE = TableInput("age", ()), TableInput("machine_id", ("21", "29", "93"))


def embedding():
    torch.manual_seed(0)
    made = TableEmbedding((AGE, MACHINE), 4)
    for vectors in made.vectors:
        torch.nn.init.normal_(vectors)
    return made


def test_every_value_has_a_vector_and_so_has_unknown():
    made = embedding()
    age, machine = made.vectors
    found = made(torch.tensor([[58.0, 0.0], [78.0, 2.0], [torch.nan, torch.nan]]))
    torch.testing.assert_close(found[0], -age[2] + machine[1])
    torch.testing.assert_close(found[1], 2 * age[1] + 3 * age[2] + machine[3])
    torch.testing.assert_close(found[2], age[0] + machine[0])


def test_an_age_beyond_all_that_are_screened_counts_as_the_outermost():
    ages = torch.tensor([[20.0, 0.0], [2.0, 0.0], [21.0, 0.0], [96.0, 0.0], [119.0, 0.0], [95.0, 0.0]])
    found = embedding()(ages)
    torch.testing.assert_close(found[[0, 3]], found[[1, 4]])
    assert not torch.isclose(found[[0, 3]], found[[2, 5]]).any()


def test_a_value_that_training_has_not_seen_is_unknown():
    made = embedding()
    made.mark_seen(torch.tensor([[50.0, 0.0], [60.0, torch.nan]]))
    rows = torch.tensor([[58.0, 0.0], [58.0, 2.0], [58.0, torch.nan]])
    found = made(rows)
    torch.testing.assert_close(found[1], found[2])
    assert not torch.equal(found[0], found[2])
    other = embedding()
    other.load_state_dict(made.state_dict())  # it travels with the weights
    torch.testing.assert_close(other(rows), found)


def test_it_starts_as_a_network_without_a_table():
    settings, images = ModelSettings("test_efficientnet", False, drop_rate=0.0), torch.rand(2, 1, 32, 32)
    torch.manual_seed(0)
    plain = build_model(settings, 1).eval()
    torch.manual_seed(0)
    told = build_model(settings, 1, ExampleSpec(inputs=(AGE, MACHINE))).eval()
    for network in (plain, told):
        torch.nn.init.ones_(network.classifier.weight)
    table = torch.tensor([[40.0, 1.0], [torch.nan, torch.nan]])
    assert torch.equal(plain(images), told(images, table=table))


def test_without_a_table_everything_is_unknown():
    network = build_model(ModelSettings("test_efficientnet", False), 1, ExampleSpec(inputs=(AGE, MACHINE))).eval()
    for parameter in [*network.table_embedding.parameters(), network.classifier.weight]:
        torch.nn.init.normal_(parameter)
    images = torch.rand(2, 1, 32, 32)
    table = torch.from_numpy(np.full((2, 2), np.nan, dtype=np.float32))
    assert torch.equal(network(images), network(images, table=table))
    assert not torch.equal(network(images), network(images, table=torch.zeros(2, 2)))
