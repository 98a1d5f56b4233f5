"""Streaming: order does not matter, memory that runs out halves batches, what breaks is a failure of its images."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from rsna.config.data import PreprocessSettings
from rsna.config.model import ModelSettings
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.inference.stream import Stream
from rsna.model.network import build_model
from rsna.runs.trained_model import load_trained
from tests.inference.runs import SIZE, write_exams


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 2)
    return sorted(str(file) for file in root.rglob("*.dcm"))


@dataclass
class Device:
    """A device of its own making: logits are the mean and the maximum of each example's images."""

    memory: int = 100
    """Images that fit."""
    broken: bool = False
    sizes: list[int] = field(default_factory=list)
    delay: float = 0.0

    def logits(self, images, plan=None, example=None):
        self.sizes.append(len(images))
        time.sleep(self.delay)
        if len(images) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.broken:
            raise RuntimeError("CUDA error: unspecified launch failure")
        parts = [images] if example is None else np.split(images, np.flatnonzero(np.diff(example)) + 1)
        values = np.array([(part.mean(), part.max()) for part in parts])
        return np.repeat(values[None], plan.passes, axis=0).astype(np.float32)


def stream(devices, **options):
    return Stream(devices, PreprocessSettings(size=SIZE), PassPlan(2, False), workers=1, **options)


def singly(paths):
    """Every file as an example of its own."""
    return [(path,) for path in paths]


def test_every_source_has_one_outcome(paths):
    found = list(stream([Device()], batch_size=3).predict(singly(paths)))
    assert sorted(one.index for one in found) == list(range(8))
    for one in found:
        assert one.logits.shape == (2, 2)
        assert one.logits[0, 0] == pytest.approx(one.images[0].pixels.mean())


def test_batches_are_halved_where_memory_runs_out(paths):
    device = Device(memory=2)
    found = list(stream([device], batch_size=8).predict(singly(paths)))
    assert all(one.logits is not None for one in found)
    assert device.sizes == [8, 4, 2, 2, 2, 2]


def test_an_image_that_does_not_fit_alone_fails_alone(paths):
    found = list(stream([Device(memory=0)], batch_size=4).predict(singly(paths)))
    assert len(found) == 8
    assert all("OutOfMemoryError" in one.failure for one in found)


def test_a_device_that_breaks_costs_no_image(paths):
    slow, broken = Device(delay=0.05), Device(broken=True)
    running = stream([slow, broken], batch_size=1)
    found = list(running.predict(singly(paths)))
    assert sorted(one.index for one in found) == list(range(8))
    assert all(one.logits is not None for one in found)
    assert len(broken.sizes) == 1, "a device that failed gets no more"
    assert len(slow.sizes) == 8
    assert running.pace().network >= 0.02


def test_without_another_device_a_broken_one_fails_its_images_not_the_run(paths):
    found = list(stream([Device(broken=True), Device(broken=True)], batch_size=2).predict(singly(paths)))
    assert sorted(one.index for one in found) == list(range(8))
    assert all("launch failure" in one.failure for one in found)


def test_where_fp16_overflows_a_batch_is_predicted_in_32_bits(caplog):
    settings = ModelSettings("test_efficientnet", False)
    networks = [build_model(settings, 1).eval() for _ in range(2)]
    for network in networks:
        torch.nn.init.constant_(network.classifier.bias, 1e5)  # fp16 ends at 65,504
    images = np.zeros((2, *SIZE), np.uint8)
    networks = TorchNetworks(networks, torch.device("cpu"))
    expected = networks.logits(images)
    networks.precision = "fp16"
    np.testing.assert_array_equal(networks.logits(images), expected)
    assert "fp16 overflows" in caplog.text


def test_every_device_is_used(paths):
    devices = [Device(delay=0.3), Device(delay=0.3)]
    list(stream(devices, batch_size=1).predict(singly(paths)))
    assert all(device.sizes for device in devices)
    assert sum(len(device.sizes) for device in devices) == 8


def test_a_stream_that_is_left_ends_its_threads(paths):
    running = stream([Device()], batch_size=1).predict(singly(paths))
    next(running)
    running.close()
    with pytest.raises(StopIteration):
        next(running)


def test_a_plan_changes_while_the_stream_runs(paths):
    device = Device()
    one = stream([device], batch_size=1)
    shapes = []
    for number, predicted in enumerate(one.predict(singly(paths))):
        shapes.append(len(predicted.logits))
        if number == 2:
            one.plan = PassPlan(1, False)
    assert shapes[0] == 2
    assert shapes[-1] == 1
    assert one.stages.passes == sum(shapes)


def test_the_pace_leaves_the_first_batch_out(paths):
    class Compiled(Device):
        def logits(self, images, plan=None, example=None):
            self.delay = 1.0 if not self.sizes else 0.0
            return super().logits(images, plan, example)

    one = stream([Compiled()], batch_size=2)
    list(one.predict(singly(paths)))
    assert one.stages.network > 1.0
    assert one.pace().network < 0.05
    assert one.pace().prepare > 0


