"""Out-of-fold predictions are of examples: every one once, from all its images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rsna.evaluation.evaluate import evaluate
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.model.heads import output_count
from rsna.model.network import build_model
from rsna.training.oof import predict_cached, with_probabilities
from tests.training.data.test_module import batches
from tests.training.tiny import tiny_config


@pytest.fixture
def networks(cached):
    data, _ = batches(cached, "breast")
    torch.manual_seed(0)
    network = build_model(tiny_config(cached).model, output_count(data.targets))
    torch.nn.init.normal_(network.classifier.weight, std=0.1)
    return TorchNetworks([network], torch.device("cpu"), "32")


@pytest.mark.parametrize("flip", [False, True])
def test_a_breast_is_predicted_from_all_its_images(cached, networks, flip):
    plan = PassPlan(1, flip)
    data, _ = batches(cached, "breast")
    images, _ = batches(cached, "image")
    together, _ = predict_cached(networks, data, 5, plan)
    alone, _ = predict_cached(networks, replace(images, targets=data.targets), 5, plan)
    assert together.shape == (plan.passes, len(data.validation), 5)
    # Without anything but a linear layer behind the mean, the logits of a breast are the mean of its images'.
    expected = np.stack([alone[:, rows].mean(axis=1) for rows in data.validation.rows], axis=1)
    np.testing.assert_allclose(together, expected, atol=1e-5)


def test_breasts_have_a_row_each_that_can_be_scored(cached, networks):
    data, _ = batches(cached, "breast")
    logits = predict_cached(networks, data, 16, PassPlan(1, False))[0][0]
    frame = with_probabilities(data.validation.table, logits, data.targets).assign(fold=0)
    assert frame["prediction_id"].tolist() == list(data.validation.ids)
    assert frame["views"].tolist() == [2] * len(frame)
    assert "image_id" not in frame
    assert {"p_cancer", "p_density_A", "p_density_D", "probability", "patient_id", "cancer"} <= set(frame)
    assert evaluate(frame, resamples=0).pooled.auroc == pytest.approx(
        evaluate(frame.drop(columns="views"), resamples=0).pooled.auroc
    )
