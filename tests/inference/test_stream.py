"""Streaming: order does not matter, memory that runs out halves batches, what breaks is a failure of its images."""

import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rsna.config.data import PreprocessSettings
from rsna.config.model import ModelSettings
from rsna.inference.batch import Batch
from rsna.inference.networks import TorchNetworks
from rsna.inference.pass_plan import PassPlan
from rsna.inference.stream import NO_NUMBER, TIME_UP, Example, Predicted, Stream, _Device
from rsna.model.network import build_model
from rsna.runs.trained_model import load_trained
from tests.inference.runs import SIZE, write_exams
from tests.prepare import phantoms


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("exams")
    write_exams(root, 2)
    return sorted(str(file) for file in root.rglob("*.dcm"))


@dataclass
class Device:
    """A device of its own making: logits are the mean and the maximum of each example's images."""

    batch_invariant = False
    memory: int = 100
    """Images that fit."""
    broken: bool = False
    endless: bool = False
    sizes: list[int] = field(default_factory=list)
    delay: float = 0.0

    def logits(self, batch, plan=None):
        images, example = batch.images, batch.example
        self.sizes.append(len(images))
        time.sleep(self.delay)
        if len(images) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.broken:
            raise RuntimeError("CUDA error: unspecified launch failure")
        parts = [images] if example is None else np.split(images, np.flatnonzero(np.diff(example)) + 1)
        values = np.array([(np.inf if self.endless else part.mean(), part.max()) for part in parts])
        return np.repeat(values[None], plan.passes, axis=0).astype(np.float32)


def stream(devices, **options):
    return Stream(
        [[one] for one in devices], [PreprocessSettings(size=SIZE)], (PassPlan(2, False),), workers=1, **options
    )


def examples(sources):
    """Files of every example → examples that share nothing."""
    return [[Example(own)] for own in sources]


def singly(paths):
    """Every file as an example of its own."""
    return examples((path,) for path in paths)


def files(found):
    """The files of every example that came, sorted."""
    return sorted(path for one in found for path in one.example.sources)


def passes(stages):
    """Forward passes over one image each, of all members."""
    return sum(work.passes for work in stages.members.values())


def test_every_source_has_one_outcome(paths):
    found = list(stream([Device()], batch_size=3).predict(singly(paths)))
    assert files(found) == paths
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
    assert files(found) == paths
    assert all(one.logits is not None for one in found)
    assert len(broken.sizes) == 1, "a device that failed gets no more"
    assert len(slow.sizes) == 8
    assert running.pace().networks[0] >= 0.02


def test_without_another_device_a_broken_one_fails_its_images_not_the_run(paths):
    found = list(stream([Device(broken=True), Device(broken=True)], batch_size=2).predict(singly(paths)))
    assert files(found) == paths
    assert all("launch failure" in one.failure for one in found)


def test_where_fp16_overflows_a_batch_is_predicted_in_32_bits(caplog):
    settings = ModelSettings("test_efficientnet", False)
    networks = [build_model(settings, 1).eval() for _ in range(2)]
    for network in networks:
        torch.nn.init.constant_(network.classifier.bias, 1e5)  # fp16 ends at 65,504
    images = np.zeros((2, *SIZE), np.uint8)
    networks = TorchNetworks(networks, torch.device("cpu"))
    expected = networks.logits(Batch(images))
    networks.precision = "fp16"
    np.testing.assert_array_equal(networks.logits(Batch(images)), expected)
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
            one.plans = (PassPlan(1, False),)
    assert shapes[0] == 2
    assert shapes[-1] == 1
    assert passes(one.stages) == sum(shapes)


def test_the_pace_leaves_the_first_batch_out(paths):
    class Compiled(Device):
        def logits(self, batch, plan=None):
            self.delay = 1.0 if not self.sizes else 0.0
            return super().logits(batch, plan)

    one = stream([Compiled()], batch_size=2)
    list(one.predict(singly(paths)))
    assert one.stages.network > 1.0
    assert one.pace().networks[0] < 0.05
    assert one.pace().prepare > 0