def test_memory_is_bounded(paths):
    """However slow the device is, only so many images wait for it."""
    taken = []

    def sources():
        for n in range(200):
            taken.append(n)
            yield (paths[n % len(paths)],)

    running = stream([Device(delay=10.0)], batch_size=1).predict(sources())
    watched = iter(running)

    consumer = threading.Thread(target=lambda: next(watched), daemon=True)
    consumer.start()
    time.sleep(4)
    # In work: one; queued: two batches; in the pool: four, and one that waits to be queued.
    assert len(taken) <= 12


def test_the_ensemble_mirrors_and_counts_passes(run):
    networks = load_trained(run).networks()
    images = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    networks = TorchNetworks(networks, torch.device("cpu"), "32")
    both = networks.logits(images, PassPlan(2, True))
    assert both.shape == (4, 3, 1)
    np.testing.assert_allclose(both[2:], networks.logits(np.ascontiguousarray(images[..., ::-1])), atol=1e-5)
    np.testing.assert_array_equal(networks.logits(images, PassPlan(1, False)), networks.logits(images)[:1])
    deep = images.astype(np.uint16) * 257
    np.testing.assert_allclose(networks.logits(deep), networks.logits(images), atol=1e-3)


def pairs(paths):
    """Two files an example."""
    return [tuple(paths[start : start + 2]) for start in range(0, len(paths), 2)]


def test_an_example_is_predicted_from_all_its_files_in_their_order(paths):
    device = Device()
    running = stream([device], batch_size=3)
    found = {one.index: one for one in running.predict(pairs(paths))}
    assert (running.stages.prepared, running.stages.passes) == (8, 2 * 8)  # which are counted in images
    assert sorted(found) == [0, 1, 2, 3]
    for index, one in found.items():
        alone = stream([Device()]).predict(singly(pairs(paths)[index]))
        expected = {single.index: single.images[0].pixels for single in alone}
        assert [image.sop_instance_uid for image in one.images] == [p.sop_instance_uid for p in one.prepared]
        np.testing.assert_array_equal(one.images[1].pixels, expected[1])
        assert one.logits[0, 0] == pytest.approx(np.mean([expected[0], expected[1]]))
        assert (one.failure, one.failures) == ("", ["", ""])
    assert device.sizes == [2, 2, 2, 2]  # of three images, one would have to leave its example


def test_a_batch_is_filled_by_images_and_no_example_is_split(paths):
    device = Device()
    one_four_two_one = [(paths[0],), tuple(paths[1:5]), tuple(paths[5:7]), (paths[7],)]
    found = list(stream([device], batch_size=3).predict(one_four_two_one))
    assert sorted(one.index for one in found) == [0, 1, 2, 3]
    assert sorted(device.sizes) == [1, 3, 4]


def test_what_failed_is_left_out_and_an_example_fails_when_nothing_is_left(paths, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no dicom")
    gone = str(tmp_path / "gone.dcm")
    examples = [(str(broken), paths[0]), (str(broken), gone), (paths[1], paths[2])]
    half, none, whole = sorted(stream([Device()], batch_size=4).predict(examples), key=lambda one: one.index)
    assert half.logits[0, 0] == pytest.approx(half.prepared[1].pixels.mean())
    assert half.prepared[0] is None
    assert half.failures[0].startswith("NotDicom")
    assert (half.failures[1], half.failure) == ("", "")
    assert none.logits is None
    assert none.images == []
    assert "NotDicom" in none.failure
    assert "FileNotFoundError" in none.failure
    assert (whole.failures, whole.failure) == (["", ""], "")


def test_where_memory_runs_out_batches_are_halved_without_splitting_an_example(paths):
    device = Device(memory=2)
    found = list(stream([device], batch_size=8).predict(pairs(paths)))
    assert all(one.logits is not None for one in found)
    assert device.sizes == [8, 4, 2, 2, 2, 2]
    (alone,) = stream([Device(memory=3)], batch_size=4).predict([tuple(paths[:4])])
    assert alone.logits is None
    assert all("OutOfMemoryError" in failure for failure in alone.failures)


def test_a_device_that_breaks_costs_no_example(paths):
    slow, broken = Device(delay=0.05), Device(broken=True)
    running = stream([slow, broken], batch_size=2)
    found = list(running.predict(pairs(paths)))
    assert sorted(one.index for one in found) == [0, 1, 2, 3]
    assert all(one.logits is not None and not any(one.failures) for one in found)
    assert running.stages.passes <= 2 * 8


def test_an_example_without_a_file_is_refused(paths):
    with pytest.raises(ValueError, match="example 1 has no source"):
        list(stream([Device()]).predict([(paths[0],), ()]))
