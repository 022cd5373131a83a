"""What is measured on a finished network, against one image at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from deformation_cases import by_loops
from training_cases import SHORT, images

from mixupe_theory.training import examination
from mixupe_theory.training.calibration import Calibration
from mixupe_theory.training.deformations import DEFORMATIONS
from mixupe_theory.training.examination import examine
from mixupe_theory.training.execution import execute, trained_network
from mixupe_theory.training.runs import Run
from mixupe_theory.training.streams import stream

RUN = Run(data="toy_images", model="lenet", model_options={"width": 0.25}, recipe=SHORT, precision="float64")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    record = execute(RUN, folder)
    return record, trained_network(folder / RUN.id)


def test_equal_to_one_image_at_a_time(trained, monkeypatch):
    record, network = trained
    monkeypatch.setattr(examination, "BATCH", 7)  # so that images must keep their own matrices
    found = examine(network, images(), RUN)
    for name in ("count", "correct"):
        assert found["calibration"][name] == record["examination"]["calibration"][name]
    test = images().test
    inputs, targets = (test.inputs.double() - 100) / 60, test.targets.tolist()

    def logits(image):
        with torch.no_grad():
            return network(torch.as_tensor(image)[None])[0].tolist()

    entropies, values, margins = [], [], []
    for image, y in zip(inputs, targets, strict=True):
        f = logits(image)
        p = [math.exp(v) / math.fsum(map(math.exp, f)) for v in f]
        entropies.append(-sum(v * math.log(v) for v in p))
        values.append(sum(((k == y) - p[k]) * f[k] for k in range(3)))
        margins.append(f[y] - max(v for k, v in enumerate(f) if k != y))
    expected = {"entropy": entropies, "q_hat": values, "abs_q_hat": list(map(abs, values)), "margin": margins}
    assert found["logits"] == pytest.approx({name: np.mean(of) for name, of in expected.items()}, abs=1e-12)
    for place, (name, how) in enumerate(DEFORMATIONS.items()):
        matrices = how.draw(30, stream(0, "deformation", place))
        wrong = [
            int(np.argmax(logits(by_loops(image.numpy(), matrix)))) != y
            for image, matrix, y in zip(inputs, matrices, targets, strict=True)
        ]
        assert found["deformations"][name] == pytest.approx(np.mean(wrong), abs=1e-12), name


def test_the_record_has_it_and_its_clean_error(trained):
    record, network = trained
    examined = record["examination"]
    assert examined["deformations"] == examine(network, images(), RUN)["deformations"]
    assert list(examined["deformations"]) == list(DEFORMATIONS)
    bins = Calibration(*map(np.array, examined["calibration"].values()))
    assert 1 - bins.correct.sum() / 30 == pytest.approx(record["summary"]["last"]["test_error"])


def test_every_run_sees_the_same_images_and_the_mode_is_left(trained):
    _, network = trained
    one, other = (examine(network.train(), images(), replace(RUN, seed=seed)) for seed in (0, 1))
    assert one == other
    assert network.training
    network.eval()


def test_other_data_are_not_examined(tmp_path):
    assert "examination" not in execute(Run(data="toy_features", model="mlp", recipe=SHORT), tmp_path)