def test_memory_is_bounded(paths):
    """However slow the device is, only so many images wait for it."""
    taken = []

    def sources():
        for n in range(200):
            taken.append(n)
            yield [Example((paths[n % len(paths)],))]

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
    both = networks.logits(Batch(images), PassPlan(2, True))
    assert both.shape == (4, 3, 1)
    np.testing.assert_allclose(both[2:], networks.logits(Batch(np.ascontiguousarray(images[..., ::-1]))), atol=1e-5)
    np.testing.assert_array_equal(
        networks.logits(Batch(images), PassPlan(1, False)), networks.logits(Batch(images))[:1]
    )
    deep = images.astype(np.uint16) * 257
    np.testing.assert_allclose(networks.logits(Batch(deep)), networks.logits(Batch(images)), atol=1e-3)


def pairs(paths):
    """Two files an example."""
    return examples(tuple(paths[start : start + 2]) for start in range(0, len(paths), 2))


def test_an_example_is_predicted_from_all_its_files_in_their_order(paths):
    device = Device()
    running = stream([device], batch_size=3)
    found = {one.example.sources: one for one in running.predict(pairs(paths))}
    assert (running.stages.prepared, passes(running.stages)) == (8, 2 * 8)  # which are counted in images
    assert sorted(found) == [tuple(paths[start : start + 2]) for start in range(0, 8, 2)]
    for sources, one in found.items():
        alone = {single.example.sources[0]: single for single in stream([Device()]).predict(singly(sources))}
        expected = [alone[source].images[0].pixels for source in sources]
        assert [image.tags for image in one.images] == [source.tags for source in one.prepared]
        np.testing.assert_array_equal(one.images[1].pixels, expected[1])
        assert one.logits[0, 0] == pytest.approx(np.mean([expected[0], expected[1]]))
        assert (one.failure, one.failures) == ("", ["", ""])
    assert device.sizes == [3, 3, 3, 3]  # two and one that fills up: of three, one would have to leave its example


def test_what_is_no_number_is_a_failure(paths):
    found = list(stream([Device(endless=True)], batch_size=3).predict(pairs(paths)))
    assert [(one.logits, one.failure) for one in found] == [(None, NO_NUMBER)] * 4


def test_a_file_of_examples_of_a_group_is_prepared_once(paths, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no dicom")
    left, right = (*paths[:2], str(broken)), tuple(paths[2:4])
    alone, last = (paths[4], paths[4]), tuple(paths[:1])  # the first file comes again, when nobody holds it any more
    groups = [[Example(left + right), Example(right + left)], [Example(alone)], [Example(last)]]
    running = stream([Device()], batch_size=4)
    came = {id(one.example): one for one in running.predict(groups)}
    found = [came[id(example)] for group in groups for example in group]
    assert running.stages.prepared == 6
    assert found[0].logits[0, 0] == pytest.approx(found[1].logits[0, 0])
    assert [one.stamp for one in found[0].images] == [one.stamp for one in (*found[1].images[2:], *found[1].images[:2])]
    assert [bool(failure) for failure in found[0].failures] == [False, False, True, False, False]
    assert [bool(failure) for failure in found[1].failures] == [False, False, False, False, True]
    np.testing.assert_array_equal(found[3].images[0].pixels, found[0].images[0].pixels)
    assert len(found[2].images) == 2


def test_a_batch_is_filled_by_images_and_no_example_is_split(paths):
    device = Device()
    one_four_two_one = [(paths[0],), tuple(paths[1:5]), tuple(paths[5:7]), (paths[7],)]
    found = list(stream([device], batch_size=3).predict(examples(one_four_two_one)))
    assert files(found) == paths
    assert sorted(device.sizes) == [3, 3, 4]  # filled up, but for the example that is larger than a batch


def test_logits_are_the_same_bits_whatever_an_image_shares_its_batch_with(run):
    """So that a run which was cut and resumed ends with the bytes of one that was not."""
    images = np.stack([phantoms.breast(*SIZE, seed=k)[0] for k in range(20)])
    images = np.rint(images / images.max() * 255).astype(np.uint8)
    device = _Device([TorchNetworks(load_trained(run).networks(), torch.device("cpu"))], 16)

    def logits(places):
        batch = [Predicted(Example((str(k),)), [SimpleNamespace(pixels=images[k])], [""]) for k in places]
        done = device.predict(0, batch, PassPlan(2, True))
        return {k: result.tobytes() for k, result in zip(places, done.results, strict=True)}

    expected = logits(range(20))
    for places in ([3], [19, 0, 7], list(range(9, 20)), list(reversed(range(20)))):
        assert logits(places) == {k: expected[k] for k in places}


def test_what_failed_is_left_out_and_an_example_fails_when_nothing_is_left(paths, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no dicom")
    gone = str(tmp_path / "gone.dcm")
    sources = [(str(broken), paths[0]), (str(broken), gone), (paths[1], paths[2])]
    found = {one.example.sources: one for one in stream([Device()], batch_size=4).predict(examples(sources))}
    half, none, whole = (found[own] for own in sources)
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
    (alone,) = stream([Device(memory=3)], batch_size=4).predict(examples([tuple(paths[:4])]))
    assert alone.logits is None
    assert all("OutOfMemoryError" in failure for failure in alone.failures)


def test_a_device_that_breaks_costs_no_example(paths):
    slow, broken = Device(delay=0.05), Device(broken=True)
    running = stream([slow, broken], batch_size=2)
    found = list(running.predict(pairs(paths)))
    assert files(found) == paths
    assert all(one.logits is not None and not any(one.failures) for one in found)
    assert passes(running.stages) <= 2 * 8


def test_an_example_without_a_file_is_refused(paths):
    with pytest.raises(ValueError, match="example 1 has no source"):
        list(stream([Device()]).predict(examples([(paths[0],), ()])))


def test_members_and_examples_that_share_a_file_have_it_read_once(paths, tmp_path):
    """A small and a large member, image by image and as a pair: every one sees the pixels that it would see alone."""
    sizes = [SIZE, (96, 80), SIZE]
    settings = [PreprocessSettings(size=size) for size in sizes]
    plans = (PassPlan(1, False), PassPlan(2, False), PassPlan(1, False))
    devices = [Device(), Device(), Device()]
    running = Stream([devices], settings, plans, batch_size=3, workers=1)
    groups = []
    for start in range(0, 8, 2):
        two = tuple(paths[start : start + 2])
        groups.append([*(Example((path,), member) for path in two for member in (0, 1)), Example(two, 2)])
        groups[-1].append(Example(two[::-1], 2))
    found = list(running.predict(groups))
    assert len(found) == 4 * 6
    assert running.stages.prepared == 8
    assert [running.stages.members[member].passes for member in range(3)] == [8, 2 * 8, 2 * 8]
    alone = {}
    for size in set(sizes):
        single = Stream([[Device()]], [PreprocessSettings(size=size)], (PassPlan(1, False),), workers=1)
        alone |= {(one.example.sources[0], size): one.images[0].pixels for one in single.predict(singly(paths))}
    for one in found:
        assert one.logits.shape == (plans[one.example.member].passes, 2)
        for source, image in zip(one.example.sources, one.images, strict=True):
            np.testing.assert_array_equal(image.pixels, alone[source, sizes[one.example.member]])


def test_what_breaks_one_member_costs_the_others_nothing(paths):
    settings = [PreprocessSettings(size=SIZE)] * 2
    whole, broken = Device(), Device(broken=True)
    running = Stream([[whole, broken]], settings, (PassPlan(1, False),) * 2, batch_size=4, workers=1)
    found = list(running.predict([[Example((path,), member) for member in (0, 1)] for path in paths]))
    assert all((one.logits is None) == bool(one.example.member) for one in found)
    assert all("launch failure" in one.failure for one in found if one.example.member)


def test_a_member_that_was_given_up_predicts_nothing_more(paths):
    settings, devices = [PreprocessSettings(size=SIZE)] * 2, [Device(), Device()]
    running = Stream([devices], settings, (PassPlan(1, False), PassPlan(0, False)), batch_size=4, workers=1)
    found = list(running.predict([[Example((path,), member) for member in (0, 1)] for path in paths]))
    assert {one.example.member: one.failure for one in found} == {0: "", 1: TIME_UP}
    assert devices[1].sizes == []
